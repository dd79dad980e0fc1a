//! The one place where bytes are taken from the frame, and where every bound is checked.

use core::hint::black_box;

use super::{Fault, HEADER_LEN};

/// The first bytes of a frame and how many of them are real.
pub(super) struct Frame<'a> {
    bytes: &'a [u8; HEADER_LEN],
    /// Bytes of `bytes` that belong to this frame; what lies behind is left from another one.
    valid: usize,
    /// Bytes of the whole frame.
    len: usize,
}

impl<'a> Frame<'a> {
    #[inline(always)]
    pub(super) fn new(bytes: &'a [u8; HEADER_LEN], valid: usize, len: usize) -> Self {
        // LLVM must not learn that `valid` is at most 256: it would take the comparison with the
        // constant out of `header`, and only that one tells the verifier of Linux 6.1 (which does
        // not relate two registers) that the read is in bounds.
        Self { bytes, valid: black_box(valid), len }
    }

    /// The `N` bytes of a header that begins at byte `at`.
    ///
    /// # Errors
    /// [`Fault::Truncated`] if the frame ends inside the header, [`Fault::TooDeep`] if only the
    /// copied bytes do.
    #[inline(always)]
    pub(super) fn header<const N: usize>(&self, at: usize) -> Result<&'a [u8; N], Fault> {
        const { assert!(N <= HEADER_LEN) };
        if at > HEADER_LEN - N || at + N > self.valid {
            return Err(self.out_of_reach(at + N));
        }
        match self.bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(header) => Ok(header),
            None => Err(Fault::TooDeep),
        }
    }

    /// Checks that the frame goes on to byte `end`, without reading.
    #[inline(always)]
    pub(super) fn reaches(&self, end: usize) -> Result<(), Fault> {
        if end > self.len { Err(Fault::Truncated) } else { Ok(()) }
    }

    /// Takes `end` for the end of the frame, if it is nearer: what follows the data of a fragment
    /// is padding, and no part of any header.
    #[inline(always)]
    pub(super) fn end_at(&mut self, end: usize) {
        if end < self.len {
            self.len = end;
        }
        if end < self.valid {
            self.valid = end;
        }
    }

    #[inline(always)]
    fn out_of_reach(&self, end: usize) -> Fault {
        if end > self.len { Fault::Truncated } else { Fault::TooDeep }
    }
}

/// Above every offset that the walk can reach: at most [`HEADER_LEN`] and one IPv6 header
/// extension of 2048 bytes, before the next read is refused.
const OFFSET_MASK: usize = 0xfff;

/// An offset, unchanged, of which the verifier no longer knows how it came about.
///
/// After a loop or a branch each path leaves an offset with its own range, and the verifier would
/// follow all that comes after once for each of them. The mask gives every path the same range;
/// hidden from LLVM, which would prove it needless and drop it.
#[inline(always)]
pub(super) fn settled(at: usize) -> usize {
    black_box(at) & OFFSET_MASK
}
