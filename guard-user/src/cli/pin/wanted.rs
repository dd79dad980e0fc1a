//! Which pin is to have which action, and what has to be known before.

use clap::ValueEnum;
use jiff::SignedDuration;

use crate::cli::apply::share;
use crate::cli::seconds::whole_seconds;
use crate::cli::target::Target;
use crate::config::policy::Action;
use crate::config::share::Share;

/// The longest time that may be asked for, in seconds: ten years.
const MOST_SEEN: u64 = 10 * 365 * 24 * 60 * 60;

/// Which pin is to have which action, and what has to be known before.
#[derive(Clone, Debug, clap::Args)]
pub struct Wanted {
    /// The pin's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The action that it is to have [default: the next stricter one]
    #[arg(long, value_name = "ACTION")]
    pub to: Option<To>,
    /// For how long it has to be judged as it is, with guard and daemon: 7d, 12h, or 0s
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = seen)]
    pub min_seen: SignedDuration,
    /// How many flows of the last 24 hours may be dropped by it
    #[arg(long, value_name = "FLOWS", default_value_t = 0)]
    pub max_recent: u64,
    /// The share of the flows that were seen which may newly be dropped, or may be
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = share)]
    pub max_new_drops: Share,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// An action that is stricter than another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// What is forbidden passes and is reported.
    Flag,
    /// What is forbidden is dropped and reported.
    Drop,
}

impl To {
    /// It, as a policy has it.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Flag => Action::Flag,
            Self::Drop => Action::Drop,
        }
    }
}

fn seen(text: &str) -> Result<SignedDuration, String> {
    let seconds = match text {
        "0s" => 0,
        text => whole_seconds(text, MOST_SEEN, "it is a time of whole seconds, such as 7d or 12h")?,
    };
    Ok(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_asked_for_in_whole_seconds_or_not_at_all() {
        assert_eq!(seen("7d"), Ok(SignedDuration::from_hours(7 * 24)));
        assert_eq!(seen("0s"), Ok(SignedDuration::ZERO));
        for text in ["", "7", "1500ms", "20000d", "-1d"] {
            assert!(seen(text).is_err(), "{text}");
        }
    }
}
