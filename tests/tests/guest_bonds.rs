//! A bond, its members, or all of them guarded: what may not come in does not, and what leaves is counted once. In the guests
//! of `cargo xtask vm` alone, for there bonds are.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use guard_tests::bed::{self, BELGIUM, Bed, CLIENT_PORT, Family, MAIL_PORT, STORE, US, packets};
use guard_tests::marked::MARK;
use guard_tests::netns::Netns;
use guard_user::health::ProblemCode;

fn run(netns: &Netns, command: &str) {
    netns.ip(&command.split(' ').collect::<Vec<_>>()).unwrap();
}

fn client(host: &str) -> SocketAddr {
    SocketAddr::new(bed::address(host, Family::V4).unwrap(), CLIENT_PORT)
}

/// Datagrams of each attempt.
const COUNT: usize = 3;
const ADDRESS: &str = "192.0.2.77";

#[test]
#[ignore = "needs root and BPF"]
fn a_bond_and_its_members_judge_what_comes_in_and_count_what_leaves_once() {
    for guarded in [&["bond0"][..], &["m1", "m2"], &["bond0", "m1", "m2"]] {
        let bed = Bed::new("bonds").unwrap();
        let (store, router) = (bed.host(STORE).unwrap(), bed.router());
        for (netns, bond) in [(store, "bond0"), (router, "rbond")] {
            run(netns, &format!("link add {bond} type bond mode active-backup miimon 100"));
        }
        for (member, far) in [("m1", "rm1"), ("m2", "rm2")] {
            store.link(member, router, far).unwrap();
            for (netns, name, bond) in [(store, member, "bond0"), (router, far, "rbond")] {
                run(netns, &format!("link set {name} down"));
                run(netns, &format!("link set {name} master {bond}"));
            }
        }
        run(store, "link set bond0 up");
        run(router, "link set rbond up");
        run(store, &format!("address add {ADDRESS}/32 dev bond0"));
        run(router, &format!("route add {ADDRESS}/32 dev rbond"));
        run(store, "route replace default via 192.0.2.1 dev bond0 onlink");

        let mailbox = store.run(|| UdpSocket::bind((ADDRESS, MAIL_PORT))).unwrap().unwrap();
        mailbox.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let come_in = |host: &str| {
            let from = bed.host(host).unwrap().run(|| UdpSocket::bind(client(host))).unwrap().unwrap();
            for _ in 0..COUNT {
                from.send_to(MARK, (ADDRESS, MAIL_PORT)).unwrap();
            }
            std::iter::from_fn(|| mailbox.recv_from(&mut [0; 64]).ok()).count()
        };
        // The members may need a moment until they are up.
        let comes = || (come_in(BELGIUM) == COUNT).then_some(());
        guard_tests::proc::retry_until(Duration::from_secs(20), "the bond carries", comes).unwrap();
        assert_eq!(come_in(US), COUNT, "without a guard, {guarded:?}");

        let pin = format!(
            "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"drop\"\ningress = \"drop\"\n\
             [pin.select]\nsources = [\"{ADDRESS}/32\"]\n"
        );
        bed.configure_for(guarded, &pin).unwrap();
        let _daemon = bed.start(&[]).unwrap();
        assert_eq!((come_in(US), come_in(BELGIUM)), (0, COUNT), "{guarded:?}");
        for host in [US, BELGIUM] {
            for _ in 0..COUNT {
                let _dropped = mailbox.send_to(MARK, client(host));
            }
        }
        let status = bed.status().unwrap();
        let egress = |verdict, reason| packets(&status, "egress", verdict, reason);
        let count = COUNT as u64;
        assert_eq!(
            (egress("pass", "permitted"), egress("drop", "forbidden")),
            (count, count),
            "{guarded:?}: {:?}",
            status.totals
        );
        let mut problems: Vec<_> = status.problems.into_iter().map(|problem| problem.code).collect();
        problems.retain(|code| *code != ProblemCode::LoopSlow);
        assert_eq!(problems, [], "{guarded:?}");
    }
}
