//! What is known of the daemon, by what came from it so far.

use std::collections::VecDeque;
use std::time::Instant;

use jiff::Timestamp;

use super::feed::News;
use super::rates::{Amount, Counter, Counts};
use super::sums::Sums;
use crate::control::status::Status;

/// Looks at the counters whose rates are kept, for the course of time.
pub const COURSE: usize = 240;

/// What is known of the daemon.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Its last status.
    pub status: Option<Box<Status>>,
    /// What the status counts.
    pub counts: Option<Counts>,
    /// As much a second; none before the second status.
    pub rates: Option<Counts>,
    /// Rates of before: what passed and what was forbidden, the oldest first.
    pub course: VecDeque<(Amount, Amount)>,
    /// What the events add up to.
    pub sums: Sums,
    /// The time.
    pub now: Timestamp,
    /// Why there is no newer status, and since when.
    pub lost: Option<(String, Timestamp)>,
    /// Why no events come.
    pub no_events: Option<String>,
}

impl Known {
    /// Takes up what is new.
    pub fn update(&mut self, news: News) {
        match news {
            News::Status(status, at) => self.take(status, at),
            News::NoStatus(why) => {
                let since = self.lost.take().map_or(self.now, |(_, since)| since);
                self.lost = Some((why, since));
                // What was counted meanwhile is of no known time.
                self.rates = None;
            }
            News::Event(event) => {
                self.no_events = None;
                self.sums.add(*event);
            }
            News::Missed(events) => self.sums.missed = self.sums.missed.saturating_add(events),
            News::Summed(events) => self.sums.summed = self.sums.summed.saturating_add(events),
            News::NoEvents(why) => self.no_events = Some(why),
        }
    }

    fn take(&mut self, status: Box<Status>, at: Instant) {
        let counts = Counts::of(&status, at);
        self.rates = self.counts.as_ref().and_then(|before| counts.since(before));
        if let Some(rates) = &self.rates {
            let of = |passes: bool| {
                rates.sum(
                    |counter| matches!(counter, Counter::Total { verdict } if (verdict == "pass") == passes),
                )
            };
            if self.course.len() == COURSE {
                self.course.pop_front();
            }
            self.course.push_back((of(true), of(false)));
        }
        if self.lost.take().is_some() {
            self.no_events = None;
        }
        self.counts = Some(counts);
        self.status = Some(status);
    }
}
