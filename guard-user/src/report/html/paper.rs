//! What each sheet of paper has in its margins: which record, which exemption, the mark, the period and the number of the
//! sheet (CSS Paged Media Level 3, 4 and 7).

use super::super::model::{ExemptionEntry, Report};
use super::super::words::moment;
use crate::text::visible;

/// The anchor and the name of the sheets of the exemption of this place in the report, from 0.
pub(super) fn name(at: usize) -> String {
    format!("exemption-{}", at + 1)
}

/// What the exemption of the report is called.
pub(super) fn title(exemption: &ExemptionEntry) -> String {
    format!("Exemption {}, version {}", exemption.id, exemption.version)
}

/// The rules for the sheets of this report.
pub(super) fn style(report: &Report) -> String {
    let period = format!("{} until {}", moment(report.from), moment(report.until));
    let mut style = format!(
        "@page {{ @top-left {{ content: {} }} @top-right {{ content: {}; font-weight: 700 }} @bottom-left {{ content: {} }} \
         @bottom-right {{ content: counter(page) \" / \" counter(pages) }} }}\n",
        string(&format!("Record of transfers, {}", report.host)),
        string(&report.mark),
        string(&period),
    );
    for (at, exemption) in report.exemptions.iter().enumerate() {
        let (name, title) = (name(at), string(&title(exemption)));
        style.push_str(&format!(
            "@page {name} {{ @top-left {{ content: {title} }} }} #{name} {{ page: {name} }}\n"
        ));
    }
    style
}

/// A string of CSS. Whatever is no letter or digit of ASCII is an escape (CSS Syntax Level 3, 4.3.7), so that no text ends
/// the string or the element.
fn string(text: &str) -> String {
    let mut string = String::from("\"");
    for letter in visible(text).chars() {
        match letter.is_ascii_alphanumeric() || letter == ' ' {
            true => string.push(letter),
            false => string.push_str(&format!("\\{:x} ", u32::from(letter))),
        }
    }
    string.push('"');
    string
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_a_string_of_css() {
        assert_eq!(string("mlat-1"), "\"mlat\\2d 1\"");
        for text in ["\"}</style>", "\\", "a\nb", "\u{0}", "url(x)", "é"] {
            let inner = string(text);
            let inner = inner.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
            assert!(
                inner.chars().all(|letter| letter.is_ascii_alphanumeric() || " \\".contains(letter)),
                "{inner}"
            );
        }
    }
}
