//! What of an attempt arrives at the far ends, and the pins that it is made against.

use guard_tests::bed::{BELGIUM, Bed, STORE, US};
use guard_tests::marked::Marked;
use guard_tests::netns::Netns;

use super::mail::COUNT;

/// The mailbox by its host's addresses, whatever the protocol.
pub(crate) const BY_ADDRESS: &str = "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"drop\"\n\
    [pin.select]\nsources = [\"192.0.2.0/24\", \"2001:db8:1::/64\"]\n";

/// The mailbox by its host, whatever its addresses are.
pub(crate) const BY_HOST: &str = "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"drop\"\n\
    [pin.select]\nsources = [\"host\"]\n";

/// Frames with the mark that come to the US and to Belgium, of what `send` sends to a host of that name.
pub(crate) fn arrive(bed: &Bed, send: impl Fn(&str)) -> [usize; 2] {
    [US, BELGIUM].map(|host| {
        let marked = Marked::at(bed.host(host).unwrap()).unwrap();
        for _ in 0..COUNT {
            send(host);
        }
        marked.count().unwrap()
    })
}

/// A container of the storage host, which forwards for it by `ctr0`.
pub(crate) fn container(bed: &Bed) -> Netns {
    let container = Netns::new("container").unwrap();
    let store = bed.host(STORE).unwrap();
    container.link("eth0", store, "ctr0").unwrap();
    store.forward().unwrap();
    container.ip(&["address", "add", "192.0.2.130/25", "dev", "eth0"]).unwrap();
    store.ip(&["address", "add", "192.0.2.129/25", "dev", "ctr0"]).unwrap();
    container.ip(&["route", "add", "default", "via", "192.0.2.129"]).unwrap();
    container
}
