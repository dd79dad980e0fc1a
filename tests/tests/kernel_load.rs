//! The programs in a real kernel: loaded, fed with generations, adopted by the next process, refused where
//! they are not ours, and gone when they are taken off.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::collections::BTreeSet;
use std::fs;

use aya::EbpfLoader;
use aya::maps::{Array, Map, MapData};
use guard_common::abi::{ABI_VERSION, ExemptionUse, Hook, Loss, MAX_EXEMPTIONS};
use guard_common::host::HostOrigin;
use guard_common::packet::Link;
use guard_common::verdict::{Reason, Verdict};
use guard_tests::packet::Packet;
use guard_user::kernel::sockets::Flow;
use guard_user::kernel::{
    Calls, CpuUse, Interface, Kernel as _, KernelError, LinuxKernel, ShadowTables, View,
};
use support::{CLIENT, OTHER, PinPlace, STORAGE, frame, geo, judged, policy};

const DROPPED: (Verdict, Reason) = (Verdict::Drop, Reason::Forbidden);
const PERMITTED: (Verdict, Reason) = (Verdict::Pass, Reason::Permitted);
const UNTAGGED: (Verdict, Reason) = (Verdict::Pass, Reason::Untagged);

/// What the verifier may walk through for each program: well below its bound of a million, so that a kernel
/// that follows more paths still takes it, and near what it is, so that a step up is seen.
const BOUNDS: [(&str, u32); 10] = [
    ("egress", 270_000),
    ("egress_raw", 270_000),
    ("ingress", 260_000),
    ("ingress_raw", 260_000),
    ("setsockopt", 10_000),
    ("sock_create", 1_000),
    ("connect4", 1_000),
    ("connect6", 1_000),
    ("sendmsg4", 1_000),
    ("sendmsg6", 1_000),
];

#[test]
#[ignore = "needs root and BPF"]
fn the_programs_load_within_their_bounds() {
    let pins = PinPlace::new("load");
    let kernel = pins.open();
    assert!(!kernel.adopted());
    assert_eq!(kernel.generation(), 0);
    let counts = kernel.verified_instructions().unwrap();
    println!("verified instructions: {counts:?}");
    assert_eq!(counts.len(), BOUNDS.len());
    for ((name, count), (bounded, bound)) in counts.into_iter().zip(BOUNDS) {
        assert_eq!(name, bounded);
        assert!(count <= bound, "{name}: {count} verified instructions, at most {bound} are allowed");
    }
}

/// Where the config asks for it they refuse calls, too.
#[test]
#[ignore = "needs root and BPF"]
fn the_programs_that_refuse_calls_load_within_their_bound() {
    const BOUND: u32 = 250_000;
    let pins = PinPlace::new("calls");
    let kernel = LinuxKernel::open_and(&pins.path(), Calls::Judged).unwrap();
    let counts = kernel.verified_instructions().unwrap();
    println!("verified instructions: {counts:?}");
    for name in ["connect4", "connect6", "sendmsg4", "sendmsg6"] {
        let found = counts.iter().find(|(program, _)| *program == name).unwrap().1;
        assert!((1_000..=BOUND).contains(&found), "{name}: {found} verified instructions");
    }
}

/// As kernels with `PREEMPT_RT` have them.
#[test]
#[ignore = "needs root and BPF"]
fn the_programs_for_shared_cpus_load_within_their_bounds() {
    let pins = PinPlace::new("shared");
    let kernel = LinuxKernel::open_for(&pins.path(), CpuUse::Shared).unwrap();
    let counts = kernel.verified_instructions().unwrap();
    println!("verified instructions: {counts:?}");
    assert!(counts.iter().zip(BOUNDS).all(|(found, bound)| found.1 <= bound.1), "{counts:?}");
}

/// Those that log each step, in the place of the ordinary ones.
#[test]
#[ignore = "needs root and BPF"]
fn the_tracing_programs_load_within_their_bounds() {
    for cpus in [CpuUse::Exclusive, CpuUse::Shared] {
        let pins = PinPlace::new("traced");
        let mut kernel = LinuxKernel::open_for(&pins.path(), cpus).unwrap();
        let ordinary = kernel.verified_instructions().unwrap();
        let _reader = kernel.begin_trace().unwrap();
        let counts = kernel.verified_instructions().unwrap();
        println!("verified instructions: {counts:?}");
        assert_ne!(counts[..4], ordinary[..4]);
        // Each step that is kept is a call more.
        assert!(counts.iter().take(4).all(|(_, count)| *count <= 300_000), "{counts:?}");
        kernel.use_ordinary_programs().unwrap();
        assert_eq!(kernel.verified_instructions().unwrap(), ordinary);
    }
}

/// Those that judge each packet by a candidate too.
#[test]
#[ignore = "needs root and BPF"]
fn the_programs_of_a_shadow_load_within_their_bounds() {
    let tables = ShadowTables { policy: policy(1, "\"US\"").into(), geo: geo("US").into() };
    for cpus in [CpuUse::Exclusive, CpuUse::Shared] {
        let pins = PinPlace::new("shadowed");
        let mut kernel = LinuxKernel::open_for(&pins.path(), cpus).unwrap();
        let ordinary = kernel.verified_instructions().unwrap();
        let _reader = kernel.begin_shadow(&tables).unwrap();
        let counts = kernel.verified_instructions().unwrap();
        println!("verified instructions: {counts:?}");
        assert_ne!(counts[..4], ordinary[..4]);
        // Each table may be of two maps.
        assert!(counts.iter().take(4).all(|(_, count)| *count <= 600_000), "{counts:?}");
        kernel.use_ordinary_programs().unwrap();
        assert_eq!(kernel.verified_instructions().unwrap(), ordinary);
    }
}

/// A time namespace whose boot time is another would shift the windows of exemptions.
#[test]
#[ignore = "needs root and BPF"]
fn a_process_with_a_clock_of_its_own_is_refused() {
    const INSIDE: &str = "BORDERGUARD_TEST_SHIFTED_CLOCK";
    if std::env::var_os(INSIDE).is_some() {
        let pins = PinPlace::new("clock");
        let refused = LinuxKernel::open(&pins.path()).unwrap_err();
        assert!(
            matches!(&refused, KernelError::TimeNamespace { offset } if offset == "3600.000000000"),
            "{refused}"
        );
        assert!(!pins.path().exists(), "nothing was made");
        return;
    }
    let mut shifted = std::process::Command::new(std::env::current_exe().unwrap());
    shifted
        .args(["--exact", "a_process_with_a_clock_of_its_own_is_refused", "--ignored", "--nocapture"])
        .env(INSIDE, "1");
    // SAFETY: between fork and exec there are only system calls, with what is made before.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut shifted, || {
            let made = libc::syscall(libc::SYS_unshare, libc::CLONE_NEWTIME);
            if made != 0 {
                return Err(std::io::Error::last_os_error());
            }
            let file = libc::open(c"/proc/self/timens_offsets".as_ptr(), libc::O_WRONLY);
            let line = b"boottime 3600 0";
            let written = libc::write(file, line.as_ptr().cast(), line.len());
            if written != line.len() as isize {
                return Err(std::io::Error::last_os_error());
            }
            // Who has made the namespace is between two clocks, before Linux 6.3 also after exec, and may
            // not start a thread. Its child is in it.
            match libc::fork() {
                -1 => Err(std::io::Error::last_os_error()),
                0 => Ok(()),
                child => {
                    let mut status = 0;
                    libc::waitpid(child, &raw mut status, 0);
                    libc::_exit(i32::from(status != 0))
                }
            }
        });
    }
    let inside = shifted.output().unwrap();
    let said = [&inside.stdout[..], &inside.stderr].concat();
    assert!(inside.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
#[ignore = "needs root and BPF"]
fn without_a_generation_nothing_passes_and_nothing_is_attached() {
    let pins = PinPlace::new("empty");
    let mut kernel = pins.open();
    assert_eq!(judged(&kernel, OTHER), (Verdict::Drop, Reason::NoTables));
    let lo = Interface::by_name("lo").unwrap();
    let refused = kernel.attach(&lo, false).unwrap_err();
    assert!(matches!(refused, KernelError::NotPublished), "{refused}");
    let refused = kernel.publish(&policy(1, "\"IE\""), None).unwrap_err();
    assert!(matches!(refused, KernelError::NoGeo), "{refused}");
    assert_eq!(kernel.live_generation().unwrap(), 0);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_generation_judges_and_counts() {
    let pins = PinPlace::new("judge");
    let mut kernel = pins.open();
    let published = kernel.publish(&policy(7, "\"IE\""), Some(&geo("US"))).unwrap();
    println!("{published}");
    assert_eq!((published.generation, kernel.generation()), (7, 7));
    assert_eq!(kernel.live_generation().unwrap(), 7);
    assert_eq!(judged(&kernel, STORAGE), DROPPED);
    assert_eq!(judged(&kernel, OTHER), UNTAGGED);
    kernel.publish(&policy(8, "\"IE\", \"US\""), None).unwrap();
    assert_eq!(judged(&kernel, STORAGE), PERMITTED);

    let counters = kernel.counters().unwrap();
    let size = frame(STORAGE).len() as u64;
    let totals: Vec<_> =
        counters.totals.iter().map(|row| (row.verdict, row.reason, row.count.packets)).collect();
    let (untagged, permitted) = ((UNTAGGED.0, UNTAGGED.1, 1), (PERMITTED.0, PERMITTED.1, 1));
    assert_eq!(totals, [untagged, permitted, (DROPPED.0, DROPPED.1, 1)]);
    let [permitted] = counters.permitted[..] else { panic!("{counters:?}") };
    assert_eq!((permitted.pin, permitted.jurisdiction.as_str()), (0, "US"));
    assert_eq!((permitted.count.packets, permitted.count.bytes), (1, size));
    let [outcome] = counters.outcomes[..] else { panic!("{counters:?}") };
    assert_eq!((outcome.pin, outcome.jurisdiction.as_str(), outcome.hook), (0, "US", Hook::Egress));
    assert_eq!((outcome.verdict, outcome.reason), DROPPED);
    assert_eq!((outcome.count.packets, outcome.count.bytes), (1, size));
    assert_eq!(counters.lost, [0; Loss::COUNT]);
}

#[test]
#[ignore = "needs root and BPF"]
fn every_hook_and_link_has_its_program() {
    let pins = PinPlace::new("hooks");
    let mut kernel = support::open_to_judge(&pins.path()).unwrap();
    kernel.publish(&policy(1, "\"IE\""), Some(&geo("US"))).unwrap();
    let whole = frame(OTHER);
    let raw = &whole[14..];
    for hook in Hook::OF_PACKETS {
        for (link, bytes) in [(Link::Ethernet, &whole[..]), (Link::Raw, raw)] {
            let judged = kernel.judge_frame(hook, link, bytes, &HostOrigin::default()).unwrap();
            assert_eq!((judged.verdict, judged.reason), UNTAGGED, "{hook:?} {link:?}");
        }
    }
    let short = kernel.judge_frame(Hook::Egress, Link::Ethernet, &whole[..13], &HostOrigin::default());
    assert!(matches!(short, Err(KernelError::TestRun { len: 13, .. })), "{short:?}");
}

#[test]
#[ignore = "needs root and BPF"]
fn every_publish_changes_the_next_verdict() {
    let pins = PinPlace::new("flip");
    let mut kernel = pins.open();
    let images = [geo("US"), geo("FR")];
    kernel.publish(&policy(1, "\"IE\", \"FR\""), Some(&images[0])).unwrap();
    // All ways round the four combinations of slots, by policy alone and with geo tables.
    let mut country = "US";
    for generation in 2..40 {
        let permit = if generation % 3 == 0 { "US" } else { "FR" };
        let image = (generation % 5 < 2).then(|| {
            country = if generation % 2 == 0 { "US" } else { "FR" };
            &images[usize::from(country == "FR")]
        });
        kernel.publish(&policy(generation, &format!("\"IE\", \"{permit}\"")), image).unwrap();
        let expected = if permit == country { PERMITTED } else { DROPPED };
        assert_eq!(judged(&kernel, STORAGE), expected, "generation {generation}");
    }
    let refused = kernel.publish(&policy(39, "\"US\""), None).unwrap_err();
    assert!(matches!(refused, KernelError::OldGeneration { given: 39, live: 39 }), "{refused}");
}

#[test]
#[ignore = "needs root and BPF"]
fn the_next_process_adopts_generation_and_counters() {
    let pins = PinPlace::new("adopt");
    let mut first = pins.open();
    first.publish(&policy(3, "\"IE\""), Some(&geo("US"))).unwrap();
    assert_eq!(judged(&first, STORAGE), DROPPED);
    first.reset_exemption_use(5, ExemptionUse { bytes: 77, packets: 1, charged: 77 }).unwrap();
    let locked = LinuxKernel::open(&pins.path()).unwrap_err();
    assert!(matches!(locked, KernelError::Locked { .. }), "{locked}");
    let locked = LinuxKernel::detach(&pins.path()).unwrap_err();
    assert!(matches!(locked, KernelError::Locked { .. }), "{locked}");
    assert_eq!(first.held().unwrap(), BTreeSet::new());
    first.hold(5, true).unwrap();
    first.hold(255, true).unwrap();
    first.hold(0, true).unwrap();
    first.hold(0, false).unwrap();
    assert!(matches!(first.hold(256, true), Err(KernelError::Map { .. })), "there is no such slot");
    let before = first.counters().unwrap();
    assert_eq!(View::open(&pins.path()).unwrap().counters().unwrap(), before, "another process may look");
    // Nothing is closed in an orderly way after SIGKILL either: there is no Drop that does anything.
    drop(first);

    let mut second = pins.open();
    assert!(second.adopted());
    assert_eq!(second.generation(), 3);
    assert_eq!(second.counters().unwrap(), before);
    assert_eq!(second.exemption_use(5).unwrap(), ExemptionUse { bytes: 77, packets: 1, charged: 77 });
    assert_eq!(second.held().unwrap(), BTreeSet::from([5, 255]), "what an order closed stays known");
    assert_eq!(judged(&second, STORAGE), DROPPED, "it judges by the generation of the first");
    second.publish(&policy(4, "\"IE\", \"US\""), None).unwrap();
    assert_eq!(judged(&second, STORAGE), PERMITTED);
    assert_eq!(second.flows().unwrap().len(), 1);
}

#[test]
#[ignore = "needs root and BPF"]
fn events_tell_of_the_drop() {
    let pins = PinPlace::new("events");
    let mut kernel = pins.open();
    kernel.publish(&policy(2, "\"IE\""), Some(&geo("US"))).unwrap();
    let mut events = kernel.events().unwrap();
    assert_eq!(events.next(), None);
    for _ in 0..3 {
        assert_eq!(judged(&kernel, STORAGE), DROPPED);
    }
    assert_eq!(judged(&kernel, OTHER), UNTAGGED);
    let event = events.next().unwrap();
    assert_eq!((event.key.sport, event.key.dport, event.key.proto), (8143, 50_000, 6));
    assert_eq!((event.record.verdict, event.record.reason), (Verdict::Drop as u8, Reason::Forbidden as u8));
    assert_eq!((event.record.generation, event.record.packets), (2, 1));
    assert_eq!(events.next(), None, "one for the flow, and none for what is not pinned");
    assert_eq!(events.malformed(), 0);
    let [(key, record)] = kernel.flows().unwrap()[..] else { panic!("one flow") };
    let sender = Flow::of(&key).unwrap();
    assert_eq!(sender.local.to_string(), "192.0.2.10:8143");
    assert_eq!((key, record.packets), (event.key, 3));
}

#[test]
#[ignore = "needs root and BPF"]
fn maps_of_another_abi_are_refused_untouched() {
    let pins = PinPlace::new("abi");
    let mut kernel = pins.open();
    kernel.publish(&policy(1, "\"IE\""), Some(&geo("US"))).unwrap();
    drop(kernel);
    let map = Map::from_map_data(MapData::from_pin(pins.map("CONTROL")).unwrap()).unwrap();
    let mut control: Array<_, u64> = map.try_into().unwrap();
    let ours = control.get(&0, 0).unwrap();
    // live, then abi, 4 bytes each.
    let mut bytes = ours.to_ne_bytes();
    bytes[4..].copy_from_slice(&(ABI_VERSION + 1).to_ne_bytes());
    control.set(0, u64::from_ne_bytes(bytes), 0).unwrap();
    let refused = LinuxKernel::open(&pins.path()).unwrap_err();
    assert!(
        matches!(refused, KernelError::AbiDiffers { found, wanted: ABI_VERSION, .. } if found == ABI_VERSION + 1),
        "{refused}"
    );
    assert!(refused.to_string().contains("borderguard detach"), "{refused}");
    control.set(0, ours, 0).unwrap();
    assert_eq!(pins.open().generation(), 1, "nothing else was changed");
    // Whatever made them, they can be taken off.
    control.set(0, u64::from_ne_bytes(bytes), 0).unwrap();
    LinuxKernel::detach(&pins.path()).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_map_of_another_size_is_refused() {
    let pins = PinPlace::new("size");
    drop(pins.open());
    fs::remove_file(pins.map("EXEMPTION_USE")).unwrap();
    let missing = LinuxKernel::open(&pins.path()).unwrap_err();
    assert!(
        matches!(&missing, KernelError::MapsMissing { missing, .. } if missing == &["EXEMPTION_USE"]),
        "{missing}"
    );
    // By its own name, as an object of another build makes it.
    let others = PinPlace::new("sized");
    fs::create_dir_all(others.path()).unwrap();
    let _object = EbpfLoader::new()
        .map_max_entries("EXEMPTION_USE", 8)
        .default_map_pin_directory(others.path())
        .load(guard_user::kernel::bench_object())
        .unwrap();
    let other = MapData::from_pin(others.path().join("EXEMPTION_USE")).unwrap();
    other.pin(pins.map("EXEMPTION_USE")).unwrap();
    let refused = LinuxKernel::open(&pins.path()).unwrap_err();
    let KernelError::MapDiffers { map, what, found, wanted, .. } = &refused else { panic!("{refused}") };
    assert_eq!(
        (map.as_str(), *what, *found, *wanted),
        ("EXEMPTION_USE", "room for", 8, MAX_EXEMPTIONS as u32)
    );
    // One of another name is told as what was put there.
    fs::remove_file(pins.map("EXEMPTION_USE")).unwrap();
    let strange = Array::<MapData, u64>::create(256, 0).unwrap();
    strange.pin(pins.map("EXEMPTION_USE")).unwrap();
    let refused = LinuxKernel::open(&pins.path()).unwrap_err().to_string();
    assert!(refused.contains("exchanged the names"), "{refused}");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_start_that_was_broken_off_is_made_good() {
    let pins = PinPlace::new("half");
    drop(pins.open());
    // As if the process had ended before the last maps were made.
    for name in ["CONTROL", "FLOWS", "V4_ENTRIES"] {
        fs::remove_file(pins.map(name)).unwrap();
    }
    let kernel = pins.open();
    assert!(!kernel.adopted());
    assert!(pins.map("FLOWS").exists());
}

#[test]
#[ignore = "needs root and BPF"]
fn without_the_capabilities_it_says_so() {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

    let pins = PinPlace::new("caps");
    // The loader asks once for a process what the kernel can do: here, and not where it may not ask.
    drop(pins.open());
    LinuxKernel::detach(&pins.path()).unwrap();
    let none = CapabilitySet::empty();
    let refused = std::thread::scope(|scope| {
        let powerless = scope.spawn(|| {
            let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
            set_capabilities(None, sets).unwrap();
            LinuxKernel::open(&pins.path()).unwrap_err()
        });
        powerless.join().unwrap()
    });
    assert!(matches!(refused, KernelError::NotPermitted { .. }), "{refused}");
    assert!(!pins.open().adopted(), "what it left is made good");
}

#[test]
#[ignore = "needs root and BPF"]
fn detach_leaves_nothing() {
    let pins = PinPlace::new("detach");
    let nothing = LinuxKernel::detach(&pins.path()).unwrap_err();
    assert!(matches!(nothing, KernelError::NothingPinned { .. }), "{nothing}");
    let mut kernel = pins.open();
    kernel.publish(&policy(1, "\"IE\""), Some(&geo("US"))).unwrap();
    drop(kernel);
    let removed = LinuxKernel::detach(&pins.path()).unwrap();
    assert!(removed.maps.contains(&"CONTROL".to_owned()) && removed.links.is_empty(), "{removed:?}");
    assert!(!pins.path().exists());
    let kernel = pins.open();
    assert!(!kernel.adopted() && kernel.generation() == 0, "all begins anew");
}

/// A frame of several buffers, as jumbo frames and large receive offload make them: its headers are in the first, and all of
/// it is counted. A program that takes no such frames is not even run on one.
#[test]
#[ignore = "needs root and BPF"]
fn a_frame_longer_than_a_page_is_judged_as_it_comes_in() {
    let pins = PinPlace::new("frags");
    let mut kernel = pins.open();
    let ingress = |generation, permit: &str| {
        let mut table = policy(generation, permit);
        table.ingress_drop = table.pins;
        table
    };
    let incoming =
        |from: [u8; 4]| Packet::ethernet().ipv4(from, STORAGE).udp(50_000, 8143).payload([7; 8900]).build();
    let judge = |kernel: &LinuxKernel, link, frame: &[u8]| {
        let judged = kernel.judge_frame(Hook::Ingress, link, frame, &HostOrigin::default()).unwrap();
        assert_eq!(judged.bytes, frame.len() as u64);
        // XDP_DROP and XDP_PASS.
        assert_eq!(judged.code, if judged.verdict == Verdict::Drop { 1 } else { 2 });
        (judged.verdict, judged.reason)
    };
    kernel.publish(&ingress(1, ""), Some(&geo("US"))).unwrap();
    let frame = incoming(CLIENT);
    assert_eq!(judge(&kernel, Link::Ethernet, &frame), DROPPED);
    assert_eq!(judge(&kernel, Link::Raw, &frame[14..]), DROPPED);
    assert_eq!(judge(&kernel, Link::Ethernet, &incoming(OTHER)), (Verdict::Drop, Reason::PlaceUnknown));
    kernel.publish(&ingress(2, "\"US\""), None).unwrap();
    assert_eq!(judge(&kernel, Link::Ethernet, &frame), PERMITTED);
}
