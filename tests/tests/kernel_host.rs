//! Pins of the host itself: known by what it makes, and by its addresses as they come and go.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::net::IpAddr;

use guard_common::abi::{Hook, MAX_HOST_ADDRESSES};
use guard_common::host::HostOrigin;
use guard_common::packet::{Addr, Link};
use guard_common::verdict::Reason;
use guard_tests::packet::Packet;
use guard_tests::privilege::can_bpf;
use guard_user::compile::{HostFacts, policy_table};
use guard_user::config::{self, Surroundings};
use guard_user::kernel::{KernelError, LinuxKernel};
use support::{CLIENT, PinPlace, geo};

/// By which interface a packet came in: by none, by the loopback interface, or by another.
const MADE_HERE: u32 = 0;
const BY_LOOPBACK: u32 = 1;
const FORWARDED: u32 = 2;

#[test]
#[ignore = "needs root and BPF"]
fn the_host_is_known_by_what_it_makes_and_by_its_addresses() {
    can_bpf().unwrap();
    let pins = PinPlace::new("host");
    let mut kernel = pins.open();
    let text = "approval = \"none\"\n[host]\ninterfaces = [\"lo\"]\n[[pin]]\nname = \"host\"\nhome = \"IE\"\naction = \"flag\"\ningress = \"flag\"\n\
                [pin.select]\nsources = [\"host\"]\nports = [\"tcp/25\"]\n";
    let checked = config::parse("test.toml".as_ref(), text.as_bytes(), &Surroundings::new(None)).unwrap();
    let table = policy_table(&checked.policy, &[], &HostFacts::default(), 1).unwrap();
    kernel.publish(&table, Some(&geo("US"))).unwrap();
    let (own, other) = ([198, 51, 100, 10], [198, 51, 100, 77]);
    let leaves = |kernel: &LinuxKernel, from, came_in_by| {
        let frame = Packet::ethernet().ipv4(from, CLIENT).tcp(25, 50_000).build();
        let origin = HostOrigin { ingress_ifindex: came_in_by, ..HostOrigin::default() };
        kernel.judge_frame(Hook::Egress, Link::Ethernet, &frame, &origin).unwrap().reason
    };
    let comes_in = |kernel: &LinuxKernel, to| {
        let frame = Packet::ethernet().ipv4(CLIENT, to).tcp(50_000, 25).build();
        kernel.judge_frame(Hook::Ingress, Link::Ethernet, &frame, &Default::default()).unwrap().reason
    };
    // What the host makes is its own before any address is known.
    assert_eq!(leaves(&kernel, own, MADE_HERE), Reason::Forbidden);
    assert_eq!(leaves(&kernel, own, BY_LOOPBACK), Reason::Forbidden);
    assert_eq!(leaves(&kernel, own, FORWARDED), Reason::Untagged);
    assert_eq!(comes_in(&kernel, own), Reason::Untagged);
    kernel.know_addresses(&[IpAddr::from(own).into()].into()).unwrap();
    assert_eq!(leaves(&kernel, own, FORWARDED), Reason::Forbidden);
    assert_eq!(leaves(&kernel, other, FORWARDED), Reason::Untagged);
    assert_eq!(leaves(&kernel, other, MADE_HERE), Reason::Forbidden);
    assert_eq!((comes_in(&kernel, own), comes_in(&kernel, other)), (Reason::Forbidden, Reason::Untagged));
    // An address that has gone stays for a while, and one that comes is known beside it.
    kernel.know_addresses(&[IpAddr::from(other).into()].into()).unwrap();
    for address in [own, other] {
        assert_eq!(leaves(&kernel, address, FORWARDED), Reason::Forbidden);
    }
    // More than there is room for: those that went give way, and what lacks is told.
    let many = |count: u32| (0..count).map(|number| Addr::from_v4(0x0a00_0000 + number)).collect();
    let max = u32::try_from(MAX_HOST_ADDRESSES).unwrap();
    kernel.know_addresses(&many(max)).unwrap();
    assert_eq!(leaves(&kernel, own, FORWARDED), Reason::Untagged);
    let full = kernel.know_addresses(&many(max + 3)).unwrap_err();
    assert!(matches!(full, KernelError::AddressesFull { missing: 3, .. }), "{full}");
    // A later daemon finds those that there are.
    drop(kernel);
    let mut kernel = pins.open();
    kernel.know_addresses(&[IpAddr::from(own).into()].into()).unwrap();
    assert_eq!(leaves(&kernel, [10, 0, 0, 9], FORWARDED), Reason::Forbidden);
    assert_eq!(leaves(&kernel, own, FORWARDED), Reason::Forbidden);
}
