//! The checked document of an exemption.

use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;
use jiff::Timestamp;

use super::ground::{Basis, Ground, Role};
use super::instrument::InstrumentKind;
use super::particulars::Particulars;
use crate::approval::{self, NotEnough, Requirement, Rule};
use crate::config::policy::{Approvals, PortRange};
use crate::text::look_alike;

/// What an exemption's document says. Every value has passed every check that needs nothing but the
/// document, and the document every rule of law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Unique among the exemptions that are open; never empty, and without a slash.
    pub id: String,
    /// From 1.
    pub version: u32,
    /// The open version that it takes the place of; lower than `version`.
    pub replaces: Option<u32>,
    /// Names of the pins that it covers; never empty.
    pub pins: Vec<String>,
    /// Names of the hosts and fleets that it is for; empty where it names none.
    pub hosts: Vec<String>,
    /// What it is for, one line.
    pub purpose: String,
    /// What kinds of data leave; never empty.
    pub data_categories: Vec<String>,
    /// First moment of its validity.
    pub valid_from: Timestamp,
    /// First moment after its validity, later than `valid_from`.
    pub valid_until: Timestamp,
    /// Bytes on the wire that it may let through, at least 1; `None` for no bound.
    pub quota_bytes: Option<u64>,
    /// Why it can't wait for the approvals of the rules, one line; `None` where it does.
    pub emergency: Option<String>,
    /// Whether its text stays out of the logs and lists that others read.
    pub confidential: bool,
    /// The legal act.
    pub instrument: Instrument,
    /// Who sends.
    pub exporter: Exporter,
    /// The transfer impact assessment; there where the law needs it.
    pub assessment: Option<Assessment>,
    /// Who wrote it, and whose signatures it needs.
    pub approval: Approval,
    /// Who may receive; never empty, and no two of them overlap.
    pub recipients: Vec<Recipient>,
    /// What the law asks it to say beside these.
    pub particulars: Particulars,
    /// SHA-256 of its bytes, comments and all, 64 digits in small letters: what signatures are over.
    pub sha256: String,
}

impl Document {
    /// The approvals that the document itself asks for, by role.
    #[must_use]
    pub fn requirements(&self) -> Vec<Requirement<'_>> {
        let required = self.approval.required.iter();
        required.map(|required| Requirement { role: &required.role, count: required.count }).collect()
    }

    /// The approvals that it needs by a config, with those that it asks for itself: those of the rules that fit it, or of the
    /// emergency that it says it is.
    ///
    /// # Errors
    /// Where no rule fits one of its pins, or there is no emergency.
    pub fn due<'a>(&'a self, approvals: &'a Approvals) -> Result<Vec<Requirement<'a>>, NotEnough> {
        if self.emergency.is_some() {
            return match approvals.emergency.as_slice() {
                [] => Err(NotEnough::NoEmergency),
                needed => Ok(approval::greatest([self.requirements(), approval::requirements(needed)])),
            };
        }
        self.due_by_rules(&approvals.rules)
    }

    /// The approvals that it needs by these rules, emergency or not, with those that it asks for itself.
    ///
    /// # Errors
    /// Where no rule fits one of its pins.
    pub fn due_by_rules<'a>(&'a self, rules: &'a [Rule]) -> Result<Vec<Requirement<'a>>, NotEnough> {
        let acts = [self.instrument.kind.name(), self.instrument.ground.name()];
        approval::due(rules, &self.pins, &acts, self.requirements())
    }

    /// Whether it names a host, by its own name or by its fleet's.
    #[must_use]
    pub fn names_host(&self, host: &str, fleet: Option<&str>) -> bool {
        self.hosts.iter().any(|name| name == host || Some(name.as_str()) == fleet)
    }

    /// First moment at which nothing passes by it any more: the end of its window, or when its assessment
    /// has to have been looked at again, whichever is earlier. Safeguards that nobody has looked at in time
    /// are none (C-311/18, 134).
    #[must_use]
    pub fn ends(&self) -> Timestamp {
        let review = self.assessment.as_ref().and_then(|assessment| assessment.review_by);
        review.map_or(self.valid_until, |review| review.min(self.valid_until))
    }

    /// When its assessment has to have been looked at again, where that comes before the end of its window; `None` where it does
    /// not.
    #[must_use]
    pub fn review_that_ends(&self) -> Option<Timestamp> {
        let review = self.assessment.as_ref().and_then(|assessment| assessment.review_by);
        review.filter(|review| *review < self.valid_until)
    }

    /// Whether it rests on the instrument that is called so: by the name of the act or of the agreement, of which those that look alike
    /// are one, or by the agreement's id in the law pack.
    #[must_use]
    pub fn rests_on(&self, name: &str) -> bool {
        let id = self.particulars.agreement_id.as_deref();
        id == Some(name) || self.names_of_instrument().any(|its| look_alike(its, name))
    }

    /// What its instrument is called: the act, the agreement, and that one's id in the law pack.
    pub fn names_of_instrument(&self) -> impl Iterator<Item = &str> {
        let Instrument { name, agreement, .. } = &self.instrument;
        [Some(name), agreement.as_ref(), self.particulars.agreement_id.as_ref()]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    /// What has to be done and is not, with the first moment at which it has to have been done; the earliest first.
    #[must_use]
    pub fn due_dates(&self) -> Vec<(String, Timestamp)> {
        let review = self.assessment.as_ref().and_then(|assessment| assessment.review_by);
        let mut due = self.particulars.due();
        due.extend(review.map(|by| (REVIEW.to_owned(), by)));
        due.sort_by(|one, other| (one.1, &one.0).cmp(&(other.1, &other.0)));
        due
    }

    /// The duties that it says are done, with the first moment at which each had to have been done.
    #[must_use]
    pub fn duties_done(&self) -> Vec<(String, Timestamp)> {
        let done = self.particulars.duties.iter().filter(|duty| duty.done.is_some());
        done.map(|duty| (duty.kind.name().to_owned(), duty.due)).collect()
    }

    /// Whether the assessment has to be looked at again before this exemption is activated or resumed.
    #[must_use]
    pub fn review_is_over(&self, now: Timestamp) -> bool {
        self.assessment.as_ref().and_then(|assessment| assessment.review_by).is_some_and(|by| by <= now)
    }
}

/// What the review of an assessment is called among what is due. No duty of a document has this name. It closes the
/// exemption where it is not done, and is done by a new version that has the new assessment.
pub const REVIEW: &str = "review-assessment";

/// The legal act that a transfer rests on. Texts are one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// What kind of act it is; never one that carries nothing.
    pub kind: InstrumentKind,
    /// What the act is called.
    pub name: String,
    /// The article of it that is used.
    pub article: String,
    /// The ground of Chapter V; one that the kind can carry.
    pub ground: Ground,
    /// The basis of Art. 6(1).
    pub basis: Basis,
    /// Who issued or adopted it.
    pub authority: String,
    /// The case.
    pub reference: String,
    /// The international agreement; there where the law needs it.
    pub agreement: Option<String>,
    /// SHA-256 of the act's own file, 64 digits in small letters.
    pub document_sha256: Option<String>,
}

/// Who sends. Texts are one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exporter {
    /// Who it is.
    pub name: String,
    /// What it is for the data.
    pub role: Role,
    /// Whom to ask.
    pub contact: String,
}

/// A transfer impact assessment. Texts are one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// Where it is kept.
    pub reference: String,
    /// First moment at which it has to have been looked at again; later than the window's begin.
    pub review_by: Option<Timestamp>,
    /// Supplementary measures; may be empty.
    pub measures: Vec<String>,
}

/// Who wrote the document, and whose signatures it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approval {
    /// The identity of the author.
    pub submitter: Option<String>,
    /// Signatures that are needed; each role once, and may be empty.
    pub required: Vec<Required>,
}

/// Signatures of one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Required {
    /// The role.
    pub role: String,
    /// How many signers of it, at least 1.
    pub count: u32,
}

/// Who may receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Who it is, one line.
    pub name: String,
    /// Where it is; always a country.
    pub jurisdiction: Jurisdiction,
    /// Its networks, without host bits; empty: anybody in the jurisdiction.
    pub networks: Vec<IpNetwork>,
    /// Whether its networks count wherever they are placed, and not in the jurisdiction alone.
    pub anywhere: bool,
    /// Why its networks are large, one line; `None` where they are not.
    pub large_network: Option<String>,
    /// Its ports, destination ports of egress; empty: any, of any protocol.
    pub ports: Vec<PortRange>,
}
