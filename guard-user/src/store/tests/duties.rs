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

/// A register has a row for each version, and each of them says what was done.
#[test]
fn what_was_done_for_one_version_is_told_of_each_that_has_the_same_duty_with_the_same_day() {
    let mut store = ModelDisk::new().open_store();
    load(&mut store, &format!("{}{TELL}{ANSWER}", named("a", 1))).unwrap();
    done(&mut store, "tell-authority", NOW, "told").unwrap();
    let other = ANSWER.replace("12-22", "12-28");
    load(&mut store, &format!("{}{TELL}{other}", renewed(&named("a", 1), 2))).unwrap();
    done(&mut store, "answer", NOW, "sent").unwrap();
    let kept = store.kept();
    let beside = |version: u32| {
        let all = kept.done_beside(&("a".to_owned(), version)).into_iter();
        all.map(|(version, it)| (version, it.why)).collect::<Vec<_>>()
    };
    assert_eq!(beside(1), []);
    assert_eq!(beside(2), [(1, format!("tell-authority {NOW} told"))], "the answer has another day");
    let shown = |version: u32| {
        let all = kept.list_with(&[], now()).into_iter().find(|it| it.version == version).unwrap().done;
        all.into_iter().map(|it| format!("{} {} {}", it.what, it.version, it.why)).collect::<Vec<_>>()
    };
    assert_eq!(shown(2), ["tell-authority 1 told"]);
    assert_eq!(shown(1), ["tell-authority 1 told", "answer 1 sent"]);
}

#[test]
fn a_review_that_nobody_did_in_time_stays_due_until_the_window_would_have_ended() {
    let mut store = ModelDisk::new().open_store();
    load(&mut store, &named("a", 1).replace("2027-06-01", "2026-12-05")).unwrap();
    let missed = ["review-assessment 2026-12-06T00:00:00Z of 1"];
    assert_eq!(due_by_version(&store, NOW), missed);
    store.close_what_is_over(&who(), time("2026-12-06T00:00:00Z"), time("2026-12-06T00:00:00Z")).unwrap();
    assert_eq!(due_by_version(&store, "2026-12-06T00:00:00Z"), missed);
    assert_eq!(due_by_version(&store, OVER), [""; 0]);
    let it = Done { duty: "review-assessment".to_owned(), on: now(), why: "reviewed".to_owned() };
    let refused =
        store.kept().can_be_done(&("a".to_owned(), 1), &it, time("2026-12-06T00:00:00Z")).unwrap_err();
    assert_eq!(refused.code(), Some("review-is-renewed"));
    // A new version has the next date.
    let next = renewed(&named("a", 1), 2);
    submit(&next, |submission| store.load(submission, &who(), time("2026-12-06T00:00:00Z"))).unwrap();
    assert_eq!(
        due_by_version(&store, "2026-12-06T00:00:00Z"),
        ["review-assessment 2027-06-02T00:00:00Z of 2"]
    );
}

/// Each duty of a list with its version, as `list --due` has them.
fn due_by_version(store: &Store, at: &str) -> Vec<String> {
    let all = store.kept().list_with(&[], time(at)).into_iter();
    let mut all: Vec<String> = all
        .flat_map(|it| {
            it.due.into_iter().map(move |due| format!("{} {} of {}", due.what, due.by, it.version))
        })
        .collect();
    all.sort();
    all
}

/// The next version of a document.
fn renewed(text: &str, version: u32) -> String {
    let (before, now) =
        (format!("version = {}", version - 1), format!("version = {version}\nreplaces = {}", version - 1));
    text.replace(&before, &now)
}

const TELL: &str = "[[duty]]\nwhat = \"tell-authority\"\ndue = 2026-12-20\n";
const ANSWER: &str = "[[duty]]\nwhat = \"answer\"\ndue = 2026-12-22\n";

#[test]
fn a_renewal_takes_no_duty_away_and_what_was_done_is_done_for_every_version() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    let dated = |day: &str| format!("delete_by = {day}\n[instrument]");
    let first = named("a", 1).replace("[instrument]", &dated("2027-01-01"));
    load(&mut store, &format!("{first}{TELL}{ANSWER}")).unwrap();
    done(&mut store, "tell-authority", NOW, "told").unwrap();
    // Without the answer, with what was told, and to be deleted later.
    let second = renewed(&named("a", 1), 2).replace("[instrument]", &dated("2028-01-01"));
    load(&mut store, &format!("{second}{TELL}")).unwrap();
    let review = "review-assessment 2027-06-02T00:00:00Z of 2";
    let expected = [
        "answer 2026-12-23T00:00:00Z of 1",
        "delete 2027-01-02T00:00:00Z of 1",
        "delete 2028-01-02T00:00:00Z of 2",
        review,
    ];
    assert_eq!(due_by_version(&store, NOW), expected);
    // Each is found where it is undone, the one that is due first before the other.
    let kept = store.kept();
    let version = |duty: &str| kept.version_with("a", None, duty).unwrap().1;
    assert_eq!((version("answer"), version("delete"), version("tell-authority")), (1, 1, 2));
    let is_done = Done { duty: "tell-authority".to_owned(), on: now(), why: "told".to_owned() };
    let refused = kept.can_be_done(&("a".to_owned(), 2), &is_done, now()).unwrap_err();
    assert_eq!(refused.code(), Some("no-such-duty"));
    assert_eq!(
        refused.to_string(),
        "\"tell-authority\" is noted as done already of version 2 of the exemption \"a\": due are answer of version 1, delete of \
         version 1, review-assessment, which a new version of the document does (`exemption renew`), delete"
    );
    for (duty, left) in [("answer", 3), ("delete", 2)] {
        let key = store.kept().version_with("a", None, duty).unwrap();
        let it = Done { duty: duty.to_owned(), on: now(), why: "done".to_owned() };
        store.duty_done(&key, &it, &who(), now()).unwrap();
        assert_eq!(due_by_version(&store, NOW).len(), left, "{duty}");
    }
    let left = ["delete 2028-01-02T00:00:00Z of 2", review];
    assert_eq!(due_by_version(&store, NOW), left);
    // Once more of the version that has it noted: which version has the other one is said.
    let again = done(&mut store, "delete", NOW, "once more").unwrap_err().to_string();
    assert_eq!(
        again,
        "\"delete\" is noted as done already of version 1 of the exemption \"a\", and it is due of version 2: name that by \
         --version 2"
    );
    let never = done(&mut store, "tell-subjects", NOW, "told").unwrap_err().to_string();
    assert!(
        never.starts_with("nothing called \"tell-subjects\" is due of version 1 of the exemption"),
        "{never}"
    );
    disk.restart(End::Killed);
    assert_eq!(due_by_version(&disk.open_store(), NOW), left, "after a restart");
}

/// What is received until the end is to be deleted too.
#[test]
fn what_may_still_come_is_not_deleted_yet() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    let dated = |text: String| text.replace("[instrument]", "delete_by = 2027-01-01\n[instrument]");
    let deletes =
        |store: &Store| due_by_version(store, NOW).into_iter().filter(|it| it.starts_with("delete")).count();
    load(&mut store, &dated(named("a", 1))).unwrap();
    let deleted = |version: u32, on: &str, now: &str, store: &Store| {
        let it = Done { duty: "delete".to_owned(), on: time(on), why: "all of it".to_owned() };
        store.kept().can_be_done(&("a".to_owned(), version), &it, time(now))
    };
    let refused = deleted(1, NOW, NOW, &store).unwrap_err();
    assert_eq!(refused.code(), Some("deleted-too-early"));
    assert!(
        refused.to_string().contains("version 1 of the exemption \"a\" is open until 2026-12-15T00:00:00Z"),
        "{refused}"
    );
    // Its window is over, and it was deleted before.
    let refused = deleted(1, NOW, OVER, &store).unwrap_err();
    assert!(refused.to_string().ends_with("by --at"), "{refused}");
    deleted(1, OVER, OVER, &store).unwrap();
    // A version that took its place has the same day, and goes on.
    load(&mut store, &dated(renewed(&named("a", 1), 2))).unwrap();
    let refused = deleted(1, NOW, NOW, &store).unwrap_err();
    assert!(refused.to_string().contains("version 2"), "{refused}");
    // What was noted before a version that goes on, as an earlier version of this program took it, is due again after it.
    let revocation = Change::Revoke { why: "withdrawn".to_owned() };
    store.change(&Target::Id("a".to_owned()), &revocation, &who(), now()).unwrap();
    assert_eq!(deletes(&store), 1);
    done(&mut store, "delete", NOW, "confirmed").unwrap();
    assert_eq!(deletes(&store), 0);
    load(&mut store, &dated(named("a", 3))).unwrap();
    assert_eq!(deletes(&store), 1);
    // Nor is it told of the one that goes on that it was done.
    assert_eq!(store.kept().done_beside(&("a".to_owned(), 3)).len(), 0);
}

/// That a version says that a duty was done takes no other duty of that name.
#[test]
fn what_a_later_version_says_is_done_is_done_once() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    let other = ANSWER.replace("22", "28");
    load(&mut store, &format!("{}{ANSWER}{other}", named("a", 1))).unwrap();
    done(&mut store, "answer", NOW, "sent").unwrap();
    let told = format!("{ANSWER}done = 2026-12-01\n{other}");
    load(&mut store, &(renewed(&named("a", 1), 2) + &told)).unwrap();
    let answers = |store: &Store| {
        let all = due_by_version(store, NOW).into_iter();
        all.filter(|it| it.starts_with("answer")).collect::<Vec<_>>()
    };
    assert_eq!(answers(&store), ["answer 2026-12-29T00:00:00Z of 2"]);
    // And one that no command has noted.
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &format!("{}{ANSWER}{other}", named("a", 1))).unwrap();
    load(&mut store, &(renewed(&named("a", 1), 2) + &told)).unwrap();
    assert_eq!(answers(&store), ["answer 2026-12-29T00:00:00Z of 2"]);
}

#[test]
fn the_review_of_what_is_closed_is_not_due_and_that_is_what_is_said() {
    let review =
        |store: &Store, at: &str| due_by_version(store, at).iter().any(|it| it.starts_with("review-"));
    let refusal = |store: &Store, duty: &str, at: &str| {
        let it = Done { duty: duty.to_owned(), on: now(), why: "reviewed".to_owned() };
        store.kept().can_be_done(&("a".to_owned(), 1), &it, time(at)).unwrap_err()
    };
    let mut open = ModelDisk::new().open_store();
    load(&mut open, &named("a", 1)).unwrap();
    assert!(review(&open, NOW));
    let slip = refusal(&open, "review", NOW).to_string();
    assert!(slip.contains("due are review-assessment, which a new version of the document does"), "{slip}");
    assert_eq!(refusal(&open, "review-assessment", NOW).code(), Some("review-is-renewed"));
    // By its window alone, and as the store has it.
    assert!(!review(&open, OVER));
    open.close_what_is_over(&who(), time(OVER), time(OVER)).unwrap();
    let mut revoked = ModelDisk::new().open_store();
    load(&mut revoked, &named("a", 1)).unwrap();
    let revocation = Change::Revoke { why: "withdrawn".to_owned() };
    revoked.change(&Target::Id("a".to_owned()), &revocation, &who(), now()).unwrap();
    for store in [open, revoked] {
        assert!(!review(&store, OVER));
        let error = refusal(&store, "review-assessment", OVER);
        assert_eq!(error.code(), Some("review-of-closed"));
        assert!(error.to_string().contains("is closed for good"), "{error}");
        assert!(refusal(&store, "review", OVER).to_string().ends_with("nothing is due"));
    }
}
