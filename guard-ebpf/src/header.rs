//! Copies the first bytes of a frame into scratch memory, where the parser reads a plain slice.
//!
//! Nearly every packet has its headers in the first [`SHORT_LEN`] bytes, and these lie in linear memory:
//! they are copied by loads and stores, without a helper's call. Where that is not enough the helper
//! copies [`HEADER_LEN`] bytes, from wherever they are.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes};
use aya_ebpf::programs::{TcContext, XdpContext};
use guard_common::packet::HEADER_LEN;

use crate::maps::Scratch;

/// Bytes of the short copy: Ethernet, IPv6 and the first ten bytes of TCP.
pub const SHORT_LEN: usize = 64;

/// A packet whose frame can be copied.
pub trait Frame {
    /// Begin and end of the frame's linear part.
    fn linear(&self) -> (usize, usize);

    /// Length of the whole frame in bytes.
    fn frame_len(&self) -> u32;

    /// Copies `len` bytes (1 to [`HEADER_LEN`]) from the frame's begin to `to`.
    ///
    /// # Safety
    ///
    /// `to` must be valid for writes of `len` bytes.
    unsafe fn copy(&self, to: *mut u8, len: u32) -> bool;
}

impl Frame for TcContext {
    #[inline(always)]
    fn linear(&self) -> (usize, usize) {
        (self.data(), self.data_end())
    }

    #[inline(always)]
    fn frame_len(&self) -> u32 {
        self.len()
    }

    #[inline(always)]
    unsafe fn copy(&self, to: *mut u8, len: u32) -> bool {
        // SAFETY: the context is the kernel's, and the caller vouches for `to`.
        unsafe { bpf_skb_load_bytes(self.as_ptr(), 0, to.cast(), len) == 0 }
    }
}

impl Frame for XdpContext {
    #[inline(always)]
    fn linear(&self) -> (usize, usize) {
        (self.data(), self.data_end())
    }

    #[inline(always)]
    fn frame_len(&self) -> u32 {
        // SAFETY: the context is the kernel's.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as u32 }
    }

    #[inline(always)]
    unsafe fn copy(&self, to: *mut u8, len: u32) -> bool {
        // SAFETY: the context is the kernel's, and the caller vouches for `to`.
        unsafe { bpf_xdp_load_bytes(self.ctx, 0, to.cast(), len) == 0 }
    }
}

/// Copies the frame's first [`SHORT_LEN`] bytes. False where they are not all in linear memory.
#[inline(always)]
pub fn copy_short<F: Frame>(frame: &F, scratch: &mut Scratch) -> bool {
    const WORD: usize = size_of::<u64>();
    const { assert!(SHORT_LEN.is_multiple_of(WORD) && SHORT_LEN <= HEADER_LEN) };
    let (begin, end) = frame.linear();
    if begin + SHORT_LEN > end {
        return false;
    }
    let from = begin as *const u64;
    let to: *mut u64 = scratch.header.as_mut_ptr().cast();
    for word in 0..SHORT_LEN / WORD {
        // SAFETY: the bounds were compared just above, and the header is longer than SHORT_LEN.
        unsafe { core::ptr::write_volatile(to.add(word), load(from.add(word))) };
    }
    scratch.valid = SHORT_LEN as u32;
    true
}

/// Loads a word from any address. By assembly, because a frame need not be aligned and the compiler would
/// load it byte by byte; where the processor can't do it, the verifier refuses the program.
///
/// # Safety
///
/// `from` must be valid for reads of 8 bytes.
#[inline(always)]
unsafe fn load(from: *const u64) -> u64 {
    let word;
    // SAFETY: the caller vouches for `from`; the instruction only reads.
    unsafe {
        core::arch::asm!("{word} = *(u64 *)({from} + 0)", from = in(reg) from, word = out(reg) word,
            options(nostack, readonly, preserves_flags));
    }
    word
}

/// Copies the frame's first bytes, at most [`HEADER_LEN`]; what was copied is in `scratch.valid`.
/// False where the kernel can't copy them.
#[inline(always)]
pub fn copy<F: Frame>(frame: &F, scratch: &mut Scratch) -> bool {
    let len = frame.frame_len();
    let wanted = if len < HEADER_LEN as u32 { len } else { HEADER_LEN as u32 };
    scratch.valid = wanted;
    if wanted == 0 {
        return true;
    }
    // The verifier of 6.1 must see a length between 1 and 256. The volatile read hides from the compiler
    // that it is so already; else it takes the mask away.
    // SAFETY: the field was written just above.
    let wanted = unsafe { core::ptr::read_volatile(&raw const scratch.valid) };
    let wanted = ((wanted.wrapping_sub(1)) & (HEADER_LEN as u32 - 1)) + 1;
    // SAFETY: the header has HEADER_LEN bytes, and `wanted` is at most that.
    unsafe { frame.copy(scratch.header.as_mut_ptr(), wanted) }
}
