//! A trace of live packets, from the load of the tracing programs to the ordinary ones again.

use guard_common::abi::traced::TraceTarget;

use super::api::{ShadowSeen, ShadowStep, Told, Tracing};
use super::stage::{Prepared, Reader, Stage, Step, taken};
use super::traced::TraceReader;
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
        let Prepared { alternate, reader } = self.trace_loader()()?;
        let Reader::Trace(reader) = reader else { return Err(taken()) };
        self.set_programs(Some(alternate))?;
        Ok(*reader)
    }

    /// What loads the tracing programs, on any thread.
    fn trace_loader(&self) -> impl FnOnce() -> Result<Prepared, KernelError> + Send + use<> {
        let (settings, path) = (self.settings, self.pin_path().to_owned());
        move || {
            let mut ebpf = settings.load(OBJECT, &path)?;
            let reader = Reader::Trace(Box::new(TraceReader::of(&mut ebpf)?));
            Ok(Prepared { alternate: swap::load(ebpf)?, reader })
        }
    }
}

impl Tracing for LinuxKernel {
    fn trace_packets(&mut self, target: &TraceTarget) -> Result<Told, KernelError> {
        let (mut reader, is_new) = match self.bring(|kernel| Ok(kernel.trace_loader()))? {
            Step::Waits => return Ok(Told::default()),
            Step::Loaded(Reader::Trace(reader)) => (reader, true),
            Step::On(Reader::Trace(reader)) => (reader, false),
            Step::Loaded(_) | Step::On(_) => return Err(taken()),
        };
        reader.set_target(*target)?;
        let told = match is_new {
            true => {
                self.swap_attachments()?;
                Told { is_on: true, ..Told::default() }
            }
            false => {
                // Before the records: what is counted by now may be read with the next ones.
                let taken = reader.taken()?;
                Told { is_on: true, taken, packets: reader.records() }
            }
        };
        self.stage = Stage::On(Reader::Trace(reader));
        Ok(told)
    }

    fn shadow_packets(&mut self, step: ShadowStep) -> Result<ShadowSeen, KernelError> {
        self.shadow_step(step)
    }

    fn put_back(&mut self) -> Result<(), KernelError> {
        self.put_ordinary_back()
    }
}
