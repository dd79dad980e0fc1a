//! Which records a reader wants.

use guard_common::jurisdiction::Jurisdiction;
use guard_common::verdict::{Reason, Verdict};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::Past;
use crate::events::id::EventId;
use crate::events::untagged::Untagged;

/// Bytes of a command's name that the kernel keeps (`TASK_COMM_LEN`, without its end).
const COMMAND_BYTES: usize = 15;

/// What a record has to be: all that is given together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// From this moment on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// A pin of the flow, whether it forbids or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
    /// The destination's jurisdiction: a code, `unknown` or `uncertain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The verdict's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// The reason's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The id of the process, or the name of its command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// This one event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// Egress that no pin tags too, also where its reason is not asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub untagged: bool,
}

/// Whether a record is one that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// It is a sum that may have such events: sums name no process.
    MayHave,
}

impl Filter {
    /// Whether every record is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether egress that no pin tags is wanted: where it or its reason is asked for, and not otherwise, for there is much of it,
    /// and no rule is broken.
    #[must_use]
    pub fn wants_untagged(&self) -> bool {
        self.untagged || self.reason.as_deref() == Some(Untagged::REASON.name())
    }

    /// Says what is no name or the wrong way round. Of pins only those who know them can say that.
    ///
    /// # Errors
    /// What is wrong, and what there is.
    pub fn check(&self) -> Result<(), String> {
        let unknown = |what: &str, name: &str, all: Vec<&str>| {
            Err(format!("there is no {what} {name:?}: {}", all.join(", ")))
        };
        if let Some(name) = self.verdict.as_deref() {
            let all: Vec<&str> = Verdict::ALL.into_iter().map(Verdict::name).collect();
            if !all.contains(&name) {
                return unknown("verdict", name, all);
            }
        }
        if let Some(name) = self.reason.as_deref() {
            let all: Vec<&str> = Reason::ALL.iter().copied().map(Reason::name).collect();
            if !all.contains(&name) {
                return unknown("reason", name, all);
            }
        }
        if let Some(code) = self.to.as_deref()
            && code.parse::<Jurisdiction>().is_err()
        {
            let all = vec!["an ISO 3166-1 alpha-2 code such as US", "unknown", "uncertain"];
            return unknown("jurisdiction", code, all);
        }
        match (self.since, self.until) {
            (Some(since), Some(until)) if until <= since => {
                Err(format!("--until {until} is not after --since {since}: nothing is between them"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a record is wanted. Of the rest of a sum, whose jurisdictions are not told apart, every one may be.
    #[must_use]
    pub fn fit(&self, past: &Past) -> Fit {
        if let Some(wanted) = self.event {
            // The one that runs was named before.
            return if past.id() == Some(wanted) { Fit::Yes } else { Fit::No };
        }
        let (first, last) = match past {
            Past::Summary { summary, .. } => (summary.first, summary.last),
            Past::Untagged { untagged, .. } => (untagged.first.unwrap_or(Timestamp::MIN), untagged.last),
            Past::Event(_) | Past::Lost { .. } => (past.time(), past.time()),
        };
        if self.since.is_some_and(|since| last < since) || self.until.is_some_and(|until| first >= until) {
            return Fit::No;
        }
        // That records are missing is told to everybody who asks for their time.
        if matches!(past, Past::Lost { .. }) {
            return Fit::Yes;
        }
        if matches!(past, Past::Untagged { .. }) && !self.wants_untagged() {
            return Fit::No;
        }
        let (verdict, reason) = match past {
            Past::Summary { summary, .. } => (Some(summary.verdict), Some(summary.reason)),
            Past::Untagged { .. } => (Some(Untagged::VERDICT), Some(Untagged::REASON)),
            _ => past.flow().map_or((None, None), |event| (Some(event.verdict), Some(event.reason))),
        };
        let is_named = |wanted: &Option<String>, name: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| name == Some(wanted))
        };
        let is_rest = matches!(past, Past::Summary { summary, .. } if summary.group.is_none());
        let place = past.jurisdiction();
        let fits = self.pin.as_deref().is_none_or(|pin| past.pins().contains(&pin))
            && (is_rest || is_named(&self.to, place.as_ref().map(|place| place.as_str())))
            && is_named(&self.verdict, verdict.map(Verdict::name))
            && is_named(&self.reason, reason.map(Reason::name));
        match (fits, &self.process, past) {
            (false, ..) => Fit::No,
            (true, None, _) => Fit::Yes,
            (true, Some(_), Past::Summary { .. }) => Fit::MayHave,
            (true, Some(_), Past::Untagged { untagged, .. }) if untagged.service.is_none() => Fit::MayHave,
            (true, Some(wanted), _) => {
                let is_it = past.process().is_some_and(|process| {
                    wanted.parse() == Ok(process.pid) || is_command(wanted, &process.command)
                });
                if is_it { Fit::Yes } else { Fit::No }
            }
        }
    }
}

/// Whether a command is the one of this name, of which the kernel keeps the begin.
fn is_command(wanted: &str, command: &str) -> bool {
    let kept = wanted.as_bytes().get(..COMMAND_BYTES).unwrap_or(wanted.as_bytes());
    command == String::from_utf8_lossy(kept)
}
