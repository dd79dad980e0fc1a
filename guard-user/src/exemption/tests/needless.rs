//! Where a policy lets data pass without the exemption.

use std::path::Path;

use super::super::needless::{By, needless, words};
use super::{GOOD, check};
use crate::config::policy::Action;
use crate::config::{self, Surroundings};

/// What passes of the good document, with its two recipients, by a config with this home, these permissions and this action.
fn of(home: &str, permit: &str, action: &str) -> (Vec<By>, String) {
    let text = format!(
        "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[[pin]]\nname = \"mail\"\nhome = \"{home}\"\n\
         permit = [{permit}]\naction = \"{action}\"\nselect.ports = [\"tcp/143\"]\n"
    );
    let config = config::parse(Path::new("policy.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap();
    let document = check(GOOD).unwrap();
    let of = needless(&document, &config.policy.pins);
    (of.iter().map(|it| it.by).collect(), words(&of))
}

#[test]
fn what_passes_by_the_policy_itself_is_found_with_the_reason() {
    assert_eq!(of("IE", "\"FR\"", "drop"), (vec![], String::new()));
    assert_eq!(of("IE", "\"US\"", "drop"), (vec![By::Permit], "the pin mail permits US".to_owned()));
    let both = "JP is the home of the pin mail, the pin mail permits US";
    assert_eq!(of("JP", "\"US\"", "flag"), (vec![By::Permit, By::Home], both.to_owned()));
    let [flags, observes] = [Action::Flag, Action::Observe].map(By::Action);
    assert_eq!(of("IE", "\"FR\"", "flag"), (vec![flags; 2], "the pin mail only flags".to_owned()));
    assert_eq!(of("IE", "\"FR\"", "observe"), (vec![observes; 2], "the pin mail only observes".to_owned()));
    assert!(!flags.is_permitted() && By::Home.is_permitted() && By::Permit.is_permitted());
}
