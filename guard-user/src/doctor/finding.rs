//! How a way past the guard stands on a host, and why that may not be known.

use std::fmt;

use serde::Serialize;

/// How a way past the guard stands on this host, in the words of docs/limits.md. What needs doing comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Packets can leave by it, or something can be done by it, that nobody judges.
    NotCovered,
    /// What would say so can't be read, or no file says so.
    NotKnown,
    /// Its packets are judged, or it is as the guard needs it.
    Covered,
    /// The kernel refuses it.
    Blocked,
    /// This host has nothing of it now.
    Absent,
}

impl State {
    /// All of them, what needs doing first.
    pub const ALL: [Self; 5] = [Self::NotCovered, Self::NotKnown, Self::Covered, Self::Blocked, Self::Absent];

    /// Whether somebody has to look at it.
    #[must_use]
    pub const fn needs_doing(self) -> bool {
        matches!(self, Self::NotCovered | Self::NotKnown)
    }

    /// What it means: the line of docs/doctor.md.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::NotCovered => {
                "Packets can leave by it, or something can be done by it, that nobody judges."
            }
            Self::NotKnown => "What would say so can't be read, or no file of the host says so.",
            Self::Covered => "Its packets are judged, or it is as the guard needs it.",
            Self::Blocked => "The kernel refuses it.",
            Self::Absent => "This host has nothing of it now.",
        }
    }
}

/// The words of docs/limits.md.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotCovered => "not covered",
            Self::NotKnown => "not known",
            Self::Covered => "covered",
            Self::Blocked => "blocked",
            Self::Absent => "absent",
        })
    }
}

/// What a check found, with what it read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How the way stands.
    pub state: State,
    /// What was read: file, number, name; a line each.
    pub evidence: Vec<String>,
}

impl Finding {
    /// A finding by one piece of evidence.
    pub(super) fn of(state: State, evidence: impl Into<String>) -> Self {
        Self { state, evidence: vec![evidence.into()] }
    }

    /// The same with one more.
    pub(super) fn and(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }
}

/// Why a way is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// What could not be read, where, and what the host said.
    pub why: String,
    /// What would help.
    pub next: Next,
}

impl Unknown {
    /// What no file says.
    pub(super) fn by_hand(why: impl Into<String>) -> Self {
        Self { why: why.into(), next: Next::ByHand }
    }
}

/// What would help where a way is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The right to read it.
    AsRoot,
    /// A daemon that answers.
    AskDaemon,
    /// What the check says is to be done.
    ByHand,
}

impl Next {
    /// What to do; `by_hand` is the check's own.
    pub(super) fn todo(self, by_hand: &str) -> String {
        match self {
            Self::AsRoot => "Run it as root of the host, outside of containers.".to_owned(),
            Self::AskDaemon => {
                "Start the daemon, or name its socket with `--socket PATH`. What is in the kernel is \
                                enforced meanwhile."
                    .to_owned()
            }
            Self::ByHand => by_hand.to_owned(),
        }
    }
}
