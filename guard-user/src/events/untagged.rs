//! Egress that no pin tags, as the flow history has it: sums of a stretch of time, by peer and service.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use guard_common::abi::{Hook, PlacedBy, Side};
use guard_common::jurisdiction::Jurisdiction;
use guard_common::verdict::{Reason, Verdict};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::event::{People, Process, protocol};
use super::severity::Severity;
use super::stored;
use super::text::{decapitalized, word};

/// Packets that no pin tagged, between two looks at the kernel's counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untagged {
    /// When the look before was; `None` where there was none of these counters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// When this look was.
    pub last: Timestamp,
    /// Where they went.
    #[serde(with = "stored::jurisdiction")]
    pub jurisdiction: Jurisdiction,
    /// To whom; `None` for the rest to the jurisdiction, of which there is the sum alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// Id of the sending socket's cgroup; 0 where there is none.
    #[serde(default)]
    pub cgroup_id: u64,
    /// Path of that cgroup below the cgroup v2 root, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "stored::shared_if_known")]
    pub cgroup: Option<Arc<str>>,
    /// Who used or made the socket of the first packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// Whether cgroup and process have what is known.
    #[serde(default, skip_serializing_if = "People::are_shown")]
    pub people: People,
    /// Packets, GSO segments counted as one.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// SHA-256 of the config by which no pin tagged them, where it was one for the whole time.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "stored::shared_if_known")]
    pub policy: Option<Arc<str>>,
}

/// One peer's service, or one peer of a service of this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// The peer: of a packet in a tunnel, the tunnel's.
    pub peer: IpAddr,
    /// What placed it.
    #[serde(with = "stored::placed_by")]
    pub placed_by: PlacedBy,
    /// IP protocol number.
    pub protocol: u8,
    /// Whose port [`port`](Self::port) is: taken to be the end with the lower one.
    #[serde(with = "stored::side")]
    pub side: Side,
    /// The service's port; `None` where none can be read.
    pub port: Option<u16>,
    /// The interface that they left by, where its name is known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "stored::shared_if_known")]
    pub interface: Option<Arc<str>>,
    /// Its index.
    pub ifindex: u32,
}

impl Untagged {
    /// The hook that judged them: no other counts them.
    pub const HOOK: Hook = Hook::Egress;
    /// What was decided.
    pub const VERDICT: Verdict = Verdict::Pass;
    /// Why.
    pub const REASON: Reason = Reason::Untagged;

    /// How severe it is.
    #[must_use]
    pub const fn severity() -> Severity {
        Severity::of(Self::VERDICT, Self::REASON)
    }

    /// The same without users, commands, processes and cgroups.
    #[must_use]
    pub fn without_people(self, people: People) -> Self {
        Self { process: None, cgroup: None, cgroup_id: 0, people, ..self }
    }

    /// The line for people.
    pub(super) fn to_text(&self) -> String {
        let Self { first, last, jurisdiction, packets, bytes, .. } = self;
        let mut line = format!("{last:.3} passed ");
        // Writing to a string does not fail.
        let _ok = match &self.service {
            Some(it) => write!(line, "{} {}", protocol(it.protocol), it.words()),
            None => write!(line, "the rest of what left"),
        };
        let _ok = write!(line, " in {jurisdiction}, no pin");
        if let Some(Process { pid, command, .. }) = &self.process {
            let _ok = write!(line, ", by {} ({pid})", word(command));
        }
        let s = if *packets == 1 { "" } else { "s" };
        let _ok = write!(
            line,
            ", {packets} packet{s} of {bytes} bytes: {} [kind=untagged verdict={} reason={} severity={} jurisdiction={jurisdiction}",
            decapitalized(Self::REASON.meaning()),
            Self::VERDICT.name(),
            Self::REASON.name(),
            Self::severity().name(),
        );
        match &self.service {
            Some(it) => {
                let _ok = write!(
                    line,
                    " placed_by={} peer={} side={}",
                    it.placed_by.name(),
                    it.peer,
                    it.side.name()
                );
                if let Some(port) = it.port {
                    let _ok = write!(line, " port={port}");
                }
                let _ok = match &it.interface {
                    Some(name) => write!(line, " interface={}", word(name)),
                    None => write!(line, " interface_index={}", it.ifindex),
                };
            }
            None => line.push_str(" rest=true"),
        }
        if let Some(cgroup) = &self.cgroup {
            let _ok = write!(line, " cgroup={}", word(cgroup));
        }
        if let Some(process) = &self.process {
            let _ok =
                write!(line, " pid={} command={} uid={}", process.pid, word(&process.command), process.uid);
            let names = [("user", process.user.as_deref()), ("unit", process.unit())];
            for (key, name) in names.into_iter().filter_map(|(key, name)| Some((key, name?))) {
                let _ok = write!(line, " {key}={}", word(name));
            }
        }
        if let Some(why) = self.people.why_not() {
            let _ok = write!(line, " people={why}");
        }
        let _ok = write!(line, " packets={packets} bytes={bytes}");
        if let Some(first) = first {
            let _ok = write!(line, " first={first:.3}");
        }
        if let Some(policy) = &self.policy {
            let _ok = write!(line, " policy={policy}");
        }
        line.push(']');
        line
    }

    /// What neither OCSF nor ECS has a key for.
    pub(super) fn own(&self) -> Value {
        let service = self.service.as_ref();
        json!({
            "hook": Self::HOOK.name(),
            "verdict": Self::VERDICT.name(),
            "jurisdiction": self.jurisdiction.as_str(),
            "is_rest": service.is_none(),
            "placed_by": service.map(|it| it.placed_by.name()),
            "side": service.map(|it| it.side.name()),
            "interface_index": service.map(|it| it.ifindex),
            "cgroup": self.cgroup.as_deref(),
            "process_cgroup": self.process.as_ref().and_then(|it| it.cgroup.as_deref()),
            "people": self.people.name(),
            "policy": self.policy.as_deref(),
        })
    }
}

impl Service {
    /// Who serves whom, as a sentence goes on.
    fn words(&self) -> String {
        let Self { peer, side, port, .. } = self;
        match (side, port) {
            (Side::Local, Some(port)) => format!("from port {port} of this host to {peer}"),
            (Side::Remote, Some(port)) => format!("to {}", SocketAddr::new(*peer, *port)),
            _ => format!("to {peer}"),
        }
    }

    /// The peer's port, where it serves.
    pub(super) fn peer_port(&self) -> Option<u16> {
        self.port.filter(|_| self.side == Side::Remote)
    }

    /// This host's port, where it serves.
    pub(super) fn own_port(&self) -> Option<u16> {
        self.port.filter(|_| self.side == Side::Local)
    }
}
