//! Whatever the file holds, the answer is a policy or errors, and never a panic.

use std::path::Path;

use proptest::prelude::*;

use super::findings::{self, can_be_shown};
use super::{GOOD, check, small_database, small_groups};
use crate::config::keys::KEYS;
use crate::config::{Surroundings, parse};

const EXAMPLE: &str = include_str!("../../../../docs/example.toml");

/// Holds for every input: an answer, and errors that can be shown and stand in the file.
fn answers(bytes: &[u8]) {
    let surroundings = Surroundings { groups: &small_groups, database: Some(&small_database), host: None };
    match parse(Path::new("policy.toml"), bytes, &surroundings) {
        Ok(checked) => {
            assert!(!checked.policy.host.interfaces.is_empty());
            for pin in &checked.policy.pins {
                assert!(pin.home.is_country() && pin.permitted.contains(pin.home));
                assert_ne!(pin.select, Default::default());
            }
            for warning in checked.warnings {
                assert!(!warning.kind.hint().is_empty() && !warning.to_string().is_empty());
            }
        }
        Err(errors) => can_be_shown(&errors, bytes),
    }
}

/// Texts that mean something in a config, and are right for some keys alone.
const TEXTS: &[&str] = &["192.0.2.1/24", "EU", "nordics", "tcp/1-65535", "0x10/0x1", "-60d"];

/// A value of any TOML type, right or wrong.
fn value() -> impl Strategy<Value = String> {
    let others = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f32>()
            .prop_filter("TOML writes them otherwise", |f| f.is_finite())
            .prop_map(|f| format!("{f:?}")),
        Just("1979-05-27T07:32:00Z".to_owned()),
        Just("{ a = [1, { b = 2 }] }".to_owned()),
        Just("[[], [1], {}]".to_owned()),
    ];
    findings::value(TEXTS, others)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        answers(&bytes);
    }

    #[test]
    fn any_text_of_what_toml_is_made_of(text in "[\\[\\]{}=\"'#., \na-d0-9_:+-]{0,200}") {
        answers(text.as_bytes());
    }

    #[test]
    fn the_example_with_bytes_changed(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)
    ) {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        for (index, byte) in changes {
            *index.get_mut(&mut bytes) = byte;
        }
        answers(&bytes);
    }

    #[test]
    fn the_example_with_lines_moved_taken_out_and_repeated(
        picked in prop::collection::vec(any::<prop::sample::Index>(), 0..60)
    ) {
        let lines: Vec<&str> = EXAMPLE.lines().filter(|line| !line.starts_with('#')).collect();
        let text: Vec<&str> = picked.iter().map(|index| *index.get(&lines)).collect();
        answers(text.join("\n").as_bytes());
    }

    #[test]
    fn the_example_cut_anywhere(cut in any::<prop::sample::Index>()) {
        answers(&EXAMPLE.as_bytes()[..cut.index(EXAMPLE.len())]);
    }

    #[test]
    fn the_good_config_with_any_values(values in prop::collection::vec((0..KEYS.len(), value()), 1..6)) {
        let mut lines: Vec<String> = GOOD.lines().map(str::to_owned).collect();
        for (key, value) in values {
            let key = &KEYS[key];
            let begins = format!("{} =", key.name);
            for line in lines.iter_mut().filter(|line| line.starts_with(&begins)) {
                *line = format!("{begins} {value}");
            }
            if key.section == "groups" {
                lines.iter_mut().filter(|line| *line == "[groups]").for_each(|line| {
                    *line = format!("[groups]\nothers = {value}");
                });
            }
            if key.section == "geo" {
                lines.push(format!("[geo]\n{begins} {value}"));
            }
        }
        answers(lines.join("\n").as_bytes());
    }
}

#[test]
fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        let text = format!("x = {}{}", open.repeat(50_000), close.repeat(100_000));
        answers(text.as_bytes());
    }
    let dotted = vec!["a"; 50_000].join(".");
    answers(format!("{dotted} = 1").as_bytes());
    answers(format!("[{dotted}]").as_bytes());
}

#[test]
fn an_empty_file_is_an_answer_too() {
    answers(b"");
    assert!(check("").is_err());
}
