//! A rule that one document breaks: what is wrong with it, and what to do.

use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;
use jiff::Timestamp;

use super::rule::{DEROGATION_DAYS, Rule};
use crate::config::finding::quoted;
use crate::exemption::ground::Ground;
use crate::exemption::instrument::InstrumentKind;
use crate::exemption::particulars::{DutyKind, Law, Module};

/// What breaks a rule. Its `Display` is one sentence; [`said`](Self::said) has the article behind it, and
/// [`hint`](Self::hint) says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// [`Rule::ForeignOrderAlone`].
    #[error("an order of a third country's court or authority is by itself no ground for a transfer")]
    ForeignOrderAlone,
    /// [`Rule::NoAgreement`].
    #[error("a request without the international agreement behind it is a third country's order alone")]
    NoAgreement,
    /// [`Rule::GroundMismatch`].
    #[error("{kind} is no act that the ground {ground} can rest on")]
    GroundMismatch {
        /// What the act is.
        kind: InstrumentKind,
        /// What stands there.
        ground: Ground,
    },
    /// [`Rule::NoAdequacyDecision`].
    #[error("there is no adequacy decision on {country}")]
    NoAdequacyDecision {
        /// The recipient's country.
        country: Jurisdiction,
    },
    /// [`Rule::PartialAdequacy`].
    #[error("the adequacy decision {act} on {country} covers only {whom}")]
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
    /// [`Rule::ExceptedPurpose`].
    #[error("the adequacy decision {act} on {country} is not for {purposes}, and {}", lack.words())]
    ExceptedPurpose {
        /// The recipient's country.
        country: Jurisdiction,
        /// The decision's number.
        act: String,
        /// What it is not for.
        purposes: String,
        /// What is missing.
        lack: Excepted,
    },
    /// [`Rule::WholeCountry`].
    #[error("anybody in {country} is nobody whom {kind} can name")]
    WholeCountry {
        /// The recipient's country.
        country: Jurisdiction,
        /// What the act is.
        kind: InstrumentKind,
    },
    /// [`Rule::InsideEea`].
    #[error("{country} is in {}, and no transfer to a third country", law.area())]
    InsideEea {
        /// The recipient's country.
        country: Jurisdiction,
        /// The law whose area that is.
        law: Law,
    },
    /// [`Rule::OutsideEea`].
    #[error(
        "{country} is outside {}, and an order under Union law is no ground for a transfer there",
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
        "a derogation must be bounded in time, and {} days from {from} to {until} are more than {DEROGATION_DAYS}",
        until.duration_since(*from).as_hours() / 24
    )]
    LongDerogation {
        /// Its begin.
        from: Timestamp,
        /// Its end.
        until: Timestamp,
    },
    /// [`Rule::UnboundedDerogation`].
    #[error("a derogation must be bounded in bytes, and there is no quota_bytes")]
    UnboundedDerogation,
    /// [`Rule::UndocumentedDerogation`].
    #[error("a derogation's assessment must be documented, and there is no [assessment]")]
    UndocumentedDerogation,
    /// [`Rule::NoAssessment`].
    #[error("{kind} needs a transfer impact assessment, and there is no [assessment]")]
    NoAssessment {
        /// What the act is.
        kind: InstrumentKind,
    },
    /// [`Rule::NoReviewDate`].
    #[error("the assessment for {kind} has to be looked at again, and has no review_by")]
    NoReviewDate {
        /// What the act is.
        kind: InstrumentKind,
    },
    /// [`Rule::ReviewOver`].
    #[error("the assessment had to be looked at again by {by}, which is {at}")]
    ReviewOver {
        /// By when.
        by: Timestamp,
        /// What comes after it.
        at: ReviewAt,
    },
    /// [`Rule::NoDataSubjects`].
    #[error("the document says nothing of whose data leaves")]
    NoDataSubjects,
    /// [`Rule::NotPersonal`].
    #[error("data that is not personal goes by data-act-request and not-personal, and has no data subjects")]
    NotPersonal,
    /// [`Rule::NoModule`].
    #[error("the document does not say which form of the {kind} is used")]
    NoModule {
        /// What the act is.
        kind: InstrumentKind,
    },
    /// [`Rule::ModuleMismatch`].
    #[error("{module} is not of this type, law, ground or role of the exporter")]
    ModuleMismatch {
        /// What stands there.
        module: Module,
    },
    /// [`Rule::NotAParty`].
    #[error("{} is not among the parties, so that nothing binds the {}", quoted(name), who.name())]
    NotAParty {
        /// Its name.
        name: String,
        /// What it is for the transfer.
        who: Party,
    },
    /// [`Rule::PublicAuthority`].
    #[error("{ground} is not for what a public authority does in the exercise of its powers")]
    PublicAuthority {
        /// The ground.
        ground: Ground,
    },
    /// [`Rule::EarlyDeletion`].
    #[error("the data has to have been deleted by {by}, and may still leave until {until}")]
    EarlyDeletion {
        /// First moment at which it has to have been deleted.
        by: Timestamp,
        /// End of the window.
        until: Timestamp,
    },
    /// [`Rule::NoCondition`].
    #[error("the document does not show that the condition of {ground} is met: there is no {key}")]
    NoCondition {
        /// The ground.
        ground: Ground,
        /// The key, or the section.
        key: &'static str,
    },
    /// [`Rule::NoNotification`].
    #[error("nobody has dated who has to be told: there is no [[duty]] {}", duty.name())]
    NoNotification {
        /// What has to be done.
        duty: DutyKind,
    },
    /// [`Rule::NoAddressee`].
    #[error("the certificate has no addressee")]
    NoAddressee,
    /// [`Rule::PreservationOnly`].
    #[error("a preservation order has data kept where it is: nothing leaves by it")]
    PreservationOnly,
    /// [`Rule::NoCertification`].
    #[error("{} has no {key}, and is covered where it is certified", quoted(recipient))]
    NoCertification {
        /// The recipient.
        recipient: String,
        /// What is missing.
        key: &'static str,
    },
    /// [`Rule::StaleCertification`].
    #[error("the certification was looked up on {on}, which is not within {days} days before {now}")]
    StaleCertification {
        /// When.
        on: Timestamp,
        /// Days that may have passed.
        days: u32,
        /// Now.
        now: Timestamp,
    },
    /// [`Rule::NoAgreementInForce`].
    #[error("{}", agreement_fault(id.as_deref(), *country, *known))]
    NoAgreementInForce {
        /// What stands there.
        id: Option<String>,
        /// The recipient's country.
        country: Option<Jurisdiction>,
        /// Whether the pack has it.
        known: bool,
    },
    /// [`Rule::NoAgreementInForce`], by the home of a pin.
    #[error(
        "by the law pack {home}, where the pin {} is at home, is no party to the agreement {}",
        quoted(pin),
        quoted(id)
    )]
    AgreementOfOthers {
        /// The agreement.
        id: String,
        /// The pin.
        pin: String,
        /// Its home.
        home: Jurisdiction,
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
        /// What the act is.
        kind: InstrumentKind,
    },
    /// [`Rule::OnwardWithoutGround`].
    #[error("the onward transfer to {country} can't rest on {ground}")]
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
    #[error("nobody may receive: there is no [[recipient]]")]
    NoRecipient,
    /// [`Rule::OverlappingRecipients`], by networks.
    #[error("{network} is also {other} of the recipient {}", quoted(recipient))]
    SharedNetwork {
        /// The network.
        network: IpNetwork,
        /// The other recipient's.
        other: IpNetwork,
        /// The other recipient.
        recipient: String,
    },
    /// [`Rule::OverlappingRecipients`], by country.
    #[error("anybody in {country} is also the recipient {}", quoted(recipient))]
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

/// Who has to be bound by safeguards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// Who sends.
    Exporter,
    /// Who receives.
    Recipient,
}

impl Party {
    const fn name(self) -> &'static str {
        match self {
            Self::Exporter => "exporter",
            Self::Recipient => "recipient",
        }
    }
}

/// What a document lacks that rests on an adequacy decision with excepted purposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excepted {
    /// A recipient by its networks: whoever has an excepted purpose is among everybody.
    Everybody,
    /// Another ground: an authority asks.
    Authority,
    /// Words on the purpose.
    Words,
}

impl Excepted {
    const fn words(self) -> &'static str {
        match self {
            Self::Everybody => "anybody there may have such a purpose",
            Self::Authority => "an authority asks there",
            Self::Words => "there is no [condition] that shows that this is none of them",
        }
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
            Self::ExceptedPurpose { .. } => Rule::ExceptedPurpose,
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
            Self::PublicAuthority { .. } => Rule::PublicAuthority,
            Self::EarlyDeletion { .. } => Rule::EarlyDeletion,
            Self::NoCondition { .. } => Rule::NoCondition,
            Self::NoNotification { .. } => Rule::NoNotification,
            Self::NoAddressee => Rule::NoAddressee,
            Self::PreservationOnly => Rule::PreservationOnly,
            Self::NoCertification { .. } => Rule::NoCertification,
            Self::StaleCertification { .. } => Rule::StaleCertification,
            Self::NoAgreementInForce { .. } | Self::AgreementOfOthers { .. } => Rule::NoAgreementInForce,
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
}
