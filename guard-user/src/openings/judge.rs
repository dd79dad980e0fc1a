//! Every pin of the old policy, held against the new one.

use guard_common::abi::Hook;
use guard_common::verdict::Verdict;

use super::areas::{Area, Classes, Space};
use super::destinations::{self, Destinations};
use super::dimensions::{self, Both, Dimension, Tables, number};
use super::grants::{self, Grant};
use super::value::{Packets, Value};
use super::world::World;
use crate::config::policy::{Action, Ingress, Pin, Policy};

/// Both worlds in classes.
pub(super) struct Comparison<'a> {
    pub(super) worlds: [&'a World<'a>; 2],
    pub(super) dimensions: Vec<Dimension>,
    pub(super) destinations: Dimension<Destinations>,
    pub(super) space: Space,
    /// Each way of each world, with the destinations that it forbids.
    pub(super) ways: [Vec<Area>; 2],
    /// What lets pass what pins forbid, in each world.
    pub(super) grants: [Vec<Grant>; 2],
}

/// What opens them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// There is no such pin any more.
    Gone,
    /// Its verdict is milder.
    Milder,
    /// It has them no more.
    Narrower,
    /// A failsafe rule or an exemption of the new world, by its number among [`Comparison::grants`].
    Grant(usize),
}

/// Flows that open.
pub(super) struct Found {
    /// The number of the way of the old policy that forbade them.
    pub(super) way: usize,
    pub(super) by: By,
    pub(super) packets: Packets,
    pub(super) hook: Hook,
    /// The old verdict and the new one, as far as this pin is concerned.
    pub(super) verdicts: [Verdict; 2],
    /// The flows.
    pub(super) area: Area,
    /// Those of them that do not open: another pin forbids them still, or they passed before.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "what is told is of whole areas; the tests hold them to the flow")
    )]
    pub(super) but: Vec<Area>,
}

/// What a way of the old policy had and the new one has not.
struct Opened {
    way: usize,
    by: By,
    packets: Packets,
    area: Area,
}

impl<'a> Comparison<'a> {
    /// `None` where there is too much to tell apart.
    pub(super) fn new(worlds: [&'a World<'a>; 2], tables: &Tables) -> Option<Self> {
        let dimensions = dimensions::all(worlds, tables)?;
        let destinations = destinations::all(worlds, tables);
        let ports = [number::LOCAL, number::REMOTE];
        let kinds = ports.map(|at| kinds(&dimensions[at]));
        let mut comparison = Self {
            worlds,
            dimensions,
            destinations,
            space: Space { ports, kinds },
            ways: [Vec::new(), Vec::new()],
            grants: [Vec::new(), Vec::new()],
        };
        comparison.ways = [0, 1].map(|side| {
            let ways = 0..worlds[side].policy.pins.len();
            ways.map(|way| comparison.area(&|lets| lets[side].pins >> way & 1 == 1)).collect()
        });
        comparison.grants = [0, 1].map(|side| grants::of(worlds[side], side, |has| comparison.area(has)));
        Some(comparison)
    }

    /// The area of what lets something match.
    pub(super) fn area(&self, matches: &dyn Fn(&Both) -> bool) -> Area {
        let own = self.dimensions.iter().map(|classes| set(classes, matches));
        Area(own.chain([set(&self.destinations, matches)]).collect())
    }

    fn policy(&self, side: usize) -> &'a Policy {
        self.worlds[side].policy
    }

    /// The ways of the new world that have what a way of the old one has, whatever the destination.
    pub(super) fn own_ways(&self, name: &str) -> Vec<usize> {
        let ways = self.policy(1).pins.iter().enumerate();
        ways.filter(|(_, pin)| pin.name == name).map(|(way, _)| way).collect()
    }

    /// All that opens. `None` where there is too much to tell.
    pub(super) fn found(&self) -> Option<Vec<Found>> {
        let mut found = Vec::new();
        let before: Vec<Area> =
            self.grants[0].iter().filter(|it| it.is_all()).flat_map(|it| it.areas.clone()).collect();
        let granted = grants::new(&self.space, &self.grants);
        for (way, pin) in self.policy(0).pins.iter().enumerate() {
            self.of_way(way, pin, &before, &mut found)?;
            found.extend(self.granted(way, pin, &granted, &before));
        }
        Some(found)
    }

    fn of_way(&self, way: usize, pin: &Pin, before: &[Area], found: &mut Vec<Found>) -> Option<()> {
        let own = self.own_ways(&pin.name);
        let milder = own.first().and_then(|way| self.policy(1).pins.get(*way));
        let milder = milder.map(|pin| verdicts(self.policy(1), pin));
        // Packets that can't be read are known by their origin alone.
        for packets in [Packets::Any, Packets::Unreadable] {
            let seen = |area: &Area| match packets {
                Packets::Unreadable => self.of_any_header(area),
                _ => area.clone(),
            };
            let Some(base) = self.space.tidied(seen(&self.ways[0][way])) else { continue };
            let ways: Vec<Area> = own.iter().map(|way| seen(&self.ways[1][*way])).collect();
            let lost = self.space.without(vec![base.clone()], &ways)?;
            let by = if own.is_empty() { By::Gone } else { By::Narrower };
            let lost = lost.into_iter().map(|area| (by, area, [Verdict::Pass; 2]));
            let milder = milder.iter().map(|is| (By::Milder, base.clone(), *is));
            for (by, area, is) in milder.chain(lost) {
                let opened = Opened { way, by, packets, area };
                for hook in [Hook::Egress, Hook::Ingress] {
                    self.at_hook((hook, is), &opened, before, found);
                }
            }
        }
        Some(())
    }

    fn at_hook(
        &self,
        (hook, is): (Hook, [Verdict; 2]),
        opened: &Opened,
        before: &[Area],
        found: &mut Vec<Found>,
    ) {
        let Opened { way, by, packets, area } = opened;
        let was = verdicts(self.policy(0), &self.policy(0).pins[*way])[at(hook)];
        let is = is[at(hook)];
        // At ingress what can't be read passes.
        if is >= was || *packets == Packets::Unreadable && hook == Hook::Ingress {
            return;
        }
        let others = self.stricter(&self.policy(0).pins[*way].name, (hook, was));
        let (packets, but) = match packets {
            Packets::Unreadable => (*packets, others.iter().map(|area| self.of_any_header(area)).collect()),
            _ => match [before, &others].concat() {
                but if self.is_anything(area, &but) => (Packets::Any, but),
                // What a failsafe rule lets pass it lets pass alone: not what carries something else.
                _ => (Packets::Layered, others),
            },
        };
        if self.is_anything(area, &but) {
            found.push(Found {
                way: *way,
                by: *by,
                packets,
                hook,
                verdicts: [was, is],
                area: area.clone(),
                but,
            });
        }
    }

    /// What the failsafe rules and exemptions of the new world let pass of a way.
    fn granted(
        &self,
        way: usize,
        pin: &Pin,
        granted: &[(usize, Packets, Vec<Area>)],
        before: &[Area],
    ) -> Vec<Found> {
        let was = verdicts(self.policy(0), pin);
        let mut found = Vec::new();
        for (number, packets, areas) in
            granted.iter().filter(|(it, ..)| self.grants[1][*it].is_for(&pin.name))
        {
            let is_layered = *packets == Packets::Layered;
            let is_told = |it: &Found| it.by == By::Grant(*number) && it.packets == Packets::Any;
            // Whatever newly passes by it is told without what it carries.
            if is_layered && found.iter().any(is_told) {
                continue;
            }
            let but = if is_layered { Vec::new() } else { before.to_vec() };
            for area in areas.iter().filter_map(|area| self.space.shared(area, &self.ways[0][way])) {
                for hook in [Hook::Egress, Hook::Ingress] {
                    let verdicts = [was[at(hook)], Verdict::Pass];
                    if verdicts[0] != Verdict::Pass && self.is_anything(&area, &but) {
                        let (by, area, but) = (By::Grant(*number), area.clone(), but.clone());
                        found.push(Found { way, by, packets: *packets, hook, verdicts, area, but });
                    }
                }
            }
        }
        found
    }

    /// Whether anything of an area is in none of the others. What is too much to tell is.
    fn is_anything(&self, area: &Area, but: &[Area]) -> bool {
        !self.space.covers(but, vec![area.clone()])
    }

    /// What the pins of the new policy that have another name forbid at least as strictly as this. Those that an exemption
    /// is for, or may be, do not count: what it covers passes where they alone forbid it.
    fn stricter(&self, name: &str, (hook, was): (Hook, Verdict)) -> Vec<Area> {
        if self.worlds[1].may_exempt {
            return Vec::new();
        }
        let is_exempt = |pin: &str| self.grants[1].iter().any(|it| !it.is_failsafe() && it.is_for(pin));
        let others = self.policy(1).pins.iter().zip(&self.ways[1]);
        let others = others
            .filter(|(pin, _)| pin.name != name && verdicts(self.policy(1), pin)[at(hook)] >= was)
            .filter(|(pin, _)| !is_exempt(&pin.name));
        others.map(|(_, area)| area.clone()).collect()
    }

    /// The same of packets whose headers say nothing.
    pub(super) fn of_any_header(&self, area: &Area) -> Area {
        let mut area = area.clone();
        let lens = self.dimensions.iter().map(Vec::len).chain([self.destinations.len()]);
        for (dimension, len) in lens.enumerate().skip(number::SOURCE) {
            area.0[dimension] = Classes::where_so(len, |_| true);
        }
        area
    }
}

/// The place of a hook's verdict among [`verdicts`].
const fn at(hook: Hook) -> usize {
    match hook {
        Hook::Ingress => 1,
        Hook::Egress | Hook::Connect | Hook::Sendmsg => 0,
    }
}

/// The verdicts at egress and at ingress of what a pin forbids.
pub(super) fn verdicts(policy: &Policy, pin: &Pin) -> [Verdict; 2] {
    let observe = policy.host.observe;
    let egress = match pin.action {
        Action::Drop if !observe => Verdict::Drop,
        Action::Flag if !observe => Verdict::Flag,
        _ => Verdict::Observe,
    };
    let ingress = match pin.ingress {
        Ingress::Off => Verdict::Pass,
        Ingress::Drop if !observe => Verdict::Drop,
        Ingress::Flag | Ingress::Drop => Verdict::Flag,
    };
    [egress, ingress]
}

fn set<V>(classes: &Dimension<V>, matches: &dyn Fn(&Both) -> bool) -> Classes {
    Classes::where_so(classes.len(), |number| matches(&classes[number].lets))
}

/// The classes of ports of each kind.
fn kinds(ports: &Dimension) -> Vec<Classes> {
    let is_of = |class: usize, wanted: u32| {
        let value = ports[class].values.first();
        matches!(value, Some(Value::Ports { kind, .. }) if *kind == wanted)
    };
    dimensions::port_kinds().map(|kind| Classes::where_so(ports.len(), |class| is_of(class, kind))).collect()
}
