//! How much one config may hold. Beyond a limit a config is refused with an error that names the
//! limit; nothing is ever cut.

/// Ways in which pins are known, each `[pin.select]` of each pin: each is one bit of a 64-bit word in every table of the
/// kernel.
pub const PINS: usize = 64;
/// Failsafe rules: each is one bit of a 64-bit word, as a pin is.
pub const FAILSAFE: usize = 64;
/// NAT64 prefixes.
pub const NAT64: usize = 16;
/// CIDRs of all sites together.
pub const SITE_CIDRS: usize = 1024;
/// Source CIDRs of all pins together.
pub const SOURCE_CIDRS: usize = 1024;
/// Peer CIDRs of all failsafe rules together.
pub const PEER_CIDRS: usize = 1024;
/// Ports and port ranges of all pins and local ones of all failsafe rules together: the kernel has one
/// table of 1024 range starts for them, and a range takes up to two.
pub const LOCAL_PORTS: usize = 480;
/// Remote ports and port ranges of all failsafe rules and pins together: less than half of the kernel's table of
/// 1024 range starts, the rest of which is for exemptions.
pub const REMOTE_PORTS: usize = 240;
/// Firewall marks of all pins together.
pub const MARKS: usize = 64;
/// Cgroups of all pins together.
pub const CGROUPS: usize = 256;
/// Cgroups whose processes may open ways past the hooks.
pub const BYPASS_ALLOWED: usize = 256;
/// Users of all pins together.
pub const USERS: usize = 256;
/// Volumes of all pins together, each as often as it is named: each is one bit of a 64-bit word.
pub const VOLUMES: usize = 64;
/// Bytes of a user's name (useradd(8)).
pub const USER_BYTES: usize = 32;
/// Levels of a cgroup below the root.
pub const CGROUP_LEVELS: usize = 8;

/// Bytes of a config's files together.
pub const FILE_BYTES: usize = 1 << 20;
/// Files in `policy.d`.
pub const FRAGMENTS: usize = 256;
/// Entries of that folder, those that are not read among them.
pub const FRAGMENT_ENTRIES: usize = 4096;
/// Bytes of a name of a pin, a site, a group or a failsafe rule.
pub const NAME_BYTES: usize = 63;
/// Bytes of a signer's identity: those of the longest mail address (RFC 5321 section 4.5.3.1.3, less the
/// two brackets).
pub const IDENTITY_BYTES: usize = 254;
/// Bytes of an interface's name: `IFNAMSIZ` (linux/if.h) without the closing zero byte.
pub const INTERFACE_BYTES: usize = 15;
/// Bytes of the control socket's path: `sun_path` (unix(7)) without the closing zero byte.
pub const SOCKET_BYTES: usize = 107;
/// Bytes of any other path: `PATH_MAX` (linux/limits.h) without the closing zero byte.
pub const PATH_BYTES: usize = 4095;
/// Bytes of a line for people in `[record]`.
pub const LINE_BYTES: usize = 400;

// What the kernel's tables have room for, where one value of the config is one entry there.
const _: () = {
    use guard_common::abi;
    assert!(NAT64 == abi::MAX_NAT64);
    assert!(PINS == abi::MAX_PINS && FAILSAFE == abi::MAX_FAILSAFES);
    assert!(VOLUMES == abi::MAX_VOLUMES);
    assert!(BYPASS_ALLOWED == abi::MAX_BYPASS_ALLOWED && USERS == abi::MAX_USERS);
    assert!(
        CGROUPS == abi::MAX_CGROUPS && CGROUP_LEVELS == abi::MAX_CGROUP_LEVELS && MARKS == abi::MAX_MARKS
    );
};
