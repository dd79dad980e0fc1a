//! Requests to the kernel over netlink, and their answers: just what interfaces, TC filters and sockets need,
//! without an async runtime, so that any thread may ask from the network namespace that it is in.
//!
//! Messages: Documentation/userspace-api/netlink/intro.rst. Numbers are in host order.

use std::io;

use rustix::fd::OwnedFd;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of `struct nlattr`.
const ATTRIBUTE: usize = 4;
/// Larger than any message of a dump (the kernel's own bound is 32 KiB).
const BUFFER: usize = 64 << 10;

/// Message types and flags (linux/netlink.h).
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
/// `NLA_TYPE_MASK`: the two high bits say nested and byte order.
const TYPE_MASK: u16 = 0x3fff;

/// A part of the kernel that is asked: a netlink protocol.
pub(super) type Part = Option<rustix::net::Protocol>;
/// `NETLINK_ROUTE` is protocol 0.
const ROUTE: Part = None;

/// One message of an answer.
#[derive(Debug)]
pub(super) struct Message {
    /// Its type.
    pub(super) kind: u16,
    /// What follows its header.
    pub(super) payload: Vec<u8>,
}

/// Asks for all of something.
pub(super) fn dump(kind: u16, payload: &[u8]) -> io::Result<Vec<Message>> {
    dump_from(ROUTE, kind, payload)
}

/// Asks another part of the kernel than rtnetlink for all of something.
pub(super) fn dump_from(part: Part, kind: u16, payload: &[u8]) -> io::Result<Vec<Message>> {
    exchange(part, kind, REQUEST | DUMP, payload)
}

/// Has something changed, and waits for the kernel's word that it was.
pub(super) fn change(kind: u16, payload: &[u8]) -> io::Result<()> {
    change_in(ROUTE, kind, payload)
}

/// Has another part of the kernel than rtnetlink change something, and waits for its word that it was.
pub(super) fn change_in(part: Part, kind: u16, payload: &[u8]) -> io::Result<()> {
    exchange(part, kind, REQUEST | ACK, payload).map(drop)
}

fn exchange(part: Part, kind: u16, flags: u16, payload: &[u8]) -> io::Result<Vec<Message>> {
    let socket =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, part)?;
    let request = request(kind, flags, payload)?;
    let sent = rustix::net::sendto(&socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    if sent != request.len() {
        return Err(broken("a request was cut"));
    }
    answer(&socket)
}

fn request(kind: u16, flags: u16, payload: &[u8]) -> io::Result<Vec<u8>> {
    let len = u32::try_from(HEADER + payload.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&len.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&1_u32.to_ne_bytes());
    bytes.extend_from_slice(&0_u32.to_ne_bytes());
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

/// Reads messages up to the end of a dump or the word on a change.
fn answer(socket: &OwnedFd) -> io::Result<Vec<Message>> {
    let mut messages = Vec::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        let (_, received) = rustix::net::recv(socket, &mut *buffer, RecvFlags::TRUNC)?;
        let datagram = buffer.get(..received).ok_or_else(|| broken("an answer was too long"))?;
        for message in split(datagram) {
            let message = message?;
            match message.kind {
                DONE => return Ok(messages),
                ERROR => return outcome(&message.payload).map(|()| messages),
                _ => messages.push(message),
            }
        }
    }
}

/// The messages of one datagram.
fn split(mut datagram: &[u8]) -> impl Iterator<Item = io::Result<Message>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let message = read_message(datagram);
        datagram = match &message {
            Some((_, rest)) => rest,
            None => &[],
        };
        Some(message.map(|(message, _)| message).ok_or_else(|| broken("an answer has no whole message")))
    })
}

fn read_message(datagram: &[u8]) -> Option<(Message, &[u8])> {
    let len = usize::try_from(u32_at(datagram, 0)?).ok()?;
    let payload = datagram.get(HEADER..len)?.to_vec();
    let rest = datagram.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((Message { kind: u16_at(datagram, 4)?, payload }, rest))
}

/// `struct nlmsgerr`: zero is success, else a negative errno.
fn outcome(payload: &[u8]) -> io::Result<()> {
    match u32_at(payload, 0).map(u32::cast_signed) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        None => Err(broken("an error without a number")),
    }
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The attributes in a part of a message, as type and value.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & TYPE_MASK;
        let value = bytes.get(ATTRIBUTE..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the attribute of this type.
pub(super) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// The text of an attribute, up to its final zero.
pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

/// The number at an offset.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

/// The number at an offset.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm_and_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(attributes(&bytes).count() <= bytes.len() / ATTRIBUTE + 1);
            prop_assert!(split(&bytes).count() <= bytes.len() / HEADER + 1);
        }
    }

    #[test]
    fn a_message_and_its_attributes_are_read_back() {
        // Type 3 with 5 bytes (padded to 8), then type 4 nested with 4 bytes.
        let mut payload = Vec::new();
        payload.extend_from_slice(&9_u16.to_ne_bytes());
        payload.extend_from_slice(&3_u16.to_ne_bytes());
        payload.extend_from_slice(b"eth0\0\0\0\0");
        payload.extend_from_slice(&8_u16.to_ne_bytes());
        payload.extend_from_slice(&(4_u16 | 0x8000).to_ne_bytes());
        payload.extend_from_slice(&7_u32.to_ne_bytes());
        let bytes = request(16, REQUEST, &payload).unwrap();
        let messages: Vec<Message> = split(&bytes).collect::<io::Result<_>>().unwrap();
        assert_eq!((messages.len(), messages[0].kind), (1, 16));
        let read = &messages[0].payload;
        assert_eq!(attribute(read, 3).map(text).as_deref(), Some("eth0"));
        assert_eq!(attribute(read, 4).and_then(|value| u32_at(value, 0)), Some(7));
        assert_eq!(attribute(read, 5), None);
    }

    #[test]
    fn errors_carry_their_number() {
        assert!(outcome(&0_i32.to_ne_bytes()).is_ok());
        let error = outcome(&(-libc::EEXIST).to_ne_bytes()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EEXIST));
        assert!(outcome(&[1]).is_err());
    }

    #[test]
    fn this_thread_s_loopback_is_listed() {
        // struct ifinfomsg, all of any family; RTM_GETLINK is 18.
        let messages = dump(18, &[0; 16]).unwrap();
        let names: Vec<String> = messages
            .iter()
            .filter_map(|message| attribute(message.payload.get(16..)?, 3))
            .map(text)
            .collect();
        assert!(names.contains(&"lo".to_owned()), "{names:?}");
    }
}
