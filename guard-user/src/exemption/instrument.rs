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
    /// A request under an international agreement, such as a mutual legal assistance treaty (Art. 48).
    TreatyRequest,
    /// A derogation for a specific situation (Art. 49): narrow, and bounded in time and bytes.
    Derogation,
    /// An order under Union law whose data stays in the EEA, such as a European Production Order
    /// (Regulation (EU) 2023/1543). It is no transfer to a third country, and an exemption only where the
    /// pin is narrower than the EEA.
    UnionOrder,
    /// A court's or an authority's order of a third country with nothing beside it. It is no ground
    /// (Art. 48) and always refused; it can be named so that the refusal can say why.
    ForeignOrder,
}

impl InstrumentKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::AdequacyDecision,
        Self::StandardClauses,
        Self::CorporateRules,
        Self::TreatyRequest,
        Self::Derogation,
        Self::UnionOrder,
        Self::ForeignOrder,
    ];

    /// The name in documents, lists and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AdequacyDecision => "adequacy-decision",
            Self::StandardClauses => "scc",
            Self::CorporateRules => "bcr",
            Self::TreatyRequest => "treaty-request",
            Self::Derogation => "derogation",
            Self::UnionOrder => "eu-order",
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
            Self::TreatyRequest | Self::ForeignOrder => "Art. 48",
            Self::Derogation => "Art. 49",
            Self::UnionOrder => "Regulation (EU) 2023/1543",
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
            Self::TreatyRequest => &[
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
            Self::ForeignOrder => &[],
        }
    }

    /// Whether it rests on a transfer impact assessment that is looked at again (C-311/18).
    #[must_use]
    pub const fn needs_assessment(self) -> bool {
        matches!(self, Self::StandardClauses | Self::CorporateRules)
    }
}

impl fmt::Display for InstrumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
