//! Whether packets are judged once more, by a candidate's tables: in the ordinary programs they are not, and then there is no
//! code of it.

#[cfg(not(feature = "shadow"))]
mod ordinary {
    use guard_common::abi::Hook;
    use guard_common::packet::Link;

    use crate::hooks::Source;

    /// Nothing is judged once more.
    pub struct Second;

    impl Second {
        /// Keeps a packet that is parsed and not judged yet.
        #[inline(always)]
        #[must_use]
        pub fn begin(_number: u32, _generation: u64) -> Self {
            Self
        }

        /// Judges it once more, when it is decided and accounted.
        #[inline(always)]
        pub fn judge<S: Source>(self, _number: u32, _hook: Hook, _link: Link, _source: &S) {}
    }
}

#[cfg(not(feature = "shadow"))]
pub use ordinary::Second;

#[cfg(feature = "shadow")]
pub use crate::shadow::Second;
