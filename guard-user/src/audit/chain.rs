//! The chain: what binds each record to the one before it, and where it is broken.

use std::fmt;

use sha2::{Digest, Sha256};

use super::record::{NotARecord, Record, Stored, line};
use crate::digest::hexadecimal;

/// The end of a trail, or of a part of it from its beginning on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many records there are: the last one's sequence number, 0 where there is none.
    pub sequence: u64,
    /// SHA-256 of the last line; zeroes where there is none.
    pub hash: [u8; 32],
}

/// The hash of no line.
const PENDING: [u8; 32] = [0xff; 32];

impl Head {
    /// Of the trail without records.
    pub const START: Self = Self { sequence: 0, hash: [0; 32] };

    /// One that no trail has, behind this one: what was to be its next record is not in it yet.
    #[must_use]
    pub fn pending(self) -> Self {
        match self.is_pending() {
            true => self,
            false => Self { sequence: self.sequence.saturating_add(1), hash: PENDING },
        }
    }

    /// Whether it is such a one.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.hash == PENDING
    }

    /// The head of a trail that ends with this line.
    ///
    /// # Errors
    /// Where it is not a record.
    pub fn of_line(line: &str) -> Result<Self, NotARecord> {
        Ok(Self { sequence: Stored::read(line.as_bytes())?.sequence, hash: hash(line.as_bytes()) })
    }

    /// The record's line behind this head, without a line break, and the head that it makes.
    #[must_use]
    pub fn append(&self, record: &Record) -> (String, Self) {
        let sequence = self.sequence.saturating_add(1);
        let line = line(record, sequence, &self.hash_text());
        let head = Self { sequence, hash: hash(line.as_bytes()) };
        (line, head)
    }

    /// The hash as records hold it: 64 hexadecimal digits in small letters.
    #[must_use]
    pub fn hash_text(&self) -> String {
        hexadecimal(self.hash)
    }
}

/// The record's line behind the one that is the last so far, without a line break.
///
/// # Errors
/// Where the last line is not a record, so that nothing can be bound to it.
pub fn next_line(previous: Option<&str>, record: &Record) -> Result<String, NotARecord> {
    let head = previous.map_or(Ok(Head::START), Head::of_line)?;
    Ok(head.append(record).0)
}

/// Where a trail is first broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {at} {fault}")]
pub struct Broken {
    /// The record's sequence number.
    pub at: u64,
    /// What happened to it.
    pub fault: Fault,
}

/// What happened to a record, as far as the lines around it show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not what the next record, or what was kept elsewhere, is bound to.
    Altered,
    /// It or the next one was altered: nothing that follows says which.
    AlteredOrNext,
    /// Its line is none that a record can have.
    NotARecord {
        /// What is wrong with the line.
        reason: String,
    },
    /// It is missing, and perhaps some behind it.
    Removed,
    /// It is there, and not in its place.
    Reordered,
    /// It is there twice.
    Duplicated,
    /// In its place is a line that no record is bound to.
    Inserted,
    /// The trail ends before it, and something that was kept elsewhere knows it.
    CutOff,
    /// The trail is whole in itself, and not the one that something kept elsewhere knows: this record or an
    /// earlier one with everything behind it, was altered.
    Rewritten,
}

impl Fault {
    /// A short name that stays the same from release to release.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Altered => "altered",
            Self::AlteredOrNext => "altered-or-next",
            Self::NotARecord { .. } => "not-a-record",
            Self::Removed => "removed",
            Self::Reordered => "reordered",
            Self::Duplicated => "duplicated",
            Self::Inserted => "inserted",
            Self::CutOff => "cut-off",
            Self::Rewritten => "rewritten",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered => f.write_str("was altered"),
            Self::AlteredOrNext => f.write_str("or the next one was altered"),
            Self::NotARecord { reason } => write!(f, "is not a record any more: {reason}"),
            Self::Removed => f.write_str("was removed"),
            Self::Reordered => f.write_str("is not in its place"),
            Self::Duplicated => f.write_str("is there twice"),
            Self::Inserted => f.write_str("was put in later"),
            Self::CutOff => f.write_str("is missing, and everything behind it: the end was cut off"),
            Self::Rewritten => f.write_str(
                "is not the one that was kept elsewhere: it was altered, or an earlier one with all behind it",
            ),
        }
    }
}

/// Verifies a whole trail from its first line on; lines come without their line breaks. `known` are heads
/// that were kept elsewhere: without one, a last record that was altered and an end that was cut off cannot be
/// seen.
///
/// # Errors
/// The first break.
pub fn verify<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>, known: &[Head]) -> Result<Head, Broken> {
    let links: Vec<Link> = lines.into_iter().map(|line| Link::of(line.as_ref())).collect();
    let trail = Trail { links: &links, known };
    if let Some(broken) = (0..links.len()).find_map(|at| trail.broken_at(at)) {
        return Err(broken);
    }
    let head = Head { sequence: links.len() as u64, hash: trail.hash_before(links.len()) };
    let mut known: Vec<&Head> = known.iter().collect();
    known.sort_by_key(|known| known.sequence);
    for known in known {
        if known.sequence > head.sequence {
            return Err(Broken { at: head.sequence + 1, fault: Fault::CutOff });
        }
        if usize::try_from(known.sequence).map(|length| trail.hash_before(length)) != Ok(known.hash) {
            return Err(Broken { at: known.sequence, fault: Fault::Rewritten });
        }
    }
    Ok(head)
}

/// What of a line matters to the chain.
struct Link {
    hash: [u8; 32],
    /// Its number and what it is bound to; else why it is not a record.
    record: Result<(u64, String), NotARecord>,
}

impl Link {
    fn of(line: &[u8]) -> Self {
        let record = Stored::read(line).map(|stored| (stored.sequence, stored.previous));
        Self { hash: hash(line), record }
    }

    fn sequence(&self) -> Option<u64> {
        self.record.as_ref().ok().map(|(sequence, _)| *sequence)
    }

    fn follows(&self, hash: &[u8; 32]) -> bool {
        self.record.as_ref().is_ok_and(|(_, previous)| *previous == hexadecimal(hash))
    }
}

struct Trail<'t> {
    links: &'t [Link],
    known: &'t [Head],
}

impl Trail<'_> {
    /// The hash of the line before the one at this index.
    fn hash_before(&self, at: usize) -> [u8; 32] {
        at.checked_sub(1).and_then(|before| self.links.get(before)).map_or(Head::START.hash, |link| link.hash)
    }

    /// What is wrong with the line at this index, where everything before it is in order but perhaps the
    /// content of the line just before.
    fn broken_at(&self, at: usize) -> Option<Broken> {
        let link = self.links.get(at)?;
        let number = at as u64 + 1;
        let before = self.hash_before(at);
        let broken = |at, fault| Some(Broken { at, fault });
        let next = self.links.get(at + 1);
        // The rest goes on as if this line were not there.
        let is_extra = || next.is_some_and(|next| next.sequence() == Some(number) && next.follows(&before));
        let sequence = match &link.record {
            Ok((sequence, _)) => *sequence,
            Err(_) if is_extra() => return broken(number, Fault::Inserted),
            Err(NotARecord { reason }) => {
                return broken(number, Fault::NotARecord { reason: reason.clone() });
            }
        };
        match (sequence == number, link.follows(&before)) {
            (true, true) => None,
            // It is where it belongs, with another number.
            (false, true) => broken(number, Fault::Altered),
            (true, false) => match self.is_whole(at) {
                // What this one is bound to is gone; where there is none before it, it is altered itself.
                Some(true) if number > 1 => broken(number - 1, Fault::Altered),
                Some(_) => broken(number, Fault::Altered),
                None if number > 1 => broken(number - 1, Fault::AlteredOrNext),
                None => broken(number, Fault::Altered),
            },
            (false, false) => self.out_of_place(at, link, sequence, number),
        }
    }

    /// A record with another number than its place has, which is bound to another one than is before it.
    fn out_of_place(&self, at: usize, link: &Link, sequence: u64, number: u64) -> Option<Broken> {
        let twice = self.links.iter().enumerate().any(|(other, it)| other != at && it.hash == link.hash);
        let is_later = |wanted| self.links.iter().skip(at + 1).any(|it| it.sequence() == Some(wanted));
        let two_before = at.checked_sub(1).map(|before| self.hash_before(before));
        let (at, fault) = if twice {
            (sequence, Fault::Duplicated)
        } else if sequence + 1 == number && two_before.is_some_and(|hash| link.follows(&hash)) {
            // Two records of one number, both bound to the one before them.
            (sequence, Fault::Inserted)
        } else if sequence > number && !is_later(number) {
            (number, Fault::Removed)
        } else if is_later(number) && (sequence > number || is_later(sequence)) {
            (number, Fault::Reordered)
        } else if is_later(number) {
            (number, Fault::Inserted)
        } else {
            (number, Fault::Altered)
        };
        Some(Broken { at, fault })
    }

    /// Whether the line is the one that the next record, or what was kept elsewhere, is bound to; `None`
    /// where nothing says.
    fn is_whole(&self, at: usize) -> Option<bool> {
        let link = self.links.get(at)?;
        let kept = self.known.iter().find(|known| known.sequence == at as u64 + 1);
        match (kept, self.links.get(at + 1)) {
            (Some(kept), _) => Some(kept.hash == link.hash),
            (None, Some(next)) => Some(next.follows(&link.hash)),
            (None, None) => None,
        }
    }
}

fn hash(line: &[u8]) -> [u8; 32] {
    Sha256::digest(line).into()
}
