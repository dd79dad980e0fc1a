//! Keeping others from what is the guard's in the kernel: what is asked of the kernel's side, and what it shows.

use guard_common::abi::protect::Attempt;

use super::error::KernelError;

/// Others who were refused to change something of the guard's, since the last look.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refused {
    /// What.
    pub attempt: Attempt,
    /// The name of the command, or of the thread.
    pub command: String,
    /// The process, as the first PID namespace numbers it.
    pub process: u32,
    /// Its real user.
    pub user: u32,
    /// Of what, the last time: the id of a map or program, of an entry the inode of its folder, else 0.
    pub number: u64,
    /// How often since the last look.
    pub times: u64,
    /// When the last time, nanoseconds of `CLOCK_BOOTTIME`.
    pub last_ns: u64,
}

/// What of ours keeps others from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedProtection {
    /// Whether they are kept from it.
    pub is_on: bool,
    /// Who was refused since the last look.
    pub refused: Vec<Refused>,
    /// What could not be looked at or brought up to date, while it is on.
    pub blind: Option<String>,
}

/// Keeps others from what is the guard's in the kernel.
pub trait Protecting {
    /// Keeps every other process from it, or none any more. It ends with this process in any case.
    ///
    /// # Errors
    /// Where the kernel can't or does not: then nobody is kept from anything.
    fn protect(&mut self, wanted: bool) -> Result<(), KernelError>;
}
