//! What an event knows of the transfer that it tells of: the answers of a document that asks for it.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use crate::cli::CliError;
use crate::control::client::{Exchange, unexpected};
use crate::control::protocol::{EventFormat, Request, Response};
use crate::events::id::EventId;
use crate::history::Filter;
use crate::hostname::hostname;

/// The answers that this event gives, as keys and values.
///
/// # Errors
/// Where no daemon answers, it has no such event any more, or the event tells of nothing that an exemption could let pass.
pub(super) fn answers(socket: &Path, id: EventId) -> Result<Vec<(&'static str, String)>> {
    let filter = Filter { event: Some(id), ..Filter::default() };
    let request = Request::Events { follow: false, limit: None, format: EventFormat::Json, filter };
    let mut exchange = Exchange::begin(socket, &request)?;
    loop {
        match exchange.response()? {
            Some(Response::Event { line }) => {
                let event: Value = serde_json::from_str(&line)?;
                return Ok(of(&event, hostname()).map_err(|why| {
                    CliError::bad_input(format!("no exemption can be asked for by the event {id}: {why}"))
                })?);
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
    use crate::exemption::draft::Draft;

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
