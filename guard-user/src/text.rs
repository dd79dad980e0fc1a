//! Characters of a text that its readers would not see, or not see alike: the one list of them, for what refuses them
//! and for what shows them.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

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
        match self.letter.is_control() {
            true => write!(f, "has a control character or a line break, U+{number:04X} as character {at}"),
            false => write!(
                f,
                "has a character that nobody sees, or that turns text around, U+{number:04X} as character {at}"
            ),
        }
    }
}

/// Whether nobody sees this character, or it turns the text around it (Unicode, UAX 9, general category Cf and
/// Default_Ignorable_Code_Point), or it is a blank that is none of the keyboard's, or none at all (noncharacters, which
/// HTML counts as errors).
fn is_unseen(letter: char) -> bool {
    let is_odd_blank = letter.is_whitespace() && letter != ' ';
    let is_none = matches!(letter, '\u{fdd0}'..='\u{fdef}') || u32::from(letter) & 0xfffe == 0xfffe;
    letter.is_control()
        || is_odd_blank
        || is_none
        || matches!(letter,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
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
            // Writing to a string does not fail.
            true => drop(write!(shown, "{}", letter.escape_default())),
            false => shown.push(letter),
        }
    }
    Cow::Owned(shown)
}

/// Whether people take two names for the same: in letters and digits alone, however they are written, and in signs that look
/// alike (the skeleton of Unicode TR39).
#[must_use]
pub fn look_alike(one: &str, other: &str) -> bool {
    // Small letters may look like others than capitals do.
    let small = |name: &str| seen(&name.to_lowercase());
    seen(one) == seen(other) || small(one) == small(other)
}

/// What people see of a name's letters and digits.
fn seen(name: &str) -> String {
    let signs = unicode_security::skeleton(name).flat_map(char::to_lowercase);
    signs.filter(|sign| sign.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn which_one_and_where_is_told() {
        assert_eq!(Unseen::find("Dublin, Éire 2026/0142"), None);
        let found = Unseen::find("Éire\u{202e}\u{202d}").unwrap();
        assert_eq!(found, Unseen { letter: '\u{202e}', at: 5 });
        assert!(found.to_string().ends_with("turns text around, U+202E as character 5"), "{found}");
        let found = Unseen::find("a\nb").unwrap().to_string();
        assert_eq!(found, "has a control character or a line break, U+000A as character 2");
    }
}
