//! How an object of programs is loaded.

use std::path::Path;

use aya::{Ebpf, EbpfLoader};
use guard_common::abi::{Hook, SHARED_SCRATCHES};

use super::{KernelError, folder, grace, kernel_types, maps, shadow};

/// Whether programs of one hook get in each other's way on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuUse {
    /// A program has its CPU to itself until it ends, but for other hooks.
    Exclusive,
    /// Another program of the same hook may run on the CPU before one ends, as on kernels with `PREEMPT_RT`. The
    /// programs then claim their memory, count by atomic operations, and drop a packet where no memory is free.
    Shared,
}

impl CpuUse {
    /// As it is on the kernel that runs.
    #[must_use]
    pub fn of_this_kernel() -> Self {
        if grace::softirqs_can_be_preempted() { Self::Shared } else { Self::Exclusive }
    }
}

/// Which frames programs judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameSource {
    /// Those of interfaces.
    Interfaces,
    /// Those of test runs alone, of which nobody has told the kernel a protocol.
    TestRuns,
}

/// Room for the records of a trace that are not read yet, in bytes: a power of two. Those of a thousand packets of usual
/// length have room.
const TRACE_LOG_BYTES: u32 = 4 << 20;

/// How an object is loaded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) cpus: CpuUse,
    pub(super) frames: FrameSource,
}

impl Settings {
    /// Prepares an object over the maps at the pin path, which are made where they are not there. Constants that an object
    /// has not are passed over: not every one has every hook.
    pub(super) fn load(self, object: &[u8], pin_path: &Path) -> Result<Ebpf, KernelError> {
        let shared = u32::from(self.cpus == CpuUse::Shared);
        let test_runs = u32::from(self.frames == FrameSource::TestRuns);
        let is_whole = std::ptr::eq(object, maps::OBJECT);
        // Where it does not tell, the programs that look there are refused.
        let places = kernel_types::places().map(Option::unwrap_or_default);
        let mut loader = EbpfLoader::new();
        loader
            // No program has places in the kernel's own structs to be put right: those are constants.
            .btf(None)
            .default_map_pin_directory(folder::maps(pin_path))
            .override_global("PREEMPTIBLE", &shared, true)
            .override_global("TEST_RUNS", &test_runs, true);
        for ((name, _, _), place) in kernel_types::PLACES.iter().zip(&places) {
            loader.override_global(name, place, is_whole);
        }
        loader.map_max_entries("AYA_LOGS", TRACE_LOG_BYTES);
        if self.cpus == CpuUse::Shared {
            let all = SHARED_SCRATCHES * Hook::PACKET_COUNT as u32;
            // Those of a shadow's programs are two of each packet.
            let each = if std::ptr::eq(object, shadow::OBJECT) { 2 } else { 1 };
            loader.map_max_entries("SCRATCH", each * all);
            for per_packet in ["TRACE_STEPS", "SHADOW_FRESH"] {
                loader.map_max_entries(per_packet, all);
            }
        }
        loader.load(object).map_err(loading)
    }
}

/// Why the object could not be prepared; a missing permission is told apart.
fn loading(error: aya::EbpfError) -> KernelError {
    if let aya::EbpfError::MapError(aya::maps::MapError::CreateError { io_error, .. }) = &error
        && let Some(code @ (libc::EPERM | libc::EACCES)) = io_error.raw_os_error()
    {
        let source = std::io::Error::from_raw_os_error(code);
        return KernelError::NotPermitted { what: "create BPF maps".to_owned(), source };
    }
    if let aya::EbpfError::BtfError(aya::BtfError::LoadError { io_error, .. }) = &error
        && let Some(code @ (libc::EPERM | libc::EACCES)) = io_error.raw_os_error()
    {
        let source = std::io::Error::from_raw_os_error(code);
        return KernelError::NotPermitted { what: "load BPF type information".to_owned(), source };
    }
    KernelError::Load { source: Box::new(error) }
}
