//! Where a policy lets data pass without an exemption: nothing that is done to the exemption stops it.

use std::fmt;

use super::document::{Document, Recipient};
use crate::config::policy::{Action, Pin};
use crate::text::escaped;

/// That a pin lets its data to a recipient whatever exemptions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needless<'d> {
    /// The pin's name.
    pub pin: &'d str,
    /// Who receives.
    pub recipient: &'d Recipient,
    /// Why it passes.
    pub by: By,
}

/// Why a pin lets data pass without an exemption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// The recipient is in the pin's home.
    Home,
    /// The pin permits the recipient's jurisdiction.
    Permit,
    /// The pin drops nothing: it flags or observes.
    Action(Action),
}

impl By {
    /// Whether the transfer is none that an exemption is for: the policy permits it.
    #[must_use]
    pub const fn is_permitted(self) -> bool {
        matches!(self, Self::Home | Self::Permit)
    }
}

impl fmt::Display for Needless<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pin, recipient, by } = self;
        let (pin, country) = (escaped(pin), recipient.jurisdiction);
        match by {
            By::Home => write!(f, "{country} is the home of the pin {pin}"),
            By::Permit => write!(f, "the pin {pin} permits {country}"),
            By::Action(Action::Observe) => write!(f, "the pin {pin} only observes"),
            By::Action(_) => write!(f, "the pin {pin} only flags"),
        }
    }
}

/// Of the pins of a document and its recipients those between which data passes without it, by these pins. A recipient whose
/// networks count wherever they are placed is taken to be where the document has it.
#[must_use]
pub fn needless<'d>(document: &'d Document, pins: &[Pin]) -> Vec<Needless<'d>> {
    let of_pin = |name: &'d str| {
        // A pin that is known in several ways is there several times, with the same rules.
        let pin = pins.iter().find(|pin| pin.name == name)?;
        let of = move |recipient: &'d Recipient| {
            let by = match pin.action {
                _ if recipient.jurisdiction == pin.home => By::Home,
                _ if pin.permitted.contains(recipient.jurisdiction) => By::Permit,
                Action::Drop => return None,
                action => By::Action(action),
            };
            Some(Needless { pin: name, recipient, by })
        };
        Some(document.recipients.iter().filter_map(of).collect::<Vec<_>>())
    };
    document.pins.iter().filter_map(|name| of_pin(name)).flatten().collect()
}

/// What these are in a sentence's words, each once.
#[must_use]
pub fn words(of: &[Needless<'_>]) -> String {
    let mut words: Vec<String> = of.iter().map(ToString::to_string).collect();
    words.sort();
    words.dedup();
    words.join(", ")
}
