//! Each kind of error with an example: its place, its field, its words and its hint.

use std::collections::BTreeSet;
use std::path::Path;

use super::error_examples::examples;
use super::findings::{each_is_found_alone, told};
use super::{GOOD, PEERS, SSH, check, codes_in, good_with, small_groups};
use crate::config::{ErrorKind, Surroundings, limits, load, parse};

fn errors(text: &str) -> Vec<(&'static str, String)> {
    told(check(text))
}

#[test]
fn each_kind_of_error_is_found_alone_with_place_field_and_hint() {
    let examples =
        examples().map(|&(code, part, replacement, expected)| (code, good_with(part, replacement), expected));
    each_is_found_alone(examples, errors);
}

#[test]
fn every_kind_of_error_has_an_example() {
    // These concern the file as a whole or its length, and have tests of their own below.
    let elsewhere = ["unreadable", "file-too-long", "not-utf8", "over-limit"];
    let examples = examples().map(|example| example.0);
    let shown = examples.chain(elsewhere).chain(super::host::ERRORS);
    let shown: BTreeSet<&str> = shown.chain(super::fragments::ERRORS).collect();
    let sources = [
        include_str!("../hint.rs"),
        include_str!("../approval_fault.rs"),
        include_str!("../fragment_fault.rs"),
    ];
    let all: BTreeSet<&str> = sources.into_iter().flat_map(codes_in).collect();
    assert!(all.len() > 30);
    assert_eq!(shown, all);
}

#[test]
fn a_file_with_many_errors_reports_all_of_them_in_the_order_of_the_file() {
    let text = r#"colour = "red"
[host]
interfaces = ["eth[0]", 7]
observe = "yes"
[geo]
files = ["a.mmdb", "/b.mmdb", "c.mmdb"]
max_age = "soon"
[[failsafe]]
name = "SSH"
local_ports = ["ssh/22", "tcp/9-1"]
peers = ["192.0.2.1"]
[[failsafe]]
name = "empty"
[[site]]
jurisdiction = "EU"
cidrs = ["10.0.0.1/8", "x"]
[groups]
a = ["b"]
b = ["a"]
c = ["UK", "unknown"]
[[pin]]
name = "mail"
home = "EL"
permit = ["EU", "a", "moon"]
actoin = "drop"
[pin.select]
sources = []
marks = ["1/0"]
[[pin]]
name = "mail"
home = "IE"
action = "drip"
[pin.select]
cgroups = ["../x"]
ports = "tcp/1"
"#;
    let found: Vec<String> =
        errors(text).into_iter().map(|(_, shown)| shown.split(": ").next().unwrap().to_owned()).collect();
    assert_eq!(
        found,
        [
            "1:1 colour",
            "3:15 host.interfaces",
            "3:25 host.interfaces",
            "4:11 host.observe",
            "6:10 geo.files",
            "6:31 geo.files",
            "7:11 geo.max_age",
            "9:8 failsafe.name",
            "10:16 failsafe.local_ports",
            "10:26 failsafe.local_ports",
            "11:10 failsafe.peers",
            "12:1 failsafe",
            "14:1 site.name",
            "15:16 site.jurisdiction",
            "16:10 site.cidrs",
            "16:24 site.cidrs",
            "18:1 groups.a",
            "20:6 groups.c",
            "20:12 groups.c",
            "23:8 pin.home",
            "24:22 pin.permit",
            "25:1 pin.actoin",
            "27:11 pin.select.sources",
            "28:10 pin.select.marks",
            "30:8 pin.name",
            "32:10 pin.action",
            "34:12 pin.select.cgroups",
            "35:9 pin.select.ports",
        ]
    );
}

#[test]
fn several_syntax_errors_are_reported_once_a_line() {
    let text = good_with("home = \"IE\"", "home = IE").replace("action = \"drop\"", "action = 'drop");
    let found = errors(&text);
    assert!(found.iter().all(|(code, _)| *code == "syntax"), "{found:#?}");
    assert_eq!(found.iter().filter(|(_, shown)| shown.starts_with("14:")).count(), 1, "{found:#?}");
    assert_eq!(found.iter().filter(|(_, shown)| shown.starts_with("16:")).count(), 1, "{found:#?}");
}

/// The good config with as many pins, failsafe rules or values as asked for.
fn crowded(what: &str, count: usize) -> String {
    let list = |of: &dyn Fn(usize) -> String| (0..count).map(of).collect::<Vec<_>>().join(", ");
    let cidr = |index: usize| format!("\"10.{}.{}.0/24\"", index / 256, index % 256);
    let ports = "ports = [\"tcp/143\"]";
    match what {
        "[pin.select] of all pins" => (1..count).fold(GOOD.to_owned(), |text, index| {
            text + &format!(
                "[[pin]]\nname = \"p{index}\"\nhome = \"IE\"\naction = \"drop\"\nselect.{ports}\n"
            )
        }),
        "failsafe rules" => (1..count).fold(GOOD.to_owned(), |text, index| {
            text + &format!("[[failsafe]]\nname = \"f{index}\"\npeers = [\"192.0.2.0/24\"]\n")
        }),
        "NAT64 prefixes" => {
            let prefixes = list(&|index| format!("\"2001:db8:64:{index:x}::/96\""));
            good_with("[[failsafe]]", &format!("[geo]\nnat64 = [{prefixes}]\n[[failsafe]]"))
        }
        "CIDRs of all sites" => good_with("\"10.1.0.0/16\"", &list(&cidr)),
        "peers of all failsafe rules" => {
            good_with("local_ports = [\"tcp/22\"]", &format!("peers = [{}]", list(&cidr)))
        }
        "sources of all pins" => good_with("\"192.0.2.10/32\"", &list(&cidr)),
        // The good config's own local port is one of them.
        "ports of all pins and local ports of all failsafe rules" => {
            let ports = (1..count).map(|port| format!("\"tcp/{}\"", 1000 + port)).collect::<Vec<_>>();
            good_with("\"tcp/143\"", &ports.join(", "))
        }
        "remote ports of all failsafe rules and pins" => {
            let ports = list(&|index| format!("\"udp/{index}\""));
            good_with("local_ports = [\"tcp/22\"]", &format!("remote_ports = [{ports}]\n{PEERS}"))
        }
        "cgroups of all pins" => {
            good_with(ports, &format!("cgroups = [{}]", list(&|index| format!("\"g{index}.slice\""))))
                .replace(SSH, PEERS)
        }
        "users of all pins" => {
            good_with(ports, &format!("users = [{}]", list(&|index| index.to_string()))).replace(SSH, PEERS)
        }
        "volumes of all pins" => {
            good_with(ports, &format!("volumes = [{}]", list(&|index| format!("\"/srv/{index}\""))))
                .replace(SSH, PEERS)
        }
        "cgroups that may bypass" => {
            let cgroups = list(&|index| format!("\"g{index}.slice\""));
            good_with("[groups]", &format!("[bypass]\nallow = [{cgroups}]\n[groups]"))
        }
        "marks of all pins" => {
            good_with(ports, &format!("marks = [{}]", list(&|index| format!("\"{index}\""))))
                .replace(SSH, PEERS)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_fits_is_taken_whole_and_one_more_is_refused() {
    for (what, field, limit) in [
        ("[pin.select] of all pins", "pin.select", limits::PINS),
        ("failsafe rules", "failsafe", limits::FAILSAFE),
        ("NAT64 prefixes", "geo.nat64", limits::NAT64),
        ("CIDRs of all sites", "site.cidrs", limits::SITE_CIDRS),
        ("peers of all failsafe rules", "failsafe.peers", limits::PEER_CIDRS),
        ("sources of all pins", "pin.select.sources", limits::SOURCE_CIDRS),
        ("ports of all pins and local ports of all failsafe rules", "pin.select.ports", limits::LOCAL_PORTS),
        ("remote ports of all failsafe rules and pins", "failsafe.remote_ports", limits::REMOTE_PORTS),
        ("cgroups of all pins", "pin.select.cgroups", limits::CGROUPS),
        ("users of all pins", "pin.select.users", limits::USERS),
        ("volumes of all pins", "pin.select.volumes", limits::VOLUMES),
        ("cgroups that may bypass", "bypass.allow", limits::BYPASS_ALLOWED),
        ("marks of all pins", "pin.select.marks", limits::MARKS),
    ] {
        check(&crowded(what, limit)).unwrap_or_else(|errors| panic!("{what}: {errors}"));
        let found = errors(&crowded(what, limit + 3));
        let [("over-limit", shown)] = &found[..] else { panic!("{what}: {found:#?}") };
        let message = format!(
            "{field}: this is number {} of {what}, and the limit is {limit} | the file has {}; join or take \
             out 3 of the {what}",
            limit + 1,
            limit + 3
        );
        assert!(shown.ends_with(&message), "{shown}");
    }
}

#[test]
fn a_file_that_is_not_utf8_is_refused_where_it_stops_being_so() {
    let mut bytes = GOOD.as_bytes().to_vec();
    bytes[GOOD.find("mail").unwrap()] = 0xff;
    let surroundings = Surroundings { groups: &small_groups, ..Surroundings::new(None) };
    let errors = parse(Path::new("policy.toml"), &bytes, &surroundings).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "policy.toml:13:9: error: here is a byte that is not UTF-8\n  hint: save the file as UTF-8"
    );
}

#[test]
fn a_file_that_cannot_be_read_or_is_too_long_is_one_error() {
    let folder = tempfile::tempdir().unwrap();
    let surroundings = Surroundings { groups: &small_groups, ..Surroundings::new(None) };
    let kind = |name: &str| {
        let errors = load(&folder.path().join(name), &surroundings).unwrap_err().errors;
        let [error] = &errors[..] else { panic!("{errors:?}") };
        assert_eq!(error.place, None);
        error.kind.clone()
    };
    assert!(matches!(kind("missing.toml"), ErrorKind::Unreadable { .. }));
    assert!(matches!(kind("."), ErrorKind::Unreadable { .. }));
    // Nobody writes to it: whoever opens it to read would wait.
    let pipe = folder.path().join("pipe.toml");
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let reason = "it is not a regular file".to_owned();
    assert_eq!(kind("pipe.toml"), ErrorKind::Unreadable { reason });
    std::fs::write(folder.path().join("long.toml"), vec![b'#'; limits::FILE_BYTES + 1]).unwrap();
    assert_eq!(kind("long.toml"), ErrorKind::FileTooLong);
    std::fs::write(folder.path().join("good.toml"), GOOD).unwrap();
    assert!(load(&folder.path().join("good.toml"), &surroundings).is_ok());
}
