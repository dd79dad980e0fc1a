//! Closing the local sockets of flows that an exemption carried and carries no longer.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use guard_common::abi::{FlowKey, FlowRecord, Hook, Place};
use guard_common::packet::Addr;
use guard_common::verdict::Reason;
use tracing::{info, warn};

use super::guard::Guard;
use crate::config::policy::PortRange;
use crate::exemption::document::{Document, Recipient};
use crate::kernel::sockets::{self, Flow, Transport};

/// IANA protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;

impl Guard {
    /// The flows that these exemptions carried, as far as the kernel has records of them.
    pub(super) fn flows_of(&self, accounts: &[u16]) -> Vec<Flow> {
        if accounts.is_empty() {
            return Vec::new();
        }
        let flows = match self.kernel.flows() {
            Ok(flows) => flows,
            Err(error) => {
                warn!("the flows to be cut can't be read, so their sockets stay open: {error}");
                return Vec::new();
            }
        };
        let documents: Vec<&Document> =
            accounts.iter().filter_map(|slot| self.store.by_slot(*slot)).collect();
        let carried = |(key, record): &&(FlowKey, FlowRecord)| {
            key.hook == Hook::Egress as u8
                && (accounts.contains(&record.exemption)
                    || documents.iter().any(|document| self.ran_out(document, key, record)))
        };
        flows.iter().filter(carried).filter_map(|(key, _)| flow(key)).collect()
    }

    /// Whether a flow met the end of this exemption before the daemon saw it: its record says that a window
    /// or a quota is over, and no longer whose.
    fn ran_out(&self, document: &Document, key: &FlowKey, record: &FlowRecord) -> bool {
        let over = [Reason::ExemptionExpired, Reason::ExemptionExhausted];
        let pins = self.policy.pins.iter().enumerate();
        over.iter().any(|reason| *reason as u8 == record.reason)
            && pins
                .into_iter()
                .any(|(at, pin)| record.denied >> at & 1 == 1 && document.pins.contains(&pin.name))
            && document.recipients.iter().any(|recipient| reaches(recipient, key, record))
    }

    /// Closes the local sockets of the flows that these exemptions carried, so that their users see an end
    /// and not a hang. Enforcement does not wait for it: what fails is said, and the flow is cut all the same.
    pub(super) fn close_sockets(&self, accounts: &[u16]) {
        let flows = self.flows_of(accounts);
        if flows.is_empty() {
            return;
        }
        match sockets::close(flows) {
            Ok(closed) => {
                if closed.closed > 0 {
                    info!("closed {} local sockets of flows that are cut", closed.closed);
                }
                for (flow, error) in &closed.refused {
                    warn!("the socket {} of a cut flow can't be closed: {error}", flow.local);
                }
            }
            Err(error) => warn!("{error}"),
        }
    }
}

/// Whether a flow goes to this recipient.
fn reaches(recipient: &Recipient, key: &FlowKey, record: &FlowRecord) -> bool {
    let there = match recipient.networks.as_slice() {
        [] => Place(record.place).jurisdiction() == recipient.jurisdiction,
        networks => networks.iter().any(|network| network.contains(address(key.dst))),
    };
    let by_port = |range: &PortRange| {
        range.protocol.number() == key.proto && (range.first..=range.last).contains(&key.dport)
    };
    there && (recipient.ports.is_empty() || recipient.ports.iter().any(by_port))
}

fn flow(key: &FlowKey) -> Option<Flow> {
    let transport = match key.proto {
        TCP => Transport::Tcp,
        UDP => Transport::Udp,
        _ => return None,
    };
    let local = SocketAddr::new(address(key.src), key.sport);
    let remote = SocketAddr::new(address(key.dst), key.dport);
    Some(Flow { transport, local, remote })
}

fn address(address: Addr) -> IpAddr {
    let bits = u128::from(address.hi) << 64 | u128::from(address.lo);
    Ipv6Addr::from_bits(bits).to_canonical()
}
