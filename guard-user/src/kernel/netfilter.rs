//! Chains of nftables at the egress of interfaces: they come before every program of TC (net/core/dev.c, `sch_handle_egress` is
//! called after `nf_hook_egress`), and can send a packet or a copy of it elsewhere, or change it, before it is judged.
//!
//! Format: linux/netfilter/nf_tables.h; numbers are in network order.

use std::io;
use std::ops::ControlFlow;

use guard_common::abi::Hook;
use netlink_sys::protocols::NETLINK_NETFILTER;

use super::Observed;
use super::netlink::{Request, attributes, text, value};

/// `NFNL_SUBSYS_NFTABLES` in the upper half, and `NFT_MSG_GETCHAIN`.
const GET_CHAIN: u16 = 10 << 8 | 4;
/// `struct nfgenmsg`: the family `NFPROTO_NETDEV`, the version 0, and no resource.
const NETDEV: [u8; 4] = [5, 0, 0, 0];
/// `NF_NETDEV_EGRESS`.
const EGRESS: u32 = 1;
/// Attributes of chains, of their hooks, and of the devices of those.
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const HOOK_NUMBER: u16 = 1;
const HOOK_DEVICE: u16 = 3;
const HOOK_DEVICES: u16 = 4;
const DEVICE_NAME: u16 = 1;
const DEVICE_PREFIX: u16 = 2;
/// What is no part of an attribute's number: `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const FLAGS: u16 = 0xc000;

/// A chain at the egress of interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Chain {
    table: String,
    name: String,
    devices: Vec<Device>,
}

/// By what a chain names its interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Device {
    Name(String),
    Prefix(String),
}

impl Chain {
    fn is_at(&self, interface: &str) -> bool {
        self.devices.iter().any(|device| match device {
            Device::Name(name) => name == interface,
            Device::Prefix(prefix) => interface.starts_with(prefix.as_str()),
        })
    }

    /// As a person asks for it: `nft list chain TABLE NAME`.
    fn words(&self) -> String {
        format!("the nftables chain netdev {} {}", self.table.escape_debug(), self.name.escape_debug())
    }
}

/// Adds the chains at an interface's egress to what is asked there before the guard. One on an interface that is not guarded says
/// nothing.
pub(super) fn note(observed: &mut Observed) {
    match egress_chains() {
        Ok(chains) => {
            for it in &mut observed.interfaces {
                let name = &it.interface.name;
                let here = chains.iter().filter(|chain| chain.is_at(name)).map(Chain::words);
                if let Some(egress) = it.attachments.iter_mut().find(|at| at.hook == Hook::Egress) {
                    egress.before.extend(here);
                }
            }
        }
        Err(error) => observed.blind.push(format!("the chains of nftables can't be listed: {error}")),
    }
}

fn egress_chains() -> io::Result<Vec<Chain>> {
    let mut chains = Vec::new();
    let asked = Request::to(NETLINK_NETFILTER, GET_CHAIN, &NETDEV).dump(|_, payload| {
        chains.extend(payload.get(NETDEV.len()..).and_then(chain));
        ControlFlow::Continue(())
    });
    match asked {
        Ok(_) => Ok(chains),
        Err(error) if has_none(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whether this kernel has no nftables, or none for interfaces: the module may be loaded later, and then it is there.
fn has_none(error: &io::Error) -> bool {
    let codes = [libc::EPROTONOSUPPORT, libc::EOPNOTSUPP, libc::EINVAL, libc::ENOENT, libc::EAFNOSUPPORT];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// The chain in a message, where it is at the egress of interfaces.
fn chain(attributes_of: &[u8]) -> Option<Chain> {
    let (mut chain, mut is_at_egress) = (Chain::default(), false);
    for it in attributes(attributes_of) {
        match it.kind() & !FLAGS {
            CHAIN_TABLE => chain.table = text(value(it)),
            CHAIN_NAME => chain.name = text(value(it)),
            CHAIN_HOOK => {
                for it in attributes(value(it)) {
                    match it.kind() & !FLAGS {
                        HOOK_NUMBER => is_at_egress = number(value(it)) == Some(EGRESS),
                        HOOK_DEVICE => chain.devices.push(Device::Name(text(value(it)))),
                        HOOK_DEVICES => chain.devices.extend(attributes(value(it)).filter_map(device)),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    // A chain with one device names it twice.
    chain.devices.dedup();
    is_at_egress.then_some(chain)
}

fn device(it: netlink_packet_core::NlaBuffer<&[u8]>) -> Option<Device> {
    match it.kind() & !FLAGS {
        DEVICE_NAME => Some(Device::Name(text(value(it)))),
        DEVICE_PREFIX => Some(Device::Prefix(text(value(it)))),
        _ => None,
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(value.len() + 4).unwrap();
        let padding = vec![0; usize::from(len).next_multiple_of(4) - usize::from(len)];
        [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), value, &padding].concat()
    }

    fn message(hook: u32, devices: &[(u16, &str)]) -> Vec<u8> {
        let devices: Vec<u8> = devices
            .iter()
            .flat_map(|(kind, name)| attribute(*kind, &[name.as_bytes(), b"\0"].concat()))
            .collect();
        let hook = [attribute(HOOK_NUMBER, &hook.to_be_bytes()), attribute(HOOK_DEVICES | 0x8000, &devices)];
        [
            attribute(CHAIN_TABLE, b"filter\0"),
            attribute(CHAIN_NAME, b"out\0"),
            attribute(CHAIN_HOOK | 0x8000, &hook.concat()),
        ]
        .concat()
    }

    #[test]
    fn a_chain_at_egress_is_found_at_the_interfaces_that_it_names() {
        let found = chain(&message(EGRESS, &[(DEVICE_NAME, "eth0"), (DEVICE_PREFIX, "wan")])).unwrap();
        assert!(found.is_at("eth0") && found.is_at("wan7") && !found.is_at("eth01") && !found.is_at("eth"));
        assert_eq!(found.words(), "the nftables chain netdev filter out");
        assert_eq!(chain(&message(0, &[(DEVICE_NAME, "eth0")])), None, "one at ingress");
        assert_eq!(chain(&[1, 2, 3]), None);
    }

    #[test]
    fn this_kernel_is_asked_whether_it_has_nftables_or_not() {
        egress_chains().unwrap();
    }
}
