//! Whether the kernel tells which process sends, at the moment at which it does: by programs that it runs in the process's
//! own context before any protocol has the bytes. There are two ways to have it run them, and a kernel may have either,
//! both, or none.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use aya::Btf;
use aya_obj::btf::BtfKind;

use super::raw::{Command, call_for_fd, raw};

/// A way to have the kernel run a program when one of its functions is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// BPF LSM: as a security module.
    Lsm,
    /// A tracing program at the function's entry.
    Fentry,
}

impl Way {
    /// `BPF_PROG_TYPE_LSM` with `BPF_LSM_MAC`, and `BPF_PROG_TYPE_TRACING` with `BPF_TRACE_FENTRY`.
    const fn program_type(self) -> (u32, u32) {
        match self {
            Self::Lsm => (29, 27),
            Self::Fentry => (26, 24),
        }
    }
}

/// A program that notes who sends.
#[derive(Debug, PartialEq, Eq)]
pub struct SenderProgram {
    /// Its name in the embedded object.
    pub(super) name: &'static str,
    /// How it is run.
    pub(super) way: Way,
    /// The kernel's function that it is for.
    pub(super) function: &'static str,
}

impl SenderProgram {
    /// Its name in messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// A link of ours.
#[derive(Debug)]
pub(super) struct SenderLink {
    pub(super) program: &'static SenderProgram,
    pub(super) link: OwnedFd,
}

/// The better of two that are as good: what a security module is asked is the kernel's interface.
pub(super) static BY_LSM: SenderProgram =
    SenderProgram { name: "lsm_sendmsg", way: Way::Lsm, function: "bpf_lsm_socket_sendmsg" };
/// The function that asks the security modules.
pub(super) static BY_FENTRY: SenderProgram =
    SenderProgram { name: "fentry_sendmsg", way: Way::Fentry, function: "security_socket_sendmsg" };
/// Before Linux 6.5 sendfile(2) and splice(2) send pages, and ask no security module.
pub(super) static OF_PAGES: SenderProgram =
    SenderProgram { name: "fentry_sendpage", way: Way::Fentry, function: "kernel_sendpage" };
/// All of them.
pub(super) static ALL: [&SenderProgram; 3] = [&BY_LSM, &BY_FENTRY, &OF_PAGES];

/// The programs by which this kernel tells who sends: each was tried out by one that does nothing.
///
/// # Errors
/// Why there are none.
pub fn programs() -> Result<Vec<&'static SenderProgram>, String> {
    let btf = Btf::from_sys_fs().map_err(|error| format!("it has no type information (BTF): {error}"))?;
    let mut why = Vec::new();
    let mut first_of = |programs: [&'static SenderProgram; 2]| {
        programs.into_iter().find(|program| {
            let tried = try_out(program, &btf);
            why.extend(tried.as_ref().err().map(|error| format!("{}: {error}", program.function)));
            tried.is_ok()
        })
    };
    let Some(first) = first_of([&BY_LSM, &BY_FENTRY]) else { return Err(why.join("; ")) };
    let mut programs = vec![first];
    if btf.id_by_type_name_kind(OF_PAGES.function, BtfKind::Func).is_ok() {
        try_out(&OF_PAGES, &btf).map_err(|error| format!("{}: {error}", OF_PAGES.function))?;
        programs.push(&OF_PAGES);
    }
    Ok(programs)
}

fn try_out(program: &SenderProgram, btf: &Btf) -> Result<(), String> {
    if program.way == Way::Lsm && !bpf_is_a_security_module() {
        return Err("`bpf` is not among the security modules that run (/sys/kernel/security/lsm)".to_owned());
    }
    let function =
        btf.id_by_type_name_kind(program.function, BtfKind::Func).map_err(|error| error.to_string())?;
    let nothing = load_nothing(program.way, function)
        .map_err(|error| format!("the kernel refuses a program for it: {error}"))?;
    let attached = attach(nothing.as_fd());
    attached.map(drop).map_err(|error| format!("a program can't be attached to it: {error}"))
}

/// Whether programs of BPF LSM are run at all: they can be attached where they are not.
fn bpf_is_a_security_module() -> bool {
    // Where securityfs is not mounted nothing can be told, and a function's entry is as good.
    let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    modules.trim().split(',').any(|module| module == "bpf")
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
