//! The worker that reads the kernel's counters: large maps, which nobody has to wait for but those who ask.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use guard_common::abi::{UntaggedKey, UntaggedRecord};
use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use super::queue::{Receiver, Urgency};
use super::still::Still;
use super::untagged::Watch;
use super::worker;
use crate::control::users::Names;
use crate::daemon::engine::{Input, Sample, SampleFor};
use crate::events::condition::Condition;
use crate::events::history::History;
use crate::health::{Problem, ProblemCode};
use crate::history::Worker as Past;
use crate::kernel::{
    Carriers, Counters, KernelError, Reachable, Running, UntaggedFlow, View, cgroup, running,
};
use crate::store::Cursor;
use crate::telemetry;

/// How long a sample waits for the events that are in the ring buffer.
const EVENTS: Duration = Duration::from_millis(100);

/// Flows without a pin that are shown.
const UNTAGGED: usize = 20;

/// Processes that carry data of volumes and are shown.
const CARRIERS: usize = 100;

/// What is sampled beside the kernel's counters.
#[derive(Clone)]
pub(super) struct Sources {
    /// The worker that reports events.
    pub(super) telemetry: Arc<telemetry::Worker>,
    /// The events.
    pub(super) history: Arc<History>,
    /// Those of earlier times, on the disk.
    pub(super) past: Arc<Past>,
    /// What no pin tags, on its way there.
    pub(super) untagged: Arc<Watch>,
    /// The names of users.
    pub(super) users: Names,
    /// Whether the event log takes lines.
    pub(super) log: Condition,
    /// Up to when flows were reported, until it is taken.
    pub(super) cursor: Arc<Mutex<Option<Cursor>>>,
}

/// The way to the worker.
pub(super) struct Worker(worker::Worker<SampleFor>);

impl Worker {
    /// Starts it over a view of its own.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub(super) fn start(view: View, sources: Sources, inputs: UnboundedSender<Input>) -> io::Result<Self> {
        worker::Worker::start("sampler", move |jobs| work(&view, &sources, &jobs, &inputs)).map(Self)
    }

    pub(super) fn sample(&self, purpose: SampleFor) {
        self.0.put(purpose, Urgency::Ordinary);
    }

    pub(super) fn end(&mut self, deadline: Instant) {
        self.0.end(deadline);
    }
}

fn work(view: &View, sources: &Sources, jobs: &Receiver<SampleFor>, inputs: &UnboundedSender<Input>) {
    let mut counts = Counts::default();
    while let Some(purpose) = jobs.take() {
        // What is in the ring buffer by now is an event before it is counted.
        let _in_time = sources.telemetry.flush_within(EVENTS);
        let sample = sample(view, sources, &mut counts, purpose);
        let sample = sample.map(Box::new).map_err(|error| error.to_string());
        if inputs.send(Input::Sampled(sample)).is_err() {
            break;
        }
    }
    if let Err(error) = sources.untagged.record_last(&sources.past, view) {
        warn!("the last counts of egress that no pin tags can't be read for the flow history: {error}");
    }
}

/// The counters as they were read last.
#[derive(Default)]
struct Counts {
    still: Still,
    last: Option<Counters>,
}

impl Counts {
    /// Reads them, but for those of pins where nobody asked and no packet of a pin has crossed: they are a number for each
    /// pin, jurisdiction and processor.
    fn read(&mut self, view: &View, purpose: SampleFor) -> Result<Counters, KernelError> {
        let totals = view.totals()?;
        let is_still = self.still.look(&totals, Instant::now());
        // Where reading fails, the next look reads all.
        let counters = match self.last.take() {
            Some(last) if is_still && purpose == SampleFor::Book => Counters {
                totals,
                lost: view.lost()?,
                untagged: view.untagged()?,
                bypasses: view.bypasses()?,
                ..last
            },
            _ => view.counters()?,
        };
        self.last = Some(counters.clone());
        Ok(counters)
    }
}

fn sample(
    view: &View,
    sources: &Sources,
    counts: &mut Counts,
    purpose: SampleFor,
) -> Result<Sample, KernelError> {
    let counters = counts.read(view, purpose)?;
    let (is_whole, is_to_look) = (purpose == SampleFor::Answer, sources.untagged.is_to_look());
    let flows = if is_whole || is_to_look { view.untagged_records()? } else { Vec::new() };
    let carriers = if is_whole { view.carriers()? } else { Carriers::default() };
    let losses = sources.telemetry.losses();
    let mut sample = Sample {
        counters,
        evicted: losses.evicted(),
        log_lost: losses.log(),
        diagnostics_lost: losses.diagnostics(),
        events: sources.history.next_sequence() - 1,
        cursor: sources.cursor.lock().unwrap_or_else(PoisonError::into_inner).take(),
        history_lost: sources.past.lost(),
        problems: problems(sources),
        ..Sample::default()
    };
    if is_to_look {
        sources.untagged.record_where_due(&sources.past, &sample.counters.untagged, &flows);
    }
    if is_whole {
        show(&mut sample, sources, (&flows, carriers));
    }
    Ok(sample)
}

/// What is wrong with the reporting of events.
fn problems(sources: &Sources) -> Vec<Problem> {
    let now = Instant::now();
    let told = |why| Problem::of(ProblemCode::LogUnwritable, "events", why);
    let of_log = sources.log.faults(now).into_iter().map(told);
    let own = [sources.telemetry.problems(now), sources.past.problems(now)].concat();
    own.into_iter().chain(of_log).collect()
}

/// Adds what is shown and not booked, with names.
fn show(
    sample: &mut Sample,
    sources: &Sources,
    (flows, carriers): (&[(UntaggedKey, UntaggedRecord)], Carriers),
) {
    let untagged = UntaggedFlow::greatest(flows, UNTAGGED);
    // The latest first: of many those are shown that have just come.
    let mut latest: Vec<_> = carriers.processes.iter().collect();
    latest.sort_by_key(|(_, carrier)| std::cmp::Reverse(carrier.since_ns));
    let is_there = |(pid, _): (&u32, _)| Some((*pid, running(*pid).ok()?));
    let carrying: BTreeMap<u32, Running> = latest.into_iter().filter_map(is_there).take(CARRIERS).collect();
    let ids = untagged.iter().flat_map(|flow| [flow.cgroup, flow.process.cgroup]);
    let ids = ids.filter(|id| *id != 0).chain(carriers.cgroups.keys().copied()).collect();
    let carried = carrying.values().map(|process| process.uid);
    let uids = untagged.iter().filter(|flow| flow.process.is_known()).map(|flow| flow.process.uid);
    sample.users = uids.chain(carried).filter_map(|uid| Some((uid, sources.users.known(uid)?))).collect();
    sample.cgroups = cgroup::paths(&ids);
    sample.reachable = Reachable::look().ok();
    (sample.untagged, sample.carriers, sample.carrying) = (untagged, carriers, carrying);
    sample.is_whole = true;
}
