//! Whether this process may load programs into the kernel: asked of the kernel itself, for neither root
//! nor a list of capabilities says what a container's filter lets through.

use std::io;

use crate::workspace;

/// `BPF_PROG_LOAD` and `BPF_PROG_TYPE_SCHED_CLS` of linux/bpf.h.
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;

/// The fields of `union bpf_attr` that loading a program needs, as in linux/bpf.h; the kernel takes the
/// rest as zero.
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
}

/// Loads the smallest program there is. The error says in plain words why it cannot be done.
pub(crate) fn usable() -> Result<(), String> {
    if !workspace::is_root() {
        return Err("needs root and BPF, and this is not root".to_owned());
    }
    load_smallest_program().map_err(|error| format!("needs root and BPF, and the kernel answered: {error}"))
}

fn load_smallest_program() -> io::Result<()> {
    // `r0 = 0` and `exit`, eight bytes each.
    let instructions: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let license = c"GPL";
    let attributes = LoadAttributes {
        program_type: BPF_PROG_TYPE_SCHED_CLS,
        instruction_count: 2,
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..LoadAttributes::default()
    };
    // SAFETY: the kernel only reads the attributes, whose size is given, and the two buffers that they
    // point to; all three live until the call returns.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<LoadAttributes>())
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
    drop(unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) });
    Ok(())
}
