//! The bench programs, and the rounds that time them.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, MapData};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use guard_common::abi::MAX_EXEMPTIONS;
use guard_common::packet::Addr;
use guard_user::compile::{CgroupFact, HostFacts, KernelExemption, VolumeFact, geo_image, policy_table};
use guard_user::geo::{GeoDb, Runs, embedded};
use guard_user::kernel::{LinuxKernel, ShadowTables};
use ipnetwork::IpNetwork;

use super::draws::{self, DRAWS};
use super::figures::{Figures, median};
use super::generation::{memory, mib};
use super::policies::{CGROUP, Kind, policy};
use crate::packet::Packet;

/// The bench programs, loaded over the maps of a live generation.
pub(crate) struct Bench {
    ebpf: Ebpf,
    db: GeoDb,
}

/// A thing that is timed: its figure, its program, the packet, and whether it draws destinations.
struct Case {
    key: &'static str,
    program: &'static str,
    frame: Vec<u8>,
    draws: bool,
}

impl Bench {
    /// Loads the programs and fills the yardstick's tries with the embedded database.
    pub(crate) fn load(pins: &Path, figures: &mut Figures) -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .default_map_pin_directory(pins.join("maps"))
            .load(guard_user::kernel::bench_object())
            .context("load the bench programs")?;
        for (name, program) in ebpf.programs_mut() {
            let program: &mut SchedClassifier = program.try_into()?;
            program.load().with_context(|| format!("load {name}"))?;
        }
        let db = embedded::load();
        let begin = Instant::now();
        let mut trie: LpmTrie<_, [u8; 4], u32> =
            LpmTrie::try_from(ebpf.map_mut("TRIE_V4").context("no map TRIE_V4")?)?;
        for (start, len, place) in prefixes(&db.v4, 32, u128::from) {
            trie.insert(&Key::new(len, (start as u32).to_be_bytes()), place, 0)?;
        }
        let mut trie: LpmTrie<_, [u8; 16], u32> =
            LpmTrie::try_from(ebpf.map_mut("TRIE_V6").context("no map TRIE_V6")?)?;
        for (start, len, place) in prefixes(&db.v6, 128, |start| start) {
            trie.insert(&Key::new(len, start.to_be_bytes()), place, 0)?;
        }
        figures.set("lpm_build_ms", begin.elapsed().as_secs_f64() * 1e3);
        let mut bytes = 0;
        for name in ["TRIE_V4", "TRIE_V6"] {
            if let Some(aya::maps::Map::LpmTrie(data)) = ebpf.map(name) {
                bytes += memory(data)?;
            }
        }
        figures.set("lpm_tables_mib", mib(bytes));
        Ok(Self { ebpf, db })
    }

    /// Times everything, in rounds.
    pub(crate) fn measure(
        mut self,
        kernel: &mut LinuxKernel,
        rounds: usize,
        repeat: u32,
        figures: &mut Figures,
    ) -> Result<()> {
        let v4 = |src: [u8; 4]| {
            Packet::ethernet().ipv4(src, [192, 0, 2, 200]).tcp(993, 50000).payload("mail").build()
        };
        let v6 = |src: &str| -> Result<Vec<u8>> {
            let src: Ipv6Addr = src.parse()?;
            let dst: Ipv6Addr = "2001:db8:2::200".parse()?;
            Ok(Packet::ethernet().ipv6(src, dst).tcp(993, 50000).payload("mail").build())
        };
        let pinned4 = v4([192, 0, 2, 1]);
        let pinned6 = v6("2001:db8:1::1")?;
        let case = |key, program, frame: &Vec<u8>, draws| Case { key, program, frame: frame.clone(), draws };
        publish(kernel, Kind::Permit)?;
        self.fill_draws(&draws::v4(&self.db))?;
        self.rounds(
            rounds,
            repeat,
            figures,
            &[
                case("egress_v4_fixed_ns", "bench_egress", &pinned4, false),
                case("egress_v6_fixed_ns", "bench_egress", &pinned6, false),
                case("egress_unpinned_ns", "bench_egress", &v4([198, 51, 100, 1]), false),
                case("egress_v4_random_ns", "bench_egress_random", &pinned4, true),
                case("lookup_v4_random_ns", "bench_lookup_v4", &pinned4, true),
                case("lpm_v4_random_ns", "bench_trie_v4", &pinned4, true),
            ],
        )?;
        self.fill_draws(&draws::v6(&self.db))?;
        self.rounds(
            rounds,
            repeat,
            figures,
            &[
                case("egress_v6_random_ns", "bench_egress_random", &pinned6, true),
                case("lookup_v6_random_ns", "bench_lookup_v6", &pinned6, true),
                case("lpm_v6_random_ns", "bench_trie_v6", &pinned6, true),
            ],
        )?;
        self.senders(kernel, rounds, repeat, figures, &pinned4)?;
        self.shadow(kernel, rounds, repeat, figures, &pinned4)?;
        publish(kernel, Kind::Record)?;
        self.rounds(
            rounds,
            repeat,
            figures,
            &[case("egress_v4_fixed_record_ns", "bench_egress", &pinned4, false)],
        )?;
        publish(kernel, Kind::Forbid)?;
        self.rounds(rounds, repeat, figures, &[case("egress_v4_drop_ns", "bench_egress", &pinned4, false)])?;
        self.exempt(kernel, rounds, repeat, figures, &pinned4)?;
        for (ratio, lookup, lpm) in [
            ("lookup_v4_to_lpm", "lookup_v4_random_ns", "lpm_v4_random_ns"),
            ("lookup_v6_to_lpm", "lookup_v6_random_ns", "lpm_v6_random_ns"),
        ] {
            if let (Some(lookup), Some(lpm)) = (figures.get(lookup), figures.get(lpm)) {
                figures.set(ratio, lookup / lpm);
            }
        }
        Ok(())
    }

    /// Times a packet that only the last of 256 exemptions covers, and by turns one that is as forbidden with
    /// no exemption at all.
    fn exempt(
        &self,
        kernel: &mut LinuxKernel,
        rounds: usize,
        repeat: u32,
        figures: &mut Figures,
        frame: &[u8],
    ) -> Result<()> {
        let (mut whole, mut extra) = (Vec::new(), Vec::new());
        for round in 0..=rounds {
            let mut over = [0.0; 2];
            for (over, exemptions) in over.iter_mut().zip([Vec::new(), exemptions()]) {
                publish_with(kernel, Kind::Forbid, &exemptions)?;
                let empty = self.time("bench_empty", frame, repeat)?;
                *over = self.time("bench_egress", frame, repeat)? - empty;
            }
            // The first round only warms up.
            if round > 0 {
                whole.push(over[1]);
                extra.push(over[1] - over[0]);
            }
        }
        figures.set("egress_v4_exempt_ns", median(whole));
        figures.set("exemption_extra_ns", median(extra));
        Ok(())
    }

    /// Times a packet of a socket whose maker is noted where a pin goes by users, or by cgroups, and by turns one where none
    /// does.
    fn senders(
        &self,
        kernel: &mut LinuxKernel,
        rounds: usize,
        repeat: u32,
        figures: &mut Figures,
        frame: &[u8],
    ) -> Result<()> {
        let kinds = [
            (Kind::Users, "bench_egress_facts_of_tcp"),
            (Kind::Users, "bench_egress_facts"),
            (Kind::Cgroups, "bench_egress_facts"),
            (Kind::Volumes, "bench_egress_facts"),
            (Kind::Directions, "bench_egress_facts"),
        ];
        let mut over = [const { Vec::new() }; 5];
        let mut extra = over.clone();
        for round in 0..=rounds {
            publish(kernel, Kind::Permit)?;
            let plain =
                self.time("bench_egress", frame, repeat)? - self.time("bench_empty", frame, repeat)?;
            for (at, (kind, program)) in kinds.into_iter().enumerate() {
                publish(kernel, kind)?;
                let facts = self.time("bench_facts", frame, repeat)?;
                let time = self.time(program, frame, repeat)? - facts;
                // The first round only warms up.
                if round > 0 {
                    over[at].push(time);
                    extra[at].push(time - plain);
                }
            }
        }
        let names = [
            ("egress_v4_fixed_users_ns", "users_extra_ns"),
            ("egress_v4_fixed_users_udp_ns", "users_udp_extra_ns"),
            ("egress_v4_fixed_cgroups_ns", "cgroups_extra_ns"),
            ("egress_v4_fixed_volumes_ns", "volumes_extra_ns"),
            ("egress_v4_fixed_directions_ns", "directions_extra_ns"),
        ];
        for ((whole, more), (over, extra)) in names.into_iter().zip(over.into_iter().zip(extra)) {
            figures.set(whole, median(over));
            figures.set(more, median(extra));
        }
        Ok(())
    }

    /// Times a permitted packet by the programs of a shadow, whose candidate permits it too, and by turns as it is without.
    fn shadow(
        &self,
        kernel: &mut LinuxKernel,
        rounds: usize,
        repeat: u32,
        figures: &mut Figures,
        frame: &[u8],
    ) -> Result<()> {
        publish(kernel, Kind::Permit)?;
        let policy = policy(Kind::Permit)?;
        let table = policy_table(&policy, &[], &HostFacts::default(), 1 << 63)?;
        let geo = geo_image(&self.db, &policy.sites)?;
        let reader = kernel.begin_shadow(&ShadowTables { policy: table.into(), geo: geo.into() })?;
        reader.judge_until(u64::MAX)?;
        let (mut whole, mut extra) = (Vec::new(), Vec::new());
        for round in 0..=rounds {
            let empty = self.time("bench_empty", frame, repeat)?;
            let plain = self.time("bench_egress", frame, repeat)?;
            let shadowed = kernel.time_egress(frame, repeat)?.as_nanos() as f64;
            // The first round only warms up.
            if round > 0 {
                whole.push(shadowed - empty);
                extra.push(shadowed - plain);
            }
        }
        let [same, _] = reader.counts()?.same;
        ensure!(
            same.packets >= rounds as u64 * u64::from(repeat),
            "not every packet was judged twice: {same:?}"
        );
        kernel.use_ordinary_programs()?;
        figures.set("egress_v4_fixed_shadow_ns", median(whole));
        figures.set("shadow_extra_ns", median(extra));
        Ok(())
    }

    /// Times the cases by turns, each over the empty program, or the generator, of the same round.
    fn rounds(&self, rounds: usize, repeat: u32, figures: &mut Figures, cases: &[Case]) -> Result<()> {
        let frame = cases.first().context("nothing to time")?.frame.clone();
        let (mut empties, mut draws) = (Vec::new(), Vec::new());
        let mut over: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
        for round in 0..=rounds {
            let empty = self.time("bench_empty", &frame, repeat)?;
            let draw = self.time("bench_draw", &frame, repeat)?;
            for (case, over) in cases.iter().zip(&mut over) {
                let time = self.time(case.program, &case.frame, repeat)?;
                // The first round only warms up.
                if round > 0 {
                    over.push(time - if case.draws { draw } else { empty });
                }
            }
            if round > 0 {
                empties.push(empty);
                draws.push(draw - empty);
            }
        }
        figures.set("empty_ns", median(empties));
        figures.set("draw_ns", median(draws));
        for (case, over) in cases.iter().zip(over) {
            figures.set(case.key, median(over));
        }
        Ok(())
    }

    /// Nanoseconds of one run, the mean of `repeat` runs.
    fn time(&self, program: &str, frame: &[u8], repeat: u32) -> Result<f64> {
        let program: &SchedClassifier = self.ebpf.program(program).context("no such program")?.try_into()?;
        let result =
            program.test_run(TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::default() })?;
        Ok(result.duration.as_nanos() as f64)
    }

    fn fill_draws(&mut self, addresses: &[Addr]) -> Result<()> {
        ensure!(addresses.len() == DRAWS, "{} draws, and the list has {DRAWS}", addresses.len());
        for (name, half) in [("DRAWS_HI", (|a: &Addr| a.hi) as fn(&Addr) -> u64), ("DRAWS_LO", |a| a.lo)] {
            let list: Vec<u64> = addresses.iter().map(half).collect();
            let list: Box<[u64; DRAWS]> =
                list.into_boxed_slice().try_into().map_err(|_| anyhow::anyhow!("the list's length"))?;
            let mut map: Array<&mut MapData, [u64; DRAWS]> =
                Array::try_from(self.ebpf.map_mut(name).context("no list")?)?;
            map.set(0, list, 0)?;
        }
        Ok(())
    }
}

fn publish(kernel: &mut LinuxKernel, kind: Kind) -> Result<()> {
    publish_with(kernel, kind, &[])
}

fn publish_with(kernel: &mut LinuxKernel, kind: Kind, exemptions: &[KernelExemption]) -> Result<()> {
    let policy = policy(kind)?;
    let volumes = policy.volumes().into_iter().map(|volume| VolumeFact { volume, slot: 1 }).collect();
    let cgroups = if kind == Kind::Cgroups { vec![of_no_host()] } else { Vec::new() };
    let facts = HostFacts { volumes, cgroups, ..HostFacts::default() };
    let table = policy_table(&policy, exemptions, &facts, kernel.generation() + 1)?;
    kernel.publish(&table, None)?;
    Ok(())
}

/// The cgroup that a pin selects, as no host has it.
fn of_no_host() -> CgroupFact {
    const ABOVE_ALL: u64 = u64::MAX >> 2;
    CgroupFact { path: CGROUP.to_owned(), id: Some(ABOVE_ALL), level: 2 }
}

/// As many exemptions as the kernel holds, each with networks of both families and a quota; the last one has
/// the bench packet's destination.
fn exemptions() -> Vec<KernelExemption> {
    let one = |slot: u16| {
        let last = usize::from(slot) + 1 == MAX_EXEMPTIONS;
        let v4 = if last { [192, 0, 2, 200] } else { [198, 51, 100, slot as u8] };
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0x100 + slot, 0, 0, 0, 0, 0);
        KernelExemption {
            slot,
            account: slot,
            identity: 0,
            pins: vec!["pin-1".to_owned()],
            jurisdictions: Vec::new(),
            networks: [IpNetwork::new(Ipv4Addr::from(v4).into(), 32), IpNetwork::new(v6.into(), 48)]
                .into_iter()
                .flatten()
                .collect(),
            placed: None,
            ports: Vec::new(),
            valid_from_ns: 0,
            valid_until_ns: u64::MAX,
            quota: u64::MAX - 1,
        }
    };
    (0..).take(MAX_EXEMPTIONS).map(one).collect()
}

/// The runs as prefixes: what a trie needs.
pub(super) fn prefixes<K: Copy>(
    runs: &Runs<K>,
    width: u32,
    number: impl Fn(K) -> u128,
) -> Vec<(u128, u32, u32)> {
    let mut prefixes = Vec::new();
    let last = if width == 128 { u128::MAX } else { (1 << width) - 1 };
    for (at, (&start, place)) in runs.starts.iter().zip(&runs.places).enumerate() {
        let mut first = number(start);
        let end = runs.starts.get(at + 1).map_or(last, |&next| number(next) - 1);
        loop {
            // The largest block that begins here and does not reach past the end.
            let by_start = first.trailing_zeros().min(width);
            let room = (end - first).checked_add(1).map_or(127, |size| 127 - size.leading_zeros());
            let bits = by_start.min(room).min(width - 1);
            prefixes.push((first, width - bits, u32::from(place.index())));
            match first.checked_add(1 << bits) {
                Some(next) if next <= end => first = next,
                _ => break,
            }
        }
    }
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_cover_each_run_exactly() {
        let db = embedded::load();
        let mut next = 0;
        for (start, len, _) in prefixes(&db.v4, 32, u128::from) {
            assert_eq!(start, next);
            assert_eq!(start % (1 << (32 - len)), 0);
            next = start + (1 << (32 - len));
        }
        assert_eq!(next, 1 << 32);
    }
}
