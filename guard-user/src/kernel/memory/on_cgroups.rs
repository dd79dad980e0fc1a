//! What is on the cgroups of the kernel in memory.

use crate::kernel::{
    BypassTarget, CgroupAttachment, CgroupHook, CgroupTarget, ObservedBypass, ObservedSenders,
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
