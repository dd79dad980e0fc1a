//! What can be wrong with what `[approval]` asks for.

use super::finding::quoted;
use crate::approval::NotEnough;

/// Why a config does not say well enough who approves exemptions. Its `Display` is one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalFault {
    /// A pin that drops, and no word on who approves its exemptions.
    #[error("the pin {} drops, and nothing says whose approval an exemption from it needs", quoted(pin))]
    Unsaid {
        /// The pin.
        pin: String,
    },
    /// A pin that drops, and no rule is for it.
    #[error("the pin {} drops, and no rule of [approval] is for it", quoted(pin))]
    PinWithoutRule {
        /// The pin.
        pin: String,
    },
    /// A rule for a pin that is not there.
    #[error("there is no pin {}", quoted(pin))]
    NoSuchPin {
        /// What stands there.
        pin: String,
    },
    /// No number of signers.
    #[error("{number} is no number of signers")]
    BadCount {
        /// The number.
        number: i128,
    },
    /// No prefix of a recipient's networks.
    #[error("{number} is no shortest prefix")]
    BadWidest {
        /// The number.
        number: i128,
        /// The least that it can be.
        least: u8,
        /// The most.
        most: u8,
    },
    /// Two signers with one Unix user.
    #[error("{} is the user of the signer on line {first_line} already", quoted(user))]
    SharedUser {
        /// The user.
        user: String,
        /// Where the first of the two names it.
        first_line: usize,
    },
    /// Two identities that people can't tell apart (Unicode TR39).
    #[error("\"{}\" looks like \"{}\" on line {first_line}", identity.escape_default(), other.escape_default())]
    LooksAlike {
        /// The identity.
        identity: String,
        /// The one before it.
        other: String,
        /// Where that one stands.
        first_line: usize,
    },
    /// A rule that all signers together can't meet.
    #[error("nobody could approve by this rule: {why}")]
    RuleUnmet {
        /// What would be missing.
        why: NotEnough,
    },
}

impl ApprovalFault {
    /// What to do next, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unsaid { .. } => {
                "write [approval] with signers and rules (docs/approvals.md), or, above the first header, approval = \
                 \"none\": then one person may open"
                    .into()
            }
            Self::PinWithoutRule { pin } => format!(
                "for example [[approval.rule]] with pins = [{}] and required = [{{ role = \"legal\", count = 1 }}]",
                quoted(pin)
            ),
            Self::NoSuchPin { .. } => "name a pin as its `name` does, or leave `pins` out for all of them".into(),
            Self::BadCount { .. } => "from 1 to as many as the role has signers".into(),
            Self::BadWidest { least, most, .. } => format!("write the bits of a prefix, from {least} to {most}"),
            Self::SharedUser { .. } => "one person is one signer, with all their roles: who loads a document is known by the user".into(),
            Self::LooksAlike { .. } => "one person is one signer; give another person a name that nobody takes for it".into(),
            Self::RuleUnmet { .. } => "name more signers with this role, or ask for fewer; one person counts once".into(),
        }
    }

    /// A short name that stays the same from release to release.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unsaid { .. } => "no-approval",
            Self::PinWithoutRule { .. } => "pin-without-rule",
            Self::NoSuchPin { .. } => "no-such-pin",
            Self::BadCount { .. } => "bad-count",
            Self::BadWidest { .. } => "bad-widest",
            Self::SharedUser { .. } => "shared-user",
            Self::LooksAlike { .. } => "looks-alike",
            Self::RuleUnmet { .. } => "rule-unmet",
        }
    }
}
