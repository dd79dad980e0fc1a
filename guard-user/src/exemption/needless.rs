//! Where a policy lets data pass without an exemption: nothing that is done to the exemption stops it.

use std::fmt;

use ipnetwork::IpNetwork;

use super::document::{Document, Recipient};
use crate::config::policy::{Action, Failsafe, Pin, Policy, PortRange};
use crate::text::escaped;

/// That a pin lets its data to a recipient whatever exemptions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needless<'d> {
    /// The pin's name.
    pub pin: &'d str,
    /// Who receives.
    pub recipient: &'d Recipient,
    /// Why it passes.
    pub by: By,
}

/// Why a pin lets data pass without an exemption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// The recipient is in the pin's home.
    Home,
    /// The pin permits the recipient's jurisdiction.
    Permit,
    /// The pin drops nothing: it flags or observes.
    Action(Action),
}

impl By {
    /// Whether the transfer is none that an exemption is for: the policy permits it.
    #[must_use]
    pub const fn is_permitted(self) -> bool {
        matches!(self, Self::Home | Self::Permit)
    }
}

impl fmt::Display for Needless<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pin, recipient, by } = self;
        let (pin, country) = (escaped(pin), recipient.jurisdiction);
        match by {
            By::Home => write!(f, "{country} is the home of the pin {pin}"),
            By::Permit => write!(f, "the pin {pin} permits {country}"),
            By::Action(Action::Observe) => write!(f, "the pin {pin} only observes"),
            By::Action(_) => write!(f, "the pin {pin} only flags"),
        }
    }
}

/// Of the pins of a document and its recipients those between which data passes without it, by these pins. A recipient whose
/// networks count wherever they are placed is taken to be where the document has it.
#[must_use]
pub fn needless<'d>(document: &'d Document, pins: &[Pin]) -> Vec<Needless<'d>> {
    let of_pin = |name: &'d str| {
        // A pin that is known in several ways is there several times, with the same rules.
        let pin = pins.iter().find(|pin| pin.name == name)?;
        let of = move |recipient: &'d Recipient| {
            let by = match pin.action {
                _ if recipient.jurisdiction == pin.home => By::Home,
                _ if pin.permitted.contains(recipient.jurisdiction) => By::Permit,
                Action::Drop => return None,
                action => By::Action(action),
            };
            Some(Needless { pin: name, recipient, by })
        };
        Some(document.recipients.iter().filter_map(of).collect::<Vec<_>>())
    };
    document.pins.iter().filter_map(|name| of_pin(name)).flatten().collect()
}

/// What these are in a sentence's words, each once.
#[must_use]
pub fn words(of: &[Needless<'_>]) -> String {
    let mut words: Vec<String> = of.iter().map(ToString::to_string).collect();
    words.sort();
    words.dedup();
    words.join(", ")
}

/// The failsafe rules by which data of these pins passes to where the pins do not permit it, whatever exemptions there are, in a
/// sentence's words, each once; empty where there are none. By a document the data is what it is for.
#[must_use]
pub fn failsafe_words(policy: &Policy, document: Option<&Document>, pins: &[String]) -> Vec<String> {
    let mut words = Vec::new();
    for pin in policy.pins.iter().filter(|pin| pin.action == Action::Drop && pins.contains(&pin.name)) {
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
