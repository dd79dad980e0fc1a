//! The numbers and texts of all forms are the same.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::redact::redacted;
use super::super::register::OF_NONE;
use super::super::sums::Class;
use super::super::text::cell;
use super::super::{COLUMNS, Format, NOT_APART, PRESUMED, REGISTER, Report};
use super::dom::{Element, Page};
use super::rendered;
use super::sample::{any_report, empty, sample};
use crate::text::visible;

/// The cells of a row: the plain number where it has one, else its text.
fn cells(row: &Element) -> Vec<String> {
    let number = |cell: &Element| cell.all("data").first().and_then(|data| data.attribute("value"));
    row.children().iter().map(|cell| number(cell).unwrap_or_else(|| cell.text())).collect()
}

/// The cells of the rows of these tables, without their heads.
fn rows_of(tables: &[Element]) -> Vec<Vec<String>> {
    let bodies = tables.iter().flat_map(|table| table.all("tbody"));
    bodies.flat_map(|body| body.all("tr")).map(|row| cells(&row)).collect()
}

fn tables(page: &Page, ids: &[&str]) -> Vec<Element> {
    let mut tables = page.all("table");
    tables.retain(|table| table.attribute("id").is_some_and(|id| ids.contains(&id.as_str())));
    tables
}

fn row_of(report: &Report, row: &super::super::Traffic, text: impl Fn(&str) -> String) -> Vec<String> {
    let class = Class::of(row, report).name().to_owned();
    let texts = [row.pin.as_str(), &row.jurisdiction].map(&text);
    let [pin, jurisdiction] = texts;
    let (day, verdict, reason) = (row.day.to_string(), text(&row.verdict), text(&row.reason));
    vec![day, pin, jurisdiction, class, verdict, reason, row.packets.to_string(), row.bytes.to_string()]
}

/// Recipient, packets and bytes of each exemption's days in the order of the report; `none` is a recipient that is not
/// known.
fn uses(report: &Report, none: &str, text: impl Fn(&str) -> String) -> Vec<Vec<String>> {
    let days = report.exemptions.iter().flat_map(|exemption| &exemption.use_by_day);
    days.map(|day| {
        let recipient = day.recipient.as_deref().map_or_else(|| none.to_owned(), &text);
        let jurisdiction = day.jurisdiction.clone().unwrap_or_default();
        vec![day.day.to_string(), recipient, jurisdiction, day.packets.to_string(), day.bytes.to_string()]
    })
    .collect()
}

/// The register has all that exemptions let through, and no more.
fn check_register(report: &Report) {
    let text = rendered(report, Format::Register);
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    assert_eq!(reader.headers().unwrap(), REGISTER.as_slice());
    let sum = |sums: &mut BTreeMap<String, u64>, id: String, bytes: u64| {
        let sum = sums.entry(id).or_default();
        *sum = sum.saturating_add(bytes);
    };
    let (mut counted, mut told) = (BTreeMap::new(), BTreeMap::new());
    // Each recipient's own, in the order of the rows.
    let mut of_each: Vec<u64> = Vec::new();
    for exemption in &report.exemptions {
        for day in &exemption.use_by_day {
            sum(&mut counted, cell(&exemption.id), day.bytes);
        }
        // What is not known to have left has a row of its own behind them.
        let presumed = exemption.presumed.iter().fold(0_u64, |sum, day| sum.saturating_add(day.bytes));
        sum(&mut counted, cell(&exemption.id), presumed);
        let of = |number: Option<u32>| exemption.use_by_day.iter().filter(move |day| day.number == number);
        let bytes = |number| of(number).fold(0_u64, |sum, day| sum.saturating_add(day.bytes));
        of_each.extend((1_u32..).zip(&exemption.recipients).map(|(number, _)| bytes(Some(number))));
        of_each.extend(of(None).any(|day| (day.packets, day.bytes) != (0, 0)).then(|| bytes(None)));
        of_each.extend(Some(presumed).filter(|bytes| *bytes > 0));
    }
    let mut rows: Vec<u64> = Vec::new();
    let mut of_none: Vec<u64> = Vec::new();
    let all: Vec<std::collections::HashMap<String, String>> =
        reader.deserialize().map(Result::unwrap).collect();
    assert_eq!(
        all.is_empty(),
        report.gaps.is_empty() && of_each.is_empty() && report.unattributed.is_empty()
    );
    for row in all {
        assert_eq!(row["gaps"], cell(&report.gaps.join("; ")));
        if row["bytes"].is_empty() {
            continue;
        }
        let bytes = row["bytes"].parse().unwrap();
        if row["recipient"].starts_with(OF_NONE) {
            of_none.push(bytes);
            continue;
        }
        rows.push(bytes);
        if bytes > 0 {
            sum(&mut told, row["processing activity"].clone(), bytes);
        }
        assert!(
            row.values().all(|text| !text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n'])),
            "{row:?}"
        );
    }
    counted.retain(|_, bytes| *bytes > 0);
    assert_eq!((told, rows), (counted, of_each));
    let expected: Vec<u64> = report.unattributed.iter().map(|it| it.bytes).collect();
    assert_eq!(of_none, expected);
}

fn check(report: &Report) {
    let json = rendered(report, Format::Json);
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), redacted(report));

    let table = super::rows(report);
    let of = |section: &'static str| table.iter().filter(move |row| row["section"] == section);
    let columns = ["day", "pin", "jurisdiction", "class", "verdict", "reason", "packets", "bytes"];
    let in_table: Vec<Vec<String>> =
        of("traffic").map(|row| columns.iter().map(|name| row[*name].clone()).collect()).collect();
    let expected: Vec<_> = report.traffic.iter().map(|row| row_of(report, row, cell)).collect();
    assert_eq!(in_table, expected);
    let columns = ["pin", "packets", "bytes", "value"];
    let of_none: Vec<_> = of("unattributed").map(|row| columns.map(|name| row[name].clone())).collect();
    let each = report.unattributed.iter();
    let expected: Vec<_> =
        each.map(|it| [cell(&it.pin), it.packets.to_string(), it.bytes.to_string(), it.least()]).collect();
    assert_eq!(of_none, expected);
    let columns = ["day", "name", "jurisdiction", "packets", "bytes"];
    let used: Vec<Vec<String>> =
        of("use").map(|row| columns.map(|name| row[name].clone()).to_vec()).collect();
    assert_eq!(used, uses(&redacted(report), "", cell));
    let columns = ["day", "name", "packets", "bytes"];
    let presumed: Vec<Vec<String>> =
        of("presumed").map(|row| columns.map(|name| row[name].clone()).to_vec()).collect();
    let expected = report.exemptions.iter().flat_map(|it| &it.presumed);
    let expected: Vec<_> = expected
        .map(|it| vec![it.day.to_string(), PRESUMED.into(), "0".into(), it.bytes.to_string()])
        .collect();
    assert_eq!(presumed, expected);
    check_register(report);

    let page = Page::parse(&rendered(report, Format::Html));
    let mut shown = rows_of(&tables(&page, &["crossed", "refused", "home"]));
    let mut expected: Vec<_> =
        report.traffic.iter().map(|row| row_of(report, row, |text| visible(text).into_owned())).collect();
    shown.sort();
    expected.sort();
    assert_eq!(shown, expected);
    let mut days: Vec<Element> =
        page.all("article").iter().flat_map(|article| article.all("table")).collect();
    days.retain(|table| table.all("caption")[0].text() == "What it let through");
    assert_eq!(rows_of(&days), uses(&redacted(report), NOT_APART, |text| visible(text).into_owned()));

    let mut sums: BTreeMap<&str, (u64, u64)> =
        Class::ALL.iter().map(|class| (class.name(), (0, 0))).collect();
    for row in &report.traffic {
        let sum = sums.get_mut(Class::of(row, report).name()).unwrap();
        *sum = (sum.0.saturating_add(row.packets), sum.1.saturating_add(row.bytes));
    }
    let shown = rows_of(&tables(&page, &["classes"]));
    assert_eq!(shown.len(), sums.len());
    for row in shown {
        let sum = sums[row[0].as_str()];
        assert_eq!((&row[1], &row[2]), (&sum.0.to_string(), &sum.1.to_string()));
    }
}

#[test]
fn numbers_and_texts_are_the_same_in_every_form() {
    check(&sample());
    check(&empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn numbers_and_texts_are_the_same_in_every_form_of_any_report(report in any_report()) {
        check(&report);
    }

    #[test]
    fn no_cell_of_the_table_begins_a_formula(report in any_report()) {
        for row in super::rows(&report) {
            prop_assert_eq!(row.len(), COLUMNS.len());
            for (name, value) in row {
                prop_assert!(!value.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝']), "{}: {:?}", name, value);
            }
        }
    }
}

/// The rows of the register of one exemption, by the names of their columns.
fn register_of(exemption: super::super::ExemptionEntry) -> Vec<std::collections::HashMap<String, String>> {
    let report = Report { exemptions: vec![exemption], ..sample() };
    let text = rendered(&report, Format::Register);
    ::csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect()
}

fn change(at: &str, what: &str) -> super::super::Change {
    super::super::Change {
        at: at.parse().unwrap(),
        what: what.into(),
        who: String::new(),
        why: String::new(),
        order: None,
        still_held: false,
        covers: None,
        name: None,
        document_sha256: None,
        signed_by: Vec::new(),
    }
}

#[test]
fn transfers_are_from_the_load_until_the_earliest_end() {
    use crate::audit::Kind;
    let plain = super::sample::exemption("a", "");
    let window = |changes: Vec<super::super::Change>, review: &str| {
        let mut it = plain.clone();
        it.changes = changes;
        if let Some(assessment) = &mut it.assessment {
            assessment.review_by = review.to_owned();
        }
        let rows = register_of(it);
        (rows[0]["transfers from"].clone(), rows[0]["transfers until"].clone())
    };
    let of = |from: &str, until: &str| (format!("{from} UTC"), format!("{until} UTC"));
    const BEGIN: &str = "2026-11-01 00:00:00";
    const END: &str = "2026-12-15 00:00:00";
    let later = "2027-06-02T00:00:00Z";
    assert_eq!(window(vec![], later), of(BEGIN, END));
    assert_eq!(
        window(vec![change("2026-10-20T08:00:00Z", "load")], later),
        of(BEGIN, END),
        "loaded before it began"
    );
    let load = || change("2026-11-02T08:00:00Z", "load");
    assert_eq!(window(vec![load()], later), of("2026-11-02 08:00:00", END));
    assert_eq!(
        window(vec![load()], "2026-12-01T00:00:00Z"),
        of("2026-11-02 08:00:00", "2026-12-01 00:00:00")
    );
    let closing =
        [Kind::Revoke, Kind::Invalidate, Kind::RevokeKey, Kind::Supersede, Kind::Expire, Kind::Exhaust];
    for kind in closing {
        let found = window(vec![load(), change("2026-11-20T10:00:00Z", kind.name())], later);
        assert_eq!(found, of("2026-11-02 08:00:00", "2026-11-20 10:00:00"), "{}", kind.name());
        // What was seen to be over later was over by then.
        let found = window(vec![load(), change("2026-12-16T10:00:00Z", kind.name())], later);
        assert_eq!(found, of("2026-11-02 08:00:00", END), "{}", kind.name());
    }
    // Neither a stay nor what was done later ends it.
    for kind in [Kind::Stay, Kind::Resume, Kind::DutyDone] {
        let found = window(vec![load(), change("2026-11-20T10:00:00Z", kind.name())], later);
        assert_eq!(found, of("2026-11-02 08:00:00", END), "{}", kind.name());
    }
}

#[test]
fn the_register_has_who_takes_part_and_on_what_condition_on_the_page_too() {
    let particular =
        |key: &str, value: &str| super::super::ParticularEntry { key: key.into(), value: value.into() };
    let mut it = super::sample::exemption("a", "");
    it.particulars = vec![
        particular("data_subjects", "patients"),
        particular("data_subjects", "staff"),
        particular("instrument.module", "c2p"),
        particular("condition.met", "once only"),
        particular("condition.subjects", "3"),
        particular("processor 1: name", "Storage house"),
        particular("processor 1: contract", "DPA-1"),
        particular("processor 2: name", "Courier"),
        particular("joint_controller 1: name", "Example France"),
        particular("joint_controller 1: arrangement", "JCA-2"),
    ];
    let mut report = Report { exemptions: vec![it.clone()], ..sample() };
    report.organisation.joint_controller = Some("Example Group".into());
    let text = rendered(&report, Format::Register);
    let row: std::collections::HashMap<String, String> =
        ::csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).next().unwrap();
    for (column, value) in [
        ("categories of data subjects", "patients, staff"),
        ("module", "c2p"),
        ("condition", "once only, at most 3 data subjects"),
        ("processors", "Storage house, DPA-1; Courier"),
        ("joint controllers", "Example Group; Example France, JCA-2"),
    ] {
        assert_eq!(row[column], value, "{column}");
    }
    let page = Page::parse(&rendered(&report, Format::Html));
    let register = tables(&page, &["recipients"])[0].text();
    for value in [
        "patients, staff",
        "c2p",
        "at most 3 data subjects",
        "Storage house, DPA-1; Courier",
        "Example France, JCA-2",
    ] {
        assert!(register.contains(value), "{value} in {register}");
    }
    // Of a confidential one nothing of that is told to others.
    it.confidential = true;
    let report = Report { exemptions: vec![it], redacted: true, ..sample() };
    let text = rendered(&report, Format::Register) + &rendered(&report, Format::Html);
    for value in ["patients", "once only", "Storage house", "Example France"] {
        assert!(!text.contains(value), "{value}");
    }
}

/// What each piece of a chart says of itself adds up to what the tables have.
#[test]
fn the_bars_add_up_to_the_tables() {
    let report = sample();
    let page = Page::parse(&rendered(&report, Format::Html));
    let sum = |id: &str| -> u64 {
        let is_it =
            |svg: &Element| svg.attribute("aria-labelledby").is_some_and(|labels| labels.starts_with(id));
        let charts = page.all("svg").into_iter().filter(is_it);
        let bars = charts.flat_map(|svg| svg.all("rect"));
        bars.map(|bar| {
            let said = bar.text();
            let (_, count) = said.rsplit_once(": ").unwrap();
            count.replace(',', "").strip_suffix(" bytes").unwrap().parse::<u64>().unwrap()
        })
        .sum()
    };
    assert_eq!(sum("chart-crossed"), 70_000 + 21_000 + 330 + 7);
    assert_eq!(sum("chart-exempted"), 21_000);
    assert_eq!(sum("chart-refused"), 4_200);
    let heights: Vec<f64> =
        page.all("rect").iter().map(|bar| bar.attribute("height").unwrap().parse().unwrap()).collect();
    assert!(heights.iter().all(|height| (0.0..=230.0).contains(height)), "{heights:?}");
}

#[test]
fn what_nobody_approved_is_told_as_such_in_each_form() {
    let mut report = sample();
    report.exemptions.iter_mut().for_each(|exemption| exemption.approvals.clear());
    let words = "no approval was required when it was loaded";
    assert!(rendered(&report, Format::Html).contains(words));
    let told = super::rows(&report).into_iter().filter(|row| row["section"] == "approval");
    let told: Vec<_> = told.map(|row| (row["name"].clone(), row["value"].clone())).collect();
    assert_eq!(told.len(), report.exemptions.len());
    assert!(!told.is_empty() && told.iter().all(|(name, value)| name == "nobody" && value == words));
    let approved = rendered(&sample(), Format::Html);
    assert!(!approved.contains(words));
}

/// A slice of a quota from before a crash: nobody is known to have received it, also where one alone might have.
#[test]
fn what_is_not_known_to_have_left_is_apart_from_what_a_recipient_got() {
    let it = super::sample::exemption("a", "");
    let rows = register_of(it.clone());
    let found: Vec<_> =
        rows.iter().map(|row| ["recipient", "packets", "bytes"].map(|name| row[name].as_str())).collect();
    assert_eq!(found[..2], [["recipient", "20", "21000"], [PRESUMED, "0", "64000"]]);
    assert_eq!((rows[1]["first transfer"].as_str(), rows[1]["recipient's country"].as_str()), ("", ""));
    let report = Report { exemptions: vec![it], ..sample() };
    let page = Page::parse(&rendered(&report, Format::Html)).all("article")[0].text();
    assert!(page.contains("Let through 21,000 bytes in 20 packets"), "{page}");
    assert!(page.contains(&format!("64,000 bytes are {PRESUMED}")), "{page}");
}

#[test]
fn first_and_last_transfer_are_of_the_period() {
    let seen = |first: &str, last: &str, until: &str| {
        let mut it = super::sample::exemption("a", "");
        (it.first_use, it.last_use) = (Some(first.parse().unwrap()), Some(last.parse().unwrap()));
        let until = until.parse().unwrap();
        let report = Report { exemptions: vec![it], until, ..sample() };
        let text = rendered(&report, Format::Register);
        let row: std::collections::HashMap<String, String> =
            ::csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).next().unwrap();
        (row["first transfer"].clone(), row["last transfer"].clone())
    };
    let of = |first: &str, last: &str| (first.to_owned(), last.to_owned());
    let end = "2026-12-01T00:00:00Z";
    let whole = seen("2026-11-02T10:00:00Z", "2026-11-02T11:00:00Z", end);
    assert_eq!(whole, of("2026-11-02 10:00:00 UTC", "2026-11-02 11:00:00 UTC"));
    // It was used before the period began and after it ended: of the period nothing but the day is known.
    assert_eq!(seen("2026-10-02T10:00:00Z", "2026-12-20T11:00:00Z", end), of("2026-11-02", "2026-11-02"));
}

/// The overview has the same times as the register, also of what is closed.
#[test]
fn the_line_of_an_exemption_has_when_transfers_began_and_ended() {
    use crate::audit::Kind;
    let mut it = super::sample::exemption("a", "");
    it.changes = vec![
        change("2026-11-02T08:00:00Z", Kind::Load.name()),
        change("2026-11-20T10:00:00Z", Kind::Revoke.name()),
    ];
    let report = Report { exemptions: vec![it], ..sample() };
    let page = Page::parse(&rendered(&report, Format::Html));
    let rows = rows_of(&tables(&page, &["overview"]));
    let found = (rows[0][5].as_str(), rows[0][6].as_str());
    assert_eq!(found, ("2026-11-02 08:00:00 UTC", "2026-11-20 10:00:00 UTC"));
}

#[test]
fn orders_of_one_reference_are_told_apart_by_what_they_are_on_and_a_lift_by_its_signers() {
    let order = |covers: &str, name: &str| super::super::Change {
        why: "High Court, 2026/1".into(),
        covers: Some(covers.into()),
        name: Some(name.into()),
        ..change("2026-11-20T10:00:00Z", "stay")
    };
    let mut it = super::sample::exemption("a", "");
    let lift = super::super::Change {
        why: "lifted".into(),
        order: Some("High Court, 2026/1".into()),
        signed_by: vec![
            super::super::ApprovalEntry {
                identity: "aoife@example.org".into(),
                roles: vec!["dpo".into()],
                key: "k".into(),
            },
            super::super::ApprovalEntry {
                identity: "brian@example.org".into(),
                roles: vec!["legal".into()],
                key: "l".into(),
            },
        ],
        what: "resume".into(),
        ..order("pin", "mail-ie")
    };
    it.changes = vec![order("pin", "mail-ie"), order("recipient", "Court"), order("all", ""), lift];
    let expected = [
        "High Court, 2026/1, on the pin \"mail-ie\"",
        "High Court, 2026/1, on the recipient \"Court\"",
        "High Court, 2026/1, on every exemption",
        "lifts the order High Court, 2026/1 on the pin \"mail-ie\": lifted; signed by aoife@example.org (dpo) with k \
         and brian@example.org (legal) with l",
    ];
    let words: Vec<String> = it.changes.iter().map(super::super::Change::words).collect();
    assert_eq!(words, expected);
    let told = register_of(it.clone()).remove(0)["stays and lifts"].clone();
    let report = Report { exemptions: vec![it], ..sample() };
    let page = Page::parse(&rendered(&report, Format::Html)).all("article")[0].text();
    for words in expected {
        assert!(told.contains(words) && page.contains(words), "{words} in {told}");
    }
}

#[test]
fn falls_restorations_and_revocations_are_told_by_whom_and_why_and_only_its_own_end_it() {
    let of_instrument = |at: &str, what: &str, why: &str, order: Option<&str>| super::super::Change {
        who: "root (0)".into(),
        why: why.into(),
        order: order.map(str::to_owned),
        covers: Some("instrument".into()),
        name: Some("An MLAT".into()),
        ..change(at, what)
    };
    let mut it = super::sample::exemption("a", "");
    it.changes = vec![
        of_instrument("2026-11-02T08:00:00Z", "invalidate", "denounced", None),
        of_instrument("2026-11-02T09:00:00Z", "resume", "in force again", Some("denounced")),
        change("2026-11-02T10:00:00Z", "load"),
        super::super::Change {
            who: "root (0)".into(),
            why: "withdrawn".into(),
            ..change("2026-11-03T10:00:00Z", "revoke")
        },
        of_instrument("2026-11-02T11:00:00Z", "invalidate", "denounced again", None),
    ];
    let row = register_of(it).remove(0);
    assert_eq!(
        row["stays and lifts"],
        "2026-11-02 08:00:00 UTC invalidate by root (0): denounced, on the instrument \"An MLAT\"; \
         2026-11-02 09:00:00 UTC resume by root (0): lifts the order denounced on the instrument \"An MLAT\": in force again; \
         2026-11-03 10:00:00 UTC revoke by root (0): withdrawn; \
         2026-11-02 11:00:00 UTC invalidate by root (0): denounced again, on the instrument \"An MLAT\""
    );
    let window = (row["transfers from"].as_str(), row["transfers until"].as_str());
    assert_eq!(window, ("2026-11-02 10:00:00 UTC", "2026-11-03 10:00:00 UTC"));
}
