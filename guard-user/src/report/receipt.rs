//! A receipt: what one exemption that is closed has let through, to whom and on whose approval, in a form that outlives
//! this program. docs/receipt.md and docs/receipt.schema.json have the form.
//!
//! It is JSON with a fixed order of keys, written in one way alone: [`Receipt::read`] refuses any other, so that nothing
//! hides in white space, double keys or spellings. What is signed and stamped are the file's bytes.

mod figures;
mod forms;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::model::{
    ApprovalEntry, AuditHead, Change, DayUse, ExporterEntry, InstrumentEntry, RecipientEntry,
};

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
    /// What became of it, in the order of the audit trail.
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
    /// Bytes that count as used beside these because the host went down, and are not known to have left. `None` in a receipt of
    /// an earlier version: how many there are is not known then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presumed_bytes: Option<u64>,
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
    /// The law that it went by, such as `eu`: what the codes of ground and basis stand for. `None` in a receipt of an earlier
    /// version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub law: Option<String>,
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

    /// Reads a file, and holds its figures against each other.
    ///
    /// # Errors
    /// As [`of_form`](Self::of_form), and where there is a [`disagreement`](Self::disagreement).
    pub fn read(bytes: &[u8]) -> Result<Self, NotAReceipt> {
        let receipt = Self::of_form(bytes)?;
        match receipt.disagreement() {
            Some(which) => Err(NotAReceipt { reason: format!("its figures do not agree: {which}") }),
            None => Ok(receipt),
        }
    }

    /// Reads a file, whatever its figures are.
    ///
    /// # Errors
    /// Where it is of another form or version, or is written in another way than [`text`](Self::text) writes it.
    pub fn of_form(bytes: &[u8]) -> Result<Self, NotAReceipt> {
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
        match receipt.text().map_err(|error| bad(error.to_string()))?.as_bytes() == bytes {
            true => Ok(receipt),
            false => Err(bad("it is not written as receipts are".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::super::tests::sample::receipt;
    use super::*;

    /// Receipts of earlier versions do not say by which law it went.
    #[test]
    fn a_receipt_names_the_law_and_one_without_it_is_read_as_it_was_written() {
        let mut it = receipt();
        it.exemption.law = Some("ch".to_owned());
        let text = it.text().unwrap();
        assert!(text.contains("\"law\": \"ch\",\n    \"instrument\": {"), "{text}");
        assert_eq!(Receipt::read(text.as_bytes()).unwrap(), it);
        it.exemption.law = None;
        let old = it.text().unwrap();
        assert!(!old.contains("\"law\""));
        assert_eq!(Receipt::read(old.as_bytes()).unwrap(), it);
    }

    #[test]
    fn a_receipt_is_written_in_one_way_alone_and_its_sums_hold() {
        let good = receipt();
        let text = good.text().unwrap();
        assert_eq!(Receipt::read(text.as_bytes()).unwrap(), good);
        let refused = |text: &str| Receipt::read(text.as_bytes()).unwrap_err().to_string();
        let double = text.replacen("{\n", "{\n  \"host\": \"x\",\n", 1);
        for (changed, why) in [
            (text.trim_end().to_owned(), "not written as"),
            (format!("{text}\n"), "not written as"),
            (text.replace("  ", "\t"), "not written as"),
            (double, "duplicate field"),
            (text.replacen("{\n", "{\n  \"more\": 1,\n", 1), "unknown field"),
            (text.replace(SCHEMA, "receipt"), "of the form \"receipt\" 1"),
        ] {
            assert!(refused(&changed).contains(why), "{}", refused(&changed));
        }
        let next = Receipt { version: VERSION + 1, ..good.clone() }.text().unwrap();
        assert!(refused(&next).contains("reads \"borderguard-receipt\" 1"));
        let day = DayUse {
            day: date(2026, 11, 3),
            number: None,
            recipient: None,
            jurisdiction: None,
            packets: 1,
            bytes: 1,
        };
        let more = Receipt { use_by_day: [good.use_by_day.clone(), vec![day]].concat(), ..good.clone() };
        let told = refused(&more.text().unwrap());
        assert!(told.contains("it has 20 packets in all, and the sum of its rows is 21"), "{told}");
    }
}
