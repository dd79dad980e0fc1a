//! A kernel in memory, for the tests of what the daemon decides: interfaces that tests add, rename, move and delete,
//! attachments and entries that they take away, and operations that fail as often as they say.

mod on_cgroups;
mod operation;
mod protection;
mod tables;
mod told;
mod traced;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use guard_common::abi::{ExemptionUse, HighWater, Hook, MAX_EXEMPTIONS, PolicyTable, dimension};
use guard_common::interval::build::GeoImage;

use on_cgroups::OnCgroups;
pub(crate) use operation::Operation;
use tables::Tables;
use told::Told;

use super::{
    Attachment, BypassTarget, CgroupTarget, Counters, How, Interface, Kernel, KernelError, LinkType,
    Observed, ObservedInterface, Published, Stray,
};

/// What outlives a daemon. Clones are the same kernel.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryKernel(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    interfaces: BTreeMap<u32, Device>,
    /// Interfaces that are in another network namespace for now.
    elsewhere: BTreeMap<String, Device>,
    next_index: u32,
    next_link: u32,
    /// The program of the present daemon; attachments of an earlier one run an earlier one.
    program: u32,
    generation: u64,
    /// Slots that the live table opens.
    live: BTreeSet<u16>,
    /// When the windows of all slots end.
    until: Vec<u64>,
    /// How many pins the live table has.
    pins: u32,
    /// Whether it has ways past the guard refused.
    refuses_bypass: bool,
    published: u64,
    uses: BTreeMap<u16, ExemptionUse>,
    counters: Counters,
    held: BTreeSet<u16>,
    /// The mark, and what it was when the live table became so.
    mark: HighWater,
    mark_at_flip: HighWater,
    missing_entries: bool,
    /// Entries of interfaces that are gone.
    strays: Vec<Stray>,
    /// What is on cgroups.
    on_cgroups: OnCgroups,
    failures: BTreeMap<Operation, u32>,
    told: Told,
    tables: Tables,
    traced: traced::Trace,
    protection: protection::Protection,
}

#[derive(Clone, Debug, Default)]
struct Device {
    name: String,
    attachments: BTreeMap<u8, Link>,
    /// Packets that it has sent.
    sent: u64,
    sent_before: Option<u64>,
    /// Packets that it sends as soon as the guard is off.
    sends_when_let_go: u64,
}

#[derive(Clone, Debug)]
struct Link {
    id: u32,
    program: u32,
    attached_as: String,
    is_kept: bool,
}

impl MemoryKernel {
    /// A host with these interfaces.
    #[must_use]
    pub(crate) fn with(names: &[&str]) -> Self {
        let kernel = Self::default();
        kernel.state().next_index = 1;
        for name in names {
            kernel.add(name);
        }
        kernel
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The daemon ends and another one begins: what is attached runs the program of the earlier one.
    pub(crate) fn restart(&self) {
        let mut state = self.state();
        state.program += 1;
        state.on_cgroups.each(|attachment| attachment.is_current = false);
        state.on_cgroups.senders.is_whole = false;
        state.on_cgroups.carriers.is_whole = false;
        state.protection = protection::Protection::default();
        state.interfaces.values_mut().for_each(|device| device.sent_before = None);
    }

    /// A new interface; its index.
    pub(crate) fn add(&self, name: &str) -> u32 {
        let mut state = self.state();
        state.next_index += 1;
        let index = state.next_index;
        state.interfaces.insert(index, Device { name: name.to_owned(), ..Device::default() });
        index
    }

    /// A new interface takes the place and index of another one, which is gone.
    pub(crate) fn reuse(&self, index: u32, name: &str) {
        let device = Device { name: name.to_owned(), ..Device::default() };
        self.state().interfaces.insert(index, device);
    }

    /// An interface sends packets, judged or not.
    pub(crate) fn send(&self, index: u32, packets: u64) {
        self.state().interfaces.get_mut(&index).unwrap().sent += packets;
    }

    /// Deletes an interface; what is attached ends with it.
    pub(crate) fn delete(&self, name: &str) {
        let mut state = self.state();
        let Some((&index, _)) = state.interfaces.iter().find(|(_, device)| device.name == name) else {
            return;
        };
        let Some(device) = state.interfaces.remove(&index) else { return };
        let on = &device.attachments;
        let attached = Hook::OF_PACKETS.into_iter().filter(|hook| on.contains_key(&(*hook as u8)));
        let stray = |hook: Hook| Stray {
            entry: format!("{index}-{name}-{hook:?}"),
            interface: name.to_owned(),
            hook,
            is_alive: false,
        };
        state.strays.extend(attached.map(stray));
    }

    /// Gives an interface another name.
    pub(crate) fn rename(&self, from: &str, to: &str) {
        let mut state = self.state();
        if state.interfaces.values().all(|device| device.name != to)
            && let Some(device) = state.interfaces.values_mut().find(|device| device.name == from)
        {
            to.clone_into(&mut device.name);
        }
    }

    /// Moves an interface to another network namespace, with what is attached.
    pub(crate) fn move_away(&self, name: &str) {
        let mut state = self.state();
        let found = state.interfaces.iter().find(|(_, device)| device.name == name);
        if let Some(index) = found.map(|(index, _)| *index)
            && let Some(device) = state.interfaces.remove(&index)
        {
            state.elsewhere.insert(name.to_owned(), device);
        }
    }

    /// Moves it back, to a new index.
    pub(crate) fn move_back(&self, name: &str) {
        let mut state = self.state();
        if let Some(device) = state.elsewhere.remove(name) {
            state.next_index += 1;
            let index = state.next_index;
            state.interfaces.insert(index, device);
        }
    }

    /// Another program takes everything off an interface.
    pub(crate) fn take_off(&self, name: &str) {
        for device in self.state().interfaces.values_mut().filter(|device| device.name == name) {
            device.attachments.clear();
        }
    }

    /// Another program that uses the maps takes the place of the ones on an interface.
    pub(crate) fn exchange(&self, name: &str) {
        for device in self.state().interfaces.values_mut().filter(|device| device.name == name) {
            device.attachments.values_mut().for_each(|link| link.program = u32::MAX);
        }
    }

    /// Somebody detaches what is on cgroups.
    pub(crate) fn take_off_cgroups(&self) {
        self.state().on_cgroups.each(|attachment| attachment.cgroup = 0);
    }

    /// Somebody removes the entries in bpffs.
    pub(crate) fn remove_entries(&self) {
        let mut state = self.state();
        state.missing_entries = true;
        for device in state.interfaces.values_mut() {
            device.attachments.values_mut().for_each(|link| link.is_kept = false);
        }
        state.on_cgroups.each(|attachment| attachment.is_kept = false);
    }

    /// Lets the next so many calls of an operation fail.
    pub(crate) fn fail(&self, operation: Operation, times: u32) {
        self.state().failures.insert(operation, times);
    }

    /// Nothing fails any more.
    pub(crate) fn heal(&self) {
        self.state().failures.clear();
    }

    /// What exemptions have let through.
    pub(crate) fn spend(&self, slot: u16, bytes: u64) {
        let mut state = self.state();
        let used = state.uses.entry(slot).or_default();
        used.bytes += bytes;
        used.packets += 1;
    }
}

/// Slots that a table opens.
#[must_use]
pub(crate) fn open_slots(table: &PolicyTable) -> BTreeSet<u16> {
    let slots = (0_u16..).zip(&table.exemptions).take(MAX_EXEMPTIONS);
    slots.filter(|(_, exemption)| exemption.pins != 0).map(|(slot, _)| slot).collect()
}

impl State {
    fn may(&mut self, operation: Operation) -> Result<(), KernelError> {
        match self.failures.get_mut(&operation) {
            Some(left) if *left > 0 => {
                *left -= 1;
                Err(KernelError::Netlink {
                    what: "do as it was told",
                    source: io::Error::other("the test says so"),
                })
            }
            _ => Ok(()),
        }
    }
}

impl Kernel for MemoryKernel {
    fn adopted(&self) -> bool {
        self.state().generation > 0
    }

    fn generation(&self) -> u64 {
        self.state().generation
    }

    fn published_geo(&self) -> Option<Arc<GeoImage>> {
        self.state().tables.geo.clone()
    }

    fn publish(
        &mut self,
        policy: &PolicyTable,
        geo: Option<&Arc<GeoImage>>,
    ) -> Result<Published, KernelError> {
        let mut state = self.state();
        if geo.is_none() && state.generation == 0 {
            return Err(KernelError::NoGeo);
        }
        if policy.generation <= state.generation {
            return Err(KernelError::OldGeneration { given: policy.generation, live: state.generation });
        }
        state.may(Operation::Publish)?;
        (state.generation, state.mark_at_flip) = (policy.generation, state.mark);
        state.live = open_slots(policy);
        state.tables.published(geo);
        state.until = policy.exemptions.iter().map(|it| it.valid_until_ns).collect();
        state.pins = policy.pins.count_ones();
        state.refuses_bypass = policy.dimensions & dimension::REFUSES_BYPASS != 0;
        state.published += 1;
        state.may(Operation::Wait)?;
        let (fill, flip, wait) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        Ok(Published { generation: policy.generation, fill, flip, wait })
    }

    fn observe(&mut self) -> Result<Observed, KernelError> {
        let mut state = self.state();
        state.may(Operation::Observe)?;
        let (program, tampered) = (state.program, state.tables.look());
        let protection = state.protection.look();
        let told = state.told.clone();
        let interfaces = state.interfaces.iter().map(|(index, device)| ObservedInterface {
            interface: Interface::in_memory(*index, &device.name, LinkType::ETHERNET),
            below: told.below.get(&device.name).cloned().unwrap_or_default(),
            loops_back: told.loops.contains(&device.name),
            leaves_by: told.leaves_by.get(&device.name).cloned().unwrap_or_default(),
            has_route: true,
            place: told.places.get(&device.name).cloned().unwrap_or_default(),
            attachments: Hook::OF_PACKETS
                .into_iter()
                .filter_map(|hook| Some((hook, device.attachments.get(&(hook as u8))?)))
                .map(|(hook, link)| Attachment {
                    hook,
                    how: if hook == Hook::Egress { How::Tcx } else { How::XdpNative },
                    link: link.id,
                    attached_as: link.attached_as.clone(),
                    program: link.program,
                    is_current: link.program == program,
                    is_kept: link.is_kept,
                    before: told.before(&device.name, hook),
                })
                .collect(),
            sent_before: device.sent_before,
            other_guards: Vec::new(),
        });
        let missing_entry = state.missing_entries.then(|| "maps/CONTROL".to_owned());
        let (interfaces, strays) = (interfaces.collect(), state.strays.clone());
        let on_cgroups = &state.on_cgroups;
        let (bypass, sockets) = (Some(on_cgroups.bypass.clone()), Some(on_cgroups.sockets.clone()));
        let (senders, carriers) = (on_cgroups.senders, on_cgroups.carriers);
        let volumes = Some(on_cgroups.volumes.clone());
        Ok(Observed {
            netns: Some(1),
            interfaces,
            missing_entries: missing_entry.into_iter().collect(),
            strays,
            bypass,
            sockets,
            senders,
            carriers,
            volumes,
            addresses_unknown: told.addresses_unknown,
            failsafe: told.failsafe,
            blind: Vec::new(),
            tampered,
            protection,
        })
    }

    fn attach(&mut self, interface: &Interface, ingress: bool) -> Result<(), KernelError> {
        let mut state = self.state();
        state.may(Operation::Attach)?;
        if state.generation == 0 {
            return Err(KernelError::NotPublished);
        }
        if state.may(Operation::NoEffect).is_err() {
            return Ok(());
        }
        let (program, mut next) = (state.program, state.next_link);
        let Some(device) = state.interfaces.get_mut(&interface.index) else {
            return Err(KernelError::NoInterface { name: interface.name.clone() });
        };
        for hook in Hook::OF_PACKETS {
            if hook == Hook::Ingress && !ingress {
                device.attachments.remove(&(hook as u8));
                continue;
            }
            if hook == Hook::Egress && !device.attachments.contains_key(&(hook as u8)) {
                device.sent_before = Some(device.sent);
            }
            let attached_as = interface.name.clone();
            let link = device.attachments.entry(hook as u8).or_insert_with(|| {
                next += 1;
                Link { id: next, program, attached_as, is_kept: true }
            });
            link.program = program;
            link.attached_as.clone_from(&interface.name);
        }
        state.next_link = next;
        Ok(())
    }

    fn release(&mut self, interface: &Interface) -> Result<(), KernelError> {
        let mut state = self.state();
        state.may(Operation::Release)?;
        match state.interfaces.get_mut(&interface.index) {
            Some(device) if device.name != interface.name => {
                let (was, is) = (interface.name.clone(), device.name.clone());
                return Err(KernelError::Renamed { was, is });
            }
            Some(device) => {
                device.attachments.clear();
                device.sent += std::mem::take(&mut device.sends_when_let_go);
            }
            None => {}
        }
        Ok(())
    }

    fn sent(&self, interface: &Interface) -> Option<u64> {
        self.state().interfaces.get(&interface.index).map(|device| device.sent)
    }

    fn refuse_bypass(&mut self, target: Option<&BypassTarget>) -> Result<(), KernelError> {
        let mut state = self.state();
        state.may(Operation::Bypass)?;
        if state.may(Operation::NoEffect).is_ok() {
            let State { on_cgroups, program, next_link, .. } = &mut *state;
            on_cgroups.refuse(target, *program, next_link);
        }
        Ok(())
    }

    fn note_sockets(&mut self, target: Option<&CgroupTarget>) -> Result<(), KernelError> {
        let mut state = self.state();
        state.may(Operation::Sockets)?;
        if state.may(Operation::NoEffect).is_ok() {
            let State { on_cgroups, program, next_link, .. } = &mut *state;
            on_cgroups.note(target, *program, next_link);
        }
        Ok(())
    }

    fn change_mark(&mut self, change: &mut dyn FnMut(&mut HighWater)) -> Result<HighWater, KernelError> {
        let mut state = self.state();
        let before = state.mark;
        change(&mut state.mark);
        Ok(before)
    }

    fn forget(&mut self, stray: &Stray) -> Result<(), KernelError> {
        self.state().strays.retain(|it| it.entry != stray.entry);
        Ok(())
    }

    fn restore_entries(&mut self) -> Result<(), KernelError> {
        let mut state = self.state();
        state.may(Operation::Restore)?;
        if state.may(Operation::NoEffect).is_err() {
            return Ok(());
        }
        state.missing_entries = false;
        for device in state.interfaces.values_mut() {
            device.attachments.values_mut().for_each(|link| link.is_kept = true);
        }
        state.on_cgroups.each(|attachment| attachment.is_kept = true);
        Ok(())
    }

    fn counters(&mut self) -> Result<Counters, KernelError> {
        Ok(self.state().counters.clone())
    }

    fn exemption_uses(&mut self, known: &[(u16, ExemptionUse)]) -> Result<Vec<ExemptionUse>, KernelError> {
        let mut state = self.state();
        state.may(Operation::Uses)?;
        for (slot, least) in known {
            let used = state.uses.entry(*slot).or_default();
            *used = used.at_least(least);
        }
        let every = 0..u16::try_from(MAX_EXEMPTIONS).unwrap_or(u16::MAX);
        Ok(every.map(|slot| state.uses.get(&slot).copied().unwrap_or_default()).collect())
    }

    fn reset_exemption_use(&mut self, slot: u16, used: ExemptionUse) -> Result<(), KernelError> {
        let mut state = self.state();
        state.may(Operation::Reset)?;
        state.uses.insert(slot, used);
        Ok(())
    }

    fn held(&mut self) -> Result<BTreeSet<u16>, KernelError> {
        Ok(self.state().held.clone())
    }

    fn ended(&mut self, now_ns: u64) -> Result<BTreeSet<u16>, KernelError> {
        let state = self.state();
        let has_ended =
            |slot: &u16| state.until.get(usize::from(*slot)).is_some_and(|until| *until <= now_ns);
        Ok(state.live.iter().copied().filter(has_ended).collect())
    }

    fn volume_slots(&mut self) -> Result<Vec<u64>, KernelError> {
        Ok(self.state().on_cgroups.volumes.known.slots.clone())
    }

    fn hold(&mut self, slot: u16, held: bool) -> Result<(), KernelError> {
        let mut state = self.state();
        state.may(Operation::Hold)?;
        match held {
            true => state.held.insert(slot),
            false => state.held.remove(&slot),
        };
        Ok(())
    }
}
