//! Interfaces whose frames have no link header: what is sent by a tun device is judged by the packet itself, and does not
//! leave where its sender has told the kernel another protocol.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};

use guard_common::abi::Hook;
use guard_common::verdict::{Reason, Verdict};
use guard_tests::packet::{Ipv4, Packet};
use guard_tests::privilege::can_bpf;
use guard_user::kernel::{Interface, Kernel as _, LinuxKernel};
use support::{PinPlace, STORAGE, add_tun, geo, in_own_network, policy};

/// EtherTypes (IANA, "IEEE 802 Numbers").
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const MPLS: u16 = 0x8847;

/// Sends bytes by an interface as a packet of this protocol, by a packet socket.
fn send(interface: &Interface, ethertype: u16, bytes: &[u8]) {
    // SAFETY: socket(2) takes no addresses; what it returns is checked and owned here alone.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: a sockaddr_ll of zeroes is a value.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
    to.sll_protocol = ethertype.to_be();
    to.sll_ifindex = i32::try_from(interface.index).unwrap();
    // SAFETY: the kernel reads the bytes and the address, whose numbers are given.
    let sent = unsafe {
        let size = u32::try_from(size_of_val(&to)).unwrap();
        libc::sendto(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0, (&raw const to).cast(), size)
    };
    if sent < 0 {
        // An egress program that drops it shows so.
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::ENOBUFS));
    }
}

/// The packets that have come out of a tun device.
fn received(tun: &mut File) -> Vec<Vec<u8>> {
    rustix::io::ioctl_fionbio(tun.as_fd(), true).unwrap();
    let mut packets = Vec::new();
    let mut buffer = [0; 2048];
    while let Ok(len) = tun.read(&mut buffer) {
        packets.push(buffer[..len].to_vec());
    }
    packets
}

fn count(kernel: &LinuxKernel, verdict: Verdict, reason: Reason) -> u64 {
    let totals = kernel.totals().unwrap();
    let of = |it: &&guard_user::kernel::TotalCount| {
        (it.hook, it.verdict, it.reason) == (Hook::Egress, verdict, reason)
    };
    totals.iter().filter(of).map(|it| it.count.packets).sum()
}

#[test]
#[ignore = "needs root and BPF"]
fn a_packet_that_is_not_what_its_sender_says_does_not_leave() {
    can_bpf().unwrap();
    let pins = PinPlace::new("bare");
    in_own_network(|| {
        let mut tun = add_tun("bgt0");
        let interface = Interface::by_name("bgt0").unwrap();
        let mut kernel = pins.open();
        kernel.publish(&policy(1, "\"US\""), Some(&geo("US"))).unwrap();
        // To a place that the pin permits: whatever it is said to be, IPv4 is what the guard reads.
        let mail = Packet::new().with(Ipv4::to(support::CLIENT).from(STORAGE)).tcp(8143, 50_000);
        let mail = mail.payload("a mail").build();
        let arrives = |tun: &mut File, ethertype| {
            let _before = received(tun);
            send(&interface, ethertype, &mail);
            received(tun).contains(&mail)
        };
        for ethertype in [IPV4, IPV6, MPLS] {
            assert!(arrives(&mut tun, ethertype), "without a guard it arrives as {ethertype:#06x}");
        }
        kernel.attach(&interface, false).unwrap();
        assert!(arrives(&mut tun, IPV4));
        assert_eq!(count(&kernel, Verdict::Pass, Reason::Permitted), 1);
        assert!(!arrives(&mut tun, IPV6) && !arrives(&mut tun, MPLS));
        assert_eq!(count(&kernel, Verdict::Drop, Reason::Opaque), 2);
    });
}
