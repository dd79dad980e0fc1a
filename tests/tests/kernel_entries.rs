//! Entries in bpffs that a process has opened and found right are not opened again: what comes in their place is found all the
//! same, and so is what happens to a link behind its entry.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use aya::maps::MapData;
use aya::programs::links::{FdLink, PinnedLink};
use guard_common::abi::Hook;
use guard_tests::bpffs;
use guard_tests::cgroup::Cgroup;
use guard_user::kernel::{
    Attachment, BypassTarget, CgroupAttachment, Interface, Kernel as _, LinuxKernel, Observed,
};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use support::{PinPlace, guarded, in_own_network};

/// `BPF_PROG_TYPE_SCHED_CLS`, `BPF_PROG_TYPE_XDP` with `BPF_XDP`, and `BPF_PROG_TYPE_CGROUP_SOCKOPT` with
/// `BPF_CGROUP_SETSOCKOPT` (linux/bpf.h).
const CLASSIFIER: (u32, u32) = (3, 0);
const XDP: (u32, u32) = (6, 37);
const SETSOCKOPT: (u32, u32) = (25, 22);

fn look(kernel: &mut LinuxKernel) -> Observed {
    let observed = kernel.observe().unwrap();
    assert_eq!(observed.blind, [""; 0], "everything can be looked at");
    observed
}

/// Looks twice: from the second time on nothing that is still the same is opened.
fn look_again(kernel: &mut LinuxKernel) -> Observed {
    let first = look(kernel);
    let again = look(kernel);
    assert_eq!(again, first);
    again
}

fn missing(kernel: &mut LinuxKernel) -> Vec<String> {
    look(kernel).missing_entries
}

/// What is attached to `bgk0`.
fn attached(observed: &Observed) -> Vec<Attachment> {
    let found = observed.interfaces.iter().find(|it| it.interface.name == "bgk0");
    found.map_or_else(Vec::new, |it| it.attachments.clone())
}

/// The entries of links whose names end so.
fn entries(pins: &PinPlace, end: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(pins.path().join("links")).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.to_str().unwrap().ends_with(end)).collect()
}

#[test]
#[ignore = "needs root and BPF"]
fn a_map_that_is_pinned_in_the_place_of_another_is_found_whatever_it_is_called() {
    let (pins, others) = (PinPlace::new("replaced"), PinPlace::new("replacing"));
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", false);
        // A map of the same name, type and sizes, which is not this guard's.
        drop(others.open());
        let same = MapData::from_pin(others.map("FLOWS")).unwrap();
        assert_eq!(look_again(&mut kernel).missing_entries, [""; 0]);
        for _ in 0..2 {
            fs::remove_file(pins.map("FLOWS")).unwrap();
            assert_eq!(missing(&mut kernel), ["maps/FLOWS"]);
            same.pin(pins.map("FLOWS")).unwrap();
            for _ in 0..2 {
                assert_eq!(missing(&mut kernel), ["maps/FLOWS"], "it is no more right the second time");
            }
            kernel.restore_entries().unwrap();
            assert_eq!(look_again(&mut kernel).missing_entries, [""; 0]);
        }
        // The entry stays the file that it was, and its name leads elsewhere.
        mount_bind(pins.map("LOST"), pins.map("FLOWS")).unwrap();
        let below = missing(&mut kernel);
        unmount(pins.map("FLOWS"), UnmountFlags::empty()).unwrap();
        assert_eq!(below, ["maps/FLOWS"]);
        assert_eq!(missing(&mut kernel), [""; 0]);
        // One that this guard has under another name, by a symbolic link.
        fs::remove_file(pins.map("FLOWS")).unwrap();
        std::os::unix::fs::symlink(pins.map("LOST"), pins.map("FLOWS")).unwrap();
        assert_eq!(missing(&mut kernel), ["maps/FLOWS"]);
        kernel.restore_entries().unwrap();
        assert_eq!(look_again(&mut kernel).missing_entries, [""; 0]);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_link_whose_entry_is_another_links_by_now_is_seen_as_it_is() {
    let pins = PinPlace::new("relinked");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", true);
        kernel.attach(&Interface::by_name("bgk1").unwrap(), true).unwrap();
        let before = look_again(&mut kernel);
        let ingress = entries(&pins, "-ingress");
        let [one, other] = &ingress[..] else { panic!("{ingress:?}") };
        let link = |path: &PathBuf| FdLink::from(PinnedLink::from_pin(path).unwrap());
        let id = |path: &PathBuf| link(path).info().unwrap().id();
        let (lost, kept) = (id(one), id(other));
        let again = link(other);
        fs::remove_file(one).unwrap();
        let _pinned = again.pin(one).unwrap();
        assert_eq!((id(one), id(other)), (kept, kept));
        let observed = look(&mut kernel);
        let without = observed.interfaces.iter().flat_map(|it| &it.attachments).filter(|it| !it.is_kept);
        assert_eq!(without.map(|it| it.link).collect::<Vec<_>>(), [lost]);
        assert_eq!(observed.missing_entries.len(), 1, "{:?}", observed.missing_entries);
        // The name is free again, and the one that lost it has it back.
        fs::remove_file(one).unwrap();
        kernel.restore_entries().unwrap();
        assert_eq!((look_again(&mut kernel), id(one), id(other)), (before, lost, kept));
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_link_that_is_detached_or_given_another_program_behind_its_entry_is_found() {
    let pins = PinPlace::new("behind");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", true);
        let interface = Interface::by_name("bgk0").unwrap();
        let before = look_again(&mut kernel);
        // Before Linux 6.6 egress has no link.
        let egress = entries(&pins, "-egress").into_iter().map(|path| (path, Hook::Egress, CLASSIFIER));
        let ingress = entries(&pins, "-ingress").into_iter().map(|path| (path, Hook::Ingress, XDP));
        let links: Vec<_> = egress.chain(ingress).collect();
        assert!(!links.is_empty());
        for (entry, hook, (program, attachment)) in links {
            bpffs::exchange(&entry, program, attachment).unwrap();
            let observed = look_again(&mut kernel);
            let hooks: Vec<Hook> = attached(&observed).iter().map(|it| it.hook).collect();
            assert!(!hooks.contains(&hook) && hooks.len() == 1, "{hook:?} runs another's program: {hooks:?}");
            // Of ingress only what the link tells of itself says that it is the one on the interface.
            assert_eq!(observed.strays.len(), 0, "{:?}", observed.strays);
            kernel.attach(&interface, true).unwrap();
            assert_eq!(look_again(&mut kernel).strays, []);
            assert!(attached(&look(&mut kernel)).iter().all(|it| it.is_current && it.is_kept));

            bpffs::detach(&entry).unwrap();
            let observed = look_again(&mut kernel);
            let [stray] = &observed.strays[..] else { panic!("{:?}", observed.strays) };
            assert_eq!((stray.hook, stray.is_alive), (hook, false));
            kernel.attach(&interface, true).unwrap();
            let observed = look_again(&mut kernel);
            assert_eq!((observed.strays.len(), attached(&observed).len()), (0, attached(&before).len()));
        }
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_hook_on_a_cgroup_that_is_given_another_program_behind_its_entry_is_found() {
    let (pins, on) = (PinPlace::new("swapped"), Cgroup::new("swapped").unwrap());
    let target = BypassTarget { cgroup: on.path().into(), id: on.id().unwrap(), allowed: BTreeSet::new() };
    let seen = |kernel: &mut LinuxKernel| -> CgroupAttachment {
        let attachments = look_again(kernel).bypass.unwrap().attachments;
        let [link] = &attachments[..] else { panic!("{attachments:?}") };
        link.clone()
    };
    in_own_network(|| {
        let mut kernel = pins.open();
        kernel.refuse_bypass(Some(&target)).unwrap();
        let first = seen(&mut kernel);
        assert!(first.is_current && first.is_kept);
        let all = entries(&pins, "-setsockopt");
        let [entry] = &all[..] else { panic!("{all:?}") };
        bpffs::exchange(entry, SETSOCKOPT.0, SETSOCKOPT.1).unwrap();
        let given = seen(&mut kernel);
        assert_eq!((given.link, given.cgroup), (first.link, target.id));
        assert!(!given.is_current && given.is_kept && given.program != first.program, "{given:?}");
        kernel.refuse_bypass(Some(&target)).unwrap();
        assert_eq!(seen(&mut kernel), first);
        bpffs::detach(entry).unwrap();
        assert_eq!((seen(&mut kernel).link, seen(&mut kernel).cgroup), (first.link, 0));
        kernel.refuse_bypass(None).unwrap();
        assert_eq!(look(&mut kernel).bypass.unwrap().attachments, []);
    });
}
