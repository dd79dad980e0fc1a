//! One namespace, and what it leaves: nothing.

use std::fs::{self, File};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use ipnetwork::IpNetwork;
use rustix::mount::UnmountFlags;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::documentation::check_documentation;
use super::ip;
use crate::cleanup::{self, Undo};
use crate::error::SetupError;
use crate::names;

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";

/// A network namespace; its name, and with the last process in it the network, go on drop.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: File,
    _undo: Undo,
}

impl Netns {
    /// Makes an empty namespace whose loopback is up. Its interfaces will not wait for duplicate
    /// address detection and take no address or route from router advertisements.
    ///
    /// # Errors
    /// [`SetupError::ToolMissing`] without iproute2, [`SetupError::NotPermitted`] without root.
    pub fn new(label: &str) -> Result<Self, SetupError> {
        remove_left_overs();
        let name = names::unique(label)?;
        let path = Path::new(NAMES).join(&name);
        let (file, undo) = cleanup::make(|| {
            ip::run(&["netns", "add", &name])?;
            match File::open(&path) {
                Ok(file) => Ok((file, move || remove(&path))),
                Err(error) => {
                    remove(&path);
                    Err(SetupError::io("open", &path, error))
                }
            }
        })?;
        let netns = Netns { name, file, _undo: undo };
        for (key, value) in [
            ("ipv6/conf/all/accept_dad", "0"),
            ("ipv6/conf/default/accept_dad", "0"),
            ("ipv6/conf/all/accept_ra", "0"),
            ("ipv6/conf/default/accept_ra", "0"),
            ("ipv6/conf/default/router_solicitations", "0"),
        ] {
            netns.sysctl(key, value)?;
        }
        netns.ip(&["link", "set", "lo", "up"])?;
        Ok(netns)
    }

    /// The name in `ip netns list`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a namespace of this name is there (the machine's list, not this guard's memory).
    pub fn exists(name: &str) -> bool {
        Path::new(NAMES).join(name).exists()
    }

    /// Runs `ip` with these arguments on this namespace and returns what it printed.
    ///
    /// # Errors
    /// [`SetupError::Command`] with what `ip` said.
    pub fn ip(&self, arguments: &[&str]) -> Result<String, SetupError> {
        ip::run(&[&["-n", &self.name], arguments].concat())
    }

    /// Joins two namespaces by a pair of virtual Ethernet interfaces, both up.
    ///
    /// # Errors
    /// [`SetupError::Command`] if a name is taken or longer than 15 bytes.
    pub fn link(&self, interface: &str, other: &Netns, other_interface: &str) -> Result<(), SetupError> {
        // Both ends are made where they belong, so neither is ever seen on the machine itself.
        #[rustfmt::skip]
        self.ip(&["link", "add", interface, "type", "veth", "peer", "name", other_interface,
                  "netns", &other.name])?;
        self.ip(&["link", "set", interface, "up"])?;
        other.ip(&["link", "set", other_interface, "up"]).map(drop)
    }

    /// Adds an address, usable at once.
    ///
    /// # Errors
    /// [`SetupError::NotDocumentation`] for an address outside the documentation ranges.
    pub fn add_address(&self, interface: &str, address: IpNetwork) -> Result<(), SetupError> {
        check_documentation(address)?;
        let text = address.to_string();
        let mut arguments = vec!["address", "add", &text, "dev", interface];
        if address.is_ipv6() {
            arguments.push("nodad");
        }
        self.ip(&arguments).map(drop)
    }

    /// Adds a default route by way of `gateway`.
    ///
    /// # Errors
    /// [`SetupError::Command`] if no link reaches the gateway.
    pub fn add_default_route(&self, gateway: IpAddr) -> Result<(), SetupError> {
        let family = if gateway.is_ipv6() { "-6" } else { "-4" };
        self.ip(&[family, "route", "add", "default", "via", &gateway.to_string()]).map(drop)
    }

    /// Adds a route to `network` by way of `gateway`.
    ///
    /// # Errors
    /// [`SetupError::Command`] if no link reaches the gateway.
    pub fn add_route(&self, network: IpNetwork, gateway: IpAddr) -> Result<(), SetupError> {
        let family = if gateway.is_ipv6() { "-6" } else { "-4" };
        self.ip(&[family, "route", "add", &network.to_string(), "via", &gateway.to_string()]).map(drop)
    }

    /// Has the namespace forward packets between its interfaces, like a router.
    ///
    /// # Errors
    /// [`SetupError::Io`] if the kernel refuses.
    pub fn forward(&self) -> Result<(), SetupError> {
        self.sysctl("ipv4/ip_forward", "1")?;
        self.sysctl("ipv6/conf/all/forwarding", "1")
    }

    /// Sets `/proc/sys/net/<key>` of this namespace.
    ///
    /// # Errors
    /// [`SetupError::Io`] if there is no such key or the kernel refuses the value.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<(), SetupError> {
        let path = PathBuf::from("/proc/sys/net").join(key);
        self.run(|| fs::write(&path, value))?.map_err(|error| SetupError::io("write", &path, error))
    }

    /// The Ethernet address of an interface.
    ///
    /// # Errors
    /// [`SetupError::Command`] if there is no such interface.
    pub fn mac(&self, interface: &str) -> Result<[u8; 6], SetupError> {
        let shown = self.ip(&["-o", "link", "show", "dev", interface])?;
        let unreadable = || SetupError::Topology { why: format!("no Ethernet address in `{shown}`") };
        let mut words = shown.split_whitespace().skip_while(|word| *word != "link/ether");
        let text = words.nth(1).ok_or_else(unreadable)?;
        let mut mac = [0; 6];
        for (byte, digits) in mac.iter_mut().zip(text.split(':')) {
            *byte = u8::from_str_radix(digits, 16).map_err(|_| unreadable())?;
        }
        Ok(mac)
    }

    /// Runs `action` on a thread of its own inside the namespace and waits for it. The closure sees
    /// this network only (sockets, netlink, `/proc/thread-self/net`); all else is as outside. A panic
    /// in it goes on here.
    ///
    /// # Errors
    /// [`SetupError::Enter`] if the namespace cannot be entered.
    pub fn run<T: Send>(&self, action: impl FnOnce() -> T + Send) -> Result<T, SetupError> {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(|error| self.cannot_enter(error.into()))?;
                Ok(action())
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A command that will run inside the namespace.
    ///
    /// # Errors
    /// [`SetupError::Enter`] if the process is out of file descriptors.
    pub fn command(&self, program: &str) -> Result<Command, SetupError> {
        let mut command = Command::new(program);
        self.contain(&mut command)?;
        Ok(command)
    }

    /// Has the command start inside the namespace.
    ///
    /// # Errors
    /// [`SetupError::Enter`] if the process is out of file descriptors.
    pub fn contain(&self, command: &mut Command) -> Result<(), SetupError> {
        let file = self.file.try_clone().map_err(|error| self.cannot_enter(error))?;
        // SAFETY: between fork and exec the closure makes one setns(2) call: it takes no lock and
        // allocates nothing.
        unsafe {
            command.pre_exec(move || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).map_err(Into::into)
            });
        }
        Ok(())
    }

    fn cannot_enter(&self, source: std::io::Error) -> SetupError {
        SetupError::Enter { name: self.name.clone(), source }
    }
}

/// Takes a namespace's name away, as `ip netns delete` does, but with no program to start: this must
/// work while the process is being ended.
fn remove(path: &Path) {
    let _not_mounted = rustix::mount::unmount(path, UnmountFlags::DETACH);
    let _absent = fs::remove_file(path);
}

/// Removes what runs that were killed have left: the processes in their namespaces, then the names.
fn remove_left_overs() {
    let Ok(entries) = fs::read_dir(NAMES) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| names::is_left_over(name)) else { continue };
        // Only the dead run could have put processes there; without them the network can go.
        for pid in ip::run(&["netns", "pids", name]).unwrap_or_default().split_whitespace() {
            if let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) {
                let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        remove(&entry.path());
    }
}
