//! Tests of the config as a whole.

use std::net::IpAddr;
use std::path::Path;

use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;

use super::{Checked, ConfigErrors, Surroundings, parse};

mod any_input;
pub(crate) mod documentation;
mod error_examples;
mod errors;
pub(crate) mod findings;
mod fragments;
mod host;
mod policy;
mod sites;
mod warnings;

/// A config without errors, and without warnings but one: its pin is known by ports (`ports-alone`).
const GOOD: &str = r#"[host]
interfaces = ["eth0"]
[[failsafe]]
name = "ssh"
local_ports = ["tcp/22"]
[[site]]
name = "dublin"
jurisdiction = "IE"
cidrs = ["10.1.0.0/16"]
[groups]
nordics = ["SE", "FI"]
[[pin]]
name = "mail"
home = "IE"
permit = ["EU", "nordics"]
action = "drop"
[pin.select]
sources = ["192.0.2.10/32"]
ports = ["tcp/143"]
[approval]
allowed_signers = "/etc/borderguard/allowed_signers"
[[approval.signer]]
identity = "anne@example.org"
roles = ["legal"]
[[approval.rule]]
[[approval.rule.required]]
role = "legal"
count = 1
"#;

/// The one dimension of its failsafe rule, by which no packet of its pin passes.
const SSH: &str = "local_ports = [\"tcp/22\"]";
/// Another one, for pins without ports.
const PEERS: &str = "peers = [\"192.0.2.128/26\"]";

fn code(text: &str) -> Jurisdiction {
    text.parse().unwrap()
}

/// Built-in groups that are small enough to see through.
fn small_groups(name: &str) -> Option<Vec<Jurisdiction>> {
    let members: &[&str] = match name {
        "EU" => &["BE", "DE", "FI", "IE", "SE"],
        "EEA" => &["BE", "DE", "FI", "IE", "IS", "NO", "SE"],
        "adequacy" => &["CH", "JP"],
        _ => return None,
    };
    Some(members.iter().map(|text| code(text)).collect())
}

/// A database that knows three networks, one of which no database can place.
fn small_database(address: IpAddr) -> Option<Jurisdiction> {
    let networks = [("9.51.100.0/24", "BE"), ("9.0.113.0/24", "US"), ("198.51.100.0/24", "BE")];
    networks.iter().find_map(|(network, place)| {
        network.parse::<IpNetwork>().unwrap().contains(address).then(|| code(place))
    })
}

fn check(text: &str) -> Result<Checked, ConfigErrors> {
    let surroundings = Surroundings { groups: &small_groups, database: Some(&small_database), host: None };
    parse(Path::new("policy.toml"), text.as_bytes(), &surroundings)
}

/// [`GOOD`] with one part replaced, which must be there once.
fn good_with(part: &str, replacement: &str) -> String {
    findings::replaced(GOOD, part, replacement)
}

/// The short names that a source file of this module gives to findings.
fn codes_in(source: &str) -> Vec<&str> {
    let table = source.split("pub fn code(&self)").nth(1).unwrap();
    table.lines().filter_map(|line| line.split_once("=> \"")?.1.strip_suffix("\",")).collect()
}
