//! Guarded interfaces in a real kernel: first in the chain, kept when the process ends, replaced without a
//! gap, followed through renames, and judged by whole generations only.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use guard_common::abi::Hook;
use guard_common::verdict::Reason;
use guard_user::kernel::{How, Interface, KernelError, LinuxKernel, NamedAttachment, OrderProblem, View};
use support::{
    CLIENT, FrameSocket, OTHER, PinPlace, STORAGE, add_tun, add_veth, delete, frame, geo, in_own_network,
    policy, rename,
};

/// Packets that any hook judged for this reason.
fn packets(view: &View, reason: Reason) -> u64 {
    view.totals().unwrap().iter().filter(|row| row.reason == reason).map(|row| row.count.packets).sum()
}

fn guarded(pins: &PinPlace, permit: &str, ingress: bool) -> (LinuxKernel, Vec<NamedAttachment>) {
    let mut kernel = pins.open();
    kernel.publish(&policy(kernel.generation() + 1, permit), Some(&geo("US"))).unwrap();
    let attached = kernel.attach(&Interface::by_name("bgk0").unwrap(), ingress).unwrap();
    (kernel, attached)
}

#[test]
#[ignore = "needs root and BPF"]
fn what_is_attached_judges_and_outlives_the_process() {
    let pins = PinPlace::new("outlive");
    in_own_network(|| {
        let (kernel, attached) = guarded(&pins, "\"IE\"", false);
        let [egress] = &attached[..] else { panic!("{attached:?}") };
        assert_eq!((egress.interface.as_str(), egress.hook), ("bgk0", Hook::Egress));
        assert!(matches!(egress.how, How::Tcx | How::Clsact));
        assert_eq!(kernel.attachments().unwrap(), attached);
        assert_eq!(kernel.check_order().unwrap(), []);
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
        assert_eq!(view.attachments().unwrap(), attached);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_restart_replaces_the_programs_in_place() {
    let pins = PinPlace::new("replace");
    in_own_network(|| {
        let (kernel, first) = guarded(&pins, "\"IE\"", true);
        drop(kernel);
        let mut kernel = pins.open();
        let stale = kernel.check_order().unwrap();
        assert_eq!(stale.len(), 2, "{stale:?}");
        assert!(stale.iter().all(|problem| matches!(problem, OrderProblem::OldProgram { .. })), "{stale:?}");
        let second = kernel.attach(&Interface::by_name("bgk0").unwrap(), true).unwrap();
        assert_eq!(kernel.check_order().unwrap(), []);
        assert_eq!(kernel.attachments().unwrap(), second, "two, not four");
        for (old, new) in first.iter().zip(&second) {
            assert_eq!((old.hook, old.how, old.index), (new.hook, new.how, new.index));
            assert_ne!(old.program, new.program);
        }
        FrameSocket::on("bgk0").send(&frame(STORAGE));
        assert_eq!(packets(&kernel, Reason::Forbidden), 1, "judged once");
        // Asked for again, it stays as it is; asked for no more, ingress goes.
        assert_eq!(kernel.attach(&Interface::by_name("bgk0").unwrap(), true).unwrap(), second);
        kernel.attach(&Interface::by_name("bgk0").unwrap(), false).unwrap();
        assert_eq!(kernel.attachments().unwrap(), second[..1]);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn ingress_sees_what_comes_in() {
    let pins = PinPlace::new("ingress");
    in_own_network(|| {
        let (kernel, attached) = guarded(&pins, "\"IE\"", true);
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
fn links_follow_their_interfaces() {
    let pins = PinPlace::new("rename");
    in_own_network(|| {
        let (mut kernel, first) = guarded(&pins, "\"IE\"", true);
        rename("bgk0", "bgk0.7");
        let index = first[0].index;
        let renamed = kernel.attachments().unwrap();
        assert!(renamed.iter().all(|now| now.interface == "bgk0.7" && now.index == index), "{renamed:?}");
        // Another interface takes the old name: both are guarded, each by links of its own.
        add_veth("bgk0", "bgk2");
        kernel.attach(&Interface::by_name("bgk0").unwrap(), true).unwrap();
        kernel.attach(&Interface::by_name("bgk0.7").unwrap(), true).unwrap();
        let names: Vec<String> = kernel.attachments().unwrap().into_iter().map(|now| now.interface).collect();
        assert_eq!(names, ["bgk0", "bgk0", "bgk0.7", "bgk0.7"]);
        assert_eq!(kernel.check_order().unwrap(), []);

        // They swap names: each keeps its links.
        let by_index = |kernel: &LinuxKernel| {
            let mut all = kernel.attachments().unwrap();
            all.sort_by_key(|now| (now.index, now.hook as u8));
            all.into_iter().map(|now| (now.index, now.program)).collect::<Vec<_>>()
        };
        let before = by_index(&kernel);
        rename("bgk0", "bgk-aside");
        rename("bgk0.7", "bgk0");
        rename("bgk-aside", "bgk0.7");
        for name in ["bgk0", "bgk0.7"] {
            kernel.attach(&Interface::by_name(name).unwrap(), true).unwrap();
        }
        assert_eq!(by_index(&kernel), before);
        rename("bgk0.7", "bgk-aside");
        rename("bgk0", "bgk0.7");
        rename("bgk-aside", "bgk0");

        delete("bgk0");
        let problems = kernel.check_order().unwrap();
        assert!(!problems.is_empty(), "the interface is gone");
        let gone = |problem: &OrderProblem| matches!(problem, OrderProblem::InterfaceGone { .. });
        assert!(problems.iter().all(gone), "{problems:?}");
        // It comes back with another number.
        add_veth("bgk0", "bgk2");
        let again = kernel.attach(&Interface::by_name("bgk0").unwrap(), true).unwrap();
        assert!(again.iter().all(|now| now.index > index), "{again:?}");
        assert_eq!(kernel.check_order().unwrap(), []);

        let released = kernel.release("bgk0.7").unwrap();
        assert_eq!(released.len(), 2);
        assert!(kernel.attachments().unwrap().iter().all(|now| now.interface == "bgk0"));
        delete("bgk0");
        assert_eq!(kernel.release("bgk0").unwrap().len(), problems.len());
        assert_eq!(kernel.attachments().unwrap(), []);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn interfaces_of_bare_ip_packets_have_their_program() {
    let pins = PinPlace::new("tun");
    in_own_network(|| {
        let _tun = add_tun("bgktun");
        let (mut kernel, _) = guarded(&pins, "\"IE\"", false);
        kernel.attach(&Interface::by_name("bgktun").unwrap(), false).unwrap();
        FrameSocket::on("bgktun").send(&frame(STORAGE)[14..]);
        assert_eq!(packets(&kernel, Reason::Forbidden), 1, "{CLIENT:?} was read from a bare packet");
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn another_program_before_ours_is_told() {
    let (pins, others) = (PinPlace::new("order"), PinPlace::new("others"));
    in_own_network(|| {
        let (kernel, attached) = guarded(&pins, "\"IE\"", false);
        // Another's programs, attached later, come first by TCX and as filters alike.
        let (other, _) = guarded(&others, "\"IE\"", false);
        assert_eq!(other.check_order().unwrap(), []);
        let problems = kernel.check_order().unwrap();
        let [OrderProblem::NotFirst { before, .. }] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!(before, &["egress"]);
        // Each knows its own: what one takes off, the other keeps.
        drop(other);
        LinuxKernel::detach(&others.path()).unwrap();
        assert_eq!(kernel.check_order().unwrap(), []);
        assert_eq!(kernel.attachments().unwrap(), attached);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn detach_takes_everything_off() {
    let pins = PinPlace::new("off");
    in_own_network(|| {
        let (kernel, attached) = guarded(&pins, "\"IE\"", true);
        drop(kernel);
        let removed = LinuxKernel::detach(&pins.path()).unwrap();
        let links = fs::read_dir(pins.path());
        assert!(links.is_err(), "{links:?}");
        assert_eq!(removed.links.len() + removed.filters.len(), attached.len(), "{removed:?}");
        // A new start finds nothing of the old, and its programs are the only ones.
        let (kernel, _) = guarded(&pins, "\"IE\"", true);
        assert_eq!(kernel.check_order().unwrap(), []);
        assert_eq!(kernel.attachments().unwrap().len(), 2);
        FrameSocket::on("bgk0").send(&frame(STORAGE));
        assert_eq!(packets(&kernel, Reason::Forbidden), 1);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn an_interface_that_is_not_there_is_an_error() {
    let missing = Interface::by_name("bgk-none").unwrap_err();
    assert!(matches!(missing, KernelError::NoInterface { .. }), "{missing}");
}
