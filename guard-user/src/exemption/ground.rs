//! The two things that each transfer needs by law: a ground of Chapter V, and a basis of Art. 6.

use std::fmt;

/// The ground of Chapter V GDPR that lets data leave the EEA. Safeguards that no kind of instrument here
/// carries (codes of conduct, certification, authorised clauses) are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ground {
    /// Art. 45: an adequacy decision.
    Adequacy,
    /// Art. 46(2)(a): a binding instrument between public authorities, such as a treaty with safeguards.
    AuthoritiesInstrument,
    /// Art. 46(2)(b): binding corporate rules.
    CorporateRules,
    /// Art. 46(2)(c): clauses adopted by the Commission.
    CommissionClauses,
    /// Art. 46(2)(d): clauses adopted by a supervisory authority and approved by the Commission.
    AuthorityClauses,
    /// Art. 47: what binding corporate rules must say; the same as Art. 46(2)(b).
    RulesOfArticle47,
    /// Art. 49(1)(a): explicit consent.
    Consent,
    /// Art. 49(1)(b): a contract with the data subject.
    Contract,
    /// Art. 49(1)(c): a contract in the data subject's interest.
    ContractForSubject,
    /// Art. 49(1)(d): important reasons of public interest, recognised in Union or member state law.
    PublicInterest,
    /// Art. 49(1)(e): legal claims.
    LegalClaims,
    /// Art. 49(1)(f): vital interests.
    VitalInterests,
    /// Art. 49(1)(g): a public register.
    PublicRegister,
    /// Art. 49(1), second subparagraph: compelling legitimate interests, not repetitive.
    CompellingInterests,
    /// None, because the data stays in the EEA: Chapter V is about third countries alone (Art. 44).
    NoTransfer,
}

impl Ground {
    /// Every ground.
    pub const ALL: [Self; 15] = [
        Self::Adequacy,
        Self::AuthoritiesInstrument,
        Self::CorporateRules,
        Self::CommissionClauses,
        Self::AuthorityClauses,
        Self::RulesOfArticle47,
        Self::Consent,
        Self::Contract,
        Self::ContractForSubject,
        Self::PublicInterest,
        Self::LegalClaims,
        Self::VitalInterests,
        Self::PublicRegister,
        Self::CompellingInterests,
        Self::NoTransfer,
    ];

    /// The name in documents and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Adequacy => "art-45",
            Self::AuthoritiesInstrument => "art-46-2-a",
            Self::CorporateRules => "art-46-2-b",
            Self::CommissionClauses => "art-46-2-c",
            Self::AuthorityClauses => "art-46-2-d",
            Self::RulesOfArticle47 => "art-47",
            Self::Consent => "art-49-1-a",
            Self::Contract => "art-49-1-b",
            Self::ContractForSubject => "art-49-1-c",
            Self::PublicInterest => "art-49-1-d",
            Self::LegalClaims => "art-49-1-e",
            Self::VitalInterests => "art-49-1-f",
            Self::PublicRegister => "art-49-1-g",
            Self::CompellingInterests => "art-49-1-2",
            Self::NoTransfer => "no-transfer",
        }
    }

    /// What it is, in words.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Adequacy => "Art. 45: an adequacy decision covers the recipient.",
            Self::AuthoritiesInstrument => {
                "Art. 46(2)(a): a binding instrument between public authorities, such as a treaty, has the \
                 safeguards."
            }
            Self::CorporateRules => "Art. 46(2)(b): binding corporate rules.",
            Self::CommissionClauses => "Art. 46(2)(c): standard clauses adopted by the Commission.",
            Self::AuthorityClauses => {
                "Art. 46(2)(d): standard clauses of a supervisory authority, approved by the Commission."
            }
            Self::RulesOfArticle47 => {
                "Art. 47: binding corporate rules, by the article that says what is in them."
            }
            Self::Consent => "Art. 49(1)(a): the data subject's explicit consent.",
            Self::Contract => "Art. 49(1)(b): a contract with the data subject.",
            Self::ContractForSubject => "Art. 49(1)(c): a contract in the data subject's interest.",
            Self::PublicInterest => {
                "Art. 49(1)(d): important reasons of public interest that Union or member state law recognises."
            }
            Self::LegalClaims => "Art. 49(1)(e): establishment, exercise or defence of legal claims.",
            Self::VitalInterests => "Art. 49(1)(f): vital interests of a person who cannot consent.",
            Self::PublicRegister => "Art. 49(1)(g): a register that is open to the public.",
            Self::CompellingInterests => {
                "Art. 49(1), second subparagraph: compelling legitimate interests, not repetitive; the \
                 supervisory authority and the data subject are told."
            }
            Self::NoTransfer => "The data stays in the EEA, so that Chapter V asks for none (Art. 44).",
        }
    }

    /// Whether it is one of Art. 49, which is narrow and has to be bounded.
    #[must_use]
    pub const fn is_derogation(self) -> bool {
        matches!(
            self,
            Self::Consent
                | Self::Contract
                | Self::ContractForSubject
                | Self::PublicInterest
                | Self::LegalClaims
                | Self::VitalInterests
                | Self::PublicRegister
                | Self::CompellingInterests
        )
    }
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The basis of Art. 6(1) GDPR on which the data is processed at all; a ground of Chapter V does not
/// replace it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// (a): consent.
    Consent,
    /// (b): a contract.
    Contract,
    /// (c): a legal obligation under Union or member state law (Art. 6(3)).
    LegalObligation,
    /// (d): vital interests.
    VitalInterests,
    /// (e): a task in the public interest under Union or member state law (Art. 6(3)).
    PublicTask,
    /// (f): legitimate interests.
    LegitimateInterests,
}

impl Basis {
    /// Every basis.
    pub const ALL: [Self; 6] = [
        Self::Consent,
        Self::Contract,
        Self::LegalObligation,
        Self::VitalInterests,
        Self::PublicTask,
        Self::LegitimateInterests,
    ];

    /// The name in documents and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consent => "art-6-1-a",
            Self::Contract => "art-6-1-b",
            Self::LegalObligation => "art-6-1-c",
            Self::VitalInterests => "art-6-1-d",
            Self::PublicTask => "art-6-1-e",
            Self::LegitimateInterests => "art-6-1-f",
        }
    }

    /// What it is, in words.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Consent => "Consent of the data subject.",
            Self::Contract => "A contract with the data subject.",
            Self::LegalObligation => "A legal obligation under Union or member state law.",
            Self::VitalInterests => "Vital interests of a person.",
            Self::PublicTask => "A task in the public interest under Union or member state law.",
            Self::LegitimateInterests => "Legitimate interests that outweigh those of the data subject.",
        }
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the exporter is for the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It decides on purposes and means (Art. 4(7)).
    Controller,
    /// It acts for a controller (Art. 4(8)).
    Processor,
}

impl Role {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Controller, Self::Processor];

    /// The name in documents and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Processor => "processor",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
