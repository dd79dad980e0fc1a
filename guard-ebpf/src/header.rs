//! Copies the first bytes of a frame into scratch memory, where the parser reads a plain slice.
//!
//! Nearly every packet has its headers in the first [`SHORT_LEN`] bytes, or by IPv6 in the first [`LONGER_LEN`], and these lie in
//! linear memory: they are copied by loads and stores, without a helper's call. Where that is not enough the helper
//! copies [`HEADER_LEN`] bytes, from wherever they are.

use guard_common::packet::HEADER_LEN;

use crate::hooks::Source;
use crate::scratch::Scratch;

/// Bytes of the short copy: Ethernet, IPv4 and TCP with timestamps.
const SHORT_LEN: usize = 64;
/// Of the one of frames that have no more: Ethernet, IPv4 and TCP without options, as an acknowledgement may be.
const SHORTEST_LEN: usize = 54;
/// Of the one that reaches to the end of a TCP header behind IPv6, without options.
const WITHOUT_OPTIONS: usize = 74;
/// Of the one that has the begin of its options too, by which timestamps are known.
const LONGER_LEN: usize = 80;

const WORD: usize = size_of::<u64>();

/// Copies the frame's first bytes, [`SHORT_LEN`] of them or what more a plain packet by IPv6 takes, so that it need not be copied
/// and parsed once more. False where they are not all in linear memory.
#[inline(always)]
pub fn copy_short<S: Source>(frame: &S, scratch: &mut Scratch) -> bool {
    const { assert!(SHORT_LEN.is_multiple_of(WORD) && LONGER_LEN <= HEADER_LEN) };
    let (begin, end) = frame.linear();
    let from = begin as *const u64;
    let to: *mut u64 = scratch.header.as_mut_ptr().cast();
    if begin + SHORT_LEN > end {
        if begin + SHORTEST_LEN > end {
            return false;
        }
        const { assert!(SHORTEST_LEN == 6 * WORD + 3 * size_of::<u16>()) };
        // SAFETY: the bounds were compared just above, and the header is longer than SHORTEST_LEN.
        unsafe {
            for word in 0..6 {
                core::ptr::write_volatile(to.add(word), load(from.add(word)));
            }
            let (from, to): (*const u16, *mut u16) = (from.add(6).cast(), to.add(6).cast());
            for short in 0..3 {
                core::ptr::write_volatile(to.add(short), load_short(from.add(short)));
            }
        }
        scratch.valid = SHORTEST_LEN as u32;
        return true;
    }
    for word in 0..SHORT_LEN / WORD {
        // SAFETY: the bounds were compared just above, and the header is longer than SHORT_LEN.
        unsafe { core::ptr::write_volatile(to.add(word), load(from.add(word))) };
    }
    scratch.valid = SHORT_LEN as u32;
    if begin + LONGER_LEN <= end {
        for word in SHORT_LEN / WORD..LONGER_LEN / WORD {
            // SAFETY: as above, for LONGER_LEN.
            unsafe { core::ptr::write_volatile(to.add(word), load(from.add(word))) };
        }
        scratch.valid = LONGER_LEN as u32;
    } else if begin + WITHOUT_OPTIONS <= end {
        const { assert!(WITHOUT_OPTIONS == SHORT_LEN + WORD + size_of::<u16>()) };
        let word = SHORT_LEN / WORD;
        // SAFETY: as above, for WITHOUT_OPTIONS; two bytes are left behind the word.
        unsafe {
            core::ptr::write_volatile(to.add(word), load(from.add(word)));
            let rest = load_short(from.add(word + 1).cast());
            core::ptr::write_volatile(to.add(word + 1).cast(), rest);
        }
        scratch.valid = WITHOUT_OPTIONS as u32;
    }
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

/// Loads two bytes from any address, as [`load`] does a word.
///
/// # Safety
///
/// `from` must be valid for reads of 2 bytes.
#[inline(always)]
unsafe fn load_short(from: *const u16) -> u16 {
    let short: u64;
    // SAFETY: the caller vouches for `from`; the instruction only reads.
    unsafe {
        core::arch::asm!("{short} = *(u16 *)({from} + 0)", from = in(reg) from, short = out(reg) short,
            options(nostack, readonly, preserves_flags));
    }
    short as u16
}

/// Copies the frame's first bytes, at most [`HEADER_LEN`]; what was copied is in `scratch.valid`.
/// False where the kernel can't copy them.
#[inline(always)]
pub fn copy<S: Source>(frame: &S, scratch: &mut Scratch) -> bool {
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
    unsafe { frame.copy(0, scratch.header.as_mut_ptr(), wanted) }
}
