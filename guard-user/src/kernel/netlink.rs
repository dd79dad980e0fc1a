//! Requests to the kernel over netlink, and their answers, for any thread and from the network namespace that it
//! is in: no async runtime, and no state but a socket that requests may share.
//!
//! Messages are framed and their attributes found by `netlink-packet-core`. Whole messages are not parsed by
//! `netlink-packet-route`: it gives up a message for one attribute that it does not expect (an interface's name
//! that is not UTF-8, a field that a newer kernel made longer), and with it an interface would be overlooked. Its
//! headers and single attributes are used.
//!
//! Format: Documentation/userspace-api/netlink/intro.rst. Numbers are in host order.

use std::cell::RefCell;
use std::io;
use std::ops::ControlFlow;

use netlink_packet_core::{
    Emitable, NLA_HEADER_SIZE, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NlaBuffer, NlasIterator,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Larger than any message of a dump (the kernel's own bound is 32 KiB).
const BUFFER: usize = 64 << 10;

thread_local! {
    /// The socket to rtnetlink that is free for this thread's next request; `None` outside of [`sharing`].
    static SHARED: RefCell<Option<Option<Socket>>> = const { RefCell::new(None) };
}

/// Has the requests to rtnetlink that this thread makes meanwhile share one socket. A socket is of the network namespace in which
/// it was made, so that the thread must not leave its own.
pub(super) fn sharing<T>(requests: impl FnOnce() -> T) -> T {
    /// However they end.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            SHARED.set(None);
        }
    }
    SHARED.set(Some(None));
    let _end = End;
    requests()
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    /// Which part of the kernel is asked (`NETLINK_ROUTE` and others).
    protocol: isize,
    /// The message's type.
    kind: u16,
    flags: u16,
    payload: &'a [u8],
    is_strict: bool,
}

/// How a dump came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dump {
    /// As far as the kernel says, nothing changed meanwhile. On Linux 6.1 it does not say so of links that came
    /// or went.
    Whole,
    /// Something changed meanwhile (`NLM_F_DUMP_INTR`): entries may be missing or twice in it.
    Interrupted,
    /// The reader wanted no more.
    Stopped,
}

impl<'a> Request<'a> {
    /// A request to rtnetlink.
    pub(super) const fn route(kind: u16, payload: &'a [u8]) -> Self {
        Self::to(NETLINK_ROUTE, kind, payload)
    }

    /// A request to another part of the kernel.
    pub(super) const fn to(protocol: isize, kind: u16, payload: &'a [u8]) -> Self {
        Self { protocol, kind, flags: NLM_F_REQUEST, payload, is_strict: false }
    }

    /// Has the kernel read the whole request of a dump (`NETLINK_GET_STRICT_CHK`, Linux 4.20), where it else reads only the family.
    pub(super) const fn strict(self) -> Self {
        Self { is_strict: true, ..self }
    }

    /// Adds flags (`NLM_F_CREATE` and others).
    pub(super) const fn with(self, flags: u16) -> Self {
        Self { flags: self.flags | flags, ..self }
    }

    /// Asks for all of something, and shows `each` the type and the payload of every message.
    pub(super) fn dump(self, each: impl FnMut(u16, &[u8]) -> ControlFlow<()>) -> io::Result<Dump> {
        self.with(NLM_F_DUMP).exchange(each)
    }

    /// Asks for one thing, or has one changed; returns when the kernel has confirmed it.
    pub(super) fn send(self, mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let answer = |kind, payload: &[u8]| {
            each(kind, payload);
            ControlFlow::Continue(())
        };
        self.with(NLM_F_ACK).exchange(answer).map(drop)
    }

    fn exchange(self, mut each: impl FnMut(u16, &[u8]) -> ControlFlow<()>) -> io::Result<Dump> {
        let socket = self.socket()?;
        let kernel = SocketAddr::new(0, 0);
        let request = self.bytes()?;
        if socket.send_to(&request, &kernel, 0)? != request.len() {
            return Err(broken("a request was cut"));
        }
        let mut buffer = Vec::with_capacity(BUFFER);
        let mut end = Dump::Whole;
        loop {
            buffer.clear();
            let (received, sender) = match socket.recv_from(&mut buffer, libc::MSG_TRUNC) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                received => received?,
            };
            if received > buffer.len() {
                return Err(broken("an answer was too long"));
            }
            // Any process with CAP_NET_ADMIN can send to this socket; only the kernel has port 0.
            if sender.port_number() != kernel.port_number() {
                continue;
            }
            for message in messages(&buffer) {
                let message = message?;
                if message.flags() & NLM_F_DUMP_INTR != 0 {
                    end = Dump::Interrupted;
                }
                match message.message_type() {
                    NLMSG_DONE | NLMSG_ERROR => {
                        outcome(message.payload())?;
                        self.put_back(socket);
                        return Ok(end);
                    }
                    kind if each(kind, message.payload()).is_break() => return Ok(Dump::Stopped),
                    _ => {}
                }
            }
        }
    }

    fn is_shared(&self) -> bool {
        self.protocol == NETLINK_ROUTE && !self.is_strict
    }

    fn socket(&self) -> io::Result<Socket> {
        if self.is_shared()
            && let Some(socket) = SHARED.with_borrow_mut(|shared| shared.as_mut()?.take())
        {
            return Ok(socket);
        }
        let socket = Socket::new(self.protocol)?;
        if self.is_strict {
            socket.set_netlink_get_strict_chk(true)?;
        }
        Ok(socket)
    }

    /// Leaves the socket to the next request, now that this one was answered to its end and nothing more comes by it. Any other
    /// socket is closed.
    fn put_back(&self, socket: Socket) {
        if self.is_shared() {
            SHARED.with_borrow_mut(|shared| {
                if let Some(free) = shared {
                    *free = Some(socket);
                }
            });
        }
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut header = NetlinkHeader::default();
        header.length = u32::try_from(HEADER + self.payload.len()).map_err(io::Error::other)?;
        (header.message_type, header.flags, header.sequence_number) = (self.kind, self.flags, 1);
        let mut bytes = emit(&header);
        bytes.extend_from_slice(self.payload);
        Ok(bytes)
    }
}

/// The bytes of a message's header or attribute.
pub(super) fn emit(part: &impl Emitable) -> Vec<u8> {
    let mut bytes = vec![0; part.buffer_len()];
    part.emit(&mut bytes);
    bytes
}

/// The messages of one datagram.
fn messages(mut datagram: &[u8]) -> impl Iterator<Item = io::Result<NetlinkBuffer<&[u8]>>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let Ok(message) = NetlinkBuffer::new_checked(datagram) else {
            datagram = &[];
            return Some(Err(broken("an answer has no whole message")));
        };
        let end = usize::try_from(message.length()).map_or(usize::MAX, |len| len.next_multiple_of(4));
        datagram = datagram.get(end..).unwrap_or_default();
        Some(Ok(message))
    })
}

/// The begin of `struct nlmsgerr` and of what ends a dump: zero is success, else a negative errno.
fn outcome(payload: &[u8]) -> io::Result<()> {
    match number(payload).map(u32::cast_signed) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        None => Err(broken("an answer ends without a number")),
    }
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The attributes in a part of a message that can be read.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = NlaBuffer<&[u8]>> {
    NlasIterator::new(bytes).map_while(Result::ok)
}

/// The value of an attribute, for as long as its message lives.
pub(super) fn value(attribute: NlaBuffer<&[u8]>) -> &[u8] {
    let len = usize::from(attribute.length());
    attribute.into_inner().get(NLA_HEADER_SIZE..len).unwrap_or_default()
}

/// A text that ends with a zero byte.
pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

/// The number at the begin of these bytes.
pub(super) fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::LinkHeader;
    use proptest::prelude::*;

    use super::*;

    /// `RTM_GETLINK` (linux/rtnetlink.h).
    const GET_LINK: u16 = 18;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm_and_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(attributes(&bytes).map(value).count() <= bytes.len() / NLA_HEADER_SIZE + 1);
            prop_assert!(messages(&bytes).count() <= bytes.len() / HEADER + 1);
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
        let bytes = Request::route(16, &payload).bytes().unwrap();
        let [message] = &messages(&bytes).collect::<io::Result<Vec<_>>>().unwrap()[..] else { panic!() };
        assert_eq!(message.message_type(), 16);
        let found: Vec<(u16, &[u8])> =
            attributes(message.payload()).map(|it| (it.kind(), value(it))).collect();
        assert_eq!(found, [(3, &b"eth0\0"[..]), (4, &7_u32.to_ne_bytes()[..])]);
        assert_eq!(number(found[1].1), Some(7));
    }

    #[test]
    fn errors_carry_their_number() {
        assert!(outcome(&0_i32.to_ne_bytes()).is_ok());
        let error = outcome(&(-libc::EEXIST).to_ne_bytes()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EEXIST));
        assert!(outcome(&[1]).is_err());
    }

    #[test]
    fn a_dump_ends_when_its_reader_wants_no_more() {
        let mut seen = 0;
        let payload = emit(&LinkHeader::default());
        let end = Request::route(GET_LINK, &payload).dump(|_, _| {
            seen += 1;
            ControlFlow::Break(())
        });
        assert_eq!((end.unwrap(), seen), (Dump::Stopped, 1));
    }

    #[test]
    fn requests_that_share_a_socket_get_each_its_own_answer() {
        let all = emit(&LinkHeader::default());
        let loopback = || {
            let (mut indexes, header) = (Vec::new(), LinkHeader { index: 1, ..LinkHeader::default() });
            Request::route(GET_LINK, &emit(&header))
                .send(|_, payload| indexes.extend(payload.get(4..).and_then(number)))
                .unwrap();
            indexes
        };
        let is_free = || SHARED.with_borrow(|shared| shared.as_ref().map(Option::is_some));
        sharing(|| {
            assert_eq!((is_free(), loopback(), is_free()), (Some(false), vec![1], Some(true)));
            // A dump that is left before its end, and a request that is refused, leave nothing to the next one.
            let end = Request::route(GET_LINK, &all).dump(|_, _| ControlFlow::Break(()));
            assert_eq!((end.unwrap(), is_free(), loopback()), (Dump::Stopped, Some(false), vec![1]));
            let none = emit(&LinkHeader { index: 0x7fff_fff0, ..LinkHeader::default() });
            assert!(Request::route(GET_LINK, &none).send(|_, _| {}).is_err());
            assert_eq!((is_free(), loopback()), (Some(false), vec![1]));
            let mut count = 0;
            let end = Request::route(GET_LINK, &all).dump(|_, _| {
                count += 1;
                ControlFlow::Continue(())
            });
            assert_ne!(end.unwrap(), Dump::Stopped);
            assert_eq!((count > 0, is_free(), loopback()), (true, Some(true), vec![1]));
        });
        assert_eq!((is_free(), loopback(), is_free()), (None, vec![1], None));
    }

    #[test]
    fn what_is_not_there_is_an_error_with_its_number() {
        let header = LinkHeader { index: 0x7fff_fff0, ..LinkHeader::default() };
        let asked = Request::route(GET_LINK, &emit(&header)).send(|_, _| {});
        assert_eq!(asked.unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }
}
