//! The one place where bytes are taken from the frame, and where every bound is checked.

use super::types::{Fault, HEADER_LEN};
use crate::search::opaque;

/// Above every offset that the walk can reach: the largest is [`HEADER_LEN`] and one IPv6 extension
/// header of 2048 bytes, from where no read is in bounds.
const SETTLED_MASK: usize = 0xfff;

/// The first bytes of a frame and how many of them are real.
pub(super) struct Frame<'a> {
    bytes: &'a [u8; HEADER_LEN],
    /// Bytes of `bytes` that belong to this frame; what lies behind is left from another one.
    valid: usize,
    /// Bytes of the whole frame, or [`SETTLED_MASK`]: no offset comes near that.
    len: usize,
    /// 1 if the frame holds the first fragment of a packet, else 0.
    first_fragment: usize,
    /// Where the innermost IP packet so far ends, by its own length field.
    packet_end: usize,
}

impl<'a> Frame<'a> {
    #[inline(always)]
    pub(super) fn new(bytes: &'a [u8; HEADER_LEN], valid: usize, len: usize) -> Self {
        // LLVM must not learn that `valid` is at most 256: it would take the comparison with the
        // constant out of `header`, and only that one tells the verifier of Linux 6.1 (which does
        // not relate two registers) that the read is in bounds.
        let len = len.min(SETTLED_MASK);
        Self { bytes, valid: opaque(valid as u64) as usize, len, first_fragment: 0, packet_end: len }
    }

    /// The `N` bytes of a header that begins at byte `at`.
    ///
    /// # Errors
    /// Those of [`reaches`](Self::reaches) if the frame ends inside the header,
    /// [`Fault::TooDeep`] if only the copied bytes do.
    #[inline(always)]
    pub(super) fn header<const N: usize>(&self, at: usize) -> Result<&'a [u8; N], Fault> {
        const { assert!(N <= HEADER_LEN) };
        // A copy that is compared and used here alone. The compiler would compare the offset in one
        // register and use it from another, of which Linux 6.1 then does not know that it is the same.
        let begin = opaque(at as u64) as usize;
        if begin > HEADER_LEN - N || at + N > self.valid {
            self.reaches(at + N)?;
            return Err(Fault::TooDeep);
        }
        match self.bytes.get(begin..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(header) => Ok(header),
            None => Err(Fault::TooDeep),
        }
    }

    /// Checks that the frame goes on to byte `end`, without reading.
    ///
    /// # Errors
    /// [`Fault::Truncated`], or [`Fault::TinyFragment`] if what is missing may come in another
    /// fragment.
    #[inline(always)]
    pub(super) fn reaches(&self, end: usize) -> Result<(), Fault> {
        if end <= self.len {
            return Ok(());
        }
        Err(if self.first_fragment != 0 { Fault::TinyFragment } else { Fault::Truncated })
    }

    /// Takes note of where an IP packet ends, by its own length field.
    #[inline(always)]
    pub(super) fn set_packet_end(&mut self, end: usize) {
        self.packet_end = end.min(SETTLED_MASK);
    }

    /// Takes the frame for a first fragment, and the end of the IP packet for that of the frame, if
    /// it is nearer: what comes behind is padding, which a receiver cuts off before it puts the
    /// next fragment there.
    #[inline(always)]
    pub(super) fn begin_fragment(&mut self) {
        self.first_fragment = 1;
        self.len = self.len.min(self.packet_end);
        self.valid = self.valid.min(self.packet_end);
    }

    /// What [`resume`](Self::resume) goes on with.
    #[inline(always)]
    pub(super) const fn bounds(&self) -> Bounds {
        Bounds {
            valid: self.valid as u32,
            len: self.len as u32,
            first_fragment: self.first_fragment as u32,
            packet_end: self.packet_end as u32,
        }
    }

    /// The frame with the ends that were found before.
    #[inline(always)]
    pub(super) fn resume(bytes: &'a [u8; HEADER_LEN], bounds: Bounds) -> Self {
        let Bounds { valid, len, first_fragment, packet_end } = bounds;
        Self {
            bytes,
            valid: opaque(Self::settled(valid) as u64) as usize,
            len: Self::settled(len),
            first_fragment: Self::settled(first_fragment),
            packet_end: Self::settled(packet_end),
        }
    }

    /// A number that was kept in memory: nothing that the walk reaches is larger, and so the verifier knows it too.
    #[inline(always)]
    pub(super) const fn settled(number: u32) -> usize {
        number as usize & SETTLED_MASK
    }
}

/// The ends of a frame, as they are kept between two headers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Bounds {
    valid: u32,
    len: u32,
    first_fragment: u32,
    packet_end: u32,
}
