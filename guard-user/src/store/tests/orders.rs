//! Orders that stay exemptions: each stands until it is lifted by its reference, whatever else happens.

use super::model::{End, ModelDisk};
use super::{NOW, OVER, good_with, key_of, load, named, now, open_ids, time, trail, who};
use crate::exemption::State;
use crate::store::{ApprovedBy, Change, Key, Lifted, LoadError, Store, StoreError, Target};

fn id(id: &str) -> Target {
    Target::Id(id.into())
}

fn stay(store: &mut Store, target: &Target, order: &str) -> Result<Vec<Key>, StoreError> {
    let keys = store.change(target, &Change::Stay { order: order.into() }, &who(), now());
    store.slots_were_reset(&store.kept.slots_to_reset()).unwrap();
    keys
}

fn lift(store: &mut Store, target: &Target, order: Option<&str>) -> Result<Vec<Key>, StoreError> {
    let order = order.map(str::to_owned);
    store.change(target, &Change::Resume { order, why: "lifted".into() }, &who(), now())
}

fn state(store: &Store, moment: &str) -> State {
    store.kept.list(time(moment)).last().unwrap().state
}

fn is_held(store: &mut Store, text: &str) -> bool {
    matches!(load(store, text), Err(LoadError::Store(StoreError::HeldByOrder { .. })))
}

#[test]
fn what_two_courts_stayed_passes_when_both_have_lifted_it() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &named("a", 1)).unwrap();
    let a = ("a".to_owned(), 1);
    for order in ["High Court 1", "Court of Appeal 2"] {
        assert_eq!(stay(&mut store, &id("a"), order).unwrap().as_slice(), std::slice::from_ref(&a));
    }
    disk.restart(End::PowerLoss(3));
    let mut store = disk.open_store();
    let orders = |store: &Store| {
        let list = store.kept.list(now());
        let of = |order: &crate::exemption::summary::OrderSummary| order.order.clone();
        list[0].orders.iter().map(of).collect::<Vec<_>>()
    };
    let mut both = orders(&store);
    both.sort();
    assert_eq!(both, ["Court of Appeal 2", "High Court 1"]);
    let error = lift(&mut store, &id("a"), None).unwrap_err();
    assert!(matches!(error, StoreError::OrderUnclear { .. }), "{error}");
    assert!(error.to_string().contains("High Court 1") && error.to_string().contains("Appeal 2"), "{error}");
    let error = lift(&mut store, &id("a"), Some("High Court 2")).unwrap_err();
    assert!(matches!(error, StoreError::NoSuchOrder { .. }), "{error}");
    assert_eq!(lift(&mut store, &id("a"), Some("High Court 1")).unwrap(), []);
    assert_eq!((state(&store, NOW), open_ids(&store)), (State::Stayed, vec![]));
    assert_eq!(store.kept.list(now())[0].stayed.as_ref().unwrap().why, "Court of Appeal 2");
    assert_eq!(lift(&mut store, &id("a"), None).unwrap(), [a]);
    assert_eq!((state(&store, NOW), orders(&store).len()), (State::Active, 0));
    let lifted: Vec<String> =
        trail(&store).into_iter().rev().take(2).map(|it| it.detail["order"].to_string()).collect();
    assert_eq!(lifted, ["\"Court of Appeal 2\"", "\"High Court 1\""]);
}

#[test]
fn an_order_covers_what_it_names_now_and_what_is_loaded_later() {
    let covers = [
        (Target::Pin("mail".into()), true),
        (Target::Pin("mai".into()), false),
        (Target::Recipient("Department".into()), true),
        (Target::Recipient("department".into()), true),
        (Target::Recipient("Departmant".into()), false),
        (Target::Recipient("Departrnent".into()), true),
        (Target::Instrument("US-ireIand mlat \u{2461}\u{24ea}\u{24ea}\u{2460}".into()), true),
        (Target::Instrument("US-!relancl MLAT zoo1".into()), true),
        (Target::Instrument("US-Ireland MLAT 2002".into()), false),
        (Target::Instrument("us ireland mlat 2001".into()), true),
        (Target::Instrument("US-Ireland MLAT 2001".into()), true),
        (Target::Instrument("SCC".into()), false),
        (Target::All, true),
    ];
    let text = good_with(&[("\"mlat-1\"", "\"a\"")]);
    for (target, is_covered) in covers {
        let mut store = ModelDisk::new().open_store();
        let key = load(&mut store, &text).unwrap().key();
        assert_eq!(store.kept.is_known(&target), is_covered, "{target}");
        let expected = if is_covered { vec![key.clone()] } else { vec![] };
        assert_eq!(stay(&mut store, &target, "order").unwrap(), expected, "{target}");
        assert_eq!(open_ids(&store).is_empty(), is_covered, "{target}");
        let next = text.replace("\"a\"", "\"b\"");
        assert_eq!(is_held(&mut store, &next), is_covered, "{target}");
        // By its id alone it is not lifted.
        let error = lift(&mut store, &id("a"), Some("order")).unwrap_err();
        assert!(
            matches!(&error, StoreError::NoSuchOrder { standing, .. } if standing.is_empty() != is_covered)
        );
        assert_eq!(lift(&mut store, &target, None).unwrap(), expected, "{target}");
        assert!(!is_held(&mut store, &next) && open_ids(&store).contains(&"a".to_owned()), "{target}");
    }
}

/// It says nothing of how an order is given where nothing is loaded.
#[test]
fn a_lift_of_what_stands_no_more_says_where_the_orders_are_listed() {
    let mut store = ModelDisk::new().open_store();
    let act = Target::Instrument("EU-US DPF".into());
    let fall = Change::Invalidate { why: "struck down".into() };
    store.change(&act, &fall, &who(), now()).unwrap();
    assert_eq!(lift(&mut store, &act, Some("struck down")).unwrap(), []);
    for target in [act, Target::Recipient("Court".into()), Target::Pin("web".into())] {
        for order in [None, Some("struck down")] {
            let error = lift(&mut store, &target, order).unwrap_err();
            let told = format!(
                "no such order stands on {target}; it may be lifted already: `borderguard exemption orders` names those that stand"
            );
            assert_eq!((error.code(), error.to_string()), (Some("no-such-order"), told));
        }
    }
    // An id may be a slip.
    assert_eq!(lift(&mut store, &id("never-was"), None).unwrap_err().code(), Some("no-such-exemption"));
}

#[test]
fn orders_are_taken_in_every_state_and_outlive_what_they_stay() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    // Before there is anything of that name.
    assert!(!store.kept.is_known(&id("a")));
    assert_eq!(stay(&mut store, &id("a"), "first").unwrap(), []);
    assert!(is_held(&mut store, &named("a", 1)));
    assert_eq!(lift(&mut store, &id("a"), Some("first")).unwrap(), []);
    load(&mut store, &named("a", 1)).unwrap();
    // When it is over.
    store.close_what_is_over(&who(), time(OVER), time(OVER)).unwrap();
    assert_eq!(state(&store, NOW), State::Expired);
    assert_eq!(stay(&mut store, &id("a"), "second").unwrap(), []);
    assert_eq!(state(&store, NOW), State::Expired);
    assert!(is_held(&mut store, &named("a", 2)));
    let revoke = Change::Revoke { why: "withdrawn".into() };
    store.change(&id("a"), &revoke, &who(), now()).unwrap();
    assert_eq!(state(&store, NOW), State::Revoked);
    disk.restart(End::Killed);
    let mut store = disk.open_store();
    assert!(is_held(&mut store, &named("a", 2)));
    assert_eq!(lift(&mut store, &id("a"), None).unwrap(), []);
    assert_eq!(state(&store, NOW), State::Revoked);
    load(&mut store, &named("a", 2)).unwrap();
    assert_eq!(open_ids(&store), ["a"]);
}

#[test]
fn an_order_that_comes_after_a_document_was_admitted_still_keeps_it_out() {
    let mut store = ModelDisk::new().open_store();
    let admission = super::submit(&named("a", 1), |it| store.admit(it, now()).unwrap());
    stay(&mut store, &Target::All, "order").unwrap();
    let refused = store.load_admitted(&admission, &who(), now());
    assert!(matches!(refused, Err(StoreError::HeldByOrder { .. })), "{refused:?}");
}

#[test]
fn an_order_that_the_disk_refused_stands_here_and_is_kept_with_the_next_write() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    disk.fail_after(0);
    assert!(store.change(&Target::All, &Change::Stay { order: "order".into() }, &who(), now()).is_err());
    assert!(store.kept.is_ahead() && is_held(&mut store, &named("a", 1)));
    stay(&mut store, &Target::All, "order").unwrap();
    assert!(!store.kept.is_ahead());
    disk.restart(End::PowerLoss(7));
    assert!(is_held(&mut disk.open_store(), &named("a", 1)));
}

#[test]
fn the_text_of_an_order_on_what_may_be_confidential_is_in_the_trail_as_a_hash_alone() {
    let mut store = ModelDisk::new().open_store();
    stay(&mut store, &Target::Recipient("a secret recipient".into()), "a secret order").unwrap();
    lift(&mut store, &Target::Recipient("a secret recipient".into()), None).unwrap();
    let lines = store.audit_lines(0, 10).unwrap();
    assert!(lines.len() == 2 && !lines.iter().any(|line| line.contains("secret")), "{lines:?}");
}

#[test]
fn exemptions_that_pass_again_together_have_places_of_their_own() {
    let mut store = ModelDisk::new().open_store();
    for id in ["a", "b", "c"] {
        load(&mut store, &named(id, 1)).unwrap();
    }
    stay(&mut store, &Target::All, "order").unwrap();
    assert_eq!(lift(&mut store, &Target::All, None).unwrap().len(), 3);
    let slots: Vec<u16> = ["a", "b", "c"]
        .iter()
        .flat_map(|id| store.kept.record(&((*id).to_owned(), 1)).unwrap().slots.clone())
        .collect();
    let each: std::collections::BTreeSet<u16> = slots.iter().copied().collect();
    assert_eq!((slots.len(), each.len()), (3, 3), "{slots:?}");
}

#[test]
fn an_instrument_that_fell_carries_nothing_more_by_a_name_like_it_until_it_is_restored() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &named("a", 1)).unwrap();
    let name = "US-Ireland MLAT 2001";
    let fell = Change::Invalidate { why: "it was denounced".into() };
    let target = Target::Instrument(name.into());
    store.change(&target, &fell, &who(), now()).unwrap();
    assert_eq!(state(&store, NOW), State::Revoked);
    disk.restart(End::PowerLoss(2));
    let mut store = disk.open_store();
    let by = |name: &str, id: &str| named(id, 1).replace("US-Ireland MLAT 2001", name);
    let alike = [
        name,
        "us ireland mlat 2001",
        "US\u{2013}Ireland MLAT (2001)",
        "US-lreland MLAT 2001",
        "US-ireIand mlat 2001",
        "US-Ireland MLAT \u{2461}\u{24ea}\u{24ea}\u{2460}",
    ];
    for alike in alike {
        assert!(is_held(&mut store, &by(alike, "b")), "{alike}");
    }
    let mixed = load(&mut store, &by("US-Ireland \u{39c}LAT 2001", "b")).unwrap_err().to_string();
    assert!(mixed.contains("script"), "{mixed}");
    // Whoever loads by another name is told which one has fallen, and what would let it rest on that again.
    let told = load(&mut store, &by("us ireland mlat 2001", "b")).unwrap_err().to_string();
    let is_told =
        told.contains("has fallen") && told.contains(&format!("`borderguard instrument restore \"{name}\"`"));
    assert!(is_told, "{told}");
    load(&mut store, &by("US-Ireland MLAT 2003", "c")).unwrap();
    // It is no stay that is lifted with others.
    assert_eq!(stay(&mut store, &target, "a court's").unwrap(), []);
    let unclear = lift(&mut store, &target, None).unwrap_err();
    assert!(matches!(unclear, StoreError::OrderUnclear { .. }), "{unclear}");
    assert_eq!(lift(&mut store, &target, Some("it was denounced")).unwrap(), []);
    assert!(is_held(&mut store, &by(name, "b")), "the court's order stands");
    lift(&mut store, &target, None).unwrap();
    load(&mut store, &by(name, "b")).unwrap();
    assert_eq!(store.kept.list(now())[0].state, State::Revoked, "what was closed with it stays closed");
}

#[test]
fn what_fell_and_what_a_court_stayed_are_two_orders_also_with_the_same_words() {
    let mut store = ModelDisk::new().open_store();
    load(&mut store, &named("a", 1)).unwrap();
    let target = Target::Instrument("us ireland mlat 2001".into());
    stay(&mut store, &target, "it was denounced").unwrap();
    let fell = Change::Invalidate { why: "it was denounced".into() };
    store.change(&target, &fell, &who(), now()).unwrap();
    assert_eq!(state(&store, NOW), State::Revoked, "by a name that looks like its own");
    assert_eq!(store.kept.orders().count(), 2);
    for _ in 0..2 {
        assert!(is_held(&mut store, &named("b", 1)));
        lift(&mut store, &target, Some("it was denounced")).unwrap();
    }
    load(&mut store, &named("b", 1)).unwrap();
}

#[test]
fn a_revoked_key_closes_what_it_approved_and_approves_nothing_more() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    for id in ["a", "b"] {
        load(&mut store, &named(id, 1)).unwrap();
    }
    stay(&mut store, &id("b"), "a court's").unwrap();
    let revoke = |store: &mut Store, key: &str| {
        let change = Change::RevokeKey { why: "it was lost".into() };
        store.change(&Target::Key(key.into()), &change, &who(), now())
    };
    for wrong in ["", "SHA256:47DEQpj8HBSa", "MD5:00", "brian@example.org", " SHA256:"] {
        let error = revoke(&mut store, wrong).unwrap_err();
        assert!(matches!(error, StoreError::BadFingerprint { .. }), "{error}");
    }
    let key = key_of("a");
    assert_eq!(revoke(&mut store, &key).unwrap(), [("a".to_owned(), 1)]);
    assert_eq!(revoke(&mut store, &key_of("b")).unwrap(), [("b".to_owned(), 1)], "stayed ones too");
    assert_eq!(revoke(&mut store, &key_of("c")).unwrap(), [], "also before it approved anything");
    assert!(matches!(revoke(&mut store, &key).unwrap_err(), StoreError::OrderStands { .. }));
    disk.restart(End::PowerLoss(3));
    let mut store = disk.open_store();
    assert_eq!(open_ids(&store), Vec::<String>::new());
    for (id, version) in [("a", 2), ("b", 2), ("c", 1)] {
        assert!(is_held(&mut store, &named(id, version)), "{id}");
    }
    load(&mut store, &named("d", 1)).unwrap();
    let approved = |store: &Store, id: &str| {
        store.kept.documents_approved_with(&key_of(id)).map(|it| it.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!((approved(&store, "a"), approved(&store, "c").len()), (vec!["a".to_owned()], 0), "closed too");
    // Nobody gives it back.
    for order in [None, Some("it was lost")] {
        let error = lift(&mut store, &Target::Key(key.clone()), order).unwrap_err();
        assert!(matches!(error, StoreError::NoSuchOrder { .. }), "{error}");
    }
    let kinds: Vec<(String, String)> = trail(&store)
        .into_iter()
        .filter(|record| record.kind == "revoke-key")
        .map(|record| {
            (
                record.subject,
                record.detail.get("key").and_then(|key| key.as_str()).unwrap_or_default().to_owned(),
            )
        })
        .collect();
    assert_eq!(kinds[0], ("a".to_owned(), key.clone()));
    assert_eq!(kinds[2].0, key_of("c"));
}

/// By its hash, as the record of the lift has it, also after a restart; another file of that name is none.
#[test]
fn a_document_that_lifted_an_order_is_kept_with_its_signatures() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &named("a", 1)).unwrap();
    stay(&mut store, &id("a"), "a court's").unwrap();
    let bytes = b"lifts = \"stay\"\n".to_vec();
    let by = vec![ApprovedBy {
        identity: "brian@example.org".into(),
        role: Some("legal".into()),
        fingerprint: key_of("a"),
    }];
    let signatures = vec![b"one".to_vec(), b"two".to_vec()];
    let lifted = Lifted { sha256: crate::digest::sha256(&bytes), bytes, signatures, by };
    let resume = Change::Resume { order: None, why: "lifted".into() };
    store.lift(&id("a"), &resume, &lifted, &who(), now()).unwrap();
    let record = trail(&store).pop().unwrap();
    assert_eq!(record.detail["document_sha256"], lifted.sha256.as_str());
    disk.restart(End::Killed);
    let store = disk.open_store();
    let reader = store.reader().unwrap();
    let kept = reader.lift_document(&lifted.sha256).unwrap();
    assert_eq!(kept, Some((lifted.bytes, lifted.signatures)));
    assert_eq!(reader.lift_document(&"0".repeat(64)).unwrap(), None);
}

/// Why a document is not loaded has a name of its own, and only what is lifted is said to be.
#[test]
fn what_holds_a_document_is_named_by_a_code_and_a_revoked_key_is_not_to_be_lifted() {
    let of = |target: Target, change: Change| {
        let mut store = ModelDisk::new().open_store();
        store.change(&target, &change, &who(), now()).unwrap();
        let Err(LoadError::Store(error)) = load(&mut store, &named("b", 1)) else { panic!("{target}") };
        (error.code().unwrap(), error.to_string())
    };
    let (code, _) = of(Target::All, Change::Stay { order: "a court's".into() });
    assert_eq!(code, "held-by-order");
    let (code, _) = of(
        Target::Instrument("US-Ireland MLAT 2001".into()),
        Change::Invalidate { why: "it was denounced".into() },
    );
    assert_eq!(code, "fallen-instrument");
    let (code, said) = of(Target::Key(key_of("b")), Change::RevokeKey { why: "it was lost".into() });
    assert_eq!(code, "revoked-key");
    assert!(said.contains("which nothing lifts") && !said.contains("has to be lifted"), "{said}");
}

/// What is mended for one refusal alone would be signed anew only to meet the next one.
#[test]
fn a_renewal_of_what_has_ended_is_told_what_holds_it_besides() {
    let mut store = ModelDisk::new().open_store();
    load(&mut store, &named("a", 1)).unwrap();
    let next = named("a", 2).replace("version = 2", "version = 2\nreplaces = 1");
    let mlat = Target::Instrument("US-Ireland MLAT 2001".into());
    let fell = Change::Invalidate { why: "it was denounced".into() };
    store.change(&mlat, &fell, &who(), now()).unwrap();
    let refused = load(&mut store, &next).unwrap_err();
    let said = refused.to_string();
    let LoadError::DocumentAndOrder { errors, held } = refused else { panic!("{said}") };
    let codes = (errors.errors[0].kind.code(), held.code());
    assert_eq!(codes, ("replaces-closed", Some("fallen-instrument")));
    assert!(said.contains("leave out replaces") && said.contains("has fallen"), "{said}");
    lift(&mut store, &mlat, None).unwrap();
    assert!(matches!(load(&mut store, &next), Err(LoadError::Document(_))), "nothing else holds it");
    let change = Change::RevokeKey { why: "it was lost".into() };
    store.change(&Target::Key(key_of("a")), &change, &who(), now()).unwrap();
    let said = load(&mut store, &next).unwrap_err().to_string();
    assert!(
        said.contains("leave out replaces") && said.contains("have it signed with another key"),
        "{said}"
    );
}

#[test]
fn a_version_that_was_loaded_already_is_told_as_such_whatever_it_replaces() {
    let mut store = ModelDisk::new().open_store();
    load(&mut store, &named("a", 1)).unwrap();
    let next = named("a", 2).replace("version = 2", "version = 2\nreplaces = 1");
    load(&mut store, &next).unwrap();
    let again = load(&mut store, &next).unwrap_err().to_string();
    assert!(again.contains("version: version 2 of \"a\" was loaded already\n"), "{again}");
    assert!(again.contains("write version = 3 or higher and replaces = 2"), "{again}");
    store.change(&id("a"), &Change::Revoke { why: "it is over".into() }, &who(), now()).unwrap();
    let again = load(&mut store, &next).unwrap_err().to_string();
    assert!(again.contains("version: version 2 of \"a\" was loaded already, and is closed\n"), "{again}");
    assert!(again.contains("as version 3 or later, without replaces"), "{again}");
    assert_eq!(again.matches("error: ").count(), 1, "{again}");
}

/// Whoever makes a slip in a name is told the one that may be meant, and reads it as it is written.
#[test]
fn a_name_with_a_slip_in_it_is_answered_with_the_one_that_is_nearly_it() {
    let mut store = ModelDisk::new().open_store();
    load(&mut store, &named("a", 1)).unwrap();
    let name = store.kept.document_of(&("a".to_owned(), 1)).unwrap().recipients[0].name.clone();
    let slip = Target::Recipient(format!("{name}s"));
    for refused in [
        lift(&mut store, &slip, None).unwrap_err(),
        lift(&mut store, &slip, Some("Cour d'appel")).unwrap_err(),
        store.kept.unknown(&slip),
    ] {
        assert!(refused.to_string().contains(&format!("; \"{name}\" does: give that name")), "{refused}");
        assert!(!refused.without_names().contains(&name), "{refused}");
    }
    let none = store.kept.unknown(&Target::Recipient("Somebody Else Altogether".to_owned())).to_string();
    assert!(none.contains(": look at the name"), "{none}");
    let pin = store.kept.unknown(&Target::Pin("mial".to_owned())).to_string();
    assert!(pin.contains("\"mail\" does"), "{pin}");
    load(&mut store, &named("b", 1).replace("\"mail\"", "\"backup\"")).unwrap();
    let pin = store.kept.unknown(&Target::Pin("bakcpu".to_owned())).to_string();
    assert!(pin.contains("; \"backup\" does: give that name"), "{pin}");
    // An order on the name as it is written is named to who lifts it by another.
    stay(&mut store, &Target::Recipient(name.clone()), "Cour d'appel, 7").unwrap();
    let refused = lift(&mut store, &slip, None).unwrap_err().to_string();
    assert!(refused.contains(&name) && refused.contains("Cour d'appel, 7"), "{refused}");
}
