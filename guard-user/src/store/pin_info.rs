//! What the store keeps of a pin, so that it is known without its config.

use serde::{Deserialize, Serialize};

use crate::config::policy::{Action, Ingress, Pin};

/// What is known of a pin without its config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinInfo {
    /// Its name.
    pub name: String,
    /// The line of the config on which it begins.
    pub line: usize,
    /// What it does to egress that it forbids.
    #[serde(with = "StoredAction")]
    pub action: Action,
    /// What it does to packets that come in.
    #[serde(with = "StoredIngress")]
    pub ingress: Ingress,
}

/// How [`Action`] is stored.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Action", rename_all = "kebab-case")]
enum StoredAction {
    Observe,
    Flag,
    Drop,
}

/// How [`Ingress`] is stored.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Ingress", rename_all = "kebab-case")]
enum StoredIngress {
    Off,
    Flag,
    Drop,
}

impl PinInfo {
    /// What is known of this pin.
    pub(super) fn of(pin: &Pin) -> Self {
        Self { name: pin.name.clone(), line: pin.line, action: pin.action, ingress: pin.ingress }
    }
}
