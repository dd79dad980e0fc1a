//! How an event looks in an answer.

use serde::{Deserialize, Serialize};

use crate::config::policy::LogFormat;

/// How an event looks in an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum EventFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object, with keys of our own.
    Json,
    /// One JSON object, as OCSF has it.
    Ocsf,
    /// One JSON object, as ECS has it.
    Ecs,
}

impl From<EventFormat> for LogFormat {
    fn from(format: EventFormat) -> Self {
        match format {
            EventFormat::Text => Self::Text,
            EventFormat::Json => Self::Json,
            EventFormat::Ocsf => Self::Ocsf,
            EventFormat::Ecs => Self::Ecs,
        }
    }
}
