//! What a host lacks, each finding with an example.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::{GOOD, PEERS, SSH, good_with, small_groups};
use crate::config::host::{GeoFault, HostView, SeenInterface, SeenVolume};
use crate::config::policy::{Approvals, LogTo, NamedPack, Policy};
use crate::config::{Checked, ConfigErrors, Explain, Finding, Surroundings, parse};
use crate::geo::complete::Lack;
use crate::geo::{GeoDb, Info, Runs, Warning};

/// Codes of errors that only a host shows.
pub(super) const ERRORS: [&str; 8] = [
    "carrier-unknown",
    "geo-file",
    "geo-incomplete",
    "geo-too-large",
    "not-a-volume",
    "pin-path",
    "sender-unknown",
    "user-missing",
];

/// Codes of warnings that only a host shows.
pub(super) const WARNINGS: [&str; 19] = [
    "cgroup-missing",
    "database-gap",
    "database-stale",
    "ephemeral-ports",
    "group-unresolved",
    "host-forwards",
    "interface-missing",
    "interface-unguarded",
    "interface-unread",
    "law-pack-unusable",
    "log-unusable",
    "namespace-unguarded",
    "policy-unsignable",
    "signer-unknown",
    "signers-unusable",
    "socket-unusable",
    "state-unusable",
    "volume-absent",
    "volume-part",
];

/// A host with one thing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    GeoFile,
    GeoIncomplete,
    GeoTooLarge,
    PinPath,
    Old,
    Future,
    NoIpv6,
    Socket,
    Log,
    Keys,
    State,
    Signers,
    Law,
    Group,
    Cgroup,
    Interface,
    Frames,
    Route,
    User,
    Sender,
    Ports,
    Forwards,
    Carrier,
    NoVolume,
    PartVolume,
    Folder,
}

impl Wrong {
    fn says(self, wrong: Self, what: &str) -> Option<String> {
        (self == wrong).then(|| format!("{what} is wrong"))
    }
}

pub(super) fn now() -> Timestamp {
    "2026-11-01T00:00:00Z".parse().unwrap()
}

impl HostView for Wrong {
    fn now(&self) -> Timestamp {
        now()
    }

    fn geo(&self, policy: &Policy) -> Result<Option<GeoDb>, Vec<GeoFault>> {
        let reason = "it is wrong".to_owned();
        let hours = match self {
            Self::GeoFile => return Err(vec![GeoFault::File { index: policy.geo.files.len() - 1, reason }]),
            Self::GeoIncomplete => {
                let path = policy.geo.files[0].clone();
                let lack = Lack::Countries { index: 0, path, records: 9, unplaced: 5 };
                return Err(vec![GeoFault::Incomplete(Lack::Ipv6), GeoFault::Incomplete(lack)]);
            }
            Self::GeoTooLarge => return Err(vec![GeoFault::TooLarge { reason }]),
            Self::Old => -24 * 121,
            Self::Future => 48,
            _ => 0,
        };
        let warnings =
            if *self == Self::NoIpv6 { vec![Warning::NoIpv6, Warning::Undated] } else { Vec::new() };
        let generated = Some(now() + SignedDuration::from_hours(hours));
        let info = Info { source: "a test".to_owned(), generated, warnings, ..Info::default() };
        Ok(Some(GeoDb { v4: Runs::unknown(), v6: Runs::unknown(), info }))
    }

    fn pin_path_fault(&self, path: &Path) -> Option<String> {
        self.says(Self::PinPath, &path.to_string_lossy())
    }

    fn state_fault(&self, directory: &Path) -> Option<String> {
        self.says(Self::State, &directory.to_string_lossy())
    }

    fn socket_fault(&self, path: &Path) -> Option<String> {
        self.says(Self::Socket, &path.to_string_lossy())
    }

    fn policy_signers_without_key(&self, _: &Approvals) -> Vec<String> {
        self.says(Self::Keys, "aoife@example.org").into_iter().collect()
    }

    fn log_fault(&self, _: &LogTo) -> Option<String> {
        self.says(Self::Log, "/var/log/borderguard/events.log")
    }

    fn signers_fault(&self, file: &Path) -> Option<String> {
        self.says(Self::Signers, &file.to_string_lossy())
    }

    fn law_fault(&self, named: &NamedPack) -> Option<String> {
        self.says(Self::Law, &named.pack.to_string_lossy())
    }

    fn unguarded(&self, _: &Policy) -> Vec<String> {
        self.says(Self::Route, "eth7").into_iter().collect()
    }

    fn unguarded_elsewhere(&self, _: &Policy) -> Vec<String> {
        self.says(Self::Route, "eth7").into_iter().collect()
    }

    fn group_fault(&self, name: &str) -> Option<String> {
        self.says(Self::Group, name)
    }

    fn uid_of(&self, _name: &str) -> Result<u32, String> {
        self.says(Self::User, "the user").map_or(Ok(7), Err)
    }

    fn sender_fault(&self) -> Option<String> {
        self.says(Self::Sender, "the kernel")
    }

    fn carrier_fault(&self) -> Option<String> {
        self.says(Self::Carrier, "the kernel")
    }

    fn volume(&self, path: &Path) -> SeenVolume {
        match self {
            Self::NoVolume => SeenVolume::Absent,
            Self::PartVolume => SeenVolume::Part("/@mail".into()),
            Self::Folder => SeenVolume::Unfit(format!("the folder {} is wrong", path.display())),
            _ => SeenVolume::Mounted,
        }
    }

    fn has_cgroup(&self, path: &str) -> bool {
        *self != Self::Cgroup || path != "mail.slice"
    }

    fn ephemeral_ports(&self) -> Option<(u16, u16)> {
        (*self == Self::Ports).then_some((32768, 60999))
    }

    fn forwards(&self) -> bool {
        *self == Self::Forwards
    }

    fn interfaces(&self) -> Option<Vec<SeenInterface>> {
        let name = if *self == Self::Interface { "lan7" } else { "eth0" };
        let unread = (*self == Self::Frames).then(|| "InfiniBand (link type 32)".to_owned());
        Some(vec![SeenInterface { name: name.to_owned(), unread }])
    }
}

fn check(text: &str, host: Wrong) -> Result<Checked, ConfigErrors> {
    let surroundings = Surroundings { groups: &small_groups, ..Surroundings::of_host(&host) };
    parse(Path::new("policy.toml"), text.as_bytes(), &surroundings)
}

/// Each finding as `code line:column field: message | hint`.
fn shown<K: Explain>(findings: &[Finding<K>]) -> Vec<String> {
    let place = |it: &Finding<K>| it.place.map(|at| format!("{}:{}", at.line, at.column)).unwrap_or_default();
    let one = |it: &Finding<K>| format!("{} {} {it} | {}", it.kind.code(), place(it), it.kind.hint());
    findings.iter().map(one).collect()
}

#[test]
fn each_thing_that_a_host_lacks_is_found_alone_with_place_field_and_hint() {
    let files = "[geo]\nfiles = [\"/a.mmdb\", \"/b.mmdb\"]\n[groups]";
    let control = "[control]\nsocket = \"/run/x/s\"\n[control.groups]\npolicy = [\"sre\"]\n[groups]";
    let state = "[state]\ndirectory = \"/srv/state\"\npin_path = \"/sys/fs/bpf/x\"\n[groups]";
    let selects = "cgroups = [\"web.slice\", \"mail.slice\"]\ninterfaces = [\"eth*\"]";
    let law = "[law]\npack = \"/srv/law.toml\"\nsha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\n[groups]";
    let signers = "allowed_signers = \"/etc/borderguard/allowed_signers\"";
    for (host, part, replacement, expected) in [
        (
            Wrong::GeoFile,
            "[groups]",
            files,
            &["geo-file 11:21 geo.files: it is wrong | a reload refuses"][..],
        ),
        (
            Wrong::GeoIncomplete,
            "[groups]",
            files,
            &[
                "geo-incomplete 11:9 geo.files: the geo database is not whole: it has no IPv6 networks",
                "geo-incomplete 11:10 geo.files: the geo database /a.mmdb names no country in 5 of its 9 records | name a whole",
            ],
        ),
        (
            Wrong::GeoTooLarge,
            "[groups]",
            files,
            &["geo-too-large 11:9 geo.files: the geo tables do not fit: it is"],
        ),
        (
            Wrong::PinPath,
            "[groups]",
            state,
            &["pin-path 12:12 state.pin_path: /sys/fs/bpf/x is wrong | the daemon"],
        ),
        (
            Wrong::Old,
            "[groups]",
            files,
            &["database-stale 11:9 geo.files: the geo database is 121 days old | bring a newer one"],
        ),
        (
            Wrong::Old,
            "[groups]",
            "[geo]\nmax_age = \"120d\"\n[groups]",
            &["database-stale 11:11 geo.max_age: the geo database is 121 days old | bring a newer one"],
        ),
        (
            Wrong::Future,
            "[groups]",
            files,
            &["database-stale 11:9 geo.files: the geo database says that it was made 48"],
        ),
        (
            Wrong::NoIpv6,
            "[groups]",
            files,
            &["database-gap 11:9 geo.files: the geo database is not whole: it has no IPv6"],
        ),
        (
            Wrong::Socket,
            "[groups]",
            control,
            &["socket-unusable 11:10 control.socket: /run/x/s is wrong | until"],
        ),
        (
            Wrong::Keys,
            signers,
            signers,
            &[
                "policy-unsignable 21:19 approval.allowed_signers: no key of aoife@example.org is wrong may sign a config",
            ],
        ),
        (
            Wrong::Log,
            "[groups]",
            "[log]\nto = \"/var/log/borderguard/events.log\"\n[groups]",
            &["log-unusable 11:6 log.to: /var/log/borderguard/events.log is wrong | until"],
        ),
        (
            Wrong::State,
            "[groups]",
            state,
            &["state-unusable 11:13 state.directory: /srv/state is wrong | until"],
        ),
        (
            Wrong::Signers,
            signers,
            signers,
            &["signers-unusable 21:19 approval.allowed_signers: /etc/borderguard/allowed"],
        ),
        (Wrong::Law, "[groups]", law, &["law-pack-unusable 11:8 law.pack: /srv/law.toml is wrong | until"]),
        (
            Wrong::Group,
            "[groups]",
            control,
            &["group-unresolved 13:11 control.groups.policy: sre is wrong | make it"],
        ),
        (
            Wrong::Cgroup,
            "ports = [\"tcp/143\"]",
            selects,
            &[
                "cgroup-missing 19:25 pin.select.cgroups: there is no cgroup \"mail.slice\" on this host | correct",
            ],
        ),
        (
            Wrong::Cgroup,
            "[groups]",
            "[bypass]\ncgroup = \"mail.slice\"\nallow = [\"web.slice\", \"mail.slice\"]\n[groups]",
            &[
                "cgroup-missing 11:10 bypass.cgroup: there is no cgroup \"mail.slice\" on this host",
                "cgroup-missing 12:23 bypass.allow: there is no cgroup \"mail.slice\" on this host",
            ],
        ),
        (
            Wrong::Cgroup,
            "[groups]",
            "[sockets]\ncgroup = \"mail.slice\"\n[groups]",
            &["cgroup-missing 11:10 sockets.cgroup: there is no cgroup \"mail.slice\" on this host"],
        ),
        (
            Wrong::User,
            "ports = [\"tcp/143\"]",
            "users = [7, \"postgres\"]",
            &["user-missing 19:13 pin.select.users: the user is wrong | give its number"],
        ),
        (
            Wrong::User,
            "roles = [\"legal\"]",
            "roles = [\"legal\"]\nuser = \"anna\"",
            &[
                "signer-unknown 25:8 approval.signer.user: the user of the signer \"anne@example.org\" is not known: the \
                 user is wrong | correct the name",
            ],
        ),
        (
            Wrong::Sender,
            "ports = [\"tcp/143\"]",
            "users = [7]",
            &[
                "sender-unknown 17:1 pin.select.sent_by: the pin \"mail\" goes by the process that sends, which this kernel does not tell: the kernel is wrong | write sent_by = \"socket\"",
            ],
        ),
        (
            Wrong::Ports,
            "sources = [\"192.0.2.10/32\"]\nports = [\"tcp/143\"]",
            "ports = [\"tcp/143\", \"tcp/50000-50100\"]\ninterfaces = [\"eth0\"]",
            &[
                "ephemeral-ports 18:21 pin.select.ports: the kernel gives ports 32768 to 60999 to connections that this \
                 host opens, and \"tcp/50000-50100\" is among them | narrow",
            ],
        ),
        (
            Wrong::Forwards,
            "sources = [\"192.0.2.10/32\"]",
            "sources = [\"host\"]",
            &[
                "host-forwards 18:11 pin.select.sources: the pin \"mail\" goes by the host, which forwards packets: what a",
            ],
        ),
        (
            Wrong::Carrier,
            "ports = [\"tcp/143\"]",
            "volumes = [\"/srv/mail\"]",
            &[
                "carrier-unknown 19:11 pin.select.volumes: the pin \"mail\" goes by who reads a volume, which this kernel does not tell: the kernel is wrong | pin by address",
            ],
        ),
        (
            Wrong::Folder,
            "ports = [\"tcp/143\"]",
            "volumes = [\"/srv/x\", \"/srv/mail/\"]",
            &[
                "not-a-volume 19:12 pin.select.volumes: \"/srv/x\" is no volume: the folder /srv/x is wrong | name the folder",
                "not-a-volume 19:22 pin.select.volumes: \"/srv/mail\" is no volume: the folder /srv/mail is wrong",
            ],
        ),
        (
            Wrong::NoVolume,
            "ports = [\"tcp/143\"]",
            "volumes = [\"/srv/mail\"]",
            &[
                "volume-absent 19:12 pin.select.volumes: nothing is mounted at \"/srv/mail\" | correct the path",
            ],
        ),
        (
            Wrong::PartVolume,
            "ports = [\"tcp/143\"]",
            "volumes = [\"/srv/mail\"]",
            &[
                "volume-part 19:12 pin.select.volumes: \"/srv/mail\" is the folder \"/@mail\" of a file system, all of which",
            ],
        ),
        (
            Wrong::Interface,
            "ports = [\"tcp/143\"]",
            selects,
            &[
                "interface-missing 2:15 host.interfaces: there is no interface \"eth0\" on this host | correct",
                "interface-missing 20:15 pin.select.interfaces: no interface matches \"eth*\" on this host | correct",
            ],
        ),
        (
            Wrong::Route,
            signers,
            signers,
            &[
                "interface-unguarded 2:15 host.interfaces: packets can leave by interfaces that no pattern here matches, \
                 and pass none that one matches: eth7 is wrong | name them too",
                "namespace-unguarded 2:15 host.interfaces: devices of other network namespaces lead out, and nothing \
                 judges what leaves by them: eth7 is wrong | guard",
            ],
        ),
        (
            Wrong::Frames,
            signers,
            signers,
            &[
                "interface-unread 2:15 host.interfaces: the interface \"eth0\" carries InfiniBand (link type 32), which",
            ],
        ),
    ] {
        let text = good_with(part, replacement).replace(SSH, PEERS);
        let found = match check(&text, host) {
            Ok(checked) => of_host(&checked),
            Err(errors) => shown(&errors.errors),
        };
        let is_error = ERRORS.iter().any(|code| expected[0].starts_with(&format!("{code} ")));
        assert_eq!(check(&text, host).is_err(), is_error, "{host:?}");
        assert_eq!(found.len(), expected.len(), "{host:?}: {found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{host:?}:\n{found}\n{expected}");
        }
        let without = check(&text, Wrong::Nothing).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(of_host(&without), [""; 0], "{host:?}");
    }
}

/// The warnings, but for the one that the good config has.
fn of_host(checked: &Checked) -> Vec<String> {
    let mut shown = shown(&checked.warnings);
    shown.retain(|warning| !warning.starts_with("ports-alone "));
    shown
}

#[test]
fn what_is_wrong_by_default_stands_at_the_file_s_start() {
    let found = check(GOOD, Wrong::State).unwrap();
    let [warning] = &of_host(&found)[..] else { panic!("{found:?}") };
    assert!(
        warning.starts_with("state-unusable 1:1 state.directory: /var/lib/borderguard is wrong"),
        "{warning}"
    );
}
