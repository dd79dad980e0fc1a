//! What a failsafe rule matches, by which it is known from one generation to the next, and where that is.

use ipnetwork::IpNetwork;
use sha2::{Digest as _, Sha256};

use super::classes::{Range, keys, v4_range, v6_range};
use super::elsewhere::Places;
use crate::config::policy::{Failsafe, Placing, Policy, PortRange};
use crate::geo::GeoDb;

/// A number for each rule, never 0. It is the same for rules that match the same packets, however they are written and whatever
/// their names and budgets, but for how many of those stand before it: each has what it has spent for itself, and where they change
/// places each goes on by what was spent at its place.
pub(crate) fn failsafe_matches(rules: &[Failsafe]) -> Vec<u64> {
    let all: Vec<Vec<u8>> = rules.iter().map(matched).collect();
    let number = |(at, matched): (usize, &Vec<u8>)| {
        let alike = all.iter().take(at).filter(|it| *it == matched).count();
        let hash: [u8; 32] =
            Sha256::new().chain_update(matched).chain_update(alike.to_le_bytes()).finalize().into();
        hash.first_chunk().map_or(1, |first| u64::from_le_bytes(*first)).max(1)
    };
    all.iter().enumerate().map(number).collect()
}

/// Notes where networks are by this database and the policy's sites, and of each rule where its peers are.
pub fn place(policy: &mut Policy, database: &GeoDb) {
    let places = Places::new(policy, database);
    for rule in &mut policy.failsafe {
        rule.places = (!rule.peers.is_empty()).then(|| places.of(&rule.peers)).flatten();
    }
    policy.placing = Placing::new(move |networks| places.of(networks));
}

/// What a rule matches: its ports and addresses as ranges that do not touch, each kind after their number.
fn matched(rule: &Failsafe) -> Vec<u8> {
    let Failsafe { local_ports, remote_ports, peers, .. } = rule;
    let ports = |ports: &[PortRange]| joined(ports.iter().map(keys).map(wide));
    let v4 = joined(peers.iter().filter_map(v4_range).map(wide));
    let v6 = joined(peers.iter().filter_map(|network: &IpNetwork| v6_range(network)));
    let mut bytes = Vec::new();
    for ranges in [ports(local_ports), ports(remote_ports), v4, v6] {
        bytes.extend(ranges.len().to_le_bytes());
        bytes.extend(
            ranges.iter().flat_map(|(first, last)| [first.to_le_bytes(), last.to_le_bytes()].concat()),
        );
    }
    bytes
}

fn wide((first, last): Range<u32>) -> Range<u128> {
    (first.into(), last.into())
}

/// Ranges, sorted, those that overlap or touch as one.
fn joined(ranges: impl Iterator<Item = Range<u128>>) -> Vec<Range<u128>> {
    let mut sorted: Vec<Range<u128>> = ranges.collect();
    sorted.sort_unstable();
    let mut joined: Vec<Range<u128>> = Vec::new();
    for (first, last) in sorted {
        match joined.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => joined.push((first, last)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Surroundings, parse};

    /// The numbers of rules, each its text after the name.
    fn of(rules: &[(&str, &str)]) -> Vec<u64> {
        let mut text = "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n".to_owned();
        for (name, rest) in rules {
            text += &format!("[[failsafe]]\nname = \"{name}\"\nanywhere = true\n{rest}\n");
        }
        let parsed = parse(Path::new("policy.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap();
        failsafe_matches(&parsed.policy.failsafe)
    }

    #[test]
    fn a_rule_is_known_by_what_it_matches_and_by_nothing_else() {
        let one = "peers = [\"192.0.2.0/24\"]\nremote_ports = [\"tcp/1-3\"]";
        let known = of(&[("a", one)])[0];
        let same = [
            "peers = [\"192.0.2.128/25\", \"192.0.2.0/25\"]\nremote_ports = [\"tcp/3\", \"tcp/1-2\"]",
            "peers = [\"192.0.2.0/24\", \"192.0.2.7/32\"]\nremote_ports = [\"tcp/1-3\"]\nbytes_per_minute = 7",
        ];
        for text in same {
            assert_eq!(of(&[("b", text)]), [known], "{text}");
        }
        let others = [
            "peers = [\"192.0.2.0/24\"]\nlocal_ports = [\"tcp/1-3\"]",
            "peers = [\"192.0.2.0/24\"]\nremote_ports = [\"udp/1-3\"]",
            "peers = [\"192.0.2.0/24\"]\nremote_ports = [\"tcp/1-4\"]",
            "peers = [\"192.0.2.0/25\"]\nremote_ports = [\"tcp/1-3\"]",
            "peers = [\"192.0.2.0/24\", \"2001:db8::/32\"]\nremote_ports = [\"tcp/1-3\"]",
            "peers = [\"192.0.2.0/24\"]",
            "remote_ports = [\"tcp/1-3\"]",
        ];
        let all: Vec<u64> = others.iter().flat_map(|text| of(&[("a", text)])).chain([known, 0]).collect();
        let distinct: std::collections::BTreeSet<u64> = all.iter().copied().collect();
        assert_eq!(distinct.len(), all.len(), "{all:?}");
        // Names that are exchanged exchange nothing.
        assert_eq!(of(&[("a", one), ("b", others[0])]), of(&[("b", one), ("a", others[0])]));
    }

    #[test]
    fn rules_that_match_the_same_are_known_by_their_order() {
        let (one, same) = ("peers = [\"192.0.2.0/24\"]", "peers = [\"192.0.2.0/24\"]\nbytes_per_minute = 7");
        let two = of(&[("a", one), ("b", same)]);
        assert_ne!(two[0], two[1]);
        assert_eq!(of(&[("b", same), ("a", one)]), two);
        assert_eq!(of(&[("b", same)]), two[..1]);
    }
}
