//! What the event log has: one line each, in one of four formats.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use super::canary::Canary;
use super::difference::Difference;
use super::envelope::{Envelope, SCHEMA, VERSION};
use super::fields;
use super::lost::Lost;
use super::run::{End, Start};
use super::severity::Severity;
use super::summary::Summary;
use super::text::{decapitalized, verb, word};
use super::untagged::Untagged;
use super::{Entry, ecs, ocsf};
use crate::config::policy::LogFormat;
use crate::text::visible_json;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An event of either kind.
    Event(Arc<Entry>),
    /// Events above the log's budget, summed up.
    Summary(Box<Summary>),
    /// Something that was lost.
    Lost(Lost),
    /// What the kernel has counted and no line has.
    Difference(Difference),
    /// Egress that no pin tags: for readers of the flow history, never in the log.
    Untagged(Box<Untagged>),
    /// A canary was judged.
    Canary(Box<Canary>),
    /// The begin of a run.
    Start(Start),
    /// The end of a run.
    End(End),
}

impl Record {
    /// The line with its break.
    #[must_use]
    pub fn to_line(&self, format: LogFormat, envelope: &Envelope) -> String {
        let mut line = match (self, format) {
            (Self::Event(entry), _) => entry.to_line(format, envelope),
            (Self::Summary(summary), LogFormat::Text) => summary_text(summary),
            (Self::Summary(summary), LogFormat::Json) => {
                fields::object(fields::SUMMARY, &**summary, envelope)
            }
            (Self::Summary(summary), LogFormat::Ocsf) => ocsf::summary(summary, envelope).to_string(),
            (Self::Summary(summary), LogFormat::Ecs) => ecs::summary(summary, envelope).to_string(),
            (Self::Lost(lost), LogFormat::Text) => lost_text(lost),
            (Self::Lost(lost), LogFormat::Json) => fields::object(fields::LOST, lost, envelope),
            (Self::Lost(lost), LogFormat::Ocsf) => ocsf::lost(lost, envelope).to_string(),
            (Self::Lost(lost), LogFormat::Ecs) => ecs::lost(lost, envelope).to_string(),
            (Self::Difference(difference), LogFormat::Text) => difference_text(difference),
            (Self::Difference(difference), LogFormat::Json) => {
                fields::object(fields::DIFFERENCE, difference, envelope)
            }
            (Self::Difference(difference), LogFormat::Ocsf) => {
                ocsf::difference(difference, envelope).to_string()
            }
            (Self::Difference(difference), LogFormat::Ecs) => {
                ecs::difference(difference, envelope).to_string()
            }
            (Self::Untagged(it), LogFormat::Text) => it.to_text(),
            (Self::Untagged(it), LogFormat::Json) => fields::object(fields::UNTAGGED, &**it, envelope),
            (Self::Untagged(it), LogFormat::Ocsf) => ocsf::untagged(it, envelope).to_string(),
            (Self::Untagged(it), LogFormat::Ecs) => ecs::untagged(it, envelope).to_string(),
            (Self::Canary(canary), LogFormat::Text) => canary.to_text(),
            (Self::Canary(canary), LogFormat::Json) => fields::object(fields::CANARY, &**canary, envelope),
            (Self::Canary(canary), LogFormat::Ocsf) => ocsf::canary(canary, envelope).to_string(),
            (Self::Canary(canary), LogFormat::Ecs) => ecs::canary(canary, envelope).to_string(),
            (Self::Start(start), LogFormat::Text) => start_text(start),
            (Self::Start(start), LogFormat::Json) => fields::object(fields::START, start, envelope),
            (Self::Start(start), LogFormat::Ocsf) => ocsf::start(start, envelope).to_string(),
            (Self::Start(start), LogFormat::Ecs) => ecs::start(start, envelope).to_string(),
            (Self::End(End { time }), LogFormat::Text) => {
                format!("{time:.3} the daemon ends in order [kind=end]")
            }
            (Self::End(end), LogFormat::Json) => fields::object(fields::END, end, envelope),
            (Self::End(end), LogFormat::Ocsf) => ocsf::end(end, envelope).to_string(),
            (Self::End(end), LogFormat::Ecs) => ecs::end(end, envelope).to_string(),
        };
        if let (LogFormat::Text, Some(sequence)) = (format, envelope.sequence) {
            // In the brackets, which every line ends with.
            line.pop();
            let _ok = write!(line, " host={} seq={sequence} schema={SCHEMA}]", word(&envelope.host));
        }
        if let (LogFormat::Json | LogFormat::Ocsf | LogFormat::Ecs, Cow::Owned(visible)) =
            (format, visible_json(&line))
        {
            line = visible;
        }
        line.push('\n');
        line
    }

    /// How severe it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Event(entry) => entry.severity(),
            Self::Summary(summary) => Severity::of(summary.verdict, summary.reason),
            Self::Lost(_) => Severity::High,
            Self::Difference(it) => Severity::of(it.verdict, it.reason),
            Self::Untagged(_) => Untagged::severity(),
            Self::Canary(_) | Self::Start(_) | Self::End(_) => Severity::Informational,
        }
    }

    /// Its kind, as every line has it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Event(entry) if entry.flow().is_some() => "event",
            Self::Event(_) => "pinned-copy",
            Self::Summary(_) => "summary",
            Self::Lost(_) => "lost",
            Self::Difference(_) => "difference",
            Self::Untagged(_) => "untagged",
            Self::Canary(_) => "canary",
            Self::Start(_) => "start",
            Self::End(_) => "end",
        }
    }
}

fn summary_text(summary: &Summary) -> String {
    let Summary {
        pin, verdict, reason, is_resumed, group, events, flows, packets, bytes, first, last, ..
    } = summary;
    let mut line = format!("{last:.3} {} {packets} packets of {bytes} bytes", verb(*verdict));
    // Writing to a string does not fail.
    let _ok = write!(line, " in {events} events that have no line of their own");
    if let Some(source) = group.and_then(|group| group.source) {
        let _ok = write!(line, ", from {source}");
    }
    if let Some(group) = group {
        let _ok = write!(line, " in {}", group.jurisdiction);
    }
    if let Some(pin) = pin {
        let _ok = write!(line, ", pin {pin}");
    }
    let _ok = write!(
        line,
        ": {} [kind=summary pin={} verdict={} reason={} severity={}",
        decapitalized(reason.meaning()),
        word(pin.as_deref().unwrap_or_default()),
        verdict.name(),
        reason.name(),
        Severity::of(*verdict, *reason).name(),
    );
    if *is_resumed {
        line.push_str(" phase=resumed");
    }
    if let Some(source) = group.and_then(|group| group.source) {
        let _ok = write!(line, " source={source}");
    }
    match group {
        Some(group) => _ = write!(line, " jurisdiction={}", group.jurisdiction),
        None => line.push_str(" rest=true"),
    }
    let _ok = write!(
        line,
        " hook={} events={events} flows={flows} packets={packets} bytes={bytes} first={first:.3} last={last:.3} peers=",
        summary.hook.name(),
    );
    for (place, (ip, amount)) in summary.peers.top().into_iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let _ok = write!(line, "{comma}{ip}/{}", amount.packets);
    }
    line.push(']');
    line
}

fn lost_text(lost: &Lost) -> String {
    let Lost { time, what, count } = lost;
    let (fate, name) = (what.fate(), what.name());
    format!("{time:.3} {count} {fate}; counters have every packet [kind=lost what={name} count={count}]")
}

fn difference_text(difference: &Difference) -> String {
    let Difference { time, hook, verdict, reason, packets, bytes } = difference;
    format!(
        "{time:.3} {} {packets} packets of {bytes} bytes more than this log's lines add up to: {} [kind=difference \
         hook={} verdict={} reason={} severity={} packets={packets} bytes={bytes}]",
        verb(*verdict),
        decapitalized(reason.meaning()),
        hook.name(),
        verdict.name(),
        reason.name(),
        Severity::of(*verdict, *reason).name(),
    )
}

fn start_text(start: &Start) -> String {
    let mut line = format!("{:.3} the daemon reports from now on [kind=start version={VERSION}", start.time);
    if let Some(generation) = start.generation {
        let _ok = write!(line, " generation={generation}");
    }
    if let Some(policy) = &start.policy {
        let _ok = write!(line, " policy={policy}");
    }
    if let Some(last) = start.predecessor {
        let _ok = write!(line, " predecessor={} predecessor_seq={}", last.session, last.sequence);
    }
    line.push(']');
    line
}

#[cfg(test)]
pub(super) mod tests;
