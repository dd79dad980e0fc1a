//! Network interfaces of the calling thread's network namespace.
//!
//! Asked of netlink: `/sys/class/net` shows the namespace in which sysfs was mounted, which may be
//! another one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;

use netlink_packet_core::Parseable as _;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkXdp, Stats64};

use super::KernelError;
use super::link_type::LinkType;
use super::netlink::{Dump, Request, attributes, emit, value};
use super::stacked::{Stack, Stacked};

/// `RTM_NEWLINK` and `RTM_GETLINK` (linux/rtnetlink.h).
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
/// Bytes of `struct ifinfomsg`.
const IFINFO: usize = 16;
/// `IFLA_IFNAME`, `IFLA_STATS64` and `IFLA_XDP` (linux/if_link.h).
const IFNAME: u16 = 3;
const STATS: u16 = 23;
const XDP: u16 = 43;
/// How often a dump is asked for again of which the kernel says that it is not whole.
const TRIES: usize = 3;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its number. While it is there no other interface of its namespace has it; afterwards one may get it, and
    /// an interface that moves to another namespace may get another one there.
    pub index: u32,
    /// Its name, which can be changed. Bytes that are not UTF-8, control characters and backslashes are written
    /// `\xNN`, so that two interfaces never look alike.
    pub name: String,
    /// What its frames are.
    pub link_type: LinkType,
}

/// An interface as the kernel lists it, with the ids of its XDP programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) interface: Interface,
    /// In the driver, or on the card itself.
    pub(super) xdp_native: Option<u32>,
    /// Behind the driver.
    pub(super) xdp_generic: Option<u32>,
    /// What it is stacked with.
    pub(super) stacked: Stacked,
    /// Whether it is up and has a carrier, so that frames can leave by it.
    pub(super) is_up: bool,
}

impl Listed {
    /// The XDP program that sees packets first.
    pub(super) const fn xdp(&self) -> Option<u32> {
        match self.xdp_native {
            Some(program) => Some(program),
            None => self.xdp_generic,
        }
    }
}

impl Interface {
    /// All interfaces of the calling thread's network namespace, by number. On Linux 6.1 one that is there can
    /// be missing, where another one was removed meanwhile.
    ///
    /// # Errors
    ///
    /// [`KernelError::Netlink`] where the kernel does not answer.
    pub fn all() -> Result<Vec<Self>, KernelError> {
        let listed = list().map_err(unlisted)?;
        Ok(listed.interfaces.into_values().map(|listed| listed.interface).collect())
    }

    /// What is below the interface of this name; nothing where it is not there.
    ///
    /// # Errors
    ///
    /// [`KernelError::Netlink`] where the kernel does not answer.
    pub fn below(name: &str) -> Result<Below, KernelError> {
        let listed = list().map_err(unlisted)?.interfaces;
        let found = listed.values().find(|it| it.interface.name == name);
        Ok(found.map(|it| below(it.interface.index, &stack(&listed), &listed)).unwrap_or_default())
    }

    /// Names of those of the calling thread's network namespace that have an XDP program, whosever it is.
    ///
    /// # Errors
    ///
    /// [`KernelError::Netlink`] where the kernel does not answer.
    pub fn with_xdp() -> Result<BTreeSet<String>, KernelError> {
        let listed = list().map_err(unlisted)?.interfaces.into_values();
        Ok(listed.filter(|listed| listed.xdp().is_some()).map(|listed| listed.interface.name).collect())
    }

    /// An interface of the memory kernel.
    #[cfg(test)]
    pub(crate) fn in_memory(index: u32, name: &str, link_type: LinkType) -> Self {
        Self { index, name: name.to_owned(), link_type }
    }

    /// The interface of this name.
    ///
    /// # Errors
    ///
    /// [`KernelError::NoInterface`] where there is none, [`KernelError::Netlink`] where the kernel does
    /// not answer.
    pub fn by_name(name: &str) -> Result<Self, KernelError> {
        let found = Self::all()?.into_iter().find(|interface| interface.name == name);
        found.ok_or_else(|| KernelError::NoInterface { name: name.to_owned() })
    }
}

pub(super) const fn unlisted(source: io::Error) -> KernelError {
    KernelError::Netlink { what: "list the network interfaces", source }
}

/// A list of interfaces.
#[derive(Debug, Default)]
pub(super) struct List {
    /// By index.
    pub(super) interfaces: BTreeMap<u32, Listed>,
    /// How many could not be read.
    pub(super) unreadable: usize,
}

/// Lists the interfaces. Absence from the list says nothing: see [`by_index`].
pub(super) fn list() -> io::Result<List> {
    let mut list = List::default();
    for _ in 0..TRIES {
        list.unreadable = 0;
        let end = Request::route(GET_LINK, &request(0)).dump(|kind, payload| {
            match (kind, read(payload)) {
                (NEW_LINK, Some(listed)) => drop(list.interfaces.insert(listed.interface.index, listed)),
                (NEW_LINK, None) => list.unreadable += 1,
                _ => {}
            }
            ControlFlow::Continue(())
        })?;
        if end == Dump::Whole {
            break;
        }
        // What was in one of them is asked for by its index, should it not be in the next one.
    }
    Ok(list)
}

/// Which of these lie below which.
pub(super) fn stack(listed: &BTreeMap<u32, Listed>) -> Stack {
    Stack::of(listed.iter().map(|(index, it)| (*index, it.stacked)))
}

/// What is below an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Below {
    /// As [`ObservedInterface::below`](super::ObservedInterface::below).
    pub names: Vec<String>,
    /// As [`ObservedInterface::loops_back`](super::ObservedInterface::loops_back).
    pub loops_back: bool,
    /// As [`ObservedInterface::leaves_by`](super::ObservedInterface::leaves_by), by name.
    pub leaves_by: Vec<String>,
}

/// What is below an interface.
pub(super) fn below(index: u32, stack: &Stack, listed: &BTreeMap<u32, Listed>) -> Below {
    let below = stack.below(index);
    let name = |lower: &u32| listed.get(lower).map(|it| it.interface.name.clone());
    let loops_back = |it: &Listed| it.interface.link_type == LinkType::LOOPBACK || it.stacked.loops_back();
    Below {
        names: below.iter().filter_map(name).collect(),
        loops_back: below.iter().chain([&index]).filter_map(|lower| listed.get(lower)).any(loops_back),
        leaves_by: stack.leaves_by(index).iter().filter_map(name).collect(),
    }
}

/// The interface of this index; `None` where the kernel says that there is none (`ENODEV`).
pub(super) fn by_index(index: u32) -> io::Result<Option<Listed>> {
    let mut found = None;
    let asked = Request::route(GET_LINK, &request(index)).send(|kind, payload| {
        if kind == NEW_LINK {
            found = read(payload);
        }
    });
    match asked {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
        Ok(()) if found.is_some() => Ok(found),
        Ok(()) => Err(io::Error::new(io::ErrorKind::InvalidData, "the answer can't be read")),
    }
}

/// How many packets the interface of this index has sent, by its own counter; 0 where it counts none.
pub(super) fn sent(index: u32) -> io::Result<u64> {
    let mut sent = 0;
    let header = emit(&LinkHeader { index, ..LinkHeader::default() });
    Request::route(GET_LINK, &header).send(|kind, payload| {
        let found = payload.get(IFINFO..).filter(|_| kind == NEW_LINK).unwrap_or_default();
        let stats = attributes(found).find(|attribute| attribute.kind() == STATS);
        if let Some(Ok(stats)) = stats.map(|stats| Stats64::parse(value(stats))) {
            sent = stats.tx_packets;
        }
    })?;
    Ok(sent)
}

/// `struct ifinfomsg` and the wish for no statistics, which are most of a message.
fn request(index: u32) -> Vec<u8> {
    let mut bytes = emit(&LinkHeader { index, ..LinkHeader::default() });
    bytes.extend(emit(&LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])));
    bytes
}

fn read(payload: &[u8]) -> Option<Listed> {
    let header = LinkHeader::parse(payload).ok()?;
    let (mut name, mut xdp_native, mut xdp_generic) = (None, None, None);
    let mut stacked = Stacked::default();
    for attribute in attributes(payload.get(IFINFO..)?) {
        match attribute.kind() {
            IFNAME => name = Some(shown(value(attribute))),
            XDP => {
                for program in attributes(value(attribute)) {
                    match LinkXdp::parse(&program) {
                        Ok(LinkXdp::DrvProgId(id) | LinkXdp::HwProgId(id)) => xdp_native = Some(id),
                        Ok(LinkXdp::SkbProgId(id)) => xdp_generic = Some(id),
                        _ => {}
                    }
                }
            }
            kind => stacked.take(kind, value(attribute)),
        }
    }
    let link_type = LinkType(header.link_layer_type.into());
    let interface = Interface { index: header.index, name: name?, link_type };
    let is_up = header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
    Some(Listed { interface, xdp_native, xdp_generic, stacked, is_up })
}

/// A name that ends with a zero byte, readable and one to one.
fn shown(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let mut shown = String::with_capacity(end);
    for chunk in bytes.get(..end).unwrap_or_default().utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() || letter == '\\' {
                let mut buffer = [0; 4];
                for byte in letter.encode_utf8(&mut buffer).bytes() {
                    // Writing to a string never fails.
                    let _written = write!(shown, "\\x{byte:02x}");
                }
            } else {
                shown.push(letter);
            }
        }
        for byte in chunk.invalid() {
            let _written = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use guard_common::packet::Link;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_loopback_is_there_and_reads_as_ethernet() {
        let lo = Interface::by_name("lo").unwrap();
        assert_eq!(lo.link_type, LinkType::LOOPBACK);
        assert_eq!(lo.link_type.link(), Some(Link::Ethernet));
        assert!(Interface::all().unwrap().contains(&lo));
        assert_eq!(by_index(lo.index).unwrap().unwrap().interface, lo);
        assert_eq!(by_index(0x7fff_fff0).unwrap(), None);
        let none = Interface::by_name("no-such-one");
        assert!(matches!(none, Err(KernelError::NoInterface { .. })), "{none:?}");
    }

    #[test]
    fn odd_names_are_shown_escaped() {
        assert_eq!(shown(b"eth0.100\0"), "eth0.100");
        assert_eq!(shown("käse".as_bytes()), "käse");
        assert_eq!(shown(b"n\xffm\xc3\0"), "n\\xffm\\xc3");
        assert_eq!(shown(b"a\x1b[1m\\"), "a\\x1b[1m\\x5c");
    }

    proptest! {
        #[test]
        fn no_two_names_look_alike(
            one in prop::collection::vec(1_u8.., 1..16),
            other in prop::collection::vec(1_u8.., 1..16),
        ) {
            prop_assert_eq!(one == other, shown(&one) == shown(&other));
            prop_assert!(!shown(&one).chars().any(char::is_control));
        }
    }

    #[test]
    fn an_attribute_that_nobody_expects_hides_no_interface() {
        let mut payload = request(7);
        // A name that is not UTF-8, then an IFLA_MTU of one byte.
        payload.extend([7, 0, 3, 0, b'n', 0xff, 0, 0]);
        payload.extend([5, 0, 4, 0, 9, 0, 0, 0]);
        let listed = read(&payload).unwrap();
        assert_eq!((listed.interface.index, listed.interface.name.as_str()), (7, "n\\xff"));
    }
}
