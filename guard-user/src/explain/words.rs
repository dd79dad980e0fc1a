//! A decision's steps as sentences.

use guard_common::abi::Hook;
use guard_common::decide::{Decision, MAX_SHARING, layer, reason_of};
use guard_common::jurisdiction::Jurisdiction;
use guard_common::packet::{Addr, Packet, Parsed};
use guard_common::verdict::{Reason, Verdict};

use super::bit_set::in_set;
use super::country::named;
use super::explainer::{Explainer, NamedExemption};
use super::flow::LayerWords;
use super::selectors::{self, At};
use super::surroundings::Surroundings;
use super::trace::Heard;
use crate::config::policy::Pin;
use crate::text::visible;

/// One step of a decision.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// Which step: `guard`, `flow`, `tag`, `failsafe`, `place`, `policy`, `exemption`, `call`, `verdict`.
    pub step: &'static str,
    /// What happened, in one sentence.
    pub says: String,
}

/// What exemptions leave open of a packet that they cover in part.
struct Left {
    /// The pins that none covers; 0 where none covers any, or all are covered.
    pins: u64,
    /// Exemptions that cover some.
    covering: usize,
}

/// Renders a decision's steps; it holds all that the sentences are made of.
pub(super) struct Renderer<'a> {
    pub(super) explainer: &'a Explainer,
    pub(super) hook: Hook,
    /// On ingress the answer to the packet, which is what is judged; of an ICMP error it may be what that quotes.
    pub(super) packet: &'a Packet,
    pub(super) from: &'a Surroundings,
    pub(super) decision: &'a Decision,
}

impl Renderer<'_> {
    /// Every step of a decision, in order.
    pub(super) fn steps(&self, parsed: Parsed, heard: &[Heard]) -> Vec<Step> {
        let mut steps = Vec::new();
        // Names of processes, cgroups and interfaces are others' to choose.
        let mut say = |step, says: String| steps.push(Step { step, says: visible(&says).into_owned() });
        for sentence in self.flow(parsed) {
            say("flow", sentence);
        }
        if parsed != Parsed::NotIp && self.decision.reason != Reason::NoTables {
            for sentence in self.tag(parsed, heard) {
                say("tag", sentence);
            }
        }
        let is_failsafe = self.decision.reason == Reason::Failsafe;
        // Pins that forbid the destination and that no exemption covers so far.
        let mut open = 0;
        if parsed == Parsed::Ip && (self.decision.denied != 0 || is_failsafe) {
            say("failsafe", self.failsafe(heard));
            for sentence in self.budgets(heard) {
                say("failsafe", sentence);
            }
        }
        for heard in heard {
            match *heard {
                Heard::Placed { layer, destination, place, denied } => {
                    open |= denied;
                    let inside = if layer > 0 { "inside, " } else { "" };
                    let says = self.explainer.place_words(destination, place);
                    say("place", format!("{inside}{says}"));
                    for sentence in self.policy(destination, place, denied) {
                        say("policy", sentence);
                    }
                }
                Heard::Exemption { slot, outcome } => {
                    let name = self.explainer.exemption_name(slot);
                    let says = match outcome {
                        Ok(()) => {
                            let covered = open & self.explainer.pins_of_slot(slot);
                            open &= !covered;
                            format!("the exemption {name} (slot {slot}) covers {}", self.covered(covered))
                        }
                        Err(reason) => {
                            format!(
                                "the exemption {name} (slot {slot}) would cover it, but: {}",
                                reason.name()
                            )
                        }
                    };
                    say("exemption", says);
                }
                Heard::Tagged { .. } | Heard::Failsafe { .. } | Heard::Budget { .. } | Heard::Quoted => {}
            }
        }
        if self.decision.denied != 0 && parsed == Parsed::Ip && !is_failsafe {
            for sentence in self.exemptions(heard) {
                say("exemption", sentence);
            }
        }
        let covering =
            heard.iter().filter(|heard| matches!(heard, Heard::Exemption { outcome: Ok(()), .. })).count();
        let is_in_part = covering > 0 && self.decision.reason != Reason::Exempt;
        let left = Left { pins: if is_in_part { open } else { 0 }, covering };
        let judged = (self.hook, parsed, self.decision.verdict);
        if let Some(says) = self.explainer.call(self.packet, self.from, judged) {
            say("call", says);
        }
        say("verdict", self.verdict(&left));
        steps
    }

    /// What an exemption covers of what is forbidden: all of it, or the pins that it is for.
    fn covered(&self, pins: u64) -> String {
        // Without one, the slot is of no exemption that is known here.
        match pins == 0 || pins == self.decision.denied {
            true => "it".to_owned(),
            false => self.quoted(pins),
        }
    }

    /// These pins by their names, each once.
    fn quoted(&self, pins: u64) -> String {
        let names = self.explainer.pin_names(pins);
        let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        match quoted.as_slice() {
            [one] => format!("the pin {one}"),
            all => format!("the pins {}", all.join(", ")),
        }
    }

    fn flow(&self, parsed: Parsed) -> Vec<String> {
        let mut said = Vec::new();
        match parsed {
            Parsed::NotIp => said.push("the frame carries no IP packet".to_owned()),
            Parsed::Malformed(fault) => {
                said.push(format!("the frame can't be read to its end: {}", reason_of(fault).name()));
            }
            Parsed::Ip => {}
        }
        for (number, layer) in self.packet.layers().iter().enumerate() {
            let inside = if number > 0 { "inside it, " } else { "" };
            let answer = match self.hook {
                Hook::Ingress if self.decision.quoted => "what it quotes: ",
                Hook::Ingress => "the answer: ",
                Hook::Egress | Hook::Connect | Hook::Sendmsg => "",
            };
            said.push(format!("{inside}{answer}{}", LayerWords(layer)));
        }
        for hop in self.packet.hops() {
            said.push(format!("its source route goes on to {hop}"));
        }
        let by = match self.hook {
            Hook::Egress | Hook::Connect | Hook::Sendmsg => "leaves by",
            Hook::Ingress => "comes in by",
        };
        let interface = self.from.interface.as_deref().map(|name| format!("{by} {name}"));
        let mark = (self.from.mark != 0).then(|| format!("has the mark {:#x}", self.from.mark));
        let process = self.from.process.as_deref().map(|process| format!("is sent by {process}"));
        let cgroup = self.from.cgroup.as_deref().map(|path| format!("is sent from the cgroup {path}"));
        let user = self.from.user.as_ref().map(|(name, _)| format!("is sent by the user {name}"));
        let came_in = self.from.came_in_by.as_deref().map(|name| format!("came in by {name}"));
        let forwarded = self.from.is_forwarded.then(|| "is forwarded by this host".to_owned());
        let origin = [came_in, forwarded, interface, mark, process, cgroup, user];
        let origin: Vec<String> = origin.into_iter().flatten().collect();
        if !origin.is_empty() {
            said.push(format!("it {}", origin.join(", ")));
        }
        said
    }

    /// One sentence for each way in which a pin is known: by what it matches, or what the first thing is that does not.
    fn tag(&self, parsed: Parsed, heard: &[Heard]) -> Vec<String> {
        let pins = &self.explainer.policy.pins;
        let of = |(number, pin)| self.tag_of(number, pin, parsed, heard);
        let mut said: Vec<String> = pins.iter().enumerate().map(of).collect();
        // What is said of a pin as a whole is said once.
        said.dedup();
        said
    }

    fn tag_of(&self, number: usize, pin: &Pin, parsed: Parsed, heard: &[Heard]) -> String {
        let name = &pin.name;
        if self.hook == Hook::Ingress && pin.ingress == crate::config::policy::Ingress::Off {
            return format!("the pin \"{name}\" does not look at what comes in");
        }
        let ways: Vec<usize> = ways_of(&self.explainer.policy.pins, name).collect();
        let title = match ways.iter().position(|way| *way == number) {
            Some(way) if ways.len() > 1 => format!("the pin \"{name}\", way {} of {},", way + 1, ways.len()),
            _ => format!("the pin \"{name}\""),
        };
        let matching = heard.iter().find_map(|heard| match *heard {
            Heard::Tagged { layer, pins } if pins >> number & 1 == 1 => Some(layer),
            _ => None,
        });
        let readable = parsed == Parsed::Ip;
        let at_host = At { hook: self.hook, explainer: self.explainer };
        match (matching, self.decision.tag >> number & 1) {
            (Some(at), _) => {
                let inside = if at > 0 { "the packet inside: " } else { "" };
                let by = selectors::look(pin, Some(layer(self.packet, at)), self.from, at_host, true)
                    .unwrap_or_default();
                format!("{title} matches: {inside}{}", by.join(", "))
            }
            (None, 1) => {
                let by = selectors::look(pin, None, self.from, at_host, true).unwrap_or_default();
                let by = if by.is_empty() { String::new() } else { format!(" ({})", by.join(", ")) };
                format!("{title} may match{by}: the packet can't be read")
            }
            _ => {
                let first = self.packet.layers().first().filter(|_| readable);
                let why = selectors::look(pin, first, self.from, at_host, false).err().unwrap_or_default();
                format!("{title} does not match: {why}")
            }
        }
    }

    fn failsafe(&self, heard: &[Heard]) -> String {
        if self.explainer.policy.failsafe.is_empty() {
            return "there are no failsafe rules".to_owned();
        }
        let layers: Vec<(u32, u64)> = heard
            .iter()
            .filter_map(|heard| match *heard {
                Heard::Failsafe { layer, rules } => Some((layer, rules)),
                _ => None,
            })
            .collect();
        if self.packet.hop_count != 0 {
            return "no rule covers a packet with a source route".to_owned();
        }
        let rules = |set| in_set(&self.explainer.policy.failsafe, set);
        let covered: Vec<String> = layers
            .iter()
            .filter_map(|&(number, set)| {
                let rule = rules(set).next()?;
                let why = selectors::failsafe(rule, layer(self.packet, number));
                Some(format!("\"{}\" covers {} ({why})", rule.name, packet_name(number)))
            })
            .collect();
        match (layers.iter().find(|(_, rules)| *rules == 0), covered.is_empty()) {
            (None, _) => format!("the rule {}", covered.join(", the rule ")),
            (Some(_), true) => "no rule covers it".to_owned(),
            (Some((number, _)), false) => {
                format!(
                    "the rule {}, but no rule covers {}",
                    covered.join(", the rule "),
                    packet_name(*number)
                )
            }
        }
    }

    /// One sentence for each failsafe rule of which it counts what is left of its budget.
    fn budgets(&self, heard: &[Heard]) -> Vec<String> {
        let of = |heard: &Heard| {
            let Heard::Budget { rule, is_left } = *heard else { return None };
            let rule = self.explainer.policy.failsafe.get(rule as usize)?;
            let (name, budget) = (&rule.name, rule.bytes_per_minute.unwrap_or_default());
            Some(match is_left {
                true if self.from.is_live => {
                    format!(
                        "of the {budget} bytes a minute that the rule \"{name}\" lets pass, enough were left"
                    )
                }
                true => format!(
                    "of the {budget} bytes a minute that the rule \"{name}\" lets pass, those are taken to be left that no \
                     packet here has used: what the kernel has counted is not asked for"
                ),
                false => format!(
                    "the {budget} bytes a minute that the rule \"{name}\" lets pass are used up, so that it does not count"
                ),
            })
        };
        heard.iter().filter_map(of).collect()
    }

    /// One sentence for the pins that forbid a destination and one for those that permit it.
    fn policy(&self, destination: Addr, place: guard_common::abi::Place, denied: u64) -> Vec<String> {
        if place.placed_by() == guard_common::abi::PlacedBy::LinkScope {
            return Vec::new();
        }
        let jurisdiction = place.jurisdiction();
        let pins = &self.explainer.policy.pins;
        let permitting = in_set(pins, self.decision.tag & !denied).map(|pin| {
            let why = if pin.home == jurisdiction { "its home" } else { "which its permit list holds" };
            format!("the pin \"{}\" permits {jurisdiction}, {why}", pin.name)
        });
        let forbidding = in_set(pins, denied).map(|pin| {
            let home = named(pin.home);
            let others = match pin.permitted.len().saturating_sub(1) {
                0 => "nothing else".to_owned(),
                1 => "1 other jurisdiction".to_owned(),
                count => format!("{count} other jurisdictions"),
            };
            let action = match pin.action {
                crate::config::policy::Action::Drop => "drop",
                crate::config::policy::Action::Flag => "flag",
                crate::config::policy::Action::Observe => "observe",
            };
            format!(
                "the pin \"{}\" (line {}) forbids {jurisdiction} for {destination}: it permits {home} and {others}; \
                 its action is {action}",
                pin.name, pin.line
            )
        });
        let mut said: Vec<String> = permitting.chain(forbidding).collect();
        // A pin that is known in several ways is there for each that matches.
        said.dedup();
        said
    }

    /// Exemptions that have a destination among their networks, and have it placed elsewhere.
    fn placed_elsewhere(&self, destination: Addr, place: Jurisdiction) -> Vec<String> {
        let address = std::net::IpAddr::from(destination);
        let names_it =
            |it: &&NamedExemption| it.kernel.networks.iter().any(|network| network.contains(address));
        let said = self.explainer.exemptions.iter().filter(names_it).filter_map(|it| {
            let wanted = it.kernel.placed.filter(|wanted| *wanted != place)?;
            Some(format!(
                "the exemption {} names {address} for a recipient in {wanted}, and does not cover it where it is placed in \
                 {place}",
                it.id
            ))
        });
        said.collect()
    }

    /// What is to say of exemptions beyond those that were looked at.
    fn exemptions(&self, heard: &[Heard]) -> Vec<String> {
        let forbidden = heard
            .iter()
            .filter(|heard| matches!(heard, Heard::Placed { denied, .. } if *denied != 0))
            .count();
        let looked = heard.iter().any(|heard| matches!(heard, Heard::Exemption { .. }));
        let elsewhere: Vec<String> = heard
            .iter()
            .filter_map(|heard| match heard {
                Heard::Placed { destination, place, denied, .. } if *denied != 0 => {
                    Some(self.placed_elsewhere(*destination, place.jurisdiction()))
                }
                _ => None,
            })
            .flatten()
            .collect();
        if forbidden > 1 {
            return vec![format!(
                "the packet has {forbidden} forbidden destinations, and an exemption covers one recipient"
            )];
        }
        if let Some(why) = &self.explainer.unread {
            return vec![format!("the exemptions could not be looked at: {why}")];
        }
        match (looked, self.explainer.exemptions.len()) {
            (true, _) => self.explainer.of_quotas().map(str::to_owned).into_iter().collect(),
            (false, 0) => {
                vec!["no exemption is open".to_owned()]
            }
            (false, _) if !elsewhere.is_empty() => elsewhere,
            (false, count) => {
                vec![format!("none of the {count} open exemptions is for these pins, recipient and port")]
            }
        }
    }

    fn verdict(&self, left: &Left) -> String {
        let decision = self.decision;
        let meaning = match (left.pins, decision.reason) {
            (0, _) => decision.reason.meaning().to_owned(),
            // That no exemption covers the packet would be said of one that covers a part of it.
            (pins, Reason::Forbidden) if u32::try_from(left.covering) == Ok(MAX_SHARING) => format!(
                "At most {MAX_SHARING} exemptions share in covering a packet, and these do not cover {}.",
                self.quoted(pins)
            ),
            (pins, Reason::Forbidden) => format!(
                "Each pin that forbids the destination's jurisdiction needs an exemption, and nothing covers {}.",
                self.quoted(pins)
            ),
            (pins, reason) => format!("{} Nothing else covers {}.", reason.meaning(), self.quoted(pins)),
        };
        let mut text = format!("{}, {}: {meaning}", decision.verdict.name(), decision.reason.name());
        if self.explainer.policy.host.observe && decision.verdict != Verdict::Pass {
            text.push_str(" The host only observes (host.observe), so nothing is dropped.");
        }
        text
    }
}

fn packet_name(number: u32) -> &'static str {
    if number == 0 { "it" } else { "the packet inside" }
}

/// The places of the ways in which the pin of this name is known.
fn ways_of<'a>(pins: &'a [Pin], name: &'a str) -> impl Iterator<Item = usize> + 'a {
    pins.iter().enumerate().filter(move |(_, pin)| pin.name == name).map(|(place, _)| place)
}
