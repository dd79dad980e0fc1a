//! Which other network namespaces lead nowhere but back: those of ordinary containers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use netlink_packet_route::link::LinkHeader;

use guard_common::packet::Addr;

use super::addresses::addresses_of;
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
    /// By namespace: the gateways that it was asked for, and whether it leads back and has none of them.
    known: BTreeMap<u32, (BTreeSet<Addr>, bool)>,
    next: Option<Instant>,
}

impl Inward {
    /// Those of these namespaces, by the numbers that the calling thread's one has for them, that lead nowhere but back and
    /// have none of the gateways' addresses that stand with them. One that can't be looked at is not among them.
    pub(super) fn of(&mut self, namespaces: BTreeMap<u32, BTreeSet<Addr>>) -> BTreeSet<u32> {
        let begin = Instant::now();
        if self.next.is_none_or(|next| next <= begin) {
            self.known.clear();
        }
        self.known.retain(|namespace, (asked, _)| namespaces.get(namespace) == Some(asked));
        let is_anew = self.known.is_empty();
        for (namespace, gateways) in namespaces {
            self.known.entry(namespace).or_insert_with(|| {
                let leads_back = leads_back(namespace).unwrap_or(false) && has_none(namespace, &gateways);
                (gateways, leads_back)
            });
        }
        if is_anew {
            self.next = begin.checked_add(PAUSE.max(begin.elapsed().saturating_mul(TIMES)));
        }
        self.known
            .iter()
            .filter(|(_, (_, leads_back))| *leads_back)
            .map(|(namespace, _)| *namespace)
            .collect()
    }
}

/// Whether a namespace has none of these addresses; where it can't be asked, it may.
fn has_none(namespace: u32, gateways: &BTreeSet<Addr>) -> bool {
    gateways.is_empty() || addresses_of(namespace).is_ok_and(|there| there.is_disjoint(gateways))
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
