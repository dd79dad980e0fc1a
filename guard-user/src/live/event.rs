//! An event as a reader of the log has it: the flat JSON of docs/logs.md, read back.

use jiff::Timestamp;
use serde::Deserialize;

/// One event. What only one kind of event has is empty in the other.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Event {
    /// `event` or `pinned-copy`.
    pub kind: String,
    /// When it was.
    pub time: Timestamp,
    /// Its number within the run of the daemon.
    pub id: u64,
    /// The run of the daemon.
    pub session: String,
    /// Which part of a flow it is; a flow's packets of before are in an event that is `resumed`.
    #[serde(default)]
    pub phase: String,
    /// The verdict's name.
    #[serde(default)]
    pub verdict: String,
    /// The reason's name.
    #[serde(default)]
    pub reason: String,
    /// What the reason means, in a sentence.
    #[serde(default)]
    pub meaning: String,
    /// How severe it is.
    #[serde(default)]
    pub severity: String,
    /// The pins that forbid it.
    #[serde(default)]
    pub pins: Vec<String>,
    /// The pins that tag it.
    #[serde(default)]
    pub tagged: Vec<String>,
    /// The line of the config that forbids it.
    #[serde(default)]
    pub rule: Option<Rule>,
    /// The destination's jurisdiction.
    #[serde(default)]
    pub jurisdiction: String,
    /// By what the destination was placed.
    #[serde(default)]
    pub placed_by: String,
    /// The pinned storage's end.
    #[serde(default)]
    pub source: Option<Endpoint>,
    /// The peer's end.
    #[serde(default)]
    pub destination: Option<Endpoint>,
    /// The protocol.
    #[serde(default)]
    pub protocol: String,
    /// The hook.
    #[serde(default)]
    pub hook: String,
    /// The interface that it was to leave by.
    #[serde(default)]
    pub interface: Option<String>,
    /// Who sent it.
    #[serde(default)]
    pub process: Option<Process>,
    /// Packets since the flow's last event.
    #[serde(default)]
    pub packets: u64,
    /// Their bytes on the wire.
    #[serde(default)]
    pub bytes: u64,
    /// The exemption that let it pass.
    #[serde(default)]
    pub exemption: Option<String>,
}

/// A line of the config.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Rule {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
}

/// One end of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Endpoint {
    /// Its address.
    pub ip: String,
    /// Its port; none where it can't be read.
    #[serde(default)]
    pub port: Option<u16>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Process {
    /// The name of its command.
    pub command: String,
    /// Its id.
    pub pid: u32,
    /// Its user.
    #[serde(default)]
    pub uid: Option<u32>,
    /// The name of its user.
    #[serde(default)]
    pub user: Option<String>,
    /// The service, scope or slice that it is of.
    #[serde(default)]
    pub unit: Option<String>,
}

impl Event {
    /// Whether a pin forbade it: it was dropped, flagged or observed.
    #[must_use]
    pub fn is_violation(&self) -> bool {
        matches!(self.verdict.as_str(), "drop" | "flag" | "observe")
    }

    /// The pins that it concerns: those that forbid it, else those that tag it.
    #[must_use]
    pub fn concerned(&self) -> String {
        let pins = if self.pins.is_empty() { &self.tagged } else { &self.pins };
        pins.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_lines_are_read() {
        let docs = include_str!("../../../docs/logs.md");
        let of_kind = |kind: &str| {
            let begin = format!("{{\"kind\":\"{kind}\",");
            let line = docs.lines().find(|line| line.starts_with(&begin)).unwrap();
            serde_json::from_str::<Event>(line).unwrap()
        };
        let event = of_kind("event");
        assert!(event.is_violation());
        assert_eq!((event.id, event.concerned().as_str(), event.jurisdiction.as_str()), (7, "mail", "US"));
        assert_eq!(event.destination, Some(Endpoint { ip: "198.51.100.7".into(), port: Some(40_000) }));
        let process = event.process.unwrap();
        assert_eq!((process.command.as_str(), process.unit.as_deref()), ("imap", Some("dovecot.service")));
        let copy = of_kind("pinned-copy");
        assert!(!copy.is_violation() && copy.id > 0);
    }
}
