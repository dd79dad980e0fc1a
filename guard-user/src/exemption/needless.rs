//! Where a policy lets data pass without an exemption: nothing that is done to the exemption stops it.

use std::collections::BTreeSet;
use std::fmt;

use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;

use super::document::{Document, Recipient};
use crate::config::policy::{Action, Failsafe, Pin, Policy, PortRange};
use crate::text::escaped;

/// That data of a pin passes to a recipient whatever exemptions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needless<'d> {
    /// The pin's name.
    pub pin: &'d str,
    /// Who receives.
    pub recipient: &'d Recipient,
    /// Why it passes.
    pub by: By,
}

/// Why data passes without an exemption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// The recipient is in the pin's home, which this is.
    Home(Jurisdiction),
    /// The pin permits this jurisdiction, which the recipient is in.
    Permit(Jurisdiction),
    /// The pin drops nothing: it flags or observes.
    Action(Action),
    /// The whole config only observes.
    Observe,
    /// The config has no pin of the name.
    NoPin,
}

impl By {
    /// Whether the transfer is none that an exemption is for: the policy permits it.
    #[must_use]
    pub const fn is_permitted(self) -> bool {
        matches!(self, Self::Home(_) | Self::Permit(_))
    }

    /// The same of a pin of this name, as the begin of a sentence.
    fn words(self, pin: &str) -> String {
        let pin = escaped(pin);
        match self {
            Self::Home(place) => format!("{place} is the home of the pin {pin}"),
            Self::Permit(place) => format!("the pin {pin} permits {place}"),
            Self::Action(Action::Observe) => format!("the pin {pin} only observes"),
            Self::Action(_) => format!("the pin {pin} only flags"),
            Self::Observe => "the config only observes (`host.observe`)".to_owned(),
            Self::NoPin => format!("the config has no pin {pin}, and by that name judges nothing"),
        }
    }
}

impl fmt::Display for Needless<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pin, recipient, by } = self;
        f.write_str(&by.words(pin))?;
        match by {
            By::Home(place) | By::Permit(place) if *place != recipient.jurisdiction => {
                write!(f, ", where networks of {} are placed", escaped(&recipient.name))
            }
            _ => Ok(()),
        }
    }
}

/// Of the pins of a document and its recipients those between which data passes without it, by this policy. Networks are where the
/// policy's sites and the database in force place them; where that is not known, and of a recipient without any, in the
/// jurisdiction that the document says.
#[must_use]
pub fn needless<'d>(document: &'d Document, policy: &Policy) -> Vec<Needless<'d>> {
    let pairs = document.pins.iter().flat_map(|pin| document.recipients.iter().map(move |it| (pin, it)));
    let passes = |(pin, recipient): (&'d String, &'d Recipient)| {
        let of = move |by| Needless { pin, recipient, by };
        ways(policy, pin, recipient).into_iter().map(of)
    };
    pairs.flat_map(passes).collect()
}

/// Why data of the pin of this name passes to a recipient.
fn ways(policy: &Policy, pin: &str, recipient: &Recipient) -> Vec<By> {
    // A pin that is known in several ways is there several times, with the same rules.
    let Some(pin) = policy.pins.iter().find(|it| it.name == pin) else { return vec![By::NoPin] };
    let placed = policy.placing.of(&recipient.networks);
    let places = placed.map_or_else(|| vec![recipient.jurisdiction], |it| it.iter().collect());
    let permitted = |place: &Jurisdiction| match place {
        home if *home == pin.home => Some(By::Home(*home)),
        place => pin.permitted.contains(*place).then_some(By::Permit(*place)),
    };
    let by_rules: Vec<By> = places.iter().filter_map(permitted).collect();
    let rest = (by_rules.len() < places.len()).then(|| milder(policy, pin)).flatten();
    by_rules.into_iter().chain(rest).collect()
}

/// Why what a pin forbids passes all the same; `None` where it is dropped.
fn milder(policy: &Policy, pin: &Pin) -> Option<By> {
    match pin.action {
        _ if policy.host.observe => Some(By::Observe),
        Action::Drop => None,
        action => Some(By::Action(action)),
    }
}

/// Why what these pins forbid passes all the same, to whomever, in a sentence's words, each once.
#[must_use]
pub fn milder_words(policy: &Policy, pins: &[String]) -> Vec<String> {
    let of_name = |name: &String| {
        let pin = policy.pins.iter().find(|pin| pin.name == *name);
        let by = pin.map_or(Some(By::NoPin), |pin| milder(policy, pin));
        by.map(|by| by.words(name))
    };
    let words: BTreeSet<String> = pins.iter().filter_map(of_name).collect();
    words.into_iter().collect()
}

/// Where data passes without a document by a policy, in a sentence's words; empty where it doesn't.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotNeeded {
    /// What is permitted, and counted as such.
    pub permitted: String,
    /// What is forbidden and passes all the same, because a pin only flags or observes or a failsafe rule has it: it is counted as
    /// the exemption's use as far as that goes, and by a failsafe rule never.
    pub forbidden: String,
}

/// Where data passes without a document by this policy.
#[must_use]
pub fn not_needed(document: &Document, policy: &Policy) -> NotNeeded {
    let (permitted, forbidden): (Vec<_>, Vec<_>) =
        needless(document, policy).into_iter().partition(|it| it.by.is_permitted());
    let rules = failsafe_words(policy, Some(document), &document.pins);
    NotNeeded {
        permitted: listed(permitted.iter().map(ToString::to_string)),
        forbidden: listed(forbidden.iter().map(ToString::to_string).chain(rules)),
    }
}

/// These, each once.
fn listed(words: impl Iterator<Item = String>) -> String {
    words.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}

/// The failsafe rules by which data of these pins passes to where the pins do not permit it, whatever exemptions there are, in a
/// sentence's words, each once; empty where there are none. By a document the data is what it is for.
#[must_use]
pub fn failsafe_words(policy: &Policy, document: Option<&Document>, pins: &[String]) -> Vec<String> {
    let mut words = Vec::new();
    let dropping = policy.pins.iter().filter(|pin| milder(policy, pin).is_none());
    for pin in dropping.filter(|pin| pins.contains(&pin.name)) {
        for rule in &policy.failsafe {
            let countries = match document {
                Some(document) => to_recipients(rule, pin, document),
                None => to_anybody(rule, pin),
            };
            let Some(to) = countries else { continue };
            let bound = rule.bytes_per_minute.map(|most| format!(", {most} bytes a minute at most"));
            let (name, pin) = (escaped(&rule.name), escaped(&pin.name));
            words.push(format!(
                "the failsafe rule {name} lets packets of the pin {pin} pass to {to}{}",
                bound.unwrap_or_default()
            ));
        }
    }
    words.sort();
    words.dedup();
    words
}

/// Where the recipients of a document are that a pin's packets reach by a rule; `None` where they reach none.
fn to_recipients(rule: &Failsafe, pin: &Pin, document: &Document) -> Option<String> {
    let reached = document.recipients.iter().filter(|recipient| {
        let is_reached = match recipient.networks.as_slice() {
            [] => rule.places.is_none_or(|places| places.contains(recipient.jurisdiction)),
            networks => rule.peers.is_empty() || networks.iter().any(|it| overlaps(*it, &rule.peers)),
        };
        is_reached
            && pin.home != recipient.jurisdiction
            && !pin.permitted.contains(recipient.jurisdiction)
            && may_have_ports(rule, pin, &recipient.ports)
    });
    let mut countries: Vec<String> = reached.map(|it| it.jurisdiction.to_string()).collect();
    countries.sort();
    countries.dedup();
    (!countries.is_empty()).then(|| countries.join(" and "))
}

/// Likewise where a rule leads to at all that the pin does not permit.
fn to_anybody(rule: &Failsafe, pin: &Pin) -> Option<String> {
    if !may_have_ports(rule, pin, &[]) {
        return None;
    }
    let Some(places) = rule.places else {
        return Some(if rule.peers.is_empty() { "anywhere" } else { "its peers" }.to_owned());
    };
    let forbidden = places.iter().filter(|it| *it != pin.home && !pin.permitted.contains(*it));
    let forbidden: Vec<String> = forbidden.map(|it| it.to_string()).collect();
    (!forbidden.is_empty()).then(|| forbidden.join(" and "))
}

fn overlaps(network: IpNetwork, peers: &[IpNetwork]) -> bool {
    peers.iter().any(|peer| peer.contains(network.ip()) || network.contains(peer.ip()))
}

/// Whether a packet can be a pin's, covered by a rule, and sent to one of these ports; none of them stands for any.
fn may_have_ports(rule: &Failsafe, pin: &Pin, ports: &[PortRange]) -> bool {
    let local = common(&rule.local_ports, &pin.select.ports);
    let remote = common(&rule.remote_ports, &pin.select.remote_ports);
    local.is_some() && remote.is_some_and(|both| common(&both, ports).is_some())
}

/// The ports that are in both, where empty ones have every port; `None` where there are none.
fn common(one: &[PortRange], other: &[PortRange]) -> Option<Vec<PortRange>> {
    if one.is_empty() || other.is_empty() {
        return Some([one, other].concat());
    }
    let both = |one: &PortRange, other: &PortRange| {
        let (first, last) = (one.first.max(other.first), one.last.min(other.last));
        (one.protocol == other.protocol && first <= last).then_some(PortRange { first, last, ..*one })
    };
    let found: Vec<PortRange> =
        one.iter().flat_map(|one| other.iter().filter_map(move |other| both(one, other))).collect();
    (!found.is_empty()).then_some(found)
}
