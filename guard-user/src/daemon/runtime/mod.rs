//! The daemon's shell: it turns what happens into inputs of the engine, and hands what the engine wants done to the
//! workers.
//!
//! The loop does no I/O that can wait. Kernel, store, counters, sockets, config and log have threads of their own;
//! requests and changes of links come before everything that only looks.

mod absence;
mod approvals;
mod canaries;
mod cgroups;
mod chosen;
mod counts;
mod databases;
mod dropped;
mod duties;
mod entries;
pub(in crate::daemon) mod facts;
mod fallen;
mod first_tables;
#[cfg(test)]
mod floor;
mod flow_records;
pub(crate) mod gaps;
mod gate;
mod history;
mod instead;
mod kept_config;
pub(in crate::daemon) mod kernel;
mod last_database;
mod lifted_later;
mod lifts;
mod links;
mod loader;
mod memory;
mod mounts;
mod namespaces;
mod naming;
mod notices;
mod notify;
mod own_file;
mod patience;
mod period;
mod queue;
mod reads;
mod receipt;
mod recipients;
mod sampler;
mod shadow;
mod shutdown;
mod sockets;
mod start;
mod still;
pub(in crate::daemon) mod store;
mod trail;
mod unattributed;
mod unpublished;
mod untagged;
mod watchdog;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::engine::{Action, Asker, Engine, Input, Level, State, Surroundings, Ticket, not_permitted};
use crate::audit::Who;
use crate::control::protocol::{ErrorKind, Request, Response};
use crate::control::refusals::Refusal;
use crate::control::right::Right;
use crate::control::server::{Command, Message, Server, Setup};
use crate::exemption::Clocks;
use crate::health::{Problem, ProblemCode};
use crate::metrics::server::{self as metrics, Exporter};
use crate::worker::alarm::Alarm;

use cgroups::Cgroups;
pub use instead::{OfStart, taken_last};
use links::Links;
pub use loader::Options;
use mounts::MountTable;
use notify::notify;
use start::Parts;
pub use start::{StartError, what_goes_on};
use watchdog::Watchdog;

/// A turn of the loop that takes longer is logged.
const SLOW_TURN: Duration = Duration::from_millis(50);
/// A turn that takes longer is a problem for a while: whoever waited for it waited for too long.
const TOO_SLOW_TURN: Duration = Duration::from_millis(500);
/// How long that is shown.
const SHOWN: Duration = Duration::from_secs(60);
/// Inputs that are taken at once before signals, links and requests are looked at again.
const BATCH: usize = 64;
/// How long the end waits for workers that do not answer.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How long a start may take before clients are served all the same, to be told what is wrong. Before that no answer
/// is of a host that is not guarded yet.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the control socket is asked what is wrong with it: with each of the engine's ticks, which are a second apart
/// where nothing else happens, and no wake of its own.
const CONTROL_LOOK: Duration = Duration::from_millis(900);

/// Runs the daemon on the config that `load` reads, until SIGTERM or SIGINT. Enforcement stays. What `load` hands over
/// beside the config is dropped at the end.
///
/// # Errors
/// Where the config can't be loaded, or the daemon can't start; what the kernel guarded before goes on, and the message
/// says whether that is anything.
pub fn run<T>(options: Options, load: impl FnOnce(&Options) -> Result<(OfStart, T)>) -> Result<()> {
    memory::keep_little();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the daemon's event loop")?;
    runtime.block_on(async {
        // Before anything takes time: a signal from now on ends or reloads a daemon that is whole.
        let signals = Signals::listen()?;
        let (config, _until_the_end) = load(&options)?;
        let mut daemon = Daemon::start(options, config, signals).await?;
        daemon.watch().await;
        let is_settled = daemon.end().await;
        let faults = faults_at_end(&daemon.engine, is_settled);
        anyhow::ensure!(faults.is_empty(), "{}", faults.join("\nand "));
        Ok(())
    })
}

/// What is not as an end should leave it, a sentence each.
fn faults_at_end(engine: &Engine, is_settled: bool) -> Vec<String> {
    let names = engine.not_kept();
    let not_kept = (!names.is_empty()).then(|| {
        format!(
            "NOT guarded any more: {}. Their entries in bpffs are gone and could not be made again; start the daemon \
             again, and see whether bpffs is mounted at `state.pin_path`",
            names.join(", ")
        )
    });
    let moved = engine.store_is_lost().map(|why| {
        format!("exemptions, orders and the audit trail are NOT where the next start looks for them: {why}")
    });
    let unsettled = (!is_settled).then(|| {
        "the daemon ended before everything was settled, for a worker did not answer: the store may lack the last \
         counts, orders and records. What the kernel has goes on"
            .to_owned()
    });
    [not_kept, moved, unsettled].into_iter().flatten().collect()
}

struct Daemon {
    engine: Engine,
    parts: Parts,
    inputs: mpsc::UnboundedReceiver<Input>,
    control: Serving,
    metrics: Metrics,
    /// Turns that were logged as slow.
    slow_turns: Arc<AtomicU64>,
    requests: mpsc::Receiver<Message>,
    links: Links,
    cgroups: Cgroups,
    mounts: MountTable,
    signals: Signals,
    watchdog: Watchdog,
    answers: HashMap<Ticket, oneshot::Sender<Response>>,
    next_ticket: u64,
    /// The last turn that was too slow: when, and how long it took.
    slow_turn: Option<(Instant, Duration)>,
    /// Wakes the loop for the engine's next tick.
    alarm: Alarm,
    /// When the control socket was asked last what is wrong with it.
    control_looked: Option<Instant>,
    has_ended: bool,
}

struct Signals {
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
    reopen: Signal,
}

impl Signals {
    /// Listens for them. Must be called inside a tokio runtime.
    fn listen() -> Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?,
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
            reopen: signal(SignalKind::user_defined1()).context("cannot wait for SIGUSR1")?,
        })
    }
}

/// The control socket.
enum Serving {
    /// Nobody is served until it is known what is guarded.
    NotYet(Box<Setup>),
    /// Clients are served.
    By(Server),
}

/// The metrics.
enum Metrics {
    /// None are wanted, or they can't be served.
    None,
    /// They are served when clients of the control socket are.
    NotYet(Box<metrics::Setup>),
    /// They are served.
    By(Exporter),
}

/// What woke the loop.
enum Woken {
    Input(Box<Input>),
    Request(Message),
    Changed,
    HangUp,
    Reopen,
    Stop,
    Tick,
    Watchdog,
}

impl Daemon {
    async fn start(options: Options, config: OfStart, signals: Signals) -> Result<Self> {
        // Before the interfaces are looked at: none that comes meanwhile is overlooked.
        let links = Links::listen().context("cannot listen for network interfaces that come and go")?;
        let cgroups = Cgroups::new().context("cannot watch for cgroups that come and go")?;
        let mounts = MountTable::open().context("cannot watch for mounts that come and go")?;
        let alarm = Alarm::new().context("cannot make the timer that wakes the daemon's loop")?;
        let (sender, inputs) = mpsc::unbounded_channel();
        let start::Started { engine, actions, parts, control, metrics, requests } =
            start::start(options, config, sender).await?;
        let mut daemon = Self {
            engine,
            parts,
            inputs,
            control: Serving::NotYet(Box::new(control)),
            slow_turns: metrics.as_ref().map(|setup| Arc::clone(&setup.slow_turns)).unwrap_or_default(),
            metrics: metrics.map_or(Metrics::None, |setup| Metrics::NotYet(Box::new(setup))),
            requests,
            links,
            cgroups,
            mounts,
            signals,
            watchdog: Watchdog::of_service_manager(),
            answers: HashMap::new(),
            next_ticket: 0,
            slow_turn: None,
            alarm,
            control_looked: None,
            has_ended: false,
        };
        daemon.execute(actions);
        Ok(daemon)
    }

    async fn watch(&mut self) {
        let (begin, mut ended) = (Instant::now(), Instant::now());
        loop {
            let next_tick = self.engine.next_tick();
            let woken = tokio::select! {
                biased;
                _ = self.signals.terminate.recv() => Woken::Stop,
                _ = self.signals.interrupt.recv() => Woken::Stop,
                Some(message) = self.requests.recv() => Woken::Request(message),
                () = self.links.changed() => Woken::Changed,
                () = self.cgroups.changed() => Woken::Changed,
                () = self.mounts.changed(), if self.engine.has_volumes() => Woken::Changed,
                _ = self.signals.hang_up.recv() => Woken::HangUp,
                _ = self.signals.reopen.recv() => Woken::Reopen,
                Some(input) = self.inputs.recv() => Woken::Input(Box::new(input)),
                () = self.alarm.at(next_tick) => Woken::Tick,
                () = self.watchdog.due() => Woken::Watchdog,
            };
            if matches!(woken, Woken::Stop) {
                return;
            }
            let turn = Instant::now();
            self.notice_absence(turn - ended);
            self.turn(woken);
            if turn.elapsed() > SLOW_TURN {
                self.slow_turns.fetch_add(1, Ordering::Relaxed);
                warn!("a turn of the daemon's loop took {} ms", turn.elapsed().as_millis());
            }
            let slow = Some((turn, turn.elapsed())).filter(|(_, took)| *took > TOO_SLOW_TURN);
            self.slow_turn = slow.or(self.slow_turn);
            ended = Instant::now();
            if self.engine.is_ready() || begin.elapsed() > PATIENCE {
                self.serve();
            }
        }
    }

    fn turn(&mut self, woken: Woken) {
        match woken {
            Woken::Input(input) => {
                self.step(*input);
                for _ in 1..BATCH {
                    let Ok(input) = self.inputs.try_recv() else { break };
                    self.step(input);
                }
            }
            Woken::Request(Message::Asked(command)) => self.ask(*command),
            Woken::Request(Message::Refused(refusal)) => {
                warn_of_refusal(&refusal);
                self.step(Input::Record(not_permitted(Clocks::read().wall, &refusal)));
            }
            Woken::Changed => self.step(Input::Changed),
            Woken::HangUp => self.step(Input::Hangup),
            Woken::Reopen => self.parts.telemetry.reopen_log(),
            Woken::Tick => self.step(Input::Tick),
            Woken::Watchdog => notify::watchdog(),
            Woken::Stop => {}
        }
        if self.control_looked.is_none_or(|at| at.elapsed() >= CONTROL_LOOK) {
            self.look_at_control();
        }
    }

    /// Begins to serve clients, unless that has begun already.
    fn serve(&mut self) {
        let Serving::NotYet(setup) = &self.control else { return };
        match Server::start((**setup).clone()) {
            Ok(server) => {
                self.control = Serving::By(server);
                self.serve_metrics();
            }
            Err(error) => {
                let message = format!("the control socket can't be served: no thread can be had: {error}");
                let problem = Problem::new(ProblemCode::SocketMissing, message);
                self.tell(Surroundings::Control(vec![problem]));
            }
        }
    }

    fn serve_metrics(&mut self) {
        let Metrics::NotYet(setup) = std::mem::replace(&mut self.metrics, Metrics::None) else { return };
        match Exporter::start(*setup) {
            Ok(exporter) => self.metrics = Metrics::By(exporter),
            Err(error) => error!("metrics can't be served: no thread can be had: {error}"),
        }
    }

    /// Hands the engine what it does not know already.
    fn tell(&mut self, found: Surroundings) {
        if !self.engine.knows(&found) {
            self.step(Input::Surroundings(found));
        }
    }

    fn look_at_control(&mut self) {
        self.control_looked = Some(Instant::now());
        let slow = self.slow_turn.filter(|(at, _)| at.elapsed() < SHOWN);
        let slow = slow.map(|(_, took)| format!("the daemon's loop was held up for {} ms", took.as_millis()));
        if slow.is_some() || self.slow_turn.take().is_some() {
            self.tell(Surroundings::Loop(slow));
        }
        if let Serving::By(server) = &self.control {
            let mut problems = server.problems(Instant::now());
            if let Metrics::By(exporter) = &self.metrics {
                problems.extend(exporter.problem());
            }
            self.tell(Surroundings::Control(problems));
        }
    }

    fn until_tick(&self) -> Duration {
        Duration::from_nanos(self.engine.next_tick().saturating_sub(Clocks::read().boot_ns))
    }

    fn ask(&mut self, command: Command) {
        let Command { request, peer, answer } = command;
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.answers.insert(ticket, answer);
        let user = peer.user.as_deref().map(str::to_owned);
        let who = Who { uid: peer.uid, user, pid: peer.pid };
        if matches!(request, Request::Status {}) {
            self.look_at_control();
        }
        let (sees_all, sees_people) =
            (peer.rights.include(Right::Exemptions), peer.rights.include(Right::People));
        let asker = Asker { who, sees_all, sees_people };
        self.step(Input::Request { ticket, request, asker });
    }

    fn step(&mut self, input: Input) {
        let looked = matches!(input, Input::Observed(_) | Input::Loaded(_));
        let may_be_live = matches!(input, Input::Published(_));
        let actions = self.engine.step(input, Clocks::read());
        self.execute(actions);
        if looked {
            self.cgroups.watch(&self.engine.watched_cgroups());
        }
        if may_be_live {
            self.parts.reading.databases.watch(self.engine.geo_files());
        }
    }

    fn execute(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Kernel(job) => self.parts.kernel.put(job),
                Action::Store(id, job) => self.parts.store.put(id, *job),
                Action::Sample(purpose) => self.parts.sampler.sample(purpose),
                Action::Load { live, spent, of_trail, of } => {
                    let Parts { options, reading, inputs, .. } = &self.parts;
                    loader::load(options, reading, loader::Against { live, spent, of_trail, of }, inputs);
                }
                Action::KeepConfig(live) => self.parts.reading.configs.put_back(live),
                Action::LoadDatabases { policy, accepted, spent } => {
                    let Parts { reading, inputs, .. } = &self.parts;
                    loader::load_databases(policy, (accepted, spent), reading, inputs);
                }
                Action::LoadShadow(id, load) => self.parts.shadows.load(id, *load),
                Action::TellShadow(ticket, end) => self.parts.shadows.tell(ticket, *end),
                Action::CloseSockets(cut) => self.parts.sockets.put(*cut),
                Action::NameSockets(below) => self.parts.naming.begin(below),
                Action::FindCarriers(devices) => self.parts.naming.find_carriers(devices),
                Action::Answer(ticket, response) => {
                    if let Some(answer) = self.answers.remove(&ticket) {
                        // A client that did not wait for the answer has gone.
                        let _gone = answer.send(response);
                    }
                }
                Action::NameInterfaces(names) => self.parts.names.interfaces_are(&names),
                Action::Canaries(canaries) => self.parts.canaries.follow(*canaries),
                Action::ConfirmCanary(ticket, number) => {
                    let response = match self.parts.canaries.confirm(number) {
                        true => Response::Done {
                            message: "the canary has come back".to_owned(),
                            generation: self.engine.generation(),
                            exemptions: Vec::new(),
                        },
                        false => Response::error(
                            ErrorKind::NotFound,
                            "the log of the daemon that runs has no such canary, or not any more",
                        ),
                    };
                    if let Some(answer) = self.answers.remove(&ticket) {
                        let _gone = answer.send(response);
                    }
                }
                Action::Tell { command, notice } => self.parts.notices.put(command, *notice),
                Action::EventLog(log) => self.parts.telemetry.set_log(log),
                Action::FlowHistory(settings) => self.parts.past.set(*settings),
                Action::Log(Level::Error, line) => error!("{line}"),
                Action::Log(Level::Warn, line) => warn!("{line}"),
                Action::Log(Level::Info, line) => info!("{line}"),
                Action::Notify(state) => notify(state),
                Action::Ended => self.has_ended = true,
            }
        }
    }

    /// Lets the engine settle what there is to settle, and ends the workers. One that does not answer is not waited
    /// for: what is enforced needs none of them. Whether all was settled.
    async fn end(&mut self) -> bool {
        notify(State::Stopping);
        let with_host = shutdown::host_is_stopping();
        self.step(Input::Stop { with_host });
        let deadline = tokio::time::Instant::now() + LAST_WORDS;
        while !self.has_ended {
            let until_tick = self.until_tick();
            let input = tokio::select! {
                input = self.inputs.recv() => input.unwrap_or(Input::Tick),
                () = sleep(until_tick) => Input::Tick,
                () = tokio::time::sleep_until(deadline) => {
                    error!("the daemon ends before everything was settled: a worker did not answer");
                    break;
                }
            };
            self.step(input);
        }
        let deadline = Instant::now() + LAST_WORDS;
        self.parts.store.end(deadline);
        self.parts.kernel.end(deadline);
        self.parts.sampler.end(deadline);
        self.has_ended
    }
}

fn warn_of_refusal(refusal: &Refusal) {
    let Refusal { peer, request, needed, left_out } = refusal;
    warn!(
        uid = peer.uid,
        pid = peer.pid,
        rights = %peer.rights,
        left_out,
        "a user without the right to it was refused {}: it takes the right `{needed}`",
        request.unwrap_or("the control socket")
    );
}
