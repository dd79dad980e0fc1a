//! Tells the service manager how the daemon is: sd_notify(3), one datagram to `NOTIFY_SOCKET`.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

use crate::daemon::engine::State;

/// Tells the service manager, if there is one. That it can't be told is no reason to stop.
pub(super) fn notify(state: State) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    tell(&socket, &message(state));
}

/// Tells the service manager's watchdog that the loop goes on.
pub(super) fn watchdog() {
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET") {
        tell(&socket, "WATCHDOG=1");
    }
}

fn tell(socket: &OsStr, message: &str) {
    if let Err(error) = send(socket, message) {
        warn!(%error, socket = %socket.display(), "the service manager can't be told how the daemon is");
    }
}

fn message(state: State) -> String {
    match state {
        State::Ready => "READY=1".to_owned(),
        State::Reloading => {
            // The manager wants to know of which reload the READY=1 is that follows.
            let now = clock_gettime(ClockId::Monotonic);
            let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
            format!("RELOADING=1\nMONOTONIC_USEC={micros}")
        }
        State::Stopping => "STOPPING=1".to_owned(),
    }
}

fn send(socket: &OsStr, message: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    sender.send_to_addr(message.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(receiver: &UnixDatagram) -> String {
        let mut bytes = [0; 200];
        let length = receiver.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn the_manager_is_told_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let receiver = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), &message(State::Ready)).unwrap();
        assert_eq!(received(&receiver), "READY=1");

        let name = format!("borderguard-test-{}", std::process::id());
        let receiver = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(OsStr::new(&format!("@{name}")), &message(State::Reloading)).unwrap();
        let text = received(&receiver);
        let micros = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(micros.parse::<u64>().unwrap() > 0);
    }

    #[test]
    fn nobody_there_is_an_error_and_no_more() {
        assert!(send(OsStr::new("/no/such/socket"), "READY=1").is_err());
    }
}
