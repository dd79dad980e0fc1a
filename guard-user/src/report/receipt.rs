//! A receipt: what one exemption that is closed has let through, to whom and on whose approval, in a form that outlives
//! this program. docs/receipt.md and docs/receipt.schema.json have the form.
//!
//! It is JSON with a fixed order of keys, written in one way alone: [`Receipt::read`] refuses any other, so that nothing
//! hides in white space, double keys or spellings. What is signed and stamped are the file's bytes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::model::{
    ApprovalEntry, AuditHead, Change, DayUse, ExporterEntry, InstrumentEntry, RecipientEntry,
};
use crate::exemption::State;

/// What stands in the key `schema`.
pub const SCHEMA: &str = "borderguard-receipt";
/// The version of the form.
pub const VERSION: u32 = 1;
/// Bytes of a receipt's file, at most.
pub const RECEIPT_BYTES: usize = 16 << 20;

/// A receipt of one version of an exemption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`VERSION`].
    pub version: u32,
    /// The host's name: whose key signs it.
    pub host: String,
    /// When it was made, by the host's clock.
    pub made_at: Timestamp,
    /// The program that guarded when it was made.
    pub program: Program,
    /// The tables that were live when it was made.
    pub tables: TableHashes,
    /// What it is of.
    pub exemption: Exemption,
    /// Whose signatures over the document were verified when it was loaded; empty where none were required.
    pub signers: Vec<ApprovalEntry>,
    /// The orders that cover it and stand, the oldest first.
    pub orders: Vec<Order>,
    /// What became of it, as the audit trail has it.
    pub history: Vec<Change>,
    /// Who was allowed to receive.
    pub recipients: Vec<RecipientEntry>,
    /// What it let through by day and recipient; days without any are left out.
    #[serde(rename = "use")]
    pub use_by_day: Vec<DayUse>,
    /// The sum of these packets.
    pub packets: u64,
    /// The sum of these bytes on the wire.
    pub bytes: u64,
    /// Where the counts or the history may miss something, a sentence each.
    pub gaps: Vec<String>,
    /// The last record of the audit trail, which is that this receipt was given.
    pub audit: AuditHead,
}

/// What a receipt is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exemption {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: u32,
    /// Its state, one in which nothing passes any more.
    pub state: String,
    /// Whether its text is confidential, and so this receipt.
    pub confidential: bool,
    /// SHA-256 of the document's file, as `sha256sum` prints it.
    pub document_sha256: String,
    /// The pins that it covered.
    pub pins: Vec<String>,
    /// Why it was opened as an emergency, by fewer or other approvals than the rules ask for; left out where it was not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub emergency: String,
    /// What it was for.
    pub purpose: String,
    /// The legal act.
    pub instrument: InstrumentEntry,
    /// Who sent.
    pub exporter: ExporterEntry,
    /// First moment of its validity.
    pub valid_from: Timestamp,
    /// First moment after its validity.
    pub valid_until: Timestamp,
    /// When its assessment had to be reviewed, which closed it where nobody did; left out where the document names no time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_by: Option<Timestamp>,
    /// Bytes on the wire that it might let through; null for no bound.
    pub quota_bytes: Option<u64>,
}

/// An order that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Its reference.
    pub order: String,
    /// `stay`, `fallen` or `revoked-key`.
    pub kind: String,
    /// What it covers: `exemption`, `pin`, `recipient`, `instrument`, `key` or `all`.
    pub covers: String,
    /// The name of that; empty for all.
    pub name: String,
    /// When it was given.
    pub at: Timestamp,
}

/// The program that guarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Its version.
    pub version: String,
    /// SHA-256 of the executable that the daemon runs; empty where it can't be read any more.
    pub sha256: String,
    /// SHA-256 of the kernel program's object in it.
    pub kernel_program_sha256: String,
}

/// The tables that the kernel judges by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableHashes {
    /// The generation's number.
    pub generation: u64,
    /// SHA-256 of the table of policy and exemptions.
    pub policy_sha256: String,
    /// SHA-256 of the tables that place addresses.
    pub geo_sha256: String,
}

/// Why a file is not a receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a receipt: {reason}")]
pub struct NotAReceipt {
    /// What is wrong with it.
    pub reason: String,
}

impl Receipt {
    /// The file's text, with a line break at its end.
    ///
    /// # Errors
    /// Where a value can't be written as JSON, which none of these is.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| format!("{text}\n"))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Where it is of another form or version, is written in another way than [`text`](Self::text) writes it, is of what was
    /// not closed, has a row of nobody who might receive, or two of its figures do not agree.
    pub fn read(bytes: &[u8]) -> Result<Self, NotAReceipt> {
        let bad = |reason: String| NotAReceipt { reason };
        if bytes.len() > RECEIPT_BYTES {
            return Err(bad(format!("it has more than {RECEIPT_BYTES} bytes")));
        }
        let receipt: Self = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
        if (receipt.schema.as_str(), receipt.version) != (SCHEMA, VERSION) {
            let Self { schema, version, .. } = receipt;
            return Err(bad(format!(
                "it is of the form \"{}\" {version}, and this program reads \"{SCHEMA}\" {VERSION}",
                schema.escape_debug()
            )));
        }
        if receipt.text().map_err(|error| bad(error.to_string()))?.as_bytes() != bytes {
            return Err(bad("it is not written as receipts are".to_owned()));
        }
        let state = receipt.exemption.state.as_str();
        if !State::LIFE.iter().any(|closed| closed.is_closed() && closed.name() == state) {
            let state = state.escape_debug();
            return Err(bad(format!(
                "its exemption is \"{state}\", and only of what is closed there is one"
            )));
        }
        if let Some(row) = receipt.use_by_day.iter().find(|row| !receipt.has_recipient_of(row)) {
            let count = receipt.recipients.len();
            return Err(bad(format!(
                "a row of {} is of none of its recipients, of which it has {count}",
                row.day
            )));
        }
        match receipt.disagreement() {
            Some(which) => Err(bad(format!("its figures do not agree: {which}"))),
            None => Ok(receipt),
        }
    }

    /// The first two of its figures that do not agree, in words. Times of the host's clock are held against each other only where
    /// the daemon writes them in order, for that clock may have been set back.
    fn disagreement(&self) -> Option<String> {
        let Self { made_at, orders, history, use_by_day, audit, .. } = self;
        let Exemption { state, valid_from, valid_until, quota_bytes, .. } = &self.exemption;
        let sum = |of: fn(&DayUse) -> u64| use_by_day.iter().map(of).fold(0_u64, u64::saturating_add);
        let sums =
            [("packets", self.packets, sum(|row| row.packets)), ("bytes", self.bytes, sum(|row| row.bytes))];
        if let Some((what, all, rows)) = sums.into_iter().find(|(_, all, rows)| all != rows) {
            return Some(format!("it has {all} {what} in all, and the sum of its rows is {rows}"));
        }
        let over = |quota: &u64| self.bytes > *quota;
        if let Some(quota) = quota_bytes.filter(over) {
            return Some(format!("it has {} bytes in all, and the quota is {quota}", self.bytes));
        }
        if self.packets > self.bytes {
            return Some(format!("it has {} packets, and {} bytes", self.packets, self.bytes));
        }
        if state == State::Exhausted.name() && quota_bytes.is_none() {
            return Some(format!("it is \"{state}\", and has no quota"));
        }
        if valid_from >= valid_until {
            return Some(format!("the window is from {valid_from}, and until {valid_until}"));
        }
        let backwards = |what: &str, (one, next): (Timestamp, Timestamp)| {
            format!("its {what} has one of {next} behind one of {one}")
        };
        if let Some((one, next)) = neighbours(orders).find(|(one, next)| next.at < one.at) {
            return Some(backwards("list of orders", (one.at, next.at)));
        }
        if let Some((one, next)) = neighbours(history).find(|(one, next)| next.at < one.at) {
            return Some(backwards("history", (one.at, next.at)));
        }
        if audit.time > *made_at {
            return Some(format!(
                "it was made at {made_at}, and knows a record of the audit trail of {}",
                audit.time
            ));
        }
        // What is attributed to none is a day's last row; receipts of earlier versions may have two of these.
        let place = |row: &DayUse| (row.day, row.number.unwrap_or(u32::MAX));
        let is_misplaced = |one: &DayUse, next: &DayUse| match next.number {
            Some(_) => place(next) <= place(one),
            None => place(next) < place(one),
        };
        let (one, next) = neighbours(use_by_day).find(|(one, next)| is_misplaced(one, next))?;
        let words = |row: &DayUse| match row.number {
            Some(number) => format!("{}, recipient {number}", row.day),
            None => row.day.to_string(),
        };
        Some(format!("its use has a row of {} behind one of {}", words(next), words(one)))
    }

    /// Whether the recipient of a row, where it has one, is among those who might receive.
    fn has_recipient_of(&self, row: &DayUse) -> bool {
        let is_it = |it: &RecipientEntry| {
            row.recipient.as_ref().is_none_or(|name| *name == it.name)
                && row.jurisdiction.as_ref().is_none_or(|place| *place == it.jurisdiction)
        };
        match row.number {
            Some(number) => {
                let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
                at.and_then(|at| self.recipients.get(at)).is_some_and(is_it)
            }
            // Earlier versions named the only one without its number.
            None => row.recipient.is_none() || self.recipients.iter().any(is_it),
        }
    }
}

/// Each item with the one behind it.
fn neighbours<T>(items: &[T]) -> impl Iterator<Item = (&T, &T)> {
    items.iter().zip(items.iter().skip(1))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::super::tests::sample::receipt;
    use super::*;

    /// Whoever signed it. What the daemon writes agrees: a quota that is spent to its last byte, several recipients on one day, what
    /// is attributed to none, and no use at all.
    #[test]
    fn a_receipt_whose_figures_do_not_agree_is_none_and_both_are_named() {
        let read = |receipt: &Receipt| {
            Receipt::read(receipt.text().unwrap().as_bytes()).map_err(|error| error.to_string())
        };
        let mut good = receipt();
        let second = RecipientEntry { name: "second".to_owned(), ..good.recipients[0].clone() };
        good.recipients.push(second);
        let row = |day: i8, number: Option<u32>| DayUse {
            day: date(2026, 11, day),
            number,
            recipient: None,
            jurisdiction: None,
            packets: 20,
            bytes: 21_000,
        };
        good.use_by_day =
            vec![row(2, Some(1)), row(2, Some(2)), row(2, None), row(3, Some(2)), row(4, None), row(4, None)];
        (good.packets, good.bytes) = (120, 126_000);
        good.exemption.state = "exhausted".to_owned();
        good.exemption.quota_bytes = Some(126_000);
        good.orders.push(good.orders[0].clone());
        good.history.push(good.history[0].clone());
        assert_eq!(read(&good).as_ref(), Ok(&good));
        let nothing = Receipt { use_by_day: vec![], packets: 0, bytes: 0, ..good.clone() };
        assert_eq!(read(&nothing).as_ref(), Ok(&nothing));
        type Forge = fn(&mut Receipt);
        let forged: [(Forge, &str); 12] = [
            (|it| it.packets = 121, "it has 121 packets in all, and the sum of its rows is 120"),
            (
                |it| it.use_by_day[3].bytes = 1,
                "it has 126000 bytes in all, and the sum of its rows is 105001",
            ),
            (
                |it| it.exemption.quota_bytes = Some(125_999),
                "it has 126000 bytes in all, and the quota is 125999",
            ),
            (|it| it.exemption.quota_bytes = None, "it is \"exhausted\", and has no quota"),
            (
                |it| {
                    it.use_by_day.iter_mut().for_each(|row| row.bytes = 19);
                    it.bytes = 114;
                },
                "it has 120 packets, and 114 bytes",
            ),
            (
                |it| it.exemption.valid_until = it.exemption.valid_from,
                "the window is from 2026-11-01T00:00:00Z, and until 2026-11-01T00:00:00Z",
            ),
            (
                |it| it.orders[1].at = "2026-11-19T00:00:00Z".parse().unwrap(),
                "its list of orders has one of 2026-11-19T00:00:00Z behind one of 2026-11-20T00:00:00Z",
            ),
            (
                |it| it.history[1].at = "2026-11-01T23:59:59Z".parse().unwrap(),
                "its history has one of 2026-11-01T23:59:59Z behind one of 2026-11-02T00:00:00Z",
            ),
            (
                |it| it.audit.time = "2026-12-01T06:00:01Z".parse().unwrap(),
                "it was made at 2026-12-01T06:00:00Z, and knows a record of the audit trail of 2026-12-01T06:00:01Z",
            ),
            (
                |it| it.use_by_day.swap(2, 3),
                "its use has a row of 2026-11-02 behind one of 2026-11-03, recipient 2",
            ),
            (
                |it| it.use_by_day[1].number = Some(1),
                "its use has a row of 2026-11-02, recipient 1 behind one of 2026-11-02, recipient 1",
            ),
            (
                |it| it.use_by_day[5].day = date(2026, 11, 1),
                "its use has a row of 2026-11-01 behind one of 2026-11-04",
            ),
        ];
        for (forge, which) in forged {
            let mut changed = good.clone();
            forge(&mut changed);
            let expected = format!("this is not a receipt: its figures do not agree: {which}");
            assert_eq!(read(&changed), Err(expected));
        }
        // A recipient is where the exemption has it.
        let mut moved = good.clone();
        moved.use_by_day[0].jurisdiction = Some("CA".to_owned());
        assert!(read(&moved).unwrap_err().contains("is of none of its recipients"));
    }

    /// What no daemon gives is none, whoever signed it.
    #[test]
    fn a_receipt_is_of_what_is_closed_and_of_those_who_might_receive() {
        let with = |change: &dyn Fn(&mut Receipt)| {
            let mut receipt = receipt();
            change(&mut receipt);
            Receipt::read(receipt.text().unwrap().as_bytes()).map_err(|error| error.to_string())
        };
        for state in ["revoked", "expired", "exhausted"] {
            assert!(with(&|it| it.exemption.state = state.to_owned()).is_ok(), "{state}");
        }
        for state in ["active", "stayed", "not-yet-valid", "draft", "approved", "", "x\u{1b}"] {
            let refused = with(&|it| it.exemption.state = state.to_owned()).unwrap_err();
            assert!(refused.contains("only of what is closed"), "{state}: {refused}");
        }
        for number in [0, 2, u32::MAX] {
            let refused = with(&|it| it.use_by_day[0].number = Some(number)).unwrap_err();
            assert!(refused.contains("of which it has 1"), "{number}: {refused}");
        }
        assert!(with(&|it| it.use_by_day[0].recipient = Some("another".to_owned())).is_err());
        // Those of earlier versions have no number, and what is attributed to none has no name either.
        assert!(with(&|it| it.use_by_day[0].number = None).is_ok());
        assert!(with(&|it| (it.use_by_day[0].number, it.use_by_day[0].recipient) = (None, None)).is_ok());
        let another = |it: &mut Receipt| {
            (it.use_by_day[0].number, it.use_by_day[0].recipient) = (None, Some("another".to_owned()));
        };
        assert!(with(&another).is_err());
    }
}
