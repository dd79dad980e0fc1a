//! Which packets are sent, and what the host's decision says of each.

use std::net::IpAddr;

use guard_common::abi::{Direction, Hook, NO_USER, Party};
use guard_common::host::HostOrigin;
use guard_common::packet::{Link, Parsed};
use guard_common::verdict::Verdict;

use super::frames::{Frame, Kind, ethernet};
use super::policy::{ABROAD_V4, ABROAD_V6, FROM_V4, FROM_V6, OWN_PIN, home_address};
use crate::canary::{self, Flow, Sender};
use crate::config::limits;
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
        None => plan.no_room(),
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

    /// Every kind, where the config leaves no room for the trial's own pin.
    fn no_room(&mut self) {
        let most = limits::PINS;
        let why = format!(
            "its pin has no room: the pins of the config have {most} ways in which they are known (`[pin.select]`), which \
             is all that there may be"
        );
        for kind in Kind::ALL {
            for to in To::BOTH {
                self.add(OWN_PIN, kind.name(), to, |_| Err(why.clone()));
            }
        }
    }

    /// One way in which a pin of the config is known, of this number where it has several.
    fn way(&mut self, pin: &Pin, number: Option<usize>) {
        let policy = self.explainer.policy();
        let forbidden = self.sender(pin);
        // What goes home is tried also where nothing is known that it forbids.
        let permitted = forbidden.clone().or_else(|_| self.any_sender(pin));
        let protocol = permitted.as_ref().map_or("any", |sender| sender.flow.protocol.name());
        let kind = match number {
            Some(number) => format!("way {number}, {protocol}"),
            None => protocol.to_owned(),
        };
        for (to, sender) in [(To::Forbidden, forbidden), (To::Permitted, permitted)] {
            let made = sender.and_then(|Sender { flow, mark, party, volumes, direction }| {
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

    /// Whether the pin selects an interface for which the pair stands.
    ///
    /// # Errors
    /// Why it does not.
    fn is_selected(&self, pin: &Pin) -> Result<(), String> {
        let mut names = self.explainer.facts().interfaces.iter().flat_map(|fact| &fact.names);
        let has = |name: &String| pin.select.interfaces.iter().any(|pattern| pattern.matches(name));
        match pin.select.interfaces.is_empty() || names.any(has) {
            true => Ok(()),
            false => Err("this host has no guarded interface that it selects".to_owned()),
        }
    }

    /// Who sends what of the pin, wherever it goes.
    fn any_sender(&self, pin: &Pin) -> Result<Sender, String> {
        self.is_selected(pin)?;
        canary::any_sender(self.explainer.facts(), pin)
    }

    /// Who may send what so that the pin forbids it: where a database places what the config alone does not permit at the
    /// pin's home, the next one; and where it may go to all that a canary does, to the trial's own place abroad.
    fn sender(&self, pin: &Pin) -> Result<Sender, String> {
        let any = self.any_sender(pin)?;
        let verdict = |sender: &Sender| {
            let Sender { flow, mark, party, volumes, direction } = *sender;
            let frame = ethernet(&canary::packet(&flow, 1));
            let judged = self.expected(&frame, &SentBy { mark, party, volumes, direction }).ok()?;
            judged.denied.contains(&pin.name).then_some(judged.verdict)
        };
        let mut senders = match canary::senders(self.explainer.policy(), self.explainer.facts(), pin) {
            Ok(senders) => senders,
            Err(why) => {
                let destination = if any.flow.source.is_ipv4() { ABROAD_V4.into() } else { ABROAD_V6.into() };
                let abroad = Sender { flow: Flow { destination, ..any.flow }, ..any };
                let is_told = verdict(&abroad).is_some_and(|verdict| verdict != Verdict::Pass);
                return if is_told { Ok(abroad) } else { Err(why) };
            }
        };
        let place = senders.iter().position(|sender| verdict(sender).is_some()).unwrap_or_default();
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
