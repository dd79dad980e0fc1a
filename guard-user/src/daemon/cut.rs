//! Closing the local sockets of flows that an exemption carried and carries no longer.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use guard_common::abi::{FlowKey, Hook};
use guard_common::packet::Addr;
use guard_common::verdict::{Reason, Verdict};
use ipnetwork::IpNetwork;
use tracing::{info, warn};

use super::guard::Guard;
use crate::exemption::Summary;
use crate::exemption::summary::RecipientSummary;
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
        let carried = flows
            .iter()
            .filter(|(key, record)| key.hook == Hook::Egress as u8 && accounts.contains(&record.exemption));
        carried.filter_map(|(key, _)| flow(key)).collect()
    }

    /// The flows to these recipients that the kernel has cut by itself, because an exemption's time or bytes
    /// are over. Their records name no exemption any more: a record begins anew with another verdict.
    fn cut_by_the_kernel(&self, over: &[Summary]) -> Vec<Flow> {
        let flows = self.kernel.flows().unwrap_or_else(|error| {
            warn!("the flows that were cut can't be read, so their sockets stay open: {error}");
            Vec::new()
        });
        let ended = [Reason::ExemptionExpired as u8, Reason::ExemptionExhausted as u8];
        let cut = flows.iter().filter(|(key, record)| {
            key.hook == Hook::Egress as u8
                && record.verdict == Verdict::Drop as u8
                && ended.contains(&record.reason)
        });
        let is_to = |flow: &Flow| {
            let mut recipients = over.iter().flat_map(|exemption| &exemption.recipients);
            recipients.any(|recipient| is_within(recipient, flow.remote.ip()))
        };
        cut.filter_map(|(key, _)| flow(key)).filter(is_to).collect()
    }

    /// Closes the local sockets of the flows of exemptions whose time or bytes are over. No reset reaches the
    /// other ends: nothing passes any more.
    pub(super) fn close_sockets_of_ended(&self, accounts: &[u16], over: &[Summary]) {
        if !over.is_empty() {
            self.close(self.flows_of(accounts).into_iter().chain(self.cut_by_the_kernel(over)).collect());
        }
    }

    /// Closes the local sockets of the flows that these exemptions carried, so that their users see an end
    /// and not a hang. Enforcement does not wait for it: what fails is said, and the flow is cut all the same.
    pub(super) fn close_sockets(&self, accounts: &[u16]) {
        self.close(self.flows_of(accounts));
    }

    fn close(&self, flows: Vec<Flow>) {
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

/// Whether an address is one of the recipient's; where it has no networks, anybody's may be.
fn is_within(recipient: &RecipientSummary, address: IpAddr) -> bool {
    let holds = |cidr: &String| cidr.parse::<IpNetwork>().is_ok_and(|network| network.contains(address));
    recipient.cidrs.is_empty() || recipient.cidrs.iter().any(holds)
}
