//! `borderguard audit`: shows, verifies and exports the audit trail.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::check::counted;
use super::exemption::file;
use super::table::{plain, write_wrapped};
use super::target::Target;
use super::trail::{self, unreadable};
use super::{BY_CONFIG, CliError, default_must_be_there};
use crate::approval::{Approval, load};
use crate::audit::{Checkpoint, CheckpointError, Head, Kind, Stored, THE_DAEMON, verify};
use crate::control::client::{ask, unexpected};
use crate::control::protocol::{Request, Response};
use crate::exit::Exit;
use crate::hostname::hostname;
use crate::inputs;

/// Arguments of `audit`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with the audit trail.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Show the records, each from its number on
    Show {
        /// From this number on
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        from: u64,
        /// Write each record as it is stored, in JSON
        #[arg(long)]
        json: bool,
        /// The daemon, or its store.
        #[command(flatten)]
        target: Target,
    },
    /// Verify that no record was altered, removed or moved; exit 1 if so
    Verify {
        /// An export, instead of this host's trail
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// A checkpoint that was kept elsewhere: it shows whether the end is still there
        #[arg(long, value_name = "FILE")]
        checkpoint: Vec<PathBuf>,
        /// The host whose trail it is, instead of this one: a checkpoint of another is refused
        #[arg(long, value_name = "NAME")]
        host: Option<String>,
        /// Take checkpoints that have no signature (FILE.sig) by a signer of the config
        #[arg(long)]
        unsigned: bool,
        /// One JSON object
        #[arg(long)]
        json: bool,
        /// The daemon, or its store.
        #[command(flatten)]
        target: Target,
    },
    /// Write every record as it is stored: `sha256sum` can verify them
    Export {
        /// Into a new file, instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// The daemon, or its store.
        #[command(flatten)]
        target: Target,
    },
    /// Write the text of a config that was in force, as `sha256sum` can verify it
    Config {
        /// Its SHA-256, as the records `start`, `reload` and `load` have it
        #[arg(value_name = "SHA256")]
        sha256: String,
        /// Into a new file, instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// The daemon.
        #[command(flatten)]
        target: Target,
    },
    /// Write the document by which an order was lifted, with its signatures beside it
    Lift {
        /// Its SHA-256, as the record `resume` has it (`document_sha256`)
        #[arg(value_name = "SHA256")]
        sha256: String,
        /// Into a new file, with the signatures as FILE.1.sig and so on, instead of the document alone to standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// The daemon.
        #[command(flatten)]
        target: Target,
    },
    /// Write how the trail ends now, to be signed and kept elsewhere
    ///
    /// Sign it with `ssh-keygen -Y sign -n borderguard-audit -f KEY FILE`.
    Checkpoint {
        /// Into a new file, instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Into a new file of this folder, whose name has the host and the last record's number
        #[arg(long, value_name = "FOLDER", conflicts_with = "out")]
        into: Option<PathBuf>,
        /// The daemon.
        #[command(flatten)]
        target: Target,
    },
}

impl Args {
    /// Whether what is printed is bound by a hash, and has to stay as it is stored.
    #[must_use]
    pub const fn is_of_bytes(&self) -> bool {
        match &self.command {
            Command::Export { .. }
            | Command::Config { .. }
            | Command::Lift { .. }
            | Command::Checkpoint { .. } => true,
            Command::Show { json, .. } => *json,
            Command::Verify { .. } => false,
        }
    }
}

/// Does it.
///
/// # Errors
/// Where the trail can't be read, or `out` not be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    match &args.command {
        Command::Show { from, json, target } => show(&trail::lines(target, *from)?, *json, out),
        Command::Verify { file, checkpoint, host, unsigned, json, target } => {
            let lines = match file {
                Some(file) => trail::exported(file)?,
                None => trail::lines(target, 0)?.into_iter().map(String::into_bytes).collect(),
            };
            let read: Result<Vec<Signed>> =
                checkpoint.iter().map(|file| read_checkpoint(file, *unsigned, target)).collect();
            let read = read?;
            let own = match file {
                Some(_) if read.iter().any(|it| it.by.is_some()) => own_lines(target),
                _ => Ok(Vec::new()),
            };
            let (own, unread) = own.map_or_else(|why| (Vec::new(), Some(why)), |lines| (lines, None));
            let trails = [("the trail", lines.as_slice()), ("this host's own trail", own.as_slice())];
            read.iter().try_for_each(|it| refuse_revoked(it, &trails))?;
            let known: Vec<Checkpoint> = read.into_iter().map(|it| it.checkpoint).collect();
            let hosts = file.is_some().then(|| hosts_of(&lines));
            of_one_host(&known, (hosts, host.as_deref()))?;
            report_on(&lines, (known.as_slice(), unread.as_deref()), *json, out)
        }
        Command::Export { out: file, target } => {
            let mut text = trail::lines(target, 0)?.join("\n");
            if !text.is_empty() {
                text.push('\n');
            }
            put(file.as_deref(), &text, out)
        }
        Command::Config { sha256, out: file, target } => {
            let socket = target.socket()?;
            match ask(&socket, &Request::AuditConfig { sha256: sha256.to_ascii_lowercase() })? {
                Response::Config { text } => put(file.as_deref(), &text, out),
                _ => Err(unexpected(&socket).into()),
            }
        }
        Command::Lift { sha256, out: file, target } => {
            let socket = target.socket()?;
            let request = Request::AuditLift { sha256: sha256.to_ascii_lowercase() };
            let Response::Lift { document, signatures } = ask(&socket, &request)? else {
                return Err(unexpected(&socket).into());
            };
            if let Some(path) = file {
                for (number, signature) in (1..).zip(&signatures) {
                    file::write(&numbered(path, number), signature)?;
                }
            }
            put(file.as_deref(), &document, out)
        }
        Command::Checkpoint { out: file, into, target } => {
            let socket = target.socket()?;
            match ask(&socket, &Request::AuditCheckpoint {})? {
                Response::Checkpoint { text } => {
                    let in_folder = into.as_ref().map(|folder| Ok(folder.join(name_of(&text)?)));
                    let in_folder: Option<PathBuf> =
                        in_folder.transpose().map_err(|error: CheckpointError| {
                            anyhow::Error::new(error).context("the daemon's answer can't be used")
                        })?;
                    put(file.as_deref().or(in_folder.as_deref()), &text, out)
                }
                _ => Err(unexpected(&socket).into()),
            }
        }
    }
}

/// The file of a signature beside that of its document, from 1 on.
fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}.sig"));
    name.into()
}

fn put(path: Option<&Path>, text: &str, out: &mut impl Write) -> Result<Exit> {
    match path {
        Some(path) => {
            file::write(path, text)?;
            writeln!(out, "{} is written", path.display())?;
        }
        None => out.write_all(text.as_bytes())?,
    }
    Ok(Exit::Ok)
}

fn show(lines: &[String], json: bool, out: &mut impl Write) -> Result<Exit> {
    for line in lines {
        if json {
            writeln!(out, "{line}")?;
            continue;
        }
        match Stored::read(line.as_bytes()) {
            Ok(record) => write_wrapped("", REST, &words(&record), out)?,
            Err(error) => write_wrapped("", REST, &format!("?  {error}: {}", plain(line)), out)?,
        }
    }
    Ok(Exit::Ok)
}

/// Before the lines of a record that follow its first.
const REST: &str = "        ";

/// A record as a line, which is wrapped where it is long.
fn words(record: &Stored) -> String {
    let user = match Kind::is_by_itself(&record.kind) {
        true => THE_DAEMON.to_owned(),
        false => record.who.user.clone().unwrap_or_else(|| record.who.uid.to_string()),
    };
    let mut text = format!(
        "{:>6}  {}  {:<13}  {user}",
        record.sequence,
        record.time.strftime("%Y-%m-%d %H:%M:%S"),
        record.kind
    );
    if !record.subject.is_empty() {
        text.push_str(&format!("  {}", record.subject));
    }
    if !record.why.is_empty() {
        text.push_str(&format!("  \"{}\"", record.why));
    }
    for (key, value) in &record.detail {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.push_str(&format!("  {key}={value}"));
    }
    plain(&text)
}

/// Says what came of it. `unread` is why this host's own trail, which may name a key as revoked, could not be read beside an
/// export.
fn report_on(
    lines: &[Vec<u8>],
    (known, unread): (&[Checkpoint], Option<&str>),
    json: bool,
    out: &mut impl Write,
) -> Result<Exit> {
    let heads: Vec<Head> = known.iter().map(|checkpoint| checkpoint.head).collect();
    let verified = verify(lines, &heads);
    let gaps = Gaps::of(lines);
    if json {
        let mut object = match &verified {
            Ok(head) => json!({
                "whole": true, "records": head.sequence, "hash": head.hash_text(), "checkpoints": heads.len(),
                "gaps": gaps.count, "lost": gaps.lost,
            }),
            Err(broken) => json!({"whole": false, "record": broken.at, "fault": broken.fault.code()}),
        };
        object["own_trail_unread"] = unread.into();
        writeln!(out, "{object}")?;
    } else {
        let told = match &verified {
            Ok(head) if heads.is_empty() => format!(
                "records: {}, whole in themselves. A checkpoint that was kept elsewhere shows whether the end was \
                 cut off (--checkpoint)",
                head.sequence
            ),
            Ok(head) => format!(
                "records: {}, whole, and held against {}",
                head.sequence,
                counted(heads.len(), "checkpoint")
            ),
            Err(broken) => format!("NOT WHOLE: {broken}"),
        };
        write_wrapped("", REST, &told, out)?;
        if gaps.count > 0 {
            let told = format!(
                "{} in it, of {} that could not be written: `borderguard audit show` has when (gap)",
                counted(gaps.count, "gap"),
                counted(gaps.lost, "record")
            );
            write_wrapped("", REST, &told, out)?;
        }
        if let Some(why) = unread {
            let told = format!(
                "NOT ASKED: whether a checkpoint's key is revoked was looked for in the export alone, for this host's own trail can't \
                 be read: {}. Verify it once more where that can be",
                plain(why)
            );
            write_wrapped("", REST, &told, out)?;
        }
    }
    Ok(if verified.is_ok() { Exit::Ok } else { Exit::Failed })
}

/// What a trail says that it lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Gaps {
    /// Records of kind `gap`.
    count: usize,
    /// Records that could not be written, by those.
    lost: usize,
}

impl Gaps {
    fn of(lines: &[Vec<u8>]) -> Self {
        let gaps = lines.iter().filter_map(|line| Stored::read(line).ok());
        gaps.filter(|record| record.kind == Kind::Gap.name()).fold(Self::default(), |gaps, record| {
            let lost = record.detail.get("lost").and_then(Value::as_u64).unwrap_or_default();
            let lost = usize::try_from(lost).unwrap_or(usize::MAX);
            Self { count: gaps.count + 1, lost: gaps.lost.saturating_add(lost) }
        })
    }
}

/// The name of a checkpoint's file.
fn name_of(text: &str) -> Result<String, CheckpointError> {
    let checkpoint: Checkpoint = text.parse()?;
    Ok(format!("{}-{:010}.checkpoint", checkpoint.host(), checkpoint.head.sequence))
}

/// The names of the host whose trail this is, as its records have them: several where the host was renamed. One of an earlier
/// version of this program has none.
fn hosts_of(lines: &[Vec<u8>]) -> Vec<String> {
    let records = lines.iter().filter_map(|line| Stored::read(line).ok());
    let is_live = |record: &Stored| [Kind::Start, Kind::Reload].iter().any(|kind| kind.name() == record.kind);
    let host = |record: Stored| record.detail.get("host").and_then(|it| it.as_str()).map(str::to_owned);
    let mut hosts: Vec<String> = records.filter(is_live).filter_map(host).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

/// Refuses a checkpoint of another host's trail: it says nothing of this one. An export is of the hosts that its own records
/// name, unless another is named; where they name none, its checkpoints are of one.
fn of_one_host(known: &[Checkpoint], (of_export, named): (Option<Vec<String>>, Option<&str>)) -> Result<()> {
    let hosts = match (named, of_export) {
        (Some(name), _) => vec![name.to_owned()],
        (None, None) => vec![hostname().to_owned()],
        (None, Some(hosts)) if hosts.is_empty() => {
            known.iter().take(1).map(|it| it.host().to_owned()).collect()
        }
        (None, Some(hosts)) => hosts,
    };
    let is_of = |it: &Checkpoint| hosts.iter().any(|host| Checkpoint::new(host, it.time, it.head) == *it);
    let Some(other) = known.iter().find(|it| !is_of(it)) else { return Ok(()) };
    let hosts: Vec<String> = hosts.iter().map(|host| format!("\"{}\"", host.escape_debug())).collect();
    let message = format!(
        "a checkpoint is of the host \"{}\", and the trail of {}: leave it out, or give --host",
        other.host().escape_debug(),
        hosts.join(" and ")
    );
    Err(CliError::bad_input(message).into())
}

/// A checkpoint as it was read.
#[derive(Debug)]
struct Signed {
    /// Its file.
    file: PathBuf,
    /// What it says.
    checkpoint: Checkpoint,
    /// Whose signature it has; `None` where none was looked for.
    by: Option<Approval>,
}

/// This host's own trail, beside an export; else why it can't be read here, as on an auditor's machine.
fn own_lines(target: &Target) -> Result<Vec<Vec<u8>>, String> {
    let lines = trail::lines(target, 0).map_err(|error| format!("{error:#}"))?;
    Ok(lines.into_iter().map(String::into_bytes).collect())
}

/// The first record by which a trail says that a key is revoked.
fn revocation_of(lines: &[Vec<u8>], key: &str) -> Option<Stored> {
    // One that had approved nothing which was open is the subject.
    let names = |record: &Stored| {
        record.subject == key || record.detail.get("key").and_then(Value::as_str) == Some(key)
    };
    let records = lines.iter().filter_map(|line| Stored::read(line).ok());
    records.filter(|record| record.kind == Kind::RevokeKey.name()).find(names)
}

/// Refuses a checkpoint of a key that a trail names as revoked: whoever has that key writes what time they like into one.
fn refuse_revoked(signed: &Signed, trails: &[(&str, &[Vec<u8>])]) -> Result<()> {
    let Some(Approval { identity, fingerprint, .. }) = &signed.by else { return Ok(()) };
    let find = |(whose, lines): &(&str, &[Vec<u8>])| {
        revocation_of(lines, fingerprint).map(|record| ((*whose).to_owned(), record))
    };
    let Some((whose, record)) = trails.iter().find_map(find) else { return Ok(()) };
    // Where it was taken from the mark of an older store, the record is later.
    let revoked_at = record.detail.get("revoked_at").and_then(|it| it.as_str()?.parse().ok());
    let since: Timestamp = revoked_at.unwrap_or(record.time);
    let message = format!(
        "{}: the key {fingerprint} of {}, which signed this checkpoint, is revoked by record {} of {whose}, since {since:.0}. The \
         checkpoint shows nothing, also where it was signed before that: its time is what its signer wrote. Take one that \
         another key signed",
        signed.file.display(),
        identity.escape_debug(),
        record.sequence
    );
    Err(CliError::bad_input(message).with_codes(["revoked-key"]).into())
}

/// Reads a checkpoint, and its signature beside it.
fn read_checkpoint(file: &Path, unsigned: bool, target: &Target) -> Result<Signed> {
    let signed = |(checkpoint, by)| Signed { file: file.to_owned(), checkpoint, by };
    let text = std::fs::read(file).map_err(|error| unreadable("checkpoint", file, error))?;
    let bad = |why: String| CliError::bad_input(format!("{}: {why}", file.display()));
    if unsigned {
        let text = String::from_utf8(text).map_err(|error| bad(error.to_string()))?;
        let parsed: Result<Checkpoint, CheckpointError> = text.parse();
        return parsed.map(|it| signed((it, None))).map_err(|error| bad(format!("{error}")).into());
    }
    let mut name = file.as_os_str().to_owned();
    name.push(".sig");
    let signature = std::fs::read(&name).map_err(|error| {
        CliError::bad_input(format!(
            "cannot read the signature {}: {error}; sign the checkpoint with `ssh-keygen -Y sign -n \
             borderguard-audit`, or take it --unsigned",
            Path::new(&name).display()
        ))
    })?;
    let config = target.config_file();
    default_must_be_there(&config, BY_CONFIG)?;
    let checked =
        inputs::load_config(&config, false).map_err(|error| CliError::document(error.to_string()))?;
    let Some(approval) = checked.policy.approval else {
        return Err(
            bad(format!("{} has no [approval], so nobody's signature is known", config.display())).into()
        );
    };
    let allowed = load::load(&approval.allowed_signers, &TimeZone::system())
        .map_err(|error| CliError::bad_input(error.to_string()))?;
    let identities: Vec<&str> = approval.signers.iter().map(|signer| signer.identity.as_str()).collect();
    let read = Checkpoint::read_signed(&text, &signature, &identities, &allowed, Timestamp::now());
    let read = read.map(|(checkpoint, by)| signed((checkpoint, Some(by))));
    read.map_err(|error| bad(error.to_string()).into())
}

#[cfg(test)]
mod tests;
