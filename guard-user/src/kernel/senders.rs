//! Whether the kernel tells which process sends, at the moment at which it does: by a program that it runs in the
//! process's own context before any protocol has the bytes. There are two ways to have it run one, and a kernel may have
//! either, both, or none.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use aya::Btf;
use aya_obj::btf::BtfKind;

use super::raw::{Command, call_for_fd, raw};

/// A way to have the kernel run a program when a process sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderHook {
    /// BPF LSM: as a security module.
    Lsm,
    /// A tracing program at the entry of the function that asks the security modules.
    Fentry,
}

impl SenderHook {
    /// Both, the better one first: what a security module is asked is the kernel's interface, and a function's entry is
    /// not.
    pub const ALL: [Self; 2] = [Self::Lsm, Self::Fentry];

    /// The name in status and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lsm => "lsm",
            Self::Fentry => "fentry",
        }
    }

    /// The kernel's function that its program is for.
    pub(super) const fn function(self) -> &'static str {
        match self {
            Self::Lsm => "bpf_lsm_socket_sendmsg",
            Self::Fentry => "security_socket_sendmsg",
        }
    }

    /// `BPF_PROG_TYPE_LSM` with `BPF_LSM_MAC`, and `BPF_PROG_TYPE_TRACING` with `BPF_TRACE_FENTRY`.
    const fn program_type(self) -> (u32, u32) {
        match self {
            Self::Lsm => (29, 27),
            Self::Fentry => (26, 24),
        }
    }
}

/// The way that this kernel has: the first by which a program that does nothing can be loaded and attached.
///
/// # Errors
/// Why there is none.
pub fn way() -> Result<SenderHook, String> {
    let btf = Btf::from_sys_fs().map_err(|error| format!("it has no type information (BTF): {error}"))?;
    let mut why = Vec::new();
    for hook in SenderHook::ALL {
        match try_out(hook, &btf) {
            Ok(()) => return Ok(hook),
            Err(error) => why.push(format!("{}: {error}", hook.name())),
        }
    }
    Err(why.join("; "))
}

fn try_out(hook: SenderHook, btf: &Btf) -> Result<(), String> {
    if hook == SenderHook::Lsm && !bpf_is_a_security_module() {
        return Err(
            "`bpf` is not among the security modules that run (lsm= on the kernel's command line)".to_owned()
        );
    }
    let function =
        btf.id_by_type_name_kind(hook.function(), BtfKind::Func).map_err(|error| error.to_string())?;
    let program = load_nothing(hook, function).map_err(|error| format!("a program is refused: {error}"))?;
    attach(&program).map(drop).map_err(|error| format!("a program can't be attached: {error}"))
}

/// Whether programs of BPF LSM are run at all: they can be attached where they are not.
fn bpf_is_a_security_module() -> bool {
    // Where securityfs is not mounted nothing can be told, and the function's entry is as good.
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
fn load_nothing(hook: SenderHook, function: u32) -> io::Result<OwnedFd> {
    // `r0 = 0` and `exit`, eight bytes each.
    let instructions: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let license = c"Dual MIT/GPL";
    let (program_type, attach_type) = hook.program_type();
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
pub(super) fn attach(program: &OwnedFd) -> io::Result<OwnedFd> {
    let mut attributes = RawTracepointAttributes { name: 0, program: raw(program.as_fd()), pad: 0 };
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
