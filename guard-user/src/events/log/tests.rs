use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::time::Instant;

use super::*;
use crate::events::kept::{GIVEN, LAST};
use crate::events::run::Start;
use crate::events::tests::dropped;

/// An output that keeps what is written; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Memory(pub(crate) Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Fails so many times, and then writes.
struct Broken(usize, Memory);

impl Write for Broken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Err(io::ErrorKind::BrokenPipe.into())
            }
            None => self.1.write(bytes),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn event() -> Record {
    Record::Event(Arc::new(dropped().into()))
}

#[test]
fn all_lines_are_written_before_the_end() {
    let memory = Memory::default();
    let log = EventLog::to_stream(memory.clone());
    let session = log.session();
    let event = dropped();
    log.write(Record::Event(Arc::new(event.clone().into())), LogFormat::Text);
    log.write(Record::Event(Arc::new(event.clone().into())), LogFormat::Json);
    drop(log);
    let written = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
    let envelope = |sequence| Envelope { host: hostname().into(), session, sequence: Some(sequence) };
    let record = Record::Event(Arc::new(event.into()));
    let lines = [(LogFormat::Text, 1), (LogFormat::Json, 2)];
    let lines = lines.map(|(format, number)| record.to_line(format, &envelope(number)));
    assert_eq!(written, lines.concat());
}

#[test]
fn what_cannot_be_written_is_counted_and_reported_when_it_can() {
    let memory = Memory::default();
    // What fails: the first line, the report of it, the second line, the report of both.
    let log = EventLog::to_stream(Broken(4, memory.clone()));
    let lost = Arc::clone(&log.lost);
    for _ in 0..3 {
        log.write(event(), LogFormat::Text);
    }
    drop(log);
    assert_eq!(lost.load(Ordering::Relaxed), 2);
    let written = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
    assert!(
        written.contains("[kind=lost what=lines count=2 host=") && written.lines().count() == 2,
        "{written}"
    );
    assert!(written.contains(" seq=1 ") && written.contains(" seq=2 "), "numbers have no gap: {written}");
}

#[test]
fn a_pipe_that_nobody_reads_holds_nothing_up_and_its_losses_are_reported() {
    let (read, write) = rustix::pipe::pipe().unwrap();
    let log = EventLog::to_stream(File::from(write));
    let begin = Instant::now();
    const LINES: u64 = 20_000;
    for _ in 0..LINES {
        log.write(event(), LogFormat::Json);
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let lost = log.lost();
    assert!(lost > 0 && lost < LINES, "{lost}");
    // Now somebody reads: everything that was taken comes, and how much is missing.
    let end = std::thread::spawn(move || drop(log));
    let (mut events, mut said) = (0, 0);
    for line in BufReader::new(File::from(read)).lines() {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        match line["kind"].as_str() {
            Some("event") => events += 1,
            Some("lost") => said += line["count"].as_u64().unwrap(),
            _ => panic!("{line}"),
        }
    }
    end.join().unwrap();
    assert_eq!((events + said, said), (LINES, lost));
}

#[test]
fn a_run_knows_the_last_line_of_the_one_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let to = LogTo::File(folder.path().join("log"));
    let mut before = None;
    for run in 1..=3 {
        let log = EventLog::start(&to, LogPast::read(folder.path(), "a test", None)).unwrap();
        assert_eq!(log.predecessor(), before);
        before = Some(LastLine { session: log.session(), sequence: run });
        (0..run).for_each(|_| log.write(event(), LogFormat::Ecs));
    }
    let written = fs::read_to_string(folder.path().join("log")).unwrap();
    let numbers: Vec<u64> = written
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["event"]["sequence"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(numbers, [1, 1, 2, 1, 2, 3]);
    assert!(folder.path().join(GIVEN).exists());
    fs::write(folder.path().join(LAST), "{\"session").unwrap();
    assert_eq!(
        EventLog::start(&to, LogPast::read(folder.path(), "a test", None)).unwrap().predecessor(),
        None
    );
}

#[test]
fn what_a_run_could_not_write_the_next_one_says_after_its_first_line() {
    let folder = tempfile::tempdir().unwrap();
    let to = LogTo::File(folder.path().join("none/log"));
    let log = EventLog::start(&to, LogPast::read(folder.path(), "a test", None)).unwrap();
    (0..5).for_each(|_| log.write(event(), LogFormat::Json));
    std::thread::sleep(2 * AGAIN);
    let faults = log.condition().faults(Instant::now());
    assert!(faults[0].contains("No such file or directory"), "{faults:?}");
    drop(log);
    fs::create_dir(folder.path().join("none")).unwrap();
    let log = EventLog::start(&to, LogPast::read(folder.path(), "a test", None)).unwrap();
    assert_eq!(log.lost(), 5);
    std::thread::sleep(2 * AGAIN);
    let start = Start { time: Timestamp::now(), generation: None, policy: None, predecessor: None };
    log.write(Record::Start(start), LogFormat::Json);
    log.write(event(), LogFormat::Json);
    drop(log);
    let kinds = || -> Vec<(String, u64)> {
        let written = fs::read_to_string(folder.path().join("none/log")).unwrap();
        let lines = written.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.map(|it| (it["kind"].as_str().unwrap().to_owned(), it["count"].as_u64().unwrap_or(0))).collect()
    };
    let line = |kind: &str, count| (kind.to_owned(), count);
    assert_eq!(kinds(), [line("start", 0), line("lost", 5), line("event", 0)]);
    // It is said once.
    let log = EventLog::start(&to, LogPast::read(folder.path(), "a test", None)).unwrap();
    assert_eq!((log.lost(), log.predecessor().unwrap().sequence), (0, 3));
}

#[test]
fn where_lines_go_elsewhere_the_log_says_how_many_were_lost() {
    let folder = tempfile::tempdir().unwrap();
    let log = EventLog::to_stream(Broken(usize::MAX, Memory::default()));
    (0..5).for_each(|_| log.write(event(), LogFormat::Ocsf));
    log.set_to(LogTo::File(folder.path().join("log")));
    let lost = Arc::clone(&log.lost);
    std::thread::sleep(2 * AGAIN);
    log.write(event(), LogFormat::Ocsf);
    drop(log);
    let written = fs::read_to_string(folder.path().join("log")).unwrap();
    let lines: Vec<serde_json::Value> =
        written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: u64 = lines.iter().filter_map(|line| line["unmapped"]["count"].as_u64()).sum();
    assert_eq!(said, lost.load(Ordering::Relaxed));
    let events = lines.iter().filter(|line| line["unmapped"]["kind"] == "event").count() as u64;
    assert_eq!((events + said, lines[0]["metadata"]["sequence"].as_u64()), (6, Some(1)));
}
