//! Recipients of one document that the record could not tell apart.

use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;

use crate::exemption::law::Breach;
use crate::exemption::raw::RawRecipient;
use crate::exemption::sink::Sink;

/// A recipient as the rules look at it.
pub(super) struct Receiver<'r> {
    pub(super) raw: &'r RawRecipient,
    pub(super) name: String,
    pub(super) jurisdiction: Option<Jurisdiction>,
    /// Each with its place.
    pub(super) networks: Vec<(usize, IpNetwork)>,
}

/// One network of one recipient.
#[derive(Clone, Copy)]
struct Piece<'r> {
    network: IpNetwork,
    at: usize,
    recipient: usize,
    name: &'r str,
}

/// Reports what several recipients have in common.
pub(super) fn check(receivers: &[Receiver<'_>], sink: &mut Sink<'_>) {
    check_networks(receivers, sink);
    check_countries(receivers, sink);
}

/// Networks are nested or apart, so that those around one are a stack when they are walked in order.
fn check_networks(receivers: &[Receiver<'_>], sink: &mut Sink<'_>) {
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    for (recipient, receiver) in receivers.iter().enumerate() {
        let name = receiver.name.as_str();
        pieces.extend(receiver.networks.iter().map(|&(at, network)| Piece { network, at, recipient, name }));
    }
    pieces.sort_by_key(|piece| (piece.network.network(), piece.network.prefix(), piece.at));
    let mut around: Vec<Piece<'_>> = Vec::new();
    for piece in pieces {
        while around.last().is_some_and(|outer| !outer.network.contains(piece.network.network())) {
            around.pop();
        }
        if let Some(&outer) = around.iter().rev().find(|outer| outer.recipient != piece.recipient) {
            let (first, second) = if outer.at <= piece.at { (outer, piece) } else { (piece, outer) };
            let kind = Breach::SharedNetwork {
                network: second.network,
                other: first.network,
                recipient: first.name.to_owned(),
            };
            sink.error(second.at, "recipient.cidrs", kind);
        }
        around.push(piece);
    }
}

/// A recipient that is anybody in a country is also each other recipient there.
fn check_countries(receivers: &[Receiver<'_>], sink: &mut Sink<'_>) {
    let mut seen: Vec<(Jurisdiction, bool, &str)> = Vec::new();
    for receiver in receivers {
        let (Some(country), Some(place)) = (receiver.jurisdiction, &receiver.raw.jurisdiction) else {
            continue;
        };
        let whole = receiver.raw.lacks_cidrs;
        let other = seen.iter().find(|&&(there, all, _)| there == country && (all || whole));
        if let Some(&(_, _, name)) = other {
            let kind = Breach::SharedCountry { country, recipient: name.to_owned() };
            sink.error(place.span().start, "recipient.jurisdiction", kind);
        }
        if !seen.iter().any(|&(there, all, _)| (there, all) == (country, whole)) {
            seen.push((country, whole, &receiver.name));
        }
    }
}
