//! The document that lifts an order: signed as an exemption's document is, for what it lets pass again.
//!
//! It is TOML, with the order as it stands, to the moment at which it was given, and the documents that pass again by
//! their hashes: it lifts that order once and no other, and lets pass what its signers have seen.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Deserialize;

use super::layout::{self, Hiding};
use super::order::{OrderKind, StandingOrder, Target};
use super::summary::OrderSummary;
use crate::text::{Unseen, visible_lines};

/// Bytes of such a document at most.
pub const LIFT_BYTES: usize = 64 * 1024;

/// What is to be lifted, and what passes again by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lift {
    /// What the order came of: a stay, or an instrument that has fallen.
    pub kind: OrderKind,
    /// What the order covers.
    pub covers: Target,
    /// The order's reference; of a fallen instrument why it fell.
    pub order: String,
    /// When it was given.
    pub given: Timestamp,
    /// Why it is lifted.
    pub why: String,
    /// Who wrote this, as the identity that signatures go by.
    pub submitter: Option<String>,
    /// What passes again.
    pub opens: Vec<Opens>,
}

/// An exemption that passes again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opens {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: u32,
    /// SHA-256 of its document, 64 digits in small letters.
    pub sha256: String,
}

/// Why a document lifts nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LiftError {
    /// It can't be read as one.
    #[error("this is no document that lifts an order: {0}")]
    Unreadable(String),
    /// It has a character that its signers would not see, or not alike.
    #[error("line {line} {unseen}: write it without")]
    Unseen {
        /// The line.
        line: usize,
        /// What it is.
        unseen: Unseen,
    },
    /// A part of it is hidden from who reads it as plain text.
    #[error("line {line}: {what}: {}", what.hint())]
    Hidden {
        /// The line.
        line: usize,
        /// How.
        what: Hiding,
    },
    /// Something is asked for by the request that it does not say.
    #[error("the document lifts another order, or for another reason, than is asked for")]
    OfAnother,
    /// The order that stands is not the one that it names.
    #[error(
        "the order that stands was given at {stands}, and the document lifts one that was given at {given}: write it anew, and \
         have it signed"
    )]
    OfAnotherTime {
        /// When the order that stands was given.
        stands: Timestamp,
        /// When that was given which the document names.
        given: Timestamp,
    },
    /// A key that is revoked signed it.
    #[error("the key {fingerprint} signed it, and is revoked")]
    RevokedKey {
        /// The key's fingerprint.
        fingerprint: String,
    },
    /// What would pass again is not what it names.
    #[error(
        "{id}, version {version}, would pass again and the document does not name it, or names another text: write it anew, \
         and have it signed"
    )]
    OpensMore {
        /// Its id.
        id: String,
        /// Its version.
        version: u32,
    },
}

impl LiftError {
    /// A short name that stays the same from release to release.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "lift-unreadable",
            Self::Unseen { .. } => "lift-unseen-character",
            Self::Hidden { .. } => "lift-hidden-text",
            Self::OfAnother | Self::OfAnotherTime { .. } => "lift-of-another-order",
            Self::RevokedKey { .. } => "revoked-key",
            Self::OpensMore { .. } => "lift-opens-more",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    lift: OrderKind,
    covers: String,
    #[serde(default)]
    name: String,
    order: String,
    given: String,
    why: String,
    submitter: Option<String>,
    #[serde(default)]
    opens: Vec<Opens>,
}

impl Lift {
    /// That of an order as it stands.
    ///
    /// # Errors
    /// Where it is of a kind that nobody lifts, or covers what this version does not know.
    pub fn of(
        order: &OrderSummary,
        why: &str,
        submitter: Option<String>,
        opens: Vec<Opens>,
    ) -> Result<Self, LiftError> {
        let raw = Raw {
            lift: serde_json::from_value(order.kind.clone().into()).map_err(unreadable)?,
            covers: order.covers.clone(),
            name: order.name.clone(),
            order: order.order.clone(),
            given: order.at.to_string(),
            why: why.to_owned(),
            submitter,
            opens,
        };
        raw.checked()
    }

    /// What it says, a title and a value each, for whoever signs it.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let what = match self.kind {
            OrderKind::Fallen => "that an instrument has fallen",
            OrderKind::Stay | OrderKind::RevokedKey => "a stay",
        };
        let mut facts = vec![
            ("lifts", what.to_owned()),
            ("covers", self.covers.to_string()),
            ("order", self.order.clone()),
            ("given", self.given.to_string()),
            ("why", self.why.clone()),
        ];
        facts.extend(self.submitter.clone().map(|submitter| ("author", submitter)));
        match self.opens.as_slice() {
            [] => facts.push(("opens", "nothing that is loaded now".to_owned())),
            opens => facts.extend(
                opens
                    .iter()
                    .map(|it| ("opens", format!("{}, version {}, sha256 {}", it.id, it.version, it.sha256))),
            ),
        }
        facts
    }

    /// Whether a file is meant to be one: an exemption's document has no such key.
    #[must_use]
    pub fn is_meant(text: &[u8]) -> bool {
        let text = String::from_utf8_lossy(text);
        text.lines().any(|line| line.split_once('=').is_some_and(|(key, _)| key.trim() == "lift"))
    }

    /// Reads one.
    ///
    /// # Errors
    /// Where it is no TOML with the keys of one, or has characters that nobody sees, in comments too, or hides a part of itself.
    pub fn parse(bytes: &[u8]) -> Result<Self, LiftError> {
        if bytes.len() > LIFT_BYTES {
            return Err(LiftError::Unreadable(format!("it has more than {LIFT_BYTES} bytes")));
        }
        let text = std::str::from_utf8(bytes).map_err(unreadable)?;
        for (line, number) in text.lines().zip(1..) {
            if let Some(unseen) = Unseen::find(&line.replace('\t', " ")) {
                return Err(LiftError::Unseen { line: number, unseen });
            }
        }
        let raw: Raw = toml::from_str(text).map_err(|error| {
            if is_of_transfer(text) {
                return LiftError::Unreadable(OF_TRANSFER.to_owned());
            }
            // What it quotes was looked through above.
            LiftError::Unreadable(visible_lines(error.to_string().trim_end()).into_owned())
        })?;
        let lift = raw.checked()?;
        match lift.hidden(text) {
            Some((line, what)) => Err(LiftError::Hidden { line, what }),
            None => Ok(lift),
        }
    }

    /// The first part of its text that is hidden, and its line. An order may have been given by words with a wide gap, and has
    /// to be named by them; nothing that counts can follow them on their line.
    fn hidden(&self, text: &str) -> Option<(usize, Hiding)> {
        let own = self.to_toml();
        let is_named = |line: &str| {
            let names = line.starts_with("name = ") || line.starts_with("order = ");
            names && own.lines().any(|its| its == line)
        };
        let found = layout::find(text).into_iter().map(|(at, what)| {
            let before = text.get(..at).unwrap_or_default();
            (before.matches('\n').count(), what)
        });
        let counts = |(line, what): &(usize, Hiding)| {
            let is_gap = matches!(what, Hiding::Gap { .. });
            !(is_gap && text.lines().nth(*line).is_some_and(is_named))
        };
        let first = found.filter(counts).min_by_key(|(line, _)| *line);
        first.map(|(line, what)| (line + 1, what))
    }

    /// The text of it.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let text = |text: &str| toml::Value::from(text).to_string();
        let mut toml =
            String::from("# An order that is lifted. Who signs it lets pass again what stands below.\n");
        let mut line = |key: &str, value: String| {
            // Writing to a string does not fail.
            let _written = writeln!(toml, "{key} = {value}");
        };
        line("lift", text(self.kind.name()));
        line("covers", text(self.covers.kind()));
        if self.covers != Target::All {
            line("name", text(self.covers.name()));
        }
        line("order", text(&self.order));
        line("given", text(&self.given.to_string()));
        line("why", text(&self.why));
        if let Some(submitter) = &self.submitter {
            line("submitter", text(submitter));
        }
        for it in &self.opens {
            line("\n[[opens]]\nid", text(&it.id));
            line("version", it.version.to_string());
            line("sha256", text(&it.sha256));
        }
        toml
    }

    /// Whether it lifts this order, by these words.
    ///
    /// # Errors
    /// Where it lifts another, or the same reference that was given at another time.
    pub fn is_of(&self, order: &StandingOrder, why: &str) -> Result<(), LiftError> {
        if self.kind != order.kind
            || self.covers != order.covers
            || self.order != order.order
            || self.why != why
        {
            return Err(LiftError::OfAnother);
        }
        match self.given == order.at {
            true => Ok(()),
            false => Err(LiftError::OfAnotherTime { stands: order.at, given: self.given }),
        }
    }

    /// Whether it names all of what would pass again.
    ///
    /// # Errors
    /// The first that it does not.
    pub fn has_all(&self, opens: &[Opens]) -> Result<(), LiftError> {
        match opens.iter().find(|it| !self.opens.contains(it)) {
            None => Ok(()),
            Some(it) => Err(LiftError::OpensMore { id: it.id.clone(), version: it.version }),
        }
    }
}

/// What is said where an exemption's document is given in the place of one that lifts an order.
const OF_TRANSFER: &str = "it is the document of an exemption, which lets data be transferred. What lifts an order is written by \
                           `borderguard exemption resume ID --why TEXT --write FILE`, or `borderguard instrument restore NAME --why \
                           TEXT --write FILE`, and signed; an exemption is loaded by `borderguard exemption load`";

/// Whether this is TOML with the keys that every exemption's document has, and not the one of a lift.
fn is_of_transfer(text: &str) -> bool {
    let has = |table: &toml::Table, key: &str| table.contains_key(key);
    toml::from_str::<toml::Table>(text)
        .is_ok_and(|table| has(&table, "id") && has(&table, "instrument") && !has(&table, "lift"))
}

impl Raw {
    fn checked(self) -> Result<Lift, LiftError> {
        let Self { lift, covers, name, order, given, why, submitter, opens } = self;
        let needs = |what: &str| Err(LiftError::Unreadable(what.to_owned()));
        if lift == OrderKind::RevokedKey {
            return needs("a key that is revoked stays so: its holder makes another one");
        }
        let target = match covers.as_str() {
            "exemption" => Target::Id(name),
            "instrument" => Target::Instrument(name),
            "pin" => Target::Pin(name),
            "recipient" => Target::Recipient(name),
            "all" if name.is_empty() => Target::All,
            "all" => return needs("`name` is given, and `covers` is \"all\""),
            _ => {
                return needs(
                    "`covers` is none of \"exemption\", \"instrument\", \"pin\", \"recipient\" and \"all\"",
                );
            }
        };
        if why.trim().is_empty() {
            return needs("`why` says nothing");
        }
        let given = given.parse().map_err(|error| {
            LiftError::Unreadable(format!("`given` is no time, such as 2026-11-23T09:01:22Z: {error}"))
        })?;
        Ok(Lift { kind: lift, covers: target, order, given, why, submitter, opens })
    }
}

fn unreadable(error: impl std::fmt::Display) -> LiftError {
    LiftError::Unreadable(error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lift(name: &str, order: &str, why: &str, versions: &[u32]) -> Lift {
        let opens =
            versions.iter().map(|&version| Opens { id: "m-1".to_owned(), version, sha256: "00".repeat(32) });
        Lift {
            kind: OrderKind::Stay,
            covers: Target::Recipient(name.to_owned()),
            order: order.to_owned(),
            given: "2026-11-23T09:01:22.000000007Z".parse().unwrap(),
            why: why.to_owned(),
            submitter: Some("anne@example.org".to_owned()),
            opens: opens.collect(),
        }
    }

    #[test]
    fn it_lifts_the_order_that_it_names_and_no_other() {
        let own = lift("Court", "2026/77", "lifted", &[1]);
        let order = |target: &Target, reference: &str, at| StandingOrder::new(target, reference, (at, 0));
        let court = Target::Recipient("Court".to_owned());
        assert_eq!(own.is_of(&order(&court, "2026/77", own.given), "lifted"), Ok(()));
        let later = "2026-11-24T09:01:22.000000007Z".parse().unwrap();
        let others = [
            (order(&court, "2026/78", own.given), "lifted", "lift-of-another-order"),
            (order(&Target::All, "2026/77", own.given), "lifted", "lift-of-another-order"),
            (order(&court, "2026/77", own.given), "because", "lift-of-another-order"),
            // The same court orders the same once more.
            (order(&court, "2026/77", later), "lifted", "lift-of-another-order"),
            (StandingOrder::fallen("Court", "2026/77", (own.given, 0)), "lifted", "lift-of-another-order"),
        ];
        for (order, why, code) in others {
            assert_eq!(own.is_of(&order, why).unwrap_err().code(), code, "{order:?}");
        }
        assert_eq!(own.has_all(&own.opens), Ok(()));
        assert_eq!(own.has_all(&[]), Ok(()));
        let another = Opens { sha256: "11".repeat(32), ..own.opens[0].clone() };
        for more in [another, lift("", "", "x", &[2]).opens[0].clone()] {
            assert_eq!(own.has_all(&[more]).unwrap_err().code(), "lift-opens-more");
        }
    }

    #[test]
    fn what_is_no_such_document_is_refused_with_the_reason() {
        let good = lift("Court", "2026/77", "lifted", &[1]).to_toml();
        assert!(Lift::is_meant(good.as_bytes()));
        assert!(!Lift::is_meant(b"id = \"x\"\npurpose = \"lift = 1\"\n"));
        let cases = [
            ("given = \"2026", "given = \"last week 2026", "lift-unreadable", "`given` is no time"),
            ("\"recipient\"", "\"key\"", "lift-unreadable", "`covers` is none of"),
            ("\"stay\"", "\"revoked-key\"", "lift-unreadable", "stays so"),
            ("why = \"lifted\"", "why = \" \"", "lift-unreadable", "`why` says nothing"),
            ("why = \"lifted\"", "because = \"lifted\"", "lift-unreadable", "because"),
            ("Who signs", "Who \u{202e}signs", "lift-unseen-character", "line 1"),
            ("2026/77", "2026/7\u{200b}7", "lift-unseen-character", "U+200B"),
            (
                "2026/77",
                "2026/\\u0037\\u0037",
                "lift-hidden-text",
                "line 5: the text that begins here has the escape \\u0037",
            ),
            (
                "m-1\"\n",
                "m-1\" #                                  x\n",
                "lift-hidden-text",
                "line 11: a gap of 34",
            ),
            ("given = ", "\n\n\n\n\n\n\n\n\ngiven = ", "lift-hidden-text", "line 15: 9 empty lines stand"),
        ];
        for (from, to, code, says) in cases {
            let error = Lift::parse(good.replace(from, to).as_bytes()).unwrap_err();
            assert_eq!(error.code(), code, "{to}");
            assert!(error.to_string().contains(says), "{to}: {error}");
        }
        assert!(Lift::parse(&vec![b'#'; LIFT_BYTES + 1]).is_err());
        // Whoever gives a transfer's document is told what is expected, and which command makes it.
        let transfer =
            Lift::parse(b"id = \"m-1\"\nversion = 1\n[instrument]\nname = \"MLAT\"\n").unwrap_err();
        let told = transfer.to_string();
        assert_eq!(transfer.code(), "lift-unreadable");
        assert!(told.contains("document of an exemption") && !told.contains("TOML"), "{told}");
        for command in
            ["`borderguard exemption resume ID", "`borderguard instrument restore NAME", "--write FILE"]
        {
            assert!(told.contains(command), "{told}");
        }
        // An order is named as it was given.
        let wide = format!("2026{}77", " ".repeat(40));
        let own = lift("Court", &wide, "lifted", &[1]);
        assert_eq!(Lift::parse(own.to_toml().as_bytes()).unwrap(), own);
        let other = own.to_toml().replace("why = \"lifted\"", &format!("why = \"{wide}\""));
        assert_eq!(Lift::parse(other.as_bytes()).unwrap_err().code(), "lift-hidden-text");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            name in "\\PC{1,40}", order in "\\PC{0,40}", why in "[a-z\"'\\\\]{1,40}",
            versions in prop::collection::vec(1..9_u32, 0..4),
        ) {
            let own = lift(&name, &order, &why, &versions);
            match Lift::parse(own.to_toml().as_bytes()) {
                Ok(read) => prop_assert_eq!(read, own),
                Err(LiftError::Unseen { .. }) => {
                    prop_assert!(Unseen::find(&name).is_some() || Unseen::find(&order).is_some());
                }
                Err(other) => prop_assert!(false, "{}", other),
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _either = Lift::parse(&bytes);
        }
    }
}
