//! Where the daemon's end stands.

/// Where the end stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) step: Step,
    /// Whether the host goes down with the daemon: from then on the kernel gets no exemptions any more.
    pub(super) with_host: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Step {
    /// It has not begun.
    #[default]
    No,
    /// The last counts are wanted.
    Counting,
    /// Exemptions are closed in the kernel.
    Closing,
    /// The final counts are read.
    Reading,
    /// The store keeps them.
    Settling,
    /// The kernel's counts are reset.
    Resetting,
    /// The last record and the last counts are kept.
    Recording,
    /// The kernel's side is looked at a last time, so that what is gone from bpffs is made again.
    Looking,
    /// Nothing is left to do.
    Done,
}

impl Ending {
    pub(super) fn has_begun(self) -> bool {
        self.step != Step::No
    }

    /// Whether the kernel gets no exemptions any more.
    pub(super) fn closes_exemptions(self) -> bool {
        self.with_host && self.step != Step::Counting
    }
}
