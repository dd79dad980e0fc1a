//! Texts and numbers as a cell of the terminal may have them.

use jiff::Timestamp;
use ratatui::style::Style;
use ratatui::text::Span;

use crate::report::number::grouped;
use crate::text::visible;

/// Text of which every character has cells of its own: what nobody sees is escaped, and so is what would join the
/// character before it, or is wider than two of them. Names come from the host, and their makers choose them.
pub(super) fn text(raw: &str) -> String {
    let seen = visible(raw);
    if seen.is_ascii() {
        return seen.into_owned();
    }
    let span = Span::raw(seen.as_ref());
    let mut shown = String::with_capacity(seen.len());
    for cluster in span.styled_graphemes(Style::new()) {
        let mut letters = cluster.symbol.chars();
        if let Some(first) = letters.next() {
            match Span::raw(first.to_string()).width() {
                1 | 2 => shown.push(first),
                _ => shown.extend(first.escape_unicode()),
            }
        }
        letters.for_each(|letter| shown.extend(letter.escape_unicode()));
    }
    shown
}

/// Columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The text in so many columns at most; where it is longer it ends with `…`.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = 0;
    for cluster in Span::raw(text).styled_graphemes(Style::new()) {
        let next = width(cluster.symbol);
        if used + next + 1 > columns {
            break;
        }
        used += next;
        cut.push_str(cluster.symbol);
    }
    if columns > 0 {
        cut.push('…');
    }
    cut
}

/// The text in exactly so many columns.
pub(super) fn padded(text: &str, columns: usize, to_the_right: bool) -> String {
    let cut = cut(text, columns);
    let padding = " ".repeat(columns.saturating_sub(width(&cut)));
    match to_the_right {
        true => padding + &cut,
        false => cut + &padding,
    }
}

/// A count: whole up to nine digits, then by powers of 1000.
pub(super) fn count(count: u64) -> String {
    const UNITS: [&str; 4] = ["G", "T", "P", "E"];
    if count < 1_000_000_000 {
        return grouped(count);
    }
    let mut scaled = count as f64 / 1e9;
    for unit in UNITS {
        if scaled < 999.95 {
            return format!("{scaled:.1} {unit}");
        }
        scaled /= 1000.0;
    }
    grouped(count)
}

/// How long it is from one moment to another, in its two largest units; `over` where that is past.
pub(super) fn left(now: Timestamp, until: Timestamp) -> String {
    let Ok(seconds) = u64::try_from(until.as_second().saturating_sub(now.as_second())) else {
        return "over".to_owned();
    };
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds == 0 => "over".to_owned(),
        (0, 0, minutes) => format!("{minutes}m {:02}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h {minutes:02}m"),
        (days, hours, _) => format!("{}d {hours:02}h", grouped(days)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_joins_or_hides_is_escaped_and_what_is_wide_stays() {
        assert_eq!(text("imap é 漢字🙂"), "imap é 漢字🙂");
        assert_eq!(text("e\u{301}\u{302}x"), "e\\u{301}\\u{302}x");
        assert_eq!(text("\u{301}\u{17d8}"), "\\u{301}\\u{17d8}");
        assert_eq!(text("\u{1b}[31m\u{202e}"), "\\u{1b}[31m\\u{202e}");
        assert_eq!(text("🇮🇪👍🏽"), "🇮\\u{1f1ea}👍\\u{1f3fd}");
    }

    #[test]
    fn a_cell_is_as_wide_as_it_is_asked_to_be() {
        assert_eq!(padded("ab", 4, false), "ab  ");
        assert_eq!(padded("ab", 4, true), "  ab");
        assert_eq!(padded("abcdef", 4, false), "abc…");
        // A wide character that has no room leaves its first column empty.
        assert_eq!(padded("漢字漢", 4, false), "漢… ");
        assert_eq!(padded("abc", 0, false), "");
    }

    #[test]
    fn numbers_and_times_are_short() {
        assert_eq!(count(999_999_999), "999,999,999");
        assert_eq!(count(1_000_000_000), "1.0 G");
        assert_eq!(count(u64::MAX), "18.4 E");
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        for (seconds, shown) in
            [(-5, "over"), (0, "over"), (59, "0m 59s"), (3600, "1h 00m"), (90_000, "1d 01h")]
        {
            assert_eq!(left(at(100), at(100 + seconds)), shown);
        }
        assert_eq!(left(Timestamp::MIN, Timestamp::MAX).split(' ').count(), 2);
        assert_eq!(left(Timestamp::MAX, Timestamp::MIN), "over");
    }

    proptest! {
        #[test]
        fn every_width_is_kept_for_any_text(raw: String, columns in 0_usize..40, right: bool) {
            let shown = text(&raw);
            prop_assert!(!shown.chars().any(char::is_control));
            prop_assert_eq!(width(&padded(&shown, columns, right)), columns);
        }
    }
}
