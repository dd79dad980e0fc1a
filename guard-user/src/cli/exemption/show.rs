//! Exemptions in words.

use std::collections::BTreeSet;
use std::io::{self, Write};

use jiff::Timestamp;

use super::when::{exactly, moment};
use super::who::who;
use crate::cli::check::counted;
use crate::cli::table::{plain, write_wrapped};
use crate::exemption::summary::{HIDDEN, OrderSummary, RecipientSummary};
use crate::exemption::{CHECK, OrderKind, REVIEW, State, Summary};
use crate::report::PRESUMED;
use crate::report::number::grouped;

/// Before the lines that follow the first one of a fact.
pub(super) const REST: &str = "           ";

/// Writes what one exemption allows, and, where it is loaded, what became of it.
///
/// # Errors
/// Where `out` can't be written.
pub fn one(summary: &Summary, now: Timestamp, out: &mut impl Write) -> io::Result<()> {
    let Summary { id, version, instrument, .. } = summary;
    let state = match summary.loaded_at {
        Some(_) => format!("{}, ", summary.state.name().replace('-', " ")),
        None => String::new(),
    };
    let secret = if summary.confidential { ", confidential" } else { "" };
    let urgent = if summary.emergency.is_some() { ", an emergency" } else { "" };
    let head = format!("{id}, version {version}{secret}{urgent}: {state}{}", instrument.kind);
    write_wrapped("", REST, &plain(&head), out)?;
    let mut line = |title: &str, value: &str| fact(title, value, out);
    if let Some(replaced) = summary.replaces {
        line("renews", &format!("version {replaced}"))?;
    }
    signed(summary, now, &mut line)?;
    if let (Some(at), Some(user)) = (summary.loaded_at, summary.loaded_by) {
        line("loaded", &format!("{} by {}", moment(at, now), who(user)))?;
    }
    if !summary.approved_by.is_empty() {
        line("approved", &format!("by {}", summary.approvers()))?;
    } else if summary.loaded_at.is_some() {
        line("approved", "by nobody: no approval was required when it was loaded")?;
    }
    for order in &summary.orders {
        let title = if summary.state == State::Stayed { "stayed" } else { "order" };
        line(title, &of_order(order, now))?;
    }
    // When the review is due stands with the assessment.
    for due in summary.due.iter().filter(|due| due.what != REVIEW) {
        let late = if due.by <= now { "OVERDUE, " } else { "" };
        line("due", &format!("{}, {late}before {}", due.what, exactly(due.by, now)))?;
    }
    for done in &summary.done {
        let of =
            if done.version == *version { String::new() } else { format!(" (version {})", done.version) };
        line("done", &format!("{}{of}, {}: {}", done.what, moment(done.on, now), done.why))?;
    }
    if let Some(revoked) = &summary.revoked {
        line("revoked", &format!("{} by {}: {}", moment(revoked.at, now), who(revoked.by), revoked.why))?;
    }
    Ok(())
}

/// All that a document says and approvers sign. Each free text ends its line, and each of several has a line of its own, so
/// that none can look like what stands beside it.
fn signed(
    summary: &Summary,
    now: Timestamp,
    line: &mut impl FnMut(&str, &str) -> io::Result<()>,
) -> io::Result<()> {
    let act = &summary.instrument;
    line("act", &act.name)?;
    line("article", &act.article)?;
    line("case", &act.reference)?;
    line("issuer", &act.authority)?;
    act.agreement.iter().try_for_each(|agreement| line("under", agreement))?;
    act.document_sha256.iter().try_for_each(|digest| line("act hash", digest))?;
    line("ground", &format!("{} and {}", act.ground, act.basis))?;
    summary.emergency.iter().try_for_each(|why| line("urgent", &format!("opened as an emergency: {why}")))?;
    line("for", &summary.purpose)?;
    summary.data_categories.iter().try_for_each(|category| line("data", category))?;
    line(if summary.pins.len() == 1 { "pin" } else { "pins" }, &summary.pins.join(", "))?;
    if !summary.hosts.is_empty() {
        line(if summary.hosts.len() == 1 { "host" } else { "hosts" }, &summary.hosts.join(", "))?;
    }
    line("sender", &format!("{}, {}", summary.exporter.role, summary.exporter.name))?;
    line("contact", &summary.exporter.contact)?;
    for recipient in &summary.recipients {
        line("to", &recipient.name)?;
        line("at", &reach(recipient))?;
        recipient.large_network.iter().try_for_each(|why| line("large", why))?;
        if summary.loaded_at.is_some() && summary.recipients.len() > 1 {
            line("got", &wire(recipient.used_bytes, recipient.used_packets))?;
        }
    }
    line("from", &exactly(summary.valid_from, now))?;
    line("until", &exactly(summary.valid_until, now))?;
    line("bytes", &bytes(summary))?;
    let rest = summary.unattributed_bytes.saturating_sub(summary.presumed_bytes);
    if (rest, summary.unattributed_packets) != (0, 0) {
        let rest = wire(rest, summary.unattributed_packets);
        line("of these", &format!("{rest}, not counted by recipient"))?;
    }
    if summary.presumed_bytes > 0 {
        let presumed = grouped(summary.presumed_bytes);
        line(
            "of these",
            &format!("{presumed} {PRESUMED}: the host went down, and no recipient is known to have them"),
        )?;
    }
    if let Some(assessment) = &summary.assessment {
        line("assessed", &assessment.reference)?;
        assessment.measures.iter().try_for_each(|measure| line("measure", measure))?;
        let review = assessment.review_by.map(|by| exactly(by, now));
        review.iter().try_for_each(|by| line("review", &format!("before {by}")))?;
    }
    summary.particulars.iter().try_for_each(|it| line("further", &format!("{}: {}", it.key, it.value)))?;
    summary.submitter.iter().try_for_each(|author| line("author", author))?;
    if !summary.required.is_empty() {
        let signers = summary.required.iter().map(|it| format!("{} as {}", it.count, it.role));
        line("needs", &format!("signatures, {}", signers.collect::<Vec<_>>().join(", ")))?;
    }
    match summary.sha256.as_str() {
        "" => Ok(()),
        digest => line("sha256", digest),
    }
}

/// When an order was given and by whom, its reference, and what it covers beside this exemption.
pub(super) fn of_order(order: &OrderSummary, now: Timestamp) -> String {
    let OrderSummary { order, kind, covers, name, at, by } = order;
    let by = who(*by);
    if kind == OrderKind::Fallen.name() {
        return format!("{} by {by}: the instrument \"{name}\" has fallen: {order}", moment(*at, now));
    }
    if kind == OrderKind::RevokedKey.name() {
        return format!("{} by {by}: the key {name} is revoked: {order}", moment(*at, now));
    }
    let on = match covers.as_str() {
        "exemption" => String::new(),
        "all" => ", on every exemption".to_owned(),
        covers => format!(", on the {covers} \"{name}\""),
    };
    format!("{} by {by}: {order}{on}", moment(*at, now))
}

/// Writes one line of what is known of an exemption.
///
/// # Errors
/// Where `out` can't be written.
pub(super) fn fact(title: &str, value: &str, out: &mut impl Write) -> io::Result<()> {
    write_wrapped(&format!("  {title:<8} "), REST, &plain(value), out)
}

fn reach(recipient: &RecipientSummary) -> String {
    let RecipientSummary { jurisdiction, cidrs, anywhere, ports, .. } = recipient;
    let whom = match cidrs.is_empty() {
        true => format!("anybody in {jurisdiction}"),
        false if *anywhere => {
            format!("{} in {jurisdiction}, wherever they are placed", cidrs.join(", "))
        }
        false => format!("{} in {jurisdiction}", cidrs.join(", ")),
    };
    match ports.is_empty() {
        true => format!("{whom}, any port"),
        false => format!("{whom}, {}", ports.join(", ")),
    }
}

/// Writes all exemptions, those that can let something through first.
///
/// # Errors
/// Where `out` can't be written.
pub fn list(summaries: &[Summary], now: Timestamp, out: &mut impl Write) -> io::Result<()> {
    if summaries.is_empty() {
        return writeln!(out, "no exemptions: everything that a pin forbids stays forbidden");
    }
    let closed = |summary: &Summary| summary.state.is_closed();
    let (shut, open): (Vec<&Summary>, Vec<&Summary>) = summaries.iter().partition(|summary| closed(summary));
    for summary in open.iter().chain(&shut) {
        one(summary, now, out)?;
        writeln!(out)?;
    }
    writeln!(out, "{} open, {} closed", open.len(), shut.len())
}

/// Writes what has to be done and by when, the earliest first; what an earlier version asks for alone with its number, and
/// what the exemption's own end comes before as needed only if it is renewed. Exemptions of which the reader may not see what
/// is due follow by their ids, and the counts say that they are without them.
///
/// # Errors
/// Where `out` can't be written.
pub fn due(summaries: &[Summary], now: Timestamp, out: &mut impl Write) -> io::Result<()> {
    let all = all_due(summaries);
    let unseen: BTreeSet<&str> =
        summaries.iter().filter(|it| it.is_redacted()).map(|it| it.id.as_str()).collect();
    if all.is_empty() && unseen.is_empty() {
        return writeln!(out, "nothing is due");
    }
    for (by, summary, what) in &all {
        let late = if *by <= now { "OVERDUE, " } else { "" };
        let is_last = !summaries.iter().any(|it| it.id == summary.id && it.version > summary.version);
        let of = if is_last { String::new() } else { format!(" version {}", summary.version) };
        let renewed = if is_for_renewal(summary, what, *by) { ", if it is renewed" } else { "" };
        let text = format!("{}{of}: {what}, {late}before {}{renewed}", summary.id, moment(*by, now));
        write_wrapped("", REST, &plain(&text), out)?;
    }
    for id in &unseen {
        write_wrapped("", REST, &plain(&format!("{id}: {HIDDEN}")), out)?;
    }
    let late = all.iter().filter(|(by, ..)| *by <= now).count();
    let without = match unseen.len() {
        0 => String::new(),
        count => {
            format!(
                ", without what is due of {}, which you may not see",
                counted(count, "confidential exemption")
            )
        }
    };
    let text = format!("{} due, {late} of them overdue{without}", all.len());
    write_wrapped("", REST, &text, out)
}

/// Whether this is needed only if the exemption is renewed: a review, or the check of a certification, whose moment is not
/// before the exemption's own end.
pub(super) fn is_for_renewal(summary: &Summary, what: &str, by: Timestamp) -> bool {
    (what == REVIEW || what == CHECK) && by >= summary.valid_until
}

/// All that is due, the earliest first. Each has the highest version that asks for it.
pub(super) fn all_due(summaries: &[Summary]) -> Vec<(Timestamp, &Summary, &str)> {
    let mut all: Vec<_> = summaries
        .iter()
        .flat_map(|it| it.due.iter().map(move |due| (due.by, it, due.what.as_str())))
        .collect();
    all.sort_by(|one, other| (one.0, &one.1.id, one.2).cmp(&(other.0, &other.1.id, other.2)));
    all
}

fn wire(bytes: u64, packets: u64) -> String {
    format!("{} on the wire, in {} packets", grouped(bytes), grouped(packets))
}

fn bytes(summary: &Summary) -> String {
    let used = (summary.used_bytes, summary.used_packets);
    match (summary.quota_bytes, summary.loaded_at) {
        (Some(quota), None) => format!("at most {} on the wire", grouped(quota)),
        (None, None) => "without bound".to_owned(),
        (Some(quota), Some(_)) => {
            format!(
                "{} of {} on the wire used, in {} packets",
                grouped(used.0),
                grouped(quota),
                grouped(used.1)
            )
        }
        (None, Some(_)) => {
            format!("without bound; {} on the wire used, in {} packets", grouped(used.0), grouped(used.1))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::exemption::summary::{
        AssessmentSummary, DueSummary, ExporterSummary, InstrumentSummary, RequiredSummary, RevokedSummary,
    };

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    pub(in super::super) fn summary() -> Summary {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let recipient = |name: &str, country: &str, cidrs: &[&str], ports: &[&str]| RecipientSummary {
            name: name.to_owned(),
            jurisdiction: country.to_owned(),
            cidrs: texts(cidrs),
            anywhere: false,
            large_network: None,
            ports: texts(ports),
            used_bytes: if name == "Partner" { 1_234_000 } else { 500 },
            used_packets: 400,
        };
        Summary {
            id: "m-1".into(),
            version: 2,
            state: State::Active,
            replaces: Some(1),
            confidential: false,
            instrument: InstrumentSummary {
                kind: "scc".into(),
                name: "Clauses with Partner".into(),
                ground: "art-46-2-c".into(),
                basis: "art-6-1-f".into(),
                authority: "European Commission".into(),
                reference: "clauses of 2026-05-01".into(),
                agreement: Some("Agreement 7".into()),
                article: "Art. 46(2)(c)".into(),
                document_sha256: None,
            },
            hosts: Vec::new(),
            emergency: None,
            purpose: "Support".into(),
            data_categories: texts(&["tickets", "logs"]),
            exporter: ExporterSummary {
                name: "Example Ltd".into(),
                role: "controller".into(),
                contact: "privacy@example.org".into(),
            },
            assessment: Some(AssessmentSummary {
                reference: "TIA-7".into(),
                review_by: Some(time("2026-12-04T00:00:00Z")),
                measures: texts(&["encryption", "split processing"]),
            }),
            submitter: Some("aoife@example.org".into()),
            required: vec![RequiredSummary { role: "legal".into(), count: 2 }],
            pins: vec!["mail".into(), "files".into()],
            recipients: vec![
                recipient("Partner", "US", &["198.51.100.0/24", "2001:db8:20::/48"], &["tcp/443", "udp/443"]),
                recipient("Offices", "CH", &[], &[]),
            ],
            valid_from: time("2026-12-01T08:00:00Z"),
            valid_until: time("2026-12-02T00:45:10Z"),
            quota_bytes: Some(5_000_000),
            used_bytes: 1_234_567,
            used_packets: 890,
            unattributed_bytes: 67,
            unattributed_packets: 90,
            presumed_bytes: 0,
            slot: Some(3),
            loaded_at: Some(time("2026-11-30T00:00:00Z")),
            loaded_by: Some(4_000_001_001),
            revoked: None,
            stayed: None,
            orders: Vec::new(),
            particulars: vec![crate::exemption::summary::ParticularSummary {
                key: "duty 1: what".into(),
                value: "tell-authority".into(),
            }],
            due: vec![DueSummary { what: "tell-authority".into(), by: time("2026-12-03T00:00:00Z") }],
            done: Vec::new(),
            sha256: "07".repeat(32),
            approved_by: Vec::new(),
            approved_as: Vec::new(),
        }
    }

    #[test]
    fn one_exemption_is_shown_with_all_that_it_allows_and_did() {
        let mut revoked = summary();
        revoked.state = State::Revoked;
        revoked.quota_bytes = None;
        revoked.id = "a".into();
        let why = "stayed\u{1b}[31m\nx".to_owned();
        revoked.revoked = Some(RevokedSummary { at: time("2026-12-02T00:00:00Z"), why, by: 0 });
        let mut out = Vec::new();
        list(&[revoked, summary()], time("2026-12-02T00:00:00Z"), &mut out).unwrap();
        let common = "  renews   version 1
  act      Clauses with Partner
  article  Art. 46(2)(c)
  case     clauses of 2026-05-01
  issuer   European Commission
  under    Agreement 7
  ground   art-46-2-c and art-6-1-f
  for      Support
  data     tickets
  data     logs
  pins     mail, files
  sender   controller, Example Ltd
  contact  privacy@example.org
  to       Partner
  at       198.51.100.0/24, 2001:db8:20::/48 in US, tcp/443, udp/443
  got      1,234,000 on the wire, in 400 packets
  to       Offices
  at       anybody in CH, any port
  got      500 on the wire, in 400 packets
  from     2026-12-01 08:00:00 UTC (16 hours ago)
  until    2026-12-02 00:45:10 UTC (in 45 minutes)
";
        let assessed = "  of these 67 on the wire, in 90 packets, not counted by recipient
  assessed TIA-7
  measure  encryption
  measure  split processing
  review   before 2026-12-04 00:00:00 UTC (in 2 days)
  further  duty 1: what: tell-authority
  author   aoife@example.org
  needs    signatures, 2 as legal
  sha256   0707070707070707070707070707070707070707070707070707070707070707
  loaded   2026-11-30 00:00:00 UTC (2 days ago) by the user 4000001001
  approved by nobody: no approval was required when it was loaded
  due      tell-authority, before 2026-12-03 00:00:00 UTC (in 1 day)
";
        let expected = format!(
            "m-1, version 2: active, scc
{common}  bytes    1,234,567 of 5,000,000 on the wire used, in 890 packets
{assessed}
a, version 2: revoked, scc
{common}  bytes    without bound; 1,234,567 on the wire used, in 890 packets
{assessed}  revoked  2026-12-02 00:00:00 UTC (now) by root (0): stayed\\u{{1b}}[31m\\nx

1 open, 1 closed
"
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn what_is_due_is_listed_by_day_with_what_is_late_and_of_which_version() {
        let now = time("2026-12-02T00:00:00Z");
        let with = |id: &str, version: u32, due: &[(&str, &str)]| {
            let due = due.iter().map(|(what, by)| DueSummary { what: (*what).into(), by: time(by) });
            Summary { id: id.into(), version, due: due.collect(), ..summary() }
        };
        let all = [
            with("a", 1, &[("tell-authority", "2026-12-01T00:00:00Z")]),
            with("a", 2, &[("delete", "2028-01-01T00:00:00Z")]),
            with("b", 1, &[("answer", "2026-12-05T00:00:00Z"), ("tell-subjects", "2026-12-02T00:00:00Z")]),
        ];
        let mut out = Vec::new();
        due(&all, now, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "a version 1: tell-authority, OVERDUE, before 2026-12-01 00:00:00 UTC (1 day ago)\n\
             b: tell-subjects, OVERDUE, before 2026-12-02 00:00:00 UTC (now)\n\
             b: answer, before 2026-12-05 00:00:00 UTC (in 3 days)\n\
             a: delete, before 2028-01-01 00:00:00 UTC (in 395 days)\n\
             4 due, 2 of them overdue\n"
        );
        let mut out = Vec::new();
        due(&all[..0], now, &mut out).unwrap();
        assert_eq!(out, b"nothing is due\n");
    }

    #[test]
    fn what_is_due_of_confidential_ones_is_told_to_be_left_out_and_not_counted_as_none() {
        let now = time("2026-12-02T00:00:00Z");
        let told = |all: &[Summary]| {
            let mut out = Vec::new();
            due(all, now, &mut out).unwrap();
            String::from_utf8(out).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let secret = |id: &str, version: u32| {
            Summary { id: id.into(), version, confidential: true, ..summary() }.redacted()
        };
        let open = Summary { id: "z".into(), ..summary() };
        assert_eq!(
            told(&[secret("art49-2", 1), open, secret("art49-2", 2), secret("b", 1)]),
            "z: tell-authority, before 2026-12-03 00:00:00 UTC (in 1 day) art49-2: (confidential) b: (confidential) \
             1 due, 0 of them overdue, without what is due of 2 confidential exemptions, which you may not see"
        );
        assert_eq!(
            told(&[secret("b", 1)]),
            "b: (confidential) 0 due, 0 of them overdue, without what is due of 1 confidential exemption, which you may \
             not see"
        );
        let read = told(&[Summary { confidential: true, ..summary() }]);
        assert!(read.ends_with("1 due, 0 of them overdue"), "{read}");
    }

    #[test]
    fn what_the_own_end_of_an_exemption_comes_before_is_due_only_if_it_is_renewed() {
        let now = time("2026-12-02T00:00:00Z");
        let until = summary().valid_until;
        let earlier = until - jiff::SignedDuration::from_nanos(1);
        for (what, by, is_marked) in [
            (REVIEW, until, true),
            (CHECK, until, true),
            (REVIEW, earlier, false),
            (CHECK, earlier, false),
            ("delete", until, false),
            ("tell-authority", until, false),
        ] {
            let due_of = vec![DueSummary { what: what.into(), by }];
            let mut out = Vec::new();
            due(&[Summary { due: due_of, ..summary() }], now, &mut out).unwrap();
            let text = String::from_utf8_lossy(&out).split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(text.contains("if it is renewed"), is_marked, "{text}");
        }
    }

    #[test]
    fn a_list_of_none_says_what_that_means() {
        let mut out = Vec::new();
        list(&[], time("2026-12-02T00:00:00Z"), &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().starts_with("no exemptions: "));
    }
}
