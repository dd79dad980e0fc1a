//! Networks of recipients that are so large that nobody can mean them by the way.

use std::net::{IpAddr, Ipv6Addr};

use ipnetwork::IpNetwork;

use super::overlap::Receiver;
use crate::approval::Widest;
use crate::exemption::error::ErrorKind;
use crate::exemption::sink::Sink;

/// A network and where it stands.
type Placed = (usize, IpNetwork);

/// Reports networks that are larger than a document may name without saying why, alone or together, and those that
/// together are everybody.
pub(super) fn check(receivers: &[Receiver<'_>], widest: Widest, sink: &mut Sink<'_>) {
    let all: Vec<Placed> = receivers.iter().flat_map(|it| it.networks.clone()).collect();
    for is_v4 in [true, false] {
        if let Some((at, network)) = everybody(&all, is_v4) {
            return sink.error(at, "recipient.cidrs", ErrorKind::EverybodyTogether { network });
        }
    }
    let unexplained = receivers.iter().filter(|it| it.raw.large_network.is_none());
    let (large, small): (Vec<Placed>, Vec<Placed>) = unexplained
        .flat_map(|it| it.networks.clone())
        .partition(|(_, network)| network.prefix() < shortest(network, widest));
    for (at, network) in large {
        let bits = shortest(&network, widest);
        sink.error(at, "recipient.cidrs", ErrorKind::LargeNetwork { network, bits });
    }
    for (is_v4, bits) in [(true, widest.ipv4), (false, widest.ipv6)] {
        let (addresses, last) = together(&small, is_v4);
        let whole = if is_v4 { 32 } else { 128 };
        let most = 1_u128.checked_shl(u32::from(whole - bits)).unwrap_or(u128::MAX);
        if let Some(at) = last.filter(|_| addresses.is_none_or(|addresses| addresses > most)) {
            let kind = ErrorKind::LargeTogether { family: if is_v4 { "IPv4" } else { "IPv6" }, bits };
            sink.error(at, "recipient.cidrs", kind);
        }
    }
}

/// The whole space, where these networks are all of it, and where the last of them stands.
fn everybody(networks: &[Placed], is_v4: bool) -> Option<Placed> {
    let (addresses, last) = together(networks, is_v4);
    let is_whole = match is_v4 {
        true => addresses == Some(1 << 32),
        // More than can be counted: 2 to the power of 128.
        false => addresses.is_none(),
    };
    let nowhere: IpAddr = if is_v4 { IpAddr::from([0_u8; 4]) } else { IpAddr::from(Ipv6Addr::UNSPECIFIED) };
    let network = IpNetwork::new(nowhere, 0).ok()?;
    is_whole.then_some(())?;
    Some((last?, network))
}

/// How many addresses these networks of one family have, each counted once, and where the last of them stands; `None` for
/// 2 to the power of 128. Networks are nested or apart.
fn together(networks: &[Placed], is_v4: bool) -> (Option<u128>, Option<usize>) {
    let mut of_family: Vec<Placed> =
        networks.iter().filter(|(_, network)| network.is_ipv4() == is_v4).copied().collect();
    of_family.sort_by_key(|(_, network)| (network.network(), network.prefix()));
    let mut addresses = Some(0_u128);
    let mut outer: Option<IpNetwork> = None;
    for (_, network) in &of_family {
        if outer.is_some_and(|outer| outer.contains(network.network())) {
            continue;
        }
        outer = Some(*network);
        let bits = if is_v4 { 32 } else { 128 } - u32::from(network.prefix());
        addresses = addresses.zip(1_u128.checked_shl(bits)).and_then(|(sum, more)| sum.checked_add(more));
    }
    (addresses, of_family.iter().map(|(at, _)| *at).max())
}

/// The shortest prefix that this network may have. IPv6 networks that stand for IPv4 ones are as large as those.
fn shortest(network: &IpNetwork, widest: Widest) -> u8 {
    /// NAT64 (RFC 6052), 6to4 (RFC 3056) and Teredo (RFC 4380), each with the bits before the IPv4 address of a host.
    const HAVE_IPV4: [(Ipv6Addr, u8, u8); 3] = [
        (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, 96),
        (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 16),
        (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, 96),
    ];
    let IpNetwork::V6(v6) = network else { return widest.ipv4 };
    let within = |(address, prefix, _): &&(Ipv6Addr, u8, u8)| {
        let outer = ipnetwork::Ipv6Network::new(*address, *prefix);
        v6.prefix() >= *prefix && outer.is_ok_and(|outer| outer.contains(v6.network()))
    };
    HAVE_IPV4.iter().find(within).map_or(widest.ipv6, |(_, _, before)| before + widest.ipv4)
}
