//! Sends canaries, and reads what the kernel program notes of them.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use guard_common::abi::{Canary, Count, Direction, SocketFacts};
use guard_common::packet::Link;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::Mark;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};

use super::elements::each_count;
use super::plain::{bytes_of, read};
use super::raw::{bind_to_interface, send_by_interface};
use super::{KernelError, View};

/// The destination of a canary's frame: a reserved address, from which no bridge of any kind forwards a frame to another
/// segment (IEEE Std 802.1Q-2018, 8.6.3: the nearest bridge group address).
const NEAREST_BRIDGE: [u8; 6] = [0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e];

/// A canary that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingCanary {
    /// Its number, never 0.
    pub number: u64,
    /// Bit of the pin.
    pub pin: u32,
    /// The interface that it is to leave by.
    pub ifindex: u32,
    /// What the interface's frames are.
    pub link: Link,
    /// The IP packet.
    pub packet: Vec<u8>,
    /// Firewall mark; 0 for none.
    pub mark: u32,
    /// What is noted of who uses its socket; `original` and `connected` are made of `direction`.
    pub facts: SocketFacts,
    /// Whether the socket counts as accepted or as connected; neither where no selector asks.
    pub direction: Direction,
    /// Slots of the volumes whose data its socket carries, a bit each.
    pub volumes: u64,
}

/// What came of sending a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentCanary {
    /// Whether the kernel has taken the frame, so that it has left by the interface.
    pub has_left: bool,
    /// What the kernel program noted; its `packets` are 0 where it never saw the frame.
    pub noted: Canary,
}

impl View {
    /// Sends a canary by a packet socket of its own. `None` where the interface is down, so that nothing leaves by it.
    ///
    /// Nothing is sent where the kernel does not keep the socket's entry: the programs would not know the frame.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn send_canary(&self, canary: &OutgoingCanary) -> io::Result<Option<SentCanary>> {
        // Of no protocol: it receives nothing.
        let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        let hardware = bind_to_interface(&socket, canary.ifindex, 0)?;
        if canary.mark != 0 {
            setsockopt(&socket, Mark, &canary.mark)?;
        }
        self.note(&socket, canary)?;
        let (frame, protocol) = frame(canary, hardware);
        let has_left = match send_by_interface(&socket, canary.ifindex, protocol, &frame) {
            Ok(()) => true,
            Err(error) => match error.raw_os_error() {
                // What a frame comes to that is dropped on its way out (net_xmit_errno in linux/netdevice.h).
                Some(libc::ENOBUFS) => false,
                Some(libc::ENETDOWN) => return Ok(None),
                _ => return Err(error),
            },
        };
        Ok(Some(SentCanary { has_left, noted: self.noted(&socket)? }))
    }

    /// Canaries that were counted for the pin with this bit, over all processors.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the map can't be read.
    pub fn canaries(&self, pin: u32) -> Result<Count, KernelError> {
        let mut found = Count::default();
        each_count(&self.maps.canaries, "CANARIES", |key, count| {
            if read::<u32>(key) == Some(pin) {
                found = count;
            }
        })?;
        Ok(found)
    }

    /// Keeps with the socket what the programs go by.
    fn note(&self, socket: &OwnedFd, canary: &OutgoingCanary) -> io::Result<()> {
        self.note_use(socket, &canary.facts, canary.direction, canary.volumes)?;
        let key = socket.as_raw_fd().to_ne_bytes();
        let kept = Canary { number: canary.number, pin: canary.pin, ..Canary::default() };
        self.maps.socket_canaries.update(&key, bytes_of(&kept))?;
        match self.noted(socket)? == kept {
            true => Ok(()),
            false => Err(io::Error::other("the kernel keeps another entry than was written")),
        }
    }

    /// Keeps with a packet socket who uses it, who opened its connection, and what data it carries, as if a process had made
    /// and used it so. `original` and `connected` of the facts are made of `direction`.
    pub(super) fn note_use(
        &self,
        socket: &OwnedFd,
        facts: &SocketFacts,
        direction: Direction,
        volumes: u64,
    ) -> io::Result<()> {
        let key = socket.as_raw_fd().to_ne_bytes();
        let cookie = sockopt::socket_cookie(socket)?;
        // As `Direction::of_socket` reads them. Nothing is remembered of these facts: they have no number.
        let (original, connected) = match direction {
            Direction::Unknown => (0, 0),
            Direction::Served => (u64::MAX, 0),
            Direction::Opened => (cookie, cookie),
        };
        let facts = SocketFacts { original, connected, noted: 0, ..*facts };
        self.maps.socket_facts.update(&key, bytes_of(&facts))?;
        self.maps.socket_volumes.update(&key, bytes_of(&volumes))
    }

    fn noted(&self, socket: &OwnedFd) -> io::Result<Canary> {
        let mut bytes = [0; size_of::<Canary>()];
        self.maps.socket_canaries.lookup(&socket.as_raw_fd().to_ne_bytes(), &mut bytes)?;
        read(&bytes).ok_or_else(|| io::Error::other("the entry is too short"))
    }
}

/// The frame, and its EtherType in host order. An Ethernet frame has the interface's own address as its source, for a switch
/// may shut a port that sends others.
fn frame(canary: &OutgoingCanary, hardware: [u8; 6]) -> (Vec<u8>, u16) {
    let is_ipv6 = canary.packet.first().is_some_and(|first| first >> 4 == 6);
    let protocol: u16 = if is_ipv6 { 0x86dd } else { 0x0800 };
    let frame = match canary.link {
        Link::Ethernet => [&NEAREST_BRIDGE[..], &hardware, &protocol.to_be_bytes(), &canary.packet].concat(),
        Link::Raw => canary.packet.clone(),
    };
    (frame, protocol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_goes_to_no_bridge_and_a_bare_packet_stays_bare() {
        let mut canary = OutgoingCanary {
            number: 1,
            pin: 0,
            ifindex: 2,
            link: Link::Ethernet,
            packet: vec![0x60, 1, 2],
            mark: 0,
            facts: SocketFacts::default(),
            direction: Direction::Unknown,
            volumes: 0,
        };
        let own = [2, 0, 0, 0, 0, 7];
        let expected = [1, 0x80, 0xc2, 0, 0, 0xe, 2, 0, 0, 0, 0, 7, 0x86, 0xdd, 0x60, 1, 2];
        assert_eq!(frame(&canary, own), (expected.to_vec(), 0x86dd));
        (canary.link, canary.packet) = (Link::Raw, vec![0x45, 0]);
        assert_eq!(frame(&canary, own), (vec![0x45, 0], 0x0800));
    }
}
