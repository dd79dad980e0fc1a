//! A trace of live packets, from the load of the tracing programs to the ordinary ones again.
//!
//! The verifier takes seconds for the tracing programs. They are loaded by a thread of their own, so that nothing that
//! closes waits for it.

use std::io;
use std::thread::JoinHandle;

use guard_common::abi::traced::TraceTarget;

use super::traced::{Prepared, TraceReader};
use super::{KernelError, LinuxKernel, TraceRecords};

/// What came of a look at a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Whether the tracing programs are on the interfaces. Before that nothing is logged.
    pub is_on: bool,
    /// How many packets were logged since they are, or found no room in the log.
    pub taken: u64,
    /// Those that were told to their end since the last look.
    pub packets: Vec<TraceRecords>,
}

/// Has the programs tell how they judge live packets.
pub trait Tracing {
    /// Sets which packets are told of and until when, and takes what was told since the last call. The first call has the
    /// tracing programs loaded; one that finds them loaded puts them in the place of the ordinary ones.
    ///
    /// # Errors
    /// Where the kernel refuses. [`stop_tracing`](Self::stop_tracing) is to follow then.
    fn trace_packets(&mut self, target: &TraceTarget) -> Result<Told, KernelError>;

    /// Puts the ordinary programs in the place of the tracing ones. To be called again where nothing is traced is no error.
    ///
    /// # Errors
    /// Where an interface still has the tracing program, which judges as the ordinary one does.
    fn stop_tracing(&mut self) -> Result<(), KernelError>;
}

/// How far a trace has come.
#[derive(Debug, Default)]
pub(super) enum LiveTrace {
    /// There is none.
    #[default]
    Off,
    /// The verifier has the programs.
    Loading(JoinHandle<Result<Prepared, KernelError>>),
    /// They are on the interfaces.
    On(TraceReader),
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
                self.live_trace = LiveTrace::On(reader);
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
