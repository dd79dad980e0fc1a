//! What the programs that keep others from the guard's objects know of these, and who was refused.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;

use guard_common::abi::protect::{Attempt, AttemptKey, Attempts, Protected};

use super::plain::{bytes_of, read};
use super::protection::Refused;
use super::raw::Map;

/// What keeps others from it.
#[derive(Debug)]
pub(super) struct Protection {
    /// The links, which nothing else holds.
    _links: Vec<OwnedFd>,
    protected: Map,
    attempts: Map,
    /// What is in `protected` because this process has written it there.
    written: BTreeSet<Protected>,
    /// How often each was refused, as far as it was told.
    told: BTreeMap<AttemptKey, u64>,
}

impl Protection {
    /// By these links, over these maps; what an earlier time of this process has left there is no news, and may be the guard's no
    /// more.
    pub(super) fn begin(links: Vec<OwnedFd>, protected: Map, attempts: Map) -> io::Result<Self> {
        let (written, told) = (BTreeSet::new(), BTreeMap::new());
        let mut begun = Self { _links: links, protected, attempts, written, told };
        begun.refused()?;
        begun.clear()?;
        Ok(begun)
    }

    /// Has the programs know these as the guard's, and no more of those that they were told of. What they have added
    /// themselves stays: a program that is just being loaded.
    pub(super) fn set(&mut self, own: BTreeSet<Protected>) -> io::Result<()> {
        for new in own.difference(&self.written) {
            self.protected.update(bytes_of(new), &[1])?;
        }
        for gone in self.written.difference(&own) {
            self.protected.remove(bytes_of(gone))?;
        }
        self.written = own;
        Ok(())
    }

    fn clear(&self) -> io::Result<()> {
        let mut known = Vec::new();
        self.protected.for_each(|key, _| known.extend(read::<Protected>(key)))?;
        known.iter().try_for_each(|key| self.protected.remove(bytes_of(key)))
    }

    /// Has them know these too, for as long as they are there.
    pub(super) fn know(&self, others: Vec<Protected>) -> io::Result<()> {
        others.iter().try_for_each(|other| self.protected.update(bytes_of(other), &[1]))
    }

    /// Who was refused since the last call.
    pub(super) fn refused(&mut self) -> io::Result<Vec<Refused>> {
        let mut all = BTreeMap::new();
        self.attempts
            .for_each(|key, value| all.extend(read::<AttemptKey>(key).zip(read::<Attempts>(value))))?;
        let mut refused = Vec::new();
        for (key, found) in &all {
            // One that was forgotten meanwhile begins at 1 again.
            let told = self.told.get(key).copied().filter(|told| *told <= found.times).unwrap_or(0);
            let Some(attempt) = Attempt::of(key.attempt).filter(|_| found.times > told) else { continue };
            let command = found.command.split(|byte| *byte == 0).next().unwrap_or_default();
            refused.push(Refused {
                attempt,
                command: String::from_utf8_lossy(command).into_owned(),
                process: key.process,
                user: found.user,
                number: found.number,
                times: found.times - told,
                last_ns: found.last_ns,
            });
        }
        self.told = all.into_iter().map(|(key, found)| (key, found.times)).collect();
        Ok(refused)
    }
}
