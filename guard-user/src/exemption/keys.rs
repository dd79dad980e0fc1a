//! Every key that an exemption's document can have: the one table that the reader, the hints and
//! docs/exemptions.md are made from.

use crate::config::keys::{Key, Kind, Need, Schema, Section, Shape};

/// The document's.
pub static DOCUMENT: Schema = Schema { sections: &SECTIONS, keys: &KEYS };

static SECTIONS: [Section; 2] = [
    Section { path: "", shape: Shape::Root, meaning: "What is allowed, on what ground, and how far." },
    Section {
        path: "recipient",
        shape: Shape::Entries,
        meaning: "Who may receive; at least one. A recipient is given either by its networks, or as anybody \
                  in its jurisdictions, never by both; what is to be allowed beside it is a recipient of \
                  its own.",
    },
];

static KEYS: [Key; 12] = [
    Key {
        section: "",
        name: "id",
        kind: Kind::Text,
        need: Need::Required,
        example: r#""mlat-2026-0142""#,
        meaning: "Unique on the host: `a`-`z`, `0`-`9`, `-`, `_` and `.`, at most 63 bytes. Events, lists and \
                  records name the exemption by it.",
    },
    Key {
        section: "",
        name: "version",
        kind: Kind::Integer,
        need: Need::Required,
        example: "1",
        meaning: "From 1. An id can be loaded again once its earlier version is closed, and only with a higher \
                  version: what was revoked does not come back by itself.",
    },
    Key {
        section: "",
        name: "instrument",
        kind: Kind::Text,
        need: Need::Required,
        example: r#""treaty-request""#,
        meaning: "The kind of legal act, see [Instruments](#instruments).",
    },
    Key {
        section: "",
        name: "reference",
        kind: Kind::Text,
        need: Need::Required,
        example: r#""Central Authority for Mutual Assistance, case 2026/0142""#,
        meaning: "The act or the case, one line of at most 200 bytes.",
    },
    Key {
        section: "",
        name: "pins",
        kind: Kind::List,
        need: Need::Required,
        example: r#"["mail-ie"]"#,
        meaning: "The pins of the config whose flows may go. A packet that several pins forbid passes only \
                  when each of them is covered.",
    },
    Key {
        section: "",
        name: "ports",
        kind: Kind::List,
        need: Need::Optional("any, of any protocol"),
        example: r#"["tcp/443"]"#,
        meaning: "The recipients' ports, that is the destination ports of what leaves, as `protocol/port` or \
                  `protocol/first-last`. They count for every recipient. A client that fetches from the \
                  pinned storage has a port that changes: leave the key away for it.",
    },
    Key {
        section: "",
        name: "valid_from",
        kind: Kind::Time,
        need: Need::Required,
        example: "2026-12-01T09:00:00+01:00",
        meaning: "The first moment, as RFC 3339 writes it, with its zone and without quotes.",
    },
    Key {
        section: "",
        name: "valid_until",
        kind: Kind::Time,
        need: Need::Required,
        example: "2026-12-15T00:00:00Z",
        meaning: "The first moment after it; after `valid_from` and, when it is loaded, in the future.",
    },
    Key {
        section: "",
        name: "quota_bytes",
        kind: Kind::Integer,
        need: Need::Optional("no bound"),
        example: "5_000_000_000",
        meaning: "Bytes on the wire, headers included, that may leave by this exemption in all, whoever of \
                  the recipients gets them. A derogation needs it.",
    },
    Key {
        section: "recipient",
        name: "name",
        kind: Kind::Text,
        need: Need::Required,
        example: r#""US Department of Justice, Office of International Affairs""#,
        meaning: "Who it is, one line of at most 200 bytes.",
    },
    Key {
        section: "recipient",
        name: "cidrs",
        kind: Kind::List,
        need: Need::Optional("see `jurisdictions`"),
        example: r#"["198.51.100.20/32", "2001:db8:20::/48"]"#,
        meaning: "Its networks, as CIDRs without host bits.",
    },
    Key {
        section: "recipient",
        name: "jurisdictions",
        kind: Kind::List,
        need: Need::Optional("see `cidrs`"),
        example: r#"["JP"]"#,
        meaning: "Anybody there: ISO 3166-1 alpha-2 codes. Groups and the marks `unknown` and `uncertain` \
                  can't stand here: an exemption names whom it is for.",
    },
];
