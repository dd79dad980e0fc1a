//! The legal acts that a transfer can rest on.

use std::fmt;

use super::ground::Ground;

/// What kind of legal act an exemption rests on. Articles are those of the GDPR, Regulation (EU) 2016/679,
/// where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstrumentKind {
    /// The Commission has decided that the third country protects data adequately (Art. 45). A decision
    /// may cover certified recipients alone, which are then to be named by their networks.
    AdequacyDecision,
    /// Standard contractual clauses (Art. 46(2)(c) and (d)).
    StandardClauses,
    /// Binding corporate rules (Art. 46(2)(b) and Art. 47).
    CorporateRules,
    /// A code of conduct that is approved for transfers (Art. 40(3), Art. 46(2)(e)).
    CodeOfConduct,
    /// A certification that is approved for transfers (Art. 42(2), Art. 46(2)(f)).
    Certification,
    /// Clauses or arrangements that a supervisory authority has authorised (Art. 46(3)).
    AuthorisedSafeguards,
    /// A request under an international agreement, such as a mutual legal assistance treaty (Art. 48).
    TreatyRequest,
    /// A third country's request to the provider itself, under an agreement that allows that (Art. 48): a CLOUD Act
    /// executive agreement, or the Second Additional Protocol to the Budapest Convention.
    DirectRequest,
    /// A derogation for a specific situation (Art. 49): narrow, and bounded in time and bytes.
    Derogation,
    /// An order under Union law whose data stays in the EEA, such as a European Production Order
    /// (Regulation (EU) 2023/1543). It is no transfer to a third country, and an exemption only where the
    /// pin is narrower than the EEA.
    UnionOrder,
    /// A third country's decision on data that is not personal (Data Act, Regulation (EU) 2023/2854, Art. 32).
    DataActRequest,
    /// A court's or an authority's order of a third country with nothing beside it. It is no ground
    /// (Art. 48) and always refused; it can be named so that the refusal can say why.
    ForeignOrder,
}

impl InstrumentKind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::AdequacyDecision,
        Self::StandardClauses,
        Self::CorporateRules,
        Self::CodeOfConduct,
        Self::Certification,
        Self::AuthorisedSafeguards,
        Self::TreatyRequest,
        Self::DirectRequest,
        Self::Derogation,
        Self::UnionOrder,
        Self::DataActRequest,
        Self::ForeignOrder,
    ];

    /// The name in documents, lists and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AdequacyDecision => "adequacy-decision",
            Self::StandardClauses => "scc",
            Self::CorporateRules => "bcr",
            Self::CodeOfConduct => "code-of-conduct",
            Self::Certification => "certification",
            Self::AuthorisedSafeguards => "authorised-safeguards",
            Self::TreatyRequest => "treaty-request",
            Self::DirectRequest => "direct-request",
            Self::Derogation => "derogation",
            Self::UnionOrder => "eu-order",
            Self::DataActRequest => "data-act-request",
            Self::ForeignOrder => "foreign-order",
        }
    }

    /// The article of the GDPR, or the act, that it stands in.
    #[must_use]
    pub const fn article(self) -> &'static str {
        match self {
            Self::AdequacyDecision => "Art. 45",
            Self::StandardClauses => "Art. 46(2)(c), (d)",
            Self::CorporateRules => "Art. 46(2)(b), Art. 47",
            Self::CodeOfConduct => "Art. 46(2)(e), Art. 40(3)",
            Self::Certification => "Art. 46(2)(f), Art. 42(2)",
            Self::AuthorisedSafeguards => "Art. 46(3)",
            Self::TreatyRequest | Self::DirectRequest | Self::ForeignOrder => "Art. 48",
            Self::Derogation => "Art. 49",
            Self::UnionOrder => "Regulation (EU) 2023/1543",
            Self::DataActRequest => "Regulation (EU) 2023/2854, Art. 32",
        }
    }

    /// The grounds of Chapter V that it can carry; none where it can carry no transfer at all.
    #[must_use]
    pub const fn grounds(self) -> &'static [Ground] {
        match self {
            Self::AdequacyDecision => &[Ground::Adequacy],
            Self::StandardClauses => &[Ground::CommissionClauses, Ground::AuthorityClauses],
            Self::CorporateRules => &[Ground::CorporateRules, Ground::RulesOfArticle47],
            // The treaty itself where it has the safeguards, else another ground: EDPB Guidelines 02/2024.
            Self::CodeOfConduct => &[Ground::CodeOfConduct],
            Self::Certification => &[Ground::Certification],
            Self::AuthorisedSafeguards => &[Ground::AuthorisedClauses, Ground::AuthorityArrangement],
            Self::TreatyRequest | Self::DirectRequest => &[
                Ground::AuthoritiesInstrument,
                Ground::Adequacy,
                Ground::PublicInterest,
                Ground::LegalClaims,
                Ground::VitalInterests,
            ],
            Self::Derogation => &[
                Ground::Consent,
                Ground::Contract,
                Ground::ContractForSubject,
                Ground::PublicInterest,
                Ground::LegalClaims,
                Ground::VitalInterests,
                Ground::PublicRegister,
                Ground::CompellingInterests,
            ],
            Self::UnionOrder => &[Ground::NoTransfer],
            Self::DataActRequest => &[Ground::DataActAgreement, Ground::DataActConditions],
            Self::ForeignOrder => &[],
        }
    }

    /// Whether any document of it, also one that was loaded before, rests on a transfer impact assessment that is looked at
    /// again (C-311/18). Of a new one the ground says so: [`Ground::is_safeguard`].
    #[must_use]
    pub const fn needs_assessment(self) -> bool {
        matches!(self, Self::StandardClauses | Self::CorporateRules)
    }

    /// Whether it holds between parties that it binds, so that each recipient has to be one of them.
    #[must_use]
    pub const fn has_parties(self) -> bool {
        matches!(
            self,
            Self::StandardClauses
                | Self::CorporateRules
                | Self::CodeOfConduct
                | Self::Certification
                | Self::AuthorisedSafeguards
        )
    }

    /// Whether an authority of a third country asks for the data.
    #[must_use]
    pub const fn is_asked_for(self) -> bool {
        matches!(self, Self::TreatyRequest | Self::DirectRequest | Self::DataActRequest)
    }
}

impl fmt::Display for InstrumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
