//! Each kind of warning with an example, and what must not be warned of.

use std::collections::BTreeSet;

use super::{GOOD, PEERS, SSH, check, codes_in, good_with};

/// What each warning of the text is, as `line:column field: message | hint`, with its short name.
fn warnings(text: &str) -> Vec<(&'static str, String)> {
    let checked = check(text).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    let shown = checked.warnings.iter().map(|warning| {
        let place = warning.place.map_or(String::new(), |place| format!("{}:{} ", place.line, place.column));
        (warning.kind.code(), format!("{place}{warning} | {}", warning.kind.hint()))
    });
    shown.collect()
}

const PIN: &str = "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"EU\", \"nordics\"]\naction = \"drop\"\n\
                   [pin.select]\nsources = [\"192.0.2.10/32\"]\nports = [\"tcp/143\"]\n";
const PEERS_AND_TIME: &str = "peers = [\"192.0.2.128/26\"]\n[[failsafe]]\nname = \"time\"\n\
                              remote_ports = [\"udp/123\"]\npeers = [\"192.0.2.123/32\"]";

/// The parts of the good config that are replaced and what by, and the warnings that come of it.
type Example = (&'static [(&'static str, &'static str)], &'static [(&'static str, &'static str)]);

const EXAMPLES: &[Example] = &[
    (&[], &[]),
    (
        &[(PIN, ""), ("[groups]\nnordics = [\"SE\", \"FI\"]\n", "")],
        &[("no-pin", "1:1 pin: there is no pin, so that nothing is enforced | add a [[pin]]")],
    ),
    (
        &[("192.0.2.10/32", "0.0.0.0/0"), ("\"tcp/143\"", "\"tcp/1-65535\""), (SSH, PEERS)],
        &[(
            "matches-everything",
            "17:1 pin.select: the pin \"mail\" matches every IPv4 tcp packet of the host | narrow it",
        )],
    ),
    (
        &[
            ("sources = [\"192.0.2.10/32\"]", ""),
            ("ports = [\"tcp/143\"]", "interfaces = [\"*\"]"),
            ("\"drop\"", "\"flag\""),
            (SSH, PEERS),
        ],
        &[(
            "matches-everything",
            "17:1 pin.select: the pin \"mail\" matches every packet of the host | narrow it",
        )],
    ),
    // The host itself is not everything that it sends on, and is no range of addresses.
    (
        &[
            ("sources = [\"192.0.2.10/32\"]\nports = [\"tcp/143\"]", "sources = [\"host\"]"),
            (SSH, PEERS_AND_TIME),
        ],
        &[("cuts-off", "it cuts off DNS (udp/53) to where")],
    ),
    // What the storage opens itself has other ports.
    (
        &[("sources = [\"192.0.2.10/32\"]\n", "")],
        &[("ports-alone", "17:1 pin.select: the pin \"mail\" is known by its services' ports in every way")],
    ),
    // Nor is it what the storage serves, and the other way round.
    (
        &[("ports = [\"tcp/143\"]", "direction = \"served\""), (SSH, PEERS_AND_TIME)],
        &[
            ("cuts-off", "it cuts off DNS (udp/53) to where"),
            (
                "one-direction",
                "23:13 pin.select.direction: the pin \"mail\" is known by connections that it serves alone: what the storage \
                 sends by those that it opens itself is of no pin | add a [[pin.select]] with direction = \"opened\"",
            ),
        ],
    ),
    (
        &[("ports = [\"tcp/143\"]", "ports = [\"tcp/143\"]\ndirection = \"opened\"")],
        &[(
            "one-direction",
            "that it opens itself alone: what the storage sends by those that it serves is of no pin",
        )],
    ),
    // Of what comes in nobody can tell.
    (
        &[
            ("[pin.select]", "[[pin.select]]\nusers = [7]\ndirection = \"opened\"\n[[pin.select]]"),
            ("action =", "ingress = \"drop\"\naction ="),
            (SSH, PEERS),
        ],
        &[("ingress-direction", "20:13 pin.select.direction: of packets that come in nobody can tell")],
    ),
    (
        &[
            ("sources = [\"192.0.2.10/32\"]\n", ""),
            ("[pin.select]", "[[pin.select]]\nremote_ports = [\"tcp/2380\"]\n[[pin.select]]"),
            (SSH, PEERS),
        ],
        &[],
    ),
    // One dimension that leaves something out is enough.
    (&[("192.0.2.10/32", "0.0.0.0/0")], &[]),
    (
        &[
            ("sources = [\"192.0.2.10/32\"]", "sources = [\"::/0\", \"0.0.0.0/0\"]"),
            ("ports = [\"tcp/143\"]", "marks = [\"1\"]"),
            (SSH, PEERS),
        ],
        &[],
    ),
    (
        &[("\"nordics\"]", "\"nordics\", \"unknown\"]")],
        &[(
            "permits-unknown",
            "15:10 pin.permit: the pin \"mail\" permits \"unknown\", which is wherever no source can say | name your own networks",
        )],
    ),
    (&[("\"nordics\"]", "\"nordics\", \"uncertain\"]")], &[]),
    (
        &[("192.0.2.10/32", "10.0.0.0/15")],
        &[(
            "private-in-no-site",
            "18:12 pin.select.sources: 10.0.0.0/15 is private (RFC 1918) and in no site, so that it is placed as \"unknown\" | add a [[site]] with its jurisdiction and cidrs = [\"10.0.0.0/15\"]",
        )],
    ),
    (&[("192.0.2.10/32", "10.1.2.0/24")], &[]),
    // Two sites may hold the two halves of it.
    (&[("192.0.2.10/32", "10.0.0.0/15"), ("\"10.1.0.0/16\"", "\"10.1.0.0/16\", \"10.0.0.0/16\"")], &[]),
    (
        &[("192.0.2.10/32", "fd00:1::/64")],
        &[("private-in-no-site", "fd00:1::/64 is unique local (RFC 4193)")],
    ),
    (
        &[(SSH, "local_ports = [\"tcp/22\"]\npeers = [\"100.64.0.0/10\"]")],
        &[(
            "private-in-no-site",
            "6:10 failsafe.peers: 100.64.0.0/10 is shared by carriers' customers (RFC 6598)",
        )],
    ),
    // A pin on whole addresses takes what the host itself needs.
    (
        &[("ports = [\"tcp/143\"]", ""), (SSH, PEERS)],
        &[(
            "cuts-off",
            "17:1 pin.select: the pin \"mail\" is on whole addresses: it cuts off DNS (udp/53) and NTP (udp/123) to where the pin does not permit, and no failsafe rule lets that pass | add a [[failsafe]] with remote_ports = [\"udp/53\", \"udp/123\"] and your servers as peers; think of monitoring and logging too",
        )],
    ),
    (
        &[("ports = [\"tcp/143\"]", ""), (SSH, PEERS_AND_TIME)],
        &[("cuts-off", "it cuts off DNS (udp/53) to where")],
    ),
    // By the port at the other end it takes those services that have it, and every client's where it names all.
    (
        &[("ports = [\"tcp/143\"]", "remote_ports = [\"udp/50-60\"]"), (SSH, PEERS)],
        &[("cuts-off", "it cuts off DNS (udp/53) to where")],
    ),
    (&[("ports = [\"tcp/143\"]", "remote_ports = [\"tcp/2380\"]"), (SSH, PEERS)], &[]),
    (
        &[
            ("ports = [\"tcp/143\"]", "ports = [\"tcp/20-30\"]\nremote_ports = [\"tcp/1-65535\"]"),
            ("tcp/22", "tcp/2222"),
        ],
        &[("cuts-off-ssh", "")],
    ),
    (
        &[
            ("192.0.2.10/32", "0.0.0.0/0"),
            ("ports = [\"tcp/143\"]", "remote_ports = [\"tcp/1-65535\"]"),
            (SSH, PEERS),
        ],
        &[("matches-everything", "every IPv4 tcp packet of the host")],
    ),
    (&[("ports = [\"tcp/143\"]", ""), ("\"drop\"", "\"flag\""), (SSH, PEERS)], &[]),
    (&[("ports = [\"tcp/143\"]", "cgroups = [\"mail.slice\"]"), (SSH, PEERS)], &[]),
    (
        &[("tcp/22", "tcp/2222"), ("tcp/143", "tcp/20-30")],
        &[(
            "cuts-off-ssh",
            "17:1 pin.select: the pin \"mail\" can drop the answers of SSH (tcp/22), and no failsafe rule lets them pass | add a [[failsafe]] with local_ports = [\"tcp/22\"] and your administrators' networks as peers",
        )],
    ),
    (
        &[(SSH, "remote_ports = [\"tcp/22\"]\npeers = [\"192.0.2.0/24\"]"), ("tcp/143", "tcp/20-30")],
        &[("cuts-off-ssh", "")],
    ),
    (&[(SSH, "peers = [\"192.0.2.0/24\"]"), ("tcp/143", "tcp/20-30")], &[]),
    (&[("tcp/22", "tcp/2222")], &[]),
    (
        &[(SSH, "peers = [\"0.0.0.0/0\", \"192.0.2.0/24\"]\nanywhere = true")],
        &[
            (
                "open-failsafe",
                "3:1 failsafe: the failsafe rule \"ssh\" lets packets of the pin \"mail\" pass to any destination, as anywhere = true says | name `peers`",
            ),
            (
                "failsafe-matches-everything",
                "3:1 failsafe: the failsafe rule \"ssh\" lets every IPv4 packet of the host pass, whatever the pins say | narrow it",
            ),
        ],
    ),
    (&[(SSH, "local_ports = [\"tcp/22\"]\nanywhere = true")], &[]),
    (&[(SSH, "remote_ports = [\"udp/123\"]\nanywhere = true")], &[("open-failsafe", "")]),
    (&[(SSH, "local_ports = [\"tcp/22\"]\npeers = [\"0.0.0.0/0\"]")], &[]),
    (&[(SSH, "local_ports = [\"tcp/22\"]\nremote_ports = [\"tcp/0-65535\"]")], &[]),
    (
        &[("10.1.0.0/16", "9.51.100.128/25")],
        &[(
            "site-contradicts-database",
            "9:10 site.cidrs: the site \"dublin\" puts 9.51.100.128/25 in IE, but the geo database puts 9.51.100.128 in BE | the site wins",
        )],
    ),
    // Here only the last address is elsewhere.
    (
        &[("10.1.0.0/16", "9.0.112.0/23")],
        &[(
            "site-contradicts-database",
            "the site \"dublin\" puts 9.0.112.0/23 in IE, but the geo database puts 9.0.113.255 in US",
        )],
    ),
    (&[("10.1.0.0/16", "9.51.100.0/24"), ("jurisdiction = \"IE\"", "jurisdiction = \"BE\"")], &[]),
    // What a database says of special-purpose space counts for nothing.
    (&[("10.1.0.0/16", "10.51.100.128/25")], &[]),
    (
        &[
            ("ports = [\"tcp/143\"]", "cgroups = [\"mail.slice\", \"system.slice/imap.service\"]"),
            (SSH, PEERS),
        ],
        &[(
            "short-lived-cgroup",
            "19:26 pin.select.cgroups: the cgroup \"system.slice/imap.service\" is made anew at each restart, and others beside it count as pinned until it is placed | put the unit into a slice",
        )],
    ),
    (
        &[("[groups]", "[bypass]\nrefuse = false\n[groups]")],
        &[(
            "bypass-not-refused",
            "10:1 bypass.refuse: the pin \"mail\" drops, and a process that may open packet sockets can send past it | set bypass.refuse = true",
        )],
    ),
    (&[("[groups]", "[bypass]\nrefuse = false\n[groups]"), ("\"drop\"", "\"flag\"")], &[]),
    (
        &[("[groups]", "[bypass]\nallow = [\"dhcp.slice\", \"system.slice/dhcpd.service\"]\n[groups]")],
        &[(
            "short-lived-bypass",
            "11:24 bypass.allow: the cgroup \"system.slice/dhcpd.service\" is made anew at each restart, and refused until the daemon has seen it | put the unit into a slice",
        )],
    ),
    (
        &[("[groups]", "[approval.policy]\nrequired = [{ role = \"legal\", count = 1 }]\n[groups]")],
        &[(
            "one-signature",
            "10:1 approval.policy.required: a config that newly opens anything needs one signature: who has that key and may write the config opens alone | ask for two",
        )],
    ),
    (
        &[
            (
                "[groups]",
                "[approval.policy]\nrequired = [{ role = \"legal\", count = 1 }, { role = \"dpo\", count = 1 }]\n[groups]",
            ),
            (
                "[[approval.rule]]",
                "[[approval.signer]]\nidentity = \"bob@example.org\"\nroles = [\"dpo\"]\n[[approval.rule]]",
            ),
        ],
        &[],
    ),
    (
        &[("[groups]", "[sockets]\nrefuse = true\n[groups]")],
        &[(
            "refuses-by-name",
            "10:1 sockets.refuse: calls are refused by the destination that they name: what a rule of this host would send elsewhere (DNAT in an output chain, a proxy of a service mesh, an IPsec tunnel) fails where that elsewhere is permitted | look for such rules",
        )],
    ),
    // Ids of exemptions may be named before they are loaded.
    (
        &[("[groups]", "[history]\nhold = [\"mlat-2026-0142\", \"mail\", \"mailing\", \"box\"]\n[groups]")],
        &[],
    ),
    (
        &[("[groups]", "[history]\nhold = [\"mlat-2026-0142\", \"mial\"]\n[groups]")],
        &[(
            "hold-near-pin",
            "11:27 history.hold: \"mial\" is no pin, and nearly the pin \"mail\": it holds what the exemption of that id is about, once one was loaded | correct it, unless it is the id of an exemption",
        )],
    ),
    (
        &[("action = \"drop\"", "action = \"observe\"\ningress = \"drop\"")],
        &[(
            "observes-but-drops-ingress",
            "17:11 pin.ingress: the pin \"mail\" only observes egress, but its ingress drops packets | for a rollout that drops nothing, set ingress = \"flag\"",
        )],
    ),
    (
        &[(
            "nordics = [\"SE\", \"FI\"]",
            "nordics = [\"baltics\"]\nbaltics = [\"EE\"]\nislands = [\"IS\", \"baltics\"]",
        )],
        &[(
            "unused-group",
            "13:1 groups.islands: no pin permits the group \"islands\", directly or by way of another group | name it in",
        )],
    ),
];

#[test]
fn each_kind_of_warning_is_found_with_place_field_and_hint() {
    let mut wrong = String::new();
    for &(changes, expected) in EXAMPLES {
        let mut text = GOOD.to_owned();
        for (part, replacement) in changes {
            assert_eq!(text.matches(part).count(), 1, "{part:?}");
            text = text.replace(part, replacement);
        }
        let mut found = warnings(&text);
        // The good config's pin is known by ports, and all that is made of it: of that one example is enough.
        if expected.iter().all(|(code, _)| *code != "ports-alone") {
            found.retain(|(code, _)| *code != "ports-alone");
        }
        let same = found.len() == expected.len()
            && found.iter().zip(expected).all(|((code, shown), e)| *code == e.0 && shown.contains(e.1));
        if !same {
            wrong += &format!("{changes:#?}\nexpected {expected:#?}\nfound    {found:#?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_kind_of_warning_has_an_example() {
    let examples = EXAMPLES.iter().flat_map(|(_, expected)| *expected).map(|(code, _)| *code);
    let shown: BTreeSet<&str> = examples.chain(["permits-everything"]).chain(super::host::WARNINGS).collect();
    let all: BTreeSet<&str> = codes_in(include_str!("../warning.rs")).into_iter().collect();
    assert!(all.len() > 10);
    assert_eq!(shown, all);
}

#[test]
fn a_pin_that_permits_every_country_is_warned_of() {
    let all = guard_common::jurisdiction::Jurisdiction::all().filter(|place| place.is_country());
    let mut codes: Vec<String> = all.map(|place| format!("\"{place}\"")).collect();
    let permit = |codes: &[String]| good_with("\"EU\"", &codes.join(", "));
    let mut found = warnings(&permit(&codes));
    assert_eq!(found.pop().map(|(code, _)| code), Some("ports-alone"));
    assert_eq!(found, [(
        "permits-everything",
        "15:10 pin.permit: the pin \"mail\" permits every country, so that only the marks are left to forbid \
         | permit only what the data may reach, or take the pin out"
            .to_owned()
    )]);
    codes.retain(|code| code != "\"US\"");
    assert_eq!(warnings(&permit(&codes)).len(), 1);
}
