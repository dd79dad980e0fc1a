//! A rule that one document breaks: what is wrong with it, and what to do.

use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;
use jiff::Timestamp;

use super::rule::{DEROGATION_DAYS, Rule};
use crate::config::finding::quoted;
use crate::exemption::ground::Ground;
use crate::exemption::instrument::InstrumentKind;

/// What breaks a rule. Its `Display` is one sentence with the article; [`hint`](Self::hint) says what to
/// do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// [`Rule::ForeignOrderAlone`].
    #[error(
        "an order of a third country's court or authority is by itself no ground for a transfer (GDPR Art. 48)"
    )]
    ForeignOrderAlone,
    /// [`Rule::NoAgreement`].
    #[error(
        "a request without the international agreement behind it is a third country's order alone (GDPR Art. 48)"
    )]
    NoAgreement,
    /// [`Rule::GroundMismatch`].
    #[error("{kind} is no act that the ground {ground} can rest on (GDPR Art. 44)")]
    GroundMismatch {
        /// What the act is.
        kind: InstrumentKind,
        /// What stands there.
        ground: Ground,
    },
    /// [`Rule::NoAdequacyDecision`].
    #[error("there is no adequacy decision on {country} (GDPR Art. 45)")]
    NoAdequacyDecision {
        /// The recipient's country.
        country: Jurisdiction,
    },
    /// [`Rule::PartialAdequacy`].
    #[error("the adequacy decision {act} on {country} covers only {whom} (GDPR Art. 45(3))")]
    PartialAdequacy {
        /// The recipient's country.
        country: Jurisdiction,
        /// The decision's number.
        act: &'static str,
        /// Whom it covers.
        whom: &'static str,
        /// Whether the recipient is an authority that asks, which it never covers.
        authority: bool,
    },
    /// [`Rule::WholeCountry`].
    #[error("anybody in {country} is nobody whom {kind} can name (GDPR Art. 44)")]
    WholeCountry {
        /// The recipient's country.
        country: Jurisdiction,
        /// What the act is.
        kind: InstrumentKind,
    },
    /// [`Rule::InsideEea`].
    #[error("{country} is in the EEA, and no transfer to a third country (GDPR Art. 44)")]
    InsideEea {
        /// The recipient's country.
        country: Jurisdiction,
    },
    /// [`Rule::OutsideEea`].
    #[error(
        "{country} is outside the EEA, and an order under Union law is no ground for a transfer there (GDPR Art. 44)"
    )]
    OutsideEea {
        /// The recipient's country.
        country: Jurisdiction,
    },
    /// [`Rule::LongDerogation`].
    #[error(
        "a derogation must be bounded in time, and {} days from {from} to {until} are more than {DEROGATION_DAYS} \
         (GDPR Art. 49)",
        until.duration_since(*from).as_hours() / 24
    )]
    LongDerogation {
        /// Its begin.
        from: Timestamp,
        /// Its end.
        until: Timestamp,
    },
    /// [`Rule::UnboundedDerogation`].
    #[error("a derogation must be bounded in bytes, and there is no quota_bytes (GDPR Art. 49)")]
    UnboundedDerogation,
    /// [`Rule::UndocumentedDerogation`].
    #[error("a derogation's assessment must be documented, and there is no [assessment] (GDPR Art. 49(6))")]
    UndocumentedDerogation,
    /// [`Rule::NoAssessment`].
    #[error(
        "{kind} needs a transfer impact assessment, and there is no [assessment] (GDPR Art. 46; C-311/18)"
    )]
    NoAssessment {
        /// What the act is.
        kind: InstrumentKind,
    },
    /// [`Rule::NoReviewDate`].
    #[error(
        "the assessment for {kind} has to be looked at again, and has no review_by (GDPR Art. 46; C-311/18)"
    )]
    NoReviewDate {
        /// What the act is.
        kind: InstrumentKind,
    },
    /// [`Rule::ReviewOver`].
    #[error("the assessment had to be looked at again by {by}, which is {at} (C-311/18)")]
    ReviewOver {
        /// By when.
        by: Timestamp,
        /// What comes after it.
        at: ReviewAt,
    },
    /// [`Rule::ReversedWindow`].
    #[error("the window ends at {until}, and does not begin before {from}")]
    ReversedWindow {
        /// Its begin.
        from: Timestamp,
        /// Its end.
        until: Timestamp,
    },
    /// [`Rule::Expired`].
    #[error("the exemption has expired: it ended at {until}, and now it is {now}")]
    Expired {
        /// Its end.
        until: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// [`Rule::NoRecipient`].
    #[error("nobody may receive: there is no [[recipient]] (GDPR Art. 30(1)(d))")]
    NoRecipient,
    /// [`Rule::OverlappingRecipients`], by networks.
    #[error("{network} is also {other} of the recipient {} (GDPR Art. 30(1)(d))", quoted(recipient))]
    SharedNetwork {
        /// The network.
        network: IpNetwork,
        /// The other recipient's.
        other: IpNetwork,
        /// The other recipient.
        recipient: String,
    },
    /// [`Rule::OverlappingRecipients`], by country.
    #[error("anybody in {country} is also the recipient {} (GDPR Art. 30(1)(d))", quoted(recipient))]
    SharedCountry {
        /// The country.
        country: Jurisdiction,
        /// The other recipient.
        recipient: String,
    },
    /// [`Rule::RepeatedRole`].
    #[error("the role {} stands already on line {first_line}", quoted(role))]
    RepeatedRole {
        /// The role.
        role: String,
        /// Where it stands first.
        first_line: usize,
    },
    /// [`Rule::NobodyApproves`].
    #[error("a role of which nobody has to sign approves nothing")]
    NobodyApproves,
}

/// What comes after the date by which an assessment is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewAt {
    /// Now.
    Now,
    /// The window's begin.
    Begin,
}

impl std::fmt::Display for ReviewAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Now => "over",
            Self::Begin => "before the window begins",
        })
    }
}

impl Breach {
    /// The rule that is broken.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        match self {
            Self::ForeignOrderAlone => Rule::ForeignOrderAlone,
            Self::NoAgreement => Rule::NoAgreement,
            Self::GroundMismatch { .. } => Rule::GroundMismatch,
            Self::NoAdequacyDecision { .. } => Rule::NoAdequacyDecision,
            Self::PartialAdequacy { .. } => Rule::PartialAdequacy,
            Self::WholeCountry { .. } => Rule::WholeCountry,
            Self::InsideEea { .. } => Rule::InsideEea,
            Self::OutsideEea { .. } => Rule::OutsideEea,
            Self::LongDerogation { .. } => Rule::LongDerogation,
            Self::UnboundedDerogation => Rule::UnboundedDerogation,
            Self::UndocumentedDerogation => Rule::UndocumentedDerogation,
            Self::NoAssessment { .. } => Rule::NoAssessment,
            Self::NoReviewDate { .. } => Rule::NoReviewDate,
            Self::ReviewOver { .. } => Rule::ReviewOver,
            Self::ReversedWindow { .. } => Rule::ReversedWindow,
            Self::Expired { .. } => Rule::Expired,
            Self::NoRecipient => Rule::NoRecipient,
            Self::SharedNetwork { .. } | Self::SharedCountry { .. } => Rule::OverlappingRecipients,
            Self::RepeatedRole { .. } => Rule::RepeatedRole,
            Self::NobodyApproves => Rule::NobodyApproves,
        }
    }

    /// What to do next, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::ForeignOrderAlone => {
                "name the ground that it rests on: a treaty-request under an international \
                                        agreement, or another instrument of Chapter V"
                    .into()
            }
            Self::NoAgreement => {
                "name the treaty as agreement, or another instrument that the transfer rests on".into()
            }
            Self::GroundMismatch { kind, .. } => {
                let grounds: Vec<&str> = kind.grounds().iter().map(|ground| ground.name()).collect();
                format!("{kind} can carry {}", grounds.join(", "))
            }
            Self::NoAdequacyDecision { .. } => {
                "name another instrument, such as scc; what was decided after the built-in list is not in it"
                    .into()
            }
            Self::PartialAdequacy { authority: true, .. } => {
                "an authority that asks is not among them: name another ground, such as art-46-2-a".into()
            }
            Self::PartialAdequacy { .. } => "name the covered recipients by their networks, as cidrs".into(),
            Self::WholeCountry { .. } => "name the recipient's own networks, as cidrs".into(),
            Self::InsideEea { country } => format!(
                "permit {country} in the pin; where the pin is to stay narrower, use the type eu-order with the \
                 ground no-transfer"
            ),
            Self::OutsideEea { .. } => {
                "name the instrument of Chapter V that the transfer there rests on".into()
            }
            Self::LongDerogation { .. } => format!(
                "end it within {DEROGATION_DAYS} days; what goes on for longer needs an instrument of Art. 45 or 46"
            ),
            Self::UnboundedDerogation => "add quota_bytes, the bytes that the one transfer needs".into(),
            Self::UndocumentedDerogation => "add [assessment] with its reference".into(),
            Self::NoAssessment { .. } => {
                "add [assessment] with reference and review_by; measures may be none".into()
            }
            Self::NoReviewDate { .. } => {
                "add review_by to [assessment], such as review_by = 2027-06-01".into()
            }
            Self::ReviewOver { .. } => {
                "look at the assessment again, and have the document approved with its next review_by".into()
            }
            Self::ReversedWindow { .. } => "exchange the two, or correct the one that is wrong".into(),
            Self::Expired { .. } => "ask for a renewed approval with a later valid_until".into(),
            Self::NoRecipient => "add [[recipient]] with name, jurisdiction and cidrs".into(),
            Self::SharedNetwork { .. } => "give each network to one recipient".into(),
            Self::SharedCountry { .. } => {
                "name each recipient there by its own networks, or only the one that is anybody".into()
            }
            Self::RepeatedRole { .. } => "name each role once, with the count that is meant".into(),
            Self::NobodyApproves => {
                "write how many have to sign, or take the [[approval.required]] out".into()
            }
        }
    }
}
