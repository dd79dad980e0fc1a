//! How far programs have come that are to take the ordinary ones' place for a time.

use std::io;
use std::thread::JoinHandle;

use super::KernelError;
use super::alternate::Alternate;
use super::shadow_reader::ShadowReader;
use super::traced::TraceReader;

/// Other programs, loaded, and what reads of them.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) alternate: Alternate,
    pub(super) reader: Reader,
}

/// What reads of the programs that are in the place of the ordinary ones.
#[derive(Debug)]
pub(super) enum Reader {
    /// The steps of live packets.
    Trace(Box<TraceReader>),
    /// How a candidate judges them.
    Shadow(Box<ShadowReader>),
}

/// How far other programs have come.
#[derive(Debug, Default)]
pub(super) enum Stage {
    /// There are none.
    #[default]
    Off,
    /// The verifier has them.
    Loading(JoinHandle<Result<Prepared, KernelError>>),
    /// They are on the interfaces.
    On(Reader),
}

/// What came of bringing them a step further.
pub(super) enum Step {
    /// They are not loaded yet.
    Waits,
    /// They are loaded, and those that attachments get from now on. To be swapped in, and put back as [`Stage::On`].
    Loaded(Reader),
    /// They are on the interfaces. To be put back likewise.
    On(Reader),
}

/// That programs of the other kind are in the place of the ordinary ones.
pub(super) fn taken() -> KernelError {
    KernelError::OthersLoad { source: io::Error::other("the ordinary ones' place is taken by others") }
}
