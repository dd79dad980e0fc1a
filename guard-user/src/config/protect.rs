//! `[protect]`: others are kept from what is the guard's in the kernel.

/// `[protect]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protect {
    /// Whether they are, by BPF LSM.
    pub lsm: bool,
}
