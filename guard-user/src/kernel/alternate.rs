//! Loaded programs of interfaces that can take the place of the ordinary ones.

use std::collections::BTreeSet;

use aya::Ebpf;

/// The programs of an object, loaded.
#[derive(Debug)]
pub(super) struct Alternate {
    pub(super) ebpf: Ebpf,
    /// Their ids.
    pub(super) ids: BTreeSet<u32>,
}
