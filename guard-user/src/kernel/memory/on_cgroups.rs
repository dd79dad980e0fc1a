//! What is on the cgroups of the kernel in memory.

use super::MemoryKernel;
use crate::kernel::{
    BypassTarget, CgroupAttachment, CgroupHook, CgroupTarget, ObservedBypass, ObservedRelay, ObservedSenders,
    ObservedVolumes, VolumeTarget,
};

/// What is on cgroups.
#[derive(Debug, Default)]
pub(super) struct OnCgroups {
    /// What refuses ways past the hooks.
    pub(super) bypass: ObservedBypass,
    /// What notes who makes and uses sockets.
    pub(super) sockets: Vec<CgroupAttachment>,
    /// What notes who sends.
    pub(super) senders: ObservedSenders,
    /// What notes who carries data of volumes, and what that knows.
    pub(super) carriers: ObservedSenders,
    pub(super) volumes: ObservedVolumes,
}

impl MemoryKernel {
    /// Whether the live table has ways past the guard refused.
    #[must_use]
    pub(crate) fn refuses_bypass(&self) -> bool {
        self.state().refuses_bypass
    }

    /// Somebody removes what refused ways past the guard, and its entries in bpffs: nothing is left of it.
    pub(crate) fn remove_cgroups(&self) {
        self.state().on_cgroups.bypass.attachments.clear();
    }

    /// Another program takes the place of what notes who makes and uses sockets; the links stay.
    pub(crate) fn exchange_on_cgroups(&self) {
        for attachment in &mut self.state().on_cgroups.sockets {
            (attachment.program, attachment.is_current) = (u32::MAX, false);
        }
    }
}

impl OnCgroups {
    /// Changes every attachment.
    pub(super) fn each(&mut self, change: impl FnMut(&mut CgroupAttachment)) {
        self.bypass.attachments.iter_mut().chain(&mut self.sockets).for_each(change);
    }

    /// [`Kernel::refuse_bypass`](crate::kernel::Kernel::refuse_bypass).
    pub(super) fn refuse(&mut self, target: Option<&BypassTarget>, program: u32, next_link: &mut u32) {
        let at = target.map(|target| target.id);
        if let Some(target) = target {
            self.bypass.allowed.clone_from(&target.allowed);
        }
        set(&mut self.bypass.attachments, &[CgroupHook::Setsockopt], at, program, next_link);
    }

    /// [`Kernel::note_sockets`](crate::kernel::Kernel::note_sockets).
    pub(super) fn note(&mut self, target: Option<&CgroupTarget>, program: u32, next_link: &mut u32) {
        let at = target.map(|target| target.id);
        set(&mut self.sockets, &CgroupHook::OF_SOCKETS, at, program, next_link);
        let is_on = target.is_some_and(|target| target.senders);
        self.senders = ObservedSenders { is_any: is_on, is_whole: is_on };
        let volumes = target.and_then(|target| target.volumes.clone());
        self.carriers = ObservedSenders { is_any: volumes.is_some(), is_whole: volumes.is_some() };
        // Slots keep their meaning.
        let slots = std::mem::take(&mut self.volumes.known.slots);
        self.volumes.known = volumes.unwrap_or(VolumeTarget { slots, ..VolumeTarget::default() });
    }
}

impl MemoryKernel {
    /// What is on cgroups.
    #[must_use]
    pub(crate) fn bypass(&self) -> ObservedBypass {
        self.state().on_cgroups.bypass.clone()
    }

    /// What notes who makes and uses sockets.
    #[must_use]
    pub(crate) fn sockets(&self) -> Vec<CgroupAttachment> {
        self.state().on_cgroups.sockets.clone()
    }

    /// Whether who sends is noted.
    pub(crate) fn notes_senders(&self) -> bool {
        self.state().on_cgroups.senders.is_whole
    }

    /// Somebody is handed data of volumes by a carrier.
    pub(crate) fn hand_on(&self, relay: ObservedRelay) {
        self.state().on_cgroups.volumes.relays.push(relay);
    }

    /// What is known of volumes, while carriers are noted.
    pub(crate) fn noted_volumes(&self) -> Option<VolumeTarget> {
        let state = self.state();
        state.on_cgroups.carriers.is_whole.then(|| state.on_cgroups.volumes.known.clone())
    }
}

/// Has these hooks on this cgroup and nowhere else. A link that is there already stays.
fn set(
    attachments: &mut Vec<CgroupAttachment>,
    hooks: &[CgroupHook],
    at: Option<u64>,
    program: u32,
    next_link: &mut u32,
) {
    let before = std::mem::take(attachments);
    let Some(cgroup) = at else { return };
    let attach = |hook: &CgroupHook| {
        let old = before.iter().find(|it| it.hook == *hook && it.cgroup == cgroup);
        *next_link += u32::from(old.is_none());
        let link = old.map_or(*next_link, |old| old.link);
        CgroupAttachment { hook: *hook, link, cgroup, program, is_current: true, is_kept: true }
    };
    attachments.extend(hooks.iter().map(attach));
}
