//! Each kind of error with an example: its place, its field, its words and its hint.

use std::collections::BTreeSet;
use std::path::Path;

use super::{GOOD, check, codes_in, good_with, small_groups};
use crate::config::{ErrorKind, Surroundings, limits, load, parse};

/// What each error of the text is, as `line:column field: message | hint`, with its short name.
fn errors(text: &str) -> Vec<(&'static str, String)> {
    let errors = check(text).expect_err(text).errors;
    let shown = errors.iter().map(|error| {
        let place = error.place.map_or(String::new(), |place| format!("{}:{} ", place.line, place.column));
        (error.kind.code(), format!("{place}{error} | {}", error.kind.hint()))
    });
    shown.collect()
}

const PIN_KEYS: &str = "the keys here are name, home, permit, action, ingress, record, [pin.select]";

/// An example: the error's short name, the part of the good config that is replaced, what by, and the
/// one error that comes of it.
type Example = (&'static str, &'static str, &'static str, &'static str);

const EXAMPLES: &[Example] = &[
    ("syntax", "home = \"IE\"", "home = ", "14:8 not TOML: "),
    (
        "syntax",
        "home = \"IE\"",
        "name = \"b\"",
        "14:1 not TOML: duplicate key | a key and a [table] can be given once; only [[failsafe]], [[site]] and [[pin]] repeat",
    ),
    // Keys.
    (
        "unknown-key",
        "interfaces",
        "interface",
        "2:1 host.interface: there is no such key | did you mean interfaces?",
    ),
    (
        "unknown-key",
        "[groups]",
        "[group]\n[groups]",
        "10:2 group: there is no such key | did you mean [groups]?",
    ),
    ("unknown-key", "[host]", "[hots]", "1:2 hots: there is no such key | did you mean [host]?"),
    (
        "unknown-key",
        "ports = [\"tcp/143\"]",
        "permit = [\"EU\"]",
        "19:1 pin.select.permit: there is no such key | it belongs into [[pin]]; a key counts for the header above it",
    ),
    ("unknown-key", "home = \"IE\"", "home = \"IE\"\ncolour = 1", PIN_KEYS),
    (
        "unknown-key",
        "home = \"IE\"",
        "home = \"IE\"\n\"\\u001b[31m\" = 1",
        "15:1 pin.\"\\u{1b}[31m\": there is no such key",
    ),
    (
        "missing",
        "interfaces = [\"eth0\"]",
        "",
        "1:1 host.interfaces: required, but missing | for example interfaces = [\"eth0\", \"ens*\"]",
    ),
    (
        "missing",
        "action = \"drop\"",
        "",
        "12:1 pin.action: required, but missing | for example action = \"drop\"",
    ),
    (
        "missing",
        "[host]\ninterfaces = [\"eth0\"]",
        "",
        "1:1 host: required, but missing | for example [host] with interfaces = [\"eth0\"]",
    ),
    (
        "missing",
        "[pin.select]\nsources = [\"192.0.2.10/32\"]\nports = [\"tcp/143\"]",
        "",
        "12:1 pin.select: required, but missing | for example [pin.select] with ports = [\"tcp/143\"], after the pin's own keys",
    ),
    // Types.
    (
        "wrong-type",
        "permit = [\"EU\", \"nordics\"]",
        "permit = \"EU\"",
        "15:10 pin.permit: expected a list of strings, found a string | for example permit = [\"EU\"]",
    ),
    (
        "wrong-type",
        "home = \"IE\"",
        "home = [\"IE\"]",
        "14:8 pin.home: expected a string, found a list | for example home = \"IE\"",
    ),
    (
        "wrong-type",
        "interfaces = [\"eth0\"]",
        "interfaces = [\"eth0\"]\nobserve = \"true\"",
        "3:11 host.observe: expected true or false, found a string | for example observe = true",
    ),
    (
        "wrong-type",
        "ports = [\"tcp/143\"]",
        "ports = [143]",
        "19:10 pin.select.ports: expected a string, found an integer | for example \"tcp/143\"",
    ),
    (
        "wrong-type",
        "ports = [\"tcp/143\"]",
        "marks = [7, \"8\"]",
        "19:10 pin.select.marks: expected a string, found an integer | for example \"7\"",
    ),
    (
        "wrong-type",
        "[[site]]",
        "[site]",
        "6:1 site: expected a list of tables, found a table | for example [[site]]",
    ),
    (
        "unknown-key",
        "[pin.select]",
        "[pin.selects]",
        "17:6 pin.selects: there is no such key | did you mean [pin.select]?",
    ),
    (
        "unknown-key",
        "[host]",
        "interfaces = []\n[host]",
        "1:1 interfaces: there is no such key | the keys here are [host], [geo]",
    ),
    (
        "unknown-key",
        "[host]",
        "max_age = \"1d\"\n[host]",
        "1:1 max_age: there is no such key | it belongs into [geo]; a key counts",
    ),
    (
        "wrong-type",
        "[host]\ninterfaces = [\"eth0\"]",
        "host = 1.5",
        "1:8 host: expected a table, found a float | for example [host]",
    ),
    (
        "empty-list",
        "[\"eth0\"]",
        "[]",
        "2:14 host.interfaces: the list is empty | for example interfaces = [\"eth0\", \"ens*\"]",
    ),
    (
        "empty-list",
        "ports = [\"tcp/143\"]",
        "ports = []",
        "19:9 pin.select.ports: the list is empty | leave it away, or write ports = [\"tcp/143\", \"tcp/5000-5010\"]",
    ),
    (
        "no-dimension",
        "local_ports = [\"tcp/22\"]",
        "",
        "3:1 failsafe: none of local_ports, remote_ports, peers is used | give at least one; without any, every packet of the host would match",
    ),
    (
        "no-dimension",
        "sources = [\"192.0.2.10/32\"]\nports = [\"tcp/143\"]",
        "",
        "17:1 pin.select: none of sources, ports, interfaces, cgroups, marks is used | ",
    ),
    // Names.
    (
        "bad-name",
        "\"mail\"",
        "\"Mail IE\"",
        "13:8 pin.name: \"Mail IE\" is no name | use a to z, 0 to 9, hyphen, underscore and dot, at most 63 characters",
    ),
    ("bad-name", "\"ssh\"", "\"\"", "4:8 failsafe.name: \"\" is no name | "),
    (
        "duplicate-name",
        "[groups]",
        "[[site]]\nname = \"dublin\"\njurisdiction = \"IE\"\ncidrs = [\"10.3.0.0/16\"]\n[groups]",
        "11:8 site.name: the name \"dublin\" is taken already, on line 7 | give each its own name; events and counters go by it",
    ),
    (
        "reserved-name",
        "nordics = [\"SE\", \"FI\"]",
        "nordics = [\"SE\"]\nEU = [\"IE\"]",
        "12:1 groups.EU: a group can't be called \"EU\": that is a built-in group | choose another name, such as \"nordics\"",
    ),
    (
        "reserved-name",
        "nordics = [\"SE\", \"FI\"]",
        "nordics = [\"SE\"]\nno = [\"NO\"]",
        "12:1 groups.no: a group can't be called \"no\": that is a country's code",
    ),
    (
        "reserved-name",
        "nordics = [\"SE\", \"FI\"]",
        "nordics = [\"SE\"]\nunknown = [\"NO\"]",
        "12:1 groups.unknown: a group can't be called \"unknown\": that is a mark",
    ),
    // Networks.
    (
        "bad-cidr",
        "192.0.2.10/32",
        "192.0.2/24",
        "18:12 pin.select.sources: \"192.0.2/24\" is no CIDR | for example 192.0.2.0/24 or 2001:db8:1::/48",
    ),
    ("bad-cidr", "192.0.2.10/32", "192.0.2.0/+24", "18:12 pin.select.sources: \"192.0.2.0/+24\" is no CIDR"),
    (
        "bad-cidr",
        "192.0.2.10/32",
        "192.0.2.0/255.255.255.0",
        "18:12 pin.select.sources: \"192.0.2.0/255.255.255.0\" is no CIDR",
    ),
    (
        "no-prefix-length",
        "192.0.2.10/32",
        "2001:db8::1",
        "18:12 pin.select.sources: 2001:db8::1 has no prefix length | did you mean 2001:db8::1/128?",
    ),
    (
        "prefix-too-long",
        "192.0.2.10/32",
        "192.0.2.10/33",
        "18:12 pin.select.sources: the prefix length of \"192.0.2.10/33\" is more than 32 | a single address has the prefix length 32",
    ),
    (
        "prefix-too-long",
        "192.0.2.10/32",
        "::/999",
        "18:12 pin.select.sources: the prefix length of \"::/999\" is more than 128 | a single",
    ),
    (
        "host-bits",
        "10.1.0.0/16",
        "10.1.2.3/16",
        "9:10 site.cidrs: 10.1.2.3/16 has bits set after its prefix of 16 bits | write 10.1.0.0/16 for the network, or 10.1.2.3/32 for the one address",
    ),
    (
        "mapped-cidr",
        "192.0.2.10/32",
        "::ffff:192.0.2.0/120",
        "18:12 pin.select.sources: ::ffff:192.0.2.0/120 is an IPv4 network written as IPv6 | write 192.0.2.0/24",
    ),
    (
        "site-conflict",
        "[groups]",
        "[[site]]\nname = \"lab\"\njurisdiction = \"BE\"\ncidrs = [\"10.1.0.0/16\"]\n[groups]",
        "13:10 site.cidrs: 10.1.0.0/16 is in BE here, and in IE by the site \"dublin\" on line 9 | take it out of one of them",
    ),
    // Jurisdictions and groups.
    (
        "bad-jurisdiction",
        "home = \"IE\"",
        "home = \"UK\"",
        "14:8 pin.home: \"UK\" is no country | did you mean \"GB\"?",
    ),
    (
        "bad-jurisdiction",
        "jurisdiction = \"IE\"",
        "jurisdiction = \"EL\"",
        "8:16 site.jurisdiction: \"EL\" is no country | did you mean \"GR\"?",
    ),
    (
        "bad-jurisdiction",
        "home = \"IE\"",
        "home = \"ie\"",
        "14:8 pin.home: \"ie\" is no country | did you mean \"IE\"?",
    ),
    (
        "bad-jurisdiction",
        "home = \"IE\"",
        "home = \"IRL\"",
        "14:8 pin.home: \"IRL\" is no country | use an ISO 3166-1 alpha-2 code in capitals, such as \"IE\"",
    ),
    (
        "bad-jurisdiction",
        "\"EU\"",
        "\"nordic\"",
        "15:11 pin.permit: \"nordic\" is no country, group or mark | did you mean \"nordics\"?",
    ),
    (
        "bad-jurisdiction",
        "\"EU\"",
        "\"eu\"",
        "15:11 pin.permit: \"eu\" is no country, group or mark | did you mean \"EU\"?",
    ),
    (
        "bad-jurisdiction",
        "\"EU\"",
        "\"unknwon\"",
        "15:11 pin.permit: \"unknwon\" is no country, group or mark | did you mean \"unknown\"?",
    ),
    (
        "bad-jurisdiction",
        "\"SE\"",
        "\"ZZ\"",
        "11:12 groups.nordics: \"ZZ\" is no country or group | use an ISO 3166-1 alpha-2 code in capitals, such as \"IE\", or a group, such as \"EU\"",
    ),
    (
        "group-not-country",
        "home = \"IE\"",
        "home = \"EU\"",
        "14:8 pin.home: \"EU\" is a group, and one country is needed here | name one country, such as \"IE\"; groups can stand in a pin's permit",
    ),
    (
        "mark-not-country",
        "home = \"IE\"",
        "home = \"unknown\"",
        "14:8 pin.home: \"unknown\" is a mark and no country | the marks",
    ),
    (
        "mark-not-country",
        "\"SE\"",
        "\"uncertain\"",
        "11:12 groups.nordics: \"uncertain\" is a mark and no country or group | the marks \"unknown\" and \"uncertain\" can stand in a pin's permit only",
    ),
    (
        "group-cycle",
        "nordics = [\"SE\", \"FI\"]",
        "nordics = [\"SE\", \"a\"]\na = [\"b\"]\nb = [\"a\", \"EU\"]\nc = [\"nordics\"]",
        "12:1 groups.a: the group contains itself: a -> b -> a | take one of these groups out of the group that comes before it",
    ),
    (
        "group-cycle",
        "\"SE\"",
        "\"nordics\"",
        "11:1 groups.nordics: the group contains itself: nordics -> nordics | ",
    ),
    // Ports and marks.
    (
        "bad-port",
        "tcp/143",
        "143",
        "19:10 pin.select.ports: \"143\" is no port with its protocol | for example \"tcp/143\" or \"udp/5000-5010\"; ports are 0 to 65535",
    ),
    (
        "bad-port",
        "tcp/143",
        "tcp/65536",
        "19:10 pin.select.ports: \"tcp/65536\" is no port with its protocol",
    ),
    (
        "bad-port",
        "tcp/143",
        "tcp/1-2-3",
        "19:10 pin.select.ports: \"tcp/1-2-3\" is no port with its protocol",
    ),
    ("bad-port", "tcp/143", "tcp/+1", "19:10 pin.select.ports: \"tcp/+1\" is no port with its protocol"),
    ("bad-port", "tcp/143", "tcp/", "19:10 pin.select.ports: \"tcp/\" is no port with its protocol"),
    (
        "unknown-protocol",
        "tcp/22",
        "ssh/22",
        "5:16 failsafe.local_ports: \"ssh\" is no protocol with ports | the protocols are \"tcp\", \"udp\", \"sctp\", \"udplite\", \"dccp\"; for example \"tcp/22\"",
    ),
    (
        "reversed-ports",
        "tcp/143",
        "udp/5010-5000",
        "19:10 pin.select.ports: the port range runs backwards, from 5010 to 5000 | write \"udp/5000-5010\"",
    ),
    (
        "bad-mark",
        "ports = [\"tcp/143\"]",
        "marks = [\"0x1ffffffff\"]",
        "19:10 pin.select.marks: \"0x1ffffffff\" is no firewall mark | for example \"7\" or \"0x10/0xff\": 32 bits, decimal or with 0x",
    ),
    (
        "bad-mark",
        "ports = [\"tcp/143\"]",
        "marks = [\"1/\"]",
        "19:10 pin.select.marks: \"1/\" is no firewall mark",
    ),
    (
        "empty-mask",
        "ports = [\"tcp/143\"]",
        "marks = [\"0/0\"]",
        "19:10 pin.select.marks: the mask is zero, so that every packet would match | for all bits leave the mask away",
    ),
    (
        "mark-outside-mask",
        "ports = [\"tcp/143\"]",
        "marks = [\"0x110/0xff\"]",
        "19:10 pin.select.marks: the value 0x110 has bits outside its mask 0xff, so that no packet could match | write \"0x10/0xff\", or \"0x110/0x1ff\" if you mean all these bits",
    ),
    (
        "mark-outside-mask",
        "ports = [\"tcp/143\"]",
        "marks = [\"0x100/0xff\"]",
        "19:10 pin.select.marks: the value 0x100 has bits outside its mask 0xff, so that no packet could match | write \"0x100/0x1ff\" if you mean these bits",
    ),
    // Interfaces and cgroups.
    (
        "bad-interface",
        "eth0",
        "eth[0-9]",
        "2:15 host.interfaces: \"eth[0-9]\" is no interface name or glob: only * and ? are wildcards | for example \"eth0\", or \"ens*\" with * for any characters and ? for one",
    ),
    (
        "bad-interface",
        "eth0",
        "an-interface-of-16",
        "2:15 host.interfaces: \"an-interface-of-16\" is no interface name or glob: interface names have at most 15 characters",
    ),
    (
        "bad-interface",
        "eth0",
        "eth0:1",
        "2:15 host.interfaces: \"eth0:1\" is no interface name or glob: interface names have no slash, colon, blank or other special character",
    ),
    ("bad-interface", "eth0", "", "2:15 host.interfaces: \"\" is no interface name or glob: it is empty"),
    (
        "bad-interface",
        "eth0",
        "..",
        "2:15 host.interfaces: \"..\" is no interface name or glob: no interface can have this name",
    ),
    (
        "bad-cgroup",
        "ports = [\"tcp/143\"]",
        "cgroups = [\"/sys/fs/cgroup/mail.slice/\"]",
        "19:12 pin.select.cgroups: \"/sys/fs/cgroup/mail.slice/\" is no cgroup path: it begins or ends with a slash | did you mean \"mail.slice\"?",
    ),
    (
        "bad-cgroup",
        "ports = [\"tcp/143\"]",
        "cgroups = [\"/\"]",
        "19:12 pin.select.cgroups: \"/\" is no cgroup path: it names no cgroup, or the root, which every process is in | give the path below the cgroup root, such as \"mail.slice\" or \"system.slice/imap.service\"",
    ),
    (
        "bad-cgroup",
        "ports = [\"tcp/143\"]",
        "cgroups = [\"mail.slice/../x\"]",
        "19:12 pin.select.cgroups: \"mail.slice/../x\" is no cgroup path: it has an empty part, \".\" or \"..\"",
    ),
    // The rest.
    (
        "relative-path",
        "[groups]",
        "[geo]\nfiles = [\"geo.mmdb\"]\n[groups]",
        "11:10 geo.files: the path \"geo.mmdb\" is not absolute | begin it with a slash, such as \"/etc/geo.mmdb\"",
    ),
    (
        "bad-path",
        "[groups]",
        "[state]\ndirectory = \"/var/../lib\"\n[groups]",
        "11:13 state.directory: the path \"/var/../lib\" has \"..\" in it | write the path without \"..\"",
    ),
    (
        "bad-path",
        "[groups]",
        "[state]\npin_path = \"/\"\n[groups]",
        "11:12 state.pin_path: the path \"/\" is the root folder | name a file or folder of its own",
    ),
    (
        "bad-path",
        "[groups]",
        "[state]\npin_path = \"/a\\u0000\"\n[groups]",
        "11:12 state.pin_path: the path \"/a\\0\" has a control character | write the path without it",
    ),
    (
        "bad-path",
        "[groups]",
        "[control]\nsocket = \"/run/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012\"\n[groups]",
        "11:10 control.socket: the path \"/run/0123456789012345678901234567890123456789012345678901234...\" is longer than a socket's path can be (107 bytes) | choose a shorter path",
    ),
    (
        "bad-unix-group",
        "[groups]",
        "[control]\ngroup = \"a group\"\n[groups]",
        "11:9 control.group: \"a group\" is no Unix group name | for example \"borderguard\", as in /etc/group",
    ),
    (
        "bad-duration",
        "[groups]",
        "[geo]\nmax_age = \"sixty days\"\n[groups]",
        "11:11 geo.max_age: \"sixty days\" is no length of time: it is not a number with its unit | for example \"60d\", \"8w\" or \"36h\"",
    ),
    (
        "bad-duration",
        "[groups]",
        "[geo]\nmax_age = \"2 months\"\n[groups]",
        "11:11 geo.max_age: \"2 months\" is no length of time: years and months have no fixed length",
    ),
    (
        "bad-duration",
        "[groups]",
        "[geo]\nmax_age = \"-60d\"\n[groups]",
        "11:11 geo.max_age: \"-60d\" is no length of time: it must be more than nothing",
    ),
    (
        "bad-choice",
        "\"drop\"",
        "\"dorp\"",
        "16:10 pin.action: \"dorp\" is none of \"drop\", \"flag\", \"observe\" | did you mean \"drop\"?",
    ),
    (
        "bad-choice",
        "\"drop\"",
        "\"reject\"",
        "16:10 pin.action: \"reject\" is none of \"drop\", \"flag\", \"observe\" | write one of \"drop\", \"flag\", \"observe\"",
    ),
    (
        "bad-choice",
        "home = \"IE\"",
        "home = \"IE\"\ningress = \"on\"",
        "15:11 pin.ingress: \"on\" is none of \"off\", \"flag\", \"drop\"",
    ),
    (
        "bad-choice",
        "home = \"IE\"",
        "home = \"IE\"\nrecord = \"none\"",
        "15:10 pin.record: \"none\" is none of \"forbidden\", \"all\"",
    ),
    (
        "bad-choice",
        "[groups]",
        "[log]\nformat = \"xml\"\n[groups]",
        "11:10 log.format: \"xml\" is none of \"text\", \"json\"",
    ),
];

#[test]
fn each_kind_of_error_is_found_alone_with_place_field_and_hint() {
    let mut wrong = String::new();
    for &(code, part, replacement, expected) in EXAMPLES {
        let found = errors(&good_with(part, replacement));
        match &found[..] {
            [(found_code, shown)] if *found_code == code && shown.contains(expected) => {}
            _ => wrong += &format!("{replacement:?}\nexpected {code} {expected}\nfound    {found:#?}\n"),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_kind_of_error_has_an_example() {
    // These concern the file as a whole or its length, and have tests of their own below.
    let elsewhere = ["unreadable", "file-too-long", "not-utf8", "over-limit"];
    let shown: BTreeSet<&str> = EXAMPLES.iter().map(|example| example.0).chain(elsewhere).collect();
    let all: BTreeSet<&str> = codes_in(include_str!("../hint.rs")).into_iter().collect();
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
        "pins" => (1..count).fold(GOOD.to_owned(), |text, index| {
            text + &format!(
                "[[pin]]\nname = \"p{index}\"\nhome = \"IE\"\naction = \"drop\"\nselect.{ports}\n"
            )
        }),
        "failsafe rules" => (1..count).fold(GOOD.to_owned(), |text, index| {
            text + &format!("[[failsafe]]\nname = \"f{index}\"\npeers = [\"192.0.2.0/24\"]\n")
        }),
        "CIDRs of all sites" => good_with("\"10.1.0.0/16\"", &list(&cidr)),
        "peers of all failsafe rules" => {
            good_with("local_ports = [\"tcp/22\"]", &format!("peers = [{}]", list(&cidr)))
        }
        "sources of all pins" => good_with("\"192.0.2.10/32\"", &list(&cidr)),
        "cgroups of all pins" => {
            good_with(ports, &format!("cgroups = [{}]", list(&|index| format!("\"g{index}.slice\""))))
        }
        "marks of all pins" => {
            good_with(ports, &format!("marks = [{}]", list(&|index| format!("\"{index}\""))))
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_fits_is_taken_whole_and_one_more_is_refused() {
    for (what, field, limit) in [
        ("pins", "pin", limits::PINS),
        ("failsafe rules", "failsafe", limits::FAILSAFE),
        ("CIDRs of all sites", "site.cidrs", limits::SITE_CIDRS),
        ("peers of all failsafe rules", "failsafe.peers", limits::PEER_CIDRS),
        ("sources of all pins", "pin.select.sources", limits::SOURCE_CIDRS),
        ("cgroups of all pins", "pin.select.cgroups", limits::CGROUPS),
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
    let surroundings = Surroundings { groups: &small_groups, database: None };
    let errors = parse(Path::new("policy.toml"), &bytes, &surroundings).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "policy.toml:13:9: error: here is a byte that is not UTF-8\n  hint: save the file as UTF-8"
    );
}

#[test]
fn a_file_that_cannot_be_read_or_is_too_long_is_one_error() {
    let folder = tempfile::tempdir().unwrap();
    let surroundings = Surroundings { groups: &small_groups, database: None };
    let kind = |name: &str| {
        let errors = load(&folder.path().join(name), &surroundings).unwrap_err().errors;
        let [error] = &errors[..] else { panic!("{errors:?}") };
        assert_eq!(error.place, None);
        error.kind.clone()
    };
    assert!(matches!(kind("missing.toml"), ErrorKind::Unreadable { .. }));
    assert!(matches!(kind("."), ErrorKind::Unreadable { .. }));
    std::fs::write(folder.path().join("long.toml"), vec![b'#'; limits::FILE_BYTES + 1]).unwrap();
    assert_eq!(kind("long.toml"), ErrorKind::FileTooLong);
    std::fs::write(folder.path().join("good.toml"), GOOD).unwrap();
    assert!(load(&folder.path().join("good.toml"), &surroundings).is_ok());
}
