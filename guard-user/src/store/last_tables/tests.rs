//! The last tables: what comes back is what was written but for exemptions, and nothing else comes back at all.

use std::io::Cursor;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::OnceLock;

use guard_common::abi::{Hook, NO_EXEMPTION};
use guard_common::decide::{Decision, NoTrace, decide, mirror};
use guard_common::host::HostTables;
use guard_common::packet::Packet;
use guard_common::verdict::Reason;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::compile::tests::generate::{Case, case, host};
use crate::compile::tests::packets::{origin, parsed};
use crate::compile::tests::reference::PlainPacket;
use crate::compile::{geo_image, policy_table};

fn compiled(case: &Case, with_exemptions: bool) -> LastTables {
    let exemptions = if with_exemptions { case.exemptions.as_slice() } else { &[] };
    let table = policy_table(&case.policy, exemptions, &host(), 7).unwrap();
    let geo = Arc::new(geo_image(&case.db, &case.policy.sites).unwrap());
    let database = DatabaseInfo { source: "a test".to_owned(), ranges_v4: 3, ..DatabaseInfo::default() };
    let about = Compiled { config: "/etc/p.toml".into(), boot: "this".to_owned(), database };
    LastTables::new(&case.policy, table, geo, about)
}

fn bytes(tables: &LastTables) -> Vec<u8> {
    write_to(Vec::new(), tables).unwrap()
}

fn read_bytes(bytes: &[u8]) -> Result<LastTables, TablesError> {
    read_from(Path::new("tables.last"), Cursor::new(bytes))
}

/// One case with exemptions.
fn example() -> &'static Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    CASE.get_or_init(|| {
        let mut runner = TestRunner::deterministic();
        let mut next = || case(0).new_tree(&mut runner).unwrap().current();
        loop {
            let case = next();
            if !case.exemptions.is_empty() {
                return case;
            }
        }
    })
}

fn example_bytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| bytes(&compiled(example(), true)))
}

fn judged(tables: &HostTables, plain: &PlainPacket) -> Decision {
    let (parsed, mut packet) = parsed(plain, &Packet::default());
    if plain.hook == Hook::Ingress {
        mirror(&mut packet);
    }
    decide(plain.hook, parsed, &packet, tables, &origin(plain), || plain.now, &mut NoTrace)
}

fn host_tables(tables: LastTables) -> HostTables {
    let Ok(geo) = Arc::try_unwrap(tables.geo) else { panic!("one owner") };
    HostTables::new(tables.policy, geo)
}

fn assert_same_geo(one: &GeoImage, other: &GeoImage) {
    assert_eq!((one.v4_len, one.v6_len), (other.v4_len, other.v6_len));
    assert!(one.v4_index == other.v4_index && one.v4_entries == other.v4_entries);
    assert!(one.v6_index == other.v6_index && one.v6_entries == other.v6_entries);
    let (one, other) = (&one.detail, &other.detail);
    assert!(one.len == other.len && one.hi == other.hi && one.lo == other.lo && one.place == other.place);
}

#[test]
fn what_was_written_comes_back_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    assert!(read(folder.path()).unwrap().is_none());
    let tables = compiled(example(), true);
    for _ in 0..2 {
        write(folder.path(), &tables).unwrap();
    }
    let back = read(folder.path()).unwrap().unwrap();
    assert_eq!(back.about, tables.about);
    assert_eq!((back.policy.generation, back.policy.pins), (7, tables.policy.pins));
    assert_same_geo(&back.geo, &tables.geo);
    let about = back.about;
    assert_eq!(about.interfaces, ["eth0", "eth*", "wg?", "tun1", "nothing*"]);
    assert_eq!(about.pins.iter().map(|pin| pin.name.as_str()).next(), Some("pin-0"));
    assert_eq!(
        (about.pins.len(), about.fingerprint),
        (example().policy.pins.len(), example().policy.fingerprint)
    );
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left, [FILE]);
    let file = fs::metadata(folder.path().join(FILE)).unwrap();
    assert_eq!(file.mode() & 0o7777, 0o600);
}

#[test]
fn nothing_is_written_or_read_by_way_of_a_symbolic_link() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = elsewhere.path().join("target");
    fs::write(&target, "precious").unwrap();
    symlink(&target, folder.path().join("tables.last.new")).unwrap();
    write(folder.path(), &compiled(example(), true)).unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    fs::rename(folder.path().join(FILE), &target).unwrap();
    symlink(&target, folder.path().join(FILE)).unwrap();
    assert!(matches!(read(folder.path()), Err(TablesError::Disk { step: "opening it", .. })));
}

#[test]
fn a_write_that_fails_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &compiled(example(), true)).unwrap();
    let before = fs::read(folder.path().join(FILE)).unwrap();
    // A folder that is not empty can't be removed as a file.
    fs::create_dir(folder.path().join("tables.last.new")).unwrap();
    let error = write(folder.path(), &compiled(example(), true)).unwrap_err();
    assert!(error.to_string().contains("removing what was left of writing it failed"), "{error}");
    assert!(fs::read(folder.path().join(FILE)).unwrap() == before);
    assert!(write(&folder.path().join("none"), &compiled(example(), true)).is_err());
}

/// The bytes with a checksum that fits.
fn sealed(mut bytes: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    bytes.truncate(bytes.len() - 32);
    change(&mut bytes);
    let hash = Sha256::digest(&bytes);
    bytes.extend_from_slice(&hash);
    bytes
}

/// Where the dimensions are: behind what is said about the tables.
fn dimensions_at(bytes: &[u8]) -> usize {
    28 + u32::from_le_bytes(bytes[24..28].try_into().unwrap()) as usize
}

#[test]
fn what_is_of_another_version_or_kind_is_told_from_what_is_damaged() {
    let whole = example_bytes().to_vec();
    let said = |bytes: &[u8]| read_bytes(bytes).err().unwrap().to_string();
    for (at, name) in [(16, "format"), (20, "ABI version")] {
        let other = sealed(whole.clone(), |bytes| bytes[at] = 99);
        let error = read_bytes(&other).err().unwrap();
        assert!(matches!(error, TablesError::OtherVersion { .. }), "{error}");
        assert!(error.to_string().contains(&format!("its {name} is 99")) || at == 20, "{error}");
        assert!(error.to_string().contains("99"), "{error}");
    }
    for (bytes, word) in [
        (sealed(whole.clone(), |bytes| bytes[0] = b'x'), "does not begin"),
        (sealed(whole.clone(), |bytes| bytes.truncate(1000)), "cut short"),
        (sealed(whole.clone(), |bytes| bytes[27] = 1), "too much"),
        ([whole.as_slice(), b"x"].concat(), "follows"),
        (Vec::new(), "cut short"),
        (b"an old file that is something else".to_vec(), "does not begin"),
    ] {
        assert!(said(&bytes).contains(word), "{}", said(&bytes));
    }
}

#[test]
fn a_file_that_claims_exemptions_is_refused_whoever_sealed_it() {
    let whole = example_bytes().to_vec();
    let at = dimensions_at(&whole);
    assert_eq!(u32::from_le_bytes(whole[at..at + 4].try_into().unwrap()) & dimension::EXEMPTION, 0);
    let claims = sealed(whole, |bytes| bytes[at] |= 64);
    assert!(read_bytes(&claims).err().unwrap().to_string().contains("exemptions"));
}

#[test]
fn no_exemption_comes_back() {
    let tables = compiled(example(), true);
    assert_ne!(tables.policy.dimensions & dimension::EXEMPTION, 0);
    let back = read_bytes(example_bytes()).unwrap().policy;
    assert_eq!(back.dimensions & dimension::EXEMPTION, 0);
    assert_eq!(back.dimensions | dimension::EXEMPTION, tables.policy.dimensions);
    assert!(back.exemptions.iter().all(|exemption| exemption.pins == 0 && exemption.quota == 0));
    let sets = back.exempt_jurisdictions.iter().chain(&back.exempt_pins);
    let sets = sets.chain(back.peer_sets.iter().chain(&back.remote_sets).map(|set| &set.exemptions));
    assert!(sets.flatten().all(|word| *word == 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any byte, anywhere: it is refused.
    #[test]
    fn a_byte_that_was_flipped_anywhere_is_refused(
        place in prop_oneof![0.0..1.0_f64, 0.0..0.01_f64], near_the_end in any::<bool>(), flip in 1..=255_u8,
    ) {
        let mut bytes = example_bytes().to_vec();
        let last = bytes.len() - 1;
        let at = if near_the_end { last - (place * 40.0) as usize } else { (place * last as f64) as usize };
        bytes[at] ^= flip;
        prop_assert!(read_bytes(&bytes).is_err(), "byte {at} of {}", bytes.len());
    }

    #[test]
    fn a_file_that_ends_anywhere_is_refused(place in prop_oneof![0.0..1.0_f64, 0.9999..1.0_f64]) {
        let whole = example_bytes();
        let length = (place * whole.len() as f64) as usize;
        prop_assert!(read_bytes(&whole[..length]).is_err(), "{length} of {}", whole.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// The tables that come back judge as the policy without any exemption.
    #[test]
    fn they_judge_as_the_policy_without_exemptions(case in case(60)) {
        let back = host_tables(read_bytes(&bytes(&compiled(&case, true))).unwrap());
        let without = host_tables(compiled(&case, false));
        for packet in &case.packets {
            let decision = judged(&back, packet);
            prop_assert_eq!(&decision, &judged(&without, packet), "for {:?}", packet);
            prop_assert!(decision.exemption == NO_EXEMPTION && decision.reason != Reason::Exempt);
        }
    }

    /// In another boot no packet has fewer pins than it had in the tables' own.
    #[test]
    fn in_another_boot_nothing_is_tagged_less(case in case(60)) {
        let mut same = compiled(&case, false);
        same.for_boot("this");
        let mut other = compiled(&case, false);
        other.for_boot("other");
        let (same, other) = (host_tables(same), host_tables(other));
        for packet in &case.packets {
            let (here, there) = (judged(&same, packet), judged(&other, packet));
            prop_assert_eq!(here.tag & !there.tag, 0, "for {:?}", packet);
            prop_assert_eq!(here.denied & !there.denied, 0, "for {:?}", packet);
        }
    }
}
