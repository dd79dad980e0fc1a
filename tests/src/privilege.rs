//! Whether this process may run the kernel tests.
use aya::programs::ProgramType;

/// Whether this process may load BPF programs and make network namespaces.
///
/// # Errors
/// Why not, as a sentence that tells what to do.
pub fn can_bpf() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("not root: run as root to test against the kernel".to_owned());
    }
    match aya::sys::is_program_supported(ProgramType::SchedClassifier) {
        Ok(true) => Ok(()),
        Ok(false) => Err("this kernel has no TC BPF programs: use Linux 6.1 or later".to_owned()),
        Err(error) => Err(format!("bpf() is refused ({error}): the tests need CAP_BPF and CAP_NET_ADMIN")),
    }
}
