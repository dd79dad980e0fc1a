//! The keys of `[bypass]`, `[sockets]` and `[protect]`, for the [table of keys](super::keys::KEYS).

use super::schema::{Key, Kind, Need};

pub(super) const BYPASS_REFUSE: Key = Key {
    section: "bypass",
    name: "refuse",
    kind: Kind::Boolean,
    need: Need::Optional("`true` where any pin drops, else `false`"),
    example: "true",
    meaning: "Whether they are refused.",
};

pub(super) const BYPASS_CGROUP: Key = Key {
    section: "bypass",
    name: "cgroup",
    kind: Kind::Text,
    need: Need::Default(r#""/""#),
    example: r#""machine.slice""#,
    meaning: "To whom: to sockets that were made in this cgroup or in one below it. A path as in \
              `pin.select.cgroups`, or `/` for every process of the host, those in containers among them.",
};

pub(super) const BYPASS_ALLOW: Key = Key {
    section: "bypass",
    name: "allow",
    kind: Kind::ListOrNone,
    need: Need::Optional("nobody"),
    example: r#"["dhcp.slice"]"#,
    meaning: "To whom not: to the processes of these cgroups and of those below them. Written as in \
              `pin.select.cgroups`; at most 256. What they send so is NOT judged. Name a slice: a unit's own \
              cgroup is made anew at each restart, and refused until the daemon has seen it.",
};

pub(super) const SOCKETS_NOTE: Key = Key {
    section: "sockets",
    name: "note",
    kind: Kind::Boolean,
    need: Need::Default("true"),
    example: "true",
    meaning: "Whether it is kept. Without it events and `status` name no process.",
};

pub(super) const SOCKETS_CGROUP: Key = Key {
    section: "sockets",
    name: "cgroup",
    kind: Kind::Text,
    need: Need::Default(r#""/""#),
    example: r#""/""#,
    meaning: "Of which sockets: of those that are made in this cgroup and in those below it. A path as in \
              `pin.select.cgroups`, or `/` for every socket of the host, those in containers among them.",
};

pub(super) const SOCKETS_REFUSE: Key = Key {
    section: "sockets",
    name: "refuse",
    kind: Kind::Boolean,
    need: Need::Default("false"),
    example: "true",
    meaning: "Whether `connect`, and sending a datagram to an address, fail with EPERM where every packet of it would be \
              dropped. Else a process learns it with its first packet, see below. Leave it off where anything on this \
              host sends packets elsewhere than they were addressed to. Turned on by a reload, it counts from the next start.",
};

pub(super) const PROTECT_LSM: Key = Key {
    section: "protect",
    name: "lsm",
    kind: Kind::Boolean,
    need: Need::Default("false"),
    example: "true",
    meaning: "Whether they are, by BPF LSM: it takes a kernel with `bpf` among its security modules \
              (`/sys/kernel/security/lsm`) and with type information (BTF). Elsewhere the daemon guards all the same, and \
              `status` has the problem `protect-unavailable`.",
};
