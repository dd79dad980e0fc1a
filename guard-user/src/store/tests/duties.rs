//! Duties that are done after the load.

use super::model::{End, ModelDisk};
use super::*;
use crate::exemption::Summary;
use crate::store::{Change, Done, StoreError, Target};

fn with_duties() -> String {
    named("a", 1)
        + "[[duty]]\nwhat = \"answer\"\ndue = 2026-12-20\n[[duty]]\nwhat = \"answer\"\ndue = 2026-12-24\n"
}

fn due(store: &Store) -> Vec<String> {
    let all: Vec<Summary> = store.kept().list_with(&[], now());
    all.into_iter().flat_map(|it| it.due).map(|it| format!("{} {}", it.what, it.by)).collect()
}

fn done(store: &mut Store, duty: &str, on: &str, why: &str) -> Result<(), StoreError> {
    let done = Done { duty: duty.to_owned(), on: time(on), why: why.to_owned() };
    store.duty_done(&("a".to_owned(), 1), &done, &who(), now())
}

#[test]
fn a_duty_of_a_closed_exemption_is_done_without_a_new_version_and_stays_so() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &with_duties()).unwrap();
    let revocation = Change::Revoke { why: "withdrawn".to_owned() };
    store.change(&Target::Id("a".to_owned()), &revocation, &who(), now()).unwrap();
    let answers =
        |store: &Store| due(store).into_iter().filter(|it| it.starts_with("answer ")).collect::<Vec<_>>();
    assert_eq!(answers(&store), ["answer 2026-12-21T00:00:00Z", "answer 2026-12-25T00:00:00Z"]);
    // The one that is due first, then the other.
    done(&mut store, "answer", NOW, "sent to the court").unwrap();
    assert_eq!(answers(&store), ["answer 2026-12-25T00:00:00Z"]);
    assert_eq!(kinds(&store).last().unwrap(), "duty-done");
    disk.restart(End::Killed);
    let mut store = disk.open_store();
    assert_eq!(answers(&store), ["answer 2026-12-25T00:00:00Z"], "after a restart");
    done(&mut store, "answer", NOW, "sent again").unwrap();
    assert!(answers(&store).is_empty());
    let none = done(&mut store, "answer", NOW, "once more").unwrap_err();
    assert_eq!(none.code(), Some("no-such-duty"));
}

#[test]
fn what_is_not_due_or_not_done_yet_is_refused_and_changes_nothing() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &with_duties()).unwrap();
    let before = (due(&store), kinds(&store));
    for (duty, on, why, code) in [
        ("tell-authority", NOW, "told", "no-such-duty"),
        ("answer", "2027-01-01T00:00:00Z", "to be sent", "done-later"),
        ("review-assessment", NOW, "reviewed", "review-is-renewed"),
        ("answer", NOW, " ", "bad-reason"),
        ("answer", NOW, "a\u{202e}b", "unseen-in-reason"),
    ] {
        let refused = done(&mut store, duty, on, why).unwrap_err();
        assert_eq!(refused.code().unwrap_or_default(), code, "{refused}");
    }
    let named = done(&mut store, "tell", NOW, "told").unwrap_err().to_string();
    assert!(named.contains("answer"), "{named}");
    disk.fail_after(0);
    assert!(done(&mut store, "answer", NOW, "sent").is_err());
    assert_eq!((due(&store), kinds(&store)), before);
    let other = Done { duty: "answer".to_owned(), on: now(), why: "sent".to_owned() };
    let none = store.kept().can_be_done(&("b".to_owned(), 1), &other, now());
    assert!(matches!(none, Err(StoreError::NotFound { .. })));
}
