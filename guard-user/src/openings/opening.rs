//! What opens, in the words of the config: of which pin, by which change, to where.

use std::collections::BTreeMap;

use guard_common::abi::{Direction, Hook};
use guard_common::jurisdiction::Jurisdiction;
use guard_common::verdict::Verdict;

use super::areas::Area;
use super::destinations::{Destinations, KEPT, Moved};
use super::dimensions::number;
use super::grants::Of;
use super::judge::{By, Comparison, Found};
use super::text::{joined, listed};
use super::value::Packets;
use crate::compile::KernelExemption;
use crate::config::policy::{Failsafe, Pin, Policy, Relays, Selectors, SentBy, Site, Spread};

/// Flows that the new policy judges more mildly than the old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The pin of the old policy that forbade them.
    pub pin: String,
    /// Which packets of them.
    pub packets: Packets,
    /// At which hooks, with what the old policy does there and what the new one does.
    pub hooks: Vec<(Hook, Verdict, Verdict)>,
    /// What changed. Of several, none alone would open them.
    pub changes: Vec<Changed>,
    /// Where they go; `None`: wherever the pin forbade.
    pub to: Option<Vec<Destinations>>,
}

/// A change that opens flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The key of the config.
    pub key: &'static str,
    /// What it was.
    pub was: String,
    /// What it is.
    pub is: String,
    /// The values that open; empty where the key says it all.
    pub values: Vec<String>,
}

/// All that was found, in words.
pub(super) fn all(comparison: &Comparison<'_>, found: &[Found]) -> Vec<Opening> {
    let mut openings: Vec<Opening> = Vec::new();
    for opening in found.iter().flat_map(|found| of(comparison, found)) {
        let is_same = |it: &&mut Opening| {
            let Opening { pin, packets, changes, to, .. } = &opening;
            it.pin == *pin && it.packets == *packets && it.changes == *changes && it.to == *to
        };
        match openings.iter_mut().find(is_same) {
            Some(same) => {
                let new: Vec<_> =
                    opening.hooks.iter().filter(|it| !same.hooks.contains(it)).copied().collect();
                same.hooks.extend(new);
            }
            None => openings.push(opening),
        }
    }
    openings
}

fn of(comparison: &Comparison<'_>, found: &Found) -> Vec<Opening> {
    let policies = comparison.worlds.map(|world| world.policy);
    let pin = &policies[0].pins[found.way];
    let base = &comparison.ways[0][found.way];
    let own: Vec<usize> = comparison.own_ways(&pin.name);
    let is_everywhere = found.packets == Packets::Unreadable
        || found.area.0[number::DESTINATION] == base.0[number::DESTINATION];
    let to = (!is_everywhere).then(|| summed(comparison, &found.area));
    // What is to everywhere can be so because all is newly permitted: that is told by its destinations.
    let all = || summed(comparison, &found.area);
    let [was, is] = found.verdicts;
    let opening = |changes: Vec<Changed>, to: Option<Vec<Destinations>>| Opening {
        pin: pin.name.clone(),
        packets: found.packets,
        hooks: vec![(found.hook, was, is)],
        changes,
        to,
    };
    let changes = match found.by {
        By::Gone => {
            vec![Changed { key: "pin", was: pin.name.clone(), is: "none".to_owned(), values: Vec::new() }]
        }
        By::Milder => vec![milder(policies, pin, found.hook, own.first().map(|way| &policies[1].pins[*way]))],
        By::Grant(number) => vec![granted(comparison, number)],
        By::Narrower => {
            let dimensions = causes(comparison, &found.area, &own, found.packets);
            let to = to.clone().unwrap_or_else(all);
            if dimensions == [number::DESTINATION] {
                // Each by itself: destinations are there by one of them.
                let by = moved(comparison, (found, &own), &to).into_iter();
                return by.map(|(changed, to)| opening(vec![changed], Some(to))).collect();
            }
            let of = |dimension: &usize| match *dimension {
                number::DESTINATION => {
                    moved(comparison, (found, &own), &to).into_iter().map(|it| it.0).collect()
                }
                other => vec![changed(comparison, other, found, &own)],
            };
            dimensions.iter().flat_map(of).collect()
        }
    };
    vec![opening(changes, to)]
}

/// The dimensions by which the ways of the new pin do not have an area: those by which none has it, or the first of each.
fn causes(comparison: &Comparison<'_>, area: &Area, own: &[usize], packets: Packets) -> Vec<usize> {
    let apart = own.iter().map(|way| {
        let way = &comparison.ways[1][*way];
        match packets {
            Packets::Unreadable => area.apart(&comparison.of_any_header(way)),
            _ => area.apart(way),
        }
    });
    let apart: Vec<Vec<usize>> = apart.collect();
    let of_all = (0..=number::DESTINATION).filter(|it| apart.iter().all(|apart| apart.contains(it)));
    let of_all: Vec<usize> = of_all.collect();
    if !of_all.is_empty() {
        return of_all;
    }
    let mut firsts: Vec<usize> = apart.iter().filter_map(|apart| apart.first().copied()).collect();
    firsts.sort_unstable();
    firsts.dedup();
    firsts
}

fn milder(policies: [&Policy; 2], was: &Pin, hook: Hook, is: Option<&Pin>) -> Changed {
    let is = is.unwrap_or(was);
    let (key, texts) = match hook {
        Hook::Ingress => ("ingress", [was, is].map(|pin| format!("{:?}", pin.ingress))),
        _ => ("action", [was, is].map(|pin| format!("{:?}", pin.action))),
    };
    let [was, is] = texts.map(|text| text.to_lowercase());
    let (key, was, is) = match was == is {
        true => ("host.observe", policies[0].host.observe.to_string(), policies[1].host.observe.to_string()),
        false => (key, was, is),
    };
    Changed { key, was, is, values: Vec::new() }
}

fn granted(comparison: &Comparison<'_>, number: usize) -> Changed {
    let [old, new] = comparison.worlds;
    match comparison.grants[1][number].of {
        Of::Failsafe(rule) => {
            let rule = new.policy.failsafe.get(rule);
            let name = rule.map(|rule| rule.name.clone()).unwrap_or_default();
            let before = old.policy.failsafe.iter().find(|it| it.name == name);
            let text = |rule: Option<&Failsafe>| rule.map_or_else(|| "none".to_owned(), failsafe);
            Changed { key: "failsafe", was: text(before), is: text(rule), values: Vec::new() }
        }
        Of::Exemption(account) => {
            let text = |exemptions: &[KernelExemption]| {
                let entries = exemptions.iter().filter(|it| it.account == account).map(exemption);
                listed(entries)
            };
            Changed {
                key: "exemption",
                was: text(old.exemptions),
                is: text(new.exemptions),
                values: Vec::new(),
            }
        }
    }
}

fn failsafe(rule: &Failsafe) -> String {
    let ends = [
        ("peers", joined(&rule.peers)),
        ("local_ports", joined(&rule.local_ports)),
        ("remote_ports", joined(&rule.remote_ports)),
    ];
    let ends = ends.into_iter().filter(|(_, text)| text != "none");
    let bytes = rule.bytes_per_minute.map(|bytes| format!("{bytes} bytes a minute"));
    let parts = ends.map(|(key, text)| format!("{key} {text}")).chain(bytes);
    format!("{}: {}", rule.name, parts.collect::<Vec<_>>().join("; "))
}

fn exemption(entry: &KernelExemption) -> String {
    let mut to: Vec<String> = entry.jurisdictions.iter().map(ToString::to_string).collect();
    to.extend(entry.networks.iter().map(ToString::to_string));
    to.extend(entry.ports.iter().map(ToString::to_string));
    let bytes = if entry.quota == u64::MAX { "any number of".to_owned() } else { entry.quota.to_string() };
    format!("{} to {}: {bytes} bytes until {} ns", joined(&entry.pins), listed(to), entry.valid_until_ns)
}

fn changed(comparison: &Comparison<'_>, dimension: usize, found: &Found, own: &[usize]) -> Changed {
    let [old, new] = comparison.worlds.map(|world| &world.policy.pins);
    let classes = &comparison.dimensions[dimension];
    let numbers = found.area.0[dimension].numbers();
    let values = numbers.filter_map(|number| classes.get(number)).flat_map(|class| &class.values);
    let is = listed(own.iter().map(|way| format!("[{}]", selector(dimension, &new[*way].select))));
    Changed {
        key: key(dimension),
        was: format!("[{}]", selector(dimension, &old[found.way].select)),
        is,
        values: values.map(ToString::to_string).collect(),
    }
}

/// What brought these destinations to where the pin permits, with those that it brought.
fn moved(
    comparison: &Comparison<'_>,
    (found, own): (&Found, &[usize]),
    to: &[Destinations],
) -> Vec<(Changed, Vec<Destinations>)> {
    let [old, new] = comparison.worlds.map(|world| world.policy);
    let mut by: BTreeMap<Moved, Vec<Destinations>> = BTreeMap::new();
    for one in to {
        by.entry(one.moved).or_default().push(one.clone());
    }
    let of = |(moved, to): (Moved, Vec<Destinations>)| {
        let (key, [was, is]) = match moved {
            Moved::No => {
                let is = own.first().and_then(|way| new.pins.get(*way));
                ("permit", permitted([old.pins.get(found.way), is]))
            }
            Moved::Database => ("geo", comparison.worlds.map(|world| world.geo.info.source.clone())),
            Moved::Sites => ("site", [sites(old, new), sites(new, old)]),
            Moved::Nat64 => ("geo.nat64", [joined(&old.geo.nat64), joined(&new.geo.nat64)]),
        };
        let value = |to: &Destinations| match to.from == to.to {
            true => to.to.to_string(),
            false => format!("{} to {}", to.from, to.to),
        };
        let values = to.iter().map(value).collect();
        (Changed { key, was, is, values }, to)
    };
    by.into_iter().map(of).collect()
}

/// Jurisdictions of a list that are written out; of more only how many there are, and which the other has not.
const FEW: usize = 8;

fn permitted(pins: [Option<&Pin>; 2]) -> [String; 2] {
    let of = |pin: Option<&Pin>| -> Vec<Jurisdiction> {
        pin.map(|pin| pin.permitted.iter().collect()).unwrap_or_default()
    };
    let sets = pins.map(of);
    [0, 1].map(|side| {
        let (own, other) = (&sets[side], &sets[1 - side]);
        let alone: Vec<_> = own.iter().filter(|it| !other.contains(it)).collect();
        match (own.len() <= FEW, alone.is_empty()) {
            (true, _) => joined(own),
            (false, true) => format!("{} jurisdictions", own.len()),
            (false, false) => format!("{} jurisdictions, with {}", own.len(), listed(alone)),
        }
    })
}

/// The networks of a policy's sites that the other one does not have so.
fn sites(policy: &Policy, other: &Policy) -> String {
    let has = |site: &Site, cidr| {
        other.sites.iter().any(|it| it.jurisdiction == site.jurisdiction && it.cidrs.contains(cidr))
    };
    let networks = policy.sites.iter().flat_map(|site| {
        let alone = site.cidrs.iter().filter(move |cidr| !has(site, cidr));
        alone.map(move |cidr| format!("{cidr} in {} ({})", site.jurisdiction, site.name))
    });
    listed(networks)
}

/// The destinations of an area, those of the same way from one jurisdiction to another together.
fn summed(comparison: &Comparison<'_>, area: &Area) -> Vec<Destinations> {
    let mut sums: BTreeMap<(u8, u8, Moved), Destinations> = BTreeMap::new();
    let numbers = area.0[number::DESTINATION].numbers();
    let all =
        numbers.filter_map(|number| comparison.destinations.get(number)).flat_map(|class| &class.values);
    for one in all {
        let key = (one.from.index(), one.to.index(), one.moved);
        let Some(sum) = sums.get_mut(&key) else {
            sums.insert(key, one.clone());
            continue;
        };
        (sum.v4, sum.v6) = (sum.v4.saturating_add(one.v4), sum.v6.saturating_add(one.v6));
        for (own, other) in [(&mut sum.first, &one.first), (&mut sum.carriers, &one.carriers)] {
            own.extend(other.iter().take(KEPT.saturating_sub(own.len())));
        }
    }
    let mut sums: Vec<Destinations> = sums.into_values().collect();
    for runs in sums.iter_mut().flat_map(|sum| [&mut sum.first, &mut sum.carriers]) {
        runs.sort_unstable_by_key(|run| run.first);
        runs.dedup();
    }
    sums
}

const fn key(dimension: usize) -> &'static str {
    match dimension {
        number::CGROUP => "select.cgroups",
        number::USER => "select.users",
        number::SENT_BY => "select.sent_by",
        number::VOLUME => "select.volumes",
        number::CARRIES => "select.spread, copies or relays",
        number::INTERFACE => "select.interfaces",
        number::MARK => "select.marks",
        number::DIRECTION => "select.direction",
        number::SOURCE => "select.sources",
        number::LOCAL => "select.ports",
        number::REMOTE => "select.remote_ports",
        number::WINDOW => "valid_until",
        _ => "permit",
    }
}

/// What a selector has in a dimension, as the config has it.
fn selector(dimension: usize, select: &Selectors) -> String {
    let words = match dimension {
        number::CGROUP => joined(&select.cgroups),
        number::USER => listed(select.users.iter().map(|user| &user.text)),
        number::SENT_BY => match select.sent_by {
            SentBy::Process => "process".to_owned(),
            SentBy::Socket => "socket".to_owned(),
        },
        number::VOLUME => listed(select.volumes.iter().map(|path| path.display())),
        number::CARRIES => {
            let spread = if select.spread == Spread::Cgroup { "cgroup" } else { "process" };
            let relays = if select.relays == Relays::Tag { "tag" } else { "tell" };
            let copies = if select.ignores_copies { "ignored" } else { "followed" };
            format!("spread {spread}, copies {copies}, relays {relays}")
        }
        number::INTERFACE => joined(&select.interfaces),
        number::MARK => joined(&select.marks),
        number::DIRECTION => match select.direction {
            Direction::Unknown => "none".to_owned(),
            Direction::Served => "served".to_owned(),
            Direction::Opened => "opened".to_owned(),
        },
        number::SOURCE => {
            let host = select.from_host.then(|| "host".to_owned());
            listed(select.sources.iter().map(ToString::to_string).chain(host))
        }
        number::LOCAL => joined(&select.ports),
        number::REMOTE => joined(&select.remote_ports),
        _ => String::new(),
    };
    if words == "none" { "any".to_owned() } else { words }
}
