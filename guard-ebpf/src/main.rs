//! The entry points that the kernel runs.
#![no_std]
#![no_main]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "the program macros expand to public functions without docs"
)]

use aya_ebpf::macros::{btf_tracepoint, cgroup_sock, cgroup_sock_addr, cgroup_sockopt, fentry, fexit, lsm};
use aya_ebpf::programs::{
    BtfTracePointContext, FEntryContext, FExitContext, LsmContext, SockAddrContext, SockContext,
    SockoptContext,
};
use guard_common::abi::Hook;
use guard_common::packet::Link;
use guard_ebpf::hooks::{
    MAY_READ, carries, connects, ends, forks, frees, hands_over, made, maps, may_ask, may_change,
    may_go_by_v4, may_go_by_v6, may_have_map, may_have_program, may_set, may_trace, opens, opens_terminal,
    overflowed, parts, pipes, reads, receives, sends, shows, splices, types, used, uses,
};

guard_ebpf::packet_programs!();

/// What processes ask of sockets: ways past the hooks above are refused.
#[cgroup_sockopt(setsockopt)]
pub fn setsockopt(context: SockoptContext) -> i32 {
    i32::from(may_set(&context))
}

/// A process makes a socket: who it is stays with the socket.
#[cgroup_sock(sock_create)]
pub fn sock_create(context: SockContext) -> i32 {
    made(&context);
    ALLOWED
}

/// A process connects an IPv4 socket.
#[cgroup_sock_addr(connect4)]
pub fn connect4(context: SockAddrContext) -> i32 {
    connects(&context);
    ALLOWED
}

/// A process connects an IPv6 socket.
#[cgroup_sock_addr(connect6)]
pub fn connect6(context: SockAddrContext) -> i32 {
    connects(&context);
    ALLOWED
}

/// A process sends an IPv4 datagram to an address.
#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(context: SockAddrContext) -> i32 {
    used(&context);
    ALLOWED
}

/// A process sends an IPv6 datagram to an address.
#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(context: SockAddrContext) -> i32 {
    used(&context);
    ALLOWED
}

/// As [`connect4`], in its place where the config has calls refused: with an answer of 0 the call fails with `EPERM`.
#[cgroup_sock_addr(connect4)]
pub fn refuse_connect4(context: SockAddrContext) -> i32 {
    i32::from(!connects(&context) || may_go_by_v4(Hook::Connect, &context))
}

/// Likewise for [`connect6`].
#[cgroup_sock_addr(connect6)]
pub fn refuse_connect6(context: SockAddrContext) -> i32 {
    i32::from(!connects(&context) || may_go_by_v6(Hook::Connect, &context))
}

/// Likewise for [`sendmsg4`].
#[cgroup_sock_addr(sendmsg4)]
pub fn refuse_sendmsg4(context: SockAddrContext) -> i32 {
    i32::from(used(&context).is_none() || may_go_by_v4(Hook::Sendmsg, &context))
}

/// Likewise for [`sendmsg6`].
#[cgroup_sock_addr(sendmsg6)]
pub fn refuse_sendmsg6(context: SockAddrContext) -> i32 {
    i32::from(used(&context).is_none() || may_go_by_v6(Hook::Sendmsg, &context))
}

/// A process sends, where BPF LSM runs: `socket_sendmsg(struct socket *, ...)`. It only looks.
#[lsm(hook = "socket_sendmsg")]
pub fn lsm_sendmsg(context: LsmContext) -> i32 {
    // SAFETY: the first argument is the socket.
    unsafe { sends(context.arg(0)) };
    0
}

/// A process sends, where it does not: `security_socket_sendmsg(struct socket *, ...)`.
#[fentry(function = "security_socket_sendmsg")]
pub fn fentry_sendmsg(context: FEntryContext) -> i32 {
    // SAFETY: as above.
    unsafe { sends(context.arg(0)) };
    0
}

/// A process sends a file's pages, which before Linux 6.5 asks no security module: `kernel_sendpage(struct socket *, ...)`.
#[fentry(function = "kernel_sendpage")]
pub fn fentry_sendpage(context: FEntryContext) -> i32 {
    // SAFETY: as above.
    unsafe { sends(context.arg(0)) };
    0
}

/// A process opens a file, where BPF LSM runs: `file_open(struct file *)`. Like all below, but for those that send, it
/// only looks.
#[lsm(hook = "file_open")]
pub fn lsm_open(context: LsmContext) -> i32 {
    // SAFETY: the first argument is the file.
    unsafe { opens(context.arg(0)) };
    0
}

/// A process opens a file, where it does not.
#[fentry(function = "security_file_open")]
pub fn fentry_open(context: FEntryContext) -> i32 {
    // SAFETY: as above.
    unsafe { opens(context.arg(0)) };
    0
}

/// A process reads or writes a file: `file_permission(struct file *, int mask)`.
#[lsm(hook = "file_permission")]
pub fn lsm_read(context: LsmContext) -> i32 {
    // SAFETY: the first argument is the file, the second one the mask.
    unsafe {
        uses(context.arg(0), context.arg(1));
        pipes(context.arg(0), context.arg(1));
        types(context.arg(0), context.arg(1));
    }
    0
}

/// A process reads or writes a file.
#[fentry(function = "security_file_permission")]
pub fn fentry_read(context: FEntryContext) -> i32 {
    // SAFETY: as above.
    unsafe {
        uses(context.arg(0), context.arg(1));
        pipes(context.arg(0), context.arg(1));
        types(context.arg(0), context.arg(1));
    }
    0
}

/// A process maps a file: `mmap_file(struct file *, reqprot, prot, flags)`.
#[lsm(hook = "mmap_file")]
pub fn lsm_map(context: LsmContext) -> i32 {
    // SAFETY: the first argument is the file, or null; the third and the fourth are numbers.
    unsafe { maps(context.arg(0), context.arg(3)) };
    0
}

/// A process maps a file: `security_mmap_file(struct file *, prot, flags)`.
#[fentry(function = "security_mmap_file")]
pub fn fentry_map(context: FEntryContext) -> i32 {
    // SAFETY: as above, without the protection that was asked for first.
    unsafe { maps(context.arg(0), context.arg(2)) };
    0
}

/// An inode leaves the kernel's memory: `security_inode_free(struct inode *)`.
#[fentry(function = "security_inode_free")]
pub fn fentry_free(context: FEntryContext) -> i32 {
    // SAFETY: the first argument is the inode.
    unsafe { frees(context.arg(0)) };
    0
}

/// A carrier sends: refused where the kernel has no memory to note it.
#[lsm(hook = "socket_sendmsg")]
pub fn lsm_carry(context: LsmContext) -> i32 {
    // SAFETY: the first argument is the socket, the second one the message.
    if unsafe { carries(context.arg(0), context.arg(1)) } { 0 } else { NO_BUFFERS }
}

/// A carrier sends. This program can't refuse it: then every sender counts as a carrier.
#[fentry(function = "security_socket_sendmsg")]
pub fn fentry_carry(context: FEntryContext) -> i32 {
    // SAFETY: as above.
    if !unsafe { carries(context.arg(0), context.arg(1)) } {
        overflowed();
    }
    0
}

/// A carrier sends a file's pages, before Linux 6.5.
#[fentry(function = "kernel_sendpage")]
pub fn fentry_carry_page(context: FEntryContext) -> i32 {
    // SAFETY: as above.
    if !unsafe { carries(context.arg(0), core::ptr::null()) } {
        overflowed();
    }
    0
}

/// A process sends a datagram to a Unix socket: `unix_may_send(struct socket *, struct socket *other)`. Refused where the
/// kernel has no memory to note that a carrier does.
#[lsm(hook = "unix_may_send")]
pub fn lsm_hand_over(context: LsmContext) -> i32 {
    // SAFETY: the second argument is the socket that is sent to.
    if unsafe { hands_over(context.arg(1)) } { 0 } else { NO_BUFFERS }
}

/// A process sends a datagram to a Unix socket. This program can't refuse it.
#[fentry(function = "security_unix_may_send")]
pub fn fentry_hand_over(context: FEntryContext) -> i32 {
    // SAFETY: as above.
    if !unsafe { hands_over(context.arg(1)) } {
        overflowed();
    }
    0
}

/// A process has received by a Unix socket.
#[fexit(function = "unix_stream_recvmsg")]
pub fn fexit_unix(context: FExitContext) -> i32 {
    // SAFETY: the first argument is the socket; what the function answers follows the last one.
    unsafe { receives(context.arg(0), context.arg(4)) };
    0
}

/// A process has received a datagram by a Unix socket.
#[fexit(function = "unix_dgram_recvmsg")]
pub fn fexit_unix_datagram(context: FExitContext) -> i32 {
    // SAFETY: the first argument is the socket; what the function answers follows the last one.
    unsafe { receives(context.arg(0), context.arg(4)) };
    0
}

/// A process has received a packet by a Unix socket.
#[fexit(function = "unix_seqpacket_recvmsg")]
pub fn fexit_unix_packet(context: FExitContext) -> i32 {
    // SAFETY: the first argument is the socket; what the function answers follows the last one.
    unsafe { receives(context.arg(0), context.arg(4)) };
    0
}

/// A process has taken the pages that a Unix socket received.
#[fexit(function = "unix_stream_splice_read")]
pub fn fexit_unix_splice(context: FExitContext) -> i32 {
    // SAFETY: the first argument is the socket; what the function answers follows the last one.
    unsafe { receives(context.arg(0), context.arg(5)) };
    0
}

/// A process has received by a socket of IPv4.
#[fexit(function = "inet_recvmsg")]
pub fn fexit_inet(context: FExitContext) -> i32 {
    // SAFETY: the first argument is the socket; what the function answers follows the last one.
    unsafe { receives(context.arg(0), context.arg(4)) };
    0
}

/// A process has received by a socket of IPv6.
#[fexit(function = "inet6_recvmsg")]
pub fn fexit_inet6(context: FExitContext) -> i32 {
    // SAFETY: the first argument is the socket; what the function answers follows the last one.
    unsafe { receives(context.arg(0), context.arg(4)) };
    0
}

/// A process has taken the pages that a TCP socket received.
#[fexit(function = "tcp_splice_read")]
pub fn fexit_tcp_splice(context: FExitContext) -> i32 {
    // SAFETY: the first argument is the socket; what the function answers follows the last one.
    unsafe { receives(context.arg(0), context.arg(5)) };
    0
}

/// A process has read from a pipe or a FIFO.
#[fexit(function = "pipe_read")]
pub fn fexit_pipe(context: FExitContext) -> i32 {
    // SAFETY: the first argument is the request; what the function answers follows the last one.
    unsafe { reads(context.arg(0), context.arg(2)) };
    0
}

/// A process has read from a pipe, since Linux 6.16.
#[fexit(function = "anon_pipe_read")]
pub fn fexit_pipe_anon(context: FExitContext) -> i32 {
    // SAFETY: the first argument is the request; what the function answers follows the last one.
    unsafe { reads(context.arg(0), context.arg(2)) };
    0
}

/// A process has read from a FIFO, since Linux 6.16.
#[fexit(function = "fifo_pipe_read")]
pub fn fexit_pipe_fifo(context: FExitContext) -> i32 {
    // SAFETY: the first argument is the request; what the function answers follows the last one.
    unsafe { reads(context.arg(0), context.arg(2)) };
    0
}

/// A process has read from a terminal: `tty_read(struct kiocb *, ...)`.
#[fexit(function = "tty_read")]
pub fn fexit_terminal(context: FExitContext) -> i32 {
    // SAFETY: the first argument is the request; what the function answers follows the last one.
    unsafe { shows(context.arg(0), context.arg(2)) };
    0
}

/// A terminal is made: `tty_init_dev(struct tty_driver *, int)`, which answers with it.
#[fexit(function = "tty_init_dev")]
pub fn fexit_terminal_made(context: FExitContext) -> i32 {
    // SAFETY: what the function answers follows the last argument.
    unsafe { opens_terminal(context.arg(2)) };
    0
}

/// A process moves pages into a pipe or out of it: `get_pipe_info(struct file *, bool for_splice)`.
#[fentry(function = "get_pipe_info")]
pub fn fentry_splice(context: FEntryContext) -> i32 {
    // SAFETY: the first argument is the file, the second one a byte.
    unsafe {
        if context.arg::<u64>(1) & 0xff != 0 {
            splices(context.arg(0));
        }
    }
    0
}

/// A process moves pages between a file and a pipe: `do_splice(struct file *in, ...)`. It has read the file then, which is
/// asked only after the pipe was looked at.
#[fentry(function = "do_splice")]
pub fn fentry_splice_file(context: FEntryContext) -> i32 {
    // SAFETY: the first argument is the file; the mask is that of reading.
    unsafe { uses(context.arg(0), MAY_READ) };
    0
}

/// SCTP makes a socket of one association of another: `security_sctp_sk_clone(struct sctp_association *, struct sock *,
/// struct sock *newsk)`.
#[fentry(function = "security_sctp_sk_clone")]
pub fn fentry_part(context: FEntryContext) -> i32 {
    // SAFETY: the second argument is the socket, the third one the new one.
    if !unsafe { parts(context.arg(1), context.arg(2)) } {
        overflowed();
    }
    0
}

/// A process has made another one: `sched_process_fork(struct task_struct *parent, struct task_struct *child)`.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn forked(context: BtfTracePointContext) -> i32 {
    // SAFETY: the second argument is the child.
    unsafe { forks(context.arg(1)) };
    0
}

/// A thread ends: `sched_process_exit(struct task_struct *)`.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn ended(context: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument is the thread.
    unsafe { ends(context.arg(0)) };
    0
}

/// A process asks bpf(2) for something: `bpf(int cmd, union bpf_attr *attr, ...)`. As all below, it refuses others than the
/// guard what would change the guard, and nothing else.
#[lsm(hook = "bpf")]
pub fn lsm_bpf(context: LsmContext) -> i32 {
    // SAFETY: the first argument is the command, the second one the kernel's copy of the attributes.
    if unsafe { may_ask(context.arg(0), context.arg(1)) } { 0 } else { NOT_PERMITTED }
}

/// A process is given a descriptor of a map: `bpf_map(struct bpf_map *, fmode_t)`.
#[lsm(hook = "bpf_map")]
pub fn lsm_bpf_map(context: LsmContext) -> i32 {
    // SAFETY: the first argument is the map, the second one how it is opened.
    if unsafe { may_have_map(context.arg(0), context.arg(1)) } { 0 } else { NOT_PERMITTED }
}

/// A process is given a descriptor of a program: `bpf_prog(struct bpf_prog *)`.
#[lsm(hook = "bpf_prog")]
pub fn lsm_bpf_prog(context: LsmContext) -> i32 {
    // SAFETY: the first argument is the program.
    if unsafe { may_have_program(context.arg(0)) } { 0 } else { NOT_PERMITTED }
}

/// A process removes an entry of a folder: `inode_unlink(struct inode *dir, struct dentry *)`.
#[lsm(hook = "inode_unlink")]
pub fn lsm_unlink(context: LsmContext) -> i32 {
    // SAFETY: the first argument is the folder, the second one the entry.
    if unsafe { may_change(context.arg(0), context.arg(1)) } { 0 } else { NOT_PERMITTED }
}

/// A process removes a folder: `inode_rmdir(struct inode *dir, struct dentry *)`.
#[lsm(hook = "inode_rmdir")]
pub fn lsm_rmdir(context: LsmContext) -> i32 {
    // SAFETY: the first argument is the folder that it is in, the second one its entry there.
    if unsafe { may_change(context.arg(0), context.arg(1)) } { 0 } else { NOT_PERMITTED }
}

/// A process gives an entry another name: `inode_rename(struct inode *old_dir, struct dentry *old, struct inode *new_dir,
/// struct dentry *new)`.
#[lsm(hook = "inode_rename")]
pub fn lsm_rename(context: LsmContext) -> i32 {
    // SAFETY: the arguments are a folder and an entry, twice. Nothing need have the new name yet.
    let may =
        unsafe { may_change(context.arg(0), context.arg(1)) && may_change(context.arg(2), context.arg(3)) };
    if may { 0 } else { NOT_PERMITTED }
}

/// A process looks into another one: `ptrace_access_check(struct task_struct *child, unsigned int mode)`.
#[lsm(hook = "ptrace_access_check")]
pub fn lsm_trace(context: LsmContext) -> i32 {
    // SAFETY: the first argument is the other process, the second one how.
    if unsafe { may_trace(context.arg(0), context.arg(1)) } { 0 } else { NOT_PERMITTED }
}

/// `-EPERM`.
const NOT_PERMITTED: i32 = -1;

/// `-ENOBUFS`.
const NO_BUFFERS: i32 = -105;

/// What programs of sockets that only note answer.
const ALLOWED: i32 = 1;

guard_ebpf::object_parts!();
