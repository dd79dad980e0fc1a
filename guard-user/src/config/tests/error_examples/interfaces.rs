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
];
