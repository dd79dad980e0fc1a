//! Files that are replaced in every way, with short periods.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;

const QUIET: Duration = Duration::from_millis(200);
/// More than a quiet time, and less than a look.
const WAIT: Duration = Duration::from_millis(900);

struct Bed {
    folder: tempfile::TempDir,
    databases: Databases,
    inputs: UnboundedReceiver<Input>,
}

impl Bed {
    /// A thread that watches `a.mmdb` and `b.mmdb`, which were read as they are.
    fn new() -> Self {
        Self::with(
            Periods { quiet: QUIET, look: Duration::from_secs(60), written: Duration::from_secs(60) },
            |_| {},
        )
    }

    fn with(periods: Periods, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.mmdb", "b.mmdb"] {
            fs::write(folder.path().join(name), "first").unwrap();
        }
        prepare(folder.path());
        let databases = Databases::new().unwrap();
        let (sender, inputs) = unbounded_channel();
        let bed = Self { folder, databases, inputs };
        let files = [bed.file("a.mmdb"), bed.file("b.mmdb")];
        bed.databases.were_read(identities(&files));
        bed.databases.watch(&files);
        bed.databases.start_with(sender, periods).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        bed
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Whether it is told within a while that others are in place.
    fn is_told(&mut self) -> bool {
        let end = Instant::now() + WAIT;
        while Instant::now() < end {
            if matches!(self.inputs.try_recv(), Ok(Input::DatabasesReplaced)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

#[test]
fn a_file_that_takes_another_ones_place_is_told_once() {
    let mut bed = Bed::new();
    assert!(!bed.is_told(), "nothing has changed");
    fs::write(bed.file("new"), "second").unwrap();
    fs::rename(bed.file("new"), bed.file("a.mmdb")).unwrap();
    assert!(bed.is_told());
    assert!(!bed.is_told(), "once");
    // Both at once are one.
    for name in ["a.mmdb", "b.mmdb"] {
        fs::write(bed.file("new"), "third").unwrap();
        fs::rename(bed.file("new"), bed.file(name)).unwrap();
    }
    assert!(bed.is_told());
    assert!(!bed.is_told());
    // Another file in the folder is none of them.
    fs::write(bed.file("c.mmdb"), "second").unwrap();
    assert!(!bed.is_told());
    fs::remove_file(bed.file("b.mmdb")).unwrap();
    assert!(bed.is_told(), "one that is gone is told, for a start would miss it");
    fs::write(bed.file("b.mmdb"), "fourth").unwrap();
    assert!(bed.is_told());
}

#[test]
fn a_file_that_is_written_in_place_is_left_alone_until_its_writer_has_closed_it() {
    let mut bed = Bed::new();
    let mut file = OpenOptions::new().write(true).open(bed.file("a.mmdb")).unwrap();
    file.write_all(b"sec").unwrap();
    assert!(!bed.is_told(), "half of it is of the old one");
    assert_eq!(
        bed.databases.being_written(&[bed.file("b.mmdb"), bed.file("a.mmdb")]),
        Some(bed.file("a.mmdb"))
    );
    file.write_all(b"on").unwrap();
    drop(file);
    assert!(bed.is_told());
    assert_eq!(bed.databases.being_written(&[bed.file("a.mmdb")]), None);
    // The same length, a moment later.
    fs::write(bed.file("a.mmdb"), "third").unwrap();
    assert!(bed.is_told());
    // A file that is written takes the place of the other: who writes the old one is no matter.
    let mut file = OpenOptions::new().write(true).open(bed.file("a.mmdb")).unwrap();
    file.write_all(b"fou").unwrap();
    fs::write(bed.file("new"), "fifth").unwrap();
    fs::rename(bed.file("new"), bed.file("a.mmdb")).unwrap();
    assert!(bed.is_told());
}

#[test]
fn a_file_that_keeps_changing_is_told_when_it_is_left_alone() {
    let mut bed = Bed::new();
    let end = Instant::now() + 3 * QUIET;
    while Instant::now() < end {
        fs::write(bed.file("a.mmdb"), format!("{:?}", Instant::now())).unwrap();
        std::thread::sleep(QUIET / 5);
        assert!(bed.inputs.try_recv().is_err());
    }
    assert!(bed.is_told());
}

#[test]
fn links_and_folders_on_the_way_are_watched_too() {
    let periods = Periods { quiet: QUIET, look: Duration::from_secs(60), written: Duration::from_secs(60) };
    let mut bed = Bed::with(periods, |folder| {
        for name in ["v1", "v2"] {
            fs::create_dir(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("x.mmdb"), name).unwrap();
        }
        symlink("v1", folder.join("current")).unwrap();
        fs::remove_file(folder.join("a.mmdb")).unwrap();
        symlink("current/x.mmdb", folder.join("a.mmdb")).unwrap();
    });
    let files = [bed.file("current/x.mmdb"), bed.file("a.mmdb")];
    bed.databases.were_read(identities(&files));
    bed.databases.watch(&files);
    std::thread::sleep(Duration::from_millis(100));
    symlink("v2", bed.file("next")).unwrap();
    fs::rename(bed.file("next"), bed.file("current")).unwrap();
    assert!(bed.is_told(), "another folder");
    fs::write(bed.file("new"), "v3").unwrap();
    fs::rename(bed.file("new"), bed.file("v2/x.mmdb")).unwrap();
    assert!(bed.is_told(), "another file in it");
}

#[test]
fn without_a_word_from_the_kernel_files_are_looked_at() {
    let (sender, mut inputs) = unbounded_channel();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.mmdb");
    fs::write(&file, "first").unwrap();
    let databases = Databases::new().unwrap();
    databases.were_read(identities(std::slice::from_ref(&file)));
    databases.watch(std::slice::from_ref(&file));
    let periods = Periods { quiet: QUIET, look: QUIET / 2, written: QUIET };
    let watcher = Watcher { inotify: None, ..Watcher::new(databases, sender, periods) };
    std::thread::spawn(move || watcher.run());
    fs::write(&file, "second").unwrap();
    std::thread::sleep(WAIT);
    assert!(matches!(inputs.try_recv(), Ok(Input::DatabasesReplaced)));
    assert!(inputs.try_recv().is_err());
}

#[test]
fn a_file_that_nobody_has_read_yet_is_told() {
    let periods = Periods { quiet: QUIET, look: Duration::from_secs(60), written: Duration::from_secs(60) };
    let mut bed = Bed::with(periods, |_| {});
    // As after a start through which it was being written.
    fs::write(bed.file("c.mmdb"), "first").unwrap();
    bed.databases.watch(&[bed.file("a.mmdb"), bed.file("c.mmdb")]);
    assert!(bed.is_told());
    assert!(!bed.is_told(), "once");
}

#[test]
fn a_file_that_is_written_for_long_is_told_until_it_is_closed() {
    let periods = Periods { quiet: QUIET, look: QUIET / 2, written: 2 * QUIET };
    let mut bed = Bed::with(periods, |_| {});
    let mut file = File::create(bed.file("a.mmdb")).unwrap();
    file.write_all(b"half").unwrap();
    std::thread::sleep(WAIT);
    let Ok(Input::Surroundings(Surroundings::DatabaseWritten(Some(why)))) = bed.inputs.try_recv() else {
        panic!("nothing is told");
    };
    assert!(why.contains("a.mmdb"), "{why}");
    drop(file);
    std::thread::sleep(WAIT);
    assert!(matches!(bed.inputs.try_recv(), Ok(Input::Surroundings(Surroundings::DatabaseWritten(None)))));
    assert!(matches!(bed.inputs.try_recv(), Ok(Input::DatabasesReplaced)));
}
