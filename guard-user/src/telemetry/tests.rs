//! The worker on a ring buffer and on records in memory.

mod losses;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use guard_common::abi::{
    self, COPY_NAME_LEN, COPY_NAMES, Count, FlowKey, FlowRecord, Hook, Loss, total_index,
};
use guard_common::packet::Addr;
use guard_common::verdict::{Reason, Verdict};
use rustix::event::{EventfdFlags, eventfd};

use super::worker::{Parts, Worker};
use super::{Events, Records};
use crate::config::policy::{Action, Ingress, Log, LogFormat, LogTo};
use crate::events::Entry;
use crate::events::budget::Limits;
use crate::events::event::Phase;
use crate::events::history::History;
use crate::events::log::EventLog;
use crate::events::log_past::{Earlier, LogPast};
use crate::events::names::{Names, PinName, SharedNames};
use crate::events::told::Totals;
use crate::health::ProblemCode;
use crate::kernel::{KernelError, RingEntry};

const PATIENCE: Duration = Duration::from_secs(10);

/// What the kernel has, as far as the worker sees it.
#[derive(Clone)]
struct Memory(Arc<Shared>);

struct Shared {
    readable: OwnedFd,
    state: Mutex<State>,
    capacity: usize,
}

struct State {
    generation: u64,
    ring: VecDeque<RingEntry>,
    flows: HashMap<FlowKey, FlowRecord>,
    /// Of what the kernel counts, all of which is dropped egress.
    counted: Count,
    order: VecDeque<FlowKey>,
    lost: [u64; Loss::COUNT],
    broken: bool,
    kept: Vec<u64>,
}

impl State {
    fn new() -> Self {
        Self {
            generation: 1,
            ring: VecDeque::new(),
            flows: HashMap::new(),
            counted: Count::default(),
            order: VecDeque::new(),
            lost: [0; Loss::COUNT],
            broken: false,
            kept: Vec::new(),
        }
    }
}

impl Memory {
    /// Room for so many flow records, and for as many events.
    fn new(capacity: usize) -> Self {
        let readable = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        Self(Arc::new(Shared { readable, state: Mutex::new(State::new()), capacity }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// A packet of this flow; an event of it goes to the ring buffer unless it is to be lost.
    fn packet(&self, flow: u32, event_is_lost: bool) {
        let mut state = self.state();
        while state.ring.len() >= self.0.capacity {
            drop(state);
            std::thread::sleep(Duration::from_micros(100));
            state = self.state();
        }
        let key = FlowKey { sport: flow as u16, dport: (flow >> 16) as u16, proto: 17, ..FlowKey::default() };
        if !state.flows.contains_key(&key) {
            if state.flows.len() >= self.0.capacity {
                let oldest = state.order.pop_front().unwrap();
                state.flows.remove(&oldest);
            }
            state.order.push_back(key);
        }
        let fresh = FlowRecord {
            first_ns: 1 + u64::from(flow),
            denied: 1,
            tag: 1,
            generation: state.generation,
            verdict: Verdict::Drop as u8,
            reason: Reason::Forbidden as u8,
            layers: 1,
            ..FlowRecord::default()
        };
        let record = state.flows.entry(key).or_insert(fresh);
        record.last_ns = record.first_ns;
        record.packets += 1;
        record.bytes += 100;
        let record = *record;
        state.counted.packets += 1;
        state.counted.bytes += 100;
        let event = abi::Event { key, record, ..abi::Event::default() };
        if event_is_lost {
            state.lost[Loss::Events as usize] += 1;
        } else {
            state.ring.push_back(RingEntry::Flow(event));
        }
        drop(state);
        rustix::io::write(&self.0.readable, &1_u64.to_ne_bytes()).unwrap();
    }
}

impl Memory {
    /// A carrier writes elsewhere.
    fn copy(&self, copy: abi::PinnedCopy) {
        self.state().ring.push_back(RingEntry::Copy(Box::new(copy)));
        rustix::io::write(&self.0.readable, &1_u64.to_ne_bytes()).unwrap();
    }
}

impl Events for Memory {
    fn next(&mut self) -> Option<RingEntry> {
        let next = self.state().ring.pop_front();
        if next.is_none() {
            let _empty = rustix::io::read(&self.0.readable, &mut [0_u8; 8]);
        }
        // An event that came in between made it readable again, or is taken now.
        next.or_else(|| self.state().ring.pop_front())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.0.readable.as_fd()
    }

    fn capacity(&self) -> usize {
        self.0.capacity
    }

    fn malformed(&self) -> u64 {
        0
    }
}

impl Records for Memory {
    fn lost(&self) -> Result<[u64; Loss::COUNT], KernelError> {
        Ok(self.state().lost)
    }

    fn totals(&self) -> Result<Totals, KernelError> {
        let index = total_index(Hook::Egress, Verdict::Drop as u8, Reason::Forbidden as u8);
        Ok(vec![(index, self.state().counted)])
    }

    fn for_each_flow(&self, each: &mut dyn FnMut(FlowKey, FlowRecord)) -> Result<(), KernelError> {
        if self.state().broken {
            return Err(KernelError::Damaged { map: "FLOWS", found: "a test".to_owned() });
        }
        let flows: Vec<_> = self.state().flows.iter().map(|(key, record)| (*key, *record)).collect();
        flows.into_iter().for_each(|(key, record)| each(key, record));
        Ok(())
    }

    fn flow_capacity(&self) -> usize {
        self.0.capacity
    }
}

struct Bed {
    kernel: Memory,
    history: Arc<History>,
    names: SharedNames,
    worker: Worker,
}

impl Bed {
    fn new(capacity: usize) -> Self {
        Self::with_log(capacity, EventLog::to_stream(std::io::sink()))
    }

    fn with_log(capacity: usize, log: EventLog) -> Self {
        let kernel = Memory::new(capacity);
        let history = Arc::new(History::new(100_000));
        let names = SharedNames::default();
        names.add(generation(1, "mail"));
        let keeper = kernel.clone();
        let worker = Worker::start(Parts {
            events: Box::new(kernel.clone()),
            records: Box::new(kernel.clone()),
            names: names.clone(),
            users: Box::new(|uid| (uid == 999).then(|| "postgres".to_owned())),
            history: Arc::clone(&history),
            past: None,
            log,
            looks: Log { format: LogFormat::Json, to: LogTo::Stdout },
            limits: Limits::default(),
            earlier: Earlier::default(),
            keep: Box::new(move |swept_ns| keeper.state().kept.push(swept_ns)),
            flow: Box::new(|_, _| ()),
            canaries: Default::default(),
            diagnostics_lost: Box::new(|| 0),
        });
        Self { kernel, history, names, worker: worker.unwrap() }
    }

    /// Packets that all events so far report.
    fn reported(&self) -> u64 {
        self.history.from(1, usize::MAX).1.iter().filter_map(|event| Some(event.flow()?.packets)).sum()
    }
}

fn generation(generation: u64, pin: &str) -> Names {
    Names {
        generation,
        config: "policy.toml".into(),
        policy: None,
        pins: vec![PinName { name: pin.into(), line: 1, action: Action::Drop, ingress: Ingress::Off }],
        exemptions: HashMap::new(),
        interfaces: HashMap::new(),
        volumes: HashMap::new(),
        cgroups: HashMap::new(),
    }
}

#[test]
fn what_was_in_the_ring_buffer_is_in_the_history_after_a_flush() {
    let bed = Bed::new(100_000);
    for round in 1..=5 {
        (0..1000).for_each(|flow| bed.kernel.packet(flow + round * 10_000, false));
        assert!(bed.worker.flush_within(PATIENCE));
        assert_eq!(bed.history.next_sequence() - 1, u64::from(round) * 1000);
    }
    let (_, events) = bed.history.from(1, 1);
    let event = events[0].flow().unwrap();
    assert_eq!((&*event.pins[0], event.phase), ("mail", Phase::New));
    assert!(bed.worker.problems(Instant::now()).is_empty());
}

#[test]
fn an_event_is_reported_without_a_request() {
    let bed = Bed::new(100);
    let mut news = bed.history.subscribe();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    bed.kernel.packet(1, false);
    let heard = runtime
        .block_on(async { tokio::time::timeout(PATIENCE, news.wait_for(|next| *next > 1)).await.is_ok() });
    assert!(heard);
}

#[test]
fn a_copy_is_an_event_with_the_names_of_volumes_and_users() {
    let bed = Bed::new(100);
    let volumes = [(0, "/srv/mail-ie".into())].into();
    bed.names.add(Names { volumes, ..generation(2, "mail") });
    let mut names = [[0; COPY_NAME_LEN]; COPY_NAMES];
    names[0][..4].copy_from_slice(b"dump");
    let process = abi::Process { pid: 7, uid: 999, ..abi::Process::default() };
    let file = abi::FileKey { inode: 5, device: 8 << 20 | 1, generation: 0 };
    bed.kernel.copy(abi::PinnedCopy { volumes: 1, followed: 1, at_ns: 1, file, process, names });
    bed.kernel.packet(1, false);
    assert!(bed.worker.flush_within(PATIENCE));
    let (_, events) = bed.history.from(1, 9);
    let Entry::Copy(copy) = &*events[0] else { panic!("{events:?}") };
    assert_eq!((copy.sequence, &*copy.volumes[0], &*copy.followed[0]), (1, "/srv/mail-ie", "/srv/mail-ie"));
    assert_eq!((copy.file.as_str(), copy.device.as_str(), copy.inode), ("/dump", "8:1", 5));
    assert_eq!(copy.process.as_ref().unwrap().user.as_deref(), Some("postgres"));
    assert_eq!((events.len(), events[1].sequence()), (2, 2));
}

#[test]
fn events_have_the_names_of_the_generation_that_judged_them() {
    let bed = Bed::new(100);
    bed.names.add(generation(2, "backup"));
    bed.kernel.packet(1, false);
    assert!(bed.worker.flush_within(PATIENCE));
    bed.kernel.state().generation = 2;
    bed.kernel.packet(2, false);
    assert!(bed.worker.flush_within(PATIENCE));
    let (_, events) = bed.history.from(2, 1);
    let event = events[0].flow().unwrap();
    assert_eq!((&*event.pins[0], event.generation), ("backup", 2));
}

#[test]
fn packets_whose_events_were_lost_are_reported_at_the_end_at_the_latest() {
    let bed = Bed::new(100_000);
    for packet in 0..9000_u32 {
        bed.kernel.packet(packet % 3000, packet % 4 != 0);
    }
    let Bed { kernel, history, worker, .. } = bed;
    assert!(worker.stop(PATIENCE));
    let reported: u64 =
        history.from(1, usize::MAX).1.iter().filter_map(|event| Some(event.flow()?.packets)).sum();
    assert_eq!(reported, 9000);
    assert_eq!(kernel.state().kept.len(), 1, "that everything was reported by then is kept");
}

#[test]
fn a_flow_that_is_evicted_with_what_no_event_had_is_a_loss() {
    let bed = Bed::new(100);
    bed.kernel.packet(1, false);
    assert!(bed.worker.flush_within(PATIENCE));
    // It counts on within the second in which the kernel sends no second event, and gives way to another flow.
    bed.kernel.state().flows.clear();
    let deadline = Instant::now() + 2 * PATIENCE;
    while bed.worker.losses().evicted() == 0 {
        assert!(Instant::now() < deadline, "the next sweep misses it");
        std::thread::sleep(Duration::from_millis(20));
    }
    let problems = bed.worker.problems(Instant::now());
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert_eq!((problem.code, problem.subject.as_deref()), (ProblemCode::EventsLost, Some("evicted")));
    assert!(problem.message.starts_with("1 flow records gave way"), "{}", problem.message);
}

/// What the lines of a log add up to, and its differences among them.
fn sums(text: &str) -> (i64, Vec<i64>) {
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let (mut sum, mut differences) = (0, Vec::new());
    for line in lines {
        let Some(packets) = line["packets"].as_i64() else { continue };
        sum += packets;
        if line["kind"] == "difference" {
            assert_eq!(line["bytes"].as_i64(), Some(packets * 100));
            differences.push(packets);
        }
    }
    (sum, differences)
}

/// Events that were lost, and flows whose records were evicted before a sweep: the log says how much no line has.
#[test]
fn what_no_event_tells_is_in_a_difference_once_its_flows_are_quiet() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let read = || std::fs::read_to_string(&file).unwrap_or_default();
    let log =
        EventLog::start(&LogTo::File(file.clone()), LogPast::read(folder.path(), "a test", None)).unwrap();
    let bed = Bed::with_log(50, log);
    // More flows than there are records, and each second event is lost.
    (0..400).for_each(|flow| bed.kernel.packet(flow, flow % 2 == 1));
    assert!(bed.worker.flush_within(PATIENCE));
    let deadline = Instant::now() + Duration::from_secs(40);
    while sums(&read()).1.is_empty() {
        assert!(Instant::now() < deadline, "{}", read());
        std::thread::sleep(Duration::from_millis(100));
    }
    let (sum, differences) = sums(&read());
    assert_eq!(sum, 400, "{differences:?}");
    assert!(differences.len() == 1 && differences[0] > 0, "{differences:?}");
    let Bed { worker, .. } = bed;
    assert!(worker.stop(PATIENCE));
    assert_eq!(sums(&read()), (400, differences));
    let lost = read().lines().filter(|line| line.contains(r#""what":"events","count":"#)).count();
    assert!(lost > 0, "{}", read());
}

/// Ever new flows, more than the kernel keeps: what is known of them stays bounded, and all are reported.
#[test]
fn a_flood_of_new_flows_takes_bounded_memory() {
    const FLOWS: u32 = 60_000;
    let bed = Bed::new(2000);
    let mut most = 0;
    for flow in 0..FLOWS {
        bed.kernel.packet(flow, false);
        most = most.max(bed.worker.flows());
        if flow % 20_000 == 0 {
            assert!(bed.worker.flush_within(PATIENCE));
        }
    }
    assert!(bed.worker.flush_within(PATIENCE));
    // Those known before a sweep, the ring buffer's before and after it, and those that the sweep finds; and
    // batches are whole.
    assert!(most > 0 && most <= 3000 + 3 * 2000 + 4 * 1024, "{most} flows were tracked");
    assert_eq!(bed.reported(), u64::from(FLOWS));
}

#[test]
fn records_that_cannot_be_read_do_not_unbind_the_memory() {
    let bed = Bed::new(100);
    bed.kernel.state().broken = true;
    (0..5000).for_each(|flow| bed.kernel.packet(flow, false));
    assert!(bed.worker.flush_within(PATIENCE));
    assert!(bed.worker.flows() <= 150 + 2 * 1024, "{}", bed.worker.flows());
    assert_eq!(bed.reported(), 5000);
}

/// Standard output as a pipe that nobody reads.
#[test]
fn a_log_that_is_not_read_holds_nothing_up() {
    let (_read, write) = rustix::pipe::pipe().unwrap();
    let bed = Bed::with_log(100_000, EventLog::to_stream(File::from(write)));
    (0..50_000).for_each(|flow| bed.kernel.packet(flow, false));
    let begin = Instant::now();
    assert!(bed.worker.flush_within(PATIENCE));
    assert_eq!(bed.reported(), 50_000);
    let Bed { worker, .. } = bed;
    // Its last lines are waited for in vain, and no longer than that.
    assert!(worker.stop(PATIENCE) && begin.elapsed() < 2 * PATIENCE);
}

#[test]
fn a_worker_that_has_ended_is_a_problem() {
    let mut bed = Bed::new(100);
    let failing = Worker::start(Parts {
        events: Box::new(bed.kernel.clone()),
        records: Box::new(bed.kernel.clone()),
        names: bed.names.clone(),
        users: Box::new(|_| None),
        history: Arc::clone(&bed.history),
        past: None,
        log: EventLog::to_stream(std::io::sink()),
        looks: Log { format: LogFormat::Text, to: LogTo::Stdout },
        limits: Limits::default(),
        earlier: Earlier::default(),
        keep: Box::new(|_| {}),
        flow: Box::new(|_, _| ()),
        canaries: Default::default(),
        diagnostics_lost: Box::new(|| panic!("a test ends this thread")),
    });
    bed.worker = failing.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while bed.worker.problems(Instant::now()).iter().all(|problem| problem.code != ProblemCode::WorkerStuck) {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!bed.worker.flush_within(Duration::from_secs(1)), "nobody is there");
}

#[test]
fn what_a_quiet_flow_has_beside_its_events_is_told_with_the_ends_of_its_tunnel() {
    let bed = Bed::new(100);
    let [outer_dst, outer_src] = [0xc633_6407, 0xc000_020a].map(Addr::from_v4);
    let key =
        FlowKey { src: outer_src, dst: outer_dst, sport: 143, dport: 9, proto: 17, ..FlowKey::default() };
    let record = FlowRecord {
        first_ns: 1,
        last_ns: 1,
        packets: 1,
        bytes: 100,
        denied: 1,
        tag: 1,
        generation: 1,
        layers: 2,
        ..FlowRecord::default()
    };
    let more = FlowRecord { packets: 5, bytes: 500, ..record };
    let other = FlowKey { sport: 144, ..key };
    {
        let mut state = bed.kernel.state();
        state.ring.push_back(RingEntry::Flow(abi::Event { key, record, outer_dst, outer_src }));
        // What came behind the event has none, and of the other flow none came at all.
        state.flows.extend([(key, more), (other, more)]);
    }
    rustix::io::write(&bed.kernel.0.readable, &1_u64.to_ne_bytes()).unwrap();
    let begin = Instant::now();
    while bed.reported() < 10 {
        assert!(begin.elapsed() < PATIENCE, "{:?}", bed.history.from(1, 9));
        std::thread::sleep(Duration::from_millis(50));
    }
    let (_, events) = bed.history.from(1, 9);
    let told = |port: u16| {
        let of_it = events
            .iter()
            .filter_map(|event| event.flow())
            .filter(move |it| it.source.unwrap().port == Some(port));
        of_it
            .map(|it| (it.packets, it.tunnel_source.map(|ip| ip.to_string()), it.is_tunnelled))
            .collect::<Vec<_>>()
    };
    let outer = || Some("192.0.2.10".to_owned());
    assert_eq!(told(143), [(1, outer(), true), (4, outer(), true)]);
    assert_eq!(told(144), [(5, None, true)]);
}
