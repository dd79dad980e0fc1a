//! What is known of ways past the hooks of interfaces: whether they are refused where they should be, and to whom not.
//!
//! As for interfaces, what is attached is what the kernel shows at each look.

use super::input::BypassFacts;
use super::interfaces::Lost;
use super::tries::Try;
use crate::audit::{NOT_FOUND, TAKEN_OFF};
use crate::config::policy::Policy;
use crate::exemption::Clocks;
use crate::kernel::{BypassTarget, CgroupAttachment, ObservedBypass};

/// Of a program that is attached in a moment.
pub(super) const BEING_ATTACHED: &str = "the program is being attached";

/// What is known of them.
#[derive(Default)]
pub(super) struct Bypass {
    /// Whether the policy that an earlier daemon left has them refused.
    pub(super) was_refused: bool,
    /// The cgroups, as they were seen last.
    pub(super) facts: Option<BypassFacts>,
    /// What was on cgroups at the last look.
    pub(super) observed: Option<ObservedBypass>,
    pub(super) looked: Option<Clocks>,
    /// Whether a job is on its way.
    pub(super) is_being_set: bool,
    /// What the last try came to that the looks since then show no effect of.
    pub(super) tried: Option<Try>,
    /// Where something took the hook off: until it is there again, and for a while after that.
    pub(super) lost: Option<(Loss, Lost)>,
    /// The link of which the log has that it refuses.
    pub(super) announced: Option<u32>,
    /// What the first look found in its place, which an earlier daemon left: that it is taken over is no news.
    pub(super) adopted: Option<Option<u32>>,
    /// The cgroup of which the audit trail has that it refuses.
    pub(super) recorded: Option<String>,
}

/// How the hook came to be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Something took it off, or put another program in its place.
    TakenOff,
    /// Its cgroup was removed, and perhaps made anew.
    CgroupGone,
    /// An earlier daemon was to have it attached, and it was not there at the start. Whether it was attached is not known.
    NotThere,
}

impl Loss {
    /// What happened, for the log.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::TakenOff => "something has taken Border Guard off (setsockopt); it is attached again",
            Self::CgroupGone => {
                "the cgroup was removed, and Border Guard's program at setsockopt with it; it is attached as soon as there \
                 is one again"
            }
            Self::NotThere => {
                "at this start nothing refused ways past the guard, though the config before had them refused (setsockopt); \
                 it is attached now"
            }
        }
    }

    /// The reason that the audit trail has.
    pub(super) const fn recorded(self) -> &'static str {
        match self {
            Self::TakenOff => TAKEN_OFF,
            Self::CgroupGone => "its cgroup was removed",
            Self::NotThere => NOT_FOUND,
        }
    }

    /// What happened, for a problem.
    pub(super) const fn told(self) -> &'static str {
        match self {
            Self::TakenOff => "something took the program off",
            Self::CgroupGone => "the cgroup was removed, and the program with it",
            Self::NotThere => "the daemon's start found no program",
        }
    }
}

/// How what is seen differs from what the config wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// Nothing is refused where it should be: why.
    Open(String),
    /// Otherwise: what is not as it should be, and why.
    Behind(String),
}

impl Bypass {
    pub(super) fn config_changed(&mut self) {
        self.tried = None;
    }

    /// The cgroups that are not refused, and whether each is there.
    pub(super) fn allowed(&self) -> impl Iterator<Item = (&str, bool)> {
        let facts = self.facts.iter();
        let allowed = facts.flat_map(|facts| facts.asked.allow.iter().zip(&facts.allowed));
        allowed.map(|(path, id)| (path.as_str(), id.is_some()))
    }

    /// Whether nothing is on its way.
    pub(super) const fn is_settled(&self) -> bool {
        !self.is_being_set
    }

    /// What is attached where it should be.
    pub(super) fn in_place(&self) -> Option<&CgroupAttachment> {
        self.observed.as_ref()?.at(self.facts.as_ref()?.cgroup?)
    }

    /// Whether the hook is attached where it should be.
    pub(super) fn is_attached(&self) -> bool {
        self.in_place().is_some()
    }

    /// Whether this process alone keeps it.
    pub(super) fn is_not_kept(&self) -> bool {
        self.in_place().is_some_and(|attachment| !attachment.is_kept)
    }

    pub(super) fn failure(&self) -> Option<&str> {
        self.tried.as_ref()?.why.as_deref()
    }

    /// What is told of a hook that something took off.
    pub(super) fn lost(&self, now: Clocks) -> Option<String> {
        let meant = "Sockets that were opened meanwhile may send past the guard";
        let (how, lost) = self.lost.as_ref()?;
        lost.told((how.told(), "setsockopt"), meant, now)
    }

    /// What is attached and what should be, if these differ.
    pub(super) fn difference(&self, policy: &Policy) -> Option<Difference> {
        let observed = self.observed.as_ref()?;
        let why = |else_so: &str| self.failure().unwrap_or(else_so).to_owned();
        if !policy.refuses_bypass() {
            let is_there = !observed.attachments.is_empty();
            return is_there
                .then(|| Difference::Behind(format!("it is still attached: {}", why("it is taken off"))));
        }
        let facts = self.facts.as_ref()?;
        if facts.asked != policy.bypass {
            return Some(Difference::Behind(format!("the cgroups are being looked at: {BEING_ATTACHED}")));
        }
        let Some(target) = self.target() else {
            return Some(Difference::Open(format!("there is no cgroup at {}", facts.place.display())));
        };
        let Some(attachment) = observed.at(target.id) else {
            return Some(Difference::Open(why(BEING_ATTACHED)));
        };
        let what = if observed.allowed != target.allowed {
            "cgroups that `bypass.allow` names are refused, or others are not"
        } else if !attachment.is_current {
            "the program of another process is attached"
        } else if observed.attachments.len() > 1 {
            "it is attached elsewhere too"
        } else {
            return None;
        };
        Some(Difference::Behind(format!("{what}: {}", why(BEING_ATTACHED))))
    }

    /// Where they should be refused; `None` where there is no such cgroup.
    pub(super) fn target(&self) -> Option<BypassTarget> {
        let BypassFacts { place, cgroup, allowed, .. } = self.facts.as_ref()?;
        let allowed = allowed.iter().copied().flatten().collect();
        Some(BypassTarget { cgroup: place.clone(), id: (*cgroup)?, allowed })
    }
}
