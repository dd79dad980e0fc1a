//! The cgroups that pins select: which are there, and which the live tables do not have yet.
//!
//! A cgroup that is made again has another id. Until a generation has it, the kernel counts every newer cgroup beside
//! it as pinned; how often and for how long that was is told.

use std::collections::{BTreeMap, BTreeSet};

use crate::compile::HostFacts;
use crate::daemon::engine::Level;
use crate::daemon::engine::state::Engine;
use crate::exemption::Clocks;

impl Engine {
    pub(super) fn cgroups_seen(&mut self, seen: HostFacts, now: Clocks) {
        // A look that began before the config names others says nothing of those.
        let paths: BTreeSet<&str> = seen.cgroups.iter().map(|cgroup| cgroup.path.as_str()).collect();
        if !self.cgroups().iter().all(|path| paths.contains(path.as_str())) {
            return self.interfaces.look();
        }
        let there = seen.cgroups.iter().filter(|cgroup| cgroup.id.is_some());
        self.cgroups.there = there.map(|cgroup| cgroup.path.clone()).collect();
        let live = self.publishing.live().into_iter().flat_map(|live| &live.facts.cgroups);
        let live: BTreeMap<&str, Option<u64>> = live.map(|it| (it.path.as_str(), it.id)).collect();
        for cgroup in seen.cgroups.iter().filter(|cgroup| cgroup.id.is_some()) {
            if live.get(cgroup.path.as_str()).is_some_and(|id| *id != cgroup.id) {
                self.cgroups.unplaced.entry(cgroup.path.clone()).or_insert(now.boot_ns);
            }
        }
        let known = self.config.wanted_cgroups_mut();
        let mut next = seen;
        next.go_on_from(known);
        *known = next;
    }

    /// A generation is live: tells which cgroups it has that the one before had not.
    pub(super) fn cgroups_are_placed(&mut self, now: Clocks) {
        let Some(live) = self.publishing.live() else { return };
        let known = self.config.wanted_cgroups();
        let id_of = |facts: &HostFacts, path: &str| facts.cgroups.iter().find(|it| it.path == path)?.id;
        let is_placed = |path: &String| id_of(&live.facts, path) == id_of(known, path);
        let mut unplaced = std::mem::take(&mut self.cgroups.unplaced);
        let placed: Vec<(String, u64)> = unplaced.extract_if(.., |path, _| is_placed(path)).collect();
        self.cgroups.unplaced = unplaced;
        for (path, since) in placed {
            let took = now.boot_ns.saturating_sub(since);
            self.cgroups.placed += 1;
            self.cgroups.took_ns += took;
            let line = format!(
                "cgroup {path} was made again and is in the tables after {} ms; until then it counted as pinned",
                took.div_ceil(1_000_000)
            );
            self.log(Level::Info, line);
        }
    }
}
