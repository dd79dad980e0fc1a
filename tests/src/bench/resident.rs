//! The memory of the real daemon with the full database loaded.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::figures::Figures;
use crate::bpffs::BpfFs;
use crate::netns::{HOST_INTERFACE, Host, Lan};
use crate::proc::{Process, retry_until};
use crate::program::borderguard;
use crate::scratch::Scratch;

/// Starts the daemon in a namespace of its own and reads its resident memory once it answers.
pub(crate) fn measure(figures: &mut Figures) -> Result<()> {
    let program = borderguard()?;
    let pins = BpfFs::new("rss")?;
    let files = Scratch::new("rss")?;
    let lan = Lan::new(&[Host::new("store").address("192.0.2.10/24".parse()?)])?;
    let config = files.path().join("policy.toml");
    let socket = files.path().join("control.sock");
    fs::write(
        &config,
        format!(
            "[host]\ninterfaces = [\"{HOST_INTERFACE}\"]\n[control]\nsocket = \"{}\"\n[state]\ndirectory = \"{}\"\n\
             pin_path = \"{}\"\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n[pin.select]\n\
             sources = [\"192.0.2.10/32\"]\n",
            socket.display(),
            files.path().join("state").display(),
            pins.path().join("pins").display(),
        ),
    )?;
    let mut command =
        lan.host("store")?.command(program.to_str().context("the program's path is no UTF-8")?)?;
    command.args(["run", "--config"]).arg(&config);
    let daemon = Process::spawn("borderguard", command)?;
    retry_until(Duration::from_secs(60), "the daemon's socket", || socket.exists().then_some(()))?;
    std::thread::sleep(Duration::from_secs(2));
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|line| line.split_whitespace().next())
        .context("no VmRSS in the daemon's status")?
        .parse()?;
    figures.set("daemon_rss_mib", kib / 1024.0);
    Ok(())
}
