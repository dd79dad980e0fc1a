//! `borderguard suggest`: pins and sites for what was seen to leave without a pin.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use guard_common::jurisdiction::Jurisdiction;
use jiff::Timestamp;

use super::simulate::policy_in_force;
use super::target::Target;
use super::{BY_CONFIG, CliError, default_must_be_there};
use crate::config::policy::Policy;
use crate::config::{self, Surroundings, fragments};
use crate::control::client;
use crate::control::status::{Status, UntaggedFlowStatus};
use crate::exit::Exit;
use crate::inputs;
use crate::text::{is_unseen, visible_lines};

/// Peers, processes and so on that a comment names of one kind.
const SHOWN: usize = 8;
/// The longest name of a pin, in bytes.
const NAME: usize = 63;
/// Protocols with ports that a config can name.
const WITH_PORTS: [&str; 5] = ["tcp", "udp", "sctp", "udplite", "dccp"];

/// Writes pins and sites for what was seen to leave without a pin, to be looked at and added to the config.
///
/// Each pin observes, and permits nothing beside its home. A running daemon says what was seen, while the policy observes.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The country that the data is at home in, as an ISO 3166-1 alpha-2 code [default: the home of the config's pins, where
    /// all have the same]
    #[arg(long, value_name = "JURISDICTION")]
    pub home: Option<String>,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// Writes the suggestions to `out`, which may be appended to the config as they are.
///
/// # Errors
/// Where the home is not known, no daemon answers, or the config with what is suggested has errors.
pub fn run(args: &Args, out: &mut impl std::io::Write) -> Result<Exit> {
    let (file, policy, status) = match &args.target.socket {
        Some(socket) => {
            let status = client::status(socket)?;
            let (file, policy) = of_daemon(socket, &status)?;
            (file, policy, Some(status))
        }
        None => {
            let file = args.target.config_file();
            default_must_be_there(&file, BY_CONFIG)?;
            let policy = of_file(&file)?;
            (file, policy, None)
        }
    };
    let home = home(args.home.as_deref(), &policy)?;
    let status = match status {
        Some(status) => status,
        None => client::status(&args.target.socket()?)?,
    };
    let text = suggested(&status, &policy, home, Timestamp::now());
    check(&file, &policy, &text)?;
    out.write_all(text.as_bytes())?;
    Ok(Exit::Ok)
}

fn of_file(file: &Path) -> Result<Policy, CliError> {
    let checked = inputs::load_config(file, false).map_err(|error| CliError::document(error.to_string()))?;
    Ok(checked.policy)
}

/// The config of the daemon on a socket that was named: its file, which is what is suggested is for, and where that can't be
/// read from here the one in force.
fn of_daemon(socket: &Path, status: &Status) -> Result<(PathBuf, Policy)> {
    let file = PathBuf::from(&status.config);
    let policy = match std::fs::File::open(&file) {
        Ok(_) => of_file(&file)?,
        Err(_) => policy_in_force(socket, &status.config)?,
    };
    Ok((file, policy))
}

/// The home that was named, else the one that all pins have.
fn home(named: Option<&str>, policy: &Policy) -> Result<Jurisdiction, CliError> {
    if let Some(code) = named {
        let found = code.parse().ok().filter(|it: &Jurisdiction| it.as_str().len() == 2);
        return found.ok_or_else(|| {
            CliError::bad_input(format!(
                "--home: {code:?} is no country: write an ISO 3166-1 alpha-2 code such as IE"
            ))
        });
    }
    let homes: BTreeSet<&str> = policy.pins.iter().map(|pin| pin.home.as_str()).collect();
    match homes.iter().collect::<Vec<_>>()[..] {
        [home] => home.parse().map_err(|_| CliError::bad_input("name the home by --home")),
        [] => Err(CliError::bad_input(
            "the config has no pin that says where data is at home: name it by --home",
        )),
        _ => Err(CliError::bad_input(
            "the config's pins have several homes: name the one of this data by --home",
        )),
    }
}

/// Holds the config with what is suggested against all checks.
fn check(file: &Path, policy: &Policy, text: &str) -> Result<(), CliError> {
    // What is suggested is for the config's own file, which the files of policy.d come after.
    let own = std::str::from_utf8(&policy.text).map_or(0, |text| fragments::split(text).0);
    let (own, rest) = policy.text.split_at(own);
    let whole = [own, b"\n".as_slice(), text.as_bytes(), b"\n", rest].concat();
    config::parse(file, &whole, &Surroundings::new(None)).map(drop).map_err(|errors| {
        CliError::document(format!(
            "the config with what is suggested would have errors, and nothing is suggested:\n{errors}"
        ))
    })
}

/// What flows of one service have in common: the selectors of one pin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Service {
    cgroup: Option<String>,
    /// The key of the selector, and its value.
    ports: Option<(&'static str, String)>,
}

impl Service {
    /// The service of a flow; `None` where no selector that a config takes would know it.
    fn of(flow: &UntaggedFlowStatus) -> Option<Self> {
        // A character that nobody sees has no place in a config that somebody is to look at.
        let is_fit = |path: &String| config::values::cgroup(path).is_ok() && !path.chars().any(is_unseen);
        let cgroup = flow.cgroup.clone().filter(is_fit);
        let port = flow.port.filter(|_| WITH_PORTS.contains(&flow.protocol.as_str()));
        let ports = port.and_then(|port| {
            let key = match flow.side.as_str() {
                "local" => "ports",
                "remote" => "remote_ports",
                _ => return None,
            };
            Some((key, format!("{}/{port}", flow.protocol)))
        });
        (cgroup.is_some() || ports.is_some()).then_some(Self { cgroup, ports })
    }

    /// A name for its pin.
    fn name(&self) -> String {
        let last = self.cgroup.as_deref().and_then(|path| path.rsplit('/').next());
        let parts = last.into_iter().chain(self.ports.as_ref().map(|(_, ports)| ports.as_str()));
        let text = parts.collect::<Vec<_>>().join("-").to_ascii_lowercase();
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') { c } else { '-' };
        let text: String = text.chars().map(plain).take(NAME - "seen-".len() - "-999".len()).collect();
        format!("seen-{text}")
    }
}

/// What is said where no flow is known: comments too, for it may be appended to a config.
fn nothing_seen(status: &Status, home: Jurisdiction) -> String {
    let mut text = String::new();
    let since = &status.since;
    match status.observe {
        true => {
            comment(
                &mut text,
                &format!(
                    "Nothing is suggested: no packet without a pin was seen to leave since {since}, when the live generation began."
                ),
            );
            comment(
                &mut text,
                "Where services are to send still, wait until they have, and ask again. Where what should be seen is not, \
                 `borderguard status` says by which interfaces packets are judged (host.interfaces).",
            );
        }
        false => {
            comment(
                &mut text,
                &format!(
                    "Nothing is suggested: the policy does not observe, so no flow without a pin was kept since {since}, when the \
                     live generation began."
                ),
            );
            comment(
                &mut text,
                "Set host.observe = true, which drops nothing, and reload; let the services work for a time, and ask again.",
            );
        }
    }
    untagged_bytes(&mut text, status, home);
    text
}

/// What left without a pin by jurisdiction, which is counted also while no flow is kept.
fn untagged_bytes(text: &mut String, status: &Status, home: Jurisdiction) {
    let places = status.untagged.jurisdictions.iter().filter(|place| place.jurisdiction != home.as_str());
    let places: Vec<String> =
        places.take(SHOWN).map(|it| format!("{} ({} bytes)", it.jurisdiction, it.bytes)).collect();
    if !places.is_empty() {
        comment(
            text,
            &format!(
                "Bytes that left without a pin since the counters began, by jurisdiction: {}.",
                places.join(", ")
            ),
        );
    }
}

/// All of it, as it is appended to a config.
fn suggested(status: &Status, policy: &Policy, home: Jurisdiction, now: Timestamp) -> String {
    if status.untagged.flows.is_empty() {
        return nothing_seen(status, home);
    }
    let mut text = String::new();
    let is_country = |flow: &&UntaggedFlowStatus| flow.jurisdiction.len() == 2;
    let flows = &status.untagged.flows;
    let abroad: Vec<&UntaggedFlowStatus> =
        flows.iter().filter(is_country).filter(|flow| flow.jurisdiction != home.as_str()).collect();
    let nowhere: Vec<&UntaggedFlowStatus> = flows.iter().filter(|flow| !is_country(flow)).collect();
    let mut line = |words: &str| comment(&mut text, words);
    line(&format!("Suggested by `borderguard suggest` for what left without a pin, seen until {now:.0}."));
    line(&format!(
        "It is what the kernel has kept of the flows with most bytes, {} of at most 20, while the policy observed; the generation is \
         live since {}.",
        flows.len(),
        status.since
    ));
    if abroad.is_empty() && nowhere.is_empty() {
        line(&format!("Nothing is suggested: all of it stayed at home ({home})."));
    }
    if status.people == "hidden" {
        line("Who sent is hidden from you: it takes the right `people`. So pins are known by ports alone.");
    }
    let mut services: BTreeMap<Service, Vec<&UntaggedFlowStatus>> = BTreeMap::new();
    let mut unknown = Vec::new();
    for flow in abroad {
        match Service::of(flow) {
            Some(service) => services.entry(service).or_default().push(flow),
            None => unknown.push(flow),
        }
    }
    let mut taken: BTreeSet<String> = policy.pin_names().into_iter().collect();
    for (service, flows) in &services {
        write_pin(&mut text, service, flows, home, &mut taken);
    }
    if !unknown.is_empty() {
        text.push('\n');
        comment(
            &mut text,
            "No selector knows these: neither a cgroup nor a port could be read. Pin them by source address.",
        );
        evidence(&mut text, &unknown);
    }
    if !nowhere.is_empty() {
        text.push('\n');
        comment(
            &mut text,
            "Nobody knows in which jurisdiction these peers are. Where they are in your own network, say so: where that is, \
             is for you to know.",
        );
        evidence(&mut text, &nowhere);
        comment(&mut text, "[[site]]");
        comment(&mut text, "name = \"a-name\"");
        comment(&mut text, "jurisdiction = \"??\"");
        let peers: BTreeSet<String> = nowhere.iter().map(|flow| host_network(&flow.peer)).collect();
        let peers: Vec<String> = peers.iter().map(|peer| quoted(peer)).collect();
        comment(&mut text, &format!("cidrs = [{}]", peers.join(", ")));
    }
    text
}

fn write_pin(
    text: &mut String,
    service: &Service,
    flows: &[&UntaggedFlowStatus],
    home: Jurisdiction,
    taken: &mut BTreeSet<String>,
) {
    let base = service.name();
    let mut name = base.clone();
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{base}-{number}");
        number += 1;
    }
    text.push('\n');
    evidence(text, flows);
    let places: BTreeSet<String> = flows.iter().map(|flow| quoted(&flow.jurisdiction)).collect();
    let places: Vec<String> = places.into_iter().collect();
    comment(
        text,
        &format!(
            "Whether this is pinned data, where it is at home, and where it may go, is for you to decide. Nothing beside the home is \
             permitted here; all that was seen would be: permit = [{}]",
            places.join(", ")
        ),
    );
    // Writing to a string does not fail.
    let _ok = writeln!(
        text,
        "[[pin]]\nname = {}\nhome = \"{home}\"\naction = \"observe\"\n[pin.select]",
        quoted(&name)
    );
    if let Some(cgroup) = &service.cgroup {
        let _ok = writeln!(text, "cgroups = [{}]", quoted(cgroup));
    }
    if let Some((key, ports)) = &service.ports {
        let _ok = writeln!(text, "{key} = [{}]", quoted(ports));
    }
}

/// What was seen, as comments.
fn evidence(text: &mut String, flows: &[&UntaggedFlowStatus]) {
    let sum = |of: fn(&UntaggedFlowStatus) -> u64| {
        flows.iter().map(|flow| of(flow)).fold(0_u64, u64::saturating_add)
    };
    let (packets, bytes) = (sum(|flow| flow.packets), sum(|flow| flow.bytes));
    comment(text, &format!("Seen: {packets} packets of {bytes} bytes."));
    let port = |flow: &UntaggedFlowStatus| {
        let port = flow.port.map(|port| format!("/{port}")).unwrap_or_default();
        format!("{}{port} {}", flow.protocol, flow.side)
    };
    let process = |flow: &UntaggedFlowStatus| {
        let process = flow.process.as_ref()?;
        let user = process.user.clone().unwrap_or_else(|| process.uid.to_string());
        Some(format!("{} ({}) of {user}", process.command, process.pid))
    };
    let lists = [
        ("peers", flows.iter().map(|flow| format!("{} in {}", flow.peer, flow.jurisdiction)).collect()),
        ("ports", flows.iter().map(|flow| port(flow)).collect()),
        ("processes", flows.iter().filter_map(|flow| process(flow)).collect()),
        ("interfaces", flows.iter().filter_map(|flow| flow.interface.clone()).collect()),
    ];
    for (what, all) in lists {
        let all: BTreeSet<String> = all;
        if !all.is_empty() {
            let shown: Vec<&str> = all.iter().take(SHOWN).map(String::as_str).collect();
            let more = all.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            comment(text, &format!("  {what}: {}{more}", shown.join(", ")));
        }
    }
}

/// One line of comment, whatever characters are in it: commands and cgroups are named by whoever makes them.
fn comment(text: &mut String, words: &str) {
    let shown = visible_lines(words).replace(['\n', '\t'], " ");
    text.push_str("# ");
    text.push_str(shown.trim_end());
    text.push('\n');
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The network that has this address alone.
fn host_network(address: &str) -> String {
    let width = if address.contains(':') { 128 } else { 32 };
    format!("{address}/{width}")
}

#[cfg(test)]
mod tests;
