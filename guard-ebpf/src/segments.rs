//! The segments into which the kernel cuts a packet behind the hook: each may have a packet of its own in a tunnel.

use guard_common::packet::MAX_LAYERS;
use guard_common::packet::segment::SEGMENT_LEN;

use crate::hooks::Source;
use crate::scratch::Scratch;
use crate::subprograms;

/// Segments that are looked at. A packet in a tunnel of which more are cut counts as one with another inside: the kernel
/// cuts at most 128 datagrams out of one (`UDP_MAX_SEGMENTS`), and of 64 KiB of TCP more only below 410 bytes each.
const MOST: u32 = 160;

/// Whether a segment behind the first has an IP packet in a tunnel. What was parsed is the first one's. Where a UDP tunnel
/// is in another one nobody can tell which of them is cut: that counts as one.
#[inline(always)]
pub fn is_another_in_a_tunnel<S: Source>(number: u32, source: &S, scratch: &mut Scratch, size: u32) -> bool {
    let (mut tunnels, mut at, mut dport) = (0_u32, 0, 0);
    for layer in 0..MAX_LAYERS {
        if layer as u32 >= scratch.packet.layer_count {
            break;
        }
        if let Some(layer) = scratch.packet.layers.get(layer)
            && layer.tunnel != 0
        {
            tunnels += 1;
            (at, dport) = (u32::from(layer.tunnel) * 2, u32::from(layer.dport));
        }
    }
    if tunnels != 1 {
        return tunnels != 0;
    }
    let end = scratch.provenance.frame_len;
    for _ in 0..MOST {
        at = at.wrapping_add(size);
        if at >= end {
            return false;
        }
        if is_in_a_tunnel(number, source, scratch, (at, dport, size)) {
            return true;
        }
    }
    true
}

/// Whether a datagram to this port that begins at this byte of the frame has an IP packet in a tunnel. One that is shorter
/// than any such packet has none.
#[inline(always)]
fn is_in_a_tunnel<S: Source>(
    number: u32,
    source: &S,
    scratch: &mut Scratch,
    (at, dport, size): (u32, u32, u32),
) -> bool {
    if !copy(source, scratch, at) {
        return false;
    }
    match subprograms::borderguard_segment(number, dport, size) {
        0 => false,
        1 => true,
        code => {
            copy(source, scratch, at.wrapping_add(code >> 8))
                && subprograms::borderguard_segment_ip(number, (code & 1) ^ 1, size) != 0
        }
    }
}

#[inline(always)]
fn copy<S: Source>(source: &S, scratch: &mut Scratch, at: u32) -> bool {
    // SAFETY: the destination has as many bytes.
    unsafe { source.copy(at, scratch.segment.as_mut_ptr(), SEGMENT_LEN as u32) }
}
