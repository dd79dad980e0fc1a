//! What the kernel suites share: a policy, geo tables and frames on documentation addresses, and a network
//! of one thread. Only the kernel is used, no program, so that the suites run in the smallest guest.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each suite uses a part of it, and a test that cannot go on should stop at the line that says so"
)]

pub(crate) mod followed;
pub(crate) mod volume;
pub(crate) mod ways;

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use guard_common::abi::{Hook, Place, PlacedBy, PolicyTable};
use guard_common::host::HostOrigin;
use guard_common::interval::build::GeoImage;
use guard_common::packet::Link;
use guard_common::verdict::{Reason, Verdict};
use guard_tests::bpffs::BpfFs;
use guard_tests::packet::{Ipv4, Packet};
use guard_user::compile::{HostFacts, policy_table};
use guard_user::config::{self, Surroundings};
use guard_user::kernel::{Calls, CpuUse, FrameSource, Interface, Kernel as _, KernelError, LinuxKernel};
use rtnetlink::packet_core::DefaultNla;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute};

/// The storage host, in the pin.
pub(crate) const STORAGE: [u8; 4] = [192, 0, 2, 10];
/// A host of no pin.
pub(crate) const OTHER: [u8; 4] = [198, 51, 100, 10];
/// A client, placed by [`geo`].
pub(crate) const CLIENT: [u8; 4] = [203, 0, 113, 30];

/// A place for pins of a test's own.
pub(crate) struct PinPlace {
    bpffs: BpfFs,
}

impl PinPlace {
    pub(crate) fn new(label: &str) -> Self {
        Self { bpffs: BpfFs::new(label).unwrap() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.bpffs.path().join("borderguard")
    }

    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.path().join("maps").join(name)
    }

    pub(crate) fn open(&self) -> LinuxKernel {
        open(&self.path()).unwrap()
    }
}

/// Opens the pins as the suite's name wants it: `kernel_preempt` runs other suites again, with programs for kernels
/// where they share a CPU.
pub(crate) fn open(pin_path: &Path) -> Result<LinuxKernel, KernelError> {
    LinuxKernel::open_for(pin_path, cpu_use())
}

/// The same for frames of test runs alone, of which nobody tells the kernel a protocol.
pub(crate) fn open_to_judge(pin_path: &Path) -> Result<LinuxKernel, KernelError> {
    LinuxKernel::open_with(pin_path, cpu_use(), FrameSource::TestRuns, Calls::Noted)
}

fn cpu_use() -> CpuUse {
    match env!("CARGO_CRATE_NAME") {
        "kernel_preempt" => CpuUse::Shared,
        _ => CpuUse::of_this_kernel(),
    }
}

/// A kernel that guards `bgk0`, the client's country being forbidden unless it is among the permitted ones.
pub(crate) fn guarded(pins: &PinPlace, permit: &str, ingress: bool) -> LinuxKernel {
    let mut kernel = pins.open();
    kernel.publish(&policy(kernel.generation() + 1, permit), Some(&geo("US"))).unwrap();
    kernel.attach(&Interface::by_name("bgk0").unwrap(), ingress).unwrap();
    kernel
}

/// A pin of the storage host's network that permits these jurisdictions and drops else.
pub(crate) fn policy(generation: u64, permit: &str) -> Box<PolicyTable> {
    let text = format!(
        "approval = \"none\"\n[host]\ninterfaces = [\"bgk0\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [{permit}]\n\
         action = \"drop\"\n[pin.select]\nsources = [\"192.0.2.0/24\"]\n"
    );
    let checked = config::parse(Path::new("test.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap();
    policy_table(&checked.policy, &[], &HostFacts::default(), generation).unwrap()
}

/// Geo tables in which the client's network is in this country and the storage host's in Ireland.
pub(crate) fn geo(country: &str) -> GeoImage {
    let place = |code: &str| Place::new(code.parse().unwrap(), PlacedBy::Database);
    let at = |address: [u8; 4]| u32::from(Ipv4Addr::from(address));
    let runs = [
        (0, Place::UNKNOWN),
        (at([192, 0, 2, 0]), place("IE")),
        (at([192, 0, 3, 0]), Place::UNKNOWN),
        (at([203, 0, 113, 0]), place(country)),
        (at([203, 0, 114, 0]), Place::UNKNOWN),
    ];
    GeoImage::build(runs.into_iter(), [(0, Place::UNKNOWN)].into_iter()).unwrap()
}

/// A TCP packet to the client.
pub(crate) fn frame(from: [u8; 4]) -> Vec<u8> {
    Packet::ethernet().with(Ipv4::to(CLIENT).from(from)).tcp(8143, 50_000).payload("a mail").build()
}

/// Verdict and reason of egress to the client.
pub(crate) fn judged(kernel: &LinuxKernel, from: [u8; 4]) -> (Verdict, Reason) {
    let judged =
        kernel.judge_frame(Hook::Egress, Link::Ethernet, &frame(from), &HostOrigin::default()).unwrap();
    // TC_ACT_SHOT and TC_ACT_UNSPEC.
    let code = if judged.verdict == Verdict::Drop { 2 } else { u32::MAX };
    assert_eq!(judged.code, code, "what the program returned agrees with what it counted");
    assert_eq!(judged.bytes, frame(from).len() as u64);
    (judged.verdict, judged.reason)
}

/// Runs `test` in a network namespace that goes with its thread, and in it the two ends of a pair of virtual
/// Ethernet interfaces, `bgk0` and `bgk1`. Nothing leads out of it.
pub(crate) fn in_own_network<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    Network::new().run(|| {
        add_veth("bgk0", "bgk1");
        test()
    })
}

/// A network namespace that nothing leads out of. It goes when nothing is in it any more.
pub(crate) struct Network(File);

impl Network {
    pub(crate) fn new() -> Self {
        let made = std::thread::spawn(|| {
            // SAFETY: only this thread's network changes, and no descriptor is shared by the call.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        Self(made.join().unwrap())
    }

    /// The one of the calling thread.
    pub(crate) fn here() -> Self {
        Self(File::open("/proc/thread-self/ns/net").unwrap())
    }

    /// Runs in it, on a thread of its own.
    pub(crate) fn run<T: Send>(&self, test: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let kind = Some(rustix::thread::LinkNameSpaceType::Network);
                rustix::thread::move_into_link_name_space(self.0.as_fd(), kind).unwrap();
                test()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Makes so many pairs of virtual Ethernet interfaces whose one end is in the calling thread's namespace and is
    /// called `bgm` and a number, and whose other end is in this one. Those here are up.
    pub(crate) fn join(&self, pairs: u32) {
        netlink(async |handle| {
            for number in 0..pairs {
                let peer = rtnetlink::LinkUnspec::new_with_name(&format!("bgn{number}"));
                let peer = InfoVeth::Peer(peer.setns_by_fd(self.0.as_raw_fd()).build());
                let veth = rtnetlink::LinkVeth::new(&format!("bgm{number}"), "");
                let veth = veth.set_info_data(InfoData::Veth(peer)).up().build();
                handle.link().add(veth).execute().await.unwrap();
            }
        });
    }

    /// Has an interface of this name and index come and go so many times in the calling thread's namespace, its other
    /// end being in this one.
    pub(crate) fn come_and_go(&self, name: &str, index: u32, times: usize) {
        netlink(async |handle| {
            for _ in 0..times {
                let peer = rtnetlink::LinkUnspec::new_with_name("bgp0").setns_by_fd(self.0.as_raw_fd());
                let veth = rtnetlink::LinkVeth::new(name, "").index(index);
                let veth = veth.set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build()))).build();
                handle.link().add(veth).execute().await.unwrap();
                handle.link().del(index).execute().await.unwrap();
            }
        });
    }

    /// Moves an interface of the calling thread's namespace into it. It keeps its index where that is free.
    pub(crate) fn take(&self, name: &str) {
        let index = Interface::by_name(name).unwrap().index;
        netlink(async |handle| {
            let moved = rtnetlink::LinkUnspec::new_with_index(index).setns_by_fd(self.0.as_raw_fd()).build();
            handle.link().set(moved).execute().await.unwrap();
        });
    }
}

/// Makes a pair of virtual Ethernet interfaces, both up.
pub(crate) fn add_veth(name: &str, peer: &str) {
    netlink(async |handle| {
        handle.link().add(rtnetlink::LinkVeth::new(name, peer).build()).execute().await.unwrap();
    });
    set_up(name);
    set_up(peer);
}

/// As [`add_veth`], with the index that the first one is to have.
pub(crate) fn add_veth_with_index(name: &str, index: u32, peer: &str) {
    netlink(async |handle| {
        let veth = rtnetlink::LinkVeth::new(name, peer).index(index).build();
        handle.link().add(veth).execute().await.unwrap();
    });
    set_up(name);
    set_up(peer);
}

pub(crate) fn set_up(name: &str) {
    let index = Interface::by_name(name).unwrap().index;
    netlink(async |handle| {
        let up = rtnetlink::LinkUnspec::new_with_index(index).up().build();
        handle.link().set(up).execute().await.unwrap();
    });
}

pub(crate) fn rename(name: &str, new: &str) {
    let index = Interface::by_name(name).unwrap().index;
    netlink(async |handle| {
        let down = rtnetlink::LinkUnspec::new_with_index(index).down().build();
        handle.link().set(down).execute().await.unwrap();
        let renamed = rtnetlink::LinkUnspec::new_with_index(index).name(new).build();
        handle.link().set(renamed).execute().await.unwrap();
    });
    set_up(new);
}

/// Gives an interface a name of any bytes, while it is up, as any user of `ip` can on newer kernels; older ones want
/// it down.
pub(crate) fn rename_to_bytes(name: &str, new: &[u8]) {
    let index = Interface::by_name(name).unwrap().index;
    let new = [new, b"\0"].concat();
    netlink(async |handle| {
        let down = rtnetlink::LinkUnspec::new_with_index(index).down().build();
        handle.link().set(down).execute().await.unwrap();
        // IFLA_IFNAME
        let attribute = LinkAttribute::Other(DefaultNla::new(3, new));
        let renamed = rtnetlink::LinkUnspec::new_with_index(index).append_extra_attribute(attribute).up();
        handle.link().set(renamed.build()).execute().await.unwrap();
    });
}

/// Gives an interface an address and the route to its network.
pub(crate) fn add_address(name: &str, address: Ipv4Addr, prefix: u8) {
    let index = Interface::by_name(name).unwrap().index;
    netlink(async |handle| handle.address().add(index, address.into(), prefix).execute().await.unwrap());
}

/// Has the interface know where this host is, so that it need not be asked for.
pub(crate) fn add_neighbour(name: &str, address: Ipv4Addr) {
    let index = Interface::by_name(name).unwrap().index;
    netlink(async |handle| {
        let neighbour =
            handle.neighbours().add(index, address.into()).link_layer_address(&[2, 0, 0, 0, 0, 9]);
        neighbour.execute().await.unwrap();
    });
}

pub(crate) fn delete(name: &str) {
    let index = Interface::by_name(name).unwrap().index;
    netlink(async |handle| handle.link().del(index).execute().await.unwrap());
}

/// Makes requests from this thread, and so from its network namespace.
pub(crate) fn netlink(requests: impl AsyncFnOnce(rtnetlink::Handle)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        tokio::spawn(connection);
        requests(handle).await;
    });
}

/// A socket that sends and receives whole frames on one interface.
pub(crate) struct FrameSocket(OwnedFd);

impl FrameSocket {
    pub(crate) fn on(interface: &str) -> Self {
        let index = Interface::by_name(interface).unwrap().index;
        let all = u16::from_be_bytes([0, 3]).to_be();
        // SAFETY: socket(2) takes no addresses; what it returns is checked and owned here alone.
        let socket = unsafe {
            let protocol = i32::from(3_u16.to_be());
            let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol);
            assert!(fd >= 0, "{}", io::Error::last_os_error());
            OwnedFd::from_raw_fd(fd)
        };
        // SAFETY: a sockaddr_ll of zeroes is a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
        address.sll_protocol = all;
        address.sll_ifindex = i32::try_from(index).unwrap();
        // SAFETY: the address lives until the call returns, and its size is given.
        let bound = unsafe {
            let size = u32::try_from(size_of_val(&address)).unwrap();
            libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size)
        };
        assert_eq!(bound, 0, "{}", io::Error::last_os_error());
        Self(socket)
    }

    /// Sends a frame. An egress program that drops it shows as ENOBUFS or as success, as the kernel is.
    pub(crate) fn send(&self, frame: &[u8]) {
        // SAFETY: the kernel reads the frame's bytes, whose number is given.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 {
            let error = io::Error::last_os_error();
            assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS), "{error}");
        }
    }
}

impl FrameSocket {
    /// The frames that have come in since it was made and were not read.
    pub(crate) fn received(&self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut buffer = [0_u8; 2048];
        loop {
            // SAFETY: the kernel writes at most the buffer's length to it.
            let len = unsafe {
                libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT)
            };
            match usize::try_from(len) {
                Ok(len) => frames.push(buffer[..len].to_vec()),
                Err(_) => return frames,
            }
        }
    }
}

/// A tun interface, whose frames are bare IP packets; it goes with the file.
pub(crate) fn add_tun(name: &str) -> File {
    let file = File::options().read(true).write(true).open("/dev/net/tun").unwrap();
    // SAFETY: an ifreq of zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI).unwrap();
    // SAFETY: TUNSETIFF reads and writes an ifreq, which lives until the call returns.
    let made = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    assert_eq!(made, 0, "{}", io::Error::last_os_error());
    set_up(name);
    file
}
