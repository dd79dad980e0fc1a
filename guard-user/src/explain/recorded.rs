//! What an event, or the kernel's record of a flow, says of a packet of its flow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use guard_common::abi::{Hook, PORT_PROTOCOLS};
use guard_common::packet::{Layer, Packet};
use jiff::Timestamp;
use serde_json::Value;

use super::flow::{self, BadFlow, End, ProtocolNumber};
use super::surroundings::Surroundings;

/// What is known of a packet of a flow that was seen.
#[derive(Clone, Debug)]
pub struct Flow {
    /// When the flow's last packet was judged.
    pub time: Timestamp,
    /// The hook that judged.
    pub hook: Hook,
    /// Where the packet came from.
    pub source: End,
    /// Where it went.
    pub destination: End,
    /// IP protocol number.
    pub protocol: u8,
    /// What else is known of where it came from.
    pub from: Surroundings,
    /// The tunnel that the flow is in, where there is one and its ends are known, in words.
    pub tunnel: Option<String>,
    /// Why users and cgroups are not there: `hidden` or `removed`.
    pub no_people: Option<String>,
}

impl Flow {
    /// Reads it off a line of the kind `event` or `flow`, as flat JSON has it.
    ///
    /// # Errors
    /// Why no packet of it can be described, in words.
    pub fn of(line: &Value) -> Result<Self, String> {
        if line["kind"] != "event" && line["kind"] != "flow" {
            return Err("it tells of a file, not of a flow".to_owned());
        }
        let hook = match line["hook"].as_str() {
            Some("egress") => Hook::Egress,
            Some("ingress") => Hook::Ingress,
            _ => {
                return Err("it is of a call, which has no source yet: explain the flow by --from and --to"
                    .to_owned());
            }
        };
        let end = |key: &str| {
            let ip = line[key]["ip"].as_str().and_then(|ip| ip.parse().ok());
            let port = line[key]["port"].as_u64().and_then(|port| u16::try_from(port).ok());
            ip.map(|address| End { address, port })
                .ok_or_else(|| "its addresses could not be read".to_owned())
        };
        let (storage, peer) = (end("source")?, end("destination")?);
        let from = surroundings(line);
        let is_ingress = hook == Hook::Ingress;
        Ok(Self {
            time: line["time"].as_str().and_then(|time| time.parse().ok()).ok_or("it has no time")?,
            hook,
            source: if is_ingress { peer } else { storage },
            destination: if is_ingress { storage } else { peer },
            protocol: line["protocol_number"]
                .as_u64()
                .and_then(|it| u8::try_from(it).ok())
                .unwrap_or_default(),
            from,
            tunnel: text(&line["tunnel"]).map(|to| match text(&line["tunnel_source"]) {
                Some(from) => format!("from {from} to {to}"),
                None => format!("to {to}"),
            }),
            no_people: text(&line["people"]).filter(|it| it != "shown"),
        })
    }

    /// Reads what is known of packets that no pin tags off a line of the kind `untagged`; `None` where it is of no service. This
    /// host's address is not known: an unspecified one stands in its place.
    #[must_use]
    pub fn of_untagged(line: &Value) -> Option<Self> {
        let peer: IpAddr = line["peer"].as_str()?.parse().ok()?;
        let own = if peer.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let port = line["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        // The port that is not known is one, so that the packet has ports.
        let (own_port, peer_port) = match line["side"].as_str() {
            Some("local") => (port, Some(u16::MAX)),
            Some("remote") => (Some(u16::MAX), port),
            _ => (None, None),
        };
        Some(Self {
            time: line["time"].as_str().and_then(|time| time.parse().ok())?,
            hook: Hook::Egress,
            source: End { address: own, port: own_port },
            destination: End { address: peer, port: peer_port },
            protocol: line["protocol_number"].as_u64().and_then(|it| u8::try_from(it).ok())?,
            from: surroundings(line),
            tunnel: None,
            no_people: text(&line["people"]).filter(|it| it != "shown"),
        })
    }

    /// A packet of the flow. Where its protocol has ports and the flow has none, its ports could not be read, as those of a
    /// later fragment can't: then it may be of any.
    ///
    /// # Errors
    /// Where no packet can be so.
    pub fn packet(&self) -> Result<Packet, BadFlow> {
        self.packet_between(self.source, self.destination)
    }

    /// The same with other ends, where those of the flow are not known whole.
    ///
    /// # Errors
    /// Where no packet can be so.
    pub fn packet_between(&self, source: End, destination: End) -> Result<Packet, BadFlow> {
        let mut packet = flow::packet(source, destination, Some(ProtocolNumber(self.protocol)))?;
        let has_none = source.port.is_none() && destination.port.is_none();
        if has_none && PORT_PROTOCOLS.contains(&self.protocol) {
            let layer = &mut packet.layers[0];
            layer.flags = layer.flags & !Layer::HAS_PORTS | Layer::HIDDEN;
        }
        Ok(packet)
    }

    /// What of the packets of then an event does not say, in words.
    #[must_use]
    pub fn lacks(&self) -> String {
        let mut lacks = vec!["who opened the connection, and whether the host only forwarded it".to_owned()];
        if let Some(tunnel) = &self.tunnel {
            lacks.push(format!(
                "the outer layers of the tunnel {tunnel}: the steps are of the inner flow alone"
            ));
        }
        if let Some(why) = &self.no_people {
            lacks.push(format!(
                "who sent ({why}): pins that go by users or cgroups are judged as if nobody was known"
            ));
        }
        format!("the event does not say {}", lacks.join("; nor "))
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Where a flow's packets came from, as far as a line says so.
fn surroundings(line: &Value) -> Surroundings {
    let process = &line["process"];
    let uid = process["uid"].as_u64().and_then(|uid| u32::try_from(uid).ok());
    let user = uid.map(|uid| (text(&process["user"]).unwrap_or_else(|| uid.to_string()), uid));
    let named = process["command"].as_str().map(|command| format!("{command} ({})", process["pid"]));
    let volumes = line["volumes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Surroundings {
        interface: text(&line["interface"]),
        mark: line["mark"].as_u64().and_then(|mark| u32::try_from(mark).ok()).unwrap_or_default(),
        cgroup: text(&line["cgroup"]).or_else(|| text(&process["cgroup"])),
        user,
        volumes: volumes.map(Into::into).collect(),
        process: named,
        ..Surroundings::default()
    }
}
