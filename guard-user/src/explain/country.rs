//! English names of jurisdictions, by the ISO 3166-1 table of the crate `rust_iso3166`, which has no `XK`.

use guard_common::jurisdiction::Jurisdiction;

/// The jurisdiction's code with its country's English name, or what the mark means.
pub(super) fn named(jurisdiction: Jurisdiction) -> String {
    match jurisdiction {
        Jurisdiction::UNKNOWN => "unknown (no source says)".to_owned(),
        Jurisdiction::UNCERTAIN => "uncertain (anycast, or sources disagree)".to_owned(),
        country if country.as_str() == "XK" => format!("{country} (Kosovo)"),
        country => match rust_iso3166::from_alpha2(country.as_str()) {
            Some(entry) => format!("{country} ({})", entry.name),
            None => country.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_jurisdiction_has_a_name() {
        for jurisdiction in Jurisdiction::all() {
            let name = named(jurisdiction);
            assert!(name.starts_with(jurisdiction.as_str()) && name.ends_with(')'), "{name}");
        }
        assert_eq!(named("IE".parse().unwrap()), "IE (Ireland)");
        assert_eq!(named("XK".parse().unwrap()), "XK (Kosovo)");
    }
}
