//! What the event log goes on from.

use std::path::Path;

use super::flows::Resume;
use super::kept::Kept;
use super::told::{Losses, Reported, Told};
use super::told_flows::{KnownFlows, ToldFlows};

/// What earlier runs have reported.
#[derive(Clone, Debug, Default)]
pub struct Earlier {
    /// Up to when of the flows.
    pub resume: Resume,
    /// What of each, as far as that is known.
    pub flows: KnownFlows,
    /// The losses of the kernel that lines have told of; `None` where that is not known.
    pub losses: Option<Losses>,
}

/// What earlier runs have written and told, and the files in which this one keeps it.
#[derive(Debug)]
pub struct LogPast {
    pub(super) kept: Kept,
    pub(super) told: Told,
    pub(super) flows: ToldFlows,
}

impl LogPast {
    /// The number of the last line, and what lines have told of the kernel's counters of this name, from the state
    /// directory; where it can't be kept there, the next run does not know it. Of an earlier version's it is not known which losses
    /// were told: `lost`, those until now, are taken for that. It waits for the disk.
    #[must_use]
    pub fn read(state: &Path, counters: &str, lost: Option<Losses>) -> Self {
        let told = Told::open(state, counters, lost);
        let kept = Kept::open(state);
        let flows = ToldFlows::open(state, counters, kept.before.line.map(|line| line.session));
        Self { kept, told, flows }
    }

    /// What earlier runs have reported; `swept_ns` is the last sweep over the flows that the store knows of, if any. That of each
    /// flow is given once.
    #[must_use]
    pub fn earlier(&mut self, swept_ns: Option<u64>) -> Earlier {
        let known = |ns: u64| Some(ns).filter(|ns| *ns > 0);
        let Reported { swept_ns: told_ns, last_ns } = self.told.reported();
        let resume = Resume { swept_ns: known(told_ns).max(swept_ns), last_ns: known(last_ns) };
        Earlier { resume, flows: self.flows.take_known(), losses: self.told.losses() }
    }

    /// Nothing is known, and nothing is kept.
    #[must_use]
    pub fn unknown() -> Self {
        Self { kept: Kept::default(), told: Told::nothing(), flows: ToldFlows::default() }
    }
}
