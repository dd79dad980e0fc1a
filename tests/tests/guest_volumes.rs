//! Whoever reads a pinned volume carries its data: what it then sends does not arrive, by whatever way it read and by
//! whatever socket. In the guests of `cargo xtask vm` alone, for the programs are on functions of the whole machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::fs::{self, File};
use std::io::Read;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use guard_tests::bed::{self, Bed, CLIENT_PORT, Family, STORE, US};
use guard_tests::cgroup::{self, Cgroup};
use guard_tests::proc::retry_until;
use guard_user::health::ProblemCode;
use guard_user::kernel::{Interface, Kernel as _, senders};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use support::volume::*;
use support::ways::{WAYS, read_and_send};
use support::{PinPlace, geo, in_own_network};

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
    type Hold = fn(&Path);
    let holds: [(&str, Hold); 2] = [
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
        // This process is told by a pipe how far a carrier is, and so is a relay.
        problems.filter(|code| !matches!(code, ProblemCode::LoopSlow | ProblemCode::Relay)).collect()
    };
    // A store that emulation makes slow is opened beside the start.
    let is_absent = || (codes() == [ProblemCode::VolumeAbsent]).then_some(());
    retry_until(bed::PATIENCE, "the absent mount alone", is_absent).unwrap();
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
    let explain = |pid: String| {
        let (from, to) = (SocketAddr::new(from.ip(), CLIENT_PORT).to_string(), to.to_string());
        bed.ask(&["explain", "--proto", "udp", "--from", &from, "--to", &to, "--pid", &pid]).unwrap()
    };
    let carries = explain(child.0.to_string());
    assert!(carries.out.contains("verdict    drop, forbidden"), "{carries:?}");
    let carries_none = explain(std::process::id().to_string());
    assert!(carries_none.is_done() && carries_none.out.contains("verdict    pass"), "{carries_none:?}");
    // A carrier is one for the next daemon too, by the same slot, and while there is none.
    daemon.kill(bed::PATIENCE).unwrap();
    // Nobody says whether it is one: no guess that the packet passes.
    let unknown = explain(child.0.to_string());
    assert!(!unknown.status.success() && unknown.complaint.contains("--volume"), "{unknown:?}");
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
