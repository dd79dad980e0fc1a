//! The raw config: the file's values as they stand there, each with its place, none of them checked
//! beyond its TOML type.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::DeTable;

use super::approval::{self, RawApproval};
use super::canary_keys::{self, RawCanary};
use super::error::ErrorKind;
use super::history_keys::{self, RawHistory};
use super::keys::CONFIG;
use super::read::{List, Section, Text};
use super::record::{self, RawRecord};
use super::sink::Report;

/// A value is `None` where it is not in the file, or where it was of a wrong type or is required and
/// missing, which has been reported.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) interfaces: Option<List>,
    pub(super) unguarded: Option<List>,
    pub(super) observe: Option<bool>,
    pub(super) fleet: Option<Text>,
    pub(super) geo_files: Option<List>,
    pub(super) max_age: Option<Text>,
    pub(super) ask_above: Option<Text>,
    pub(super) may_open: Option<Text>,
    pub(super) incomplete: Option<bool>,
    pub(super) nat64: Option<List>,
    pub(super) socket: Option<Text>,
    pub(super) control_groups: RawControlGroups,
    pub(super) state_directory: Option<Text>,
    pub(super) mark_directory: Option<Text>,
    pub(super) pin_path: Option<Text>,
    pub(super) log_format: Option<Text>,
    pub(super) log_to: Option<Text>,
    pub(super) metrics_listen: Option<Text>,
    pub(super) history: RawHistory,
    pub(super) law_pack: Option<Text>,
    pub(super) law_sha256: Option<Text>,
    pub(super) record: RawRecord,
    pub(super) bypass_refuse: Option<bool>,
    /// The section's header.
    pub(super) bypass_at: usize,
    pub(super) bypass_cgroup: Option<Text>,
    pub(super) bypass_allow: Option<List>,
    pub(super) sockets_note: Option<bool>,
    pub(super) sockets_cgroup: Option<Text>,
    pub(super) sockets_refuse: Option<bool>,
    /// Where the section is, bytes from the begin of the file.
    pub(super) sockets_at: usize,
    pub(super) protect_lsm: Option<bool>,
    pub(super) approval: Option<RawApproval>,
    /// What stands in its place.
    pub(super) approval_word: Option<Text>,
    pub(super) failsafe: Vec<RawFailsafe>,
    pub(super) sites: Vec<RawSite>,
    pub(super) groups: Vec<RawGroup>,
    pub(super) pins: Vec<RawPin>,
}

#[derive(Debug)]
pub(super) struct RawControlGroups {
    pub(super) view: Option<List>,
    pub(super) exemptions: Option<List>,
    pub(super) policy: Option<List>,
    pub(super) everything: Option<List>,
    pub(super) people: Option<List>,
    pub(super) canaries: Option<List>,
}

#[derive(Debug)]
pub(super) struct RawFailsafe {
    pub(super) at: usize,
    pub(super) name: Option<Text>,
    pub(super) local_ports: Option<List>,
    pub(super) remote_ports: Option<List>,
    pub(super) peers: Option<List>,
    pub(super) anywhere: Option<bool>,
    pub(super) bytes_per_minute: Option<Spanned<i128>>,
}

#[derive(Debug)]
pub(super) struct RawSite {
    pub(super) at: usize,
    pub(super) name: Option<Text>,
    pub(super) jurisdiction: Option<Text>,
    pub(super) cidrs: Option<List>,
}

#[derive(Debug)]
pub(super) struct RawGroup {
    pub(super) name: Text,
    pub(super) members: Option<List>,
}

#[derive(Debug)]
pub(super) struct RawPin {
    pub(super) at: usize,
    pub(super) name: Option<Text>,
    pub(super) home: Option<Text>,
    pub(super) permit: Option<List>,
    pub(super) action: Option<Text>,
    pub(super) ingress: Option<Text>,
    pub(super) record: Option<Text>,
    pub(super) canary: RawCanary,
    /// One for each way in which it is known.
    pub(super) selects: Vec<RawSelect>,
}

#[derive(Debug)]
pub(super) struct RawSelect {
    /// Its header.
    pub(super) at: usize,
    pub(super) sources: Option<List>,
    pub(super) ports: Option<List>,
    pub(super) remote_ports: Option<List>,
    pub(super) interfaces: Option<List>,
    pub(super) cgroups: Option<List>,
    pub(super) users: Option<List>,
    pub(super) sent_by: Option<Text>,
    pub(super) volumes: Option<List>,
    pub(super) spread: Option<Text>,
    pub(super) copies: Option<bool>,
    pub(super) relays: Option<Text>,
    pub(super) accept_relays: Option<List>,
    pub(super) marks: Option<List>,
    pub(super) direction: Option<Text>,
}

impl Raw {
    /// The names of the pins, as they stand there.
    pub(super) fn pin_names(&self) -> BTreeSet<&str> {
        self.pins.iter().filter_map(|pin| Some(pin.name.as_ref()?.get_ref().as_str())).collect()
    }

    /// Each way in which a pin is known, with its pin: as the policy has them, where it is free of errors.
    pub(super) fn ways(&self) -> impl Iterator<Item = (&RawPin, &RawSelect)> {
        self.pins.iter().flat_map(|pin| pin.selects.iter().map(move |select| (pin, select)))
    }
}

/// Reads the whole document.
pub(super) fn read(root: &DeTable<'_>, sink: &mut dyn Report) -> Raw {
    let root = Section::root(root, &CONFIG, sink);
    let host = root.table("host", sink);
    if root.lacks("host") {
        let example = "[host] with interfaces = [\"eth0\"]".to_owned();
        sink.report(0, "host".to_owned(), ErrorKind::Missing { example });
    }
    let geo = root.table("geo", sink);
    let control = root.table("control", sink);
    let control_groups = control.table("control.groups", sink);
    let state = root.table("state", sink);
    let log = root.table("log", sink);
    let metrics = root.table("metrics", sink);
    let law = root.table("law", sink);
    let bypass = root.table("bypass", sink);
    let sockets = root.table("sockets", sink);
    let groups = root.table("groups", sink);
    let mut groups: Vec<RawGroup> =
        groups.names().map(|name| RawGroup { members: groups.list(name.get_ref(), sink), name }).collect();
    groups.sort_by_key(|group| group.name.span().start);
    Raw {
        interfaces: host.list("interfaces", sink),
        unguarded: host.list("unguarded", sink),
        observe: host.boolean("observe", sink),
        fleet: host.text("fleet", sink),
        geo_files: geo.list("files", sink),
        max_age: geo.text("max_age", sink),
        ask_above: geo.text("ask_above", sink),
        may_open: geo.text("may_open", sink),
        incomplete: geo.boolean("incomplete", sink),
        nat64: geo.list("nat64", sink),
        socket: control.text("socket", sink),
        control_groups: RawControlGroups {
            view: control_groups.list("view", sink),
            exemptions: control_groups.list("exemptions", sink),
            policy: control_groups.list("policy", sink),
            everything: control_groups.list("everything", sink),
            people: control_groups.list("people", sink),
            canaries: control_groups.list("canaries", sink),
        },
        state_directory: state.text("directory", sink),
        mark_directory: state.text("mark_directory", sink),
        pin_path: state.text("pin_path", sink),
        log_format: log.text("format", sink),
        log_to: log.text("to", sink),
        metrics_listen: metrics.text("listen", sink),
        history: history_keys::read(&root, sink),
        law_pack: law.text("pack", sink),
        law_sha256: law.text("sha256", sink),
        record: record::read(&root, sink),
        bypass_refuse: bypass.boolean("refuse", sink),
        bypass_at: bypass.at,
        bypass_cgroup: bypass.text("cgroup", sink),
        bypass_allow: bypass.list("allow", sink),
        sockets_note: sockets.boolean("note", sink),
        sockets_cgroup: sockets.text("cgroup", sink),
        sockets_refuse: sockets.boolean("refuse", sink),
        sockets_at: sockets.at,
        protect_lsm: root.table("protect", sink).boolean("lsm", sink),
        approval_word: root.word("approval"),
        approval: approval::read(&root, sink),
        failsafe: each(&root, "failsafe", sink, read_failsafe),
        sites: each(&root, "site", sink, read_site),
        groups,
        pins: each(&root, "pin", sink, read_pin),
    }
}

fn each<'r, 't, T>(
    root: &Section<'r, 't>,
    path: &'static str,
    sink: &mut dyn Report,
    read: impl Fn(&Section<'r, 't>, &mut dyn Report) -> T,
) -> Vec<T> {
    let sections = root.entries(path, sink);
    sections.iter().map(|section| read(section, sink)).collect()
}

fn read_failsafe(section: &Section<'_, '_>, sink: &mut dyn Report) -> RawFailsafe {
    require_dimension(section, "failsafe", &["local_ports", "remote_ports", "peers"], sink);
    RawFailsafe {
        at: section.at,
        name: section.text("name", sink),
        local_ports: section.list("local_ports", sink),
        remote_ports: section.list("remote_ports", sink),
        peers: section.list("peers", sink),
        anywhere: section.boolean("anywhere", sink),
        bytes_per_minute: section.integer("bytes_per_minute", sink),
    }
}

fn read_site(section: &Section<'_, '_>, sink: &mut dyn Report) -> RawSite {
    RawSite {
        at: section.at,
        name: section.text("name", sink),
        jurisdiction: section.text("jurisdiction", sink),
        cidrs: section.list("cidrs", sink),
    }
}

fn read_pin(section: &Section<'_, '_>, sink: &mut dyn Report) -> RawPin {
    let selects = section.table_or_entries("pin.select", sink);
    if section.lacks("select") || section.is_empty_list("select") {
        let example = "[pin.select] with ports = [\"tcp/143\"], after the pin's own keys".to_owned();
        sink.report(section.at, "pin.select".to_owned(), ErrorKind::Missing { example });
    }
    RawPin {
        at: section.at,
        name: section.text("name", sink),
        home: section.text("home", sink),
        permit: section.list("permit", sink),
        action: section.text("action", sink),
        ingress: section.text("ingress", sink),
        record: section.text("record", sink),
        canary: canary_keys::read(section, sink),
        selects: selects.iter().map(|select| read_select(select, sink)).collect(),
    }
}

fn read_select(section: &Section<'_, '_>, sink: &mut dyn Report) -> RawSelect {
    let selectors =
        ["sources", "ports", "remote_ports", "interfaces", "cgroups", "users", "volumes", "marks"];
    require_dimension(section, "pin.select", &selectors, sink);
    RawSelect {
        at: section.at,
        sources: section.list("sources", sink),
        ports: section.list("ports", sink),
        remote_ports: section.list("remote_ports", sink),
        interfaces: section.list("interfaces", sink),
        cgroups: section.list("cgroups", sink),
        users: section.list("users", sink),
        sent_by: section.text("sent_by", sink),
        volumes: section.list("volumes", sink),
        spread: section.text("spread", sink),
        copies: section.boolean("copies", sink),
        relays: section.text("relays", sink),
        accept_relays: section.list("accept_relays", sink),
        marks: section.list("marks", sink),
        direction: section.text("direction", sink),
    }
}

fn require_dimension(section: &Section<'_, '_>, field: &str, names: &[&'static str], sink: &mut dyn Report) {
    if !section.has_any(names) {
        sink.report(section.at, field.to_owned(), ErrorKind::NoDimension { choices: names.to_vec() });
    }
}
