//! One pin's action in the text of a config: its bytes are exchanged, and nothing else is.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::fragments;
use crate::config::policy::Action;
use crate::daemon::action_name;

/// The text in which this pin has the action; `None` where the text has no such pin with an action.
pub(super) fn with_action(text: &str, pin: &str, action: Action) -> Option<String> {
    // Pins are in the config's own file, before those of policy.d.
    let own = text.get(..fragments::split(text).0)?;
    let (document, _) = DeTable::parse_recoverable(own);
    let DeValue::Array(pins) = document.get_ref().get("pin")?.get_ref() else { return None };
    let value_of = |table: &'_ DeValue<'_>, key: &str| -> Option<(String, std::ops::Range<usize>)> {
        let value: &Spanned<DeValue<'_>> = table.as_table()?.get(key)?;
        Some((value.get_ref().as_str()?.to_owned(), value.span()))
    };
    let is_it =
        |it: &&Spanned<DeValue<'_>>| value_of(it.get_ref(), "name").is_some_and(|(name, _)| name == pin);
    let (_, span) = value_of(pins.iter().find(is_it)?.get_ref(), "action")?;
    let (before, after) = (text.get(..span.start)?, text.get(span.end..)?);
    Some(format!("{before}\"{}\"{after}", action_name(action)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::config::{self, Surroundings};

    #[test]
    fn nothing_but_the_value_is_exchanged() {
        for (before, after) in [
            (
                "# my pins\r\n[[pin]]\r\nname = \"a\"\r\naction='observe'  # for now\r\n[[pin]]\r\nname = \"b\"\r\naction = \"observe\"\r\n",
                "# my pins\r\n[[pin]]\r\nname = \"a\"\r\naction=\"flag\"  # for now\r\n[[pin]]\r\nname = \"b\"\r\naction = \"observe\"\r\n",
            ),
            (
                "pin = [{ action = \"observe\", name = \"b\" }, { name = \"a\", action = \"\"\"observe\"\"\" }]",
                "pin = [{ action = \"observe\", name = \"b\" }, { name = \"a\", action = \"flag\" }]",
            ),
            (
                "[[pin]]\nname = \"\\u0061\" # \u{e9}\naction = \"observe\"\n#= policy.d/x.toml\n[[pin]]\nname = \"a\"\naction = \"drop\"\n",
                "[[pin]]\nname = \"\\u0061\" # \u{e9}\naction = \"flag\"\n#= policy.d/x.toml\n[[pin]]\nname = \"a\"\naction = \"drop\"\n",
            ),
        ] {
            assert_eq!(with_action(before, "a", Action::Flag).as_deref(), Some(after));
            assert_eq!(with_action(before, "c", Action::Flag), None);
        }
        for none in ["", "pin = 1", "[[pin]]\nname = \"a\"\naction = 1\n", "[[pin]]\nname = \"a\"\n"] {
            assert_eq!(with_action(none, "a", Action::Flag), None);
        }
    }

    proptest! {
        /// Of a config without errors the policy is the same but for the one action.
        #[test]
        fn the_policy_differs_in_the_action_alone(at in 0..3_usize, to in 0..3_usize, gap in "[ \t]{0,3}") {
            let actions = [Action::Observe, Action::Flag, Action::Drop];
            let pin = |name: &str| {
                format!("[[pin]]\nname = \"{name}\"\nhome = \"IE\"\naction{gap}={gap}\"observe\"{gap}# \u{e9}\n[pin.select]\nports = [\"tcp/143\"]\n")
            };
            let text = format!("approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n{}{}{}", pin("a"), pin("b"), pin("c"));
            let policy = |text: &str| {
                config::parse(Path::new("p"), text.as_bytes(), &Surroundings::new(None)).unwrap().policy
            };
            let edited = with_action(&text, ["a", "b", "c"][at], actions[to]).unwrap();
            let (mut expected, found) = (policy(&text), policy(&edited));
            expected.pins[at].action = actions[to];
            prop_assert_eq!(&expected.pins, &found.pins);
            prop_assert_eq!(expected.sites, found.sites);
        }
    }
}
