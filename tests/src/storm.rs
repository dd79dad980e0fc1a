//! A storm of new forbidden flows, as unprivileged processes of the storage host can make it, and how soon what
//! matters is done meanwhile.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use guard_common::abi::Hook;
use guard_user::control::client::ask;
use guard_user::control::protocol::{Request, Response};
use guard_user::control::status::Status;
use guard_user::kernel::View;
use guard_user::store::Target;

use crate::bed::{Bed, PIN, STORE, UNIT_NICE, US, packets};
use crate::proc::{Process, retry_until};
use crate::resources::memory_kib;

/// How long the storm blows while the daemon is asked.
pub const DURATION: Duration = Duration::from_secs(20);
/// Senders.
pub const SENDERS: usize = 2;
/// Stays that are timed.
pub const STAYS: usize = 50;
/// A user without any right.
const NOBODY: u32 = 65_534;
/// The storage host's address, whose every port is the pin's here.
const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// The network in the US that the flows go to.
const FOREIGN: u32 = 0xcb00_7100;

/// The pin of [`crate::bed`], for every port of the address.
#[must_use]
pub fn config() -> String {
    let ports = "ports = [\"udp/143\", \"tcp/143\"]\n";
    PIN.replace(ports, "").replace("192.0.2.10/32", "192.0.2.0/24")
}

/// What a storm came to.
#[derive(Clone, Debug)]
pub struct Storm {
    /// New flows a second, both senders together.
    pub rate: f64,
    /// Packets that the senders sent.
    pub sent: u64,
    /// Packets that the kernel counted as dropped.
    pub dropped: u64,
    /// Milliseconds from the request to the kernel's new generation, for each stay, sorted.
    pub stay_ms: Vec<f64>,
    /// Milliseconds to the answer of `status`, for each, sorted.
    pub status_ms: Vec<f64>,
    /// Milliseconds until a new interface was guarded, for each, sorted.
    pub interface_ms: Vec<f64>,
    /// The state after it.
    pub after: Status,
    /// The daemon's largest resident memory, MiB.
    pub memory_mib: f64,
    /// Bytes of its log.
    pub log_bytes: u64,
}

/// The worst of sorted figures.
#[must_use]
pub fn worst(sorted: &[f64]) -> f64 {
    sorted.last().copied().unwrap_or(f64::NAN)
}

/// The middle one of sorted figures.
#[must_use]
pub fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Sends to ever new foreign addresses and ports until the time is over; prints how many datagrams it sent. To be
/// called in a process of its own, which loses every right here.
///
/// # Errors
/// Where it may not, or the address is not this host's.
pub fn send(seconds: u64, seed: u32) -> Result<()> {
    let socket = UdpSocket::bind(SocketAddrV4::new(SOURCE, 0)).context("bind the sender's socket")?;
    rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(NOBODY)).context("drop root")?;
    rustix::process::setpriority_process(None, 0).context("be as any process is")?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut number, mut sent) = (seed << 20, 0_u64);
    while Instant::now() < end {
        for _ in 0..256 {
            number = number.wrapping_add(1);
            // The upper half, so that the exempted address, which would pass, is none of them.
            let address = Ipv4Addr::from(FOREIGN | 128 | (number & 127));
            let port = 1024 + ((number >> 7) % 60_000) as u16;
            // That it is dropped shows as an error, or not at all.
            let _dropped = socket.send_to(b"x", SocketAddrV4::new(address, port));
            sent += 1;
        }
    }
    println!("{sent}");
    Ok(())
}

/// Has the senders send, and times fifty stays, as many looks at the status and ten new interfaces meanwhile. Returns the daemon too,
/// which has a full flow table.
///
/// # Errors
/// Where the network can't be made or the daemon does not answer.
pub fn measure(bed: &Bed, sender: &std::path::Path) -> Result<(Storm, Process)> {
    bed.configure_for(&["eth0", "new*"], &config())?;
    // The daemon has the unit's priority, and so has what measures: what it waits for itself is no figure.
    rustix::process::setpriority_process(None, UNIT_NICE).context("take the unit's priority")?;
    let daemon = bed.start(&[])?;
    bed.exempt("storm", &["203.0.113.10/32"], 3600, None)?;
    // What waits for the router's address could be lost before it is judged.
    ensure!(bed.passes(US)?, "the exempted client gets nothing");
    let before = dropped(&bed.status()?);
    let mut senders = Vec::new();
    let begin = Instant::now();
    for number in 0..SENDERS {
        let mut command = bed.host(STORE)?.command(&sender.to_string_lossy())?;
        command.args([(DURATION.as_secs() + 10).to_string(), (number + 1).to_string()]);
        senders.push(Process::spawn("storm", command)?);
    }
    std::thread::sleep(Duration::from_secs(2));
    let view = bed.host(STORE)?.run(|| View::open(&bed.pin_path()))??;
    let (mut stay_ms, mut status_ms, mut interface_ms) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..STAYS {
        stay_ms.push(stay(bed, &view)?);
        let asked = Instant::now();
        status(bed)?;
        status_ms.push(millis(asked.elapsed()));
        if number % 5 == 0 {
            interface_ms.push(new_interface(bed, &view, number)?);
        }
    }
    // The rest of the storm, so that its rate is that of the whole.
    let mut sent = 0;
    for sender in &senders {
        sender.wait(DURATION + Duration::from_secs(60))?;
        sent += sender.stdout().trim().parse::<u64>().context("the sender says how many it sent")?;
    }
    let took = begin.elapsed().as_secs_f64();
    let after = retry_until(Duration::from_secs(20), "every packet to be counted", || {
        let after = bed.status().ok()?;
        (dropped(&after) >= before + sent).then_some(after)
    })?;
    for sorted in [&mut stay_ms, &mut status_ms, &mut interface_ms] {
        sorted.sort_by(f64::total_cmp);
    }
    let dropped = dropped(&after) - before;
    let storm = Storm {
        dropped,
        rate: sent as f64 / took,
        sent,
        stay_ms,
        status_ms,
        interface_ms,
        memory_mib: memory_kib(daemon.pid(), "VmHWM")? as f64 / 1024.0,
        log_bytes: (daemon.stdout().len() + daemon.stderr().len()) as u64,
        after,
    };
    Ok((storm, daemon))
}

/// Datagrams of the pin that were dropped.
fn dropped(status: &Status) -> u64 {
    packets(status, "egress", "drop", "forbidden")
}

/// Stays the exemption, and says after how many milliseconds the kernel judged by a generation without it; then
/// resumes it.
fn stay(bed: &Bed, view: &View) -> Result<f64> {
    let socket = bed.socket();
    let before = view.live_generation()?;
    let request = Request::ExemptionStay {
        target: Target::Id("storm".to_owned()),
        order: "High Court 1".to_owned(),
        not_loaded: false,
        dry_run: false,
    };
    let asked = Instant::now();
    let asking = std::thread::spawn(move || ask(&socket, &request));
    let in_the_kernel = soon("a generation without the exemption", || {
        (view.live_generation().ok()? > before).then(|| asked.elapsed())
    })?;
    match asking.join() {
        Ok(Ok(Response::Done { .. })) => {}
        other => bail!("the stay was not done: {other:?}"),
    }
    let request = Request::ExemptionResume {
        target: Target::Id("storm".to_owned()),
        order: None,
        why: "lifted".to_owned(),
        lift: None,
        dry_run: false,
        to_sign: false,
    };
    let resumed = ask(&bed.socket(), &request)?;
    ensure!(matches!(resumed, Response::Done { .. }), "not resumed: {resumed:?}");
    Ok(millis(in_the_kernel))
}

/// As [`retry_until`], but asks often enough for figures of a millisecond.
fn soon<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(found) = probe() {
            return Ok(found);
        }
        ensure!(begin.elapsed() < Duration::from_secs(30), "waited 30 s for {what} in vain");
        std::thread::sleep(Duration::from_micros(300));
    }
}

fn status(bed: &Bed) -> Result<Status> {
    match ask(&bed.socket(), &Request::Status {})? {
        Response::Status { status } => Ok(*status),
        other => bail!("no status: {other:?}"),
    }
}

/// Makes an interface, and says after how many milliseconds it was guarded.
fn new_interface(bed: &Bed, view: &View, number: usize) -> Result<f64> {
    let name = format!("new{number}");
    let store = bed.host(STORE)?;
    store.ip(&[
        "link",
        "add",
        &name,
        "type",
        "veth",
        "peer",
        "name",
        "peer",
        "netns",
        bed.router().name(),
    ])?;
    let made = Instant::now();
    let guarded = || {
        let interfaces = store.run(|| view.interfaces()).ok()?.ok()?;
        let egress = interfaces.iter().any(|it| it.interface.name == name && it.at(Hook::Egress).is_some());
        egress.then(|| made.elapsed())
    };
    let took = soon("the new interface to be guarded", guarded)?;
    store.ip(&["link", "delete", &name])?;
    Ok(millis(took))
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
