//! Configs that were live while the store could not be opened, or its disk took nothing, so that its trail has no record of them.
//!
//! Whoever keeps the store from being opened at a start, or fills its disk, could have another config judge for a while, end the daemon and put
//! everything back. So what is live then is noted in the file of the mark, and in the kernel by a SHA-256 of these notes, with the
//! first config's own and whether by any of them was only observed. The next store that opens has a record of each. Where file and
//! kernel differ, a record has what the kernel knows.

use guard_common::abi::HighWater;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::audit::{self, Kind};
use crate::config::policy::Policy;
use crate::digest::{from_hexadecimal, hexadecimal, sha256};

/// The field of a roll-back's record that has the facts of the config that is live by it.
pub const LIVE: &str = "live";
/// The field of a record that says how many configs there were, of which the first alone is known.
const CONFIGS: &str = "configs";
/// The field of a reload's record that says whether the config before it asked for signatures of what it opens.
pub const JUDGED: &str = "judged";

/// A config that was live.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unrecorded {
    /// Since when; `None` where that is not known.
    pub(super) since: Option<Timestamp>,
    /// Whether it is known which one it was, and that there was no other beside it.
    pub(super) is_known: bool,
    /// Whether a start took it, which holds it against what it finds on the disk; a reload holds it against the one before.
    pub(super) is_start: bool,
    /// What the record says that could not be written.
    pub(super) detail: Map<String, Value>,
    /// The config's text.
    pub(super) text: String,
}

impl Unrecorded {
    /// The config of a record that can't be written.
    pub(super) fn of(record: &audit::Record, text: &[u8]) -> Self {
        Self {
            since: Some(record.time),
            is_known: true,
            is_start: record.kind == Kind::Start,
            detail: record.detail.clone(),
            text: String::from_utf8_lossy(text).into_owned(),
        }
    }

    /// Some of which no more is known than what the kernel has of the first.
    pub(super) fn unknown(first: Option<&Noted>) -> Self {
        let since = first.and_then(|it| Timestamp::from_second(it.since.cast_signed()).ok());
        let config = first.map(|it| ("config_sha256".to_owned(), hexadecimal(it.config).into()));
        let observed = first.filter(|it| it.observed).map(|_| ("observe".to_owned(), true.into()));
        let detail = config.into_iter().chain(observed).collect();
        Self { since, is_known: false, is_start: true, detail, text: String::new() }
    }

    /// Some that went live before an earlier daemon could note them.
    pub(super) fn untold(untold: &Untold) -> Self {
        let Untold { config, since, observed, count, .. } = *untold;
        let mut note = Self::unknown(Some(&Noted { digest: [0; 32], config, since, observed }));
        note.detail.insert(CONFIGS.to_owned(), count.into());
        note
    }

    /// Whether the config before it asked for signatures of what it opens.
    pub(super) fn is_judged(&self) -> bool {
        self.detail.get(JUDGED).and_then(Value::as_bool).unwrap_or_default()
    }

    /// What it judges by, as the kernel's mark has it; `None` where that is not known.
    pub(super) fn live_by(&self) -> Option<[u8; 32]> {
        live_by(&self.detail).filter(|_| self.is_known)
    }

    /// What of it packets are judged by.
    pub(super) fn judges(&self) -> Judges<'_> {
        Judges::of(&self.detail)
    }
}

/// What packets are judged by, as a record of the trail names it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Judges<'d> {
    config: Option<&'d str>,
    geo: Option<&'d str>,
    observe: bool,
    /// Whom the names of the policy's users stood for.
    users: Option<&'d Value>,
}

impl<'d> Judges<'d> {
    pub(super) fn of(detail: &'d Map<String, Value>) -> Self {
        let text = |name: &str| detail.get(name).and_then(Value::as_str);
        let observe = detail.get("observe").and_then(Value::as_bool).unwrap_or_default();
        // Of the tables: what a database is known by says also what it was held against.
        let users = detail.get("users");
        Self { config: text("config_sha256"), geo: text("geo_sha256"), observe, users }
    }
}

/// A config that is to be live, as the kernel's mark has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoesLive {
    /// SHA-256 of what it judges by.
    pub judges: [u8; 32],
    /// SHA-256 of its text.
    pub config: [u8; 32],
    /// Since when it is live, seconds since 1970.
    pub since: u64,
    /// Whether by it is only observed.
    pub observe: bool,
}

impl GoesLive {
    /// Of this policy, and the geo database of this SHA-256.
    #[must_use]
    pub fn of(policy: &Policy, database: Option<&str>, now: Timestamp) -> Self {
        let config = sha256(&policy.text);
        let users = policy.named_users();
        let users = (!users.is_empty()).then(|| json!(users));
        Self {
            judges: judged_by(&config, database, policy.host.observe, users.as_ref()),
            config: from_hexadecimal(&config).unwrap_or_default(),
            since: now.as_second().cast_unsigned(),
            observe: policy.host.observe,
        }
    }

    /// Has the kernel's mark say so.
    pub fn mark(&self, mark: &mut HighWater) {
        mark.goes_live(self.judges, self.config, self.since);
        if self.observe {
            mark.only_observes();
        }
    }
}

/// What the config of this record's detail judges by, as [`GoesLive`] has it; `None` where it names none.
pub(super) fn live_by(detail: &Map<String, Value>) -> Option<[u8; 32]> {
    let text = |name: &str| detail.get(name).and_then(Value::as_str);
    let observe = detail.get("observe").and_then(Value::as_bool).unwrap_or_default();
    let config = text("config_sha256")?;
    Some(judged_by(config, text("database_sha256"), observe, detail.get("users")))
}

fn judged_by(config: &str, database: Option<&str>, observe: bool, users: Option<&Value>) -> [u8; 32] {
    Sha256::digest(json!([config, database, observe, users]).to_string()).into()
}

/// Configs that went live of which neither trail nor notes have anything yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untold {
    /// SHA-256 of the first one's text.
    pub config: [u8; 32],
    /// Since when that was live, seconds since 1970.
    pub since: u64,
    /// How many there are.
    pub count: u64,
    /// SHA-256 of what the last one judges by.
    pub live: [u8; 32],
    /// Whether by one of them was only observed.
    pub observed: bool,
}

impl Untold {
    /// Those of the kernel's mark; `None` where there are none.
    #[must_use]
    pub fn of(kept: &HighWater) -> Option<Self> {
        let HighWater { untold: config, untold_since: since, untold_count: count, live, .. } = *kept;
        let observed = kept.untold_observed != 0;
        (count > 0).then_some(Self { config, since, count, live, observed })
    }
}

/// What the kernel has of these notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// SHA-256 of all of them.
    pub digest: [u8; 32],
    /// SHA-256 of the text of the first config that nobody held against the one before it, else of the first one.
    pub config: [u8; 32],
    /// Since when that was live, seconds since 1970.
    pub since: u64,
    /// Whether by one of them was only observed.
    pub observed: bool,
}

impl Noted {
    /// Of these; `None` where there are none.
    pub(super) fn of(notes: &[Unrecorded]) -> Option<Self> {
        let first = notes.iter().find(|it| it.is_start || !it.is_judged()).or(notes.first())?;
        let since = first.since.map_or(0, |it| it.as_second().cast_unsigned());
        let config = first.judges().config.and_then(from_hexadecimal).unwrap_or_default();
        let observed = notes.iter().any(|it| it.judges().observe);
        Some(Self { digest: digest(notes), config, since, observed })
    }

    /// This, with the digest of others.
    pub(super) const fn with(self, others: &Self) -> Self {
        Self { digest: others.digest, observed: self.observed || others.observed, ..self }
    }
}

fn digest(notes: &[Unrecorded]) -> [u8; 32] {
    // They were read from JSON, or are to be written as such.
    Sha256::digest(serde_json::to_vec(notes).unwrap_or_default()).into()
}

/// These notes, before them those that the file has, and one more where the kernel has it that there were others.
pub(super) fn together(
    own: Vec<Unrecorded>,
    of_file: Vec<Unrecorded>,
    of_kernel: Option<Noted>,
) -> Vec<Unrecorded> {
    let is_known =
        of_kernel.is_none_or(|it| [&of_file, &own].into_iter().any(|notes| digest(notes) == it.digest));
    let mut all: Vec<Unrecorded> = of_file.into_iter().filter(|it| !own.contains(it)).collect();
    all.extend(own);
    let unknown = Unrecorded::unknown(of_kernel.as_ref());
    if !is_known && !all.contains(&unknown) {
        all.insert(0, unknown);
    }
    all
}

/// Another config than the one in force was live, and nobody has reloaded one since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Other(pub(super) String);

impl Other {
    pub(super) fn of(sequence: u64, detail: &Map<String, Value>) -> Self {
        let (what, judged) = (what_was_live(detail), what_judged(detail));
        Self(format!(
            "{what} while the store could not be opened or took no record, so that nothing could be recorded: what left meanwhile \
             {judged}. Record {sequence} of the audit trail has it"
        ))
    }
}

/// What is known of what was live, by the detail of such a record.
enum Known<'d> {
    /// One config, since when, and which.
    One(&'d str, &'d str),
    /// The first of several: since when, which, and how many there were where that is known.
    First(&'d str, &'d str, Option<u64>),
    /// Nothing.
    Nothing,
}

impl<'d> Known<'d> {
    fn of(detail: &'d Map<String, Value>) -> Self {
        let text = |name: &str| detail.get(name).and_then(Value::as_str);
        let is_noted = detail.get("known").and_then(Value::as_bool).unwrap_or_default();
        let count = detail.get(CONFIGS).and_then(Value::as_u64);
        match (text("since"), text("config_sha256")) {
            (Some(since), Some(config)) if is_noted || count == Some(1) => Self::One(since, config),
            (Some(since), Some(config)) => Self::First(since, config, count),
            _ => Self::Nothing,
        }
    }
}

/// What was live, by the detail of such a record: the begin of a sentence that goes on with "while".
#[must_use]
pub fn what_was_live(detail: &Map<String, Value>) -> String {
    let observed = detail.get("observe").and_then(Value::as_bool).unwrap_or_default();
    match Known::of(detail) {
        Known::One(since, config) => {
            let only = if observed { ", and the daemon only observed (`--observe`)" } else { "" };
            let database = detail.get("database").and_then(Value::as_str).filter(|it| !it.is_empty());
            let database = database.map_or_else(String::new, |it| format!(", with the geo database {it}"));
            format!(
                "from {since} on another config or geo database was live (SHA-256 {config}{database}){only}"
            )
        }
        Known::First(since, config, count) => {
            let only =
                if observed { ", and by one of them the daemon only observed (`--observe`)" } else { "" };
            let were = match count {
                Some(count) => format!("{count} configs or geo databases were live, one after the other,"),
                None => "several configs or geo databases may have been live".to_owned(),
            };
            let rest = if count.is_some() { "" } else { ", and how many came after it is not known" };
            format!(
                "from {since} on {were} of which there are no notes: no disk took them, or they are gone (the first of them was that \
                 of the SHA-256 {config}{rest}){only}"
            )
        }
        Known::Nothing => "another config was live, or several were, and which is not known,".to_owned(),
    }
}

/// What that means for what left meanwhile: the end of a sentence that begins with it.
#[must_use]
pub fn what_judged(detail: &Map<String, Value>) -> &'static str {
    match Known::of(detail) {
        Known::One(..) => "was judged by that",
        Known::First(..) => "may have been judged by any of them, and not by the first alone",
        Known::Nothing => "may have been judged by any of them",
    }
}
