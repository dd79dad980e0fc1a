//! Tests of the store as a whole.

use std::path::Path;

use base64ct::{Base64Unpadded, Encoding};
use jiff::Timestamp;
use redb::ReadableTable;
use sha2::{Digest, Sha256};

use super::tables::AUDIT;
use super::{Admission, ApprovalError, ApprovedBy, LoadError, Store, Submission};
use crate::approval::Signature;
use crate::audit::{self, Head, Kind, Who};
use crate::exemption::{Clocks, Document, LawPack};

mod agreements;
mod changed_tables;
mod changes;
mod crash;
mod damage;
mod days;
mod duties;
mod failure;
pub(crate) mod high_water;
mod kept;
mod killed;
mod late_configs;
mod marked_uses;
mod memory;
pub(crate) mod model;
mod orders;
mod place;
mod progress;
mod quotas;
mod reader;
mod recipients;
mod runs;
mod slots;
mod told;
mod unrecorded;
mod unsaved;
mod world;

/// A document for two recipients that have ports of their own, so that the kernel needs two entries for it.
const GOOD: &str = r#"id = "mlat-1"
version = 1
pins = ["mail", "files"]
purpose = "Evidence in case 2026/0142"
data_categories = ["e-mail content"]
data_subjects = ["customers"]
valid_from = 2026-12-01T09:00:00+01:00
valid_until = 2026-12-15T00:00:00Z
quota_bytes = 1_000_000
[instrument]
type = "treaty-request"
name = "US-Ireland MLAT 2001"
article = "Art. 48"
ground = "art-46-2-a"
basis = "art-6-1-c"
authority = "Department of Justice, Ireland"
reference = "case 2026/0142"
agreement = "Treaty of 18 January 2001"
[exporter]
name = "Example Mail Ireland Ltd"
role = "controller"
contact = "privacy@example.org"
[assessment]
reference = "TIA-2026-07"
review_by = 2027-06-01
[approval]
submitter = "aoife@example.org"
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
"#;

/// A moment within the good document's window.
const NOW: &str = "2026-12-02T00:00:00Z";
/// The first moment after it.
const OVER: &str = "2026-12-15T00:00:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    time(NOW)
}

fn clocks() -> Clocks {
    Clocks { wall: now(), boot_ns: 5_000_000_000 }
}

fn pins() -> Vec<String> {
    ["mail", "files", "backup"].map(str::to_owned).to_vec()
}

fn who() -> Who {
    Who { uid: 1001, user: Some("aoife".to_owned()), pid: None }
}

/// [`GOOD`] with some parts replaced, each of which must be there once.
fn good_with(parts: &[(&str, &str)]) -> String {
    let mut text = GOOD.to_owned();
    for (part, replacement) in parts {
        assert_eq!(text.matches(part).count(), 1, "{part:?} must be in the good document once");
        text = text.replace(part, replacement);
    }
    text
}

/// The good document under another id and version, with one recipient, so that it needs one slot.
pub(crate) fn named(id: &str, version: u32) -> String {
    let (one, _) = GOOD.rsplit_once("[[recipient]]").unwrap();
    one.replace("\"mlat-1\"", &format!("{id:?}")).replace("version = 1", &format!("version = {version}"))
}

/// Two approvals, as the signatures of [`signatures`] would give.
fn approve(document: &Document) -> Result<Vec<ApprovedBy>, ApprovalError> {
    let by = |identity: &str, role: Option<&str>, fingerprint: String| ApprovedBy {
        identity: identity.to_owned(),
        role: role.map(str::to_owned),
        fingerprint,
    };
    Ok(vec![
        by("brian@example.org", Some("legal"), "SHA256:47DEQpj8HBSa".to_owned()),
        by("ciara@example.org", None, key_of(&document.id)),
    ])
}

/// The fingerprint of the key that approves the document of this id, and no other one.
fn key_of(id: &str) -> String {
    format!("SHA256:{}", Base64Unpadded::encode_string(&Sha256::digest(id)))
}

fn signatures() -> Vec<Signature> {
    ["one", "two"].map(|name| Signature { name: name.to_owned(), bytes: name.into() }).to_vec()
}

fn submit<T>(text: &str, then: impl FnOnce(&Submission<'_>) -> T) -> T {
    let (signatures, pins) = (signatures(), pins());
    then(&Submission {
        name: Path::new("x.toml"),
        bytes: text.as_bytes(),
        signatures: &signatures,
        pins: &pins,
        homes: &[],
        law: LawPack::embedded().unwrap(),
        widest: Default::default(),
        approve: &approve,
    })
}

pub(crate) fn load(store: &mut Store, text: &str) -> Result<Admission, LoadError> {
    submit(text, |submission| store.load(submission, &who(), now()))
}

/// The ids of what the kernel is to have.
fn open_ids(store: &Store) -> Vec<String> {
    let entries = store.kept.kernel_exemptions(&clocks(), &pins());
    let accounts = entries.iter().filter(|entry| entry.slot == entry.account);
    accounts.map(|entry| store.kept.by_slot(entry.slot).unwrap().id.clone()).collect()
}

/// The whole audit trail, verified.
fn trail(store: &Store) -> Vec<audit::Stored> {
    let lines = store.audit_lines(0, usize::MAX).unwrap();
    let head = audit::verify(&lines, &[]).unwrap();
    let end = store.last_audit_line().map_or(Head::START, |line| Head::of_line(line).unwrap());
    assert_eq!(head, end, "what the store takes for the last line is the last line");
    lines.iter().map(|line| audit::Stored::read(line.as_bytes()).unwrap()).collect()
}

/// The kinds of all records of the trail.
fn kinds(store: &Store) -> Vec<String> {
    trail(store).into_iter().map(|record| record.kind).collect()
}

/// A store with so many records in its trail, one of them altered behind the store's back.
pub(crate) fn with_trail(count: u64, altered: Option<u64>) -> Store {
    let mut store = model::ModelDisk::new().open_store();
    let record =
        |_| Store::record_of(Kind::Start, &("x".to_owned(), 1), &who(), now(), "", serde_json::json!({}));
    store
        .commit(&[], (0..count).map(record).collect(), |batch| {
            let Some(at) = altered else { return Ok(()) };
            let mut table = batch.open_table(AUDIT)?;
            let line = table.get(at)?.unwrap().value().replace("\"subject\":\"x\"", "\"subject\":\"y\"");
            table.insert(at, line.as_str())?;
            Ok(())
        })
        .unwrap();
    store
}
