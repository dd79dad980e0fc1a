//! Sends the packets of a trial, and looks what became of each.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddrV4};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use guard_common::abi::{Hook, Party, SocketFacts};
use guard_common::verdict::{Reason, Verdict};
use serde::Serialize;

use super::frames::{DESTINATION_PORT, SEGMENT, SOURCE_PORT, large};
use super::plan::{Outgoing, Try, plan};
use super::policy::{FROM_V4, of_trial};
use crate::compile::InterfaceFact;
use crate::config::{ConfigErrors, Policy};
use crate::explain::kernel_copy::{CopyError, load_for, look_for_mounts};
use crate::explain::{ExplainError, Explainer};
use crate::geo::GeoDb;
use crate::kernel::{
    FrameSource, Interface, Kernel as _, KernelError, LinuxKernel, OutgoingFrame, Pair, TotalCount, cgroup,
    host_addresses,
};

/// From the last frame that is sent to the last look at what came: what is dropped never comes.
const QUIET: Duration = Duration::from_millis(300);
/// How long what is expected may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// The number of the interface that stands for a pair which can't be had: nothing is sent by it.
const NO_PAIR: u32 = 1;

/// Why no trial could be made.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The trial's own pin can't be read.
    #[error(transparent)]
    OwnPin(#[from] ConfigErrors),
    /// There are no tables.
    #[error(transparent)]
    Tables(#[from] ExplainError),
    /// The programs can't be loaded.
    #[error(transparent)]
    Programs(#[from] CopyError),
    /// The programs can't be attached, or their counters not be read.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// What came can't be received, or the host's addresses not be listed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// What came of the packet is what the host decides.
    Ok,
    /// It is something else.
    Failed,
    /// It was not sent.
    NotTried,
}

/// A packet, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// The pin that it is of.
    pub pin: String,
    /// What kind of packet it is.
    pub kind: String,
    /// `forbidden` or `permitted`: whether the pin lets it go where it goes.
    pub to: &'static str,
    /// How it ended.
    pub result: Outcome,
    /// The verdict that is expected.
    pub verdict: Option<&'static str>,
    /// The reason that is expected.
    pub reason: Option<&'static str>,
    /// Whether it came out at the other end.
    pub received: Option<bool>,
    /// Whether the programs counted it with the verdict and the reason that are expected.
    pub counted: Option<bool>,
    /// Why it was not tried, or what failed.
    pub why: Option<String>,
}

/// Tries a policy with its database. From here on this thread is in a network namespace and sees a BPF file system of its
/// own: it should do nothing else.
///
/// # Errors
/// Where the programs can't be had, or not be looked at, or what they need is not mounted. Where there is no network to try them
/// in, nothing is tried, and each try has that as its reason.
pub fn run(policy: Policy, database: GeoDb) -> Result<Vec<Tried>, Fault> {
    look_for_mounts()?;
    let policy = of_trial(policy)?;
    let has_host = policy.pins.iter().any(|pin| pin.select.from_host);
    let failed = |what| move |source| Fault::Io { what, source };
    let addresses = match has_host {
        true => host_addresses().map_err(failed("list the addresses of this host"))?,
        false => BTreeSet::new(),
    };
    // The pair stands for all of them.
    let names = Interface::all()?.into_iter().map(|it| it.name).filter(|name| policy.guards(name));
    let mut names: Vec<String> = names.collect();
    let absent = absent_cgroups(&policy, &cgroup::root());
    let pair = Pair::make(FROM_V4);
    let (index, own_name) = match &pair {
        Ok(pair) => (pair.near().index, pair.near().name.clone()),
        Err(_) => (NO_PAIR, "none".to_owned()),
    };
    if names.is_empty() {
        names.push(own_name);
    }
    let interface = InterfaceFact { index, names, ..InterfaceFact::default() };
    let explainer = Explainer::new(policy, database, Vec::new(), None)?
        .without_cgroups(&absent)?
        .with_interfaces(vec![interface])?
        .with_addresses(addresses);
    let tries = plan(&explainer, index, rustix::process::geteuid().as_raw());
    let pair = match pair {
        Ok(pair) => pair,
        Err(error) => {
            let why = error.to_string();
            return Ok(tries.into_iter().map(|one| Tried::not_sent(one, &why)).collect());
        }
    };
    let near = pair.near().clone();
    let mut kernel = load_for(&explainer, FrameSource::Interfaces)?;
    kernel.attach(&near, false)?;
    let mut counted = Vec::new();
    for one in &tries {
        counted.push(match &one.outgoing {
            Ok(outgoing) => Some(send(&kernel, near.index, outgoing)?),
            Err(_) => None,
        });
    }
    let came = received(&pair, &tries).map_err(failed("receive what was sent"))?;
    Ok(tries.into_iter().zip(counted).map(|(one, counted)| Tried::of(one, counted, &came)).collect())
}

/// Cgroups that the pins select and that are not below this root of cgroup v2.
pub(super) fn absent_cgroups(policy: &Policy, root: &Path) -> BTreeSet<String> {
    let named = policy.pins.iter().flat_map(|pin| &pin.select.cgroups);
    // What can't be looked at may be there.
    named.filter(|path| matches!(root.join(path).try_exists(), Ok(false))).cloned().collect()
}

/// What came of sending: whether the programs counted it as is expected, or why it could not be sent.
type Counted = Result<bool, String>;

/// Sends one.
fn send(kernel: &LinuxKernel, ifindex: u32, outgoing: &Outgoing) -> Result<Counted, KernelError> {
    let Outgoing { mark, frame, large_to, sent_by, expected } = outgoing;
    let before = kernel.totals()?;
    let sent = match large_to {
        Some(IpAddr::V4(to)) => {
            let (from, to) =
                (SocketAddrV4::new(FROM_V4, SOURCE_PORT), SocketAddrV4::new(*to, DESTINATION_PORT));
            Pair::send_large(from, to, &large(mark), SEGMENT)
        }
        Some(IpAddr::V6(_)) | None => kernel.send_frame(&OutgoingFrame {
            ifindex,
            protocol: frame.protocol,
            bytes: &frame.bytes,
            mark: sent_by.mark,
            facts: facts_of(sent_by.party),
            direction: sent_by.direction,
            volumes: sent_by.volumes,
        }),
    };
    if let Err(error) = sent {
        return Ok(Err(format!("it can't be sent: {error}")));
    }
    let packets = |totals: &[TotalCount]| packets(totals, expected.verdict, expected.reason);
    Ok(Ok(packets(&kernel.totals()?) > packets(&before)))
}

/// Facts of a socket that these have used.
fn facts_of(party: Option<Party>) -> SocketFacts {
    let mut facts = SocketFacts::default();
    if let (Some(party), Some(first)) = (party, facts.parties.first_mut()) {
        *first = party;
    }
    facts
}

/// Packets that left with this verdict for this reason.
fn packets(totals: &[TotalCount], verdict: Verdict, reason: Reason) -> u64 {
    let of = totals.iter().filter(|it| (it.hook, it.verdict, it.reason) == (Hook::Egress, verdict, reason));
    of.map(|it| it.count.packets).sum()
}

/// The marks of what came out of the far end, when all came that is expected and nothing comes any more.
fn received(pair: &Pair, tries: &[Try]) -> io::Result<BTreeSet<String>> {
    let marks: Vec<(&str, bool)> = tries
        .iter()
        .filter_map(|one| one.outgoing.as_ref().ok())
        .map(|outgoing| (outgoing.mark.as_str(), outgoing.expected.verdict.lets_through()))
        .collect();
    let mut came = BTreeSet::new();
    let begun = Instant::now();
    loop {
        pair.receive(|frame| {
            let found = marks.iter().find(|(mark, _)| has(frame, mark.as_bytes()));
            came.extend(found.map(|(mark, _)| (*mark).to_owned()));
        })?;
        let is_whole = marks.iter().all(|(mark, passes)| !passes || came.contains(*mark));
        let waited = begun.elapsed();
        if waited >= PATIENCE || (is_whole && waited >= QUIET) {
            return Ok(came);
        }
        sleep(LOOK);
    }
}

fn has(frame: &[u8], mark: &[u8]) -> bool {
    frame.windows(mark.len()).any(|window| window == mark)
}

impl Tried {
    /// One that could not be sent, for this reason where it has none of its own.
    pub(super) fn not_sent(one: Try, why: &str) -> Self {
        let Try { pin, kind, to, outgoing } = one;
        Self::not_tried(pin, kind, to.name(), outgoing.err().unwrap_or_else(|| why.to_owned()))
    }

    fn not_tried(pin: String, kind: String, to: &'static str, why: String) -> Self {
        let result = Outcome::NotTried;
        let (verdict, reason, received, counted) = (None, None, None, None);
        Self { pin, kind, to, result, verdict, reason, received, counted, why: Some(why) }
    }

    /// What came of a try, by what was counted and by the marks of what came.
    pub(super) fn of(one: Try, counted: Option<Counted>, came: &BTreeSet<String>) -> Self {
        let Try { pin, kind, to, outgoing } = one;
        let (outgoing, counted) = match (outgoing, counted) {
            (Ok(outgoing), Some(Ok(counted))) => (outgoing, counted),
            (Err(why), _) | (_, Some(Err(why))) => return Self::not_tried(pin, kind, to.name(), why),
            (Ok(_), None) => {
                return Self::not_tried(pin, kind, to.name(), "it was not sent".to_owned());
            }
        };
        let (verdict, reason) = (outgoing.expected.verdict, outgoing.expected.reason);
        let received = came.contains(&outgoing.mark);
        let why = match (received == verdict.lets_through(), counted) {
            (true, true) => None,
            (true, false) => Some("it is not counted so".to_owned()),
            (false, _) if received => Some("it came out at the other end".to_owned()),
            (false, _) => Some("it did not come out at the other end".to_owned()),
        };
        Self {
            pin,
            kind,
            to: to.name(),
            result: if why.is_none() { Outcome::Ok } else { Outcome::Failed },
            verdict: Some(verdict.name()),
            reason: Some(reason.name()),
            received: Some(received),
            counted: Some(counted),
            why,
        }
    }
}
