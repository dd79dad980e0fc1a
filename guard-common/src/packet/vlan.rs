//! VLAN tags (IEEE 802.1Q and 802.1ad): 4 bytes, of which the EtherType of what follows is used.
//!
//! The kernel may keep the outermost tag beside the frame, where it is not seen and not missed.

use super::ethernet::{self, Depth};
use super::frame::Frame;
use super::next::Next;
use super::types::Fault;

/// What follows the tag whose control information is at `at`, behind its own EtherType; and where.
///
/// # Errors
/// Those of [`Frame::header`] and [`ethernet::behind`].
#[inline(always)]
pub(super) fn read(frame: &Frame<'_>, at: usize, depth: Depth) -> Result<(Next, usize), Fault> {
    let [_, _, e0, e1] = *frame.header::<4>(at)?;
    Ok((ethernet::behind(frame, u16::from_be_bytes([e0, e1]), at + 4, depth)?, at + 4))
}
