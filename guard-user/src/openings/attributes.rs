//! What is no matter of a single packet: pins by name, who carries data, what is guarded at all.

use std::collections::BTreeSet;

use crate::config::policy::{InterfacePattern, Pin, Policy, Relays, SentBy, Spread, is_in_cgroup};

/// A change that opens something, whatever the tables say of single packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The new policy has no pin of this name.
    PinGone {
        /// The pin.
        pin: String,
    },
    /// What a pin knows of data and senders is less.
    PinNarrower {
        /// The pin.
        pin: String,
        /// The key of `[pin.select]`.
        key: &'static str,
    },
    /// A pin selects by other patterns of interfaces, which can't be compared without the host.
    InterfacePatterns {
        /// The pin.
        pin: String,
    },
    /// A pattern of interfaces is guarded no more.
    Unguarded {
        /// The pattern, as `host.interfaces` had it.
        pattern: String,
    },
    /// A key of the host's sections is milder.
    Milder {
        /// The key.
        key: &'static str,
    },
    /// A cgroup may use ways past the guard that it could not use.
    BypassAllowed {
        /// The cgroup.
        cgroup: String,
    },
    /// There are more combinations of selectors than are compared.
    TooManyToCompare,
}

/// What the new policy opens beside single packets.
pub(super) fn changes(old: &Policy, new: &Policy) -> Vec<Change> {
    let mut changes = of_host(old, new);
    for pin in old.distinct_pins() {
        let ways = |policy: &Policy| -> Vec<Pin> {
            policy.pins.iter().filter(|it| it.name == pin.name).cloned().collect()
        };
        let (was, is) = (ways(old), ways(new));
        if is.is_empty() {
            changes.push(Change::PinGone { pin: pin.name.clone() });
            continue;
        }
        let narrower = was.iter().flat_map(|way| narrower(way, &is)).collect::<BTreeSet<_>>();
        changes.extend(narrower.into_iter().map(|key| Change::PinNarrower { pin: pin.name.clone(), key }));
        if patterns(&was) != patterns(&is) {
            changes.push(Change::InterfacePatterns { pin: pin.name.clone() });
        }
    }
    changes
}

/// The sets of interfaces of a pin's ways in which there are patterns. Names of interfaces are compared as flows are.
fn patterns(ways: &[Pin]) -> BTreeSet<BTreeSet<&str>> {
    let with_patterns = ways.iter().map(|way| &way.select.interfaces);
    with_patterns
        .filter(|interfaces| interfaces.iter().any(|it| it.is_glob()))
        .map(|interfaces| interfaces.iter().map(|it| it.as_str()).collect())
        .collect()
}

/// The keys in which every way that now has the same volumes, cgroups and users is less than this one was.
fn narrower(was: &Pin, is: &[Pin]) -> Vec<&'static str> {
    let old = &was.select;
    if old.volumes.is_empty() && old.cgroups.is_empty() && old.users.is_empty() {
        return Vec::new();
    }
    let less = |pin: &Pin| -> Vec<&'static str> {
        let new = &pin.select;
        let asks_sender = !(new.cgroups.is_empty() && new.users.is_empty());
        let carries = !new.volumes.is_empty();
        let keys = [
            ("sent_by", asks_sender && old.sent_by == SentBy::Process && new.sent_by == SentBy::Socket),
            ("spread", carries && old.spread == Spread::Cgroup && new.spread == Spread::Process),
            ("copies", carries && !old.ignores_copies && new.ignores_copies),
            ("relays", carries && old.relays == Relays::Tag && new.relays == Relays::Tell),
        ];
        keys.into_iter().filter(|(_, is_less)| *is_less).map(|(key, _)| key).collect()
    };
    let has_its_own = |pin: &&Pin| {
        let new = &pin.select;
        let has_all =
            |old: &[String], new: &[String]| new.is_empty() || old.iter().all(|it| new.contains(it));
        let names = |pin: &Pin| pin.select.users.iter().map(|user| user.text.clone()).collect::<Vec<_>>();
        (new.volumes.is_empty() || old.volumes.iter().all(|it| new.volumes.contains(it)))
            && has_all(&old.cgroups, &new.cgroups)
            && has_all(&names(was), &names(pin))
    };
    // Where no way has them all, each that is left counts: what is gone from it is told by its flows.
    let own: Vec<&Pin> = is.iter().filter(has_its_own).collect();
    let compared = if own.is_empty() { is.iter().collect() } else { own };
    compared.into_iter().map(less).min_by_key(Vec::len).unwrap_or_default()
}

fn of_host(old: &Policy, new: &Policy) -> Vec<Change> {
    let unguarded = old.host.interfaces.iter().filter(|pattern| {
        // A pattern is guarded by itself, and a name by any pattern.
        let is_covered = |it: &InterfacePattern| {
            it == *pattern || it.as_str() == "*" || !pattern.is_glob() && it.matches(pattern.as_str())
        };
        !new.host.interfaces.iter().any(is_covered)
    });
    let mut changes: Vec<Change> =
        unguarded.map(|pattern| Change::Unguarded { pattern: pattern.to_string() }).collect();
    let is_outside = |was: &str, is: &str| !is_in_cgroup(was, is) && !is.trim_matches('/').is_empty();
    let milder = [
        ("bypass.refuse", old.refuses_bypass() && !new.refuses_bypass()),
        ("bypass.cgroup", new.refuses_bypass() && is_outside(&old.bypass.cgroup, &new.bypass.cgroup)),
        ("sockets.note", old.sockets.note && !new.sockets.note),
        ("sockets.cgroup", new.sockets.note && is_outside(&old.sockets.cgroup, &new.sockets.cgroup)),
        ("sockets.refuse", old.refuses_calls() && !new.refuses_calls()),
    ];
    changes.extend(milder.into_iter().filter(|(_, is)| *is).map(|(key, _)| Change::Milder { key }));
    if old.refuses_bypass() && new.refuses_bypass() {
        let was_allowed = |cgroup: &str| old.bypass.allow.iter().any(|it| is_in_cgroup(cgroup, it));
        let allowed = new.bypass.allow.iter().filter(|cgroup| !was_allowed(cgroup));
        changes.extend(allowed.map(|cgroup| Change::BypassAllowed { cgroup: cgroup.clone() }));
    }
    changes
}
