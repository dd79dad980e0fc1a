//! Ways by which a carrier's data goes on that no security module is asked of, or by a socket that is not the one which
//! sends: each to the US, where it must not arrive, and its twin to Belgium. In the guests of `cargo xtask vm` alone, for
//! the programs are on functions of the whole machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::fs::{self, File};
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::process::Command;

use guard_common::abi::{Carrier, FOUND, MAX_CARRIERS};
use guard_tests::cgroup::{self, Cgroup};
use guard_tests::proc::retry_until;
use guard_user::kernel::Kernel as _;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::net::{AddressFamily, Protocol, SocketType};
use rustix::pipe::{SpliceFlags, pipe, splice};
use support::followed::*;
use support::volume::*;
use support::{PinPlace, in_own_network};

/// `IPPROTO_MPTCP` and `IPPROTO_SCTP` (linux/in.h).
const MPTCP: i32 = 262;
const SCTP: i32 = 132;
/// `SCTP_SOCKOPT_CONNECTX` and `SCTP_SOCKOPT_PEELOFF` (linux/sctp.h).
const CONNECTX: i32 = 110;
const PEELOFF: i32 = 102;
/// How long SCTP waits before it sends once more, and some more for a busy guest.
const AGAIN: u32 = 6;

type Ends = (OwnedFd, OwnedFd);

fn put(end: BorrowedFd<'_>) {
    assert_eq!(rustix::io::write(end, b"a mail\n").unwrap(), 7);
}

fn take(end: BorrowedFd<'_>) {
    assert!(rustix::io::read(end, &mut [0; 64]).unwrap() > 0);
}

/// Moves pages.
fn pages(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    assert!(splice(from, None, to, None, 64, SpliceFlags::empty()).unwrap() > 0);
}

fn tee(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    // SAFETY: only descriptors are given.
    assert!(unsafe { libc::tee(from.as_raw_fd(), to.as_raw_fd(), 64, 0) } > 0);
}

/// Moves memory into a pipe, or what is in one to memory.
fn pages_of_memory(end: BorrowedFd<'_>) {
    let mut text = *b"a mail\n";
    let vector = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: text.len() };
    // SAFETY: the memory is this function's own, and as long as it says.
    assert!(unsafe { libc::vmsplice(end.as_raw_fd(), &raw const vector, 1, 0) } > 0);
}

/// Two ends of a way from one to another.
fn pipe_ends() -> Ends {
    let (out, into) = pipe().unwrap();
    (into, out)
}

/// Of a terminal: that which a program has, and that of who shows it.
fn terminal() -> Ends {
    let (mut shown, mut program) = (0, 0);
    let (no_name, none, no_size) = (std::ptr::null_mut(), std::ptr::null(), std::ptr::null());
    // SAFETY: both numbers are written to variables of their size, and are descriptors of this process's own then.
    unsafe {
        assert_eq!(libc::openpty(&raw mut shown, &raw mut program, no_name, none, no_size), 0);
        (OwnedFd::from_raw_fd(program), OwnedFd::from_raw_fd(shown))
    }
}

type Move = fn(BorrowedFd<'_>);
type Make = fn() -> Ends;

/// What a carrier does at the one end of a way and a relay at the other, and how it is made.
const WAYS: [(&str, Make, Move, Move); 5] = [
    ("pages of memory into a pipe", pipe_ends, pages_of_memory, take),
    ("pages of memory out of a pipe", pipe_ends, put, pages_of_memory),
    ("a pipe that is copied from", pipe_ends, put, |end| {
        let (into, out) = pipe_ends();
        tee(end, into.as_fd());
        take(out.as_fd());
    }),
    ("a terminal", terminal, put, take),
    (
        "a terminal's other direction",
        || {
            let (program, shown) = terminal();
            (shown, program)
        },
        put,
        take,
    ),
];

fn are_followed(label: &str) {
    let (pins, on) = (PinPlace::new(label), Cgroup::new(label).unwrap());
    let volume = Volume::new(label);
    in_own_network(|| {
        let kernel = followed(&pins, &on, &volume);
        let by_carrier = |work: &dyn Fn()| {
            in_a_process(|| {
                read_of(&volume.mail());
                work();
            })
        };
        for (name, make, give, take) in WAYS {
            let of_nobody = arrive(|to| {
                let (near, far) = make();
                in_a_process(|| give(near.as_fd()));
                in_a_process(|| {
                    take(far.as_fd());
                    send(to);
                });
            });
            assert_eq!(of_nobody, [true, true], "{name} of nobody");
            let handed_on = arrive(|to| {
                let (near, far) = make();
                by_carrier(&|| give(near.as_fd()));
                in_a_process(|| {
                    take(far.as_fd());
                    send(to);
                });
            });
            assert_eq!(handed_on, [false, true], "{name}");
            let waiting = arrive(|to| {
                let (near, far) = make();
                let child = begin_process(|| {
                    take(far.as_fd());
                    send(to);
                });
                std::thread::sleep(SILENCE);
                by_carrier(&|| give(near.as_fd()));
                // What is dropped is known to the daemon alone, so that the call has sent it.
                assert_eq!(wait_for(child), 0, "{name}");
            });
            assert_eq!(waiting, [false, true], "{name}, by one that waits");
        }
        pages_are_followed(&volume, &by_carrier);
        assert_eq!(kernel.carriers().unwrap().processes.len(), 0);
    });
}

/// Pages that are never in a relay's memory.
fn pages_are_followed(volume: &Volume, by_carrier: &dyn Fn(&dyn Fn())) {
    let by_file = |give: fn(&File, BorrowedFd<'_>)| {
        arrive(|to| {
            let (near, far) = pipe_ends();
            in_a_process(|| give(&File::open(volume.mail()).unwrap(), near.as_fd()));
            in_a_process(|| {
                take(far.as_fd());
                send(to);
            });
        })
    };
    assert_eq!(by_file(|file, into| pages(file.as_fd(), into)), [false, true], "a file's pages");
    let sendfile = |file: &File, into: BorrowedFd<'_>| {
        assert!(rustix::fs::sendfile(into, file, None, 20).unwrap() > 0);
    };
    assert_eq!(by_file(sendfile), [false, true], "a file's pages by sendfile");
    let through = arrive(|to| {
        let ((near, far), (into, out)) = (pipe_ends(), pipe_ends());
        by_carrier(&|| put(near.as_fd()));
        in_a_process(|| pages(far.as_fd(), into.as_fd()));
        in_a_process(|| pages(out.as_fd(), to.as_fd()));
    });
    assert_eq!(through, [false, true], "from pipe to pipe to a connection");
    let waiting = arrive(|to| {
        let (near, far) = pipe_ends();
        let child = begin_process(|| pages(far.as_fd(), to.as_fd()));
        std::thread::sleep(SILENCE);
        by_carrier(&|| put(near.as_fd()));
        assert_eq!(wait_for(child), 0);
    });
    assert_eq!(waiting, [false, true], "to a connection, by one that waits");
}

#[test]
#[ignore = "needs root and BPF"]
fn what_is_handed_on_by_pages_or_a_terminal_is_followed() {
    are_followed("pages");
}

#[test]
#[ignore = "needs root and BPF"]
fn without_bpf_lsm_it_is_followed_by_tracing_programs() {
    unmount("/sys/kernel/security", UnmountFlags::empty()).unwrap();
    are_followed("pages-fentry");
    mount("securityfs", "/sys/kernel/security", "securityfs", MountFlags::empty(), None).unwrap();
}

fn socket(kind: SocketType, protocol: i32) -> OwnedFd {
    let protocol = u32::try_from(protocol).ok().and_then(std::num::NonZeroU32::new).map(Protocol::from_raw);
    rustix::net::socket(AddressFamily::INET, kind, protocol).unwrap()
}

/// A connection by these protocols at the two ends, and whether what a carrier sends by it arrives.
fn arrives_by(volume: &Volume, place: Ipv4Addr, [near, far]: [i32; 2]) -> bool {
    let listener = socket(SocketType::STREAM, far);
    rustix::net::bind(&listener, &SocketAddrV4::new(place, 0)).unwrap();
    rustix::net::listen(&listener, 1).unwrap();
    let near = socket(SocketType::STREAM, near);
    rustix::net::bind(&near, &SocketAddrV4::new(HOST, 0)).unwrap();
    let to: SocketAddrV4 = rustix::net::getsockname(&listener).unwrap().try_into().unwrap();
    rustix::net::connect(&near, &to).unwrap();
    let far = TcpStream::from(rustix::net::accept(&listener).unwrap());
    far.set_read_timeout(Some(SILENCE)).unwrap();
    in_a_process(|| {
        read_of(&volume.mail());
        rustix::io::write(&near, b"a mail").unwrap();
    });
    has_arrived(&far)
}

#[test]
#[ignore = "needs root and BPF"]
fn what_a_carrier_sends_by_multipath_tcp_does_not_arrive() {
    let (pins, on) = (PinPlace::new("mptcp"), Cgroup::new("mptcp").unwrap());
    let volume = Volume::new("mptcp");
    in_own_network(|| {
        let _kernel = followed(&pins, &on, &volume);
        for ends in [[MPTCP, MPTCP], [MPTCP, 0], [0, MPTCP]] {
            let arrived = [CLIENT, BELGIAN].map(|place| arrives_by(&volume, place, ends));
            assert_eq!(arrived, [false, true], "{ends:?}");
        }
        // Raw sockets of that protocol, and resets, which are sent by a socket of the kernel's own, are no connections.
        let raw = socket(SocketType::RAW, libc::IPPROTO_TCP);
        for port in 1..50 {
            let _sent = rustix::net::sendto(
                &raw,
                &[7; 60],
                rustix::net::SendFlags::empty(),
                &SocketAddrV4::new(BELGIAN, 0),
            );
            assert!(TcpStream::connect((BELGIAN, port)).is_err());
        }
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn an_association_of_sctp_that_gets_a_socket_of_its_own_takes_along_what_it_carries() {
    let (pins, on) = (PinPlace::new("sctp"), Cgroup::new("sctp").unwrap());
    let volume = Volume::new("sctp");
    in_own_network(|| {
        let _kernel = followed(&pins, &on, &volume);
        let arrived = [CLIENT, BELGIAN].map(|place| {
            let listener = socket(SocketType::STREAM, SCTP);
            rustix::net::bind(&listener, &SocketAddrV4::new(place, 0)).unwrap();
            rustix::net::listen(&listener, 1).unwrap();
            let many = socket(SocketType::SEQPACKET, SCTP);
            rustix::net::bind(&many, &SocketAddrV4::new(HOST, 0)).unwrap();
            let to: SocketAddrV4 = rustix::net::getsockname(&listener).unwrap().try_into().unwrap();
            let name = libc::sockaddr_in {
                sin_family: libc::AF_INET as u16,
                sin_port: to.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(place).to_be() },
                sin_zero: [0; 8],
            };
            let len = size_of_val(&name) as u32;
            // SAFETY: the name is read, as long as it is.
            let association =
                unsafe { libc::setsockopt(many.as_raw_fd(), SCTP, CONNECTX, (&raw const name).cast(), len) };
            assert!(association >= 0, "{}", std::io::Error::last_os_error());
            let far = TcpStream::from(rustix::net::accept(&listener).unwrap());
            far.set_read_timeout(Some(SILENCE)).unwrap();
            in_a_process(|| {
                read_of(&volume.mail());
                rustix::net::sendto(&many, b"a mail", rustix::net::SendFlags::empty(), &to).unwrap();
                let (mut own, mut len) = ([association, 0], 8);
                // SAFETY: both are this function's own, and as long as it says.
                let done = unsafe {
                    libc::getsockopt(many.as_raw_fd(), SCTP, PEELOFF, own.as_mut_ptr().cast(), &raw mut len)
                };
                assert!(done >= 0, "{}", std::io::Error::last_os_error());
                // The other end is sent it again meanwhile, by the new socket.
                std::thread::sleep(std::time::Duration::from_secs(AGAIN.into()));
            });
            has_arrived(&far)
        });
        assert_eq!(arrived, [false, true]);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn where_carriers_find_no_room_everybody_counts_as_one() {
    let (pins, on) = (PinPlace::new("full"), Cgroup::new("full").unwrap());
    let volume = Volume::new("full");
    in_own_network(|| {
        let mut kernel = followed(&pins, &on, &volume);
        assert_eq!(arrive(send), [true, true]);
        let map = aya::maps::MapData::from_pin(pins.map("CARRIERS")).unwrap();
        let mut map =
            aya::maps::HashMap::<_, u32, [u8; size_of::<Carrier>()]>::try_from(aya::maps::Map::HashMap(map))
                .unwrap();
        // Numbers that no process has.
        let others = (1..=MAX_CARRIERS as u32).map(|number| FOUND / 2 + number);
        for number in others.clone() {
            map.insert(number, [0; size_of::<Carrier>()], 0).unwrap();
        }
        assert_eq!(arrive(send), [true, true], "nobody has looked for room");
        assert_eq!(kernel.observe().unwrap().volumes.unwrap().overflowed, 0);
        // Once anybody may be one, no connection to the US comes about.
        let ends = [CLIENT, BELGIAN, CLIENT, BELGIAN].map(connection_to);
        let arrive_by = |ends: &[(TcpStream, TcpStream)]| -> Vec<bool> {
            let by = |(near, far): &(TcpStream, TcpStream)| {
                in_a_process(|| send(near));
                has_arrived(far)
            };
            ends.iter().map(by).collect()
        };
        in_a_process(|| read_of(&volume.mail()));
        assert!(kernel.observe().unwrap().volumes.unwrap().overflowed > 0);
        assert_eq!(arrive_by(&ends[..2]), [false, true]);
        for number in others {
            map.remove(&number).unwrap();
        }
        assert_eq!(arrive_by(&ends[2..]), [false, true], "nobody knows who it was");
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_cgroup_without_processes_is_forgotten_and_the_root_and_init_scope_never_carry() {
    let (pins, on) = (PinPlace::new("empty"), Cgroup::new("empty").unwrap());
    let (unit, init) = (on.child("unit").unwrap(), on.child("init").unwrap());
    let volume = Volume::new("empty");
    let within = |cgroup: &Cgroup, work: &dyn Fn()| {
        in_a_process(|| cgroup::inside(cgroup.path(), work).unwrap());
    };
    in_own_network(|| {
        let mut kernel = followed(&pins, &on, &volume);
        let mut target = target(&on, &volume, "cgroup");
        target.volumes.as_mut().unwrap().init_scope = init.id().unwrap();
        kernel.note_sockets(Some(&target)).unwrap();
        let arrive_from = |cgroup: &Cgroup| arrive(|to| within(cgroup, &|| send(to)));
        // Neither makes carriers of the others that are in it.
        within(&init, &|| read_of(&volume.mail()));
        in_a_process(|| read_of(&volume.mail()));
        assert_eq!(arrive_from(&init), [true, true]);
        assert_eq!(arrive(send), [true, true]);
        assert_eq!(kernel.carriers().unwrap().cgroups.len(), 0);
        // As long as anybody is in it, a cgroup that carries goes on to.
        let (go, wait) = (pipe().unwrap(), pipe().unwrap());
        let child = begin_process(|| {
            cgroup::inside(unit.path(), || {
                read_of(&volume.mail());
                rustix::io::write(&wait.1, b"x").unwrap();
                rustix::io::read(&go.0, &mut [0_u8]).unwrap();
            })
            .unwrap();
        });
        while kernel.carriers().unwrap().cgroups.is_empty() {
            std::thread::sleep(SILENCE);
        }
        kernel.observe().unwrap();
        assert_eq!(arrive_from(&unit), [false, true]);
        rustix::io::write(&go.1, b"x").unwrap();
        assert_eq!(wait_for(child), 0);
        retry_until(PATIENCE, "the empty cgroup to be forgotten", || {
            kernel.observe().unwrap();
            kernel.carriers().unwrap().cgroups.is_empty().then_some(())
        })
        .unwrap();
        assert_eq!(arrive_from(&unit), [true, true], "a new process of a cgroup that was empty");
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn the_block_device_of_a_volume_is_the_volume() {
    const DEVICES: [&str; 2] = ["/dev/ram0", "/dev/ram1"];
    let (pins, on) = (PinPlace::new("block"), Cgroup::new("block").unwrap());
    for device in DEVICES {
        let made = Command::new("mke2fs").args(["-F", device]).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    }
    let path = std::env::temp_dir().join(format!("volume-block-{}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    mount(DEVICES[0], &path, "ext2", MountFlags::empty(), None).unwrap();
    let volume = Volume::mounted(path);
    in_own_network(|| {
        let _kernel = followed(&pins, &on, &volume);
        let by_device = |device: &str| {
            arrive(|to| {
                in_a_process(|| {
                    assert!(File::open(device).unwrap().read(&mut [0; 4096]).unwrap() > 0);
                    send(to);
                });
            })
        };
        assert_eq!(by_device(DEVICES[1]), [true, true], "another one");
        assert_eq!(by_device(DEVICES[0]), [false, true]);
    });
}
