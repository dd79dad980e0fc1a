//! TC filters of the clsact qdisc, for kernels before 6.6, which have no TCX.
//!
//! A filter stays when its maker ends, so there is nothing to pin; an empty folder at the pin path, a
//! [`Note`], remembers the interface. A filter is ours when its program uses the CONTROL map of this pin path:
//! names and handles anyone could have chosen.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use aya::programs::links::Link as _;
use aya::programs::loaded_programs;
use aya::programs::tc::{
    self, NlOptions, SchedClassifier, SchedClassifierLink, SchedClassifierLinkId, TcAttachOptions,
};
use aya::programs::{ProgramError, TcAttachType, TcError, TcHandle};
use guard_common::abi::Hook;

use super::attach::refused;
use super::netlink::{self, attribute, text, u32_at};
use super::{How, Interface, KernelError, NamedAttachment, PROGRAMS, folder};

/// The first place in the chain: lower numbers are asked earlier, and 0 means any.
const PRIORITY: u16 = 1;

/// `RTM_DELQDISC`, `RTM_NEWTFILTER`, `RTM_DELTFILTER`, `RTM_GETTFILTER` (linux/rtnetlink.h).
const DEL_QDISC: u16 = 37;
const NEW_FILTER: u16 = 44;
const DEL_FILTER: u16 = 45;
const GET_FILTER: u16 = 46;
/// Bytes of `struct tcmsg`.
const TCMSG: usize = 20;
/// `TCA_KIND`, `TCA_OPTIONS`; `TCA_BPF_NAME`, `TCA_BPF_ID` (linux/pkt_cls.h).
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const BPF_NAME: u16 = 7;
const BPF_ID: u16 = 11;
/// `TC_H_CLSACT` as a parent and as the qdisc's own handle, and its egress and ingress sides.
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const EGRESS: u32 = 0xffff_fff3;
const INGRESS: u32 = 0xffff_fff2;

/// A filter, as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    handle: u32,
    /// Priority in the upper half, protocol in network order in the lower.
    info: u32,
    kind: String,
    /// What it is called; of BPF filters their program's name.
    pub(super) name: String,
    /// Id of its program, if it is a BPF filter.
    pub(super) program: Option<u32>,
}

/// Ids of the programs that use this map and have a name of ours.
pub(super) fn programs_of(map: u32) -> BTreeSet<u32> {
    // A program that goes away between two calls is skipped, like one that cannot be asked.
    loaded_programs()
        .flatten()
        .filter(|program| program.name_as_str().is_some_and(|name| PROGRAMS.contains(&name)))
        .filter(|program| matches!(program.map_ids(), Ok(Some(maps)) if maps.contains(&map)))
        .map(|program| program.id())
        .collect()
}

/// The egress filters of an interface, in the order in which they are asked.
pub(super) fn list(index: u32) -> Result<Vec<Filter>, KernelError> {
    filters(index, EGRESS)
}

fn filters(index: u32, parent: u32) -> Result<Vec<Filter>, KernelError> {
    match netlink::dump(GET_FILTER, &tcmsg(index, 0, parent, 0)) {
        Ok(messages) => {
            let filters = messages.iter().filter(|message| message.kind == NEW_FILTER);
            Ok(filters.filter_map(|message| read(&message.payload)).collect())
        }
        // A kernel without filters, and an interface that is gone, have none.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENODEV)) => Ok(Vec::new()),
        Err(source) => Err(KernelError::Netlink { what: "list the TC filters", source }),
    }
}

fn read(payload: &[u8]) -> Option<Filter> {
    let attributes = payload.get(TCMSG..)?;
    let options = attribute(attributes, OPTIONS).unwrap_or_default();
    let handle = u32_at(payload, 8)?;
    // The chain's own entry comes before its filters and has no handle.
    (handle != 0).then_some(())?;
    let kind = text(attribute(attributes, KIND)?);
    let bpf = kind == "bpf";
    let of_bpf = |number| attribute(options, number).filter(|_| bpf);
    Some(Filter {
        handle,
        info: u32_at(payload, 16)?,
        name: of_bpf(BPF_NAME).map_or_else(|| kind.clone(), text),
        program: of_bpf(BPF_ID).and_then(|id| u32_at(id, 0)),
        kind,
    })
}

impl Filter {
    fn is_of(&self, programs: &BTreeSet<u32>) -> bool {
        self.program.is_some_and(|program| programs.contains(&program))
    }
}

/// Attaches the program as the first egress filter, or puts it in the place of one of `ours`.
pub(super) fn attach(
    pin_path: &Path,
    program: &mut SchedClassifier,
    interface: &Interface,
    ours: &BTreeSet<u32>,
) -> Result<(), KernelError> {
    let how = How::Clsact.name();
    forget_gone(pin_path, &interface.name)?;
    // Remembered first: a note without a filter does no harm, a filter without a note might be forgotten.
    let notes = notes(pin_path)?;
    if !notes.iter().any(|note| note.index == interface.index) {
        folder::make_dirs(&Note::of(interface, false).path(pin_path))?;
    }
    let old = list(interface.index)?.into_iter().find(|filter| filter.is_of(ours));
    let attached = match old {
        Some(old) => {
            let priority = (old.info >> 16) as u16;
            let handle = TcHandle::from(old.handle);
            SchedClassifierLink::attached(&interface.name, TcAttachType::Egress, priority, handle, None)
                .map_err(|source| refused(interface, Hook::Egress, how, source))
                .map(|link| program.attach_to_link(link))?
        }
        None => {
            add_qdisc(pin_path, interface)?;
            let options = NlOptions { priority: PRIORITY, handle: TcHandle::AUTO_ASSIGN, classid: None };
            program.attach_with_options(
                &interface.name,
                TcAttachType::Egress,
                TcAttachOptions::Netlink(options),
            )
        }
    };
    let id = attached.map_err(|error| refused(interface, Hook::Egress, how, source_of(error)))?;
    forget(program, id)
}

/// Takes the link from the loader, which would detach it when it is dropped.
fn forget(program: &mut SchedClassifier, id: SchedClassifierLinkId) -> Result<(), KernelError> {
    let link = program.take_link(id).map_err(|error| KernelError::of_program("egress", error))?;
    debug_assert!(matches!(link.priority(), Ok(priority) if priority != 0), "{:?}", link.id());
    std::mem::forget(link);
    Ok(())
}

fn add_qdisc(pin_path: &Path, interface: &Interface) -> Result<(), KernelError> {
    match tc::qdisc_add_clsact(&interface.name) {
        Ok(()) => folder::make_dirs(&Note::of(interface, true).path(pin_path)),
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        Err(error) => {
            let source = source_of(ProgramError::TcError(error));
            Err(refused(interface, Hook::Egress, "a clsact qdisc", source))
        }
    }
}

/// The filters of ours that are there.
pub(super) fn attachments(
    pin_path: &Path,
    control: u32,
    interfaces: &[Interface],
) -> Result<Vec<NamedAttachment>, KernelError> {
    let notes = notes(pin_path)?;
    if notes.is_empty() {
        return Ok(Vec::new());
    }
    let ours = programs_of(control);
    let mut all = Vec::new();
    for interface in interfaces {
        for filter in list(interface.index)?.iter().filter(|filter| filter.is_of(&ours)) {
            all.push(NamedAttachment {
                interface: interface.name.clone(),
                index: interface.index,
                hook: Hook::Egress,
                how: How::Clsact,
                program: filter.program.unwrap_or_default(),
            });
        }
    }
    let there = |note: &Note| interfaces.iter().any(|interface| interface.index == note.index);
    for gone in notes.into_iter().filter(|note| !note.qdisc && !there(note)) {
        all.push(NamedAttachment {
            interface: gone.interface,
            index: 0,
            hook: Hook::Egress,
            how: How::Clsact,
            program: 0,
        });
    }
    Ok(all)
}

/// Removes the filters of `ours` from the interface of this name, and the qdisc where it was added for them
/// and nothing else uses it; and what is remembered of interfaces of this name that are gone. True where
/// there was a filter.
pub(super) fn remove(pin_path: &Path, interface: &str, ours: &BTreeSet<u32>) -> Result<bool, KernelError> {
    forget_gone(pin_path, interface)?;
    let Interface { index, .. } = match Interface::by_name(interface) {
        Ok(interface) => interface,
        Err(KernelError::NoInterface { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut removed = false;
    for filter in list(index)?.iter().filter(|filter| filter.is_of(ours)) {
        netlink::change(DEL_FILTER, &tcmsg(index, filter.handle, EGRESS, filter.info))
            .map_err(|source| KernelError::Netlink { what: "remove a TC filter", source })?;
        removed = true;
    }
    for note in notes(pin_path)?.into_iter().filter(|note| note.index == index) {
        if note.qdisc && list(index)?.is_empty() && filters(index, INGRESS)?.is_empty() {
            netlink::change(DEL_QDISC, &tcmsg(index, CLSACT_HANDLE, CLSACT, 0))
                .map_err(|source| KernelError::Netlink { what: "remove a clsact qdisc", source })?;
        }
        folder::remove(&note.path(pin_path))?;
    }
    Ok(removed)
}

/// How names of notes end.
const FILTER: &str = "filter";
const QDISC: &str = "qdisc";

/// What is remembered at the pin path: that an interface was given a filter, or a qdisc for it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    /// The interface's name then.
    interface: String,
    /// The interface's number, which it keeps.
    index: u32,
    /// The qdisc was added too.
    qdisc: bool,
}

impl Note {
    fn of(interface: &Interface, qdisc: bool) -> Self {
        Self { interface: interface.name.clone(), index: interface.index, qdisc }
    }

    fn path(&self, pin_path: &Path) -> PathBuf {
        let what = if self.qdisc { QDISC } else { FILTER };
        folder::filters(pin_path).join(folder::pin_name(self.index, &self.interface, what))
    }

    fn read(name: &str) -> Option<Self> {
        let (index, interface, what) = folder::read_pin_name(name)?;
        (what == QDISC || what == FILTER).then(|| Self { interface, index, qdisc: what == QDISC })
    }
}

fn notes(pin_path: &Path) -> Result<Vec<Note>, KernelError> {
    Ok(folder::names(&folder::filters(pin_path))?.iter().filter_map(|name| Note::read(name)).collect())
}

/// Forgets interfaces of this name that are gone.
fn forget_gone(pin_path: &Path, name: &str) -> Result<(), KernelError> {
    let all = Interface::all()?;
    for note in notes(pin_path)?.into_iter().filter(|note| note.interface == name) {
        if !all.iter().any(|interface| interface.index == note.index) {
            folder::remove(&note.path(pin_path))?;
        }
    }
    Ok(())
}

/// `struct tcmsg` of any family.
fn tcmsg(index: u32, handle: u32, parent: u32, info: u32) -> [u8; TCMSG] {
    let mut bytes = [0; TCMSG];
    for (at, number) in [index, handle, parent, info].into_iter().enumerate() {
        if let Some(place) = bytes.get_mut(4 + 4 * at..8 + 4 * at) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
    }
    bytes
}

/// The kernel's answer in a loader's error.
fn source_of(error: ProgramError) -> io::Error {
    let code = match &error {
        ProgramError::TcError(TcError::NetlinkError(error)) | ProgramError::NetlinkError(error) => {
            error.raw_os_error()
        }
        ProgramError::TcError(TcError::IoError(error)) => error.raw_os_error(),
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    };
    code.map_or_else(|| io::Error::other(error), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_filter_is_read() {
        let attribute = |kind: u16, value: &[u8]| {
            let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
            bytes.extend_from_slice(&kind.to_ne_bytes());
            bytes.extend_from_slice(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let options = [attribute(BPF_NAME, b"egress\0"), attribute(BPF_ID, &77_u32.to_ne_bytes())].concat();
        let mut payload = tcmsg(3, 0xb06d, EGRESS, 1 << 16 | 0x300).to_vec();
        payload.extend(attribute(KIND, b"bpf\0"));
        payload.extend(attribute(OPTIONS, &options));
        let filter = read(&payload).unwrap();
        assert_eq!((filter.handle, filter.info >> 16, filter.name.as_str()), (0xb06d, 1, "egress"));
        assert!(filter.is_of(&BTreeSet::from([77])) && !filter.is_of(&BTreeSet::from([78])));
        let mut chain = payload.clone();
        chain[8..12].fill(0);
        assert_eq!(read(&chain), None, "the chain's own entry");
    }

    #[test]
    fn notes_are_read_back() {
        for (name, qdisc) in [("eth0", false), ("eth0.100", true), ("a%2Fb-1", true)] {
            let note = Note { interface: name.to_owned(), index: 7, qdisc };
            let path = note.path(Path::new("/sys/fs/bpf/x"));
            assert_eq!(path.file_name().and_then(|name| Note::read(name.to_str()?)), Some(note));
        }
        assert_eq!(Note::read("eth0"), None);
    }

    #[test]
    fn the_loopback_s_filters_can_be_listed() {
        list(1).unwrap();
    }
}
