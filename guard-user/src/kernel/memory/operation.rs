//! What of the kernel in memory can fail.

#[allow(unused_imports, reason = "for links of the docs")]
use crate::kernel::{Kernel, Protecting, Tracing};

/// An operation that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Operation {
    /// [`Kernel::publish`], before the flip.
    Publish,
    /// [`Kernel::publish`], after the flip: the grace period can't be had.
    Wait,
    /// [`Kernel::observe`].
    Observe,
    /// [`Kernel::attach`].
    Attach,
    /// [`Kernel::release`].
    Release,
    /// [`Kernel::exemption_uses`].
    Uses,
    /// [`Kernel::reset_exemption_use`].
    Reset,
    /// [`Kernel::hold`].
    Hold,
    /// [`Kernel::restore_entries`].
    Restore,
    /// [`Kernel::refuse_bypass`].
    Bypass,
    /// [`Kernel::note_sockets`].
    Sockets,
    /// [`Tracing::trace_packets`].
    Trace,
    /// [`Tracing::shadow_packets`].
    Shadow,
    /// [`Tracing::put_back`].
    PutBack,
    /// [`Protecting::protect`].
    Protect,
    /// What [`Kernel::attach`], [`Kernel::refuse_bypass`], [`Kernel::note_sockets`] and [`Kernel::restore_entries`] say that they have done.
    NoEffect,
}
