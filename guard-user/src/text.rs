//! Characters of a text that its readers would not see, or not see alike: the one list of them, for what refuses them
//! and for what shows them. And names that are taken for each other.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use unicode_general_category::{GeneralCategory, get_general_category};

mod alike;

pub use alike::{OtherScript, look_alike, looks};

/// A character that is not seen, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// The character.
    pub letter: char,
    /// Which character of the text it is, from 1.
    pub at: usize,
}

impl Unseen {
    /// The first one in a text.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        let found = text.chars().zip(1..).find(|(letter, _)| is_unseen(*letter));
        found.map(|(letter, at)| Self { letter, at })
    }
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, at) = (u32::from(self.letter), self.at);
        let what = match get_general_category(self.letter) {
            GeneralCategory::Control => "has a control character or a line break",
            GeneralCategory::Unassigned | GeneralCategory::PrivateUse => {
                "has a character that Unicode does not have, or leaves to each font"
            }
            GeneralCategory::NonspacingMark => "has a mark that nobody sees, or that strikes letters out",
            _ => "has a character that nobody sees, or that turns text around",
        };
        write!(f, "{what}, U+{number:04X} as character {at}")
    }
}

/// Whether nobody sees this character, or not everybody the same: control characters, what turns text around or is no
/// sign of its own (Cf, which has all of Bidi_Control), line breaks, blanks that are none of the keyboard's, what
/// Unicode does not have and what it leaves to fonts, by their general categories; and those of
/// Default_Ignorable_Code_Point, the empty signs that have another category, and what strikes letters out.
#[must_use]
pub fn is_unseen(letter: char) -> bool {
    use GeneralCategory as Of;
    if letter.is_ascii() {
        return letter.is_ascii_control();
    }
    let by_category = match get_general_category(letter) {
        Of::Control
        | Of::Format
        | Of::Surrogate
        | Of::PrivateUse
        | Of::Unassigned
        | Of::LineSeparator
        | Of::ParagraphSeparator => true,
        Of::SpaceSeparator => letter != ' ',
        _ => false,
    };
    by_category
        || matches!(letter,
            // Variation selectors, and the joiner of graphemes.
            '\u{34f}' | '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}'
            // What lies over the letter before it: text may look struck out, and counts all the same.
            | '\u{334}'..='\u{338}' | '\u{20d2}' | '\u{20d3}' | '\u{20d8}'..='\u{20da}' | '\u{20e5}' | '\u{20e6}'
            | '\u{20ea}' | '\u{20eb}'
            // Letters without a shape: fillers of Hangul, vowels of Khmer; and the empty cell of braille.
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{17b4}' | '\u{17b5}' | '\u{2800}')
}

/// The text as it stands between double quotes: these, backslashes and what nobody sees escaped, apostrophes as they are.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.split('\'').map(|part| part.escape_debug().to_string()).collect::<Vec<_>>().join("'")
}

/// The text with every character made visible that a reader would not see, as Rust escapes it.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if Unseen::find(text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match is_unseen(letter) {
            true => shown.extend(letter.escape_default()),
            false => shown.push(letter),
        }
    }
    Cow::Owned(shown)
}

/// The same for text of several lines: line breaks and tabs stay.
#[must_use]
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    let stays = |letter: char| matches!(letter, '\n' | '\t') || !is_unseen(letter);
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match stays(letter) {
            true => shown.push(letter),
            false => shown.extend(letter.escape_default()),
        }
    }
    Cow::Owned(shown)
}

/// JSON in which every character that a reader would not see is escaped, as JSON has it: the values stay what they are.
#[must_use]
pub fn visible_json(json: &str) -> Cow<'_, str> {
    if json.chars().all(|letter| letter == '\n' || !is_unseen(letter)) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for letter in json.chars() {
        match letter == '\n' || !is_unseen(letter) {
            true => shown.push(letter),
            false => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    // Writing to a string does not fail.
                    let _written = write!(shown, "\\u{unit:04x}");
                }
            }
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_quotes_an_apostrophe_stays_as_it_is() {
        assert_eq!(escaped("Cour d'appel, 'n'"), "Cour d'appel, 'n'");
        assert_eq!(escaped("a \"b\" \\ c\n\u{202e}"), "a \\\"b\\\" \\\\ c\\n\\u{202e}");
    }

    #[test]
    fn hidden_characters_are_shown() {
        assert_eq!(visible("Dublin, Éire"), "Dublin, Éire");
        assert_eq!(visible("a\0\n\u{202e}b\u{feff}"), "a\\u{0}\\n\\u{202e}b\\u{feff}");
        // Each of the two lists that this one came of.
        for letter in
            ['\u{ad}', '\u{a0}', '\u{3164}', '\u{e0041}', '\u{2028}', '\u{fdd0}', '\u{1fffe}', '\u{fe0f}']
        {
            assert_eq!(visible(&letter.to_string()), format!("\\u{{{:x}}}", u32::from(letter)));
        }
    }

    #[test]
    fn no_character_of_the_categories_is_missed() {
        // Each is of one of the categories, or of Default_Ignorable_Code_Point, in Unicode 16.
        for letter in [
            '\u{600}',
            '\u{6dd}',
            '\u{70f}',
            '\u{8e2}',
            '\u{110bd}',
            '\u{13430}',
            '\u{1680}',
            '\u{2007}',
            '\u{202f}',
            '\u{205f}',
            '\u{3000}',
            '\u{378}',
            '\u{e000}',
            '\u{f8ff}',
            '\u{10fffd}',
            '\u{e0101}',
            '\u{180e}',
            '\u{200d}',
            '\u{2066}',
            '\u{61c}',
            '\u{34f}',
            '\u{1d173}',
            '\u{fff0}',
            '\u{e0fff}',
            '\u{85}',
            '\u{7f}',
        ] {
            assert!(is_unseen(letter), "U+{:04X}", u32::from(letter));
        }
        for letter in "azAZ09 ~é\u{301}ßЖ漢字한ａ€𝄞🙂".chars() {
            assert!(!is_unseen(letter), "U+{:04X}", u32::from(letter));
        }
        let told = |letter: char| Unseen::find(&letter.to_string()).unwrap().to_string();
        assert!(told('\u{378}').starts_with("has a character that Unicode does not have"));
        assert!(told('\u{336}').starts_with("has a mark that nobody sees, or that strikes letters out"));
    }

    #[test]
    fn lines_and_json_keep_what_they_say() {
        assert_eq!(visible_lines("a\tb\n\u{202e}c\r\n"), "a\tb\n\\u{202e}c\\r\n");
        let value = serde_json::json!({"a\u{2066}": "\u{e0041}\u{202e}\u{85}é\n"});
        let shown = format!("{value}\n");
        let shown = visible_json(&shown);
        assert!(shown.trim_end().chars().all(|letter| !is_unseen(letter)), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[test]
    fn which_one_and_where_is_told() {
        assert_eq!(Unseen::find("Dublin, Éire 2026/0142"), None);
        let found = Unseen::find("Éire\u{202e}\u{202d}").unwrap();
        assert_eq!(found, Unseen { letter: '\u{202e}', at: 5 });
        assert!(found.to_string().ends_with("turns text around, U+202E as character 5"), "{found}");
        let found = Unseen::find("a\nb").unwrap().to_string();
        assert_eq!(found, "has a control character or a line break, U+000A as character 2");
    }
}
