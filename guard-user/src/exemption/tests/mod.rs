//! Tests of exemptions as a whole.

use std::path::Path;

use jiff::Timestamp;

use super::keys::DOCUMENT;
use super::{Document, ErrorKind, LawPack, Surroundings, parse};
use crate::config::Errors;

mod admitted;
mod any_input;
mod documentation;
mod errors;
mod hidden;
mod law;
mod law_examples;
mod law_pack;
mod meaning;
mod needless;
mod schema;
mod summary;

/// A document without errors, with every key but `replaces`: it is a first version.
const GOOD: &str = r#"id = "mlat-1"
version = 1
pins = ["mail", "files"]
purpose = "Evidence in case 2026/0142"
data_categories = ["e-mail content"]
data_subjects = ["customers"]
valid_from = 2026-12-01T09:00:00+01:00
valid_until = 2026-12-15T00:00:00Z
quota_bytes = 1_000_000
confidential = false
[instrument]
type = "treaty-request"
name = "US-Ireland MLAT 2001"
article = "Art. 48"
ground = "art-46-2-a"
basis = "art-6-1-c"
authority = "Department of Justice, Ireland"
reference = "case 2026/0142"
agreement = "Treaty of 18 January 2001"
document_sha256 = "9F86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
[exporter]
name = "Example Mail Ireland Ltd"
role = "controller"
contact = "privacy@example.org"
[assessment]
reference = "TIA-2026-07"
review_by = 2027-06-01
measures = ["encryption in transit"]
[approval]
submitter = "aoife@example.org"
[[approval.required]]
role = "legal"
count = 1
[[recipient]]
name = "Department"
jurisdiction = "US"
cidrs = ["198.51.100.20/32", "2001:db8:20::/48"]
ports = ["tcp/443"]
[[recipient]]
name = "Translation office"
jurisdiction = "JP"
cidrs = ["203.0.113.0/24"]
ports = ["tcp/993"]
[condition]
met = "the treaty's own"
[[processor]]
name = "Storage house"
jurisdiction = "DE"
contract = "DPA-2025-11"
[[joint_controller]]
name = "Example Mail France"
contact = "privacy@example.net"
arrangement = "JCA-2024-02"
[[onward]]
name = "Forensic laboratory"
jurisdiction = "CH"
ground = "art-45"
safeguard = "the rule of speciality"
[[duty]]
what = "answer"
due = 2026-12-20
"#;

/// A moment within the good document's window.
const NOW: &str = "2026-12-02T00:00:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn pins() -> Vec<String> {
    ["mail", "files", "backup"].map(str::to_owned).to_vec()
}

fn check(text: &str) -> Result<Document, Errors<ErrorKind>> {
    let pins = pins();
    let law = LawPack::embedded().unwrap();
    let surroundings =
        Surroundings { pins: Some(&pins), now: Some(time(NOW)), law: Some(law), ..Surroundings::default() };
    parse(Path::new("exemption.toml"), text.as_bytes(), &surroundings)
}

/// [`GOOD`] with one part replaced, which must be there once.
fn good_with(part: &str, replacement: &str) -> String {
    crate::config::tests::findings::replaced(GOOD, part, replacement)
}

/// The document with this value for a key of a section's first header, or without the key.
fn with_value(document: &str, section: &str, name: &str, value: Option<&str>) -> String {
    let header = DOCUMENT.header(section);
    let mut lines: Vec<&str> = document.lines().collect();
    let first = match section {
        "" => 0,
        _ => 1 + lines.iter().position(|line| *line == header).unwrap_or_else(|| panic!("{header} is there")),
    };
    let length = lines[first..].iter().position(|line| line.starts_with('['));
    let end = length.map_or(lines.len(), |length| first + length);
    let begin = format!("{name} = ");
    let there = lines[first..end].iter().position(|line| line.starts_with(&begin));
    let written = value.map(|value| begin + value);
    match (there, &written) {
        (Some(at), Some(line)) => lines[first + at] = line,
        (Some(at), None) => drop(lines.remove(first + at)),
        (None, Some(line)) => lines.insert(first, line),
        (None, None) => {}
    }
    lines.join("\n") + "\n"
}
