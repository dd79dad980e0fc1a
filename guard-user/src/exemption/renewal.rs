//! The next version of a document, with its comments and its order kept.

use toml_edit::{Datetime, DocumentMut, Item, TableLike, Value, value};

/// What the next version says anew.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// The version that it takes the place of.
    pub replaces: u32,
    /// `valid_until`.
    pub until: Datetime,
    /// `valid_from`; `None` leaves it.
    pub from: Option<Datetime>,
    /// `assessment.review_by`; `None` leaves it.
    pub review_by: Option<Datetime>,
    /// `quota_bytes`; `None` leaves it.
    pub quota_bytes: Option<i64>,
}

/// There is no next version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    /// The document is not TOML, which its check says better.
    #[error("the document is not TOML: {0}")]
    Syntax(String),
    /// A review date without the assessment that it is of.
    #[error("there is no [assessment] that could be looked at again: leave out the review date")]
    NoAssessment,
    /// The highest version is there already.
    #[error("version {} has no next one: use another id", u32::MAX)]
    LastVersion,
}

/// The text of the next version.
///
/// # Errors
/// Where there is none, or it would need what the document does not have.
pub fn next_version(text: &str, renewal: &Renewal) -> Result<String, RenewError> {
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| RenewError::Syntax(error.message().to_owned()))?;
    let version = renewal.replaces.checked_add(1).ok_or(RenewError::LastVersion)?;
    let root = document.as_table_mut();
    set(root, "version", i64::from(version).into());
    set(root, "replaces", i64::from(renewal.replaces).into());
    set(root, "valid_until", renewal.until.into());
    if let Some(from) = renewal.from {
        set(root, "valid_from", from.into());
    }
    if let Some(review_by) = renewal.review_by {
        let assessment = root.get_mut("assessment").and_then(Item::as_table_like_mut);
        set(assessment.ok_or(RenewError::NoAssessment)?, "review_by", review_by.into());
    }
    if let Some(bytes) = renewal.quota_bytes {
        set(root, "quota_bytes", bytes.into());
    }
    let mut order: Vec<String> =
        root.iter().map(|(key, _)| key.to_owned()).filter(|key| key != "replaces").collect();
    let after_version = order.iter().position(|key| key == "version").map_or(0, |at| at + 1);
    order.insert(after_version, "replaces".to_owned());
    let place = |key: &str| order.iter().position(|it| it == key);
    root.sort_values_by(|one, _, other, _| place(one.get()).cmp(&place(other.get())));
    Ok(document.to_string())
}

/// Sets a value, with the blanks and the comment that stood around the one before.
fn set(table: &mut dyn TableLike, key: &str, new: Value) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            let around = old.decor().clone();
            *old = new;
            *old.decor_mut() = around;
        }
        None => drop(table.insert(key, value(new))),
    }
}
