//! `borderguard exemption sign FILE --key KEY`: approves a document with an SSH key.
//!
//! OpenSSH's `ssh-keygen` does the signing, so that keys stay where they are: in a file with a passphrase,
//! in an agent, on a security key. It is given the very bytes that were checked and shown.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::json;

use super::policy::Against;
use super::signable::Signable;
use super::{lift, lint, policy, show, signatures};
use crate::approval::EXEMPTION;
use crate::approval::signature::Parsed;
use crate::cli::CliError;
use crate::cli::table::plain;
use crate::exemption::{self, Lift, Summary, Surroundings};
use crate::exit::Exit;

/// Arguments of `exemption sign`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The document
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Your SSH key: its private file, or its public one where an agent has the private half
    #[arg(long, value_name = "KEY")]
    pub key: PathBuf,
    /// The name in the signature's file, FILE.NAME.sig [default: the key's]
    #[arg(long = "as", value_name = "NAME")]
    pub label: Option<String>,
    /// The config whose pins and signers the document is held against; without it any will do
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sign the document of this SHA-256, as `sha256sum FILE` prints it, without asking: for scripts that have shown it
    #[arg(long, value_name = "SHA256")]
    pub yes: Option<String>,
    /// Check the document and print the command, and sign nothing
    #[arg(long)]
    pub dry_run: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Does it, at this moment. A document that would be refused is not signed.
///
/// # Errors
/// Where the document has errors, the signature's file is there already, or `ssh-keygen` can't sign.
pub fn run(args: &Args, now: Timestamp, out: &mut impl Write) -> Result<Exit> {
    run_with(args, now, &mut terminal::answer, out)
}

/// The same, with who is asked whether what was shown is to be signed.
fn run_with(
    args: &Args,
    now: Timestamp,
    ask: &mut dyn FnMut(&str) -> Result<String>,
    out: &mut impl Write,
) -> Result<Exit> {
    let bytes = exemption::read(&args.file).map_err(|errors| CliError::errors(&errors))?;
    let signable = match Lift::is_meant(&bytes) {
        true => lift::signable(&args.file, bytes)?,
        false => document(args, bytes, now)?,
    };
    let signature = signatures::file_for(&args.file, &label(args)?)?;
    must_be_free(&signature)?;
    agreed_before(args, &signable.sha256)?;
    if !args.json {
        let what = if args.dry_run { "would be signed" } else { "is to be signed" };
        writeln!(out, "this {what}:")?;
        out.write_all(&signable.shown)?;
        signable.warnings.iter().try_for_each(|warning| writeln!(out, "warning: {}", plain(warning)))?;
        // Before anything is asked.
        out.flush()?;
    }
    if !args.dry_run && args.yes.is_none() {
        // Before any key is touched: an agent's key may sign without asking.
        let answer = ask(&format!("sign this with {}? Type yes: ", plain(&args.key.to_string_lossy())))?;
        if answer.trim() != "yes" {
            anyhow::bail!("nothing was signed: the answer was not yes");
        }
    }
    let made = match args.dry_run {
        true => None,
        false => {
            let made = sign(&args.key, (&signable.bytes, signable.namespace));
            Some(made.context("nothing was signed")?)
        }
    };
    if let Some((armoured, _)) = &made {
        write(&signature, armoured)?;
    }
    let fingerprint = made.map(|(_, fingerprint)| fingerprint);
    if args.json {
        let (what, object) = signable.object;
        let object = json!({
            "file": args.file.to_string_lossy(),
            "sha256": signable.sha256,
            what: object,
            "signature": signature.to_string_lossy(),
            "signed": fingerprint.is_some(),
            "key": fingerprint,
            "warnings": signable.warnings,
            "command": command_line(args, &signature, signable.namespace),
        });
        writeln!(out, "{object}")?;
    } else if let Some(fingerprint) = fingerprint {
        writeln!(out, "signed with {fingerprint}: {}", signature.display())?;
    } else {
        writeln!(
            out,
            "nothing was signed; this would sign:\n  {}",
            command_line(args, &signature, signable.namespace)
        )?;
    }
    Ok(Exit::Ok)
}

/// An exemption's document.
fn document(args: &Args, bytes: Vec<u8>, now: Timestamp) -> Result<Signable> {
    let against = args.config.as_deref().map(Against::load).transpose()?;
    let pins = against.as_ref().map(|against| against.pins.as_slice());
    let widest = against.as_ref().map(Against::widest).unwrap_or_default();
    let homes = against.as_ref().map(Against::homes);
    let law = against.as_ref().map_or_else(lint::embedded, Against::law);
    let surroundings = Surroundings {
        pins,
        now: Some(now),
        widest,
        homes: homes.as_deref(),
        law: law.as_ref().ok(),
        ..Surroundings::default()
    };
    let document = exemption::parse(&args.file, &bytes, &surroundings).map_err(|errors| {
        let CliError { codes, .. } = CliError::errors(&errors);
        CliError::document(format!("{errors}\nnothing was signed")).with_codes(codes)
    })?;
    // A warning: the config of this machine need not be the one by which the document is loaded.
    let mut warnings = match against.as_ref().map(|against| against.prospect(&document, now)) {
        Some(Ok(prospect)) => prospect.notes(),
        Some(Err(hopeless)) => vec![format!("by this config {hopeless}")],
        None => Vec::new(),
    };
    warnings.extend(policy::unjudged(&law));
    warnings.extend(document.doubts());
    let summary = Summary::of_document(&document, now);
    let mut shown = Vec::new();
    show::one(&summary, now, &mut shown)?;
    if document.approval.required.is_empty() {
        let words = "it asks for nobody's approval itself: the rules of the config alone say whose it needs";
        writeln!(shown, "{words}")?;
    }
    let object = ("exemption", serde_json::to_value(summary)?);
    Ok(Signable { bytes, sha256: document.sha256, namespace: EXEMPTION, shown, object, warnings })
}

/// Holds what was agreed to beforehand against the document, as it was read.
fn agreed_before(args: &Args, sha256: &str) -> Result<()> {
    match &args.yes {
        Some(agreed) if agreed.trim().eq_ignore_ascii_case(sha256) => Ok(()),
        Some(_) => Err(CliError::bad_input(format!(
            "--yes has another SHA-256 than {}, which has {sha256}, and nothing was signed: have the document shown, by \
             --dry-run, and give the SHA-256 of what was shown",
            args.file.display()
        ))
        .with_codes(["other-document"])
        .into()),
        None if args.json && !args.dry_run => Err(CliError::bad_input(
            "with --json nobody is shown what would be signed, and nothing was signed: give --yes SHA256",
        )
        .into()),
        None => Ok(()),
    }
}

/// What the signature is called by: the key's file name without `.pub`, where nothing else was said.
fn label(args: &Args) -> Result<String> {
    if let Some(label) = &args.label {
        return Ok(label.clone());
    }
    let name = args.key.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| CliError::bad_input(format!("{} is no file", args.key.display())))?;
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
fn sign(key: &Path, (document, namespace): (&[u8], &str)) -> Result<(Vec<u8>, String)> {
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
fn command_line(args: &Args, signature: &Path, namespace: &str) -> String {
    let [key, file, signature] = [&args.key, &args.file, signature].map(quoted);
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
mod terminal {
    use std::fs::OpenOptions;
    use std::io::{BufRead, BufReader, IsTerminal, Write};

    use anyhow::{Context, Result};

    use crate::cli::CliError;

    /// More than a word is no answer.
    const LONGEST: u64 = 256;

    /// The line that is typed to this question.
    pub(super) fn answer(question: &str) -> Result<String> {
        if !std::io::stdout().is_terminal() {
            return Err(CliError::bad_input(
                "standard output is no terminal, so that nobody sees what is to be signed, and nothing was signed: have it \
                 shown, or give --yes SHA256 with the SHA-256 of what was shown",
            )
            .into());
        }
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_| {
            CliError::bad_input(
                "there is no terminal to ask whether this is to be signed, and nothing was signed: type yes there, or give \
                 --yes SHA256 with the SHA-256 of what was shown",
            )
        })?;
        let unread = "cannot ask on the terminal, and nothing was signed";
        (&terminal).write_all(question.as_bytes()).context(unread)?;
        let mut line = Vec::new();
        let mut input = BufReader::new(std::io::Read::take(&terminal, LONGEST));
        input.read_until(b'\n', &mut line).context(unread)?;
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::verify::tests::{Bed, DOCUMENT, now};
    use super::*;
    use crate::approval::tests::oracle::{ED25519, Key, RSA_1024, key};
    use crate::cli::exit_of;

    fn args(bed: &Bed, key: &Key) -> Args {
        Args {
            file: bed.file("m.toml"),
            key: key.file.clone(),
            label: Some("anne".to_owned()),
            config: None,
            yes: Some(sha256_of(&bed.file("m.toml"))),
            dry_run: false,
            json: false,
        }
    }

    /// As `sha256sum` prints it.
    fn sha256_of(file: &Path) -> String {
        let out = Command::new("sha256sum").arg(file).output().unwrap();
        String::from_utf8(out.stdout).unwrap().split(' ').next().unwrap().to_owned()
    }

    fn signed(args: &Args) -> Result<String> {
        answered(args, &mut |_| panic!("nobody is asked"))
    }

    fn answered(args: &Args, ask: &mut dyn FnMut(&str) -> Result<String>) -> Result<String> {
        let mut out = Vec::new();
        assert_eq!(run_with(args, now(), ask, &mut out)?, Exit::Ok);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn nothing_is_signed_before_somebody_says_yes_to_what_was_shown() {
        let bed = Bed::new();
        let asking = Args { yes: None, ..args(&bed, key(ED25519)) };
        // No key is touched before: with one that is not there the answer comes first.
        let keyless = Args { key: bed.file("no-key"), ..asking.clone() };
        for no in ["", "\n", "y\n", "no\n", "YES\n", "yes please\n"] {
            let error = answered(&keyless, &mut |_| Ok(no.to_owned())).unwrap_err();
            assert_eq!(error.to_string(), "nothing was signed: the answer was not yes");
            assert_eq!(exit_of(&error), Exit::Failed);
        }
        assert!(!bed.file("m.toml.anne.sig").exists());
        // What is signed is what was shown, also where the file is another one by then.
        let shown = answered(&asking, &mut |question| {
            assert!(
                question.starts_with("sign this with ") && question.ends_with("? Type yes: "),
                "{question}"
            );
            fs::write(bed.file("m.toml"), DOCUMENT.replace("case 5", "case 6")).unwrap();
            Ok("yes\n".to_owned())
        })
        .unwrap();
        assert!(shown.contains("Evidence in case 5") && !shown.contains("case 6"), "{shown}");
        let made = Parsed::read(&fs::read(bed.file("m.toml.anne.sig")).unwrap()).unwrap();
        made.verify(DOCUMENT.as_bytes()).unwrap();
        assert!(made.verify(&fs::read(bed.file("m.toml")).unwrap()).is_err());
    }

    #[test]
    fn a_script_says_yes_to_one_document_alone() {
        let bed = Bed::new();
        let good = args(&bed, key(ED25519));
        let shown = signed(&Args { dry_run: true, ..good.clone() }).unwrap();
        let line = format!("  sha256   {}\n", sha256_of(&bed.file("m.toml")));
        assert!(shown.contains(&line), "{shown}");
        fs::write(bed.file("m.toml"), format!("{DOCUMENT}\n# more\n")).unwrap();
        for yes in [good.yes.clone(), Some("yes".into()), Some(String::new())] {
            let error = signed(&Args { yes, ..good.clone() }).unwrap_err();
            assert_eq!(exit_of(&error), Exit::BadInput);
            assert!(error.to_string().contains(&sha256_of(&bed.file("m.toml"))), "{error}");
        }
        let error = signed(&Args { yes: None, json: true, ..good.clone() }).unwrap_err();
        assert!(error.to_string().ends_with("give --yes SHA256"), "{error}");
        assert!(!bed.file("m.toml.anne.sig").exists());
        let yes = Some(sha256_of(&bed.file("m.toml")).to_uppercase());
        signed(&Args { yes, ..good }).unwrap();
    }

    #[test]
    fn a_document_is_shown_and_signed_and_nothing_is_overwritten() {
        let bed = Bed::new();
        let args = args(&bed, key(ED25519));
        let shown = signed(&args).unwrap();
        assert!(shown.starts_with("this is to be signed:\nm-1, version 1: treaty-request\n"), "{shown}");
        assert!(shown.contains("\nsigned with ssh-ed25519 SHA256:"), "{shown}");
        let made = fs::read(bed.file("m.toml.anne.sig")).unwrap();
        Parsed::read(&made).unwrap().verify(DOCUMENT.as_bytes()).unwrap();

        let error = signed(&args).unwrap_err();
        assert_eq!(exit_of(&error), Exit::BadInput);
        assert!(error.to_string().contains("m.toml.anne.sig is there already"), "{error}");
        assert_eq!(fs::read(bed.file("m.toml.anne.sig")).unwrap(), made);

        let by_the_key_s_name = Args { label: None, ..args };
        signed(&by_the_key_s_name).unwrap();
        assert!(bed.file("m.toml.0.sig").exists());
    }

    #[test]
    fn the_command_of_a_dry_run_makes_the_signature() {
        let bed = Bed::new();
        let dry = Args { dry_run: true, json: true, ..args(&bed, key(ED25519)) };
        let object: Value = serde_json::from_str(&signed(&dry).unwrap()).unwrap();
        assert_eq!((&object["signed"], &object["key"]), (&json!(false), &Value::Null));
        let file = bed.file("m.toml.anne.sig");
        assert!(!file.exists());
        let ran = Command::new("sh").args(["-c", object["command"].as_str().unwrap()]).status().unwrap();
        assert!(ran.success());
        let by_hand = fs::read(&file).unwrap();
        Parsed::read(&by_hand).unwrap().verify(DOCUMENT.as_bytes()).unwrap();

        fs::remove_file(&file).unwrap();
        let object: Value = serde_json::from_str(&signed(&Args { dry_run: false, ..dry }).unwrap()).unwrap();
        assert_eq!(object["signed"], json!(true));
        // Signatures with this kind of key are the same each time.
        assert_eq!(fs::read(&file).unwrap(), by_hand);
    }

    #[test]
    fn what_would_be_refused_is_not_signed() {
        let bed = Bed::new();
        let good = args(&bed, key(ED25519));
        fs::write(bed.file("bad.toml"), DOCUMENT.replace("treaty-request", "foreign-order")).unwrap();
        let yes = Some(sha256_of(&bed.file("bad.toml")));
        let bad = Args { file: bed.file("bad.toml"), yes, ..good.clone() };
        let error = signed(&bad).unwrap_err();
        assert_eq!(exit_of(&error), Exit::BadInput);
        assert!(error.to_string().ends_with("nothing was signed"), "{error}");
        let weak = Args { key: key(RSA_1024).file.clone(), ..good.clone() };
        let error = format!("{:#}", signed(&weak).unwrap_err());
        assert!(error.contains("the RSA key has 1024 bits"), "{error}");
        let none = Args { key: bed.file("no-key"), ..good.clone() };
        let error = format!("{:#}", signed(&none).unwrap_err());
        assert!(error.starts_with("nothing was signed: ssh-keygen did not sign with"), "{error}");
        let odd = Args { label: Some("../x".to_owned()), ..good };
        assert_eq!(exit_of(&signed(&odd).unwrap_err()), Exit::BadInput);
        assert_eq!(
            fs::read_dir(bed.folder())
                .unwrap()
                .filter(|entry| { entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".sig") })
                .count(),
            0
        );
    }

    #[test]
    fn who_signs_what_nobody_can_approve_is_warned() {
        let bed = Bed::new();
        let warnings = |bed: &Bed| {
            let args =
                Args { config: Some(bed.file("policy.toml")), dry_run: true, ..args(bed, key(ED25519)) };
            let shown = signed(&args).unwrap();
            let object = signed(&Args { json: true, ..args }).unwrap();
            let object: Value = serde_json::from_str(&object).unwrap();
            let told: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("warning: ")).collect();
            assert_eq!(object["warnings"], json!(told));
            told.join("\n")
        };
        assert_eq!(warnings(&bed), "it can't be loaded by bob: nobody else could have approved it");
        // Bob has no key any more.
        let allowed = format!("anne@example.org {}\n", key(ED25519).public);
        fs::write(bed.file("allowed_signers"), allowed).unwrap();
        let told = warnings(&bed);
        assert!(told.starts_with("by this config nobody can approve it, also when all"), "{told}");
        assert!(told.ends_with("(no key of these signers counts: bob@example.org)"), "{told}");
    }

    #[test]
    fn paths_are_quoted_for_a_shell() {
        assert_eq!(quoted("a/b@c.toml"), "a/b@c.toml");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }
}
