//! Devices between the storage host and its router, each with a small network of its own out of the storage's.

use std::cell::Cell;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Stdio;

use guard_tests::bed::{Bed, STORE};
use guard_tests::netns::Netns;
use guard_tests::sockopt;

/// Runs `ip` with these words.
pub(crate) fn run(netns: &Netns, words: &str) {
    let words: Vec<&str> = words.split_whitespace().collect();
    netns.ip(&words).unwrap();
}

/// Runs another program in a namespace, and returns what it printed.
pub(crate) fn output(netns: &Netns, program: &str, words: &str, stdin: &str) -> String {
    let file = std::env::temp_dir().join(format!("stdin-{}", std::process::id()));
    std::fs::write(&file, stdin).unwrap();
    let mut command = netns.command(program).unwrap();
    command.args(words.split_whitespace()).stderr(Stdio::inherit());
    let output = command.stdin(std::fs::File::open(&file).unwrap()).output().unwrap();
    assert!(output.status.success(), "{program} {words}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Has a socket send by one device.
pub(crate) fn bind_to(socket: &UdpSocket, device: &str) {
    sockopt::set(socket, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, device.as_bytes()).unwrap();
}

/// The storage host and its router, and the networks that they have given to devices.
pub(crate) struct Place<'a> {
    store: &'a Netns,
    router: &'a Netns,
    /// Networks that are given.
    given: Cell<u8>,
    /// Routes that were made: each has a metric of its own.
    routes: Cell<u32>,
}

impl<'a> Place<'a> {
    pub(crate) fn of(bed: &'a Bed) -> Self {
        let (store, router) = (bed.host(STORE).unwrap(), bed.router());
        store.forward().unwrap();
        Self { store, router, given: Cell::new(0), routes: Cell::new(0) }
    }

    /// Joins the storage host and the router once more.
    pub(crate) fn cable(&self, name: &str) {
        self.store.link(name, self.router, &format!("r-{name}")).unwrap();
    }

    /// Gives a device of one namespace and one of another the two addresses of the next network.
    pub(crate) fn addresses(&self, near: (&Netns, &str), far: (&Netns, &str)) -> [Ipv4Addr; 2] {
        let first = 128 + 4 * self.given.get();
        self.given.set(self.given.get() + 1);
        let pair = [first + 1, first + 2].map(|last| Ipv4Addr::new(192, 0, 2, last));
        for ((netns, device), address) in [near, far].into_iter().zip(pair) {
            run(netns, &format!("address add {address}/30 dev {device}"));
            run(netns, &format!("link set {device} up"));
        }
        pair
    }

    /// Has a device of the storage host lead to everywhere by way of one of the router. Returns its address.
    pub(crate) fn lead(&self, device: &str, far: &str) -> Ipv4Addr {
        let [own, gateway] = self.addresses((self.store, device), (self.router, far));
        self.route(device, &format!("via {gateway}"));
        own
    }

    /// A default route by a device of the storage host, which sockets that are bound to it take.
    pub(crate) fn route(&self, device: &str, via: &str) {
        let metric = 100 + self.routes.get();
        self.routes.set(self.routes.get() + 1);
        run(self.store, &format!("route add default {via} dev {device} metric {metric}"));
    }

    /// A namespace that the storage host forwards for, by a device of the host's and its own, which `join` makes. Returns
    /// its address too.
    pub(crate) fn container(&self, devices: [&str; 2], join: impl Fn(&Netns)) -> (Netns, Ipv4Addr) {
        let container = Netns::new("container").unwrap();
        join(&container);
        let [gateway, own] = self.addresses((self.store, devices[0]), (&container, devices[1]));
        run(&container, &format!("route add default via {gateway}"));
        (container, own)
    }
}
