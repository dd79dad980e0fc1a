//! The hooks as a table: what programs each has, which links are its own, and how they are made. A new hook on
//! interfaces is a file of `guard-ebpf/src/hooks/`, a variant of [`Hook`] and a row here; one on cgroups is a variant of
//! [`CgroupHook`].

use guard_common::abi::Hook;
use guard_common::packet::Link;

use super::How;
use super::cgroup_hook::CgroupHook;

/// `BPF_XDP` and `BPF_TCX_EGRESS` of `enum bpf_attach_type`.
const ATTACH_XDP: u32 = 37;
pub(super) const ATTACH_TCX_EGRESS: u32 = 47;

/// The type of links on cgroups (`BPF_LINK_TYPE_CGROUP`).
pub(super) const LINK_TYPE_CGROUP: u32 = 3;

/// What is to be known of a hook on interfaces.
pub(super) struct Row {
    pub(super) hook: Hook,
    /// Its programs in the embedded object: for frames that begin with an Ethernet header, and for bare packets.
    ethernet: &'static str,
    raw: &'static str,
    /// The type of its links (`enum bpf_link_type`).
    pub(super) link_type: u32,
    /// How a link of it is made: the first of these that the kernel takes.
    pub(super) ways: &'static [LinkHook],
}

/// Every hook on interfaces, in the order of their numbers.
pub(super) static HOOKS: [Row; Hook::PACKET_COUNT] = [
    Row {
        hook: Hook::Egress,
        ethernet: "egress",
        raw: "egress_raw",
        // BPF_LINK_TYPE_TCX. Kernels without TCX have a clsact filter in its place (`filter.rs`).
        link_type: 11,
        ways: &[LinkHook::TcxEgressFirst],
    },
    Row {
        hook: Hook::Ingress,
        ethernet: "ingress",
        raw: "ingress_raw",
        // BPF_LINK_TYPE_XDP.
        link_type: 6,
        ways: &[LinkHook::XdpNative, LinkHook::XdpGeneric],
    },
];

const _: () = {
    let mut at = 0;
    while at < HOOKS.len() {
        assert!(HOOKS[at].hook as usize == at, "a row is found by its hook's number");
        at += 1;
    }
};

/// A way to make a link to an interface or a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkHook {
    /// `BPF_TCX_EGRESS`, before all other programs.
    TcxEgressFirst,
    /// `BPF_XDP` in the driver (`XDP_FLAGS_DRV_MODE`).
    XdpNative,
    /// `BPF_XDP` behind the driver (`XDP_FLAGS_SKB_MODE`).
    XdpGeneric,
    /// A cgroup's; that it leaves room for others is what links always do.
    Cgroup(CgroupHook),
}

impl LinkHook {
    /// The name in messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::TcxEgressFirst => How::Tcx.name(),
            Self::XdpNative => How::XdpNative.name(),
            Self::XdpGeneric => How::XdpGeneric.name(),
            Self::Cgroup(hook) => hook.name(),
        }
    }

    /// `attach_type` and `flags` of `BPF_LINK_CREATE`.
    pub(super) const fn attributes(self) -> (u32, u32) {
        match self {
            // BPF_F_BEFORE relative to nothing is before everything.
            Self::TcxEgressFirst => (ATTACH_TCX_EGRESS, 1 << 3),
            Self::XdpNative => (ATTACH_XDP, 1 << 2),
            Self::XdpGeneric => (ATTACH_XDP, 1 << 1),
            Self::Cgroup(hook) => (hook.attach_type(), 0),
        }
    }
}

/// The row of a hook; `None` of one that is not on interfaces.
pub(super) fn row(hook: Hook) -> Option<&'static Row> {
    HOOKS.get(hook as usize)
}

/// The hook whose links are of this type.
pub(super) fn of_link_type(link_type: u32) -> Option<Hook> {
    HOOKS.iter().find(|row| row.link_type == link_type).map(|row| row.hook)
}

/// The names of the programs of interfaces in the embedded object.
pub(super) fn programs() -> impl Iterator<Item = &'static str> {
    HOOKS.iter().flat_map(|row| [row.ethernet, row.raw])
}

/// A program's name in the embedded object; that of a hook that is not on interfaces is its own, which no program of
/// interfaces has.
pub(super) fn program_name(hook: Hook, link: Link) -> &'static str {
    match (row(hook), link) {
        (Some(row), Link::Ethernet) => row.ethernet,
        (Some(row), Link::Raw) => row.raw,
        (None, _) => hook.name(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_are_told_apart_by_programs_and_types_of_links() {
        let names: BTreeSet<&str> = programs().collect();
        assert_eq!(names.len(), 2 * Hook::PACKET_COUNT);
        for Row { hook, ethernet, raw, link_type, ways } in &HOOKS {
            assert_eq!(of_link_type(*link_type), Some(*hook));
            assert!(!ways.is_empty());
            assert_eq!(program_name(*hook, Link::Ethernet), *ethernet);
            assert_eq!(program_name(*hook, Link::Raw), *raw);
        }
        for hook in [Hook::Connect, Hook::Sendmsg] {
            assert!(row(hook).is_none() && !names.contains(program_name(hook, Link::Ethernet)));
        }
        assert_eq!(of_link_type(0), None);
        assert_eq!(of_link_type(LINK_TYPE_CGROUP), None);
        let of_cgroups: BTreeSet<&str> = CgroupHook::ALL.into_iter().map(CgroupHook::name).collect();
        assert_eq!((of_cgroups.len(), names.is_disjoint(&of_cgroups)), (CgroupHook::ALL.len(), true));
        for hook in CgroupHook::ALL {
            assert_eq!(CgroupHook::of_attach_type(hook.attach_type()), Some(hook));
            assert_eq!(CgroupHook::OF_SOCKETS.contains(&hook), hook != CgroupHook::Setsockopt);
        }
    }
}
