//! A shadow's candidate, read and made tables of, and the names of what came of it: each on a thread of its own, for it may
//! take seconds, and nothing that closes is to wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use guard_common::abi::shadow::{MAX_SHADOW_FLOWS, ShadowFlow, ShadowKey};
use guard_common::abi::{Count, Hook, NO_EXEMPTION, Outcome, Place};
use guard_common::jurisdiction::Jurisdiction;
use guard_common::verdict::{Reason, Verdict};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use super::{facts, loader, memory};
use crate::compile;
use crate::config::policy::Geo;
use crate::config::{self, Surroundings};
use crate::control::protocol::{ErrorKind, Response, ShadowReport};
use crate::control::shadow::{ShadowAmount, ShadowDifference, ShadowVerdict};
use crate::control::users;
use crate::daemon::engine::{self, Input, LoadFailure, ShadowEnd, ShadowLoad, ShadowPrepared, Ticket};
use crate::events::flow_records::{FlowRecords, Named};
use crate::events::names::{Generations, Names, SharedNames};
use crate::exemption::{self, Clocks, Document};
use crate::inputs;
use crate::kernel::cgroup;

/// What names are looked up by.
pub(super) struct Shadows {
    pub(super) names: SharedNames,
    pub(super) users: users::Names,
    /// When the daemon started.
    pub(super) session: Timestamp,
    /// Whether it was told to observe.
    pub(super) observe: bool,
    pub(super) inputs: UnboundedSender<Input>,
}

impl Shadows {
    /// Reads a candidate and makes tables of it, for the shadow of this name.
    pub(super) fn load(&self, id: String, load: ShadowLoad) {
        let (inputs, observe) = (self.inputs.clone(), self.observe);
        let answer = (self.inputs.clone(), id.clone());
        let thread = std::thread::Builder::new().name("shadow-load".to_owned());
        let started = thread.spawn(move || {
            let result = prepare(&load, observe).map(Box::new);
            memory::trim();
            let _nobody_is_left = inputs.send(Input::ShadowLoaded(id, result));
        });
        if let Err(error) = started {
            let message = format!("no thread can be had to read the candidate in: {error}");
            let failure = LoadFailure { kind: ErrorKind::Failed, message };
            let _nobody_is_left = answer.0.send(Input::ShadowLoaded(answer.1, Err(failure)));
        }
    }

    /// Puts names to what came of a shadow.
    pub(super) fn tell(&self, ticket: Ticket, end: ShadowEnd) {
        let (inputs, session) = (self.inputs.clone(), self.session);
        let (generations, users) = (self.names.get(), self.users.clone());
        let answer = self.inputs.clone();
        let thread = std::thread::Builder::new().name("shadow-names".to_owned());
        let started = thread.spawn(move || {
            let report = told(end, generations, |uid| users.known(uid), session);
            let response = Response::Shadow { is_on: true, report: Some(Box::new(report)) };
            memory::trim();
            let _nobody_is_left = inputs.send(Input::ShadowTold(ticket, response));
        });
        if let Err(error) = started {
            let message = format!("no thread can be had to put names to what came of the shadow: {error}");
            let response = Response::error(ErrorKind::Failed, message);
            let _nobody_is_left = answer.send(Input::ShadowTold(ticket, response));
        }
    }
}

fn bad_input(message: String) -> LoadFailure {
    LoadFailure { kind: ErrorKind::BadInput, message }
}

fn prepare(load: &ShadowLoad, observe: bool) -> Result<ShadowPrepared, LoadFailure> {
    let wanted = &load.wanted;
    let checked = config::parse(&wanted.name, wanted.config.as_bytes(), &Surroundings::new(None));
    let mut policy = checked.map_err(|errors| bad_input(errors.to_string()))?.policy;
    let observes = observe && !policy.host.observe;
    policy.host.observe |= observe;
    loader::look_up(&mut policy)?;
    let files = if wanted.geo.is_empty() { policy.geo.files.clone() } else { wanted.geo.clone() };
    may_read(&files, load.may_read.as_deref())?;
    let geo = Geo { files, ..policy.geo.clone() };
    let database = inputs::load_database(&geo).map_err(|error| bad_input(error.to_string()))?;
    let image = compile::geo_image(&database, &policy.sites);
    let image = image.map_err(|error| bad_input(format!("the geo tables do not fit: {error}")))?;
    let mut documents: Vec<Document> = Vec::new();
    for text in &wanted.exemptions {
        let parsed = exemption::parse(Path::new("exemption"), text.as_bytes(), &Default::default());
        let document = parsed.map_err(|errors| bad_input(errors.to_string()))?;
        if documents.iter().any(|it| it.id == document.id) {
            return Err(bad_input(format!("--exemption names {} twice", document.id)));
        }
        documents.push(document);
    }
    let paths: Vec<String> = policy.pins.iter().flat_map(|pin| pin.select.cgroups.clone()).collect();
    Ok(ShadowPrepared {
        cgroups: facts::cgroups(&paths),
        policy: Arc::new(policy),
        geo: engine::Geo(Arc::new(image)),
        database: database.info,
        documents,
        observes,
    })
}

/// That these databases are files, and may be read for who asks: what is wrong with one is told with parts of it.
fn may_read(files: &[PathBuf], allowed: Option<&[PathBuf]>) -> Result<(), LoadFailure> {
    for file in files {
        let path = file.display();
        if allowed.is_some_and(|allowed| !allowed.contains(file)) {
            let message = format!(
                "{path}: the daemon reads no other database for you than those of the config in force: ask as root"
            );
            return Err(LoadFailure { kind: ErrorKind::NotPermitted, message });
        }
        let metadata = std::fs::metadata(file)
            .map_err(|error| bad_input(format!("{path}: the daemon can't read it: {error}")))?;
        if !metadata.is_file() {
            return Err(bad_input(format!("{path}: it is not a regular file")));
        }
    }
    Ok(())
}

/// The report, with names.
fn told(
    end: ShadowEnd,
    generations: Arc<Generations>,
    user: impl Fn(u32) -> Option<String>,
    session: Timestamp,
) -> ShadowReport {
    let ShadowEnd { seen, then, sees_people, mut report } = end;
    let counts = seen.counts;
    report.policy = generations.newest().and_then(|names| names.policy.as_deref().map(str::to_owned));
    report.same = sum(&counts.same);
    report.lost = sum(&counts.lost);
    let difference = |(key, count): &(ShadowKey, Count)| difference(key, *count, &generations, &then);
    report.differences = counts.differences.iter().filter_map(difference).collect();
    report.capacity = MAX_SHADOW_FLOWS;
    let records: Vec<_> = seen.flows.iter().map(|(key, flow)| (key.flow, flow.record)).collect();
    let ids = records.iter().flat_map(|(_, record)| [record.cgroup, record.process.cgroup]);
    let ids: BTreeSet<u64> = ids.filter(|id| *id != 0).collect();
    let uids = records.iter().filter(|(_, record)| record.process.is_known());
    let uids: BTreeSet<u32> = uids.map(|(_, record)| record.process.uid).collect();
    let cgroups = match sees_people {
        true => cgroup::paths(&ids).into_iter().map(|(id, path)| (id, path.into())).collect(),
        false => BTreeMap::new(),
    };
    let users = uids.into_iter().filter_map(|uid| Some((uid, user(uid)?.into()))).collect();
    let named = Named { cgroups, users };
    let capacity = MAX_SHADOW_FLOWS;
    let flows = FlowRecords { records, capacity, generations, named, clock: Clocks::read(), session };
    let lines = flows.lines(0, seen.flows.len(), sees_people);
    let lines = lines.zip(&seen.flows).filter_map(|(line, (_, flow))| with_then(&line, flow, &then));
    report.flows = lines.collect();
    report
}

fn sum(counts: &[Count; Hook::PACKET_COUNT]) -> ShadowAmount {
    counts.iter().fold(ShadowAmount::default(), |sum, count| ShadowAmount {
        packets: sum.packets.saturating_add(count.packets),
        bytes: sum.bytes.saturating_add(count.bytes),
    })
}

fn pins_of(names: &Names, set: u64) -> Vec<String> {
    names.pins_of(set).map(|pin| pin.name.to_string()).collect()
}

/// A difference; `None` where it has a number that nothing has.
fn difference(
    key: &ShadowKey,
    count: Count,
    generations: &Generations,
    then: &Names,
) -> Option<ShadowDifference> {
    let names = generations.get(key.generation);
    let verdict = |verdict, reason, pins| {
        let (verdict, reason) = (Verdict::from_index(verdict)?, Reason::from_index(reason)?);
        Some(ShadowVerdict { verdict: verdict.name().to_owned(), reason: reason.name().to_owned(), pins })
    };
    let now_pins = names.map(|names| pins_of(names, key.now_pins)).unwrap_or_default();
    Some(ShadowDifference {
        hook: Hook::from_index(key.hook)?.name().to_owned(),
        now: verdict(key.now_verdict, key.now_reason, now_pins)?,
        then: verdict(key.then_verdict, key.then_reason, pins_of(then, key.then_pins))?,
        jurisdiction: Jurisdiction::from_index(key.then_jurisdiction)?.as_str().to_owned(),
        amount: ShadowAmount { packets: count.packets, bytes: count.bytes },
    })
}

/// The line of a flow, with how the candidate judged its first packet.
fn with_then(line: &str, flow: &ShadowFlow, names: &Names) -> Option<String> {
    let Outcome { denied, place, exemption, verdict, reason, .. } = flow.then;
    let mut line: Value = serde_json::from_str(line).ok()?;
    let exemption = (exemption != NO_EXEMPTION).then(|| names.exemptions.get(&exemption)).flatten();
    line["then"] = json!({
        "verdict": Verdict::from_index(verdict)?.name(),
        "reason": Reason::from_index(reason)?.name(),
        "pins": pins_of(names, denied),
        "jurisdiction": Place(place).jurisdiction().as_str(),
        "exemption": exemption.map(|id| id.to_string()),
    });
    Some(line.to_string())
}
