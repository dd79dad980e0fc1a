//! Why a connection or a request was not answered with metrics, and how often.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Too many at once.
    Busy,
    /// Its user may not look.
    NotPermitted,
    /// It took too long.
    Slow,
    /// It is no request that can be read, or too large.
    BadRequest,
    /// It names another host, or comes from a page of another origin.
    Foreign,
    /// Neither GET nor HEAD.
    Method,
    /// Another path than `/metrics`.
    Path,
    /// The daemon has no figures.
    NoFigures,
}

impl Refusal {
    const ALL: [Self; 8] = [
        Self::Busy,
        Self::NotPermitted,
        Self::Slow,
        Self::BadRequest,
        Self::Foreign,
        Self::Method,
        Self::Path,
        Self::NoFigures,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::NotPermitted => "not-permitted",
            Self::Slow => "slow",
            Self::BadRequest => "bad-request",
            Self::Foreign => "foreign",
            Self::Method => "method",
            Self::Path => "path",
            Self::NoFigures => "no-figures",
        }
    }
}

/// How often each was.
#[derive(Debug, Default)]
pub(super) struct Refusals([AtomicU64; Refusal::ALL.len()]);

impl Refusals {
    pub(super) fn count(&self, refusal: Refusal) {
        if let Some(count) = self.0.get(refusal as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// By name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refusal::ALL.into_iter().zip(&self.0).map(|(why, count)| (why.name(), count.load(Ordering::Relaxed)))
    }
}
