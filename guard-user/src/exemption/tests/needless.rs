//! Where a policy lets data pass without the exemption.

use std::path::Path;

use super::super::needless::{By, failsafe_words, needless, words};
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
