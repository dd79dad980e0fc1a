//! What the event log has: one line each, as text or as JSON.

use std::fmt::Write as _;
use std::sync::Arc;

use super::Entry;
use super::fields;
use super::lost::Lost;
use super::summary::Summary;
use super::text::{decapitalized, verb, word};
use crate::config::policy::LogFormat;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An event of either kind.
    Event(Arc<Entry>),
    /// Events above the log's budget, summed up.
    Summary(Summary),
    /// Lines that the log did not take.
    Lost(Lost),
}

impl Record {
    /// The line with its break.
    #[must_use]
    pub fn to_line(&self, format: LogFormat) -> String {
        let mut line = match (self, format) {
            (Self::Event(event), LogFormat::Text) => event.to_text(),
            (Self::Event(event), LogFormat::Json) => event.to_json(),
            (Self::Summary(summary), LogFormat::Text) => summary_text(summary),
            (Self::Summary(summary), LogFormat::Json) => fields::object(fields::SUMMARY, summary),
            (Self::Lost(lost), LogFormat::Text) => lost_text(lost),
            (Self::Lost(lost), LogFormat::Json) => fields::object(fields::LOST, lost),
        };
        line.push('\n');
        line
    }
}

fn summary_text(summary: &Summary) -> String {
    let Summary { pin, verdict, reason, events, flows, packets, bytes, first, last, .. } = summary;
    let mut line = format!("{last:.3} {} {packets} packets of {bytes} bytes", verb(*verdict));
    // Writing to a string does not fail.
    let _ok = write!(line, " in {events} events that have no line of their own");
    if let Some(pin) = pin {
        let _ok = write!(line, ", pin {pin}");
    }
    let _ok = write!(
        line,
        ": {} [kind=summary pin={} verdict={} reason={} events={events} flows={flows} packets={packets} \
         bytes={bytes} first={first:.3} last={last:.3}]",
        decapitalized(reason.meaning()),
        word(pin.as_deref().unwrap_or_default()),
        verdict.name(),
        reason.name()
    );
    line
}

fn lost_text(lost: &Lost) -> String {
    let Lost { time, lines } = lost;
    let plural = if *lines == 1 { " was" } else { "s were" };
    format!(
        "{time:.3} {lines} line{plural} lost, because this log was not read in time; counters have every \
         packet [kind=lost lines={lines}]"
    )
}

#[cfg(test)]
mod tests {
    use guard_common::verdict::{Reason, Verdict};
    use serde_json::Value;

    use super::super::pinned_copy::tests::dumped;
    use super::super::tests::dropped;
    use super::*;

    fn summary() -> Summary {
        Summary {
            session: "2026-11-23T11:00:00Z".parse().unwrap(),
            pin: Some("mail".into()),
            verdict: Verdict::Drop,
            reason: Reason::Forbidden,
            events: 412,
            flows: 410,
            packets: 824,
            bytes: 49_440,
            first: "2026-11-23T12:00:01.5Z".parse().unwrap(),
            last: "2026-11-23T12:00:02.25Z".parse().unwrap(),
        }
    }

    fn lost() -> Lost {
        Lost { time: "2026-11-23T12:00:03Z".parse().unwrap(), lines: 17 }
    }

    fn records() -> [Record; 4] {
        let [flow, copy] = [Entry::Flow(dropped()), Entry::Copy(dumped())].map(|it| Record::Event(it.into()));
        [flow, copy, Record::Summary(summary()), Record::Lost(lost())]
    }

    #[test]
    fn the_docs_show_each_kind_of_line_as_it_is() {
        let docs = include_str!("../../../docs/events.md");
        for record in records() {
            let line = record.to_line(LogFormat::Text);
            assert!(docs.lines().any(|shown| shown == line.trim_end()), "{line}");
        }
    }

    #[test]
    fn every_line_of_json_says_what_kind_it_is() {
        let kinds = records().map(|record| {
            let line = record.to_line(LogFormat::Json);
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            serde_json::from_str::<Value>(&line).unwrap()["kind"].as_str().unwrap().to_owned()
        });
        assert_eq!(kinds, ["event", "pinned-copy", "summary", "lost"]);
    }

    #[test]
    fn a_summary_has_all_of_its_sums() {
        let line = Record::Summary(summary()).to_line(LogFormat::Json);
        let expected = r#"{"kind":"summary","session":"2026-11-23T11:00:00Z","pin":"mail","verdict":"drop","reason":"forbidden","meaning":"A pin forbids the destination's jurisdiction and no exemption covers it.","events":412,"flows":410,"packets":824,"bytes":49440,"first":"2026-11-23T12:00:01.5Z","last":"2026-11-23T12:00:02.25Z"}"#;
        assert_eq!(line.trim_end(), expected);
    }
}
