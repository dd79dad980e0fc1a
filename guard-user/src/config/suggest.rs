//! "Did you mean ...?"

/// The candidate that the text most likely means: nothing that is further away than a slip of the
/// fingers. A word of two letters is never corrected: too many words are near it.
pub(crate) fn nearest<'c>(text: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    const LONGEST: usize = 64;
    if text.len() > LONGEST {
        return None;
    }
    let lower = text.to_lowercase();
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, candidate)| {
            distance == 0 || (distance <= candidate.len() / 3 && text.chars().count() > 2)
        })
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_understood_and_strangers_are_not() {
        let keys = ["interfaces", "observe", "EU", "adequacy"];
        let near = |text| nearest(text, keys.into_iter());
        assert_eq!(near("interface"), Some("interfaces"));
        assert_eq!(near("obsevre"), Some("observe"));
        assert_eq!(near("eu"), Some("EU"));
        assert_eq!(near("Adequacy"), Some("adequacy"));
        assert_eq!(near("EW"), None);
        assert_eq!(near("colour"), None);
        assert_eq!(near(&"x".repeat(100_000)), None);
    }
}
