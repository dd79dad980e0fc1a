//! What the kernel in memory tells as its test wants it.

use guard_common::abi::FailsafeUse;

use super::MemoryKernel;

/// What it tells.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Why the programs do not know all addresses of the host.
    pub(super) addresses_unknown: Option<String>,
    /// What failsafe rules have let pass.
    pub(super) failsafe: Option<Vec<FailsafeUse>>,
}

impl MemoryKernel {
    /// Why the programs do not know all addresses of the host.
    pub(crate) fn lose_addresses(&self, why: Option<&str>) {
        self.state().told.addresses_unknown = why.map(str::to_owned);
    }

    /// The first failsafe rule had too little left for a packet at this time.
    pub(crate) fn refuse_failsafe(&self, refused_ns: u64) {
        self.state().told.failsafe = Some(vec![FailsafeUse { refused_ns, ..FailsafeUse::default() }]);
    }
}
