//! A storage host in Dublin, a client in Belgium and one in the US, and the real daemon on the storage host.
mod answer;
mod connection;

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aya::maps::{Array, Map, MapData};
use guard_common::abi::ABI_VERSION;
use guard_user::audit::Stored;
use guard_user::control::status::Status;
use guard_user::exemption::Summary;
use guard_user::exit::Exit;
use serde_json::Value;

pub use self::answer::Answer;
pub use self::connection::Connection;
use crate::bpffs::BpfFs;
use crate::cgroup::Cgroup;
pub use crate::document::{INSTRUMENT, exemption, exemption_within};
use crate::geo_file;
use crate::netns::{HOST_INTERFACE, Host, Lan, Netns};
use crate::proc::{Process, retry_until, run_to_end};
use crate::program;
use crate::scratch::Scratch;

/// How long any one command, and the start of the daemon, may take: so much that only what hangs is late. On a
/// busy machine a daemon in an emulated guest was seen to take more than 90 s for its start.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// `Nice=` of `packaging/borderguard.service`: the priority of the daemon, here as where it is installed.
pub const UNIT_NICE: i32 = -10;

/// How long a TCP connection may take to be made, or to show its end.
const TCP_PATIENCE: Duration = Duration::from_secs(30);

/// The storage host in Dublin.
pub const STORE: &str = "store";
/// The client in Belgium.
pub const BELGIUM: &str = "belgium";
/// The client in the US.
pub const US: &str = "us";

/// Addresses of the hosts, IPv4 then IPv6.
const HOSTS: [(&str, [&str; 2]); 3] = [
    (STORE, ["192.0.2.10/24", "2001:db8:1::10/64"]),
    (BELGIUM, ["198.51.100.10/24", "2001:db8:2::10/64"]),
    (US, ["203.0.113.10/24", "2001:db8:3::10/64"]),
];

/// The source port that [`PIN`] is known by.
pub const MAIL_PORT: u16 = 143;
/// A source port of no pin.
pub const OTHER_PORT: u16 = 389;
/// Where datagrams go, to nobody: the receiving kernel counts each.
pub const CLIENT_PORT: u16 = 40_000;

/// A pin called `mail`, at home in Ireland, that permits the EU and drops else.
pub const PIN: &str = "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"drop\"\n\
    [pin.select]\nsources = [\"192.0.2.10/32\", \"2001:db8:1::10/128\"]\nports = [\"udp/143\", \"tcp/143\"]\n";

/// The same, known by the remote port of its replication too: a pin that `check` has nothing to warn of.
pub const PIN_BOTH_WAYS: &str = "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"drop\"\n\
    [[pin.select]]\nsources = [\"192.0.2.10/32\", \"2001:db8:1::10/128\"]\nports = [\"udp/143\", \"tcp/143\"]\n\
    [[pin.select]]\nsources = [\"192.0.2.10/32\", \"2001:db8:1::10/128\"]\nremote_ports = [\"tcp/12345\"]\n";

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];
}

/// The network, and a place for the daemon's files and pins.
#[derive(Debug)]
pub struct Bed {
    lan: Lan,
    files: Scratch,
    pins: BpfFs,
    cgroup: Cgroup,
    program: PathBuf,
    guarded: &'static str,
}

/// The address of a host.
///
/// # Errors
/// Where there is no host of that label.
pub fn address(host: &str, family: Family) -> Result<IpAddr> {
    let found = HOSTS.iter().find(|(label, _)| *label == host).with_context(|| format!("no host {host}"))?;
    let [v4, v6] = found.1;
    let text = if family == Family::V4 { v4 } else { v6 };
    let (address, _) = text.split_once('/').context("an address without a prefix")?;
    Ok(address.parse()?)
}

impl Bed {
    /// Makes the network.
    ///
    /// # Errors
    /// Without root, or where the program was not built.
    pub fn new(label: &str) -> Result<Self> {
        let program = program::borderguard()?;
        let mut hosts = Vec::new();
        for (host, addresses) in HOSTS {
            let mut made = Host::new(host);
            for address in addresses {
                made = made.address(address.parse()?);
            }
            hosts.push(made);
        }
        let (files, pins, cgroup) = (Scratch::new(label)?, BpfFs::new(label)?, Cgroup::new(label)?);
        Ok(Self { lan: Lan::new(&hosts)?, files, pins, cgroup, program, guarded: STORE })
    }

    /// Has the daemon and the command line run on another host than the storage host in Dublin.
    #[must_use]
    pub fn guarding(self, host: &'static str) -> Self {
        Self { guarded: host, ..self }
    }

    /// The network of a host.
    ///
    /// # Errors
    /// Where there is no host of that label.
    pub fn host(&self, label: &str) -> Result<&Netns> {
        Ok(self.lan.host(label)?)
    }

    /// The router's network, whose interface to the storage host is `port0`.
    pub fn router(&self) -> &Netns {
        self.lan.router()
    }

    /// The cgroup to which the daemon refuses ways past the guard: none of this machine's processes is in it.
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// A file of this bed.
    pub fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// The config file.
    pub fn config(&self) -> PathBuf {
        self.file("policy.toml")
    }

    /// The daemon's control socket.
    pub fn socket(&self) -> PathBuf {
        self.file("control.sock")
    }

    /// Where the daemon pins.
    pub fn pin_path(&self) -> PathBuf {
        self.pins.path().join("borderguard")
    }

    /// Writes a config that guards the storage host's interface, with the clients' sites and `rest`.
    /// # Errors
    /// Where the file can't be written.
    pub fn configure(&self, rest: &str) -> Result<()> {
        self.configure_for(&[HOST_INTERFACE], rest)
    }

    /// Likewise, for other interfaces.
    ///
    /// # Errors
    /// Where the file can't be written.
    pub fn configure_for(&self, interfaces: &[&str], rest: &str) -> Result<()> {
        let state = self.file("state");
        fs::create_dir_all(&state)?;
        // No test but those of approvals is about who opens.
        let approval = if rest.contains("[approval]") { "" } else { "approval = \"none\"\n" };
        let mut text = format!(
            "{approval}[host]\ninterfaces = {interfaces:?}\n[control]\nsocket = {:?}\n[state]\ndirectory = {state:?}\n\
             pin_path = {:?}\n",
            self.socket(),
            self.pin_path(),
        );
        for (name, jurisdiction, cidrs) in [
            ("dublin", "IE", ["192.0.2.0/24", "2001:db8:1::/64"]),
            ("brussels", "BE", ["198.51.100.0/24", "2001:db8:2::/64"]),
            ("boston", "US", ["203.0.113.0/24", "2001:db8:3::/64"]),
        ] {
            text +=
                &format!("[[site]]\nname = {name:?}\njurisdiction = {jurisdiction:?}\ncidrs = {cidrs:?}\n");
        }
        text += &crate::document::law_without_end(&state)?;
        if !rest.contains("[bypass]") {
            text += &self.cgroup.refused();
        }
        if !rest.contains("[sockets]") {
            text += &self.cgroup.noted();
        }
        if !rest.contains("[geo]") {
            text += &geo_file::small(&self.file("small.mmdb"))?;
        }
        fs::write(self.config(), text + rest)
            .with_context(|| format!("cannot write {}", self.config().display()))
    }

    /// Starts the daemon and waits until it answers for itself, and has said what it guards.
    ///
    /// # Errors
    /// Where it ends or does not answer in time.
    pub fn start(&self, options: &[&str]) -> Result<Process> {
        let daemon = self.spawn(options)?;
        // On a busy host it answers before that: after 5 seconds, to say what is wrong.
        daemon.wait_for(PATIENCE, "the daemon to be ready", || {
            Some(()).filter(|()| daemon.stderr().contains("ready: generation"))
        })?;
        daemon.wait_for(PATIENCE, "the daemon to answer", || {
            self.status().ok().filter(|status| status.pid == daemon.pid()).map(drop)
        })?;
        Ok(daemon)
    }

    /// Starts the daemon and waits for nothing.
    ///
    /// # Errors
    /// Where the program can't be started.
    pub fn spawn(&self, options: &[&str]) -> Result<Process> {
        let mut command = self.host(self.guarded)?.command(&self.program.to_string_lossy())?;
        // Programs that a test has put here stand in for those of the host.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.file("bin")).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(folders)?);
        command.arg("run").arg("--config").arg(self.config()).args(options);
        // SAFETY: between fork and exec the closure makes one setpriority(2) call: it takes no lock and allocates
        // nothing.
        unsafe {
            command.pre_exec(|| rustix::process::setpriority_process(None, UNIT_NICE).map_err(Into::into));
        }
        Ok(Process::spawn("borderguard", command)?)
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs the command line on the guarded host.
    ///
    /// # Errors
    /// Where it does not end in time.
    pub fn ask(&self, words: &[&str]) -> Result<Answer> {
        let mut command = self.host(self.guarded)?.command(&self.program.to_string_lossy())?;
        command.args(words).arg("--config").arg(self.config());
        let (status, out, complaint) = run_to_end("borderguard", command, PATIENCE)?;
        Ok(Answer { status, out, complaint })
    }

    /// Likewise, where it must succeed; returns what it printed.
    ///
    /// # Errors
    /// Where it fails.
    pub fn tell(&self, words: &[&str]) -> Result<String> {
        let answer = self.ask(words)?;
        ensure!(answer.status.success(), "`borderguard {}`: {answer:?}", words.join(" "));
        Ok(answer.out)
    }

    /// What the daemon knows.
    ///
    /// # Errors
    /// Where no daemon answers.
    pub fn status(&self) -> Result<Status> {
        let answer = self.ask(&["status", "--json"])?;
        ensure!(answer.is_done(), "`borderguard status --json`: {answer:?}");
        let status: Status = serde_json::from_str(&answer.out)?;
        let code = i32::from(Exit::from(status.health).code());
        ensure!(
            answer.status.code() == Some(code),
            "{:?} is not the code of {}",
            answer.status,
            status.health
        );
        Ok(status)
    }

    /// The events so far.
    ///
    /// # Errors
    /// Where no daemon answers.
    pub fn events(&self) -> Result<Vec<Value>> {
        let text = self.tell(&["events", "--json"])?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// The first event that `is_it`, waited for; `what` it is, for the message where it does not come.
    ///
    /// # Errors
    /// Where it has not come after `deadline`, or no daemon answers.
    pub fn event(&self, deadline: Duration, what: &str, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
        let find = || match self.events() {
            Ok(events) => events.into_iter().find(|event| is_it(event)).map(Ok),
            Err(error) => Some(Err(error)),
        };
        retry_until(deadline, what, find)?
    }

    /// Loads an exemption of [`PIN`] for a recipient's addresses; it is open for so many
    /// seconds, up to the quota in bytes if there is one.
    ///
    /// # Errors
    /// Where the daemon refuses it.
    pub fn exempt(&self, id: &str, cidrs: &[&str], seconds: i64, quota: Option<u64>) -> Result<()> {
        let file = self.file(&format!("{id}.toml"));
        fs::write(&file, exemption(id, "mail", cidrs, seconds, quota))?;
        self.tell(&["exemption", "load", &file.to_string_lossy()]).map(drop)
    }

    /// Writes a file of this bed, and returns its path as the command line takes it.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<String> {
        let path = self.file(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Loads the exemption that this text is.
    ///
    /// # Errors
    /// Where the daemon refuses it.
    pub fn load(&self, name: &str, document: &str) -> Result<()> {
        let file = self.write(name, document)?;
        self.tell(&["exemption", "load", &file]).map(drop)
    }

    /// Every exemption, as the daemon lists it.
    ///
    /// # Errors
    /// Where no daemon answers.
    pub fn exemptions(&self) -> Result<Vec<Summary>> {
        Ok(serde_json::from_str(&self.tell(&["exemption", "list", "--json"])?)?)
    }

    /// One exemption, as the daemon shows it: the version that is open, else the highest.
    ///
    /// # Errors
    /// Where there is none of this id.
    pub fn exemption(&self, id: &str) -> Result<Summary> {
        let mut shown: Value = serde_json::from_str(&self.tell(&["exemption", "show", id, "--json"])?)?;
        Ok(serde_json::from_value(shown["exemption"].take())?)
    }

    /// The audit trail, oldest record first, of the daemon or of the store that it left.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn trail(&self) -> Result<Vec<Stored>> {
        let export = self.tell(&["audit", "export"])?;
        export.lines().map(|line| Ok(Stored::read(line.as_bytes())?)).collect()
    }

    /// A TCP connection that a client has to this port of the storage host.
    ///
    /// # Errors
    /// Where nobody listens, or a guard lets no answer through.
    pub fn connect(&self, listener: &TcpListener, client: &str) -> Result<Connection> {
        let to = listener.local_addr()?;
        let client = self.host(client)?.run(|| TcpStream::connect_timeout(&to, TCP_PATIENCE))??;
        let (server, _) = listener.accept()?;
        for end in [&server, &client] {
            end.set_read_timeout(Some(TCP_PATIENCE))?;
        }
        Ok(Connection { server, client })
    }

    /// A server of the storage host on the port that [`PIN`] is known by.
    ///
    /// # Errors
    /// Where the port is taken.
    pub fn listen(&self, family: Family) -> Result<TcpListener> {
        let at = SocketAddr::new(address(STORE, family)?, MAIL_PORT);
        Ok(self.host(STORE)?.run(|| TcpListener::bind(at))??)
    }

    /// A socket of the storage host with this source port.
    ///
    /// # Errors
    /// Where the port is taken.
    pub fn sender(&self, port: u16, family: Family) -> Result<UdpSocket> {
        let from = SocketAddr::new(address(STORE, family)?, port);
        self.host(STORE)?
            .run(|| UdpSocket::bind(from))?
            .with_context(|| format!("cannot send from {from} on the storage host"))
    }

    /// Sends datagrams to a client and returns how many of them arrived there.
    ///
    /// # Errors
    /// Where the kernel can't be asked.
    pub fn send(&self, count: u64, port: u16, to: &str, family: Family) -> Result<u64> {
        self.send_at(count, port, to, address(to, family)?)
    }

    /// Likewise, to another address of the client.
    ///
    /// # Errors
    /// Where the kernel can't be asked.
    pub fn send_at(&self, count: u64, port: u16, to: &str, at: IpAddr) -> Result<u64> {
        let family = if at.is_ipv4() { Family::V4 } else { Family::V6 };
        let socket = self.sender(port, family)?;
        let before = self.arrived(to, family)?;
        for _ in 0..count {
            send(&socket, SocketAddr::new(at, CLIENT_PORT));
        }
        std::thread::sleep(Duration::from_millis(100));
        Ok(self.arrived(to, family)? - before)
    }

    /// Whether the storage's packets pass to a client.
    ///
    /// # Errors
    /// Where some pass and some do not.
    pub fn passes(&self, to: &str) -> Result<bool> {
        match self.send(3, MAIL_PORT, to, Family::V4)? {
            3 => Ok(true),
            0 => Ok(false),
            some => bail!("{some} of 3 arrived"),
        }
    }

    /// Datagrams that ever arrived at a host on a port where nobody listens.
    ///
    /// # Errors
    /// Where the host's kernel can't be asked.
    pub fn arrived(&self, host: &str, family: Family) -> Result<u64> {
        arrived(self.host(host)?, family)
    }
}

/// Has the maps that are pinned here look as if a version with another ABI had made them.
///
/// # Errors
/// Where they can't be opened or written.
pub fn make_another_versions(pin_path: &Path) -> Result<()> {
    let map = Map::from_map_data(MapData::from_pin(pin_path.join("maps/CONTROL"))?)?;
    let mut control: Array<_, u64> = map.try_into()?;
    // live, then abi, 4 bytes each.
    let mut bytes = control.get(&0, 0)?.to_ne_bytes();
    bytes[4..].copy_from_slice(&(ABI_VERSION + 1).to_ne_bytes());
    Ok(control.set(0, u64::from_ne_bytes(bytes), 0)?)
}

/// Sends one datagram. That a guard drops it shows as an error here, which is what many tests want.
pub fn send(socket: &UdpSocket, to: SocketAddr) {
    let _dropped = socket.send_to(b"a mail of the mailbox", to);
}

/// Datagrams that ever arrived in a network on a port where nobody listens.
///
/// # Errors
/// Where the kernel can't be asked.
pub fn arrived(netns: &Netns, family: Family) -> Result<u64> {
    netns.run(|| match family {
        Family::V4 => {
            let text = fs::read_to_string("/proc/thread-self/net/snmp")?;
            let mut rows = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
            let (names, values) = (rows.next().context("no names")?, rows.next().context("no values")?);
            let found = names.split(' ').zip(values.split(' ')).find(|(name, _)| *name == "NoPorts");
            Ok(found.context("no NoPorts")?.1.parse()?)
        }
        Family::V6 => {
            let text = fs::read_to_string("/proc/thread-self/net/snmp6")?;
            let value = text.lines().find_map(|line| line.strip_prefix("Udp6NoPorts"));
            Ok(value.context("no Udp6NoPorts")?.trim().parse()?)
        }
    })?
}

/// Packets of a status that were judged so, of any pin.
pub fn packets(status: &Status, hook: &str, verdict: &str, reason: &str) -> u64 {
    let fits = |row: &&guard_user::control::status::TotalStatus| {
        (row.hook.as_str(), row.verdict.as_str(), row.reason.as_str()) == (hook, verdict, reason)
    };
    status.totals.iter().filter(fits).map(|row| row.packets).sum()
}

/// Names in a folder that may be gone.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
