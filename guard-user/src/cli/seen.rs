//! What commands print, with every character escaped that a reader would not see, whatever it came from: a document, a
//! file's name, a command's argument, an answer of the daemon.

use std::io::{self, Write};

use crate::text::{visible_json, visible_lines};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Lines for people.
    Lines,
    /// JSON: escapes are its own, so that programs read the same values.
    Json,
    /// Bytes that are bound by a hash, or that have escapes of their own.
    Bytes,
}

/// Escapes what is written to `out`.
#[derive(Debug)]
pub struct Seen<W: Write> {
    out: W,
    form: Form,
    /// The beginning of a character whose other bytes are still to come; less than four.
    begun: Vec<u8>,
}

impl<W: Write> Seen<W> {
    /// What is written to it is of this form, in UTF-8.
    pub const fn new(out: W, form: Form) -> Self {
        Self { out, form, begun: Vec::new() }
    }

    fn write_text(&mut self, text: &str) -> io::Result<()> {
        let shown = match self.form {
            Form::Json => visible_json(text),
            Form::Lines | Form::Bytes => visible_lines(text),
        };
        self.out.write_all(shown.as_bytes())
    }
}

impl<W: Write> Write for Seen<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.form == Form::Bytes {
            return self.out.write(bytes);
        }
        let mut whole = std::mem::take(&mut self.begun);
        whole.extend_from_slice(bytes);
        let mut rest = whole.as_slice();
        while !rest.is_empty() {
            let error = match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.write_text(text)?;
                    break;
                }
                Err(error) => error,
            };
            let (text, after) = rest.split_at(error.valid_up_to());
            self.write_text(&String::from_utf8_lossy(text))?;
            let Some(length) = error.error_len() else {
                self.begun = after.to_vec();
                break;
            };
            self.write_text(&char::REPLACEMENT_CHARACTER.to_string())?;
            rest = after.get(length..).unwrap_or_default();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    use crate::text::is_unseen;

    fn written(form: Form, parts: &[&[u8]]) -> String {
        let mut out = Seen::new(Vec::new(), form);
        parts.iter().for_each(|part| out.write_all(part).unwrap());
        String::from_utf8(out.out).unwrap()
    }

    #[test]
    fn what_is_no_text_and_what_comes_in_parts_is_shown() {
        let text = "é\u{202e}\n".as_bytes();
        for at in 0..text.len() {
            let (one, other) = text.split_at(at);
            assert_eq!(written(Form::Lines, &[one, other]), "é\\u{202e}\n");
            assert_eq!(written(Form::Json, &[one, other]), "é\\u202e\n");
        }
        assert_eq!(written(Form::Lines, &[b"a\xffb\x1b"]), "a\u{fffd}b\\u{1b}");
        assert_eq!(written(Form::Bytes, &[b"a\x1b"]), "a\u{1b}");
    }

    proptest! {
        #[test]
        fn nothing_that_nobody_sees_is_written(bytes: Vec<u8>, text: String, at: prop::sample::Index) {
            let whole = [bytes.as_slice(), text.as_bytes()].concat();
            let (one, other) = whole.split_at(at.index(whole.len() + 1));
            let shown = written(Form::Lines, &[one, other]);
            prop_assert!(!shown.chars().any(|letter| !matches!(letter, '\n' | '\t') && is_unseen(letter)));
            let json = serde_json::to_string(&text).unwrap();
            let shown = written(Form::Json, &[json.as_bytes()]);
            prop_assert!(!shown.chars().any(is_unseen));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }
    }
}
