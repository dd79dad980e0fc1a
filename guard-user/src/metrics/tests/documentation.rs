//! Docs, rules and dashboard name what the table has.

use std::collections::BTreeSet;

use crate::health::ProblemCode;
use crate::metrics::family::{Kind, Metric};
use crate::metrics::severity::severity;

const DOCS: &str = include_str!("../../../../docs/metrics.md");
const RULES: &str = include_str!("../../../../packaging/prometheus/borderguard.rules.yml");
const RULES_TEST: &str = include_str!("../../../../packaging/prometheus/borderguard.test.yml");
const DASHBOARD: &str = include_str!("../../../../packaging/grafana/borderguard.json");

/// The words of a text that are metrics of this program.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|it: char| !(it.is_ascii_alphanumeric() || it == '_' || it == ':'));
    words.filter(|word| word.starts_with("borderguard_") || word.starts_with("borderguard:")).collect()
}

fn names() -> BTreeSet<&'static str> {
    Metric::ALL.iter().map(|metric| metric.family().name).collect()
}

/// What rules make of them.
fn recorded() -> BTreeSet<&'static str> {
    RULES.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect()
}

#[test]
fn the_docs_have_every_metric_with_type_labels_and_meaning() {
    let row = |metric: &Metric| {
        let family = metric.family();
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        format!("| `{}` | {} | {labels} | {} |\n", family.name, family.kind.name(), family.help)
    };
    let rows: String = Metric::ALL.iter().map(row).collect();
    let written: String =
        DOCS.lines().filter(|line| line.starts_with("| `borderguard_")).map(|it| format!("{it}\n")).collect();
    assert!(written == rows, "docs/metrics.md must have these rows:\n{rows}");
}

#[test]
fn the_docs_have_every_problem_with_its_severity() {
    for level in ["critical", "warning", "info"] {
        let codes = ProblemCode::ALL.iter().filter(|code| severity(**code) == level);
        let codes: Vec<String> = codes.map(|code| format!("`{code}`")).collect();
        let row = format!("| `{level}` | {} |\n", codes.join(", "));
        assert!(DOCS.contains(&row), "docs/metrics.md must have this row:\n{row}");
    }
}

#[test]
fn rules_and_dashboard_name_only_metrics_that_there_are() {
    let known: BTreeSet<&str> = names().union(&recorded()).copied().collect();
    for (file, text) in [("rules", RULES), ("tests of rules", RULES_TEST), ("dashboard", DASHBOARD)] {
        let unknown: Vec<&str> = named(text).difference(&known).copied().collect();
        assert!(unknown.is_empty(), "the {file} name {unknown:?}");
        assert!(named(text).len() > 5, "the {file} name hardly anything");
    }
}

#[test]
fn every_alert_and_every_record_is_tested_and_documented() {
    let of = |key: &str| -> BTreeSet<&str> {
        RULES.lines().filter_map(|line| line.trim().strip_prefix(key)).collect()
    };
    let (alerts, records) = (of("- alert: "), of("- record: "));
    assert!(alerts.len() >= 10 && records.len() >= 3);
    for name in alerts {
        assert!(RULES_TEST.contains(&format!("alertname: {name}")), "{name} is not tested");
        assert!(DOCS.contains(&format!("| `{name}` |")), "{name} is not documented");
    }
    for name in records {
        assert!(RULES_TEST.contains(&format!("- expr: {name}")), "{name} is not tested");
        assert!(DOCS.contains(&format!("| `{name}` |")), "{name} is not documented");
    }
}

#[test]
fn the_dashboard_is_json_with_a_query_in_each_panel() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 10);
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(targets.iter().all(|it| !named(it["expr"].as_str().unwrap()).is_empty()), "{panel}");
        let at = &panel["gridPos"];
        assert!(at["x"].as_u64().unwrap() + at["w"].as_u64().unwrap() <= 24, "{panel}");
    }
}

#[test]
fn names_are_as_prometheus_has_them() {
    assert_eq!(names().len(), Metric::ALL.len());
    for metric in Metric::ALL {
        let family = metric.family();
        assert!(family.name.starts_with("borderguard_"));
        assert_eq!(family.name.ends_with("_total"), family.kind == Kind::Counter, "{}", family.name);
        assert_eq!(family.name.ends_with("_info"), family.kind == Kind::Info, "{}", family.name);
        for name in family.labels.iter().chain([&family.name]) {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        }
        assert!(!family.help.contains(['"', '\\', '\n', '|']) && family.help.ends_with('.'));
        let unbounded =
            ["address", "peer", "process", "command", "user", "uid", "pid", "cgroup", "interface"];
        assert!(family.labels.iter().all(|label| !unbounded.contains(label)), "{}", family.name);
    }
}
