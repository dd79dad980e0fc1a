//! What the config asks for, whatever a document says of itself.

use super::quorum::{NotEnough, Requirement};

/// The legal acts that a rule can be for: types of instruments that carry something, and grounds of Chapter V GDPR, as
/// documents name them.
pub const ACTS: [&str; 32] = [
    "adequacy-decision",
    "scc",
    "bcr",
    "code-of-conduct",
    "certification",
    "authorised-safeguards",
    "treaty-request",
    "direct-request",
    "derogation",
    "eu-order",
    "data-act-request",
    "art-45",
    "art-46-2-a",
    "art-46-2-b",
    "art-46-2-c",
    "art-46-2-d",
    "art-46-2-e",
    "art-46-2-f",
    "art-46-3-a",
    "art-46-3-b",
    "art-47",
    "art-49-1-a",
    "art-49-1-b",
    "art-49-1-c",
    "art-49-1-d",
    "art-49-1-e",
    "art-49-1-f",
    "art-49-1-g",
    "art-49-1-2",
    "data-act-32-2",
    "data-act-32-3",
    "no-transfer",
];

/// The least that some documents need: a `[[approval.rule]]` of the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The pins whose exemptions it is for, by name; empty: every pin.
    pub pins: Vec<String>,
    /// The legal acts that it is for, of [`ACTS`], one of which is enough; empty: every act.
    pub acts: Vec<&'static str>,
    /// Whom it asks for; never empty.
    pub required: Vec<Needed>,
}

/// So many signers of one role, as a rule asks for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// The role.
    pub role: String,
    /// How many, each another person; at least 1.
    pub count: u32,
}

impl Rule {
    /// Whether it is for exemptions of this pin, whatever they rest on.
    #[must_use]
    pub fn is_for(&self, pin: &str) -> bool {
        self.pins.is_empty() || self.pins.iter().any(|own| own == pin)
    }

    fn fits(&self, pin: &str, acts: &[&str]) -> bool {
        self.is_for(pin) && (self.acts.is_empty() || self.acts.iter().any(|own| acts.contains(own)))
    }

    /// Whom it asks for.
    #[must_use]
    pub fn requirements(&self) -> Vec<Requirement<'_>> {
        requirements(&self.required)
    }
}

/// The same as requirements.
#[must_use]
pub fn requirements(needed: &[Needed]) -> Vec<Requirement<'_>> {
    needed.iter().map(|needed| Requirement { role: &needed.role, count: needed.count }).collect()
}

/// Whose approvals a document needs that covers these pins, rests on these acts, and itself asks for `own`: of each role
/// the greatest count of all rules that fit and its own, its own roles first.
///
/// # Errors
/// [`NotEnough::NoRule`] where no rule fits one of its pins.
pub fn due<'a>(
    rules: &'a [Rule],
    pins: &[String],
    acts: &[&str],
    own: Vec<Requirement<'a>>,
) -> Result<Vec<Requirement<'a>>, NotEnough> {
    if let Some(pin) = pins.iter().find(|pin| !rules.iter().any(|rule| rule.fits(pin, acts))) {
        return Err(NotEnough::NoRule { pin: pin.clone(), acts: acts.join(", ") });
    }
    let fitting = rules.iter().filter(|rule| pins.iter().any(|pin| rule.fits(pin, acts)));
    Ok(greatest(std::iter::once(own).chain(fitting.map(Rule::requirements))))
}

/// What every rule together asks for: of each role the greatest count. For what may open whatever any of them is for.
#[must_use]
pub fn of_every_rule(rules: &[Rule]) -> Vec<Requirement<'_>> {
    greatest(rules.iter().map(Rule::requirements))
}

/// Of each role the greatest count that is asked for at once.
#[must_use]
pub fn greatest<'a>(each: impl IntoIterator<Item = Vec<Requirement<'a>>>) -> Vec<Requirement<'a>> {
    let mut due: Vec<Requirement<'a>> = Vec::new();
    for one in each.into_iter().flat_map(summed) {
        match due.iter_mut().find(|earlier| earlier.role == one.role) {
            Some(earlier) => earlier.count = earlier.count.max(one.count),
            None => due.push(one),
        }
    }
    due
}

/// Each role once, with all that is asked for of it.
fn summed(asked: Vec<Requirement<'_>>) -> Vec<Requirement<'_>> {
    let mut sums: Vec<Requirement<'_>> = Vec::with_capacity(asked.len());
    for one in asked {
        match sums.iter_mut().find(|earlier| earlier.role == one.role) {
            Some(earlier) => earlier.count = earlier.count.saturating_add(one.count),
            None => sums.push(one),
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(pins: &[&str], acts: &[&'static str], required: &[(&str, u32)]) -> Rule {
        let required = required.iter().map(|&(role, count)| Needed { role: role.to_owned(), count });
        Rule {
            pins: pins.iter().map(|&pin| pin.to_owned()).collect(),
            acts: acts.to_vec(),
            required: required.collect(),
        }
    }

    fn told(
        rules: &[Rule],
        pins: &[&str],
        acts: &[&str],
        own: &[(&'static str, u32)],
    ) -> Result<Vec<(String, u32)>, &'static str> {
        let pins: Vec<String> = pins.iter().map(|&pin| pin.to_owned()).collect();
        let own = own.iter().map(|&(role, count)| Requirement { role, count }).collect();
        let due = due(rules, &pins, acts, own).map_err(|error| error.code())?;
        Ok(due.into_iter().map(|one| (one.role.to_owned(), one.count)).collect())
    }

    #[test]
    fn every_rule_that_fits_is_due_with_the_documents_own() {
        let rules = [
            rule(&["mail"], &[], &[("legal", 1)]),
            rule(&[], &["treaty-request", "art-49-1-e"], &[("legal", 2), ("dpo", 1)]),
            rule(&["files"], &["scc"], &[("board", 1)]),
        ];
        let found = |pins: &[&str], acts: &[&str], own: &[(&'static str, u32)]| {
            told(&rules, pins, acts, own).map(|due| {
                due.iter().map(|(role, count)| format!("{count} {role}")).collect::<Vec<_>>().join(", ")
            })
        };
        assert_eq!(found(&["mail"], &["scc", "art-46-2-c"], &[]), Ok("1 legal".into()));
        assert_eq!(found(&["mail"], &["scc", "art-46-2-c"], &[("dpo", 3)]), Ok("3 dpo, 1 legal".into()));
        assert_eq!(found(&["mail"], &["treaty-request"], &[("legal", 1)]), Ok("2 legal, 1 dpo".into()));
        assert_eq!(found(&["mail"], &["derogation", "art-49-1-e"], &[]), Ok("2 legal, 1 dpo".into()));
        assert_eq!(found(&["mail", "files"], &["scc"], &[]), Ok("1 legal, 1 board".into()));
        // A pin that no rule fits is refused, also beside one that has a rule.
        assert_eq!(found(&["files"], &["bcr"], &[("legal", 9)]), Err("no-rule"));
        assert_eq!(found(&["mail", "files"], &["bcr"], &[]), Err("no-rule"));
        assert_eq!(told(&[], &["mail"], &["scc"], &[("legal", 9)]), Err("no-rule"));
    }

    proptest! {
        #[test]
        fn a_document_can_ask_for_more_and_never_for_less(
            rules in prop::collection::vec((0..3_usize, 0..3_usize, prop::collection::vec((0..3_usize, 1..4_u32), 1..3)), 0..4),
            pin in 0..2_usize,
            act in 0..2_usize,
            own in prop::collection::vec((0..3_usize, 1..4_u32), 0..4),
        ) {
            const ROLES: [&str; 3] = ["legal", "dpo", "board"];
            const PINS: [&[&str]; 3] = [&["mail"], &["files"], &[]];
            const SOME: [&[&str]; 3] = [&["scc"], &["bcr"], &[]];
            let named = |needed: &[(usize, u32)]| -> Vec<(&'static str, u32)> {
                needed.iter().map(|&(role, count)| (ROLES[role], count)).collect()
            };
            let made: Vec<Rule> =
                rules.iter().map(|(pins, acts, required)| rule(PINS[*pins], SOME[*acts], &named(required))).collect();
            let own = named(&own);
            let fits = |(pins, acts, _): &&(usize, usize, Vec<(usize, u32)>)| {
                (*pins == 2 || *pins == pin) && (*acts == 2 || *acts == act)
            };
            let sum = |needed: &[(&str, u32)], role: &str| -> u32 {
                needed.iter().filter(|one| one.0 == role).map(|one| one.1).sum()
            };
            let fitting: Vec<Vec<(&str, u32)>> =
                rules.iter().filter(fits).map(|(_, _, required)| named(required)).collect();
            match told(&made, PINS[pin], SOME[act], &own) {
                Err(code) => prop_assert!(code == "no-rule" && fitting.is_empty()),
                Ok(due) => {
                    prop_assert!(!fitting.is_empty());
                    for role in ROLES {
                        let most = fitting.iter().chain([&own]).map(|needed| sum(needed, role)).max();
                        let count = due.iter().find(|one| one.0 == role).map_or(0, |one| one.1);
                        prop_assert_eq!(Some(count), most);
                    }
                }
            }
        }
    }
}
