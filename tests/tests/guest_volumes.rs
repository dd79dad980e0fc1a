//! Whoever reads a pinned volume carries its data: what it then sends does not arrive, by whatever way it read and by
//! whatever socket. In the guests of `cargo xtask vm` alone, for the programs are on functions of the whole machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use guard_common::abi::PolicyTable;
use guard_tests::bed::{self, Bed, CLIENT_PORT, Family, STORE, US};
use guard_tests::cgroup::{self, Cgroup};
use guard_tests::proc::retry_until;
use guard_user::compile::{HostFacts, VolumeFact, policy_table};
use guard_user::config::{self, Surroundings};
use guard_user::health::ProblemCode;
use guard_user::kernel::{
    CgroupTarget, Interface, Kernel as _, LinuxKernel, Mounts, ObservedSenders, VolumeTarget, senders,
};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use support::{PinPlace, geo, in_own_network};

const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// Where the pin may not send: placed in the US.
const CLIENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 30);
/// How long it takes to be sure that nothing arrives.
const SILENCE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(10);

/// A file system of its own, with a mail in it.
struct Volume(PathBuf);

impl Volume {
    fn new(label: &str) -> Self {
        Self::at(std::env::temp_dir().join(format!("volume-{label}-{}", std::process::id())))
    }

    fn at(path: PathBuf) -> Self {
        fs::create_dir_all(&path).unwrap();
        mount("none", &path, "tmpfs", MountFlags::empty(), None).unwrap();
        // Nobody becomes a carrier by writing.
        fs::write(path.join("mail"), "a mail of some bytes").unwrap();
        Self(path)
    }

    fn mail(&self) -> PathBuf {
        self.0.join("mail")
    }

    fn devices(&self) -> BTreeMap<u32, u64> {
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
fn policy(volume: &Volume, spread: &str) -> Box<PolicyTable> {
    let text = format!(
        "[host]\ninterfaces = [\"lo\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n\
         [pin.select]\nvolumes = [{:?}]\nspread = \"{spread}\"\n",
        volume.0
    );
    let checked = config::parse(Path::new("test.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap();
    let volumes = checked.policy.volumes().into_iter().map(|volume| VolumeFact { volume, slot: 0 }).collect();
    let facts = HostFacts { volumes, ..HostFacts::default() };
    policy_table(&checked.policy, &[], &facts, 1).unwrap()
}

fn target(on: &Cgroup, volume: &Volume, spread: &str) -> CgroupTarget {
    let volumes = VolumeTarget {
        devices: volume.devices(),
        spread: u64::from(spread == "cgroup"),
        copied: 1,
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
fn guarded(pins: &PinPlace, on: &Cgroup, volume: &Volume, spread: &str) -> LinuxKernel {
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
    support::set_up("lo");
    for address in [HOST, CLIENT] {
        support::add_address("lo", address, 32);
    }
    kernel.attach(&Interface::by_name("lo").unwrap(), false).unwrap();
    kernel
}

/// A connection from the host to the client, and the client's end.
fn connection() -> (TcpStream, TcpStream) {
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
fn arrives(mut far: &TcpStream) -> bool {
    matches!(far.read(&mut [0; 64]), Ok(1..))
}

/// Does some work in a process of its own, and waits for it.
fn in_a_process(work: impl FnOnce()) {
    let code = wait_for(begin_process(work));
    assert_eq!(code, 0, "the process could not do its work");
}

/// Begins some work in a process of its own.
fn begin_process(work: impl FnOnce()) -> i32 {
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

fn wait_for(child: i32) -> i32 {
    let mut status = 0;
    // SAFETY: the child is this process's own, and the number is written to a variable of its size.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 }
}

fn send(mut to: &TcpStream) {
    to.write_all(b"a mail").unwrap();
}

fn read_of(path: &Path) {
    assert!(!fs::read(path).unwrap().is_empty());
}

fn copy(from: &Path, to: &Path) {
    assert!(fs::copy(from, to).unwrap() > 0);
}

fn a_reader_is_held(label: &str) {
    let (pins, on) = (PinPlace::new(label), Cgroup::new(label).unwrap());
    let (volume, other) = (Volume::new(label), Volume::new(&format!("{label}-other")));
    in_own_network(|| {
        let kernel = guarded(&pins, &on, &volume, "process");
        let far = UdpSocket::bind((CLIENT, 0)).unwrap();
        far.set_read_timeout(Some(SILENCE)).unwrap();
        let (to, near) = (far.local_addr().unwrap(), UdpSocket::bind((HOST, 0)).unwrap());
        let got = || far.recv(&mut [0; 64]).is_ok();
        for (path, may_leave) in [(other.mail(), true), (volume.mail(), false)] {
            let name = path.display();
            // By a connection and a socket that others made before.
            let (socket, end) = connection();
            in_a_process(|| {
                read_of(&path);
                send(&socket);
                let _refused = near.send_to(b"a mail", to);
            });
            assert_eq!((arrives(&end), got()), (may_leave, may_leave), "{name}");
            // By one of its own, and by a descriptor's call that sends what the file has.
            let (socket, end) = connection();
            in_a_process(|| {
                let own = UdpSocket::bind((HOST, 0)).unwrap();
                let file = File::open(&path).unwrap();
                let _sent = rustix::fs::sendfile(&socket, &file, None, 20);
                let _refused = own.send_to(b"a mail", to);
            });
            assert_eq!((arrives(&end), got()), (may_leave, may_leave), "{name} by sendfile");
        }
        // Who has written there alone carries nothing, and with a carrier goes what was known of it.
        let (socket, end) = connection();
        in_a_process(|| {
            fs::write(volume.0.join("new"), "what is written").unwrap();
            send(&socket);
        });
        assert!(arrives(&end));
        assert_eq!(kernel.carriers().unwrap(), Default::default(), "{label}");
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn what_a_reader_of_the_volume_sends_does_not_arrive() {
    let programs = senders::carrier_programs().unwrap();
    println!("noted by {programs:?}");
    assert_eq!(programs[0].name(), "lsm_open", "as Debian's kernels are shipped");
    a_reader_is_held("lsm");
}

#[test]
#[ignore = "needs root and BPF"]
fn without_bpf_lsm_it_is_held_by_tracing_programs() {
    unmount("/sys/kernel/security", UnmountFlags::empty()).unwrap();
    let programs = senders::carrier_programs().unwrap();
    assert_eq!(programs[0].name(), "fentry_open", "{programs:?}");
    a_reader_is_held("fentry");
    mount("securityfs", "/sys/kernel/security", "securityfs", MountFlags::empty(), None).unwrap();
}

/// What a process does that gets a file without opening it, and sends.
type Way = fn(&OwnedFd, &TcpStream);

fn read_and_send(file: &OwnedFd, to: &TcpStream) {
    assert!(rustix::io::read(file, &mut [0_u8; 8]).unwrap() > 0);
    send(to);
}

fn map_and_send(file: &OwnedFd, to: &TcpStream) {
    // SAFETY: a new mapping of a page of the file, which is read and stays until the process ends.
    unsafe {
        let at =
            libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0);
        assert_ne!(at, libc::MAP_FAILED);
        assert_eq!(*at.cast::<u8>(), b'a');
    }
    send(to);
}

fn sendfile(file: &OwnedFd, to: &TcpStream) {
    assert!(rustix::fs::sendfile(to, file, None, 20).unwrap() > 0);
}

fn splice(file: &OwnedFd, to: &TcpStream) {
    let (read, write) = rustix::pipe::pipe().unwrap();
    let flags = rustix::pipe::SpliceFlags::empty();
    let count = rustix::pipe::splice(file, None, write.as_fd(), None, 20, flags).unwrap();
    assert!(rustix::pipe::splice(read.as_fd(), None, to.as_fd(), None, count, flags).unwrap() > 0);
}

fn fork_and_send(file: &OwnedFd, to: &TcpStream) {
    assert!(rustix::io::read(file, &mut [0_u8; 8]).unwrap() > 0);
    assert_eq!(wait_for(begin_process(|| in_a_process(|| send(to)))), 0);
}

fn thread_and_send(file: &OwnedFd, to: &TcpStream) {
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(rustix::io::read(file, &mut [0_u8; 8]).unwrap() > 0)).join().unwrap();
        scope.spawn(|| send(to)).join().unwrap();
    });
}

/// By a ring of the kernel's, on a thread of the kernel's for it.
fn io_uring_and_send(file: &OwnedFd, to: &TcpStream) {
    use rustix::io_uring::{
        IORING_OFF_SQES, IoringEnterFlags, IoringOp, IoringSqeFlags, io_uring_enter, io_uring_params,
        io_uring_setup, io_uring_sqe, io_uring_user_data,
    };
    let mut data = [0_u8; 8];
    let mut params = io_uring_params::default();
    // SAFETY: the kernel fills in the parameters; both mappings are as large as it says, and the entry is its own type.
    unsafe {
        let ring = io_uring_setup(1, &mut params).unwrap();
        let map = |len: usize, at: u64| {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let place = libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED,
                ring.as_raw_fd(),
                i64::try_from(at).unwrap(),
            );
            assert_ne!(place, libc::MAP_FAILED);
            place.cast::<u8>()
        };
        let queue = map(params.sq_off.array as usize + 4, 0);
        let entries = map(size_of::<io_uring_sqe>(), IORING_OFF_SQES).cast::<io_uring_sqe>();
        let mut entry = io_uring_sqe { opcode: IoringOp::Read, ..Default::default() };
        entry.flags = IoringSqeFlags::ASYNC;
        entry.fd = file.as_raw_fd();
        entry.addr_or_splice_off_in.addr.ptr = data.as_mut_ptr().cast();
        entry.len.len = 8;
        entry.user_data = io_uring_user_data::default();
        entries.write(entry);
        let tail = queue.add(params.sq_off.tail as usize).cast::<u32>();
        queue.add(params.sq_off.array as usize).cast::<u32>().write(0);
        tail.write_volatile(tail.read_volatile().wrapping_add(1));
        assert_eq!(io_uring_enter(&ring, 1, 1, IoringEnterFlags::GETEVENTS).unwrap(), 1);
    }
    assert_ne!(std::hint::black_box(data), [0; 8]);
    send(to);
}

/// A thread of its reads, and another one becomes the whole process by exec.
fn exec_and_send(file: &OwnedFd, to: &TcpStream) {
    let to = to.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(rustix::io::read(file, &mut [0_u8; 8]).unwrap() > 0)).join().unwrap();
        scope.spawn(|| {
            panic!(
                "{}",
                Command::new("/bin/busybox").args(["echo", "a mail"]).stdout(OwnedFd::from(to)).exec()
            )
        });
    });
}

const WAYS: [(&str, Way); 8] = [
    ("a descriptor that it inherited", read_and_send),
    ("mmap", map_and_send),
    ("sendfile", sendfile),
    ("splice", splice),
    ("io_uring", io_uring_and_send),
    ("its child's child", fork_and_send),
    ("another thread", thread_and_send),
    ("exec", exec_and_send),
];

/// A file that this process opened before anybody looked, and of which it has read nothing.
fn opened_before(path: &Path) -> OwnedFd {
    File::open(path).unwrap().into()
}

#[test]
#[ignore = "needs root and BPF"]
fn by_whatever_way_a_process_gets_the_data_it_carries_it() {
    let (pins, on) = (PinPlace::new("ways"), Cgroup::new("ways").unwrap());
    let (volume, other) = (Volume::new("ways"), Volume::new("ways-other"));
    let (pinned, free) = (opened_before(&volume.mail()), opened_before(&other.mail()));
    in_own_network(|| {
        let _kernel = guarded(&pins, &on, &volume, "process");
        for (file, may_leave) in [(&free, true), (&pinned, false)] {
            for (way, work) in WAYS {
                rustix::fs::seek(file, rustix::fs::SeekFrom::Start(0)).unwrap();
                let (socket, end) = connection();
                in_a_process(|| work(file, &socket));
                assert_eq!(arrives(&end), may_leave, "{way}");
            }
            // Handed over by another process.
            let (socket, end) = connection();
            let (one, another) = std::os::unix::net::UnixStream::pair().unwrap();
            hand_over(&one, file);
            in_a_process(|| read_and_send(&taken_over(&another), &socket));
            assert_eq!(arrives(&end), may_leave, "SCM_RIGHTS");
        }
        // This process has read nothing.
        let (socket, end) = connection();
        send(&socket);
        assert!(arrives(&end));
    });
}

fn hand_over(by: &std::os::unix::net::UnixStream, file: &OwnedFd) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut buffer = SendAncillaryBuffer::new(&mut space);
    let files = [file.as_fd()];
    assert!(buffer.push(SendAncillaryMessage::ScmRights(&files)));
    sendmsg(by, &[std::io::IoSlice::new(b"x")], &mut buffer, SendFlags::empty()).unwrap();
}

fn taken_over(by: &std::os::unix::net::UnixStream) -> OwnedFd {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut buffer = RecvAncillaryBuffer::new(&mut space);
    recvmsg(by, &mut [std::io::IoSliceMut::new(&mut [0])], &mut buffer, RecvFlags::empty()).unwrap();
    let found = buffer.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    found.unwrap()
}

#[test]
#[ignore = "needs root and BPF"]
fn the_volume_is_the_same_wherever_it_is_mounted() {
    let (pins, on) = (PinPlace::new("mounts"), Cgroup::new("mounts").unwrap());
    let (volume, other) = (Volume::new("mounts"), Volume::new("mounts-other"));
    let folder = |name: &str| {
        let path = other.0.join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    let bound = folder("bound");
    mount_bind(&volume.0, &bound).unwrap();
    let (upper, work, merged) = (folder("upper"), folder("work"), folder("merged"));
    let options =
        format!("lowerdir={},upperdir={},workdir={}", volume.0.display(), upper.display(), work.display());
    let options = std::ffi::CString::new(options).unwrap();
    mount("overlay", &merged, "overlay", MountFlags::empty(), Some(options.as_c_str())).unwrap();
    in_own_network(|| {
        let _kernel = guarded(&pins, &on, &volume, "process");
        for (path, may_leave) in
            [(bound.join("mail"), false), (merged.join("mail"), false), (other.mail(), true)]
        {
            let (socket, end) = connection();
            in_a_process(|| {
                read_of(&path);
                send(&socket);
            });
            assert_eq!(arrives(&end), may_leave, "{}", path.display());
        }
    });
    unmount(&merged, UnmountFlags::DETACH).unwrap();
    unmount(&bound, UnmountFlags::DETACH).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_carrier_spreads_to_its_cgroup_where_the_pin_says_so_and_no_further() {
    let (pins, on) = (PinPlace::new("spread"), Cgroup::new("spread").unwrap());
    let (unit, beside) = (on.child("unit").unwrap(), on.child("beside").unwrap());
    let below = unit.child("below").unwrap();
    let volume = Volume::new("spread");
    let within =
        |cgroup: &Cgroup, work: &dyn Fn()| in_a_process(|| cgroup::inside(cgroup.path(), work).unwrap());
    in_own_network(|| {
        let mut kernel = guarded(&pins, &on, &volume, "process");
        let sends = |cgroup: &Cgroup| {
            let (socket, end) = connection();
            within(cgroup, &|| send(&socket));
            arrives(&end)
        };
        within(&unit, &|| read_of(&volume.mail()));
        assert!(sends(&unit), "of a process alone");
        kernel.note_sockets(Some(&target(&on, &volume, "cgroup"))).unwrap();
        within(&unit, &|| read_of(&volume.mail()));
        assert_eq!([&unit, &below, &beside, &on].map(sends), [false, false, true, true]);
        let cgroups: Vec<u64> = kernel.carriers().unwrap().cgroups.into_keys().collect();
        assert_eq!(cgroups, [unit.id().unwrap()]);
        // The root never carries: it would be everybody.
        in_a_process(|| read_of(&volume.mail()));
        assert_eq!(kernel.carriers().unwrap().cgroups.len(), 1);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn what_a_carrier_writes_elsewhere_makes_carriers_of_its_readers() {
    let (pins, on) = (PinPlace::new("copies"), Cgroup::new("copies").unwrap());
    let (volume, other) = (Volume::new("copies"), Volume::new("copies-other"));
    let at = |name: &str| other.0.join(name);
    in_own_network(|| {
        let mut kernel = guarded(&pins, &on, &volume, "process");
        let leaves = |path: &Path| {
            let (socket, end) = connection();
            in_a_process(|| {
                read_of(path);
                send(&socket);
            });
            arrives(&end)
        };
        let view = guard_user::kernel::View::open(&pins.path()).unwrap();
        let copies = || view.carriers().unwrap().copies;
        assert!(leaves(&other.mail()));
        // By write, by copy_file_range, and by a mapping.
        in_a_process(|| {
            read_of(&volume.mail());
            fs::write(at("written"), "a mail").unwrap();
        });
        in_a_process(|| copy(&volume.mail(), &at("copied")));
        in_a_process(|| {
            read_of(&volume.mail());
            let file = File::options().read(true).write(true).open(other.mail()).unwrap();
            // SAFETY: a new mapping of a page of the file, one byte of which is written.
            unsafe {
                let protection = libc::PROT_READ | libc::PROT_WRITE;
                let at =
                    libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_SHARED, file.as_raw_fd(), 0);
                assert_ne!(at, libc::MAP_FAILED);
                *at.cast::<u8>() = b'A';
            }
        });
        assert_eq!(copies(), 3);
        fs::rename(at("written"), at("renamed")).unwrap();
        for name in ["renamed", "copied", "mail"] {
            assert!(!leaves(&at(name)), "{name}");
        }
        // A copy of a copy, by who has never seen the volume.
        in_a_process(|| copy(&at("copied"), &at("again")));
        assert!(!leaves(&at("again")));
        // Who carries nothing writes nothing that would, and a file that is gone is forgotten.
        in_a_process(|| fs::write(at("free"), "of nobody").unwrap());
        assert!(leaves(&at("free")));
        assert_eq!(copies(), 4);
        for name in ["renamed", "copied", "mail", "again"] {
            fs::remove_file(at(name)).unwrap();
        }
        retry_until(PATIENCE, "the files to be forgotten", || (copies() == 0).then_some(())).unwrap();
        // With nothing that is followed the same is none.
        let mut target = target(&on, &volume, "process");
        if let Some(volumes) = &mut target.volumes {
            volumes.copied = 0;
        }
        kernel.note_sockets(Some(&target)).unwrap();
        in_a_process(|| copy(&volume.mail(), &at("ignored")));
        assert!(leaves(&at("ignored")));
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn who_had_a_file_open_before_is_found() {
    let (pins, on) = (PinPlace::new("before"), Cgroup::new("before").unwrap());
    let volume = Volume::new("before");
    let holds: [(&str, fn(&Path)); 2] = [
        ("open", |path| {
            let mut file = File::open(path).unwrap();
            assert!(file.read(&mut [0; 8]).unwrap() > 0);
            std::mem::forget(file);
        }),
        ("mapped", |path| {
            let file: OwnedFd = File::open(path).unwrap().into();
            // SAFETY: a new mapping, which stays until the process ends.
            unsafe {
                let at = libc::mmap(
                    std::ptr::null_mut(),
                    4096,
                    libc::PROT_READ,
                    libc::MAP_PRIVATE,
                    file.as_raw_fd(),
                    0,
                );
                assert_eq!(*at.cast::<u8>(), b'a');
            }
        }),
    ];
    in_own_network(|| {
        let (go, wait) = (rustix::pipe::pipe().unwrap(), rustix::pipe::pipe().unwrap());
        // The connections have to be there before: this network has no guard yet.
        support::set_up("lo");
        for address in [HOST, CLIENT] {
            support::add_address("lo", address, 32);
        }
        let ends = holds.map(|(name, hold)| {
            let (socket, end) = connection();
            let child = begin_process(|| {
                hold(&volume.mail());
                rustix::io::write(&wait.1, b"x").unwrap();
                rustix::io::read(&go.0, &mut [0_u8]).unwrap();
                send(&socket);
            });
            rustix::io::read(&wait.0, &mut [0_u8]).unwrap();
            (name, child, end, socket)
        });
        let mut kernel = pins.open();
        let target = target(&on, &volume, "process");
        kernel.note_sockets(Some(&target)).unwrap();
        kernel.publish(&policy(&volume, "process"), Some(&geo("US"))).unwrap();
        kernel.attach(&Interface::by_name("lo").unwrap(), false).unwrap();
        let found = kernel.find_carriers(&volume.devices());
        assert_eq!((found.found, found.refused), (2, None));
        for (name, child, end, _socket) in ends {
            rustix::io::write(&go.1, b"x").unwrap();
            // Either of them may be the first.
            assert!(!arrives(&end), "{name}");
            let _later = child;
        }
        retry_until(PATIENCE, "both to end", || {
            // SAFETY: the status is not asked for.
            let ended = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
            (ended == -1).then_some(())
        })
        .unwrap();
        assert_eq!(kernel.carriers().unwrap(), Default::default());
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn the_daemon_knows_a_volume_from_its_mount_on_and_says_who_carries_it() {
    let bed = Bed::new("volumes").unwrap();
    let path = std::env::temp_dir().join(format!("volume-daemon-{}", std::process::id()));
    let pin = |permit: &str| {
        format!(
            "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [{permit}]\naction = \"drop\"\n[pin.select]\n\
             volumes = [{path:?}]\nspread = \"process\"\n"
        )
    };
    bed.configure(&pin("\"EU\"")).unwrap();
    let daemon = bed.start(&[]).unwrap();
    // Emulation is slow, which is a problem of its own.
    let codes = || -> Vec<_> {
        let problems = bed.status().unwrap().problems.into_iter().map(|problem| problem.code);
        problems.filter(|code| *code != ProblemCode::LoopSlow).collect()
    };
    assert_eq!(codes(), [ProblemCode::VolumeAbsent]);
    let volume = Volume::at(path.clone());
    retry_until(bed::PATIENCE, "the mount to be known", || codes().is_empty().then_some(())).unwrap();

    let from = SocketAddr::new(bed::address(STORE, Family::V4).unwrap(), 0);
    let to = SocketAddr::new(bed::address(US, Family::V4).unwrap(), CLIENT_PORT);
    let socket = || bed.host(STORE).unwrap().run(|| UdpSocket::bind(from)).unwrap().unwrap();
    // A process that goes on until it is told to end, by a pipe of its own: its end of that closes.
    let sends = |reads: Option<&Path>| {
        let (go, wait) = (rustix::pipe::pipe().unwrap(), rustix::pipe::pipe().unwrap());
        let socket = socket();
        let before = bed.arrived(US, Family::V4).unwrap();
        let child = begin_process(|| {
            reads.into_iter().for_each(read_of);
            (0..10).for_each(|_| drop(socket.send_to(b"a mail", to)));
            rustix::io::write(&wait.1, b"x").unwrap();
            rustix::io::read(&go.0, &mut [0_u8]).unwrap();
        });
        drop((go.0, wait.1));
        assert_eq!(rustix::io::read(&wait.0, &mut [0_u8]).unwrap(), 1, "the process has ended");
        std::thread::sleep(SILENCE);
        let arrived = bed.arrived(US, Family::V4).unwrap() - before;
        ((child, go.1), arrived)
    };
    let end = |(child, go): (i32, OwnedFd)| {
        rustix::io::write(&go, b"x").unwrap();
        assert_eq!(wait_for(child), 0);
    };
    let (child, arrived) = sends(None);
    assert_eq!(arrived, 10);
    end(child);
    let mail = volume.mail();
    let (child, arrived) = sends(Some(&mail));
    assert_eq!(arrived, 0);
    let carriers = bed.status().unwrap().carriers;
    let [carrier] = &carriers.processes[..] else { panic!("{carriers:?}") };
    assert_eq!(carrier.process.pid, u32::try_from(child.0).unwrap());
    assert_eq!(carrier.volumes, [path.to_str().unwrap()]);
    assert!(carriers.volumes[0].mounted);
    let is_told = |event: &serde_json::Value| event["volumes"][0] == path.to_str().unwrap();
    let event = bed.event(bed::PATIENCE, "an event", is_told).unwrap();
    assert_eq!(
        (event["verdict"].as_str(), event["pins"][0].as_str()),
        (Some("drop"), Some("mail")),
        "{event}"
    );
    // A carrier is one for the next daemon too, by the same slot, and while there is none.
    daemon.kill(bed::PATIENCE).unwrap();
    let (other, arrived) = sends(Some(&mail));
    assert_eq!(arrived, 0, "without a daemon");
    end(other);
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!(codes(), []);
    assert_eq!(bed.status().unwrap().carriers.processes[0].process.pid, u32::try_from(child.0).unwrap());
    end(child);
    assert_eq!(bed.status().unwrap().carriers.count, 0);
    bed.configure(&pin("\"EU\", \"US\"")).unwrap();
    bed.tell(&["reload"]).unwrap();
    let (child, arrived) = sends(Some(&mail));
    assert_eq!(arrived, 10, "where it may go");
    end(child);
}
