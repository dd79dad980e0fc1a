//! Where a policy lets data pass without the exemption.

use std::path::Path;

use super::super::needless::{By, NotNeeded, failsafe_words, milder_words, needless, not_needed};
use super::{GOOD, check};
use crate::config::policy::{Action, Placing, Policy};
use crate::config::{self, Surroundings};

fn policy(home: &str, permit: &str, action: &str) -> Policy {
    let text = format!(
        "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[[pin]]\nname = \"mail\"\nhome = \"{home}\"\n\
         permit = [{permit}]\naction = \"{action}\"\nselect.ports = [\"tcp/143\"]\n[[pin]]\nname = \"files\"\nhome = \"IE\"\n\
         action = \"drop\"\nselect.ports = [\"tcp/445\"]\n"
    );
    config::parse(Path::new("policy.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap().policy
}

/// What passes of the good document, with its two recipients, by a config with this home, these permissions and this action.
fn of(home: &str, permit: &str, action: &str) -> (Vec<By>, NotNeeded) {
    let (policy, document) = (policy(home, permit, action), check(GOOD).unwrap());
    let found = needless(&document, &policy).iter().map(|it| it.by).collect();
    (found, not_needed(&document, &policy))
}

fn said(permitted: &str, forbidden: &str) -> NotNeeded {
    NotNeeded { permitted: permitted.to_owned(), forbidden: forbidden.to_owned() }
}

#[test]
fn what_passes_by_the_policy_itself_is_found_with_the_reason() {
    let [us, jp] = ["US", "JP"].map(|place| place.parse().unwrap());
    assert_eq!(of("IE", "\"FR\"", "drop"), (vec![], said("", "")));
    assert_eq!(of("IE", "\"US\"", "drop"), (vec![By::Permit(us)], said("the pin mail permits US", "")));
    let both = "JP is the home of the pin mail, the pin mail permits US";
    assert_eq!(of("JP", "\"US\"", "flag"), (vec![By::Permit(us), By::Home(jp)], said(both, "")));
    let [flags, observes] = [Action::Flag, Action::Observe].map(By::Action);
    assert_eq!(of("IE", "\"FR\"", "flag"), (vec![flags; 2], said("", "the pin mail only flags")));
    assert_eq!(of("IE", "\"FR\"", "observe"), (vec![observes; 2], said("", "the pin mail only observes")));
}

#[test]
fn a_config_that_only_observes_drops_nothing_whatever_its_pins_say() {
    let (mut policy, document) = (policy("IE", "\"US\"", "drop"), check(GOOD).unwrap());
    let pins = ["mail".to_owned()];
    assert_eq!(milder_words(&policy, &pins), Vec::<String>::new());
    policy.host.observe = true;
    let observes = "the config only observes (`host.observe`)";
    assert_eq!(not_needed(&document, &policy), said("the pin mail permits US", observes));
    assert_eq!(milder_words(&policy, &pins), [observes]);
}

#[test]
fn a_pin_that_the_config_has_not_judges_nothing() {
    let (mut policy, document) = (policy("IE", "\"FR\"", "drop"), check(GOOD).unwrap());
    policy.pins[0].name = "records".to_owned();
    let gone = "the config has no pin mail, and by that name judges nothing";
    assert_eq!(not_needed(&document, &policy), said("", gone));
    assert_eq!(milder_words(&policy, &["mail".to_owned(), "records".to_owned()]), [gone]);
}

/// What counts is where the kernel places an address, and not what a document says of it.
#[test]
fn networks_are_where_sites_and_database_place_them() {
    let (mut policy, document) = (policy("IE", "\"BE\"", "drop"), check(GOOD).unwrap());
    assert_eq!(not_needed(&document, &policy), said("", ""));
    policy.placing =
        Placing::new(|_| Some(["US", "BE"].map(|place| place.parse().unwrap()).into_iter().collect()));
    let NotNeeded { permitted, forbidden } = not_needed(&document, &policy);
    assert!(permitted.starts_with("the pin mail permits BE, where networks of "), "{permitted}");
    assert_eq!(forbidden, "");
    // What is not in Belgium is flagged.
    policy.pins[0].action = Action::Flag;
    let NotNeeded { permitted, forbidden } = not_needed(&document, &policy);
    assert!(permitted.contains("BE") && forbidden == "the pin mail only flags", "{permitted} {forbidden}");
}

/// What passes of the good document, and of its pin at all, by this failsafe rule.
fn by_failsafe(rule: &str, ports: &str, places: Option<&str>) -> (Vec<String>, Vec<String>) {
    let text = format!(
        "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[[failsafe]]\nname = \"rescue\"\nanywhere = true\n{rule}\n\
         [[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"FR\"]\naction = \"drop\"\nselect.ports = [{ports}]\n"
    );
    let mut policy =
        config::parse(Path::new("policy.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap().policy;
    policy.failsafe[0].places = places.map(|it| it.split(' ').map(|it| it.parse().unwrap()).collect());
    let document = check(GOOD).unwrap();
    let pins = document.pins.clone();
    (failsafe_words(&policy, Some(&document), &pins), failsafe_words(&policy, None, &pins))
}

#[test]
fn what_passes_by_a_failsafe_rule_is_found_by_ports_peers_and_places() {
    let to =
        |place: &str| vec![format!("the failsafe rule rescue lets packets of the pin mail pass to {place}")];
    let none = Vec::<String>::new;
    let imap = "\"tcp/143\"";
    let document = check(GOOD).unwrap();
    let network = document.recipients.iter().flat_map(|it| &it.networks).next().unwrap();
    let country =
        document.recipients.iter().find(|it| !it.networks.is_empty()).unwrap().jurisdiction.to_string();
    let peers = format!("peers = [\"{network}\"]");
    assert_eq!(by_failsafe(&peers, imap, Some(&country)), (to(&country), to(&country)));
    // The pin has no such packet, or what the rule covers goes to where the pin permits it.
    assert_eq!(
        by_failsafe(&format!("{peers}\nlocal_ports = [\"tcp/22\"]"), imap, Some(&country)),
        (none(), none())
    );
    assert_eq!(
        by_failsafe(&format!("{peers}\nlocal_ports = [\"udp/143\"]"), imap, Some(&country)),
        (none(), none())
    );
    assert_eq!(by_failsafe("peers = [\"100.64.0.0/10\"]", imap, Some("IE FR")), (none(), none()));
    assert_eq!(by_failsafe("peers = [\"100.64.0.0/10\"]", imap, Some("IE CN")).1, to("CN"));
    let wide = format!("{peers}\nlocal_ports = [\"tcp/100-200\"]\nremote_ports = [\"tcp/1-65535\"]");
    assert_eq!(by_failsafe(&wide, imap, Some(&country)).1, to(&country));
    // Where it leads is not known, or anywhere.
    assert_eq!(by_failsafe("local_ports = [\"tcp/143\"]", imap, None).1, to("anywhere"));
    assert!(by_failsafe("local_ports = [\"tcp/143\"]", imap, None).0[0].contains(&country));
}
