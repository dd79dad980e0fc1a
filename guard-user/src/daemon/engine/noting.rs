//! What is known of the hooks that note who makes and who uses sockets: whether they are attached where they should be.
//!
//! As for interfaces, what is attached is what the kernel shows at each look.

use super::bypass::Loss;
use super::input::NotingFacts;
use super::interfaces::Lost;
use super::tries::Try;
use super::volumes::Volumes;
use crate::config::policy::Policy;
use crate::exemption::Clocks;
use crate::kernel::{CgroupAttachment, CgroupHook, CgroupTarget, ObservedSenders};

/// Of hooks that are attached in a moment.
const BEING_ATTACHED: &str = "they are being attached";

/// What is known of them.
pub(super) struct Noting {
    /// The cgroup, as it was seen last.
    pub(super) facts: Option<NotingFacts>,
    /// What was on cgroups at the last look.
    pub(super) observed: Option<Vec<CgroupAttachment>>,
    /// What noted who sends at the last look.
    pub(super) senders: ObservedSenders,
    /// Whether a job is on its way.
    pub(super) is_being_set: bool,
    /// What the last try came to that the looks since then show no effect of.
    pub(super) tried: Option<Try>,
    /// Links of hooks that were attached when sockets that were open already were named: what is made from then on the
    /// hooks note themselves.
    pub(super) named_at: Option<Vec<u32>>,
    /// The volumes whose carriers are noted.
    pub(super) volumes: Volumes,
    pub(super) looked: Option<Clocks>,
    /// Where something took hooks off: until they are there again, and for a while after that.
    pub(super) lost: Option<(Loss, Lost)>,
}

/// Whether any pin goes by who sends.
pub(super) fn wants_senders(policy: &Policy) -> bool {
    policy.pins.iter().any(|pin| pin.select.asks_for_senders())
}

impl Noting {
    /// Nothing is known but the slots that volumes have.
    pub(super) fn begin(volume_slots: Vec<u64>) -> Self {
        Self {
            facts: None,
            observed: None,
            senders: ObservedSenders::default(),
            is_being_set: false,
            tried: None,
            named_at: None,
            volumes: Volumes::begin(volume_slots),
            looked: None,
            lost: None,
        }
    }

    pub(super) fn config_changed(&mut self) {
        self.tried = None;
    }

    /// Whether nothing is on its way.
    pub(super) const fn is_settled(&self) -> bool {
        !self.is_being_set
    }

    /// Where they should be; `None` where there is no such cgroup.
    pub(super) fn target(&self, policy: &Policy) -> Option<CgroupTarget> {
        let facts = self.facts.as_ref()?;
        let volumes = self.volumes.target(policy, &facts.volumes);
        Some(CgroupTarget { cgroup: facts.place.clone(), id: facts.cgroup?, senders: facts.senders, volumes })
    }

    /// Whether what was seen is of what this policy names. After a reload a look is on its way.
    pub(super) fn is_seen(&self, policy: &Policy) -> bool {
        let volumes = || policy.volumes().into_iter().map(|volume| volume.path).collect();
        self.facts.as_ref().is_some_and(|facts| {
            facts.asked == policy.sockets
                && facts.senders == wants_senders(policy)
                && facts.volumes.asked() == volumes()
        })
    }

    /// What is told of hooks that something took off.
    pub(super) fn lost(&self, now: Clocks) -> Option<String> {
        let meant = "Who used a socket meanwhile is not noted: a pin by cgroup or user may not know what is sent by it";
        let (how, lost) = self.lost.as_ref()?;
        lost.told((how.told(), "the hooks that note who uses sockets"), meant, now)
    }

    /// What is attached where it should be.
    pub(super) fn in_place(&self) -> impl Iterator<Item = &CgroupAttachment> {
        let at = self.facts.as_ref().and_then(|facts| facts.cgroup);
        let observed = self.observed.iter().flatten();
        observed.filter(move |attachment| Some(attachment.cgroup) == at)
    }

    /// Whether every hook is attached where it should be.
    pub(super) fn is_attached(&self) -> bool {
        self.missing().is_empty() && self.facts.as_ref().is_some_and(|facts| facts.cgroup.is_some())
    }

    /// Whether every hook runs the program of this process there.
    pub(super) fn is_whole(&self) -> bool {
        self.is_attached() && self.in_place().all(|it| it.is_current)
    }

    /// Whether somebody has given a link another program, since these were seen in place. What is not current for another
    /// reason, as at a start, is the earlier daemon's, and notes too.
    pub(super) fn is_exchanged_since(&self, before: &[CgroupAttachment]) -> bool {
        self.in_place().filter(|now| !now.is_current).any(|now| {
            let is_it = |was: &&CgroupAttachment| was.link == now.link && was.is_current;
            before.iter().find(is_it).is_some_and(|was| was.program != now.program)
        })
    }

    /// Whether this process alone keeps any of them.
    pub(super) fn is_not_kept(&self) -> bool {
        self.in_place().any(|attachment| !attachment.is_kept)
    }

    fn missing(&self) -> Vec<&'static str> {
        let is_there = |hook: &CgroupHook| self.in_place().any(|it| it.hook == *hook);
        CgroupHook::OF_SOCKETS.iter().filter(|hook| !is_there(hook)).map(|hook| hook.name()).collect()
    }

    /// How what is attached differs from what should be.
    pub(super) fn difference(&self, policy: &Policy) -> Option<String> {
        let observed = self.observed.as_ref()?;
        let failure = self.tried.as_ref().and_then(|tried| tried.why.as_deref());
        let why = |else_so: &str| failure.unwrap_or(else_so).to_owned();
        if !policy.sockets.note {
            let is_any = !observed.is_empty() || self.senders.is_any || self.volumes.hooks.is_any;
            return is_any.then(|| format!("still noted: {}", why("that is being ended")));
        }
        let facts = self.facts.as_ref()?;
        if !self.is_seen(policy) {
            return Some(format!("the cgroup is being looked at: {BEING_ATTACHED}"));
        }
        if facts.cgroup.is_none() {
            return Some(format!("not noted: there is no cgroup at {}", facts.place.display()));
        }
        let missing = self.missing();
        if !missing.is_empty() {
            return Some(format!("not all noted, without {}: {}", missing.join(", "), why(BEING_ATTACHED)));
        }
        if facts.senders && !self.senders.is_whole {
            return Some(format!(
                "not all noted, without who sends, whom pins go by: {}",
                why(BEING_ATTACHED)
            ));
        }
        if let Some(why) = &facts.volumes.blind {
            return Some(format!("not all noted, for the mounts can't be looked at: {why}"));
        }
        let volumes = self.volumes.target(policy, &facts.volumes);
        let what = if let Some(difference) = self.volumes.difference(volumes.as_ref()) {
            difference
        } else if !facts.senders && self.senders.is_any {
            "noted for who sends too, whom no pin goes by"
        } else if self.in_place().any(|it| !it.is_current) {
            "noted by programs of another process"
        } else if observed.len() > CgroupHook::OF_SOCKETS.len() {
            "noted elsewhere too"
        } else {
            return None;
        };
        Some(format!("{what}: {}", why(BEING_ATTACHED)))
    }
}
