//! An exemption as lists and the control socket show it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::approvers;
use super::document::{Document, Recipient};
use super::lifecycle::State;
use super::record::{Record, Status, Use};

/// One exemption: what it allows and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: u32,
    /// What it is now.
    pub state: State,
    /// The open version that it takes the place of; null for none.
    pub replaces: Option<u32>,
    /// Whether its text stays out of the logs and lists that others read.
    pub confidential: bool,
    /// The legal act.
    pub instrument: InstrumentSummary,
    /// The hosts and fleets that it is for; empty where it names none.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Why it could not wait for the approvals of the rules; null where it is no emergency.
    #[serde(default)]
    pub emergency: Option<String>,
    /// What it is for.
    pub purpose: String,
    /// What kinds of data leave.
    pub data_categories: Vec<String>,
    /// Who sends.
    pub exporter: ExporterSummary,
    /// The transfer impact assessment; null where there is none.
    pub assessment: Option<AssessmentSummary>,
    /// The identity of the author; null where it does not say.
    pub submitter: Option<String>,
    /// The signatures that it needs.
    pub required: Vec<RequiredSummary>,
    /// The pins that it covers.
    pub pins: Vec<String>,
    /// Who may receive.
    pub recipients: Vec<RecipientSummary>,
    /// First moment of its validity.
    pub valid_from: Timestamp,
    /// First moment after its validity.
    pub valid_until: Timestamp,
    /// Bytes on the wire that it may let through; null for no bound.
    pub quota_bytes: Option<u64>,
    /// Bytes on the wire that it has let through.
    pub used_bytes: u64,
    /// Packets that it has let through.
    pub used_packets: u64,
    /// The part of these bytes that is attributed to no recipient; 0 where the daemon is older than this.
    #[serde(default)]
    pub unattributed_bytes: u64,
    /// The part of these packets that is attributed to no recipient; likewise.
    #[serde(default)]
    pub unattributed_packets: u64,
    /// The part of `unattributed_bytes` that counts as used since the host went down, and is not known to have left: of a quota
    /// what was granted to the kernel by then and not counted; likewise.
    #[serde(default)]
    pub presumed_bytes: u64,
    /// Its first place in the kernel's tables, that of its first recipient; null once it is free again.
    pub slot: Option<u16>,
    /// When it was loaded; null where it is not.
    pub loaded_at: Option<Timestamp>,
    /// The Unix user that loaded it; null where it is not loaded.
    pub loaded_by: Option<u32>,
    /// When, why and by whom it was revoked; null where it was not.
    pub revoked: Option<RevokedSummary>,
    /// When, by which order and by whom it was stayed; null where it is not. Of several orders the oldest.
    pub stayed: Option<RevokedSummary>,
    /// The orders that cover it, the oldest first: it passes again when none is left, and no further version is loaded
    /// before that.
    #[serde(default)]
    pub orders: Vec<OrderSummary>,
    /// What the law asks the document to say beside these, in its order; none where the daemon is older than this.
    #[serde(default)]
    pub particulars: Vec<ParticularSummary>,
    /// What has to be done and is not, the earliest first; likewise.
    #[serde(default)]
    pub due: Vec<DueSummary>,
    /// What was noted as done of it since the load, the earliest first, also for another version that asks for the same by the
    /// same day; likewise.
    #[serde(default)]
    pub done: Vec<DoneSummary>,
    /// SHA-256 of the document, as `sha256sum` prints it; empty where the daemon is older than this.
    #[serde(default)]
    pub sha256: String,
    /// The identities of those who approved it; empty where approvals were not verified.
    pub approved_by: Vec<String>,
    /// The roles in which they did, one for each of these in their order: empty for who signed in no role that counts. None where
    /// the daemon is older than this.
    #[serde(default)]
    pub approved_as: Vec<String>,
}

/// The legal act that an exemption rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstrumentSummary {
    /// What kind of act it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the act is called.
    pub name: String,
    /// The article of it that is used.
    pub article: String,
    /// The ground of Chapter V GDPR.
    pub ground: String,
    /// The basis of Art. 6(1) GDPR.
    pub basis: String,
    /// Who issued or adopted it.
    pub authority: String,
    /// The case.
    pub reference: String,
    /// The international agreement; null where there is none.
    pub agreement: Option<String>,
    /// SHA-256 of the act's own file; null where it is not recorded.
    pub document_sha256: Option<String>,
}

/// Who sends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExporterSummary {
    /// Who it is.
    pub name: String,
    /// `controller` or `processor`.
    pub role: String,
    /// Whom to ask.
    pub contact: String,
}

/// A transfer impact assessment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssessmentSummary {
    /// Where it is kept.
    pub reference: String,
    /// First moment at which it has to have been looked at again; null where it does not say.
    pub review_by: Option<Timestamp>,
    /// Supplementary measures.
    pub measures: Vec<String>,
}

/// Signatures of one role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequiredSummary {
    /// The role.
    pub role: String,
    /// How many signers of it.
    pub count: u32,
}

/// Who may receive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientSummary {
    /// Who it is.
    pub name: String,
    /// Where it is.
    pub jurisdiction: String,
    /// Its networks; empty: anybody in the jurisdiction.
    pub cidrs: Vec<String>,
    /// Whether these count wherever they are placed.
    #[serde(default)]
    pub anywhere: bool,
    /// Why its networks are large; null where they are not.
    #[serde(default)]
    pub large_network: Option<String>,
    /// Its ports; empty: any, of any protocol.
    pub ports: Vec<String>,
    /// Bytes on the wire that it has received by this exemption; 0 where the daemon is older than this.
    #[serde(default)]
    pub used_bytes: u64,
    /// Packets that it has received by this exemption; likewise.
    #[serde(default)]
    pub used_packets: u64,
}

/// One key of the document with its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticularSummary {
    /// Its name, with the number of its entry from 1 where its section repeats: `data_subjects`, `duty 1: what`.
    pub key: String,
    /// What stands there, in words; of a list one value.
    pub value: String,
}

/// What has to be done by a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueSummary {
    /// What: the word of a `[[duty]]`, or `delete`, `review-assessment`, `check-certification`.
    pub what: String,
    /// First moment at which it has to have been done.
    pub by: Timestamp,
}

/// What was done of what was due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneSummary {
    /// What, as [`DueSummary`] has it.
    pub what: String,
    /// When it was done.
    pub on: Timestamp,
    /// How, or by whom.
    pub why: String,
    /// For which version it was noted.
    pub version: u32,
}

/// How an exemption was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedSummary {
    /// When.
    pub at: Timestamp,
    /// The reason that was given.
    pub why: String,
    /// The Unix user that did it.
    pub by: u32,
}

/// An order that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderSummary {
    /// Its reference; of a fallen instrument why it fell.
    pub order: String,
    /// What it came of: `stay` or `fallen`.
    pub kind: String,
    /// What it covers: `exemption`, `pin`, `recipient`, `instrument` or `all`.
    pub covers: String,
    /// The name of that; empty for all.
    pub name: String,
    /// When it was given.
    pub at: Timestamp,
    /// The Unix user that gave it.
    pub by: u32,
}

impl Summary {
    /// A document that is not loaded.
    #[must_use]
    pub fn of_document(document: &Document, now: Timestamp) -> Self {
        let act = &document.instrument;
        let assessment = document.assessment.as_ref().map(|assessment| AssessmentSummary {
            reference: assessment.reference.clone(),
            review_by: assessment.review_by,
            measures: assessment.measures.clone(),
        });
        let required = document.approval.required.iter();
        let required = required.map(|it| RequiredSummary { role: it.role.clone(), count: it.count });
        Self {
            id: document.id.clone(),
            version: document.version,
            state: state_of_open(document, Use::default(), now),
            replaces: document.replaces,
            confidential: document.confidential,
            instrument: InstrumentSummary {
                kind: act.kind.to_string(),
                name: act.name.clone(),
                article: act.article.clone(),
                ground: act.ground.to_string(),
                basis: act.basis.to_string(),
                authority: act.authority.clone(),
                reference: act.reference.clone(),
                agreement: act.agreement.clone(),
                document_sha256: act.document_sha256.clone(),
            },
            hosts: document.hosts.clone(),
            emergency: document.emergency.clone(),
            purpose: document.purpose.clone(),
            data_categories: document.data_categories.clone(),
            exporter: ExporterSummary {
                name: document.exporter.name.clone(),
                role: document.exporter.role.to_string(),
                contact: document.exporter.contact.clone(),
            },
            assessment,
            submitter: document.approval.submitter.clone(),
            required: required.collect(),
            pins: document.pins.clone(),
            recipients: document.recipients.iter().map(recipient).collect(),
            valid_from: document.valid_from,
            valid_until: document.valid_until,
            quota_bytes: document.quota_bytes,
            used_bytes: 0,
            used_packets: 0,
            unattributed_bytes: 0,
            unattributed_packets: 0,
            presumed_bytes: 0,
            slot: None,
            loaded_at: None,
            loaded_by: None,
            revoked: None,
            stayed: None,
            orders: Vec::new(),
            particulars: particulars(document),
            due: due(document.due_dates()),
            done: Vec::new(),
            sha256: document.sha256.clone(),
            approved_by: Vec::new(),
            approved_as: Vec::new(),
        }
    }

    /// A document that was loaded, with what became of it. What is due of it is what its text says: what was done since, and
    /// what other versions say, is for the store to know.
    #[must_use]
    pub fn of_loaded(document: &Document, record: &Record, now: Timestamp) -> Self {
        let used = record.used();
        let by_recipient = record.used_by_recipient(document);
        let rest = used.minus(Use::sum(&by_recipient));
        let received = |(it, used): (&Recipient, Use)| RecipientSummary {
            used_bytes: used.bytes,
            used_packets: used.packets,
            ..recipient(it)
        };
        let closed = |at: &Timestamp, why: &String, by: &u32| {
            Some(RevokedSummary { at: *at, why: why.clone(), by: *by })
        };
        let (stayed, revoked) = match &record.status {
            Status::Stayed { at, order, by } => (closed(at, order, by), None),
            Status::Revoked { at, why, by } => (None, closed(at, why, by)),
            Status::Active {} | Status::Expired { .. } | Status::Exhausted { .. } => (None, None),
        };
        Self {
            state: match record.status.state() {
                State::Active => state_of_open(document, used, now),
                other => other,
            },
            used_bytes: used.bytes,
            used_packets: used.packets,
            unattributed_bytes: rest.bytes,
            unattributed_packets: rest.packets,
            presumed_bytes: record.presumed,
            recipients: document.recipients.iter().zip(by_recipient).map(received).collect(),
            slot: record.account(),
            loaded_at: Some(record.loaded_at),
            loaded_by: Some(record.loaded_by),
            revoked,
            stayed,
            approved_by: record.approvals.iter().map(|approval| approval.identity.clone()).collect(),
            approved_as: record.approvals.iter().map(|it| it.role.clone().unwrap_or_default()).collect(),
            ..Self::of_document(document, now)
        }
    }

    /// Who approved it, in words; without roles where the daemon does not tell them.
    #[must_use]
    pub fn approvers(&self) -> String {
        let Self { approved_by, approved_as, .. } = self;
        if approved_as.len() != approved_by.len() {
            return approved_by.join(" and ");
        }
        let roles = approved_as.iter().map(|role| (!role.is_empty()).then_some(role.as_str()));
        approvers::words(approved_by.iter().map(String::as_str).zip(roles), " and ")
    }

    /// Whether its text was left out of it by [`redacted`](Self::redacted): what is due of it is not known then.
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        self.confidential && self.sha256 == HIDDEN
    }

    /// The summary for users who may only look: without the text of a confidential one. What is left says
    /// which exemption it is, on what kind of ground data goes to which countries by which ports, when and
    /// how much. A network names its owner, and is text.
    #[must_use]
    pub fn redacted(self) -> Self {
        if !self.confidential {
            return self;
        }
        let hidden = || HIDDEN.to_owned();
        let each = |list: &[String]| list.iter().map(|_| HIDDEN.to_owned()).collect::<Vec<_>>();
        let act = self.instrument;
        Self {
            instrument: InstrumentSummary {
                name: hidden(),
                article: hidden(),
                authority: hidden(),
                reference: hidden(),
                agreement: act.agreement.map(|_| hidden()),
                document_sha256: act.document_sha256.map(|_| hidden()),
                kind: act.kind,
                ground: act.ground,
                basis: act.basis,
            },
            due: Vec::new(),
            done: Vec::new(),
            emergency: self.emergency.map(|_| hidden()),
            purpose: hidden(),
            data_categories: each(&self.data_categories),
            exporter: ExporterSummary { name: hidden(), contact: hidden(), role: self.exporter.role },
            assessment: self.assessment.map(|assessment| AssessmentSummary {
                reference: hidden(),
                // As of all that is due it is not told when.
                review_by: None,
                measures: each(&assessment.measures),
            }),
            submitter: self.submitter.map(|_| hidden()),
            sha256: hidden(),
            particulars: self
                .particulars
                .into_iter()
                .map(|it| ParticularSummary { value: hidden(), ..it })
                .collect(),
            recipients: self
                .recipients
                .into_iter()
                .map(|it| RecipientSummary {
                    name: hidden(),
                    cidrs: each(&it.cidrs),
                    large_network: it.large_network.map(|_| hidden()),
                    ..it
                })
                .collect(),
            revoked: self.revoked.map(|revoked| RevokedSummary { why: hidden(), ..revoked }),
            stayed: self.stayed.map(|stayed| RevokedSummary { why: hidden(), ..stayed }),
            orders: self
                .orders
                .into_iter()
                .map(|it| OrderSummary { order: hidden(), name: hidden(), ..it })
                .collect(),
            ..self
        }
    }
}

/// What stands where the text of a confidential exemption is not shown.
pub const HIDDEN: &str = "(confidential)";

/// What is due, as lists show it.
pub(crate) fn due(due: Vec<(String, Timestamp)>) -> Vec<DueSummary> {
    due.into_iter().map(|(what, by)| DueSummary { what, by }).collect()
}

fn particulars(document: &Document) -> Vec<ParticularSummary> {
    let entries = document.particulars.entries().into_iter();
    entries.map(|(key, value)| ParticularSummary { key, value }).collect()
}

fn recipient(recipient: &Recipient) -> RecipientSummary {
    RecipientSummary {
        name: recipient.name.clone(),
        jurisdiction: recipient.jurisdiction.to_string(),
        cidrs: words(&recipient.networks),
        anywhere: recipient.anywhere,
        large_network: recipient.large_network.clone(),
        ports: words(&recipient.ports),
        used_bytes: 0,
        used_packets: 0,
    }
}

/// Bytes of a full Ethernet frame without its checksum: with less left of a quota the kernel refuses the transfer's packets, though
/// a small one may still go.
pub(crate) const FULL_PACKET: u64 = 1514;

/// Whether this use has spent the quota, but for less than a full packet.
#[must_use]
pub fn is_spent(document: &Document, used: Use) -> bool {
    let left = document.quota_bytes.map(|quota| quota.saturating_sub(used.bytes));
    used.bytes > 0 && left.is_some_and(|left| left < FULL_PACKET)
}

/// The state of an exemption that was not closed, by its window and its use.
fn state_of_open(document: &Document, used: Use, now: Timestamp) -> State {
    if now >= document.ends() {
        State::Expired
    } else if is_spent(document, used) {
        State::Exhausted
    } else if now < document.valid_from {
        State::NotYetValid
    } else {
        State::Active
    }
}

fn words<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(T::to_string).collect()
}
