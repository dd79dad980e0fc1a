//! The daemon: a pure [`engine`] that decides, and a [`runtime`] that does.
//!
//! What the kernel judges never waits for any of it, and goes on when the daemon ends.

pub mod engine;
mod runtime;

pub(crate) use runtime::gaps;
pub use runtime::{OfStart, Options, StartError, run, taken_last, what_goes_on};

use crate::config::policy::{Action, Ingress};

/// The name of an action in config, status and logs.
#[must_use]
pub const fn action_name(action: Action) -> &'static str {
    match action {
        Action::Observe => "observe",
        Action::Flag => "flag",
        Action::Drop => "drop",
    }
}

/// The name of what a pin does at ingress in config, status and logs.
#[must_use]
pub const fn ingress_name(ingress: Ingress) -> &'static str {
    match ingress {
        Ingress::Off => "off",
        Ingress::Flag => "flag",
        Ingress::Drop => "drop",
    }
}
