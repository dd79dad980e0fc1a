//! The decision again, slow and obvious: straight from the checked policy, the database and the
//! exemptions, with loops over names and networks, and without tables, bit sets or intervals.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use guard_common::abi::{Direction, Hook, PlacedBy};
use guard_common::jurisdiction::Jurisdiction;
use guard_common::packet::Fault;
use guard_common::verdict::{Reason, Verdict};

use super::super::{CgroupFact, HostFacts, KernelExemption, VolumeFact};
use super::addresses::{carried_v4, is_special, stays_on_link};
pub(crate) use super::plain::{Content, PlainLayer, PlainPacket};
use crate::config::policy::{Action, Failsafe, Ingress, Pin, Policy, PortRange};
use crate::geo::GeoDb;

/// Which tables can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loaded {
    All,
    NoGeo,
    Nothing,
}

/// What was decided. Pins are numbers in the order of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    pub(crate) reason: Reason,
    pub(crate) jurisdiction: Jurisdiction,
    pub(crate) placed_by: PlacedBy,
    pub(crate) exemption: Option<u16>,
    pub(crate) tag: BTreeSet<usize>,
    pub(crate) denied: BTreeSet<usize>,
}

impl Answer {
    fn pass(reason: Reason) -> Self {
        Self {
            verdict: Verdict::Pass,
            reason,
            jurisdiction: Jurisdiction::UNKNOWN,
            placed_by: PlacedBy::Nothing,
            exemption: None,
            tag: BTreeSet::new(),
            denied: BTreeSet::new(),
        }
    }

    fn no_tables() -> Self {
        Self { verdict: Verdict::Drop, ..Self::pass(Reason::NoTables) }
    }
}

/// All that a decision looks at, and the bytes that exemptions let through so far.
pub(crate) struct World<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) db: &'a GeoDb,
    pub(crate) exemptions: &'a [KernelExemption],
    pub(crate) host: &'a HostFacts,
    pub(crate) loaded: Loaded,
    /// Bytes that are charged, by account.
    pub(crate) charged: BTreeMap<u16, u64>,
    /// Bytes that passed, by slot.
    pub(crate) used: BTreeMap<u16, u64>,
    /// Addresses of the host.
    pub(crate) addresses: &'a BTreeSet<IpAddr>,
    /// What failsafe rules have let pass, by rule: a minute, and bytes in it.
    pub(crate) spent: BTreeMap<usize, (u64, u64)>,
    /// Packets that two exemptions covered together.
    pub(crate) shared: usize,
}

impl World<'_> {
    pub(crate) fn judge(&mut self, packet: &PlainPacket) -> Answer {
        if let Content::NotIp = packet.content {
            return Answer::pass(Reason::NotIp);
        }
        if self.loaded == Loaded::Nothing {
            return Answer::no_tables();
        }
        let by_origin =
            self.pins_where(|pin| self.looks_at(packet.hook, pin) && self.origin_matches(pin, packet));
        if by_origin.is_empty() {
            return Answer::pass(Reason::Untagged);
        }
        let (layers, hops) = match &packet.content {
            Content::NotIp => return Answer::pass(Reason::NotIp),
            Content::Broken(fault) => {
                let verdict = match packet.hook {
                    Hook::Ingress => Verdict::Pass,
                    _ => self.strictest(packet.hook, &by_origin),
                };
                let denied = by_origin.clone();
                return Answer { verdict, tag: by_origin, denied, ..Answer::pass(fault_reason(*fault)) };
            }
            Content::Ip { layers, hops } => match packet.hook {
                Hook::Ingress => (layers.iter().map(answer_to).collect(), Vec::new()),
                _ => (layers.clone(), hops.clone()),
            },
        };
        let tag: BTreeSet<usize> = by_origin
            .into_iter()
            .filter(|&pin| {
                layers.iter().any(|layer| self.layer_matches(&self.policy.pins[pin], layer, packet))
            })
            .collect();
        if tag.is_empty() {
            return Answer::pass(Reason::Untagged);
        }
        // What is charged below costs nothing here.
        let packet = &PlainPacket { wire_len: self.charged(packet, &tag), ..packet.clone() };
        let covers_all = |rule| layers.iter().all(|layer| failsafe_covers(rule, layer));
        let rules = self.policy.failsafe.iter().enumerate();
        let covering: Vec<usize> = match hops.is_empty() {
            true => rules.filter(|(_, rule)| covers_all(rule)).map(|(number, _)| number).collect(),
            false => Vec::new(),
        };

        // Every destination with the layer whose ports its recipient would be named by.
        let destinations =
            layers.iter().map(|layer| (layer.dst, layer)).chain(hops.iter().map(|hop| (*hop, &layers[0])));
        let mut last = None;
        let mut forbidden = Vec::new();
        for (destination, layer) in destinations {
            let Some((jurisdiction, by)) = self.place(destination) else {
                return match self.lets_pass(&covering, packet) {
                    true => Answer { denied: tag.clone(), tag, ..Answer::pass(Reason::Failsafe) },
                    false => Answer::no_tables(),
                };
            };
            last = Some((jurisdiction, by));
            let denied: BTreeSet<usize> = tag
                .iter()
                .copied()
                .filter(|&pin| {
                    by != PlacedBy::LinkScope && !self.policy.pins[pin].permitted.contains(jurisdiction)
                })
                .collect();
            if !denied.is_empty() {
                forbidden.push((destination, layer, jurisdiction, by, denied));
            }
        }
        let Some((destination, layer, jurisdiction, placed_by, _)) = forbidden.first().cloned() else {
            let (jurisdiction, placed_by) = last.unwrap();
            let reason = if placed_by == PlacedBy::LinkScope { Reason::LinkScope } else { Reason::Permitted };
            return Answer { jurisdiction, placed_by, tag, ..Answer::pass(reason) };
        };
        let denied: BTreeSet<usize> = forbidden.iter().flat_map(|one| one.4.iter().copied()).collect();
        if self.lets_pass(&covering, packet) {
            return Answer { jurisdiction, placed_by, tag, denied, ..Answer::pass(Reason::Failsafe) };
        }
        let mut answer = Answer {
            verdict: self.strictest(packet.hook, &denied),
            reason: match jurisdiction {
                // What covers it and does not let it pass has a budget that is used up.
                _ if !covering.is_empty() => Reason::FailsafeExhausted,
                Jurisdiction::UNKNOWN => Reason::PlaceUnknown,
                Jurisdiction::UNCERTAIN => Reason::PlaceUncertain,
                _ => Reason::Forbidden,
            },
            jurisdiction,
            placed_by,
            exemption: None,
            tag,
            denied: denied.clone(),
        };
        // An exemption names one recipient.
        if forbidden.len() == 1 {
            match self.exempt(packet, layer, destination, jurisdiction, denied) {
                Ok(slot) => {
                    answer.verdict = Verdict::Pass;
                    answer.reason = Reason::Exempt;
                    answer.exemption = Some(slot);
                }
                // That a budget is used up comes first.
                Err(Some(reason)) if answer.reason != Reason::FailsafeExhausted => answer.reason = reason,
                Err(_) => {}
            }
        }
        answer
    }

    fn pins_where(&self, holds: impl Fn(&Pin) -> bool) -> BTreeSet<usize> {
        (0..self.policy.pins.len()).filter(|&pin| holds(&self.policy.pins[pin])).collect()
    }

    fn looks_at(&self, hook: Hook, pin: &Pin) -> bool {
        hook == Hook::Egress || pin.ingress != Ingress::Off
    }

    fn origin_matches(&self, pin: &Pin, packet: &PlainPacket) -> bool {
        let select = &pin.select;
        let highest = self.host.interfaces.iter().map(|fact| fact.index).max().unwrap_or(0);
        let came_since = |index: &u32| *index > highest;
        let interface = select.interfaces.is_empty()
            || [packet.interface, packet.came_in_by].iter().any(came_since)
            || self.host.interfaces.iter().any(|fact| {
                (fact.index == packet.interface || fact.index == packet.came_in_by)
                    && select.interfaces.iter().any(|it| fact.names.iter().any(|name| it.matches(name)))
            });
        let mark =
            select.marks.is_empty() || select.marks.iter().any(|mark| packet.mark & mark.mask == mark.value);
        let in_cgroup = |path: &String, cgroups: &[u64]| {
            let fact = self.host.cgroups.iter().find(|fact| fact.path == *path).unwrap();
            let is = |fact: &CgroupFact| {
                fact.id.is_some() && cgroups.get(fact.level as usize - 1) == fact.id.as_ref()
            };
            let was = self.host.former.iter().any(|former| former.path == *path && is(former));
            is(fact) || was || self.may_be_made_anew(fact, cgroups)
        };
        let mut all = std::iter::once(&packet.cgroups).chain(&packet.parties);
        let cgroup = select.cgroups.is_empty()
            || packet.everybody
            || all.any(|cgroups| select.cgroups.iter().any(|path| in_cgroup(path, cgroups)));
        let user = select.users.is_empty()
            || packet.everybody
            || select.users.iter().any(|user| packet.users.contains(&user.uid.unwrap()));
        let is_carried = |fact: &&VolumeFact| packet.volumes.contains(&fact.slot);
        let volume = select.volumes.is_empty()
            || self.host.volumes.iter().filter(is_carried).any(|fact| {
                fact.volume.spread == select.spread && select.volumes.contains(&fact.volume.path)
            });
        let direction = match select.direction {
            Direction::Unknown => true,
            Direction::Served => packet.direction != Direction::Opened,
            Direction::Opened => packet.direction != Direction::Served,
        };
        interface && mark && cgroup && user && volume && direction
    }

    /// Whether a packet is in a cgroup that was made since the parents were read, where this one or one above it
    /// could be made, and is as deep as this one.
    fn may_be_made_anew(&self, fact: &CgroupFact, cgroups: &[u64]) -> bool {
        let names: Vec<&str> = fact.path.split('/').collect();
        cgroups.len() >= names.len()
            && self.host.parents.iter().any(|parent| {
                let above: Vec<&str> = parent.path.split('/').filter(|name| !name.is_empty()).collect();
                let is_in_it = above.is_empty() || cgroups.get(above.len() - 1) == Some(&parent.id);
                names.len() > above.len()
                    && names.starts_with(&above)
                    && is_in_it
                    && cgroups[above.len()] > parent.known
            })
    }

    fn strictest(&self, hook: Hook, pins: &BTreeSet<usize>) -> Verdict {
        let observe = self.policy.host.observe;
        let one = |pin: &Pin| match (hook, pin.action, pin.ingress) {
            (Hook::Ingress, _, Ingress::Off) => Verdict::Pass,
            (Hook::Ingress, _, Ingress::Drop) if !observe => Verdict::Drop,
            (Hook::Ingress, _, Ingress::Flag | Ingress::Drop) => Verdict::Flag,
            _ if observe => Verdict::Observe,
            (_, Action::Observe, _) => Verdict::Observe,
            (_, Action::Flag, _) => Verdict::Flag,
            (_, Action::Drop, _) => Verdict::Drop,
        };
        pins.iter().map(|&pin| one(&self.policy.pins[pin])).max().unwrap()
    }

    fn place(&self, address: IpAddr) -> Option<(Jurisdiction, PlacedBy)> {
        let address = address.to_canonical();
        if stays_on_link(address) {
            return Some((Jurisdiction::UNKNOWN, PlacedBy::LinkScope));
        }
        if self.loaded == Loaded::NoGeo {
            return None;
        }
        let address = carried_v4(address).or_else(|| self.through_nat64(address)).map_or(address, IpAddr::V4);
        let mut narrowest: Option<(u8, Jurisdiction)> = None;
        for site in &self.policy.sites {
            for cidr in site.cidrs.iter().filter(|cidr| cidr.contains(address)) {
                if narrowest.is_none_or(|(prefix, _)| cidr.prefix() > prefix) {
                    narrowest = Some((cidr.prefix(), site.jurisdiction));
                }
            }
        }
        if let Some((_, jurisdiction)) = narrowest {
            return Some((jurisdiction, PlacedBy::Site));
        }
        if is_special(address) {
            return Some((Jurisdiction::UNKNOWN, PlacedBy::Nothing));
        }
        fn last_run<K: PartialOrd + Copy>(
            runs: impl Iterator<Item = (K, Jurisdiction)>,
            key: K,
        ) -> Jurisdiction {
            runs.filter(|run| run.0 <= key).last().unwrap().1
        }
        let jurisdiction = match address {
            IpAddr::V4(v4) => last_run(self.db.v4.iter(), u32::from(v4)),
            IpAddr::V6(v6) => last_run(self.db.v6.iter(), u128::from(v6)),
        };
        let by = if jurisdiction == Jurisdiction::UNKNOWN { PlacedBy::Nothing } else { PlacedBy::Database };
        Some((jurisdiction, by))
    }

    /// The IPv4 address that stands behind a NAT64 prefix of the operator's, bit by bit.
    fn through_nat64(&self, address: IpAddr) -> Option<Ipv4Addr> {
        let IpAddr::V6(address) = address else { return None };
        let prefix = self.policy.geo.nat64.iter().find(|prefix| prefix.contains(address))?;
        let bits = (u32::from(prefix.prefix())..128).filter(|bit| !(64..72).contains(bit)).take(32);
        let v4 = bits.fold(0, |v4, bit| v4 << 1 | (address.to_bits() >> (127 - bit) & 1) as u32);
        Some(Ipv4Addr::from_bits(v4))
    }

    /// The slot of the exemption that covers the last open pin, or why there is none: the refusal of the
    /// last exemption that would cover the first pin that stays open.
    fn exempt(
        &mut self,
        packet: &PlainPacket,
        layer: &PlainLayer,
        destination: IpAddr,
        jurisdiction: Jurisdiction,
        denied: BTreeSet<usize>,
    ) -> Result<u16, Option<Reason>> {
        let mut by_slot: Vec<&KernelExemption> = self.exemptions.iter().collect();
        by_slot.sort_by_key(|exemption| exemption.slot);
        let destination = destination.to_canonical();
        let names =
            |exemption: &KernelExemption, pin: usize| exemption.pins.contains(&self.policy.pins[pin].name);
        let mut open = denied;
        let mut shares: Vec<&KernelExemption> = Vec::new();
        let mut refusal = None;
        // At most two exemptions share in covering a packet.
        while shares.len() < 2 {
            let first = *open.first().unwrap();
            refusal = None;
            let mut found = None;
            for exemption in &by_slot {
                let recipient = exemption.jurisdictions.contains(&jurisdiction)
                    || exemption.placed.is_none_or(|placed| placed == jurisdiction)
                        && exemption.networks.iter().any(|network| network.contains(destination));
                let port = exemption.ports.is_empty() || has_port(&exemption.ports, layer, |ports| ports.1);
                if !names(exemption, first) || !recipient || !port {
                    continue;
                }
                let used = self.charged.get(&exemption.account).copied().unwrap_or(0);
                let fits = used.checked_add(packet.wire_len).is_some_and(|used| used <= exemption.quota);
                if packet.now < exemption.valid_from_ns {
                    refusal = Some(Reason::ExemptionNotYet);
                } else if packet.now >= exemption.valid_until_ns {
                    refusal = Some(Reason::ExemptionExpired);
                } else if packet.hook == Hook::Egress && !fits {
                    refusal = Some(Reason::ExemptionExhausted);
                } else {
                    found = Some(*exemption);
                    break;
                }
            }
            let Some(exemption) = found else { break };
            refusal = None;
            if packet.hook == Hook::Egress {
                *self.charged.entry(exemption.account).or_insert(0) += packet.wire_len;
            }
            shares.push(exemption);
            open.retain(|&pin| !names(exemption, pin));
            if open.is_empty() {
                self.shared += usize::from(shares.len() > 1);
                if packet.hook == Hook::Egress {
                    for share in shares {
                        *self.used.entry(share.slot).or_insert(0) += packet.wire_len;
                    }
                }
                return Ok(exemption.slot);
            }
        }
        // A packet that is not covered is not charged to anyone.
        if packet.hook == Hook::Egress {
            for share in shares {
                *self.charged.get_mut(&share.account).unwrap() -= packet.wire_len;
            }
        }
        Err(refusal)
    }

    fn layer_matches(&self, pin: &Pin, layer: &PlainLayer, packet: &PlainPacket) -> bool {
        let source = layer.src.to_canonical();
        let select = &pin.select;
        // By no interface, by the loopback interface, or by another one that loops back.
        let by = packet.came_in_by;
        let loops = self.host.interfaces.iter().any(|fact| fact.index == by && fact.loops_back);
        let is_made_here = packet.hook == Hook::Egress && (matches!(by, 0 | 1) || loops);
        let is_of_host =
            is_made_here || self.addresses.iter().any(|address| address.to_canonical() == source);
        let has_source = match select.sources.is_empty() && !select.from_host {
            true => true,
            false => {
                select.sources.iter().any(|network| network.contains(source))
                    || select.from_host && is_of_host
            }
        };
        let may_have = |ranges: &[PortRange], which: fn((u16, u16)) -> u16| {
            ranges.is_empty()
                || has_port(ranges, layer, which)
                || match layer.unreadable() {
                    None => true,
                    Some(protocols) => ranges.iter().any(|ports| protocols.contains(&ports.protocol)),
                }
        };
        has_source
            && may_have(&select.ports, |ports| ports.0)
            && may_have(&select.remote_ports, |ports| ports.1)
    }
}

/// The packet that answers this one.
fn answer_to(layer: &PlainLayer) -> PlainLayer {
    let ports = layer.ports.map(|(source, destination)| (destination, source));
    PlainLayer { src: layer.dst, dst: layer.src, ports, ..layer.clone() }
}

fn has_port(ranges: &[PortRange], layer: &PlainLayer, which: impl Fn((u16, u16)) -> u16) -> bool {
    let Some(ports) = layer.ports.filter(|_| !layer.other_ports && !layer.may_be_tunnel) else {
        return false;
    };
    ranges.iter().any(|range| {
        range.protocol.number() == layer.proto && range.first <= which(ports) && which(ports) <= range.last
    })
}

fn failsafe_covers(rule: &Failsafe, layer: &PlainLayer) -> bool {
    let peer = layer.dst.to_canonical();
    (rule.peers.is_empty() || rule.peers.iter().any(|network| network.contains(peer)))
        && (rule.local_ports.is_empty() || has_port(&rule.local_ports, layer, |ports| ports.0))
        && (rule.remote_ports.is_empty() || has_port(&rule.remote_ports, layer, |ports| ports.1))
}

fn fault_reason(fault: Fault) -> Reason {
    match fault {
        Fault::Truncated => Reason::Truncated,
        Fault::BadHeader => Reason::BadHeader,
        Fault::TooDeep => Reason::TooDeep,
        Fault::TinyFragment => Reason::TinyFragment,
        Fault::Opaque => Reason::Opaque,
    }
}
