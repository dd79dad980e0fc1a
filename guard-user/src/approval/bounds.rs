//! What a signature may be at most.

use std::ops::RangeInclusive;

/// Bytes of a signature's file: with an RSA key of 4096 bits it has about 1600.
pub const SIGNATURE_BYTES: usize = 16 << 10;
/// Bits of an RSA key. Fewer than 2048 are not thought to hold until an exemption ends (NIST SP 800-131A;
/// OpenSSH itself takes 1024), and more than 4096 cost more time than a stranger's file should.
pub const RSA_BITS: RangeInclusive<usize> = 2048..=4096;
