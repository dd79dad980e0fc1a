//! The running kernel behind the trait of [`api`](super::api).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use guard_common::abi::{ExemptionUse, HighWater, PolicyTable, dimension};
use guard_common::interval::build::GeoImage;
use guard_common::packet::Addr;

use super::addresses::host_addresses;
use super::api::ObservedVolumes;
use super::observe::{self, Scope};
use super::senders::Task;
use super::{
    BypassTarget, CgroupHook, CgroupTarget, Counters, Interface, Kernel, KernelError, LinuxKernel, Observed,
    Published, Stray, View, entries, folder, netfilter, netlink, raw,
};

impl LinuxKernel {
    /// The look of [`Kernel::observe`], without the entries of folder and maps.
    pub(super) fn look(&mut self) -> Result<Observed, KernelError> {
        let Self { view, current, spare, memory, .. } = self;
        let control = view.maps.control.id();
        let scope = Scope { path: &view.path, control, current, spare: spare.as_ref() };
        let mut observed = observe::observe(scope, memory)?;
        netfilter::note(&mut observed);
        Ok(observed)
    }
}

impl LinuxKernel {
    /// Has the programs know the host's addresses as they are now.
    ///
    /// # Errors
    /// Where they can't be listed, or not all of them be written.
    fn follow_addresses(&mut self) -> Result<(), KernelError> {
        let failed = |source| KernelError::Netlink { what: "list the addresses of the host", source };
        self.know_addresses(&host_addresses().map_err(failed)?)
    }

    /// Has the programs know these addresses as the host's. Those that are gone are kept for a while.
    ///
    /// # Errors
    /// [`KernelError::AddressesFull`] where there are more than there is room for; what has room is known.
    pub fn know_addresses(&mut self, there: &BTreeSet<Addr>) -> Result<(), KernelError> {
        self.addresses.bring(&self.view.maps.host_addresses, there, Instant::now())
    }
}

impl LinuxKernel {
    /// All of [`Kernel::observe`].
    fn look_at_all(&mut self) -> Result<Observed, KernelError> {
        let mut observed = self.look()?;
        self.watch(&mut observed);
        observed.missing_entries.splice(..0, self.missing_of_maps());
        observed.missing_entries.extend(self.missing_of_misnamed());
        observed.addresses_unknown = self.follow_addresses().err().map(|error| error.to_string());
        observed.netns = raw::netns_cookie().ok();
        match self.watched_failsafes() {
            Ok(uses) => observed.failsafe = Some(uses),
            Err(error) => {
                observed.blind.push(format!("budgets of failsafe rules can't be looked at: {error}"))
            }
        }
        observed.senders = self.look_at_functions(Task::Senders);
        observed.carriers = self.look_at_functions(Task::Carriers);
        if let Err(error) = self.forget_empty_cgroups() {
            observed.blind.push(format!("cgroups that carry data of volumes can't be looked at: {error}"));
        }
        let volumes = self.look_at_volumes().and_then(|mut it| {
            self.watch_volumes(&mut it)?;
            Ok(ObservedVolumes { relays: self.look_at_relays()?, ..it })
        });
        match volumes {
            Ok(volumes) => observed.volumes = Some(volumes),
            Err(error) => {
                observed.blind.push(format!("what is known of volumes can't be looked at: {error}"))
            }
        }
        match self.look_at_bypass() {
            Ok(bypass) => {
                observed.missing_entries.extend(Self::missing_of_cgroups(&bypass.attachments));
                observed.bypass = Some(bypass);
            }
            Err(error) => observed.blind.push(blind_at_cgroups(&error)),
        }
        match self.seen_on_cgroups(&CgroupHook::OF_SOCKETS) {
            Ok(sockets) => {
                observed.missing_entries.extend(Self::missing_of_cgroups(&sockets));
                observed.sockets = Some(sockets);
            }
            Err(error) => observed.blind.push(blind_at_cgroups(&error)),
        }
        if folder::is_read_only(&self.view.path) {
            // Nothing in it can be opened anew, so that each entry may look like one that is gone.
            observed.missing_entries.clear();
            let mounted = format!(
                "the BPF file system with {} is mounted read-only, so that no entry there can be looked at or made; what is attached \
                 guards on: `mount -o remount,rw` it",
                self.view.path.display()
            );
            observed.blind.insert(0, mounted);
        }
        observed.tampered = std::mem::take(&mut self.written.found);
        observed.protection = self.look_at_protection();
        Ok(observed)
    }
}

fn blind_at_cgroups(error: &KernelError) -> String {
    format!("what is attached to cgroups can't be looked at: {error}")
}

impl Kernel for LinuxKernel {
    fn adopted(&self) -> bool {
        LinuxKernel::adopted(self)
    }

    fn generation(&self) -> u64 {
        LinuxKernel::generation(self)
    }

    fn publish(
        &mut self,
        policy: &PolicyTable,
        geo: Option<&Arc<GeoImage>>,
    ) -> Result<Published, KernelError> {
        if policy.dimensions & dimension::HOST != 0 || policy.refuse_in != 0 {
            // So that its first packet is judged by the addresses of now. What fails is told by the next look.
            let _told_later = self.follow_addresses();
        }
        let published = LinuxKernel::publish(self, policy, geo.map(AsRef::as_ref));
        if let Some(geo) = geo
            && self.generation == policy.generation
        {
            self.written.keep_geo(Arc::clone(geo));
        }
        self.watch_left();
        published
    }

    fn published_geo(&self) -> Option<Arc<GeoImage>> {
        self.written.geo.clone()
    }

    fn observe(&mut self) -> Result<Observed, KernelError> {
        netlink::sharing(|| self.look_at_all())
    }

    fn attach(&mut self, interface: &Interface, ingress: bool) -> Result<(), KernelError> {
        self.guard(interface, ingress)
    }

    fn release(&mut self, interface: &Interface) -> Result<(), KernelError> {
        self.unguard(interface)
    }

    fn sent(&self, interface: &Interface) -> Option<u64> {
        super::interface::sent(interface.index).ok()
    }

    fn refuse_bypass(&mut self, target: Option<&BypassTarget>) -> Result<(), KernelError> {
        self.set_bypass(target)
    }

    fn note_sockets(&mut self, target: Option<&CgroupTarget>) -> Result<(), KernelError> {
        if let Some(target) = target {
            let there = self.look_at_cgroups(&CgroupHook::OF_SOCKETS)?;
            let is_there =
                |hook: &CgroupHook| there.iter().any(|it| (it.hook, it.cgroup) == (*hook, target.id));
            // While a hook was not there, sockets were made that it has not noted.
            if !CgroupHook::OF_SOCKETS.iter().all(is_there) {
                self.view.are_named(false)?;
                self.written.are_named = false;
            }
        }
        let on_cgroup = self.set_on_cgroup(&CgroupHook::OF_SOCKETS, target);
        let senders = self.set_on_functions(Task::Senders, target.is_some_and(|target| target.senders));
        let volumes = target.and_then(|target| target.volumes.as_ref());
        on_cgroup.and(senders).and(self.note_carriers(volumes))
    }

    fn change_mark(&mut self, change: &mut dyn FnMut(&mut HighWater)) -> Result<HighWater, KernelError> {
        View::change_mark(self, change)
    }

    fn forget(&mut self, stray: &Stray) -> Result<(), KernelError> {
        let path = self.view.path.join(&stray.entry);
        if path.starts_with(folder::links(&self.view.path)) {
            // The entry may be another link's by now.
            let Some(info) = entries::at(&path)? else { return Ok(()) };
            if info.ifindex != 0 {
                return Err(KernelError::StillAttached { entry: stray.entry.clone() });
            }
            if let Some(spare) = &mut self.spare {
                spare.forget(info.id);
            }
        }
        folder::remove(&path)
    }

    fn restore_entries(&mut self) -> Result<(), KernelError> {
        self.restore()
    }

    fn counters(&mut self) -> Result<Counters, KernelError> {
        super::View::counters(self)
    }

    fn exemption_uses(&mut self, known: &[(u16, ExemptionUse)]) -> Result<Vec<ExemptionUse>, KernelError> {
        self.watched_uses(known)
    }

    fn reset_exemption_use(&mut self, slot: u16, used: ExemptionUse) -> Result<(), KernelError> {
        LinuxKernel::reset_exemption_use(self, slot, used)
    }

    fn held(&mut self) -> Result<BTreeSet<u16>, KernelError> {
        super::View::held(self)
    }

    fn ended(&mut self, now_ns: u64) -> Result<BTreeSet<u16>, KernelError> {
        super::View::ended(self, now_ns)
    }

    fn volume_slots(&mut self) -> Result<Vec<u64>, KernelError> {
        View::volume_slots(self)
    }

    fn hold(&mut self, slot: u16, held: bool) -> Result<(), KernelError> {
        super::View::hold(self, slot, held)?;
        match held {
            true => self.written.held.insert(slot),
            false => self.written.held.remove(&slot),
        };
        Ok(())
    }
}
