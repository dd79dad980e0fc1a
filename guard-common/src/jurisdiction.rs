//! Jurisdictions: ISO 3166-1 alpha-2 country codes and the two marks `unknown` and `uncertain`.
