//! The requests that only read and are not answered yet, and the last look at the counters.

use super::input::Sample;
use super::periods::SECOND;
use super::{Asker, Judged, Query, Ticket};
use crate::exemption::Clocks;

/// How long an answer that the last look can give as well waits for a new one, nanoseconds: a worker that is stuck
/// must not keep the status from saying so.
const NEW_LOOK_NS: u64 = SECOND;

/// What is asked and not answered yet.
#[derive(Default)]
pub(super) struct Reads {
    /// Those that wait for a sample that has not begun, and for the one on its way.
    pub(super) wanted: Vec<Want>,
    pub(super) on_its_way: Option<Vec<Want>>,
    /// Since when.
    pub(super) sampling_since: Option<u64>,
    /// Those that wait for the uses of exemptions.
    pub(super) for_uses: Vec<Asked>,
    /// Why the counters can't be read.
    pub(super) unreadable: Option<String>,
    /// What was booked last.
    pub(super) booked: Option<Judged>,
    /// When more was counted than had been booked, nanoseconds of `CLOCK_BOOTTIME`; `None` once it is kept that all flows of
    /// that time were reported.
    pub(super) grown_ns: Option<u64>,
    /// The last sample.
    pub(super) sample: Sample,
}

/// For what a sample is.
pub(super) enum Want {
    /// To book what crossed.
    Book,
    /// For an answer.
    Answer(Asked),
}

/// A request, and when it came, nanoseconds of `CLOCK_BOOTTIME`.
pub(super) struct Asked {
    pub(super) ticket: Ticket,
    pub(super) asker: Asker,
    pub(super) ask: Ask,
    pub(super) at: u64,
}

impl Asked {
    /// Until when it waits for a new look; `None` where it has to.
    fn deadline(&self) -> Option<u64> {
        matches!(self.ask, Ask::Status | Ask::List).then_some(self.at + NEW_LOOK_NS)
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Status,
    List,
    Store(Query),
}

impl Reads {
    /// What crossed is to be booked.
    pub(super) fn book(&mut self) {
        if !self.wanted.iter().any(|want| matches!(want, Want::Book)) {
            self.wanted.push(Want::Book);
        }
    }

    /// Those who wait for a look.
    fn waiting(&self) -> impl Iterator<Item = &Asked> {
        let wants = self.wanted.iter().chain(self.on_its_way.iter().flatten());
        let asked = wants.filter_map(|want| match want {
            Want::Answer(asked) => Some(asked),
            Want::Book => None,
        });
        asked.chain(&self.for_uses)
    }

    /// When the first is answered by the last look.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.waiting().filter_map(Asked::deadline).min()
    }

    /// Those who have waited long enough; they wait no more.
    pub(super) fn take_late(&mut self, now: Clocks) -> Vec<Asked> {
        let is_late = |asked: &Asked| asked.deadline().is_some_and(|until| now.boot_ns >= until);
        let mut late: Vec<Asked> = self.for_uses.extract_if(.., |asked| is_late(asked)).collect();
        for wants in std::iter::once(&mut self.wanted).chain(&mut self.on_its_way) {
            let is_late = |want: &mut Want| matches!(want, Want::Answer(asked) if is_late(asked));
            late.extend(wants.extract_if(.., is_late).filter_map(|want| match want {
                Want::Answer(asked) => Some(asked),
                Want::Book => None,
            }));
        }
        late
    }
}
