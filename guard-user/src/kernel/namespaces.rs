//! Other network namespaces of this host, and their devices by which packets leave the host past the interfaces of the guard's
//! own: hardware that was moved there, and what is made on an interface of the guard's namespace.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use netlink_packet_route::link::LinkHeader;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::netlink::{Request, attributes, emit, number, value};

/// `RTM_GETLINK`, `RTM_NEWLINK`, `RTM_GETNSID` and `RTM_NEWNSID` (linux/rtnetlink.h).
const GET_LINK: u16 = 18;
const NEW_LINK: u16 = 16;
const GET_NSID: u16 = 90;
const NEW_NSID: u16 = 88;
/// `NETNSA_NSID` and `NETNSA_FD` (linux/net_namespace.h).
const NSID: u16 = 1;
const NSID_OF: u16 = 3;
/// `IFLA_IFNAME`, `IFLA_LINK`, `IFLA_LINKINFO`, `IFLA_LINK_NETNSID` and `IFLA_INFO_KIND` (linux/if_link.h).
const NAME: u16 = 3;
const LINK: u16 = 5;
const LINKINFO: u16 = 18;
const LINK_NETNSID: u16 = 37;
const INFO_KIND: u16 = 1;
/// Bytes of `struct ifinfomsg`, and where it has the flags.
const HEADER: usize = 16;
const FLAGS: usize = 8;
/// `IFF_UP` and `IFF_LOOPBACK` (linux/if.h).
const UP: u32 = 1;
const IS_LOOPBACK: u32 = 8;
/// Kinds of devices that are hardware all the same, and those that are made on another one.
const HARDWARE: [&[u8]; 2] = [b"ipoib", b"wwan"];
const MADE_ON: [&[u8]; 6] = [b"macvlan", b"macvtap", b"ipvlan", b"ipvtap", b"vlan", b"macsec"];

/// The host's first process, and that of the kernel's threads, which is in the host's first namespace: the first one may not
/// be shown to others.
const FIRST: u32 = 1;
const KERNEL_THREADS: u32 = 2;

/// A device of another network namespace by which packets leave.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceElsewhere {
    /// Its name there.
    pub name: String,
    /// The number of the interface of the guard's namespace that it is made on; `None` for hardware.
    pub made_on: Option<u32>,
    /// The command of a process there.
    pub command: String,
    /// That process.
    pub process: u32,
}

/// What was found in other network namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// The devices, in the order of their names.
    pub devices: Vec<DeviceElsewhere>,
    /// Why not all could be looked at.
    pub unseen: Option<String>,
}

impl Elsewhere {
    /// Looks at the namespaces of all processes that `/proc` shows, for so long at most. The namespace of the host's first
    /// process is left out where the guard is in another one: it guards that alone then.
    ///
    /// The calling thread is in another network namespace afterwards: it should do nothing else.
    ///
    /// # Errors
    /// Where the own namespace or `/proc` can't be looked at.
    pub fn look(at_most: Duration) -> io::Result<Self> {
        let until = Instant::now() + at_most;
        let own = File::open("/proc/thread-self/ns/net")?;
        let own_number = own.metadata()?.ino();
        let first = number_of(FIRST).or_else(|_| number_of(KERNEL_THREADS));
        let (mut found, mut refused, mut is_cut) = (BTreeMap::new(), 0_usize, false);
        for entry in fs::read_dir("/proc")? {
            let Some(process) = entry.ok().and_then(|it| it.file_name().to_str()?.parse::<u32>().ok()) else {
                continue;
            };
            if Instant::now() > until {
                is_cut = true;
                break;
            }
            match number_of(process) {
                Ok(namespace) => drop(found.entry(namespace).or_insert(process)),
                // It has ended meanwhile.
                Err(error) if is_over(&error) => {}
                // What namespace the first process is in does not matter.
                Err(_) if process == FIRST => {}
                Err(_) => refused += 1,
            }
        }
        let mut elsewhere = Self::default();
        let mut why = None;
        for (namespace, process) in found {
            if namespace == own_number || first.as_ref().is_ok_and(|first| *first == namespace) {
                continue;
            }
            if Instant::now() > until {
                is_cut = true;
                break;
            }
            match devices(process, namespace, &own) {
                Ok(found) => elsewhere.devices.extend(found),
                Err(error) if is_over(&error) => {}
                Err(error) => why = Some(error),
            }
        }
        elsewhere.devices.sort();
        elsewhere.unseen = match (why, refused, is_cut) {
            (Some(error), ..) => Some(format!("one can't be entered: {error}")),
            (None, 1.., _) => Some("those of some processes are not shown to this one".to_owned()),
            (None, 0, true) => Some(format!("there are more than {} s are enough for", at_most.as_secs())),
            (None, 0, false) => None,
        };
        Ok(elsewhere)
    }
}

/// Whether this says of a process that it has ended.
fn is_over(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// The number of a process's network namespace.
fn number_of(process: u32) -> io::Result<u64> {
    fs::metadata(format!("/proc/{process}/ns/net")).map(|it| it.ino())
}

/// The devices by which packets leave the namespace of a process.
fn devices(process: u32, namespace: u64, own: &File) -> io::Result<Vec<DeviceElsewhere>> {
    let there = File::open(format!("/proc/{process}/ns/net"))?;
    if there.metadata()?.ino() != namespace {
        // Another process has its number by now, or it went elsewhere.
        return Ok(Vec::new());
    }
    move_into_link_name_space(there.as_fd(), Some(LinkNameSpaceType::Network))?;
    let own = namespace_id(own)?;
    let mut found = Vec::new();
    Request::route(GET_LINK, &emit(&LinkHeader::default())).dump(|kind, payload| {
        found.extend(Device::read(payload).filter(|_| kind == NEW_LINK));
        ControlFlow::Continue(())
    })?;
    let leads_out = |it: Device| {
        let made_on = it.leads_out(own)?;
        let command = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
        Some(DeviceElsewhere { name: it.name, made_on, command: command.trim_end().to_owned(), process })
    };
    Ok(found.into_iter().filter_map(leads_out).collect())
}

/// The number by which the calling thread's namespace knows another one; `None` where it has none for it.
pub(super) fn namespace_id(of: &File) -> io::Result<Option<u32>> {
    let mut request = vec![0; 4];
    request.extend(8_u16.to_ne_bytes());
    request.extend(NSID_OF.to_ne_bytes());
    request.extend(of.as_raw_fd().to_ne_bytes());
    let mut id = None;
    Request::route(GET_NSID, &request).send(|kind, payload| {
        let found = attributes(payload.get(4..).unwrap_or_default()).find(|it| it.kind() == NSID);
        if kind == NEW_NSID {
            id = found.map(value).and_then(number);
        }
    })?;
    // `NETNSA_NSID_NOT_ASSIGNED` is -1.
    Ok(id.filter(|id| *id != u32::MAX))
}

/// What is told of a device.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Device {
    name: String,
    flags: u32,
    /// Empty for hardware.
    kind: Vec<u8>,
    link: Option<u32>,
    /// The number of the namespace that this one is in, where that is another one.
    of: Option<u32>,
}

impl Device {
    /// Reads the payload of an `RTM_NEWLINK`.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let mut device = Self { flags: number(payload.get(FLAGS..)?)?, ..Self::default() };
        for attribute in attributes(payload.get(HEADER..)?) {
            let (kind, bytes) = (attribute.kind(), value(attribute));
            let text = |bytes: &[u8]| bytes.strip_suffix(b"\0").unwrap_or(bytes).to_vec();
            match kind {
                NAME => device.name = String::from_utf8_lossy(&text(bytes)).into_owned(),
                LINK => device.link = number(bytes),
                LINK_NETNSID => device.of = number(bytes),
                LINKINFO => {
                    let kind = attributes(bytes).find(|it| it.kind() == INFO_KIND).map(value);
                    device.kind = kind.map(text).unwrap_or_default();
                }
                _ => {}
            }
        }
        Some(device)
    }

    /// Whether it leads on from its namespace, other than to the guard's, which is known by `own`: it is hardware, or is made
    /// on an interface of a third one, or paired with one there.
    pub(super) fn leads_on(&self, own: Option<u32>) -> bool {
        let is_hardware = self.kind.is_empty() || HARDWARE.contains(&self.kind.as_slice());
        self.flags & UP != 0
            && self.flags & IS_LOOPBACK == 0
            && (is_hardware || self.of.is_some_and(|of| Some(of) != own))
    }

    /// What it leads out by: the interface of the guard's namespace, which is known by `own`, or none, which is itself.
    /// `None` where it does not: it is down, leads to another namespace, or to a device of its own namespace.
    fn leads_out(&self, own: Option<u32>) -> Option<Option<u32>> {
        if self.flags & UP == 0 || self.flags & IS_LOOPBACK != 0 {
            return None;
        }
        let kind = self.kind.as_slice();
        if kind.is_empty() || HARDWARE.contains(&kind) {
            return Some(None);
        }
        let is_on_own = MADE_ON.contains(&kind) && self.of.is_some() && self.of == own;
        self.link.filter(|_| is_on_own).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, bytes: &[u8]) -> Vec<u8> {
        let len = u16::try_from(bytes.len() + 4).unwrap();
        let mut whole = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
        whole.extend(bytes);
        whole.resize(whole.len().next_multiple_of(4), 0);
        whole
    }

    fn told(flags: u32, kind: &str, of: Option<u32>) -> Device {
        let mut payload = vec![0; FLAGS];
        payload.extend(flags.to_ne_bytes());
        payload.resize(HEADER, 0);
        payload.extend(attribute(NAME, b"eth7\0"));
        payload.extend(attribute(LINK, &5_u32.to_ne_bytes()));
        if !kind.is_empty() {
            payload.extend(attribute(LINKINFO, &attribute(INFO_KIND, kind.as_bytes())));
        }
        payload.extend(of.map(|of| attribute(LINK_NETNSID, &of.to_ne_bytes())).unwrap_or_default());
        Device::read(&payload).unwrap()
    }

    #[test]
    fn devices_that_lead_out_are_told_from_others() {
        let leads = |flags, kind, of| told(flags, kind, of).leads_out(Some(3));
        assert_eq!(told(UP, "", None).name, "eth7");
        assert_eq!(leads(UP, "", None), Some(None), "hardware");
        assert_eq!(leads(UP, "ipoib", None), Some(None));
        assert_eq!((leads(0, "", None), leads(UP | IS_LOOPBACK, "", None)), (None, None));
        for kind in ["macvlan", "ipvlan", "vlan"] {
            assert_eq!(leads(UP, kind, Some(3)), Some(Some(5)), "{kind} on an interface of the guard's");
            assert_eq!(
                (leads(UP, kind, Some(4)), leads(UP, kind, None)),
                (None, None),
                "{kind} on another one"
            );
            assert_eq!(told(UP, kind, None).leads_out(None), None, "{kind}, with no number for the guard's");
        }
        for kind in ["veth", "bridge", "dummy", "vxlan"] {
            assert_eq!(leads(UP, kind, Some(3)), None, "{kind}");
        }
    }

    #[test]
    fn a_namespace_leads_on_by_hardware_and_by_what_reaches_a_third_one() {
        let leads = |flags, kind, of| told(flags, kind, of).leads_on(Some(3));
        assert!(leads(UP, "", None) && leads(UP, "veth", Some(4)) && leads(UP, "macvlan", Some(4)));
        assert!(told(UP, "veth", Some(3)).leads_on(None), "with no number for the guard's");
        assert!(!leads(UP, "veth", Some(3)) && !leads(UP, "macvlan", Some(3)), "to the guard's");
        assert!(!leads(0, "veth", Some(4)) && !leads(UP | IS_LOOPBACK, "", None));
        assert!(!leads(UP, "bridge", None) && !leads(UP, "veth", None), "what stays there");
    }

    #[test]
    fn what_is_cut_is_no_device() {
        assert_eq!(Device::read(&[]), None);
        assert_eq!(Device::read(&[0; HEADER - 1]), None);
    }
}
