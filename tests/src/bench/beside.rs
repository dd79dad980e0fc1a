//! Permitted traffic beside a storm of forbidden flows: under the guard, and by turns under a program that does nothing.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::programs::tc::TcAttachOptions;
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfLoader};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::figures::{Figures, median};
use super::throughput::{FROM, TO, connection};
use crate::bed::{BELGIUM, Bed, PATIENCE, STORE};
use crate::bpffs::BpfFs;
use crate::netns::HOST_INTERFACE;
use crate::proc::Process;
use crate::program::borderguard;
use crate::resources::{only, stay_on};
use crate::storm;

/// Pairs that are timed.
const PAIRS: usize = 9;
/// How long one connection sends.
const SENDS: Duration = Duration::from_secs(1);
/// How long the storm blows before it is timed: the daemon has its first events by then.
const BLOWS: Duration = Duration::from_secs(2);
/// Where both senders of the storm run, and both ends of the connection that is timed.
const STORM_CPU: usize = 0;
const CONNECTION_CPU: usize = 1;

/// Times pairs of connections of a permitted client while senders without rights make new forbidden flows on another
/// CPU. The daemon runs where the kernel puts it.
pub(crate) fn measure(figures: &mut Figures) -> Result<()> {
    let bed = Bed::new("beside")?;
    bed.configure(&storm::config())?;
    let store = bed.host(STORE)?;
    store.add_address(HOST_INTERFACE, format!("{FROM}/24").parse()?)?;
    let listener = bed.host(BELGIUM)?.run(|| TcpListener::bind(TO))??;
    let before = sched_getaffinity(None)?;
    stay_on(CONNECTION_CPU).context("the bench needs two CPUs")?;
    let ratios = pairs(&bed, &listener);
    sched_setaffinity(None, &before)?;
    figures.set("storm_beside_ratio", median(ratios?));
    Ok(())
}

fn pairs(bed: &Bed, listener: &TcpListener) -> Result<Vec<f64>> {
    let mut ratios = Vec::with_capacity(PAIRS);
    for number in 0..=PAIRS {
        let mut pair = [0.0; 2];
        for at in if number % 2 == 0 { [0, 1] } else { [1, 0] } {
            pair[at] = if at == 0 { under_nothing(bed, listener)? } else { under_the_guard(bed, listener)? };
        }
        // The first only warms up.
        if number > 0 {
            ratios.push(pair[1] / pair[0]);
        }
    }
    Ok(ratios)
}

fn under_the_guard(bed: &Bed, listener: &TcpListener) -> Result<f64> {
    let daemon = bed.start(&[])?;
    sched_setaffinity(Some(pid(&daemon)?), &all()?)?;
    let time = beside_the_storm(bed, listener);
    daemon.kill(PATIENCE)?;
    bed.tell(&["detach"])?;
    time
}

fn under_nothing(bed: &Bed, listener: &TcpListener) -> Result<f64> {
    let pins = BpfFs::new("beside-empty")?;
    let mut ebpf = empty(pins.path())?;
    let program: &mut SchedClassifier =
        ebpf.program_mut("bench_empty").context("no program bench_empty")?.try_into()?;
    program.load()?;
    let _link = bed.host(STORE)?.run(|| {
        let options = TcAttachOptions::TcxOrder(LinkOrder::default());
        program.attach_with_options(HOST_INTERFACE, TcAttachType::Egress, options)
    })??;
    beside_the_storm(bed, listener)
}

fn empty(pins: &Path) -> Result<Ebpf> {
    // It does nothing, and is of an object with the maps of others.
    EbpfLoader::new()
        .default_map_pin_directory(pins)
        .load(guard_user::kernel::bench_object())
        .context("load the empty program")
}

/// Nanoseconds that a byte to the permitted client took.
fn beside_the_storm(bed: &Bed, listener: &TcpListener) -> Result<f64> {
    let sender = borderguard()?.with_file_name("guard-storm");
    let mut senders = Vec::new();
    for number in 0..storm::SENDERS {
        let mut command = bed.host(STORE)?.command(&sender.to_string_lossy())?;
        // Longer than it is timed: it is ended by hand.
        command.args(["60".to_owned(), (number + 1).to_string()]);
        let process = Process::spawn("storm", command)?;
        sched_setaffinity(Some(pid(&process)?), &only(STORM_CPU))?;
        senders.push(process);
    }
    std::thread::sleep(BLOWS);
    let time = bed.host(STORE)?.run(|| connection(listener, SENDS))??.time;
    for sender in senders {
        sender.kill(PATIENCE)?;
    }
    Ok(time)
}

fn pid(process: &Process) -> Result<Pid> {
    let pid = i32::try_from(process.pid()).context("a process has a number that is none")?;
    Pid::from_raw(pid).context("a process has no number")
}

fn all() -> Result<CpuSet> {
    let mut set = CpuSet::new();
    (0..std::thread::available_parallelism()?.get().max(2)).for_each(|cpu| set.set(cpu));
    Ok(set)
}
