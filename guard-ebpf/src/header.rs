//! Copies the first bytes of a frame once into scratch memory, where the parser reads a plain slice.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes};
use aya_ebpf::programs::{TcContext, XdpContext};
use guard_common::packet::HEADER_LEN;

use crate::maps::Scratch;

/// A packet whose frame can be copied.
pub trait Frame {
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
