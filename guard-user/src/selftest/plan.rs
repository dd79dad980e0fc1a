//! Which packets are sent, and what the host's decision says of each.

use std::net::IpAddr;

use guard_common::abi::{Direction, Hook, NO_USER, Party};
use guard_common::host::HostOrigin;
use guard_common::packet::{Link, Parsed};

use super::frames::{Frame, Kind, ethernet};
use super::policy::{ABROAD_V4, ABROAD_V6, FROM_V4, FROM_V6, OWN_PIN, home_address};
use crate::canary::{self, Flow, Sender};
use crate::config::policy::{Pin, Policy};
use crate::explain::frames::parse_frame;
use crate::explain::{Explainer, Judged};

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// Where its pin forbids it to go.
    Forbidden,
    /// To its pin's home.
    Permitted,
}

impl To {
    pub(super) const BOTH: [Self; 2] = [Self::Forbidden, Self::Permitted];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::Permitted => "permitted",
        }
    }
}

/// A packet that is to be tried.
#[derive(Debug)]
pub(super) struct Try {
    /// The pin that it is of.
    pub(super) pin: String,
    /// Its kind; of a pin of the config the protocol, and which way of several it is.
    pub(super) kind: String,
    pub(super) to: To,
    /// What is sent, or why nothing can be.
    pub(super) outgoing: Result<Outgoing, String>,
}

/// What is sent, and what is expected of it.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// What its bytes have somewhere, and no other frame's.
    pub(super) mark: String,
    pub(super) frame: Frame,
    /// To where it is sent by an ordinary socket that cuts it later; `None`: as it is, by a packet socket.
    pub(super) large_to: Option<IpAddr>,
    pub(super) sent_by: SentBy,
    pub(super) expected: Judged,
}

/// Who seems to send.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SentBy {
    /// Firewall mark; 0 for none.
    pub(super) mark: u32,
    pub(super) party: Option<Party>,
    /// Slots of volumes, a bit each.
    pub(super) volumes: u64,
    pub(super) direction: Direction,
}

/// Makes the packets of a trial, each with a mark of its own.
struct Plan<'a> {
    explainer: &'a Explainer,
    /// The interface that they leave by.
    ifindex: u32,
    /// The user that this process makes sockets as.
    user: u32,
    tries: Vec<Try>,
}

/// The packets of a trial by the interface of this number, sent by this user: of each kind those of the trial's own pin, and of
/// each way in which a pin of the config is known those that have what it selects.
pub(super) fn plan(explainer: &Explainer, ifindex: u32, user: u32) -> Vec<Try> {
    let mut plan = Plan { explainer, ifindex, user, tries: Vec::new() };
    let policy = explainer.policy();
    match policy.pins.last().filter(|pin| pin.name == OWN_PIN) {
        Some(own) => plan.kinds(own),
        None => plan.add(OWN_PIN, "every kind", To::Forbidden, |_| {
            Err("the config has as many pins as there may be".to_owned())
        }),
    }
    let mut way = 0;
    for (at, pin) in policy.pins.iter().enumerate().filter(|(_, pin)| pin.name != OWN_PIN) {
        let has_name = |other: Option<&Pin>| other.is_some_and(|other| other.name == pin.name);
        let before = at.checked_sub(1).and_then(|before| policy.pins.get(before));
        way = if has_name(before) { way + 1 } else { 1 };
        let is_one_of_many = way > 1 || has_name(policy.pins.get(at + 1));
        plan.way(pin, is_one_of_many.then_some(way));
    }
    plan.tries
}

impl Plan<'_> {
    /// Adds one, which is made with its mark.
    fn add(
        &mut self,
        pin: &str,
        kind: &str,
        to: To,
        make: impl FnOnce(&str) -> Result<(Frame, SentBy, Option<IpAddr>), String>,
    ) {
        // No number of these is anything else that a frame has.
        let mark = canary::name(0xb0de_0000_0000_0000 | self.tries.len() as u64);
        let outgoing = make(&mark).and_then(|(frame, sent_by, large_to)| {
            let expected = self.expected(&frame, &sent_by)?;
            match to == To::Forbidden && expected.denied.iter().all(|denied| denied != pin) {
                false => Ok(Outgoing { mark, frame, large_to, sent_by, expected }),
                true => Err(format!("the config lets it send there ({})", expected.reason.name())),
            }
        });
        self.tries.push(Try { pin: pin.to_owned(), kind: kind.to_owned(), to, outgoing });
    }

    /// What the host decides for a frame.
    fn expected(&self, frame: &Frame, by: &SentBy) -> Result<Judged, String> {
        let (parsed, packet) = parse_frame(Link::Ethernet, &frame.bytes);
        if parsed != Parsed::Ip {
            return Err("it does not read as an IP packet".to_owned());
        }
        let party = by.party.iter();
        let origin = HostOrigin {
            ifindex: self.ifindex,
            mark: by.mark,
            wire_len: frame.bytes.len() as u64,
            parties: party.clone().map(|party| party.cgroups.to_vec()).collect(),
            users: party.map(|party| party.uid).filter(|uid| *uid != NO_USER).chain([self.user]).collect(),
            volumes: by.volumes,
            direction: by.direction,
            ..HostOrigin::default()
        };
        // No exemption is open, and no budget was used: the time does not matter.
        Ok(self.explainer.judge(Hook::Egress, &packet, &origin, 0))
    }

    /// Every kind, of the trial's own pin.
    fn kinds(&mut self, own: &Pin) {
        for kind in Kind::ALL {
            let (source, abroad): (IpAddr, IpAddr) = match kind.is_ipv6() {
                true => (FROM_V6.into(), ABROAD_V6.into()),
                false => (FROM_V4.into(), ABROAD_V4.into()),
            };
            for to in To::BOTH {
                let destination = destination(self.explainer.policy(), own, to, abroad);
                self.add(OWN_PIN, kind.name(), to, |mark| {
                    let destination = destination?;
                    let large_to = (kind == Kind::Large).then_some(destination);
                    Ok((kind.frame(source, destination, mark), SentBy::default(), large_to))
                });
            }
        }
    }

    /// One way in which a pin of the config is known, of this number where it has several.
    fn way(&mut self, pin: &Pin, number: Option<usize>) {
        let policy = self.explainer.policy();
        let sender = self.sender(pin);
        let protocol = sender.as_ref().map_or("any", |sender| sender.flow.protocol.name());
        let kind = match number {
            Some(number) => format!("way {number}, {protocol}"),
            None => protocol.to_owned(),
        };
        for to in To::BOTH {
            let made = sender.clone().and_then(|Sender { flow, mark, party, volumes, direction }| {
                let destination = destination(policy, pin, to, flow.destination)?;
                Ok((Flow { destination, ..flow }, SentBy { mark, party, volumes, direction }))
            });
            self.add(&pin.name, &kind, to, |mark| {
                let (flow, sent_by) = made?;
                // Its text ends with the number in the form of the mark.
                let number = canary::number(mark).unwrap_or_default();
                Ok((ethernet(&canary::packet(&flow, number)), sent_by, None))
            });
        }
    }

    /// Who may send what so that the pin forbids it: where a database places what the config alone does not permit at the
    /// pin's home, the next one.
    fn sender(&self, pin: &Pin) -> Result<Sender, String> {
        let facts = self.explainer.facts();
        let is_selected = pin.select.interfaces.is_empty()
            || facts
                .interfaces
                .iter()
                .flat_map(|fact| &fact.names)
                .any(|name| pin.select.interfaces.iter().any(|pattern| pattern.matches(name)));
        if !is_selected {
            return Err("this host has no guarded interface that it selects".to_owned());
        }
        let mut senders = canary::senders(self.explainer.policy(), facts, pin)?;
        let is_forbidden = |sender: &Sender| {
            let Sender { flow, mark, party, volumes, direction } = *sender;
            let frame = ethernet(&canary::packet(&flow, 1));
            let judged = self.expected(&frame, &SentBy { mark, party, volumes, direction });
            judged.is_ok_and(|judged| judged.denied.contains(&pin.name))
        };
        let place = senders.iter().position(is_forbidden).unwrap_or_default();
        match place < senders.len() {
            true => Ok(senders.swap_remove(place)),
            false => Err("nothing is known that it forbids".to_owned()),
        }
    }
}

/// The destination of a packet of a pin: this one where it is to be forbidden, else one at home.
fn destination(policy: &Policy, pin: &Pin, to: To, forbidden: IpAddr) -> Result<IpAddr, String> {
    match to {
        To::Forbidden => Ok(forbidden),
        To::Permitted => home_address(policy, pin.home, forbidden)
            .ok_or_else(|| "its home is no country, and no place is there".to_owned()),
    }
}
