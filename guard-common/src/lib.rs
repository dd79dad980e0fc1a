//! What the kernel program and the host share: the packet parser, the tables, the one decision.
//!
//! `no_std`, no I/O and no clock: the same code is compiled into the eBPF program and into the
//! daemon, so that what `borderguard explain` says is what the kernel does.
#![cfg_attr(not(any(test, feature = "host")), no_std)]
#![cfg_attr(
    target_arch = "bpf",
    feature(asm_experimental_arch),
    expect(
        unstable_features,
        reason = "inline assembly for BPF is not stable yet, and `search` needs a line of it"
    )
)]

pub mod abi;
pub mod decide;
#[cfg(any(test, feature = "host"))]
pub mod host;
pub mod interval;
pub mod jurisdiction;
pub mod packet;
pub mod search;
pub mod tables;
pub mod trace;
pub mod verdict;
