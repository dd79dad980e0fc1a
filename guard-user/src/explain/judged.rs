//! Decides for one packet without words: for who judges very many.

use std::sync::atomic::Ordering;

use guard_common::abi::{Hook, NO_EXEMPTION, Place};
use guard_common::decide::{decide, mirror};
use guard_common::host::HostOrigin;
use guard_common::packet::{Packet, Parsed};
use guard_common::verdict::{Reason, Verdict};

use super::explainer::Explainer;
use super::explanation::deciding;
use super::trace::Recorder;

/// What was decided for one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
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
    /// The id of the exemption that covers the packet.
    pub exemption: Option<String>,
}

/// The same by the numbers of its explainer, without names: for who judges one flow in many ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    verdict: Verdict,
    reason: Reason,
    tag: u64,
    denied: u64,
    place: Option<Place>,
    exemption: u16,
}

impl Explainer {
    /// Decides for an IP packet at the time `now`, in nanoseconds of `CLOCK_BOOTTIME`, as [`explain`](Self::explain) does. What
    /// packets before it have used of quotas and budgets does not count: each is judged as if it was the first.
    #[must_use]
    pub fn judge(&self, hook: Hook, packet: &Packet, origin: &HostOrigin, now: u64) -> Judged {
        self.named(self.decide(hook, packet, origin, now))
    }

    /// The same without names.
    #[must_use]
    pub fn decide(&self, hook: Hook, packet: &Packet, origin: &HostOrigin, now: u64) -> Decided {
        let tables = self.tables();
        for used in tables.charged.iter().chain(tables.failsafe_spent.iter()) {
            used.store(0, Ordering::Relaxed);
        }
        tables.now_ns.store(now, Ordering::Relaxed);
        let mut judged = *packet;
        if hook == Hook::Ingress {
            mirror(&mut judged);
        }
        let mut recorder = Recorder::default();
        let decision = decide(hook, Parsed::Ip, &judged, tables, origin, || now, &mut recorder);
        let (own, of_quoted) = recorder.parts();
        Decided {
            verdict: decision.verdict,
            reason: decision.reason,
            tag: decision.tag,
            denied: decision.denied,
            place: deciding(if decision.quoted { of_quoted } else { own }).0,
            exemption: decision.exemption,
        }
    }

    /// What was decided, with names.
    #[must_use]
    pub fn named(&self, decided: Decided) -> Judged {
        let Decided { verdict, reason, tag, denied, place, exemption } = decided;
        Judged {
            verdict,
            reason,
            pins: self.pin_names(tag),
            denied: self.pin_names(denied),
            place,
            exemption: (exemption != NO_EXEMPTION).then(|| self.exemption_name(exemption)),
        }
    }
}
