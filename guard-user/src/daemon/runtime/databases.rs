//! Watches the geo databases of the live policy, and tells the engine when others are in their place.
//!
//! A file counts as replaced when it is another one, or has been written, and nothing more happened to it for a while.
//! One that somebody writes in place is left alone until the writer has closed it: half of it may be of the old
//! database, and nothing in it would tell. inotify(7) wakes; a look now and then is for file systems that tell nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use crate::daemon::engine::{Input, Surroundings};

#[cfg(test)]
mod tests;

/// How long, and after what.
#[derive(Clone, Copy, Debug)]
struct Periods {
    /// How long nothing may happen to a file before it is taken.
    quiet: Duration,
    /// How often files are looked at where nothing is told.
    look: Duration,
    /// How long a file may be written before that is a problem.
    written: Duration,
}

const PERIODS: Periods = Periods {
    quiet: Duration::from_secs(2),
    look: Duration::from_secs(30),
    written: Duration::from_secs(60),
};

/// By what a file is known to be the one that was read; `None` where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(Option<[i64; 6]>);

impl Identity {
    fn of(path: &Path) -> Self {
        let found = fs::metadata(path).ok().map(|it| {
            let number = |it: u64| i64::from_ne_bytes(it.to_ne_bytes());
            let changed = it.ctime().wrapping_mul(1_000_000_000).wrapping_add(it.ctime_nsec());
            [number(it.dev()), number(it.ino()), number(it.size()), it.mtime(), it.mtime_nsec(), changed]
        });
        Self(found)
    }
}

/// Which files they are, by path.
pub(super) type Identities = BTreeMap<PathBuf, Identity>;

/// What these files are now.
pub(super) fn identities(files: &[PathBuf]) -> Identities {
    files.iter().map(|path| (path.clone(), Identity::of(path))).collect()
}

/// What is known of the files, for those who read them and the thread that watches them.
#[derive(Clone)]
pub(super) struct Databases(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Wakes the thread.
    wake: OwnedFd,
}

#[derive(Default)]
struct State {
    /// The files of the live policy.
    files: Vec<PathBuf>,
    /// What they were when they were read last.
    read: BTreeMap<PathBuf, Identity>,
    /// Those that somebody has written and not closed.
    written: BTreeSet<PathBuf>,
}

impl Databases {
    /// Of no files yet, and watched by nobody.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Shared { state: Mutex::default(), wake })))
    }

    /// Begins to watch, in a thread of its own.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub(super) fn start(&self, inputs: UnboundedSender<Input>) -> io::Result<()> {
        self.start_with(inputs, PERIODS)
    }

    fn start_with(&self, inputs: UnboundedSender<Input>, periods: Periods) -> io::Result<()> {
        let watcher = Watcher::new(self.clone(), inputs, periods);
        std::thread::Builder::new().name("databases".to_owned()).spawn(move || watcher.run()).map(drop)
    }

    /// Has these files watched, and no others.
    pub(super) fn watch(&self, files: &[PathBuf]) {
        let mut state = self.state();
        if state.files == files {
            return;
        }
        state.files = files.to_vec();
        drop(state);
        self.wake();
    }

    /// These files were read as they were then.
    pub(super) fn were_read(&self, identities: BTreeMap<PathBuf, Identity>) {
        self.state().read.extend(identities);
    }

    /// The first of these files that somebody is known to write.
    pub(super) fn being_written(&self, files: &[PathBuf]) -> Option<PathBuf> {
        let state = self.state();
        files.iter().find(|path| state.written.contains(*path)).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // Where it can't be counted any more, the thread is about to wake anyway.
        let _full = rustix::io::write(&self.0.wake, &1_u64.to_ne_bytes());
    }
}

/// The thread that watches.
struct Watcher {
    databases: Databases,
    inputs: UnboundedSender<Input>,
    periods: Periods,
    /// `None` where the kernel has none to give: then files are looked at.
    inotify: Option<OwnedFd>,
    folders: BTreeSet<i32>,
    /// The files by the number of their watch: the same one may have several paths.
    files: BTreeMap<i32, Vec<PathBuf>>,
    /// What other files are in place, since when.
    settling: Option<(BTreeMap<PathBuf, Identity>, Instant)>,
    /// Whether it is told that a file is being written for long.
    is_told: bool,
}

impl Watcher {
    fn new(databases: Databases, inputs: UnboundedSender<Input>, periods: Periods) -> Self {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        let inotify = inotify.inspect_err(|error| {
            let every = periods.look.as_secs();
            warn!("geo databases are looked at every {every} s, for inotify can't be had: {error}");
        });
        Self {
            databases,
            inputs,
            periods,
            inotify: inotify.ok(),
            folders: BTreeSet::new(),
            files: BTreeMap::new(),
            settling: None,
            is_told: false,
        }
    }

    fn run(mut self) {
        while !self.inputs.is_closed() {
            self.set_watches();
            self.look();
            self.wait();
            self.read_events();
        }
    }

    /// Waits for the kernel, for another list of files, or until it is time for a look.
    fn wait(&self) {
        let settles =
            self.settling.as_ref().map(|(_, since)| self.periods.quiet.saturating_sub(since.elapsed()));
        // One that is left alone and not taken is being written.
        let until = settles.filter(|until| !until.is_zero()).unwrap_or(self.periods.look);
        let timeout = Timespec::try_from(until + Duration::from_millis(1)).ok();
        let mut ready = vec![PollFd::new(&self.databases.0.wake, PollFlags::IN)];
        ready.extend(self.inotify.iter().map(|inotify| PollFd::new(inotify, PollFlags::IN)));
        if poll(&mut ready, timeout.as_ref()).is_err() {
            // Interrupted, or out of memory: no reason to spin.
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut count = [0; 8];
        let _nothing_to_read = rustix::io::read(&self.databases.0.wake, &mut count);
    }

    /// Watches the files, and the folders in which others can take their places. What is watched already stays so.
    fn set_watches(&mut self) {
        let Some(inotify) = &self.inotify else { return };
        let wanted = self.databases.state().files.clone();
        let in_folder = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let folders = wanted.iter().flat_map(|path| folders_of(path)).collect::<BTreeSet<_>>();
        let folders: BTreeSet<i32> =
            folders.iter().filter_map(|folder| inotify::add_watch(inotify, folder, in_folder).ok()).collect();
        let mut files: BTreeMap<i32, Vec<PathBuf>> = BTreeMap::new();
        for path in wanted {
            if let Ok(number) =
                inotify::add_watch(inotify, &path, WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE)
            {
                files.entry(number).or_default().push(path);
            }
        }
        let is_wanted = |number: &i32| folders.contains(number) || files.contains_key(number);
        for number in self.folders.iter().chain(self.files.keys()).filter(|number| !is_wanted(number)) {
            // The kernel removes the watch of what is gone by itself.
            let _may_be_gone = inotify::remove_watch(inotify, *number);
        }
        // Of a file that took another one's place nobody is known to write it.
        let stays = |path: &PathBuf| {
            files.iter().any(|(number, paths)| {
                paths.contains(path) && self.files.get(number).is_some_and(|before| before.contains(path))
            })
        };
        self.databases.state().written.retain(|path| stays(path));
        (self.folders, self.files) = (folders, files);
    }

    /// Reads what the kernel tells. Only who writes is taken from it; what changed is looked at.
    fn read_events(&mut self) {
        let Some(inotify) = &self.inotify else { return };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(inotify, &mut buffer);
        // The end is that nothing more is to be read.
        while let Ok(event) = events.next() {
            let mut state = self.databases.state();
            for path in self.files.get(&event.wd()).into_iter().flatten() {
                if event.events().contains(ReadFlags::CLOSE_WRITE) {
                    state.written.remove(path);
                } else if event.events().contains(ReadFlags::MODIFY) {
                    state.written.insert(path.clone());
                }
            }
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                // Whether they were closed was lost.
                state.written.clear();
            }
        }
    }

    /// Looks whether other files are in place, and tells it once they are left alone.
    fn look(&mut self) {
        let files = self.databases.state().files.clone();
        let now = identities(&files);
        let (differ, is_written) = {
            let state = self.databases.state();
            // One that nobody has read, such as one that was being written all through the start, is another one too.
            let differ = now.iter().any(|(path, it)| state.read.get(path) != Some(it));
            (differ, files.iter().any(|path| state.written.contains(path)))
        };
        if !differ && !is_written {
            self.settling = None;
            return self.tell_of_writing(None);
        }
        let settled = match &self.settling {
            Some((before, since)) if *before == now => since.elapsed(),
            _ => {
                self.settling = Some((now, Instant::now()));
                return;
            }
        };
        if is_written {
            if settled >= self.periods.written {
                self.tell_of_writing(self.databases.being_written(&files));
            }
            // Looked at again when it is closed, or after a while.
            return;
        }
        if settled >= self.periods.quiet && differ {
            self.settling = None;
            self.databases.were_read(now);
            self.tell_of_writing(None);
            let _nobody_is_left = self.inputs.send(Input::DatabasesReplaced);
        }
    }

    /// Says that a file is being written for long, or that none is any more.
    fn tell_of_writing(&mut self, path: Option<PathBuf>) {
        if path.is_some() == self.is_told {
            return;
        }
        self.is_told = path.is_some();
        let why = path.map(|path| {
            format!(
                "somebody writes {} and does not close it; what was read before it stays in force",
                path.display()
            )
        });
        let _nobody_is_left = self.inputs.send(Input::Surroundings(Surroundings::DatabaseWritten(why)));
    }
}

/// The folders in which something can take the place of this file: its own, that of the file that a link leads to, and
/// those of links on the way.
fn folders_of(path: &Path) -> Vec<PathBuf> {
    let is_link = |path: &&Path| fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_symlink());
    let of_links = path.ancestors().filter(is_link).filter_map(|link| link.parent());
    let mut folders: Vec<PathBuf> = of_links.chain(path.parent()).map(Path::to_owned).collect();
    folders.extend(fs::canonicalize(path).ok().and_then(|path| path.parent().map(Path::to_owned)));
    folders
}
