//! The keys of `[approval]`, for the [table of keys](super::keys::KEYS).

use super::schema::{Key, Kind, Need};

pub(super) const ALLOWED_SIGNERS: Key = Key {
    section: "approval",
    name: "allowed_signers",
    kind: Kind::Text,
    need: Need::Required,
    example: r#""/etc/borderguard/allowed_signers""#,
    meaning: "OpenSSH's file of allowed signers (ssh-keygen(1), ALLOWED SIGNERS), as an absolute path: \
              which key speaks for whom, for what and when. Root alone may be able to write it.",
};

pub(super) const WIDEST_IPV4: Key = Key {
    section: "approval",
    name: "widest_ipv4",
    kind: Kind::Integer,
    need: Need::Default("16"),
    example: "24",
    meaning: "The shortest prefix of an IPv4 network of a recipient, from 16 to 32: a document with a larger one, or with more \
              addresses in all, has to say why (`recipient.large_network`).",
};

pub(super) const WIDEST_IPV6: Key = Key {
    section: "approval",
    name: "widest_ipv6",
    kind: Kind::Integer,
    need: Need::Default("32"),
    example: "48",
    meaning: "The same for IPv6, from 32 to 128.",
};

pub(super) const SIGNER_IDENTITY: Key = Key {
    section: "approval.signer",
    name: "identity",
    kind: Kind::Text,
    need: Need::Required,
    example: r#""aoife@example.org""#,
    meaning: "By this identity the file of allowed signers has the signer's keys. Unique, whatever is \
              written in capitals; no blanks and none of `,`, `*`, `?`, `!` and `\"`; at most 254 bytes.",
};

pub(super) const SIGNER_ROLES: Key = Key {
    section: "approval.signer",
    name: "roles",
    kind: Kind::List,
    need: Need::Required,
    example: r#"["legal", "dpo"]"#,
    meaning: "As what the signer may approve: names as a pin's. Rules and documents name the roles that they need.",
};

pub(super) const SIGNER_USER: Key = Key {
    section: "approval.signer",
    name: "user",
    kind: Kind::Text,
    need: Need::Optional("the signer has no account on this host"),
    example: r#""aoife""#,
    meaning: "The signer's Unix user. A user who loads a document can't be its only approver.",
};

pub(super) const RULE_PINS: Key = Key {
    section: "approval.rule",
    name: "pins",
    kind: Kind::List,
    need: Need::Optional("the rule is for every pin"),
    example: r#"["mail"]"#,
    meaning: "The pins whose exemptions it is for, by name.",
};

pub(super) const RULE_INSTRUMENTS: Key = Key {
    section: "approval.rule",
    name: "instruments",
    kind: Kind::List,
    need: Need::Optional("the rule is for every instrument"),
    example: r#"["treaty-request", "art-49-1-e"]"#,
    meaning: "The legal acts that it is for: types of instruments (`instrument.type` of a document) and grounds \
              (`instrument.ground`). One of them is enough.",
};

pub(super) const REQUIRED_ROLE: Key = Key {
    section: "approval.rule.required",
    name: "role",
    kind: Kind::Text,
    need: Need::Required,
    example: r#""legal""#,
    meaning: "As what: a role of at least `count` signers.",
};

pub(super) const REQUIRED_COUNT: Key = Key {
    section: "approval.rule.required",
    name: "count",
    kind: Kind::Integer,
    need: Need::Required,
    example: r#"1"#,
    meaning: "How many signers, each another person; at least 1.",
};

pub(super) const POLICY_ROLE: Key = Key { section: "approval.policy.required", ..REQUIRED_ROLE };

pub(super) const POLICY_COUNT: Key = Key { section: "approval.policy.required", ..REQUIRED_COUNT };

pub(super) const EMERGENCY_ROLE: Key = Key { section: "approval.emergency.required", ..REQUIRED_ROLE };

pub(super) const EMERGENCY_COUNT: Key = Key { section: "approval.emergency.required", ..REQUIRED_COUNT };
