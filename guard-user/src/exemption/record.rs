//! What became of one version of an exemption.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::division;
use super::document::{Document, REVIEW};
use super::lifecycle::State;

/// Version of the record's form.
const FORMAT: u32 = 3;
/// The form before it, without counts by recipient.
const WITHOUT_RECIPIENTS: u32 = 2;

/// What became of one version of an exemption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of this form.
    pub(crate) format: u32,
    /// SHA-256 of the document's bytes, 64 hex digits.
    pub sha256: String,
    /// What it is now.
    pub status: Status,
    /// Its slots in the kernel's tables, the account first; empty once the use counted there is reset.
    pub slots: Vec<u16>,
    /// When it was loaded.
    pub loaded_at: Timestamp,
    /// The Unix user that loaded it.
    pub loaded_by: u32,
    /// Who approved it; empty where the config asked for no approvals.
    pub approvals: Vec<ApprovedBy>,
    /// When it was first and last seen to have let packets through; null before that.
    pub seen: Option<(Timestamp, Timestamp)>,
    /// The reasons that were given for what became of it, oldest first. The audit trail, which others read, has
    /// those of a confidential one as hashes alone.
    #[serde(default, rename = "said")]
    pub reasons: Vec<GivenReason>,
    /// What it let through, as the kernel has counted it in its present slots.
    pub counted: Use,
    /// The same in each of these slots, in their order; empty where nothing is counted in them. What `counted` has more is
    /// attributed to none of them.
    #[serde(default)]
    pub counted_by_slot: Vec<Use>,
    /// What it let through before: counts that the kernel no longer has.
    pub before: Use,
    /// The same to each recipient, in the document's order; empty where nothing is known of that. What `before` has more is
    /// attributed to none of them.
    #[serde(default)]
    pub before_by_recipient: Vec<Use>,
    /// The bytes of `before` that count as used because the host went down, and are not known to have passed: what was granted
    /// and not counted by then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub presumed: u64,
    /// Bytes that it may have let through by now, whatever was counted: the kernel's limit
    /// together with `before`. Without a quota it means nothing.
    pub granted: u64,
}

/// A [`State`] as it is stored, with when, why and by whom it came to that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Status {
    /// It is, within its window and quota.
    Active {},
    /// It lets nothing through until it is resumed.
    Stayed {
        /// Since when.
        at: Timestamp,
        /// The order that stays it.
        order: String,
        /// The Unix user that did it.
        by: u32,
    },
    /// It was closed for good.
    Revoked {
        /// When.
        at: Timestamp,
        /// The reason that was given.
        why: String,
        /// The Unix user that did it.
        by: u32,
    },
    /// Its window was seen to be over.
    Expired {
        /// When.
        at: Timestamp,
    },
    /// Its quota was seen to be spent.
    Exhausted {
        /// When.
        at: Timestamp,
    },
}

impl Status {
    /// Since when nothing passes by it, by an order or for good; `None` while it is open.
    #[must_use]
    pub const fn closed_at(&self) -> Option<Timestamp> {
        match self {
            Self::Active {} => None,
            Self::Stayed { at, .. }
            | Self::Revoked { at, .. }
            | Self::Expired { at }
            | Self::Exhausted { at } => Some(*at),
        }
    }

    /// The state that it is in the lifecycle.
    #[must_use]
    pub const fn state(&self) -> State {
        match self {
            Self::Active {} => State::Active,
            Self::Stayed { .. } => State::Stayed,
            Self::Revoked { .. } => State::Revoked,
            Self::Expired { .. } => State::Expired,
            Self::Exhausted { .. } => State::Exhausted,
        }
    }
}

/// A reason that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenReason {
    /// When.
    pub at: Timestamp,
    /// For what, by its name in the audit trail.
    pub what: String,
    /// The reason.
    pub why: String,
    /// The reference of the order that was lifted, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Whether other orders held the exemption after that order was lifted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub still_held: bool,
    /// What the order covers that was given or lifted, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Covered>,
}

/// What an order covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Covered {
    /// `exemption`, `pin`, `recipient`, `instrument`, `key` or `all`.
    pub covers: String,
    /// The name of that; empty for all.
    pub name: String,
}

/// What a reason is for that says that a duty was done; its name in the audit trail.
const DUTY_DONE: &str = "duty-done";

impl GivenReason {
    /// The name of the duty that was done, where it says so.
    pub(crate) fn duty(&self) -> Option<&str> {
        (self.what == DUTY_DONE).then(|| self.why.split(' ').next()).flatten()
    }

    /// The duty that was done, where it says so.
    pub(crate) fn duty_done(&self) -> Option<DutyDone<'_>> {
        let name = self.duty()?;
        let mut words = self.why.splitn(3, ' ').skip(1);
        let on = words.next().and_then(|on| on.parse().ok()).unwrap_or(self.at);
        Some(DutyDone { name, on, noted_at: self.at, why: words.next().unwrap_or_default() })
    }

    /// That a duty of this name was done. The text begins with the name and the time, each without a blank.
    pub(crate) fn of_duty(at: Timestamp, duty: &str, on: Timestamp, why: &str) -> Self {
        let (what, why) = (DUTY_DONE.to_owned(), format!("{duty} {on} {why}"));
        Self { at, what, why, order: None, still_held: false, on: None }
    }
}

/// A duty that was noted as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DutyDone<'r> {
    /// Its name.
    pub(crate) name: &'r str,
    /// When it was done.
    pub(crate) on: Timestamp,
    /// When that was noted.
    pub(crate) noted_at: Timestamp,
    /// How, or by whom.
    pub(crate) why: &'r str,
}

/// One approval that was verified when the exemption was loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovedBy {
    /// Who signed.
    pub identity: String,
    /// The role for which the signature counted; null where none was needed of the signer.
    pub role: Option<String>,
    /// The key's fingerprint, `SHA256:...`.
    pub fingerprint: String,
}

/// What an exemption has let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Use {
    /// Bytes on the wire.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
}

impl Use {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            packets: self.packets.saturating_add(other.packets),
        }
    }

    /// What this is more than the other.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            packets: self.packets.saturating_sub(other.packets),
        }
    }

    /// All of them together.
    #[must_use]
    pub fn sum(all: &[Self]) -> Self {
        all.iter().fold(Self::default(), |sum, one| sum.plus(*one))
    }

    /// Whether each of both is at most the other's.
    fn is_within(self, other: Self) -> bool {
        self.bytes <= other.bytes && self.packets <= other.packets
    }
}

impl Record {
    /// The record of a document that is loaded just now.
    pub(crate) fn new(
        sha256: String,
        slots: Vec<u16>,
        approvals: Vec<ApprovedBy>,
        (loaded_at, loaded_by): (Timestamp, u32),
        granted: u64,
    ) -> Self {
        Self {
            format: FORMAT,
            sha256,
            status: Status::Active {},
            slots,
            loaded_at,
            loaded_by,
            approvals,
            seen: None,
            reasons: Vec::new(),
            counted: Use::default(),
            counted_by_slot: Vec::new(),
            before: Use::default(),
            before_by_recipient: Vec::new(),
            presumed: 0,
            granted,
        }
    }

    /// Everything that it has let through, as far as it was counted.
    #[must_use]
    pub fn used(&self) -> Use {
        self.before.plus(self.counted)
    }

    /// The duties that were noted as done since the load.
    pub(crate) fn duties_done(&self) -> impl Iterator<Item = DutyDone<'_>> {
        let done = self.reasons.iter().filter_map(GivenReason::duty_done);
        // An earlier version of this program took a review for a duty.
        done.filter(|it| it.name != REVIEW)
    }

    /// When the last packet can pass by it, or could.
    pub(crate) fn ends(&self, document: &Document) -> Timestamp {
        let closed = self.status.closed_at().filter(|_| self.is_closed());
        closed.map_or(document.ends(), |at| at.min(document.ends()))
    }

    /// What each recipient of its document has received, in the document's order. What [`used`](Self::used) is more is
    /// attributed to none of them: it was counted by an earlier version of this program for all of them together, or was
    /// never counted and counts as used because the host went down.
    #[must_use]
    pub fn used_by_recipient(&self, document: &Document) -> Vec<Use> {
        // What one alone may receive it received, as far as it is known to have left.
        if let [_] = document.recipients.as_slice() {
            return vec![self.used().minus(Use { bytes: self.presumed, packets: 0 })];
        }
        let mut used = self.before_by_recipient.clone();
        used.resize(document.recipients.len(), Use::default());
        let parts = division::parts(document, self.slots.len()).unwrap_or_default();
        for (part, counted) in parts.iter().zip(&self.counted_by_slot) {
            if let [recipient] = part.as_slice()
                && let Some(used) = used.get_mut(*recipient)
            {
                *used = used.plus(*counted);
            }
        }
        used
    }

    /// The same where the kernel has no counts of it any more, or begins them at zero. Without its document nothing of what
    /// was counted is attributed.
    pub(crate) fn settled(&self, document: Option<&Document>) -> Self {
        let before_by_recipient = match document {
            Some(document) => self.used_by_recipient(document),
            None => self.before_by_recipient.clone(),
        };
        Self {
            before: self.used(),
            before_by_recipient,
            counted: Use::default(),
            counted_by_slot: Vec::new(),
            ..self.clone()
        }
    }

    /// The same, where its places in the kernel's tables are its own no longer. What was granted and not counted is given back.
    pub(crate) fn without_slots(&self, document: Option<&Document>) -> Self {
        let settled = self.settled(document);
        Self { granted: settled.before.bytes, slots: Vec::new(), ..settled }
    }

    /// Whether it is open: within its window and quota packets pass by it.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.status.state().lets_packets_pass()
    }

    /// Whether it is closed for good.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.status.state().is_closed()
    }

    /// The slot by which the kernel counts and names it; `None` once that is free again.
    #[must_use]
    pub fn account(&self) -> Option<u16> {
        self.slots.first().copied()
    }

    /// The record in these bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if ![WITHOUT_RECIPIENTS, FORMAT].contains(&record.format) {
            let other = record.format;
            return Err(format!(
                "its format is {other}, and this version reads {WITHOUT_RECIPIENTS} and {FORMAT}"
            ));
        }
        let fits = |parts: &[Use], all: Use| Use::sum(parts).is_within(all);
        if !fits(&record.counted_by_slot, record.counted)
            || !fits(&record.before_by_recipient, record.before)
            || record.presumed > record.before.bytes
            || record.counted_by_slot.len() > record.slots.len()
        {
            return Err("its counts by recipient are more than it has let through".to_owned());
        }
        Ok(Self { format: FORMAT, ..record })
    }
}

/// Whether there is nothing to write.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}
