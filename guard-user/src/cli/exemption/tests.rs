//! What the commands about exemptions show, whatever a document says.

use proptest::prelude::*;

use super::verify::tests::{DOCUMENT, now};
use super::{lint, show};
use crate::cli::seen::{Form, Seen};
use crate::exemption::{Summary, parse};
use crate::text::is_unseen;

/// What a command prints by way of the program's standard output.
fn printed(form: Form, command: impl FnOnce(&mut Seen<&mut Vec<u8>>)) -> String {
    let mut out = Vec::new();
    command(&mut Seen::new(&mut out, form));
    String::from_utf8(out).unwrap()
}

fn unseen(text: &str) -> Vec<char> {
    text.chars().filter(|&letter| !matches!(letter, '\n' | '\t') && is_unseen(letter)).collect()
}

/// Texts with what a reader would not see, and without.
fn text() -> impl Strategy<Value = String> {
    let letter = prop_oneof![
        3 => prop::char::range('a', 'z'),
        2 => any::<char>(),
        2 => prop::sample::select(vec!['\u{202e}', '\u{2066}', '\u{1b}', '\u{200b}', '\u{fe0f}', '\u{a0}', '\u{378}', '\n', '\u{85}']),
    ];
    prop::collection::vec(letter, 0..12).prop_map(|letters| letters.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn nothing_that_nobody_sees_is_shown_of_any_document(text in text(), raw: bool, key in 0..6_usize, json: bool) {
        let old = ["Evidence in case 5", "Court", "198.51.100.20/32", "dpo", "\"m-1\"", "\npurpose"][key];
        let value = match raw {
            true => text.clone(),
            false => text.chars().map(|letter| format!("\\U{:08X}", u32::from(letter))).collect(),
        };
        let new = match key {
            4 => format!("\"{value}\""),
            5 => format!("\n# {text}\n\"{value}\" = 1\npurpose"),
            _ => value,
        };
        let document = DOCUMENT.replacen(old, &new, 1);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m\u{202e}.toml");
        std::fs::write(&file, &document).unwrap();
        let args = lint::Args { file, config: None, json };
        let form = if json { Form::Json } else { Form::Lines };
        let shown = printed(form, |out| { lint::run(&args, now(), out).unwrap(); });
        prop_assert_eq!(unseen(&shown), vec![], "{}", shown);
        if json {
            let object: serde_json::Value = serde_json::from_str(&shown).unwrap();
            let has_its_name = object["file"].as_str().unwrap().ends_with("m\u{202e}.toml");
            prop_assert!(has_its_name);
        }
        // A document with such a character in it is refused, wherever it stands.
        let has_unseen = !unseen(&document).is_empty() || !raw && text.chars().any(is_unseen);
        if has_unseen {
            prop_assert!(shown.contains("error") || json, "{}", shown);
        }
    }

    #[test]
    fn nothing_that_nobody_sees_is_shown_of_what_is_loaded(text in text()) {
        let pins = ["mail".to_owned()];
        let surroundings = lint::surroundings(Some(&pins), now());
        let document = parse(std::path::Path::new("m.toml"), DOCUMENT.as_bytes(), &surroundings).unwrap();
        let mut summary = Summary::of_document(&document, now());
        for place in [
            &mut summary.id,
            &mut summary.purpose,
            &mut summary.instrument.name,
            &mut summary.instrument.authority,
            &mut summary.exporter.contact,
            &mut summary.required[0].role,
            &mut summary.pins[0],
        ] {
            place.push_str(&text);
        }
        summary.recipients[0].name.push_str(&text);
        summary.recipients[0].cidrs[0].push_str(&text);
        let shown = printed(Form::Lines, |out| show::list(&[summary], now(), out).unwrap());
        prop_assert_eq!(unseen(&shown), vec![], "{}", shown);
    }
}
