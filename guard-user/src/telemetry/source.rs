//! What the worker reads: the ring buffer and the flow records, of the kernel or of a test.

use std::os::fd::{AsFd, BorrowedFd};

use guard_common::abi::{FlowKey, FlowRecord, Loss, total_index};

use crate::events::told::Totals;
use crate::exemption::clock::boot_id;
use crate::kernel::{EventReader, KernelError, RingEntry, TotalCount, View};

/// Takes the flow of an event, and its record.
pub type TakeFlow = Box<dyn FnMut(&FlowKey, &FlowRecord) + Send>;

/// Events as they come, each once.
pub trait Events: Send {
    /// The next event, if there is one.
    fn next(&mut self) -> Option<RingEntry>;

    /// Readable when there are events.
    fn fd(&self) -> BorrowedFd<'_>;

    /// No more events than these wait at any moment.
    fn capacity(&self) -> usize;

    /// Entries that were no events, in all. The kernel program writes none.
    fn malformed(&self) -> u64;
}

/// What the kernel keeps of flows, and counts of what it could not keep.
pub trait Records: Send {
    /// What the kernel could not keep, in all, by [`Loss`].
    ///
    /// # Errors
    /// Where the kernel can't be asked.
    fn lost(&self) -> Result<[u64; Loss::COUNT], KernelError>;

    /// What the kernel counted by hook, verdict and reason.
    ///
    /// # Errors
    /// Where the kernel can't be asked.
    fn totals(&self) -> Result<Totals, KernelError>;

    /// Shows every flow record that is there from begin to end, in no order; others may be left out.
    ///
    /// # Errors
    /// Where the kernel can't be asked, after some of them perhaps.
    fn for_each_flow(&self, each: &mut dyn FnMut(FlowKey, FlowRecord)) -> Result<(), KernelError>;

    /// The most flow records that there can be.
    fn flow_capacity(&self) -> usize;
}

impl Events for EventReader {
    fn next(&mut self) -> Option<RingEntry> {
        self.entry()
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn capacity(&self) -> usize {
        Self::capacity(self)
    }

    fn malformed(&self) -> u64 {
        Self::malformed(self)
    }
}

impl Records for View {
    fn lost(&self) -> Result<[u64; Loss::COUNT], KernelError> {
        Self::lost(self)
    }

    fn totals(&self) -> Result<Totals, KernelError> {
        totals_of(self)
    }

    fn for_each_flow(&self, each: &mut dyn FnMut(FlowKey, FlowRecord)) -> Result<(), KernelError> {
        Self::for_each_flow(self, each)
    }

    fn flow_capacity(&self) -> usize {
        Self::flow_capacity(self)
    }
}

/// What the kernel counted by hook, verdict and reason.
///
/// # Errors
/// Where the kernel can't be asked.
pub fn totals_of(view: &View) -> Result<Totals, KernelError> {
    let count = |row: TotalCount| (total_index(row.hook, row.verdict as u8, row.reason as u8), row.count);
    Ok(view.totals()?.into_iter().map(count).collect())
}

/// Names the kernel's counters: ids of maps begin anew with each boot. Where the boot is not known, they are taken for others
/// than any before.
#[must_use]
pub fn counters_of(view: &View) -> String {
    let boot = boot_id().unwrap_or_else(|_| std::process::id().to_string());
    format!("{boot}/{}", view.totals_id())
}
