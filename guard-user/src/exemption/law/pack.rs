//! The law pack: the facts that rules hang on and that change, with their sources, their date and the day by which somebody
//! has to look at them again. One is in the program; a config may name a newer one.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use guard_common::jurisdiction::Jurisdiction;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Deserializer};

use super::rule::Rule;
use crate::digest;
use crate::exemption::particulars::Law;

/// The pack in the program.
pub const EMBEDDED: &str = include_str!("pack.toml");

/// Bytes that a pack may have.
pub const PACK_BYTES: usize = 1 << 20;

/// What stands in the file's `format`.
const FORMAT: u32 = 2;

/// A checked law pack.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LawPack {
    format: u32,
    /// The day up to which the law was followed.
    #[serde(deserialize_with = "date")]
    pub as_of: Date,
    /// The last day on which it may be gone by; a new document is refused after it.
    #[serde(deserialize_with = "date")]
    pub look_again_by: Date,
    /// Days that may have passed since a certification was looked up, when a document is loaded.
    pub certification_days: u32,
    /// Where data does not leave the area of a law.
    #[serde(rename = "area")]
    pub areas: Vec<Area>,
    /// Adequacy decisions in force.
    #[serde(rename = "adequacy")]
    pub decisions: Vec<Adequacy>,
    /// International agreements, in force or not.
    #[serde(rename = "agreement")]
    pub agreements: Vec<Agreement>,
    /// Acts with their dates of application.
    #[serde(rename = "act")]
    pub acts: Vec<Act>,
    /// The document that the examples of the rules change.
    pub document: toml::Table,
    /// The rules that hang on these facts, each with a document that keeps it and one that does not.
    #[serde(rename = "rule")]
    pub rules: Vec<Example>,
}

/// The area of a law.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Area {
    /// The law.
    #[serde(deserialize_with = "law")]
    pub law: Law,
    /// Countries and territories in it.
    #[serde(deserialize_with = "countries")]
    pub inside: Vec<Jurisdiction>,
    /// Where that stands.
    pub source: String,
}

/// An adequacy decision.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adequacy {
    /// By which law.
    #[serde(deserialize_with = "law")]
    pub law: Law,
    /// On which countries.
    #[serde(deserialize_with = "countries")]
    pub countries: Vec<Jurisdiction>,
    /// The act.
    pub act: String,
    /// The day from which it counts: of adoption, or of entry into force.
    #[serde(deserialize_with = "date")]
    pub since: Date,
    /// The last day, where it has one.
    #[serde(default, deserialize_with = "optional_date")]
    pub until: Option<Date>,
    /// Whom alone it covers; `None`: whole countries.
    #[serde(default)]
    pub covers: Option<String>,
    /// What it is not for, where it excepts purposes: nobody can see these in a packet, so that a document says that its
    /// own is none of them.
    #[serde(default)]
    pub excepts: Option<String>,
    /// The register of those whom it covers, where there is one: then a recipient's certification has to be named.
    #[serde(default)]
    pub register: Option<String>,
    /// Where that stands.
    pub source: String,
}

/// An international agreement on evidence.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// Its id in documents.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// The law of the home that is a party.
    #[serde(deserialize_with = "law")]
    pub law: Law,
    /// The homes of data that are a party; without one the pack can't be used.
    #[serde(default, deserialize_with = "countries")]
    pub home: Vec<Jurisdiction>,
    /// The countries that are the other parties.
    #[serde(deserialize_with = "countries")]
    pub countries: Vec<Jurisdiction>,
    /// Whether it lets authorities ask the provider itself.
    pub direct: bool,
    /// The day from which it is in force; `None`: it is not.
    #[serde(default, deserialize_with = "optional_date")]
    pub since: Option<Date>,
    /// Where that stands.
    pub source: String,
}

/// An act with its date of application.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// Its id in the program: [`E_EVIDENCE`] or [`DATA_ACT`].
    pub id: String,
    /// What it is called.
    pub name: String,
    /// The day from which it applies.
    #[serde(deserialize_with = "date")]
    pub since: Date,
    /// Whom it binds; empty: that is not asked.
    #[serde(default, deserialize_with = "countries")]
    pub bound: Vec<Jurisdiction>,
    /// Where that stands.
    pub source: String,
}

/// The id of Regulation (EU) 2023/1543.
pub const E_EVIDENCE: &str = "e-evidence";
/// The id of Regulation (EU) 2023/2854.
pub const DATA_ACT: &str = "data-act";

/// A rule that hangs on the pack, and what shows it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The rule's name.
    pub name: String,
    /// The moment at which the documents are judged.
    #[serde(deserialize_with = "date")]
    pub at: Date,
    /// What the document that keeps it has otherwise than the common one.
    pub accepts: toml::Table,
    /// What the document that breaks it alone has otherwise.
    pub refuses: toml::Table,
}

/// Why a pack can't be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PackError {
    /// It can't be read.
    #[error("{file}: {error}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        error: Arc<std::io::Error>,
    },
    /// Its bytes are others than those that the config names.
    #[error("{file} is not the law pack that the config names: its SHA-256 is {found}")]
    Other {
        /// The file.
        file: String,
        /// What it is, 64 digits.
        found: String,
    },
    /// It is no law pack that this program can use.
    #[error("{file}: {reason}")]
    Unusable {
        /// The file, or what stands for it.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl LawPack {
    /// The pack in the program; its tests show that it can be used.
    ///
    /// # Errors
    /// [`PackError::Unusable`], never of a program that was tested.
    pub fn embedded() -> Result<&'static Self, PackError> {
        Self::shared().map(AsRef::as_ref)
    }

    /// The same, for who keeps it.
    ///
    /// # Errors
    /// As there.
    pub fn shared() -> Result<&'static Arc<Self>, PackError> {
        static PACK: LazyLock<Result<Arc<LawPack>, PackError>> = LazyLock::new(|| {
            LawPack::parse("the law pack of the program", EMBEDDED.as_bytes()).map(Arc::new)
        });
        PACK.as_ref().map_err(Clone::clone)
    }

    /// The pack in these bytes; `file` is its name in errors.
    ///
    /// # Errors
    /// [`PackError::Unusable`].
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, PackError> {
        let unusable = |reason: String| PackError::Unusable { file: file.to_owned(), reason };
        if bytes.len() > PACK_BYTES {
            return Err(unusable(format!("it has more than {PACK_BYTES} bytes")));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| unusable(error.to_string()))?;
        let pack: Self = toml::from_str(text).map_err(|error| unusable(error.to_string()))?;
        pack.check().map_err(unusable)?;
        Ok(pack)
    }

    /// The pack in a file that a config names with its SHA-256, 64 digits in small letters.
    ///
    /// # Errors
    /// Where it can't be read, is another one or can't be used.
    pub fn read(file: &Path, sha256: &str) -> Result<Self, PackError> {
        use std::io::Read;
        let name = file.display().to_string();
        let mut bytes = Vec::new();
        let opened = std::fs::metadata(file).and_then(|metadata| match metadata.is_file() {
            true => std::fs::File::open(file),
            false => Err(std::io::Error::other("it is not a regular file")),
        });
        let read = opened.and_then(|opened| opened.take(PACK_BYTES as u64 + 1).read_to_end(&mut bytes));
        read.map_err(|error| PackError::Unreadable { file: name.clone(), error: Arc::new(error) })?;
        let found = digest::sha256(&bytes);
        if found != sha256 {
            return Err(PackError::Other { file: name, found });
        }
        Self::parse(&name, &bytes)
    }

    /// What its form alone does not say.
    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("its format is {}, and this version reads {FORMAT}", self.format));
        }
        if self.look_again_by <= self.as_of {
            return Err("look_again_by is not after as_of".to_owned());
        }
        for law in Law::ALL {
            if self.areas.iter().filter(|area| area.law == *law).count() != 1 {
                return Err(format!("there has to be one [[area]] of the law {law}"));
            }
        }
        for id in [E_EVIDENCE, DATA_ACT] {
            if self.acts.iter().filter(|act| act.id == id).count() != 1 {
                return Err(format!("there has to be one [[act]] of the id {id}"));
            }
        }
        if let Some(act) = self.acts.iter().find(|act| ![E_EVIDENCE, DATA_ACT].contains(&act.id.as_str())) {
            return Err(format!("there is no act {:?}", act.id));
        }
        for (number, one) in self.agreements.iter().enumerate() {
            if self.agreements.iter().take(number).any(|other| other.id == one.id) {
                return Err(format!("the agreement {:?} is there twice", one.id));
            }
            if one.home.is_empty() {
                return Err(format!("the agreement {:?} has no home that is a party to it", one.id));
            }
            if let Some(home) = one.home.iter().find(|home| !self.is_inside(one.law, **home)) {
                let (id, law) = (&one.id, one.law);
                return Err(format!(
                    "the home {home} of the agreement {id:?} is not in the area of the law {law}"
                ));
            }
        }
        for rule in Rule::ALL.iter().filter(|rule| rule.hangs_on_the_pack()) {
            if !self.rules.iter().any(|example| example.name == rule.name()) {
                return Err(format!("there has to be a [[rule]] of the name {rule}"));
            }
        }
        let strange = |example: &&Example| {
            !Rule::ALL.iter().any(|rule| rule.hangs_on_the_pack() && rule.name() == example.name)
        };
        match self.rules.iter().find(strange) {
            Some(example) => Err(format!("no rule that hangs on the pack is called {:?}", example.name)),
            None => Ok(()),
        }
    }

    /// First moment at which no new document is judged by it any more.
    #[must_use]
    pub fn ends(&self) -> Timestamp {
        end_of(self.look_again_by)
    }

    /// Whether a country is in the area of a law, where no transfer begins.
    #[must_use]
    pub fn is_inside(&self, law: Law, country: Jurisdiction) -> bool {
        self.areas.iter().any(|area| area.law == law && area.inside.contains(&country))
    }

    /// The adequacy decision on a country that counts from the first moment to the last.
    #[must_use]
    pub fn adequacy(
        &self,
        law: Law,
        country: Jurisdiction,
        (from, until): (Option<Timestamp>, Option<Timestamp>),
    ) -> Option<&Adequacy> {
        let counts = |it: &Adequacy| {
            from.is_none_or(|from| begin_of(it.since) <= from)
                && it.until.zip(until).is_none_or(|(last, until)| until <= end_of(last))
        };
        self.decisions.iter().find(|it| it.law == law && it.countries.contains(&country) && counts(it))
    }

    /// The agreement of an id.
    #[must_use]
    pub fn agreement(&self, id: &str) -> Option<&Agreement> {
        self.agreements.iter().find(|it| it.id == id)
    }

    /// The act of an id.
    #[must_use]
    pub fn act(&self, id: &str) -> Option<&Act> {
        self.acts.iter().find(|it| it.id == id)
    }

    /// The two documents of an example: one that keeps the rule, and one that breaks it.
    #[must_use]
    pub fn documents(&self, example: &Example) -> [String; 2] {
        [&example.accepts, &example.refuses].map(|changes| {
            let mut document = self.document.clone();
            merge(&mut document, changes);
            document.to_string()
        })
    }
}

impl Agreement {
    /// Whether it is in force between a home and a country from this moment on.
    #[must_use]
    pub fn is_in_force(&self, law: Law, country: Jurisdiction, from: Option<Timestamp>) -> bool {
        let since = self.since.is_some_and(|since| from.is_none_or(|from| begin_of(since) <= from));
        since && self.law == law && self.countries.contains(&country)
    }
}

/// Puts the values of a table in the place of another's; an empty text takes a key out.
fn merge(table: &mut toml::Table, changes: &toml::Table) {
    for (key, value) in changes {
        match (table.get_mut(key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(changes)) => merge(inner, changes),
            (_, toml::Value::String(text)) if text.is_empty() => drop(table.remove(key)),
            _ => drop(table.insert(key.clone(), value.clone())),
        }
    }
}

/// The first moment of a day in UTC.
#[must_use]
pub fn begin_of(day: Date) -> Timestamp {
    day.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |moment| moment.timestamp())
}

/// The first moment after a day in UTC.
#[must_use]
pub fn end_of(day: Date) -> Timestamp {
    day.checked_add(1.day()).map_or(Timestamp::MAX, begin_of)
}

fn date<'de, D: Deserializer<'de>>(from: D) -> Result<Date, D::Error> {
    let written = toml::value::Datetime::deserialize(from)?;
    written.to_string().parse().map_err(|_| serde::de::Error::custom(format!("{written} is no date")))
}

fn optional_date<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Date>, D::Error> {
    date(from).map(Some)
}

fn law<'de, D: Deserializer<'de>>(from: D) -> Result<Law, D::Error> {
    let word = String::deserialize(from)?;
    Law::of(&word).ok_or_else(|| serde::de::Error::custom(format!("there is no law {word:?}")))
}

fn countries<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Jurisdiction>, D::Error> {
    let codes = Vec::<String>::deserialize(from)?;
    let country = |code: &String| {
        let parsed = code.parse::<Jurisdiction>().ok().filter(|it| it.is_country());
        parsed.ok_or_else(|| serde::de::Error::custom(format!("{code:?} is no country")))
    };
    codes.iter().map(country).collect()
}
