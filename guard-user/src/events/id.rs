//! What names an event for good on its host.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The run of the daemon, and the event's number within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventId {
    /// When that daemon started; `None`: the one that runs.
    pub session: Option<Timestamp>,
    /// The number, from 1.
    pub number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.session {
            Some(session) => write!(f, "{session}/{}", self.number),
            None => self.number.fmt(f),
        }
    }
}

impl FromStr for EventId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            "an event is named by its session and its number, such as 2026-11-23T11:00:00Z/7, or by the number alone where \
             the daemon that runs has reported it"
                .to_owned()
        };
        let (session, number) = match text.rsplit_once('/') {
            Some((session, number)) => (Some(session.parse().map_err(|_| bad())?), number),
            None => (None, text),
        };
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_number.then(|| number.parse().ok()).flatten().filter(|number| *number > 0);
        Ok(Self { session, number: number.ok_or_else(bad)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_shown_and_nothing_else_is() {
        for text in ["7", "2026-11-23T11:00:00Z/7", "2026-11-23T11:00:00.123456789Z/18446744073709551615"] {
            assert_eq!(text.parse::<EventId>().unwrap().to_string(), text);
        }
        for text in
            ["", "0", "-1", "+7", "7/", "/7", "x/7", "2026-11-23/7", "2026-11-23T11:00:00Z/0", "1/2/3", "1e3"]
        {
            assert!(text.parse::<EventId>().is_err(), "{text}");
        }
    }
}
