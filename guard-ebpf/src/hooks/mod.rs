//! The hooks: what a program reads of its packet, or of a process's request, from the kernel's context, a file for
//! each.

mod carrier;
mod copy;
mod file;
mod protect;
pub mod refusal;
mod relay;
mod sender;
mod socket;
mod sockopt;
mod tc;
mod terminal;
mod way;
mod xdp;

use guard_common::abi::{Canary, Provenance, SocketFacts};
use guard_common::decide::OwnEnd;
use guard_common::packet::Layer;

pub use carrier::{ends, forks, overflowed};
pub use copy::frees;
pub use file::{MAY_READ, maps, opens, uses};
pub use protect::{may_ask, may_change, may_have_map, may_have_program, may_trace};
pub use refusal::{may_go_by_v4, may_go_by_v6};
pub use relay::{carries, hands_over, parts, pipes, reads, receives, splices};
pub use sender::sends;
pub use socket::{connects, made, used};
pub use sockopt::may_set;
pub use tc::{code as tc_code, tcp_owner};
pub use terminal::{opens_terminal, shows, types};
pub use xdp::code as xdp_code;

/// A packet as a hook sees it.
pub trait Source {
    /// Begin and end of the frame's linear part.
    fn linear(&self) -> (usize, usize);

    /// The EtherType that the sender has told the kernel, in host order; `None` where nobody has.
    fn told_ethertype(&self) -> Option<u16>;

    /// Length of the whole frame in bytes.
    fn frame_len(&self) -> u32;

    /// Bytes on the wire: of a GSO packet, all its segments with their headers.
    fn wire_len(&self) -> u64;

    /// Bytes of data of each segment that the kernel cuts the packet into behind the hook; 0 where it is one.
    fn segment_size(&self) -> u32;

    /// Copies `len` bytes (1 to [`HEADER_LEN`](guard_common::packet::HEADER_LEN)) of the frame from `at` on to `to`. False
    /// where the frame has not as many.
    ///
    /// # Safety
    ///
    /// `to` must be valid for writes of `len` bytes.
    unsafe fn copy(&self, at: u32, to: *mut u8, len: u32) -> bool;

    /// Writes what is known without asking for a socket.
    fn describe(&self, to: &mut Provenance);

    /// Writes the cgroups of the sending socket on these levels, a bit each from level 1 on.
    fn describe_cgroups(&self, levels: u32, to: &mut Provenance);

    /// What is kept with the sending socket.
    fn facts(&self) -> Option<*mut SocketFacts>;

    /// Slots of the volumes whose data the sending socket may carry, a bit each.
    fn volumes(&self) -> u64;

    /// Who opened the connection of the packet, the number of a [`Direction`](guard_common::abi::Direction).
    fn direction(&self) -> u32;

    /// The owner of the sending socket; [`NO_USER`](guard_common::abi::NO_USER) where there is none.
    fn owner(&self) -> u32;

    /// Id of the sending socket's cgroup; 0 where there is none.
    fn cgroup(&self) -> u64;

    /// The kernel's number of the sending socket (`SO_COOKIE`); 0 where there is none.
    fn cookie(&self) -> u64;

    /// The end that the sending socket itself has: its address, that of the packet's outermost layer where it is bound to none in the
    /// family of that layer, its port, and the port that it is connected to, either 0 where it has none. `None` where there is no
    /// socket of IP.
    #[inline(always)]
    fn own_end(&self, _outermost: &Layer) -> Option<OwnEnd> {
        None
    }

    /// What is kept with the sending socket where the packet is a canary.
    #[inline(always)]
    fn canary(&self) -> Option<*mut Canary> {
        None
    }
}
