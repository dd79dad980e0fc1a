//! What to do about a warning.

use guard_common::abi::Direction;

use super::warning::WarningKind;

impl WarningKind {
    /// What to do next, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoPin => "add a [[pin]] for each kind of storage that must stay in its region".into(),
            Self::MatchesEverything { .. } => {
                "narrow it to the storage's own addresses, ports or cgroup, unless the whole host is meant"
                    .into()
            }
            Self::PortsAlone { .. } => {
                "add a [[pin.select]] by users, cgroups or remote_ports, for replication, dumps and backups".into()
            }
            Self::OneDirection { direction: Direction::Served, .. } => {
                "add a [[pin.select]] with direction = \"opened\" and its users, cgroups or remote_ports, for replication, \
                 dumps and backups; without one whoever can have the storage connect somewhere gets the data"
                    .into()
            }
            Self::OneDirection { .. } => {
                "add a [[pin.select]] with direction = \"served\" and its ports, for what clients fetch".into()
            }
            Self::IngressDirection { .. } => {
                "leave `ingress` out: with `drop` the answers to what the storage opens itself are dropped too".into()
            }
            Self::EphemeralPorts { .. } => {
                "narrow it by `sources`, `users` or `cgroups`, or move one of the two ranges (net.ipv4.ip_local_port_range); \
                 else connections of others count as the pin's"
                    .into()
            }
            Self::HostForwards { .. } => {
                "add a [[pin.select]] with the interfaces by which containers' packets come in, or have no containers here"
                    .into()
            }
            Self::PermitsEverything { .. } => {
                "permit only what the data may reach, or take the pin out".into()
            }
            Self::PermitsUnknown { .. } => {
                "name your own networks as sites instead, and leave \"unknown\" forbidden".into()
            }
            Self::PrivateInNoSite { cidr, .. } => {
                format!("add a [[site]] with its jurisdiction and cidrs = [\"{cidr}\"]")
            }
            Self::CutsOffSsh { .. } => {
                "add a [[failsafe]] with local_ports = [\"tcp/22\"] and your administrators' networks as peers"
                    .into()
            }
            Self::CutsOff { services, .. } => {
                let ports: Vec<String> = services.iter().map(|s| format!("\"{}\"", s.port)).collect();
                format!(
                    "add a [[failsafe]] with remote_ports = [{}] and your servers as peers; think of monitoring and \
                     logging too",
                    ports.join(", ")
                )
            }
            Self::OpenFailsafe { .. } => {
                "name `peers` instead: who asks for the data chooses the port at the other end".into()
            }
            Self::FailsafeMatchesEverything { .. } => {
                "narrow it by ports or peers: what a failsafe rule matches passes wherever it goes".into()
            }
            Self::SiteContradictsDatabase { .. } => {
                "the site wins; make sure that it is right, for the database may be as well".into()
            }
            Self::OneSignature => "ask for two, of two roles or of one: [approval.policy] required".into(),
            Self::RefusesByName => {
                "look for such rules (`nft list ruleset`, `iptables -t nat -S OUTPUT`, `ip xfrm policy`), and leave \
                 sockets.refuse out where there are any"
                    .into()
            }
            Self::BypassNotRefused { .. } => {
                "set bypass.refuse = true, and name who needs such sockets in bypass.allow".into()
            }
            Self::ShortLivedCgroup { .. } | Self::ShortLivedBypass { .. } => {
                "put the unit into a slice of its own (Slice= in the unit) and name the slice here".into()
            }
            Self::ObservesButDropsIngress { .. } => {
                "for a rollout that drops nothing, set ingress = \"flag\"".into()
            }
            Self::InterfaceMissing { .. } => {
                "correct the name, unless the interface is still to appear: it counts as soon as it does"
                    .into()
            }
            Self::InterfaceUnread { .. } => {
                "it can't be guarded: leave it out, and keep pinned data off it by other means".into()
            }
            Self::SignerUnknown { .. } => {
                "correct the name, unless another source of names has it: by a wrong one nobody can tell that who loads a \
                 document has approved it himself"
                    .into()
            }
            Self::InterfaceUnguarded { .. } => {
                "name them too; where no pinned data can leave by them, name them in host.unguarded: nothing judges what does"
                    .into()
            }
            Self::NamespaceUnguarded { .. } => "guard what they are made on, or let no pinned process in there".into(),
            Self::CgroupMissing { .. } => {
                "correct the path, or start the slice: nothing is known by it until it is there".into()
            }
            Self::VolumeAbsent { .. } => {
                "correct the path, or mount it: it is known as soon as it is there, and what was read from it before is not"
                    .into()
            }
            Self::VolumePart { .. } => {
                "whoever reads any file of the file system is a carrier: give pinned data one of its own".into()
            }
            Self::GroupUnresolved { .. } => {
                "make it (groupadd --system), or correct the name: its members have no rights until then"
                    .into()
            }
            Self::SocketUnusable { .. } => {
                "until that is mended the daemon guards, and no command reaches it".into()
            }
            Self::LogUnusable { .. } => {
                "until that is mended every line of the event log is lost, and the daemon guards all the same".into()
            }
            Self::StateUnusable { .. } => {
                "until that is mended every exemption is closed, and none can be loaded".into()
            }
            Self::PolicyUnsignable { .. } => {
                "write namespaces=\"borderguard-exemption,borderguard-order,borderguard-policy,borderguard-geo\" there, as far as each may sign; until then their signatures of a config do not count".into()
            }
            Self::SignersUnusable { .. } | Self::LawPackUnusable { .. } => "until that is mended no exemption can be loaded".into(),
            Self::DatabaseStale { .. } => "bring a newer one (geo.files), or raise geo.max_age".into(),
            Self::DatabaseGap { .. } => "name another database beside it in geo.files".into(),
            Self::HoldNearPin { .. } => "correct it, unless it is the id of an exemption".into(),
            Self::UnusedGroup { .. } => "name it in a pin's permit, or take it out".into(),
        }
    }
}
