//! What tests of configs and of exemptions' documents hold errors against, and any values for their keys.

use proptest::prelude::*;

use crate::config::{Errors, Explain};
use crate::text::is_unseen;

/// An example: the error's short name, the part of the good text that is replaced, what by, and the one error
/// that comes of it.
pub(crate) type Example = (&'static str, &'static str, &'static str, &'static str);

/// What each error is, as `line:column field: message | hint`, with its short name; none where there is no
/// error.
pub(crate) fn told<T, K: Explain>(checked: Result<T, Errors<K>>) -> Vec<(&'static str, String)> {
    let errors = checked.err().map(|found| found.errors).unwrap_or_default();
    let shown = errors.iter().map(|error| {
        let place = error.place.map_or(String::new(), |place| format!("{}:{} ", place.line, place.column));
        (error.kind.code(), format!("{place}{error} | {}", error.kind.hint()))
    });
    shown.collect()
}

/// Holds where each text has the error of this short name and these words, and no other.
pub(crate) fn each_is_found_alone<'e>(
    examples: impl IntoIterator<Item = (&'e str, String, &'e str)>,
    errors: impl Fn(&str) -> Vec<(&'static str, String)>,
) {
    let mut wrong = String::new();
    for (code, text, expected) in examples {
        let found = errors(&text);
        match &found[..] {
            [(found_code, shown)] if *found_code == code && shown.contains(expected) => {}
            _ => wrong += &format!("expected {code} {expected}\nfound    {found:#?}\n"),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The text with one part replaced, which must be there once.
pub(crate) fn replaced(good: &str, part: &str, replacement: &str) -> String {
    assert_eq!(good.matches(part).count(), 1, "{part:?} must be in the good text once");
    good.replace(part, replacement)
}

/// Holds for the errors of every input: there are some, each stands in the file, and all can be shown on a
/// terminal.
pub(crate) fn can_be_shown<K: Explain>(errors: &Errors<K>, bytes: &[u8]) {
    assert!(!errors.errors.is_empty());
    let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() + 1;
    for error in &errors.errors {
        assert!(error.place.is_none_or(|place| (1..=lines).contains(&place.line)), "{errors}");
        assert!(!error.kind.hint().is_empty() && !error.to_string().is_empty());
    }
    assert!(!errors.to_string().chars().any(|c| is_unseen(c) && c != '\n'), "{errors}");
}

/// A value of any TOML type, right or wrong: one of these texts or any other, a list of them, or one of the
/// other values.
pub(crate) fn value(
    texts: &'static [&'static str],
    others: impl Strategy<Value = String> + 'static,
) -> impl Strategy<Value = String> {
    let text = prop_oneof![
        1 => "[a-zA-Z0-9./:*?_-]{0,12}",
        u32::try_from(texts.len()).unwrap() => prop::sample::select(texts).prop_map(str::to_owned),
        1 => "\\PC{0,6}".prop_map(|text| text.replace(['"', '\\'], "")),
    ];
    let text = text.prop_map(|text| format!("\"{text}\"")).boxed();
    prop_oneof![
        1 => text.clone(),
        1 => prop::collection::vec(text, 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
        1 => Just("true".to_owned()),
        4 => others,
    ]
}
