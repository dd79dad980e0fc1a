//! What the tracing program said of a live packet, in the words of `explain`.

use guard_common::abi::traced::{TraceStep, step};
use guard_common::abi::{Hook, Place};
use guard_common::decide::Decision;
use guard_common::packet::{Addr, Layer};
use guard_common::verdict::{Reason, Verdict};

use super::explainer::Explainer;
use super::explanation::{Explanation, Told};
use super::surroundings::Surroundings;
use super::trace::{Heard, Recorder};
use crate::kernel::TracedPacket;

impl Explainer {
    /// Tells how the kernel's program judged a packet; the explainer must be of the generation that judged it. `None` where a
    /// record has a number that nothing has.
    #[must_use]
    pub fn explain_traced(&self, packet: &TracedPacket, from: &Surroundings) -> Option<Explanation> {
        let at_ingress = Surroundings { interface: from.interface.clone(), ..Surroundings::default() };
        let from = if packet.hook == Hook::Ingress { &at_ingress } else { from };
        let recorder = Recorder(packet.steps.iter().map(heard).collect::<Option<_>>()?);
        let outcome = &packet.outcome;
        let verdict = Verdict::from_index(outcome.verdict)?;
        let was_quoted = recorder.0.iter().any(|heard| matches!(heard, Heard::Quoted));
        let decision = Decision {
            verdict,
            reason: Reason::from_index(outcome.reason)?,
            place: Place(outcome.place),
            exemption: outcome.exemption,
            destination: outcome.destination.into(),
            tag: outcome.tag,
            denied: outcome.denied,
            unplaced: outcome.unplaced,
            exemptable: false,
            // What an error quotes is judged where the error itself would not pass, and stands for it where it would.
            quoted: was_quoted && verdict == Verdict::Pass,
        };
        let error = packet.error.filter(|_| decision.quoted).map(mirrored);
        let told = Told {
            hook: packet.hook,
            parsed: packet.parsed,
            judged: &packet.packet,
            error: error.as_ref(),
            decision: &decision,
        };
        Some(self.tell(&told, from, &recorder))
    }
}

/// The layer as it came in, of one that was mirrored.
fn mirrored(layer: Layer) -> Layer {
    Layer { src: layer.dst, dst: layer.src, sport: layer.dport, dport: layer.sport, ..layer }
}

/// A step as the decision said it.
fn heard(kept: &TraceStep) -> Option<Heard> {
    let [one, two, three] = kept.words;
    let (kind, number, said) = (kept.what & 0xff, (kept.what >> 8) as u16, (kept.what >> 32) as u16);
    let layer = u32::from(number);
    Some(match kind {
        step::TAGGED => Heard::Tagged { layer, pins: one },
        step::FAILSAFE => Heard::Failsafe { layer, rules: one },
        step::BUDGET => Heard::Budget { rule: layer, is_left: one != 0 },
        step::PLACED => {
            let destination = Addr { hi: one, lo: two };
            Heard::Placed { layer, destination, place: Place(said), denied: three }
        }
        step::QUOTED => Heard::Quoted,
        step::EXEMPTION => {
            let outcome = if one == 0 { Ok(()) } else { Err(Reason::from_index(one as u8)?) };
            Heard::Exemption { slot: number, outcome }
        }
        _ => return None,
    })
}
