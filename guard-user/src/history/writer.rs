//! Appends to the flow history of a folder, and takes out of it what is too much or too old.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rustix::fs::OFlags;
use serde::Serialize;

use super::record::{Line, Past, WhoSent};
use super::segment::{self, FORM, HEADER, Header, Segment};

/// A segment is ended at this share of the history's bound.
const PARTS: u64 = 32;
/// The most bytes of a segment: what a reader goes through at once.
const LONGEST: u64 = 4 << 20;
/// The most segments: what a listing of the folder may have.
const MOST: usize = 8192;
/// A segment is ended after this share of the shorter of the two ages, so that what is removed whole is not much younger
/// or older than it may be.
const PARTS_OF_AGE: i32 = 16;
/// A segment is kept open for this share of the longer age at least: so there are no more of them than that.
const MOST_PARTS_OF_AGE: i32 = 4096;
/// By age no more than one segment is removed in so long: a clock that is wrong for a moment costs little.
const PAUSE: Duration = Duration::from_secs(60);

/// How much there may be, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes on the disk.
    pub max_size: u64,
    /// What is older is removed.
    pub max_age: SignedDuration,
    /// Who sent is removed from what is older.
    pub people_age: SignedDuration,
}

impl Bounds {
    /// Where a segment ends, in bytes of both files.
    fn segment(&self) -> u64 {
        (self.max_size / PARTS).min(LONGEST)
    }

    /// After how long it ends.
    fn span(&self) -> SignedDuration {
        (self.max_age.min(self.people_age) / PARTS_OF_AGE).max(self.max_age / MOST_PARTS_OF_AGE)
    }
}

/// A moment by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The wall clock's.
    pub wall: Timestamp,
    /// The one that is never set.
    pub steady: Instant,
}

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self { wall: Timestamp::now(), steady: Instant::now() }
    }
}

/// A folder that is written to.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    bounds: Bounds,
    /// The oldest first; the last one is being written to where there is an `open` one.
    segments: Vec<Segment>,
    open: Option<Open>,
    /// The number of the next segment.
    next: u64,
    /// When something was last removed by its age.
    removed_at: Option<Instant>,
}

/// The segment that is being written to.
#[derive(Debug)]
struct Open {
    file: File,
    people: Option<File>,
    /// Lines that it has.
    lines: u64,
    begun: Timestamp,
}

impl Writer {
    /// Opens a folder, and makes it where it is not there. What is in it stays as far as the bounds let it, and is not
    /// appended to: its last line may be there in part.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn open(folder: &Path, bounds: Bounds) -> io::Result<Self> {
        segment::make_folder(folder)?;
        let mut segments = segment::list(folder)?;
        let next = segments.last().map_or(1, |last| last.number.saturating_add(1));
        // One of a run that had nothing to say: many such runs take no room.
        if let Some(last) = segments.pop_if(|last| last.bytes <= HEADER && last.people_bytes == 0) {
            remove(&segment::path(folder, last.number))?;
        }
        Ok(Self { folder: folder.to_owned(), bounds, segments, open: None, next, removed_at: None })
    }

    /// What the folder has on the disk.
    #[must_use]
    pub fn on_disk(&self) -> u64 {
        self.segments.iter().map(Segment::on_disk).sum()
    }

    /// Appends a record. Room is made for it before, so that there is never more than the bound.
    ///
    /// # Errors
    /// Where the disk refuses; then nothing of the record is there as far as that can be.
    pub fn append(&mut self, past: Past, now: Moment) -> io::Result<()> {
        let (past, who) = WhoSent::take(past);
        let length = |line: &[u8]| line.len() as u64;
        let n = self.open.as_ref().map_or(0, |open| open.lines) + 1;
        let (mut line, mut people) = (text(n, &past)?, who.as_ref().map(|who| text(n, who)).transpose()?);
        let grows = length(&line) + people.as_deref().map_or(0, length);
        if self.is_to_end(grows, now.wall) {
            self.end();
            (line, people) = (text(1, &past)?, who.as_ref().map(|who| text(1, who)).transpose()?);
        }
        // The header of a new segment and a block of each file are room enough for either case.
        self.make_room(grows + 3 * segment::blocks(1))?;
        if self.open.is_none() {
            self.begin(now.wall)?;
        }
        self.write(&line, people.as_deref()).inspect_err(|_| self.undo())
    }

    /// Removes what is too old: at most one segment, and who sent of one.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn expire(&mut self, now: Moment) -> io::Result<()> {
        if let (Some(open), Some(segment)) = (&self.open, self.segments.last()) {
            segment::is_in_place(&open.file, &segment::path(&self.folder, segment.number))?;
        }
        self.make_room(0)?;
        let is_over = |open: &Open| open.lines > 0 && self.is_over(open.begun, now.wall);
        if self.open.as_ref().is_some_and(is_over) {
            self.end();
        }
        // The begin of the next one says when the last one ended.
        if self.open.is_none() && !self.segments.is_empty() {
            self.make_room(2 * segment::blocks(1))?;
            self.begin(now.wall)?;
        }
        let is_early = |at: Instant| now.steady.saturating_duration_since(at) < PAUSE;
        if self.removed_at.is_some_and(is_early) {
            return Ok(());
        }
        let (age, people_age) = (self.bounds.max_age, self.bounds.people_age);
        // All of a segment is older than the begin of the next one; the last one may be written to.
        let ends = |at: usize| self.segments.get(at + 1).and_then(|next| next.begun);
        let is_older = |at: usize, age| ends(at).is_some_and(|end| is_past(end, age, now.wall));
        let who = (0..self.segments.len()).find(|&at| {
            self.segments.get(at).is_some_and(|it| it.people_bytes > 0) && is_older(at, people_age)
        });
        let is_oldest_over = is_older(0, age);
        if let Some(segment) = who.and_then(|at| self.segments.get_mut(at)) {
            remove(&segment::people_path(&self.folder, segment.number))?;
            segment.people_bytes = 0;
            self.removed_at = Some(now.steady);
        }
        if is_oldest_over {
            self.remove_oldest()?;
            self.removed_at = Some(now.steady);
        }
        Ok(())
    }

    /// Whether the open segment is to end before it grows by so much.
    fn is_to_end(&self, grows: u64, now: Timestamp) -> bool {
        let Some(open) = &self.open else { return false };
        let has = self.segments.last().map_or(0, |last| last.bytes + last.people_bytes);
        has + grows > self.bounds.segment() || self.is_over(open.begun, now)
    }

    /// Whether a segment that was begun then has lasted long enough, or the clock was set to before that.
    fn is_over(&self, begun: Timestamp, now: Timestamp) -> bool {
        now < begun || is_past(begun, self.bounds.span(), now)
    }

    fn end(&mut self) {
        self.open = None;
    }

    /// Removes the oldest segments until there is so much room, and a place for another segment.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        while !self.segments.is_empty()
            && (self.on_disk().saturating_add(bytes) > self.bounds.max_size || self.segments.len() >= MOST)
        {
            if self.segments.len() == 1 {
                self.end();
            }
            self.remove_oldest()?;
        }
        Ok(())
    }

    fn remove_oldest(&mut self) -> io::Result<()> {
        let Some(oldest) = self.segments.first() else { return Ok(()) };
        // Who sent goes first: it is never there without its segment.
        remove(&segment::people_path(&self.folder, oldest.number))?;
        remove(&segment::path(&self.folder, oldest.number))?;
        self.segments.remove(0);
        Ok(())
    }

    fn begin(&mut self, begun: Timestamp) -> io::Result<()> {
        let number = self.next;
        let path = segment::path(&self.folder, number);
        let mut file = segment::open(&path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::APPEND)?;
        // Its number is never used again, whatever becomes of it.
        self.next = self.next.saturating_add(1);
        let mut header = serde_json::to_vec(&Header { form: FORM, begun })?;
        header.push(b'\n');
        if let Err(error) = file.write_all(&header) {
            let _left_as_a_segment_that_says_nothing = fs::remove_file(&path);
            return Err(error);
        }
        let bytes = header.len() as u64;
        self.segments.push(Segment { number, begun: Some(begun), bytes, people_bytes: 0 });
        self.open = Some(Open { file, people: None, lines: 0, begun });
        Ok(())
    }

    fn write(&mut self, line: &[u8], people: Option<&[u8]>) -> io::Result<()> {
        let (Some(open), Some(segment)) = (&mut self.open, self.segments.last_mut()) else {
            return Err(io::Error::other("no segment is open"));
        };
        if let Some(people) = people {
            if open.people.is_none() {
                let path = segment::people_path(&self.folder, segment.number);
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::APPEND;
                open.people = Some(segment::open(&path, flags)?);
            }
            if let Some(file) = &mut open.people {
                file.write_all(people)?;
            }
        }
        open.file.write_all(line)?;
        open.lines += 1;
        segment.bytes += line.len() as u64;
        segment.people_bytes += people.map_or(0, |people| people.len() as u64);
        Ok(())
    }

    /// Takes away what a write that failed has left of its lines; where that can't be, the segment ends.
    fn undo(&mut self) {
        let (Some(open), Some(segment)) = (&self.open, self.segments.last()) else { return };
        let people = open.people.as_ref().map_or(Ok(()), |file| file.set_len(segment.people_bytes));
        if open.file.set_len(segment.bytes).and(people).is_err() {
            self.end();
        }
    }
}

/// Whether something of this moment is older than this.
fn is_past(at: Timestamp, age: SignedDuration, now: Timestamp) -> bool {
    now.duration_since(at) > age
}

fn text<T: Serialize>(n: u64, it: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&Line { n, it })?;
    line.push(b'\n');
    Ok(line)
}

/// Removes a file that may be gone.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
