//! The legal acts that a transfer can rest on.

use std::fmt;

/// What kind of legal act an exemption names as its ground. Articles are those of the GDPR, Regulation
/// (EU) 2016/679.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Instrument {
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
    /// A court's or an authority's order of a third country with nothing beside it. It is no ground
    /// (Art. 48) and always refused; it can be named so that the refusal can say why.
    ForeignOrder,
}

impl Instrument {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::AdequacyDecision,
        Self::StandardClauses,
        Self::CorporateRules,
        Self::TreatyRequest,
        Self::Derogation,
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
            Self::ForeignOrder => "foreign-order",
        }
    }

    /// The article of the GDPR that it stands in.
    #[must_use]
    pub const fn article(self) -> &'static str {
        match self {
            Self::AdequacyDecision => "Art. 45",
            Self::StandardClauses => "Art. 46(2)(c), (d)",
            Self::CorporateRules => "Art. 46(2)(b), Art. 47",
            Self::TreatyRequest | Self::ForeignOrder => "Art. 48",
            Self::Derogation => "Art. 49",
        }
    }
}

impl fmt::Display for Instrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
