//! What the daemon does next: a state machine without I/O, clock or `await`.
//!
//! [`Engine::step`] takes one [`Input`] and the clocks, and gives back what is to be done. It compares what config
//! and store want with what kernel and host are seen to have (`reconcile`), so that every difference, wherever it
//! comes from, is mended in one place and is a problem of the status until then.
//!
//! `state` has what the engine knows, in parts of a file each; `step` has what each input does to them.
//!
//! What opens comes from a [`Kept`](crate::store::Kept) alone, the exemptions as the disk has them, which only the
//! store can make. What closes needs none: it takes effect here first ([`closings`]), is marked in the kernel, and is
//! on the disk when the disk has taken it.

mod action;
mod basis;
mod bypass;
mod cgroups;
mod changes;
mod closings;
mod config;
mod cut;
mod databases;
mod ending;
mod error_kind;
mod ids;
mod input;
mod interfaces;
mod latest;
mod lift_job;
mod loads;
mod notices;
mod noting;
mod periods;
mod protection;
mod publishing;
mod quotas;
mod reads;
mod records;
mod shadow;
mod signers;
mod state;
mod step;
mod tampering;
#[cfg(test)]
mod tests;
mod tracing;
mod tries;
mod unconfirmed;
mod volumes;

pub use action::{
    Action, Canaries, Cut, DutyDone, Judged, KernelJob, Level, LoadJob, Publish, Query, ReadJob, SampleFor,
    ShadowEnd, ShadowLoad, State, StoreJob,
};
pub use basis::{Basis, Geo, Table};
pub use cut::{is_cut, may_be_cut};
pub use error_kind::kind_of;
pub use ids::{StoreId, Ticket};
pub use input::{
    Asker, BypassFacts, Held, Input, LoadFailure, LoadedExemption, NotingFacts, Prepared, PublishOutcome,
    RefusedLoad, Sample, ShadowPrepared, ShadowSight, Sight, SignedFile, StoreFault, StoreOutcome,
    Surroundings, VolumeFacts, Waits,
};
pub use lift_job::LiftJob;
pub use notices::{Notice, What};
pub use records::{daemon, not_permitted, record_of};
pub use state::{Begin, Engine};
pub use step::history_settings;
pub use unconfirmed::{Applied, LoadOf};
