//! Canaries: frames that the daemon makes, which a pin forbids, to see that they are dropped, counted and logged. The
//! daemon keeps an entry with the packet socket (packet(7)) that it sends one by; by that entry alone a frame is a canary.

use super::{Event, Outcome};

/// `AF_PACKET` (linux/socket.h): a canary is sent by such a socket alone, so that no other packet is looked up.
pub const PACKET_FAMILY: u32 = 17;

/// What is kept with the socket of a canary: its number, which the daemon writes, and what became of it, which the kernel
/// program writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Canary {
    /// The number that the daemon has chosen, by chance; never 0.
    pub number: u64,
    /// Frames of the socket that were judged.
    pub packets: u64,
    /// The generation that judged the last one.
    pub generation: u64,
    /// What was decided for the last one, without exemptions. It is dropped whatever that is.
    pub outcome: Outcome,
    /// The interface that the last one would have left by.
    pub ifindex: u32,
    /// Bit of the pin that it is for: the number of one of the ways in which that is known.
    pub pin: u32,
}

/// An entry of the ring buffer: a canary was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CanaryEvent {
    /// The frame, as the event of a flow has it. No flow record is kept.
    pub event: Event,
    /// [`Canary::number`].
    pub number: u64,
}

const _: () = {
    assert!(size_of::<Canary>() == 64);
    assert!(core::mem::offset_of!(Canary, outcome) == 24);
    assert!(core::mem::offset_of!(Canary, pin) == 60);
    assert!(size_of::<CanaryEvent>() == size_of::<Event>() + 8);
    assert!(size_of::<CanaryEvent>() != size_of::<super::PinnedCopy>());
};
