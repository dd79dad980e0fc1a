//! What a pin has come to, as text and as JSON.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::readiness::days;
use super::report::{Covers, Gathered};
use super::violations::Peer;
use crate::cli::differences::{amount, write_kind};
use crate::cli::table::{self, numbers, plain, words, write_wrapped};
use crate::daemon::action_name;
use crate::daemon::gaps::Gap;
use crate::report::number::{bytes, grouped};
use crate::simulate::{Amount, Kind};

/// Peers, senders and gaps that text shows, the greatest or the latest; JSON has all.
const SHOWN: usize = 10;

/// The greatest first, by bytes.
fn greatest<K>(sums: &BTreeMap<K, Amount>) -> Vec<(&K, &Amount)> {
    let mut all: Vec<_> = sums.iter().collect();
    all.sort_by_key(|(_, amount)| Reverse(amount.bytes));
    all
}

fn with(mut object: Value, amount: Amount) -> Value {
    if let (Value::Object(object), Value::Object(amount)) = (&mut object, json!(amount)) {
        object.extend(amount);
    }
    object
}

fn moment(time: Option<Timestamp>) -> Value {
    time.map_or(Value::Null, |time| time.to_string().into())
}

fn seconds(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "?".to_owned(), |time| format!("{time:.0}"))
}

impl Gathered {
    /// All of it as one object.
    pub(super) fn json(&self) -> Map<String, Value> {
        let Self { evidence, violations, .. } = self;
        let reasons = self.reasons.iter().map(|it| json!({ "code": it.code(), "message": it.to_string() }));
        let gap = |it: &Gap| json!({ "from": moment(it.from), "until": moment(it.until), "what": it.words });
        let by_reason = violations.reasons.iter().map(|((verdict, reason), (amount, last))| {
            with(json!({ "verdict": verdict, "reason": reason, "last": moment(*last) }), *amount)
        });
        let peers = greatest(&violations.peers).into_iter().map(|(peer, amount)| {
            let Peer { jurisdiction, address, service } = peer;
            let known = |text: &String| (!text.is_empty()).then(|| text.clone());
            let peer =
                json!({ "jurisdiction": jurisdiction, "address": known(address), "service": known(service) });
            with(peer, *amount)
        });
        let senders = greatest(&violations.senders);
        let senders = senders.into_iter().map(|(sender, amount)| with(json!({ "sender": sender }), *amount));
        let exemptions = self.exemptions.iter().map(|Covers { summary, amount }| {
            json!({
                "id": summary.id, "valid_until": summary.valid_until.to_string(), "quota_bytes": summary.quota_bytes,
                "used_bytes": summary.used_bytes, "would_let_pass": amount,
            })
        });
        let object = json!({
            "pin": self.pin,
            "action": action_name(self.action),
            "observes": self.observes,
            "to": action_name(self.to),
            "ready": self.reasons.is_empty(),
            "reasons": reasons.collect::<Vec<_>>(),
            "since": moment(evidence.since),
            "at_least": evidence.at_least,
            "seen_seconds": evidence.seen.as_secs(),
            "gaps": evidence.gaps.iter().map(gap).collect::<Vec<_>>(),
            "violations": {
                "total": violations.total(),
                "by_reason": by_reason.collect::<Vec<_>>(),
                "peers": peers.collect::<Vec<_>>(),
                "senders": senders.collect::<Vec<_>>(),
                "missing": violations.missing,
            },
            "recent": self.recent,
            "exemptions": exemptions.collect::<Vec<_>>(),
            "new_drops": self.new_drops,
            "simulate": self.simulated.json(),
        });
        match object {
            Value::Object(object) => object,
            _ => Map::new(),
        }
    }

    /// Writes it for people.
    ///
    /// # Errors
    /// Where `out` can't be written.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let (is, to) = (action_name(self.action), action_name(self.to));
        let counts = if self.observes { ", which counts as observe" } else { "" };
        let line = format!("the pin {}: {is} now{counts}, {to} next", self.pin);
        write_wrapped("", "  ", &plain(&line), out)?;
        self.write_evidence(out)?;
        self.write_violations(out)?;
        self.write_exemptions(out)?;
        writeln!(out)?;
        for kind in [Kind::Drops, Kind::Flags] {
            write_kind(kind, self.simulated.sums().of(kind), self.simulated.sums(), out)?;
        }
        write_wrapped("", "  ", &format!("of the last 24 hours: {}", amount(self.recent)), out)?;
        write_wrapped("", "  ", &self.drops_words, out)?;
        writeln!(out)?;
        match self.reasons.is_empty() {
            true => writeln!(out, "READY for {to}"),
            false => {
                writeln!(out, "NOT READY for {to}")?;
                let mut reasons = self.reasons.iter();
                reasons.try_for_each(|it| write_wrapped("- ", "  ", &plain(&it.to_string()), out))
            }
        }
    }

    fn write_evidence(&self, out: &mut impl Write) -> io::Result<()> {
        let it = &self.evidence;
        let line = match it.since {
            Some(since) => format!(
                "judged as it is since {since:.0}; with guard and daemon for {} of that",
                days(it.seen)
            ),
            None => "since when it is judged as it is, the audit trail does not say".to_owned(),
        };
        write_wrapped("", "  ", &line, out)?;
        if let Some(why) = &it.at_least {
            write_wrapped("", "  ", &plain(&format!("it may be so for longer: {why}")), out)?;
        }
        writeln!(
            out,
            "gaps in that time: {}",
            if it.gaps.is_empty() { "none".to_owned() } else { grouped(it.gaps.len() as u64) }
        )?;
        for gap in it.gaps.iter().rev().take(SHOWN) {
            write_wrapped("- ", "  ", &plain(&gap.words), out)?;
        }
        Ok(())
    }

    fn write_violations(&self, out: &mut impl Write) -> io::Result<()> {
        let it = &self.violations;
        writeln!(out)?;
        writeln!(out, "forbidden in that time: {}", amount(it.total()))?;
        if it.missing > 0 {
            let line = format!("{} events are missing, of this pin or of others", grouped(it.missing));
            write_wrapped("", "  ", &line, out)?;
        }
        let of = |amount: &Amount| [grouped(amount.flows), grouped(amount.packets), bytes(amount.bytes)];
        let counted = [numbers("flows"), numbers("packets"), numbers("bytes")];
        let [flows, packets, size] = counted;
        if !it.reasons.is_empty() {
            let row =
                |((verdict, reason), (amount, last)): (&(String, String), &(Amount, Option<Timestamp>))| {
                    let [flows, packets, bytes] = of(amount);
                    [verdict.clone(), reason.clone(), flows, packets, bytes, seconds(*last)]
                };
            let rows: Vec<_> = it.reasons.iter().map(row).collect();
            let columns = [words("verdict"), words("reason"), flows, packets, size, words("last")];
            table::write(out, columns, &rows)?;
        }
        if !it.peers.is_empty() {
            let row = |(peer, amount): (&Peer, &Amount)| {
                let known = |text: &str| if text.is_empty() { "?".to_owned() } else { text.to_owned() };
                let [flows, packets, bytes] = of(amount);
                let (address, service) = (known(&peer.address), known(&peer.service));
                [known(&peer.jurisdiction), address, service, flows, packets, bytes]
            };
            let rows: Vec<_> = greatest(&it.peers).into_iter().take(SHOWN).map(row).collect();
            writeln!(out)?;
            table::write(out, [words("in"), words("peer"), words("service"), flows, packets, size], &rows)?;
            more(it.peers.len(), out)?;
        }
        if !it.senders.is_empty() {
            let row = |(sender, amount): (&String, &Amount)| {
                let [flows, packets, bytes] = of(amount);
                [flows, packets, bytes, sender.clone()]
            };
            let rows: Vec<_> = greatest(&it.senders).into_iter().take(SHOWN).map(row).collect();
            writeln!(out)?;
            table::write(out, [flows, packets, size, words("sent by")], &rows)?;
            more(it.senders.len(), out)?;
        }
        Ok(())
    }

    fn write_exemptions(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out)?;
        writeln!(out, "exemptions that are open for it: {}", grouped(self.exemptions.len() as u64))?;
        for Covers { summary, amount: covered } in &self.exemptions {
            let line = format!(
                "{} until {:.0}: {} let through, and of what was seen it would let pass {}",
                summary.id,
                summary.valid_until,
                bytes(summary.used_bytes),
                amount(*covered)
            );
            write_wrapped("- ", "  ", &plain(&line), out)?;
        }
        Ok(())
    }
}

fn more(all: usize, out: &mut impl Write) -> io::Result<()> {
    match all.saturating_sub(SHOWN) {
        0 => Ok(()),
        more => writeln!(out, "  and {} more (--json has all)", grouped(more as u64)),
    }
}
