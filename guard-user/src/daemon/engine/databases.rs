//! The geo databases where they are read alone, with the policy that is live: others are in their place on the disk, or
//! somebody said yes to what waits.

use super::Ticket;
use super::input::Waits;
use crate::audit::Who;

/// The databases beside the config.
#[derive(Default)]
pub(super) struct Databases {
    /// Whether they alone are being read, and not the config.
    pub(super) are_read_alone: bool,
    /// Whether they are to be read once what is on its way is done.
    pub(super) again: bool,
    /// Who said yes, and waits for what is being read.
    pub(super) accepting: Vec<(Ticket, Who)>,
    /// Who said yes meanwhile.
    pub(super) late: Vec<(Ticket, Who)>,
    /// Why those on the disk are not in use.
    pub(super) refused: Option<String>,
    /// What waits for a yes or for signatures.
    pub(super) waits: Option<Waits>,
}

impl Databases {
    /// What somebody said yes to is to be read once more, when what is on its way is done.
    pub(super) fn accept_again(&mut self) {
        self.again |= !self.accepting.is_empty();
        self.late.append(&mut self.accepting);
    }
}
