//! Where a packet comes from, read from the kernel's contexts.

use aya_ebpf::helpers::generated::bpf_skb_ancestor_cgroup_id;
use aya_ebpf::programs::{TcContext, XdpContext};
use guard_common::abi::{MAX_CGROUP_LEVELS, Provenance};

use crate::header::Frame;

/// A packet whose provenance can be read.
pub trait Source: Frame {
    /// Writes what is known without asking for a socket.
    fn describe(&self, to: &mut Provenance);

    /// Writes the cgroups of the sending socket on these levels, a bit each from level 1 on.
    fn describe_cgroups(&self, levels: u32, to: &mut Provenance);
}

impl Source for TcContext {
    #[inline(always)]
    fn describe(&self, to: &mut Provenance) {
        // SAFETY: the context is the kernel's.
        unsafe {
            let skb = self.skb.skb;
            to.wire_len = u64::from((*skb).wire_len);
            to.ifindex = (*skb).ifindex;
            to.ingress_ifindex = (*skb).ingress_ifindex;
            to.mark = (*skb).mark;
            to.frame_len = (*skb).len;
        }
    }

    #[inline(always)]
    fn describe_cgroups(&self, levels: u32, to: &mut Provenance) {
        for level in 1..=MAX_CGROUP_LEVELS {
            if levels & (1 << level) != 0 {
                // SAFETY: the context is the kernel's.
                to.cgroups[level - 1] = unsafe { bpf_skb_ancestor_cgroup_id(self.skb.skb, level as i32) };
            }
        }
    }
}

/// At XDP a packet has no socket and no mark yet.
impl Source for XdpContext {
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
}
