//! Every check on made-up hosts: one where the way is closed, one where it is open, one where that can't be read.

mod cases;
mod of_daemon;
mod pages;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::control::status::{
    BypassStatus, DatabaseStatus, HookStatus, InterfaceStatus, PinStatus, SocketsStatus, Status,
    UnpinnedStatus, VolumeStatus,
};
use crate::health::{Health, ProblemCode};
use crate::kernel::WallClock;

/// What a made-up host has at a path.
#[derive(Clone, Copy, Debug)]
enum Entry {
    /// A file with this text.
    File(&'static str),
    /// A folder.
    Folder,
    /// A symbolic link.
    Link(&'static str),
    /// What nobody can read, not even root: a link to itself.
    Unreadable,
    /// Nothing, where every host has something.
    Nothing,
}
use Entry::{File, Folder, Link, Nothing, Unreadable};

/// What every made-up host has.
const BASE: &[(&str, Entry)] = &[
    ("proc/version", File("Linux version 6.12.1 #1 SMP PREEMPT_DYNAMIC")),
    ("proc/cmdline", File("root=/dev/sda1 quiet")),
    ("proc/sys/kernel/osrelease", File("6.12.1")),
    ("proc/sys/net/ipv4/conf/all/forwarding", File("0")),
    ("proc/self/ns/net", Link("net:[4026531840]")),
    ("proc/1/ns/net", Link("net:[4026531840]")),
    ("proc/net/dev", File("Inter-|\n face |bytes\n    lo: 0 0\n  eth0: 1 1\n")),
    ("sys/class/net/lo", Folder),
    ("sys/class/net/eth0", Folder),
    ("etc", Folder),
];

/// A host that is guarded and has nothing else; its files are in the folder.
fn host(entries: &[(&str, Entry)]) -> (Host, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let all: BTreeMap<&str, Entry> = BASE.iter().chain(entries).copied().collect();
    for (path, entry) in all {
        make(&folder.path().join(path), entry);
    }
    let host = Host {
        root: folder.path().to_owned(),
        arch: "x86_64",
        daemon: Ok(guarding()),
        clock: Ok(WallClock { is_synchronised: true, max_error: 1500 }),
        with_xdp: Ok(BTreeSet::new()),
    };
    (host, folder)
}

fn make(path: &Path, entry: Entry) {
    if !matches!(entry, Nothing) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
    }
    match entry {
        File(text) => fs::write(path, text).unwrap(),
        Folder => fs::create_dir_all(path).unwrap(),
        Link(to) => symlink(to, path).unwrap(),
        Unreadable => symlink(path, path).unwrap(),
        Nothing => {}
    }
}

/// The status of a daemon that guards all that there is.
fn guarding() -> Status {
    Status {
        health: Health::Guarding,
        pid: 1,
        interfaces: vec![interface("eth0")],
        bypass: BypassStatus { refused: true, attached: true, cgroup: "/".into(), ..Default::default() },
        sockets: SocketsStatus { noted: true, attached: true, cgroup: "/".into(), ..Default::default() },
        protect: crate::control::status::ProtectStatus { lsm: true, on: true, ..Default::default() },
        pins: vec![PinStatus { action: "drop".into(), ingress: "off".into(), ..Default::default() }],
        unpinned: Some(UnpinnedStatus::default()),
        database: DatabaseStatus { source: "db".into(), age_days: Some(3), ..Default::default() },
        ..Status::default()
    }
}

fn interface(name: &str) -> InterfaceStatus {
    let hook = HookStatus { hook: "egress".into(), mode: "tcx".into() };
    InterfaceStatus { name: name.into(), hooks: vec![hook], ..Default::default() }
}

fn volume(path: &str) -> VolumeStatus {
    VolumeStatus { path: path.into(), mounted: true, ..Default::default() }
}

fn no_daemon() -> Unknown {
    Unknown { why: "no daemon answers".into(), next: Next::AskDaemon }
}

/// What comes of one check.
fn checked(host: &Host, code: &str) -> Checked {
    let report = Report::of(host, &BTreeSet::new());
    report.checks.into_iter().find(|checked| checked.code == code).unwrap()
}

/// Holds one check on one host: its state, and what its evidence or what is to do has.
fn hold(host: &Host, code: &str, state: State, part: &str) {
    let checked = checked(host, code);
    assert_eq!(checked.state, state, "{code}: {checked:?}");
    let todo = checked.todo.clone().unwrap_or_default();
    let said = checked.evidence.iter().any(|line| line.contains(part)) || todo.contains(part);
    assert!(said, "{code}: {part:?} is not in {checked:?}");
    assert_eq!(checked.todo.is_some(), state.needs_doing(), "{checked:?}");
    assert!(
        !checked.evidence.is_empty() && checked.evidence.iter().all(|line| !line.is_empty()),
        "{checked:?}"
    );
}
