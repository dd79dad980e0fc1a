//! Since when a pin is judged as it is, and what of that time had no guard or no daemon: by the audit trail.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::audit::{Kind, Stored};
use crate::config::policy::{Action, Pin, Policy, Record};
use crate::daemon::gaps::{Gap, of_trail};

/// Configs whose text is asked for, at most: each was another one.
const MOST_CONFIGS: usize = 200;

/// What the trail says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    /// Since when the pin is judged as it is; `None` where the trail has no word of it.
    pub(super) since: Option<Timestamp>,
    /// Why it may be so for longer.
    pub(super) at_least: Option<String>,
    /// For how long, without the times that had no guard or no daemon.
    pub(super) seen: SignedDuration,
    /// These times, and others that may lack something.
    pub(super) gaps: Vec<Gap>,
}

/// A config, from the record on by which it was live.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Live {
    /// The number of the record among those that were read.
    from: usize,
    sha256: String,
    observe: bool,
}

/// Which configs were live, in the order of the trail.
fn live(records: &[Stored]) -> Vec<Live> {
    let of = |(at, record): (usize, &Stored)| {
        let is = |kind: Kind| record.kind == kind.name();
        let facts = match () {
            () if [Kind::Start, Kind::Reload, Kind::Apply, Kind::Unrecorded].into_iter().any(is) => {
                &record.detail
            }
            () if is(Kind::RollBack) => record.detail.get("live")?.as_object()?,
            () => return None,
        };
        Some(Live {
            from: at,
            sha256: facts.get("config_sha256")?.as_str()?.to_owned(),
            observe: facts.get("observe").and_then(Value::as_bool)?,
        })
    };
    records.iter().enumerate().filter_map(of).collect()
}

/// What decides how a pin judges: each way in which it is known, with the action that counts.
fn judged_by(policy: &Policy, name: &str, observe: bool) -> Vec<Pin> {
    let pins = policy.pins.iter().filter(|pin| pin.name == name);
    let as_it_counts = |pin: &Pin| Pin {
        action: if observe { Action::Observe } else { pin.action },
        // They change no verdict.
        record: Record::Forbidden,
        canary: None,
        line: 0,
        ..pin.clone()
    };
    pins.map(as_it_counts).collect()
}

impl Evidence {
    /// Of a pin of the policy in force, which counts as observing where `observe` is set. `policy_of` has a config of the trail
    /// by its SHA-256.
    pub(super) fn of(
        records: &[Stored],
        (policy, name, observe): (&Policy, &str, bool),
        mut policy_of: impl FnMut(&str) -> Result<Policy, String>,
        now: Timestamp,
    ) -> Self {
        let present = judged_by(policy, name, observe);
        let mut known: BTreeMap<String, Result<Policy, String>> = BTreeMap::new();
        let (mut since, mut at_least) = (None, None);
        for it in live(records).into_iter().rev() {
            if !known.contains_key(&it.sha256) {
                if known.len() == MOST_CONFIGS {
                    at_least = Some(format!("no more than {MOST_CONFIGS} earlier configs are looked at"));
                    break;
                }
                known.insert(it.sha256.clone(), policy_of(&it.sha256));
            }
            match known.get(&it.sha256) {
                Some(Ok(policy)) if judged_by(policy, name, it.observe) == present => since = Some(it.from),
                Some(Err(why)) => {
                    at_least = Some(format!("the config before that can't be read: {why}"));
                    break;
                }
                _ => break,
            }
        }
        let since_at: Option<usize> = since;
        let since = since_at.and_then(|at| records.get(at)).map(|record| record.time);
        let is_of_it = |gap: &Gap| since.is_none_or(|since| gap.overlaps(since, now));
        let mut gaps: Vec<Gap> = of_trail(records.iter()).into_iter().filter(is_of_it).collect();
        gaps.extend(records.iter().skip(since_at.unwrap_or_default()).filter_map(clock_that_was_set));
        let seen = since_at.map_or(SignedDuration::ZERO, |at| {
            let (steady, now) = by_steady_clock(records, now);
            let since = steady.get(at).map_or(now, |record| record.time);
            seen(since, now, &of_trail(steady.iter()))
        });
        Self { since, at_least, seen, gaps }
    }
}

/// By how much a record says that the wall clock was set, while the daemon ran.
fn set_by(record: &Stored) -> Option<SignedDuration> {
    let is_set = record.kind == Kind::ClockSet.name() && !record.detail.contains_key("at_start");
    let by_ms = record.detail.get("by_ms").filter(|_| is_set)?.as_i64()?;
    Some(SignedDuration::from_millis(by_ms))
}

/// What is told of a clock that was set: no time passed by that.
fn clock_that_was_set(record: &Stored) -> Option<Gap> {
    let by = set_by(record)?;
    let was = record.time.checked_sub(by).ok()?;
    let words = format!(
        "the wall clock was set from {was} to {}: that is no time in which anything was judged, and does not count",
        record.time
    );
    Some(Gap { from: Some(was.min(record.time)), until: Some(was.max(record.time)), words })
}

/// The times in the details of records that gaps go by.
const TIMES: [&str; 7] = ["counted_until", "last_seen", "last_right", "found", "since", "from", "to"];

/// The records, and the moment of now, with their times by a clock that nobody sets while the daemon runs, nor ever goes back:
/// days that a clock was set forward by are no days in which the daemon ran.
fn by_steady_clock(records: &[Stored], now: Timestamp) -> (Vec<Stored>, Timestamp) {
    let mut set = SignedDuration::ZERO;
    let mut last: Option<Timestamp> = None;
    let mut steady = |wall: Timestamp, set: SignedDuration| {
        let time = wall.checked_sub(set).unwrap_or(wall);
        let time = last.map_or(time, |last| last.max(time));
        last = Some(time);
        time
    };
    let each = records.iter().map(|record| {
        set = set.saturating_add(set_by(record).unwrap_or_default());
        let mut record = Stored { time: steady(record.time, set), ..record.clone() };
        for name in TIMES {
            let Some(Value::String(text)) = record.detail.get_mut(name) else { continue };
            if let Ok(time) = text.parse::<Timestamp>() {
                *text = time.checked_sub(set).unwrap_or(time).to_string();
            }
        }
        record
    });
    let records: Vec<Stored> = each.collect();
    let now = steady(now, set);
    (records, now)
}

/// How long it was from the one moment to the other, without what is over of the gaps.
fn seen(since: Timestamp, now: Timestamp, gaps: &[Gap]) -> SignedDuration {
    let within = |gap: &Gap| Some((gap.from?.max(since), gap.until?.min(now)));
    let mut times: Vec<(Timestamp, Timestamp)> =
        gaps.iter().filter_map(within).filter(|(from, until)| from < until).collect();
    times.sort_unstable();
    let (mut lacking, mut upto) = (SignedDuration::ZERO, since);
    for (from, until) in times {
        let from = from.max(upto);
        if from < until {
            lacking = lacking.saturating_add(until.duration_since(from));
            upto = until;
        }
    }
    now.duration_since(since).saturating_sub(lacking).max(SignedDuration::ZERO)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Map, json};

    use super::*;
    use crate::audit::Who;
    use crate::config::{self, Surroundings};

    fn policy(action: &str, more: &str) -> Policy {
        let text = format!(
            "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"{action}\"\n{more}\
             [pin.select]\nports = [\"tcp/143\"]\n"
        );
        config::parse(Path::new("p"), text.as_bytes(), &Surroundings::new(None)).unwrap().policy
    }

    fn moment(day: i8, hour: i8) -> Timestamp {
        format!("2026-12-{day:02}T{hour:02}:00:00Z").parse().unwrap()
    }

    /// A trail of records, each at the begin of its day.
    fn trail(records: &[(i8, Kind, Value)]) -> Vec<Stored> {
        let record = |(at, (day, kind, detail)): (usize, &(i8, Kind, Value))| Stored {
            sequence: at as u64 + 1,
            time: moment(*day, 0),
            previous: String::new(),
            kind: kind.name().to_owned(),
            who: Who { uid: 0, user: None, pid: Some(u32::try_from(at).unwrap()) },
            subject: String::new(),
            why: String::new(),
            detail: detail.as_object().cloned().unwrap_or_else(Map::new),
        };
        records.iter().enumerate().map(record).collect()
    }

    fn live_by(sha256: &str) -> Value {
        json!({ "config_sha256": sha256, "observe": false })
    }

    fn evidence(records: &[(i8, Kind, Value)], now: (&str, bool)) -> Evidence {
        let of = |sha256: &str| match sha256.split_once(' ') {
            Some((action, "permits")) => Ok(policy(action, "permit = [\"EU\"]\n")),
            Some((action, "record")) => Ok(policy(action, "record = \"all\"\n")),
            _ if sha256 == "gone" => Err("it is gone".to_owned()),
            _ => Ok(policy(sha256, "")),
        };
        let in_force = of(now.0).unwrap();
        Evidence::of(&trail(records), (&in_force, "mail", now.1), of, moment(10, 12))
    }

    fn since(records: &[(i8, Kind, Value)], now: (&str, bool)) -> Option<i8> {
        evidence(records, now).since.map(|since| since.strftime("%d").to_string().parse().unwrap())
    }

    #[test]
    fn it_counts_from_the_last_change_of_what_judges() {
        use Kind::{Apply, Reload, RollBack, Start};
        let all = [
            (1, Start, live_by("observe")),
            (2, Reload, live_by("flag")),
            (3, Reload, live_by("flag record")),
            (4, Start, live_by("flag")),
        ];
        assert_eq!(since(&all, ("flag", false)), Some(2), "neither a record nor a restart changes a verdict");
        assert_eq!(since(&all[..1], ("observe", false)), Some(1));
        assert_eq!(since(&all, ("drop", false)), None, "the trail has none of it");
        let widened = [(1, Start, live_by("flag permits")), (5, Reload, live_by("flag"))];
        assert_eq!(since(&widened, ("flag", false)), Some(5));
        let tried = [
            (1, Start, live_by("observe")),
            (2, Apply, live_by("drop")),
            (3, RollBack, json!({ "config_sha256": "drop", "live": live_by("observe") })),
        ];
        assert_eq!(since(&tried, ("observe", false)), Some(3));
        // Whatever the config said while all was observed.
        let observed = json!({ "config_sha256": "drop", "observe": true });
        let rollout = [(1, Start, observed.clone()), (6, Reload, live_by("drop"))];
        assert_eq!(
            (since(&rollout, ("drop", false)), since(&rollout[..1], ("flag", true))),
            (Some(6), Some(1))
        );
        let gone = evidence(&[(1, Start, live_by("gone")), (2, Reload, live_by("flag"))], ("flag", false));
        assert!(gone.since == Some(moment(2, 0)) && gone.at_least.unwrap().contains("it is gone"));
        assert_eq!(evidence(&[], ("flag", false)), Evidence::default());
    }

    /// Whatever the clock says, and however it came to that: with the daemon or without one.
    #[test]
    fn days_by_which_the_clock_was_set_are_no_evidence() {
        use Kind::{ClockSet, End, Start};
        let set = |days: i64| json!({ "by_ms": days * 24 * 3_600_000 });
        let seen = |records: &[(i8, Kind, Value)]| evidence(records, ("flag", false)).seen.as_hours();
        let forward = [(1, Start, live_by("flag")), (9, ClockSet, set(7))];
        assert_eq!(seen(&forward), 24 * 2 + 12);
        let told = evidence(&forward, ("flag", false)).gaps;
        let [gap] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((gap.from, gap.until), (Some(moment(2, 0)), Some(moment(9, 0))));
        assert!(gap.words.contains("from 2026-12-02T00:00:00Z to 2026-12-09T00:00:00Z"), "{gap:?}");
        let and_back = [forward[0].clone(), forward[1].clone(), (2, ClockSet, set(-7))];
        assert_eq!(seen(&and_back), 24 * 9 + 12, "all of that time passed");
        // Forward while no daemon ran, and back under the next one: the day before and what came after count.
        let without = [
            (1, Start, live_by("flag")),
            (2, End, json!({})),
            (9, Start, live_by("flag")),
            (2, ClockSet, set(-7)),
        ];
        assert_eq!(seen(&without), 24 * 9 + 12);
        assert_eq!(seen(&without[..3]), 24 * 2 + 12);
        // Back while no daemon ran: what the start says of it moves nothing.
        let behind = json!({ "by_ms": -3 * 24 * 3_600_000, "at_start": true });
        let back = [
            (5, Start, live_by("flag")),
            (8, End, json!({})),
            (5, ClockSet, behind),
            (5, Start, live_by("flag")),
        ];
        assert_eq!(seen(&back), 24 * 5 + 12);
    }

    #[test]
    fn times_without_a_guard_or_a_daemon_are_no_evidence() {
        use Kind::{Detach, End, Start};
        let all = [
            (1, Start, live_by("flag")),
            (2, End, json!({})),
            (4, Start, live_by("flag")),
            (6, Detach, json!({})),
            (7, Start, live_by("flag")),
        ];
        let found = evidence(&all, ("flag", false));
        assert_eq!((found.since, found.gaps.len()), (Some(moment(1, 0)), 2), "{found:?}");
        // Nine days and a half, less two and one.
        assert_eq!(found.seen, SignedDuration::from_hours(9 * 24 + 12 - 3 * 24));
        let gap = |from: i8, until: i8| Gap {
            from: Some(moment(from, 0)),
            until: Some(moment(until, 0)),
            words: String::new(),
        };
        let days = |gaps: &[Gap]| seen(moment(2, 0), moment(8, 0), gaps).as_hours() / 24;
        assert_eq!(days(&[gap(3, 5), gap(4, 6), gap(1, 3), gap(7, 9)]), 6 - 3 - 1 - 1);
        assert_eq!(days(&[gap(1, 9), gap(2, 3)]), 0);
        let open = Gap { until: None, ..gap(3, 5) };
        assert_eq!(days(&[open, Gap { from: None, ..gap(3, 5) }]), 6, "how long it was is not known");
    }
}
