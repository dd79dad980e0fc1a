//! Which other network namespaces lead nowhere but back: those of ordinary containers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use netlink_packet_route::link::LinkHeader;

use super::namespaces::{Device, namespace_id};
use super::netlink::{Request, emit};

/// `RTM_NEWLINK` and `RTM_GETLINK` (linux/rtnetlink.h).
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
/// `IFLA_TARGET_NETNSID` (linux/if_link.h): the namespace whose interfaces are asked for, by its number here.
const TARGET: u16 = 46;
/// What is known of a namespace is asked again after that, and after so many times what asking took.
const PAUSE: Duration = Duration::from_secs(2);
const TIMES: u32 = 50;

/// Which namespaces were found to lead nowhere but back.
#[derive(Debug, Default)]
pub(super) struct Inward {
    known: BTreeMap<u32, bool>,
    next: Option<Instant>,
}

impl Inward {
    /// Those of these namespaces, by the numbers that the calling thread's one has for them, that lead nowhere but back. One that
    /// can't be looked at is not among them.
    pub(super) fn of(&mut self, namespaces: BTreeSet<u32>) -> BTreeSet<u32> {
        let begin = Instant::now();
        if self.next.is_none_or(|next| next <= begin) {
            self.known.clear();
        }
        self.known.retain(|namespace, _| namespaces.contains(namespace));
        let is_anew = self.known.is_empty();
        for namespace in namespaces {
            self.known.entry(namespace).or_insert_with(|| leads_back(namespace).unwrap_or(false));
        }
        if is_anew {
            self.next = begin.checked_add(PAUSE.max(begin.elapsed().saturating_mul(TIMES)));
        }
        self.known.iter().filter(|(_, leads_back)| **leads_back).map(|(namespace, _)| *namespace).collect()
    }
}

/// Whether every device of a namespace leads to the calling thread's one, or nowhere.
fn leads_back(namespace: u32) -> io::Result<bool> {
    let mut request = emit(&LinkHeader::default());
    request.extend(8_u16.to_ne_bytes());
    request.extend(TARGET.to_ne_bytes());
    request.extend(namespace.to_ne_bytes());
    let (mut devices, mut is_read) = (Vec::new(), true);
    Request::route(GET_LINK, &request).dump(|kind, payload| {
        if kind == NEW_LINK {
            let device = Device::read(payload);
            is_read &= device.is_some();
            devices.extend(device);
        }
        ControlFlow::Continue(())
    })?;
    // The look gives the own namespace a number, where it had none.
    let own = namespace_id(&File::open("/proc/thread-self/ns/net")?)?;
    Ok(is_read && !devices.iter().any(|device| device.leads_on(own)))
}
