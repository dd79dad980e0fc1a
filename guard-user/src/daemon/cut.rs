//! Closing the local sockets of flows that an exemption carried and carries no longer.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use guard_common::abi::{FlowKey, FlowRecord, Hook, Place};
use guard_common::packet::Addr;
use guard_common::verdict::Reason;
use tracing::{info, warn};

use super::guard::Guard;
use crate::config::policy::{Pin, PortRange};
use crate::exemption::Clocks;
use crate::exemption::document::{Document, Recipient};
use crate::kernel::sockets::{self, Flow};

/// RFC 9293, section 3.1: the flow's own end has ended it.
const RESET: u8 = 0x04;

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
        let clocks = Clocks::read();
        let document = |slot: &u16| Some((*slot, self.store.by_slot(*slot)?));
        let since = |(slot, document): (u16, &Document)| {
            let record = self.store.record(&(document.id.clone(), document.version))?;
            Some((slot, clocks.boot_time_of(record.loaded_at)))
        };
        let owned: BTreeMap<u16, u64> =
            self.store.accounts().iter().filter_map(document).filter_map(since).collect();
        let cut: Vec<&Document> =
            accounts.iter().filter_map(document).map(|(_, document)| document).collect();
        let carried = |(key, record): &&(FlowKey, FlowRecord)| {
            let names_its_exemption =
                owned.get(&record.exemption).is_some_and(|since| record.last_ns >= *since);
            key.hook == Hook::Egress as u8
                && match names_its_exemption {
                    true => accounts.contains(&record.exemption),
                    false => cut.iter().any(|document| self.left_behind(document, key, record)),
                }
        };
        flows.iter().filter(carried).filter_map(|(key, _)| Flow::of(key)).collect()
    }

    /// Whether this exemption covers a flow whose record no longer says whose it is: it met the end of a
    /// window or a quota before the daemon saw it, or was quiet since the version that carried it was replaced.
    fn left_behind(&self, document: &Document, key: &FlowKey, record: &FlowRecord) -> bool {
        let by_exemption = [Reason::Exempt, Reason::ExemptionExpired, Reason::ExemptionExhausted];
        let forbidden_by =
            |(at, pin): (usize, &Pin)| record.denied >> at & 1 == 1 && document.pins.contains(&pin.name);
        by_exemption.iter().any(|reason| *reason as u8 == record.reason)
            && record.tcp_flags & RESET == 0
            && self.policy.pins.iter().enumerate().any(forbidden_by)
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

fn address(address: Addr) -> IpAddr {
    let bits = u128::from(address.hi) << 64 | u128::from(address.lo);
    Ipv6Addr::from_bits(bits).to_canonical()
}
