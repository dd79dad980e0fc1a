//! What a report holds: plain data, which also is its JSON form.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::exemption::approvers::NO_ROLE;

/// The record of transfers of one host over one period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The host's name.
    pub host: String,
    /// Who answers for the transfers, as the config says.
    #[serde(default)]
    pub organisation: Organisation,
    /// The confidentiality mark; empty for none.
    #[serde(default)]
    pub mark: String,
    /// First moment of the period.
    pub from: Timestamp,
    /// First moment after the period.
    pub until: Timestamp,
    /// When the report was made.
    pub made_at: Timestamp,
    /// The generation of tables that was live then.
    pub generation: u64,
    /// Whether the text of confidential exemptions is to be left out.
    pub redacted: bool,
    /// The pins whose egress is reported.
    pub pins: Vec<PinEntry>,
    /// The exemptions that were open at any moment of the period.
    pub exemptions: Vec<ExemptionEntry>,
    /// What the kernel counted, one row for each different day, pin, jurisdiction, verdict and reason.
    pub traffic: Vec<Traffic>,
    /// What was let through by exemptions and no exemption's use has, by pin; left out where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unattributed: Vec<Unattributed>,
    /// Where the report has a gap of the period and why, a sentence each; empty where it is whole.
    pub gaps: Vec<String>,
    /// The last record of the audit trail when the report was made; null where there is none.
    pub audit_head: Option<AuditHead>,
}

/// Who answers for the transfers (Art. 30(1)(a) GDPR): names with contact details, a line each; null where the config does
/// not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organisation {
    /// The controller.
    pub controller: Option<String>,
    /// A joint controller.
    pub joint_controller: Option<String>,
    /// The controller's representative in the Union.
    pub representative: Option<String>,
    /// The data protection officer.
    pub dpo: Option<String>,
}

/// A pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinEntry {
    /// Its name.
    pub name: String,
    /// Its home jurisdiction: what stays there crosses no border.
    pub home: String,
}

/// Packets of one pin that left on one day and were judged alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// The day, in UTC.
    pub day: Date,
    /// The pin's name.
    pub pin: String,
    /// Where they went, or would have gone.
    pub jurisdiction: String,
    /// The verdict's name.
    pub verdict: String,
    /// The reason's name.
    pub reason: String,
    /// Packets, GSO segments counted as one.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

/// Packets of one pin that were let through by exemptions, and that no exemption's use has: what an older store that was put
/// back does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unattributed {
    /// The pin's name.
    pub pin: String,
    /// Packets, GSO segments counted as one: the most that it may be.
    pub packets: u64,
    /// Bytes on the wire, likewise.
    pub bytes: u64,
    /// The least that it is; left out where that is the same. They differ where an exemption is for several pins, whose use
    /// does not say for which of them it let packets through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Counts>,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Packets, GSO segments counted as one.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

impl Unattributed {
    /// What it is, one sentence.
    #[must_use]
    pub fn words(&self) -> String {
        let Self { pin, packets, bytes, at_least } = self;
        match at_least {
            None => format!(
                "of the pin {pin}, {bytes} bytes in {packets} packets were let through by exemptions and are attributed to \
                 none: no exemption's use has them"
            ),
            Some(least) => format!(
                "of the pin {pin}, {} to {bytes} bytes in {} to {packets} packets were let through by exemptions and are \
                 attributed to none: no exemption's use has them, and how many they are can't be told, because an exemption is \
                 for several pins and its use is not counted by pin",
                least.bytes, least.packets
            ),
        }
    }

    /// The least that it is, in a few words; empty where it is just so much.
    pub(super) fn least(&self) -> String {
        let Some(Counts { packets, bytes }) = self.at_least else { return String::new() };
        format!("at most; at least {bytes} bytes in {packets} packets")
    }
}

/// An exemption: on what ground what may be transferred to whom, and what was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExemptionEntry {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: u32,
    /// Its state when the report was made.
    pub state: String,
    /// Whether its text is not for everybody.
    pub confidential: bool,
    /// The pins that it covers.
    pub pins: Vec<String>,
    /// What the data is needed for.
    pub purpose: String,
    /// What kinds of data.
    pub data_categories: Vec<String>,
    /// Why it was opened as an emergency; empty where it was not.
    pub emergency: String,
    /// The hosts and fleets that the document names.
    pub hosts: Vec<String>,
    /// The law that it goes by, such as `eu`: what the codes of ground and basis stand for. Empty from an earlier version.
    #[serde(default)]
    pub law: String,
    /// The legal act.
    pub instrument: InstrumentEntry,
    /// Where data passes without it by the policy at the time of the report, and is not, or not all, counted as its use; empty
    /// where nowhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub not_needed: String,
    /// Who sends the data.
    pub exporter: ExporterEntry,
    /// The transfer impact assessment; null where there is none.
    pub assessment: Option<AssessmentEntry>,
    /// Who receives the data.
    pub recipients: Vec<RecipientEntry>,
    /// What the law asks the document to say beside these, in its order.
    #[serde(default)]
    pub particulars: Vec<ParticularEntry>,
    /// First moment of its validity.
    pub valid_from: Timestamp,
    /// First moment after its validity.
    pub valid_until: Timestamp,
    /// Bytes on the wire that it may let through; null for no bound.
    pub quota_bytes: Option<u64>,
    /// SHA-256 of the document, hexadecimal.
    pub document_sha256: String,
    /// Who approved it.
    pub approvals: Vec<ApprovalEntry>,
    /// What became of it: loaded, stayed, resumed, closed; each fall of its instrument and each restoration, also from before; and
    /// lifts of what held it to its end.
    pub changes: Vec<Change>,
    /// When it let its first packet through; null before that.
    pub first_use: Option<Timestamp>,
    /// When it let its last packet through so far; null before the first.
    pub last_use: Option<Timestamp>,
    /// What it let through by day; days without any are left out.
    pub use_by_day: Vec<DayUse>,
    /// What counts as used beside that because the host went down, and is not known to have left: no recipient is known to have
    /// it. Left out where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub presumed: Vec<DayPresumed>,
}

/// One key of a document with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticularEntry {
    /// Its name, with the number of its entry where its section repeats.
    pub key: String,
    /// What stands there.
    pub value: String,
}

/// The legal act behind a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstrumentEntry {
    /// Its type, such as `treaty-request`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The article that it uses.
    pub article: String,
    /// The ground, such as `art-45`, which stands for what the law has for it.
    pub ground: String,
    /// The basis, likewise.
    pub basis: String,
    /// Who issued it.
    pub authority: String,
    /// The case.
    pub reference: String,
    /// The international agreement; empty where it needs none.
    pub agreement: String,
}

/// Who sends the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExporterEntry {
    /// Its name.
    pub name: String,
    /// `controller` or `processor`.
    pub role: String,
    /// How to reach it.
    pub contact: String,
}

/// A transfer impact assessment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssessmentEntry {
    /// Which one.
    pub reference: String,
    /// When it must be looked at again.
    pub review_by: String,
    /// The supplementary measures.
    pub measures: Vec<String>,
}

/// Who receives the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientEntry {
    /// Its name.
    pub name: String,
    /// Its jurisdiction.
    pub jurisdiction: String,
    /// Its networks; empty: anybody in the jurisdiction.
    pub networks: Vec<String>,
    /// Whether these count wherever they are placed.
    #[serde(default)]
    pub anywhere: bool,
    /// Its ports; empty: any, of any protocol.
    pub ports: Vec<String>,
}

/// One approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalEntry {
    /// Who signed.
    pub identity: String,
    /// In which roles; none where the signature is in no role that counts.
    pub roles: Vec<String>,
    /// The key's fingerprint.
    pub key: String,
}

impl ApprovalEntry {
    /// The roles in words.
    #[must_use]
    pub fn in_roles(&self) -> String {
        match self.roles.as_slice() {
            [] => NO_ROLE.to_owned(),
            roles => roles.join(", "),
        }
    }
}

/// One change of an exemption's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// What was done, such as `stayed`.
    pub what: String,
    /// The Unix user that did it; `the daemon` where nobody asked for it.
    pub who: String,
    /// Why: the order, or the reason that was given.
    pub why: String,
    /// The reference of the order that was lifted; absent where none was, or the trail is of before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Whether other orders held the exemption after that; absent where not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub still_held: bool,
    /// What the order covers that was given or lifted: `exemption`, `pin`, `recipient`, `instrument`, `key` or `all`; absent
    /// where it was none, or the trail is of before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covers: Option<String>,
    /// The name of that, empty for all; absent likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// SHA-256 of the signed document by which an order was lifted; absent where it was lifted by none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_sha256: Option<String>,
    /// Who signed that; absent likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signed_by: Vec<ApprovalEntry>,
}

impl Change {
    /// Whether an order on its instrument was given or lifted by it, as where that fell.
    pub(super) fn is_of_instrument(&self) -> bool {
        self.covers.as_deref() == Some("instrument")
    }

    /// Whether the order that was given by the other was lifted by it.
    pub(super) fn lifts(&self, given: &Self) -> bool {
        self.order.as_ref() == Some(&given.why) && (&self.covers, &self.name) == (&given.covers, &given.name)
    }

    /// Why, which order was given or lifted by it, on what, and who signed that.
    #[must_use]
    pub fn words(&self) -> String {
        let on = match (self.covers.as_deref(), &self.name) {
            (Some("all"), _) => " on every exemption".to_owned(),
            // It is the one that this is the history of.
            (Some("exemption"), _) => String::new(),
            (Some(covers), Some(name)) => format!(" on the {covers} \"{name}\""),
            _ => String::new(),
        };
        let held = if self.still_held { ", and others hold it still" } else { "" };
        let document = self.document_sha256.iter().map(|sha256| format!("; by the document {sha256}"));
        let signer = |(at, by): (usize, &ApprovalEntry)| {
            let and = if at == 0 { "; signed by" } else { " and" };
            format!("{and} {} ({}) with {}", by.identity, by.in_roles(), by.key)
        };
        let signed: String = document.chain(self.signed_by.iter().enumerate().map(signer)).collect();
        match &self.order {
            Some(order) => format!("lifts the order {order}{on}{held}: {}{signed}", self.why),
            None => format!("{}{}{on}{signed}", self.why, if on.is_empty() { "" } else { "," }),
        }
    }
}

/// What an exemption let through to one recipient on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayUse {
    /// The day, in UTC.
    pub day: Date,
    /// The recipient's number among those of the exemption, from 1 on, for names need not differ; absent where what several
    /// received was not counted apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// The recipient's name; null likewise.
    #[serde(default)]
    pub recipient: Option<String>,
    /// The recipient's jurisdiction; null likewise.
    #[serde(default)]
    pub jurisdiction: Option<String>,
    /// Packets, GSO segments counted as one.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

/// What counts as used of an exemption and is not known to have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayPresumed {
    /// The last day, in UTC, on which the host is known to have run before it went down.
    pub day: Date,
    /// Bytes on the wire.
    pub bytes: u64,
}

/// The last record of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// Its number.
    pub sequence: u64,
    /// SHA-256 of its line, hexadecimal.
    pub sha256: String,
    /// When it was written.
    pub time: Timestamp,
}
