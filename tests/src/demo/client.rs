//! The clients: curl, in each place.
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::world::{DUBLIN, Family, Place, World, host_part};
use crate::proc::run_to_end;
use crate::service::{Item, Service};

/// How long a client tries to reach the service, in seconds. A dropped answer is never heard of, so
/// this is what a forbidden request takes.
const PATIENCE: &str = "1.2";

/// curl's exit status when time ran out (curl(1)).
const TIMED_OUT: i32 = 28;

/// Each request has a port of its own, by which the guard's events about it are known.
static NEXT_PORT: AtomicU16 = AtomicU16::new(41_000);

/// One request: who asks whom for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) place: &'static Place,
    pub(super) client: IpAddr,
    pub(super) client_port: u16,
    pub(super) server: IpAddr,
    pub(super) item: Item,
}

impl Request {
    /// From a place's address of that family.
    pub(super) fn new(place: &'static Place, item: Item, family: Family) -> Result<Self> {
        Request::from_address(place, place.address(family)?, item)
    }

    /// From one particular address (with or without a prefix length) of a place.
    pub(super) fn from_other(place: &'static Place, address: &str, item: Item) -> Result<Self> {
        Request::from_address(place, host_part(address)?, item)
    }

    fn from_address(place: &'static Place, client: IpAddr, item: Item) -> Result<Self> {
        let family = if client.is_ipv4() { Family::V4 } else { Family::V6 };
        let client_port = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        Ok(Request { place, client, client_port, server: DUBLIN.address(family)?, item })
    }

    /// curl, ready to run in the client's namespace and to store what it receives in `output`.
    pub(super) fn curl(&self, world: &World, output: &Path) -> Result<Command> {
        let mut command = world.netns(self.place)?.command("curl")?;
        let server = match self.server {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        command
            .args(["--disable", "--silent", "--show-error", "--fail", "--no-buffer", "--noproxy", "*"])
            .args(["--connect-timeout", PATIENCE, "--write-out", "%{size_download}"])
            .args(["--interface", &self.client.to_string()])
            .args(["--local-port", &self.client_port.to_string()])
            .arg("--output")
            .arg(output)
            .arg(format!("http://{server}:{}/{}", self.item.port(), self.item.file()));
        Ok(command)
    }
}

/// What a client saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received {
    /// Bytes of content that arrived.
    pub(super) bytes: u64,
    /// Whether all of it arrived, unaltered.
    pub(super) whole: bool,
}

/// Asks and waits for the answer, or for no answer.
pub(super) fn fetch(world: &World, service: &Service, request: &Request, folder: &Path) -> Result<Received> {
    let output = folder.join(format!("received-{}", request.client_port));
    let command = request.curl(world, &output)?;
    let (status, _, complaint) = run_to_end("curl", command, Duration::from_secs(20))?;
    let received = match std::fs::read(&output) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", output.display())),
    };
    let _absent_if_nothing_came = std::fs::remove_file(&output);
    if !status.success() && status.code() != Some(TIMED_OUT) {
        // Neither an answer nor silence: the demo itself is broken (a wrong URL, say).
        bail!("curl from {} failed with {status}: {}", request.client, complaint.trim());
    }
    let whole = status.success() && received == service.content(request.item)?;
    Ok(Received { bytes: received.len() as u64, whole })
}
