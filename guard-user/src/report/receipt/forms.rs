//! What no daemon writes into a receipt, whatever its figures are: numbers, hashes and names of other forms, and orders on what
//! the exemption does not have.

use super::super::model::Change;
use super::{Exemption, Program, Receipt, TableHashes};
use crate::audit::Kind;
use crate::exemption::OrderKind;
use crate::text::look_alike;

/// The digits of a SHA-256.
const DIGITS: usize = 64;

/// What an order may be on.
const COVERS: [&str; 6] = ["exemption", "pin", "recipient", "instrument", "key", "all"];

/// What an order is on that closes an exemption for good. Trails of earlier versions may not say it, and then it reads as one on
/// the exemption.
const ON: [(Kind, &str); 2] = [(Kind::Invalidate, "instrument"), (Kind::RevokeKey, "key")];

impl Receipt {
    /// The first that is of another form, in words.
    pub(super) fn of_forms(&self) -> Option<String> {
        self.of_numbers()
            .or_else(|| self.of_hashes())
            .or_else(|| self.of_names())
            .or_else(|| self.of_kinds())
            .or_else(|| self.of_covered())
    }

    fn of_numbers(&self) -> Option<String> {
        let Self { exemption, audit, history, .. } = self;
        for (what, number) in
            [("version of the exemption", exemption.version.into()), ("audit.sequence", audit.sequence)]
        {
            if number == 0 {
                return Some(format!("the {what} is 0"));
            }
        }
        // Each change is a record of the trail.
        let changes = u64::try_from(history.len()).unwrap_or(u64::MAX);
        (audit.sequence < changes).then(|| {
            format!(
                "its history has {changes} changes, each a record of the audit trail, and audit.sequence is {}",
                audit.sequence
            )
        })
    }

    /// Where it has a hash, what stands there, and whether that may be empty: where it could not be known.
    fn hashes(&self) -> impl Iterator<Item = (&'static str, &str, bool)> {
        let Self { program, tables, exemption, audit, .. } = self;
        let Program { version: _, sha256, kernel_program_sha256 } = program;
        let TableHashes { generation: _, policy_sha256, geo_sha256 } = tables;
        let of_lifts = self.history.iter().filter_map(|it| it.document_sha256.as_deref());
        [
            ("program.sha256", sha256.as_str(), true),
            ("program.kernel_program_sha256", kernel_program_sha256.as_str(), false),
            ("tables.policy_sha256", policy_sha256.as_str(), true),
            ("tables.geo_sha256", geo_sha256.as_str(), true),
            ("exemption.document_sha256", exemption.document_sha256.as_str(), false),
            ("audit.sha256", audit.sha256.as_str(), false),
        ]
        .into_iter()
        .chain(of_lifts.map(|text| ("a document_sha256 of its history", text, false)))
    }

    fn of_hashes(&self) -> Option<String> {
        let is_digit = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
        let is_hash = |text: &str| text.len() == DIGITS && text.bytes().all(is_digit);
        let is_wrong =
            |(_, text, may_lack): &(&str, &str, bool)| !(is_hash(text) || *may_lack && text.is_empty());
        let (what, text, _) = self.hashes().find(is_wrong)?;
        Some(format!("{what} is \"{}\", and no SHA-256 in small letters", text.escape_debug()))
    }

    fn of_names(&self) -> Option<String> {
        let Exemption { id, pins, .. } = &self.exemption;
        if id.is_empty() {
            return Some("the id of the exemption is empty".to_owned());
        }
        if pins.is_empty() || pins.iter().any(String::is_empty) {
            return Some("the exemption covers no pin, or one without a name".to_owned());
        }
        None
    }

    fn of_kinds(&self) -> Option<String> {
        let is_known = |it: &&Change| Kind::ALL.iter().any(|kind| kind.name() == it.what);
        if let Some(it) = self.history.iter().find(|it| !is_known(it)) {
            return Some(format!(
                "its history has \"{}\", which is no kind of record",
                it.what.escape_debug()
            ));
        }
        let kinds = [OrderKind::Stay, OrderKind::Fallen, OrderKind::RevokedKey].map(OrderKind::name);
        let other = self.orders.iter().find(|it| !kinds.contains(&it.kind.as_str()))?;
        Some(format!("its orders have one of the kind \"{}\", which there is not", other.kind.escape_debug()))
    }

    /// Each order that holds it or held it covers it.
    fn of_covered(&self) -> Option<String> {
        let of_orders =
            self.orders.iter().map(|it| ("its orders have one", it.covers.as_str(), Some(it.name.as_str())));
        let of_history = self
            .history
            .iter()
            .filter_map(|it| Some(("its history has an order", it.covers.as_deref()?, it.name.as_deref())));
        let is_other = |(_, covers, name): &(&str, &str, Option<&str>)| !self.is_covered_by(covers, *name);
        if let Some((has, covers, name)) = of_orders.chain(of_history).find(is_other) {
            let (covers, name) = (covers.escape_debug(), name.unwrap_or_default().escape_debug());
            return Some(format!("{has} on the {covers} \"{name}\", which does not cover the exemption"));
        }
        let is_wrong = |it: &&Change| {
            let on = ON.iter().find(|(kind, _)| kind.name() == it.what).map(|(_, on)| *on);
            on.zip(it.covers.as_deref()).is_some_and(|(on, covers)| covers != on && covers != "exemption")
        };
        let Change { what, covers, .. } = self.history.iter().find(is_wrong)?;
        let covers = covers.as_deref().unwrap_or_default();
        Some(format!("its history has \"{what}\" by an order on the {covers}, which there is not"))
    }

    /// Whether an order on this covers the exemption, as far as its name is told. Names of instruments and recipients that look
    /// alike are one.
    fn is_covered_by(&self, covers: &str, name: Option<&str>) -> bool {
        let Exemption { id, pins, instrument, .. } = &self.exemption;
        let Some(name) = name else { return COVERS.contains(&covers) };
        match covers {
            "exemption" => name == id,
            "pin" => pins.iter().any(|pin| pin == name),
            "recipient" => self.recipients.iter().any(|it| look_alike(&it.name, name)),
            "instrument" => {
                // An agreement's id is in no receipt: a name that may be one is taken for it.
                look_alike(&instrument.name, name)
                    || look_alike(&instrument.agreement, name)
                    || name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            }
            // Also one whose signature is in no role that counts, as the submitter's.
            "key" => self.signers.iter().any(|it| it.key == name),
            "all" => name.is_empty(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
