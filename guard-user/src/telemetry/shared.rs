//! What the thread that reports events shows of itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::losses::Losses;
use crate::worker::Heartbeat;

/// What the thread shows of itself.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) heartbeat: Heartbeat,
    pub(super) flows: AtomicUsize,
    pub(super) losses: Mutex<Losses>,
}

impl Shared {
    /// Gives a sign of life, and says how many flows are tracked.
    pub(super) fn beat(&self, flows: usize) {
        self.heartbeat.beat();
        self.flows.store(flows, Ordering::Relaxed);
    }

    pub(super) fn show(&self, losses: &Losses) {
        losses.clone_into(&mut self.losses.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
