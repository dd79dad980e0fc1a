//! A thousand guarded interfaces: no descriptor for each, and a look at all of them takes no longer than it may.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::time::{Duration, Instant};

use guard_common::abi::Hook;
use guard_user::kernel::{Attachment, Interface, Kernel as _, LinuxKernel};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use support::{Network, PinPlace, geo, policy};

/// Interfaces, and what a look at them may take of a processor, in a build without optimisation: others may have it
/// meanwhile. An emulated machine has fewer interfaces, and its processors' time is not their own: it passes while
/// the machine below does something else.
fn many() -> (u32, Duration) {
    if std::env::var_os("BORDERGUARD_GUEST").is_some() {
        (100, Duration::from_secs(2))
    } else {
        // It took 60 to 170 ms on machines on which this ran. What would grow with the square takes seconds.
        (1000, Duration::from_millis(400))
    }
}

/// File descriptors that the process may have.
const DESCRIPTORS: u64 = 256;

/// What is attached to the many, and what the fastest of some looks took of a processor.
fn look(kernel: &mut LinuxKernel) -> (Vec<Attachment>, Duration) {
    let looks = (0..5).map(|_| {
        let begin = clock_gettime(ClockId::ThreadCPUTime);
        let observed = kernel.observe().unwrap();
        (observed, Duration::try_from(clock_gettime(ClockId::ThreadCPUTime) - begin).unwrap())
    });
    let (observed, took) = looks.min_by_key(|(_, took)| *took).unwrap();
    assert_eq!((&observed.blind, &observed.strays), (&vec![], &vec![]));
    assert_eq!(observed.missing_entries, [""; 0]);
    (observed.interfaces.into_iter().flat_map(|it| it.attachments).collect(), took)
}

#[test]
#[ignore = "needs root and BPF"]
fn a_thousand_interfaces_are_guarded_with_few_descriptors_and_seen_in_time() {
    let pins = PinPlace::new("many");
    let (here, elsewhere) = (Network::new(), Network::new());
    setrlimit(Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) }).unwrap();
    here.run(|| {
        let (count, bound) = many();
        elsewhere.join(count);
        let mut kernel = pins.open();
        kernel.publish(&policy(1, "\"IE\""), Some(&geo("US"))).unwrap();
        let all = Interface::all().unwrap();
        let many: Vec<&Interface> = all.iter().filter(|it| it.name.starts_with("bgm")).collect();
        assert_eq!(many.len(), count as usize);
        let begin = Instant::now();
        many.iter().for_each(|interface| kernel.attach(interface, true).unwrap());
        let attaching = begin.elapsed();
        let (attachments, took) = look(&mut kernel);
        assert_eq!(attachments.len(), 2 * count as usize);
        assert!(attachments.iter().all(|it| it.is_current && it.is_kept));

        // A new process takes over all of them, and renews them.
        drop(kernel);
        let mut kernel = pins.open();
        let begin = Instant::now();
        many.iter().for_each(|interface| kernel.attach(interface, true).unwrap());
        let renewing = begin.elapsed();
        let (renewed, again) = look(&mut kernel);
        let links = |all: &[Attachment]| all.iter().map(|it| it.link).collect::<Vec<_>>();
        assert_eq!(links(&renewed), links(&attachments));
        assert!(renewed.iter().all(|it| it.is_current && it.is_kept));

        // Entries that were removed are made anew, with as few descriptors.
        for entry in std::fs::read_dir(pins.path().join("links")).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        assert!(kernel.observe().unwrap().missing_entries.len() >= count as usize);
        let begin = Instant::now();
        kernel.restore_entries().unwrap();
        let restoring = begin.elapsed();
        assert_eq!(links(&look(&mut kernel).0), links(&attachments));

        let begin = Instant::now();
        many.iter().for_each(|interface| kernel.attach(interface, false).unwrap());
        let releasing = begin.elapsed();
        assert!(look(&mut kernel).0.iter().all(|it| it.hook == Hook::Egress));
        println!(
            "{count} interfaces: a look {took:?} and {again:?}, attaching {attaching:?}, renewing {renewing:?}, \
             restoring the entries {restoring:?}, taking ingress off {releasing:?}"
        );
        assert!(took.min(again) < bound, "a look took {took:?} and {again:?}");
    });
}
