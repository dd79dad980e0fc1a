//! Absence from the kernel's list of interfaces says nothing. On Linux 6.1 a list that is given in parts omits a
//! live interface, without a flag, where another one of its hash bucket (index modulo 256) was removed between two
//! parts.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use guard_common::abi::Hook;
use guard_user::kernel::{Interface, Kernel as _};
use rtnetlink::packet_core::{Emitable, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader};
use rtnetlink::packet_route::link::{LinkAttribute, LinkExtentMask, LinkHeader};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use support::{Network, PinPlace, add_veth_with_index, delete, geo, policy};

/// Interfaces, so that their list takes several parts.
const MANY: u32 = 100;
/// How often another one of the bucket comes and goes.
const TIMES: usize = 600;
/// Buckets of the kernel's hash of indexes (`NETDEV_HASHENTRIES`).
const BUCKETS: u32 = 256;
const OTHER: &str = "bgx0";

/// The index of the last interface in each part of the kernel's list.
fn ends_of_parts() -> Vec<u32> {
    let mut payload = vec![0; 16];
    LinkHeader::default().emit(&mut payload);
    let wish = LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]);
    let at = payload.len();
    payload.resize(at + wish.buffer_len(), 0);
    wish.emit(&mut payload[at..]);
    let mut header = NetlinkHeader::default();
    // RTM_GETLINK
    (header.message_type, header.flags) = (18, NLM_F_REQUEST | NLM_F_DUMP);
    header.length = u32::try_from(16 + payload.len()).unwrap();
    let mut request = vec![0; 16];
    header.emit(&mut request);
    request.extend(payload);
    let socket = Socket::new(NETLINK_ROUTE).unwrap();
    socket.send_to(&request, &SocketAddr::new(0, 0), 0).unwrap();
    let mut ends = Vec::new();
    loop {
        let mut part = Vec::with_capacity(64 << 10);
        socket.recv(&mut part, 0).unwrap();
        let (mut rest, mut last) = (&part[..], None);
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            // RTM_NEWLINK, whose index is at 4; NLMSG_DONE.
            match message.message_type() {
                16 => last = Some(u32::from_ne_bytes(message.payload()[4..8].try_into().unwrap())),
                3 => {
                    ends.extend(last);
                    return ends;
                }
                _ => {}
            }
            let len = (message.length() as usize).next_multiple_of(4);
            rest = rest.get(len..).unwrap_or_default();
        }
        ends.extend(last);
    }
}

/// An interface of these that is first in a part of the list when another one of its bucket, which is listed before
/// it, is there; any where there is none.
fn at_the_begin_of_a_part(all: &[Interface]) -> &Interface {
    let begins = |it: &&Interface| {
        add_veth_with_index(OTHER, it.index + BUCKETS, "bgx1");
        let is_last = ends_of_parts().contains(&(it.index + BUCKETS));
        delete(OTHER);
        is_last
    };
    all.iter().find(begins).unwrap_or_else(|| {
        println!("no part of the list begins with an interface of ours");
        &all[0]
    })
}

/// Says that the work is done, also where it failed.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn a_live_interface_is_never_taken_for_gone() {
    let pins = PinPlace::new("dump");
    let (here, elsewhere) = (Network::new(), Network::new());
    here.run(|| {
        elsewhere.join(MANY);
        let all = Interface::all().unwrap();
        let ours: Vec<Interface> = all.into_iter().filter(|it| it.name.starts_with("bgm")).collect();
        let live = at_the_begin_of_a_part(&ours);
        let mut kernel = pins.open();
        kernel.publish(&policy(1, "\"IE\""), Some(&geo("US"))).unwrap();
        kernel.attach(live, false).unwrap();
        let (done, omitted) = (AtomicBool::new(false), AtomicUsize::new(0));
        let here = Network::here();
        let (mut looks, mut gone) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _done = Done(&done);
                here.run(|| elsewhere.come_and_go(OTHER, live.index + BUCKETS, TIMES));
            });
            scope.spawn(|| {
                here.run(|| {
                    while !done.load(Ordering::Relaxed) {
                        let all = Interface::all().unwrap();
                        let is_omitted = !all.iter().any(|it| it.index == live.index);
                        omitted.fetch_add(usize::from(is_omitted), Ordering::Relaxed);
                    }
                });
            });
            while !done.load(Ordering::Relaxed) {
                let observed = kernel.observe().unwrap();
                let found = observed.interfaces.iter().find(|it| it.interface.index == live.index);
                looks += 1;
                gone += usize::from(found.is_none_or(|it| it.at(Hook::Egress).is_none()));
                assert!(observed.strays.is_empty() && observed.blind.is_empty(), "{observed:?}");
            }
        });
        println!(
            "{TIMES} others came and went: gone {gone} times in {looks} looks; lists alone omitted it {} times",
            omitted.into_inner()
        );
        assert_eq!(gone, 0, "of {looks} looks");
    });
}
