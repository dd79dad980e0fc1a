//! Holds a config without errors against the host that it is for: what a start would stumble over.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::error::ErrorKind;
use super::policy::{Approvals, InterfacePattern, LogTo, NamedPack, Policy};
use super::raw::Raw;
use super::read::{List, Text};
use super::sink::Sink;
use super::warning::WarningKind;
use crate::geo::complete::Lack;
use crate::geo::{GeoDb, Warning as GeoWarning};

/// What a host has of what a config names. Nothing is changed on the host by a look at it. What can't be looked at
/// counts as there.
pub trait HostView {
    /// The time by which the age of a database counts.
    fn now(&self) -> Timestamp;

    /// The databases of a policy as one, which fit into the kernel's tables with the policy's sites; `None` where
    /// they can't be looked at.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    fn geo(&self, policy: &Policy) -> Result<Option<GeoDb>, Vec<GeoFault>>;

    /// Why nothing can be pinned at this path.
    fn pin_path_fault(&self, path: &Path) -> Option<String>;

    /// Why the store can't be used in this folder.
    fn state_fault(&self, directory: &Path) -> Option<String>;

    /// Why the control socket can't be made here.
    fn socket_fault(&self, path: &Path) -> Option<String>;

    /// Why this file of allowed signers can't be used.
    fn signers_fault(&self, file: &Path) -> Option<String>;

    /// Why this law pack can't be used, or not for long.
    fn law_fault(&self, named: &NamedPack) -> Option<String>;

    /// Why this Unix group has no number.
    fn group_fault(&self, name: &str) -> Option<String>;

    /// The number of the user of this name.
    ///
    /// # Errors
    /// Why it is not known.
    fn uid_of(&self, name: &str) -> Result<u32, String>;

    /// Why the kernel does not tell which process sends.
    fn sender_fault(&self) -> Option<String>;

    /// Why the kernel does not tell who reads what.
    fn carrier_fault(&self) -> Option<String>;

    /// What is at the path of a volume.
    fn volume(&self, path: &Path) -> SeenVolume;

    /// Whether there is a cgroup at this path below the root.
    fn has_cgroup(&self, path: &str) -> bool;

    /// The first and the last port that the kernel gives to a connection that is opened; `None` where that is not known.
    fn ephemeral_ports(&self) -> Option<(u16, u16)>;

    /// Whether it forwards packets.
    fn forwards(&self) -> bool;

    /// Every network interface; `None` where they can't be listed.
    fn interfaces(&self) -> Option<Vec<SeenInterface>>;

    /// Why the event log can't be written there.
    fn log_fault(&self, _to: &LogTo) -> Option<String> {
        None
    }

    /// The signers of a config that opens whose keys are known and may not sign one.
    fn policy_signers_without_key(&self, _approval: &Approvals) -> Vec<String> {
        Vec::new()
    }

    /// In words, each interface by which frames leave the host that nobody would judge by this policy, but for those that it
    /// accepts.
    fn unguarded(&self, _policy: &Policy) -> Vec<String> {
        Vec::new()
    }

    /// In words, each device of another network namespace by which packets leave that nobody would judge by this policy.
    fn unguarded_elsewhere(&self, _policy: &Policy) -> Vec<String> {
        Vec::new()
    }
}

/// What is wrong with the geo databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GeoFault {
    /// One of the files can't be used.
    File {
        /// Its place in `geo.files`.
        index: usize,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// They lack what they should have.
    Incomplete(Lack),
    /// Together with the sites they do not fit into the kernel's tables.
    TooLarge {
        /// What there is too much of.
        reason: String,
    },
}

/// What is at the path of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenVolume {
    /// A file system is mounted there.
    Mounted,
    /// A part of one is, and all of it counts: the file system is the same wherever it is mounted.
    Part(PathBuf),
    /// None is, and one may be later.
    Absent,
    /// Another thing is, in words.
    Unfit(String),
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenInterface {
    /// Its name.
    pub name: String,
    /// What its frames are, where the kernel programs do not read them.
    pub unread: Option<String>,
}

/// Finds everything that is wrong with the geo databases and the pin path, and returns the database, for what is
/// looked for with its help.
pub(super) fn find_errors(
    raw: &Raw,
    policy: &Policy,
    host: &dyn HostView,
    sink: &mut Sink<'_>,
) -> Option<GeoDb> {
    if let Some(reason) = host.pin_path_fault(&policy.state.pin_path) {
        sink.error(start(&raw.pin_path), "state.pin_path", ErrorKind::PinPath { reason });
    }
    find_unknown_senders(raw, policy, host, sink);
    host.geo(policy).unwrap_or_else(|faults| {
        for fault in faults {
            let (index, kind) = match fault {
                GeoFault::File { index, reason } => (Some(index), ErrorKind::GeoFile { reason }),
                GeoFault::Incomplete(lack) => {
                    let index = if let Lack::Countries { index, .. } = lack { Some(index) } else { None };
                    (index, ErrorKind::GeoIncomplete { reason: lack.to_string() })
                }
                GeoFault::TooLarge { reason } => (None, ErrorKind::GeoTooLarge { reason }),
            };
            let item = raw.geo_files.as_ref().map_or(0, |list| {
                index.and_then(|index| list.items.get(index)).map_or(list.at, |text| text.span().start)
            });
            sink.error(item, "geo.files", kind);
        }
        None
    })
}

/// Finds users that are not there, and pins that go by what the kernel does not tell.
fn find_unknown_senders(raw: &Raw, policy: &Policy, host: &dyn HostView, sink: &mut Sink<'_>) {
    for ((_, raw), pin) in raw.ways().zip(&policy.pins) {
        for (item, user) in items(&raw.users).zip(&pin.select.users) {
            if let (None, Err(reason)) = (user.uid, host.uid_of(&user.text)) {
                sink.error(item.span().start, "pin.select.users", ErrorKind::UserMissing { reason });
            }
        }
        if pin.select.asks_for_senders()
            && let Some(reason) = host.sender_fault()
        {
            let kind = ErrorKind::SenderUnknown { pin: pin.name.clone(), reason };
            sink.error(raw.at, "pin.select.sent_by", kind);
        }
        if let Some(list) = &raw.volumes
            && let Some(reason) = host.carrier_fault()
        {
            let kind = ErrorKind::CarrierUnknown { pin: pin.name.clone(), reason };
            sink.error(list.at, "pin.select.volumes", kind);
        }
        for (item, path) in items(&raw.volumes).zip(&pin.select.volumes) {
            if let SeenVolume::Unfit(reason) = host.volume(path) {
                let kind = ErrorKind::NotAVolume { path: path.clone(), reason };
                sink.error(item.span().start, "pin.select.volumes", kind);
            }
        }
    }
}

/// Finds what a start goes on without.
pub(super) fn find_warnings(
    raw: &Raw,
    policy: &Policy,
    host: &dyn HostView,
    database: Option<&GeoDb>,
    sink: &mut Sink<'_>,
) {
    if let Some(database) = database {
        let at = raw.geo_files.as_ref().map_or(0, |list| list.at);
        if let Some(stale) = database.info.stale(host.now(), policy.geo.max_age) {
            let (at, field) = match &raw.geo_files {
                Some(list) => (list.at, "geo.files"),
                None => (start(&raw.max_age), "geo.max_age"),
            };
            sink.warn(at, field, WarningKind::DatabaseStale { stale });
        }
        for &gap in database.info.warnings.iter().filter(|&&gap| gap != GeoWarning::Undated) {
            sink.warn(at, "geo.files", WarningKind::DatabaseGap { gap });
        }
    }
    if let Some(reason) = host.socket_fault(&policy.control.socket) {
        sink.warn(start(&raw.socket), "control.socket", WarningKind::SocketUnusable { reason });
    }
    if let Some(reason) = host.log_fault(&policy.log.to) {
        sink.warn(start(&raw.log_to), "log.to", WarningKind::LogUnusable { reason });
    }
    if let Some(reason) = host.state_fault(&policy.state.directory) {
        sink.warn(start(&raw.state_directory), "state.directory", WarningKind::StateUnusable { reason });
    }
    if let Some(reason) =
        policy.approval.as_ref().and_then(|approval| host.signers_fault(&approval.allowed_signers))
    {
        let at = raw.approval.as_ref().map_or(0, |approval| start(&approval.allowed_signers));
        sink.warn(at, "approval.allowed_signers", WarningKind::SignersUnusable { reason });
    }
    let unable = policy.approval.as_ref().map(|approval| host.policy_signers_without_key(approval));
    if let (Some(unable), Some(of)) = (unable.filter(|it| !it.is_empty()), &raw.approval) {
        let kind = WarningKind::PolicyUnsignable { signers: unable.join(", ") };
        sink.warn(start(&of.allowed_signers), "approval.allowed_signers", kind);
    }
    if let Some(reason) = policy.law.as_ref().and_then(|named| host.law_fault(named)) {
        sink.warn(start(&raw.law_pack), "law.pack", WarningKind::LawPackUnusable { reason });
    }
    look_at_signers(raw, policy, host, sink);
    look_at_groups(raw, policy, host, sink);
    look_at_cgroups(raw, policy, host, sink);
    if let Some(interfaces) = host.interfaces() {
        look_at_interfaces(raw, policy, &interfaces, sink);
    }
    let open = host.unguarded(policy);
    if let (Some(item), false) = (items(&raw.interfaces).next(), open.is_empty()) {
        let kind = WarningKind::InterfaceUnguarded { interfaces: open.join(", ") };
        sink.warn(item.span().start, "host.interfaces", kind);
    }
    let elsewhere = host.unguarded_elsewhere(policy);
    if let (Some(item), false) = (items(&raw.interfaces).next(), elsewhere.is_empty()) {
        let kind = WarningKind::NamespaceUnguarded { devices: elsewhere.join(", ") };
        sink.warn(item.span().start, "host.interfaces", kind);
    }
    if host.forwards() {
        look_at_forwarding(raw, policy, sink);
    }
    if let Some(ephemeral) = host.ephemeral_ports() {
        look_at_ports(raw, policy, ephemeral, sink);
    }
    for ((_, raw), pin) in raw.ways().zip(&policy.pins) {
        for (item, path) in items(&raw.volumes).zip(&pin.select.volumes) {
            let kind = match host.volume(path) {
                SeenVolume::Mounted | SeenVolume::Unfit(_) => continue,
                SeenVolume::Part(of) => WarningKind::VolumePart { path: path.clone(), of },
                SeenVolume::Absent => WarningKind::VolumeAbsent { path: path.clone() },
            };
            sink.warn(item.span().start, "pin.select.volumes", kind);
        }
        for (item, cgroup) in items(&raw.cgroups).zip(&pin.select.cgroups) {
            if !host.has_cgroup(cgroup) {
                let kind = WarningKind::CgroupMissing { cgroup: cgroup.clone() };
                sink.warn(item.span().start, "pin.select.cgroups", kind);
            }
        }
    }
}

fn look_at_cgroups(raw: &Raw, policy: &Policy, host: &dyn HostView, sink: &mut Sink<'_>) {
    let bypass = &policy.bypass;
    let on = raw.bypass_cgroup.iter().map(|item| ("bypass.cgroup", item, &bypass.cgroup));
    let noted = raw.sockets_cgroup.iter().map(|item| ("sockets.cgroup", item, &policy.sockets.cgroup));
    let allowed = items(&raw.bypass_allow).zip(&bypass.allow);
    let allowed = allowed.map(|(item, cgroup)| ("bypass.allow", item, cgroup));
    for (field, item, cgroup) in on.chain(allowed).chain(noted) {
        if !cgroup.is_empty() && !host.has_cgroup(cgroup) {
            let kind = WarningKind::CgroupMissing { cgroup: cgroup.clone() };
            sink.warn(item.span().start, field, kind);
        }
    }
}

/// Looks for pins that go by the host where that forwards: what a process sends to itself by way of another network namespace
/// comes back as another's.
fn look_at_forwarding(raw: &Raw, policy: &Policy, sink: &mut Sink<'_>) {
    for ((_, raw), pin) in raw.ways().zip(&policy.pins).filter(|(_, pin)| pin.select.from_host) {
        let at = raw.sources.as_ref().map_or(raw.at, |list| list.at);
        sink.warn(at, "pin.select.sources", WarningKind::HostForwards { pin: pin.name.clone() });
    }
}

/// Looks for services' ports that another connection of the host may have. A pin that is known by more than ports leaves
/// those out.
fn look_at_ports(raw: &Raw, policy: &Policy, (first, last): (u16, u16), sink: &mut Sink<'_>) {
    for ((_, raw), pin) in raw.ways().zip(&policy.pins).filter(|(_, pin)| pin.select.has_ports_alone()) {
        for (item, range) in items(&raw.ports).zip(&pin.select.ports) {
            if range.first <= last && first <= range.last {
                let kind = WarningKind::EphemeralPorts { ports: item.get_ref().clone(), first, last };
                sink.warn(item.span().start, "pin.select.ports", kind);
            }
        }
    }
}

/// Looks whether signers' users are there: one whose name is misspelt may load what only he has approved.
fn look_at_signers(raw: &Raw, policy: &Policy, host: &dyn HostView, sink: &mut Sink<'_>) {
    let (Some(raw), Some(approval)) = (&raw.approval, &policy.approval) else { return };
    for (at, signer) in raw.users().zip(&approval.signers) {
        if let Some(reason) = signer.user.as_ref().and_then(|user| host.uid_of(user).err()) {
            let (identity, field) = (signer.identity.clone(), "approval.signer.user");
            sink.warn(at, field, WarningKind::SignerUnknown { identity, reason });
        }
    }
}

fn look_at_groups(raw: &Raw, policy: &Policy, host: &dyn HostView, sink: &mut Sink<'_>) {
    let (raw, groups) = (&raw.control_groups, &policy.control.groups);
    for (field, raw, names) in [
        ("control.groups.view", &raw.view, &groups.view),
        ("control.groups.exemptions", &raw.exemptions, &groups.exemptions),
        ("control.groups.policy", &raw.policy, &groups.policy),
        ("control.groups.everything", &raw.everything, &groups.everything),
        ("control.groups.people", &raw.people, &groups.people),
    ] {
        for (item, name) in items(raw).zip(names) {
            if let Some(reason) = host.group_fault(name) {
                sink.warn(item.span().start, field, WarningKind::GroupUnresolved { reason });
            }
        }
    }
}

fn look_at_interfaces(raw: &Raw, policy: &Policy, interfaces: &[SeenInterface], sink: &mut Sink<'_>) {
    let is_there = |pattern: &InterfacePattern| interfaces.iter().any(|it| pattern.matches(&it.name));
    let missing = |pattern: &InterfacePattern| {
        let (pattern, is_glob) = (pattern.as_str().to_owned(), pattern.is_glob());
        WarningKind::InterfaceMissing { pattern, is_glob }
    };
    for (item, pattern) in items(&raw.interfaces).zip(&policy.host.interfaces) {
        let at = item.span().start;
        if !is_there(pattern) {
            sink.warn(at, "host.interfaces", missing(pattern));
        }
        for it in interfaces.iter().filter(|it| pattern.matches(&it.name)) {
            if let Some(frames) = it.unread.clone() {
                let kind = WarningKind::InterfaceUnread { name: it.name.clone(), frames };
                sink.warn(at, "host.interfaces", kind);
            }
        }
    }
    for ((_, raw), pin) in raw.ways().zip(&policy.pins) {
        for (item, pattern) in items(&raw.interfaces).zip(&pin.select.interfaces) {
            if !is_there(pattern) {
                sink.warn(item.span().start, "pin.select.interfaces", missing(pattern));
            }
        }
    }
}

fn items(list: &Option<List>) -> impl Iterator<Item = &Text> {
    list.iter().flat_map(|list| &list.items)
}

/// Where a value stands; the file's start for one that is not in the file.
fn start(text: &Option<Text>) -> usize {
    text.as_ref().map_or(0, |text| text.span().start)
}
