//! Decides for one packet, and says how it came about.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use guard_common::abi::{Hook, NO_EXEMPTION, Place};
use guard_common::decide::{Decision, decide, mirror};
use guard_common::packet::{Layer, MAX_LAYERS, Packet, Parsed};
use guard_common::verdict::{Reason, Verdict};

use super::bit_set::in_set;
use super::explainer::Explainer;
use super::flow::LayerWords;
use super::surroundings::Surroundings;
use super::trace::{Heard, Recorder};
use super::words::{Renderer, Step};

/// What was decided for one packet, and how it came about.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What happens to the packet.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Names of the pins that tag the packet.
    pub pins: Vec<String>,
    /// Names of the pins that forbid a destination of it.
    pub denied: Vec<String>,
    /// The place of the destination that decided; `None` where no destination was placed.
    pub place: Option<Place>,
    /// The destination that decided; `None` where none was placed.
    pub destination: Option<IpAddr>,
    /// The id of the exemption that covers the packet.
    pub exemption: Option<String>,
    /// Each step, in order.
    pub steps: Vec<Step>,
}

impl Explanation {
    /// Whether a pin forbids a destination of the packet, so that only an exemption could let it pass.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        !self.denied.is_empty()
    }
}

/// A packet and what was decided for it.
pub(super) struct Told<'a> {
    pub(super) hook: Hook,
    pub(super) parsed: Parsed,
    /// What was judged: on ingress the answer, of an ICMP error it may be what that quotes.
    pub(super) judged: &'a Packet,
    /// The outermost layer of an ICMP error in whose place another packet was judged, as it came in.
    pub(super) error: Option<&'a Layer>,
    pub(super) decision: &'a Decision,
}

impl Explainer {
    /// Decides for a packet at the time `now`, in nanoseconds of `CLOCK_BOOTTIME`, and tells how. The packet
    /// is as the parser read it, on ingress too, where it has no mark and no cgroup yet.
    #[must_use]
    pub fn explain(
        &self,
        hook: Hook,
        parsed: Parsed,
        packet: &Packet,
        from: &Surroundings,
        wire_len: u64,
        now: u64,
    ) -> Explanation {
        let at_ingress = Surroundings { interface: from.interface.clone(), ..Surroundings::default() };
        let from = if hook == Hook::Ingress { &at_ingress } else { from };
        let mut judged = *packet;
        if hook == Hook::Ingress {
            mirror(&mut judged);
        }
        let origin = self.origin(from, wire_len);
        self.tables().now_ns.store(now, Ordering::Relaxed);
        let mut recorder = Recorder::default();
        let decision = decide(hook, parsed, &judged, self.tables(), &origin, || now, &mut recorder);
        if decision.quoted {
            judged = Packet { layers: [packet.quoted; MAX_LAYERS], layer_count: 1, hop_count: 0, ..judged };
        }
        let error = packet.layers().first().filter(|_| decision.quoted);
        self.tell(&Told { hook, parsed, judged: &judged, error, decision: &decision }, from, &recorder)
    }

    /// Tells a decision.
    pub(super) fn tell(&self, told: &Told<'_>, from: &Surroundings, recorder: &Recorder) -> Explanation {
        let Told { hook, parsed, judged, error, decision } = *told;
        let (own, of_quoted) = recorder.parts();
        let heard = if decision.quoted { of_quoted } else { own };
        let mut first = Vec::new();
        if let Some(layer) = error {
            let says = format!("an ICMP error, {}, judged by the packet that it quotes", LayerWords(layer));
            first.push(Step { step: "flow", says });
        }
        let (place, destination) = deciding(heard);
        let renderer = Renderer { explainer: self, hook, packet: judged, from, decision };
        first.extend(renderer.steps(parsed, heard));
        Explanation {
            verdict: decision.verdict,
            reason: decision.reason,
            pins: self.pin_names(decision.tag),
            denied: self.pin_names(decision.denied),
            place,
            destination,
            exemption: self.exemption_id(decision),
            steps: first,
        }
    }

    pub(super) fn pin_names(&self, pins: u64) -> Vec<String> {
        let mut names: Vec<_> = in_set(&self.policy.pins, pins).map(|pin| pin.name.clone()).collect();
        // One that is known in several ways is there for each that matches.
        names.dedup();
        names
    }

    fn exemption_id(&self, decision: &Decision) -> Option<String> {
        (decision.exemption != NO_EXEMPTION).then(|| self.exemption_name(decision.exemption))
    }
}

/// The destination that decided: the first forbidden one, else the last.
pub(super) fn deciding(heard: &[Heard]) -> (Option<Place>, Option<IpAddr>) {
    let mut placed = heard.iter().filter_map(|heard| match *heard {
        Heard::Placed { destination, place, denied, .. } => Some((denied, place, destination)),
        _ => None,
    });
    let forbidden = placed.clone().find(|(denied, ..)| *denied != 0);
    let one = forbidden.or_else(|| placed.next_back());
    (one.map(|one| one.1), one.map(|one| one.2.into()))
}
