//! The keys of `[host]`, for the [table of keys](super::keys::KEYS).

use super::schema::{Key, Kind, Need};

pub(super) const INTERFACES: Key = Key {
    section: "host",
    name: "interfaces",
    kind: Kind::List,
    need: Need::Required,
    example: r#"["eth0", "ens*"]"#,
    meaning: "The guarded interfaces: names, or globs in which `*` stands for any characters and `?` for \
              one. An interface that appears later and matches is guarded as it appears.",
};

pub(super) const UNGUARDED: Key = Key {
    section: "host",
    name: "unguarded",
    kind: Kind::List,
    need: Need::Optional("none"),
    example: r#"["lan0"]"#,
    meaning: "Interfaces that are accepted without a guard: frames can leave the host by them, and no pinned data does. \
              They are no problem (`interface-unguarded`) and no warning. Written as `interfaces`, which wins.",
};

pub(super) const OBSERVE: Key = Key {
    section: "host",
    name: "observe",
    kind: Kind::Boolean,
    need: Need::Default("false"),
    example: "true",
    meaning: "Every pin's action becomes `observe`: nothing is dropped, everything is counted. For a \
              first rollout.",
};

pub(super) const FLEET: Key = Key {
    section: "host",
    name: "fleet",
    kind: Kind::Text,
    need: Need::Optional("none"),
    example: r#""mail-eu""#,
    meaning: "The fleet that this host is of: exemptions that name it in `hosts` are for this host too. Written like \
              an id.",
};
