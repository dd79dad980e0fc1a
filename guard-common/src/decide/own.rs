//! Packets that a rule of the host has given another source, or another port of their destination, than the socket has that sends
//! them.
//!
//! netfilter rewrites a packet between the socket and the interface (source NAT, masquerade, a rule that sets an address, destination
//! NAT of what a process sends). By the packet alone a pin by sources or ports would not be known again. So it is judged by the
//! socket's own end too.

use crate::abi::Outcome;
use crate::packet::{Addr, Layer, MAX_LAYERS, Packet};
use crate::verdict::Verdict;

/// The end of a sending socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnEnd {
    /// Its address.
    pub address: Addr,
    /// Its port, host order; 0 where it has none.
    pub port: u16,
    /// The port that it is connected to, host order; 0 where it is connected to none.
    pub peer: u16,
}

/// Whether any of the packet's layers is sent from this end. A packet inside a tunnel has it further in.
#[inline(always)]
#[must_use]
pub fn is_sent_from(packet: &Packet, end: &OwnEnd) -> bool {
    let OwnEnd { address: src, port, peer } = *end;
    for number in 0..MAX_LAYERS {
        if number as u32 >= packet.layer_count {
            break;
        }
        let Some(layer) = packet.layers.get(number) else { break };
        let is_one = |of_layer: u16, of_socket: u16| of_socket == 0 || of_layer == of_socket;
        let has_port =
            layer.flags & Layer::HAS_PORTS == 0 || is_one(layer.sport, port) && is_one(layer.dport, peer);
        if (layer.src.hi ^ src.hi) | (layer.src.lo ^ src.lo) == 0 && has_port {
            return true;
        }
    }
    false
}

/// What is decided of a packet that was judged as it is and by the socket's own end: all pins tag it that either finds, and what is
/// stricter counts. An exemption has to cover what either forbids.
#[inline(always)]
#[must_use]
pub fn together(written: &Outcome, own: &Outcome) -> Outcome {
    let stricter = if own.verdict >= written.verdict { own } else { written };
    let is_exemptable = |it: &Outcome| it.denied == 0 || it.exemptable != 0;
    let may = stricter.verdict != Verdict::Pass as u8 && is_exemptable(written) && is_exemptable(own);
    let certain = (written.tag & !written.unplaced) | (own.tag & !own.unplaced);
    Outcome {
        tag: written.tag | own.tag,
        denied: written.denied | own.denied,
        unplaced: (written.unplaced | own.unplaced) & !certain,
        exemptable: may as u8,
        ..*stricter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Reason;

    fn outcome(verdict: Verdict, tag: u64, denied: u64, exemptable: u8) -> Outcome {
        Outcome {
            tag,
            denied,
            unplaced: 0,
            place: 7,
            exemption: u16::MAX,
            verdict: verdict as u8,
            reason: if denied == 0 { Reason::Permitted } else { Reason::Forbidden } as u8,
            destination: 0,
            exemptable,
        }
    }

    #[test]
    fn a_packet_is_its_sockets_by_any_layer_and_by_the_port_where_both_have_one() {
        let [own, other] = [0xc000_020a, 0xcb00_7101].map(Addr::from_v4);
        let layer = |src, sport, flags| Layer { src, sport, flags, ..Layer::default() };
        let mut packet = Packet { layer_count: 1, ..Packet::default() };
        packet.layers[0] = layer(other, 143, Layer::HAS_PORTS);
        packet.layers[0].dport = 2380;
        let is_sent_from =
            |packet: &Packet, address, port| is_sent_from(packet, &OwnEnd { address, port, peer: 0 });
        assert!(!is_sent_from(&packet, own, 143) && is_sent_from(&packet, other, 143));
        assert!(!is_sent_from(&packet, other, 144) && is_sent_from(&packet, other, 0));
        for (peer, is) in [(0, true), (2380, true), (2379, false)] {
            assert_eq!(super::is_sent_from(&packet, &OwnEnd { address: other, port: 143, peer }), is);
        }
        packet.layers[1] = layer(own, 143, Layer::HAS_PORTS);
        assert!(!is_sent_from(&packet, own, 143), "a layer of another packet");
        packet.layer_count = 2;
        assert!(is_sent_from(&packet, own, 143) && !is_sent_from(&packet, own, 25));
        packet.layers[1].flags = 0;
        assert!(is_sent_from(&packet, own, 25), "a later fragment has no ports");
    }

    #[test]
    fn what_is_stricter_counts_and_no_pin_is_lost() {
        let untagged = Outcome { reason: Reason::Untagged as u8, ..outcome(Verdict::Pass, 0, 0, 0) };
        let permitted = outcome(Verdict::Pass, 0b01, 0, 0);
        let dropped = outcome(Verdict::Drop, 0b10, 0b10, 1);
        let opaque = Outcome { reason: Reason::Opaque as u8, ..outcome(Verdict::Drop, 0b100, 0b100, 0) };
        for (one, other) in [(untagged, dropped), (dropped, untagged)] {
            assert_eq!(together(&one, &other), dropped);
        }
        let both = together(&permitted, &dropped);
        assert_eq!(
            (both.tag, both.denied, both.verdict, both.exemptable),
            (0b11, 0b10, Verdict::Drop as u8, 1)
        );
        assert_eq!(both.reason, Reason::Forbidden as u8);
        let both = together(&dropped, &opaque);
        assert_eq!(
            (both.tag, both.denied, both.exemptable),
            (0b110, 0b110, 0),
            "one that no exemption covers"
        );
        assert_eq!(together(&untagged, &permitted), permitted);
        // A pin that is certain by one is certain.
        let maybe = Outcome { unplaced: 0b10, ..dropped };
        assert_eq!(together(&maybe, &dropped).unplaced, 0);
        assert_eq!(together(&maybe, &untagged).unplaced, 0b10);
    }
}
