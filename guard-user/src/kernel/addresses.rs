//! The addresses of the host, for pins whose sources have `"host"`: the kernel's own list of them, and the map that the
//! programs look them up in.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use guard_common::abi::MAX_HOST_ADDRESSES;
use guard_common::packet::Addr;
use netlink_packet_core::parse_ip;

use super::KernelError;
use super::netlink::{Dump, Request, attributes, number, value};
use super::plain::{bytes_of, read};
use super::raw::Map;
use super::tampered::Tampered;

/// The map's name.
const NAME: &str = "HOST_ADDRESSES";
/// `RTM_NEWADDR`, `RTM_GETADDR` (linux/rtnetlink.h).
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
/// Bytes of `struct ifaddrmsg`; zeroes ask for both families.
const HEADER: usize = 8;
/// `IFA_ADDRESS` and `IFA_LOCAL` (linux/if_addr.h): with a peer the second one is the host's own.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
/// `IFA_TARGET_NETNSID` (linux/if_addr.h): the namespace whose addresses are asked for, by its number here.
const TARGET: u16 = 10;
/// How often a list is asked for that changed meanwhile. What it lacks then is in the next one.
const TRIES: usize = 3;
/// For so long an address counts as the host's after it has gone. Its packets may still be on their way, and to keep it
/// pins more and never less.
const KEPT: Duration = Duration::from_secs(600);

/// The addresses of this network namespace, of all interfaces and scopes: tentative, temporary and deprecated ones too.
///
/// # Errors
/// What the kernel says.
pub fn host_addresses() -> io::Result<BTreeSet<Addr>> {
    let mut addresses = BTreeSet::new();
    for _ in 0..TRIES {
        let end = Request::route(GET_ADDRESS, &[0; HEADER]).dump(|kind, payload| {
            if kind == NEW_ADDRESS {
                addresses.extend(address(payload));
            }
            ControlFlow::Continue(())
        })?;
        if end == Dump::Whole {
            break;
        }
    }
    Ok(addresses)
}

/// The addresses of another network namespace, by the number that the calling thread's one has for it.
///
/// # Errors
/// What the kernel says, and where the answer is not about that namespace.
pub(super) fn addresses_of(namespace: u32) -> io::Result<BTreeSet<Addr>> {
    let (mut addresses, mut is_read) = (BTreeSet::new(), true);
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut request = vec![u8::try_from(family).map_err(io::Error::other)?];
        request.resize(HEADER, 0);
        request.extend(8_u16.to_ne_bytes());
        request.extend(TARGET.to_ne_bytes());
        request.extend(namespace.to_ne_bytes());
        Request::route(GET_ADDRESS, &request).strict().dump(|kind, payload| {
            if kind == NEW_ADDRESS {
                is_read &= is_of(payload, namespace);
                addresses.extend(address(payload));
            }
            ControlFlow::Continue(())
        })?;
    }
    if is_read { Ok(addresses) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Whether a message says that it is about this namespace.
fn is_of(payload: &[u8], namespace: u32) -> bool {
    let mut all = attributes(payload.get(HEADER..).unwrap_or_default());
    all.find(|it| it.kind() == TARGET).map(value).and_then(number) == Some(namespace)
}

/// The host's own address in a message of one.
fn address(payload: &[u8]) -> Option<Addr> {
    let (mut address, mut local) = (None, None);
    for attribute in attributes(payload.get(HEADER..)?) {
        let kind = attribute.kind();
        let ip = parse_ip(value(attribute)).ok();
        match kind {
            ADDRESS => address = ip,
            LOCAL => local = ip,
            _ => {}
        }
    }
    local.or(address).map(|ip: IpAddr| ip.into())
}

/// What one look at the addresses leaves for the next.
#[derive(Debug, Default)]
pub(super) struct KnownAddresses {
    /// What the map has; `None` where that is to be read.
    in_map: Option<BTreeSet<Addr>>,
    /// Since when those of them are missed that the host has no more.
    gone: BTreeMap<Addr, Instant>,
}

impl KnownAddresses {
    /// Has the programs know these addresses as the host's, by this map. Those that are gone are kept for a while.
    ///
    /// # Errors
    /// [`KernelError::AddressesFull`] where there are more than the map has room for; what has room is written.
    pub(super) fn bring(
        &mut self,
        map: &Map,
        there: &BTreeSet<Addr>,
        now: Instant,
    ) -> Result<(), KernelError> {
        let failed = |what| move |source: io::Error| KernelError::Map { what, map: NAME, source };
        // Taken, so that what fails is read anew at the next look.
        let mut in_map = match self.in_map.take() {
            Some(in_map) => in_map,
            None => {
                let mut found = BTreeSet::new();
                map.for_each(|key, _| found.extend(read::<Addr>(key))).map_err(failed("read"))?;
                found
            }
        };
        let gone = &mut self.gone;
        gone.retain(|address, _| in_map.contains(address) && !there.contains(address));
        for address in in_map.difference(there) {
            gone.entry(*address).or_insert(now);
        }
        let new: Vec<Addr> = there.difference(&in_map).copied().collect();
        let room = MAX_HOST_ADDRESSES.saturating_sub(in_map.len());
        for address in leaving(gone, new.len().saturating_sub(room), now) {
            map.remove(bytes_of(&address)).map_err(failed("write"))?;
            in_map.remove(&address);
            gone.remove(&address);
        }
        let room = MAX_HOST_ADDRESSES.saturating_sub(in_map.len());
        for address in new.iter().take(room) {
            map.update(bytes_of(address), &[1]).map_err(failed("write"))?;
            in_map.insert(*address);
        }
        self.in_map = Some(in_map);
        match new.len().saturating_sub(room) {
            0 => Ok(()),
            missing => Err(KernelError::AddressesFull { missing, max: MAX_HOST_ADDRESSES }),
        }
    }
}

impl KnownAddresses {
    /// Sets the map back to what was written there, where somebody else has changed it.
    ///
    /// # Errors
    /// [`KernelError::Map`] where it can't be read.
    pub(super) fn watch(&self, map: &Map) -> Result<Option<Tampered>, KernelError> {
        let Some(written) = &self.in_map else { return Ok(None) };
        let mut found = BTreeSet::new();
        map.for_each(|key, _| found.extend(read::<Addr>(key))).map_err(|source| KernelError::Map {
            what: "read",
            map: NAME,
            source,
        })?;
        let differing: Vec<Addr> = found.symmetric_difference(written).copied().collect();
        let Some(first) = differing.first() else { return Ok(None) };
        // What was added goes first: it may have taken the room of what is missing.
        let set = |address: &Addr| match written.contains(address) {
            false => map.remove(bytes_of(address)),
            true => map.update(bytes_of(address), &[1]),
        };
        let (missing, added): (Vec<&Addr>, Vec<&Addr>) =
            differing.iter().partition(|address| written.contains(address));
        let outcome = added.into_iter().chain(missing).try_for_each(set);
        let first = (differing.len(), IpAddr::from(*first).to_string());
        Ok(Some(Tampered::set_back(NAME, first, outcome)))
    }
}

/// Which of the addresses that are gone leave the map: those whose time is over, and so many of those that went first as
/// there is no room for.
fn leaving(gone: &BTreeMap<Addr, Instant>, crowded_out: usize, now: Instant) -> Vec<Addr> {
    let mut by_age: Vec<(Instant, Addr)> = gone.iter().map(|(address, since)| (*since, *address)).collect();
    by_age.sort_unstable();
    let is_over = |since: Instant| now.saturating_duration_since(since) >= KEPT;
    let leave =
        by_age.into_iter().enumerate().filter(|(at, (since, _))| *at < crowded_out || is_over(*since));
    leave.map(|(_, (_, address))| address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(4 + value.len()).unwrap();
        [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
    }

    #[test]
    fn with_a_peer_the_local_address_is_the_hosts_own() {
        let (own, peer) = ([192, 0, 2, 1], [192, 0, 2, 2]);
        let message = |parts: &[Vec<u8>]| [&[0; HEADER][..], &parts.concat()].concat();
        assert_eq!(address(&message(&[attribute(ADDRESS, &own)])), Some(Addr::from_v4_octets(own)));
        let both = message(&[attribute(ADDRESS, &peer), attribute(LOCAL, &own)]);
        assert_eq!(address(&both), Some(Addr::from_v4_octets(own)));
        let v6: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
        assert_eq!(address(&message(&[attribute(ADDRESS, &v6.octets())])), Some(IpAddr::V6(v6).into()));
        assert_eq!((address(&message(&[])), address(&[0; 3])), (None, None));
    }

    #[test]
    fn an_address_leaves_after_a_while_or_where_there_is_no_room() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let address = |number| Addr::from_v4(number);
        let gone = BTreeMap::from([(address(3), at(0)), (address(1), at(5)), (address(2), at(9))]);
        assert_eq!(leaving(&gone, 0, at(599)), []);
        assert_eq!(leaving(&gone, 0, at(600)), [address(3)]);
        assert_eq!(leaving(&gone, 2, at(10)), [address(3), address(1)]);
        assert_eq!(leaving(&gone, 9, at(10)).len(), 3);
    }

    #[test]
    fn this_hosts_addresses_can_be_listed() {
        // A namespace without any is one, too.
        let listed = host_addresses().unwrap();
        assert!(!listed.contains(&Addr::default()), "{listed:?}");
    }
}
