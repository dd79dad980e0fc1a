//! The two things that each transfer needs by law: a ground of Chapter V, and a basis of Art. 6.

use std::fmt;

/// The ground of Chapter V GDPR that lets data leave the EEA; of data that is not personal, the one of the Data Act.
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
    /// Art. 46(2)(e): an approved code of conduct.
    CodeOfConduct,
    /// Art. 46(2)(f): an approved certification.
    Certification,
    /// Art. 46(3)(a): clauses that a supervisory authority has authorised.
    AuthorisedClauses,
    /// Art. 46(3)(b): provisions in arrangements between public authorities, authorised.
    AuthorityArrangement,
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
    /// Art. 32(2) of the Data Act, Regulation (EU) 2023/2854: an international agreement.
    DataActAgreement,
    /// Art. 32(3) of the Data Act: no agreement, and three conditions.
    DataActConditions,
    /// None, because the data stays in the EEA: Chapter V is about third countries alone (Art. 44).
    NoTransfer,
}

impl Ground {
    /// Every ground.
    pub const ALL: [Self; 21] = [
        Self::Adequacy,
        Self::AuthoritiesInstrument,
        Self::CorporateRules,
        Self::CommissionClauses,
        Self::AuthorityClauses,
        Self::CodeOfConduct,
        Self::Certification,
        Self::AuthorisedClauses,
        Self::AuthorityArrangement,
        Self::RulesOfArticle47,
        Self::Consent,
        Self::Contract,
        Self::ContractForSubject,
        Self::PublicInterest,
        Self::LegalClaims,
        Self::VitalInterests,
        Self::PublicRegister,
        Self::CompellingInterests,
        Self::DataActAgreement,
        Self::DataActConditions,
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
            Self::CodeOfConduct => "art-46-2-e",
            Self::Certification => "art-46-2-f",
            Self::AuthorisedClauses => "art-46-3-a",
            Self::AuthorityArrangement => "art-46-3-b",
            Self::RulesOfArticle47 => "art-47",
            Self::Consent => "art-49-1-a",
            Self::Contract => "art-49-1-b",
            Self::ContractForSubject => "art-49-1-c",
            Self::PublicInterest => "art-49-1-d",
            Self::LegalClaims => "art-49-1-e",
            Self::VitalInterests => "art-49-1-f",
            Self::PublicRegister => "art-49-1-g",
            Self::CompellingInterests => "art-49-1-2",
            Self::DataActAgreement => "data-act-32-2",
            Self::DataActConditions => "data-act-32-3",
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
            Self::CodeOfConduct => {
                "Art. 46(2)(e): an approved code of conduct, with binding commitments of the recipient."
            }
            Self::Certification => {
                "Art. 46(2)(f): an approved certification, with binding commitments of the recipient."
            }
            Self::AuthorisedClauses => {
                "Art. 46(3)(a): contractual clauses that a supervisory authority has authorised."
            }
            Self::AuthorityArrangement => {
                "Art. 46(3)(b): provisions in an arrangement between public authorities, which a supervisory authority has \
                 authorised."
            }
            Self::RulesOfArticle47 => {
                "Art. 47: binding corporate rules, by the article that says what is in them."
            }
            Self::Consent => {
                "Art. 49(1)(a): explicit consent of the data subject, who was told before of the risks of the transfer."
            }
            Self::Contract => {
                "Art. 49(1)(b): a contract with the data subject, or steps before it at their request; occasional (recital 111)."
            }
            Self::ContractForSubject => {
                "Art. 49(1)(c): a contract in the data subject's interest; occasional (recital 111)."
            }
            Self::PublicInterest => {
                "Art. 49(1)(d): important reasons of public interest that Union or member state law recognises, which `condition.recognised_by` names (Art. 49(4))."
            }
            Self::LegalClaims => {
                "Art. 49(1)(e): establishment, exercise or defence of legal claims, for which it is necessary; occasional (recital 111)."
            }
            Self::VitalInterests => {
                "Art. 49(1)(f): vital interests of a person, where the data subject is physically or legally incapable of consent."
            }
            Self::PublicRegister => {
                "Art. 49(1)(g): a register that is open to the public, and not the whole of it (Art. 49(2))."
            }
            Self::CompellingInterests => {
                "Art. 49(1), second subparagraph: compelling legitimate interests, where nothing else applies; not repetitive, and \
                 of a limited number of data subjects (`condition.subjects`); the supervisory authority and the data subjects \
                 are told, which two `[[duty]]` date."
            }
            Self::DataActAgreement => {
                "Data Act, Art. 32(2): a third country's decision on data that is not personal rests on an international \
                 agreement."
            }
            Self::DataActConditions => {
                "Data Act, Art. 32(3): without an agreement, and only where the third country's system has the decision say its \
                 reasons and be specific, has objections reviewed by a court, and lets that court weigh the provider's interests."
            }
            Self::NoTransfer => "The data stays in the EEA, so that Chapter V asks for none (Art. 44).",
        }
    }

    /// Whether it is a safeguard of Art. 46 or 47, which rests on a transfer impact assessment that is looked at again
    /// (C-311/18).
    #[must_use]
    pub const fn is_safeguard(self) -> bool {
        matches!(
            self,
            Self::AuthoritiesInstrument
                | Self::CorporateRules
                | Self::CommissionClauses
                | Self::AuthorityClauses
                | Self::CodeOfConduct
                | Self::Certification
                | Self::AuthorisedClauses
                | Self::AuthorityArrangement
                | Self::RulesOfArticle47
        )
    }

    /// Whether it is about personal data: all but those of the Data Act.
    #[must_use]
    pub const fn is_personal(self) -> bool {
        !matches!(self, Self::DataActAgreement | Self::DataActConditions)
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
    /// None, because the data is not personal.
    NotPersonal,
}

impl Basis {
    /// Every basis.
    pub const ALL: [Self; 7] = [
        Self::Consent,
        Self::Contract,
        Self::LegalObligation,
        Self::VitalInterests,
        Self::PublicTask,
        Self::LegitimateInterests,
        Self::NotPersonal,
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
            Self::NotPersonal => "not-personal",
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
            Self::LegitimateInterests => {
                "Legitimate interests, except where the interests or rights of the data subject override them."
            }
            Self::NotPersonal => "None: the data is not personal, and the Data Act is held against it.",
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
