//! The texts of exemptions that tests load.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use guard_user::exemption::law::pack::EMBEDDED;
use guard_user::store::sha256;
use jiff::{SignedDuration, Timestamp};

/// A treaty request in an exemption's document, and who sends.
pub const INSTRUMENT: &str = r#"[instrument]
type = "treaty-request"
name = "US-Ireland MLAT 2001"
article = "Art. 48"
ground = "art-46-2-a"
basis = "art-6-1-c"
authority = "Central Authority for Mutual Assistance, Ireland"
reference = "case 2026/0142"
agreement = "Treaty on Mutual Legal Assistance in Criminal Matters of 18 January 2001"

[assessment]
reference = "TIA-2026-07"
review_by = 2099-01-01

[exporter]
name = "Example Mail Ireland Ltd"
role = "controller"
contact = "privacy@example.org"
"#;

/// A config's section that names a law pack in this folder, which is written there: the program's own, without the day by which
/// somebody has to look at it again. After that day no test that loads exemptions would say anything of the program.
///
/// # Errors
/// Where the file can't be written.
pub fn law_without_end(folder: &Path) -> io::Result<String> {
    let ends = |line: &&str| line.starts_with("look_again_by = ");
    let lines = EMBEDDED.lines().map(|line| if ends(&line) { "look_again_by = 9999-01-01" } else { line });
    let pack = lines.collect::<Vec<_>>().join("\n");
    let file = folder.join("law.toml");
    fs::write(&file, &pack)?;
    Ok(format!("[law]\npack = {file:?}\nsha256 = {:?}\n", sha256(pack.as_bytes())))
}

/// The text of an exemption that is valid from now for so many seconds.
pub fn exemption(id: &str, pin: &str, cidrs: &[&str], seconds: i64, quota: Option<u64>) -> String {
    let now = Timestamp::now();
    let window = now - SignedDuration::from_secs(1)..now + SignedDuration::from_secs(seconds);
    exemption_within(id, pin, cidrs, window, quota)
}

/// The text of an exemption that is valid in a window.
pub fn exemption_within(
    id: &str,
    pin: &str,
    cidrs: &[&str],
    window: Range<Timestamp>,
    quota: Option<u64>,
) -> String {
    let Range { start: from, end: until } = window;
    let quota = quota.map(|bytes| format!("quota_bytes = {bytes}\n")).unwrap_or_default();
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    format!(
        "id = {id:?}\nversion = 1\npins = [{pin:?}]\nhosts = [{host:?}]\npurpose = \"Evidence in case 2026/0142\"\n\
         data_categories = [\"e-mail content\"]\ndata_subjects = [\"customers\"]\nvalid_from = {from}\nvalid_until = {until}\n{quota}\n\
         {INSTRUMENT}\n[[recipient]]\nname = \"Requesting authority, Boston\"\njurisdiction = \"US\"\n\
         cidrs = {cidrs:?}\n"
    )
}
