//! What is known of keeping others from what is the guard's in the kernel, and of who was refused.

use std::collections::BTreeMap;

use guard_common::abi::protect::Attempt;

use super::bypass::BEING_ATTACHED;
use super::tampering::RECORD_NS;
use super::tries::Try;
use crate::config::policy::Policy;
use crate::exemption::Clocks;
use crate::kernel::Refused;

/// Commands that are told by their names, of each attempt's; what others try is told together.
const MOST_TOLD: usize = 16;
/// What stands for them.
const OTHERS: &str = "other commands";

/// What is known of it.
#[derive(Default)]
pub(super) struct Protection {
    /// Whether others were kept from it at the last look; `None` before the first.
    pub(super) is_on: Option<bool>,
    /// What could not be brought up to date then.
    pub(super) blind: Option<String>,
    /// Whether a job is on its way.
    pub(super) is_being_set: bool,
    /// What the last try came to that the looks since then show no effect of.
    pub(super) tried: Option<Try>,
    /// Who was refused since the last reload.
    pub(super) told: BTreeMap<(Attempt, String), Told>,
    /// How often anybody was since the daemon started.
    pub(super) times: u64,
}

/// What is told of a command that was refused something.
pub(super) struct Told {
    /// The last time.
    pub(super) last: Refused,
    /// When the look found it.
    pub(super) found: Clocks,
    /// How often.
    pub(super) times: u64,
    /// When it was recorded last, nanoseconds of `CLOCK_BOOTTIME`, and how many times are in no record.
    pub(super) recorded_ns: Option<u64>,
    pub(super) unrecorded: u64,
}

impl Protection {
    pub(super) fn config_changed(&mut self) {
        self.tried = None;
    }

    /// Whether it is as this policy wants it, or was tried to be.
    pub(super) fn is_settled(&self, policy: &Policy) -> bool {
        let wanted = policy.protect.lsm;
        !self.is_being_set && (self.is_on.unwrap_or(!wanted) == wanted || self.tried.is_some())
    }

    /// Why others are not kept from it, where they should be.
    pub(super) fn not_on(&self, policy: &Policy) -> Option<String> {
        if !policy.protect.lsm || self.is_on != Some(false) {
            return None;
        }
        let failure = self.tried.as_ref().and_then(|tried| tried.why.as_deref());
        Some(failure.unwrap_or(BEING_ATTACHED).to_owned())
    }

    /// Adds what a look has found.
    pub(super) fn add(&mut self, refused: &[Refused], now: Clocks) {
        for it in refused {
            self.times = self.times.saturating_add(it.times);
            let has_room = self.told.keys().filter(|(attempt, _)| *attempt == it.attempt).count() < MOST_TOLD;
            let own = (it.attempt, it.command.clone());
            let key = match has_room || self.told.contains_key(&own) {
                true => own,
                false => (it.attempt, OTHERS.to_owned()),
            };
            let told = self.told.entry(key).or_insert_with(|| Told {
                last: it.clone(),
                found: now,
                times: 0,
                recorded_ns: None,
                unrecorded: 0,
            });
            // Of one look the last one.
            if it.last_ns >= told.last.last_ns {
                told.last = it.clone();
            }
            told.found = now;
            told.times = told.times.saturating_add(it.times);
            told.unrecorded = told.unrecorded.saturating_add(it.times);
        }
    }
}

impl Told {
    /// What is said of it.
    pub(super) fn words(&self) -> String {
        let Self { last: Refused { attempt, process, user, number, .. }, times, found, .. } = self;
        let what = match attempt {
            Attempt::OpenMap => format!("to open the map {number} of the guard's so that it can be written"),
            Attempt::WriteMap => format!("to write into the map {number} of the guard's"),
            Attempt::FreezeMap => format!("to freeze the map {number} of the guard's"),
            Attempt::LoadProgram => format!("to load a program that uses the map {number} of the guard's"),
            Attempt::RunProgram => format!("to run the guard's program {number} on a packet of its own"),
            Attempt::ChangeLink => format!("to detach or exchange the guard's program {number}"),
            Attempt::ChangeEntry => "to remove or rename an entry of the guard's in bpffs".to_owned(),
            Attempt::TraceDaemon => "to reach into the daemon's process".to_owned(),
        };
        let often = if *times == 1 { "once".to_owned() } else { format!("{times} times") };
        format!(
            "it tried {what}, and was refused: {often}, the last time as process {process} of the user {user}, before {:.3}. \
             Nothing was changed",
            found.wall
        )
    }

    /// Whether a record is due.
    pub(super) fn record_is_due(&self, now: Clocks) -> bool {
        self.unrecorded > 0 && self.recorded_ns.is_none_or(|at| now.boot_ns >= at + RECORD_NS)
    }
}
