//! Classic pcap files from frames, for `borderguard explain --pcap` and for other programs to read.
//!
//! The format (draft-ietf-opsawg-pcap) is a 24-byte header and 16 bytes before each packet. Only
//! this is needed here, so it is written by hand: the library that writes it (`pcap-file`) brings its
//! own error and derive stack for the same 40 bytes. The tests read the files back with `pcap-parser`.
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

/// What a file's packets start with (the registry's LINKTYPE values).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum LinkType {
    /// Ethernet frames (LINKTYPE_ETHERNET).
    Ethernet = 1,
    /// IPv4 or IPv6 packets with no link header (LINKTYPE_RAW).
    RawIp = 101,
}

/// Longest packet that is kept whole, in bytes; longer ones are cut, with their length noted.
pub const SNAP_LEN: u32 = 262_144;

/// Magic number for timestamps in microseconds, in the writer's byte order (here little-endian).
const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;

/// Writes packets one after another.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
}

impl Writer<BufWriter<File>> {
    /// Makes (or empties) the file at `path`.
    ///
    /// # Errors
    /// When the file cannot be made or written.
    pub fn create(path: impl AsRef<Path>, link_type: LinkType) -> io::Result<Self> {
        Writer::new(BufWriter::new(File::create(path)?), link_type)
    }
}

impl<W: Write> Writer<W> {
    /// Writes the file header to `out`.
    ///
    /// # Errors
    /// When `out` does not take it.
    pub fn new(mut out: W, link_type: LinkType) -> io::Result<Self> {
        out.write_all(&MAGIC_MICROSECONDS.to_le_bytes())?;
        out.write_all(&2u16.to_le_bytes())?;
        out.write_all(&4u16.to_le_bytes())?;
        out.write_all(&[0; 8])?; // two reserved fields
        out.write_all(&SNAP_LEN.to_le_bytes())?;
        out.write_all(&(link_type as u32).to_le_bytes())?;
        Ok(Writer { out })
    }

    /// Appends one packet, seen at `time` since the Unix epoch (the file keeps microseconds, and
    /// seconds modulo 2^32).
    ///
    /// # Errors
    /// When the output does not take it.
    pub fn write(&mut self, time: Duration, frame: &[u8]) -> io::Result<()> {
        let original = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let kept = original.min(SNAP_LEN);
        let seconds = (time.as_secs() & u64::from(u32::MAX)) as u32;
        self.out.write_all(&seconds.to_le_bytes())?;
        self.out.write_all(&time.subsec_micros().to_le_bytes())?;
        self.out.write_all(&kept.to_le_bytes())?;
        self.out.write_all(&original.to_le_bytes())?;
        self.out.write_all(frame.get(..kept as usize).unwrap_or(frame))
    }

    /// Ends the file and hands the output back.
    ///
    /// # Errors
    /// When the last bytes cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use pcap_parser::traits::PcapReaderIterator;
    use pcap_parser::{LegacyPcapReader, Linktype, PcapBlockOwned, PcapError};

    use super::*;

    /// Seconds, microseconds, original length, bytes.
    type Record = (u32, u32, u32, Vec<u8>);

    /// Reads a file back.
    fn read(file: &[u8]) -> (Linktype, Vec<Record>) {
        let mut reader = LegacyPcapReader::new(1 << 20, file).unwrap();
        let (mut link, mut packets) = (Linktype(-1), Vec::new());
        loop {
            match reader.next() {
                Ok((used, block)) => {
                    match block {
                        PcapBlockOwned::LegacyHeader(header) => link = header.network,
                        PcapBlockOwned::Legacy(p) => {
                            packets.push((p.ts_sec, p.ts_usec, p.origlen, p.data.to_vec()))
                        }
                        PcapBlockOwned::NG(_) => panic!("not the classic format"),
                    }
                    reader.consume(used);
                }
                Err(PcapError::Eof) => return (link, packets),
                Err(PcapError::Incomplete(_)) => reader.refill().unwrap(),
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    #[test]
    fn another_reader_reads_it_back() {
        for (kind, expected) in [(LinkType::Ethernet, Linktype::ETHERNET), (LinkType::RawIp, Linktype::RAW)] {
            let mut writer = Writer::new(Vec::new(), kind).unwrap();
            writer.write(Duration::new(7, 42_000), b"first").unwrap();
            writer.write(Duration::from_secs(8), b"").unwrap();
            writer.write(Duration::ZERO, &vec![9; SNAP_LEN as usize + 5]).unwrap();
            let (link, packets) = read(&writer.finish().unwrap());
            assert_eq!(link, expected);
            assert_eq!(packets.len(), 3);
            assert_eq!(packets[0], (7, 42, 5, b"first".to_vec()));
            assert_eq!(packets[1], (8, 0, 0, Vec::new()));
            assert_eq!((packets[2].2, packets[2].3.len()), (SNAP_LEN + 5, SNAP_LEN as usize));
        }
    }
}
