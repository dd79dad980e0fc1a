//! BPF links by bpf(2): what aya has no call for.
//!
//! aya makes links by an interface's name, which may be another one's by then, and where the kernel refuses an
//! XDP link it attaches by netlink, which ends with the process; it shows no link's interface, opens none by its
//! id and detaches none. Everything here goes by index and id, and holds no descriptor longer than a call; those of the links
//! that have entries are kept in [`entries`](super::entries).

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use guard_common::abi::Hook;

use super::cgroup_hook::CgroupHook;
use super::hooks::{self, LinkHook};
use super::raw::{Command, call, call_for_fd, info, raw};

/// More programs than one hook of an interface can have (`BPF_MPROG_MAX`).
const MOST: usize = 64;

/// What every link tells of itself (`struct bpf_link_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkInfo {
    /// Its id, which no other link has.
    pub(super) id: u32,
    /// Id of the program that it runs.
    pub(super) program: u32,
    /// The hook, of links to interfaces.
    pub(super) hook: Option<Hook>,
    /// Index of its interface, in whatever network namespace that is; 0 where there is none any more.
    pub(super) ifindex: u32,
}

/// What a link runs and where.
pub(super) fn link_info(fd: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    told(fd).map(|(info, _)| info)
}

/// A link to a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CgroupLink {
    /// Its id, which no other link has.
    pub(super) id: u32,
    /// Id of the program that it runs.
    pub(super) program: u32,
    /// Id of its cgroup; 0 where it is on none any more.
    pub(super) cgroup: u64,
    /// The hook.
    pub(super) hook: CgroupHook,
}

/// What a link to a cgroup runs and where; `None` for one to anything else, and for hooks that are not ours.
pub(super) fn cgroup_link(fd: BorrowedFd<'_>) -> io::Result<Option<CgroupLink>> {
    told(fd).map(|(_, link)| link)
}

/// What the kernel tells of a link, as one to an interface and as one to a cgroup.
pub(super) type Told = (LinkInfo, Option<CgroupLink>);

/// Asks it.
pub(super) fn told(fd: BorrowedFd<'_>) -> io::Result<Told> {
    // type, id, prog_id, 4 bytes of padding, then the kind's own fields: for TCX (from 6.6 on) and XDP
    // the interface first; for a cgroup its id, and the type of the attachment.
    let [kind, id, program, _, low, high, attach_type, ..] = info::<16>(fd)?;
    let hook = hooks::of_link_type(kind);
    let info = LinkInfo { id, program, hook, ifindex: if hook.is_some() { low } else { 0 } };
    let hook = CgroupHook::of_attach_type(attach_type).filter(|_| kind == hooks::LINK_TYPE_CGROUP);
    let halves = [low.to_ne_bytes(), high.to_ne_bytes()];
    let cgroup = halves.as_flattened().try_into().map(u64::from_ne_bytes).map_err(io::Error::other)?;
    Ok((info, hook.map(|hook| CgroupLink { id, program, cgroup, hook })))
}

#[repr(C)]
struct CreateAttributes {
    program: u32,
    /// An interface's index, or a cgroup's descriptor.
    target: u32,
    attach_type: u32,
    flags: u32,
    relative: u32,
    pad: u32,
    expected_revision: u64,
}

/// Attaches a program to an interface of this index, or to a cgroup by its descriptor; it stays until the link's last
/// descriptor and entry are gone.
pub(super) fn create(program: BorrowedFd<'_>, target: u32, hook: LinkHook) -> io::Result<OwnedFd> {
    let (attach_type, flags) = hook.attributes();
    let mut attributes = CreateAttributes {
        program: raw(program),
        target,
        attach_type,
        flags,
        relative: 0,
        pad: 0,
        expected_revision: 0,
    };
    // SAFETY: the attributes hold no addresses, and the command returns a new descriptor.
    unsafe { call_for_fd(Command::LinkCreate, &mut attributes) }
}

#[repr(C)]
struct UpdateAttributes {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

/// Has a link run another program, with no packet between them that sees none.
pub(super) fn update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes =
        UpdateAttributes { link: raw(link), program: raw(program), flags: 0, old_program: 0 };
    // SAFETY: the attributes hold no addresses.
    unsafe { call(Command::LinkUpdate, &mut attributes) }.map(drop)
}

#[repr(C)]
struct DetachAttributes {
    link: u32,
}

/// Detaches a link at once. Removing its last entry does so too, but only some time later. One whose interface is gone
/// is detached already.
pub(super) fn detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = DetachAttributes { link: raw(link) };
    // SAFETY: the attributes hold no addresses.
    match unsafe { call(Command::LinkDetach, &mut attributes) } {
        // Links of an interface that is gone say this or succeed, as the kernel's version is.
        Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => Ok(()),
        detached => detached.map(drop),
    }
}

#[repr(C)]
struct ByIdAttributes {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Opens the link of this id, which needs `CAP_SYS_ADMIN`.
pub(super) fn by_id(id: u32) -> io::Result<OwnedFd> {
    let mut attributes = ByIdAttributes { id, next_id: 0, open_flags: 0 };
    // SAFETY: the attributes hold no addresses, and the command returns a new descriptor.
    unsafe { call_for_fd(Command::LinkById, &mut attributes) }
}

/// What the link of this id runs and where; `None` where there is none.
pub(super) fn info_by_id(id: u32) -> io::Result<Option<LinkInfo>> {
    match by_id(id) {
        Ok(link) => link_info(link.as_fd()).map(Some),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

#[repr(C)]
struct QueryAttributes {
    ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
    pad: u32,
    program_flags: u64,
    links: u64,
    link_flags: u64,
    revision: u64,
}

/// A program of a TCX hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tcx {
    /// Id of the program.
    pub(super) program: u32,
    /// Id of the link by which it is attached; 0 where it is attached by another way.
    pub(super) link: u32,
}

/// The TCX egress programs of the interface of this index in the calling thread's network namespace, in the order
/// in which they are asked. `None` where the kernel has no TCX (before 6.6).
pub(super) fn tcx_egress(ifindex: u32) -> io::Result<Option<Vec<Tcx>>> {
    let (mut programs, mut links) = ([0_u32; MOST], [0_u32; MOST]);
    let mut attributes = QueryAttributes {
        ifindex,
        attach_type: hooks::ATTACH_TCX_EGRESS,
        query_flags: 0,
        attach_flags: 0,
        programs: programs.as_mut_ptr() as u64,
        count: MOST as u32,
        pad: 0,
        program_flags: 0,
        links: links.as_mut_ptr() as u64,
        link_flags: 0,
        revision: 0,
    };
    // SAFETY: both arrays have room for `count` numbers, of which the kernel writes no more, and live until the
    // call returns.
    match unsafe { call(Command::ProgramQuery, &mut attributes) } {
        Ok(_) => {
            let all = programs.into_iter().zip(links).map(|(program, link)| Tcx { program, link });
            Ok(Some(all.take(attributes.count as usize).collect()))
        }
        // A kernel without TCX does not know the attach type, or was built without it.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => Ok(None),
        Err(error) => Err(error),
    }
}
