//! Reports to test with: a plain one, an empty one, and any at all.

use jiff::Timestamp;
use jiff::civil::{Date, date};
use proptest::prelude::*;

use super::super::receipt::{Exemption, Order, Program, Receipt, SCHEMA, TableHashes, VERSION};
use super::super::{
    ApprovalEntry, AssessmentEntry, AuditHead, Change, Counts, DayPresumed, DayUse, ExemptionEntry,
    ExporterEntry, InstrumentEntry, Organisation, ParticularEntry, PinEntry, RecipientEntry, Report, Traffic,
    Unattributed,
};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A host without pins on which nothing happened.
pub(super) fn empty() -> Report {
    Report {
        host: "dublin-1".into(),
        organisation: Organisation::default(),
        mark: "Confidential".into(),
        from: at("2026-11-01T00:00:00Z"),
        until: at("2026-12-01T00:00:00Z"),
        made_at: at("2026-12-01T06:00:00Z"),
        generation: 1,
        redacted: false,
        pins: vec![],
        exemptions: vec![],
        traffic: vec![],
        unattributed: vec![],
        gaps: vec![],
        audit_head: None,
    }
}

/// What the texts of an exemption are made of.
pub(super) fn exemption(id: &str, text: &str) -> ExemptionEntry {
    let text = |name: &str| format!("{text}{name}");
    ExemptionEntry {
        id: id.to_owned(),
        version: 2,
        state: "active".into(),
        confidential: false,
        pins: vec!["mail-ie".into()],
        hosts: vec!["mail-ie-1".to_owned()],
        law: "eu".to_owned(),
        emergency: text("emergency"),
        not_needed: "the pin mail-ie permits BE".to_owned(),
        purpose: text("purpose"),
        data_categories: vec![text("category")],
        instrument: InstrumentEntry {
            kind: "treaty-request".into(),
            name: text("instrument"),
            article: text("article"),
            ground: "art-48".into(),
            basis: "art-6-1-c".into(),
            authority: text("authority"),
            reference: text("reference"),
            agreement: text("agreement"),
        },
        exporter: ExporterEntry {
            name: text("exporter"),
            role: "controller".into(),
            contact: text("contact"),
        },
        assessment: Some(AssessmentEntry {
            reference: text("assessment"),
            review_by: "2027-06-01".into(),
            measures: vec![text("measure")],
        }),
        recipients: vec![RecipientEntry {
            name: text("recipient"),
            jurisdiction: "US".into(),
            networks: vec![text("network")],
            anywhere: false,
            ports: vec![text("port")],
        }],
        particulars: vec![ParticularEntry { key: "data_subjects".into(), value: text("subjects") }],
        valid_from: at("2026-11-01T00:00:00Z"),
        valid_until: at("2026-12-15T00:00:00Z"),
        quota_bytes: Some(5_000_000_000),
        document_sha256: text("sha256"),
        approvals: vec![ApprovalEntry {
            identity: text("identity"),
            roles: vec!["legal".into()],
            key: text("key"),
        }],
        changes: vec![Change {
            at: at("2026-11-02T00:00:00Z"),
            what: "loaded".into(),
            who: text("who"),
            why: text("why"),
            order: Some(text("order")),
            still_held: true,
            covers: Some("instrument".into()),
            name: Some(text("instrument")),
            document_sha256: Some(text("document")),
            signed_by: vec![ApprovalEntry {
                identity: text("lifter"),
                roles: vec!["dpo".into()],
                key: text("key of lifter"),
            }],
        }],
        first_use: Some(at("2026-11-02T10:00:00Z")),
        last_use: None,
        use_by_day: vec![DayUse {
            day: date(2026, 11, 2),
            number: Some(1),
            recipient: Some(text("recipient")),
            jurisdiction: Some("US".into()),
            packets: 20,
            bytes: 21_000,
        }],
        presumed: vec![DayPresumed { day: date(2026, 11, 2), bytes: 64_000 }],
    }
}

pub(super) fn traffic(day: i8, jurisdiction: &str, verdict: &str, reason: &str, bytes: u64) -> Traffic {
    Traffic {
        day: date(2026, 11, day),
        pin: "mail-ie".into(),
        jurisdiction: jurisdiction.into(),
        verdict: verdict.into(),
        reason: reason.into(),
        packets: bytes / 1000 + 1,
        bytes,
    }
}

/// One of everything.
pub(in crate::report) fn sample() -> Report {
    Report {
        organisation: Organisation {
            controller: Some("Example Mail Ltd, Dublin; privacy@example.org".into()),
            dpo: Some("Aoife Example, dpo@example.org".into()),
            ..Organisation::default()
        },
        pins: vec![PinEntry { name: "mail-ie".into(), home: "IE".into() }],
        exemptions: vec![exemption("mlat-1", "a "), exemption("mlat-2", "b ")],
        traffic: vec![
            traffic(1, "IE", "pass", "permitted", 900_000),
            traffic(1, "BE", "pass", "permitted", 70_000),
            traffic(2, "US", "pass", "exempt", 21_000),
            traffic(2, "US", "drop", "forbidden", 4_200),
            traffic(3, "US", "observe", "forbidden", 330),
            traffic(30, "BE", "pass", "permitted", 7),
        ],
        unattributed: vec![Unattributed { pin: "mail-ie".into(), packets: 2, bytes: 1_300, at_least: None }],
        gaps: vec!["3 outcomes were lost on 2026-11-07".into()],
        audit_head: Some(AuditHead {
            sequence: 40,
            sha256: "ab".repeat(32),
            time: at("2026-12-01T05:00:00Z"),
        }),
        ..empty()
    }
}

/// Any text, and often some that is meant to do harm.
fn text() -> impl Strategy<Value = String> {
    const HARMFUL: [&str; 10] = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onload='x",
        "</title></style></svg><h1>",
        "&lt;b&gt; &amp; &#0;",
        "=HYPERLINK(\"//example.org\")",
        "x;=1+1",
        "@SUM(A1), -1, +1",
        "\0\u{1b}[31m\r\n\u{202e}\u{ffff}",
        "]]><!--",
    ];
    prop_oneof![prop::sample::select(&HARMFUL[..]).prop_map(str::to_owned), any::<String>()]
}

prop_compose! {
    fn any_row()(
        day in 1..=31_i8,
        year in 2026..2028_i16,
        (pin, jurisdiction, reason) in (text(), text(), text()),
        verdict in prop::sample::select(&["pass", "drop", "flag", "observe", "=x"][..]),
        exempt in any::<bool>(),
        (packets, bytes) in any::<(u64, u64)>(),
    ) -> Traffic {
        let reason = if exempt { "exempt".to_owned() } else { reason };
        Traffic { day: Date::new(year, 12, day).unwrap(), pin, jurisdiction, verdict: verdict.into(), reason, packets, bytes }
    }
}

prop_compose! {
    fn any_exemption()(
        id in text(),
        other in text(),
        confidential in any::<bool>(),
        quota_bytes in any::<Option<u64>>(),
        uses in prop::collection::vec((1..=28_i8, prop::option::of(1..=2_u32), any::<u64>(), any::<u64>()), 0..3),
        presumed in prop::collection::vec((1..=28_i8, any::<u64>()), 0..2),
        several in any::<bool>(),
    ) -> ExemptionEntry {
        // Two that only their numbers tell apart.
        let mut made = exemption(&id, &other);
        if several {
            made.recipients.push(made.recipients[0].clone());
        }
        let known = |number: Option<u32>| number.and_then(|it| Some((it, made.recipients.get(it as usize - 1)?)));
        let uses = uses.into_iter().map(|(day, number, packets, bytes)| DayUse {
            day: date(2026, 11, day),
            number: known(number).map(|(number, _)| number),
            recipient: known(number).map(|(_, it)| it.name.clone()),
            jurisdiction: known(number).map(|(_, it)| it.jurisdiction.clone()),
            packets,
            bytes,
        });
        let use_by_day = uses.collect();
        let presumed = presumed.into_iter().map(|(day, bytes)| DayPresumed { day: date(2026, 11, day), bytes });
        let presumed = presumed.collect();
        ExemptionEntry { confidential, quota_bytes, use_by_day, presumed, ..made }
    }
}

prop_compose! {
    /// Any report.
    pub(super) fn any_report()(
        host in text(),
        gaps in prop::collection::vec(text(), 0..2),
        unattributed in prop::collection::vec((text(), any::<u64>(), any::<u64>(), any::<bool>()), 0..2),
        pins in prop::collection::vec((text(), text()), 0..3),
        exemptions in prop::collection::vec(any_exemption(), 0..3),
        traffic in prop::collection::vec(any_row(), 0..12),
        redacted in any::<bool>(),
        long in any::<bool>(),
    ) -> Report {
        let until = if long { at("2028-01-01T00:00:00Z") } else { empty().until };
        let pins = pins.into_iter().map(|(name, home)| PinEntry { name, home }).collect();
        let of_none = unattributed.into_iter();
        let least = |is_exact: bool| (!is_exact).then_some(Counts { packets: 1, bytes: 0 });
        let of_pin = |(pin, packets, bytes, is_exact)| Unattributed { pin, packets, bytes, at_least: least(is_exact) };
        let unattributed = of_none.map(of_pin).collect();
        let organisation = Organisation { controller: Some(host.clone()), representative: Some(host.clone()), ..Organisation::default() };
        Report { mark: host.clone(), organisation, host, gaps, unattributed, pins, exemptions, traffic, redacted, until, ..empty() }
    }
}

/// What became of the exemption of [`receipt`]: it was loaded, and revoked.
fn history(loaded: Change) -> Vec<Change> {
    let revoked = Change {
        at: at("2026-11-30T00:00:00Z"),
        what: "revoke".into(),
        order: None,
        still_held: false,
        covers: None,
        name: None,
        document_sha256: None,
        signed_by: vec![],
        ..loaded.clone()
    };
    let document_sha256 = Some("ad".repeat(32));
    vec![Change { what: "load".into(), document_sha256, ..loaded }, revoked]
}

/// A receipt with one of everything.
pub(crate) fn receipt() -> Receipt {
    let entry = exemption("mlat-1", "a ");
    Receipt {
        schema: SCHEMA.into(),
        version: VERSION,
        host: "dublin-1".into(),
        made_at: at("2026-12-01T06:00:00Z"),
        program: Program {
            version: "0.1.0".into(),
            sha256: "cd".repeat(32),
            kernel_program_sha256: "ce".repeat(32),
        },
        tables: TableHashes { generation: 7, policy_sha256: "cf".repeat(32), geo_sha256: "d0".repeat(32) },
        signers: entry.approvals,
        orders: vec![Order {
            order: "High Court, 2026/5512".into(),
            kind: "stay".into(),
            covers: "pin".into(),
            name: "mail-ie".into(),
            at: at("2026-11-20T00:00:00Z"),
        }],
        history: history(entry.changes[0].clone()),
        recipients: entry.recipients,
        use_by_day: entry.use_by_day,
        packets: 20,
        bytes: 21_000,
        presumed_bytes: Some(64_000),
        gaps: vec!["3 outcomes were lost on 2026-11-07".into()],
        audit: AuditHead { sequence: 41, sha256: "ab".repeat(32), time: at("2026-12-01T06:00:00Z") },
        exemption: Exemption {
            id: entry.id,
            version: entry.version,
            state: "revoked".into(),
            confidential: false,
            document_sha256: "ac".repeat(32),
            pins: entry.pins,
            emergency: entry.emergency,
            purpose: entry.purpose,
            law: Some(entry.law),
            instrument: entry.instrument,
            exporter: entry.exporter,
            valid_from: entry.valid_from,
            valid_until: entry.valid_until,
            review_by: Some(at("2027-06-01T00:00:00Z")),
            quota_bytes: entry.quota_bytes,
        },
    }
}
