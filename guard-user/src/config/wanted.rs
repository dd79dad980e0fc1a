//! What may stand where a jurisdiction was expected, for errors.

/// What may stand where a jurisdiction was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One country.
    Country,
    /// A country or a group.
    Member,
    /// A country, a group or a mark.
    Permit,
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Country => "country",
            Self::Member => "country or group",
            Self::Permit => "country, group or mark",
        })
    }
}
