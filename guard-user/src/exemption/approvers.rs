//! Who approved a document, in words.

/// What stands in the place of a role where the signature counted in none.
pub const NO_ROLE: &str = "no role that counts";

/// Signers with the roles in which they count, joined by `and`, and behind them those who signed in no role that counts.
#[must_use]
pub fn words<'a>(signers: impl IntoIterator<Item = (&'a str, Option<&'a str>)>, and: &str) -> String {
    let (mut counted, mut others) = (Vec::new(), Vec::new());
    for (who, role) in signers {
        match role {
            Some(role) => counted.push(format!("{who} as {role}")),
            None => others.push(who),
        }
    }
    let (counted, others) = (counted.join(and), others.join(" and "));
    match (counted.is_empty(), others.is_empty()) {
        (_, true) => counted,
        (true, false) => format!("{others}, in {NO_ROLE}"),
        (false, false) => format!("{counted}; {others} signed too, in {NO_ROLE}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_signed_in_no_role_that_counts_is_told_apart() {
        let (aoife, brian) = (("aoife", None), ("brian", Some("dpo")));
        assert_eq!(words([aoife, brian], " and "), "brian as dpo; aoife signed too, in no role that counts");
        assert_eq!(words([brian, ("ciara", Some("legal"))], " and "), "brian as dpo and ciara as legal");
        assert_eq!(words([aoife], ", "), "aoife, in no role that counts");
    }
}
