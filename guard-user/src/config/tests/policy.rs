//! What a checked config holds.

use std::path::Path;

use jiff::SignedDuration;

use super::{GOOD, PEERS, SSH, check, code, good_with};
use crate::config::policy::{
    Action, ControlGroups, Ingress, LogFormat, LogTo, Mark, Pin, PortRange, Protocol, Record, Spread,
};
use crate::config::{Policy, Surroundings, parse};

fn policy(text: &str) -> Policy {
    check(text).unwrap_or_else(|errors| panic!("{errors}")).policy
}

#[test]
fn others_are_kept_from_the_guard_where_the_config_says_so() {
    let protected = |text: &str| policy(&(GOOD.to_owned() + text)).protect.lsm;
    assert!(!protected("") && !protected("[protect]\n") && !protected("[protect]\nlsm = false\n"));
    assert!(protected("[protect]\nlsm = true\n"));
}

#[test]
fn a_full_config_is_read_as_it_is_written() {
    let policy = policy(include_str!("../../../../docs/example.toml"));
    let patterns: Vec<&str> = policy.host.interfaces.iter().map(|pattern| pattern.as_str()).collect();
    assert_eq!(patterns, ["eth0", "ens*"]);
    assert!(policy.host.observe);
    assert_eq!(policy.geo.files, [Path::new("/var/lib/GeoIP/GeoLite2-Country.mmdb")]);
    assert_eq!(policy.geo.max_age, SignedDuration::from_hours(60 * 24));
    assert_eq!(policy.geo.nat64, ["2001:db8:64::/96".parse().unwrap()]);
    let groups = &policy.control.groups;
    assert_eq!(
        [&groups.view, &groups.exemptions, &groups.policy, &groups.everything],
        [&["bg-view"], &["bg-compliance"], &["bg-sre"], &["bg-admin"]]
    );
    assert_eq!(policy.log.format, LogFormat::Ecs);
    assert_eq!(policy.log.to, LogTo::File("/var/log/borderguard/events.log".into()));

    let [ssh, names, monitoring] = &policy.failsafe[..] else { panic!("{:?}", policy.failsafe) };
    assert_eq!(ssh.local_ports, [PortRange { protocol: Protocol::Tcp, first: 22, last: 22 }]);
    assert!(ssh.remote_ports.is_empty() && !ssh.anywhere);
    assert_eq!(ssh.peers, ["10.1.250.0/24".parse().unwrap()]);
    assert_eq!(
        names.remote_ports.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["udp/53", "tcp/53", "udp/123"]
    );
    assert_eq!(monitoring.peers, ["192.0.2.250/32".parse().unwrap()]);

    let [dublin, ashburn] = &policy.sites[..] else { panic!("{:?}", policy.sites) };
    assert_eq!((dublin.name.as_str(), dublin.jurisdiction), ("dublin-dc", code("IE")));
    assert_eq!(dublin.cidrs, ["10.1.0.0/16".parse().unwrap(), "2001:db8:1::/48".parse().unwrap()]);
    assert_eq!(ashburn.jurisdiction, code("US"));

    let [mail, _, backup, archive, _, members] = &policy.pins[..] else { panic!("{:?}", policy.pins) };
    assert_eq!((mail.name.as_str(), mail.home), ("mail-ie", code("IE")));
    assert_eq!((mail.action, mail.ingress, mail.record), (Action::Drop, Ingress::Flag, Record::All));
    let permitted: Vec<String> = mail.permitted.iter().map(|place| place.to_string()).collect();
    assert_eq!(permitted, ["BE", "CH", "DE", "DK", "FI", "GB", "IE", "IS", "NO", "SE"]);
    assert_eq!(mail.select.sources.len(), 2);
    assert_eq!(mail.select.ports[2], PortRange { protocol: Protocol::Tcp, first: 5000, last: 5010 });
    assert!(mail.select.interfaces.is_empty() && mail.select.cgroups.is_empty());

    assert_eq!(
        (backup.action, backup.ingress, backup.record),
        (Action::Flag, Ingress::Off, Record::Forbidden)
    );
    assert_eq!(backup.permitted.iter().collect::<Vec<_>>(), [code("IE")]);
    assert_eq!(backup.select.cgroups, ["backup.slice"]);
    assert_eq!(backup.select.marks, [Mark { value: 0x10, mask: 0xff }, Mark { value: 7, mask: u32::MAX }]);
    assert!(backup.select.interfaces[0].matches("veth-backup7"));
    assert_eq!(archive.select.volumes, [Path::new("/srv/archive-ie")]);
    assert_eq!((archive.select.spread, mail.select.spread), (Spread::Process, Spread::Cgroup));
    let peers = PortRange { protocol: Protocol::Tcp, first: 2380, last: 2380 };
    assert_eq!((&members.select.remote_ports[..], &members.select.ports[..]), (&[peers][..], &[][..]));
}

#[test]
fn what_is_left_away_has_its_default() {
    let policy = policy(GOOD);
    assert!(!policy.host.observe && policy.geo.files.is_empty() && policy.geo.nat64.is_empty());
    assert_eq!(policy.geo.max_age, SignedDuration::from_hours(120 * 24));
    assert_eq!(policy.control.socket, Path::new("/run/borderguard/control.sock"));
    assert_eq!(policy.control.groups, ControlGroups::default());
    assert_eq!(policy.state.directory, Path::new("/var/lib/borderguard"));
    assert_eq!(policy.state.pin_path, Path::new("/sys/fs/bpf/borderguard"));
    assert_eq!((policy.log.format, &policy.log.to), (LogFormat::Ocsf, &LogTo::Stdout));
    assert_eq!((policy.pins[0].line, policy.sites[0].line, policy.failsafe[0].line), (12, 6, 3));
}

#[test]
fn kosovo_can_be_home_and_permitted_and_in_groups() {
    let text = good_with("home = \"IE\"", "home = \"XK\"").replace("[\"SE\", \"FI\"]", "[\"SE\", \"XK\"]");
    let policy = policy(&text);
    assert_eq!(policy.pins[0].home, code("XK"));
    let without = self::policy(GOOD).pins[0].permitted;
    assert!(policy.pins[0].permitted.contains(code("XK")) && !without.contains(code("XK")));
}

#[test]
fn a_pin_that_is_known_in_several_ways_is_there_once_for_each() {
    let ways = "[[pin.select]]\nports = [\"tcp/2380\"]\n[[pin.select]]\nremote_ports = [\"tcp/2380\"]\n";
    let etcd = format!("[[pin]]\nname = \"etcd\"\nhome = \"IE\"\naction = \"drop\"\n{ways}");
    let policy = policy(&format!("{}{etcd}", GOOD.replace(SSH, PEERS)));
    let [.., serves, opens] = &policy.pins[..] else { panic!("{:?}", policy.pins) };
    let port = PortRange { protocol: Protocol::Tcp, first: 2380, last: 2380 };
    assert_eq!((&serves.select.ports[..], &opens.select.remote_ports[..]), (&[port][..], &[port][..]));
    assert_eq!(Pin { select: opens.select.clone(), ..serves.clone() }, *opens, "alike in all else");
    assert_eq!(policy.pin_names(), ["mail", "etcd"]);
    for nothing in ["select = []\n", "[[pin.select]]\n", "[pin.select]\n"] {
        let text = format!("{GOOD}{}", etcd.replace(ways, nothing));
        assert!(check(&text).is_err(), "{nothing}");
    }
}

#[test]
fn it_says_whose_approval_exemptions_need() {
    let rules = policy(include_str!("../../../../docs/example.toml")).approval.unwrap().rules;
    let [every, mail] = &rules[..] else { panic!("{rules:?}") };
    assert!(every.is_for("any") && every.acts.is_empty());
    assert_eq!(
        (&mail.pins[..], &mail.acts[..]),
        (&["mail-ie".to_owned()][..], &["treaty-request", "art-49-1-e"][..])
    );
    assert_eq!((mail.required[0].role.as_str(), mail.required[0].count), ("dpo", 1));
    let (before, _) = GOOD.split_once("[approval]").unwrap();
    assert!(check(before).is_err());
    assert_eq!(policy(&format!("approval = \"none\"\n{before}")).approval, None);
    // Where nothing is dropped there is nothing to open.
    assert_eq!(policy(&before.replace("\"drop\"", "\"flag\"")).approval, None);
    for text in ["approval = \"nobody\"\n", "approval = true\n", "approval = []\n"] {
        assert!(check(&format!("{text}{before}")).is_err(), "{text}");
    }
    assert!(check(&format!("approval = \"none\"\n{GOOD}")).is_err(), "one of the two");
}

#[test]
fn the_marks_can_be_permitted() {
    let policy = policy(&good_with(r#"["EU", "nordics"]"#, r#"["uncertain", "unknown", "nordics"]"#));
    let permitted: Vec<String> = policy.pins[0].permitted.iter().map(|place| place.to_string()).collect();
    assert_eq!(permitted, ["FI", "IE", "SE", "unknown", "uncertain"]);
}

#[test]
fn groups_are_resolved_whatever_their_order_and_depth() {
    let mut text =
        good_with("nordics = [\"SE\", \"FI\"]\n", "nordics = [\"g0\"]\ng20000 = [\"US\", \"EEA\"]\n");
    let chain: String = (0..20_000).map(|depth| format!("g{depth} = [\"g{}\"]\n", depth + 1)).collect();
    text = text.replace("[groups]\n", &format!("[groups]\n{chain}"));
    let policy = policy(&text);
    assert!(policy.pins[0].permitted.contains(code("US")) && policy.pins[0].permitted.contains(code("NO")));
    assert_eq!(policy.pins[0].permitted.len(), 8);
}

#[test]
fn empty_lists_are_right_where_none_means_something() {
    let text = good_with(r#"permit = ["EU", "nordics"]"#, "permit = []") + "[geo]\nfiles = []\n";
    let policy = policy(&text);
    assert_eq!(policy.pins[0].permitted.iter().collect::<Vec<_>>(), [code("IE")]);
}

#[test]
fn the_host_can_stand_among_sources() {
    let policy =
        |sources: &str| check(&super::good_with("sources = [\"192.0.2.10/32\"]", sources)).unwrap().policy;
    let both = policy("sources = [\"host\", \"192.0.2.10/32\"]");
    assert_eq!((both.pins[0].select.sources.len(), both.pins[0].select.from_host), (1, true));
    let alone = policy("sources = [\"host\"]");
    assert!(alone.pins[0].select.has_sources() && alone.pins[0].select.sources.is_empty());
    assert!(!policy("sources = [\"192.0.2.10/32\"]").pins[0].select.from_host);
}

#[test]
fn inline_tables_and_dotted_keys_are_the_same_to_toml() {
    let text = GOOD.replace(
        "[pin.select]\nsources = [\"192.0.2.10/32\"]\nports = [\"tcp/143\"]",
        "select.sources = [\"192.0.2.10/32\"]\nselect.ports = [\"tcp/143\"]",
    );
    let dotted = policy(&text);
    let inline = policy(&GOOD.replace(
        "[pin.select]\nsources = [\"192.0.2.10/32\"]\nports = [\"tcp/143\"]",
        "select = { sources = [\"192.0.2.10/32\"], ports = [\"tcp/143\"] }",
    ));
    assert_eq!(dotted.pins, policy(GOOD).pins);
    assert_eq!(inline.pins, policy(GOOD).pins);
}

#[test]
fn overlapping_sites_are_legal_where_one_is_narrower() {
    let text =
        GOOD.to_owned() + "[[site]]\nname = \"lab\"\njurisdiction = \"BE\"\ncidrs = [\"10.1.2.0/24\"]\n";
    assert_eq!(policy(&text).sites.len(), 2);
}

#[test]
fn a_byte_order_mark_does_not_matter() {
    assert_eq!(policy(&format!("\u{feff}{GOOD}")).pins, policy(GOOD).pins);
}

#[test]
fn the_fingerprint_is_that_of_the_published_test_vectors_and_differs_with_the_text() {
    assert_eq!(crate::config::fingerprint(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(crate::config::fingerprint(b"foobar"), 0x8594_4171_f739_67e8);
    assert_ne!(policy(GOOD).fingerprint, policy(&format!("{GOOD}#\n")).fingerprint);
}

#[test]
fn the_programs_own_groups_are_known_to_it() {
    let surroundings = Surroundings::new(None);
    let text = good_with(r#"["EU", "nordics"]"#, r#"["EEA", "adequacy", "nordics"]"#);
    let checked = parse(Path::new("policy.toml"), text.as_bytes(), &surroundings).unwrap();
    let permitted = checked.policy.pins[0].permitted;
    assert!(["DE", "NO", "CH", "SE"].into_iter().all(|place| permitted.contains(code(place))));
    assert!(["US", "CN", "RU"].into_iter().all(|place| !permitted.contains(code(place))));
}

#[test]
fn a_nat64_prefix_can_be_inside_a_site_and_in_space_for_it() {
    let text = good_with("\"10.1.0.0/16\"", "\"10.1.0.0/16\", \"2001:db8::/32\"")
        + "[geo]\nnat64 = [\"2001:db8:64::/96\", \"64:ff9b:1::/48\"]\n";
    assert_eq!(policy(&text).geo.nat64.len(), 2);
}

#[test]
fn ways_past_the_guard_are_refused_where_a_pin_drops_unless_the_config_says_otherwise() {
    let refuse = |text: &str| policy(text).bypass.refuse;
    let flags = good_with("\"drop\"", "\"flag\"");
    let with = |text: &str, refuse: bool| text.to_owned() + &format!("[bypass]\nrefuse = {refuse}\n");
    assert!(refuse(GOOD) && !refuse(&flags));
    assert!(refuse(&with(&flags, true)) && !refuse(&with(GOOD, false)));
    let text = GOOD.to_owned() + "[bypass]\ncgroup = \"machine.slice\"\nallow = [\"dhcp.slice\"]\n";
    let bypass = policy(&text).bypass;
    assert_eq!((bypass.cgroup.as_str(), bypass.allow), ("machine.slice", vec!["dhcp.slice".to_owned()]));
    assert_eq!(
        policy(&(GOOD.to_owned() + "[bypass]\ncgroup = \"/\"\nallow = []\n")).bypass,
        policy(GOOD).bypass
    );
}
