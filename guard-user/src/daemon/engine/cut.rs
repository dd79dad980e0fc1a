//! Which flows an exemption carried and carries no longer.

use std::net::{IpAddr, Ipv6Addr};

use guard_common::abi::{FlowKey, FlowRecord, Hook, MAX_PINS, Place};
use guard_common::decide::MAX_SHARING;
use guard_common::packet::Addr;
use guard_common::verdict::Reason;

use super::Cut;
use crate::compile::KernelExemption;
use crate::config::policy::PortRange;
use crate::exemption::document::{Document, Recipient};
use crate::kernel::sockets::Flow;

/// RFC 9293, section 3.1: the flow's own end has ended it.
const RESET: u8 = 0x04;

/// Whether a flow, by the kernel's record of it, is one of those that are cut: what these exemptions carried, and nothing
/// else lets pass.
#[must_use]
pub fn is_cut(cut: &Cut, key: &FlowKey, record: &FlowRecord) -> bool {
    let names_its_exemption = cut.owned.get(&record.exemption).is_some_and(|since| record.last_ns >= *since);
    key.hook == Hook::Egress as u8
        && match names_its_exemption {
            true => cut.slots.contains(&record.exemption),
            false => cut.documents.iter().any(|document| was_carried(document, &cut.pins, key, record)),
        }
        && !still_passes(cut, key, record)
}

/// Whether a socket may carry a flow that is cut, by its other end alone. The rest is in the kernel's record of the
/// flow: see [`is_cut`].
#[must_use]
pub fn may_be_cut(cut: &Cut, socket: &Flow) -> bool {
    let reaches = |recipient: &Recipient| {
        let (to, port) = (socket.remote.ip().to_canonical(), socket.remote.port());
        is_among(recipient, to) && has_port(&recipient.ports, socket.transport.number(), port)
    };
    // Nothing is known of the recipients of an account without its document.
    cut.documents.len() < cut.accounts.len()
        || cut.documents.iter().flat_map(|document| &document.recipients).any(reaches)
}

/// Whether this exemption covers a flow whose record no longer says whose it is: it met the end of a window or a
/// quota before the daemon saw it, or was quiet since the version that carried it was replaced.
fn was_carried(document: &Document, pins: &[String], key: &FlowKey, record: &FlowRecord) -> bool {
    let by_exemption = [Reason::Exempt, Reason::ExemptionExpired, Reason::ExemptionExhausted];
    let forbidden_by =
        |(at, pin): (usize, &String)| record.denied >> at & 1 == 1 && document.pins.contains(pin);
    by_exemption.iter().any(|reason| *reason as u8 == record.reason)
        && record.tcp_flags & RESET == 0
        && pins.iter().enumerate().any(forbidden_by)
        && document.recipients.iter().any(|recipient| reaches(recipient, key, record))
}

/// Whether a flow passes all the same: its pins let it, or exemptions that are open beside those that are cut cover it, as the
/// kernel takes them: all of what its pins forbid has to be covered, or none of it counts, and then the strictest pin decides.
fn still_passes(cut: &Cut, key: &FlowKey, record: &FlowRecord) -> bool {
    let place = Place(record.place).jurisdiction();
    let forbids = |at: &usize| cut.permitted.get(*at).is_none_or(|places| !places.contains(place));
    let denied = (0..MAX_PINS).filter(|at| record.denied >> at & 1 == 1);
    let mut open = denied.filter(forbids).fold(0_u64, |open, at| open | 1 << at);
    if open & !cut.lenient == 0 {
        return record.denied != 0;
    }
    for _ in 0..MAX_SHARING {
        if open == 0 {
            break;
        }
        let Some(lowest) = cut.pins.get(open.trailing_zeros() as usize) else { return false };
        let covers = |it: &&KernelExemption| it.pins.contains(lowest) && has_recipient(it, key, record);
        let Some(next) = cut.beside.iter().find(covers) else { return false };
        let names = cut.pins.iter().take(MAX_PINS).enumerate();
        let covered = names.filter(|(_, name)| next.pins.contains(name));
        open &= !covered.fold(0_u64, |covered, (at, _)| covered | 1 << at);
    }
    record.denied != 0 && open == 0
}

/// Whether a flow goes to a recipient of this exemption, as the kernel judges that.
fn has_recipient(exemption: &KernelExemption, key: &FlowKey, record: &FlowRecord) -> bool {
    let (place, to) = (Place(record.place).jurisdiction(), address(key.dst));
    let is_named = exemption.networks.iter().any(|network| network.contains(to))
        && exemption.placed.is_none_or(|placed| placed == place);
    (is_named || exemption.jurisdictions.contains(&place)) && has_port(&exemption.ports, key.proto, key.dport)
}

/// Whether a flow goes to this recipient.
fn reaches(recipient: &Recipient, key: &FlowKey, record: &FlowRecord) -> bool {
    let is_there = Place(record.place).jurisdiction() == recipient.jurisdiction;
    (is_there || !recipient.networks.is_empty())
        && is_among(recipient, address(key.dst))
        && has_port(&recipient.ports, key.proto, key.dport)
}

/// Whether an address is one of the recipient's, where it names its networks.
fn is_among(recipient: &Recipient, to: IpAddr) -> bool {
    recipient.networks.is_empty() || recipient.networks.iter().any(|network| network.contains(to))
}

/// Whether a port is one of a recipient's, where it names them.
fn has_port(ports: &[PortRange], protocol: u8, port: u16) -> bool {
    let is_it =
        |range: &PortRange| range.protocol.number() == protocol && (range.first..=range.last).contains(&port);
    ports.is_empty() || ports.iter().any(is_it)
}

fn address(address: Addr) -> IpAddr {
    let bits = u128::from(address.hi) << 64 | u128::from(address.lo);
    Ipv6Addr::from_bits(bits).to_canonical()
}
