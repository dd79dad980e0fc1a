//! Packets from one namespace to another: with nothing on their way, an empty program, the guard, an nftables set and a trie of
//! the same ranges.
//!
//! Only documentation addresses may be on a wire here. So every contender has as many ranges below 2001:db8::/32 as the embedded
//! database has of IPv6, with the same places in the same order.

use std::io::Write as _;
use std::net::Ipv6Addr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::programs::tc::{SchedClassifierLinkId, TcAttachOptions};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfLoader};
use guard_common::jurisdiction::Jurisdiction;
use guard_common::packet::Addr;
use guard_user::compile::{HostFacts, geo_image, policy_table};
use guard_user::geo::{GeoDb, Runs, embedded};
use guard_user::kernel::{Interface, Kernel as _, LinuxKernel};
use rustix::net::{SendFlags, send};
use rustix::thread::{sched_getaffinity, sched_setaffinity};

use super::draws;
use super::figures::{Figures, median};
use super::policies::{Kind, policy};
use super::programs::prefixes;
use crate::bpffs::BpfFs;
use crate::netns::Netns;
use crate::packet::Packet;
use crate::resources::stay_on;
use crate::sockopt::packet_socket_by;

/// Rounds in which every contender has its turn; the median counts.
const ROUNDS: usize = 9;
/// Packets of one turn.
const PACKETS: usize = 100_000;
/// Where the sender runs, and with it all that its packets meet.
const CPU: usize = 1;
/// The sender's interface, and the receiver's.
const INTERFACE: &str = "wire0";
/// Where the destination begins in a frame.
const DESTINATION: usize = 14 + 24;
/// Destinations that are sent to by turns, and what their figures are called.
const SETS: [(&str, usize); 3] = [("1", 1), ("256", 256), ("all", draws::DRAWS)];

/// What is on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Nothing,
    Empty,
    Guard,
    Nftables,
    Trie,
}

const WAYS: [Way; 5] = [Way::Nothing, Way::Empty, Way::Guard, Way::Nftables, Way::Trie];

/// The figures of each way over nothing, for each of [`SETS`].
const FIGURES: [(Way, [&str; 3]); 4] = [
    (Way::Empty, ["wire_empty_1_ns", "wire_empty_256_ns", "wire_empty_all_ns"]),
    (Way::Guard, ["wire_guard_1_ns", "wire_guard_256_ns", "wire_guard_all_ns"]),
    (Way::Nftables, ["wire_nftables_1_ns", "wire_nftables_256_ns", "wire_nftables_all_ns"]),
    (Way::Trie, ["wire_trie_1_ns", "wire_trie_256_ns", "wire_trie_all_ns"]),
];

/// Times packets of a pinned address that each way lets through.
pub(crate) fn measure(figures: &mut Figures) -> Result<()> {
    let (near, far) = (Netns::new("wire-near")?, Netns::new("wire-far")?);
    near.link(INTERFACE, &far, INTERFACE)?;
    let pins = BpfFs::new("wire")?;
    let database = moved(&embedded::load());
    let draws = draws::v6(&database);
    let before = sched_getaffinity(None)?;
    stay_on(CPU).context("the bench needs two CPUs")?;
    let times = near.run(|| times(&near, &far, &pins, &database, &draws));
    sched_setaffinity(None, &before)?;
    let times = times??;
    for (way, names) in FIGURES {
        for (set, name) in names.into_iter().enumerate() {
            let over = times.iter().map(|round| round[at(way)][set] - round[at(Way::Nothing)][set]);
            figures.set(name, median(over.collect()));
        }
    }
    let nothing = times.iter().map(|round| round[at(Way::Nothing)][0]);
    figures.set("wire_nothing_ns", median(nothing.collect()));
    for (ratio, guard, nftables) in [
        ("wire_to_nftables_1", "wire_guard_1_ns", "wire_nftables_1_ns"),
        ("wire_to_nftables_256", "wire_guard_256_ns", "wire_nftables_256_ns"),
        ("wire_to_nftables_all", "wire_guard_all_ns", "wire_nftables_all_ns"),
    ] {
        if let (Some(guard), Some(nftables)) = (figures.get(guard), figures.get(nftables)) {
            figures.set(ratio, guard / nftables);
        }
    }
    Ok(())
}

fn at(way: Way) -> usize {
    WAYS.iter().position(|it| *it == way).unwrap_or_default()
}

/// The IPv6 ranges, one behind the other below 2001:db8::/32, each of 2^14 networks of 64 bits.
fn moved(database: &GeoDb) -> GeoDb {
    const EXAMPLES: u128 = 0x2001_0db8 << 96;
    const EACH: u32 = 64 + 14;
    let most = 1_usize << (96 - EACH);
    let mut v6 = Runs::unknown();
    for (number, (_, place)) in (0..).zip(database.v6.iter().take(most - 1)) {
        v6.push(EXAMPLES | number << EACH, place);
    }
    v6.push(EXAMPLES + (1 << 96), Jurisdiction::UNKNOWN);
    GeoDb { v6, ..database.clone() }
}

/// Nanoseconds of a packet in each round, by way and set.
fn times(
    near: &Netns,
    far: &Netns,
    pins: &BpfFs,
    database: &GeoDb,
    draws: &[Addr],
) -> Result<Vec<[[f64; SETS.len()]; WAYS.len()]>> {
    let pins = pins.path().join("borderguard");
    let mut ways = Ways::new(near, far, &pins, database)?;
    let socket = packet_socket_by(ways.interface.index)?;
    let mut frame = Packet::ethernet()
        .ipv6("2001:db8:1::1".parse::<Ipv6Addr>()?, Ipv6Addr::UNSPECIFIED)
        .tcp(993, 50_000)
        .build();
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 0..=ROUNDS {
        let mut times = [[0.0; SETS.len()]; WAYS.len()];
        // Who comes first changes.
        for turn in 0..WAYS.len() {
            let way = WAYS[(turn + round) % WAYS.len()];
            ways.begin(way)?;
            let before = received(far)?;
            for (set, (_, count)) in SETS.into_iter().enumerate() {
                times[at(way)][set] = time(&socket, &mut frame, &draws[..count.min(draws.len())])?;
            }
            let sent = (SETS.len() * PACKETS) as u64;
            ensure!(received(far)? - before == sent, "{way:?} did not let all packets through");
            ways.end(way)?;
        }
        // The first only warms up.
        if round > 0 {
            rounds.push(times);
        }
    }
    Ok(rounds)
}

/// Nanoseconds of a packet to these destinations by turns.
fn time(socket: &OwnedFd, frame: &mut [u8], destinations: &[Addr]) -> Result<f64> {
    let begin = Instant::now();
    for destination in destinations.iter().cycle().take(PACKETS) {
        let to = frame.get_mut(DESTINATION..DESTINATION + 16).context("a frame without a destination")?;
        to[..8].copy_from_slice(&destination.hi.to_be_bytes());
        to[8..].copy_from_slice(&destination.lo.to_be_bytes());
        send(socket, frame, SendFlags::empty())?;
    }
    Ok(begin.elapsed().as_nanos() as f64 / PACKETS as f64)
}

/// Packets that came to the far side.
fn received(far: &Netns) -> Result<u64> {
    let text = far.ip(&["-statistics", "-json", "link", "show", "dev", INTERFACE])?;
    let links: serde_json::Value = serde_json::from_str(&text)?;
    links[0]["stats64"]["rx"]["packets"].as_u64().context("an interface without a count")
}

/// All that can be on the way, each made once.
struct Ways<'a> {
    near: &'a Netns,
    kernel: LinuxKernel,
    interface: Interface,
    ebpf: Ebpf,
    link: Option<SchedClassifierLinkId>,
}

impl<'a> Ways<'a> {
    fn new(near: &'a Netns, far: &Netns, pins: &Path, database: &GeoDb) -> Result<Self> {
        let mut kernel = LinuxKernel::open(pins)?;
        let policy = policy(Kind::Permit)?;
        let table = policy_table(&policy, &[], &HostFacts::default(), 1)?;
        kernel.publish(&table, Some(&geo_image(database, &policy.sites)?))?;
        let mut ebpf = EbpfLoader::new()
            .default_map_pin_directory(pins.join("maps"))
            .load(guard_user::kernel::bench_object())
            .context("load the bench programs")?;
        let mut trie: LpmTrie<_, [u8; 16], u32> =
            LpmTrie::try_from(ebpf.map_mut("TRIE_V6").context("no map TRIE_V6")?)?;
        for (start, len, place) in prefixes(&database.v6, 128, |start| start) {
            trie.insert(&Key::new(len, start.to_be_bytes()), place, 0)?;
        }
        for name in ["bench_empty", "bench_trie_packet", "bench_end"] {
            program(&mut ebpf, name)?.load().with_context(|| format!("load {name}"))?;
        }
        // Nothing behind it is of interest, and whatever is on the way, it costs the same. It stays.
        far.run(|| attach(&mut ebpf, "bench_end", TcAttachType::Ingress))??;
        nft(near, &set_of(database))?;
        let interface = Interface::by_name(INTERFACE)?;
        Ok(Self { near, kernel, interface, ebpf, link: None })
    }

    fn begin(&mut self, way: Way) -> Result<()> {
        match way {
            Way::Nothing => {}
            Way::Empty => self.link = Some(attach(&mut self.ebpf, "bench_empty", TcAttachType::Egress)?),
            Way::Trie => self.link = Some(attach(&mut self.ebpf, "bench_trie_packet", TcAttachType::Egress)?),
            Way::Guard => self.kernel.attach(&self.interface, false).map(drop)?,
            Way::Nftables => nft(
                self.near,
                &format!(
                    "add chain netdev bench out {{ type filter hook egress device \"{INTERFACE}\" priority 0; policy drop; }}\n\
                     add rule netdev bench out ip6 saddr 2001:db8:1::1 ip6 daddr @ranges accept\n"
                ),
            )?,
        }
        Ok(())
    }

    fn end(&mut self, way: Way) -> Result<()> {
        match way {
            Way::Nothing => {}
            Way::Empty | Way::Trie => {
                let name = if way == Way::Empty { "bench_empty" } else { "bench_trie_packet" };
                let link = self.link.take().context("nothing was attached")?;
                program(&mut self.ebpf, name)?.detach(link)?;
            }
            Way::Guard => self.kernel.release(&self.interface)?,
            Way::Nftables => nft(self.near, "flush chain netdev bench out\ndelete chain netdev bench out\n")?,
        }
        Ok(())
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    Ok(ebpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?)
}

/// Attaches a program to the interface of the network that the thread is in.
fn attach(ebpf: &mut Ebpf, name: &str, to: TcAttachType) -> Result<SchedClassifierLinkId> {
    let options = TcAttachOptions::TcxOrder(LinkOrder::default());
    Ok(program(ebpf, name)?.attach_with_options(INTERFACE, to, options)?)
}

/// The ranges as the elements of a set, each apart as a policy by countries would have them.
fn set_of(database: &GeoDb) -> String {
    let mut text = String::from(
        "add table netdev bench\nadd set netdev bench ranges { type ipv6_addr; flags interval; elements = {\n",
    );
    let ends = database.v6.starts.iter().skip(1).map(|next| next - 1).chain([u128::MAX]);
    for (start, end) in database.v6.starts.iter().zip(ends) {
        text.push_str(&format!("{}-{},\n", Ipv6Addr::from_bits(*start), Ipv6Addr::from_bits(end)));
    }
    text.push_str("} }\n");
    text
}

fn nft(netns: &Netns, text: &str) -> Result<()> {
    let mut nft = netns.command("nft")?;
    let mut child = nft
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start nft, of the package nftables")?;
    child.stdin.take().context("nft takes no input")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "nft: {}", said.lines().take(5).collect::<Vec<_>>().join("\n"));
    Ok(())
}
