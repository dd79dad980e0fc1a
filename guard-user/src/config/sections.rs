//! Every section that a config can have: see [`KEYS`](super::keys::KEYS).

use super::schema::{Section, Shape};

/// Every section, in the order of the documentation.
pub static SECTIONS: [Section; 26] = [
    Section {
        path: "host",
        shape: Shape::Table,
        meaning: "What is guarded on this host. The section is required.",
    },
    Section { path: "geo", shape: Shape::Table, meaning: "Where the jurisdictions of addresses come from." },
    Section {
        path: "control",
        shape: Shape::Table,
        meaning: "The socket by which the command line talks to the daemon.",
    },
    Section {
        path: "control.groups",
        shape: Shape::Table,
        meaning: "The Unix groups that may use the socket, and what for. Root and the daemon's own user may do \
                  everything. Who is in several groups has the rights of all of them.",
    },
    Section { path: "state", shape: Shape::Table, meaning: "Where the daemon keeps what must outlive it." },
    Section {
        path: "law",
        shape: Shape::Table,
        meaning: "The law pack that new exemptions are judged by, in the place of the program's own (docs/law.md). Any \
                  change of its content is one that opens, for `policy diff` and for `approval.policy`.",
    },
    Section { path: "log", shape: Shape::Table, meaning: "How the daemon logs." },
    Section {
        path: "metrics",
        shape: Shape::Table,
        meaning: "Metrics for Prometheus, see [metrics.md](metrics.md). Without the section there are none. A change counts \
                  from the next start.",
    },
    Section {
        path: "history",
        shape: Shape::Table,
        meaning: "The [flow history](history.md): what is kept of events on the disk, apart from exemptions. It is bounded, and \
                  nothing that guards waits for it.",
    },
    Section {
        path: "record",
        shape: Shape::Table,
        meaning: "What the [report](report.md) says of the controller, and how [receipts](receipt.md) are signed.",
    },
    Section {
        path: "bypass",
        shape: Shape::Table,
        meaning: "Ways past the guard that a process asks the kernel for: packet sockets that send without TC \
                  (`PACKET_QDISC_BYPASS`) or that can change a frame behind TC (`PACKET_TX_RING`, `PACKET_VNET_HDR`), \
                  and sockets for XDP (`AF_XDP`). They are refused with EPERM. While `host.observe` is set, nothing is refused.",
    },
    Section {
        path: "sockets",
        shape: Shape::Table,
        meaning: "Who makes and who uses sockets: the kernel keeps process, command, user and cgroup with each socket, \
                  so that events and `status` name them.",
    },
    Section {
        path: "protect",
        shape: Shape::Table,
        meaning: "Keeps every process but the daemon, root's too, from writing into the guard's maps, from detaching its \
                  programs and from removing its entries in bpffs, while the daemon runs. Reading is refused to nobody. See \
                  [below](#who-may-change-the-guard).",
    },
    Section {
        path: "approval",
        shape: Shape::Table,
        meaning: "Who has to approve exemptions. A config with a pin that drops has this section with a rule for the pin, or \
                  `approval = \"none\"` in its place, above the first header: then no signature is verified, and a user who \
                  may load a document decides alone.",
    },
    Section {
        path: "approval.signer",
        shape: Shape::Entries,
        meaning: "Somebody whose approval counts, and as what; at least one.",
    },
    Section {
        path: "approval.rule",
        shape: Shape::Entries,
        meaning: "The least that documents need, whatever they say themselves; at least one. All rules that fit a \
                  document are due together: of each role the greatest count, theirs and the document's own. Each pin that \
                  drops needs a rule, and a document with a pin that no rule fits is refused.",
    },
    Section {
        path: "approval.rule.required",
        shape: Shape::Entries,
        meaning: "The signers that the rule asks for, by role; at least one. In one line: \
                  `required = [{ role = \"legal\", count = 1 }]`.",
    },
    Section {
        path: "approval.policy",
        shape: Shape::Table,
        meaning: "Whose signatures a config needs that newly lets anything pass, as `borderguard policy diff` has it. They lie \
                  beside the file, as `FILE.NAME.sig`, and are made over its bytes for `borderguard-policy`. Those whom the \
                  config in force asks for decide on the next one. Without the section nobody is asked.",
    },
    Section {
        path: "approval.policy.required",
        shape: Shape::Entries,
        meaning: "So many signers of one role; at least one entry.",
    },
    Section {
        path: "approval.emergency",
        shape: Shape::Table,
        meaning: "Whose approvals an exemption needs that says it is an emergency (`emergency`), in the place of those that the \
                  rules ask for. It lasts at most 30 minutes, and no other emergency opens a pin of it for 24 hours. Without \
                  the section there is no such opening.",
    },
    Section {
        path: "approval.emergency.required",
        shape: Shape::Entries,
        meaning: "So many signers of one role; at least one entry.",
    },
    Section {
        path: "failsafe",
        shape: Shape::Entries,
        meaning: "Egress that passes where a pin forbids it, and is told: what keeps the host manageable. A rule uses at least \
                  one of `local_ports`, `remote_ports` and `peers`; the ones that it uses are ANDed, the values in one \
                  are ORed. A rule that lets packets of a pin pass anywhere needs `peers`, or `anywhere = true`. At \
                  most 64 rules, with 1024 peers and 240 remote ports in all.",
    },
    Section {
        path: "site",
        shape: Shape::Entries,
        meaning: "A named part of your own network: its CIDRs are in one jurisdiction whatever a geo \
                  database says. Where sites overlap the narrower CIDR wins; a CIDR that places nothing is \
                  refused. Private and other special-purpose addresses (RFC 6890) in no site are `unknown`. At most \
                  1024 CIDRs in all.",
    },
    Section {
        path: "groups",
        shape: Shape::Open,
        meaning: "Named sets of jurisdictions, for `permit`. The groups `EU`, `EEA` and `adequacy` are built \
                  in and can't be redefined.",
    },
    Section {
        path: "pin",
        shape: Shape::Entries,
        meaning: "A named kind of region-pinned storage: where it is at home, where its flows may go, and \
                  what happens otherwise. At most 64 pins.",
    },
    Section {
        path: "pin.select",
        shape: Shape::TableOrEntries,
        meaning: "How a pin's flows are known, written after the pin's own keys. It uses at least one of the \
                  selectors; the ones that it uses are ANDed, the values in one are ORed. A pin that is known \
                  in several ways has several, each as `[[pin.select]]`: any of them is enough. All pins \
                  together have at most 64. \
                  Over all pins at most 1024 sources, 256 cgroups, 256 users, 64 volumes and 64 marks; 480 ports together with \
                  the failsafe rules' local ports, and 240 remote ports with theirs.",
    },
];
