//! One event with everything that is known of it.

use std::net::IpAddr;
use std::sync::Arc;

use guard_common::abi::{self, Hook, PlacedBy};
use guard_common::jurisdiction::Jurisdiction;
use guard_common::verdict::{Reason, Verdict};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::severity::Severity;
use super::stored;

/// One flow under one verdict, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The event's number, from 1 and without a gap as long as the daemon runs. The log's lines have numbers of their own.
    pub sequence: u64,
    /// When the daemon started: with the sequence it names an event for good.
    pub session: Timestamp,
    /// The flow's last packet so far, by the wall clock.
    pub time: Timestamp,
    /// Where in the flow's life it stands.
    pub phase: Phase,
    /// The hook that judged.
    #[serde(with = "stored::hook")]
    pub hook: Hook,
    /// What was decided.
    #[serde(with = "stored::verdict")]
    pub verdict: Verdict,
    /// Why.
    #[serde(with = "stored::reason")]
    pub reason: Reason,
    /// Pins that forbid the destination, in the order of the config.
    #[serde(with = "stored::shared_all")]
    pub pins: Vec<Arc<str>>,
    /// All pins of the flow, in the order of the config.
    #[serde(with = "stored::shared_all")]
    pub tagged: Vec<Arc<str>>,
    /// The rule that decided; `None` where the generation that judged is not known any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// Where the destination is.
    #[serde(with = "stored::jurisdiction")]
    pub jurisdiction: Jurisdiction,
    /// What placed it.
    #[serde(with = "stored::placed_by")]
    pub placed_by: PlacedBy,
    /// The pinned storage's end; `None` where no address could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Endpoint>,
    /// The peer's end; `None` where no address could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Endpoint>,
    /// Where the tunnel goes that the flow is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<IpAddr>,
    /// Where that tunnel begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel_source: Option<IpAddr>,
    /// Whether the flow is in a tunnel, also where its ends are not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_tunnelled: bool,
    /// IP protocol number.
    pub protocol: u8,
    /// TCP flags seen, ORed, in the order of RFC 9293 section 3.1; 0 for other protocols.
    pub tcp_flags: u8,
    /// The interface's index.
    pub ifindex: u32,
    /// The interface's name, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "stored::shared_if_known")]
    pub interface: Option<Arc<str>>,
    /// Firewall mark of the last packet.
    pub mark: u32,
    /// Id of the sending socket's cgroup; 0 where there is none.
    pub cgroup_id: u64,
    /// Path of that cgroup below the cgroup v2 root, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "stored::shared_if_known")]
    pub cgroup: Option<Arc<str>>,
    /// Who used or made that socket, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// Volumes whose data the sending socket may carry, where the policy selects by volumes.
    #[serde(with = "stored::shared_all")]
    pub volumes: Vec<Arc<str>>,
    /// Packets since the last event of the flow.
    pub packets: u64,
    /// Bytes on the wire since the last event of the flow.
    pub bytes: u64,
    /// Packets since the flow's record began.
    pub flow_packets: u64,
    /// Bytes on the wire since the flow's record began.
    pub flow_bytes: u64,
    /// When the flow's record began.
    pub flow_start: Timestamp,
    /// Id of the exemption that the flow passes by.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "stored::shared_if_known")]
    pub exemption: Option<Arc<str>>,
    /// The generation that judged the last packet.
    pub generation: u64,
    /// SHA-256 of the config that made it, 64 digits in small letters, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "stored::shared_if_known")]
    pub policy: Option<Arc<str>>,
    /// Whether users, commands, processes and cgroups are there as far as they are known.
    #[serde(default, skip_serializing_if = "People::are_shown")]
    pub people: People,
    /// Community ID, version 1 with seed 0, where the flow has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub community_id: Option<String>,
}

/// Whether an event has what it knows of users, commands, processes and cgroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum People {
    /// It has.
    #[default]
    Shown,
    /// The reader lacks the right `people`.
    Hidden,
    /// The time is over for which the flow history keeps them.
    Removed,
}

impl People {
    /// The name in logs and docs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shown => "shown",
            Self::Hidden => "hidden",
            Self::Removed => "removed",
        }
    }

    /// Whether they are there.
    #[must_use]
    pub const fn are_shown(&self) -> bool {
        matches!(self, Self::Shown)
    }

    /// The name where they are not there.
    #[must_use]
    pub(super) const fn why_not(self) -> Option<&'static str> {
        match self {
            Self::Shown => None,
            Self::Hidden | Self::Removed => Some(self.name()),
        }
    }
}

/// A process that used or made a socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// The name of its command.
    pub command: Box<str>,
    /// Its user.
    pub uid: u32,
    /// The name of its user, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "stored::shared_if_known")]
    pub user: Option<Arc<str>>,
    /// Id of its cgroup.
    pub cgroup_id: u64,
    /// Path of that cgroup below the cgroup v2 root, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "stored::shared_if_known")]
    pub cgroup: Option<Arc<str>>,
}

impl Process {
    /// The process that the kernel has noted, without its names; `None` where it has noted none.
    #[must_use]
    pub fn of(noted: &abi::Process) -> Option<Self> {
        let command = noted.command.split(|byte| *byte == 0).next().unwrap_or_default();
        noted.is_known().then(|| Self {
            pid: noted.pid,
            command: String::from_utf8_lossy(command).into(),
            uid: noted.uid,
            user: None,
            cgroup_id: noted.cgroup,
            cgroup: None,
        })
    }

    /// The service manager's unit of its cgroup, where that is known.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        unit(self.cgroup.as_deref()?)
    }
}

/// The unit of the service manager that a cgroup of this path belongs to: the last name on it that is one of a service,
/// a scope or a slice.
#[must_use]
pub fn unit(path: &str) -> Option<&str> {
    let is_unit = |name: &&str| [".service", ".scope", ".slice"].iter().any(|kind| name.ends_with(kind));
    path.rsplit('/').find(is_unit)
}

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The address.
    pub ip: IpAddr,
    /// The port; `None` where the packet has none.
    pub port: Option<u16>,
}

/// The pin that decided, and where the config says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The pin: of those that forbid, the first of the strictest.
    #[serde(with = "stored::shared")]
    pub pin: Arc<str>,
    /// The config file.
    #[serde(with = "stored::shared")]
    pub file: Arc<str>,
    /// The line on which the pin begins.
    pub line: usize,
}

/// Where in a flow's life an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The first packet under this verdict.
    New,
    /// The first event that this daemon tells of a flow that an earlier one may have told of.
    Resumed,
    /// More packets under the same verdict.
    Continued,
    /// The packets after the last event, told once the flow was quiet.
    Settled,
}

impl Phase {
    /// The name in logs and docs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Resumed => "resumed",
            Self::Continued => "continued",
            Self::Settled => "settled",
        }
    }
}

impl Event {
    /// How severe it is.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        Severity::of(self.verdict, self.reason)
    }

    /// The same without users, commands, processes and cgroups.
    #[must_use]
    pub fn without_people(self, people: People) -> Self {
        Self { process: None, cgroup: None, cgroup_id: 0, people, ..self }
    }

    /// What happened, in one word.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match (self.hook, self.verdict, self.reason) {
            (Hook::Connect | Hook::Sendmsg, Verdict::Drop, _) => "refused",
            (_, Verdict::Drop, _) => "dropped",
            (_, Verdict::Flag, _) => "flagged",
            (_, Verdict::Observe, _) => "would-drop",
            (_, Verdict::Pass, Reason::Exempt) => "exempted",
            (_, Verdict::Pass, _) => "passed",
        }
    }
}

/// The protocol's name as log readers know it; `None` for those without a common one.
#[must_use]
pub(crate) const fn protocol_name(number: u8) -> Option<&'static str> {
    Some(match number {
        1 => "icmp",
        2 => "igmp",
        4 => "ipip",
        6 => "tcp",
        17 => "udp",
        33 => "dccp",
        41 => "ipv6",
        47 => "gre",
        50 => "esp",
        51 => "ah",
        58 => "icmpv6",
        132 => "sctp",
        136 => "udplite",
        _ => return None,
    })
}

/// The protocol's name, or its number.
pub(super) fn protocol(number: u8) -> String {
    protocol_name(number).map_or_else(|| number.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_the_last_one_on_the_path() {
        for (path, expected) in [
            ("system.slice/postgresql.service", Some("postgresql.service")),
            ("system.slice/etcd.service/worker", Some("etcd.service")),
            ("user.slice/user-1000.slice/session-1.scope", Some("session-1.scope")),
            ("machine.slice/libpod-1.scope/container", Some("libpod-1.scope")),
            ("docker/0123", None),
            ("", None),
        ] {
            assert_eq!(unit(path), expected, "{path}");
        }
    }
}
