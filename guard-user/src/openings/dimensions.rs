//! Dimensions of a flow: each in classes of values that both tables treat alike.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use guard_common::abi::{
    Direction, EXEMPTION_WORDS, ExemptionSet, HIDDEN_CLASS, NO_PORT_CLASS, PORT_PROTOCOLS, PolicyTable,
    SmallTable, SmallTable6,
};
use guard_common::decide::source_pins;

use super::marks;
use super::value::{Carries, Value};
use super::world::World;
use crate::config::policy::{Mark, Pin, Relays, Selectors, SentBy, Spread, User, covers, is_in_cgroup};

/// What a value lets match in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lets {
    /// Ways in which pins are known; of destinations those that forbid them.
    pub(super) pins: u64,
    pub(super) failsafes: u64,
    pub(super) exemptions: ExemptionSet,
}

impl Lets {
    /// Everything.
    pub(super) const ALL: Self =
        Self { pins: u64::MAX, failsafes: u64::MAX, exemptions: [u64::MAX; EXEMPTION_WORDS] };

    /// These pins, and whatever failsafe rules and exemptions there are.
    pub(super) const fn of_pins(pins: u64) -> Self {
        Self { pins, ..Self::ALL }
    }

    /// Whether they have the exemption in this slot.
    pub(super) fn has_exemption(&self, slot: usize) -> bool {
        self.exemptions.get(slot / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }
}

/// What a value lets match in the old table and in the new one.
pub(super) type Both = [Lets; 2];

/// The tables of both worlds.
pub(super) type Tables = [Box<PolicyTable>; 2];

/// Values that both tables treat alike.
#[derive(Clone, Debug)]
pub(super) struct Class<V = Value> {
    pub(super) lets: Both,
    pub(super) values: Vec<V>,
}

/// A dimension: every flow has one value of one class.
pub(super) type Dimension<V = Value> = Vec<Class<V>>;

/// The number of each dimension in an [`Area`](super::areas::Area).
pub(super) mod number {
    pub(in super::super) const CGROUP: usize = 0;
    pub(in super::super) const USER: usize = 1;
    pub(in super::super) const SENT_BY: usize = 2;
    pub(in super::super) const VOLUME: usize = 3;
    pub(in super::super) const CARRIES: usize = 4;
    pub(in super::super) const INTERFACE: usize = 5;
    pub(in super::super) const MARK: usize = 6;
    pub(in super::super) const DIRECTION: usize = 7;
    /// From here on what only a header tells.
    pub(in super::super) const SOURCE: usize = 8;
    pub(in super::super) const LOCAL: usize = 9;
    pub(in super::super) const REMOTE: usize = 10;
    pub(in super::super) const WINDOW: usize = 11;
    pub(in super::super) const DESTINATION: usize = 12;
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The highest address.
    pub(super) const fn last(self) -> u128 {
        match self {
            Self::V4 => u32::MAX as u128,
            Self::V6 => u128::MAX,
        }
    }

    /// The address of this number, in host order.
    pub(super) fn address(self, number: u128) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from(number as u32).into(),
            Self::V6 => Ipv6Addr::from(number).into(),
        }
    }
}

/// The runs between borders, both ends included.
pub(super) fn runs(borders: BTreeSet<u128>, last: u128) -> Vec<(u128, u128)> {
    let borders: Vec<u128> = borders.into_iter().filter(|border| *border <= last).collect();
    let ends = borders.iter().skip(1).map(|next| next - 1).chain([last]);
    borders.iter().copied().zip(ends).collect()
}

/// Values by what tells them apart, the key, and what they let match.
pub(super) fn classes<K: Copy + Eq + std::hash::Hash, V>(
    values: impl IntoIterator<Item = (K, Both, V)>,
) -> Dimension<V> {
    let mut numbers = HashMap::new();
    let mut classes: Dimension<V> = Vec::new();
    for (key, lets, value) in values {
        let number = *numbers.entry((key, lets)).or_insert_with(|| {
            classes.push(Class { lets, values: Vec::new() });
            classes.len() - 1
        });
        classes[number].values.push(value);
    }
    classes
}

/// All dimensions but the destination, in the order of [`number`]. `None` where marks are too many to tell apart.
pub(super) fn all(worlds: [&World<'_>; 2], tables: &Tables) -> Option<Vec<Dimension>> {
    let cgroup = Names {
        of: &|select| select.cgroups.clone(),
        has: &|selector, name| is_in_cgroup(name, selector),
        value: Value::Cgroup,
    };
    let user = Names {
        of: &|select| select.users.iter().map(user_name).collect(),
        has: &|selector, name| selector == name,
        value: Value::User,
    };
    let volume = Names {
        of: &|select| select.volumes.iter().map(|path| path.display().to_string()).collect(),
        has: &|selector, name| selector == name,
        value: Value::Volume,
    };
    // A pattern stands for all the names that it matches.
    let interface = Names {
        of: &|select| select.interfaces.iter().map(ToString::to_string).collect(),
        has: &covers,
        value: Value::Interface,
    };
    Some(vec![
        by_name(worlds, &cgroup),
        by_name(worlds, &user),
        by_pins(worlds, &[SentBy::Socket, SentBy::Process], is_sent_by, Value::SentBy),
        by_name(worlds, &volume),
        by_pins(worlds, &Carries::ALL, carries, Value::Carries),
        by_name(worlds, &interface),
        marks(tables)?,
        directions(tables),
        sources(tables),
        ports(
            tables,
            |table| &table.local_ports,
            |table, set| {
                let set = table.local_sets[set];
                Lets { pins: set.pins, failsafes: set.failsafes, ..Lets::ALL }
            },
        ),
        ports(
            tables,
            |table| &table.remote_ports,
            |table, set| {
                let set = table.remote_sets[set];
                Lets { pins: set.pins, failsafes: set.failsafes, exemptions: set.exemptions }
            },
        ),
        windows(worlds),
    ])
}

fn user_name(user: &User) -> String {
    user.uid.map_or_else(|| user.text.clone(), |uid| uid.to_string())
}

/// A dimension that is compared by names.
struct Names<'a> {
    /// The names that a selector has.
    of: &'a dyn Fn(&Selectors) -> Vec<String>,
    /// Whether one of a selector's names has all of this one.
    has: &'a dyn Fn(&str, &str) -> bool,
    /// The value of a name.
    value: fn(String) -> Value,
}

/// The ways of either world for which something holds.
fn ways(worlds: [&World<'_>; 2], holds: impl Fn(&Pin) -> bool) -> Both {
    worlds.map(|world| {
        let of = world.policy.pins.iter().enumerate().filter(|(_, pin)| holds(pin));
        Lets::of_pins(of.fold(0, |bits, (at, _)| bits | 1 << at))
    })
}

fn by_name(worlds: [&World<'_>; 2], names: &Names<'_>) -> Dimension {
    let of = |pin: &Pin| (names.of)(&pin.select);
    let named: BTreeSet<String> = worlds.iter().flat_map(|world| &world.policy.pins).flat_map(of).collect();
    // No name is like this: what matches it matches everything.
    let values = named.into_iter().map(|name| (name.clone(), (names.value)(name)));
    let values = values.chain([("\n".repeat(300), Value::Other)]);
    let values = values.map(|(name, value)| {
        let has = |pin: &Pin| {
            let own = of(pin);
            own.is_empty() || own.iter().any(|it| (names.has)(it, &name))
        };
        ((), ways(worlds, has), value)
    });
    classes(values.collect::<Vec<_>>())
}

fn by_pins<T: Copy>(
    worlds: [&World<'_>; 2],
    values: &[T],
    has: fn(&Selectors, T) -> bool,
    value: fn(T) -> Value,
) -> Dimension {
    classes(values.iter().map(|it| ((), ways(worlds, |pin| has(&pin.select, *it)), value(*it))))
}

/// What the socket says is known whoever sends.
fn is_sent_by(select: &Selectors, known: SentBy) -> bool {
    known == SentBy::Socket
        || select.sent_by == SentBy::Process
        || select.cgroups.is_empty() && select.users.is_empty()
}

fn carries(select: &Selectors, how: Carries) -> bool {
    select.volumes.is_empty()
        || match how {
            Carries::Itself => true,
            Carries::ByCgroup => select.spread == Spread::Cgroup,
            Carries::ACopy => !select.ignores_copies,
            Carries::AsRelay => select.relays == Relays::Tag,
        }
}

fn used<T>(items: &[T], len: u32) -> &[T] {
    items.get(..len as usize).unwrap_or(items)
}

fn marks(tables: &Tables) -> Option<Dimension> {
    let of = |it: &guard_common::abi::Mark| Mark { value: it.value, mask: it.mask };
    let selectors: BTreeSet<Mark> =
        tables.iter().flat_map(|table| used(&table.marks, table.mark_len).iter().map(of)).collect();
    let selectors: Vec<Mark> = selectors.into_iter().collect();
    let marked = marks::pieces(&selectors)?.into_iter().map(|piece| {
        let lets = tables.each_ref().map(|table| {
            let marks = used(&table.marks, table.mark_len).iter().filter(|it| marks::matches(of(it), piece));
            Lets::of_pins(marks.fold(table.any_mark, |pins, mark| pins | mark.pins))
        });
        ((), lets, Value::Marked(piece))
    });
    Some(classes(marked.collect::<Vec<_>>()))
}

fn directions(tables: &Tables) -> Dimension {
    classes([Direction::Unknown, Direction::Served, Direction::Opened].map(|direction| {
        let lets = tables.each_ref().map(|table| {
            let pins = table.direction_pins.get(direction as usize);
            Lets::of_pins(pins.copied().unwrap_or(u64::MAX))
        });
        ((), lets, Value::Opened(direction))
    }))
}

fn starts4<const N: usize>(table: &SmallTable<N>) -> impl Iterator<Item = u128> + '_ {
    used(&table.starts, table.len).iter().map(|start| u128::from(*start))
}

fn starts6<const N: usize>(table: &SmallTable6<N>) -> impl Iterator<Item = u128> + '_ {
    let halves = used(&table.hi, table.len).iter().zip(&table.lo);
    halves.map(|(hi, lo)| u128::from(*hi) << 64 | u128::from(*lo))
}

/// Addresses by whose they are: the host's own, or made by it, match pins whose sources have the host.
fn sources(tables: &Tables) -> Dimension {
    let mut values = Vec::new();
    for family in Family::ALL {
        let mut borders = BTreeSet::from([0]);
        for table in tables {
            match family {
                Family::V4 => borders.extend(starts4(&table.sources4)),
                Family::V6 => borders.extend(starts6(&table.sources6)),
            }
        }
        for (first, last) in runs(borders, family.last()) {
            let (first, last) = (family.address(first), family.address(last));
            for of_host in [false, true] {
                let lets = tables.each_ref().map(|table| {
                    let host = if of_host { table.from_host } else { 0 };
                    Lets::of_pins(source_pins(table, first.into()) | host)
                });
                let value = match of_host {
                    true => Value::HostSource { first, last },
                    false => Value::Source { first, last },
                };
                values.push(((), lets, value));
            }
        }
    }
    classes(values)
}

/// The number of the set that holds for a key.
pub(super) fn floor<const N: usize>(table: &SmallTable<N>, key: u32) -> usize {
    let after = used(&table.starts, table.len).partition_point(|start| *start <= key);
    after.checked_sub(1).and_then(|at| table.sets.get(at)).map_or(0, |set| usize::from(*set))
}

/// The kinds of packets by their ports: the upper half of the [`port_key`](guard_common::abi::port_key).
pub(super) fn port_kinds() -> impl Iterator<Item = u32> {
    let protocols = PORT_PROTOCOLS.len() as u32;
    let unread = (NO_PORT_CLASS..=NO_PORT_CLASS + protocols).chain([NO_PORT_CLASS + HIDDEN_CLASS]);
    (1..=protocols).chain(unread)
}

fn ports<const N: usize>(
    tables: &Tables,
    of: fn(&PolicyTable) -> &SmallTable<N>,
    lets_of: fn(&PolicyTable, usize) -> Lets,
) -> Dimension {
    let borders: BTreeSet<u128> = tables.iter().flat_map(|table| starts4(of(table))).collect();
    let values = port_kinds().flat_map(|kind| {
        let first = u128::from(kind) << 16;
        // What has no port that can be read has one key.
        let last = if kind < NO_PORT_CLASS { first | 0xffff } else { first };
        let ranges = runs(borders.range(first..=last).copied().chain([first]).collect(), last);
        ranges.into_iter().map(move |(first, last)| {
            let lets = tables.each_ref().map(|table| lets_of(table, floor(of(table), first as u32)));
            (kind, lets, Value::Ports { kind, first: first as u16, last: last as u16 })
        })
    });
    classes(values.collect::<Vec<_>>())
}

fn windows(worlds: [&World<'_>; 2]) -> Dimension {
    let mut borders = BTreeSet::from([0]);
    for exemption in worlds.iter().flat_map(|world| world.exemptions) {
        borders.extend([exemption.valid_from_ns, exemption.valid_until_ns].map(u128::from));
    }
    let windows = runs(borders, u128::from(u64::MAX)).into_iter().map(|(first, last)| {
        let (first, last) = (first as u64, last as u64);
        let lets = worlds.map(|world| {
            let mut exemptions = [0; EXEMPTION_WORDS];
            let holds = |from: u64, until: u64| from <= first && first < until;
            for it in world.exemptions.iter().filter(|it| holds(it.valid_from_ns, it.valid_until_ns)) {
                let slot = usize::from(it.slot);
                if let Some(word) = exemptions.get_mut(slot / 64) {
                    *word |= 1 << (slot % 64);
                }
            }
            Lets { exemptions, ..Lets::ALL }
        });
        ((), lets, Value::Window { first, last })
    });
    classes(windows.collect::<Vec<_>>())
}
