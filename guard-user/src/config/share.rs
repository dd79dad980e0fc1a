//! A share in percent.

use std::fmt;

/// From nothing to all, in hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// All of it.
    const ALL: u32 = 100 * 100;

    /// This many whole percent, at most 100.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self(if percent < 100 { percent * 100 } else { Self::ALL })
    }

    /// Reads `25%` or `0.5%`, with two digits after the point at most.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let number = text.strip_suffix('%')?;
        let (whole, rest) =
            number.split_once('.').map_or((number, None), |(whole, rest)| (whole, Some(rest)));
        let digits = |text: &str, most: usize| -> Option<u32> {
            let is_number =
                (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| text.parse().ok())?
        };
        let hundredths = match rest {
            Some(rest) => digits(rest, 2)? * if rest.len() == 1 { 10 } else { 1 },
            None => 0,
        };
        let share = digits(whole, 3)? * 100 + hundredths;
        (share <= Self::ALL).then_some(Self(share))
    }

    /// Whether this many percent are more than that.
    #[must_use]
    pub fn is_below(self, percent: f64) -> bool {
        percent * 100.0 > f64::from(self.0)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, rest) if rest % 10 == 0 => write!(f, "{whole}.{}%", rest / 10),
            (whole, rest) => write!(f, "{whole}.{rest:02}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_as_they_are_written() {
        for text in ["0%", "0.01%", "0.5%", "25%", "99.99%", "100%"] {
            assert_eq!(Share::read(text).unwrap().to_string(), text);
        }
        for text in
            ["", "%", "25", "-1%", "100.01%", "101%", "0.001%", "1.%", ".5%", "+5%", "5 %", "9999%", "1e1%"]
        {
            assert_eq!(Share::read(text), None, "{text}");
        }
        assert_eq!(Share::read("0.50%"), Share::read("0.5%"));
        assert_eq!(Some(Share::percent(25)), Share::read("25%"));
    }

    #[test]
    fn a_share_is_below_what_is_more() {
        let share = Share::read("0.5%").unwrap();
        assert!(share.is_below(0.51) && share.is_below(f64::INFINITY));
        assert!(!share.is_below(0.5) && !share.is_below(0.0));
    }
}
