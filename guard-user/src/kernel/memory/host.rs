//! The host that a [`MemoryKernel`](super::MemoryKernel) is a process on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use guard_common::abi::{ExemptionUse, Hook, MAX_EXEMPTIONS, PolicyTable};

use super::super::entries::Name;
use super::super::{Attachment, How, Interface, KernelError, LinkType, Observed, ObservedInterface, Stray};
use super::{Failure, Operation, Programs, locked};

/// A host with its interfaces and its kernel. Clones are the same host.
#[derive(Clone)]
pub struct Host(Arc<Mutex<State>>);

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { nics, links, entries, published, held, .. } = &*self.state();
        let mut shown = f.debug_struct("Host");
        shown.field("nics", nics).field("links", links).field("entries", entries);
        shown.field("published", published).field("held", held).finish_non_exhaustive()
    }
}

/// A network interface itself, whatever its name and its index are at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nic(u32);

/// Everything of a host.
pub(super) struct State {
    /// The last number that was given out: ids of links, programs, processes and interfaces.
    last_id: u32,
    nics: BTreeMap<Nic, Card>,
    links: BTreeMap<u32, Link>,
    /// Ids of the links by the names of their entries.
    entries: BTreeMap<String, u32>,
    pub(super) has_maps: bool,
    /// Whether the folder and the entries of the maps were removed.
    pub(super) lost_maps: bool,
    pub(super) live: Option<Box<PolicyTable>>,
    /// Generations, in the order in which they went live.
    pub(super) published: Vec<u64>,
    pub(super) uses: Vec<ExemptionUse>,
    pub(super) held: BTreeSet<u16>,
    failures: BTreeMap<Operation, Failure>,
    calls: BTreeMap<Operation, usize>,
}

/// An interface.
#[derive(Clone, Debug)]
struct Card {
    interface: Interface,
    is_here: bool,
    has_route: bool,
    /// Whether it can't be looked at.
    is_hidden: bool,
    /// Programs of others that are asked before ours.
    before: Vec<String>,
    /// What the last look showed of it, while it could be looked at.
    seen: Vec<Attachment>,
}

/// A link.
#[derive(Clone, Debug)]
struct Link {
    hook: Hook,
    /// Its interface; `None` where that is gone, or somebody detached the link.
    nic: Option<Nic>,
    /// Id of the program, which the process that loaded it has on other interfaces too.
    program: u32,
}

pub(super) fn failure() -> io::Error {
    io::Error::other("the test wants it to fail")
}

pub(super) fn failed() -> KernelError {
    KernelError::Map { what: "use", map: "of the test", source: failure() }
}

impl Host {
    /// A host that has nothing but the loopback.
    #[must_use]
    pub fn new() -> Self {
        let host = Self(Arc::new(Mutex::new(State {
            last_id: 0,
            nics: BTreeMap::new(),
            links: BTreeMap::new(),
            entries: BTreeMap::new(),
            has_maps: false,
            lost_maps: false,
            live: None,
            published: Vec::new(),
            uses: vec![ExemptionUse::default(); MAX_EXEMPTIONS],
            held: BTreeSet::new(),
            failures: BTreeMap::new(),
            calls: BTreeMap::new(),
        })));
        host.add_with("lo", 1, LinkType::LOOPBACK);
        host
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.0)
    }

    /// Adds an Ethernet interface with the next index.
    pub fn add(&self, name: &str) -> Nic {
        let index = self.state().free_index();
        self.add_with(name, index, LinkType::ETHERNET)
    }

    /// Adds an interface. Its index must be free in this network namespace.
    pub fn add_with(&self, name: &str, index: u32, link_type: LinkType) -> Nic {
        let mut state = self.state();
        assert!(state.here(index).is_none(), "index {index} is taken");
        let nic = Nic(state.next_id());
        let card = Card {
            interface: Interface { index, name: name.to_owned(), link_type },
            is_here: true,
            has_route: false,
            is_hidden: false,
            before: Vec::new(),
            seen: Vec::new(),
        };
        state.nics.insert(nic, card);
        nic
    }

    /// The interface as it is now.
    #[must_use]
    pub fn interface(&self, nic: Nic) -> Option<Interface> {
        self.state().nics.get(&nic).map(|card| card.interface.clone())
    }

    /// Renames an interface.
    pub fn rename(&self, nic: Nic, name: &str) {
        self.change(nic, |card| name.clone_into(&mut card.interface.name));
    }

    /// Swaps the names of two interfaces.
    pub fn swap_names(&self, one: Nic, other: Nic) {
        if let (Some(first), Some(second)) = (self.interface(one), self.interface(other)) {
            self.rename(one, &second.name);
            self.rename(other, &first.name);
        }
    }

    /// Moves an interface to another network namespace. What is attached to it goes with it.
    pub fn move_away(&self, nic: Nic) {
        self.change(nic, |card| (card.is_here, card.has_route) = (false, false));
    }

    /// Moves it back; it keeps its index where that is free.
    pub fn move_back(&self, nic: Nic) {
        let mut state = self.state();
        let Some(card) = state.nics.get(&nic).filter(|card| !card.is_here) else { return };
        let mut index = card.interface.index;
        if state.here(index).is_some() {
            index = state.free_index();
        }
        if let Some(card) = state.nics.get_mut(&nic) {
            (card.is_here, card.interface.index) = (true, index);
        }
    }

    /// Deletes an interface; its links end, and their entries stay.
    pub fn delete(&self, nic: Nic) {
        let mut state = self.state();
        state.nics.remove(&nic);
        for link in state.links.values_mut().filter(|link| link.nic == Some(nic)) {
            link.nic = None;
        }
    }

    /// Says whether a route leads out by an interface.
    pub fn set_route(&self, nic: Nic, has_route: bool) {
        self.change(nic, |card| card.has_route = has_route);
    }

    /// Says whether an interface can't be looked at from now on.
    pub fn hide(&self, nic: Nic, is_hidden: bool) {
        self.change(nic, |card| card.is_hidden = is_hidden);
    }

    /// Puts programs of others before ours at egress.
    pub fn put_before(&self, nic: Nic, programs: &[&str]) {
        self.change(nic, |card| card.before = programs.iter().map(|name| (*name).to_owned()).collect());
    }

    /// Detaches a link, as an attacker with root does. Its entry stays.
    pub fn take_off(&self, nic: Nic, hook: Hook) {
        let mut state = self.state();
        if let Some(id) = state.link_of(nic, hook)
            && let Some(link) = state.links.get_mut(&id)
        {
            link.nic = None;
        }
    }

    /// Removes the entry of a link. The process keeps the link.
    pub fn remove_entry(&self, nic: Nic, hook: Hook) {
        let mut state = self.state();
        let link = state.link_of(nic, hook);
        state.entries.retain(|_, id| Some(*id) != link);
    }

    /// Removes the folder with all entries of links and maps.
    pub fn remove_folder(&self) {
        let mut state = self.state();
        state.entries.clear();
        state.lost_maps = true;
    }

    /// Whether egress of an interface is guarded, wherever the interface is.
    #[must_use]
    pub fn is_guarded(&self, nic: Nic) -> bool {
        self.state().link_of(nic, Hook::Egress).is_some()
    }

    /// Whether ingress of an interface is guarded, wherever the interface is.
    #[must_use]
    pub fn is_guarded_at_ingress(&self, nic: Nic) -> bool {
        self.state().link_of(nic, Hook::Ingress).is_some()
    }

    /// Has an operation fail from now on.
    pub fn fail(&self, operation: Operation, failure: Failure) {
        self.state().failures.insert(operation, failure);
    }

    /// Has every operation succeed again.
    pub fn mend(&self) {
        self.state().failures.clear();
    }

    /// How often an operation was asked for, failures included.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> usize {
        self.state().calls.get(&operation).copied().unwrap_or_default()
    }

    /// Generations, in the order in which they went live.
    #[must_use]
    pub fn published(&self) -> Vec<u64> {
        self.state().published.clone()
    }

    /// Shows the live table; `None` before the first generation.
    pub fn live<T>(&self, show: impl FnOnce(Option<&PolicyTable>) -> T) -> T {
        show(self.state().live.as_deref())
    }

    /// Lets an account be used, as packets would.
    pub fn spend(&self, account: u16, used: ExemptionUse) {
        if let Some(place) = self.state().uses.get_mut(usize::from(account)) {
            place.bytes = place.bytes.saturating_add(used.bytes);
            place.packets = place.packets.saturating_add(used.packets);
            place.charged = place.charged.saturating_add(used.charged);
        }
    }

    /// Slots that are held closed.
    #[must_use]
    pub fn held(&self) -> BTreeSet<u16> {
        self.state().held.clone()
    }

    fn change(&self, nic: Nic, change: impl FnOnce(&mut Card)) {
        if let Some(card) = self.state().nics.get_mut(&nic) {
            change(card);
        }
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    pub(super) fn next_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn fail_if_asked(&mut self, operation: Operation) -> Result<(), KernelError> {
        *self.calls.entry(operation).or_default() += 1;
        match self.failures.get_mut(&operation) {
            Some(Failure::Next(left)) if *left > 0 => *left -= 1,
            Some(Failure::Always) => {}
            _ => return Ok(()),
        }
        Err(failed())
    }

    fn here(&self, index: u32) -> Option<Nic> {
        let mut all = self.nics.iter();
        all.find(|(_, card)| card.is_here && card.interface.index == index).map(|(nic, _)| *nic)
    }

    /// An index above all that are in use anywhere.
    fn free_index(&self) -> u32 {
        self.nics.values().map(|card| card.interface.index).max().unwrap_or_default() + 1
    }

    pub(super) fn nic_at(&self, interface: &Interface) -> Result<Nic, KernelError> {
        let missing = || KernelError::NoInterface { name: interface.name.clone() };
        self.here(interface.index).ok_or_else(missing)
    }

    pub(super) fn link_type(&self, nic: Nic) -> LinkType {
        self.nics.get(&nic).map_or(LinkType(0), |card| card.interface.link_type)
    }

    fn link_of(&self, nic: Nic, hook: Hook) -> Option<u32> {
        let mut all = self.links.iter();
        all.find(|(_, link)| (link.nic, link.hook) == (Some(nic), hook)).map(|(id, _)| *id)
    }

    fn has_entry(&self, link: u32) -> bool {
        self.entries.values().any(|id| *id == link)
    }

    /// Attaches to a hook, or renews what is attached, and sees to the entry where the folder is there.
    pub(super) fn guard(&mut self, nic: Nic, hook: Hook, programs: Programs) {
        let id = match self.link_of(nic, hook) {
            Some(id) => id,
            None => self.next_id(),
        };
        self.links.insert(id, Link { hook, nic: Some(nic), program: programs.at(hook) });
        if !self.lost_maps {
            self.add_entry(id);
        }
    }

    fn add_entry(&mut self, id: u32) {
        let card = self.links.get(&id).and_then(|link| Some((link.hook, self.nics.get(&link.nic?)?)));
        let Some((hook, card)) = card.filter(|_| !self.has_entry(id)) else { return };
        let name = Name { index: card.interface.index, interface: card.interface.name.clone(), hook };
        let other = self.entries.get(&format!("links/{}", name.entry())).and_then(|id| self.links.get(id));
        let is_taken = other.is_some_and(|other| other.nic.is_some());
        let entry = if is_taken { name.second_entry(id) } else { name.entry() };
        self.entries.insert(format!("links/{entry}"), id);
    }

    /// Detaches from a hook, and removes the entry.
    pub(super) fn unguard(&mut self, nic: Nic, hook: Hook) -> Result<(), KernelError> {
        let Some(link) = self.link_of(nic, hook) else { return Ok(()) };
        if hook == Hook::Ingress && self.has_twin(link) {
            let interface = self.nics.get(&nic).map(|card| card.interface.name.clone());
            return Err(KernelError::Ambiguity { interface: interface.unwrap_or_default() });
        }
        self.links.remove(&link);
        self.entries.retain(|_, id| *id != link);
        Ok(())
    }

    /// Whether another link runs the same program on an interface of the same index, elsewhere: the running kernel
    /// does not show which XDP link is where.
    fn has_twin(&self, id: u32) -> bool {
        let place = |link: &Link| {
            let card = self.nics.get(&link.nic?)?;
            Some((link.hook, link.program, card.interface.index))
        };
        let own = self.links.get(&id).and_then(place);
        self.links.iter().any(|(other, link)| *other != id && place(link) == own)
    }

    pub(super) fn forget(&mut self, entry: &str) -> Result<(), KernelError> {
        let Some(id) = self.entries.get(entry).copied() else { return Ok(()) };
        if self.links.get(&id).is_some_and(|link| link.nic.is_some()) {
            return Err(KernelError::StillAttached { entry: entry.to_owned() });
        }
        self.links.remove(&id);
        self.entries.remove(entry);
        Ok(())
    }

    pub(super) fn restore(&mut self) {
        self.lost_maps = false;
        let lost: Vec<u32> = self.links.keys().copied().filter(|id| !self.has_entry(*id)).collect();
        lost.into_iter().for_each(|id| self.add_entry(id));
    }

    /// What is there when a process finds no maps: they are made anew.
    pub(super) fn begin_anew(&mut self) {
        (self.live, self.lost_maps) = (None, false);
        self.uses = vec![ExemptionUse::default(); MAX_EXEMPTIONS];
        self.held.clear();
    }

    /// What only the process kept ends with it.
    pub(super) fn end_unkept_links(&mut self) {
        let kept: BTreeSet<u32> = self.entries.values().copied().collect();
        self.links.retain(|id, _| kept.contains(id));
    }

    pub(super) fn observe(&mut self, programs: Programs) -> Observed {
        let mut observed = Observed::default();
        if self.lost_maps {
            observed.missing_entries.extend([".".to_owned(), "maps/CONTROL".to_owned()]);
        }
        let here: Vec<Nic> = self.nics.iter().filter(|(_, card)| card.is_here).map(|(nic, _)| *nic).collect();
        for nic in here {
            let attached = self.attachments(nic, programs);
            let Some(card) = self.nics.get_mut(&nic) else { continue };
            if card.is_hidden {
                observed
                    .blind
                    .push(format!("what is attached to {} can't be looked at", card.interface.name));
            } else {
                card.seen = attached;
            }
            let (interface, attachments) = (card.interface.clone(), card.seen.clone());
            observed.interfaces.push(ObservedInterface { interface, has_route: card.has_route, attachments });
        }
        observed.interfaces.sort_by_key(|it| it.interface.index);
        observed.missing_entries.extend(self.missing_links());
        observed.strays = self.strays();
        observed
    }

    fn attachments(&self, nic: Nic, programs: Programs) -> Vec<Attachment> {
        let on = [(Hook::Egress, How::Tcx), (Hook::Ingress, How::XdpNative)].into_iter();
        let found = on.filter_map(|(hook, how)| {
            let id = self.link_of(nic, hook)?;
            let program = self.links.get(&id)?.program;
            let before = self.nics.get(&nic).filter(|_| hook == Hook::Egress).map(|card| card.before.clone());
            Some(Attachment {
                hook,
                how,
                link: id,
                program,
                is_current: program == programs.at(hook),
                is_kept: self.has_entry(id),
                before: before.unwrap_or_default(),
            })
        });
        found.collect()
    }

    fn missing_links(&self) -> Vec<String> {
        let lost = self.links.iter().filter(|(id, _)| !self.has_entry(**id));
        let names = lost.filter_map(|(_, link)| {
            let Interface { index, name, .. } = &self.nics.get(&link.nic?)?.interface;
            let name = Name { index: *index, interface: name.clone(), hook: link.hook };
            Some(format!("links/{}", name.entry()))
        });
        names.collect()
    }

    fn strays(&self) -> Vec<Stray> {
        let entries = self.entries.iter();
        let strays = entries.filter_map(|(entry, id)| {
            let nic = self.links.get(id).and_then(|link| self.nics.get(&link.nic?));
            let Name { interface, hook, .. } = Name::read(entry.strip_prefix("links/")?)?;
            let is_away = nic.is_none_or(|card| !card.is_here);
            is_away.then(|| Stray { entry: entry.clone(), interface, hook, is_alive: nic.is_some() })
        });
        strays.collect()
    }
}
