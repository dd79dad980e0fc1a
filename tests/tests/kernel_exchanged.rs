//! Maps of another instance in the place of the guard's have the same names and shapes: a start knows them by what is attached.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use guard_user::kernel::{Interface, Kernel as _, KernelError, LinuxKernel, Tampered};
use support::{Network, PinPlace, add_veth, geo, guarded, in_own_network, open, policy};

/// What a start or the look goes by, or the report counts.
const MAPS: [&str; 8] =
    ["HIGH_WATER", "HELD", "VOLUME_SLOTS", "TOTALS", "PERMITTED", "OUTCOMES", "FLOWS", "EVENTS"];

/// The pin path of another instance, in the same BPF file system.
fn other(pins: &PinPlace) -> PathBuf {
    pins.path().with_file_name("other")
}

/// Has another instance guard an interface of another network namespace.
fn guarded_by_other(pins: &PinPlace) -> Network {
    let elsewhere = Network::new();
    elsewhere.run(|| {
        add_veth("bgk0", "bgk1");
        let mut kernel = open(&other(pins)).unwrap();
        kernel.publish(&policy(kernel.generation() + 1, "\"IE\""), Some(&geo("US"))).unwrap();
        kernel.attach(&Interface::by_name("bgk0").unwrap(), true).unwrap();
    });
    elsewhere
}

/// Exchanges the maps of this name of both instances.
fn exchange(pins: &PinPlace, name: &str) {
    let rename = |from: &Path, to: &Path| fs::rename(from, to).unwrap();
    let (own, others, beside) =
        (pins.map(name), other(pins).join("maps").join(name), pins.path().with_file_name("beside"));
    rename(&own, &beside);
    rename(&others, &own);
    rename(&beside, &others);
}

fn look(kernel: &mut LinuxKernel) -> Vec<Tampered> {
    kernel.observe().unwrap().tampered
}

fn tables(found: &[Tampered]) -> Vec<&'static str> {
    found.iter().map(|it| it.table).collect()
}

#[test]
#[ignore = "needs root and BPF"]
fn a_start_with_a_map_of_another_instance_is_refused_and_says_the_way_back() {
    let pins = PinPlace::new("anothers");
    in_own_network(|| {
        let elsewhere = guarded_by_other(&pins);
        drop(guarded(&pins, "\"IE\"", true));
        for name in MAPS {
            exchange(&pins, name);
            let refused = open(&pins.path()).unwrap_err();
            let said = refused.to_string();
            assert!(
                matches!(refused, KernelError::MapOfAnother { entry, .. } if entry == name),
                "{refused:?}"
            );
            for word in [name, "`mv`", "audit verify", "borderguard detach", "docs/limits.md"] {
                assert!(said.contains(word), "{said}");
            }
            exchange(&pins, name);
        }
        // An ordinary start tells nothing, of either.
        let mut kernel = pins.open();
        assert!(kernel.adopted());
        assert_eq!(look(&mut kernel), []);
        elsewhere.run(|| assert_eq!(look(&mut open(&other(&pins)).unwrap()), []));
        // The way back where the entries are nobody's own any more.
        drop(kernel);
        exchange(&pins, "HIGH_WATER");
        assert_eq!(LinuxKernel::detach(&pins.path()).unwrap().left, None);
        assert!(!pins.open().adopted());
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn what_was_attached_with_maps_of_another_instance_in_between_is_told_by_the_next_start() {
    let pins = PinPlace::new("between");
    in_own_network(|| {
        let _elsewhere = guarded_by_other(&pins);
        let interface = Interface::by_name("bgk0").unwrap();
        let mut kernel = guarded(&pins, "\"IE\"", true);
        // Root takes off what would say it.
        kernel.release(&interface).unwrap();
        drop(kernel);
        let exchanged = ["HIGH_WATER", "TOTALS"];
        exchanged.iter().for_each(|name| exchange(&pins, name));
        let mut between = pins.open();
        assert_eq!(look(&mut between), [], "nothing is attached that it could be known by");
        between.attach(&interface, true).unwrap();
        drop(between);
        exchanged.iter().for_each(|name| exchange(&pins, name));

        for _ in 0..2 {
            let mut kernel = pins.open();
            let found = look(&mut kernel);
            assert_eq!(tables(&found), exchanged);
            assert!(
                found.iter().all(|it| it.entries == 1 && it.first.starts_with("the map itself")),
                "{found:?}"
            );
            assert_eq!(look(&mut kernel), [], "the first look of a daemon tells it");
        }
        // Once the programs are exchanged nothing is left of it in the kernel.
        let mut kernel = pins.open();
        kernel.attach(&interface, true).unwrap();
        drop(kernel);
        assert_eq!(look(&mut pins.open()), []);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn whose_a_map_is_that_no_other_program_uses_can_t_be_known_and_is_told() {
    let pins = PinPlace::new("unused");
    in_own_network(|| {
        drop(open(&other(&pins)).unwrap());
        drop(guarded(&pins, "\"IE\"", true));
        for name in MAPS {
            exchange(&pins, name);
            let mut kernel = pins.open();
            assert_eq!(tables(&look(&mut kernel)), [name]);
            drop(kernel);
            exchange(&pins, name);
        }
        assert_eq!(look(&mut pins.open()), []);
    });
}
