//! The program under demonstration, used by its command line alone.
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::client::Request;
use super::expect::Judged;
use super::policy::{self, EXEMPTION, PIN};
use super::world::{DUBLIN, World};
use crate::bpffs::BpfFs;
use crate::proc::{Process, retry_until, run_to_end};
use crate::service::Item;

/// How long any one command may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long an event may take from the kernel to the command line.
const EVENT_DELAY: Duration = Duration::from_secs(3);

/// The daemon, running in the Dublin host's network. Dropping it ends the daemon and frees all pins.
#[derive(Debug)]
pub(super) struct Guard {
    daemon: Process,
    program: PathBuf,
    folder: PathBuf,
    world: Rc<World>,
    _bpffs: BpfFs,
}

/// The part of `status --json` that the demo reads.
#[derive(Debug, Deserialize)]
struct Status {
    counters: Vec<Counter>,
}

/// Packets and bytes that got the same judgement.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Counter {
    pin: Option<String>,
    jurisdiction: Option<String>,
    verdict: String,
    reason: String,
    packets: u64,
    bytes: u64,
}

/// The part of one line of `events --json` that the demo reads.
#[derive(Debug, Deserialize)]
struct Event {
    destination: Endpoint,
    jurisdiction: String,
    verdict: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    ip: IpAddr,
    port: u16,
}

impl Guard {
    /// Writes the config below `folder`, checks it, starts the daemon with it and waits until it answers.
    pub(super) fn start(world: Rc<World>, program: PathBuf, folder: &Path) -> Result<Self> {
        let bpffs = BpfFs::new("demo")?;
        let state = folder.join("state");
        fs::create_dir(&state).with_context(|| format!("cannot make {}", state.display()))?;
        let paths = policy::Paths {
            socket: &folder.join("control.sock"),
            state: &state,
            pins: &bpffs.path().join("borderguard"),
        };
        let config = folder.join("borderguard.toml");
        fs::write(&config, policy::config(&paths)?)
            .with_context(|| format!("cannot write {}", config.display()))?;
        let mut command = world.netns(&DUBLIN)?.command(&program.to_string_lossy())?;
        command.arg("run").arg("--config").arg(&config);
        let daemon = Process::spawn("borderguard", command)?;
        let guard = Guard { daemon, program, folder: folder.to_owned(), world, _bpffs: bpffs };
        guard.daemon.wait_for(PATIENCE, "the guard to answer", || guard.counters().ok())?;
        Ok(guard)
    }

    /// What the kernel has counted so far.
    pub(super) fn counters(&self) -> Result<Vec<Counter>> {
        let text = self.ask(&["status", "--json"])?;
        let status: Status = serde_json::from_str(&text).context("`status --json` is not as expected")?;
        Ok(status.counters)
    }

    /// Bytes of the pin that were dropped so far.
    pub(super) fn dropped_bytes(&self) -> Result<u64> {
        let counters = self.counters()?;
        let dropped = counters.iter().filter(|counter| counter.is_of(Some(PIN)) && counter.verdict == "drop");
        Ok(dropped.map(|counter| counter.bytes).sum())
    }

    /// What the guard says about a request that was made after `before` was counted: by the event about
    /// this very flow, or, where the flow gives no event, by the counter that has risen since.
    pub(super) fn judged(&self, request: &Request, before: &[Counter]) -> Result<Option<Judged>> {
        let seen = retry_until(EVENT_DELAY, "the guard's judgement", || {
            let event = self.event_about(request).transpose();
            event.or_else(|| self.risen(request, before).transpose())
        });
        seen.ok().transpose()
    }

    fn event_about(&self, request: &Request) -> Result<Option<Judged>> {
        let text = self.ask(&["events", "--json"])?;
        for line in text.lines() {
            let event: Event = serde_json::from_str(line).context("`events --json` is not as expected")?;
            if (event.destination.ip, event.destination.port) == (request.client, request.client_port) {
                let Event { verdict, reason, jurisdiction, .. } = event;
                return Ok(Some(Judged { verdict, reason, jurisdiction: Some(jurisdiction) }));
            }
        }
        Ok(None)
    }

    fn risen(&self, request: &Request, before: &[Counter]) -> Result<Option<Judged>> {
        let pin = (request.item != Item::AddressBook).then_some(PIN);
        let place = request.place.jurisdiction;
        let risen = self.counters()?.into_iter().find(|now| {
            // A drop always has an event of its own, so here it would be some other flow's.
            let fits = now.is_of(pin)
                && now.verdict == "pass"
                && now.reason != "not-ip"
                && now.reason != "link-scope";
            let here = now.jurisdiction.as_deref().is_none_or(|jurisdiction| jurisdiction == place);
            let earlier =
                before.iter().find(|earlier| earlier.is_same_as(now)).map_or(0, |earlier| earlier.packets);
            fits && here && now.packets > earlier
        });
        Ok(risen.map(|Counter { verdict, reason, jurisdiction, .. }| Judged {
            verdict,
            reason,
            jurisdiction,
        }))
    }

    /// Loads the exemption.
    pub(super) fn load_exemption(&self) -> Result<()> {
        let file = self.folder.join("exemption.toml");
        fs::write(&file, policy::exemption()?).with_context(|| format!("cannot write {}", file.display()))?;
        self.ask(&["exemption", "load", &file.to_string_lossy()]).map(drop)
    }

    /// Revokes it again.
    pub(super) fn revoke_exemption(&self) -> Result<()> {
        self.ask(&["exemption", "revoke", EXEMPTION, "--why", "the request was withdrawn"]).map(drop)
    }

    /// The exemptions, as the command line lists them.
    pub(super) fn exemptions(&self) -> Result<String> {
        self.ask(&["exemption", "list"])
    }

    /// Ends the daemon and removes everything from the kernel.
    pub(super) fn detach(&self) -> Result<()> {
        // In this order: a daemon that runs would attach again, and `detach` refuses.
        self.daemon.signal(rustix::process::Signal::TERM);
        self.daemon.wait(PATIENCE)?;
        self.ask(&["detach"]).map(drop)
    }

    /// Runs the command line in the Dublin host's network and returns what it printed.
    fn ask(&self, words: &[&str]) -> Result<String> {
        let mut command = self.world.netns(&DUBLIN)?.command(&self.program.to_string_lossy())?;
        command.args(words).arg("--config").arg(self.folder.join("borderguard.toml"));
        let (status, out, complaint) = run_to_end("borderguard", command, PATIENCE)?;
        if !status.success() {
            bail!("`borderguard {}` failed with {status}: {}", words.join(" "), complaint.trim());
        }
        Ok(out)
    }
}

impl Counter {
    fn is_of(&self, pin: Option<&str>) -> bool {
        self.pin.as_deref() == pin
    }

    fn is_same_as(&self, other: &Counter) -> bool {
        (&self.pin, &self.jurisdiction, &self.verdict, &self.reason)
            == (&other.pin, &other.jurisdiction, &other.verdict, &other.reason)
    }
}
