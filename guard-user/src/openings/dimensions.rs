//! Dimensions of a flow: each in classes of values that both tables treat alike.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use guard_common::abi::{
    Direction, EXEMPTION_WORDS, ExemptionSet, HIDDEN_CLASS, NO_PORT_CLASS, PORT_PROTOCOLS, PolicyTable,
    SmallTable,
};
use guard_common::decide::source_pins;

use super::{Made, Value, World, marks};
use crate::config::policy::{Mark, Pin, Selectors, is_in_cgroup, matches_interface};

/// What a value lets match in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lets {
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

    /// What both let match.
    pub(super) fn and(&self, other: &Self) -> Self {
        let mut exemptions = self.exemptions;
        exemptions.iter_mut().zip(other.exemptions).for_each(|(word, bits)| *word &= bits);
        Self { pins: self.pins & other.pins, failsafes: self.failsafes & other.failsafes, exemptions }
    }
}

/// What a value lets match in the old table and in the new one.
pub(super) type Both = [Lets; 2];

/// Values that both tables treat alike.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub(super) lets: Both,
    pub(super) values: Vec<Value>,
}

/// A dimension: every flow has one value of one class.
pub(super) type Dimension = Vec<Class>;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
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

/// The runs between sorted borders, both ends included.
pub(super) fn runs(borders: BTreeSet<u128>, last: u128) -> Vec<(u128, u128)> {
    let borders: Vec<u128> = borders.into_iter().filter(|border| *border <= last).collect();
    let ends = borders.iter().skip(1).map(|next| next - 1).chain([last]);
    borders.iter().copied().zip(ends).collect()
}

fn classes(values: impl IntoIterator<Item = (Both, Value)>) -> Dimension {
    let mut numbers = HashMap::new();
    let mut classes: Dimension = Vec::new();
    for (lets, value) in values {
        let number = *numbers.entry(lets).or_insert_with(|| {
            classes.push(Class { lets, values: Vec::new() });
            classes.len() - 1
        });
        classes[number].values.push(value);
    }
    classes
}

/// The dimensions that are known without the packet: by which it may belong to a pin although it can't be read.
/// `None` where they are too many to tell apart.
pub(super) fn of_origin(worlds: [&World<'_>; 2], tables: &[Box<PolicyTable>; 2]) -> Option<Vec<Dimension>> {
    let mut selectors = BTreeSet::new();
    for table in tables {
        selectors.extend(
            used(&table.marks, table.mark_len).iter().map(|it| Mark { value: it.value, mask: it.mask }),
        );
    }
    let selectors: Vec<Mark> = selectors.into_iter().collect();
    let marked = marks::pieces(&selectors)?.into_iter().map(|piece| {
        let lets = tables.each_ref().map(|table| {
            let of =
                |it: &guard_common::abi::Mark| marks::matches(Mark { value: it.value, mask: it.mask }, piece);
            let marks = used(&table.marks, table.mark_len).iter().filter(|it| of(it));
            Lets::of_pins(marks.fold(table.any_mark, |pins, mark| pins | mark.pins))
        });
        (lets, Value::Marked(piece))
    });
    let directions = [Direction::Unknown, Direction::Served, Direction::Opened].map(|direction| {
        let lets = tables.each_ref().map(|table| {
            let pins = table.direction_pins.get(direction as usize);
            Lets::of_pins(pins.copied().unwrap_or(u64::MAX))
        });
        (lets, Value::Opened(direction))
    });
    Some(vec![
        by_name(worlds, &cgroups()),
        by_name(worlds, &users()),
        by_name(worlds, &volumes()),
        by_name(worlds, &interfaces()),
        classes(marked),
        classes(directions),
    ])
}

/// The dimensions of the headers and of time, but for the destination.
pub(super) fn of_headers(
    worlds: [&World<'_>; 2],
    tables: &[Box<PolicyTable>; 2],
    family: Family,
) -> Vec<Dimension> {
    vec![sources(tables, family), ports(tables), windows(worlds)]
}

fn used<T>(items: &[T], len: u32) -> &[T] {
    items.get(..len as usize).unwrap_or(items)
}

/// A dimension that is compared by names.
struct Names<'a> {
    /// The names that a selector has.
    of: &'a dyn Fn(&Selectors) -> Vec<String>,
    /// Whether one of a selector's names has this one.
    has: &'a dyn Fn(&str, &str) -> bool,
    /// The value of a name.
    value: fn(String) -> Value,
    /// Values that have no name, with whether they match every selector.
    others: &'a [(Value, Others)],
}

/// What a value without a name matches.
#[derive(Clone, Copy)]
enum Others {
    /// Every selector.
    Every,
    /// No selector but one that has everything.
    None,
}

fn cgroups() -> Names<'static> {
    Names {
        of: &|select| select.cgroups.clone(),
        has: &|selector, name| is_in_cgroup(name, selector),
        value: Value::Cgroup,
        others: &[(Value::OtherCgroup, Others::None), (Value::Anybody, Others::Every)],
    }
}

fn users() -> Names<'static> {
    Names {
        of: &|select| {
            let name = |user: &crate::config::policy::User| match user.uid {
                Some(uid) => uid.to_string(),
                None => user.text.clone(),
            };
            select.users.iter().map(name).collect()
        },
        has: &|selector, name| selector == name,
        value: Value::User,
        others: &[(Value::OtherUser, Others::None), (Value::Anybody, Others::Every)],
    }
}

fn volumes() -> Names<'static> {
    Names {
        of: &|select| select.volumes.iter().map(|path| path.display().to_string()).collect(),
        has: &|selector, name| selector == name,
        value: Value::Volume,
        others: &[(Value::NoVolume, Others::None)],
    }
}

/// Patterns stand for names of their own: where they differ, `attributes` says so.
fn interfaces() -> Names<'static> {
    Names {
        of: &|select| select.interfaces.iter().map(ToString::to_string).collect(),
        has: &|selector, name| selector == name || matches_interface(selector, name),
        value: Value::Interface,
        others: &[(Value::OtherInterface, Others::None)],
    }
}

fn by_name(worlds: [&World<'_>; 2], names: &Names<'_>) -> Dimension {
    let selectors = |world: &World<'_>| -> Vec<Vec<String>> {
        world.policy.pins.iter().map(|pin: &Pin| (names.of)(&pin.select)).collect()
    };
    let selectors = worlds.map(selectors);
    let pins = |holds: &dyn Fn(&String) -> bool| {
        selectors.each_ref().map(|pins| {
            let of = pins.iter().enumerate().filter(|(_, names)| names.is_empty() || names.iter().any(holds));
            Lets::of_pins(of.fold(0, |bits, (at, _)| bits | 1 << at))
        })
    };
    let named: BTreeSet<&String> = selectors.iter().flatten().flatten().collect();
    let named = named.into_iter().map(|name| {
        let lets = pins(&|selector| (names.has)(selector, name));
        (lets, (names.value)(name.clone()))
    });
    let others = names.others.iter().map(|(value, others)| {
        let lets = match others {
            Others::Every => pins(&|_| true),
            // No name has a line break: what matches it matches everything.
            Others::None => pins(&|selector| (names.has)(selector, "\n")),
        };
        (lets, value.clone())
    });
    classes(named.chain(others).collect::<Vec<_>>())
}

fn sources(tables: &[Box<PolicyTable>; 2], family: Family) -> Dimension {
    let mut borders = BTreeSet::from([0]);
    for table in tables {
        match family {
            Family::V4 => borders.extend(starts4(&table.sources4)),
            Family::V6 => {
                let (table, len) = (&table.sources6, table.sources6.len);
                let halves = used(&table.hi, len).iter().zip(used(&table.lo, len));
                borders.extend(halves.map(|(hi, lo)| u128::from(*hi) << 64 | u128::from(*lo)));
            }
        }
    }
    // The host's own addresses may be any.
    let values = runs(borders, family.last()).into_iter().flat_map(|(first, last)| {
        let address = family.address(first);
        [Made::Here, Made::Elsewhere].map(|made| {
            let lets = tables.each_ref().map(|table| {
                let of_host = if made == Made::Here { table.from_host } else { 0 };
                Lets::of_pins(source_pins(table, address.into()) | of_host)
            });
            (lets, Value::Source { first: address, last: family.address(last), made })
        })
    });
    classes(values.collect::<Vec<_>>())
}

fn starts4<const N: usize>(table: &SmallTable<N>) -> impl Iterator<Item = u128> + '_ {
    used(&table.starts, table.len).iter().map(|start| u128::from(*start))
}

/// The number of the set that holds for a key.
pub(super) fn floor<const N: usize>(table: &SmallTable<N>, key: u32) -> usize {
    let after = used(&table.starts, table.len).partition_point(|start| *start <= key);
    after.checked_sub(1).and_then(|at| table.sets.get(at)).map_or(0, |set| usize::from(*set))
}

fn ports(tables: &[Box<PolicyTable>; 2]) -> Dimension {
    let borders = |of: fn(&PolicyTable) -> Vec<u128>| -> BTreeSet<u128> {
        tables.iter().flat_map(|table| of(table)).collect()
    };
    let local = borders(|table| starts4(&table.local_ports).collect());
    let remote = borders(|table| starts4(&table.remote_ports).collect());
    let mut values = Vec::new();
    let protocols = PORT_PROTOCOLS.len() as u32;
    let unread = (NO_PORT_CLASS..=NO_PORT_CLASS + protocols).chain([NO_PORT_CLASS + HIDDEN_CLASS]);
    for class in (1..=protocols).chain(unread) {
        let first = u128::from(class) << 16;
        // What has no port that can be read has one key.
        let last = if class < NO_PORT_CLASS { first | 0xffff } else { first };
        let of_class = |borders: &BTreeSet<u128>| {
            runs(borders.range(first..=last).copied().chain([first]).collect(), last)
        };
        let remotes = of_class(&remote);
        for local in of_class(&local) {
            for remote in &remotes {
                let lets = tables.each_ref().map(|table| {
                    let l = table.local_sets[floor(&table.local_ports, local.0 as u32)];
                    let r = table.remote_sets[floor(&table.remote_ports, remote.0 as u32)];
                    Lets {
                        pins: l.pins & r.pins,
                        failsafes: l.failsafes & r.failsafes,
                        exemptions: r.exemptions,
                    }
                });
                let ports = |(first, last): (u128, u128)| (first as u16, last as u16);
                values.push((lets, Value::Ports { class, local: ports(local), remote: ports(*remote) }));
            }
        }
    }
    classes(values)
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
        (lets, Value::Window { first, last })
    });
    classes(windows.collect::<Vec<_>>())
}
