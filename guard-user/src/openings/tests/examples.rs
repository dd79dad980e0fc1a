//! Changes of a policy one by one, each with what it opens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::slice::from_ref;

use guard_common::verdict::Verdict;

use super::super::{Moved, Opening, Openings, Packets, World, openings};
use crate::compile::KernelExemption;
use crate::config::policy::Policy;
use crate::config::{Surroundings, parse};
use crate::geo::{GeoDb, Info, Runs};

const MAIL: &str = "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"drop\"\n\
                    select.sources = [\"192.0.2.0/24\", \"2001:db8::/64\"]\nselect.ports = [\"tcp/993\"]\n";

fn policy(text: &str) -> Policy {
    parsed(&format!("approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n{text}"))
}

fn parsed(text: &str) -> Policy {
    parse(Path::new("policy.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap().policy
}

/// What is between these numbers of 9.0.0.0 and of 2a00:: is Irish, and the rest of both Belgian or American.
fn database(irish: (u32, u32), rest: &str) -> GeoDb {
    let (mut v4, mut v6) = (Runs::unknown(), Runs::unknown());
    let rest = rest.parse().unwrap();
    for (at, place) in [(0, rest), (irish.0, "IE".parse().unwrap()), (irish.1, rest)] {
        v4.push(0x0900_0000 + at, place);
        v6.push((0x2a00 << 112) + u128::from(at), place);
    }
    GeoDb { v4, v6, info: Info::default() }
}

fn american() -> GeoDb {
    database((100, 200), "US")
}

fn between(old: &str, new: &str) -> Openings {
    let (old, new, geo) = (policy(old), policy(new), american());
    let world = |policy| World { policy, geo: &geo, exemptions: &[], may_exempt: false };
    openings(&world(&old), &world(&new)).unwrap()
}

#[test]
fn what_opens_nothing_is_not_told() {
    let same = [
        MAIL.to_owned(),
        // Another but equal split, another order, and a place more that is closed.
        MAIL.replace("\"192.0.2.0/24\"", "\"192.0.2.128/25\", \"192.0.2.0/25\""),
        MAIL.replace("tcp/993", "tcp/993-1000"),
        MAIL.replace("[\"EU\"]", "[\"IE\"]"),
        format!("[[site]]\nname = \"dc\"\njurisdiction = \"US\"\ncidrs = [\"9.0.0.128/25\"]\n{MAIL}"),
        format!(
            "{MAIL}[[pin]]\nname = \"more\"\nhome = \"IE\"\naction = \"drop\"\nselect.ports = [\"tcp/80\"]\n"
        ),
    ];
    for new in same {
        let found = between(MAIL, &new);
        assert!(found.is_empty(), "{new}: {found:?}");
    }
}

#[test]
fn each_change_that_opens_is_told() {
    let opening = [
        MAIL.replace("[\"EU\"]", "[\"EU\", \"US\"]"),
        MAIL.replace("[\"EU\"]", "[\"EU\", \"unknown\"]"),
        MAIL.replace("192.0.2.0/24", "192.0.2.0/25"),
        MAIL.replace("tcp/993", "tcp/994"),
        MAIL.replace("\"drop\"", "\"flag\""),
        MAIL.replace("\"drop\"", "\"observe\""),
        format!("{MAIL}select.cgroups = [\"mail.slice\"]\n"),
        format!("{MAIL}select.users = [\"7\"]\n"),
        format!("{MAIL}select.marks = [\"7\"]\n"),
        format!("{MAIL}select.remote_ports = [\"tcp/1-65534\"]\n"),
        format!("{MAIL}select.volumes = [\"/srv/mail\"]\n"),
        format!("[[site]]\nname = \"dc\"\njurisdiction = \"IE\"\ncidrs = [\"9.0.1.0/32\"]\n{MAIL}"),
        format!(
            "[[failsafe]]\nname = \"ssh\"\npeers = [\"9.0.1.0/32\"]\nlocal_ports = [\"tcp/993\"]\n{MAIL}"
        ),
    ];
    for new in opening {
        let found = between(MAIL, &new);
        assert!(!found.flows.is_empty(), "{new}: {found:?}");
        assert!(found.flows.iter().all(|flow| flow.pin == "mail"), "{found:?}");
        // Where no pin drops, ways past the guard are refused no more.
        assert!(found.changes.iter().all(|it| it.key == "bypass.refuse"), "{found:?}");
        assert!(between(&new, &new).is_empty(), "{new}");
    }
}

#[test]
fn one_address_that_a_database_moves_is_found() {
    for (start, end) in [(99, 200), (100, 201)] {
        let (policy, old, new) = (policy(MAIL), american(), database((start, end), "US"));
        let world = |geo| World { policy: &policy, geo, exemptions: &[], may_exempt: false };
        let found = openings(&world(&old), &world(&new)).unwrap();
        let moved: Vec<_> = found.flows.iter().flat_map(|flow| flow.to.iter().flatten()).collect();
        assert!(moved.iter().all(|it| it.moved == Moved::Database && it.to.to_string() == "IE"), "{moved:?}");
        let at = if start == 99 { 99 } else { 200 };
        let v4: IpAddr = Ipv4Addr::from(0x0900_0000 + at).into();
        let v6: IpAddr = Ipv6Addr::from((0x2a00 << 112) + u128::from(at)).into();
        assert_eq!(moved.iter().map(|it| (it.v4, it.v6)).next(), Some((1, 1)));
        for address in [v4, v6] {
            let of = moved
                .iter()
                .filter(|it| it.first.iter().any(|run| run.first == address && run.last == address));
            assert!(of.count() > 0, "{address}: {found:?}");
        }
        assert!(openings(&world(&new), &world(&old)).unwrap().is_empty(), "closing opens nothing");
    }
}

#[test]
fn a_pin_that_is_gone_or_has_another_name_opens() {
    let keys = |found: &Openings| -> Vec<String> { found.changes.iter().map(|it| it.key.clone()).collect() };
    let other = "[[pin]]\nname = \"other\"\nhome = \"IE\"\naction = \"drop\"\nselect.ports = [\"tcp/80\"]\n";
    let found = between(MAIL, other);
    assert!(keys(&found) == ["pin"] && !found.flows.is_empty());
    let found = between(MAIL, &MAIL.replace("\"mail\"", "\"post\""));
    assert!(keys(&found) == ["pin"] && found.flows.is_empty());
}

/// The keys of all that is told.
fn keys(found: &Openings) -> Vec<&str> {
    let flows = found.flows.iter().flat_map(|flow| &flow.changes).map(|it| it.key);
    flows.chain(found.changes.iter().map(|it| it.key.as_str())).collect()
}

#[test]
fn what_carries_and_who_sends_is_told_by_its_key() {
    let volume = format!("{MAIL}select.volumes = [\"/srv/mail\"]\nselect.relays = \"tag\"\n");
    let cgroup = format!("{MAIL}select.cgroups = [\"mail.slice\"]\n");
    let carries = "select.spread, copies or relays";
    let cases = [
        (&volume, volume.replace("\"tag\"", "\"tell\""), carries),
        (&volume, format!("{volume}select.spread = \"process\"\n"), carries),
        (&volume, format!("{volume}select.copies = false\n"), carries),
        (&cgroup, format!("{cgroup}select.sent_by = \"socket\"\n"), "select.sent_by"),
        (&cgroup, cgroup.replace("mail.slice", "mail.slice/imap"), "select.cgroups"),
    ];
    for (old, new, key) in cases {
        assert!(keys(&between(old, &new)).iter().all(|it| *it == key), "{key}: {:?}", between(old, &new));
        assert!(!between(old, &new).is_empty() && between(&new, old).is_empty(), "{key}");
    }
}

#[test]
fn what_is_proved_and_tried_no_more_is_told() {
    let canary = format!("{MAIL}canary = \"1h\"\n");
    let held = format!("[history]\nhold = [\"mail\", \"mlat-1\"]\n{MAIL}");
    let less = held.replace("\"mail\", ", "");
    let seldom = format!("{MAIL}canary = \"2h\"\n");
    let returned = format!("{canary}canary_returned_within = \"5s\"\n");
    let later = returned.replace("5s", "50s");
    let elsewhere = held.replace("hold =", "hold_directory = \"/srv/copies\"\nhold =");
    let small = held.replace("hold =", "hold_size = \"1MiB\"\nhold =");
    for (old, new, key) in [
        (canary.as_str(), MAIL, "pin.canary"),
        (&canary, &seldom, "pin.canary"),
        (&returned, &canary, "pin.canary"),
        (&returned, &later, "pin.canary"),
        (&held, &less, "history.hold"),
        (&held, &small, "history.hold_size"),
    ] {
        assert_eq!(keys(&between(old, new)), [key]);
        assert!(between(new, old).is_empty(), "{key}");
    }
    assert_eq!(keys(&between(&held, &elsewhere)), ["history.hold_directory"]);
    let none = "[history]\nhold_size = \"1MiB\"\n".to_owned() + MAIL;
    assert!(between(MAIL, &none).is_empty(), "where nothing is held, nothing is let go");
}

#[test]
fn flows_that_are_kept_less_and_what_proves_and_tells_elsewhere_are_told() {
    let history = format!("[history]\nmax_age = \"90d\"\nmax_size = \"1GiB\"\n{MAIL}");
    let off = history.replace("[history]", "[history]\ndirectory = \"off\"");
    let fresh = format!("[geo]\nmax_age = \"30d\"\n{MAIL}");
    let record = format!("[record]\nhost_key = \"/etc/key\"\nnotify = [\"/bin/tell\", \"us\"]\n{MAIL}");
    for (old, new, key) in [
        (&history, &off, "history.directory"),
        (&history, &history.replace("90d", "1h"), "history.max_age"),
        (&fresh, &fresh.replace("30d", "9999d"), "geo.max_age"),
        (&history, &history.replace("1GiB", "1MiB"), "history.max_size"),
        (&record, &record.replace("host_key = \"/etc/key\"\n", ""), "record.host_key"),
        (&record, &record.replace("notify = [\"/bin/tell\", \"us\"]\n", ""), "record.notify"),
    ] {
        assert_eq!(keys(&between(old, new)), [key]);
        assert!(between(new, old).is_empty(), "{key}");
    }
    // Which of two is the better one nobody compares.
    for (old, new, key) in [
        (
            history.as_str(),
            history.replace("[history]", "[history]\ndirectory = \"/tmp/a\""),
            "history.directory",
        ),
        (&record, record.replace("/etc/key", "/tmp/key"), "record.host_key"),
        (&record, record.replace("/bin/tell", "/bin/true"), "record.notify"),
        (MAIL, format!("[log]\nto = \"/dev/null\"\n{MAIL}"), "log.to"),
    ] {
        assert_eq!(keys(&between(old, &new)), [key]);
        assert_eq!(keys(&between(&new, old)), [key]);
    }
    assert!(between(&off, &off.replace("90d", "1h")).is_empty(), "where nothing is kept, nothing less is");
    assert!(between(&history, &history.replace("[history]", "[history]\npeople_age = \"7d\"")).is_empty());
    let stamped =
        format!("[record]\ntime_stamp = [\"/bin/stamp\"]\n{record}").replacen("[record]\nh", "h", 1);
    assert_eq!(keys(&between(&stamped, &record)), ["record.time_stamp"]);
    assert!(between(&record, &stamped).is_empty());
}

#[test]
fn a_group_more_is_told_by_its_right_and_another_home_by_its_pin() {
    let groups = |rights: &str| format!("[control.groups]\n{rights}{MAIL}");
    for right in ["exemptions", "policy", "everything", "people", "canaries"] {
        let with = groups(&format!("{right} = [\"ops\"]\n"));
        assert_eq!(keys(&between(MAIL, &with)), [format!("control.groups.{right}")]);
        assert!(between(&with, MAIL).is_empty(), "{right}");
    }
    assert!(between(MAIL, &groups("view = [\"ops\"]\n")).is_empty(), "who looks opens nothing");
    let all = groups("everything = [\"ops\"]\n");
    let more = groups("everything = [\"ops\"]\npeople = [\"ops\"]\ncanaries = [\"ops\"]\n");
    assert!(between(&all, &more).is_empty(), "who may do all of it may do that");
    let old = MAIL.replace("[\"EU\"]", "[\"EU\", \"CH\"]");
    for home in ["CH", "DE"] {
        let new = old.replace("\"IE\"", &format!("\"{home}\""));
        let (there, back) = (between(&old, &new), between(&new, &old));
        assert_eq!((keys(&there), keys(&back)), (vec!["pin.home"], vec!["pin.home"]));
        assert!(there.flows.is_empty() && there.changes[0].opens.contains(&format!("law of {home}")));
    }
}

#[test]
fn a_relay_that_is_newly_accepted_is_told_where_the_volume_was_followed() {
    let volume = format!("{MAIL}select.volumes = [\"/srv/mail\"]\n");
    let accepts = |cgroups: &str| format!("{volume}select.accept_relays = [{cgroups}]\n");
    let key = "select.accept_relays";
    let cases = [
        (volume.clone(), accepts("\"log.slice\"")),
        (accepts("\"log.slice\""), accepts("\"log.slice\", \"web.slice\"")),
        (accepts("\"log.slice/a\""), accepts("\"log.slice\"")),
    ];
    for (old, new) in cases {
        assert_eq!(keys(&between(&old, &new)), [key], "{new}");
        assert!(between(&new, &old).is_empty(), "{new}");
    }
    let elsewhere = accepts("\"log.slice\"").replace("/srv/mail", "/srv/other");
    assert!(!keys(&between(&volume, &elsewhere)).contains(&key), "it is another volume's");
}

#[test]
fn one_way_of_several_that_is_narrower_is_told_and_no_other() {
    let two = "[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n\
               [[pin.select]]\nports = [\"tcp/993\"]\n[[pin.select]]\ncgroups = [\"mail.slice\"]\n";
    let found = between(two, &two.replace("mail.slice", "post.slice"));
    let [flow, rest @ ..] = found.flows.as_slice() else { panic!("{found:?}") };
    assert!(keys(&found).iter().all(|it| ["select.cgroups", "select.ports"].contains(it)), "{found:?}");
    assert!(
        flow.packets == Packets::Any && rest.iter().all(|it| it.packets == Packets::Unreadable),
        "{found:?}"
    );
}

#[test]
fn rules_that_become_one_open_what_carries_something_else() {
    let rule = |name: &str, peers: &str| format!("[[failsafe]]\nname = \"{name}\"\npeers = [{peers}]\n");
    let two = format!("{}{}{MAIL}", rule("a", "\"9.0.1.0/24\""), rule("b", "\"9.0.2.0/24\""));
    let one = format!("{}{MAIL}", rule("a", "\"9.0.1.0/24\", \"9.0.2.0/24\""));
    let found = between(&two, &one);
    assert!(found.flows.iter().all(|it: &Opening| it.packets == Packets::Layered), "{found:?}");
    assert!(!found.is_empty() && between(&one, &two).is_empty());
    let bounded = |bytes| one.replace("[[pin]]", &format!("bytes_per_minute = {bytes}\n[[pin]]"));
    assert!(between(&one, &bounded(1000)).is_empty() && !between(&bounded(1000), &one).is_empty());
    assert!(!between(&bounded(1000), &bounded(1001)).is_empty());
    assert!(between(&bounded(1001), &bounded(1000)).is_empty());
}

#[test]
fn a_pin_that_permits_all_that_it_forbade_is_told() {
    // Every place that the database has.
    let all = MAIL.replace("[\"EU\"]", "[\"EU\", \"US\", \"unknown\"]");
    let found = between(MAIL, &all);
    assert!(!found.is_empty() && keys(&found).iter().all(|it| *it == "permit"), "{found:?}");
    assert!(between(&all, MAIL).is_empty());
}

#[test]
fn a_rule_that_covers_nothing_more_of_a_pin_opens_what_carries_more() {
    let pin = "[[pin]]\nname = \"web\"\nhome = \"IE\"\naction = \"drop\"\n\
               [pin.select]\nremote_ports = [\"tcp/80\"]\n";
    let rule = |name: &str, ports: &str| {
        format!("[[failsafe]]\nname = \"{name}\"\nanywhere = true\nremote_ports = [{ports}]\n")
    };
    let one = format!("{}{pin}", rule("a", "\"tcp/0-80\""));
    let two = format!("{}{}{pin}", rule("a", "\"tcp/0-80\""), rule("b", "\"tcp/22-443\""));
    // Of the pin's packets rule "b" covers those that "a" lets pass as well; but one of them may carry another to tcp/443.
    let found = between(&one, &two);
    assert!(!found.is_empty() && found.flows.iter().all(|it| it.packets == Packets::Layered), "{found:?}");
    assert!(between(&two, &one).is_empty());
}

#[test]
fn where_what_is_guarded_or_refused_is_less_its_key_is_told() {
    let host = "[host]\ninterfaces = [\"eth0\"]\n";
    let signer =
        |name: &str, roles: &str| format!("[[approval.signer]]\nidentity = \"{name}\"\nroles = [{roles}]\n");
    let rule =
        |count: u32| format!("[[approval.rule]]\nrequired = [{{ role = \"legal\", count = {count} }}]\n");
    let approved = format!(
        "[approval]\nallowed_signers = \"/etc/signers\"\n{}{}{}",
        signer("a@example.org", "\"legal\""),
        signer("b@example.org", "\"legal\""),
        rule(2)
    );
    let old = format!("{approved}[protect]\nlsm = true\n[bypass]\nallow = [\"vm.slice\"]\n{MAIL}");
    let cases = [
        (old.replace("allow = [\"vm.slice\"]", "refuse = false"), "bypass.refuse"),
        (old.replace("lsm = true", "lsm = false"), "protect.lsm"),
        (old.replace("\"vm.slice\"]", "\"vm.slice\", \"ct.slice\"]"), "bypass.allow"),
        (old.replace("[bypass]", "[sockets]\nnote = false\n[bypass]"), "sockets.note"),
        (old.replace("[bypass]", "[geo]\nnat64 = [\"2001:db8:64::/96\"]\n[bypass]"), "geo.nat64"),
        (
            old.replace(
                "[approval]",
                "[approval.emergency]\nrequired = [{ role = \"legal\", count = 1 }]\n[approval]",
            ),
            "approval.emergency",
        ),
        (old.replace("count = 2", "count = 1"), "approval.rule"),
        (
            old.replace(&rule(2), &format!("{}{}", signer("c@example.org", "\"legal\""), rule(2))),
            "approval.signer",
        ),
        (old.replace("/etc/signers", "/etc/other"), "approval.allowed_signers"),
        (old.replace(&approved, "approval = \"none\"\n"), "approval"),
        (old.replace("[bypass]", "[control.groups]\npolicy = [\"ops\"]\n[bypass]"), "control.groups.policy"),
    ];
    let whole = |text: &str| match text.starts_with("approval") {
        true => text.replacen('\n', &format!("\n{host}"), 1),
        false => format!("{host}{text}"),
    };
    for (new, key) in cases {
        let (was, is) = (parsed(&whole(&old)), parsed(&whole(&new)));
        let geo = american();
        let world = |policy| World { policy, geo: &geo, exemptions: &[], may_exempt: false };
        let found = openings(&world(&was), &world(&is)).unwrap();
        assert!(keys(&found).contains(&key), "{key}: {found:?}");
        let found = openings(&world(&is), &world(&was)).unwrap();
        let is_path = ["approval.allowed_signers", "geo.nat64"].contains(&key);
        assert!(is_path || found.is_empty(), "{key}: {found:?}");
    }
    let interfaces =
        |text: &str| parsed(&format!("approval = \"none\"\n[host]\ninterfaces = [{text}]\n{MAIL}"));
    let geo = american();
    let between = |old: &Policy, new: &Policy| {
        let world = |policy| World { policy, geo: &geo, exemptions: &[], may_exempt: false };
        openings(&world(old), &world(new)).unwrap()
    };
    let (two, one, all) = (interfaces("\"eth0\", \"eth1\""), interfaces("\"eth0\""), interfaces("\"eth*\""));
    assert_eq!(keys(&between(&two, &one)), ["host.interfaces"]);
    assert!(
        between(&one, &two).is_empty() && between(&two, &all).is_empty() && !between(&all, &two).is_empty()
    );
}

#[test]
fn a_signer_who_gets_a_user_wider_networks_and_another_fleet_are_told() {
    let with = |fleet: &str, widest: &str, user: &str| {
        parsed(&format!(
            "[host]\ninterfaces = [\"eth0\"]\n{fleet}[approval]\nallowed_signers = \"/etc/signers\"\n{widest}\
             [[approval.signer]]\nidentity = \"a@example.org\"\nroles = [\"legal\"]\n{user}\
             [[approval.rule]]\nrequired = [{{ role = \"legal\", count = 1 }}]\n{MAIL}"
        ))
    };
    let geo = american();
    let (fleet, other) = ("fleet = \"mail-eu\"\n", "fleet = \"mail-us\"\n");
    let narrow = "widest_ipv4 = 24\nwidest_ipv6 = 64\n";
    let plain = with(fleet, narrow, "");
    for (new, told) in [
        (with(other, narrow, ""), vec!["host.fleet"]),
        (with("", narrow, ""), vec![]),
        (with(fleet, "", ""), vec!["approval.widest_ipv4", "approval.widest_ipv6"]),
        (with(fleet, "widest_ipv4 = 25\nwidest_ipv6 = 64\n", ""), vec![]),
        (with(fleet, narrow, "user = \"a\"\n"), vec!["approval.signer"]),
    ] {
        let found = {
            let world = |policy| World { policy, geo: &geo, exemptions: &[], may_exempt: false };
            openings(&world(&plain), &world(&new)).unwrap()
        };
        assert!(keys(&found).iter().eq(told.iter()), "{told:?}: {found:?}");
    }
}

fn exemption(slot: u16) -> KernelExemption {
    KernelExemption {
        slot,
        account: slot,
        identity: 0,
        pins: vec!["mail".to_owned()],
        jurisdictions: Vec::new(),
        networks: vec!["9.0.1.0/24".parse().unwrap()],
        placed: None,
        ports: Vec::new(),
        valid_from_ns: 0,
        valid_until_ns: 1000,
        quota: 5000,
    }
}

#[test]
fn exemptions_open_by_window_quota_recipient_and_port_and_not_by_slot() {
    let (policy, geo) = (policy(MAIL), american());
    let opens = |old: &[KernelExemption], new: &[KernelExemption]| {
        let world = |exemptions| World { policy: &policy, geo: &geo, exemptions, may_exempt: false };
        let found = openings(&world(old), &world(new)).unwrap();
        assert!(
            found.changes.is_empty()
                && found.flows.iter().all(|flow| flow.hooks.iter().all(|it| it.1 == Verdict::Drop))
        );
        !found.flows.is_empty()
    };
    let old = exemption(3);
    assert!(opens(&[], from_ref(&old)) && !opens(from_ref(&old), &[]));
    assert!(!opens(from_ref(&old), &[exemption(9)]));
    let wider: [fn(&mut KernelExemption); 4] = [
        |it| it.valid_until_ns = 1001,
        |it| it.quota = 5001,
        |it| it.networks.push("9.0.2.0/32".parse().unwrap()),
        |it| it.jurisdictions.push("US".parse().unwrap()),
    ];
    for widen in wider {
        let mut new = exemption(3);
        widen(&mut new);
        assert!(opens(from_ref(&old), from_ref(&new)), "{new:?}");
        assert!(!opens(&[new], from_ref(&old)));
    }
    let mut by_port = exemption(3);
    by_port.ports = crate::config::policy::Protocol::ALL
        .iter()
        .map(|protocol| crate::config::policy::PortRange { protocol: *protocol, first: 25, last: 25 })
        .collect();
    assert!(opens(from_ref(&by_port), from_ref(&old)) && !opens(&[old], &[by_port]));
}

/// Where exemptions may come, what another pin forbids all the same counts as opened, and so does another place.
#[test]
fn what_an_exemption_could_cover_then_is_told() {
    let records = MAIL
        .replace("mail", "records")
        .replace("192.0.2.0/24", "198.51.100.0/24")
        .replace("2001:db8::/64", "2001:db8:1::/64");
    let site = |jurisdiction: &str| {
        format!("[[site]]\nname = \"boston\"\njurisdiction = \"{jurisdiction}\"\ncidrs = [\"9.0.1.0/24\"]\n")
    };
    let both = format!("{}{MAIL}{records}", site("US"));
    let (at, swapped) =
        (["name = \"mail\"", "name = \"records\""], both.replace("name = \"mail\"", "name = \"x\""));
    let swapped = swapped.replace(at[1], at[0]).replace("name = \"x\"", at[1]);
    let wider = both.replace("[\"198.51.100.0/24\"", "[\"198.51.100.0/24\", \"192.0.2.0/24\"");
    let moved = wider.replacen("[\"192.0.2.0/24\"", "[\"192.0.2.0/25\"", 1);
    let swiss = both.replace(&site("US"), &site("CH"));
    let unplaced = both.replace(&site("US"), "");
    for (old, new, told) in [
        (&both, &swapped, vec!["mail", "records"]),
        (&both, &wider, vec![]),
        (&wider, &moved, vec!["mail"]),
        (&both, &swiss, vec!["site.jurisdiction"]),
        (&both, &unplaced, vec![]),
        (&swiss, &unplaced, vec!["site.jurisdiction"]),
    ] {
        let (old, new, geo) = (policy(old), policy(new), american());
        let world = |policy, may_exempt| World { policy, geo: &geo, exemptions: &[], may_exempt };
        let found = openings(&world(&old, true), &world(&new, true)).unwrap();
        let flows = found.flows.iter().map(|it| it.pin.as_str());
        let mut names: Vec<&str> = flows.chain(found.changes.iter().map(|it| it.key.as_str())).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names, told, "{found:?}");
        assert!(openings(&world(&old, false), &world(&new, false)).unwrap().is_empty());
    }
}
