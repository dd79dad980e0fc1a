//! Wakes the daemon when network interfaces, their addresses, or their queueing disciplines and filters come, go or change:
//! the kernel's notifications (rtnetlink(7), groups `RTNLGRP_LINK`, `RTNLGRP_TC`, `RTNLGRP_IPV4_IFADDR` and
//! `RTNLGRP_IPV6_IFADDR`). Of TCX and XDP links it sends none.
//!
//! What changed is not read from the messages: the daemon looks at all interfaces again, so that a message
//! that was lost, because there were too many, loses nothing.

use std::io;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, Socket, SocketAddr, TokioSocket};
use tokio::time::{Instant, timeout_at};

/// `RTMGRP_LINK`, `RTMGRP_TC`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR` (linux/rtnetlink.h).
const GROUPS: u32 = 1 | 8 | 0x10 | 0x100;
/// Messages come in bursts: an interface that is made and set up sends several.
const BURST: Duration = Duration::from_millis(20);
/// Bytes of one read; what is longer is cut, and not looked at anyhow.
const READ_BYTES: usize = 8 << 10;

/// The notifications of the calling thread's network namespace.
pub(super) struct Links {
    socket: TokioSocket,
    /// Until when the rest of a burst is waited for that has begun. Kept here, so that a change that was
    /// read is not forgotten when the wait is dropped for something else that the daemon has to do.
    burst_end: Option<Instant>,
}

impl Links {
    /// Begins to listen. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn listen() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        let inner: &mut Socket = socket.socket_mut();
        inner.bind(&SocketAddr::new(0, GROUPS))?;
        Ok(Self { socket, burst_end: None })
    }

    /// Waits until something changed, and then for the rest of the burst. May be dropped at any point: the
    /// next call goes on where this one was.
    pub(super) async fn changed(&mut self) {
        let end = match self.burst_end {
            Some(end) => end,
            None => {
                self.one().await;
                *self.burst_end.insert(Instant::now() + BURST)
            }
        };
        while Instant::now() < end && timeout_at(end, self.one()).await.is_ok() {}
        self.burst_end = None;
    }

    async fn one(&mut self) {
        let mut buffer = Vec::with_capacity(READ_BYTES);
        let read = std::future::poll_fn(|context| {
            buffer.clear();
            self.socket.poll_recv_from(context, &mut buffer)
        });
        match read.await {
            Ok(_) => {}
            // Messages were lost: something has changed.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            // Nothing that is known; a pause keeps it from taking the CPU.
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn nothing_is_heard_where_nothing_happens() {
        let mut links = Links::listen().unwrap();
        // Other tests may make interfaces on this machine, so only that waiting can be given up is tested.
        let _either = tokio::time::timeout(Duration::from_millis(50), links.changed()).await;
    }
}
