//! Checksums: the Internet checksum with its pseudo headers (RFC 1071, RFC 9293 section 3.1,
//! RFC 8200 section 8.1) and SCTP's CRC32c (RFC 9260 appendix A).

/// What a transport checksum covers beside the segment itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pseudo {
    V4 { source: [u8; 4], destination: [u8; 4] },
    V6 { source: [u8; 16], destination: [u8; 16] },
}

impl Pseudo {
    /// The checksum of a segment of this protocol, as the value for its field.
    pub(super) fn checksum(self, protocol: u8, segment: &[&[u8]]) -> u16 {
        let length = segment.iter().map(|part| part.len()).sum::<usize>() as u32;
        let mut covered = match self {
            Pseudo::V4 { source, destination } => [source, destination].concat(),
            Pseudo::V6 { source, destination } => [source, destination].concat(),
        };
        // IPv4's pseudo header has one byte of zero, the protocol and 16 bits of length; IPv6's 32 bits
        // of length, three bytes of zero and the protocol. Their sums are equal up to 64 KiB.
        covered.extend(length.to_be_bytes());
        covered.extend([0, 0, 0, protocol]);
        segment.iter().for_each(|part| covered.extend_from_slice(part));
        internet(&covered)
    }
}

/// The ones' complement of the ones' complement sum of 16-bit words.
pub(super) fn internet(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// CRC32c, bit by bit: test frames are small.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc = (crc >> 1) ^ (0x82f6_3b78 * low);
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sums() {
        // RFC 1071 section 3: the words 0001 f203 f4f5 f6f7 sum up to ddf2.
        assert_eq!(internet(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        // RFC 3720 appendix B.4: 32 bytes of zero, and 32 of ones.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }
}
