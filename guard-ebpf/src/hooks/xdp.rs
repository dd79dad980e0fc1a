//! XDP ingress: what comes in and asks for an answer. Here a packet has no socket and no mark yet.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes};
use aya_ebpf::programs::XdpContext;
use guard_common::abi::{Direction, MAX_CGROUP_LEVELS, NO_USER, Provenance, SocketFacts};

use super::Source;

impl Source for XdpContext {
    #[inline(always)]
    fn linear(&self) -> (usize, usize) {
        (self.data(), self.data_end())
    }

    #[inline(always)]
    fn told_ethertype(&self) -> Option<u16> {
        None
    }

    #[inline(always)]
    fn frame_len(&self) -> u32 {
        // SAFETY: the context is the kernel's.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as u32 }
    }

    #[inline(always)]
    fn wire_len(&self) -> u64 {
        u64::from(self.frame_len())
    }

    #[inline(always)]
    fn segment_size(&self) -> u32 {
        0
    }

    #[inline(always)]
    unsafe fn copy(&self, at: u32, to: *mut u8, len: u32) -> bool {
        // SAFETY: the context is the kernel's, and the caller vouches for `to`.
        unsafe { bpf_xdp_load_bytes(self.ctx, at, to.cast(), len) == 0 }
    }

    #[inline(always)]
    fn describe(&self, to: &mut Provenance) {
        let len = self.frame_len();
        to.wire_len = u64::from(len);
        to.ifindex = self.ingress_ifindex() as u32;
        to.ingress_ifindex = 0;
        to.mark = 0;
        to.frame_len = len;
    }

    #[inline(always)]
    fn describe_cgroups(&self, _levels: u32, to: &mut Provenance) {
        to.cgroups = [0; MAX_CGROUP_LEVELS];
    }

    #[inline(always)]
    fn cgroup(&self) -> u64 {
        0
    }

    #[inline(always)]
    fn cookie(&self) -> u64 {
        0
    }

    #[inline(always)]
    fn facts(&self) -> Option<*mut SocketFacts> {
        None
    }

    #[inline(always)]
    fn volumes(&self) -> u64 {
        0
    }

    #[inline(always)]
    fn direction(&self) -> u32 {
        Direction::Unknown as u32
    }

    #[inline(always)]
    fn owner(&self) -> u32 {
        NO_USER
    }
}

/// What the program returns.
#[inline(always)]
#[must_use]
pub fn code(passes: bool) -> u32 {
    if passes { xdp_action::XDP_PASS } else { xdp_action::XDP_DROP }
}
