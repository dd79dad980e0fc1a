//! A trace of live packets, from the load of the tracing programs to the ordinary ones again.
//!
//! The verifier takes seconds for the tracing programs. They are loaded by a thread of their own, so that nothing that
//! closes waits for it.

use std::io;

use guard_common::abi::traced::TraceTarget;

use super::api::{Told, Tracing};
use super::traced::{LiveTrace, Prepared, TraceReader};
use super::{KernelError, LinuxKernel, swap};

/// The tracing programs, as they were built with this binary.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/borderguard-trace-ebpf"));

impl LinuxKernel {
    /// Loads the tracing programs over the maps that are live, and sets them to be those that attachments get. They log
    /// nothing before [`TraceReader::set_target`]. Attachments are swapped by
    /// [`swap_attachments`](Self::swap_attachments).
    ///
    /// # Errors
    /// As [`open`](Self::open), where the kernel refuses them; nothing is changed then.
    pub fn begin_trace(&mut self) -> Result<TraceReader, KernelError> {
        let prepared = self.trace_loader()()?;
        self.take_up_trace(prepared)
    }

    /// What loads the tracing programs, on any thread.
    pub(super) fn trace_loader(&self) -> impl FnOnce() -> Result<Prepared, KernelError> + Send + use<> {
        let (settings, path) = (self.settings, self.pin_path().to_owned());
        move || {
            let mut ebpf = settings.load(OBJECT, &path)?;
            let reader = TraceReader::of(&mut ebpf)?;
            Ok(Prepared { alternate: swap::load(ebpf)?, reader })
        }
    }

    /// Sets loaded tracing programs to be those that attachments get.
    pub(super) fn take_up_trace(&mut self, prepared: Prepared) -> Result<TraceReader, KernelError> {
        self.set_programs(Some(prepared.alternate))?;
        Ok(prepared.reader)
    }

    /// Sets the ordinary programs to be those that attachments get again.
    ///
    /// # Errors
    /// [`KernelError::Load`] where the kernel does not tell the programs' ids.
    pub fn end_trace(&mut self) -> Result<(), KernelError> {
        self.set_programs(None)
    }

    /// Whether attachments get the tracing programs.
    #[must_use]
    pub const fn traces(&self) -> bool {
        self.alternate.is_some()
    }
}

impl Tracing for LinuxKernel {
    fn trace_packets(&mut self, target: &TraceTarget) -> Result<Told, KernelError> {
        match std::mem::take(&mut self.live_trace) {
            LiveTrace::Off => {
                let load = self.trace_loader();
                let thread = std::thread::Builder::new().name("trace-load".to_owned()).spawn(load);
                let thread = thread.map_err(|source| KernelError::TraceLoad { source })?;
                self.live_trace = LiveTrace::Loading(thread);
                Ok(Told::default())
            }
            LiveTrace::Loading(thread) if !thread.is_finished() => {
                self.live_trace = LiveTrace::Loading(thread);
                Ok(Told::default())
            }
            LiveTrace::Loading(thread) => {
                let ended = || KernelError::TraceLoad { source: io::Error::other("its thread ended early") };
                let prepared = thread.join().map_err(|_| ended())??;
                let mut reader = self.take_up_trace(prepared)?;
                reader.set_target(*target)?;
                self.swap_attachments()?;
                self.live_trace = LiveTrace::On(Box::new(reader));
                Ok(Told { is_on: true, ..Told::default() })
            }
            LiveTrace::On(mut reader) => {
                reader.set_target(*target)?;
                // Before the records: what is counted by now may be read with the next ones.
                let taken = reader.taken()?;
                let packets = reader.records();
                self.live_trace = LiveTrace::On(reader);
                Ok(Told { is_on: true, taken, packets })
            }
        }
    }

    fn stop_tracing(&mut self) -> Result<(), KernelError> {
        // The reader's maps end with it, and the target's with the last tracing program.
        self.live_trace = LiveTrace::Off;
        if self.traces() {
            self.end_trace()?;
        }
        self.swap_attachments()
    }
}
