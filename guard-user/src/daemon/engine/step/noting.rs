//! Brings the hooks that note who makes and who uses sockets to where the config wants them, and has sockets named that
//! were open before.

use serde_json::json;

use crate::audit::Kind;
use crate::daemon::engine::bypass::Loss;
use crate::daemon::engine::input::NotingFacts;
use crate::daemon::engine::interfaces::Lost;
use crate::daemon::engine::state::Engine;
use crate::daemon::engine::tries::Try;
use crate::daemon::engine::{Action, KernelJob, Level};
use crate::exemption::Clocks;
use crate::kernel::{CgroupAttachment, Observed};

/// After which carriers are looked for again of whom not all could be looked at.
const SEARCHED_AGAIN_NS: u64 = 10_000_000_000;

impl Engine {
    pub(super) fn noting_seen(&mut self, facts: NotingFacts, observed: &Observed, now: Clocks) {
        let was_attached = self.noting.is_attached();
        let before: Vec<CgroupAttachment> = self.noting.in_place().cloned().collect();
        let was_at = self.noting.facts.as_ref().map(|it| (it.asked.cgroup.clone(), it.cgroup));
        let how = match was_at {
            // A config that names another one is no loss.
            Some((path, _)) if path != facts.asked.cgroup => None,
            Some((_, id)) if id != facts.cgroup => Some(Loss::CgroupGone),
            _ => Some(Loss::TakenOff),
        };
        self.noting.facts = Some(facts);
        // Where it can't be looked at, what was seen last is what is known.
        if let Some(sockets) = &observed.sockets {
            self.noting.observed = Some(sockets.clone());
        }
        self.noting.senders = observed.senders;
        self.noting.volumes.hooks = observed.carriers;
        if let Some(volumes) = &observed.volumes {
            self.noting.volumes.observed = Some(volumes.clone());
        }
        let is_gone = was_attached && !self.noting.is_attached();
        let is_exchanged = self.noting.is_exchanged_since(&before);
        if let (Some(how), true) = (how, (is_gone || is_exchanged) && self.config.policy.sockets.note) {
            let subject = self.noting_subject();
            let what = match how {
                Loss::CgroupGone => "the cgroup was removed, and hooks of Border Guard with it",
                Loss::TakenOff | Loss::NotThere if !is_gone => {
                    "something has put other programs in the place of Border Guard's"
                }
                Loss::TakenOff | Loss::NotThere => "something has taken hooks of Border Guard off",
            };
            self.log(
                Level::Error,
                format!("{subject}: {what}, which note who uses sockets; they are attached again"),
            );
            // What is opened until they are there again has no facts, and the links may be the same then.
            self.noting.named_at = None;
            let seen = self.noting.looked.map(|looked| looked.wall.to_string());
            self.record_of(
                Kind::Detach,
                &subject,
                how.recorded(),
                json!({"hooks": "sockets", "last_seen": seen}),
            );
            self.noting.lost = Some((how, Lost { between: (self.noting.looked, now), is_back: false }));
        }
        let is_whole = self.noting.is_whole();
        if let Some((_, lost)) = &mut self.noting.lost {
            lost.is_back |= is_whole;
        }
        self.noting.looked = Some(now);
        if self.noting.difference(&self.config.policy).is_none() {
            self.noting.tried = None;
        }
        self.name_open_sockets();
        self.find_carriers(now);
    }

    /// The cgroup, for problems and records.
    pub(super) fn noting_subject(&self) -> String {
        format!("cgroup /{}", self.config.policy.sockets.cgroup)
    }

    /// The id of the cgroup at which sockets should be noted.
    #[cfg(test)]
    pub(in crate::daemon::engine) fn noting_cgroup(&self) -> Option<u64> {
        let policy = &self.config.policy;
        policy.sockets.note.then(|| self.noting.target(policy)).flatten().map(|target| target.id)
    }

    /// Whether who sends should be noted.
    #[cfg(test)]
    pub(in crate::daemon::engine) fn notes_senders(&self) -> bool {
        use crate::daemon::engine::noting::wants_senders;
        self.config.policy.sockets.note && wants_senders(&self.config.policy)
    }

    /// Asks for what is missing, unless it is on its way or failed just now.
    pub(super) fn mend_noting(&mut self, now: Clocks) {
        // As for interfaces: what an earlier daemon left goes on until the first config is live.
        if self.publishing.generation() == 0 || self.config.is_to_come() || self.noting.is_being_set {
            return;
        }
        let policy = &self.config.policy;
        if self.noting.difference(policy).is_none() {
            return;
        }
        // Where the mounts can't be looked at, what the hooks know of volumes stays as it is.
        if !self.noting.is_seen(policy)
            || self.noting.facts.as_ref().is_some_and(|facts| facts.volumes.blind.is_some())
            || self.noting.tried.as_ref().is_some_and(|tried| tried.is_just_now(now))
        {
            return;
        }
        let target = policy.sockets.note.then(|| self.noting.target(policy));
        // Where there is no such cgroup nothing can be done about it.
        if target != Some(None) {
            self.noting.is_being_set = true;
            self.ask_kernel(KernelJob::NoteSockets(target.flatten()));
        }
    }

    pub(super) fn noting_set(&mut self, result: Result<(), String>, now: Clocks) {
        self.noting.is_being_set = false;
        self.noting.tried = Some(Try::after(self.noting.tried.as_ref(), result, now));
        self.interfaces.look();
    }

    /// Has sockets named that were open before the hooks were attached, once for each time that they are.
    fn name_open_sockets(&mut self) {
        let is_being_mended = self.noting.lost.as_ref().is_some_and(|(_, lost)| !lost.is_back);
        if !self.config.policy.sockets.note || !self.noting.is_attached() || is_being_mended {
            return;
        }
        let links: Vec<u32> = self.noting.in_place().map(|attachment| attachment.link).collect();
        let target = self.noting.target(&self.config.policy);
        let Some(target) = target.filter(|_| self.noting.named_at.as_ref() != Some(&links)) else {
            return;
        };
        self.noting.named_at = Some(links);
        self.actions.push(Action::NameSockets(target.cgroup));
    }

    /// Has those found who had files of volumes open before the hooks knew of these: once for each time that the hooks are
    /// attached, and for each mount that comes, and again where not all could be looked at.
    fn find_carriers(&mut self, now: Clocks) {
        let volumes = &self.noting.volumes;
        let known = volumes.observed.as_ref().filter(|_| volumes.hooks.is_whole).map(|it| it.known.clone());
        let Some(known) = known.filter(|known| !known.devices.is_empty()) else {
            self.noting.volumes.searched = None;
            self.surroundings.remove("carriers");
            return;
        };
        let before = self.noting.volumes.searched.as_ref().map(|before| &before.devices);
        let is_part = self.surroundings.contains_key("carriers")
            && now.boot_ns >= self.noting.volumes.searched_ns.saturating_add(SEARCHED_AGAIN_NS);
        if before != Some(&known.devices) || is_part {
            self.actions.push(Action::FindCarriers(known.devices.clone()));
            self.noting.volumes.searched = Some(known);
            self.noting.volumes.searched_ns = now.boot_ns;
        }
    }
}
