//! What in the kernel is not as this process has written it.

use std::fmt;

/// A table in the kernel that somebody else has changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tampered {
    /// The map's name.
    pub table: &'static str,
    /// How many were other than they should be: entries of a hash, else words of 8 bytes.
    pub entries: usize,
    /// The first of them, in words.
    pub first: String,
    /// How it comes right again.
    pub mending: Mending,
    /// When it was last known to be right, nanoseconds of `CLOCK_BOOTTIME`; `None` for the last look at all.
    pub right_ns: Option<u64>,
}

/// How a table comes right again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mending {
    /// It was set back when it was found. What packets before that had looked up goes with the next generation.
    SetBack,
    /// It was to be set back, and was not: why. The next look tries it again.
    Refused(String),
    /// It is a table of the live generation, without the geo tables: the next one has it right.
    NextGeneration,
    /// It is one of the geo tables of the live generation: the next one has them right, where it is given them.
    NextGeo,
    /// Somebody has frozen it: it is as it was, and can't be written any more.
    Frozen,
}

impl Tampered {
    /// One that is set back, with what came of that.
    pub(super) fn set_back<E: fmt::Display>(
        table: &'static str,
        (entries, first): (usize, String),
        outcome: Result<(), E>,
    ) -> Self {
        let mending = outcome.map_or_else(|error| Mending::Refused(error.to_string()), |()| Mending::SetBack);
        Self { table, entries, first, mending, right_ns: None }
    }

    /// One that nobody can write into any more.
    pub(super) const fn frozen(table: &'static str) -> Self {
        Self { table, entries: 0, first: String::new(), mending: Mending::Frozen, right_ns: None }
    }
}
