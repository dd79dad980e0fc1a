//! The last database: what comes back is what was written, and nothing else comes back at all.

use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::compile::tests::generate::case;
use crate::geo::embedded;

fn bytes(database: &GeoDb) -> Vec<u8> {
    write_to(Vec::new(), database).unwrap()
}

/// What is kept of a database: not what was found on the way to it.
fn kept(database: &GeoDb) -> GeoDb {
    let (ranges_v4, ranges_v6) = (database.v4.count(), database.v6.count());
    let Info { source, licence, generated, unheld, .. } = database.info.clone();
    let digest = Some(digest(database).unwrap());
    let info = Info { source, licence, generated, ranges_v4, ranges_v6, unheld, digest, ..Info::default() };
    GeoDb { info, ..database.clone() }
}

fn example() -> &'static GeoDb {
    static DATABASE: OnceLock<GeoDb> = OnceLock::new();
    DATABASE.get_or_init(|| {
        let mut database = case(0).new_tree(&mut TestRunner::deterministic()).unwrap().current().db;
        database.info.generated = Some("2026-09-23T00:00:00Z".parse().unwrap());
        let last = database.v4.starts.last().copied().unwrap();
        database.v4.push(last.max(0xf000_0000), Jurisdiction::UNCERTAIN);
        database
    })
}

fn example_bytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| bytes(example()))
}

#[test]
fn what_was_written_comes_back_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    assert!(read(folder.path()).unwrap().is_none());
    for database in [example(), &embedded::load()] {
        write(folder.path(), database).unwrap();
        assert!(read(folder.path()).unwrap().unwrap() == kept(database));
    }
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left, [FILE]);
    let file = fs::metadata(folder.path().join(FILE)).unwrap();
    assert_eq!(file.mode() & 0o7777, 0o600);
    assert!(file.len() * 4 < LARGEST, "{} bytes", file.len());
}

#[test]
fn nothing_is_written_or_read_by_way_of_a_symbolic_link() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = elsewhere.path().join("target");
    fs::write(&target, "precious").unwrap();
    symlink(&target, folder.path().join("geo.last.new")).unwrap();
    write(folder.path(), example()).unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    fs::rename(folder.path().join(FILE), &target).unwrap();
    symlink(&target, folder.path().join(FILE)).unwrap();
    assert!(matches!(read(folder.path()), Err(LastDatabaseError::Disk { step: "opening it", .. })));
}

#[test]
fn a_write_that_fails_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), example()).unwrap();
    let before = fs::read(folder.path().join(FILE)).unwrap();
    // A folder that is not empty can't be removed as a file.
    fs::create_dir(folder.path().join("geo.last.new")).unwrap();
    let error = write(folder.path(), example()).unwrap_err();
    assert!(error.to_string().contains("removing what was left of writing it failed"), "{error}");
    assert!(fs::read(folder.path().join(FILE)).unwrap() == before);
    assert!(write(&folder.path().join("none"), example()).is_err());
}

/// The bytes with a checksum that fits.
fn sealed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = example_bytes().to_vec();
    bytes.truncate(bytes.len() - 32);
    change(&mut bytes);
    let hash = Sha256::digest(&bytes);
    bytes.extend_from_slice(&hash);
    bytes
}

#[test]
fn what_is_of_another_version_or_kind_is_told_from_what_is_damaged() {
    assert_eq!(parse(&sealed(|bytes| bytes[16] = 99)), Err(Wrong::Format(99)));
    let runs_at = 32 + u32::from_le_bytes(example_bytes()[20..24].try_into().unwrap()) as usize;
    for (bytes, word) in [
        (sealed(|bytes| bytes[0] = b'x'), "does not begin"),
        (sealed(|bytes| bytes.truncate(runs_at + 3)), "fewer runs"),
        (sealed(|bytes| bytes[27] = 0xff), "fewer runs"),
        (sealed(|bytes| bytes[23] = 0xff), "cut short"),
        (sealed(|bytes| bytes[32] = b'x'), "says of itself"),
        (sealed(|bytes| bytes[runs_at] = 1), "no whole address space"),
        (sealed(|bytes| bytes[runs_at + 6..runs_at + 10].fill(0)), "no whole address space"),
        (sealed(|bytes| bytes.push(0)), "follows"),
        ([example_bytes(), b"x"].concat(), "checksum"),
        (Vec::new(), "does not begin"),
        (b"an old file that is something else".to_vec(), "does not begin"),
    ] {
        let said = parse(&bytes).unwrap_err();
        assert!(matches!(said, Wrong::Damaged(said) if said.contains(word)), "{said:?}, not {word}");
    }
}

#[test]
fn a_country_that_this_version_does_not_know_is_unknown() {
    let runs_at = 32 + u32::from_le_bytes(example_bytes()[20..24].try_into().unwrap()) as usize;
    let other = sealed(|bytes| bytes[runs_at + 4..runs_at + 6].copy_from_slice(b"QX"));
    assert_eq!(parse(&other).unwrap().v4.lookup(0), Jurisdiction::UNKNOWN);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_database_comes_back(case in case(0)) {
        prop_assert_eq!(parse(&bytes(&case.db)).unwrap(), kept(&case.db));
    }

    /// Any byte, anywhere: it is refused.
    #[test]
    fn a_byte_that_was_flipped_anywhere_is_refused(at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let mut bytes = example_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert!(parse(&bytes).is_err(), "byte {} of {}", at, bytes.len());
    }

    #[test]
    fn a_file_that_ends_anywhere_is_refused(length in any::<prop::sample::Index>()) {
        let whole = example_bytes();
        prop_assert!(parse(&whole[..length.index(whole.len())]).is_err());
    }
}

#[test]
fn where_there_is_no_room_it_says_how_much_it_needs() {
    assert_eq!(length(example()), example_bytes().len() as u64);
    let error = |kind: io::ErrorKind, needs| LastDatabaseError::Disk {
        path: "geo.last".into(),
        step: "writing it",
        source: kind.into(),
        needs,
    };
    let full = error(io::ErrorKind::StorageFull, 5_500_000).to_string();
    assert!(
        full.ends_with("; it needs 5500000 bytes, beside the file that is there until it is whole"),
        "{full}"
    );
    let other = error(io::ErrorKind::PermissionDenied, 0).to_string();
    assert!(!other.contains("it needs"), "{other}");
}
