//! Whatever is appended, whenever the daemon is killed and however the clock is set: the disk is bounded, and what is there
//! is read as it was written.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{all, any_past, bounds, event, numbers, start};
use crate::events::event::People;
use crate::history::reader::Reader;
use crate::history::segment;
use crate::history::writer::{Bounds, Moment, Writer};

/// What the files of a folder take, by the file system's own count of their lengths.
fn on_disk(folder: &Path) -> u64 {
    let length =
        |entry: std::io::Result<fs::DirEntry>| segment::blocks(entry.unwrap().metadata().unwrap().len());
    fs::read_dir(folder).unwrap().map(length).sum()
}

/// What a host that loses its power leaves of the last lines.
fn tear(folder: &Path, bytes: u64) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let length = file.metadata().unwrap().len();
        if segment::list(folder)
            .unwrap()
            .last()
            .is_some_and(|last| segment::path(folder, last.number) == path)
        {
            file.set_len(length.saturating_sub(bytes)).unwrap();
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(u16),
    Pass(i64),
    Expire,
    Kill,
    Tear(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_u16..400).prop_map(Step::Append),
        // Hours; a clock that is set goes back as well, and far.
        2 => prop_oneof![0_i64..200, -5000_i64..5000].prop_map(Step::Pass),
        1 => Just(Step::Expire),
        1 => Just(Step::Kill),
        1 => (1_u64..300).prop_map(Step::Tear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_disk_is_bounded_and_what_is_there_is_a_part_of_what_was_written_in_its_order(
        steps in prop::collection::vec(any_step(), 1..30),
        max_size in prop::sample::select(vec![1_u64 << 20, (1 << 20) + 777, 3 << 20]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("history");
        let bounds = Bounds { max_size, ..bounds() };
        let mut now = Moment { wall: start(), steady: Instant::now() };
        let mut writer = Writer::open(&folder, bounds).unwrap();
        let mut next = 1;
        for step in steps {
            let mut torn = false;
            match step {
                Step::Append(count) => for _ in 0..count {
                    writer.append(event(next, now.wall.duration_since(start())), now).unwrap();
                    next += 1;
                    prop_assert!(writer.on_disk() <= max_size);
                },
                Step::Pass(hours) => {
                    now.wall = now.wall.checked_add(SignedDuration::from_hours(hours)).unwrap();
                    now.steady += Duration::from_secs(61);
                }
                Step::Expire => writer.expire(now).unwrap(),
                Step::Kill => writer = Writer::open(&folder, bounds).unwrap(),
                Step::Tear(bytes) => {
                    drop(writer);
                    tear(&folder, bytes);
                    writer = Writer::open(&folder, bounds).unwrap();
                    torn = true;
                }
            }
            prop_assert!(on_disk(&folder) <= max_size, "{} of {max_size}", on_disk(&folder));
            let found = numbers(&all(&folder));
            prop_assert!(found.is_sorted_by(|one, next| one < next), "{found:?}");
            prop_assert!(found.iter().all(|number| *number < next));
            if let (Step::Append(_), false) = (&step, torn) {
                prop_assert_eq!(found.last().copied(), Some(next - 1), "the newest is there");
            }
        }
    }

    #[test]
    fn what_was_written_is_read_as_it_was(records in prop::collection::vec(any_past(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), bounds()).unwrap();
        for past in &records {
            writer.append(past.clone(), Moment { wall: start(), steady: Instant::now() }).unwrap();
        }
        let read = all(folder.path());
        for format in [
            crate::config::policy::LogFormat::Text,
            crate::config::policy::LogFormat::Json,
            crate::config::policy::LogFormat::Ocsf,
            crate::config::policy::LogFormat::Ecs,
        ] {
            let lines = |records: &[crate::history::Past]| -> Vec<String> {
                records.iter().map(|past| past.to_line(format)).collect()
            };
            prop_assert_eq!(lines(&read), lines(&records));
        }
        // Where nobody's time is left, nobody is shown, and nobody stands in the records themselves.
        let mut reader = Reader::open(folder.path(), None, Timestamp::MAX).unwrap();
        while let Some(past) = reader.read_next().unwrap() {
            prop_assert!(past.process().is_none());
        }
        for segment in segment::list(folder.path()).unwrap() {
            let text = fs::read_to_string(segment::path(folder.path(), segment.number)).unwrap();
            prop_assert!(!text.contains("imap") && !text.contains("dovecot"), "{}", text);
        }
    }

    #[test]
    fn the_last_ones_are_found_from_behind(
        records in prop::collection::vec(any_past(), 0..200),
        wanted in 0_usize..40,
        is_small in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let age = if is_small { SignedDuration::from_secs(60) } else { bounds().max_age };
        let mut writer = Writer::open(folder.path(), Bounds { max_age: age, ..bounds() }).unwrap();
        for (at, past) in records.iter().enumerate() {
            let wall = start().checked_add(SignedDuration::from_millis(at as i64 * 100)).unwrap();
            writer.append(past.clone(), Moment { wall, steady: Instant::now() }).unwrap();
        }
        let is_it = |past: &crate::history::Past| past.pins().contains(&"mail");
        let all: Vec<_> = records.into_iter().filter(|past| is_it(past)).collect();
        let mut reader = Reader::open(folder.path(), None, Timestamp::MIN).unwrap();
        let mut left = wanted;
        while !reader.search(&mut left, &is_it).unwrap() {}
        let mut found = Vec::new();
        while let Some(past) = reader.read_next().unwrap() {
            if is_it(&past) {
                found.push(past);
            }
        }
        prop_assert_eq!(&found[..], &all[all.len().saturating_sub(wanted)..]);
        prop_assert_eq!(reader.damaged(), 0);
    }
}

#[test]
fn who_sent_is_removed_after_its_time_and_the_rest_after_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(folder.path(), bounds()).unwrap();
    let begin = Instant::now();
    let at = |days: i64, minutes: u64| Moment {
        wall: start().checked_add(SignedDuration::from_hours(24 * days)).unwrap(),
        steady: begin + Duration::from_secs(60 * minutes),
    };
    writer.append(event(1, SignedDuration::ZERO), at(0, 0)).unwrap();
    let shown = |since: i64| {
        let since = at(since, 0).wall;
        let mut reader = Reader::open(folder.path(), None, since).unwrap();
        let past = reader.read_next().unwrap().unwrap();
        (past.process().is_some(), past.flow().unwrap().people)
    };
    assert_eq!(shown(0), (true, People::Shown));
    // To the reader at once.
    assert_eq!(shown(1), (false, People::Removed));
    // From the disk once the segment is over.
    writer.expire(at(29, 1)).unwrap();
    assert_eq!(shown(0), (true, People::Shown));
    for minute in 2..6 {
        writer.expire(at(62, minute)).unwrap();
    }
    assert_eq!(shown(0), (false, People::Removed), "nobody is on the disk any more");
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains("people")), "{names:?}");
    for minute in 10..20 {
        writer.expire(at(200, minute)).unwrap();
    }
    assert_eq!(all(folder.path()), []);
}

#[test]
fn a_clock_that_is_wrong_for_a_moment_costs_one_segment() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(folder.path(), bounds()).unwrap();
    let begin = Instant::now();
    let day = |day: i64| start().checked_add(SignedDuration::from_hours(24 * day)).unwrap();
    for number in 0..20 {
        let at = Moment { wall: day(number * 3), steady: begin };
        writer.append(event(1 + number as u64, SignedDuration::from_hours(72 * number)), at).unwrap();
    }
    for second in 0..59 {
        let steady = begin + Duration::from_secs(second);
        writer.expire(Moment { wall: day(40_000), steady }).unwrap();
    }
    assert_eq!(numbers(&all(folder.path())), (2..=20).collect::<Vec<_>>());
}

#[test]
fn what_is_older_than_since_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(folder.path(), bounds()).unwrap();
    for day in 0..20 {
        let after = SignedDuration::from_hours(24 * day);
        let wall = start().checked_add(after).unwrap();
        writer.append(event(1 + day as u64, after), Moment { wall, steady: Instant::now() }).unwrap();
    }
    let since = start().checked_add(SignedDuration::from_hours(24 * 10)).unwrap();
    let mut reader = Reader::open(folder.path(), Some(since), Timestamp::MIN).unwrap();
    let mut found = Vec::new();
    while let Some(past) = reader.read_next().unwrap() {
        found.push(past);
    }
    // Whole segments of some days are passed over, and none that has anything since then.
    let found = numbers(&found);
    assert!(found.ends_with(&(11..=20).collect::<Vec<_>>()) && found.len() < 15, "{found:?}");
}

#[test]
fn files_are_for_the_owner_alone_and_no_link_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("history");
    let mut writer = Writer::open(&own, bounds()).unwrap();
    writer.append(event(1, SignedDuration::ZERO), Moment::now()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&own), 0o700);
    for entry in fs::read_dir(&own).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&own, &link).unwrap();
    assert!(Writer::open(&link, bounds()).is_err());
    let open = folder.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(Writer::open(&open, bounds()).is_err());
}

#[test]
fn a_line_that_is_damaged_costs_itself_alone_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(folder.path(), bounds()).unwrap();
    for number in 1..=3 {
        writer.append(event(number, SignedDuration::ZERO), Moment::now()).unwrap();
    }
    let path = segment::path(folder.path(), 1);
    let text = fs::read_to_string(&path).unwrap().replacen("\"sequence\":2,", "\"sequence\":\"2\",", 1);
    fs::write(&path, text).unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"n\":4,\"it\"").unwrap();
    let mut reader = Reader::open(folder.path(), None, Timestamp::MIN).unwrap();
    let mut found = Vec::new();
    while let Some(past) = reader.read_next().unwrap() {
        assert!(past.process().is_some());
        found.push(past);
    }
    assert_eq!((numbers(&found), reader.damaged()), (vec![1, 3], 2));
}

#[test]
fn a_folder_that_is_removed_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("history");
    let mut writer = Writer::open(&own, bounds()).unwrap();
    writer.append(event(1, SignedDuration::ZERO), Moment::now()).unwrap();
    fs::remove_dir_all(&own).unwrap();
    assert!(writer.expire(Moment::now()).is_err());
    let mut writer = Writer::open(&own, bounds()).unwrap();
    writer.append(event(2, SignedDuration::ZERO), Moment::now()).unwrap();
    assert_eq!(numbers(&all(&own)), [2]);
}
