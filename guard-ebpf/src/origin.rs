//! Where a packet comes from, read from the kernel's contexts.

use aya_ebpf::helpers::generated::bpf_skb_ancestor_cgroup_id;
use aya_ebpf::programs::{TcContext, XdpContext};
use guard_common::tables::Origin;

use crate::header::Frame as _;

/// The origin of a packet at TC.
pub struct SkbOrigin<'a>(pub &'a TcContext);

impl Origin for SkbOrigin<'_> {
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is the kernel's.
        unsafe { (*self.0.skb.skb).ifindex }
    }

    #[inline(always)]
    fn ingress_ifindex(&self) -> u32 {
        // SAFETY: the context is the kernel's.
        unsafe { (*self.0.skb.skb).ingress_ifindex }
    }

    #[inline(always)]
    fn mark(&self) -> u32 {
        // SAFETY: the context is the kernel's.
        unsafe { (*self.0.skb.skb).mark }
    }

    #[inline(always)]
    fn wire_len(&self) -> u64 {
        // SAFETY: the context is the kernel's.
        u64::from(unsafe { (*self.0.skb.skb).wire_len })
    }

    #[inline(always)]
    fn ancestor_cgroup(&self, level: u32) -> u64 {
        // SAFETY: the context is the kernel's.
        unsafe { bpf_skb_ancestor_cgroup_id(self.0.skb.skb, level as i32) }
    }
}

/// The origin of a packet at XDP: it has no socket and no mark yet.
pub struct XdpOrigin<'a>(pub &'a XdpContext);

impl Origin for XdpOrigin<'_> {
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.0.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn ingress_ifindex(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn mark(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn wire_len(&self) -> u64 {
        u64::from(self.0.frame_len())
    }

    #[inline(always)]
    fn ancestor_cgroup(&self, _level: u32) -> u64 {
        0
    }
}
