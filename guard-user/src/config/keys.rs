//! Every key that a config can have: the one table that the reader, the hints and docs/config.md are
//! made from. Other documents have a [`Schema`] of their own.

use super::schema::{Key, Kind, Need, Schema};
use super::sections::SECTIONS;
use super::{approval_keys, canary_keys, history_keys, hook_keys, host_keys, metrics_keys, record_keys};

/// The config file's.
pub static CONFIG: Schema = Schema { sections: &SECTIONS, keys: &KEYS };

/// Every key, by section in the order of [`SECTIONS`].
pub static KEYS: [Key; 93] = [
    host_keys::INTERFACES,
    host_keys::UNGUARDED,
    host_keys::OBSERVE,
    host_keys::FLEET,
    Key {
        section: "geo",
        name: "files",
        kind: Kind::ListOrNone,
        need: Need::Optional("the embedded database"),
        example: r#"["/var/lib/GeoIP/GeoLite2-Country.mmdb"]"#,
        meaning: "MMDB files, as absolute paths. An address on which several disagree is `uncertain`.",
    },
    Key {
        section: "geo",
        name: "max_age",
        kind: Kind::Text,
        need: Need::Default(r#""120d""#),
        example: r#""60d""#,
        meaning: "A database that is older than this is warned of. Weeks, days, hours, minutes and seconds, \
                  such as `60d` or `8w`; a day counts as 24 hours.",
    },
    Key {
        section: "geo",
        name: "incomplete",
        kind: Kind::Boolean,
        need: Need::Default("false"),
        example: "false",
        meaning: "Whether databases are taken that say nothing of IPv4 or of IPv6 together, or name no country in \
                  most records of a file.",
    },
    Key {
        section: "geo",
        name: "ask_above",
        kind: Kind::Text,
        need: Need::Default(r#""25%""#),
        example: r#""10%""#,
        meaning: "A newer database that would change the verdict on more addresses than this share of what any pin \
                  permits waits for `borderguard geo accept`. `never`: none waits.",
    },
    Key {
        section: "geo",
        name: "may_open",
        kind: Kind::Text,
        need: Need::Default(r#""0%""#),
        example: r#""0.1%""#,
        meaning: "Where `[approval.policy]` asks for signatures: a newer database may newly permit so large a share of \
                  the addresses that a pin permits. What opens beyond it stays closed until the database is signed; \
                  what closes is live at once.",
    },
    Key {
        section: "geo",
        name: "nat64",
        kind: Kind::List,
        need: Need::Optional("the well-known prefix alone"),
        example: r#"["2001:db8:64::/96"]"#,
        meaning: "NAT64 prefixes of your own (RFC 6052), of 32, 40, 48, 56, 64 or 96 bits: an address below one is \
                  placed by the IPv4 address in it, whatever a site says of the prefix. The well-known `64:ff9b::/96` \
                  is known without. At most 16.",
    },
    Key {
        section: "control",
        name: "socket",
        kind: Kind::Text,
        need: Need::Default(r#""/run/borderguard/control.sock""#),
        example: r#""/run/borderguard/control.sock""#,
        meaning: "The Unix socket, as an absolute path of at most 107 bytes.",
    },
    Key {
        section: "control.groups",
        name: "view",
        kind: Kind::List,
        need: Need::Optional("no group"),
        example: r#"["bg-view"]"#,
        meaning: "May look: status, events, exemptions, the audit trail, reports.",
    },
    Key {
        section: "control.groups",
        name: "exemptions",
        kind: Kind::List,
        need: Need::Optional("no group"),
        example: r#"["bg-compliance"]"#,
        meaning: "May look, load and close exemptions, and lift orders.",
    },
    Key {
        section: "control.groups",
        name: "policy",
        kind: Kind::List,
        need: Need::Optional("no group"),
        example: r#"["bg-sre"]"#,
        meaning: "May look, and reload the policy.",
    },
    Key {
        section: "control.groups",
        name: "everything",
        kind: Kind::List,
        need: Need::Optional("no group"),
        example: r#"["bg-admin"]"#,
        meaning: "May do all of it.",
    },
    history_keys::PEOPLE,
    history_keys::CANARIES,
    Key {
        section: "state",
        name: "directory",
        kind: Kind::Text,
        need: Need::Default(r#""/var/lib/borderguard""#),
        example: r#""/var/lib/borderguard""#,
        meaning: "The folder that exemptions are kept in, as an absolute path.",
    },
    Key {
        section: "state",
        name: "mark_directory",
        kind: Kind::Text,
        need: Need::Optional("`state.directory` with `-mark` behind it"),
        example: r#""/var/lib/borderguard-mark""#,
        meaning: "The folder for the mark of how far the store had come, by which an older one that is put back is seen, as an absolute path. Not on what a backup of `state.directory` restores.",
    },
    Key {
        section: "state",
        name: "pin_path",
        kind: Kind::Text,
        need: Need::Default(r#""/sys/fs/bpf/borderguard""#),
        example: r#""/sys/fs/bpf/borderguard""#,
        meaning: "The folder for pinned links and maps, as an absolute path on a bpffs.",
    },
    Key {
        section: "law",
        name: "pack",
        kind: Kind::Text,
        need: Need::Required,
        example: r#""/etc/borderguard/law.toml""#,
        meaning: "The pack's file, as an absolute path.",
    },
    Key {
        section: "law",
        name: "sha256",
        kind: Kind::Text,
        need: Need::Required,
        example: r#""9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08""#,
        meaning: "SHA-256 of its bytes, 64 hexadecimal digits as `sha256sum` writes them. Another file is not used.",
    },
    Key {
        section: "log",
        name: "format",
        kind: Kind::Text,
        need: Need::Default(r#""ocsf""#),
        example: r#""ecs""#,
        meaning: "How a line of the [event log](logs.md) looks: `ocsf`, `ecs` and `json` are one object a line, `text` is for \
                  people. The daemon's own messages on standard error are JSON with `json`, else text.",
    },
    Key {
        section: "log",
        name: "to",
        kind: Kind::Text,
        need: Need::Default(r#""stdout""#),
        example: r#""/var/log/borderguard/events.log""#,
        meaning: "Where its lines go: `stdout`, `journald`, or a file by its absolute path, which is opened again on SIGUSR1.",
    },
    metrics_keys::LISTEN,
    history_keys::DIRECTORY,
    history_keys::MAX_SIZE,
    history_keys::MAX_AGE,
    history_keys::PEOPLE_AGE,
    history_keys::HOLD,
    history_keys::HOLD_DIRECTORY,
    history_keys::HOLD_SIZE,
    record_keys::CONTROLLER,
    record_keys::JOINT_CONTROLLER,
    record_keys::REPRESENTATIVE,
    record_keys::DPO,
    record_keys::MARK,
    record_keys::HOST_KEY,
    record_keys::TIME_STAMP,
    record_keys::NOTIFY,
    hook_keys::BYPASS_REFUSE,
    hook_keys::BYPASS_CGROUP,
    hook_keys::BYPASS_ALLOW,
    hook_keys::SOCKETS_NOTE,
    hook_keys::SOCKETS_CGROUP,
    hook_keys::SOCKETS_REFUSE,
    hook_keys::PROTECT_LSM,
    approval_keys::ALLOWED_SIGNERS,
    approval_keys::WIDEST_IPV4,
    approval_keys::WIDEST_IPV6,
    approval_keys::SIGNER_IDENTITY,
    approval_keys::SIGNER_ROLES,
    approval_keys::SIGNER_USER,
    approval_keys::RULE_PINS,
    approval_keys::RULE_INSTRUMENTS,
    approval_keys::REQUIRED_ROLE,
    approval_keys::REQUIRED_COUNT,
    approval_keys::POLICY_ROLE,
    approval_keys::POLICY_COUNT,
    approval_keys::EMERGENCY_ROLE,
    approval_keys::EMERGENCY_COUNT,
    Key {
        section: "failsafe",
        name: "name",
        kind: Kind::Text,
        need: Need::Required,
        example: r#""ssh""#,
        meaning: "Unique among the failsafe rules: `a`-`z`, `0`-`9`, `-`, `_` and `.`, at most 63 bytes.",
    },
    Key {
        section: "failsafe",
        name: "local_ports",
        kind: Kind::List,
        need: Need::Optional("any"),
        example: r#"["tcp/22"]"#,
        meaning: "Source ports of an egress packet: what this host serves. Written as in `pin.select.ports`.",
    },
    Key {
        section: "failsafe",
        name: "remote_ports",
        kind: Kind::List,
        need: Need::Optional("any"),
        example: r#"["udp/53", "udp/123"]"#,
        meaning: "Destination ports of an egress packet: what this host asks for. Written as in \
                  `pin.select.ports`.",
    },
    Key {
        section: "failsafe",
        name: "peers",
        kind: Kind::List,
        need: Need::Optional("any"),
        example: r#"["192.0.2.250/32"]"#,
        meaning: "Destinations of an egress packet, as CIDRs without host bits.",
    },
    Key {
        section: "failsafe",
        name: "anywhere",
        kind: Kind::Boolean,
        need: Need::Default("false"),
        example: "true",
        meaning: "Whether packets of pins may pass by this rule to any destination. The other end chooses its port.",
    },
    Key {
        section: "failsafe",
        name: "bytes_per_minute",
        kind: Kind::Integer,
        need: Need::Optional("any number"),
        example: "10_000_000",
        meaning: "Bytes on the wire of packets of pins that the rule lets pass in a minute, over all processors. Past that \
                  they are judged as if there was no such rule (`failsafe-exhausted`), until the next minute begins by the \
                  kernel's clock. Packets of no pin are never held up, nor those that their pins permit.",
    },
    Key {
        section: "site",
        name: "name",
        kind: Kind::Text,
        need: Need::Required,
        example: r#""dublin-dc""#,
        meaning: "Unique among the sites: `a`-`z`, `0`-`9`, `-`, `_` and `.`, at most 63 bytes.",
    },
    Key {
        section: "site",
        name: "jurisdiction",
        kind: Kind::Text,
        need: Need::Required,
        example: r#""IE""#,
        meaning: "The country that the site is in, as an ISO 3166-1 alpha-2 code.",
    },
    Key {
        section: "site",
        name: "cidrs",
        kind: Kind::List,
        need: Need::Required,
        example: r#"["10.1.0.0/16", "2001:db8:1::/48"]"#,
        meaning: "The site's networks, as CIDRs without host bits. No CIDR can stand twice.",
    },
    Key {
        section: "groups",
        name: "NAME",
        kind: Kind::List,
        need: Need::Optional("no such group"),
        example: r#"["SE", "FI", "DK", "IS", "NO"]"#,
        meaning: "The members of the group of this name: ISO 3166-1 alpha-2 codes or other groups, without \
                  a cycle.",
    },
    Key {
        section: "pin",
        name: "name",
        kind: Kind::Text,
        need: Need::Required,
        example: r#""mail-ie""#,
        meaning: "Unique among the pins: `a`-`z`, `0`-`9`, `-`, `_` and `.`, at most 63 bytes. Exemptions, \
                  events and counters name the pin by it.",
    },
    Key {
        section: "pin",
        name: "home",
        kind: Kind::Text,
        need: Need::Required,
        example: r#""IE""#,
        meaning: "The country that the data is at home in, as an ISO 3166-1 alpha-2 code. It is always \
                  permitted.",
    },
    Key {
        section: "pin",
        name: "permit",
        kind: Kind::ListOrNone,
        need: Need::Optional("the home alone"),
        example: r#"["EU", "CH"]"#,
        meaning: "Where the pin's flows may go beside its home: ISO 3166-1 alpha-2 codes, groups, and the \
                  marks `unknown` and `uncertain`.",
    },
    Key {
        section: "pin",
        name: "action",
        kind: Kind::Text,
        need: Need::Required,
        example: r#""drop""#,
        meaning: "What happens to egress to anywhere else: `drop`, `flag` (it passes and is reported) or \
                  `observe` (it passes and is counted as one that would be dropped).",
    },
    Key {
        section: "pin",
        name: "ingress",
        kind: Kind::Text,
        need: Need::Default(r#""off""#),
        example: r#""flag""#,
        meaning: "What happens to packets that reach the pinned storage from a jurisdiction which could not \
                  get an answer: `off` (nothing), `flag` (they pass and are reported) or `drop`.",
    },
    Key {
        section: "pin",
        name: "record",
        kind: Kind::Text,
        need: Need::Default(r#""forbidden""#),
        example: r#""all""#,
        meaning: "Which flows get a record: `forbidden` (forbidden and exempted ones) or `all` (permitted \
                  ones too, which costs more than the decision itself).",
    },
    canary_keys::EVERY,
    canary_keys::RETURNED_WITHIN,
    Key {
        section: "pin.select",
        name: "sources",
        kind: Kind::List,
        need: Need::Optional("any"),
        example: r#"["192.0.2.10/32", "2001:db8:1::10/128"]"#,
        meaning: "Source addresses, as CIDRs without host bits. `host` stands for this host: what it makes itself, whatever the address, and what has an address of its, see below.",
    },
    Key {
        section: "pin.select",
        name: "ports",
        kind: Kind::List,
        need: Need::Optional("any"),
        example: r#"["tcp/143", "tcp/5000-5010"]"#,
        meaning: "Source ports, as `protocol/port` or `protocol/first-last`; the protocol is `tcp`, `udp`, \
                  `sctp`, `udplite` or `dccp`. A packet whose ports can't be read matches.",
    },
    Key {
        section: "pin.select",
        name: "remote_ports",
        kind: Kind::List,
        need: Need::Optional("any"),
        example: r#"["tcp/2380"]"#,
        meaning: "Destination ports: what the storage connects to, such as its own peers. Written as `ports`. A packet \
                  whose ports can't be read matches.",
    },
    Key {
        section: "pin.select",
        name: "interfaces",
        kind: Kind::List,
        need: Need::Optional("any"),
        example: r#"["veth-mail"]"#,
        meaning: "The packet enters or leaves the host by one of these, or by an interface above it: the bridge, bond, team or VRF \
                  that it is a part of, a VLAN, macvlan or ipvlan that is made on it. A tunnel device (VXLAN, GRE, IP in IP) is \
                  above the one that it is made on (`dev`), and one that is made on none is above none: name it too. All packets of the upper one count. Written as in `host.interfaces`.",
    },
    Key {
        section: "pin.select",
        name: "cgroups",
        kind: Kind::List,
        need: Need::Optional("any"),
        example: r#"["mail.slice"]"#,
        meaning: "Cgroups of the processes that send, see `sent_by`, as paths below the cgroup v2 root without a slash in \
                  front, at most 8 levels deep. Descendants count. Name a slice: a unit's own cgroup is made anew at each restart.",
    },
    Key {
        section: "pin.select",
        name: "users",
        kind: Kind::NamesOrNumbers,
        need: Need::Optional("any"),
        example: r#"["postgres", 999]"#,
        meaning: "Users that the processes run as which send, see `sent_by`: their real users. Names of `/etc/passwd`, or \
                  numbers.",
    },
    Key {
        section: "pin.select",
        name: "sent_by",
        kind: Kind::Text,
        need: Need::Default(r#""process""#),
        example: r#""socket""#,
        meaning: "Whose `cgroups` and `users` count. `socket`: of the processes that made the socket, connected it or sent \
                  datagrams by it to an address, ever. `process`: besides, of each that sends anything by it; a kernel \
                  without BPF LSM and tracing programs can't tell, and there it is refused.",
    },
    Key {
        section: "pin.select",
        name: "volumes",
        kind: Kind::List,
        need: Need::Optional("any"),
        example: r#"["/srv/mail-ie"]"#,
        meaning: "Volumes whose data is pinned: absolute paths at which file systems are mounted. Whoever opens, reads or \
                  maps a file there is a carrier until it ends, and so are the processes that it makes; what a carrier \
                  sends, by whatever socket, is the pin's. A kernel without BPF LSM and tracing programs can't tell, \
                  and there it is refused.",
    },
    Key {
        section: "pin.select",
        name: "spread",
        kind: Kind::Text,
        need: Need::Default(r#""cgroup""#),
        example: r#""process""#,
        meaning: "Who carries data of `volumes` beside the process that read it. `cgroup`: all processes of its cgroup and \
                  of those below it, until there are none, but never those of the root and of `init.scope`. `process`: \
                  nobody.",
    },
    Key {
        section: "pin.select",
        name: "copies",
        kind: Kind::Boolean,
        need: Need::Default("true"),
        example: "false",
        meaning: "Whether data of `volumes` is followed into files elsewhere on the host: what a carrier writes to has it, and \
                  whoever reads that is a carrier too.",
    },
    Key {
        section: "pin.select",
        name: "relays",
        kind: Kind::Text,
        need: Need::Default(r#""tell""#),
        example: r#""tag""#,
        meaning: "What becomes of those to whom a carrier hands data of `volumes` on, by a Unix socket, a pipe, a terminal, \
                  or TCP or UDP on this host. `tell`: `status` has the problem `relay`, and what they send is not the \
                  pin's. `tag`: they are carriers.",
    },
    Key {
        section: "pin.select",
        name: "accept_relays",
        kind: Kind::List,
        need: Need::Optional("none"),
        example: r#"["system.slice/systemd-journald.service"]"#,
        meaning: "Cgroups whose processes, and those of the cgroups below them, are no problem `relay`: what they are handed \
                  may leave by them. Written as `cgroups`; not with `relays = \"tag\"`.",
    },
    Key {
        section: "pin.select",
        name: "marks",
        kind: Kind::List,
        need: Need::Optional("any"),
        example: r#"["0x10/0xff", "7"]"#,
        meaning: "Firewall marks, as a value or `value/mask`, decimal or with `0x`; without a mask all 32 \
                  bits count.",
    },
    Key {
        section: "pin.select",
        name: "direction",
        kind: Kind::Text,
        need: Need::Optional("either"),
        example: r#""served""#,
        meaning: "Who opened the connection. `served`: the other end, and a process of this host accepted it. `opened`: \
                  this host. What nobody can tell it of matches both: all but TCP, what the host forwards, and connections \
                  from before the guard.",
    },
];
