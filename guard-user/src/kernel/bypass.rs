//! Ways past the hooks of interfaces, refused by the hook at `setsockopt` of a cgroup, but to some.

use std::collections::BTreeSet;

use super::cgroup_hook::CgroupHook;
use super::plain::read;
use super::{BypassTarget, CgroupTarget, KernelError, LinuxKernel, ObservedBypass};

/// The one hook of it.
const HOOKS: &[CgroupHook] = &[CgroupHook::Setsockopt];

impl LinuxKernel {
    /// Looks at every link of ours that refuses them, and at whom it does not refuse.
    pub(super) fn look_at_bypass(&mut self) -> Result<ObservedBypass, KernelError> {
        let mut allowed = self.allowed()?;
        self.watch_allowed(&mut allowed);
        Ok(ObservedBypass { attachments: self.seen_on_cgroups(HOOKS)?, allowed })
    }

    /// Refuses ways past the hooks as it is wanted: nowhere for `None`. Who is refused is set first; then a link is on
    /// the cgroup before any other one is taken off.
    pub(super) fn set_bypass(&mut self, target: Option<&BypassTarget>) -> Result<(), KernelError> {
        if let Some(target) = target {
            // What was written in part is not known to be anybody's.
            self.written.allowed = None;
            self.allow(&target.allowed)?;
            self.written.allowed = Some(target.allowed.clone());
        }
        let target = target.map(|it| CgroupTarget {
            cgroup: it.cgroup.clone(),
            id: it.id,
            senders: false,
            volumes: None,
        });
        self.set_on_cgroup(HOOKS, target.as_ref())
    }

    fn allowed(&self) -> Result<BTreeSet<u64>, KernelError> {
        let mut ids = BTreeSet::new();
        let each = self.view.maps.bypass_allowed.for_each(|key, _| ids.extend(read::<u64>(key)));
        each.map_err(|source| KernelError::Map { what: "read", map: "BYPASS_ALLOWED", source })?;
        Ok(ids)
    }

    pub(super) fn allow(&self, wanted: &BTreeSet<u64>) -> Result<(), KernelError> {
        let map = &self.view.maps.bypass_allowed;
        let failed = |source| KernelError::Map { what: "write", map: "BYPASS_ALLOWED", source };
        let allowed = self.allowed()?;
        for id in allowed.difference(wanted) {
            map.remove(&id.to_ne_bytes()).map_err(failed)?;
        }
        for id in wanted.difference(&allowed) {
            map.update(&id.to_ne_bytes(), &[1]).map_err(failed)?;
        }
        Ok(())
    }
}
