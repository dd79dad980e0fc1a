//! A volume of its own, who is a carrier of it, and a connection by which it may send.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use guard_common::abi::PolicyTable;
use guard_tests::cgroup::Cgroup;
use guard_user::compile::{HostFacts, VolumeFact, policy_table};
use guard_user::config::{self, Surroundings};
use guard_user::kernel::{
    CgroupTarget, Interface, Kernel as _, LinuxKernel, Mounts, ObservedSenders, VolumeTarget,
};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{PinPlace, geo};

pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// Where the pin may not send: placed in the US.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 30);
/// How long it takes to be sure that nothing arrives.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A file system of its own, with a mail in it.
pub(crate) struct Volume(pub(crate) PathBuf);

impl Volume {
    pub(crate) fn new(label: &str) -> Self {
        Self::at(std::env::temp_dir().join(format!("volume-{label}-{}", std::process::id())))
    }

    pub(crate) fn at(path: PathBuf) -> Self {
        fs::create_dir_all(&path).unwrap();
        mount("none", &path, "tmpfs", MountFlags::empty(), None).unwrap();
        Self::mounted(path)
    }

    /// What is mounted there already.
    pub(crate) fn mounted(path: PathBuf) -> Self {
        // Nobody becomes a carrier by writing.
        fs::write(path.join("mail"), "a mail of some bytes").unwrap();
        Self(path)
    }

    pub(crate) fn mail(&self) -> PathBuf {
        self.0.join("mail")
    }

    pub(crate) fn devices(&self) -> BTreeMap<u32, u64> {
        let devices: BTreeMap<u32, u64> =
            Mounts::read().unwrap().devices_at(&self.0).map(|device| (device, 1)).collect();
        assert_eq!(devices.len(), 1, "{}", self.0.display());
        devices
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _may_be_busy = unmount(&self.0, UnmountFlags::DETACH);
        let _may_be_gone = fs::remove_dir(&self.0);
    }
}

/// A pin by this volume.
pub(crate) fn policy(volume: &Volume, spread: &str) -> Box<PolicyTable> {
    let text = format!(
        "approval = \"none\"\n[host]\ninterfaces = [\"lo\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n\
         [pin.select]\nvolumes = [{:?}]\nspread = \"{spread}\"\n",
        volume.0
    );
    let checked = config::parse(Path::new("test.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap();
    let volumes = checked.policy.volumes().into_iter().map(|volume| VolumeFact { volume, slot: 0 }).collect();
    let facts = HostFacts { volumes, ..HostFacts::default() };
    policy_table(&checked.policy, &[], &facts, 1).unwrap()
}

pub(crate) fn target(on: &Cgroup, volume: &Volume, spread: &str) -> CgroupTarget {
    let volumes = VolumeTarget {
        devices: volume.devices(),
        spread: u64::from(spread == "cgroup"),
        copied: 1,
        tagged: 0,
        init_scope: 0,
        slots: vec![0; 64],
    };
    CgroupTarget {
        cgroup: on.path().to_owned(),
        id: on.id().unwrap(),
        senders: false,
        volumes: Some(volumes),
    }
}

/// Both ends on a guarded loopback, in a network of their own.
pub(crate) fn guarded(pins: &PinPlace, on: &Cgroup, volume: &Volume, spread: &str) -> LinuxKernel {
    assert!(
        std::env::var_os("BORDERGUARD_GUEST").is_some(),
        "this would look at all of this machine's processes"
    );
    let mut kernel = pins.open();
    let target = target(on, volume, spread);
    kernel.note_sockets(Some(&target)).unwrap();
    let observed = kernel.observe().unwrap();
    assert_eq!(observed.carriers, ObservedSenders { is_any: true, is_whole: true }, "{observed:?}");
    assert_eq!(observed.volumes.map(|it| it.known), target.volumes);
    kernel.publish(&policy(volume, spread), Some(&geo("US"))).unwrap();
    super::set_up("lo");
    for address in [HOST, CLIENT] {
        super::add_address("lo", address, 32);
    }
    kernel.attach(&Interface::by_name("lo").unwrap(), false).unwrap();
    kernel
}

/// A connection from the host to the client, and the client's end.
pub(crate) fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((CLIENT, 0)).unwrap();
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((HOST, 0))).unwrap();
    rustix::net::connect(&socket, &listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    far.set_read_timeout(Some(SILENCE)).unwrap();
    (TcpStream::from(socket), far)
}

/// Whether bytes arrive.
pub(crate) fn arrives(mut far: &TcpStream) -> bool {
    matches!(far.read(&mut [0; 64]), Ok(1..))
}

/// Does some work in a process of its own, and waits for it.
pub(crate) fn in_a_process(work: impl FnOnce()) {
    let code = wait_for(begin_process(work));
    assert_eq!(code, 0, "the process could not do its work");
}

/// Begins some work in a process of its own.
pub(crate) fn begin_process(work: impl FnOnce()) -> i32 {
    // SAFETY: the child has this one thread, does its work and ends without any destructor of its parent's.
    match unsafe { libc::fork() } {
        -1 => panic!("{}", std::io::Error::last_os_error()),
        0 => {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            // SAFETY: as above.
            unsafe { libc::_exit(i32::from(done.is_err())) }
        }
        child => child,
    }
}

pub(crate) fn wait_for(child: i32) -> i32 {
    let mut status = 0;
    // SAFETY: the child is this process's own, and the number is written to a variable of its size.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 }
}

pub(crate) fn send(mut to: &TcpStream) {
    to.write_all(b"a mail").unwrap();
}

pub(crate) fn read_of(path: &Path) {
    assert!(!fs::read(path).unwrap().is_empty());
}

pub(crate) fn copy(from: &Path, to: &Path) {
    assert!(fs::copy(from, to).unwrap() > 0);
}
