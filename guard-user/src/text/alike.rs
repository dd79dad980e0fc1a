//! Names that people take for each other.
//!
//! A name is brought to forms in which all that looks the same is the same, and two names are one where they have a form in
//! common. Forms are made of the written name whenever two are compared, and never kept: another version may read more alike.

use std::fmt;

use unicode_general_category::{GeneralCategory, get_general_category};
use unicode_normalization::UnicodeNormalization;
use unicode_security::mixed_script::AugmentedScriptSet;
use unicode_security::skeleton;

/// By what a letter is read that is not of ASCII.
#[derive(Clone, Copy)]
enum Way {
    /// By the letter of ASCII that it looks like as it stands, or in the other case.
    AsSeen,
    /// By what it looks like as a small letter: names in other alphabets that differ in capitals alone are one.
    InOneCase,
}

/// Whether people take two names for the same. Capitals, signs, blanks and accents make no difference, and a digit is that digit in
/// every script. What looks alike is one: `i`, `l`, `1`, `|` and `!`, `o` and `0`, `s` and `5`, `z` and `2`, `b` and `8`, `g` and
/// `9`, `rn` and `m`, `cl` and `d`, `vv` and `w`, and what the skeletons of Unicode TR39 have. Two digits are never one.
#[must_use]
pub fn look_alike(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let others = forms(other);
    forms(one).iter().any(|form| others.contains(form))
}

/// What people see of an identity, in which signs count. Two that have one of these in common look alike.
#[must_use]
pub fn looks(identity: &str) -> [String; 2] {
    [Way::AsSeen, Way::InOneCase].map(|way| {
        let mut form = String::new();
        for letter in identity.chars() {
            match letter.is_alphanumeric() || letter == '|' {
                true => read(letter, way, &mut form),
                false => form.extend(skeleton(letter.encode_utf8(&mut [0; 4]))),
            }
        }
        form
    })
}

/// What people may read a name as.
fn forms(name: &str) -> Vec<String> {
    [Way::AsSeen, Way::InOneCase].into_iter().flat_map(|way| forms_by(way, name)).collect()
}

/// The forms of a name with the signs that look like letters, such as `!`, with those alone that a letter follows, and without
/// any: at its end such a sign is more often a sign.
fn forms_by(way: Way, name: &str) -> [String; 3] {
    let [mut all, mut within, mut without] = <[String; 3]>::default();
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        let begin = all.len();
        read(letter, way, &mut all);
        let its = all.get(begin..).unwrap_or_default();
        let is_letter = letter.is_alphanumeric();
        if is_letter || letters.peek().is_some_and(|next| next.is_alphanumeric()) {
            within.push_str(its);
        }
        if is_letter {
            without.push_str(its);
        }
    }
    [all, within, without]
}

/// Adds what a character is read as; nothing for a sign that looks like no letter.
fn read(letter: char, way: Way, form: &mut String) {
    if letter.is_ascii() {
        return add_ascii(letter, form);
    }
    if let Some(plain) = enclosed(letter) {
        return plain.chars().for_each(|it| add_ascii(it, form));
    }
    for part in letter.nfkd() {
        match digit(part) {
            Some(digit) => form.push(digit),
            None if part.is_ascii() => add_ascii(part, form),
            None => form.push_str(&read_part(part, way)),
        }
    }
}

/// What a letter is read as that is no composition of others.
fn read_part(letter: char, way: Way) -> String {
    let small: String = fold(letter).collect();
    // Before any skeleton: that of a small capital may be a letter of another script.
    let early = match way {
        Way::AsSeen => like_ascii(letter),
        Way::InOneCase => small.chars().next().map_or(letter, like_ascii),
    };
    if early.is_ascii() && small.chars().nth(1).is_none() {
        let mut form = String::new();
        add_ascii(early, &mut form);
        return form;
    }
    let of = |text: &str| {
        let mut form = String::new();
        skeleton(text).for_each(|it| add(it, &mut form));
        form
    };
    let in_one_case = of(&small);
    match way {
        Way::InOneCase => in_one_case,
        Way::AsSeen => {
            let written = [letter.to_string(), small, letter.to_uppercase().collect()];
            let is_plain = |form: &String| !form.is_empty() && form.is_ascii();
            written.iter().map(|text| of(text)).find(is_plain).unwrap_or(in_one_case)
        }
    }
}

/// The letter without its case: the same for all that are each other's capitals or small letters.
fn fold(letter: char) -> impl Iterator<Item = char> {
    letter.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// Adds a character of a skeleton.
fn add(letter: char, form: &mut String) {
    let plain = like_ascii(letter);
    if plain.is_ascii() {
        return add_ascii(plain, form);
    }
    for small in fold(plain).map(like_ascii) {
        match small.is_ascii() {
            true => add_ascii(small, form),
            false if small.is_alphanumeric() => form.push(small),
            false => {}
        }
    }
}

/// Adds what stands for a character of ASCII and all that look like it. What looks like several letters is written as these, so
/// that it does not matter which are joined first.
fn add_ascii(letter: char, form: &mut String) {
    match letter.to_ascii_lowercase() {
        'i' | 'l' | '1' | '|' | '!' => form.push('1'),
        'o' => form.push('0'),
        's' | '$' => form.push('5'),
        'z' => form.push('2'),
        'b' => form.push('8'),
        'g' => form.push('9'),
        '@' => form.push('a'),
        'm' => form.push_str("rn"),
        'd' => form.push_str("c1"),
        'w' => form.push_str("vv"),
        other if other.is_ascii_alphanumeric() => form.push(other),
        _ => {}
    }
}

/// The letter of ASCII that a character looks like, where no skeleton says so: small capitals, and what is used in the place of
/// another letter for its shape.
fn like_ascii(letter: char) -> char {
    match letter {
        'ᴀ' | 'Ʌ' => 'a',
        'ʙ' => 'b',
        'ᴅ' => 'd',
        'ᴇ' | 'ε' | 'ɛ' | '€' => 'e',
        'ꜰ' => 'f',
        'ɢ' => 'g',
        'ʜ' => 'h',
        'ᴊ' => 'j',
        'ᴋ' | 'ĸ' => 'k',
        'ʟ' | 'ㄥ' | '丨' | '〡' => 'l',
        'ᴏ' | '○' | '◯' | '●' | '°' => 'o',
        'ꜱ' | '§' => 's',
        'ᴍ' => 'm',
        'ɴ' | 'π' | 'И' => 'n',
        'ᴘ' => 'p',
        'ʀ' | 'ᴙ' | 'Я' => 'r',
        'ᴛ' | '†' => 't',
        'ᴢ' => 'z',
        // Signs, as a dash is.
        'ー' | '一' => '-',
        'ᴎ' => 'u',
        'ω' => 'w',
        'ㄨ' | '乂' => 'x',
        other => other,
    }
}

/// The digit that a character of any script is.
fn digit(letter: char) -> Option<char> {
    let is_digit = |letter: char| get_general_category(letter) == GeneralCategory::DecimalNumber;
    if !is_digit(letter) {
        return None;
    }
    // Unicode keeps the ten digits of a script together, from zero on.
    let before = (0..u32::from(letter)).rev().map_while(char::from_u32);
    let before = before.take_while(|it| is_digit(*it)).count();
    u32::try_from(before % 10).ok().and_then(|digit| char::from_digit(digit, 10))
}

/// The number or the letter within a circle or a square, where Unicode has no compatible form of it.
fn enclosed(letter: char) -> Option<String> {
    let after = |first: char| u32::from(letter).saturating_sub(u32::from(first));
    let of_alphabet = |first| char::from_u32(u32::from('a') + after(first)).map(String::from);
    let number = match letter {
        '\u{24ff}' | '\u{1f10b}' | '\u{1f10c}' => 0,
        '\u{2776}'..='\u{277f}' => 1 + after('\u{2776}'),
        '\u{2780}'..='\u{2789}' => 1 + after('\u{2780}'),
        '\u{278a}'..='\u{2793}' => 1 + after('\u{278a}'),
        '\u{24f5}'..='\u{24fe}' => 1 + after('\u{24f5}'),
        '\u{24eb}'..='\u{24f4}' => 11 + after('\u{24eb}'),
        '\u{1f150}'..='\u{1f169}' => return of_alphabet('\u{1f150}'),
        '\u{1f170}'..='\u{1f189}' => return of_alphabet('\u{1f170}'),
        '\u{1f1e6}'..='\u{1f1ff}' => return of_alphabet('\u{1f1e6}'),
        _ => return None,
    };
    Some(number.to_string())
}

/// A letter of another script than those before it in a name, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherScript {
    /// The letter.
    pub letter: char,
    /// Which character of the name it is, from 1.
    pub at: usize,
}

impl OtherScript {
    /// The first one in a name. Those that are written together are one script: Chinese with Bopomofo, Japanese and Korean, each
    /// with Latin letters too.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        let latin = AugmentedScriptSet::from('a');
        let (mut all, mut others) = (AugmentedScriptSet::default(), AugmentedScriptSet::default());
        // Signs are of many scripts, and what they look like is another matter.
        for (letter, at) in name.chars().zip(1..).filter(|(letter, _)| letter.is_alphanumeric()) {
            let its = AugmentedScriptSet::from(letter);
            all.intersect_with(its);
            let mut as_latin = latin;
            as_latin.intersect_with(its);
            if as_latin.is_empty() {
                others.intersect_with(its);
            }
            let is_with_latin = others.hanb || others.jpan || others.kore;
            if all.is_empty() && !is_with_latin {
                return Some(Self { letter, at });
            }
        }
        None
    }
}

impl fmt::Display for OtherScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, at) = (u32::from(self.letter), self.at);
        write!(
            f,
            "has letters of several scripts: U+{number:04X} as character {at} is of another than those before it"
        )
    }
}

#[cfg(test)]
mod tests;
