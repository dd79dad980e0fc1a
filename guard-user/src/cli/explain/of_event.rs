//! An event, explained by the generation that was live then, as far as its parts are still there.
//!
//! The config of then is in the store by its SHA-256. The geo database is taken where one that is here has the digest that the
//! audit trail has of the one of then. Which exemptions were open the trail says, and the store has their documents. Which part is
//! of then and which of now is the first step of the answer.

use std::path::Path;

use anyhow::Result;
use guard_common::packet::Parsed;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::open_then::OpenThen;
use super::told::{WIRE_LEN, explainer_by, tell};
use crate::audit::{Kind, Stored};
use crate::cli::{CliError, target::Target, trail};
use crate::config::{self, policy::Policy};
use crate::control::client::{Exchange, ask, unexpected};
use crate::control::protocol::{EventFormat, Request, Response};
use crate::events::id::EventId;
use crate::exemption::Clocks;
use crate::exit::Exit;
use crate::explain::{Explanation, Flow, Quotas, Step};
use crate::geo::{GeoDb, embedded};
use crate::history::Filter;
use crate::inputs::{self, Inputs};
use crate::store::last_database;

/// The step that says what is of then.
const STEP: &str = "then";

/// Explains the event, and writes to `out`.
///
/// # Errors
/// Where there is no such event, it does not say what a packet of it was, or the config of then can't be had.
pub(super) fn run(config: &Path, id: EventId, json: bool, out: &mut impl std::io::Write) -> Result<Exit> {
    let target = Target { config: Some(config.to_owned()), socket: None };
    let socket = target.socket()?;
    let event = event_of(&socket, id)?;
    let flow = Flow::of(&event)
        .map_err(|why| CliError::bad_input(format!("the event {id} can't be explained: {why}")))?;
    let trail = Trail::read(&target)?;
    let now = inputs::load_config(config, false).ok().map(|checked| checked.policy);
    let mut then = Vec::new();
    let (policy, policy_is) = policy_of(&socket, &event, now.as_ref(), &mut then)?;
    let basis = trail.basis(&event, flow.time);
    let mut policy = policy;
    policy.host.observe |= basis.is_some_and(|record| record.detail["observe"] == true);
    let digest = basis.and_then(|record| record.detail.get("database_sha256")?.as_str().map(str::to_owned));
    let (database, database_is) = database_of(&policy, now.as_ref(), digest.as_deref(), &mut then)?;
    let open = OpenThen::of(&trail.0, flow.time);
    then.push(open.says());
    then.push(flow.lacks());
    inputs::look_up_users(&mut policy).map_err(|error| CliError::document(error.to_string()))?;
    // Windows are open or not as they were then.
    let clocks = Clocks { wall: flow.time, ..Clocks::read() };
    let entries = open.entries(&socket, &policy.pin_names(), &clocks);
    let is_known = entries.is_ok() && open.is_certain();
    let entries = entries.map(|entries| (entries, Quotas::NotKnown));
    let inputs = Inputs { policy, warnings: Vec::new(), database };
    let explainer = explainer_by(inputs, (flow.from.interface.as_deref(), None), entries)?;
    let packet = flow.packet().map_err(|error| CliError::bad_input(error.to_string()))?;
    let mut explained =
        explainer.explain(flow.hook, Parsed::Ip, &packet, &flow.from, WIRE_LEN, clocks.boot_ns);
    let steps = then.into_iter().map(|says| Step { step: STEP, says });
    explained.steps.splice(..0, steps);
    explained.steps.push(compared(&event, &explained));
    let facts = json!({
        "id": format!("{}/{}", event["session"].as_str().unwrap_or_default(), event["id"]),
        "verdict": event["verdict"], "reason": event["reason"], "jurisdiction": event["jurisdiction"],
        "policy": policy_is, "database": database_is, "exemptions": if is_known { "then" } else { "not-known" },
    });
    tell(&explained, json, Some(facts), out)?;
    let may_be_exempt = explainer.has_unread_exemptions() && explained.is_forbidden();
    Ok(if may_be_exempt { Exit::Failed } else { Exit::Ok })
}

/// The event, as flat JSON.
fn event_of(socket: &Path, id: EventId) -> Result<Value> {
    let filter = Filter { event: Some(id), ..Filter::default() };
    let request =
        Request::Events { follow: false, limit: None, format: EventFormat::Json, filter, brief: false };
    let mut exchange = Exchange::begin(socket, &request)?;
    loop {
        match exchange.response()? {
            Some(Response::Event { line }) => return Ok(serde_json::from_str(&line)?),
            Some(Response::Missed { .. } | Response::LeftOut { .. }) => {}
            Some(Response::End {}) | None => {
                let message = format!(
                    "the daemon has no event {id}, in memory or in its flow history: `borderguard events` shows those that it \
                     has, each with its name as id="
                );
                return Err(CliError::bad_input(message).into());
            }
            Some(_) => return Err(unexpected(socket).into()),
        }
    }
}

/// The policy of then, and whether it is.
fn policy_of(
    socket: &Path,
    event: &Value,
    now: Option<&Policy>,
    then: &mut Vec<String>,
) -> Result<(Policy, &'static str)> {
    let Some(sha256) = event["policy"].as_str() else {
        let now = now.ok_or_else(|| {
            CliError::bad_input("which config judged it is not known, and the one of now can't be used")
        })?;
        then.push("which config judged it is not known any more: the config is of NOW".to_owned());
        return Ok((now.clone(), "now"));
    };
    let text = match ask(socket, &Request::AuditConfig { sha256: sha256.to_owned() })? {
        Response::Config { text } => text,
        _ => return Err(unexpected(socket).into()),
    };
    let file = event["rule"]["file"].as_str().unwrap_or("policy.toml");
    let checked = config::parse(Path::new(file), text.as_bytes(), &config::Surroundings::new(None));
    let checked = checked.map_err(|error| {
        CliError::document(format!(
            "the config of then (SHA-256 {sha256}) can't be used by this version:\n{error}"
        ))
    })?;
    then.push(format!("the config is of then: SHA-256 {sha256}"));
    Ok((checked.policy, "then"))
}

/// The geo database of then, where it is still here, else one of now; and which it is.
fn database_of(
    policy: &Policy,
    now: Option<&Policy>,
    digest: Option<&str>,
    then: &mut Vec<String>,
) -> Result<(GeoDb, &'static str)> {
    let state = now.map_or(&policy.state.directory, |now| &now.state.directory);
    // The one in force comes before what else is here: it is the one of now.
    let kept = || last_database::read(state).ok().flatten();
    let of_files = |policy: &Policy| inputs::load_database(&policy.geo).ok();
    let mut first = None;
    let ways: [&dyn Fn() -> Option<GeoDb>; 4] =
        [&kept, &|| now.and_then(of_files), &|| of_files(policy), &|| Some(embedded::load())];
    for way in ways {
        let Some(database) = way() else { continue };
        if digest.is_some() && last_database::digest(&database).ok().as_deref() == digest {
            then.push(format!("the geo database is of then: {}", named(&database)));
            return Ok((database, "then"));
        }
        first.get_or_insert(database);
    }
    let database = first.ok_or_else(|| CliError::bad_input("no geo database can be used"))?;
    let why = match digest {
        Some(digest) => format!("that of then (known as {digest}) is not here any more"),
        None => "the audit trail does not say which it was then".to_owned(),
    };
    then.push(format!("the geo database is of NOW, {}: {why}", named(&database)));
    Ok((database, "now"))
}

fn named(database: &GeoDb) -> String {
    let date = database.info.generated.map(|date| format!(" of {}", date.strftime("%Y-%m-%d")));
    format!("{}{}", database.info.source, date.unwrap_or_default())
}

/// The audit trail.
struct Trail(Vec<Stored>);

impl Trail {
    fn read(target: &Target) -> Result<Self> {
        let lines = trail::lines(target, 1)?;
        let records: Result<Vec<Stored>, _> =
            lines.iter().map(|line| Stored::read(line.as_bytes())).collect();
        Ok(Self(records?))
    }

    /// The start, reload or candidate that was applied by which was judged then: of those with the event's config the last one before it, else the first
    /// after it, for a record is made once its generation is live.
    fn basis(&self, event: &Value, time: Timestamp) -> Option<&Stored> {
        let is_of = |record: &&Stored| {
            [Kind::Start, Kind::Reload, Kind::Apply].iter().any(|kind| kind.name() == record.kind)
                && record.detail.get("config_sha256") == Some(&event["policy"])
        };
        let before = self.0.iter().rev().find(|record| record.time <= time && is_of(record));
        before.or_else(|| self.0.iter().find(is_of))
    }
}

/// What the event itself says, held against the steps.
fn compared(event: &Value, explained: &Explanation) -> Step {
    let (verdict, reason) =
        (event["verdict"].as_str().unwrap_or("?"), event["reason"].as_str().unwrap_or("?"));
    let is_same = verdict == explained.verdict.name() && reason == explained.reason.name();
    let place = event["jurisdiction"].as_str().unwrap_or("?");
    let says = match is_same {
        true => format!("it was judged so then: {verdict}, {reason}, in {place}"),
        false => format!(
            "it was judged OTHERWISE then: {verdict}, {reason}, in {place}. What is of now, or what the event does not say, makes \
             the difference"
        ),
    };
    Step { step: "event", says }
}

#[cfg(test)]
mod tests {
    use guard_common::abi::Hook;

    use super::*;
    use crate::events::event::{Event, People};
    use crate::events::tests::{dropped, envelope};
    use crate::explain::flow::End;

    fn line(event: &Event) -> Value {
        serde_json::from_str(&event.to_json(&envelope())).unwrap()
    }

    #[test]
    fn an_event_says_what_a_packet_of_its_flow_was() {
        let flow = Flow::of(&line(&dropped())).unwrap();
        let end = |text: &str| text.parse::<End>().unwrap();
        assert_eq!((flow.source, flow.destination), (end("192.0.2.10:143"), end("198.51.100.7:40000")));
        assert_eq!((flow.from.user, flow.from.mark), (Some(("dovecot".to_owned(), 97)), 0));
        assert_eq!(flow.from.cgroup.as_deref(), Some("system.slice/dovecot.service"));
        // What comes in goes the other way.
        let flow = Flow::of(&line(&Event { hook: Hook::Ingress, ..dropped() })).unwrap();
        assert_eq!(flow.destination, end("192.0.2.10:143"));
        let hidden = dropped().without_people(People::Removed);
        let flow =
            Flow::of(&line(&Event { tunnel: Some("203.0.113.9".parse().unwrap()), ..hidden })).unwrap();
        let lacks = flow.lacks();
        assert!(lacks.contains("203.0.113.9") && lacks.contains("(removed)"), "{lacks}");
        for (event, why) in [
            (Event { hook: Hook::Connect, ..dropped() }, "a call"),
            (Event { source: None, ..dropped() }, "could not be read"),
        ] {
            assert!(Flow::of(&line(&event)).err().unwrap().contains(why), "{why}");
        }
    }

    #[test]
    fn which_parts_are_of_then_is_read_off_the_trail() {
        let record = |sequence: u64, time: &str, kind: &str, detail: Value| Stored {
            sequence,
            time: time.parse().unwrap(),
            previous: String::new(),
            kind: kind.to_owned(),
            who: crate::audit::Who { uid: 0, user: None, pid: None },
            subject: format!("of-{sequence}"),
            why: String::new(),
            detail: detail.as_object().unwrap().clone(),
        };
        let policy = dropped().policy.unwrap();
        let of = |digest: &str| json!({ "config_sha256": &*policy, "database_sha256": digest });
        let trail = Trail(vec![
            record(1, "2026-11-23T11:00:00Z", "start", of("first")),
            record(2, "2026-11-23T11:30:00Z", "reload", of("second")),
            record(3, "2026-11-23T11:40:00Z", "load", json!({})),
            record(4, "2026-11-23T12:30:00Z", "reload", of("third")),
        ]);
        let event = line(&dropped());
        let digest = |time: &str| {
            trail.basis(&event, time.parse().unwrap()).unwrap().detail["database_sha256"].clone()
        };
        assert_eq!(digest("2026-11-23T12:00:00Z"), "second");
        assert_eq!(digest("2026-11-23T10:59:59Z"), "first");
        let other = json!({ "policy": "0" });
        assert!(trail.basis(&other, Timestamp::MAX).is_none());
    }
}
