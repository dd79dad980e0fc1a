//! What can be decided before there is a packet: whether every packet that comes of a call would be dropped.
//!
//! When a process connects or sends, much of its packets is not known: their source address and port, their mark, the
//! interface. So what may depend on that is left to the packets. What is refused here, [`decide`](super::decide) drops
//! whatever those are; the property is held by `compile::tests::early`.

use super::exempt::candidates;
use super::tag::{cgroup_pins, peer_set_number, remote_pins, remote_set_of_key, user_pins};
use crate::abi::{EXEMPTION_WORDS, MAX_CGROUP_LEVELS, Place, PlacedBy, PolicyTable, dimension};
use crate::packet::Addr;
use crate::search::{at, at_ref};
use crate::tables::Recipient;

/// Protocols of which calls are refused, TCP and UDP (IANA protocol numbers). What others send is left to the packets.
pub const CALL_PROTOCOLS: [u8; 2] = [6, 17];

/// What is known of a call by which packets would be sent.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Where to.
    pub destination: Addr,
    /// The [`port_key`](crate::abi::port_key) of the port there.
    pub port_key: u32,
    /// Pins that the caller's cgroup and user let match, those that select none among them: [`caller_pins`]. What matches
    /// only because a cgroup is not known yet is not in it.
    pub by_caller: u64,
}

/// The pins that a calling process's cgroups (from level 1 on, 0 where there is none) and its user let match: what
/// [`Call::by_caller`] is.
#[inline(always)]
#[must_use]
pub fn caller_pins(policy: &PolicyTable, cgroups: &[u64; MAX_CGROUP_LEVELS], user: u32) -> u64 {
    let mut pins = policy.pins;
    if policy.dimensions & dimension::CGROUP != 0 {
        pins &= policy.any_cgroup | cgroup_pins(policy, cgroups);
    }
    if policy.dimensions & dimension::USER != 0 {
        pins &= policy.any_user | user_pins(policy, user);
    }
    pins
}

/// The pins for which every packet of the call would be dropped; 0 where any may pass, or can't be judged yet. `place` is
/// where the destination is, [`super::place`]; `None` where the tables can't be read.
///
/// It does not know the host's own addresses: what is sent to those stays on the host, and the caller has to look.
#[inline(always)]
#[must_use]
pub fn refusing(policy: &PolicyTable, call: &Call, place: impl FnOnce(Addr) -> Option<Place>) -> u64 {
    let mut pins = call.by_caller & policy.known_early & policy.drop;
    if pins == 0 || may_stay(call.destination) {
        return 0;
    }
    if policy.dimensions & dimension::REMOTE_PORT != 0 {
        pins &= remote_pins(policy, call.port_key);
    }
    let Some(place) = place(call.destination) else { return 0 };
    if place.0 >> 8 == PlacedBy::LinkScope as u16 {
        return 0;
    }
    pins &= !at(&policy.permitted, u32::from(place.jurisdiction_index()));
    if pins == 0 {
        return 0;
    }
    if policy.dimensions & dimension::FAILSAFE != 0 {
        // Whatever their local ports are, and whether or not their budget is used up.
        let by_peer = at_ref(&policy.peer_sets, peer_set_number(policy, call.destination)).failsafes;
        let by_port = at_ref(&policy.remote_sets, remote_set_of_key(policy, call.port_key)).failsafes;
        if by_peer & by_port != 0 {
            return 0;
        }
    }
    if policy.dimensions & dimension::EXEMPTION != 0 {
        pins &= not_exempt(policy, call, place, pins);
    }
    pins
}

/// Those of these pins that no exemption has which has the recipient too, whatever its window and its quota.
#[inline(always)]
fn not_exempt(policy: &PolicyTable, call: &Call, place: Place, pins: u64) -> u64 {
    let recipient = Recipient {
        address: call.destination,
        port_key: call.port_key,
        jurisdiction: u32::from(place.jurisdiction_index()),
    };
    let having = candidates(policy, &recipient);
    let (mut left, mut without) = (pins, u64::from(policy.zero));
    for _ in 0..u64::BITS {
        if left == 0 {
            break;
        }
        let pin = left.trailing_zeros();
        left &= left - 1;
        let of_pin = at_ref(&policy.exempt_pins, pin);
        let mut any = u64::from(policy.zero);
        for word in 0..EXEMPTION_WORDS as u32 {
            any |= at(&having, word) & at(of_pin, word);
        }
        if any == 0 {
            without |= 1 << (pin & (u64::BITS - 1));
        }
    }
    without
}

/// Whether what is sent to the address may stay on the host, or be for several: no address at all, which stands for the
/// host itself, the loopback, multicast, and what lies above it.
#[inline(always)]
fn may_stay(address: Addr) -> bool {
    match address.v4() {
        Some(v4) => matches!(v4 >> 24, 0 | 127 | 224..),
        None => address.hi >> 56 == 0xff || (address.hi == 0 && address.lo <= 1),
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;

    #[test]
    fn what_may_stay_on_the_host_is_left_to_the_packets() {
        let may = |text: &str| may_stay(text.parse::<IpAddr>().unwrap().into());
        for stays in ["0.0.0.0", "127.0.0.1", "127.9.9.9", "224.0.0.9", "239.1.1.1", "255.255.255.255"] {
            assert!(may(stays), "{stays}");
        }
        for stays in ["::", "::1", "ff02::1", "ff0e::1", "::ffff:127.0.0.1", "::ffff:0.0.0.0"] {
            assert!(may(stays), "{stays}");
        }
        for leaves in ["203.0.113.30", "10.0.0.1", "223.255.255.255", "2001:db8:3::30", "fd00::1", "::2"] {
            assert!(!may(leaves), "{leaves}");
        }
    }
}
