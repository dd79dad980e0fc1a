//! What the command line asks of the daemon about exemptions.

use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use serde_json::json;

use super::{show, signatures};
use crate::approval;
use crate::cli::CliError;
use crate::cli::check::counted;
use crate::cli::table::{plain, write_wrapped};
use crate::cli::target::Target;
use crate::config::Errors;
use crate::control::client::{ClientError, ask, unexpected};
use crate::control::protocol::{self, REFUSED_BY_CLIENT, Request, Response};
use crate::exemption::approvers::NO_ROLE;
use crate::exemption::limits::DOCUMENT_BYTES;
use crate::exemption::summary::{HIDDEN, OrderSummary};
use crate::exemption::{self, ErrorKind, OrderKind, State, Summary, Surroundings};
use crate::exit::Exit;
use crate::text::visible_lines;

/// What is shown of something that is cut: done, and planned.
pub(crate) const CUT: (&str, &str) = ("; no packet passes any more by:", "; these are:");
/// What is shown of something that passes again.
pub(crate) const PASSES: (&str, &str) = ("; packets pass again by:", "; this is:");

/// How a change is asked for, and its answer shown.
#[derive(Clone, Debug, clap::Args)]
pub struct How {
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// How a list is asked for, and shown.
#[derive(Clone, Debug, clap::Args)]
pub struct AsList {
    /// One JSON array
    #[arg(long)]
    pub json: bool,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// `exemption load FILE [SIGNATURE]...`; without signatures those that lie beside the file.
pub(super) fn load(
    file: &Path,
    signatures: &[PathBuf],
    how: &How,
    now: Timestamp,
    out: &mut impl Write,
) -> Result<Exit> {
    let socket = how.target.socket()?;
    let bytes = exemption::read(file).map_err(refused)?;
    let surroundings = Surroundings { now: Some(now), ..Surroundings::default() };
    // What is wrong with the document alone can be said without a daemon.
    let checked = exemption::parse(file, &bytes, &surroundings).map_err(refused);
    let (document, known) = match (String::from_utf8(without_half_a_letter(bytes)), checked) {
        (Ok(document), Ok(known)) => (document, known),
        (Ok(document), Err(errors)) if !how.dry_run => return Err(recorded(&socket, file, document, errors)),
        (_, Err(errors)) => return Err(errors.into()),
        (Err(error), Ok(_)) => return Err(error.into()),
    };
    let signatures = signatures::texts(file, signatures)?;
    let name = file.to_string_lossy().into_owned();
    let request = Request::ExemptionLoad { document, name, signatures, dry_run: how.dry_run, refused: false };
    let begins = if known.valid_from > now { "once it begins" } else { "from now on" };
    let done = format!("; the kernel lets through {begins}:");
    change(&socket, &request, how, (&done, "; loaded, the kernel would let through:"), now, out)
}

/// What was read of a document that is too long may end within a character.
fn without_half_a_letter(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() > DOCUMENT_BYTES
        && let Err(error) = std::str::from_utf8(&bytes)
        && error.error_len().is_none()
    {
        bytes.truncate(error.valid_up_to());
    }
    bytes
}

/// Has a daemon that runs record that a document with errors is refused, and takes its words, which know of its config
/// too. It loads nothing by that, also where it finds no error.
fn recorded(socket: &Path, file: &Path, document: String, errors: CliError) -> anyhow::Error {
    let name = file.to_string_lossy().into_owned();
    // Signatures are of no use to a document with errors.
    let request =
        Request::ExemptionLoad { document, name, signatures: Vec::new(), dry_run: false, refused: true };
    match ask(socket, &request) {
        Err(refusal) if knows_better(&refusal) => refusal.into(),
        _ => errors.into(),
    }
}

/// Whether a refusal names errors in the document.
fn knows_better(refusal: &ClientError) -> bool {
    let ClientError::Refused { kind, codes, .. } = refusal else { return false };
    *kind == protocol::ErrorKind::BadInput && codes.iter().any(|code| code != REFUSED_BY_CLIENT)
}

/// A request for a change, and its answer as it is shown.
pub(crate) fn change(
    socket: &Path,
    request: &Request,
    how: &How,
    (done, planned): (&str, &str),
    now: Timestamp,
    out: &mut impl Write,
) -> Result<Exit> {
    match ask(socket, request)? {
        Response::Done { message, generation, exemptions } => {
            if how.json {
                let object = json!({
                    "changed": true, "message": message, "generation": generation, "exemptions": exemptions,
                });
                writeln!(out, "{object}")?;
            } else {
                let done = once_begun(done, &exemptions);
                let live = format!(" (generation {generation}){done}");
                sentence(&format!("{message}{}", if exemptions.is_empty() { "" } else { &live }), out)?;
                each(&exemptions, now, out)?;
            }
        }
        Response::Planned { message, exemptions } => {
            if how.json {
                let object = json!({"changed": false, "message": message, "exemptions": exemptions});
                writeln!(out, "{object}")?;
            } else {
                let planned = if exemptions.is_empty() { "" } else { planned };
                sentence(&format!("nothing was changed: {message}{planned}"), out)?;
                each(&exemptions, now, out)?;
            }
        }
        _ => return Err(unexpected(socket).into()),
    }
    Ok(Exit::Ok)
}

/// What is said of those that are done: of those that pass again, that some do once their windows begin.
fn once_begun<'w>(done: &'w str, exemptions: &[Summary]) -> Cow<'w, str> {
    let later: Vec<Timestamp> =
        exemptions.iter().filter(|it| it.state == State::NotYetValid).map(|it| it.valid_from).collect();
    let Some(first) = later.iter().min().filter(|_| done == PASSES.0) else { return Cow::Borrowed(done) };
    let begins = match later.len() {
        1 if exemptions.len() == 1 => format!("once it begins ({first})"),
        all if all == exemptions.len() => format!("once they begin (the first: {first})"),
        _ => format!("those that are not yet valid once they begin (the first: {first})"),
    };
    Cow::Owned(format!("; packets pass again, {begins}, by:"))
}

/// Writes what was done, or would be.
fn sentence(text: &str, out: &mut impl Write) -> Result<()> {
    Ok(write_wrapped("", show::REST, &plain(text), out)?)
}

fn each(exemptions: &[Summary], now: Timestamp, out: &mut impl Write) -> Result<()> {
    for summary in exemptions {
        show::one(summary, not_before_it_was_done(summary, now), out)?;
    }
    Ok(())
}

/// The time that `now` was when something was asked for, or that of its answer where that has what was done after it: nobody
/// is told that what is done will be.
fn not_before_it_was_done(summary: &Summary, now: Timestamp) -> Timestamp {
    let closed = summary.revoked.iter().chain(&summary.stayed).map(|it| it.at);
    let orders = summary.orders.iter().map(|it| it.at);
    summary.loaded_at.into_iter().chain(closed).chain(orders).fold(now, Timestamp::max)
}

/// Which exemptions are listed: those in one of these states and for one of these pins; empty is any.
#[derive(Clone, Copy, Debug)]
pub(super) struct Only<'a> {
    pub(super) states: &'a [State],
    pub(super) pins: &'a [String],
    /// Whether what is due of them is listed in their place.
    pub(super) due: bool,
}

impl Only<'_> {
    fn takes(&self, summary: &Summary) -> bool {
        (self.states.is_empty() || self.states.contains(&summary.state))
            && (self.pins.is_empty() || self.pins.iter().any(|pin| summary.pins.contains(pin)))
    }
}

/// `exemption list`
pub(super) fn list(
    only: &Only<'_>,
    json: bool,
    socket: &Path,
    now: Timestamp,
    out: &mut impl Write,
) -> Result<Exit> {
    let Response::Exemptions { exemptions, approval_required } = ask(socket, &Request::ExemptionList {})?
    else {
        return Err(unexpected(socket).into());
    };
    let exit = listed(exemptions, only, json, now, out)?;
    if !json && !only.due && !approval_required {
        writeln!(out, "{}", approval::NONE_REQUIRED)?;
    }
    Ok(exit)
}

fn listed(
    mut exemptions: Vec<Summary>,
    only: &Only<'_>,
    json: bool,
    now: Timestamp,
    out: &mut impl Write,
) -> Result<Exit> {
    let all = exemptions.len();
    exemptions.retain(|summary| only.takes(summary));
    match json {
        true if only.due => {
            let due = show::all_due(&exemptions).into_iter().map(|(by, it, what)| {
                json!({
                    "id": it.id, "version": it.version, "state": it.state, "what": what, "by": by, "overdue": by <= now,
                    "if_renewed": show::is_for_renewal(it, what, by),
                })
            });
            // How much is due of these, and whether anything is, is not known: an entry says so for each.
            let unseen = exemptions.iter().filter(|it| it.is_redacted()).map(|it| {
                json!({
                    "id": it.id, "version": it.version, "state": it.state, "what": HIDDEN, "by": null, "overdue": null,
                    "if_renewed": null,
                })
            });
            writeln!(out, "{}", serde_json::Value::Array(due.chain(unseen).collect()))?;
        }
        false if only.due => show::due(&exemptions, now, out)?,
        true => writeln!(out, "{}", serde_json::to_string(&exemptions)?)?,
        false if exemptions.is_empty() && all > 0 => {
            writeln!(out, "none of {} is in such a state and for such a pin", counted(all, "exemption"))?;
        }
        false => show::list(&exemptions, now, out)?,
    }
    Ok(Exit::Ok)
}

/// The orders that stand.
pub(crate) fn standing(socket: &Path) -> Result<Vec<OrderSummary>> {
    match ask(socket, &Request::ExemptionOrders {})? {
        Response::Orders { orders } => Ok(orders),
        _ => Err(unexpected(socket).into()),
    }
}

/// `exemption orders`, and of one kind alone `instrument list`
pub(crate) fn orders(
    kind: Option<OrderKind>,
    AsList { json, target }: &AsList,
    now: Timestamp,
    out: &mut impl Write,
) -> Result<Exit> {
    let mut orders = standing(&target.socket()?)?;
    orders.retain(|order| kind.is_none_or(|kind| kind.name() == order.kind));
    if *json {
        writeln!(out, "{}", serde_json::to_string(&orders)?)?;
    } else if orders.is_empty() {
        let none = match kind {
            Some(OrderKind::Fallen) => "no instrument has fallen",
            Some(OrderKind::RevokedKey) => "no key is revoked",
            Some(OrderKind::Stay) | None => "no order stands",
        };
        writeln!(out, "{none}")?;
    } else {
        for order in &orders {
            let on = if order.covers == "exemption" { format!(", on {}", order.name) } else { String::new() };
            sentence(&format!("{}{on}", show::of_order(order, now)), out)?;
        }
    }
    Ok(Exit::Ok)
}

/// `exemption show ID`
pub(super) fn show(
    id: &str,
    version: Option<u32>,
    json: bool,
    socket: &Path,
    now: Timestamp,
    out: &mut impl Write,
) -> Result<Exit> {
    let request = Request::ExemptionShow { id: id.to_owned(), version };
    let Response::Exemption { exemption, approvals, document, signatures } = ask(socket, &request)? else {
        return Err(unexpected(socket).into());
    };
    if json {
        let object = json!({
            "exemption": exemption, "approvals": approvals, "document": document, "signatures": signatures,
        });
        writeln!(out, "{object}")?;
        return Ok(Exit::Ok);
    }
    show::one(&exemption, now, out)?;
    for approval in &approvals {
        let role = approval.role.as_deref().map(|role| format!("as {role}"));
        let role = role.unwrap_or_else(|| format!("in {NO_ROLE}"));
        let by = format!("by {} {role}, with {}", approval.identity, approval.fingerprint);
        show::fact("signed", &by, out)?;
    }
    if approvals.is_empty() && !exemption.confidential {
        writeln!(out, "  approved by nobody: approvals were not verified when it was loaded")?;
    }
    match document {
        Some(document) => {
            // TOML's own line breaks; what else would not be seen was refused when it was loaded, or is older than that.
            let text = document.trim_end().replace("\r\n", "\n");
            let shown = visible_lines(&text);
            let but = match &shown {
                Cow::Borrowed(_) => "byte for byte",
                Cow::Owned(_) => "with characters escaped that nobody sees",
            };
            writeln!(out, "\nthe document, {but}:\n\n{shown}")?;
        }
        None => writeln!(out, "\nthe document is confidential, and not shown to you")?,
    }
    Ok(Exit::Ok)
}

fn refused(errors: Errors<ErrorKind>) -> CliError {
    CliError::errors(&errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_is_cut_within_a_letter_is_text_and_still_too_long() {
        for letter in ["x", "é", "€", "𝄞"] {
            for before in 0..4 {
                let text = format!("{}{}", "#".repeat(DOCUMENT_BYTES - before), letter.repeat(8));
                let folder = tempfile::tempdir().unwrap();
                let file = folder.path().join("m.toml");
                std::fs::write(&file, &text).unwrap();
                let sent = String::from_utf8(without_half_a_letter(exemption::read(&file).unwrap())).unwrap();
                assert!(sent.len() > DOCUMENT_BYTES && text.starts_with(&sent), "{letter} {before}");
            }
        }
        let no_text = vec![0xff; DOCUMENT_BYTES + 4];
        assert_eq!(without_half_a_letter(no_text.clone()), no_text);
    }

    #[test]
    fn what_passes_again_only_once_its_window_begins_is_told_so() {
        use super::super::show::tests::summary;
        let later = || Summary { state: State::NotYetValid, ..summary() };
        let from = summary().valid_from;
        assert_eq!(once_begun(PASSES.0, &[summary()]), PASSES.0);
        assert_eq!(
            once_begun(PASSES.0, &[later()]),
            format!("; packets pass again, once it begins ({from}), by:")
        );
        assert_eq!(
            once_begun(PASSES.0, &[later(), later()]),
            format!("; packets pass again, once they begin (the first: {from}), by:")
        );
        let one_of_two = once_begun(PASSES.0, &[summary(), later()]);
        assert!(one_of_two.contains("those that are not yet valid once they begin"), "{one_of_two}");
        assert_eq!(once_begun(CUT.0, &[later()]), CUT.0);
    }

    #[test]
    fn what_was_done_a_moment_after_it_was_asked_for_is_done_now() {
        use super::super::show::tests::summary;
        let at: Timestamp = "2026-12-02T00:00:01Z".parse().unwrap();
        let asked: Timestamp = "2026-12-01T23:59:59Z".parse().unwrap();
        let loaded = Summary { loaded_at: Some(at), loaded_by: Some(0), ..summary() };
        let mut out = Vec::new();
        each(&[loaded], asked, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("  loaded   2026-12-02 00:00:01 UTC (now) by "), "{text}");
    }

    #[test]
    fn a_list_can_be_of_some_states_and_pins_alone() {
        use super::super::show::tests::summary;
        let stayed =
            Summary { id: "b".into(), state: State::Stayed, pins: vec!["backup".into()], ..summary() };
        let all = vec![summary(), stayed];
        let ids = |states: &[State], pins: &[&str]| {
            let pins: Vec<String> = pins.iter().map(|&pin| pin.to_owned()).collect();
            let only = Only { states, pins: &pins, due: false };
            let mut out = Vec::new();
            let now = Timestamp::UNIX_EPOCH;
            listed(all.clone(), &only, true, now, &mut out).unwrap();
            let shown: Vec<Summary> = serde_json::from_slice(&out).unwrap();
            let mut text = Vec::new();
            listed(all.clone(), &only, false, now, &mut text).unwrap();
            let text = String::from_utf8(text).unwrap();
            assert_eq!(
                text.starts_with("none of 2 exemptions is in such a state"),
                shown.is_empty(),
                "{text}"
            );
            shown.into_iter().map(|it| it.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(&[], &[]), ["m-1", "b"]);
        assert_eq!(ids(&[State::Stayed], &[]), ["b"]);
        assert_eq!(ids(&[State::Stayed, State::Active], &[]), ["m-1", "b"]);
        assert_eq!(ids(&[], &["files"]), ["m-1"]);
        assert_eq!(ids(&[], &["files", "backup"]), ["m-1", "b"]);
        assert_eq!(ids(&[State::Stayed], &["files"]), Vec::<String>::new());
    }
}
