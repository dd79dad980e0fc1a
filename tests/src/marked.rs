//! Sees whether bytes with a mark in them come to a host, in whatever packet they are.
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, RawProtocol, RecvFlags, SocketFlags, SocketType, socket_with};

use crate::netns::Netns;

/// What is looked for in frames. Nothing else on a test's network has it.
pub const MARK: &[u8] = b"a marked mail of the mailbox";
/// How long a frame may take.
const SOON: Duration = Duration::from_millis(400);
/// `ETH_P_ALL` (linux/if_ether.h), in network order.
const ALL: u32 = 0x0003_u16.to_be() as u32;

/// Every frame that a host's interfaces have from now on.
#[derive(Debug)]
pub struct Marked(OwnedFd);

impl Marked {
    /// Begins to look at what comes to this host.
    ///
    /// # Errors
    /// Without `CAP_NET_RAW`.
    pub fn at(host: &Netns) -> Result<Self> {
        host.run(|| {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let all = RawProtocol::new(ALL).map(Protocol::from_raw);
            socket_with(AddressFamily::PACKET, SocketType::RAW, flags, all).map(Self)
        })?
        .context("cannot look at frames")
    }

    /// How many frames with the mark have come, a moment after the last one was sent.
    ///
    /// # Errors
    /// Where the kernel can't be asked.
    pub fn count(&self) -> Result<usize> {
        let (mut count, begin) = (0, Instant::now());
        let mut bytes = vec![0; 1 << 17];
        while begin.elapsed() < SOON {
            match rustix::net::recv(&self.0, &mut bytes[..], RecvFlags::empty()) {
                Ok((_, length)) => count += usize::from(has_mark(bytes.get(..length).unwrap_or_default())),
                Err(Errno::AGAIN) => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => return Err(error).context("cannot read frames"),
            }
        }
        Ok(count)
    }
}

/// Whether bytes have the mark in them.
#[must_use]
pub fn has_mark(bytes: &[u8]) -> bool {
    bytes.windows(MARK.len()).any(|part| part == MARK)
}
