//! What the stories are told with: the storage host in Dublin with its service and two people who approve,
//! and clients that ask for the mail.
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use guard_user::kernel::View;
use serde_json::Value;

use crate::bed::{self, Answer, Bed, Family, PATIENCE, STORE};
use crate::netns::Netns;
use crate::proc::{Process, retry_until};
use crate::service::{Item, MAILBOX_PORT, Service};
use crate::signing::{APPROVAL, COMPLIANCE, LEGAL, SUBMITTER, Signers, sha256_of};

/// How long a client tries to reach the service, in seconds: a dropped answer is never heard of.
const CONNECTS_FOR: &str = "2";

/// Each request has a port of its own, by which events about it are known.
static NEXT_PORT: AtomicU16 = AtomicU16::new(41_000);

/// The storage host with its guard, and who approves.
#[derive(Debug)]
pub struct Story {
    /// The network, and the daemon's files.
    pub bed: Bed,
    /// Who approves.
    pub signers: Signers,
    /// What is served in Dublin.
    pub service: Service,
}

/// A request, and where its answer goes.
#[derive(Debug)]
pub struct Request {
    /// The client's address.
    pub client: IpAddr,
    /// The client's port.
    pub port: u16,
    curl: Process,
    output: PathBuf,
}

/// What a client ended with.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// curl's exit status (curl(1)): 0 for all of it, 28 where time ran out, 56 after a reset.
    pub code: Option<i32>,
    /// What it received.
    pub content: Vec<u8>,
}

/// The pin of the stories: the mailbox of the Dublin host, which may reach the EU.
pub fn pin() -> String {
    bed::PIN.replace("\"udp/143\", \"tcp/143\"", &format!("\"tcp/{MAILBOX_PORT}\""))
}

/// A treaty request for the mail, for ten minutes, by which one US host gets it when both signers have approved it.
#[must_use]
pub fn request(id: &str, version: u32) -> String {
    let cidrs = ["203.0.113.10/32", "2001:db8:3::10/128"];
    let text = bed::exemption(id, "mail", &cidrs, 600, None) + APPROVAL;
    text.replace("version = 1", &format!("version = {version}"))
}

impl Story {
    /// Makes the network, the keys and the config with [`pin`], and serves the mail; nothing guards yet.
    ///
    /// # Errors
    /// Without root, nginx or `ssh-keygen`.
    pub fn new(label: &str) -> Result<Self> {
        Self::on(Bed::new(label)?, STORE, &pin())
    }

    /// The same with the service on another host, and with other pins.
    ///
    /// # Errors
    /// As [`Story::new`].
    pub fn on(bed: Bed, host: &'static str, pins: &str) -> Result<Self> {
        let bed = bed.guarding(host);
        let folder = bed.file("service");
        fs::create_dir(&folder).context("cannot make the service's folder")?;
        let service = Service::start(bed.host(host)?, &folder)?;
        let signers = Signers::new(folder.parent().unwrap_or(Path::new(".")))?;
        bed.configure(&format!("{pins}{}", signers.config()))?;
        Ok(Self { bed, signers, service })
    }

    /// Writes a document, and has both signers sign it.
    ///
    /// # Errors
    /// Where it can't be signed.
    pub fn approved(&self, name: &str, text: &str) -> Result<String> {
        let file = self.written(name, text)?;
        for who in [LEGAL, COMPLIANCE] {
            self.sign(&file, who)?;
        }
        Ok(file)
    }

    /// Writes a document; returns its path.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn written(&self, name: &str, text: &str) -> Result<String> {
        let file = self.bed.file(&format!("{name}.toml"));
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file.to_string_lossy().into_owned())
    }

    /// Has one person sign a document.
    ///
    /// # Errors
    /// Where it can't be signed.
    pub fn sign(&self, file: &str, who: &str) -> Result<()> {
        let key = self.signers.key(who);
        let shown = sha256_of(Path::new(file))?;
        let args = ["exemption", "sign", file, "--key", &key.to_string_lossy(), "--yes", &shown];
        self.bed.tell(&args).map(drop)
    }

    /// Has both sign a document, and loads it.
    ///
    /// # Errors
    /// Where the daemon refuses it.
    pub fn load(&self, name: &str, text: &str) -> Result<String> {
        let file = self.approved(name, text)?;
        self.bed.tell(&["exemption", "load", &file])
    }

    /// Has a command write the document that lifts an order, both sign it, and lifts the order by it.
    ///
    /// # Errors
    /// Where any of it is refused.
    pub fn lift(&self, name: &str, command: &[&str]) -> Result<String> {
        let file = self.lift_document(name, command)?;
        for who in [LEGAL, COMPLIANCE] {
            self.sign(&file, who)?;
        }
        self.bed.tell(&["exemption", "lift", &file])
    }

    /// Has a command write the document that lifts an order; returns its path.
    ///
    /// # Errors
    /// Where it is refused.
    pub fn lift_document(&self, name: &str, command: &[&str]) -> Result<String> {
        let file = self.bed.file(&format!("{name}.toml")).to_string_lossy().into_owned();
        let write = ["--write", &file, "--submitter", SUBMITTER];
        self.bed.tell(&[command, &write].concat())?;
        Ok(file)
    }

    /// Loads a document as it is.
    ///
    /// # Errors
    /// Where the command does not end in time; that it is refused is an answer.
    pub fn try_load(&self, file: &str) -> Result<Answer> {
        self.bed.ask(&["exemption", "load", file])
    }

    /// Starts to fetch something from an address of the service's host, with a client's address.
    ///
    /// # Errors
    /// Where curl can't be started.
    pub fn ask_from(&self, client: IpAddr, netns: &Netns, server: IpAddr, item: Item) -> Result<Request> {
        let port = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let output = self.bed.file(&format!("received-{port}"));
        let server = match server {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let mut command: Command = netns.command("curl")?;
        command
            .args(["--disable", "--silent", "--show-error", "--fail", "--no-buffer", "--noproxy", "*"])
            .args(["--connect-timeout", CONNECTS_FOR, "--max-time", "60"])
            .args(["--interface", &client.to_string(), "--local-port", &port.to_string()])
            .arg("--output")
            .arg(&output)
            .arg(format!("http://{server}:{}/{}", item.port(), item.file()));
        Ok(Request { client, port, curl: Process::spawn("curl", command)?, output })
    }

    /// Starts to fetch something from the Dublin host, from a host's own address.
    ///
    /// # Errors
    /// Where curl can't be started.
    pub fn ask(&self, host: &str, family: Family, item: Item) -> Result<Request> {
        let (client, server) = (bed::address(host, family)?, bed::address(STORE, family)?);
        self.ask_from(client, self.bed.host(host)?, server, item)
    }

    /// What comes of fetching something with every one of these clients, all at once.
    ///
    /// # Errors
    /// Where a client fails in another way than that nothing comes.
    pub fn fetch(&self, host: &str, item: Item) -> Result<[Fetched; 2]> {
        let [v4, v6] = Family::ALL.map(|family| self.ask(host, family, item));
        let (v4, v6) = (v4?, v6?);
        Ok([self.fetched(v4, item)?, self.fetched(v6, item)?])
    }

    /// Waits for a request's end, and says what came.
    ///
    /// # Errors
    /// Where it failed in another way than that nothing comes.
    pub fn fetched(&self, request: Request, item: Item) -> Result<Fetched> {
        let Outcome { code, content } = request.outcome()?;
        match (code, content.len()) {
            (Some(0), _) if content == self.service.content(item)? => Ok(Fetched::Whole),
            (Some(28), 0) => Ok(Fetched::Nothing),
            (_, bytes) => {
                bail!("the request of {} ended with {code:?} and {bytes} bytes", request.client)
            }
        }
    }

    /// The event about a request's flow, as soon as it is there.
    ///
    /// # Errors
    /// Where there is none.
    pub fn event(&self, request: (IpAddr, u16)) -> Result<Value> {
        let (ip, port) = (request.0.to_string(), request.1);
        let event = retry_until(Duration::from_secs(25), &format!("an event about {ip}, {port}"), || {
            let is_it = |event: &Value| {
                event["destination"]["ip"] == ip.as_str() && event["destination"]["port"] == port
            };
            self.bed.events().ok()?.into_iter().find(is_it)
        })?;
        Ok(event)
    }

    /// The records of the audit trail of one kind.
    ///
    /// # Errors
    /// Where there is no trail.
    pub fn audit(&self, kind: &str) -> Result<Vec<Value>> {
        let text = self.bed.tell(&["audit", "show", "--json"])?;
        let records: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        Ok(records?.into_iter().filter(|record| record["kind"] == kind).collect())
    }

    /// Packets and bytes that the kernel counted at egress for this reason, asked without a daemon.
    ///
    /// # Errors
    /// Where nothing is pinned.
    pub fn counted(&self, reason: &str) -> Result<(u64, u64)> {
        let totals = View::open(&self.bed.pin_path())?.totals()?;
        let rows = totals
            .iter()
            .filter(|row| row.reason.name() == reason && row.hook == guard_common::abi::Hook::Egress);
        Ok(rows.fold((0, 0), |sum, row| (sum.0 + row.count.packets, sum.1 + row.count.bytes)))
    }

    /// Whether the service has a connection with this client.
    ///
    /// # Errors
    /// Where the host's kernel can't be asked.
    pub fn is_connected(&self, client: (IpAddr, u16)) -> Result<bool> {
        self.bed
            .host(STORE)?
            .run(|| {
                ["tcp", "tcp6"].iter().any(|table| {
                    let rows =
                        fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
                    rows.lines().skip(1).any(|row| remote_of(row) == Some(client))
                })
            })
            .map_err(Into::into)
    }
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// All of it, unaltered.
    Whole,
    /// Nothing, for as long as the client was patient.
    Nothing,
}

impl Request {
    /// Bytes of content that have arrived so far.
    pub fn received(&self) -> u64 {
        fs::metadata(&self.output).map_or(0, |file| file.len())
    }

    /// Its client, as the service sees it.
    pub fn client_end(&self) -> (IpAddr, u16) {
        (self.client, self.port)
    }

    /// Waits until more than so many bytes have arrived.
    ///
    /// # Errors
    /// Where they do not come.
    pub fn wait_past(&self, bytes: u64) -> Result<()> {
        let what = format!("more than {bytes} bytes at {}", self.client);
        Ok(self.curl.wait_for(Duration::from_secs(50), &what, || (self.received() > bytes).then_some(()))?)
    }

    /// Whether the client still waits for more.
    pub fn goes_on(&self) -> bool {
        self.curl.ended().is_none()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Where it does not end in time.
    pub fn outcome(&self) -> Result<Outcome> {
        let code = self.curl.wait(PATIENCE)?.code();
        let content = match fs::read(&self.output) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        Ok(Outcome { code, content })
    }
}

/// The remote end in a row of proc_net_tcp whose connection is established (state 01): each word of an
/// address is in the host's byte order, the port is not.
fn remote_of(row: &str) -> Option<(IpAddr, u16)> {
    let mut fields = row.split_whitespace().skip(2);
    let (address, port) = fields.next()?.split_once(':')?;
    if fields.next()? != "01" {
        return None;
    }
    let mut octets = Vec::new();
    for at in (0..address.len()).step_by(8) {
        octets.extend(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let ip = match <[u8; 4]>::try_from(octets.as_slice()) {
        Ok(v4) => IpAddr::from(v4),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).to_canonical(),
    };
    Some((ip, u16::from_str_radix(port, 16).ok()?))
}

/// Runs `ip` in a network for each of these lines.
///
/// # Errors
/// Where one fails.
pub fn ip(netns: &Netns, lines: &[&str]) -> Result<()> {
    for line in lines {
        netns.ip(&line.split(' ').collect::<Vec<_>>())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_remote_end_of_a_real_connection_is_read() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let here = client.local_addr().unwrap();
            let rows =
                ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/self/net/{table}")).unwrap());
            let seen = rows.iter().flat_map(|rows| rows.lines()).filter_map(remote_of);
            assert!(seen.into_iter().any(|end| end == (here.ip(), here.port())), "{here} in {rows:?}");
        }
    }
}
