//! Every combination of classes, judged by both generations.

use std::collections::{BTreeSet, HashMap};

use guard_common::abi::{EXEMPTION_WORDS, Hook, MAX_EXEMPTIONS, PolicyTable, dimension};
use guard_common::tables::ByOrigin;
use guard_common::verdict::Verdict;

use super::destinations::{self, To};
use super::dimensions::{self, Both, Dimension, Family, Lets};
use super::{Destinations, OpenedFlow, Outcome, World};

/// Combinations that are judged at most; more than these count as opened.
const MOST: usize = 4_000_000;
/// Combinations of values that are kept at once at most.
const MOST_KEPT: usize = 200_000;

/// What was found.
pub(super) struct Judged {
    pub(super) flows: Vec<OpenedFlow>,
    /// Whether every combination was judged.
    pub(super) is_complete: bool,
}

/// A combination of classes: what it lets match, and the class of each dimension.
#[derive(Clone)]
struct Combination {
    lets: Both,
    classes: Vec<usize>,
}

/// All flows that the second world judges more mildly than the first.
pub(super) fn flows(worlds: [&World<'_>; 2], tables: &[Box<PolicyTable>; 2]) -> Judged {
    let mut judged = Judged { flows: Vec::new(), is_complete: false };
    let Some(origin) = dimensions::of_origin(worlds, tables) else { return judged };
    let headers = [Family::V4, Family::V6].map(|family| dimensions::of_headers(worlds, tables, family));
    let to = destinations::all(worlds, tables);
    for hook in Hook::OF_PACKETS {
        let any = tables.each_ref().map(|table| Lets::of_pins(ByOrigin::any(hook, table).pins));
        let start = vec![Combination { lets: any, classes: Vec::new() }];
        let Some(by_origin) = combine(start, &origin) else { return judged };
        if hook == Hook::Egress {
            unreadable(worlds, tables, (&origin, &by_origin), &mut judged.flows);
        }
        let mut left = MOST;
        for (headers, to) in headers.iter().zip(&to) {
            let Some(all) = combine(by_origin.clone(), headers) else { return judged };
            let Some(rest) = left.checked_sub(all.len().saturating_mul(to.len())) else { return judged };
            left = rest;
            let dimensions: Vec<&Dimension> = origin.iter().chain(headers).collect();
            for combination in &all {
                by_destination(worlds, tables, (hook, combination, to), &dimensions, &mut judged.flows);
            }
        }
    }
    judged.is_complete = true;
    judged
}

/// The combinations with the classes of further dimensions, but for those that no pin of the old table has: they pass
/// as it is. `None` where they are too many.
fn combine(mut combinations: Vec<Combination>, dimensions: &[Dimension]) -> Option<Vec<Combination>> {
    for dimension in dimensions {
        let mut next = Vec::with_capacity(combinations.len());
        for before in &combinations {
            for (number, class) in dimension.iter().enumerate() {
                let lets = [before.lets[0].and(&class.lets[0]), before.lets[1].and(&class.lets[1])];
                if lets[0].pins != 0 {
                    let classes = before.classes.iter().copied().chain([number]).collect();
                    next.push(Combination { lets, classes });
                }
            }
            if next.len() > MOST_KEPT {
                return None;
            }
        }
        combinations = next;
    }
    Some(combinations)
}

/// Packets that can't be read belong to every pin that their origin lets match.
fn unreadable(
    worlds: [&World<'_>; 2],
    tables: &[Box<PolicyTable>; 2],
    (origin, combinations): (&[Dimension], &[Combination]),
    flows: &mut Vec<OpenedFlow>,
) {
    let dimensions: Vec<&Dimension> = origin.iter().collect();
    for combination in combinations {
        let [was, is] = [0, 1].map(|side| {
            let verdict = strictest(Hook::Egress, &tables[side], combination.lets[side].pins);
            Outcome { verdict, budget: 0, quota: 0 }
        });
        if is.opens_against(&was) {
            let pins = names(worlds[0], combination.lets[0].pins);
            let known_by = values(combination, &dimensions);
            flows.push(OpenedFlow { hook: Hook::Egress, pins, was, is, known_by, to: None });
        }
    }
}

fn by_destination(
    worlds: [&World<'_>; 2],
    tables: &[Box<PolicyTable>; 2],
    (hook, combination, to): (Hook, &Combination, &[To]),
    dimensions: &[&Dimension],
    flows: &mut Vec<OpenedFlow>,
) {
    // Destinations of which the same pins are forbidden, and which fare alike.
    let mut found: Vec<((u64, Outcome, Outcome), Vec<Destinations>)> = Vec::new();
    let mut numbers = HashMap::new();
    for to in to {
        let [(denied, was), (_, is)] = [0, 1].map(|side| {
            let lets = combination.lets[side].and(&to.lets[side]);
            let denied = lets.pins & !to.permitted[side];
            (denied, outcome(hook, &tables[side], &lets, denied))
        });
        if is.opens_against(&was) {
            let number = *numbers.entry((denied, was, is)).or_insert_with(|| {
                found.push(((denied, was, is), Vec::new()));
                found.len() - 1
            });
            found[number].1.extend(to.destinations.iter().cloned());
        }
    }
    for ((denied, was, is), to) in found {
        let (pins, known_by) = (names(worlds[0], denied), values(combination, dimensions));
        flows.push(OpenedFlow { hook, pins, was, is, known_by, to: Some(to) });
    }
}

/// The values of the dimensions that tell flows apart.
fn values(combination: &Combination, dimensions: &[&Dimension]) -> Vec<Vec<super::Value>> {
    let of = combination.classes.iter().zip(dimensions).filter(|(_, dimension)| dimension.len() > 1);
    of.filter_map(|(class, dimension)| Some(dimension.get(*class)?.values.clone())).collect()
}

fn names(world: &World<'_>, pins: u64) -> Vec<String> {
    let of = world.policy.pins.iter().enumerate().filter(|(at, _)| pins >> at & 1 == 1);
    of.map(|(_, pin)| pin.name.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

fn outcome(hook: Hook, table: &PolicyTable, lets: &Lets, denied: u64) -> Outcome {
    if denied == 0 {
        return Outcome { verdict: Verdict::Pass, budget: 0, quota: 0 };
    }
    let is_used = |bit: u32| table.dimensions & bit != 0;
    let failsafes = if is_used(dimension::FAILSAFE) { lets.failsafes } else { 0 };
    let quota = if is_used(dimension::EXEMPTION) { quota(hook, table, lets, denied) } else { 0 };
    Outcome { verdict: strictest(hook, table, denied), budget: budget(hook, table, failsafes), quota }
}

fn strictest(hook: Hook, table: &PolicyTable, pins: u64) -> Verdict {
    let (drop, flag, mildest) = match hook {
        Hook::Ingress => (table.ingress_drop, table.ingress_flag, Verdict::Pass),
        Hook::Egress | Hook::Connect | Hook::Sendmsg => (table.drop, table.flag, Verdict::Observe),
    };
    match (pins & drop, pins & flag) {
        _ if pins == 0 => Verdict::Pass,
        (0, 0) => mildest,
        (0, _) => Verdict::Flag,
        _ => Verdict::Drop,
    }
}

/// Bytes a minute by these failsafe rules. What comes in takes nothing from a budget.
fn budget(hook: Hook, table: &PolicyTable, failsafes: u64) -> u64 {
    if failsafes == 0 {
        return 0;
    }
    if hook == Hook::Ingress || failsafes & !table.failsafe_bounded != 0 {
        return u64::MAX;
    }
    let budgets = table.failsafe_budgets.iter().enumerate().filter(|(at, _)| failsafes >> at & 1 == 1);
    budgets.fold(0, |sum, (_, budget)| sum.saturating_add(*budget))
}

/// Bytes by exemptions of which one or two cover every denied pin, as the decision takes no more. In which order it
/// takes them does not count, nor does their place in the table.
fn quota(hook: Hook, table: &PolicyTable, lets: &Lets, denied: u64) -> u64 {
    let slots = (0..MAX_EXEMPTIONS).filter(|slot| {
        let word = slot / 64;
        word < EXEMPTION_WORDS && lets.exemptions[word] >> (slot % 64) & 1 == 1
    });
    let slots: Vec<_> =
        slots.map(|slot| &table.exemptions[slot]).filter(|it| it.pins & denied != 0).collect();
    let covers = |left: u64| slots.iter().any(|it| left & !it.pins == 0);
    let is_covered = covers(denied) || slots.iter().any(|it| covers(denied & !it.pins));
    if slots.is_empty() || !is_covered {
        return 0;
    }
    if hook == Hook::Ingress {
        return u64::MAX;
    }
    // The pin that has least is the bound. Entries of one document share an account.
    let of_pin = |pin: u32| {
        let of = slots.iter().filter(|it| it.pins >> pin & 1 == 1);
        let accounts: HashMap<u32, u64> = of.map(|it| (it.account, it.quota)).collect();
        accounts.values().fold(0_u64, |sum, quota| sum.saturating_add(*quota))
    };
    (0..u64::BITS).filter(|pin| denied >> pin & 1 == 1).map(of_pin).min().unwrap_or_default()
}
