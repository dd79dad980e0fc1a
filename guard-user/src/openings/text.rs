//! Lists in words.

use std::fmt::Display;

/// Items of a list that are written out.
const MOST: usize = 12;

/// The items, or the first and how many there are; `none` where there is none.
pub(super) fn listed<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match (items.get(..MOST), items.len()) {
        (_, 0) => "none".to_owned(),
        (Some(first), len) if len > MOST => format!("{} and {} more", first.join(", "), len - MOST),
        _ => items.join(", "),
    }
}

/// The same of a slice.
pub(super) fn joined<T: Display>(items: &[T]) -> String {
    listed(items.iter())
}
