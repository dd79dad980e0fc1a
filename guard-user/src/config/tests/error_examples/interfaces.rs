//! Interfaces and cgroups.

use super::Example;

pub(super) const EXAMPLES: &[Example] = &[
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
    (
        "bad-cgroup",
        "[groups]",
        "[bypass]\nallow = [\"dhcp.slice/\"]\n[groups]",
        "11:10 bypass.allow: \"dhcp.slice/\" is no cgroup path: it begins or ends with a slash | did you mean \"dhcp.slice\"?",
    ),
    (
        "bad-cgroup",
        "[groups]",
        "[bypass]\ncgroup = \"\"\n[groups]",
        "11:10 bypass.cgroup: \"\" is no cgroup path: it names no cgroup",
    ),
    (
        "bad-cgroup",
        "ports = [\"tcp/143\"]",
        "cgroups = [\"1/2/3/4/5/6/7/8/9\"]",
        "19:12 pin.select.cgroups: \"1/2/3/4/5/6/7/8/9\" is no cgroup path: it is more than 8 levels below the root",
    ),
    (
        "bad-user",
        "ports = [\"tcp/143\"]",
        "users = [\"post gres\"]",
        "19:10 pin.select.users: \"post gres\" is no user | give its number, or its name: letters, digits, hyphen, underscore and dot, at most 32 of them",
    ),
    (
        "bad-user",
        "ports = [\"tcp/143\"]",
        "users = [4294967295]",
        "19:10 pin.select.users: \"4294967295\" is no user",
    ),
    ("bad-user", "ports = [\"tcp/143\"]", "users = [-1]", "19:10 pin.select.users: \"-1\" is no user"),
    (
        "wrong-type",
        "ports = [\"tcp/143\"]",
        "users = [true]",
        "19:10 pin.select.users: expected a string, found a boolean | for example users = [\"postgres\", 999]",
    ),
    (
        "uses-unnoted",
        "sources = [\"192.0.2.10/32\"]\nports = [\"tcp/143\"]",
        "users = [999]\n[sockets]\nnote = false",
        "18:9 pin.select.users: the pin \"mail\" goes by who uses a socket, and `sockets.note` is false | leave `sockets.note` out, or pin by something else",
    ),
    (
        "uses-unnoted",
        "sources = [\"192.0.2.10/32\"]\nports = [\"tcp/143\"]",
        "volumes = [\"/srv/mail\"]\n[sockets]\nnote = false",
        "18:11 pin.select.volumes: the pin \"mail\" goes by who uses a socket, and `sockets.note` is false",
    ),
    (
        "refuses-unnoted",
        "ports = [\"tcp/143\"]",
        "ports = [\"tcp/143\"]\n[sockets]\nnote = false\nrefuse = true",
        "20:1 sockets.refuse: calls are refused by who makes them, and `sockets.note` is false | leave `sockets.note` out, or `sockets.refuse`",
    ),
    (
        "relative-path",
        "ports = [\"tcp/143\"]",
        "volumes = [\"srv/mail\"]",
        "19:12 pin.select.volumes: the path \"srv/mail\" is not absolute",
    ),
    (
        "bad-path",
        "ports = [\"tcp/143\"]",
        "volumes = [\"/\"]",
        "19:12 pin.select.volumes: the path \"/\" is the root folder",
    ),
    (
        "bad-choice",
        "ports = [\"tcp/143\"]",
        "volumes = [\"/srv/mail\"]\nspread = \"thread\"",
        "20:10 pin.select.spread: \"thread\" is none of",
    ),
    (
        "bad-choice",
        "ports = [\"tcp/143\"]",
        "volumes = [\"/srv/mail\"]\nrelays = \"drop\"",
        "20:10 pin.select.relays: \"drop\" is none of",
    ),
    (
        "accepts-tagged",
        "ports = [\"tcp/143\"]",
        "volumes = [\"/srv/mail\"]\nrelays = \"tag\"\naccept_relays = [\"log.slice\"]",
        "21:17 pin.select.accept_relays: relays are accepted, and by `relays = \"tag\"` they are carriers",
    ),
    (
        "bad-choice",
        "ports = [\"tcp/143\"]",
        "ports = [\"tcp/143\"]\nsent_by = \"thread\"",
        "20:11 pin.select.sent_by: \"thread\"",
    ),
    (
        "bad-choice",
        "ports = [\"tcp/143\"]",
        "ports = [\"tcp/143\"]\ndirection = \"both\"",
        "20:13 pin.select.direction: \"both\" is none of",
    ),
    (
        "uses-unnoted",
        "ports = [\"tcp/143\"]",
        "direction = \"opened\"\n[sockets]\nnote = false",
        "19:13 pin.select.direction: the pin \"mail\" goes by who uses a socket, and `sockets.note` is false",
    ),
];
