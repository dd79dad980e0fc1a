//! The keys of `[record]`, for the [table of keys](super::keys::KEYS).

use super::schema::{Key, Kind, Need};

const fn text(
    name: &'static str,
    without: &'static str,
    example: &'static str,
    meaning: &'static str,
) -> Key {
    let (kind, need) = (Kind::Text, Need::Optional(without));
    Key { section: "record", name, kind, need, example, meaning }
}

pub(super) const CONTROLLER: Key = text(
    "controller",
    "left blank",
    r#""Example Mail Ltd, 1 Example Street, Dublin; privacy@example.org""#,
    "Name and contact details of the controller (Art. 30(1)(a) GDPR), one line of at most 400 bytes.",
);

pub(super) const JOINT_CONTROLLER: Key = text(
    "joint_controller",
    "not shown",
    r#""Example Hosting Ltd, Cork; privacy@hosting.example.org""#,
    "Likewise of a joint controller.",
);

pub(super) const REPRESENTATIVE: Key = text(
    "representative",
    "not shown",
    r#""Example EU Ltd, Dublin; eu@example.org""#,
    "Likewise of the controller's representative in the Union (Art. 27 GDPR).",
);

pub(super) const DPO: Key = text(
    "dpo",
    "left blank",
    r#""Aoife Example, dpo@example.org""#,
    "Likewise of the data protection officer.",
);

pub(super) const MARK: Key = Key {
    section: "record",
    name: "mark",
    kind: Kind::Text,
    need: Need::Default(r#""Confidential""#),
    example: r#""Confidential: for the supervisory authority""#,
    meaning: "The confidentiality mark of the report's page.",
};

pub(super) const HOST_KEY: Key = text(
    "host_key",
    "no receipt is given",
    r#""/etc/ssh/ssh_host_ed25519_key""#,
    "The host's private SSH key, by which the daemon signs receipts, as an absolute path: Ed25519 or ECDSA, in OpenSSH's \
     form, without a passphrase, and for root alone to read. It is read for each receipt.",
);

pub(super) const TIME_STAMP: Key = Key {
    section: "record",
    name: "time_stamp",
    kind: Kind::List,
    need: Need::Optional("receipts have no time stamp"),
    example: r#"["/usr/local/bin/time-stamp", "https://tsa.example.org"]"#,
    meaning: "A command that has receipts stamped by a time-stamping authority (RFC 3161), with its arguments: it reads \
              the DER request on its standard input and writes the DER reply to its standard output. \
              `borderguard exemption receipt` runs it as the user who calls it.",
};

pub(super) const NOTIFY: Key = Key {
    section: "record",
    name: "notify",
    kind: Kind::List,
    need: Need::Optional("nobody is told"),
    example: r#"["/usr/local/bin/tell-approvers"]"#,
    meaning: "A program with its arguments that is told of what somebody has to do: of a document that lacks approvals, a \
              quota of which 80 % are used, a window that closes within a day, a review or a duty that is due within \
              seven days. It is run as the daemon's user, for each, and reads one JSON object on its standard input \
              (docs/exemption-life.md).",
};
