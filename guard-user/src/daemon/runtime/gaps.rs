//! What the audit trail has of times in which not all was judged or kept.

use jiff::Timestamp;
use serde_json::Value;

use crate::audit::{Kind, Stored, TAKEN_OFF};

/// A sentence for each such time, in the order of the trail.
pub(super) fn of_trail<'r>(records: impl Iterator<Item = &'r Stored>) -> Vec<String> {
    let mut gaps = Vec::new();
    let mut running = false;
    // Since when nothing of the guard is in the kernel, by somebody's command.
    let mut detached: Option<Timestamp> = None;
    for record in records {
        let is = |kind: Kind| record.kind == kind.name();
        let of = |key: &str| record.detail.get(key).and_then(Value::as_str).unwrap_or("an unknown time");
        if is(Kind::Start) {
            if let Some(since) = detached.take() {
                gaps.push(format!(
                    "the guard was detached from the whole host from {since} until the start of {}: what left in between \
                     was neither judged nor counted",
                    record.time
                ));
            } else if running {
                gaps.push(format!(
                    "the daemon or the host ended without a word before {}: what crossed in the last seconds before that \
                     may be booked later or, after a loss of power, be missing",
                    record.time
                ));
            }
        }
        if is(Kind::Detach) && record.subject.is_empty() {
            detached = Some(record.time);
        }
        if is(Kind::Detach) && record.why == TAKEN_OFF {
            let lost = match record.detail.get("hook").and_then(Value::as_str) {
                Some("egress" | "ingress") => "what crossed it in between was neither judged nor counted",
                _ => "in between no way past the guard was refused there",
            };
            gaps.push(format!(
                "another program took the guard off {} after {}, which was seen at {}: {lost}",
                record.subject,
                of("last_seen"),
                record.time
            ));
        }
        if is(Kind::Gap) {
            let lost = record.detail.get("lost").and_then(Value::as_u64).unwrap_or_default();
            gaps.push(format!(
                "records that could not be written and that the audit trail lacks: {lost}, of {} to {}: {}",
                of("from"),
                of("to"),
                record.why
            ));
        }
        running = (running || is(Kind::Start)) && !is(Kind::End) && detached.is_none();
    }
    gaps
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::Who;

    fn record(at: &str, kind: Kind, subject: &str, why: &str, detail: Value) -> Stored {
        Stored {
            sequence: 1,
            time: format!("2026-12-01T00:00:{at}Z").parse().unwrap(),
            previous: String::new(),
            kind: kind.name().to_owned(),
            who: Who { uid: 0, user: None, pid: None },
            subject: subject.to_owned(),
            why: why.to_owned(),
            detail: detail.as_object().cloned().unwrap_or_default(),
        }
    }

    #[test]
    fn each_time_without_a_guard_has_a_sentence_and_a_good_life_has_none() {
        let start = |at| record(at, Kind::Start, "", "", json!({}));
        let end = |at| record(at, Kind::End, "", "", json!({}));
        let of_host = |at| record(at, Kind::Detach, "", "maintenance", json!({}));
        let gone = record("02", Kind::Detach, "eth1", "", json!({"gone": true}));
        let gaps = |records: &[Stored]| of_trail(records.iter());
        assert_eq!(gaps(&[start("00"), gone, end("03"), start("04")]), Vec::<String>::new());
        let crash = gaps(&[start("00"), start("09")]);
        assert!(matches!(&crash[..], [gap] if gap.contains("without a word before 2026-12-01T00:00:09Z")));
        for records in [
            vec![start("00"), end("03"), of_host("04"), start("09")],
            vec![start("00"), of_host("04"), start("09")],
        ] {
            let told = gaps(&records);
            let from = "from 2026-12-01T00:00:04Z until the start of 2026-12-01T00:00:09Z";
            assert!(matches!(&told[..], [gap] if gap.contains(from)), "{told:?}");
        }
        let taken = record(
            "05",
            Kind::Detach,
            "eth0",
            TAKEN_OFF,
            json!({"hook": "egress", "last_seen": "2026-12-01T00:00:04Z"}),
        );
        let told = gaps(&[start("00"), taken, end("06")]);
        let words = "off eth0 after 2026-12-01T00:00:04Z, which was seen at 2026-12-01T00:00:05Z";
        assert!(matches!(&told[..], [gap] if gap.contains(words)), "{told:?}");
        let lost =
            record("05", Kind::Gap, "", "the disk is full", json!({"lost": 3, "from": "a", "to": "b"}));
        assert_eq!(
            gaps(&[start("00"), lost]),
            [
                "records that could not be written and that the audit trail lacks: 3, of a to b: the disk is full"
            ]
        );
    }
}
