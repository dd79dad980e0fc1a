//! The kernel side of Border Guard: how packets, maps and clocks of the kernel meet the one decision
//! of `guard-common`.
#![no_std]

pub mod account;
pub mod header;
pub mod judge;
pub mod maps;
pub mod origin;
