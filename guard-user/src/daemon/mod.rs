//! The daemon: loads, attaches, watches, tells; and answers on the control socket.
//!
//! One thread owns the guard and does one thing after the other: a reload, an exemption, a look at the
//! interfaces. Clients of the control socket, events and lookups of names have threads of their own. What the kernel judges never
//! waits for any of it, and goes on when the daemon ends.

mod approvals;
mod cut;
mod exemptions;
mod facts;
pub mod guard;
pub mod inputs;
mod interfaces;
mod ledger;
mod links;
mod notify;
mod report;
mod shutdown;
mod status;
mod swept;
mod trail;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tracing::{error, info, warn};

use crate::audit::{Kind, Who};
use crate::config::Checked;
use crate::config::policy::{Action, Ingress};
use crate::control::protocol::{ErrorKind, Request, Response};
use crate::control::refusals::Refusal;
use crate::control::right::Right;
use crate::control::server::{Command, Message, Server, Setup};
use crate::control::status::LossStatus;
use crate::control::users::{Host, Names};
use crate::events::budget::Limits;
use crate::events::history::History;
use crate::events::log::EventLog;
use crate::exemption::{Clocks, Summary};
use crate::kernel::View;
use crate::store::{Change, Target};
use crate::telemetry::{Parts, Worker, diagnostics};

use exemptions::error_kind;
use guard::{Guard, Options};
pub use ledger::counted_for;
use links::Links;
use notify::{State, notify};

/// How often quotas are looked at that are granted in part: a tenth of what half a slice lasts at 1 Gbit/s, and
/// half of what it lasts at 10.
const QUOTAS: Duration = Duration::from_millis(50);
/// How often clocks and losses are looked at.
const EACH_SECOND: Duration = Duration::from_secs(1);
/// How often attachments, cgroups and exemptions are looked at, and quiet flows told.
const WATCHDOG: Duration = Duration::from_secs(5);
/// How often a stale database is warned of.
const EACH_DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The file in the state directory that says up to when flows were reported.
const MARK: &str = "told.json";
/// How long the start waits for the name of the daemon's own user.
const OWN_NAME: Duration = Duration::from_millis(200);
/// How long a status waits for the events that are in the ring buffer.
const EVENTS: Duration = Duration::from_millis(100);
/// How long the end of the daemon waits for the last events and lines of the log.
const LAST_EVENTS: Duration = Duration::from_secs(4);
/// Requests that wait for the daemon.
const REQUESTS: usize = 16;

/// Runs the daemon on a config that was loaded just now, until SIGTERM or SIGINT. Enforcement stays.
///
/// # Errors
/// Where it can't start; what the kernel guarded before goes on.
pub fn run(options: Options, checked: Checked) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the daemon's event loop")?;
    runtime.block_on(async {
        let mut daemon = Daemon::start(options, checked).await?;
        daemon.watch().await;
        daemon.end();
        Ok(())
    })
}

struct Daemon {
    guard: Guard,
    telemetry: Worker,
    server: Server,
    history: Arc<History>,
    commands: mpsc::Receiver<Message>,
    links: Links,
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Daemon {
    async fn start(options: Options, checked: Checked) -> Result<Self> {
        // Before anything takes time: a signal from now on ends or reloads a daemon that is whole.
        let hang_up = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
        let terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
        // And before the interfaces are looked at: none that comes meanwhile is overlooked.
        let links = Links::listen().context("cannot listen for network interfaces that come and go")?;
        let names = Names::start(Host).context("cannot start the thread that looks up names")?;
        trail::know_own_name(names.name_of(rustix::process::geteuid().as_raw(), OWN_NAME).await);
        let mut guard = Guard::start(options, checked)?;
        let history = Arc::new(History::default());
        let log = EventLog::start(std::io::stdout()).context("cannot start the event log")?;
        let telemetry = start_telemetry(&mut guard, Arc::clone(&history), log)?;
        let (requests, commands) = mpsc::channel(REQUESTS);
        let setup = Setup {
            path: guard.policy().control.socket.clone(),
            groups: guard.policy().control.groups.clone(),
            names,
            history: Arc::clone(&history),
            requests,
        };
        let server =
            Server::start(setup).context("cannot start the thread that serves the control socket")?;
        notify(State::Ready);
        info!(
            "ready: generation {} of {}, control socket {}",
            guard.generation(),
            guard.options.config.display(),
            server.path().display()
        );
        Ok(Self { guard, telemetry, server, history, commands, links, hang_up, terminate, interrupt })
    }

    async fn watch(&mut self) {
        let mut quotas = ticks(QUOTAS);
        let mut each_second = ticks(EACH_SECOND);
        let mut watchdog = ticks(WATCHDOG);
        // The first tick of all of them is now: a stale database is warned of at once.
        let mut each_day = ticks(EACH_DAY);
        loop {
            tokio::select! {
                Some(message) = self.commands.recv() => match message {
                    Message::Asked(command) => self.answer(command),
                    Message::Refused(refusal) => {
                        warn_of_refusal(&refusal);
                        self.guard.record(trail::not_permitted(&refusal));
                    }
                },
                () = self.links.changed() => self.guard.look_at_interfaces(),
                _ = self.hang_up.recv() => drop(self.reload(&trail::daemon())),
                _ = quotas.tick(), if self.guard.has_more_to_grant() => self.guard.extend_quotas(),
                _ = each_second.tick() => {
                    self.guard.follow_wall_clock();
                    self.guard.tend_exemptions();
                }
                _ = watchdog.tick() => {
                    self.guard.catch_up();
                    self.guard.check_attachments();
                    self.guard.look_at_interfaces();
                    self.guard.book_counts();
                }
                _ = each_day.tick() => self.warn_of_age(),
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
            }
            self.guard.free_slots();
        }
    }

    fn end(self) {
        let Self { mut guard, telemetry, .. } = self;
        notify(State::Stopping);
        if !telemetry.stop(LAST_EVENTS) {
            warn!("the last events could not be reported in time");
        }
        guard.checkpoint_exemptions();
        guard.book_counts();
        if shutdown::host_is_stopping() {
            guard.close_with_host();
        }
        let detail = guard.facts_of_config();
        guard.record(trail::now(Kind::End, &trail::daemon(), "", "", detail));
        info!(
            "the daemon ends; generation {} stays in force. `borderguard run` takes it over, `borderguard detach` \
             ends it",
            guard.generation()
        );
    }

    fn answer(&mut self, command: Command) {
        let Command { request, peer, answer } = command;
        let who = trail::who(&peer);
        let sees_all = peer.rights.include(Right::Exemptions);
        let response = match request {
            Request::Status {} => self.status(sees_all),
            Request::Reload {} => self.reload(&who),
            Request::ExemptionLoad { document, name, signatures, dry_run } => {
                self.guard.load_exemption((&name, &document), signatures, dry_run, &who)
            }
            Request::ExemptionList {} => {
                Response::Exemptions { exemptions: shown(self.guard.list_exemptions(), sees_all) }
            }
            Request::ExemptionShow { id, version } => self.guard.show_exemption(&id, version, sees_all),
            Request::ExemptionOpen {} => self.guard.open_exemptions(),
            Request::ExemptionStay { id, order, dry_run } => {
                self.change(Target::Id(&id), &Change::Stay { order: &order }, dry_run, &who)
            }
            Request::ExemptionResume { id, why, dry_run } => {
                self.change(Target::Id(&id), &Change::Resume { why: &why }, dry_run, &who)
            }
            Request::ExemptionRevoke { id, why, dry_run } => {
                self.change(Target::Id(&id), &Change::Revoke { why: &why }, dry_run, &who)
            }
            Request::InstrumentInvalidate { name, why, dry_run } => {
                self.change(Target::Instrument(&name), &Change::Invalidate { why: &why }, dry_run, &who)
            }
            Request::AuditCheckpoint {} => self.guard.checkpoint(&who),
            Request::Audit { from } => self.guard.audit_lines(from),
            Request::Report { from, until } => self.guard.report(from.as_deref(), until.as_deref(), sees_all),
            Request::Events { .. } => {
                Response::error(ErrorKind::BadRequest, "events are answered by the connection itself")
            }
        };
        // A client that did not wait for the answer has gone.
        let _gone = answer.send(response);
    }

    fn change(&mut self, target: Target<'_>, change: &Change<'_>, dry_run: bool, who: &Who) -> Response {
        self.guard.change_exemptions(target, change, dry_run, who)
    }

    fn status(&mut self, sees_all: bool) -> Response {
        // What is in the ring buffer by now is reported before it is counted, unless that takes too long.
        let _in_time = self.telemetry.flush_within(EVENTS);
        match self.guard.status() {
            Ok(mut status) => {
                let losses = self.telemetry.losses();
                for (kind, count) in [("log", losses.log()), ("diagnostics", losses.diagnostics())] {
                    status.losses.push(LossStatus { kind: kind.to_owned(), count });
                }
                let now = std::time::Instant::now();
                status.problems.extend(self.telemetry.problems(now));
                status.problems.extend(self.server.problems(now));
                status.problems.sort();
                status.health = self.guard.health(&status.problems);
                status.events = self.history.next_sequence() - 1;
                status.exemptions = shown(status.exemptions, sees_all);
                Response::Status { status: Box::new(status) }
            }
            Err(error) => Response::error(ErrorKind::Failed, error.to_string()),
        }
    }

    fn reload(&mut self, who: &Who) -> Response {
        notify(State::Reloading);
        let begin = Instant::now();
        let response = match self.guard.reload() {
            Ok(()) => {
                let took = begin.elapsed().as_millis();
                info!("reloaded in {took} ms: generation {} is live", self.guard.generation());
                let detail = self.guard.facts_of_config();
                self.guard.record(trail::now(Kind::Reload, who, "", "", detail));
                self.telemetry.set_format(self.guard.policy().log.format);
                self.guard.done("config, geo databases and exemptions are reloaded".to_owned())
            }
            Err(error) => {
                error!("not reloaded, generation {} stays live: {error}", self.guard.generation());
                let config = self.guard.options.config.display().to_string();
                self.guard.record(trail::refusal(who, "reload", &config, &error.to_string()));
                Response::error(
                    error_kind(&error),
                    format!("not reloaded, generation {} stays live:\n{error}", self.guard.generation()),
                )
            }
        };
        self.warn_of_age();
        notify(State::Ready);
        response
    }

    fn warn_of_age(&self) {
        if let Some(stale) = self.guard.stale_database(Timestamp::now()) {
            warn!(
                "{stale}: places may be wrong. Bring a newer one (`geo.files`), or allow it (`geo.max_age`)"
            );
        }
    }
}

/// Starts the thread that reports events.
fn start_telemetry(guard: &mut Guard, history: Arc<History>, log: EventLog) -> Result<Worker> {
    let mark = guard.policy().state.directory.join(MARK);
    let parts = Parts {
        events: Box::new(guard.events()?),
        records: Box::new(View::open(&guard.policy().state.pin_path)?),
        names: guard.names().clone(),
        history,
        log,
        format: guard.policy().log.format,
        limits: Limits::default(),
        resume: swept::read(&mark, Clocks::read().boot_ns),
        keep: Box::new(move |swept_ns| {
            if let Err(error) = swept::write(&mark, swept_ns) {
                warn!(%error, file = %mark.display(), "after a restart some flows may be reported twice");
            }
        }),
        diagnostics_lost: Box::new(diagnostics::lost),
    };
    Worker::start(parts).context("cannot start the thread that reports events")
}

/// Exemptions as a peer may see them.
fn shown(exemptions: Vec<Summary>, sees_all: bool) -> Vec<Summary> {
    let one = |it: Summary| if sees_all { it } else { it.redacted() };
    exemptions.into_iter().map(one).collect()
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

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The name of an action in config, status and logs.
#[must_use]
pub const fn action_name(action: Action) -> &'static str {
    match action {
        Action::Observe => "observe",
        Action::Flag => "flag",
        Action::Drop => "drop",
    }
}

/// The name of what a pin does at ingress in config, status and logs.
#[must_use]
pub const fn ingress_name(ingress: Ingress) -> &'static str {
    match ingress {
        Ingress::Off => "off",
        Ingress::Flag => "flag",
        Ingress::Drop => "drop",
    }
}
