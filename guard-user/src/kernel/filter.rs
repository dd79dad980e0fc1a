//! TC filters of the clsact qdisc, for kernels before 6.6, which have no TCX. By index, for a name can be another
//! interface's by the time of the call.
//!
//! A filter stays when its maker ends, so there is nothing to pin; an empty folder at the pin path, a
//! [`Note`], remembers the interface.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use guard_common::abi::Hook;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, Parseable as _};
use netlink_packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcOption,
};

use super::error::refused;
use super::netlink::{Request, attributes, emit, text, value};
use super::programs::Programs;
use super::{How, Interface, KernelError, folder};

/// The first place in the chain: lower numbers are asked earlier, and 0 means any.
const PRIORITY: u32 = 1;
/// `ETH_P_ALL` (linux/if_ether.h).
const ALL: u16 = 3;

/// `RTM_NEWQDISC`, `RTM_DELQDISC`, `RTM_NEWTFILTER`, `RTM_DELTFILTER`, `RTM_GETTFILTER` (linux/rtnetlink.h).
const NEW_QDISC: u16 = 36;
const DEL_QDISC: u16 = 37;
const NEW_FILTER: u16 = 44;
const DEL_FILTER: u16 = 45;
const GET_FILTER: u16 = 46;
/// Bytes of `struct tcmsg`.
const TCMSG: usize = 20;
/// `TCA_KIND`, `TCA_OPTIONS`.
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
/// The qdisc's kind, its own handle, and its two sides.
const CLSACT: &str = "clsact";
const CLSACT_HANDLE: TcHandle = TcHandle { major: 0xffff, minor: 0 };
const EGRESS: TcHandle = TcHandle { major: 0xffff, minor: TcHandle::MIN_EGRESS };
const INGRESS: TcHandle = TcHandle { major: 0xffff, minor: TcHandle::MIN_INGRESS };

/// A filter, as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    handle: TcHandle,
    /// Priority in the upper half, protocol in network order in the lower.
    info: u32,
    /// What it is called; of BPF filters their program's name.
    pub(super) name: String,
    /// Id of its program, if it is a BPF filter.
    pub(super) program: Option<u32>,
}

/// The egress filters of an interface, in the order in which they are asked.
pub(super) fn list(index: u32) -> io::Result<Vec<Filter>> {
    filters(index, EGRESS)
}

/// Whether the interface of this index has an egress filter, whosever it is, or that can't be told.
pub(super) fn has_any(index: u32) -> bool {
    !list(index).is_ok_and(|filters| filters.is_empty())
}

/// The egress filters of an interface that run a program of ours: one that uses this CONTROL map.
pub(super) fn ours(index: u32, control: u32, programs: &mut Programs) -> Result<Vec<Filter>, KernelError> {
    let mut filters =
        list(index).map_err(|source| KernelError::Netlink { what: "list the TC filters", source })?;
    programs.meet(control, &filters.iter().filter_map(|filter| filter.program).collect())?;
    filters.retain(|filter| filter.program.is_some_and(|id| programs.is_ours(id)));
    Ok(filters)
}

fn filters(index: u32, parent: TcHandle) -> io::Result<Vec<Filter>> {
    let mut filters = Vec::new();
    let listed =
        Request::route(GET_FILTER, &header(index, TcHandle::UNSPEC, parent, 0)).dump(|kind, payload| {
            if kind == NEW_FILTER {
                filters.extend(read(payload));
            }
            ControlFlow::Continue(())
        });
    match listed {
        // A kernel without filters has none.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(Vec::new()),
        listed => listed.map(|_| filters),
    }
}

fn read(payload: &[u8]) -> Option<Filter> {
    let header = TcHeader::parse(payload).ok()?;
    // The chain's own entry comes before its filters and has no handle.
    (header.handle != TcHandle::UNSPEC).then_some(())?;
    let mut filter = Filter { handle: header.handle, info: header.info, name: String::new(), program: None };
    let mut options = &[][..];
    for attribute in attributes(payload.get(TCMSG..)?) {
        match attribute.kind() {
            KIND => filter.name = text(value(attribute)),
            OPTIONS => options = value(attribute),
            _ => {}
        }
    }
    if filter.name == TcFilterBpf::KIND {
        for option in attributes(options) {
            match TcFilterBpfOption::parse(&option) {
                Ok(TcFilterBpfOption::ProgName(name)) => filter.name = name,
                Ok(TcFilterBpfOption::ProgId(id)) => filter.program = Some(id),
                _ => {}
            }
        }
    }
    Some(filter)
}

/// Puts the program in the place of this filter, or makes it the first egress filter of the interface.
pub(super) fn attach(
    pin_path: &Path,
    interface: &Interface,
    program: (BorrowedFd<'_>, &str),
    old: Option<&Filter>,
) -> Result<(), KernelError> {
    // Remembered first: a note without a filter does no harm, a filter without a note might be forgotten.
    note(pin_path, interface)?;
    let (handle, info, flags) = match old {
        Some(old) => (old.handle, old.info, 0),
        None => {
            add_qdisc(pin_path, interface)?;
            let any_protocol = u32::from(ALL.to_be());
            (TcHandle::UNSPEC, PRIORITY << 16 | any_protocol, NLM_F_CREATE | NLM_F_EXCL)
        }
    };
    let (descriptor, name) = program;
    let options = [
        TcFilterBpfOption::ProgFd(descriptor.as_raw_fd().unsigned_abs()),
        TcFilterBpfOption::ProgName(name.to_owned()),
        TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
    ];
    let mut request = header(interface.index, handle, EGRESS, info);
    request.extend(emit(&TcAttribute::Kind(TcFilterBpf::KIND.to_owned())));
    request.extend(emit(&TcAttribute::Options(options.map(TcOption::Bpf).into())));
    Request::route(NEW_FILTER, &request)
        .with(flags)
        .send(|_, _| {})
        .map_err(|source| refused(&interface.name, Hook::Egress, How::Clsact.name(), source))
}

fn add_qdisc(pin_path: &Path, interface: &Interface) -> Result<(), KernelError> {
    let mut request = header(interface.index, CLSACT_HANDLE, TcHandle::CLSACT, 0);
    request.extend(emit(&TcAttribute::Kind(CLSACT.to_owned())));
    match Request::route(NEW_QDISC, &request).with(NLM_F_CREATE | NLM_F_EXCL).send(|_, _| {}) {
        Ok(()) => folder::make_dirs(&Note::of(interface, QDISC).path(pin_path)),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        Err(source) => Err(refused(&interface.name, Hook::Egress, "a clsact qdisc", source)),
    }
}

/// Removes these filters from the interface of this index, and the qdisc where it was added for them and nothing
/// else uses it; and what is remembered of them.
pub(super) fn remove(pin_path: &Path, index: u32, ours: &[Filter]) -> Result<(), KernelError> {
    let failed = |what| move |source| KernelError::Netlink { what, source };
    for filter in ours {
        Request::route(DEL_FILTER, &header(index, filter.handle, EGRESS, filter.info))
            .send(|_, _| {})
            .map_err(failed("remove a TC filter"))?;
    }
    for note in notes(pin_path)?.into_iter().filter(|note| note.index == index) {
        let is_unused = || -> io::Result<bool> {
            Ok(filters(index, EGRESS)?.is_empty() && filters(index, INGRESS)?.is_empty())
        };
        if note.kind == QDISC && is_unused().map_err(failed("list the TC filters"))? {
            match Request::route(DEL_QDISC, &header(index, CLSACT_HANDLE, TcHandle::CLSACT, 0))
                .send(|_, _| {})
            {
                // Somebody has removed it, or the interface is gone.
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL | libc::ENODEV)) => {}
                removed => removed.map_err(failed("remove a clsact qdisc"))?,
            }
        }
        folder::remove(&note.path(pin_path))?;
    }
    Ok(())
}

/// Remembers that an interface has a filter of ours, under the name that is given.
pub(super) fn note(pin_path: &Path, interface: &Interface) -> Result<(), KernelError> {
    let all = notes(pin_path)?.into_iter();
    let own: Vec<Note> = all.filter(|note| note.index == interface.index).collect();
    if own.is_empty() {
        return folder::make_dirs(&Note::of(interface, FILTER).path(pin_path));
    }
    // Never without one: a note that has another name gets this one.
    for note in own.into_iter().filter(|note| note.interface != interface.name) {
        folder::rename(&note.path(pin_path), &Note::of(interface, note.kind).path(pin_path))?;
    }
    Ok(())
}

/// How names of notes end.
const FILTER: &str = "filter";
const QDISC: &str = "qdisc";

/// What is remembered at the pin path: that an interface was given a filter, or a qdisc for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// The interface's name then.
    pub(super) interface: String,
    /// The interface's number.
    pub(super) index: u32,
    /// [`FILTER`] or [`QDISC`].
    kind: &'static str,
}

impl Note {
    fn of(interface: &Interface, kind: &'static str) -> Self {
        Self { interface: interface.name.clone(), index: interface.index, kind }
    }

    /// The name of its folder.
    pub(super) fn name(&self) -> String {
        folder::entry_name(self.index, &self.interface, self.kind)
    }

    fn path(&self, pin_path: &Path) -> PathBuf {
        folder::filters(pin_path).join(self.name())
    }

    fn read(name: &str) -> Option<Self> {
        let (index, interface, kind) = folder::read_entry_name(name)?;
        let kind = [FILTER, QDISC].into_iter().find(|known| *known == kind)?;
        Some(Self { interface, index, kind })
    }
}

pub(super) fn notes(pin_path: &Path) -> Result<Vec<Note>, KernelError> {
    Ok(folder::names(&folder::filters(pin_path))?.iter().filter_map(|name| Note::read(name)).collect())
}

/// `struct tcmsg` of any family.
fn header(index: u32, handle: TcHandle, parent: TcHandle, info: u32) -> Vec<u8> {
    // Indexes are positive numbers of 31 bits.
    emit(&TcHeader { index: index.cast_signed(), handle, parent, info, ..TcHeader::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_filter_is_read() {
        let options = [TcFilterBpfOption::ProgName("egress".to_owned()), TcFilterBpfOption::ProgId(77)];
        let mut payload = header(3, TcHandle { major: 0, minor: 0xb06d }, EGRESS, 1 << 16 | 0x300);
        payload.extend(emit(&TcAttribute::Kind("bpf".to_owned())));
        payload.extend(emit(&TcAttribute::Options(options.map(TcOption::Bpf).into())));
        let filter = read(&payload).unwrap();
        assert_eq!((filter.handle, filter.info >> 16), (TcHandle { major: 0, minor: 0xb06d }, 1));
        assert_eq!((filter.name.as_str(), filter.program), ("egress", Some(77)));
        let mut chain = payload.clone();
        chain[8..12].fill(0);
        assert_eq!(read(&chain), None, "the chain's own entry");
        let mut other = header(3, TcHandle { major: 0, minor: 1 }, EGRESS, 1 << 16 | 0x300);
        other.extend(emit(&TcAttribute::Kind("u32".to_owned())));
        let other = read(&other).unwrap();
        assert_eq!((other.name.as_str(), other.program), ("u32", None));
    }

    #[test]
    fn notes_are_read_back() {
        for (name, kind) in [("eth0", FILTER), ("eth0.100", QDISC), ("a%2Fb-1", QDISC), ("n\\xff", FILTER)] {
            let note = Note { interface: name.to_owned(), index: 7, kind };
            assert_eq!(Note::read(&note.name()), Some(note));
        }
        assert_eq!(Note::read("eth0"), None);
    }

    #[test]
    fn the_loopback_s_filters_can_be_listed() {
        list(1).unwrap();
    }
}
