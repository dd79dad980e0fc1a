//! What is in force, and the candidate: each as the tables that a packet is judged by.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use guard_common::abi::MAX_EXEMPTIONS;
use guard_common::packet::Addr;

use super::read::Seen;
use crate::cli::CliError;
use crate::compile::{InterfaceFact, NeedsInterfaces};
use crate::config::policy::{Geo, Pin, Policy};
use crate::config::{self, Surroundings};
use crate::control::client::{Exchange, ask, unexpected};
use crate::control::protocol::{OpenExemption, Request, Response};
use crate::digest::sha256;
use crate::exemption::{self, Clocks, Document, division};
use crate::explain::{Explainer, NamedExemption};
use crate::geo::GeoDb;
use crate::inputs;
use crate::kernel::{Interface, host_addresses};
use crate::simulate::{Unguarded, interfaces};
use crate::store::{kernel_entries, last_database};

/// What is to be simulated.
pub(super) struct Wanted<'a> {
    pub(super) new: PathBuf,
    /// The candidate's text, where it is not the file's.
    pub(super) text: Option<&'a [u8]>,
    pub(super) geo: &'a [PathBuf],
    pub(super) exemptions: &'a [PathBuf],
    pub(super) without: &'a [String],
}

/// The candidate, as far as it needs no daemon.
pub(super) struct Candidate {
    policy: Policy,
    database: GeoDb,
    documents: Vec<Document>,
}

/// What one side is made of.
pub(super) struct Side {
    pub(super) sha256: String,
    pub(super) database: String,
    /// When the database was made, where it says so.
    pub(super) generated: Option<String>,
}

impl Side {
    fn of(policy: &Policy, database: &GeoDb) -> Self {
        Self {
            sha256: sha256(&policy.text),
            database: database.info.source.clone(),
            generated: database.info.generated.map(|date| date.strftime("%Y-%m-%d").to_string()),
        }
    }
}

/// An exemption that the candidate has besides those that are open.
pub(super) struct Added {
    pub(super) id: String,
    pub(super) quota: Option<u64>,
    /// Whether it takes the place of a version that is open now.
    pub(super) replaces: bool,
}

/// What was compared.
pub(super) struct About {
    /// The daemon's config file.
    pub(super) file: String,
    pub(super) new: PathBuf,
    pub(super) now: Side,
    pub(super) then: Side,
    /// Those that are open now.
    pub(super) open: usize,
    pub(super) added: Vec<Added>,
    pub(super) without: Vec<String>,
    /// Whether the daemon was told to observe, whatever the config says.
    pub(super) observes: bool,
    /// Whether the database in force could be read; else that of the config in force was taken.
    pub(super) has_database: bool,
    /// The policy in force, and the candidate.
    pub(super) policies: (Policy, Policy),
    /// Whether both, and both databases, are the same.
    pub(super) same_places: bool,
    /// The interfaces that are guarded now, and that the candidate would let go.
    pub(super) let_go: Unguarded,
    /// Those by which a route leads, that the candidate would guard and nothing guards now.
    pub(super) taken: Vec<String>,
    /// The interfaces that the tables of both know.
    pub(super) interfaces: Vec<String>,
    /// This host's addresses, where a pin of either selects any.
    pub(super) addresses: BTreeSet<Addr>,
    pub(super) boot_ns: u64,
}

/// Both sides.
pub(super) struct Both {
    pub(super) now: Explainer,
    pub(super) then: Explainer,
    pub(super) about: About,
}

/// Reads the candidate's config, databases and documents.
///
/// # Errors
/// Where one of them can't be used.
pub(super) fn candidate(wanted: &Wanted<'_>) -> Result<Candidate> {
    let checked = match wanted.text {
        Some(text) => config::parse(&wanted.new, text, &Surroundings::new(None)),
        None => config::load(&wanted.new, &Surroundings::new(None)),
    };
    let mut policy = checked.map_err(|errors| CliError::errors(&errors))?.policy;
    inputs::look_up_users(&mut policy).map_err(|error| CliError::document(error.to_string()))?;
    let files = if wanted.geo.is_empty() { &policy.geo.files } else { wanted.geo };
    let geo = Geo { files: files.to_vec(), ..policy.geo.clone() };
    let database = inputs::load_database(&geo).map_err(|error| CliError::bad_input(error.to_string()))?;
    let mut documents: Vec<Document> = Vec::new();
    for file in wanted.exemptions {
        let (document, _) = exemption::load(file, &exemption::Surroundings::default())
            .map_err(|errors| CliError::errors(&errors))?;
        if documents.iter().any(|it| it.id == document.id) {
            let message = format!("{}: --exemption names {} twice", file.display(), document.id);
            return Err(CliError::bad_input(message).into());
        }
        documents.push(document);
    }
    Ok(Candidate { policy, database, documents })
}

/// Makes both sides.
///
/// # Errors
/// Where what is in force can't be had, or the candidate makes no tables.
pub(super) fn both(socket: &Path, candidate: Candidate, wanted: &Wanted<'_>, seen: &Seen) -> Result<Both> {
    let Candidate { policy: mut then, database: then_database, documents } = candidate;
    let status = &seen.status;
    let mut now = in_force(socket, seen)?;
    let observes = status.observe && !now.host.observe;
    now.host.observe |= observes;
    then.host.observe |= observes;
    let (now_database, has_database) = database_in_force(&now)?;
    let open = open(socket)?;
    let clocks = Clocks::read();
    let of_flows = seen.traffic.interfaces();
    let let_go = let_go(seen, (&now, &then), &of_flows)?;
    let taken = status.unguarded.iter().filter(|name| then.guards(name)).cloned().collect();
    let interfaces = interfaces(of_flows, &now, &then);
    let facts = facts(&[&now, &then], &interfaces)?;
    let needs_own = |pin: &Pin| pin.select.from_host || !pin.select.sources.is_empty();
    let addresses = match now.pins.iter().chain(&then.pins).any(needs_own) {
        true => host_addresses().context("the addresses of this host can't be listed")?,
        false => BTreeSet::new(),
    };
    let (kept, added) = candidates(&open, documents, wanted.without, &then, &clocks)?;
    let explainer = |policy: &Policy, database: GeoDb, exemptions: Vec<NamedExemption>| {
        Explainer::new(policy.clone(), database, exemptions, None)
            .and_then(|explainer| explainer.with_interfaces(facts.clone()))
            .map(|explainer| explainer.with_addresses(addresses.clone()))
            .map_err(|error| CliError::bad_input(error.to_string()))
    };
    let of_now: Vec<NamedExemption> =
        open.iter().flat_map(|it| named(&it.document, &it.slots, it.left, &now, &clocks)).collect();
    let about = About {
        file: status.config.clone(),
        new: wanted.new.clone(),
        now: Side::of(&now, &now_database),
        then: Side::of(&then, &then_database),
        open: open.len(),
        added,
        without: wanted.without.to_vec(),
        observes,
        has_database,
        let_go,
        taken,
        interfaces,
        addresses: addresses.clone(),
        boot_ns: clocks.boot_ns,
        policies: (now.clone(), then.clone()),
        same_places: now.text == then.text
            && (&now_database.v4, &now_database.v6) == (&then_database.v4, &then_database.v6),
    };
    let (now, then) = (explainer(&now, now_database, of_now)?, explainer(&then, then_database, kept)?);
    Ok(Both { now, then, about })
}

/// The interfaces that are guarded now and would not be by the candidate. Where all that leaves by one leaves by others that it
/// guards, it is judged there.
fn let_go(seen: &Seen, (now, then): (&Policy, &Policy), of_flows: &[String]) -> Result<Unguarded> {
    let guarded = seen.status.interfaces.iter().filter(|it| it.hooks.iter().any(|it| it.hook == "egress"));
    let guarded = guarded.map(|it| &it.name).chain(of_flows.iter().filter(|name| now.guards(name)));
    let gone: BTreeSet<&String> = guarded.filter(|name| !then.guards(name)).collect();
    let mut stay = BTreeSet::new();
    let leaves_by = |name: &str| -> Result<Vec<String>> {
        let below = Interface::below(name).context("what is below the interface is not known")?;
        Ok(below.leaves_by)
    };
    for name in &gone {
        if is_judged_below(name, |name| then.guards(name), &leaves_by, &mut BTreeSet::new())? {
            stay.insert(name.as_str());
        }
    }
    Ok(Unguarded::of(gone.iter().map(|name| (*name).clone()), |name| stay.contains(name)))
}

/// Whether all that leaves by this interface is judged: there, or where it leaves as it is. `above` are those that lead to it.
fn is_judged_below(
    name: &str,
    guards: impl Fn(&str) -> bool + Copy,
    leaves_by: &impl Fn(&str) -> Result<Vec<String>>,
    above: &mut BTreeSet<String>,
) -> Result<bool> {
    if guards(name) {
        return Ok(true);
    }
    // A circle ends.
    if !above.insert(name.to_owned()) {
        return Ok(false);
    }
    let lower = leaves_by(name)?;
    for name in &lower {
        if !is_judged_below(name, guards, leaves_by, above)? {
            return Ok(false);
        }
    }
    above.remove(name);
    Ok(!lower.is_empty())
}

/// The config in force, as the audit trail has it, without its flows.
///
/// # Errors
/// Where no daemon answers, or this user may not ask it.
pub(in crate::cli) fn policy_in_force(socket: &Path, config: &str) -> Result<Policy> {
    let mut exchange = Exchange::begin(socket, &Request::Flows { brief: true })?;
    match exchange.response()? {
        Some(Response::Flows { policy, .. }) => policy_of(socket, policy.as_deref(), config),
        _ => Err(exchange.unexpected().into()),
    }
}

fn in_force(socket: &Path, seen: &Seen) -> Result<Policy> {
    policy_of(socket, seen.live.policy.as_deref(), &seen.status.config)
}

fn policy_of(socket: &Path, sha256: Option<&str>, config: &str) -> Result<Policy> {
    let Some(sha256) = sha256 else {
        return Err(CliError::bad_input("the daemon does not know which config is in force yet").into());
    };
    policy_of_trail(socket, sha256, config)
}

/// A config that was in force, as the audit trail has it.
///
/// # Errors
/// Where it has none of this SHA-256, or this version can't use it.
pub(in crate::cli) fn policy_of_trail(socket: &Path, sha256: &str, config: &str) -> Result<Policy> {
    let Response::Config { text } = ask(socket, &Request::AuditConfig { sha256: sha256.to_owned() })? else {
        return Err(unexpected(socket).into());
    };
    let file = Path::new(config);
    let checked = config::parse(file, text.as_bytes(), &Surroundings::new(None));
    let mut policy = checked
        .map_err(|error| {
            CliError::document(format!(
                "the config that was in force (SHA-256 {sha256}) can't be used by this version:\n{error}"
            ))
        })?
        .policy;
    inputs::look_up_users(&mut policy).map_err(|error| CliError::document(error.to_string()))?;
    Ok(policy)
}

/// The database in force, and whether it is.
fn database_in_force(now: &Policy) -> Result<(GeoDb, bool)> {
    match last_database::read(&now.state.directory) {
        Ok(Some(database)) => Ok((database, true)),
        _ => {
            let database = inputs::load_database(&now.geo);
            Ok((database.map_err(|error| CliError::bad_input(error.to_string()))?, false))
        }
    }
}

/// An exemption that is open now.
struct Open {
    document: Document,
    slots: Vec<u16>,
    left: Option<u64>,
}

fn open(socket: &Path) -> Result<Vec<Open>> {
    let Response::Open { exemptions } = ask(socket, &Request::ExemptionOpen {})? else {
        return Err(unexpected(socket).into());
    };
    let read = |OpenExemption { document, slots, left }| {
        let document = exemption::parse(Path::new("it"), document.as_bytes(), &Default::default())?;
        Ok(Open { document, slots, left })
    };
    exemptions.into_iter().map(read).collect()
}

/// The candidate's exemptions, and those among them that are added.
fn candidates(
    open: &[Open],
    documents: Vec<Document>,
    without: &[String],
    then: &Policy,
    clocks: &Clocks,
) -> Result<(Vec<NamedExemption>, Vec<Added>)> {
    if let Some(id) = without.iter().find(|id| !open.iter().any(|it| it.document.id == **id)) {
        return Err(CliError::bad_input(format!("--without {id}: no exemption of this id is open")).into());
    }
    let is_added = |id: &String| documents.iter().any(|document| document.id == *id);
    let stays = |it: &&Open| !without.contains(&it.document.id) && !is_added(&it.document.id);
    let staying: Vec<&Open> = open.iter().filter(stays).collect();
    let taken: BTreeSet<u16> = staying.iter().flat_map(|it| it.slots.iter().copied()).collect();
    let mut free =
        (0..u16::try_from(MAX_EXEMPTIONS).unwrap_or(u16::MAX)).filter(|slot| !taken.contains(slot));
    let mut all: Vec<NamedExemption> =
        staying.iter().flat_map(|it| named(&it.document, &it.slots, it.left, then, clocks)).collect();
    let mut added = Vec::new();
    for document in documents {
        let slots: Vec<u16> = free.by_ref().take(division::slots_wanted(&document)).collect();
        let mut entries = named(&document, &slots, document.quota_bytes, then, clocks);
        if entries.is_empty() {
            let why = match slots.len() < division::slots_wanted(&document) {
                true => "the kernel's tables have no room for it beside those that are open",
                false => "it has ended, or names no pin of the candidate",
            };
            return Err(CliError::bad_input(format!("--exemption: {}: {why}", document.id)).into());
        }
        for entry in &mut entries {
            entry.kernel.valid_from_ns = 0;
        }
        let replaces = open.iter().any(|it| it.document.id == document.id);
        added.push(Added { id: document.id.clone(), quota: document.quota_bytes, replaces });
        all.extend(entries);
    }
    Ok((all, added))
}

/// A document's entries in the tables of a policy.
fn named(
    document: &Document,
    slots: &[u16],
    left: Option<u64>,
    policy: &Policy,
    clocks: &Clocks,
) -> Vec<NamedExemption> {
    let entries = kernel_entries(document, slots, &policy.pin_names(), left.unwrap_or(u64::MAX), clocks);
    entries.into_iter().map(|kernel| NamedExemption { id: document.id.clone(), kernel }).collect()
}

/// The interfaces of the flows, with what of them the policies need. Their numbers are their own: flows know them by name, and
/// some are gone.
fn facts(policies: &[&Policy], names: &[String]) -> Result<Vec<InterfaceFact>> {
    /// The loopback interface's, which the decision knows without the tables.
    const LOOPBACK: (&str, u32) = ("lo", 1);
    let needs_names = policies.iter().any(|policy| NeedsInterfaces::of(policy) != NeedsInterfaces::Nothing);
    let mut facts = Vec::new();
    for (name, index) in names.iter().zip(LOOPBACK.1 + 1..) {
        let index = if name == LOOPBACK.0 { LOOPBACK.1 } else { index };
        let mut fact = InterfaceFact { index, names: vec![name.clone()], ..InterfaceFact::default() };
        if needs_names {
            let below = Interface::below(name).context("what is below the interface is not known")?;
            fact.names.extend(below.names);
            fact.loops_back = below.loops_back;
        }
        facts.push(fact);
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_by_parts_of_which_one_is_let_go_is_not_judged() {
        let leaves_by = |name: &str| -> Result<Vec<String>> {
            let lower: &[&str] = match name {
                "bond0" => &["eth0", "eth1"],
                "vlan7" => &["bond0"],
                "circle" => &["circle"],
                // A bridge's ports may get copies alone.
                _ => &[],
            };
            Ok(lower.iter().map(|name| (*name).to_owned()).collect())
        };
        for (name, guarded, expected) in [
            ("bond0", &["eth0", "eth1"][..], true),
            ("bond0", &["eth0"], false),
            ("bond0", &["eth1"], false),
            ("vlan7", &["eth0", "eth1"], true),
            ("vlan7", &["bond0"], true),
            ("vlan7", &["eth0"], false),
            ("br0", &["eth0"], false),
            ("circle", &["eth0"], false),
            ("eth0", &["eth1"], false),
        ] {
            let guards = |name: &str| guarded.contains(&name);
            let found = is_judged_below(name, guards, &leaves_by, &mut BTreeSet::new()).unwrap();
            assert_eq!(found, expected, "{name}: {guarded:?}");
        }
    }
}
