//! The look at interfaces and at what of ours is on them, as the kernel shows it now.
//!
//! An attachment is asked for at the interface: TCX programs and XDP programs by its index, in this network
//! namespace. So an interface that was renamed, that swapped its name with another one, that was moved away and
//! back, or that has the index of one that went away, is seen as it is. Entries in bpffs say only which links are
//! kept: the interface that a link names is an index in whatever network namespace that interface is in.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use guard_common::abi::Hook;

use super::entries::{Entries, Entry, Name, Seen};
use super::exits;
use super::filter::{self, Filter};
use super::interface::{self, List, Listed, unlisted};
use super::inward::Inward;
use super::link::{self, LinkInfo, Tcx};
use super::programs::Programs;
use super::routes::{self, Routes};
use super::spare::Spare;
use super::{Attachment, How, Interface, KernelError, Observed, ObservedInterface, Stray};

/// A look at the routes is not repeated before so many times its own duration has passed.
const ROUTES_PAUSE: u32 = 20;
/// How often the egress side of an index is asked for, whose interfaces come and go meanwhile.
const TRIES: usize = 10;

/// What is looked at, and by whom.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    /// The pin path.
    pub(super) path: &'a Path,
    /// Id of the CONTROL map, which our programs use.
    pub(super) control: u32,
    /// Ids of the programs that this process loaded.
    pub(super) current: &'a BTreeSet<u32>,
    /// The links that this process keeps.
    pub(super) spare: Option<&'a Spare>,
}

/// What one look leaves for the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What was seen last, by index: what a list of the kernel omits is asked for by its index.
    known: BTreeMap<u32, ObservedInterface>,
    pub(super) entries: Seen,
    /// Packets that interfaces had sent when this process began to guard their egress, by index.
    sent_before: BTreeMap<u32, u64>,
    pub(super) programs: Programs,
    routes: Routes,
    next_routes: Option<Instant>,
    inward: Inward,
}

impl Memory {
    /// The egress of the interface of this index is guarded, and was not before.
    pub(super) fn begun(&mut self, index: u32) {
        // Where it can't be asked nothing is known, of an earlier interface with this index neither.
        match interface::sent(index) {
            Ok(sent) => self.sent_before.insert(index, sent),
            Err(_) => self.sent_before.remove(&index),
        };
    }
}

/// Looks at everything.
///
/// # Errors
/// Where the interfaces can't be listed, the entries can't be read or other programs can't be looked at.
pub(super) fn observe(scope: Scope<'_>, memory: &mut Memory) -> Result<Observed, KernelError> {
    let list = interface::list().map_err(unlisted)?;
    let Entries { links, mut blind } = memory.entries.look(scope.path)?;
    if list.unreadable > 0 {
        blind.push(format!("{} network interfaces that the kernel lists can't be read", list.unreadable));
    }
    let notes = filter::notes(scope.path)?;
    let of_entries = links.iter().map(|entry| entry.info.ifindex).filter(|index| *index != 0);
    let named = of_entries.chain(notes.iter().map(|note| note.index));
    let (listed, unsure) = with_omitted(list, named, &memory.known, &mut blind);
    memory.look_at_routes(&mut blind);
    let stack = interface::stack(&listed);
    let inward = memory.inward.of(exits::ends(&listed, &stack, &memory.routes));
    let mut places = exits::places(&listed, &stack, &memory.routes, &inward);
    let mut stacked: BTreeMap<u32, interface::Below> =
        listed.keys().map(|&index| (index, interface::below(index, &stack, &listed))).collect();
    if !unsure.is_empty() {
        // What can't be asked for may lie below as it did.
        for (index, below) in &mut stacked {
            let known = memory.known.get(index);
            below.names.extend(known.into_iter().flat_map(|known| &known.below).cloned());
            below.loops_back |= known.is_some_and(|known| known.loops_back);
        }
    }
    let chains = chains(listed, !notes.is_empty(), &mut blind);

    let met = chains.iter().flat_map(Chains::programs).collect();
    memory.programs.meet(scope.control, &met)?;
    let mut look = Look::new(scope, &memory.programs, &links);
    let mut interfaces: BTreeMap<u32, ObservedInterface> = BTreeMap::new();
    for chains in &chains {
        let known = memory.known.get(&chains.index());
        let has_route = memory.routes.out.contains(&chains.index());
        let mut attachments = look.attachments(chains, known);
        let interface = chains.listed.interface.clone();
        for attachment in &mut attachments {
            let noted = notes.iter().find(|note| attachment.link == 0 && note.index == interface.index);
            let name = noted.map(|note| note.interface.clone()).or_else(|| look.attached_as(attachment.link));
            // One without any entry is known by the present name alone.
            attachment.attached_as = name.unwrap_or_else(|| interface.name.clone());
        }
        let sent_before = memory.sent_before.get(&interface.index).copied();
        let other_guards = chains.other_guards(&memory.programs);
        let interface::Below { names: below, loops_back, leaves_by: _ } =
            stacked.remove(&interface.index).unwrap_or_default();
        let leaves_by = stack.leaves_by(interface.index);
        let place = places.remove(&interface.index).map(|(_, place)| place).unwrap_or_default();
        let observed = ObservedInterface {
            interface,
            below,
            loops_back,
            leaves_by,
            has_route,
            place,
            attachments,
            sent_before,
            other_guards,
        };
        interfaces.insert(observed.interface.index, observed);
    }
    for &index in &unsure {
        interfaces.extend(memory.known.get(&index).map(|known| (index, known.clone())));
    }
    let mut strays = look.strays(&chains);
    let is_gone = |index: u32| !interfaces.contains_key(&index) && !unsure.contains(&index);
    for note in notes.iter().filter(|note| is_gone(note.index)) {
        let (entry, interface) = (format!("filters/{}", note.name()), note.interface.clone());
        strays.push(Stray { entry, interface, hook: Hook::Egress, is_alive: false });
    }
    let missing_entries = look.missing_links(&interfaces);
    memory.known = interfaces.clone();
    memory.sent_before.retain(|index, _| memory.known.contains_key(index));
    let interfaces = interfaces.into_values().collect();
    Ok(Observed { interfaces, strays, blind, missing_entries, ..Observed::default() })
}

/// Asks for every interface that something is known of and that the list omits, by its index: only the kernel's
/// `ENODEV` to that says that it is gone. Returns all that are there, and the indexes of those that can't be told.
fn with_omitted(
    list: List,
    named: impl Iterator<Item = u32>,
    known: &BTreeMap<u32, ObservedInterface>,
    blind: &mut Vec<String>,
) -> (BTreeMap<u32, Listed>, Vec<u32>) {
    let mut listed = list.interfaces;
    let expected: BTreeSet<u32> = known.keys().copied().chain(named).collect();
    let mut unsure = Vec::new();
    for index in expected {
        if listed.contains_key(&index) {
            continue;
        }
        match interface::by_index(index) {
            Ok(found) => listed.extend(found.map(|found| (index, found))),
            Err(error) => {
                blind.push(format!("the interface with index {index} can't be asked for: {error}"));
                unsure.push(index);
            }
        }
    }
    (listed, unsure)
}

impl Memory {
    fn look_at_routes(&mut self, blind: &mut Vec<String>) {
        let begin = Instant::now();
        if self.next_routes.is_none_or(|next| next <= begin) {
            match routes::list() {
                Ok(routes) => self.routes = routes,
                Err(error) => blind.push(format!("the routes can't be listed: {error}")),
            }
            let pause = begin.elapsed().saturating_mul(ROUTES_PAUSE);
            self.next_routes = begin.checked_add(pause.min(Duration::from_secs(60)));
        }
        if self.routes.is_cut {
            let cut = "there are too many routes to look at all: which interfaces lead out is known in part";
            blind.push(cut.to_owned());
        }
    }
}

/// What is on an interface.
struct Chains {
    listed: Listed,
    /// `None` where it can't be looked at.
    tcx: Option<Vec<Tcx>>,
    filters: Option<Vec<Filter>>,
}

impl Chains {
    const fn index(&self) -> u32 {
        self.listed.interface.index
    }

    fn programs(&self) -> impl Iterator<Item = u32> {
        self.egress().chain(self.listed.xdp())
    }

    fn egress(&self) -> impl Iterator<Item = u32> {
        let tcx = self.tcx.iter().flatten().map(|tcx| tcx.program);
        let filters = self.filters.iter().flatten().filter_map(|filter| filter.program);
        tcx.chain(filters)
    }

    /// Hooks that have a program of another Border Guard.
    fn other_guards(&self, programs: &Programs) -> Vec<Hook> {
        let is_there = |hook: &Hook| match hook {
            Hook::Egress => self.egress().any(|id| programs.is_of_another_guard(id)),
            Hook::Ingress => self.listed.xdp().is_some_and(|id| programs.is_of_another_guard(id)),
            Hook::Connect | Hook::Sendmsg => false,
        };
        Hook::OF_PACKETS.into_iter().filter(is_there).collect()
    }
}

/// Asks each interface for its egress programs. Those that are gone by then are left out.
fn chains(listed: BTreeMap<u32, Listed>, has_notes: bool, blind: &mut Vec<String>) -> Vec<Chains> {
    let mut all = Vec::new();
    for listed in listed.into_values() {
        match chains_of(listed, |index| egress(index, has_notes), interface::by_index) {
            Ok(chains) => all.extend(chains),
            Err((listed, error)) => {
                blind.push(format!(
                    "what is attached to {} can't be looked at: {error}",
                    listed.interface.name
                ));
                all.push(Chains { listed, tcx: None, filters: None });
            }
        }
    }
    all
}

/// The programs and filters of the egress side of an interface.
type Egress = (Vec<Tcx>, Vec<Filter>);

/// Asks one interface for its egress programs; `None` where it is gone. Where it was gone at the question and its
/// index is another one's right after, that one is asked.
fn chains_of(
    mut listed: Listed,
    egress: impl Fn(u32) -> io::Result<Egress>,
    by_index: impl Fn(u32) -> io::Result<Option<Listed>>,
) -> Result<Option<Chains>, (Listed, io::Error)> {
    let mut tries = TRIES;
    loop {
        let error = match egress(listed.interface.index) {
            Ok((tcx, filters)) => return Ok(Some(Chains { listed, tcx: Some(tcx), filters: Some(filters) })),
            Err(error) => error,
        };
        tries -= 1;
        if error.raw_os_error() != Some(libc::ENODEV) || tries == 0 {
            return Err((listed, error));
        }
        match by_index(listed.interface.index) {
            Ok(Some(another)) => listed = another,
            Ok(None) => return Ok(None),
            Err(error) => return Err((listed, error)),
        }
    }
}

fn egress(index: u32, has_notes: bool) -> io::Result<Egress> {
    let tcx = link::tcx_egress(index)?;
    let filters = if tcx.is_none() || has_notes { filter::list(index)? } else { Vec::new() };
    Ok((tcx.unwrap_or_default(), filters))
}

/// What is looked at, and what was found.
struct Look<'a> {
    scope: Scope<'a>,
    programs: &'a Programs,
    links: &'a [Entry],
    /// The names of the entries, by the ids of their links.
    kept: BTreeMap<u32, &'a str>,
    /// Links that this process keeps and that have no entry, with the names that their entries had.
    lost: Vec<(LinkInfo, &'a str)>,
    /// XDP links that may be on an interface, by its index and program.
    xdp: BTreeMap<(u32, u32), Vec<(LinkInfo, &'a str)>>,
    /// Ids of the links that are on an interface of this network namespace.
    here: BTreeSet<u32>,
}

impl<'a> Look<'a> {
    fn new(scope: Scope<'a>, programs: &'a Programs, links: &'a [Entry]) -> Self {
        // Of several names of one link the first counts.
        let kept: BTreeMap<_, _> =
            links.iter().map(|entry| (entry.info.id, entry.name.as_str())).rev().collect();
        let names = scope.spare.into_iter().flat_map(Spare::names).filter(|(id, _)| !kept.contains_key(id));
        let lost: Vec<_> = names.filter_map(|(id, name)| Some((link::info_by_id(id).ok()??, name))).collect();
        let mut xdp = BTreeMap::<_, Vec<_>>::new();
        for (info, name) in links.iter().map(|entry| (entry.info, entry.name.as_str())).chain(lost.clone()) {
            if info.hook == Some(Hook::Ingress) {
                xdp.entry((info.ifindex, info.program)).or_default().push((info, name));
            }
        }
        Self { scope, programs, links, kept, lost, xdp, here: BTreeSet::new() }
    }

    fn attachments(&mut self, chains: &Chains, known: Option<&ObservedInterface>) -> Vec<Attachment> {
        let egress = match (&chains.tcx, &chains.filters) {
            (Some(tcx), Some(filters)) => self.tcx(tcx).or_else(|| self.clsact(filters)),
            // What can't be looked at is as it was.
            _ => known.and_then(|known| known.at(Hook::Egress)).cloned(),
        };
        egress.into_iter().chain(self.xdp(&chains.listed)).collect()
    }

    fn tcx(&mut self, chain: &[Tcx]) -> Option<Attachment> {
        self.here.extend(chain.iter().map(|tcx| tcx.link));
        let place = chain.iter().position(|tcx| tcx.link != 0 && self.programs.is_ours(tcx.program))?;
        let Tcx { program, link } = *chain.get(place)?;
        let before = chain.iter().take(place).map(|tcx| tcx.program);
        Some(Attachment {
            hook: Hook::Egress,
            how: How::Tcx,
            link,
            attached_as: String::new(),
            program,
            is_current: self.scope.current.contains(&program),
            is_kept: self.kept.contains_key(&link),
            before: before.map(|id| self.programs.name(id)).collect(),
        })
    }

    fn clsact(&self, chain: &[Filter]) -> Option<Attachment> {
        let is_ours = |filter: &Filter| filter.program.is_some_and(|id| self.programs.is_ours(id));
        let place = chain.iter().position(is_ours)?;
        let program = chain.get(place)?.program?;
        Some(Attachment {
            hook: Hook::Egress,
            how: How::Clsact,
            link: 0,
            attached_as: String::new(),
            program,
            is_current: self.scope.current.contains(&program),
            is_kept: true,
            before: chain.iter().take(place).map(|filter| filter.name.clone()).collect(),
        })
    }

    fn xdp(&mut self, listed: &Listed) -> Option<Attachment> {
        let program = listed.xdp()?;
        let may_be = self.xdp.get(&(listed.interface.index, program)).map_or(&[][..], Vec::as_slice);
        let (with_entry, without) = (|id| self.kept.contains_key(&id), |id| !self.kept.contains_key(&id));
        let of = |wanted: &dyn Fn(u32) -> bool| {
            best(listed, program, may_be.iter().copied().filter(|(info, _)| wanted(info.id)))
        };
        let entry = of(&with_entry);
        let found = entry.or_else(|| of(&without));
        self.here.extend(found);
        self.programs.is_ours(program).then(|| Attachment {
            hook: Hook::Ingress,
            how: if listed.xdp_native == Some(program) { How::XdpNative } else { How::XdpGeneric },
            link: found.unwrap_or_default(),
            attached_as: String::new(),
            program,
            is_current: self.scope.current.contains(&program),
            is_kept: entry.is_some(),
            before: Vec::new(),
        })
    }

    /// The name that an interface had when this link was attached to it.
    fn attached_as(&self, link: u32) -> Option<String> {
        let entry = self.kept.get(&link).copied();
        let name = entry.or_else(|| self.scope.spare.and_then(|spare| spare.name(link)))?;
        Name::read(name).map(|name| name.interface)
    }

    /// Kept links that are on no interface of this network namespace.
    fn strays(&self, chains: &[Chains]) -> Vec<Stray> {
        let unsure = |info: &LinkInfo| {
            info.hook == Some(Hook::Egress)
                && chains.iter().any(|chains| chains.tcx.is_none() && chains.index() == info.ifindex)
        };
        let stray = |entry: &Entry| {
            let Name { interface, hook, .. } = Name::read(&entry.name)?;
            let is_alive = entry.info.ifindex != 0;
            Some(Stray { entry: format!("links/{}", entry.name), interface, hook, is_alive })
        };
        let away = |entry: &&Entry| !self.here.contains(&entry.info.id) && !unsure(&entry.info);
        self.links.iter().filter(away).filter_map(stray).collect()
    }

    /// Entries that attached links should have and have not.
    fn missing_links(&self, interfaces: &BTreeMap<u32, ObservedInterface>) -> Vec<String> {
        let here = interfaces.values().flat_map(|it| {
            let unkept = it.attachments.iter().filter(|attachment| !attachment.is_kept);
            unkept.map(|attachment| format!("links/{}", name_for(&it.interface, attachment.hook).entry()))
        });
        let away = self.lost.iter().filter(|(info, _)| info.ifindex != 0 && !self.here.contains(&info.id));
        let mut missing: Vec<String> = here.chain(away.map(|(_, name)| format!("links/{name}"))).collect();
        missing.sort();
        missing
    }
}

/// The name of the entry that an interface's link should have.
pub(super) fn name_for(interface: &Interface, hook: Hook) -> Name {
    Name { index: interface.index, interface: interface.name.clone(), hook }
}

/// The XDP link of an interface. The kernel does not show it at the interface, so it is the one that runs the
/// program that the interface runs, on an interface of this index. Another link can do so too, in another network
/// namespace: then the one whose entry has the interface's name, and else the newest, counts.
pub(super) fn best<'a>(
    listed: &Listed,
    program: u32,
    links: impl Iterator<Item = (LinkInfo, &'a str)>,
) -> Option<u32> {
    let interface = &listed.interface;
    let may_be = |(info, _): &(LinkInfo, &str)| {
        (info.hook, info.ifindex, info.program) == (Some(Hook::Ingress), interface.index, program)
    };
    let rank = |(info, name): &(LinkInfo, &str)| {
        (Name::read(name).is_some_and(|name| name.interface == interface.name), info.id)
    };
    links.filter(may_be).max_by_key(rank).map(|(info, _)| info.id)
}

#[cfg(test)]
mod tests {
    use super::super::LinkType;
    use super::*;

    fn listed(index: u32, name: &str, program: u32) -> Listed {
        let interface = Interface { index, name: name.to_owned(), link_type: LinkType::ETHERNET };
        Listed {
            interface,
            xdp_native: Some(program),
            xdp_generic: None,
            stacked: Default::default(),
            is_up: true,
        }
    }

    #[test]
    fn an_xdp_link_is_known_by_index_and_program_and_then_by_name() {
        let link = |id, ifindex, program| LinkInfo { id, program, hook: Some(Hook::Ingress), ifindex };
        let eth0 = listed(2, "eth0", 50);
        let found = |links: &[(LinkInfo, &'static str)]| best(&eth0, 50, links.iter().copied());
        assert_eq!(found(&[(link(9, 3, 50), "2-eth0-ingress")]), None, "it is elsewhere by now");
        assert_eq!(found(&[(link(9, 2, 51), "2-eth0-ingress")]), None, "it runs something else");
        assert_eq!(found(&[(link(9, 2, 50), "2-eth0-ingress"), (link(8, 2, 50), "2-lan-ingress")]), Some(9));
        assert_eq!(found(&[(link(8, 2, 50), "2-eth0-ingress"), (link(9, 2, 50), "2-lan-ingress")]), Some(8));
        assert_eq!(
            found(&[(link(8, 2, 50), "2-eth0-ingress"), (link(9, 2, 50), "2-eth0-ingress+9")]),
            Some(9)
        );
        let egress = LinkInfo { hook: Some(Hook::Egress), ..link(9, 2, 50) };
        assert_eq!(found(&[(egress, "2-eth0-egress")]), None);
    }

    fn no_device<T>() -> io::Result<T> {
        Err(io::Error::from_raw_os_error(libc::ENODEV))
    }

    #[test]
    fn another_interface_with_the_index_of_one_that_is_gone_is_asked_instead() {
        let asked = std::cell::Cell::new(0);
        let egress = |index| {
            assert_eq!(index, 7);
            asked.set(asked.get() + 1);
            if asked.get() < 3 { no_device() } else { Ok((vec![Tcx { program: 50, link: 9 }], Vec::new())) }
        };
        let by_index = |index| Ok(Some(listed(index, "second", 51)));
        let Ok(Some(chains)) = chains_of(listed(7, "first", 50), egress, by_index) else {
            panic!("it is there")
        };
        assert_eq!((chains.listed.interface.name.as_str(), chains.tcx.unwrap().len()), ("second", 1));
    }

    #[test]
    fn an_interface_is_left_out_only_where_the_kernel_says_that_it_is_gone() {
        let first = || listed(7, "first", 50);
        assert!(matches!(chains_of(first(), |_| no_device(), |_| Ok(None)), Ok(None)));
        // Never caught, never answered, and refused.
        let again = chains_of(first(), |_| no_device(), |_| Ok(Some(first())));
        let unanswered =
            chains_of(first(), |_| no_device(), |_| Err(io::Error::from_raw_os_error(libc::ENOBUFS)));
        let refused =
            chains_of(first(), |_| Err(io::Error::from_raw_os_error(libc::EPERM)), |_| panic!("nobody asks"));
        for (outcome, code) in [(again, libc::ENODEV), (unanswered, libc::ENOBUFS), (refused, libc::EPERM)] {
            let Err((it, error)) = outcome else { panic!("it may be there") };
            assert_eq!((it, error.raw_os_error()), (first(), Some(code)));
        }
    }
}
