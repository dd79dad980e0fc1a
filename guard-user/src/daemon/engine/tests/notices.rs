//! What is told of exemptions, and when.

use std::path::Path;

use jiff::Timestamp;

use super::inputs::document;
use crate::daemon::engine::notices::Notices;
use crate::daemon::engine::{Notice, What};
use crate::exemption::summary::DueSummary;
use crate::exemption::{self, REVIEW, State, Summary, Surroundings};

fn whats(notices: &[Notice]) -> Vec<What> {
    notices.iter().map(|it| it.what).collect()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Open from the first to the eleventh of a month.
fn open() -> Summary {
    let now = at("2026-12-01T00:00:00Z");
    let text = document("a", 1, now);
    let document = exemption::parse(Path::new("a.toml"), text.as_bytes(), &Surroundings::default()).unwrap();
    Summary {
        state: State::Active,
        valid_from: at("2026-12-01T00:00:00Z"),
        valid_until: at("2026-12-11T00:00:00Z"),
        quota_bytes: Some(1000),
        used_bytes: 0,
        due: Vec::new(),
        done: Vec::new(),
        ..Summary::of_document(&document, now)
    }
}

#[test]
fn each_is_told_once_and_again_where_it_became_so_again() {
    let mut notices = Notices::default();
    let mut all = [open()];
    let early = at("2026-12-02T00:00:00Z");
    assert_eq!(notices.new_of(&all, early), []);
    all[0].used_bytes = 799;
    assert_eq!(notices.new_of(&all, early), []);
    all[0].used_bytes = 800;
    assert_eq!(whats(&notices.new_of(&all, early)), [What::QuotaLow]);
    assert_eq!(notices.new_of(&all, early), []);
    // A renewal is another version, whose quota begins anew.
    all[0] = Summary { version: 2, ..open() };
    assert_eq!(notices.new_of(&all, early), []);
    all[0].used_bytes = 1000;
    assert_eq!(whats(&notices.new_of(&all, early)), [What::QuotaLow]);
}

#[test]
fn a_window_is_told_of_a_day_before_its_end_and_a_short_one_at_its_last_quarter() {
    let told = |from: &str, until: &str, now: &str| {
        let all = [Summary { valid_from: at(from), valid_until: at(until), ..open() }];
        whats(&Notices::default().new_of(&all, at(now))) == [What::WindowCloses]
    };
    let (from, until) = ("2026-12-01T00:00:00Z", "2026-12-11T00:00:00Z");
    assert!(!told(from, until, "2026-12-09T23:59:59Z"));
    assert!(told(from, until, "2026-12-10T00:00:00Z"));
    let until = "2026-12-01T04:00:00Z";
    assert!(!told(from, until, "2026-12-01T02:59:59Z"));
    assert!(told(from, until, "2026-12-01T03:00:00Z"));
}

#[test]
fn what_is_due_is_told_of_closed_ones_but_for_a_review() {
    let due = |what: &str| DueSummary { what: what.to_owned(), by: at("2026-12-08T00:00:00Z") };
    let with = |state| Summary { state, due: vec![due("answer"), due(REVIEW)], ..open() };
    let told = |state, now: &str| whats(&Notices::default().new_of(&[with(state)], at(now)));
    assert_eq!(told(State::Active, "2026-11-30T23:59:59Z"), []);
    let now = "2026-12-01T00:00:00Z";
    assert_eq!(told(State::Active, now), [What::ReviewDue, What::DutyDue]);
    assert_eq!(told(State::Stayed, now), [What::ReviewDue, What::DutyDue]);
    assert_eq!(told(State::Revoked, now), [What::DutyDue]);
}

/// A quota may be used up between two looks, so that nobody was told that it is low.
#[test]
fn a_quota_that_is_used_up_is_told_of_as_long_as_its_window_goes_on() {
    let spent = Summary { state: State::Exhausted, used_bytes: 1000, ..open() };
    let mut notices = Notices::default();
    let now = at("2026-12-02T00:00:00Z");
    assert_eq!(notices.new_of(&[open()], now), []);
    assert_eq!(whats(&notices.new_of(std::slice::from_ref(&spent), now)), [What::QuotaUsed]);
    assert_eq!(notices.new_of(std::slice::from_ref(&spent), now), []);
    assert_eq!(Notices::default().new_of(std::slice::from_ref(&spent), spent.valid_until), []);
    // It was renewed.
    let next = Summary { version: 2, ..open() };
    assert_eq!(Notices::default().new_of(&[spent, next], now), []);
}
