//! Configs that are live while the store can't be opened, and what is put back afterwards.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::high_water::{Host, Memory};
use super::{now, trail, who};
use crate::audit::{Kind, Record, Stored, Who};
use crate::digest::{from_hexadecimal, sha256};
use crate::store::unrecorded::live_by;
use crate::store::{FILE, GoesLive, JUDGED, KernelMark, Lacks, MarkKeeper, Marks, Store, StoreError};

const MARK: &str = "mark/high-water.json";

/// The record of a config that is live; a reload's that was judged.
pub(super) fn record(kind: Kind, text: &str) -> Record {
    let detail = json!({
        "config": "policy.toml", "config_sha256": sha256(text.as_bytes()), "geo_sha256": "geo", JUDGED: kind == Kind::Reload,
    });
    let detail = detail.as_object().cloned().unwrap();
    // Of no daemon.
    let who = Who { pid: Some(1), ..who() };
    Record { time: now(), kind, who, subject: String::new(), why: String::new(), detail }
}

/// Likewise with this field of its detail.
fn record_with(kind: Kind, text: &str, (name, value): (&str, Value)) -> Record {
    let mut record = record(kind, text);
    record.detail.insert(name.to_owned(), value);
    record
}

/// A daemon whose store can't be opened takes the configs of these records, each with its text, and is killed.
fn noted_without_store(host: &Host, records: Vec<(Record, &str)>) {
    let held = StoreError::Held { path: host.at("state").join(FILE) };
    let mut store = Store::closed(&host.at("state"), &held).noting_in(host.marks());
    for (record, text) in records {
        store.audit_config(record, text.as_bytes()).unwrap_err();
        store.keep_marks();
    }
}

/// Each time a daemon whose store can't be opened takes these configs, and is killed.
fn live_without_store(host: &Host, starts: &[&[&str]]) {
    for texts in starts {
        let kinds = [Kind::Start].into_iter().chain(std::iter::repeat(Kind::Reload));
        noted_without_store(
            host,
            texts.iter().zip(kinds).map(|(text, kind)| (record(kind, text), *text)).collect(),
        );
    }
}

/// A host on which the config `honest` was in force.
fn honest() -> Host {
    let host = Host::new();
    let mut store = host.newest();
    store.audit_config(record(Kind::Start, "honest"), b"honest").unwrap();
    store.keep_marks();
    fs::copy(host.at(MARK), host.at("kept")).unwrap();
    host
}

/// The configs that the trail has as unrecorded, with whether each is another one, and whether the next start tells of that.
fn told(host: &Host) -> (Vec<(Option<String>, bool)>, bool) {
    let store = host.newest();
    let found = trail(&store).into_iter().filter(|it| it.kind == Kind::Unrecorded.name());
    let found = found.map(|it| {
        let config = it.detail.get("config_sha256").and_then(|it| it.as_str()).map(str::to_owned);
        (config, it.detail["other"].as_bool().unwrap())
    });
    (found.collect(), store.kept().other_config().is_some())
}

pub(super) fn of(text: &str) -> Option<String> {
    Some(sha256(text.as_bytes()))
}

#[test]
fn a_config_that_was_live_without_a_store_is_recorded_and_told_until_somebody_reloads() {
    let host = honest();
    live_without_store(&host, &[&["other", "honest"]]);
    assert_eq!(told(&host), (vec![(of("other"), true), (of("honest"), true)], true));
    // A restart and a record of its own do not end it, and the text is kept.
    let mut store = host.newest();
    let text = store.reader().unwrap().config_text(&of("other").unwrap()).unwrap();
    assert_eq!(text.as_deref(), Some(b"other".as_slice()));
    let words = store.kept().other_config().unwrap().to_owned();
    assert!(
        words.contains(&of("other").unwrap()) && words.contains("Record 2 of the audit trail"),
        "{words}"
    );
    store.audit_config(record(Kind::Start, "honest"), b"honest").unwrap();
    let own =
        Record { who: Who { pid: Some(std::process::id()), ..who() }, ..record(Kind::Reload, "honest") };
    store.audit_config(own, b"honest").unwrap();
    store.keep_marks();
    drop(store);
    let mut store = host.newest();
    assert!(store.kept().other_config().is_some());
    store.audit_config(record(Kind::Reload, "honest"), b"honest").unwrap();
    store.keep_marks();
    assert_eq!(store.kept().other_config(), None);
    drop(store);
    assert_eq!(host.newest().kept().other_config(), None);
}

#[test]
fn the_config_in_force_and_what_was_held_against_it_are_recorded_alone() {
    let host = honest();
    live_without_store(&host, &[&["honest", "narrower"], &["narrower"]]);
    let known = vec![(of("honest"), false), (of("narrower"), false), (of("narrower"), false)];
    assert_eq!(told(&host), (known, false));
}

/// Where the config in force asks nobody, it judges none that comes after it.
#[test]
fn a_reload_that_nobody_judged_is_another_config_unless_it_is_the_one_in_force() {
    let of_nobody = |text| record_with(Kind::Reload, text, (JUDGED, false.into()));
    let host = honest();
    let (start, wide) = ((record(Kind::Start, "honest"), "honest"), (of_nobody("wide"), "wide"));
    noted_without_store(&host, vec![start.clone(), wide.clone(), (of_nobody("honest"), "honest")]);
    let known = vec![(of("honest"), false), (of("wide"), true), (of("honest"), true)];
    assert_eq!(told(&host), (known, true));
    // What an earlier version has noted does not say who judged it.
    let host = honest();
    let mut earlier = record(Kind::Reload, "wide");
    earlier.detail.remove(JUDGED);
    noted_without_store(&host, vec![start.clone(), (earlier, "wide")]);
    assert!(told(&host).1);
    let host = honest();
    noted_without_store(
        &host,
        vec![start.clone(), (record(Kind::Reload, "narrower"), "narrower"), wide.clone()],
    );
    assert_eq!(told(&host).0.last(), Some(&(of("wide"), true)), "the judged one asks nobody");
    let host = honest();
    noted_without_store(
        &host,
        vec![start, (record(Kind::Reload, "narrower"), "narrower"), (of_nobody("honest"), "honest")],
    );
    assert!(!told(&host).1);
}

/// The same text is another config where its names mean other users.
#[test]
fn a_config_whose_users_were_others_is_another_config() {
    let of_user = |kind, uid: u32| record_with(kind, "honest", ("users", json!({"storage": uid})));
    for (kind, uid, is_other) in
        [(Kind::Start, 107, false), (Kind::Start, 108, true), (Kind::Reload, 108, true)]
    {
        let host = Host::new();
        let mut store = host.newest();
        store.audit_config(of_user(Kind::Start, 107), b"honest").unwrap();
        store.keep_marks();
        drop(store);
        let mut live = of_user(kind, uid);
        live.detail.insert(JUDGED.to_owned(), false.into());
        let first = (of_user(Kind::Start, 107), "honest");
        let notes = if kind == Kind::Reload { vec![first, (live, "honest")] } else { vec![(live, "honest")] };
        noted_without_store(&host, notes);
        let (found, is_told) = told(&host);
        assert_eq!((found.last(), is_told), (Some(&(of("honest"), is_other)), is_other), "{kind:?} {uid}");
    }
    // One that names none is another than one that does.
    let host = honest();
    noted_without_store(&host, vec![(of_user(Kind::Start, 107), "honest")]);
    assert!(told(&host).1);
}

#[test]
fn notes_that_are_put_back_removed_or_altered_are_missed() {
    type Attack = fn(&Host);
    let attacks: [(&str, Attack); 3] = [
        ("put back", |host| assert!(fs::copy(host.at("kept"), host.at(MARK)).is_ok())),
        ("altered", |host| {
            let text = fs::read_to_string(host.at(MARK)).unwrap();
            fs::write(host.at(MARK), text.replace(&of("other").unwrap(), &of("honest").unwrap())).unwrap();
        }),
        ("put back, and another one noted since", |host| {
            fs::copy(host.at("kept"), host.at(MARK)).unwrap();
            live_without_store(host, &[&["honest"]]);
        }),
    ];
    for (how, attack) in attacks {
        let host = honest();
        live_without_store(&host, &[&["other"]]);
        attack(&host);
        let (found, is_told) = told(&host);
        assert!(is_told && found.contains(&(of("other"), true)), "{how}: {found:?}");
    }
    // Where there is no file to note in, the kernel knows that there was one.
    let host = honest();
    fs::remove_file(host.at(MARK)).unwrap();
    live_without_store(&host, &[&["other"]]);
    fs::copy(host.at("kept"), host.at(MARK)).unwrap();
    assert_eq!(told(&host), (vec![(of("other"), true)], true));
}

/// The daemon that noted them opens the store itself: it knows them, whatever became of the file.
#[test]
fn a_daemon_that_opens_the_store_later_knows_what_it_noted() {
    for is_put_back in [false, true] {
        let host = honest();
        let held = StoreError::Held { path: host.at("state").join(FILE) };
        let mut closed = Store::closed(&host.at("state"), &held).noting_in(host.marks());
        closed.audit_config(record(Kind::Start, "honest"), b"honest").unwrap_err();
        closed.keep_marks();
        if is_put_back {
            fs::copy(host.at("kept"), host.at(MARK)).unwrap();
        }
        let mut store = Store::open(&host.at("state")).unwrap();
        assert_eq!(store.mark_by(closed.noted(host.marks()), &who(), now()).unwrap(), None);
        drop(store);
        assert_eq!(told(&host), (vec![(of("honest"), false)], false));
    }
}

/// Before the first start of all there was none that another one could take the place of.
#[test]
fn a_store_that_begins_has_nothing_to_tell() {
    let host = Host::new();
    live_without_store(&host, &[&["first"]]);
    assert_eq!(told(&host), (Vec::new(), false));
}

/// Whoever reloads without end does not fill the disk.
#[test]
fn what_is_more_than_is_noted_is_one_that_is_not_known() {
    let host = honest();
    let texts: Vec<String> = (0..40).map(|number| format!("config {number}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    live_without_store(&host, &[&texts]);
    let (found, is_told) = told(&host);
    assert!(is_told && found.len() == 17 && found.last() == Some(&(None, true)), "{found:?}");
}

/// What the kernel has of a config before the flip to it.
fn going_live(text: &str) -> GoesLive {
    let judges = live_by(&record(Kind::Start, text).detail).unwrap();
    let config = from_hexadecimal(&of(text).unwrap()).unwrap();
    GoesLive { judges, config, since: 1_800_000_000, observe: false }
}

/// What `status` says of another config, and whether the trail has it that by one was only observed.
fn told_as_observed(host: &Host) -> (bool, bool) {
    let store = host.newest();
    let words = store.kept().other_config().unwrap().to_owned();
    let is_of_it = |it: &Stored| it.kind == Kind::Unrecorded.name() && it.detail.get("observe").is_some();
    (words.contains("only observed (`--observe`)"), trail(&store).iter().any(is_of_it))
}

/// The kernel has it by itself: neither notes that are gone nor ones that were never written hide it.
#[test]
fn that_a_daemon_only_observed_is_known_without_its_notes() {
    for observes in [false, true] {
        let host = honest();
        let live = record_with(Kind::Start, "honest", ("observe", observes.into()));
        noted_without_store(&host, vec![(record(Kind::Start, "other"), "other"), (live, "honest")]);
        fs::copy(host.at("kept"), host.at(MARK)).unwrap();
        assert_eq!(told_as_observed(&host), (observes, observes), "notes that are gone");
        // Killed right after the flip.
        let host = honest();
        host.kernel().goes_live(&GoesLive { observe: observes, ..going_live("other") });
        assert_eq!(told_as_observed(&host), (observes, observes), "no notes");
    }
}

/// A daemon that is killed right after the flip, before anything of the config is noted or recorded.
#[test]
fn a_config_that_went_live_and_was_noted_nowhere_is_told_by_the_next_start() {
    for (configs, is_told_of) in
        [(vec!["other"], true), (vec!["other", "honest"], true), (vec!["honest"], false), (vec![], false)]
    {
        let host = honest();
        configs.iter().for_each(|it| host.kernel().goes_live(&going_live(it)));
        let (found, is_other) = told(&host);
        let expected = if is_told_of { vec![(of("other"), true)] } else { vec![] };
        assert_eq!((found, is_other), (expected, is_told_of), "{configs:?}");
        // Once: the next start has no more to tell.
        let store = host.newest();
        let count = trail(&store).iter().filter(|it| it.kind == Kind::Unrecorded.name()).count();
        assert_eq!(count, usize::from(is_told_of));
    }
}

/// A harmless config may be live first, and a wide one after it: nobody is told that what left was judged by the first.
#[test]
fn where_others_may_have_come_after_a_config_it_is_told_as_the_first_of_them() {
    let told = |host: &Host| {
        let store = host.newest();
        let record = trail(&store).into_iter().find(|it| it.kind == Kind::Unrecorded.name()).unwrap();
        let words = store.kept().other_config().unwrap().to_owned();
        (words, record.detail.get("configs").and_then(Value::as_u64))
    };
    let first = format!("(the first of them was that of the SHA-256 {}", of("harmless").unwrap());
    // No disk took the notes.
    let host = honest();
    live_without_store(&host, &[&["harmless"], &["wide"], &["honest"]]);
    fs::copy(host.at("kept"), host.at(MARK)).unwrap();
    let (words, count) = told(&host);
    assert_eq!(count, None);
    assert!(words.contains("several configs or geo databases may have been live of which"), "{words}");
    assert!(words.contains(&format!("{first}, and how many came after it is not known)")), "{words}");
    assert!(
        words.contains("may have been judged by any of them") && !words.contains("was judged by that"),
        "{words}"
    );
    // Killed right after the flip: the kernel has how many there were.
    for configs in [&["harmless", "wide"][..], &["harmless"]] {
        let host = honest();
        configs.iter().for_each(|it| host.kernel().goes_live(&going_live(it)));
        let (words, count) = told(&host);
        assert_eq!(count, Some(configs.len() as u64));
        let is_one = configs.len() == 1;
        let is_told_so = (words.contains("was judged by that"), words.contains("judged by any of them"));
        assert_eq!(is_told_so, (is_one, !is_one), "{words}");
        assert_eq!(words.contains("2 configs or geo databases were live, one after the other"), !is_one);
        assert!(is_one || words.contains(&format!("{first})")), "{words}");
    }
}

/// Likewise where the store can't be opened by the next start either, and honest configs come after it.
#[test]
fn what_went_live_before_a_start_without_a_store_is_noted_by_that() {
    let host = honest();
    host.kernel().goes_live(&going_live("other"));
    let held = StoreError::Held { path: host.at("state").join(FILE) };
    let mut store = Store::closed(&host.at("state"), &held).noting_in(host.marks());
    host.kernel().goes_live(&going_live("honest"));
    store.audit_config(record(Kind::Start, "honest"), b"honest").unwrap_err();
    store.keep_marks();
    drop(store);
    assert_eq!(told(&host), (vec![(of("other"), true), (of("honest"), false)], true));
}

/// The store of a daemon that opens it later, or begins anew beside one that broke, has nothing to tell of its own configs.
#[test]
fn what_a_daemon_is_about_to_record_is_no_config_of_another() {
    let host = honest();
    let held = StoreError::Held { path: host.at("state").join(FILE) };
    let closed = Store::closed(&host.at("state"), &held).noting_in(host.marks());
    host.kernel().goes_live(&going_live("narrower"));
    let mut store = Store::open(&host.at("state")).unwrap();
    assert_eq!(store.mark_by(closed.noted(host.marks()), &who(), now()).unwrap(), None);
    store.audit_config(record(Kind::Start, "narrower"), b"narrower").unwrap();
    store.keep_marks();
    drop(store);
    assert_eq!(told(&host), (vec![], false));
}

/// Keeps the mark as [`Memory`] does, and whether the file lacked the notes when they came here first.
struct Before(Memory, PathBuf, Arc<Mutex<Option<bool>>>);

impl MarkKeeper for Before {
    fn read(&self) -> Result<KernelMark, String> {
        self.0.read()
    }

    fn write(&self, mark: &KernelMark) -> Result<(), String> {
        if mark.unrecorded.is_some() {
            let text = fs::read_to_string(&self.1).unwrap();
            self.2.lock().unwrap().get_or_insert(!text.contains(&of("other").unwrap()));
        }
        self.0.write(mark)
    }

    fn is_told(&self, judges: [u8; 32]) -> Result<(), String> {
        self.0.is_told(judges)
    }

    fn lacks(&self, records: Option<Lacks>) -> Result<(), String> {
        self.0.lacks(records)
    }
}

/// Whatever the file's disk does, the kernel has it by then.
#[test]
fn the_kernel_has_a_note_before_the_file_does() {
    let host = honest();
    let is_before = Arc::<Mutex<Option<bool>>>::default();
    let keeper = Before(host.kernel().clone(), host.at(MARK), Arc::clone(&is_before));
    let held = StoreError::Held { path: host.at("state").join(FILE) };
    let marks = Marks::new(host.at("mark"), Some(Box::new(keeper)));
    let mut store = Store::closed(&host.at("state"), &held).noting_in(marks);
    store.audit_config(record(Kind::Start, "other"), b"other").unwrap_err();
    store.keep_marks();
    assert_eq!((*is_before.lock().unwrap(), store.mark_fault()), (Some(true), None));
    drop(store);
    assert_eq!(told(&host), (vec![(of("other"), true)], true));
}
