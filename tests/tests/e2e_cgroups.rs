//! Cgroups that are made anew, with the real daemon: nothing of theirs leaves while it runs, while it does not, and
//! until it has looked.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use guard_tests::bed::{self, Bed, CLIENT_PORT, Family, OTHER_PORT, PATIENCE, STORE, US, address};
use guard_tests::cgroup::{self, Cgroup};
use guard_user::kernel::View;

const SENT: u64 = 10;

/// Datagrams that arrive in the US of [`SENT`] from a socket that is made in this cgroup.
fn arrived_from(bed: &Bed, folder: &Path) -> u64 {
    let from = SocketAddr::new(address(STORE, Family::V4).unwrap(), OTHER_PORT);
    let make = || bed.host(STORE).unwrap().run(|| std::net::UdpSocket::bind(from)).unwrap().unwrap();
    let socket = cgroup::inside(folder, make).unwrap();
    let before = bed.arrived(US, Family::V4).unwrap();
    for _ in 0..SENT {
        bed::send(&socket, SocketAddr::new(address(US, Family::V4).unwrap(), CLIENT_PORT));
    }
    std::thread::sleep(Duration::from_millis(100));
    bed.arrived(US, Family::V4).unwrap() - before
}

/// Packets that counted as pinned because their cgroup was not placed yet.
fn unplaced(bed: &Bed) -> u64 {
    let view = View::open(&bed.pin_path()).unwrap();
    view.unplaced().unwrap().iter().map(|(_, count)| count.packets).sum()
}

#[test]
#[ignore = "needs root and BPF"]
fn a_pinned_slice_that_is_made_anew_sends_nothing_with_a_daemon_or_without() {
    let bed = Bed::new("slices").unwrap();
    let (slice, sibling) = (Cgroup::new("slice").unwrap(), Cgroup::new("sibling").unwrap());
    let name = slice.path().file_name().unwrap().to_str().unwrap();
    bed.configure(&format!(
        "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"drop\"\n\
         [pin.select]\nsent_by = \"socket\"\ncgroups = [\"{name}\", \"{name}-absent\"]\n"
    ))
    .unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(arrived_from(&bed, slice.path()), 0);
    assert_eq!(arrived_from(&bed, sibling.path()), SENT);

    let bound = |port: u16| {
        let from = SocketAddr::new(address(STORE, Family::V4).unwrap(), port);
        let make = || bed.host(STORE).unwrap().run(|| std::net::UdpSocket::bind(from)).unwrap().unwrap();
        cgroup::inside(slice.path(), make).unwrap()
    };
    let old = bound(OTHER_PORT + 1);
    let make_anew = || {
        fs::remove_dir(slice.path()).unwrap();
        fs::create_dir(slice.path()).unwrap();
    };
    make_anew();
    assert_eq!(arrived_from(&bed, slice.path()), 0, "before the daemon looked");
    // Once it has, a socket that was made in the slice before is still the slice's.
    let deadline = Instant::now() + PATIENCE;
    while bed.status().unwrap().unplaced.times == 0 {
        assert!(Instant::now() < deadline, "the daemon does not look");
        std::thread::sleep(Duration::from_millis(50));
    }
    let before = bed.arrived(US, Family::V4).unwrap();
    for _ in 0..SENT {
        bed::send(&old, SocketAddr::new(address(US, Family::V4).unwrap(), CLIENT_PORT));
    }
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(bed.arrived(US, Family::V4).unwrap(), before, "its socket outlives it");
    daemon.kill(PATIENCE).unwrap();
    make_anew();
    let before = unplaced(&bed);
    assert_eq!(arrived_from(&bed, slice.path()), 0, "with no daemon");
    assert_eq!(unplaced(&bed), before + SENT, "and that is told");
    assert_eq!(arrived_from(&bed, sibling.path()), SENT, "what was there before is what it was");

    // The next daemon places it; what is made beside it is innocent as soon as the daemon has looked.
    let _daemon = bed.start(&[]).unwrap();
    let before = unplaced(&bed);
    assert_eq!(arrived_from(&bed, slice.path()), 0);
    assert_eq!(unplaced(&bed), before, "it is placed");
    let later = Cgroup::new("later").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while arrived_from(&bed, later.path()) == 0 {
        assert!(Instant::now() < deadline, "the daemon does not look");
        std::thread::sleep(Duration::from_millis(200));
    }
}
