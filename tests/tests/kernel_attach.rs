//! Guarded interfaces in a real kernel: first in the chain, kept when the process ends, replaced without a
//! gap, and judged by whole generations only.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use aya::EbpfLoader;
use aya::programs::SchedClassifier;
use aya::programs::links::{FdLink, PinnedLink};
use guard_common::abi::Hook;
use guard_common::verdict::Reason;
use guard_user::kernel::{Attachment, How, Interface, Kernel as _, KernelError, LinuxKernel, Observed, View};
use support::{
    CLIENT, FrameSocket, OTHER, PinPlace, STORAGE, add_tun, add_veth, delete, frame, geo, guarded,
    in_own_network, policy, rename,
};

/// Packets that any hook judged for this reason.
fn packets(view: &View, reason: Reason) -> u64 {
    view.totals().unwrap().iter().filter(|row| row.reason == reason).map(|row| row.count.packets).sum()
}

/// What is attached to the interface of this name.
fn at(observed: &Observed, name: &str) -> Vec<Attachment> {
    let found = observed.interfaces.iter().find(|it| it.interface.name == name);
    found.map_or_else(Vec::new, |it| it.attachments.clone())
}

/// Everything that is attached.
fn everything(observed: &Observed) -> Vec<(&str, &Attachment)> {
    let all = observed.interfaces.iter();
    all.flat_map(|it| it.attachments.iter().map(|found| (it.interface.name.as_str(), found))).collect()
}

fn is_well(attachment: &Attachment) -> bool {
    attachment.is_current && attachment.is_kept && attachment.before.is_empty()
}

#[test]
#[ignore = "needs root and BPF"]
fn what_is_attached_judges_and_outlives_the_process() {
    let pins = PinPlace::new("outlive");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", false);
        let observed = kernel.observe().unwrap();
        let attached = at(&observed, "bgk0");
        let [egress] = &attached[..] else { panic!("{attached:?}") };
        assert_eq!(egress.hook, Hook::Egress);
        assert!(matches!(egress.how, How::Tcx | How::Clsact) && is_well(egress), "{egress:?}");
        assert_eq!(everything(&observed).len(), 1);
        assert_eq!(
            (&observed.blind, &observed.missing_entries, &observed.strays),
            (&vec![], &vec![], &vec![])
        );
        let sender = FrameSocket::on("bgk0");
        sender.send(&frame(STORAGE));
        sender.send(&frame(OTHER));
        assert_eq!(packets(&kernel, Reason::Forbidden), 1);
        let untagged = packets(&kernel, Reason::Untagged);
        assert!(untagged >= 1);
        drop(kernel);

        sender.send(&frame(STORAGE));
        let view = View::open(&pins.path()).unwrap();
        assert_eq!(packets(&view, Reason::Forbidden), 2, "dropped without a daemon");
        let left =
            || view.interfaces().unwrap().into_iter().flat_map(|it| it.attachments).collect::<Vec<_>>();
        let programs: Vec<u32> = left().iter().map(|attachment| attachment.program).collect();
        assert_eq!(programs, [egress.program]);
        // What is left in bpffs of an interface that is gone guards nothing.
        delete("bgk0");
        assert_eq!(left(), []);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_restart_replaces_the_programs_in_place() {
    let pins = PinPlace::new("replace");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", true);
        let first = at(&kernel.observe().unwrap(), "bgk0");
        drop(kernel);
        let mut kernel = pins.open();
        let stale = at(&kernel.observe().unwrap(), "bgk0");
        assert_eq!(stale.len(), 2, "{stale:?}");
        assert!(stale.iter().all(|old| !old.is_current && old.is_kept), "{stale:?}");
        let interface = Interface::by_name("bgk0").unwrap();
        kernel.attach(&interface, true).unwrap();
        let observed = kernel.observe().unwrap();
        let second = at(&observed, "bgk0");
        assert_eq!(everything(&observed).len(), 2, "two, not four");
        for (old, new) in first.iter().zip(&second) {
            assert_eq!((old.hook, old.how, old.link), (new.hook, new.how, new.link));
            assert_ne!(old.program, new.program);
            assert!(is_well(new), "{new:?}");
        }
        FrameSocket::on("bgk0").send(&frame(STORAGE));
        assert_eq!(packets(&kernel, Reason::Forbidden), 1, "judged once");
        // Asked for again, it stays as it is; asked for no more, ingress goes.
        kernel.attach(&interface, true).unwrap();
        assert_eq!(at(&kernel.observe().unwrap(), "bgk0"), second);
        kernel.attach(&interface, false).unwrap();
        let observed = kernel.observe().unwrap();
        assert_eq!(at(&observed, "bgk0"), second[..1]);
        assert_eq!(observed.strays, [], "its entry went with it");
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn ingress_sees_what_comes_in() {
    let pins = PinPlace::new("ingress");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", true);
        let attached = at(&kernel.observe().unwrap(), "bgk0");
        let [_, ingress] = &attached[..] else { panic!("{attached:?}") };
        assert_eq!((ingress.hook, ingress.how), (Hook::Ingress, How::XdpNative), "veth has XDP");
        let ingress_packets = || {
            let totals = kernel.totals().unwrap();
            totals.iter().filter(|row| row.hook == Hook::Ingress).map(|row| row.count.packets).sum::<u64>()
        };
        let before = ingress_packets();
        FrameSocket::on("bgk1").send(&frame(OTHER));
        assert!(ingress_packets() > before);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn no_packet_is_judged_by_half_of_two_generations() {
    const FLIPS: u64 = 60;
    let pins = PinPlace::new("halves");
    in_own_network(|| {
        // Policy and geo tables of one generation agree on where the client is and may be; those of two
        // generations never do, and would drop the packet.
        let images = [geo("US"), geo("FR")];
        let permits = ["\"IE\", \"US\"", "\"IE\", \"FR\""];
        let mut kernel = pins.open();
        kernel.publish(&policy(1, permits[0]), Some(&images[0])).unwrap();
        kernel.attach(&Interface::by_name("bgk0").unwrap(), false).unwrap();
        let sender = FrameSocket::on("bgk0");
        let done = AtomicBool::new(false);
        let mail = frame(STORAGE);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    sender.send(&mail);
                }
            });
            for generation in 2..2 + FLIPS {
                let next = usize::from(generation % 2 == 0);
                kernel.publish(&policy(generation, permits[next]), Some(&images[next])).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        let sent = packets(&kernel, Reason::Permitted);
        assert!(sent > FLIPS, "{sent} packets are too few to tell");
        assert_eq!(packets(&kernel, Reason::Forbidden), 0, "of {sent} packets");
        assert_eq!(packets(&kernel, Reason::NoTables), 0, "of {sent} packets");
        println!("{sent} packets over {FLIPS} flips");
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn an_interface_that_is_gone_leaves_an_entry_to_forget() {
    let pins = PinPlace::new("gone");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", true);
        let old = Interface::by_name("bgk0").unwrap();
        delete("bgk0");
        let strays = kernel.observe().unwrap().strays;
        let hooks: Vec<Hook> = strays.iter().map(|stray| stray.hook).collect();
        assert!(hooks.contains(&Hook::Egress) && hooks.contains(&Hook::Ingress), "{strays:?}");
        assert!(strays.iter().all(|stray| stray.interface == "bgk0" && !stray.is_alive), "{strays:?}");
        let gone = kernel.attach(&old, true).unwrap_err();
        assert!(matches!(gone, KernelError::NoInterface { .. }), "{gone}");
        kernel.release(&old).unwrap();
        // It comes back with another number.
        add_veth("bgk0", "bgk2");
        let new = Interface::by_name("bgk0").unwrap();
        assert!(new.index > old.index);
        kernel.attach(&new, true).unwrap();
        let observed = kernel.observe().unwrap();
        assert_eq!(at(&observed, "bgk0").iter().filter(|found| is_well(found)).count(), 2, "{observed:?}");
        for stray in &observed.strays {
            kernel.forget(stray).unwrap();
            kernel.forget(stray).unwrap();
        }
        let observed = kernel.observe().unwrap();
        assert_eq!((observed.strays.len(), everything(&observed).len()), (0, 2));

        kernel.release(&new).unwrap();
        let observed = kernel.observe().unwrap();
        assert_eq!((everything(&observed), &observed.strays), (vec![], &vec![]));
        kernel.release(&new).unwrap();
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_thing_with_the_name_of_an_entry_hides_nothing() {
    let pins = PinPlace::new("odd");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", true);
        // A map where a link's entry is due, and a folder that nobody knows.
        let odd = pins.path().join("links/77-bgk7-egress");
        aya::maps::MapData::from_pin(pins.map("TOTALS")).unwrap().pin(&odd).unwrap();
        fs::create_dir(pins.path().join("links/unknown")).unwrap();
        let observed = kernel.observe().unwrap();
        assert_eq!(at(&observed, "bgk0").len(), 2);
        assert!(observed.blind.iter().any(|it| it.contains("77-bgk7-egress")), "{:?}", observed.blind);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn interfaces_of_bare_ip_packets_have_their_program() {
    let pins = PinPlace::new("tun");
    in_own_network(|| {
        let _tun = add_tun("bgktun");
        let mut kernel = guarded(&pins, "\"IE\"", false);
        kernel.attach(&Interface::by_name("bgktun").unwrap(), false).unwrap();
        FrameSocket::on("bgktun").send(&frame(STORAGE)[14..]);
        assert_eq!(packets(&kernel, Reason::Forbidden), 1, "{CLIENT:?} was read from a bare packet");
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn another_program_before_ours_is_shown() {
    let (pins, others) = (PinPlace::new("order"), PinPlace::new("others"));
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", false);
        let attached = at(&kernel.observe().unwrap(), "bgk0");
        // Another's programs, attached later, come first by TCX and as filters alike.
        let mut other = guarded(&others, "\"IE\"", false);
        assert!(at(&other.observe().unwrap(), "bgk0").iter().all(is_well));
        let behind = at(&kernel.observe().unwrap(), "bgk0");
        assert_eq!(behind, [Attachment { before: vec!["egress".to_owned()], ..attached[0].clone() }]);
        // Each knows its own: what one takes off, the other keeps.
        drop(other);
        LinuxKernel::detach(&others.path()).unwrap();
        assert_eq!(at(&kernel.observe().unwrap(), "bgk0"), attached);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn what_an_interface_sent_before_it_was_guarded_is_known() {
    const BEFORE: u64 = 1000;
    let pins = PinPlace::new("before");
    in_own_network(|| {
        let socket = FrameSocket::on("bgk0");
        (0..BEFORE).for_each(|_| socket.send(&frame(STORAGE)));
        let sent_before = |kernel: &mut LinuxKernel| {
            let observed = kernel.observe().unwrap();
            observed.interfaces.iter().find(|it| it.interface.name == "bgk0").unwrap().sent_before
        };
        let mut kernel = guarded(&pins, "\"IE\"", true);
        let sent = sent_before(&mut kernel).unwrap();
        // IPv6 sends some by itself.
        assert!((BEFORE..BEFORE + 50).contains(&sent), "{sent}");
        (0..BEFORE).for_each(|_| socket.send(&frame(OTHER)));
        kernel.attach(&Interface::by_name("bgk0").unwrap(), true).unwrap();
        assert_eq!(sent_before(&mut kernel), Some(sent), "it was guarded already");
        drop(kernel);
        assert_eq!(sent_before(&mut guarded(&pins, "\"IE\"", true)), None, "and was taken over");
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn detach_takes_everything_off() {
    let pins = PinPlace::new("off");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", true);
        let attached = everything(&kernel.observe().unwrap()).len();
        rename("bgk0", "bgk9");
        drop(kernel);
        let removed = LinuxKernel::detach(&pins.path()).unwrap();
        let links = fs::read_dir(pins.path());
        assert!(links.is_err(), "{links:?}");
        assert_eq!(removed.links.len() + removed.filters.len(), attached, "{removed:?}");
        rename("bgk9", "bgk0");
        // A new start finds nothing of the old, and its programs are the only ones.
        let mut kernel = guarded(&pins, "\"IE\"", true);
        let observed = kernel.observe().unwrap();
        let attached = everything(&observed);
        assert_eq!(attached.iter().filter(|(_, found)| is_well(found)).count(), 2, "{attached:?}");
        assert_eq!(attached.len(), 2);
        FrameSocket::on("bgk0").send(&frame(STORAGE));
        assert_eq!(packets(&kernel, Reason::Forbidden), 1);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn detach_takes_links_off_also_where_it_cant_tell_filters() {
    let pins = PinPlace::new("untold");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", true);
        let observed = kernel.observe().unwrap();
        let has_filter = everything(&observed).iter().any(|(_, found)| found.how == How::Clsact);
        drop(kernel);
        // Filters are told from another program's by this map.
        fs::remove_file(pins.path().join("maps/CONTROL")).unwrap();
        let removed = LinuxKernel::detach(&pins.path()).unwrap();
        assert_eq!(removed.left.is_some(), has_filter, "{removed:?}");
        assert_eq!(removed.links.len(), if has_filter { 1 } else { 2 }, "{removed:?}");
        let links = fs::read_dir(pins.path().join("links"));
        assert_eq!(links.map_or(0, Iterator::count), 0);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn detach_does_not_mind_a_note_of_a_filter_that_is_gone() {
    let pins = PinPlace::new("note");
    in_own_network(|| {
        drop(guarded(&pins, "\"IE\"", false));
        let removed = LinuxKernel::detach(&pins.path()).unwrap();
        assert_eq!((removed.links.len() + removed.filters.len(), removed.left), (1, None));
        // As a filter leaves it that somebody else removed, with the map by which it would be known.
        drop(pins.open());
        let index = Interface::by_name("bgk0").unwrap().index;
        fs::create_dir(pins.path().join(format!("filters/{index}-bgk0-filter"))).unwrap();
        fs::remove_file(pins.path().join("maps/CONTROL")).unwrap();
        let removed = LinuxKernel::detach(&pins.path()).unwrap();
        assert_eq!(removed.left, None);
        assert!(!pins.path().exists());
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn an_interface_that_is_not_there_is_an_error() {
    let missing = Interface::by_name("bgk-none").unwrap_err();
    assert!(matches!(missing, KernelError::NoInterface { .. }), "{missing}");
}

/// Exchanges two entries, as `mv --exchange` does.
fn exchange(one: &std::path::Path, other: &std::path::Path) {
    let beside = one.with_file_name("beside");
    std::fs::rename(one, &beside).unwrap();
    std::fs::rename(other, one).unwrap();
    std::fs::rename(&beside, other).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn entries_of_which_somebody_exchanges_the_names_are_seen_and_given_them_back() {
    let pins = PinPlace::new("exchanged");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", true);
        let links = pins.path().join("links");
        let names = || {
            let entries = std::fs::read_dir(&links).unwrap();
            let mut names: Vec<_> =
                entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        // Where egress has no link (before Linux 6.6), two interfaces have one of ingress each.
        kernel.attach(&Interface::by_name("bgk1").unwrap(), true).unwrap();
        let before = (names(), everything(&kernel.observe().unwrap()).len());
        let [one, other, ..] = &before.0[..] else { panic!("{before:?}") };
        let maps = ["SOCKETS_NAMED", "SOCKET_CHANGES"].map(|name| pins.path().join("maps").join(name));
        exchange(&links.join(one), &links.join(other));
        exchange(&maps[0], &maps[1]);
        let Err(refused) = View::open(&pins.path()) else { panic!("maps under wrong names are read") };
        assert!(refused.to_string().contains("somebody has exchanged the names"), "{refused}");
        let mut missing = kernel.observe().unwrap().missing_entries;
        missing.sort();
        let links_of = [one, other].map(|name| format!("links/{name}"));
        assert_eq!(
            missing,
            [&links_of[..], &["maps/SOCKETS_NAMED".to_owned(), "maps/SOCKET_CHANGES".to_owned()]].concat()
        );
        kernel.restore_entries().unwrap();
        let observed = kernel.observe().unwrap();
        assert_eq!(observed.missing_entries, Vec::<String>::new());
        assert_eq!((names(), everything(&observed).len()), before);
        assert!(everything(&observed).into_iter().all(|(_, it)| is_well(it)));
        View::open(&pins.path()).unwrap();
        // One that was given any name has its own again.
        std::fs::rename(links.join(one), links.join("99-lan-egress")).unwrap();
        assert_eq!(kernel.observe().unwrap().missing_entries, [format!("links/{one}")]);
        kernel.restore_entries().unwrap();
        assert_eq!((names(), kernel.observe().unwrap().missing_entries), (before.0.clone(), Vec::new()));
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_link_that_was_given_another_program_was_no_guard_when_the_next_process_takes_it() {
    let (pins, others) = (PinPlace::new("given"), PinPlace::new("givers"));
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", false);
        let attached = at(&kernel.observe().unwrap(), "bgk0");
        if attached.iter().any(|it| it.how == How::Clsact) {
            // Before Linux 6.6 egress has no link.
            return;
        }
        let sent_before = |kernel: &mut LinuxKernel| {
            let observed = kernel.observe().unwrap();
            observed.interfaces.iter().find(|it| it.interface.name == "bgk0").unwrap().sent_before
        };
        for is_given in [false, true] {
            drop(kernel);
            if is_given {
                fs::create_dir_all(others.path()).unwrap();
                let mut other = EbpfLoader::new()
                    .default_map_pin_directory(others.path())
                    .load(guard_user::kernel::bench_object())
                    .unwrap();
                let program: &mut SchedClassifier =
                    other.program_mut("bench_empty").unwrap().try_into().unwrap();
                program.load().unwrap();
                let entry = fs::read_dir(pins.path().join("links")).unwrap().next().unwrap().unwrap().path();
                let link: FdLink = PinnedLink::from_pin(entry).unwrap().into();
                program.attach_to_link(link.try_into().unwrap()).unwrap();
            }
            FrameSocket::on("bgk0").send(&frame(STORAGE));
            kernel = pins.open();
            assert_eq!(at(&kernel.observe().unwrap(), "bgk0").is_empty(), is_given);
            kernel.attach(&Interface::by_name("bgk0").unwrap(), false).unwrap();
            assert_eq!(
                sent_before(&mut kernel).is_some(),
                is_given,
                "what it let pass meanwhile was not judged"
            );
            assert!(everything(&kernel.observe().unwrap()).into_iter().all(|(_, it)| is_well(it)));
        }
    });
}
