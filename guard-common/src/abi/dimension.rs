//! Dimensions that any pin's selectors use, as bits of [`PolicyTable::dimensions`](super::PolicyTable::dimensions).

/// Source addresses.
pub const SOURCE: u32 = 1;
/// Source ports.
pub const PORT: u32 = 2;
/// Interfaces.
pub const INTERFACE: u32 = 4;
/// Cgroups.
pub const CGROUP: u32 = 8;
/// Firewall marks.
pub const MARK: u32 = 16;
/// Not a selector's: any failsafe rule is loaded.
pub const FAILSAFE: u32 = 32;
/// Not a selector's: any exemption is loaded.
pub const EXEMPTION: u32 = 64;
/// Not a selector's: flows that no pin tags are kept, [`UntaggedKey`](super::UntaggedKey).
pub const UNTAGGED: u32 = 128;
/// Not a selector's: any NAT64 prefix is configured.
pub const NAT64: u32 = 256;
/// Users.
pub const USER: u32 = 512;
/// Remote ports.
pub const REMOTE_PORT: u32 = 1024;
/// Volumes.
pub const VOLUME: u32 = 2048;
/// Not a selector's, and nothing that the kernel program goes by: the daemon has ways past the guard refused, for the next
/// one to know whether they should be.
pub const REFUSES_BYPASS: u32 = 8192;
/// With [`SOURCE`]: the host's own packets and addresses.
pub const HOST: u32 = 4096;
/// Who opened the connection.
pub const DIRECTION: u32 = 16_384;
/// What [`by_origin`](crate::decide::by_origin) searches a table for, whatever the packet is.
pub const SEARCHED: u32 = INTERFACE | MARK;
/// What of that goes by who sends.
pub const BY_SENDER: u32 = CGROUP | USER;
