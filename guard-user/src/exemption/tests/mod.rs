//! Tests of exemptions as a whole.

use std::path::Path;

use jiff::Timestamp;

use super::{Document, ErrorKind, Surroundings, document};
use crate::config::Errors;

mod any_input;
mod crash;
mod documentation;
mod errors;
mod killed;
mod meaning;
mod model;
mod snapshot;
mod store;

/// A document without errors.
const GOOD: &str = r#"id = "mlat-1"
version = 1
instrument = "treaty-request"
reference = "case 2026/0142"
pins = ["mail", "files"]
ports = ["tcp/443"]
valid_from = 2026-12-01T09:00:00+01:00
valid_until = 2026-12-15T00:00:00Z
quota_bytes = 1_000_000
[[recipient]]
name = "Department"
cidrs = ["198.51.100.20/32", "2001:db8:20::/48"]
[[recipient]]
name = "Anybody in Japan"
jurisdictions = ["JP"]
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
    let surroundings = Surroundings { pins: Some(&pins), now: Some(time(NOW)), earlier: None };
    document::parse(Path::new("exemption.toml"), text.as_bytes(), &surroundings)
}

/// [`GOOD`] with one part replaced, which must be there once.
fn good_with(part: &str, replacement: &str) -> String {
    assert_eq!(GOOD.matches(part).count(), 1, "{part:?} must be in the good document once");
    GOOD.replace(part, replacement)
}

/// The good document under another id and version.
fn named(id: &str, version: u32) -> String {
    GOOD.replace("\"mlat-1\"", &format!("{id:?}")).replace("version = 1", &format!("version = {version}"))
}
