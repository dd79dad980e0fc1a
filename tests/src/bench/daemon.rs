//! The real daemon: its memory with the full database loaded, and how fast a revocation is in the kernel.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use guard_common::abi::MAX_EXEMPTIONS;
use guard_user::control::client::ask;
use guard_user::control::protocol::Request;

use super::figures::{Figures, median};
use crate::bed::{Bed, exemption};
use crate::bpffs::BpfFs;
use crate::cgroup::Cgroup;
use crate::netns::{HOST_INTERFACE, Host, Lan};
use crate::proc::{Process, retry_until};
use crate::program::borderguard;
use crate::resources::{memory_kib, processor_time};
use crate::scratch::Scratch;
use crate::storm;

/// Revocations that are timed.
const REVOKED: usize = 64;

/// Starts the daemon in a namespace of its own, reads its resident memory once it answers, and revokes.
pub(crate) fn measure(figures: &mut Figures) -> Result<()> {
    let program = borderguard()?;
    let pins = BpfFs::new("rss")?;
    let files = Scratch::new("rss")?;
    let lan = Lan::new(&[Host::new("store").address("192.0.2.10/24".parse()?)])?;
    let cgroup = Cgroup::new("rss")?;
    let config = files.path().join("policy.toml");
    let socket = files.path().join("control.sock");
    fs::write(
        &config,
        format!(
            "approval = \"none\"\n[host]\ninterfaces = [\"{HOST_INTERFACE}\"]\n[control]\nsocket = \"{}\"\n[state]\ndirectory = \"{}\"\n\
             pin_path = \"{}\"\n{}[[site]]\nname = \"boston\"\njurisdiction = \"US\"\n\
             cidrs = [\"203.0.113.0/24\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n[pin.select]\n\
             sources = [\"192.0.2.10/32\"]\n",
            socket.display(),
            files.path().join("state").display(),
            pins.path().join("pins").display(),
            cgroup.refused() + &cgroup.noted(),
        ),
    )?;
    let mut command =
        lan.host("store")?.command(program.to_str().context("the program's path is no UTF-8")?)?;
    command.args(["run", "--config"]).arg(&config);
    let daemon = Process::spawn("borderguard", command)?;
    retry_until(Duration::from_secs(60), "the daemon's socket", || socket.exists().then_some(()))?;
    std::thread::sleep(Duration::from_secs(2));
    figures.set("daemon_rss_mib", memory_kib(daemon.pid(), "VmRSS")? as f64 / 1024.0);
    figures.set("revoke_ms", revoke(&socket)?);
    drop(daemon);
    storm_figures(figures)
}

/// How soon what matters is done under a storm of new flows.
fn storm_figures(figures: &mut Figures) -> Result<()> {
    let sender = borderguard()?.with_file_name("guard-storm");
    let bed = Bed::new("storm")?;
    let (storm, daemon) = storm::measure(&bed, &sender)?;
    figures.set("storm_rate", storm.rate);
    figures.set("storm_stay_ms", storm::worst(&storm.stay_ms));
    figures.set("storm_stay_median_ms", storm::median(&storm.stay_ms));
    figures.set("storm_status_ms", storm::worst(&storm.status_ms));
    figures.set("storm_interface_ms", storm::worst(&storm.interface_ms));
    // What the storm left to be told is told by then.
    std::thread::sleep(Duration::from_secs(15));
    let (begin, before) = (Instant::now(), processor_time(daemon.pid())?);
    std::thread::sleep(Duration::from_secs(40));
    let used = processor_time(daemon.pid())? - before;
    figures.set("idle_percent", 100.0 * used / begin.elapsed().as_secs_f64());
    Ok(())
}

/// Fills the kernel's places for exemptions and revokes some of them: milliseconds from the request to the
/// answer, which comes when no further packet passes and the store has it.
fn revoke(socket: &Path) -> Result<f64> {
    let id = |number: usize| format!("bench-{number}");
    for number in 0..MAX_EXEMPTIONS {
        let cidrs = [format!("203.0.113.{number}/32")];
        let cidrs: Vec<&str> = cidrs.iter().map(String::as_str).collect();
        let request = Request::ExemptionLoad {
            document: exemption(&id(number), "mail", &cidrs, 3600, Some(1 << 40)),
            name: id(number),
            signatures: Vec::new(),
            dry_run: false,
            refused: false,
        };
        ask(socket, &request)?;
    }
    let mut times = Vec::new();
    for number in (0..MAX_EXEMPTIONS).step_by(MAX_EXEMPTIONS / REVOKED) {
        let why = "the bench revokes it".to_owned();
        let request = Request::ExemptionRevoke { id: id(number), why, dry_run: false };
        let begin = Instant::now();
        ask(socket, &request)?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(times))
}
