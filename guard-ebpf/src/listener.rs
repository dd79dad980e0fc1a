//! Who listens to the steps of a decision: in the ordinary programs nobody, and then there is no code of it.

#[cfg(not(feature = "trace"))]
mod ordinary {
    use guard_common::abi::Hook;
    use guard_common::decide::NoTrace;

    /// The listener for the packet in the scratch of this number.
    #[inline(always)]
    #[must_use]
    pub fn listener(_number: u32) -> NoTrace {
        NoTrace
    }

    /// Begins a packet.
    #[inline(always)]
    pub fn begin(_number: u32) {}

    /// Ends a packet, which is decided.
    #[inline(always)]
    pub fn end(_number: u32, _hook: Hook, _generation: u64) {}
}

#[cfg(not(feature = "trace"))]
pub use ordinary::{begin, end, listener};

#[cfg(feature = "trace")]
pub use crate::tracing::{begin, end, listener};
