//! The entry points of packets once more, which judge each packet by a candidate's tables too, when it is decided and
//! accounted. They take the place of those in `main.rs` while `borderguard shadow` runs.
#![no_std]
#![no_main]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "the program macros expand to public functions without docs"
)]

use guard_common::abi::Hook;
use guard_common::packet::Link;

guard_ebpf::packet_programs!();
guard_ebpf::object_parts!();
