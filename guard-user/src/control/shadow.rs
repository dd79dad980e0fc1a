//! What is asked of a shadow, and what came of it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The longest time of one shadow, in seconds.
pub const MOST_SHADOW_SECONDS: u64 = 3600;

/// By what live packets are judged once more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowWanted {
    /// The candidate's file as the client has it, for messages.
    pub name: PathBuf,
    /// The candidate's text.
    pub config: String,
    /// Its databases; without any those of its `geo.files`. Others than those of the config in force are read for root alone.
    #[serde(default)]
    pub geo: Vec<PathBuf>,
    /// The texts of exemptions that it has besides those that are open.
    #[serde(default)]
    pub exemptions: Vec<String>,
    /// Ids of those that are open and that it does not have.
    #[serde(default)]
    pub without: Vec<String>,
    /// For how long, in seconds from the moment on that the programs are on the interfaces: from 1 to
    /// [`MOST_SHADOW_SECONDS`].
    pub seconds: u64,
}

/// An exemption that the candidate has besides those that were open when the shadow began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowAdded {
    /// Its id.
    pub id: String,
    /// Bytes that it may let pass; null for no bound.
    pub quota: Option<u64>,
    /// Whether it takes the place of one that was open.
    pub replaces: bool,
}

/// A database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowDatabase {
    /// What it is.
    pub source: String,
    /// When it was made, a date; null where it does not say.
    pub generated: Option<String>,
}

/// Packets and their bytes on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowAmount {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// How one side judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowVerdict {
    /// The verdict's name.
    pub verdict: String,
    /// The reason's name.
    pub reason: String,
    /// Names of the pins that forbid.
    pub pins: Vec<String>,
}

/// Packets of which verdict or reason differ in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowDifference {
    /// The hook's name.
    pub hook: String,
    /// How they were judged.
    pub now: ShadowVerdict,
    /// How the candidate judged them.
    pub then: ShadowVerdict,
    /// Where the candidate places the destination that decided.
    pub jurisdiction: String,
    /// How many there were.
    #[serde(flatten)]
    pub amount: ShadowAmount,
}

/// What came of a shadow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowReport {
    /// The generation that was live when it began, and the one when it ended.
    pub generations: [u64; 2],
    /// SHA-256 of the config that is in force; null where that is not known.
    pub policy: Option<String>,
    /// The databases in force, and those of the candidate.
    pub databases: [ShadowDatabase; 2],
    /// Exemptions that are open.
    pub open: usize,
    /// Those that the candidate has besides them.
    pub added: Vec<ShadowAdded>,
    /// Whether the daemon was told to observe, whatever the config says.
    pub observes: bool,
    /// What the candidate's pins ask for and nobody notes, a sentence each: nothing is known of that.
    pub not_noted: Vec<String>,
    /// Packets of which both have the same verdict for the same reason.
    pub same: ShadowAmount,
    /// Those of which they do not.
    pub differences: Vec<ShadowDifference>,
    /// Those of which they do not either, and that had no room to be counted apart.
    pub lost: ShadowAmount,
    /// The flows of which the verdicts differ: a line each as of `flows`, with what the candidate made of it as `then`. Those
    /// that were seen last, as far as there was room.
    pub flows: Vec<String>,
    /// For how many flows there was room.
    pub capacity: usize,
}
