//! Cgroups that are made anew: until the daemon has looked, what is made where a pinned cgroup is, was or may come to
//! be counts as pinned, and what was there before does not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use guard_common::abi::{Count, PolicyTable};
use guard_common::verdict::Reason;
use guard_tests::cgroup::{self, Cgroup};
use guard_user::compile::{CgroupFact, CgroupParentFact, HostFacts, policy_table};
use guard_user::config::{self, Surroundings};
use guard_user::kernel::{Interface, Kernel as _, View};
use support::{FrameSocket, OTHER, PinPlace, frame, geo, in_own_network};

/// Datagrams of each kind.
const SENT: u64 = 20;

/// A cgroup's path as policies name it.
fn path_of(folder: &Path) -> String {
    folder.strip_prefix(cgroup::root().unwrap()).unwrap().to_str().unwrap().to_owned()
}

/// What a daemon knows of these cgroups now.
fn facts(paths: &[&str]) -> HostFacts {
    let root = cgroup::root().unwrap();
    let id = |path: &str| fs::metadata(root.join(path)).ok().map(|found| found.ino());
    let above: BTreeSet<&str> = paths
        .iter()
        .flat_map(|path| path.match_indices('/').map(|(at, _)| &path[..at]).chain([""]))
        .collect();
    let parent = |path: &&str| {
        let id = id(path)?;
        let children = fs::read_dir(root.join(path)).unwrap();
        let known = children.map(|entry| entry.unwrap().ino()).max().unwrap();
        Some(CgroupParentFact { path: (*path).to_owned(), id, known })
    };
    let parents = above.iter().filter_map(parent).collect();
    let level = |path: &str| u32::try_from(path.split('/').count()).unwrap();
    let cgroup = |path: &&str| CgroupFact { path: (*path).to_owned(), id: id(path), level: level(path) };
    HostFacts { cgroups: paths.iter().map(cgroup).collect(), parents, ..HostFacts::default() }
}

/// A pin of this cgroup, which may not send to the client.
fn policy_of(path: &str, generation: u64) -> Box<PolicyTable> {
    let text = format!(
        "approval = \"none\"\n[host]\ninterfaces = [\"bgk0\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n\
         select.cgroups = [\"{path}\"]\n"
    );
    let checked = config::parse(Path::new("test.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap();
    policy_table(&checked.policy, &[], &facts(&[path]), generation).unwrap()
}

/// Guards `bgk0` by a pin of this cgroup, and ends as a daemon does that is killed.
fn guard(pins: &PinPlace, path: &str) {
    let mut kernel = pins.open();
    let generation = kernel.generation() + 1;
    kernel.publish(&policy_of(path, generation), Some(&geo("US"))).unwrap();
    kernel.attach(&Interface::by_name("bgk0").unwrap(), false).unwrap();
}

/// What became of datagrams.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    forbidden: u64,
    unplaced: Count,
    arrived: u64,
}

const DROPPED: Sent = Sent { forbidden: SENT, unplaced: Count { packets: 0, bytes: 0 }, arrived: 0 };
const PASSED: Sent = Sent { forbidden: 0, unplaced: Count { packets: 0, bytes: 0 }, arrived: SENT };

/// Dropped because the cgroup may be the pinned one.
fn unplaced() -> Sent {
    let bytes = SENT * frame(OTHER).len() as u64;
    Sent { forbidden: SENT, unplaced: Count { packets: SENT, bytes }, arrived: 0 }
}

/// Sends from a socket that is made in this cgroup.
fn send_from(view: &View, folder: &Path) -> Sent {
    let seen = || {
        let totals = view.totals().unwrap();
        let forbidden = totals
            .iter()
            .filter(|row| row.reason == Reason::Forbidden)
            .map(|row| row.count.packets)
            .sum::<u64>();
        let unplaced = view.unplaced().unwrap();
        assert!(unplaced.iter().all(|(pin, _)| *pin == 0), "{unplaced:?}");
        (forbidden, unplaced.first().map_or(Count::default(), |row| row.1))
    };
    let far = FrameSocket::on("bgk1");
    let socket = cgroup::inside(folder, || FrameSocket::on("bgk0")).unwrap();
    let before = seen();
    for _ in 0..SENT {
        socket.send(&frame(OTHER));
    }
    let after = seen();
    let arrived = far.received().iter().filter(|received| **received == frame(OTHER)).count() as u64;
    Sent {
        forbidden: after.0 - before.0,
        unplaced: Count {
            packets: after.1.packets - before.1.packets,
            bytes: after.1.bytes - before.1.bytes,
        },
        arrived,
    }
}

fn make_anew(folder: &Path) {
    fs::remove_dir(folder).unwrap();
    fs::create_dir(folder).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_slice_that_is_made_anew_without_a_daemon_stays_pinned() {
    let pins = PinPlace::new("anew");
    in_own_network(|| {
        let (slice, sibling) = (Cgroup::new("slice").unwrap(), Cgroup::new("sibling").unwrap());
        let path = path_of(slice.path());
        guard(&pins, &path);
        let view = View::open(&pins.path()).unwrap();
        assert_eq!(send_from(&view, slice.path()), DROPPED);
        assert_eq!(send_from(&view, sibling.path()), PASSED);

        make_anew(slice.path());
        assert_eq!(send_from(&view, slice.path()), unplaced());
        assert_eq!(send_from(&view, sibling.path()), PASSED);
        let below = slice.child("unit").unwrap();
        assert_eq!(send_from(&view, below.path()), unplaced(), "as deep as it may be");

        // The next daemon looks.
        guard(&pins, &path);
        assert_eq!(send_from(&view, slice.path()), DROPPED);
        assert_eq!(send_from(&view, below.path()), DROPPED);
        let later = Cgroup::new("later").unwrap();
        assert_eq!(send_from(&view, later.path()), unplaced(), "nobody knows yet that it is another one");
        guard(&pins, &path);
        assert_eq!(send_from(&view, later.path()), PASSED);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_cgroup_that_comes_later_is_pinned_from_its_first_packet() {
    let pins = PinPlace::new("absent");
    in_own_network(|| {
        let (slice, other) = (Cgroup::new("slice").unwrap(), Cgroup::new("other").unwrap());
        let there = slice.child("there").unwrap();
        let unit = slice.path().join("mail.service");
        guard(&pins, &path_of(&unit));
        let view = View::open(&pins.path()).unwrap();
        assert_eq!(send_from(&view, slice.path()), PASSED);
        assert_eq!(send_from(&view, there.path()), PASSED);
        fs::create_dir(&unit).unwrap();
        assert_eq!(send_from(&view, &unit), unplaced());
        let elsewhere = other.child("new").unwrap();
        assert_eq!(send_from(&view, elsewhere.path()), PASSED, "new, and below another one");
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_cgroup_whose_parents_are_made_anew_stays_pinned() {
    let pins = PinPlace::new("nested");
    in_own_network(|| {
        let slice = Cgroup::new("slice").unwrap();
        let middle = slice.path().join("middle");
        let unit = middle.join("mail.service");
        let make = |folders: &[&PathBuf]| folders.iter().for_each(|folder| fs::create_dir(folder).unwrap());
        make(&[&middle, &unit]);
        guard(&pins, &path_of(&unit));
        let view = View::open(&pins.path()).unwrap();
        assert_eq!(send_from(&view, &unit), DROPPED);

        fs::remove_dir(&unit).unwrap();
        make_anew(&middle);
        assert_eq!(send_from(&view, &middle), PASSED, "what is less deep than the pinned one is not in it");
        make(&[&unit]);
        assert_eq!(send_from(&view, &unit), unplaced());

        fs::remove_dir(&unit).unwrap();
        fs::remove_dir(&middle).unwrap();
        make_anew(slice.path());
        make(&[&middle, &unit]);
        assert_eq!(send_from(&view, &unit), unplaced());
    });
}
