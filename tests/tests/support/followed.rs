//! A volume's pin that may send to Belgium and not to the US, with what carriers hand on followed.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};

use guard_common::abi::{Place, PlacedBy};
use guard_common::interval::build::GeoImage;
use guard_tests::cgroup::Cgroup;
use guard_user::compile::{HostFacts, VolumeFact, policy_table};
use guard_user::config::{self, Surroundings};
use guard_user::kernel::{Kernel as _, LinuxKernel};
use rustix::net::{AddressFamily, SocketType};

use super::PinPlace;
use super::volume::*;

/// Where the pin may send.
pub(crate) const BELGIAN: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 20);

/// Tables with two addresses in the US, of which the first is the client's, and one in Belgium.
fn geo() -> GeoImage {
    let place = |code: &str| Place::new(code.parse().unwrap(), PlacedBy::Database);
    let (us, be) = (u32::from(CLIENT), u32::from(BELGIAN));
    let runs = [
        (0, place("IE")),
        (be, place("BE")),
        (be + 1, place("IE")),
        (us, place("US")),
        (us + 2, place("IE")),
    ];
    GeoImage::build(runs.into_iter(), [(0, place("IE"))].into_iter()).unwrap()
}

/// As [`guarded`], with what relays are handed followed, and Belgium permitted.
pub(crate) fn followed(pins: &PinPlace, on: &Cgroup, volume: &Volume) -> LinuxKernel {
    let mut kernel = guarded(pins, on, volume, "process");
    super::add_address("lo", BELGIAN, 32);
    let mut target = target(on, volume, "process");
    target.volumes.as_mut().unwrap().tagged = 1;
    kernel.note_sockets(Some(&target)).unwrap();
    let text = format!(
        "approval = \"none\"\n[host]\ninterfaces = [\"lo\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"drop\"\n\
         [pin.select]\nvolumes = [{:?}]\nspread = \"process\"\n",
        volume.0
    );
    let checked =
        config::parse("test.toml".as_ref(), text.as_bytes(), &Surroundings::new(None)).unwrap().policy;
    let volumes = checked.volumes().into_iter().map(|volume| VolumeFact { volume, slot: 0 }).collect();
    let facts = HostFacts { volumes, ..HostFacts::default() };
    let table = policy_table(&checked, &[], &facts, kernel.generation() + 1).unwrap();
    kernel.publish(&table, Some(&geo())).unwrap();
    kernel
}

/// A connection from the host to this place, and its far end.
pub(crate) fn connection_to(place: Ipv4Addr) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((place, 0)).unwrap();
    let near = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&near, &SocketAddrV4::new(HOST, 0)).unwrap();
    rustix::net::connect(&near, &listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    far.set_read_timeout(Some(SILENCE)).unwrap();
    (near.into(), far)
}

/// Whether it arrives, as a process of its own sees it: this one must not carry anything.
pub(crate) fn has_arrived(far: &TcpStream) -> bool {
    wait_for(begin_process(|| assert!(arrives(far), "nothing arrived"))) == 0
}

/// Whether what an attempt sends arrives in the US and in Belgium.
pub(crate) fn arrive(attempt: impl Fn(&TcpStream)) -> [bool; 2] {
    [CLIENT, BELGIAN].map(|place| {
        let (socket, far) = connection_to(place);
        attempt(&socket);
        drop(socket);
        has_arrived(&far)
    })
}
