//! Pins by volume at TC: what is kept with a socket says what it may carry. Who carries what is held by `guest_volumes`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use guard_common::verdict::{Reason, Verdict};
use guard_user::compile::{HostFacts, VolumeFact, policy_table};
use guard_user::config::{self, Surroundings};
use guard_user::kernel::{Interface, Kernel as _, LinuxKernel};
use support::{CLIENT, OTHER, PinPlace, geo, in_own_network};

/// How long it takes to be sure that nothing arrives.
const SILENCE: Duration = Duration::from_millis(100);
/// The slot that the volume has.
const SLOT: u32 = 40;

fn publish(kernel: &mut LinuxKernel) {
    let text = "approval = \"none\"\n[host]\ninterfaces = [\"lo\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n\
                [pin.select]\nvolumes = [\"/srv/mail\"]\n";
    let checked = config::parse(Path::new("test.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap();
    let volume = checked.policy.volumes().pop_first().unwrap();
    let facts = HostFacts { volumes: vec![VolumeFact { volume, slot: SLOT }], ..HostFacts::default() };
    let policy = policy_table(&checked.policy, &[], &facts, kernel.generation() + 1).unwrap();
    kernel.publish(&policy, Some(&geo("US"))).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn what_a_socket_may_carry_tags_its_packets() {
    let pins = PinPlace::new("volumes");
    in_own_network(|| {
        let mut kernel = pins.open();
        publish(&mut kernel);
        assert_eq!(support::judged(&kernel, OTHER), (Verdict::Pass, Reason::Untagged), "of no socket");
        support::set_up("lo");
        support::add_address("lo", Ipv4Addr::from(CLIENT), 32);
        kernel.attach(&Interface::by_name("lo").unwrap(), false).unwrap();
        let far = UdpSocket::bind((Ipv4Addr::from(CLIENT), 0)).unwrap();
        far.set_read_timeout(Some(SILENCE)).unwrap();
        let to = far.local_addr().unwrap();
        let (one, other) = (UdpSocket::bind("0.0.0.0:0").unwrap(), UdpSocket::bind("0.0.0.0:0").unwrap());
        let arrives = |from: &UdpSocket| {
            let _refused = from.send_to(b"a mail", to);
            far.recv(&mut [0; 9]).is_ok()
        };
        assert!(arrives(&one) && arrives(&other), "{:?}", kernel.totals().unwrap());
        kernel.set_socket_volumes(&one, 1 << SLOT).unwrap();
        assert_eq!(
            (kernel.socket_volumes(&one).unwrap(), kernel.socket_volumes(&other).unwrap()),
            (1 << SLOT, 0)
        );
        assert_eq!((arrives(&one), arrives(&other)), (false, true));
        // Another volume's.
        kernel.set_socket_volumes(&one, !(1 << SLOT)).unwrap();
        assert!(arrives(&one));
    });
}
