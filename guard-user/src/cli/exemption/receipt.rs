//! `borderguard exemption receipt`: what an exemption that is closed has let through, in a file that can be verified by
//! others' programs; and the verification of such a file.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::approval::{self, AllowedSigners, Approval, RECEIPT, Refusal, load};
use crate::cli::check::counted;
use crate::cli::exemption::file;
use crate::cli::table::{plain, write_wrapped};
use crate::cli::target::Target;
use crate::cli::{CliError, time_stamp};
use crate::control::client::{ask, unexpected};
use crate::control::protocol::{Request, Response};
use crate::exit::Exit;
use crate::report::number::grouped;
use crate::report::receipt::Receipt;
use crate::report::{DayUse, PRESUMED};

/// The most receipts of one version in one folder.
const MOST_RECEIPTS: u32 = 1000;

const AFTER_HELP: &str = "\
Without this program, HOST being the receipt's host:
  ssh-keygen -Y verify -f ALLOWED -I HOST -n borderguard-receipt \\
    -s FILE.sig < FILE
  cat FILE FILE.sig | openssl ts -verify -data /dev/stdin \\
    -in FILE.tsr -CAfile CA
The exit code of --verify is 1 where anything does not hold: signature,
figures, or the time stamp, each told by itself. A receipt
without a time stamp holds, which is said; with --tsa-ca it does not.";

/// Arguments of `exemption receipt`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The exemption's id; it must be closed
    #[arg(value_name = "ID", required_unless_present = "verify")]
    pub id: Option<String>,
    /// Its version [default: the highest]
    #[arg(long, value_name = "NUMBER")]
    pub version: Option<u32>,
    /// The folder for the receipt, its signature and its stamp
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub into: PathBuf,
    /// Verify this receipt by FILE.sig and FILE.tsr beside it; asks no daemon
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "version"], requires = "allowed_signers")]
    pub verify: Option<PathBuf>,
    /// Allowed signers, with the host's key under the host's name
    #[arg(long, value_name = "FILE")]
    pub allowed_signers: Option<PathBuf>,
    /// The authority's root certificate, as PEM; the time stamp has to be there then
    #[arg(long, value_name = "FILE", conflicts_with = "no_time_stamp")]
    pub tsa_ca: Option<PathBuf>,
    /// Ask for no time stamp, or verify none
    #[arg(long)]
    pub no_time_stamp: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// Does it.
///
/// # Errors
/// Where no daemon answers or it refuses, no time stamp can be had, or a file can't be read or written.
pub fn run(args: &Args, now: Timestamp, out: &mut impl Write) -> Result<Exit> {
    match (&args.verify, &args.allowed_signers, &args.id) {
        (Some(file), Some(allowed), _) => verify(file, allowed, args, now, out),
        (_, _, Some(id)) => give(id, args, out),
        _ => Err(CliError::bad_input("name an exemption, or a receipt with --verify").into()),
    }
}

/// Refuses a folder into which nothing can be written: that a receipt was given is a record, and is not to be one of none.
fn must_take_files(folder: &Path) -> Result<()> {
    let refused = |why: &str| CliError::bad_input(format!("--into {}: {why}", folder.display()));
    let found = fs::metadata(folder).map_err(|error| refused(&error.to_string()))?;
    if !found.is_dir() {
        return Err(refused("this is no folder").into());
    }
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    rustix::fs::access(folder, access).map_err(|error| refused(&io::Error::from(error).to_string()))?;
    Ok(())
}

fn give(id: &str, args: &Args, out: &mut impl Write) -> Result<Exit> {
    let request = |right_only: bool, not_written: Option<String>| Request::ExemptionReceipt {
        id: id.to_owned(),
        version: args.version,
        not_written,
        right_only,
    };
    if let Err(unusable) = must_take_files(&args.into) {
        // Who lacks the right is told that, and not to look for another folder first.
        let refused = args.target.socket().ok().and_then(|socket| ask(&socket, &request(true, None)).err());
        return Err(match refused {
            Some(refused) if refused.exit() == Exit::NotPermitted => refused.into(),
            _ => unusable,
        });
    }
    let socket = args.target.socket()?;
    let Response::Receipt { text, signature, public_key, time_stamp: command } =
        ask(&socket, &request(false, None))?
    else {
        return Err(unexpected(&socket).into());
    };
    let given = Given { text, signature, public_key, command };
    written(&given, args, out).map_err(|error| {
        // The trail has that it was given: what became of it is to be there too.
        let why = Some(format!("{error:#}"));
        match ask(&socket, &request(false, why)) {
            Ok(_) => error,
            Err(unrecorded) => {
                error.context(format!("nor could it be recorded that no receipt was written: {unrecorded}"))
            }
        }
    })
}

/// A receipt as the daemon gives it.
struct Given {
    text: String,
    signature: String,
    public_key: String,
    /// The command that has it stamped; empty for none.
    command: Vec<String>,
}

/// Has it stamped, and writes its files.
fn written(given: &Given, args: &Args, out: &mut impl Write) -> Result<Exit> {
    let Given { text, signature, public_key, command } = given;
    let receipt = Receipt::read(text.as_bytes()).context("the daemon's answer is of no use")?;
    let imprint = time_stamp::imprint(&[text.as_bytes(), signature.as_bytes()]);
    let stamp =
        match args.no_time_stamp || command.is_empty() {
            true => None,
            false => Some(time_stamp::stamp(command, &imprint).context(
                "no receipt was written: it could not be stamped. --no-time-stamp writes it without",
            )?),
        };
    let file = free_file(&args.into, &format!("{}-{}", receipt.exemption.id, receipt.exemption.version))?;
    write(&file, text.as_bytes())?;
    write(&beside(&file, "sig"), signature.as_bytes())?;
    if let Some(stamp) = &stamp {
        write(&beside(&file, "tsr"), stamp)?;
    }
    let signer = format!("{} namespaces=\"{RECEIPT}\" {public_key}", receipt.host);
    if args.json {
        let object = json!({
            "file": file.to_string_lossy(), "stamped": stamp.is_some(), "allowed_signer": signer,
            "receipt": receipt,
        });
        writeln!(out, "{object}")?;
        return Ok(Exit::Ok);
    }
    let stamped = if stamp.is_some() { ", and .tsr, its time stamp" } else { "; it has no time stamp" };
    let line = format!("{} is written, with .sig, its signature{stamped}", file.display());
    write_wrapped("", "  ", &plain(&line), out)?;
    writeln!(out, "who verifies it needs this line in a file of allowed signers:\n{}", plain(&signer))?;
    Ok(Exit::Ok)
}

/// A file of this name and none other of its receipt's that is there: the trail has that one was given already, so that a
/// second one is written beside the first.
fn free_file(folder: &Path, stem: &str) -> Result<PathBuf> {
    let is_free = |file: &PathBuf| {
        let all = [file.clone(), beside(file, "sig"), beside(file, "tsr")];
        all.iter().all(
            |file| matches!(file.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound),
        )
    };
    let first = std::iter::once(format!("{stem}.receipt.json"));
    let names = first.chain((2..=MOST_RECEIPTS).map(|number| format!("{stem}.{number}.receipt.json")));
    names.map(|name| folder.join(name)).find(is_free).with_context(|| {
        format!(
            "{} has {MOST_RECEIPTS} receipts of {stem} already: name another folder with --into",
            folder.display()
        )
    })
}

fn beside(file: &Path, extension: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(format!(".{extension}"));
    name.into()
}

/// What is confidential in it is its owner's alone. What is there already stays as it is.
fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let failed = || format!("cannot write {}", file.display());
    let mut opened = file::create(file).with_context(failed)?;
    opened.write_all(bytes).and_then(|()| opened.sync_all()).with_context(failed)
}

fn verify(file: &Path, allowed: &Path, args: &Args, now: Timestamp, out: &mut impl Write) -> Result<Exit> {
    let (signature, stamp) = (beside(file, "sig"), beside(file, "tsr"));
    let read = |file: &Path| {
        fs::read(file)
            .map_err(|error| CliError::bad_input(format!("cannot read {}: {error}", file.display())))
    };
    let (bytes, signed) = (read(file)?, read(&signature)?);
    let allowed = load::load(allowed, &TimeZone::system()).map_err(|e| CliError::bad_input(e.to_string()))?;
    let is_stamped = stamp.try_exists().unwrap_or(true);
    if is_stamped && args.tsa_ca.is_none() && !args.no_time_stamp {
        let message = format!(
            "{} is a time stamp: name the authority's root certificate by --tsa-ca FILE, or leave it out by \
             --no-time-stamp",
            stamp.display()
        );
        return Err(CliError::bad_input(message).into());
    }
    let stamped = args.tsa_ca.as_deref().map(|authority| {
        let imprint = time_stamp::imprint(&[&bytes, &signed]);
        time_stamp::verify(&stamp, &imprint, authority)
    });
    let signer = signer(&bytes, &signed, &allowed, now);
    let unheld = signer.as_ref().ok().and_then(|(_, receipt)| unheld(receipt, now));
    let receipt = signer.as_ref().ok().map(|(_, receipt)| receipt).filter(|_| unheld.is_none());
    let is_good = receipt.is_some() && stamped.as_ref().is_none_or(Result::is_ok);
    let words = |error: &anyhow::Error| format!("{error:#}");
    if args.json {
        let object = json!({
            "file": file.to_string_lossy(),
            "good": is_good,
            "stamped": is_stamped,
            "signature": signer.as_ref().map_or_else(words, |(by, _)| format!("by {} {}", by.identity, by.fingerprint)),
            "time_stamp": stamped.as_ref().map(|stamped| stamped.as_ref().map_or_else(words, |_| "good".to_owned())),
            "figures": signer.as_ref().ok().map(|_| unheld.as_deref().unwrap_or("good")),
            "made_at": receipt.map(|receipt| receipt.made_at),
            "stamped_at": stamped.as_ref().and_then(|stamped| stamped.as_ref().ok()),
            "receipt": receipt,
        });
        writeln!(out, "{object}")?;
        return Ok(if is_good { Exit::Ok } else { Exit::Failed });
    }
    match &signer {
        Ok((by, _)) => {
            let Approval { identity, algorithm, fingerprint, .. } = by;
            let line = format!("signature: good, by {identity} with {algorithm} {fingerprint}");
            write_wrapped("", "  ", &plain(&line), out)?;
        }
        Err(error) => write_wrapped("", "  ", &plain(&format!("signature: bad: {error:#}")), out)?,
    }
    if let Some(unheld) = &unheld {
        write_wrapped("", "  ", &plain(&format!("figures: bad: {unheld}")), out)?;
    }
    if let Some(receipt) = receipt {
        tell(receipt, out)?;
    }
    match &stamped {
        Some(Ok(at)) => {
            let made = receipt.map(|receipt| receipt.made_at);
            let apart = made.and_then(|made| apart(made, *at)).unwrap_or_default();
            let line = format!("time stamp: good, of {}{apart}", at.strftime(SECONDS));
            write_wrapped("", "  ", &line, out)?;
        }
        Some(Err(error)) => {
            write_wrapped("", "  ", &plain(&format!("time stamp: bad: {error:#}")), out)?;
        }
        None => {
            let said = match is_stamped {
                true => "time stamp: not looked at, so that when it was made is by the host's clock alone",
                false => {
                    "time stamp: NONE, so that when it was made is by the host's clock alone, and whoever has the \
                          host's key later could have made it; --tsa-ca asks for one"
                }
            };
            write_wrapped("", "  ", said, out)?;
        }
    }
    Ok(if is_good { Exit::Ok } else { Exit::Failed })
}

/// Writes what a receipt that holds is of.
fn tell(receipt: &Receipt, out: &mut impl Write) -> io::Result<()> {
    let of = &receipt.exemption;
    let line = format!(
        "receipt: {} version {}, {}; {} bytes to {} in {} packets",
        of.id,
        of.version,
        of.state,
        grouped(receipt.bytes),
        counted_recipients(receipt),
        grouped(receipt.packets)
    );
    write_wrapped("", "  ", &plain(&line), out)?;
    if let Some(presumed @ 1..) = receipt.presumed_bytes {
        let line = format!("beside these: {} bytes {PRESUMED}", grouped(presumed));
        write_wrapped("", "  ", &line, out)?;
    }
    writeln!(out, "made: {} by the host's clock", receipt.made_at.strftime(SECONDS))?;
    receipt.gaps.iter().try_for_each(|gap| write_wrapped("", "  ", &plain(&format!("gap: {gap}")), out))
}

/// What of a receipt does not hold, whoever signed it.
fn unheld(receipt: &Receipt, now: Timestamp) -> Option<String> {
    if let Some(which) = receipt.disagreement() {
        return Some(format!("they do not agree: {which}"));
    }
    (receipt.made_at.duration_since(now) > STAMPED_WITHIN).then(|| {
        format!(
            "the receipt says that it was made at {}, which is still to come: its host's clock was wrong, this one's is, or it was \
             made for later",
            receipt.made_at.strftime(SECONDS)
        )
    })
}

/// How a moment is written.
const SECONDS: &str = "%Y-%m-%d %H:%M:%S UTC";

/// A receipt is stamped when it is made: what lies further apart was stamped later, or one of the clocks is wrong.
const STAMPED_WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// How far a stamp is from when the receipt says that it was made, where that is more than it takes.
fn apart(made: Timestamp, stamped: Timestamp) -> Option<String> {
    let apart = stamped.duration_since(made);
    let minutes = apart.abs().as_mins();
    let when = if apart.is_negative() { "before" } else { "after" };
    (apart.abs() > STAMPED_WITHIN).then(|| {
        format!(
            ", {minutes} minutes {when} the receipt says that it was made: it was stamped later, or the host's clock is wrong"
        )
    })
}

/// Who signed the receipt, and what it says.
fn signer(
    bytes: &[u8],
    signed: &[u8],
    allowed: &AllowedSigners,
    now: Timestamp,
) -> Result<(Approval, Receipt)> {
    const CHANGED: &str = "the receipt was changed after it was signed, or its signature was: it is not the file that the \
                           host signed";
    let receipt = Receipt::of_form(bytes).map_err(|error| {
        // A byte that was changed may leave no receipt at all.
        anyhow::Error::new(error).context("the file was changed, or what was signed never was a receipt")
    })?;
    let host = [receipt.host.as_str()];
    match approval::verify(bytes, signed, RECEIPT, &host, allowed, now) {
        Ok(by) => Ok((by, receipt)),
        Err(Refusal::Altered) => Err(anyhow::Error::msg(CHANGED)),
        // By its own words it is of a host that the signers' file does not have: they may be what was changed.
        Err(error @ Refusal::NoSuchSigner { .. }) => Err(anyhow::Error::new(error).context(format!(
            "the receipt says that it is of {}, and the key is not that host's: the receipt was changed, or the file of \
             allowed signers has the key under another name",
            receipt.host.escape_debug()
        ))),
        Err(error) => Err(anyhow::Error::new(error).context(format!(
            "the signature does not count as one of {}",
            receipt.host.escape_debug()
        ))),
    }
}

/// How many of those who might receive got something, by the rows of its use: `1 of 2 recipients`. What is attributed to none of
/// them, one of them got at least.
fn counted_recipients(receipt: &Receipt) -> String {
    let all = receipt.recipients.len();
    let of_all = counted(all, "recipient");
    let is_of_one = |row: &&DayUse| row.number.is_some() || row.recipient.is_some();
    // Receipts of earlier versions name the only one without its number.
    let named = receipt.use_by_day.iter().filter(is_of_one).map(|row| row.number.unwrap_or(1));
    let named = named.collect::<BTreeSet<u32>>().len();
    let is_apart = receipt.use_by_day.iter().any(|row| !is_of_one(&row));
    let got = if is_apart { named.max(1) } else { named };
    match is_apart {
        _ if got >= all => of_all,
        true => format!("at least {got} of {of_all}"),
        false => format!("{got} of {of_all}"),
    }
}

#[cfg(test)]
mod tests;
