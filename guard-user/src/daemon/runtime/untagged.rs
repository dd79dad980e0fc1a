//! Egress that no pin tags, on its way from the kernel's counts to the flow history.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use guard_common::abi::{Count, UntaggedKey, UntaggedRecord};
use guard_common::jurisdiction::Jurisdiction;
use jiff::Timestamp;
use tracing::warn;

use super::patience::{disk, within};
use crate::control::users::Names;
use crate::events::names::SharedNames;
use crate::events::untagged::Untagged;
use crate::history::untagged::{Look, Recorder};
use crate::history::{Past, Worker};
use crate::kernel::{KernelError, UntaggedCount, View, cgroup};
use crate::telemetry::counters_of;

/// How often the history gets a record of each service that has sent.
const SERVICES: Duration = Duration::from_secs(300);
/// How often it gets one of each jurisdiction, where no service is known.
const PLACES: Duration = Duration::from_secs(3600);
/// How often it is looked whether there is anything of services, once one is due: all that the kernel keeps is read for that.
const NEWS: Duration = Duration::from_secs(30);

/// When that was done last.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    /// That anything was given to the history.
    given: Option<Instant>,
    /// That flows were looked at.
    looked: Option<Instant>,
}

impl Last {
    /// Whether flows are to be looked at. The first look is at once: from then on it is known by which config no pin tagged them.
    fn is_to_look(self, now: Instant) -> bool {
        let since = |at: Option<Instant>| at.map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        self.given.is_none() || (since(self.given) >= SERVICES && since(self.looked) >= NEWS)
    }
}

/// Who looks, and gives to the history.
pub(super) struct Watch {
    pins: PathBuf,
    session: Timestamp,
    names: SharedNames,
    users: Names,
    /// And when it last did what.
    recorder: Mutex<(Recorder, Last)>,
}

impl Watch {
    /// Begins with what earlier runs have told, by the state directory. Nothing is attached yet: a disk that does not answer
    /// holds no guard up.
    ///
    /// # Errors
    /// Where the kernel's counts can't be read.
    pub(super) fn start(
        state: &Path,
        pins: &Path,
        (names, users): (SharedNames, Names),
        session: Timestamp,
    ) -> Result<Arc<Self>, KernelError> {
        let view = View::open(pins)?;
        let (place, counters, flows) = (state.to_owned(), counters_of(&view), view.untagged_records()?);
        let recorder = within(disk(), "read-untagged", move || Recorder::open(&place, &counters, &flows));
        let recorder = match recorder {
            Ok(recorder) => recorder,
            Err(why) => {
                warn!(
                    "what was told of untagged egress so far is not known, so that it may be told again: {why}"
                );
                Recorder::begun(state, &counters_of(&view), &view.untagged_records()?)
            }
        };
        let recorder = Mutex::new((recorder, Last::default()));
        Ok(Arc::new(Self { pins: pins.to_owned(), session, names, users, recorder }))
    }

    /// Whether the flows are to be read, to see whether anything is due.
    pub(super) fn is_to_look(&self) -> bool {
        self.recorder().1.is_to_look(Instant::now())
    }

    /// Gives to the history what is due; `flows` were read after `places`.
    pub(super) fn record_where_due(
        &self,
        past: &Worker,
        places: &[UntaggedCount],
        flows: &[(UntaggedKey, UntaggedRecord)],
    ) {
        let mut kept = self.recorder();
        let (recorder, last) = &mut *kept;
        last.looked = Some(Instant::now());
        let period = if recorder.has_news(flows) { SERVICES } else { PLACES };
        let is_due = match last.given {
            Some(given) => given.elapsed() >= period,
            None => self.policy().is_some(),
        };
        if is_due {
            last.given = Some(Instant::now());
            self.record(recorder, past, (places, flows));
        }
    }

    /// Gives to the history all that was counted until now.
    ///
    /// # Errors
    /// Where the kernel's counts can't be read.
    pub(super) fn record_last(&self, past: &Worker, view: &View) -> Result<(), KernelError> {
        let places = view.untagged()?;
        let flows = view.untagged_records()?;
        self.record(&mut self.recorder().0, past, (&places, &flows));
        Ok(())
    }

    fn record(
        &self,
        recorder: &mut Recorder,
        past: &Worker,
        (places, flows): (&[UntaggedCount], &[(UntaggedKey, UntaggedRecord)]),
    ) {
        let (places, policy) = (counts(places), self.policy());
        let look = Look { at: Timestamp::now(), places: &places, flows, policy: policy.as_ref() };
        let rows = self.named(recorder.rows(&look));
        // What the history does not take is in the rest of its jurisdiction next time.
        let given: Vec<Untagged> =
            rows.into_iter().filter(|row| past.put_untagged(Box::new(row.clone()))).collect();
        recorder.took(&look, given.iter());
    }

    /// What was counted since the history got it last, for who reads it: it stays what the history is still to get.
    ///
    /// # Errors
    /// Why the kernel's counts can't be read.
    pub(super) fn pending(&self) -> Result<Vec<Past>, String> {
        let rows = {
            let recorder = self.recorder();
            // Under the lock: what is given to the history meanwhile is not told a second time.
            let view = View::open(&self.pins).map_err(|error| error.to_string())?;
            let places = view.untagged().map_err(|error| error.to_string())?;
            let flows = view.untagged_records().map_err(|error| error.to_string())?;
            let (places, policy) = (counts(&places), self.policy());
            recorder.0.rows(&Look {
                at: Timestamp::now(),
                places: &places,
                flows: &flows,
                policy: policy.as_ref(),
            })
        };
        let past = |row| Past::Untagged { session: self.session, untagged: Box::new(row) };
        Ok(self.named(rows).into_iter().map(past).collect())
    }

    /// The same with names for their numbers, as far as they are known.
    fn named(&self, mut rows: Vec<Untagged>) -> Vec<Untagged> {
        let generations = self.names.get();
        let of_process = |row: &Untagged| row.process.as_ref().map_or(0, |it| it.cgroup_id);
        let ids: BTreeSet<u64> = rows.iter().flat_map(|row| [row.cgroup_id, of_process(row)]).collect();
        let paths = cgroup::paths(&ids.into_iter().filter(|id| *id != 0).collect());
        let path = |id: u64| paths.get(&id).map(|path| Arc::from(path.as_str()));
        for row in &mut rows {
            row.cgroup = path(row.cgroup_id);
            if let Some(process) = &mut row.process {
                process.cgroup = path(process.cgroup_id);
                process.user = self.users.known(process.uid).map(Into::into);
            }
            if let Some(service) = &mut row.service {
                let known = generations.newest().and_then(|names| names.interfaces.get(&service.ifindex));
                service.interface = known.cloned();
            }
        }
        rows
    }

    fn policy(&self) -> Option<Arc<str>> {
        self.names.get().newest()?.policy.clone()
    }

    fn recorder(&self) -> MutexGuard<'_, (Recorder, Last)> {
        // Nobody panics between two changes that belong together.
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn counts(places: &[UntaggedCount]) -> Vec<(Jurisdiction, Count)> {
    places.iter().map(|row| (row.jurisdiction, row.count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_read_until_the_first_record_and_then_where_one_is_due_and_not_with_each_look() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut last = Last { given: None, looked: Some(at(0)) };
        assert!(last.is_to_look(at(5)), "by what config is not known yet");
        last = Last { given: Some(at(5)), looked: Some(at(5)) };
        let mut reads = Vec::new();
        for seconds in (10..500).step_by(5) {
            if last.is_to_look(at(seconds)) {
                reads.push(seconds);
                last.looked = Some(at(seconds));
            }
        }
        assert_eq!(reads, [305, 335, 365, 395, 425, 455, 485]);
    }
}
