//! Reads a flow history as it is at this moment, while it may be written to.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Take};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::OFlags;

use super::record::{Line, Past, WhoSent};
use super::segment::{self, Segment};
use crate::events::event::People;

/// Reads records from the oldest to the newest, in the order in which they were written.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    /// Who sent is left out of what is older.
    people_since: Timestamp,
    segments: Vec<Segment>,
    /// The segment that is read, or the next one where none is open.
    at: usize,
    open: Option<Open>,
    /// Records before this one of the first segment are passed over.
    first: u64,
    /// How many segments a search for the last records has not looked at.
    before: usize,
    damaged: u64,
}

/// A segment that is read.
#[derive(Debug)]
struct Open {
    records: Lines<Past>,
    people: Option<Lines<WhoSent>>,
    /// What was read of who sent and belongs to a later record.
    ahead: Option<Line<WhoSent>>,
}

impl Reader {
    /// Opens the history of a folder, as far as it was written since this moment. Who sent is left out of what is older
    /// than `people_since`.
    ///
    /// # Errors
    /// Where the folder can't be read.
    pub fn open(folder: &Path, since: Option<Timestamp>, people_since: Timestamp) -> io::Result<Self> {
        let mut segments = segment::list(folder)?;
        if let Some(since) = since {
            // What was written before the next one was begun is older than that.
            let is_older = |next: &Segment| next.begun.is_some_and(|begun| begun <= since);
            let skipped = segments.iter().skip(1).take_while(|next| is_older(next)).count();
            segments.drain(..skipped);
        }
        let before = segments.len();
        Ok(Self {
            folder: folder.to_owned(),
            people_since,
            segments,
            at: 0,
            open: None,
            first: 0,
            before,
            damaged: 0,
        })
    }

    /// Lines so far that are no records: there in part, or damaged.
    #[must_use]
    pub const fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Looks in one more segment for where the last `wanted` records begin that `is_it`, from the newest backwards, and
    /// takes those that were found off that number. Whether the place is found: [`read_next`](Self::read_next) begins there.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn search(&mut self, wanted: &mut usize, is_it: &dyn Fn(&Past) -> bool) -> io::Result<bool> {
        let Some(at) = self.before.checked_sub(1) else { return Ok(true) };
        (self.at, self.open, self.first) = (at, None, 0);
        // It is read again.
        let damaged = self.damaged;
        let mut found: VecDeque<u64> = VecDeque::new();
        while let Some((n, past)) = self.next_of(at)? {
            if *wanted > 0 && is_it(&past) {
                found.push_back(n);
                if found.len() > *wanted {
                    found.pop_front();
                }
            }
        }
        (self.before, self.damaged) = (at, damaged);
        *wanted -= found.len();
        let is_found = *wanted == 0;
        (self.at, self.open) = (at, None);
        // Where enough was found, what is before the first of them is passed over.
        self.first = if is_found { found.front().copied().unwrap_or(u64::MAX) } else { 0 };
        Ok(is_found || at == 0)
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn read_next(&mut self) -> io::Result<Option<Past>> {
        while self.at < self.segments.len() {
            while let Some((n, past)) = self.next_of(self.at)? {
                if n >= self.first {
                    return Ok(Some(past));
                }
            }
            (self.at, self.open, self.first) = (self.at + 1, None, 0);
        }
        Ok(None)
    }

    /// The next record of this segment, with the number of its line.
    fn next_of(&mut self, at: usize) -> io::Result<Option<(u64, Past)>> {
        if self.open.is_none() {
            let Some(segment) = self.segments.get(at) else { return Ok(None) };
            match Open::of(&self.folder, segment) {
                Ok(open) => self.open = Some(open),
                // It was removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let Some(open) = &mut self.open else { return Ok(None) };
        let Some(Line { n, it }) = open.records.next(&mut self.damaged)? else { return Ok(None) };
        let is_young = it.time() >= self.people_since;
        let who = if is_young { open.who(n)? } else { None };
        let past = match who {
            Some(who) => who.put(it),
            None if is_young => it,
            None => it.without_people(People::Removed),
        };
        Ok(Some((n, past)))
    }
}

impl Open {
    fn of(folder: &Path, segment: &Segment) -> io::Result<Self> {
        let mut records = Lines::open(&segment::path(folder, segment.number), segment.bytes)?;
        // Its first line says when it was begun.
        records.skip_line()?;
        let people = match segment.people_bytes {
            0 => None,
            bytes => match Lines::open(&segment::people_path(folder, segment.number), bytes) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                people => Some(people?),
            },
        };
        Ok(Self { records, people, ahead: None })
    }

    /// Who sent what is in the line of this number.
    fn who(&mut self, n: u64) -> io::Result<Option<WhoSent>> {
        loop {
            if let Some(ahead) = self.ahead.take() {
                if ahead.n == n {
                    return Ok(Some(ahead.it));
                }
                if ahead.n > n {
                    self.ahead = Some(ahead);
                    return Ok(None);
                }
            }
            let Some(people) = &mut self.people else { return Ok(None) };
            // Its own lines that are damaged are those of records that have nobody then.
            match people.next(&mut 0)? {
                Some(line) => self.ahead = Some(line),
                None => {
                    self.people = None;
                    return Ok(None);
                }
            }
        }
    }
}

/// The lines of a file, up to the length that it had.
#[derive(Debug)]
struct Lines<T> {
    input: BufReader<Take<File>>,
    line: Vec<u8>,
    of: std::marker::PhantomData<T>,
}

impl<T: serde::de::DeserializeOwned> Lines<T> {
    fn open(path: &Path, length: u64) -> io::Result<Self> {
        let file = segment::open(path, OFlags::RDONLY)?;
        Ok(Self { input: BufReader::new(file.take(length)), line: Vec::new(), of: std::marker::PhantomData })
    }

    fn skip_line(&mut self) -> io::Result<()> {
        self.line.clear();
        self.input.read_until(b'\n', &mut self.line).map(drop)
    }

    /// The next line that is whole; those that are not are counted.
    fn next(&mut self, damaged: &mut u64) -> io::Result<Option<Line<T>>> {
        loop {
            self.skip_line()?;
            if self.line.is_empty() {
                return Ok(None);
            }
            match serde_json::from_slice(&self.line) {
                Ok(line) => return Ok(Some(line)),
                Err(_) => *damaged += 1,
            }
        }
    }
}
