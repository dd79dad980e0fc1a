//! Filters against a reader of the flat JSON, who knows nothing of records.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;

use super::{any_past, start};
use crate::config::policy::LogFormat;
use crate::history::filter::{Filter, Fit};
use crate::history::record::Past;

/// Whether a line is one that is wanted, by its keys alone.
fn expected(filter: &Filter, line: &Value) -> Fit {
    let moment = |key: &str| line[key].as_str().unwrap().parse::<Timestamp>().unwrap();
    let is_summary = line["kind"] == "summary";
    let (first, last) =
        if is_summary { (moment("first"), moment("last")) } else { (moment("time"), moment("time")) };
    if filter.since.is_some_and(|since| last < since) || filter.until.is_some_and(|until| first >= until) {
        return Fit::No;
    }
    if line["kind"] == "lost" {
        return Fit::Yes;
    }
    let is = |key: &str, wanted: &Option<String>| {
        wanted.as_ref().is_none_or(|wanted| line[key] == wanted.as_str())
    };
    let has = |key: &str, pin: &str| line[key].as_array().is_some_and(|all| all.iter().any(|it| it == pin));
    let is_pin = |pin: &String| line["pin"] == pin.as_str() || has("pins", pin) || has("tagged", pin);
    let fits = filter.pin.as_ref().is_none_or(is_pin)
        && (line["is_rest"] == true || is("jurisdiction", &filter.to))
        && is("verdict", &filter.verdict)
        && is("reason", &filter.reason);
    let Some(process) = filter.process.as_ref().filter(|_| fits) else {
        return if fits { Fit::Yes } else { Fit::No };
    };
    if is_summary {
        return Fit::MayHave;
    }
    let command = line["process"]["command"].as_str();
    let is_it = line["process"]["pid"].as_u64().is_some_and(|pid| pid.to_string() == *process)
        || command.is_some_and(|command| command == process.chars().take(15).collect::<String>());
    if is_it { Fit::Yes } else { Fit::No }
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let name = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        prop::option::weighted(0.3, prop::sample::select(names))
    };
    let moment = || {
        let at = |seconds: i64| start().checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
        prop::option::weighted(0.3, (0_i64..3600).prop_map(at))
    };
    let names = (
        name(&["mail", "backup", "none"]),
        name(&["US", "unknown", "IE"]),
        name(&["drop", "pass"]),
        name(&["forbidden", "exempt"]),
        name(&["imap", "2", "postgres: writer process", "init"]),
    );
    (moment(), moment(), names).prop_map(|(since, until, (pin, to, verdict, reason, process))| Filter {
        since,
        until,
        pin,
        to,
        verdict,
        reason,
        process,
        event: None,
        untagged: false,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_filter_takes_what_its_words_say(filter in any_filter(), past in any_past()) {
        let line: Value = serde_json::from_str(&past.to_line(LogFormat::Json)).unwrap();
        prop_assert_eq!(filter.fit(&past), expected(&filter, &line), "{}", line);
    }

    #[test]
    fn one_event_is_found_by_its_name(past in any_past(), other in any_past()) {
        let Some(id) = past.id() else { return Ok(()) };
        let filter = Filter { event: Some(id), ..Filter::default() };
        prop_assert_eq!(filter.fit(&past), Fit::Yes);
        prop_assert_eq!(filter.fit(&other) == Fit::Yes, other.id() == Some(id));
    }

    #[test]
    fn what_no_pin_tags_comes_with_the_rest_where_it_is_asked_for_too(past in any_past()) {
        let all = Filter { untagged: true, ..Filter::default() };
        prop_assert_eq!(all.fit(&past), Fit::Yes);
        let comes_anyway = Filter::default().fit(&past) == Fit::Yes;
        prop_assert_eq!(comes_anyway, !matches!(past, Past::Untagged { .. }));
    }

    #[test]
    fn a_filter_goes_over_the_socket_as_it_is(filter in any_filter()) {
        let text = serde_json::to_string(&filter).unwrap();
        prop_assert_eq!(serde_json::from_str::<Filter>(&text).unwrap(), filter);
    }
}

#[test]
fn words_that_are_no_names_are_told_with_what_there_is() {
    let with = |change: fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        filter.check()
    };
    assert_eq!(with(|_| ()), Ok(()));
    assert_eq!(with(|it| it.to = Some("uncertain".into())), Ok(()));
    let says = |result: Result<(), String>, what: &str| assert!(result.unwrap_err().contains(what), "{what}");
    says(with(|it| it.verdict = Some("deny".into())), "pass, observe, flag, drop");
    says(with(|it| it.reason = Some("no".into())), "forbidden");
    says(with(|it| it.to = Some("EU".into())), "ISO 3166-1");
    says(with(|it| (it.since, it.until) = (Some(start()), Some(start()))), "nothing is between");
}

#[test]
fn a_record_of_what_is_missing_is_shown_to_everybody() {
    let lost = Past::Lost { session: start(), time: start(), records: 3 };
    let filter = Filter { pin: Some("mail".into()), process: Some("imap".into()), ..Filter::default() };
    assert_eq!(filter.fit(&lost), Fit::Yes);
}
