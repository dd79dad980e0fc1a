//! Every key that an exemption's document can have: the one table that the reader, the hints, the JSON
//! Schema, the questions of `exemption new` and docs/exemption-document.md are made from.

use super::sections::SECTIONS;
use crate::config::schema::{Key, Kind, Need, Schema};

/// The document's.
pub static DOCUMENT: Schema = Schema { sections: &SECTIONS, keys: &KEYS };

/// The sections that no document can be without.
pub const REQUIRED_SECTIONS: [&str; 3] = ["instrument", "exporter", "recipient"];

static KEYS: [Key; 67] = [
    key(
        "",
        "id",
        Kind::Text,
        r#""mlat-2026-0142""#,
        "Unique on the host: `a`-`z`, `0`-`9`, `-`, `_` and `.`, at most 63 bytes. Events, lists and \
         records name the exemption by it.",
    ),
    key(
        "",
        "version",
        Kind::Integer,
        "1",
        "From 1. An id can be loaded again once its earlier version is closed, or replaced by it, and only \
         with a higher version: what was revoked does not come back by itself.",
    ),
    optional(
        "",
        "replaces",
        Kind::Integer,
        "no renewal",
        "1",
        "The version of this id that it takes the place of when it is loaded: an open one, or one that is over by its time or its quota. Lower than `version`.",
    ),
    key(
        "",
        "pins",
        Kind::List,
        r#"["mail-ie"]"#,
        "The pins of the config whose flows may go. A packet that several pins forbid passes only when each \
         of them is covered.",
    ),
    optional(
        "",
        "hosts",
        Kind::List,
        "no host is named",
        r#"["mail-ie-1", "mail-eu"]"#,
        "The hosts that it is for, as `uname -n` writes their names, or their fleets (`host.fleet` of the config): another \
         host refuses it. A host whose config asks for approvals refuses a document that names none.",
    ),
    key(
        "",
        "purpose",
        Kind::Text,
        r#""Evidence in case 2026/0142""#,
        "What the transfer is for, one line of at most 200 bytes (Art. 5(1)(b), Art. 30(1)(b)).",
    ),
    key(
        "",
        "data_categories",
        Kind::List,
        r#"["e-mail content", "e-mail metadata"]"#,
        "What kinds of data leave, a line each (Art. 30(1)(c)).",
    ),
    key(
        "",
        "valid_from",
        Kind::Time,
        "2026-12-01T09:00:00+01:00",
        "The first moment, as RFC 3339 writes it, with its zone and without quotes.",
    ),
    key(
        "",
        "valid_until",
        Kind::Time,
        "2026-12-15T00:00:00Z",
        "The first moment after it; after `valid_from` and, when it is loaded, in the future.",
    ),
    optional(
        "",
        "quota_bytes",
        Kind::Integer,
        "no bound",
        "5_000_000_000",
        "Bytes on the wire, headers included, that may leave by this exemption to \
         all recipients together. A ground of Art. 49 needs it.",
    ),
    optional(
        "",
        "emergency",
        Kind::Text,
        "no emergency",
        r#""a patient in Boston, whose records are here""#,
        "Why it can't wait: it is approved by `[approval.emergency]` of the config in the place of its rules, lasts at most 30 \
         minutes, and is reported as such. No other emergency opens one of its pins for 24 hours.",
    ),
    Key {
        section: "",
        name: "confidential",
        kind: Kind::Boolean,
        need: Need::Default("false"),
        example: "true",
        meaning: "Whether its text stays out of the logs and lists that others read.",
    },
    optional(
        "",
        "law",
        Kind::Text,
        "`eu`",
        r#""eu""#,
        "The law at the home of the pins, see [Laws](#laws): it says which words of a ground mean what, and where a transfer begins.",
    ),
    optional(
        "",
        "data_subjects",
        Kind::List,
        "not said",
        r#"["customers", "those who write to them"]"#,
        "Whose data leaves, a category a line (Art. 30(1)(c)). Every new document about personal data needs it.",
    ),
    optional(
        "",
        "retention",
        Kind::Text,
        "not said",
        r#""until the judgment is final""#,
        "How long the recipients keep the data (Art. 30(1)(f)).",
    ),
    optional(
        "",
        "delete_by",
        Kind::Date,
        "not said",
        "2028-12-31",
        "By when the recipients have to have deleted it; a date counts to its end in UTC (Art. 30(1)(f)).",
    ),
    key(
        "instrument",
        "type",
        Kind::Text,
        r#""treaty-request""#,
        "The kind of legal act, see [Instruments](#instruments).",
    ),
    key(
        "instrument",
        "name",
        Kind::Text,
        r#""US-Ireland MLAT 2001""#,
        "What the act is called. When it falls, every exemption that rests on this name is closed by it.",
    ),
    key(
        "instrument",
        "article",
        Kind::Text,
        r#""Art. 48""#,
        "The article of the GDPR, or of the act itself, that is used.",
    ),
    key(
        "instrument",
        "ground",
        Kind::Text,
        r#""art-46-2-a""#,
        "The ground of Chapter V, see [Grounds](#grounds). It must be one that the type can carry.",
    ),
    key(
        "instrument",
        "basis",
        Kind::Text,
        r#""art-6-1-c""#,
        "The basis of Art. 6(1), see [Bases](#bases): a ground of Chapter V does not replace it.",
    ),
    key(
        "instrument",
        "authority",
        Kind::Text,
        r#""Department of Justice, Ireland""#,
        "Who issued, adopted or approved the act or the request.",
    ),
    key("instrument", "reference", Kind::Text, r#""2026/0142""#, "The case, or the number of the act."),
    optional(
        "instrument",
        "agreement",
        Kind::Text,
        "no agreement",
        r#""Treaty on Mutual Legal Assistance in Criminal Matters of 18 January 2001""#,
        "The international agreement behind it. A `treaty-request` needs it (Art. 48).",
    ),
    optional(
        "instrument",
        "document_sha256",
        Kind::Text,
        "not recorded",
        r#""9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08""#,
        "SHA-256 of the file that the act itself is kept in, 64 hexadecimal digits as `sha256sum` writes \
         them.",
    ),
    optional(
        "instrument",
        "module",
        Kind::Text,
        "no module",
        r#""c2c""#,
        "Which form of the clauses or rules is used, see [Modules](#modules). A new document needs it with `scc` and `bcr`.",
    ),
    optional(
        "instrument",
        "parties",
        Kind::List,
        "not said",
        r#"["Example Mail Ireland Ltd", "Department", "Translation office"]"#,
        "Who is bound by the clauses, the rules, the code or the certification. A new document needs it with these, and the \
         exporter and each recipient have to be among them, by the same names.",
    ),
    optional(
        "instrument",
        "agreement_id",
        Kind::Text,
        "not held against the law pack",
        r#""us-ie-mlat""#,
        "The agreement by its id in the law pack: it must be in force between the home of each pin and the recipient's country. A \
         `direct-request` needs it.",
    ),
    optional(
        "instrument",
        "certificate",
        Kind::Text,
        "none",
        r#""epoc""#,
        "The certificate by which an `eu-order` came: `epoc` (European Production Order Certificate) or `epoc-pr` (for \
         preservation), by Regulation (EU) 2023/1543.",
    ),
    optional(
        "instrument",
        "addressee",
        Kind::Text,
        "not said",
        r#""Example Mail Ireland Ltd, designated establishment""#,
        "To whom the certificate is addressed: the designated establishment or the legal representative (Art. 7 of that \
         Regulation; Directive (EU) 2023/1544). A `certificate` needs it.",
    ),
    key("exporter", "name", Kind::Text, r#""Example Mail Ireland Ltd""#, "Who sends."),
    key("exporter", "role", Kind::Text, r#""controller""#, "`controller` or `processor` (Art. 4(7), (8))."),
    key(
        "exporter",
        "contact",
        Kind::Text,
        r#""privacy@example.org""#,
        "Whom to ask, such as the data protection officer.",
    ),
    Key {
        section: "exporter",
        name: "public_authority",
        kind: Kind::Boolean,
        need: Need::Default("false"),
        example: "true",
        meaning: "Whether it is a public authority that acts in the exercise of its powers (Art. 49(3)).",
    },
    key("assessment", "reference", Kind::Text, r#""TIA-2026-07""#, "Where the assessment is kept."),
    optional(
        "assessment",
        "review_by",
        Kind::Date,
        "no review",
        "2027-06-01",
        "When it has to be looked at again; a date counts to its end in UTC. The exemption ends then, if its \
         window does not end before. Every ground of Art. 46 and 47 needs it.",
    ),
    Key {
        section: "assessment",
        name: "measures",
        kind: Kind::ListOrNone,
        need: Need::Default("[]"),
        example: r#"["encryption in transit", "split processing"]"#,
        meaning: "The supplementary measures, a line each.",
    },
    key(
        "condition",
        "met",
        Kind::Text,
        r#""the claim is before the High Court, and these messages alone prove it""#,
        "How the condition of the ground is met, as [Grounds](#grounds) has it; of an adequacy decision that excepts purposes, what \
         the data is for, and that it is for none of these.",
    ),
    optional(
        "condition",
        "recognised_by",
        Kind::Text,
        "not said",
        r#""Criminal Justice (Mutual Assistance) Act 2008, s. 75""#,
        "The Union or member state law that recognises the public interest (Art. 49(4)). `art-49-1-d` needs it.",
    ),
    optional(
        "condition",
        "customer_not_told",
        Kind::Text,
        "the customer is told",
        r#""the request serves a criminal investigation that is not public yet""#,
        "Why the customer is not told of the request yet: it serves law enforcement, as long as telling would harm that (Data \
         Act, Art. 32(5)). It takes the place of the duty `tell-customer`.",
    ),
    optional(
        "condition",
        "subjects",
        Kind::Integer,
        "not said",
        "3",
        "How many data subjects the transfer is about, at most. `art-49-1-2` needs it: their number is limited.",
    ),
    optional(
        "approval",
        "submitter",
        Kind::Text,
        "not recorded",
        r#""aoife@example.org""#,
        "Who wrote the document, as the identity that signatures go by: a signer of the config, who signs it too or whose \
         Unix user loads it. The submitter is never the only approver.",
    ),
    key(
        "approval.required",
        "role",
        Kind::Text,
        r#""legal""#,
        "The role, written like an id. The config says which signers have it.",
    ),
    key("approval.required", "count", Kind::Integer, "1", "How many signers of the role, from 1 to 64."),
    key(
        "recipient",
        "name",
        Kind::Text,
        r#""US Department of Justice, Office of International Affairs""#,
        "Who it is.",
    ),
    key(
        "recipient",
        "jurisdiction",
        Kind::Text,
        r#""US""#,
        "Where it is: one ISO 3166-1 alpha-2 code. Groups and the marks `unknown` and `uncertain` can't \
         stand here: the record names the country.",
    ),
    optional(
        "recipient",
        "cidrs",
        Kind::List,
        "anybody in the jurisdiction",
        r#"["198.51.100.20/32", "2001:db8:20::/48"]"#,
        "Its networks, as CIDRs without host bits. Only an `adequacy-decision` on the whole country can do \
         without.",
    ),
    Key {
        section: "recipient",
        name: "anywhere",
        kind: Kind::Boolean,
        need: Need::Default("false"),
        example: "true",
        meaning: "Whether its networks count wherever the config's sites and geo databases place them. Without it a packet \
                  passes only where its destination is placed in `jurisdiction`, and a document with a network that is \
                  placed elsewhere is refused.",
    },
    optional(
        "recipient",
        "large_network",
        Kind::Text,
        "its networks are small",
        r#""the provider assigns addresses of its whole network""#,
        "Why its networks are larger than an IPv4 `/16`, an IPv6 `/32`, or what the config allows, alone or together with those \
         of the other recipients. Approvers sign it. Networks that are everybody together are refused all the same.",
    ),
    optional(
        "recipient",
        "ports",
        Kind::List,
        "any, of any protocol",
        r#"["tcp/443"]"#,
        "The recipient's ports, that is the destination ports of what leaves, as `protocol/port` or \
         `protocol/first-last`. A client that fetches from the pinned storage has a port that changes: \
         leave out the key for it.",
    ),
    optional(
        "recipient",
        "certification",
        Kind::Text,
        "none",
        r#""EU-US DPF, active, listed as Example Inc.""#,
        "The certification by which an adequacy decision covers it, or that binds it (Art. 42), as the register has it.",
    ),
    optional(
        "recipient",
        "checked_on",
        Kind::Date,
        "never",
        "2026-11-20",
        "The day on which somebody looked the certification up in the register.",
    ),
    key("processor", "name", Kind::Text, r#""Example Storage GmbH""#, "Who it is."),
    key("processor", "jurisdiction", Kind::Text, r#""DE""#, "Where it is: one ISO 3166-1 alpha-2 code."),
    key("processor", "contract", Kind::Text, r#""DPA-2025-11""#, "The contract that binds it (Art. 28(3))."),
    key("joint_controller", "name", Kind::Text, r#""Example Mail France SAS""#, "Who it is."),
    key("joint_controller", "contact", Kind::Text, r#""privacy@example.net""#, "Whom to ask."),
    key(
        "joint_controller",
        "arrangement",
        Kind::Text,
        r#""JCA-2024-02""#,
        "The arrangement between them (Art. 26(1)).",
    ),
    key("onward", "name", Kind::Text, r#""Forensic laboratory""#, "Who receives the data from a recipient."),
    key("onward", "jurisdiction", Kind::Text, r#""CH""#, "Where it is: one ISO 3166-1 alpha-2 code."),
    key(
        "onward",
        "ground",
        Kind::Text,
        r#""art-45""#,
        "The ground of the onward transfer, see [Grounds](#grounds); the law pack judges it as it does a recipient's.",
    ),
    key(
        "onward",
        "safeguard",
        Kind::Text,
        r#""the treaty's rule of speciality""#,
        "What binds whoever receives it.",
    ),
    optional(
        "onward",
        "certification",
        Kind::Text,
        "none",
        r#""EU-US DPF, active, listed as Example Inc.""#,
        "The certification of whoever receives it, as of a recipient.",
    ),
    optional(
        "onward",
        "checked_on",
        Kind::Date,
        "never",
        "2026-11-20",
        "The day on which somebody looked that up in the register.",
    ),
    key("duty", "what", Kind::Text, r#""tell-authority""#, "What has to be done, see [Duties](#duties)."),
    key("duty", "due", Kind::Date, "2026-12-20", "By when; a date counts to its end in UTC."),
    optional(
        "duty",
        "done",
        Kind::Date,
        "not done",
        "2026-12-01",
        "The day on which it was done; not one that is to come.",
    ),
];

/// A key that must be there.
const fn key(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    example: &'static str,
    meaning: &'static str,
) -> Key {
    Key { section, name, kind, need: Need::Required, example, meaning }
}

/// A key that can be left out; `without` says what counts then.
const fn optional(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    without: &'static str,
    example: &'static str,
    meaning: &'static str,
) -> Key {
    Key { section, name, kind, need: Need::Optional(without), example, meaning }
}
