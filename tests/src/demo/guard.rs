//! The program under demonstration, used by its command line alone.
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::authority::Authority;
use super::client::Request;
use super::expect::Judged;
use super::policy::{self, EXEMPTION, PIN};
use super::receipt::Receipt;
use super::world::{DUBLIN, World};
use crate::bpffs::BpfFs;
use crate::cgroup::Cgroup;
use crate::document::law_without_end;
use crate::error::SetupError;
use crate::proc::{Process, retry_until, run_to_end};
use crate::service::Item;
use crate::signing::{COMPLIANCE, HOST, LEGAL, SUBMITTER, Signers, sha256_of};

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
    signers: Signers,
    authority: Authority,
    _bpffs: BpfFs,
    _cgroup: Option<Cgroup>,
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

/// The part of `exemption show --json` that the demo reads.
#[derive(Debug, Deserialize)]
struct Shown {
    approvals: Vec<ApprovalOf>,
}

#[derive(Debug, Deserialize)]
struct ApprovalOf {
    identity: String,
    role: Option<String>,
}

/// The part of `audit verify --json` that the demo reads.
#[derive(Debug, Deserialize)]
struct Verified {
    whole: bool,
    #[serde(default)]
    records: u64,
}

/// The part of `report --format json` that the demo reads.
#[derive(Debug, Deserialize)]
struct Report {
    exemptions: Vec<ExemptionOf>,
    traffic: Vec<TrafficOf>,
}

#[derive(Debug, Deserialize)]
struct ExemptionOf {
    id: String,
    instrument: InstrumentOf,
    use_by_day: Vec<Day>,
}

#[derive(Debug, Deserialize)]
struct InstrumentOf {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    article: String,
}

#[derive(Debug, Deserialize)]
struct Day {
    bytes: u64,
}

#[derive(Debug, Deserialize)]
struct TrafficOf {
    verdict: String,
    reason: String,
    packets: u64,
    bytes: u64,
}

/// What the audit trail says of itself.
#[derive(Debug)]
pub(super) struct Trail {
    pub(super) whole: bool,
    pub(super) records: u64,
    pub(super) refusals: usize,
}

/// What the report says.
#[derive(Debug)]
pub(super) struct Transfers {
    /// The instrument that the exemption rests on; `None` where the report has no such exemption.
    pub(super) ground: Option<String>,
    /// Bytes that the exemption let through, by its own account.
    pub(super) crossed: u64,
    /// Bytes that passed by an exemption, by the pin's account.
    pub(super) exempt: u64,
    /// Packets that were dropped.
    pub(super) refused: u64,
    /// And their bytes.
    pub(super) refused_bytes: u64,
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
        let signers = Signers::new(folder)?;
        // None of this machine's processes is in it. Without cgroup v2 nothing can be refused to any.
        let cgroup = match Cgroup::new("demo") {
            Err(SetupError::NotMounted { .. }) => None,
            made => Some(made?),
        };
        let hooks = match &cgroup {
            Some(cgroup) => cgroup.refused() + &cgroup.noted(),
            None => "[bypass]\nrefuse = false\n[sockets]\nnote = false\n".to_owned(),
        };
        let authority = Authority::new(folder)?;
        let approvals = signers.config() + &signers.policy();
        let record = policy::record(&signers.key(HOST), &authority.command());
        let text = policy::config(&paths)? + &hooks + &approvals + &record + &law_without_end(folder)?;
        fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let mut command = world.netns(&DUBLIN)?.command(&program.to_string_lossy())?;
        command.arg("run").arg("--config").arg(&config);
        let daemon = Process::spawn("borderguard", command)?;
        let folder = folder.to_owned();
        let guard =
            Guard { daemon, program, folder, world, signers, authority, _bpffs: bpffs, _cgroup: cgroup };
        guard.daemon.wait_for(PATIENCE, "the guard to answer", || guard.counters().ok())?;
        Ok(guard)
    }

    /// What the kernel has counted so far.
    pub(super) fn counters(&self) -> Result<Vec<Counter>> {
        let words = ["status", "--json"];
        let (status, text, complaint) = self.run(&words)?;
        // Above 4 the exit code is the state of the guard, which counters do not depend on.
        if !matches!(status.code(), Some(0 | 5..=7)) {
            bail!("`borderguard {}` failed with {status}: {}", words.join(" "), complaint.trim());
        }
        let status: Status = serde_json::from_str(&text).context("`status --json` is not as expected")?;
        Ok(status.counters)
    }

    /// Bytes of the pin that passed by an exemption so far.
    pub(super) fn exempt_bytes(&self) -> Result<u64> {
        let counters = self.counters()?;
        let exempt = counters.iter().filter(|counter| counter.is_of(Some(PIN)) && counter.reason == "exempt");
        Ok(exempt.map(|counter| counter.bytes).sum())
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

    /// Where a document is kept.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.toml"))
    }

    /// Writes a document.
    pub(super) fn document(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.file(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    /// Has somebody sign it.
    pub(super) fn sign(&self, file: &Path, who: &str) -> Result<()> {
        let key = self.signers.key(who);
        let shown = sha256_of(file)?;
        let (file, key) = (file.to_string_lossy(), key.to_string_lossy());
        self.ask(&["exemption", "sign", &file, "--key", &key, "--yes", &shown]).map(drop)
    }

    /// Loads it with the signatures that lie beside it; the inner error is what the guard says against it.
    pub(super) fn load(&self, file: &Path) -> Result<Result<(), String>> {
        let (status, _, complaint) = self.run(&["exemption", "load", &file.to_string_lossy()])?;
        Ok(if status.success() { Ok(()) } else { Err(complaint) })
    }

    /// What the guard says against a command; `None` where it does it.
    pub(super) fn refusal_of(&self, command: &[&str]) -> Result<Option<String>> {
        let (status, _, complaint) = self.run(command)?;
        Ok((!status.success()).then_some(complaint))
    }

    fn config_file(&self) -> PathBuf {
        self.folder.join("borderguard.toml")
    }

    /// Writes the config with these words in the place of those, and returns the one before.
    pub(super) fn config_with(&self, those: &str, these: &str) -> Result<String> {
        let file = self.config_file();
        let before = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        fs::copy(&file, self.folder.join("in-force.toml")).context("cannot keep the config in force")?;
        self.restore_config(&before.replacen(those, these, 1))?;
        Ok(before)
    }

    /// Writes a config.
    pub(super) fn restore_config(&self, text: &str) -> Result<()> {
        let file = self.config_file();
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Has somebody sign the config that lies in its place, compared with the one in force.
    pub(super) fn sign_config(&self, who: &str) -> Result<()> {
        let (file, key, old) = (self.config_file(), self.signers.key(who), self.folder.join("in-force.toml"));
        let shown = sha256_of(&file)?;
        let mut command = self.world.netns(&DUBLIN)?.command(&self.program.to_string_lossy())?;
        command.args(["policy", "sign", "--yes", &shown]).arg(&file);
        command.arg("--key").arg(&key).arg("--config").arg(&old);
        let (status, _, complaint) = run_to_end("borderguard", command, PATIENCE)?;
        if !status.success() {
            bail!("`borderguard policy sign` failed: {}", complaint.trim());
        }
        Ok(())
    }

    /// Has the receipt of the exemption written, and returns it where it was.
    pub(super) fn receipt(&self) -> Result<Option<Receipt>> {
        let folder = self.folder.join("receipts");
        fs::create_dir(&folder).context("cannot make the folder of receipts")?;
        self.ask(&["exemption", "receipt", EXEMPTION, "--into", &folder.to_string_lossy()])?;
        let key = self.signers.key(HOST).with_added_extension("pub");
        let file = folder.join(format!("{EXEMPTION}-1.receipt.json"));
        match file.exists() {
            true => Receipt::read(file, &key, self.authority.root()).map(Some),
            false => Ok(None),
        }
    }

    /// Lifts an order by a document that both have signed; whether the guard wrote one.
    pub(super) fn lift(&self, name: &str, command: &[&str]) -> Result<bool> {
        let file = self.file(name);
        let path = file.to_string_lossy();
        self.ask(&[command, &["--write", &path, "--submitter", SUBMITTER]].concat())?;
        if !file.exists() {
            return Ok(false);
        }
        self.sign(&file, LEGAL)?;
        self.sign(&file, COMPLIANCE)?;
        self.ask(&["exemption", "lift", &path]).map(|_| true)
    }

    /// Who approved the exemption, and as what.
    pub(super) fn approvals(&self) -> Result<Vec<(String, String)>> {
        let shown: Shown = self.read(&["exemption", "show", EXEMPTION, "--json"])?;
        Ok(shown.approvals.into_iter().map(|it| (it.identity, it.role.unwrap_or_default())).collect())
    }

    /// What the audit trail says of itself.
    pub(super) fn audit_trail(&self) -> Result<Trail> {
        let verified: Verified = self.read(&["audit", "verify", "--json"])?;
        let refusals = self.ask(&["audit", "show", "--json"])?;
        let refusals = refusals.lines().filter(|line| line.contains("\"kind\":\"refusal\"")).count();
        Ok(Trail { whole: verified.whole, records: verified.records, refusals })
    }

    /// What the report says of the exemption and of all that was refused.
    pub(super) fn record_of_transfers(&self) -> Result<Transfers> {
        let report: Report = self.read(&["report", "--format", "json"])?;
        let exemption = report.exemptions.iter().find(|exemption| exemption.id == EXEMPTION);
        let days = exemption.iter().flat_map(|exemption| &exemption.use_by_day);
        let of = |reason: &'static str| report.traffic.iter().filter(move |row| row.reason == reason);
        let refused = || report.traffic.iter().filter(|row| row.verdict == "drop");
        Ok(Transfers {
            ground: exemption.map(|it| {
                let InstrumentOf { name, kind, article } = &it.instrument;
                format!("the {name} ({kind}, {article})")
            }),
            crossed: days.map(|day| day.bytes).sum(),
            exempt: of("exempt").map(|row| row.bytes).sum(),
            refused: refused().map(|row| row.packets).sum(),
            refused_bytes: refused().map(|row| row.bytes).sum(),
        })
    }

    fn read<T: DeserializeOwned>(&self, words: &[&str]) -> Result<T> {
        let text = self.ask(words)?;
        serde_json::from_str(&text).with_context(|| format!("`{}` is not as expected", words.join(" ")))
    }

    /// Ends the daemon and removes everything from the kernel.
    pub(super) fn detach(&self) -> Result<()> {
        // In this order: a daemon that runs would attach again, and `detach` refuses.
        self.daemon.signal(rustix::process::Signal::TERM);
        self.daemon.wait(PATIENCE)?;
        self.ask(&["detach"]).map(drop)
    }

    /// Runs the command line in the Dublin host's network and returns what it printed.
    pub(super) fn ask(&self, words: &[&str]) -> Result<String> {
        let (status, out, complaint) = self.run(words)?;
        if !status.success() {
            bail!("`borderguard {}` failed with {status}: {}", words.join(" "), complaint.trim());
        }
        Ok(out)
    }

    fn run(&self, words: &[&str]) -> Result<(ExitStatus, String, String)> {
        let mut command = self.world.netns(&DUBLIN)?.command(&self.program.to_string_lossy())?;
        command.args(words).arg("--config").arg(self.config_file());
        Ok(run_to_end("borderguard", command, PATIENCE)?)
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
