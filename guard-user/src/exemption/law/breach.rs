//! A rule that one document breaks: what is wrong with it, and what to do.

use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;
use jiff::Timestamp;

use super::rule::{DEROGATION_DAYS, Rule};
use crate::config::finding::quoted;
use crate::exemption::ground::Ground;
use crate::exemption::instrument::InstrumentKind;
use crate::exemption::particulars::{Law, Module};

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
        act: String,
        /// Whom it covers.
        whom: String,
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
    #[error("{country} is in {}, and no transfer to a third country (GDPR Art. 44)", law.area())]
    InsideEea {
        /// The recipient's country.
        country: Jurisdiction,
        /// The law whose area that is.
        law: Law,
    },
    /// [`Rule::OutsideEea`].
    #[error(
        "{country} is outside {}, and an order under Union law is no ground for a transfer there (GDPR Art. 44)",
        law.area()
    )]
    OutsideEea {
        /// The recipient's country.
        country: Jurisdiction,
        /// The law whose area that is.
        law: Law,
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
    /// [`Rule::NoDataSubjects`].
    #[error("the document says nothing of whose data leaves (GDPR Art. 30(1)(c))")]
    NoDataSubjects,
    /// [`Rule::NotPersonal`].
    #[error(
        "data that is not personal goes by data-act-request and not-personal, and has no data subjects (Data Act, Art. 32)"
    )]
    NotPersonal,
    /// [`Rule::NoModule`].
    #[error("the document does not say which form of the {kind} is used (Decision (EU) 2021/914)")]
    NoModule {
        /// What the act is.
        kind: InstrumentKind,
    },
    /// [`Rule::ModuleMismatch`].
    #[error("{module} is not of this type, law, ground or role of the exporter (Decision (EU) 2021/914)")]
    ModuleMismatch {
        /// What stands there.
        module: Module,
    },
    /// [`Rule::NotAParty`].
    #[error(
        "{} is not among the parties, so that nothing binds the recipient (GDPR Art. 46)",
        quoted(recipient)
    )]
    NotAParty {
        /// The recipient.
        recipient: String,
    },
    /// [`Rule::NoCondition`].
    #[error(
        "the document does not show that the condition of {ground} is met: there is no {key} (GDPR Art. 49)"
    )]
    NoCondition {
        /// The ground.
        ground: Ground,
        /// The key, or the section.
        key: &'static str,
    },
    /// [`Rule::NoNotification`].
    #[error("nobody has dated who has to be told: there is no [[duty]] {duty} ({article})")]
    NoNotification {
        /// The duty's word.
        duty: &'static str,
        /// Where it stands.
        article: &'static str,
    },
    /// [`Rule::NoAddressee`].
    #[error("the certificate has no addressee (Regulation (EU) 2023/1543, Art. 7)")]
    NoAddressee,
    /// [`Rule::PreservationOnly`].
    #[error(
        "a preservation order has data kept where it is: nothing leaves by it (Regulation (EU) 2023/1543, Art. 11)"
    )]
    PreservationOnly,
    /// [`Rule::NoCertification`].
    #[error("{} has no {key}, and is covered where it is certified (GDPR Art. 45(3))", quoted(recipient))]
    NoCertification {
        /// The recipient.
        recipient: String,
        /// What is missing.
        key: &'static str,
    },
    /// [`Rule::StaleCertification`].
    #[error(
        "the certification was looked up on {on}, which is not within {days} days before {now} (GDPR Art. 45(3))"
    )]
    StaleCertification {
        /// When.
        on: Timestamp,
        /// Days that may have passed.
        days: u32,
        /// Now.
        now: Timestamp,
    },
    /// [`Rule::NoAgreementInForce`].
    #[error("{} (GDPR Art. 48)", agreement_fault(id.as_deref(), *country, *known))]
    NoAgreementInForce {
        /// What stands there.
        id: Option<String>,
        /// The recipient's country.
        country: Option<Jurisdiction>,
        /// Whether the pack has it.
        known: bool,
    },
    /// [`Rule::NotBound`].
    #[error("{country} is not bound by {act}, and issues no certificate")]
    NotBound {
        /// The recipient's country.
        country: Jurisdiction,
        /// The act.
        act: String,
    },
    /// [`Rule::NotYetApplicable`].
    #[error("{act} applies from {since}, and the window begins before that")]
    NotYetApplicable {
        /// The act.
        act: String,
        /// From when.
        since: Timestamp,
    },
    /// [`Rule::OtherLaw`], by the home of a pin.
    #[error("the pin {} is at home in {home}, where the law {law} does not hold", quoted(pin))]
    OtherHome {
        /// The pin.
        pin: String,
        /// Its home.
        home: Jurisdiction,
        /// The law.
        law: Law,
    },
    /// [`Rule::OtherLaw`], by the home of a pin that has a law of its own.
    #[error(
        "the pin {} is at home in {home}, where the law {law} decides, and the document goes by the law eu",
        quoted(pin)
    )]
    HomeLaw {
        /// The pin.
        pin: String,
        /// Its home.
        home: Jurisdiction,
        /// The law there.
        law: Law,
    },
    /// [`Rule::OtherLaw`], by the ground.
    #[error("the law {law} has no ground {ground}")]
    OtherLaw {
        /// The law.
        law: Law,
        /// The ground.
        ground: Ground,
    },
    /// [`Rule::OnwardWithoutGround`].
    #[error("the onward transfer to {country} can't rest on {ground} (GDPR Art. 44)")]
    OnwardWithoutGround {
        /// Where it goes.
        country: Jurisdiction,
        /// What stands there.
        ground: Ground,
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

fn agreement_fault(id: Option<&str>, country: Option<Jurisdiction>, known: bool) -> String {
    match (id, country) {
        (None, _) => "a direct request needs the agreement that allows it, by agreement_id".to_owned(),
        (Some(id), Some(country)) if known => {
            format!("by the law pack the agreement {} is not in force with {country} for this", quoted(id))
        }
        (Some(id), _) => format!("the law pack has no agreement {}", quoted(id)),
    }
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
            Self::NoDataSubjects => Rule::NoDataSubjects,
            Self::NotPersonal => Rule::NotPersonal,
            Self::NoModule { .. } => Rule::NoModule,
            Self::ModuleMismatch { .. } => Rule::ModuleMismatch,
            Self::NotAParty { .. } => Rule::NotAParty,
            Self::NoCondition { .. } => Rule::NoCondition,
            Self::NoNotification { .. } => Rule::NoNotification,
            Self::NoAddressee => Rule::NoAddressee,
            Self::PreservationOnly => Rule::PreservationOnly,
            Self::NoCertification { .. } => Rule::NoCertification,
            Self::StaleCertification { .. } => Rule::StaleCertification,
            Self::NoAgreementInForce { .. } => Rule::NoAgreementInForce,
            Self::NotBound { .. } => Rule::NotBound,
            Self::NotYetApplicable { .. } => Rule::NotYetApplicable,
            Self::OtherHome { .. } | Self::HomeLaw { .. } | Self::OtherLaw { .. } => Rule::OtherLaw,
            Self::OnwardWithoutGround { .. } => Rule::OnwardWithoutGround,
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
                "name another instrument, such as scc; what was decided after the date of the law pack is not in it"
                    .into()
            }
            Self::PartialAdequacy { authority: true, .. } => {
                "an authority that asks is not among them: name another ground, such as art-46-2-a".into()
            }
            Self::PartialAdequacy { .. } => "name the covered recipients by their networks, as cidrs".into(),
            Self::WholeCountry { .. } => "name the recipient's own networks, as cidrs".into(),
            Self::InsideEea { country, .. } => format!(
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
            Self::NoDataSubjects => "add data_subjects, such as [\"customers\"]".into(),
            Self::NotPersonal => {
                "name both or neither: data of persons needs a basis of Art. 6(1), an instrument and data_subjects".into()
            }
            Self::NoModule { kind: InstrumentKind::CorporateRules } => "add module, bcr-c or bcr-p".into(),
            Self::NoModule { .. } => "add module: c2c, c2p, p2p or p2c, under the law uk idta or addendum".into(),
            Self::ModuleMismatch { .. } => {
                "a controller exports by c2c, c2p and bcr-c, a processor by p2p, p2c and bcr-p; idta and addendum are of the \
                 law uk"
                    .into()
            }
            Self::NotAParty { .. } => "name who is bound as parties, each by the name that it has as a recipient".into(),
            Self::NoCondition { .. } => "add it to [condition]; docs/exemption-document.md has the condition of each ground".into(),
            Self::NoNotification { duty, .. } => format!("add [[duty]] with what = \"{duty}\" and due"),
            Self::NoAddressee => "add addressee: the designated establishment or the legal representative".into(),
            Self::PreservationOnly => "keep the data; what leaves later needs an EPOC or another instrument".into(),
            Self::NoCertification { .. } => {
                "look the recipient up in the register of the law pack, and add certification and checked_on".into()
            }
            Self::StaleCertification { .. } => "look the recipient up again, and write that day".into(),
            Self::NoAgreementInForce { .. } => {
                "name one that is in force, by `docs/law.md`, or another instrument; what came into force since needs a newer \
                 law pack"
                    .into()
            }
            Self::NotBound { .. } => "name the instrument that the request rests on, without a certificate".into(),
            Self::NotYetApplicable { .. } => "begin the window when the act applies".into(),
            Self::OtherHome { .. } => "take law out, or name pins that are at home where that law holds".into(),
            Self::HomeLaw { law, .. } => format!("write law = \"{law}\", and the ground that it has"),
            Self::OtherLaw { .. } => "name a ground that the law has".into(),
            Self::OnwardWithoutGround { .. } => "name the ground that the onward transfer rests on".into(),
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
