//! The entry points of packets once more, which tell each step of a decision where it is asked for. They take the place of
//! those in `main.rs` while `borderguard trace` runs.
#![no_std]
#![no_main]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "the program macros expand to public functions without docs"
)]

use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use guard_common::abi::Hook;
use guard_common::packet::Link;
use guard_ebpf::hooks::{tc_code, xdp_code};
use guard_ebpf::judge::judge;

/// What leaves by an interface with Ethernet frames.
#[classifier]
pub fn egress(context: TcContext) -> i32 {
    tc_code(judge(Hook::Egress, Link::Ethernet, &context))
}

/// What leaves by an interface with bare IP packets.
#[classifier]
pub fn egress_raw(context: TcContext) -> i32 {
    tc_code(judge(Hook::Egress, Link::Raw, &context))
}

/// What comes in by an interface with Ethernet frames.
#[xdp(frags)]
pub fn ingress(context: XdpContext) -> u32 {
    xdp_code(judge(Hook::Ingress, Link::Ethernet, &context))
}

/// What comes in by an interface with bare IP packets.
#[xdp(frags)]
pub fn ingress_raw(context: XdpContext) -> u32 {
    xdp_code(judge(Hook::Ingress, Link::Raw, &context))
}

/// The licence that the kernel asks for.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program in which this loop can be reached.
    loop {}
}
