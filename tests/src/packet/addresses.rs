//! Documentation addresses (RFC 5737, RFC 3849) that packets have unless a test sets others.
use std::net::{Ipv4Addr, Ipv6Addr};

/// The address of the storage host unless another is given.
pub const STORAGE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// The address of the client unless another is given.
pub const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 30);
/// The address of the storage host unless another is given.
pub const STORAGE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
/// The address of the client unless another is given.
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 0x30);
