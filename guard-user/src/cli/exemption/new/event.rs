//! What an event knows of the transfer that it tells of: the answers of a document that asks for it.

use std::path::Path;

use anyhow::Result;
use ipnetwork::IpNetwork;
use serde_json::Value;

use crate::cli::CliError;
use crate::control::client::{Exchange, unexpected};
use crate::control::protocol::{EventFormat, Request, Response};
use crate::events::id::EventId;
use crate::exemption::draft::Draft;
use crate::history::Filter;
use crate::hostname::hostname;
use crate::text::visible;

/// What an event says to a document that asks for what it tells of.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Answers, as keys and values.
    pub(super) answers: Vec<(&'static str, String)>,
    /// What is for the author to weigh, in lines of a comment.
    pub(super) seen: Vec<String>,
}

/// What this event knows.
///
/// # Errors
/// Where no daemon answers, it has no such event any more, or the event tells of nothing that an exemption could let pass.
pub(super) fn known(socket: &Path, id: EventId) -> Result<Known> {
    let filter = Filter { event: Some(id), ..Filter::default() };
    let request =
        Request::Events { follow: false, limit: None, format: EventFormat::Json, filter, brief: false };
    let mut exchange = Exchange::begin(socket, &request)?;
    loop {
        match exchange.response()? {
            Some(Response::Event { line }) => {
                let event: Value = serde_json::from_str(&line)?;
                let answers = of(&event, hostname()).map_err(|why| {
                    CliError::bad_input(format!("no exemption can be asked for by the event {id}: {why}"))
                })?;
                return Ok(Known { answers, seen: seen(&event, id) });
            }
            Some(Response::Missed { .. } | Response::LeftOut { .. }) => {}
            Some(Response::End {}) | None => {
                let message = format!(
                    "the daemon has no event {id}, in memory or in its flow history: `borderguard events` shows those that \
                     it has, each with its name as id="
                );
                return Err(CliError::bad_input(message).into());
            }
            Some(_) => return Err(unexpected(socket).into()),
        }
    }
}

/// Puts what an event knows beside the answers of a file, which stand. Its address goes to the recipient that has it.
///
/// # Errors
/// Where the answers are of other pins, or no recipient of theirs can be the event's: the document would not be of the event.
pub(super) fn put(draft: &mut Draft, id: &str, known: &[(&'static str, String)]) -> Result<(), CliError> {
    let refused = |why: String| CliError::bad_input(format!("the answers are not of the event {id}: {why}"));
    let of = |path: &str| known.iter().find(|(its, _)| *its == path).map(|(_, text)| text.as_str());
    if let (Some(answered), Some(pins)) = (draft.texts("pins", 0), of("pins"))
        && pins.split(", ").any(|pin| !answered.iter().any(|it| it == pin))
    {
        let answered = answered.join(", ");
        return Err(refused(format!("they are for the pins {answered}, and the event is of {pins}")));
    }
    let place = match draft.count("recipient") {
        0 => None,
        count => Some(
            recipient(draft, count, (of("recipient.cidrs"), of("recipient.jurisdiction")))
                .map_err(refused)?,
        ),
    };
    for (path, text) in known {
        let put = match place.filter(|_| path.starts_with("recipient.")) {
            Some(at) if draft.texts(path, at).is_some() => Ok(()),
            Some(at) => draft.answer_at(path, at, text),
            None if draft.answers(path) => Ok(()),
            None => draft.answer(path, text),
        };
        put.map_err(|error| CliError::bad_input(error.to_string()))?;
    }
    Ok(())
}

/// The place among the answers' recipients of the one that is the event's: the one that has the address, else the only one
/// that names no networks and may be in the event's jurisdiction.
fn recipient(
    draft: &Draft,
    count: usize,
    (address, jurisdiction): (Option<&str>, Option<&str>),
) -> Result<usize, String> {
    let parsed = |text: &str| text.parse::<IpNetwork>().ok();
    let address = address.unwrap_or_default();
    let networks = |at: usize| draft.texts("recipient.cidrs", at);
    let has_it = |at: &usize| {
        let networks = networks(*at).unwrap_or_default();
        let its = parsed(address).map(|it| it.network());
        networks.iter().filter_map(|text| parsed(text)).any(|it| its.is_some_and(|its| it.contains(its)))
    };
    let is_there = |at: usize| {
        let answered = draft.texts("recipient.jurisdiction", at);
        answered.is_none_or(|it| it.first().map(String::as_str) == jurisdiction)
    };
    let place = jurisdiction.unwrap_or_default();
    if let Some(at) = (0..count).find(has_it) {
        let anywhere = draft.texts("recipient.anywhere", at).is_some();
        return match is_there(at) || anywhere {
            true => Ok(at),
            false => {
                Err(format!("{} has its address {address}, which is placed in {place}", named(draft, at)))
            }
        };
    }
    let open: Vec<usize> = (0..count).filter(|at| networks(*at).is_none() && is_there(*at)).collect();
    match open.as_slice() {
        [at] => Ok(*at),
        _ => {
            let all: Vec<String> = (0..count).map(|at| named(draft, at)).collect();
            Err(format!(
                "its address is {address} in {place}, and their recipients are {}; give the recipient that it belongs to the \
                 address, or leave that recipient's networks out",
                all.join(", and ")
            ))
        }
    }
}

/// A recipient of the answers, in words.
fn named(draft: &Draft, at: usize) -> String {
    let text = |path: &str| draft.texts(path, at).map(|texts| texts.join(", "));
    let name =
        text("recipient.name").map_or_else(|| "one without a name".to_owned(), |it| format!("\"{it}\""));
    let place = text("recipient.jurisdiction").map(|it| format!(" in {it}")).unwrap_or_default();
    match text("recipient.cidrs") {
        Some(networks) => format!("{name}{place} with {networks}"),
        None => format!("{name}{place} without networks"),
    }
}

/// A document with these lines above it as a comment.
pub(super) fn commented(lines: &[String], text: &str) -> String {
    let comment: String = lines.iter().map(|line| format!("# {line}\n")).collect();
    if comment.is_empty() { text.to_owned() } else { format!("{comment}\n{text}") }
}

/// What was seen, for whom writes the document: none of it is a ground, and nothing of it is asked for. Names of processes are
/// chosen by who runs them, so that they are shown as what they are.
fn seen(event: &Value, id: EventId) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(|it| visible(it).into_owned());
    let end = |end: &Value| {
        let ip = text(&end["ip"])?;
        Some(end["port"].as_u64().map_or_else(|| ip.clone(), |port| format!("{ip} port {port}")))
    };
    let mut lines = vec![format!("From the event {id}, which is no ground for a transfer.")];
    if let (Some(protocol), Some(from), Some(to)) =
        (text(&event["protocol"]), end(&event["source"]), end(&event["destination"]))
    {
        let (action, reason) = (text(&event["action"]), text(&event["reason"]));
        let judged = [action, reason].into_iter().flatten().collect::<Vec<_>>().join(", ");
        lines.push(format!("Seen: {protocol} from {from} to {to} ({judged})."));
    }
    if let (Some(bytes), Some(packets), Some(since)) =
        (event["flow_bytes"].as_u64(), event["flow_packets"].as_u64(), text(&event["flow_start"]))
    {
        lines.push(format!(
            "For quota_bytes: {bytes} bytes in {packets} packets since {since}. What was dropped was sent again, or not at all: \
             ask who wants the data how much it is."
        ));
    }
    let process = &event["process"];
    if let (Some(command), Some(pid)) = (text(&process["command"]), process["pid"].as_u64()) {
        let unit = text(&process["unit"]).map(|unit| format!(" of {unit}")).unwrap_or_default();
        let user = text(&process["user"]).or_else(|| process["uid"].as_u64().map(|uid| uid.to_string()));
        let user = user.map(|user| format!(", user {user}")).unwrap_or_default();
        lines.push(format!("Sent by: {command} ({pid}){unit}{user}."));
    }
    lines
}

fn of(event: &Value, host: &str) -> Result<Vec<(&'static str, String)>, &'static str> {
    if event["kind"] != "event" {
        return Err("it tells of a file, not of a transfer");
    }
    let pins: Vec<&str> = event["pins"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if event["verdict"] == "pass" || pins.is_empty() {
        return Err("no pin forbade it");
    }
    // Without its table nobody knows the pin's name any more.
    if pins.iter().any(|pin| pin.starts_with('#')) {
        return Err("its pin is of a generation whose names were not kept");
    }
    let (Some(ip), jurisdiction) = (event["destination"]["ip"].as_str(), event["jurisdiction"].as_str())
    else {
        return Err("its destination could not be read");
    };
    let Some(place) = jurisdiction.filter(|place| place.len() == 2) else {
        return Err(
            "nobody knows in which jurisdiction its destination is: name a [[site]], or look at the geo database",
        );
    };
    let width = if ip.contains(':') { 128 } else { 32 };
    let mut answers = vec![
        ("pins", pins.join(", ")),
        ("hosts", host.to_owned()),
        ("recipient.jurisdiction", place.to_owned()),
        ("recipient.cidrs", format!("{ip}/{width}")),
    ];
    // Who serves is taken to be the end with the lower port: a client's changes.
    let port = |end: &str| event[end]["port"].as_u64();
    if let (Some(own), Some(theirs)) = (port("source"), port("destination"))
        && theirs < own
        && let Some(protocol @ ("tcp" | "udp" | "sctp")) = event["protocol"].as_str()
    {
        answers.push(("recipient.ports", format!("{protocol}/{theirs}")));
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::events::tests::{dropped, envelope};

    fn event() -> Value {
        serde_json::from_str(&dropped().to_json(&envelope())).unwrap()
    }

    /// As the daemon writes an event, so it is read.
    #[test]
    fn an_event_answers_what_it_knows_and_nothing_else() {
        let told = of(&event(), "mail-ie-1").unwrap();
        let expected = [
            ("pins", "mail"),
            ("hosts", "mail-ie-1"),
            ("recipient.jurisdiction", "US"),
            ("recipient.cidrs", "198.51.100.7/32"),
        ];
        assert_eq!(told, expected.map(|(key, value)| (key, value.to_owned())));
        // Each is a key that documents have, and a value of it.
        let mut draft = Draft::default();
        told.iter().for_each(|(key, value)| draft.answer(key, value).unwrap());
        let mut pushed = event();
        (pushed["source"]["port"], pushed["destination"]["port"]) = (json!(40_000), json!(443));
        pushed["destination"]["ip"] = json!("2001:db8::7");
        let told = of(&pushed, "mail-ie-1").unwrap();
        assert_eq!(
            told[3..],
            [("recipient.cidrs", "2001:db8::7/128".to_owned()), ("recipient.ports", "tcp/443".to_owned())]
        );
        told.iter().for_each(|(key, value)| draft.answer(key, value).unwrap());
    }

    /// The event's address is that of one recipient of the document, whatever the answers say, or the document is refused.
    #[test]
    fn an_events_address_goes_to_the_recipient_that_has_it_or_is_refused() {
        let known = [
            ("pins", "mail".to_owned()),
            ("hosts", "h".to_owned()),
            ("recipient.jurisdiction", "US".to_owned()),
            ("recipient.cidrs", "198.51.100.7/32".to_owned()),
            ("recipient.ports", "tcp/443".to_owned()),
        ];
        let one = |name: &str, rest: &str| format!("[[recipient]]\nname = \"{name}\"\n{rest}\n");
        let court = one("Court", "cidrs = [\"203.0.113.0/24\"]\njurisdiction = \"US\"");
        for (answers, told) in [
            ("pins = [\"files\"]".to_owned(), Err("for the pins files, and the event is of mail")),
            (court.clone(), Err("\"Court\" in US with 203.0.113.0/24")),
            (one("Court", "jurisdiction = \"JP\""), Err("198.51.100.7/32 in US")),
            (one("Court", "cidrs = [\"198.51.100.0/24\"]\njurisdiction = \"JP\""), Err("placed in US")),
            (
                one("Court", "") + &one("Lab", ""),
                Err("\"Court\" without networks, and \"Lab\" without networks"),
            ),
            (String::new(), Ok((0, "198.51.100.7/32"))),
            ("pins = [\"files\", \"mail\"]".to_owned(), Ok((0, "198.51.100.7/32"))),
            (one("Court", ""), Ok((0, "198.51.100.7/32"))),
            (court.clone() + &one("Lab", "jurisdiction = \"US\""), Ok((1, "198.51.100.7/32"))),
            (one("Lab", "cidrs = [\"198.51.100.0/24\"]") + &court, Ok((0, "198.51.100.0/24"))),
            (court + &one("Lab", "cidrs = [\"198.51.100.0/25\"]"), Ok((1, "198.51.100.0/25"))),
        ] {
            let mut draft = Draft::from_toml(&answers).unwrap();
            let before = draft.count("recipient");
            match (put(&mut draft, "7", &known), told) {
                (Err(error), Err(words)) => {
                    let error = error.to_string();
                    assert!(error.contains(words) && error.contains("event 7"), "{error}");
                }
                (Ok(()), Ok((at, networks))) => {
                    assert_eq!(draft.count("recipient"), before.max(1), "{answers}");
                    let of = |path: &str, at| draft.texts(path, at);
                    assert_eq!(of("recipient.cidrs", at), Some(vec![networks.to_owned()]), "{answers}");
                    assert_eq!(of("recipient.ports", at), Some(vec!["tcp/443".to_owned()]), "{answers}");
                    assert_eq!(of("recipient.jurisdiction", at), Some(vec!["US".to_owned()]), "{answers}");
                    let others = (0..before).filter(|other| *other != at);
                    assert!(
                        others.into_iter().all(|other| of("recipient.ports", other).is_none()),
                        "{answers}"
                    );
                }
                (found, told) => panic!("{answers}: {found:?}, not {told:?}"),
            }
        }
    }

    /// A process may have any name: it ends no comment, and a document with it has the same answers.
    #[test]
    fn what_was_seen_is_a_comment_whatever_the_names_in_it() {
        let id = EventId { session: None, number: 7 };
        let mut event = event();
        event["flow_bytes"] = json!(49_440);
        let lines = seen(&event, id);
        let all = lines.join("\n");
        for words in [
            "the event 7",
            "tcp from 192.0.2.10 port 143 to 198.51.100.7 port 40000 (dropped, forbidden)",
            "49440 bytes",
        ] {
            assert!(all.contains(words), "{words}: {all}");
        }
        assert!(all.contains("Sent by: imap (4711) of dovecot.service, user dovecot."), "{all}");
        event["process"]["command"] = json!("a\nquota_bytes = 1\r\u{1b}[2J\u{202e}");
        let lines = seen(&event, id);
        assert!(lines.iter().all(|line| line.chars().all(|it| !crate::text::is_unseen(it))), "{lines:?}");
        let text = commented(&lines, "id = \"x\"\n");
        let read: toml::Table = text.parse().unwrap();
        assert_eq!(read.into_iter().collect::<Vec<_>>(), [("id".to_owned(), "x".into())]);
        // A reader without the right to see people gets none of the process.
        event["process"] = Value::Null;
        assert!(seen(&event, id).iter().all(|line| !line.contains("Sent by")));
    }

    #[test]
    fn what_no_exemption_could_let_pass_is_refused() {
        for (key, value, why) in [
            ("kind", json!("pinned-copy"), "a file"),
            ("verdict", json!("pass"), "no pin forbade it"),
            ("pins", json!([]), "no pin forbade it"),
            ("pins", json!(["#1"]), "not kept"),
            ("destination", Value::Null, "could not be read"),
            ("jurisdiction", json!("unknown"), "nobody knows"),
            ("jurisdiction", json!("uncertain"), "nobody knows"),
        ] {
            let mut event = event();
            event[key] = value;
            assert!(of(&event, "h").unwrap_err().contains(why), "{key}");
        }
    }
}
