//! The kernel side of Border Guard: how packets, maps and clocks of the kernel meet the one decision
//! of `guard-common`.
#![no_std]
#![feature(asm_experimental_arch)]
#![expect(unstable_features, reason = "core has no atomic operations for this target but by assembly")]

pub mod accounting;
pub mod atomic;
pub mod cache;
pub mod clock;
pub mod counters;
pub mod decision;
pub mod generation;
pub mod header;
pub mod hooks;
pub mod judge;
pub mod listener;
pub mod maps;
pub mod object;
pub mod records;
pub mod rewritten;
pub mod scratch;
pub mod second;
pub mod segments;
#[cfg(feature = "shadow")]
pub mod shadow;
pub mod socket_storage;
pub mod subprograms;
pub mod tables;
#[cfg(feature = "trace")]
pub mod tracing;
pub mod untagged;
pub mod users;
