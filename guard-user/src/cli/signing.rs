//! Signing with an SSH key: what is shown first, who says yes, and the signature beside the file.
//!
//! OpenSSH's `ssh-keygen` does the signing, so that keys stay where they are: in a file with a passphrase,
//! in an agent, on a security key. It is given the very bytes that were checked and shown.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::CliError;
use super::table::plain;
use crate::approval::signature::Parsed;
use crate::exit::Exit;

/// What is to be signed, once it was checked.
pub(in crate::cli) struct Signable {
    /// The very bytes.
    pub(in crate::cli) bytes: Vec<u8>,
    /// SHA-256 of them.
    pub(in crate::cli) sha256: String,
    /// What a signature over them is made for.
    pub(in crate::cli) namespace: &'static str,
    /// All that they say, as it is shown.
    pub(in crate::cli) shown: Vec<u8>,
    /// The same for programs, and what it is.
    pub(in crate::cli) object: (&'static str, Value),
    /// What is to be told beside it, and is no error.
    pub(in crate::cli) warnings: Vec<String>,
}

/// How a file is signed.
#[derive(Clone, Debug, clap::Args)]
pub struct How {
    /// Your SSH key: its private file, or its public one where an agent has the private half
    #[arg(long, value_name = "KEY")]
    pub key: PathBuf,
    /// The name in the signature's file, FILE.NAME.sig [default: the key's]
    #[arg(long = "as", value_name = "NAME")]
    pub label: Option<String>,
    /// Sign the file of this SHA-256, as `sha256sum FILE` prints it, without asking: for scripts that have shown it
    #[arg(long, value_name = "SHA256")]
    pub yes: Option<String>,
    /// Show what would be signed and print the command, and sign nothing
    #[arg(long)]
    pub dry_run: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Shows what is to be signed, asks for a yes where none was given, and has `ssh-keygen` sign it.
///
/// # Errors
/// Where the signature's file is there already, nobody said yes, or `ssh-keygen` can't sign.
pub(in crate::cli) fn sign(
    signable: Signable,
    (file, how): (&Path, &How),
    ask: &mut dyn FnMut(&str) -> Result<String>,
    out: &mut impl Write,
) -> Result<Exit> {
    let signature = file_for(file, &label(how)?)?;
    must_be_free(&signature)?;
    agreed_before((file, how), &signable.sha256)?;
    if !how.json {
        let what = if how.dry_run { "would be signed" } else { "is to be signed" };
        writeln!(out, "this {what}:")?;
        out.write_all(&signable.shown)?;
        signable.warnings.iter().try_for_each(|warning| writeln!(out, "warning: {}", plain(warning)))?;
        // Before anything is asked.
        out.flush()?;
    }
    if !how.dry_run && how.yes.is_none() {
        // Before any key is touched: an agent's key may sign without asking.
        let answer = ask(&format!("sign this with {}? Type yes: ", plain(&how.key.to_string_lossy())))?;
        if answer.trim() != "yes" {
            anyhow::bail!("nothing was signed: the answer was not yes");
        }
    }
    let made = match how.dry_run {
        true => None,
        false => {
            let made = keygen(&how.key, (&signable.bytes, signable.namespace));
            Some(made.context("nothing was signed")?)
        }
    };
    if let Some((armoured, _)) = &made {
        write(&signature, armoured)?;
    }
    let fingerprint = made.map(|(_, fingerprint)| fingerprint);
    if how.json {
        let (what, object) = signable.object;
        let object = json!({
            "file": file.to_string_lossy(),
            "sha256": signable.sha256,
            what: object,
            "signature": signature.to_string_lossy(),
            "signed": fingerprint.is_some(),
            "key": fingerprint,
            "warnings": signable.warnings,
            "command": command_line((file, how), &signature, signable.namespace),
        });
        writeln!(out, "{object}")?;
    } else if let Some(fingerprint) = fingerprint {
        writeln!(out, "signed with {fingerprint}: {}", signature.display())?;
    } else {
        writeln!(
            out,
            "nothing was signed; this would sign:\n  {}",
            command_line((file, how), &signature, signable.namespace)
        )?;
    }
    Ok(Exit::Ok)
}

/// The file for a signer's signature; the label is made of `a`-`z`, `A`-`Z`, `0`-`9`, `@`, `.`, `-` and `_`.
fn file_for(document: &Path, label: &str) -> Result<PathBuf> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '@' | '.' | '-' | '_');
    if label.is_empty() || label.len() > 100 || label.starts_with('.') || !label.chars().all(allowed) {
        return Err(CliError::bad_input(format!(
            "\"{}\" can't be part of a file's name: give another with --as, of letters, digits, @, dot, \
             hyphen and underscore",
            label.escape_debug()
        ))
        .into());
    }
    let mut name = OsString::from(document);
    name.push(format!(".{label}.sig"));
    Ok(name.into())
}

/// Holds what was agreed to beforehand against the document, as it was read.
fn agreed_before((file, how): (&Path, &How), sha256: &str) -> Result<()> {
    match &how.yes {
        Some(agreed) if agreed.trim().eq_ignore_ascii_case(sha256) => Ok(()),
        Some(_) => Err(CliError::bad_input(format!(
            "--yes has another SHA-256 than {}, which has {sha256}, and nothing was signed: have the document shown, by \
             --dry-run, and give the SHA-256 of what was shown",
            file.display()
        ))
        .with_codes(["other-document"])
        .into()),
        None if how.json && !how.dry_run => Err(CliError::bad_input(
            "with --json nobody is shown what would be signed, and nothing was signed: give --yes SHA256",
        )
        .into()),
        None => Ok(()),
    }
}

/// What the signature is called by: the key's file name without `.pub`, where nothing else was said.
fn label(how: &How) -> Result<String> {
    if let Some(label) = &how.label {
        return Ok(label.to_owned());
    }
    let name = how.key.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| CliError::bad_input(format!("{} is no file", how.key.display())))?;
    Ok(name.strip_suffix(".pub").map(str::to_owned).unwrap_or(name))
}

fn must_be_free(signature: &Path) -> Result<()> {
    match fs::symlink_metadata(signature) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", signature.display())),
        Ok(_) => Err(taken(signature)),
    }
}

fn taken(signature: &Path) -> anyhow::Error {
    let signature = signature.display();
    CliError::bad_input(format!(
        "{signature} is there already, and nothing was signed: remove it, or name this one with --as"
    ))
    .into()
}

/// The signature's file, and the key as `ssh-keygen -l` names it.
fn keygen(key: &Path, (document, namespace): (&[u8], &str)) -> Result<(Vec<u8>, String)> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(key);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run ssh-keygen, which signs: install OpenSSH's client")?;
    if let Some(mut input) = child.stdin.take() {
        // Where it ends before it has read everything, its exit code says more.
        let _closed = input.write_all(document);
    }
    let output = child.wait_with_output().context("cannot read from ssh-keygen")?;
    let key = key.display();
    if !output.status.success() {
        anyhow::bail!("ssh-keygen did not sign with {key} ({}): see what it said above", output.status);
    }
    let parsed = Parsed::read(&output.stdout)
        .and_then(|parsed| parsed.verify(document).map(|()| parsed))
        .with_context(|| format!("the signature that ssh-keygen made with {key} would be refused"))?;
    let public = &parsed.key;
    let fingerprint = format!("{} {}", public.algorithm(), public.fingerprint(ssh_key::HashAlg::Sha256));
    Ok((output.stdout, fingerprint))
}

/// A signature is no secret: whoever verifies has to read it. What is there already stays as it is.
fn write(file: &Path, signature: &[u8]) -> Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).open(file);
    let mut opened = match opened {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(taken(file)),
        opened => opened.with_context(|| format!("cannot write {}", file.display()))?,
    };
    let written = opened.write_all(signature).and_then(|()| opened.sync_all());
    written.with_context(|| format!("cannot write {}; remove what is there of it", file.display()))
}

/// The command as one would type it.
fn command_line((file, how): (&Path, &How), signature: &Path, namespace: &str) -> String {
    let [key, file, signature] = [&how.key, file, signature].map(quoted);
    format!("ssh-keygen -Y sign -n {namespace} -f {key} < {file} > {signature}")
}

/// A path as a shell reads it.
fn quoted(path: impl AsRef<Path>) -> String {
    let path = path.as_ref().to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '@');
    match path.chars().all(plain) {
        true => path.into_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

/// Whoever sits at the terminal, whatever standard input is.
pub(in crate::cli) mod terminal {
    use std::fs::OpenOptions;
    use std::io::{BufRead, BufReader, IsTerminal, Write};

    use anyhow::{Context, Result};

    use crate::cli::CliError;

    /// More than a word is no answer.
    const LONGEST: u64 = 256;

    /// The line that is typed to this question, before something is signed.
    pub(in crate::cli) fn answer(question: &str) -> Result<String> {
        ask(question, "signed", "give --yes SHA256 with the SHA-256 of what was shown")
    }

    /// The line that is typed to this question. `done` is what was to be done, and `instead` what a script does.
    pub(in crate::cli) fn ask(question: &str, done: &str, instead: &str) -> Result<String> {
        if !std::io::stdout().is_terminal() {
            return Err(CliError::bad_input(format!(
                "standard output is no terminal, so that nobody sees what is to be {done}, and nothing was {done}: have it \
                 shown, or {instead}"
            ))
            .into());
        }
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_| {
            CliError::bad_input(format!(
                "there is no terminal to ask whether this is to be {done}, and nothing was {done}: type yes there, or {instead}"
            ))
        })?;
        let unread = || format!("cannot ask on the terminal, and nothing was {done}");
        (&terminal).write_all(question.as_bytes()).with_context(unread)?;
        let mut line = Vec::new();
        let mut input = BufReader::new(std::io::Read::take(&terminal, LONGEST));
        input.read_until(b'\n', &mut line).with_context(unread)?;
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_part_of_a_name_and_never_of_a_path() {
        let file = |label| file_for(Path::new("a/m.toml"), label);
        assert_eq!(file("aoife@example.org").unwrap(), Path::new("a/m.toml.aoife@example.org.sig"));
        for label in ["", ".", "..", "a/b", "a b", "\u{1b}", &"a".repeat(101)] {
            assert!(file(label).is_err(), "{label:?}");
        }
    }

    #[test]
    fn paths_are_quoted_for_a_shell() {
        assert_eq!(quoted("a/b@c.toml"), "a/b@c.toml");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }
}
