//! Copies of what is under a legal hold, in a folder of their own, from which nothing is ever removed.
//!
//! Each run of the daemon that copies anything has a file, `SESSION.jsonl`, with an event a line as
//! `borderguard events --json` shows it, and with who sent.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use guard_common::verdict::Verdict;
use ipnetwork::IpNetwork;
use jiff::Timestamp;
use rustix::fs::OFlags;

use super::segment;
use crate::config::policy::LogFormat;
use crate::events::envelope::Envelope;
use crate::events::{Entry, Event};

/// What one legal hold covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The id of an exemption, or the name of a pin.
    pub name: String,
    /// The exemption's versions that were ever loaded.
    pub transfers: Vec<Transfer>,
}

/// Flows that an exemption is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Its pins.
    pub pins: Vec<String>,
    /// The recipient's jurisdiction.
    pub jurisdiction: String,
    /// The recipient's networks; empty: anybody in the jurisdiction.
    pub cidrs: Vec<IpNetwork>,
}

impl Held {
    /// Whether an event is under it.
    #[must_use]
    pub fn covers(&self, event: &Event) -> bool {
        let has = |pin: &str| event.tagged.iter().chain(&event.pins).any(|it| **it == *pin);
        let is_denied = matches!(event.verdict, Verdict::Drop | Verdict::Flag | Verdict::Observe);
        event.exemption.as_deref() == Some(&*self.name)
            || has(&self.name)
            || (is_denied && self.transfers.iter().any(|it| it.is_of(event, &has)))
    }

    /// Whether an event that it does not [cover](Self::covers) by the names that it has may be under it all the same: it names an
    /// exemption or a pin by its number, for the generation that judged it is not known any more.
    #[must_use]
    pub fn may_cover(&self, event: &Event) -> bool {
        let is_number = |name: &str| name.starts_with('#');
        let has_no_pins = event.tagged.iter().chain(&event.pins).any(|pin| is_number(pin));
        let has_no_exemption = event.exemption.as_deref().is_some_and(is_number);
        let goes_there = || self.transfers.iter().any(|it| it.goes_there(event));
        match self.transfers.is_empty() {
            true => has_no_pins,
            false => (has_no_pins || has_no_exemption) && goes_there(),
        }
    }
}

impl Transfer {
    fn is_of(&self, event: &Event, has: &dyn Fn(&str) -> bool) -> bool {
        self.goes_there(event) && self.pins.iter().any(|pin| has(pin))
    }

    fn goes_there(&self, event: &Event) -> bool {
        let to = event.destination.map(|end| end.ip);
        match self.cidrs.as_slice() {
            [] => event.jurisdiction.as_str() == self.jurisdiction,
            cidrs => to.is_some_and(|to| cidrs.iter().any(|cidr| cidr.contains(to))),
        }
    }
}

/// What became of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copied {
    /// It is there.
    Yes,
    /// The bound is reached, and it is not.
    Full,
}

/// The folder of the copies.
#[derive(Debug)]
pub(super) struct Copies {
    folder: PathBuf,
    max_size: u64,
    /// Bytes of all files of the folder.
    bytes: u64,
    file: Option<(File, u64)>,
    session: Timestamp,
    /// Whether there is something that the disk may not have.
    is_unsynced: bool,
}

impl Copies {
    /// Opens the folder for the daemon that started then, and makes it where it is not there.
    pub(super) fn open(folder: &Path, max_size: u64, session: Timestamp) -> io::Result<Self> {
        segment::make_folder(folder)?;
        let mut bytes = 0_u64;
        for entry in std::fs::read_dir(folder)? {
            bytes = bytes.saturating_add(segment::blocks(entry?.metadata()?.len()));
        }
        Ok(Self { folder: folder.to_owned(), max_size, bytes, file: None, session, is_unsynced: false })
    }

    /// Copies an event.
    pub(super) fn copy(&mut self, entry: &Entry) -> io::Result<Copied> {
        let mut line = entry.to_line(LogFormat::Json, &Envelope::outside(entry.session()));
        line.push('\n');
        let grown = |before: u64| segment::blocks(before + line.len() as u64) - segment::blocks(before);
        let before = self.file.as_ref().map_or(0, |(_, length)| *length);
        if self.bytes.saturating_add(grown(before)) > self.max_size {
            return Ok(Copied::Full);
        }
        let (file, length) = match &mut self.file {
            Some(open) => open,
            None => {
                let path = self.folder.join(format!("{}.jsonl", self.session));
                let file = segment::open(&path, OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND)?;
                let length = file.metadata()?.len();
                self.file.insert((file, length))
            }
        };
        if let Err(error) = file.write_all(line.as_bytes()) {
            // A part of the line may be there.
            if file.set_len(*length).is_err() {
                self.file = None;
            }
            return Err(error);
        }
        self.bytes += segment::blocks(*length + line.len() as u64) - segment::blocks(*length);
        *length += line.len() as u64;
        self.is_unsynced = true;
        Ok(Copied::Yes)
    }

    fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.jsonl", self.session))
    }

    /// Has the disk keep what was copied.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let Some((file, _)) = &self.file else { return Ok(()) };
        segment::is_in_place(file, &self.path())?;
        if self.is_unsynced {
            file.sync_data()?;
            self.is_unsynced = false;
        }
        Ok(())
    }
}
