//! Runs a check of single values over what stands in the file, and reports what is wrong at its place.

use toml::Spanned;

use super::error::ErrorKind;
use super::read::{List, Text};
use super::sink::Sink;

/// The checked value of one text.
pub(crate) fn one<T, K: Into<E>, E, W>(
    text: &Option<Text>,
    field: &str,
    sink: &mut Sink<'_, E, W>,
    check: impl Fn(&str) -> Result<T, K>,
) -> Option<T> {
    checked(text.as_ref()?, field, sink, |text| check(text))
}

/// The checked values of a list.
pub(crate) fn each<T, K: Into<E>, E, W>(
    list: &Option<List>,
    field: &str,
    sink: &mut Sink<'_, E, W>,
    check: impl Fn(&str) -> Result<T, K>,
) -> Vec<T> {
    let items = list.iter().flat_map(|list| &list.items);
    items.filter_map(|item| checked(item, field, sink, |text| check(text))).collect()
}

/// The checked value of what stands at one place.
pub(crate) fn checked<V, T, K: Into<E>, E, W>(
    value: &Spanned<V>,
    field: &str,
    sink: &mut Sink<'_, E, W>,
    check: impl Fn(&V) -> Result<T, K>,
) -> Option<T> {
    check(value.get_ref()).map_err(|error| sink.error(value.span().start, field, error)).ok()
}

/// The value of the word that was chosen.
pub(crate) fn choice<T: Copy, E: From<ErrorKind>, W>(
    text: &Option<Text>,
    field: &str,
    choices: &[(&'static str, T)],
    sink: &mut Sink<'_, E, W>,
) -> Option<T> {
    one(text, field, sink, |text| {
        choices.iter().find(|(word, _)| *word == text).map(|&(_, value)| value).ok_or_else(|| {
            let choices = choices.iter().map(|&(word, _)| word).collect();
            ErrorKind::BadChoice { text: text.to_owned(), choices }
        })
    })
}
