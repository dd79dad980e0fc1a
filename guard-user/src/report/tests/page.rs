//! The page as another parser reads it: sound, with nothing from elsewhere, and made of the same elements
//! whatever the texts are.

use proptest::prelude::*;

use super::super::{Format, Report};
use super::dom::{Element, Page};
use super::rendered;
use super::sample::{any_report, empty, exemption, sample};

fn parsed(report: &Report) -> Page {
    let page = Page::parse(&rendered(report, Format::Html));
    assert!(page.errors().is_empty(), "{:?}", page.errors());
    page
}

/// The names of the elements with the names of their attributes, in order.
fn elements(page: &Page) -> Vec<(String, Vec<String>)> {
    let attributes = |element: &Element| element.attributes().into_iter().map(|(name, _)| name).collect();
    page.elements().iter().map(|element| (element.name(), attributes(element))).collect()
}

fn is_self_contained(page: &Page) {
    const ELEMENTS: [&str; 41] = [
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "nav",
        "ol",
        "a",
        "time",
        "main",
        "section",
        "article",
        "h1",
        "h2",
        "h3",
        "p",
        "strong",
        "span",
        "ul",
        "li",
        "dl",
        "dt",
        "dd",
        "data",
        "div",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "figure",
        "figcaption",
        "svg",
        "desc",
        "line",
        "rect",
        "text",
    ];
    for (name, attributes) in elements(page) {
        assert!(ELEMENTS.contains(&name.as_str()), "{name}");
        for attribute in attributes {
            assert!(!attribute.starts_with("on"), "{name} {attribute}");
            assert!(!["src", "style"].contains(&attribute.as_str()), "{name} {attribute}");
        }
    }
    // Links lead to places of the page itself, which are there.
    let ids: Vec<String> = page.elements().iter().filter_map(|element| element.attribute("id")).collect();
    for element in page.elements() {
        if let Some(link) = element.attribute("href") {
            let id = link.strip_prefix('#').unwrap_or_else(|| panic!("{link}"));
            assert!(element.name() == "a" && ids.iter().any(|its| its == id), "{link}");
        }
    }
    let style: String = page.all("style").iter().map(Element::text).collect();
    assert!(style.len() > 100 && !style.contains("url(") && !style.contains("@import"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_report_is_a_sound_page_that_needs_nothing_else(report in any_report()) {
        is_self_contained(&parsed(&report));
    }

    /// Texts of an exemption, the host and the gaps are text: the page is made as for a plain letter.
    #[test]
    fn no_text_makes_an_element(report in any_report(), harm in "[<>&\"'=/a-z !\\-]{0,20}") {
        let with = |text: &str| {
            let mut report = report.clone();
            report.host = text.to_owned();
            report.gaps.fill(text.to_owned());
            for entry in &mut report.exemptions {
                let texts = exemption(text, text);
                let (uses, quota) = (entry.use_by_day.clone(), entry.quota_bytes);
                (*entry).clone_from(&texts);
                (entry.use_by_day, entry.quota_bytes) = (uses, quota);
            }
            for (number, row) in report.traffic.iter_mut().enumerate() {
                row.pin = format!("{text}{number}");
            }
            elements(&parsed(&report))
        };
        prop_assert_eq!(with(&harm), with("x"));
    }
}

#[test]
fn texts_that_mean_harm_are_shown_as_they_are() {
    let harm = "<script>alert(1)</script>";
    let report = Report { host: harm.to_owned(), exemptions: vec![exemption(harm, "\"><b>")], ..sample() };
    let page = parsed(&report);
    assert!(page.all("script").is_empty() && page.all("b").is_empty());
    let text = page.text();
    assert!(text.contains(harm) && text.contains("\"><b>purpose"));
}

#[test]
fn a_report_of_nothing_says_so() {
    let page = parsed(&empty());
    let text = page.text();
    assert_eq!(text.matches("Nothing in this period.").count(), 3);
    assert_eq!(text.matches("None in this period.").count(), 3);
    assert!(text.contains("No exemption was open in this period."));
    assert!(page.all("svg").is_empty());
    assert_eq!(rendered(&empty(), Format::Csv).lines().count(), 1 + 7);
}

#[test]
fn charts_and_tables_can_be_read_out() {
    let page = parsed(&sample());
    let ids: Vec<String> = page.elements().iter().filter_map(|element| element.attribute("id")).collect();
    let mut different = ids.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), ids.len(), "{ids:?}");
    assert_eq!(page.all("svg").len(), 3);
    for svg in page.all("svg") {
        assert_eq!(svg.attribute("role").as_deref(), Some("img"));
        let labels = svg.attribute("aria-labelledby").unwrap();
        let labels: Vec<String> = labels.split(' ').map(str::to_owned).collect();
        assert!(labels.len() == 2 && labels.iter().all(|label| ids.contains(label)), "{labels:?}");
    }
    assert!(page.all("table").len() > 5);
    for table in page.all("table") {
        assert_eq!(table.children()[0].name(), "caption");
        let head = table.all("thead");
        assert!(head[0].all("th").iter().all(|cell| cell.attribute("scope").as_deref() == Some("col")));
    }
}

/// WCAG 2.2, 1.4.3 and 1.4.11: text has a contrast of at least 4.5 to what is behind it, and so have the
/// colours of the charts.
#[test]
fn colours_stand_out_on_paper_and_in_the_dark() {
    let style = include_str!("../html/style.css");
    let colours = |part: &str| -> std::collections::HashMap<String, f64> {
        part.split("--")
            .skip(1)
            .filter_map(|text| text.split_once(": #"))
            .filter(|(_, rest)| rest.get(6..7) == Some(";"))
            .map(|(name, rest)| (name.to_owned(), luminance(&rest[..6])))
            .collect()
    };
    let (light, rest) = style.split_once("@media screen").unwrap();
    let (dark, _) = rest.split_once("\n}\n").unwrap();
    for colours in [colours(light), colours(dark)] {
        assert_eq!(colours.len(), 14, "{colours:?}");
        let contrast = |one: &str, other: &str| {
            let (one, other) = (colours[one] + 0.05, colours[other] + 0.05);
            one.max(other) / one.min(other)
        };
        for front in ["ink", "faint", "s0", "s1", "s2", "s3", "s4", "s5", "s6"] {
            assert!(contrast(front, "paper") >= 4.5, "{front}: {}", contrast(front, "paper"));
        }
        assert!(contrast("ink", "shade") >= 4.5 && contrast("warn", "warn-shade") >= 4.5);
        assert!(contrast("ink", "warn-shade") >= 4.5);
    }
}

/// Relative luminance of a colour of six hexadecimal digits (WCAG 2.2).
fn luminance(colour: &str) -> f64 {
    let part = |at: usize| {
        let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
}

#[test]
fn no_form_shows_what_nobody_sees() {
    let mut report = sample();
    let odd = "a\u{202e}\u{1b}\u{200b}\u{fe0f}\u{a0}\u{378}\u{e000}";
    report.host = odd.into();
    report.exemptions.push(exemption("m-9", odd));
    for format in [Format::Html, Format::Csv] {
        let shown = rendered(&report, format);
        let unseen: Vec<char> = shown
            .chars()
            .filter(|&letter| !matches!(letter, '\n' | '\r' | '\t') && crate::text::is_unseen(letter))
            .collect();
        assert_eq!(unseen, [], "{format:?}");
    }
}
