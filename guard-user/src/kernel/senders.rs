//! Whether the kernel tells which process sends, and which reads what, at the moment at which it does: by programs that it
//! runs in the process's own context, before any protocol has the bytes. There are two ways to have it run them, and a
//! kernel may have either, both, or none.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use aya::Btf;
use aya_obj::btf::BtfKind;

use super::kernel_types;
use super::raw::{Command, call_for_fd, raw};

/// Where the kernel lists its security modules, once securityfs is mounted.
const SECURITY_MODULES: &str = "/sys/kernel/security/lsm";

/// A way to have the kernel run a program when one of its functions is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// BPF LSM: as a security module.
    Lsm,
    /// A tracing program at the function's entry.
    Fentry,
    /// A tracing program where the function returns.
    Fexit,
    /// A tracing program at a tracepoint.
    Tracepoint,
}

impl Way {
    /// `BPF_PROG_TYPE_LSM` with `BPF_LSM_MAC`, and `BPF_PROG_TYPE_TRACING` with `BPF_TRACE_FENTRY`, `BPF_TRACE_FEXIT` or
    /// `BPF_TRACE_RAW_TP`.
    const fn program_type(self) -> (u32, u32) {
        match self {
            Self::Lsm => (29, 27),
            Self::Fentry => (26, 24),
            Self::Fexit => (26, 25),
            Self::Tracepoint => (26, 23),
        }
    }

    /// What the kernel's type information has of what it is for.
    const fn kind(self) -> BtfKind {
        match self {
            Self::Lsm | Self::Fentry | Self::Fexit => BtfKind::Func,
            Self::Tracepoint => BtfKind::Typedef,
        }
    }
}

/// What a program on a function of the kernel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    /// To note who sends.
    Senders,
    /// To note who carries data of volumes.
    Carriers,
}

impl Task {
    /// All of them.
    pub(super) const ALL: [Self; 2] = [Self::Senders, Self::Carriers];
}

/// A program on a function of the kernel.
#[derive(Debug, PartialEq, Eq)]
pub struct FunctionProgram {
    /// Its name in the embedded object.
    pub(super) name: &'static str,
    /// How it is run.
    pub(super) way: Way,
    /// The kernel's function that it is for, or the type of its tracepoint.
    pub(super) function: &'static str,
    /// What it is for.
    pub(super) task: Task,
}

impl FunctionProgram {
    const fn by_lsm(task: Task, name: &'static str, function: &'static str) -> Self {
        Self { name, way: Way::Lsm, function, task }
    }

    const fn by_fentry(task: Task, name: &'static str, function: &'static str) -> Self {
        Self { name, way: Way::Fentry, function, task }
    }

    const fn by_fexit(name: &'static str, function: &'static str) -> Self {
        Self { name, way: Way::Fexit, function, task: Task::Carriers }
    }

    const fn at_tracepoint(task: Task, name: &'static str, function: &'static str) -> Self {
        Self { name, way: Way::Tracepoint, function, task }
    }

    /// Its name in messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// A link of ours.
#[derive(Debug)]
pub(super) struct FunctionLink {
    pub(super) program: &'static FunctionProgram,
    pub(super) link: OwnedFd,
}

/// The programs that note who sends. BPF LSM is the better of two ways that are as good: what a security module is asked is
/// the kernel's interface.
static SENDERS_BY_LSM: [FunctionProgram; 1] =
    [FunctionProgram::by_lsm(Task::Senders, "lsm_sendmsg", "bpf_lsm_socket_sendmsg")];
/// On the function that asks the security modules.
static SENDERS_BY_FENTRY: [FunctionProgram; 1] =
    [FunctionProgram::by_fentry(Task::Senders, "fentry_sendmsg", "security_socket_sendmsg")];
/// Before Linux 6.5 sendfile(2) and splice(2) send pages, and ask no security module.
static SENDERS_OF_PAGES: FunctionProgram =
    FunctionProgram::by_fentry(Task::Senders, "fentry_sendpage", "kernel_sendpage");

/// The programs that note who carries data of volumes.
static CARRIERS_BY_LSM: [FunctionProgram; 5] = [
    FunctionProgram::by_lsm(Task::Carriers, "lsm_open", "bpf_lsm_file_open"),
    FunctionProgram::by_lsm(Task::Carriers, "lsm_read", "bpf_lsm_file_permission"),
    FunctionProgram::by_lsm(Task::Carriers, "lsm_map", "bpf_lsm_mmap_file"),
    FunctionProgram::by_lsm(Task::Carriers, "lsm_carry", "bpf_lsm_socket_sendmsg"),
    FunctionProgram::by_lsm(Task::Carriers, "lsm_hand_over", "bpf_lsm_unix_may_send"),
];
static CARRIERS_BY_FENTRY: [FunctionProgram; 5] = [
    FunctionProgram::by_fentry(Task::Carriers, "fentry_open", "security_file_open"),
    FunctionProgram::by_fentry(Task::Carriers, "fentry_read", "security_file_permission"),
    FunctionProgram::by_fentry(Task::Carriers, "fentry_map", "security_mmap_file"),
    FunctionProgram::by_fentry(Task::Carriers, "fentry_carry", "security_socket_sendmsg"),
    FunctionProgram::by_fentry(Task::Carriers, "fentry_hand_over", "security_unix_may_send"),
];
static CARRIERS_OF_PAGES: FunctionProgram =
    FunctionProgram::by_fentry(Task::Carriers, "fentry_carry_page", "kernel_sendpage");
/// Whatever the way: files that have data of volumes are removed, processes that carry it have children, and end, and others
/// receive what was handed on.
static CARRIERS_ALWAYS: [FunctionProgram; 14] = [
    FunctionProgram::by_fentry(Task::Carriers, "fentry_free", "security_inode_free"),
    FunctionProgram::at_tracepoint(Task::Carriers, "forked", "btf_trace_sched_process_fork"),
    FunctionProgram::at_tracepoint(Task::Carriers, "ended", "btf_trace_sched_process_exit"),
    FunctionProgram::by_fexit("fexit_unix", "unix_stream_recvmsg"),
    FunctionProgram::by_fexit("fexit_unix_datagram", "unix_dgram_recvmsg"),
    FunctionProgram::by_fexit("fexit_unix_packet", "unix_seqpacket_recvmsg"),
    FunctionProgram::by_fexit("fexit_unix_splice", "unix_stream_splice_read"),
    FunctionProgram::by_fexit("fexit_inet", "inet_recvmsg"),
    FunctionProgram::by_fexit("fexit_tcp_splice", "tcp_splice_read"),
    FunctionProgram::by_fexit("fexit_terminal", "tty_read"),
    FunctionProgram::by_fexit("fexit_terminal_made", "tty_init_dev"),
    FunctionProgram::by_fentry(Task::Carriers, "fentry_splice", "get_pipe_info"),
    FunctionProgram::by_fentry(Task::Carriers, "fentry_splice_file", "do_splice"),
    FunctionProgram::by_fentry(Task::Carriers, "fentry_part", "security_sctp_sk_clone"),
];

/// Where the kernel has them: pipes are read by one function, since Linux 6.16 by two; IPv6 may be left out.
static CARRIERS_SOMETIMES: [FunctionProgram; 4] = [
    FunctionProgram::by_fexit("fexit_inet6", "inet6_recvmsg"),
    FunctionProgram::by_fexit("fexit_pipe", "pipe_read"),
    FunctionProgram::by_fexit("fexit_pipe_anon", "anon_pipe_read"),
    FunctionProgram::by_fexit("fexit_pipe_fifo", "fifo_pipe_read"),
];

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static FunctionProgram> {
    let of_senders = SENDERS_BY_LSM.iter().chain(&SENDERS_BY_FENTRY).chain([&SENDERS_OF_PAGES]);
    let of_carriers = CARRIERS_BY_LSM.iter().chain(&CARRIERS_BY_FENTRY).chain([&CARRIERS_OF_PAGES]);
    of_senders.chain(of_carriers).chain(&CARRIERS_ALWAYS).chain(&CARRIERS_SOMETIMES)
}

/// The programs by which this kernel tells who sends: each was tried out by one that does nothing.
///
/// # Errors
/// Why there are none.
pub fn programs() -> Result<Vec<&'static FunctionProgram>, String> {
    programs_of(Task::Senders)
}

/// The programs by which this kernel tells who reads a file and sends: tried out likewise.
///
/// # Errors
/// Why there are none.
pub fn carrier_programs() -> Result<Vec<&'static FunctionProgram>, String> {
    programs_of(Task::Carriers)
}

/// The programs for a task.
pub(super) fn programs_of(task: Task) -> Result<Vec<&'static FunctionProgram>, String> {
    let (by_lsm, by_fentry): (&'static [_], &'static [_]) = match task {
        Task::Senders => (&SENDERS_BY_LSM, &SENDERS_BY_FENTRY),
        Task::Carriers => (&CARRIERS_BY_LSM, &CARRIERS_BY_FENTRY),
    };
    let (of_pages, always, sometimes): (_, &'static [_], &'static [FunctionProgram]) = match task {
        Task::Senders => (&SENDERS_OF_PAGES, &[], &[]),
        Task::Carriers => (&CARRIERS_OF_PAGES, &CARRIERS_ALWAYS, &CARRIERS_SOMETIMES),
    };
    let btf = kernel_types::btf()?;
    let mut why = Vec::new();
    let first = [by_lsm, by_fentry].into_iter().find(|programs| {
        let refused = programs.iter().find_map(|program| Some((program, try_out(program, btf).err()?)));
        why.extend(refused.iter().map(|(program, error)| format!("{}: {error}", program.function)));
        refused.is_none()
    });
    let Some(first) = first else { return Err(why.join("; ")) };
    let mut programs: Vec<&'static FunctionProgram> = first.iter().collect();
    let is_there =
        |program: &&FunctionProgram| btf.id_by_type_name_kind(program.function, BtfKind::Func).is_ok();
    let there = [of_pages].into_iter().chain(sometimes).filter(is_there);
    for program in there.chain(always) {
        try_out(program, btf).map_err(|error| format!("{}: {error}", program.function))?;
        programs.push(program);
    }
    Ok(programs)
}

fn try_out(program: &FunctionProgram, btf: &Btf) -> Result<(), String> {
    if program.way == Way::Lsm {
        bpf_is_a_security_module()?;
    }
    let function =
        btf.id_by_type_name_kind(program.function, program.way.kind()).map_err(|error| error.to_string())?;
    let nothing = load_nothing(program.way, function)
        .map_err(|error| format!("the kernel refuses a program for it: {error}"))?;
    let attached = attach(nothing.as_fd());
    attached.map(drop).map_err(|error| format!("a program can't be attached to it: {error}"))
}

/// Whether programs of BPF LSM are run at all: they can be attached where they are not. Where nothing can be told of it, a
/// function's entry is as good.
pub(super) fn bpf_is_a_security_module() -> Result<(), String> {
    let modules = fs::read_to_string(SECURITY_MODULES).map_err(|error| {
        format!("which security modules run can't be read in {SECURITY_MODULES} ({error})")
    })?;
    match modules.trim().split(',').any(|module| module == "bpf") {
        true => Ok(()),
        false => Err(format!("`bpf` is not among the security modules that run ({SECURITY_MODULES})")),
    }
}

/// The fields of `union bpf_attr` that loading a program needs (linux/bpf.h), up to `attach_btf_id`.
#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    attach_type: u32,
    btf: u32,
    func_info_size: u32,
    func_info: u64,
    func_info_count: u32,
    line_info_size: u32,
    line_info: u64,
    line_info_count: u32,
    attach_btf_id: u32,
}

/// Loads a program that lets all be as it is.
fn load_nothing(way: Way, function: u32) -> io::Result<OwnedFd> {
    // `r0 = 0` and `exit`, eight bytes each.
    let instructions: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let license = c"Dual MIT/GPL";
    let (program_type, attach_type) = way.program_type();
    let mut attributes = LoadAttributes {
        program_type,
        instruction_count: 2,
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        attach_type,
        attach_btf_id: function,
        ..LoadAttributes::default()
    };
    // SAFETY: the kernel reads the instructions and the licence, which live until the call returns, and makes a new
    // descriptor.
    unsafe { call_for_fd(Command::ProgramLoad, &mut attributes) }
}

#[repr(C)]
struct RawTracepointAttributes {
    name: u64,
    program: u32,
    pad: u32,
}

/// Attaches a program to the function that it was loaded for; it stays until the link's last descriptor and entry are
/// gone.
pub(super) fn attach(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attributes = RawTracepointAttributes { name: 0, program: raw(program), pad: 0 };
    // SAFETY: the attributes hold no addresses, and the command returns a new descriptor.
    unsafe { call_for_fd(Command::RawTracepointOpen, &mut attributes) }
}

/// What this process has on functions of the kernel.
#[derive(Debug, Default)]
pub(super) struct OnFunctions {
    /// The links.
    pub(super) links: Vec<FunctionLink>,
    /// The programs that are to be there, by what they are for, once they were set.
    pub(super) wanted: [Option<Vec<&'static FunctionProgram>>; Task::ALL.len()],
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn attributes_are_where_the_kernel_reads_them() {
        assert_eq!(offset_of!(LoadAttributes, name), 48);
        assert_eq!(offset_of!(LoadAttributes, attach_type), 68);
        assert_eq!(offset_of!(LoadAttributes, func_info), 80);
        assert_eq!(offset_of!(LoadAttributes, line_info), 96);
        assert_eq!((offset_of!(LoadAttributes, attach_btf_id), size_of::<LoadAttributes>()), (108, 112));
    }
}
