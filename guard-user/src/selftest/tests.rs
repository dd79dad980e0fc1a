//! What is planned is held against what it has to be, for policies of their own: the kernel is not asked here.

use std::collections::BTreeSet;
use std::path::Path;

use guard_common::verdict::Verdict;

use super::frames::Kind;
use super::plan::{To, Try, plan};
use super::policy::{OWN_PIN, of_trial};
use super::run::{Outcome, Tried, absent_cgroups};
use crate::compile::InterfaceFact;
use crate::config::{self, Surroundings};
use crate::explain::Explainer;
use crate::geo::embedded;

const HOST: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n";
const FLAGGED: &str = "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"flag\"\n\
                       [[pin.select]]\nports = [\"tcp/143\"]\nsources = [\"192.0.2.0/24\"]\n\
                       [[pin.select]]\nusers = [1234]\nremote_ports = [\"udp/5000\"]\n";

/// The packets for a config, by an interface of this name.
fn planned(rest: &str, interface: &str) -> Vec<Try> {
    planned_with(rest, interface, None)
}

/// The same on a host whose cgroups are below this folder.
fn planned_with(rest: &str, interface: &str, cgroups: Option<&Path>) -> Vec<Try> {
    let text = format!("{HOST}{rest}");
    let checked = config::parse(Path::new("policy.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap();
    let fact = InterfaceFact { index: 3, names: vec![interface.to_owned()], ..InterfaceFact::default() };
    let policy = of_trial(checked.policy).unwrap();
    let absent = cgroups.map(|root| absent_cgroups(&policy, root)).unwrap_or_default();
    let explainer = Explainer::new(policy, embedded::load(), Vec::new(), None).unwrap();
    let explainer = explainer.without_cgroups(&absent).unwrap();
    plan(&explainer.with_interfaces(vec![fact]).unwrap(), 3, 0)
}

/// Pin, kind, where it goes, and its verdict or why it is not sent.
type Told<'a> = (&'a str, &'a str, To, Result<Verdict, &'a str>);

fn told(tries: &[Try]) -> Vec<Told<'_>> {
    tries
        .iter()
        .map(|one| {
            let outgoing = one.outgoing.as_ref();
            let verdict = outgoing.map(|it| it.expected.verdict).map_err(String::as_str);
            (one.pin.as_str(), one.kind.as_str(), one.to, verdict)
        })
        .collect()
}

/// Every kind is read by the decision as what it is, and the trial's own pin forbids and permits it.
#[test]
fn every_kind_is_dropped_on_its_way_abroad_and_passes_at_home() {
    let tries = planned(FLAGGED, "eth0");
    let own: Vec<Told<'_>> = told(&tries).into_iter().filter(|(pin, ..)| *pin == OWN_PIN).collect();
    let expected: Vec<Told<'_>> = Kind::ALL
        .into_iter()
        .flat_map(|kind| {
            [(To::Forbidden, Verdict::Drop), (To::Permitted, Verdict::Pass)]
                .map(|(to, verdict)| (OWN_PIN, kind.name(), to, Ok(verdict)))
        })
        .collect();
    assert_eq!(own, expected);
    let marks: BTreeSet<&str> =
        tries.iter().map(|one| one.outgoing.as_ref().unwrap().mark.as_str()).collect();
    assert_eq!(marks.len(), tries.len(), "each has a mark of its own");
    for outgoing in tries.iter().map(|one| one.outgoing.as_ref().unwrap()) {
        let mark = outgoing.mark.as_bytes();
        assert!(outgoing.frame.bytes.windows(mark.len()).any(|bytes| bytes == mark), "{outgoing:?}");
    }
}

#[test]
fn each_way_of_a_pin_is_tried_by_what_it_selects_and_its_action_is_expected() {
    let tries = planned(FLAGGED, "eth0");
    let mail: Vec<_> = told(&tries).into_iter().filter(|(pin, ..)| *pin == "mail").collect();
    let of = |kind, to, verdict| -> Told<'static> { ("mail", kind, to, Ok(verdict)) };
    let expected = [
        of("way 1, tcp", To::Forbidden, Verdict::Flag),
        of("way 1, tcp", To::Permitted, Verdict::Pass),
        of("way 2, udp", To::Forbidden, Verdict::Flag),
        of("way 2, udp", To::Permitted, Verdict::Pass),
    ];
    assert_eq!(mail, expected);
}

#[test]
fn what_cannot_be_tried_says_why() {
    let pin = "[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\nselect.interfaces = [\"eth1\"]\n";
    let tries = planned(pin, "eth0");
    let mail: Vec<_> = told(&tries).into_iter().filter(|(pin, ..)| *pin == "mail").collect();
    let why = Err("this host has no guarded interface that it selects");
    assert_eq!(mail, To::BOTH.map(|to| ("mail", "any", to, why)));
    let open =
        format!("[[failsafe]]\nname = \"all\"\nanywhere = true\nremote_ports = [\"udp/60009\"]\n{FLAGGED}");
    let tries = planned(&open, "eth0");
    let all = told(&tries);
    let first = all.iter().find(|(_, kind, to, _)| (*kind, *to) == ("ipv4-udp", To::Forbidden)).unwrap();
    assert_eq!(first.3, Ok(Verdict::Pass), "what passes by a failsafe rule is forbidden all the same");
}

#[test]
fn a_pin_by_a_cgroup_is_tried_by_one_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("mail.slice")).unwrap();
    let verdict = |cgroups: &str| {
        let pin = format!(
            "[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\nselect.cgroups = [{cgroups}]\n"
        );
        let tries = planned_with(&pin, "eth0", Some(folder.path()));
        let of_mail = tries.iter().filter(|one| one.pin == "mail");
        let outgoing = of_mail.map(|one| one.outgoing.as_ref().map(|it| it.expected.verdict));
        outgoing.map(|it| it.map_err(Clone::clone)).collect::<Vec<_>>()
    };
    let gone: Result<Verdict, String> = Err("the cgroup gone.slice is not there".to_owned());
    assert_eq!(verdict("\"gone.slice\""), [gone.clone(), gone]);
    assert_eq!(verdict("\"gone.slice\", \"mail.slice\""), [Ok(Verdict::Drop), Ok(Verdict::Pass)]);
}

#[test]
fn a_pin_that_permits_much_is_tried_where_it_forbids_and_at_home() {
    let of_mail = |permit: &str| -> Vec<(To, Result<Verdict, String>)> {
        let pin = format!(
            "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [{permit}]\naction = \"drop\"\n\
             select.ports = [\"tcp/143\"]\n"
        );
        let tries = planned(&pin, "eth0");
        let of_mail = told(&tries).into_iter().filter(|(pin, ..)| *pin == "mail");
        of_mail.map(|(_, _, to, verdict)| (to, verdict.map_err(ToOwned::to_owned))).collect()
    };
    let home = (To::Permitted, Ok(Verdict::Pass));
    // Documentation addresses are unknown ones, and the trial's own place abroad is not.
    assert_eq!(of_mail("\"unknown\""), [(To::Forbidden, Ok(Verdict::Drop)), home.clone()]);
    let why = "its home and `permit` have each place that documentation addresses are in here: unknown";
    let nowhere = (To::Forbidden, Err(why.to_owned()));
    assert_eq!(of_mail("\"unknown\", \"uncertain\", \"US\""), [nowhere, home]);
}

#[test]
fn where_the_trial_s_own_pin_has_no_room_each_kind_says_so() {
    let ways: Vec<String> = (2000..2064).map(|port| format!("{{ ports = [\"tcp/{port}\"] }}")).collect();
    let pin = format!(
        "[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\nselect = [{}]\n",
        ways.join(", ")
    );
    let tries = planned(&pin, "eth0");
    let own: Vec<Told<'_>> = told(&tries).into_iter().filter(|(pin, ..)| *pin == OWN_PIN).collect();
    assert_eq!(own.len(), 2 * Kind::ALL.len());
    let says = |it: &Told<'_>| matches!(it.3, Err(why) if why.contains("64 ways"));
    assert!(own.iter().all(says), "{own:?}");
}

/// Where there is no network to send in, what is not tried is all that would be, and the reason of each stays its own.
#[test]
fn without_a_network_each_try_is_one_that_was_not_made() {
    let tries = planned(FLAGGED, "eth0");
    let count = tries.len();
    let tried: Vec<Tried> = tries.into_iter().map(|one| Tried::not_sent(one, "no network")).collect();
    assert_eq!(tried.len(), count);
    let is_so = |it: &Tried| (it.result, it.why.as_deref()) == (Outcome::NotTried, Some("no network"));
    assert!(count == 2 * Kind::ALL.len() + 4 && tried.iter().all(is_so), "{tried:?}");
    let pin = "[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\nselect.interfaces = [\"eth1\"]\n";
    let last = planned(pin, "eth0").pop().map(|one| Tried::not_sent(one, "no network")).unwrap();
    assert_eq!(last.why.as_deref(), Some("this host has no guarded interface that it selects"));
}

#[test]
fn what_came_and_was_counted_otherwise_is_a_failure() {
    let outcome = |kind: &str, to: To, has_come: bool, counted: bool| {
        let mut tries = planned(FLAGGED, "eth0").into_iter();
        let one = tries.find(|it| (it.kind.as_str(), it.to) == (kind, to)).unwrap();
        let mark = one.outgoing.as_ref().unwrap().mark.clone();
        let came: BTreeSet<String> = has_come.then_some(mark).into_iter().collect();
        Tried::of(one, Some(Ok(counted)), &came)
    };
    let dropped = outcome("ipv6-udp", To::Forbidden, false, true);
    assert_eq!((dropped.result, dropped.verdict, &dropped.why), (Outcome::Ok, Some("drop"), &None));
    let leaked = outcome("ipv6-udp", To::Forbidden, true, true);
    assert_eq!(
        (leaked.result, leaked.why.as_deref()),
        (Outcome::Failed, Some("it came out at the other end"))
    );
    let lost = outcome("ipv4-udp", To::Permitted, false, true);
    assert_eq!((lost.result, lost.received), (Outcome::Failed, Some(false)));
    let miscounted = outcome("way 1, tcp", To::Forbidden, true, false);
    assert_eq!(
        (miscounted.result, miscounted.why.as_deref()),
        (Outcome::Failed, Some("it is not counted so"))
    );
    let not_sent =
        Tried::of(planned(FLAGGED, "eth0").remove(0), Some(Err("no".to_owned())), &BTreeSet::new());
    assert_eq!((not_sent.result, not_sent.why.as_deref()), (Outcome::NotTried, Some("no")));
}
