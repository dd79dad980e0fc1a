//! Frames from a capture file: classic pcap or pcapng, Ethernet or bare IP.
//!
//! The formats are draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng, link types those of the registry at
//! <https://www.tcpdump.org/linktypes.html>.

use std::io::{self, Read};

use guard_common::packet::Link;
use pcap_parser::pcapng::Block;
use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Linktype, PcapBlockOwned, PcapError, create_reader};

/// Bytes of a file that are looked at together: more than any block that a capture program writes.
const BUFFER_BYTES: usize = 1 << 20;

/// One frame of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its number in the file, from 1.
    pub number: u64,
    /// How it begins.
    pub link: Link,
    /// The bytes that were captured.
    pub bytes: &'a [u8],
    /// Bytes that it had on the wire: more than were captured where the capture program cut it.
    pub wire_len: u32,
}

/// Why a capture can't be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file is neither pcap nor pcapng.
    #[error("it is no capture: neither classic pcap nor pcapng begins so")]
    NotACapture,
    /// The operating system can't read on.
    #[error("it can't be read to its end")]
    Unreadable,
    /// The file ends inside a frame.
    #[error("it ends inside a block, after frame {after}: it was cut, or is still being written")]
    CutOff {
        /// The last whole frame, 0 for none.
        after: u64,
    },
    /// A block contradicts itself.
    #[error("a block after frame {after} is broken")]
    Broken {
        /// The last whole frame, 0 for none.
        after: u64,
    },
    /// A block is longer than is read at once.
    #[error("a block after frame {after} is longer than {BUFFER_BYTES} bytes")]
    TooLong {
        /// The last whole frame, 0 for none.
        after: u64,
    },
    /// The frames are of a link type that the parser does not read.
    #[error(
        "its frames have the link type {link_type}; Ethernet (1) and raw IP (12, 101, 228, 229) can be judged"
    )]
    LinkType {
        /// The link type by the registry.
        link_type: i32,
    },
    /// A pcapng packet names an interface that was not described.
    #[error("frame {number} names the interface {interface}, which the file does not describe")]
    NoInterface {
        /// The frame.
        number: u64,
        /// The interface's number in the section.
        interface: u32,
    },
    /// What was to be done with a frame failed.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// How frames of a link type begin.
fn link_of(link_type: Linktype) -> Result<Link, CaptureError> {
    /// `DLT_RAW` as Linux and some others write it.
    const RAW_DLT: Linktype = Linktype(12);
    match link_type {
        Linktype::ETHERNET => Ok(Link::Ethernet),
        Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 | RAW_DLT => Ok(Link::Raw),
        Linktype(link_type) => Err(CaptureError::LinkType { link_type }),
    }
}

/// Gives every frame of a capture to `judge`, in order; the answer is how many there were.
///
/// # Errors
/// [`CaptureError`] where the file can't be read on; the frames before that were given.
pub fn read(
    file: impl Read + Send,
    mut judge: impl FnMut(Frame<'_>) -> io::Result<()>,
) -> Result<u64, CaptureError> {
    let mut reader = match create_reader(BUFFER_BYTES, Full(file)) {
        Ok(reader) => reader,
        Err(PcapError::ReadError) => return Err(CaptureError::Unreadable),
        Err(_) => return Err(CaptureError::NotACapture),
    };
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut number = 0;
    loop {
        let used = match reader.next() {
            Ok((used, block)) => {
                let begun = frame_of(&block, &mut interfaces, number + 1)?;
                if let Some(frame) = begun {
                    number = frame.number;
                    judge(frame)?;
                }
                used
            }
            Err(PcapError::Eof) => return Ok(number),
            Err(PcapError::Incomplete(_)) => 0,
            Err(PcapError::UnexpectedEof) => return Err(CaptureError::CutOff { after: number }),
            Err(PcapError::BufferTooSmall) => return Err(CaptureError::TooLong { after: number }),
            Err(PcapError::ReadError) => return Err(CaptureError::Unreadable),
            Err(_) => return Err(CaptureError::Broken { after: number }),
        };
        if used > 0 {
            reader.consume(used);
        } else {
            refill(reader.as_mut(), number)?;
        }
    }
}

/// Reads more of the file, or says that no more helps.
fn refill(reader: &mut dyn PcapReaderIterator, after: u64) -> Result<(), CaptureError> {
    let (had, exhausted) = (reader.data().len(), reader.reader_exhausted());
    reader.refill().map_err(|_| CaptureError::Unreadable)?;
    match reader.data().len() == had && exhausted {
        true => Err(CaptureError::CutOff { after }),
        false => Ok(()),
    }
}

/// An interface that frames were captured on.
struct Interface {
    link_type: Linktype,
    /// Bytes that are captured of a frame; `u32::MAX` for no limit.
    snap_len: u32,
}

/// The frame in a block, if it holds one. `interfaces` are those of the section.
fn frame_of<'a>(
    block: &'a PcapBlockOwned<'a>,
    interfaces: &mut Vec<Interface>,
    number: u64,
) -> Result<Option<Frame<'a>>, CaptureError> {
    let (interface, data, captured, wire_len) = match block {
        PcapBlockOwned::LegacyHeader(header) => {
            interfaces.push(Interface { link_type: header.network, snap_len: u32::MAX });
            return Ok(None);
        }
        PcapBlockOwned::Legacy(packet) => (0, packet.data, packet.caplen, packet.origlen),
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            interfaces.clear();
            return Ok(None);
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
            // 0 is no limit (section 4.2).
            let snap_len = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
            interfaces.push(Interface { link_type: interface.linktype, snap_len });
            return Ok(None);
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            (packet.if_id, packet.data, packet.caplen, packet.origlen)
        }
        // It does not say how much was captured: as much as the first interface captures (section 4.4).
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            let snap_len = interfaces.first().map_or(u32::MAX, |interface| interface.snap_len);
            (0, packet.data, packet.origlen.min(snap_len), packet.origlen)
        }
        PcapBlockOwned::NG(_) => return Ok(None),
    };
    let Some(Interface { link_type, .. }) = interfaces.get(interface as usize) else {
        return Err(CaptureError::NoInterface { number, interface });
    };
    let bytes = data.get(..captured as usize).unwrap_or(data);
    let wire_len = wire_len.max(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    Ok(Some(Frame { number, link: link_of(*link_type)?, bytes, wire_len }))
}

/// Reads as much as is asked for: the parser recognizes a file by its first read, and a pipe gives a few
/// bytes at a time.
struct Full<R>(R);

impl<R: Read> Read for Full<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..)
            && !rest.is_empty()
        {
            match self.0.read(rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}
