//! What the store says and keeps of what becomes of exemptions, without any crash.

use super::model::{End, ModelDisk};
use super::{
    GOOD, NOW, OVER, clocks, good_with, key_of, kinds, load, named, now, open_ids, pins, submit, time, trail,
    who,
};
use crate::exemption::record::{Status, Use};
use crate::exemption::{Clocks, State, Summary};
use crate::store::{Change, LoadError, Store, StoreError, Target, kernel_entries};

fn stay_order() -> Change {
    Change::Stay { order: "order 7".into() }
}

fn resume_order() -> Change {
    Change::Resume { order: None, why: "order 8".into() }
}

fn revocation() -> Change {
    Change::Revoke { why: "the request was withdrawn".into() }
}

fn change(store: &mut Store, id: &str, change: Change) -> Result<Vec<(String, u32)>, StoreError> {
    let affected = store.affected(&Target::Id(id.into()), &change, now());
    let keys = store.change(&Target::Id(id.into()), &change, &who(), now());
    assert_eq!(affected.ok(), keys.as_ref().ok().cloned(), "what would be changed is changed");
    keys
}

/// Stays one as the daemon does: its places are given back.
fn stay(store: &mut Store, id: &str) {
    change(store, id, stay_order()).unwrap();
    store.slots_were_reset(&store.kept.slots_to_reset()).unwrap();
}

fn code(error: &LoadError) -> &'static str {
    match error {
        LoadError::Document(it) | LoadError::DocumentAndOrder { errors: it, .. } => it.errors[0].kind.code(),
        other => panic!("{other}"),
    }
}

fn states(store: &Store, moment: &str) -> Vec<State> {
    store.kept.list(time(moment)).into_iter().map(|summary| summary.state).collect()
}

#[test]
fn the_kernel_is_given_what_the_document_says() {
    let mut store = ModelDisk::new().open_store();
    let planned = submit(GOOD, |submission| store.admit(submission, now()).unwrap());
    assert!(store.kept.list(now()).is_empty(), "nothing is changed by looking");
    let admission = load(&mut store, GOOD).unwrap();
    assert_eq!(planned, admission);
    let entries = store.kept.kernel_exemptions(&clocks(), &pins());
    assert_eq!(entries, admission.to_kernel(&clocks()));
    let [web, mail] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((web.slot, web.account, web.quota), (0, 0, 1_000_000));
    assert_eq!((mail.slot, mail.account, mail.quota), (1, 0, 1_000_000), "one account for both");
    let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
    assert_eq!(web.networks, networks(&["198.51.100.20/32", "2001:db8:20::/48"]));
    assert_eq!(mail.networks, networks(&["203.0.113.0/24"]));
    for (entry, ports) in [(web, "tcp/443"), (mail, "tcp/993")] {
        assert_eq!(entry.pins, ["mail", "files"]);
        assert_eq!(entry.jurisdictions, []);
        assert_eq!(entry.ports.iter().map(ToString::to_string).collect::<Vec<_>>(), [ports]);
        // It began 16 hours before, which is before the boot, and ends 13 days later.
        assert_eq!(entry.valid_from_ns, 0);
        assert_eq!(entry.valid_until_ns, (5 + 13 * 86_400) * 1_000_000_000);
    }
    assert_eq!(
        (store.kept.by_slot(0), store.kept.by_slot(1)),
        (Some(admission.document()), Some(admission.document()))
    );
    assert_eq!(store.kept.by_slot(2), None);
    assert!(
        kernel_entries(&admission.document, &[0], &pins(), 1, &clocks()).is_empty(),
        "all of it or nothing"
    );
}

#[test]
fn each_recipient_is_an_entry_and_whole_countries_are_kept_as_such() {
    let anywhere = ("ports = [\"tcp/993\"]", "anywhere = true\nports = [\"tcp/443\"]");
    let two = good_with(&[("tcp/993", "tcp/443"), ("\"mlat-1\"", "\"two\"")]);
    let mut store = ModelDisk::new().open_store();
    load(&mut store, &two).unwrap();
    let placed: Vec<_> =
        store.kept.kernel_exemptions(&clocks(), &pins()).iter().map(|it| it.placed).collect();
    assert_eq!(placed, ["US", "JP"].map(|text| Some(text.parse().unwrap())));
    let one = good_with(&[("ports = [\"tcp/443\"]\n", "anywhere = true\nports = [\"tcp/443\"]\n"), anywhere]);
    let mut store = ModelDisk::new().open_store();
    load(&mut store, &one).unwrap();
    let anywhere = store.kept.kernel_exemptions(&clocks(), &pins());
    let anywhere: Vec<_> = anywhere.iter().map(|it| (it.networks.len(), it.placed)).collect();
    assert_eq!(anywhere, [(2, None), (1, None)]);
    let countries = good_with(&[
        ("\"treaty-request\"", "\"adequacy-decision\""),
        ("\"art-46-2-a\"", "\"art-45\""),
        ("cidrs = [\"198.51.100.20/32\", \"2001:db8:20::/48\"]\n", ""),
        ("cidrs = [\"203.0.113.0/24\"]\n", ""),
        ("ports = [\"tcp/443\"]\n", ""),
        ("ports = [\"tcp/993\"]\n", ""),
        ("\"mlat-1\"", "\"z\""),
        ("\"US\"", "\"CH\""),
        ("\"JP\"", "\"AR\""),
    ]);
    load(&mut store, &countries).unwrap();
    let entries = store.kept.kernel_exemptions(&clocks(), &pins());
    let whole = entries.iter().skip(2).map(|it| {
        let names: Vec<String> = it.jurisdictions.iter().map(ToString::to_string).collect();
        (names, it.networks.len(), it.ports.len())
    });
    assert_eq!(whole.collect::<Vec<_>>(), ["CH", "AR"].map(|place| (vec![place.to_owned()], 0, 0)));
}

#[test]
fn pins_that_are_gone_and_windows_that_are_over_are_not_given_to_the_kernel() {
    let mut store = ModelDisk::new().open_store();
    load(&mut store, &named("a", 1)).unwrap();
    let with = |pins: &[&str], now: &str| {
        let pins: Vec<String> = pins.iter().map(|&pin| pin.to_owned()).collect();
        let clocks = Clocks { wall: time(now), boot_ns: 0 };
        store.kept.kernel_exemptions(&clocks, &pins).into_iter().map(|it| it.pins).collect::<Vec<_>>()
    };
    assert_eq!(with(&["backup", "files"], NOW), [["files"]]);
    assert_eq!(with(&["backup"], NOW), Vec::<Vec<String>>::new());
    assert_eq!(with(&["mail"], "2026-12-14T23:59:59Z").len(), 1);
    assert_eq!(with(&["mail"], OVER).len(), 0);
    let long_ago = with(&["mail"], "2020-01-01T00:00:00Z");
    assert_eq!(long_ago.len(), 1, "the kernel keeps it closed until it begins");
}

#[test]
fn lists_say_what_became_of_each() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, GOOD).unwrap();
    load(&mut store, &named("other", 4)).unwrap();
    load(&mut store, &named("stayed", 1)).unwrap();
    store.checkpoint_use(&[(0, Use { bytes: 998_487, packets: 700 })], now()).unwrap();
    change(&mut store, "other", revocation()).unwrap();
    change(&mut store, "stayed", stay_order()).unwrap();
    drop(store);
    disk.restart(End::PowerLoss(3));
    let store = disk.open_store();
    assert_eq!(states(&store, "2026-11-30T00:00:00Z"), [State::Exhausted, State::Revoked, State::Stayed]);
    assert_eq!(states(&store, OVER), [State::Expired, State::Revoked, State::Stayed]);
    let [good, other, stayed] = &store.kept.list(now())[..] else { panic!() };
    assert_eq!((good.used_bytes, good.used_packets, good.slot), (998_487, 700, Some(0)));
    assert_eq!((good.loaded_at, good.loaded_by), (Some(now()), Some(1001)));
    assert_eq!(good.approved_by, ["brian@example.org", "ciara@example.org"]);
    let said = |summary: &Option<crate::exemption::summary::RevokedSummary>| {
        let it = summary.as_ref().unwrap();
        (it.why.clone(), it.by, it.at)
    };
    assert_eq!(said(&other.revoked), ("the request was withdrawn".to_owned(), 1001, now()));
    assert_eq!(said(&stayed.stayed), ("order 7".to_owned(), 1001, now()));
    assert_eq!((other.id.as_str(), other.version, other.stayed.is_none()), ("other", 4, true));
    let json = serde_json::to_string(good).unwrap();
    assert_eq!(&serde_json::from_str::<Summary>(&json).unwrap(), good);
    let seen = store.kept.record(&("mlat-1".to_owned(), 1)).unwrap().seen;
    assert_eq!(seen, Some((now(), now())));

    let mut fresh = ModelDisk::new().open_store();
    load(&mut fresh, GOOD).unwrap();
    assert_eq!(states(&fresh, "2026-11-30T00:00:00Z"), [State::NotYetValid]);
    assert_eq!(states(&fresh, NOW), [State::Active]);
}

#[test]
fn what_is_open_cannot_be_loaded_again_and_what_was_revoked_needs_a_new_version() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &named("a", 1)).unwrap();
    assert_eq!(code(&load(&mut store, &named("a", 1)).unwrap_err()), "still-open");
    assert_eq!(code(&load(&mut store, &named("a", 2)).unwrap_err()), "still-open");
    change(&mut store, "a", stay_order()).unwrap();
    assert_eq!(code(&load(&mut store, &named("a", 2)).unwrap_err()), "still-open");
    change(&mut store, "a", revocation()).unwrap();
    disk.restart(End::Killed);
    let mut store = disk.open_store();
    assert_eq!(code(&load(&mut store, &named("a", 1)).unwrap_err()), "old-version");
    assert!(open_ids(&store).is_empty());
    // The order outlives what it stayed.
    let held = load(&mut store, &named("a", 2)).unwrap_err();
    assert!(matches!(held, LoadError::Store(StoreError::HeldByOrder { .. })), "{held}");
    assert_eq!(change(&mut store, "a", resume_order()).unwrap(), []);
    load(&mut store, &named("a", 2)).unwrap();
    assert_eq!(states(&store, NOW), [State::Revoked, State::Active]);
    let unknown = named("b", 1).replace("\"mail\"", "\"web\"");
    assert_eq!(code(&load(&mut store, &unknown).unwrap_err()), "unknown-pin");
    let late = submit(&named("b", 1), |it| store.load(it, &who(), time("2027-01-01T00:00:00Z")));
    assert_eq!(code(&late.unwrap_err()), "expired");
    assert_eq!(kinds(&store).len(), 9, "what was refused is not the store's to tell");
}

#[test]
fn a_version_that_takes_another_ones_place_closes_it_in_the_same_step() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &named("a", 1)).unwrap();
    let next = named("a", 3).replace("\npins", "\nreplaces = 1\npins");
    load(&mut store, &next).unwrap();
    disk.restart(End::PowerLoss(9));
    let mut store = disk.open_store();
    assert_eq!(states(&store, NOW), [State::Revoked, State::Active]);
    assert_eq!(kinds(&store)[3..], ["approval", "approval", "supersede", "load"]);
    let supersede = &trail(&store)[5];
    assert_eq!(
        (supersede.detail["version"].as_u64(), supersede.detail["by_version"].as_u64()),
        (Some(1), Some(3))
    );
    assert_eq!(store.kept.find("a", None).unwrap(), ("a".to_owned(), 3));
    assert_eq!(store.kept.find("a", Some(1)).unwrap(), ("a".to_owned(), 1));
    assert!(matches!(store.kept.find("a", Some(2)), Err(StoreError::NotFound { .. })));
    // What closed v1 does not open it again.
    change(&mut store, "a", revocation()).unwrap();
    assert_eq!(states(&store, NOW), [State::Revoked, State::Revoked]);
}

#[test]
fn a_load_is_told_with_who_approved_it_and_kept_byte_for_byte() {
    let mut store = ModelDisk::new().open_store();
    let text = format!("# a comment\r\n{}", named("a", 1));
    load(&mut store, &text).unwrap();
    let [one, two, load] = &trail(&store)[..] else { panic!() };
    assert_eq!((one.kind.as_str(), two.kind.as_str(), load.kind.as_str()), ("approval", "approval", "load"));
    assert_eq!(one.detail["identity"], "brian@example.org");
    assert_eq!((&one.detail["role"], two.detail["role"].is_null()), (&serde_json::json!("legal"), true));
    assert_eq!((load.subject.as_str(), load.who.clone(), load.time), ("a", who(), now()));
    let stored = store.stored(&("a".to_owned(), 1)).unwrap().unwrap();
    assert_eq!(stored.bytes, text.as_bytes());
    assert_eq!(stored.signatures, [b"one".to_vec(), b"two".to_vec()]);
    let record = store.kept.record(&("a".to_owned(), 1)).unwrap();
    assert_eq!(load.detail["sha256"], record.sha256.as_str());
    assert_eq!(record.approvals.len(), 2);
    assert!(store.stored(&("a".to_owned(), 2)).unwrap().is_none());
}

#[test]
fn changes_that_make_no_sense_are_refused() {
    let mut store = ModelDisk::new().open_store();
    load(&mut store, &named("a", 1)).unwrap();
    assert!(matches!(change(&mut store, "other", revocation()), Err(StoreError::NotFound { .. })));
    let long = "x".repeat(1001);
    for why in ["", " \n", long.as_str()] {
        for it in [
            Change::Stay { order: why.into() },
            Change::Resume { order: None, why: why.into() },
            Change::Revoke { why: why.into() },
            Change::Invalidate { why: why.into() },
        ] {
            assert!(matches!(change(&mut store, "a", it.clone()), Err(StoreError::BadReason)), "{it:?}");
        }
    }
    assert!(matches!(change(&mut store, "a", resume_order()), Err(StoreError::NoSuchOrder { .. })));
    stay(&mut store, "a");
    assert!(matches!(change(&mut store, "a", stay_order()), Err(StoreError::OrderStands { .. })));
    for (odd, found) in [("\u{1b}[31m", "U+001B as character 1"), ("case \u{202e}5", "U+202E as character 6")]
    {
        let error = change(&mut store, "a", Change::Revoke { why: odd.into() }).unwrap_err();
        assert!(
            matches!(error, StoreError::UnseenInReason(_)) && error.to_string().contains(found),
            "{error}"
        );
    }
    for (it, told) in [(" case 5", "write it as \"case 5\""), ("case 5 ", "write it as \"case 5\"")] {
        let error = change(&mut store, "a", Change::Stay { order: it.into() }).unwrap_err();
        assert!(error.code() == Some("blank-in-reference") && error.to_string().ends_with(told), "{error}");
    }
    let slips = [
        (Target::Id("A".into()), "use a to z"),
        (Target::Id("a ".into()), "use a to z"),
        (Target::Pin("".into()), "use a to z"),
        (Target::Recipient("Court ".into()), "begins or ends with a blank"),
        (Target::Instrument("\u{202e}Treaty".into()), "U+202E as character 1"),
        (Target::Recipient("x".repeat(201)), "more than 200 bytes"),
    ];
    for (target, told) in slips {
        let error =
            store.kept.affected(&target, &Change::Stay { order: "case 5".into() }, now()).unwrap_err();
        assert!(error.code() == Some("no-such-name") && error.to_string().contains(told), "{error}");
        // What was given before there was this rule can be lifted.
        let resumed = store.kept.affected(&target, &resume_order(), now()).unwrap_err();
        assert_ne!(resumed.code(), Some("no-such-name"));
    }
    let odd = "\"quoted\", <b>, Éire\\";
    change(&mut store, "a", Change::Revoke { why: odd.into() }).unwrap();
    assert_eq!(trail(&store).last().unwrap().why, odd);
    // It is kept that it was revoked once more, and the order stands beside that.
    change(&mut store, "a", revocation()).unwrap();
    let record = store.kept.record(&("a".to_owned(), 1)).unwrap();
    assert_eq!(record.reasons.last().unwrap().why, "the request was withdrawn");
    assert!(matches!(&record.status, Status::Revoked { why, .. } if why == odd), "{:?}", record.status);
    assert!(matches!(change(&mut store, "a", stay_order()), Err(StoreError::OrderStands { .. })));
    assert_eq!(change(&mut store, "a", resume_order()).unwrap(), []);
    assert_eq!(states(&store, NOW), [State::Revoked]);
}

#[test]
fn a_stay_lets_nothing_through_until_it_is_resumed() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &named("a", 1)).unwrap();
    stay(&mut store, "a");
    disk.restart(End::PowerLoss(4));
    let mut store = disk.open_store();
    assert_eq!((open_ids(&store).len(), states(&store, NOW)), (0, vec![State::Stayed]));
    change(&mut store, "a", resume_order()).unwrap();
    disk.restart(End::PowerLoss(5));
    let mut store = disk.open_store();
    assert_eq!((open_ids(&store), states(&store, NOW)), (vec!["a".to_owned()], vec![State::Active]));
    stay(&mut store, "a");
    change(&mut store, "a", revocation()).unwrap();
    assert_eq!(kinds(&store)[3..], ["stay", "resume", "stay", "revoke"]);
}

#[test]
fn what_is_over_is_not_resumed() {
    let mut store = ModelDisk::new().open_store();
    let reviewed = |id: &str| named(id, 1).replace("2027-06-01", "2026-12-05");
    load(&mut store, &named("window", 1)).unwrap();
    load(&mut store, &reviewed("review")).unwrap();
    load(&mut store, &named("quota", 1)).unwrap();
    let spent = store.kept.record(&("quota".to_owned(), 1)).unwrap().account().unwrap();
    store.checkpoint_use(&[(spent, Use { bytes: 999_000, packets: 1 })], now()).unwrap();
    for id in ["window", "review", "quota"] {
        stay(&mut store, id);
    }
    let mut refused = |id: &str, moment: &str| {
        let resumed = store.change(&Target::Id(id.into()), &resume_order(), &who(), time(moment));
        let Err(StoreError::NotResumable { why, .. }) = resumed else { panic!("{id}: {resumed:?}") };
        why
    };
    assert!(refused("window", OVER).contains("window"));
    assert!(refused("review", "2026-12-06T00:00:00Z").contains("assessment"));
    assert!(refused("quota", NOW).contains("quota"));
}

#[test]
fn an_instrument_that_falls_closes_all_that_rests_on_it_and_nothing_else() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    for id in ["a", "b", "gone"] {
        load(&mut store, &named(id, 1)).unwrap();
    }
    load(&mut store, &named("other", 1).replace("US-Ireland MLAT 2001", "Another treaty")).unwrap();
    change(&mut store, "gone", revocation()).unwrap();
    stay(&mut store, "b");
    let fallen = &Target::Instrument("US-Ireland MLAT 2001".into());
    let why = Change::Invalidate { why: "C-311/18".into() };
    let keys = store.change(fallen, &why, &who(), now()).unwrap();
    assert_eq!(keys, [("a".to_owned(), 1), ("b".to_owned(), 1)]);
    disk.restart(End::PowerLoss(6));
    let mut store = disk.open_store();
    assert_eq!(open_ids(&store), ["other"]);
    let told: Vec<_> = trail(&store).into_iter().filter(|record| record.kind == "invalidate").collect();
    assert_eq!(told.iter().map(|record| record.subject.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(told.iter().all(|it| it.why == "C-311/18" && it.detail["instrument"] == "US-Ireland MLAT 2001"));
    let mut again = |name: &str| store.change(&Target::Instrument(name.into()), &why, &who(), now());
    let stands = again("US-Ireland MLAT 2001");
    assert!(
        matches!(&stands, Err(StoreError::OrderStands { order, .. }) if order == "C-311/18"),
        "{stands:?}"
    );
    assert!(matches!(again(""), Err(StoreError::NoSuchName { .. })));
    assert!(matches!(again("Safe Harbour "), Err(StoreError::NoSuchName { .. })));
    // What is meant is known, and would be kept under a name that nobody can tell from it.
    for blank in [" US-Ireland MLAT 2001", "US-Ireland MLAT 2001 "] {
        let told = again(blank).unwrap_err().to_string();
        assert!(told.contains(&format!("\"{blank}\" is not covered: this name begins or ends")), "{told}");
    }
    // Closing is easy: also what carries nothing now can't be loaded any more.
    assert_eq!(again("Safe Harbour").unwrap(), []);
    let told = trail(&store).pop().unwrap();
    assert_eq!((told.kind.as_str(), &told.detail["covers"]), ("invalidate", &"instrument".into()));
    for alike in ["SAFE Harbour", "5afe Harb0ur", "safe harbour!"] {
        let on_it = named("late", 1).replace("US-Ireland MLAT 2001", alike);
        let held = load(&mut store, &on_it);
        assert!(matches!(held, Err(LoadError::Store(StoreError::HeldByOrder { .. }))), "{alike}: {held:?}");
    }
}

#[test]
fn expiry_is_kept_and_the_clock_set_back_does_not_open_again() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &named("a", 1)).unwrap();
    load(&mut store, &named("stayed", 1)).unwrap();
    change(&mut store, "stayed", stay_order()).unwrap();
    load(&mut store, &named("reviewed", 1).replace("2027-06-01", "2026-12-05")).unwrap();
    let mut over = |moment: &str| -> Vec<String> {
        let closed = store.close_what_is_over(&who(), time(moment), time(moment)).unwrap();
        closed.into_iter().map(|((id, _), kind)| format!("{id} {kind}")).collect()
    };
    assert_eq!(over("2026-12-05T23:59:59Z"), Vec::<String>::new());
    // The date counts to its end.
    assert_eq!(over("2026-12-06T00:00:00Z"), ["reviewed expire"]);
    assert_eq!(over("2026-12-14T23:59:59Z"), Vec::<String>::new());
    assert_eq!(over(OVER), ["a expire", "stayed expire"]);
    assert_eq!(over("2026-12-16T00:00:00Z"), Vec::<String>::new());
    disk.restart(End::PowerLoss(7));
    let store = disk.open_store();
    assert!(open_ids(&store).is_empty());
    assert_eq!((states(&store, NOW), store.kept.slots_to_reset()), (vec![State::Expired; 3], vec![0, 1, 2]));
}

#[test]
fn a_review_that_is_due_ends_the_window_in_the_kernel_too() {
    let mut store = ModelDisk::new().open_store();
    load(&mut store, &named("a", 1).replace("2027-06-01", "2026-12-05")).unwrap();
    let until = store.kept.kernel_exemptions(&clocks(), &pins())[0].valid_until_ns;
    assert_eq!(until, (5 + 4 * 86_400) * 1_000_000_000);
    let due = Clocks { wall: time("2026-12-06T00:00:00Z"), boot_ns: 0 };
    assert!(store.kept.kernel_exemptions(&due, &pins()).is_empty());
    assert_eq!(states(&store, "2026-12-06T00:00:00Z"), [State::Expired]);
    // Which of the two ended it is in the trail.
    load(&mut store, &named("b", 1)).unwrap();
    store.close_what_is_over(&who(), due.wall, due.wall).unwrap();
    store.close_what_is_over(&who(), time("2026-12-20T00:00:00Z"), time("2026-12-20T00:00:00Z")).unwrap();
    let over = trail(&store).into_iter().filter(|record| record.kind == "expire");
    let over: Vec<_> = over.map(|record| (record.subject, record.detail.get("review_by").cloned())).collect();
    let review = serde_json::json!("2026-12-06T00:00:00Z");
    assert_eq!(over, [("a".to_owned(), Some(review)), ("b".to_owned(), None)]);
}

#[test]
fn a_spent_quota_closes_for_good() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &named("a", 1)).unwrap();
    for (bytes, expected) in [(998_486, vec![]), (998_487, vec!["exhaust"]), (998_487, vec![])] {
        store.checkpoint_use(&[(0, Use { bytes, packets: 1 })], now()).unwrap();
        let closed = store.close_what_is_over(&who(), now(), now()).unwrap();
        assert_eq!(closed.iter().map(|(_, kind)| kind.name()).collect::<Vec<_>>(), expected, "{bytes}");
    }
    disk.restart(End::PowerLoss(8));
    let mut store = disk.open_store();
    assert_eq!((open_ids(&store).len(), states(&store, NOW)), (0, vec![State::Exhausted]));
    // An instrument that falls later leaves how it ended, and is among what covers it.
    let mlat = Target::Instrument("US-Ireland MLAT 2001".into());
    let fell = Change::Invalidate { why: "it was denounced".into() };
    assert_eq!(store.change(&mlat, &fell, &who(), now()).unwrap(), []);
    let list = store.kept.list(now());
    assert_eq!((list[0].state, list[0].orders[0].order.as_str()), (State::Exhausted, "it was denounced"));
}

#[test]
fn reasons_of_a_confidential_exemption_are_in_the_trail_as_hashes_alone() {
    const SECRET: &str = "order 7 of the secret chamber";
    let confidential = good_with(&[("quota_bytes", "confidential = true\nquota_bytes")]);
    let mut store = ModelDisk::new().open_store();
    load(&mut store, &confidential).unwrap();
    make(&mut store, &Target::Id("mlat-1".into()), Change::Stay { order: SECRET.into() });
    let instrument = &Target::Instrument("US-Ireland MLAT 2001".into());
    make(&mut store, instrument, Change::Invalidate { why: SECRET.into() });
    let lines = store.audit_lines(0, usize::MAX).unwrap();
    let told = lines.iter().filter(|line| line.contains(&crate::store::sha256(SECRET.as_bytes())));
    assert_eq!(told.count(), 2, "{lines:?}");
    for text in [SECRET, "secret", "US-Ireland", "2026/0142", "198.51.100"] {
        assert!(lines.iter().all(|line| !line.contains(text)), "{text} in {lines:?}");
    }
    let record = store.kept.record(&("mlat-1".to_owned(), 1)).unwrap();
    let said: Vec<(&str, &str)> =
        record.reasons.iter().map(|it| (it.what.as_str(), it.why.as_str())).collect();
    assert_eq!(said, [("stay", SECRET), ("invalidate", SECRET)], "and the store has them");
}

#[test]
fn the_trail_has_the_key_that_was_revoked_also_of_a_confidential_exemption() {
    let confidential = good_with(&[("quota_bytes", "confidential = true\nquota_bytes")]);
    let mut store = ModelDisk::new().open_store();
    load(&mut store, &confidential).unwrap();
    let key = key_of("mlat-1");
    make(&mut store, &Target::Key(key.clone()), Change::RevokeKey { why: "it was lost".into() });
    let told = trail(&store).pop().unwrap();
    assert_eq!((told.kind.as_str(), told.why.as_str()), ("revoke-key", "(confidential)"));
    assert_eq!(told.detail["key"], key.as_str());
}

fn make(store: &mut Store, target: &Target, change: Change) {
    store.change(target, &change, &who(), now()).unwrap();
}

#[test]
fn a_new_version_does_not_open_what_an_order_holds() {
    let mut store = ModelDisk::new().open_store();
    load(&mut store, &named("a", 1)).unwrap();
    stay(&mut store, "a");
    let next = named("a", 2).replace("version = 2", "version = 2\nreplaces = 1");
    let refused = load(&mut store, &next).unwrap_err();
    assert!(matches!(&refused, LoadError::Store(StoreError::State { .. })), "{refused}");
    assert!(refused.to_string().contains("an order holds it"), "{refused}");
    assert!(open_ids(&store).is_empty());
    change(&mut store, "a", resume_order()).unwrap();
    load(&mut store, &next).unwrap();
    assert_eq!(states(&store, NOW), [State::Revoked, State::Active]);
}
