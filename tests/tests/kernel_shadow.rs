//! A shadow's programs: what is live is judged, counted and recorded as ever, packet by packet, and how a candidate would
//! judge is what the host says of it. Its tables are its own, and are gone with it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aya::maps::MapInfo;
use guard_common::abi::shadow::ShadowKey;
use guard_common::abi::{Count, ExemptionUse, Hook};
use guard_common::packet::Addr;
use guard_common::verdict::{Reason, Verdict};
use guard_tests::bpffs::BpfFs;
use guard_tests::frames::{
    POLICY, STORAGE as SOURCES, STORAGE_V6, every, exemption, exemptions, forwarded, frames, least, marked,
    policy_of,
};
use guard_tests::mutation::Numbers;
use guard_tests::privilege::can_bpf;
use guard_user::compile::geo_image;
use guard_user::explain::frames::parse_frame;
use guard_user::explain::{Explainer, NamedExemption, Surroundings};
use guard_user::geo::embedded;
use guard_user::kernel::{
    Interface, Kernel as _, KernelError, LinuxKernel, ShadowReader, ShadowStep, ShadowTables, Tracing as _,
    View,
};
use support::{CLIENT, FrameSocket, OTHER, PinPlace, STORAGE, add_veth, frame, geo, guarded, in_own_network};

/// `CLOCK_BOOTTIME` in nanoseconds.
fn boot_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// How both judged: the hook, and verdict and reason of each.
type Pair = (u8, [(u8, u8); 2]);

fn pair(key: &ShadowKey) -> Pair {
    (key.hook, [(key.now_verdict, key.now_reason), (key.then_verdict, key.then_reason)])
}

fn add(to: &mut Count, more: Count) {
    to.packets += more.packets;
    to.bytes += more.bytes;
}

/// A kernel with the ordinary programs, one with those of a shadow, and what the candidate comes to on the host.
struct Three {
    ordinary: LinuxKernel,
    shadowed: LinuxKernel,
    now: Explainer,
    then: Explainer,
    expected: BTreeMap<Pair, Count>,
}

impl Three {
    fn judge(&mut self, hook: Hook, link: guard_common::packet::Link, frame: &[u8], from: &Surroundings) {
        let origin = self.now.origin(from, frame.len() as u64);
        let by_ordinary = match self.ordinary.judge_frame(hook, link, frame, &origin) {
            Ok(judged) => judged,
            Err(KernelError::TestRun { .. }) if frame.len() < least(hook) => return,
            Err(error) => panic!("{error}: {hook:?} {link:?} {frame:02x?}"),
        };
        let by_shadowed = self.shadowed.judge_frame(hook, link, frame, &origin).unwrap();
        assert_eq!(by_shadowed, by_ordinary, "{hook:?} {link:?} {frame:02x?}");
        let (parsed, packet) = parse_frame(link, frame);
        let then = self.then.explain(hook, parsed, &packet, from, frame.len() as u64, 1 << 40);
        let key = (
            hook as u8,
            [(by_ordinary.verdict as u8, by_ordinary.reason as u8), (then.verdict as u8, then.reason as u8)],
        );
        add(self.expected.entry(key).or_default(), Count { packets: 1, bytes: by_ordinary.bytes });
    }
}

/// The frames' policy, changed in each of its parts.
fn candidate() -> String {
    let other = POLICY
        .replace("jurisdiction = \"BE\"", "jurisdiction = \"JP\"")
        .replace("permit = [\"EU\"]\naction = \"drop\"", "permit = [\"EU\", \"US\"]\naction = \"drop\"")
        .replace(
            "cidrs = [\"203.0.113.0/24\", \"2001:db8:3::/48\"",
            "cidrs = [\"203.0.113.0/25\", \"2001:db8:3::/64\"",
        )
        .replace("ports = [\"tcp/143\", ", "ports = [\"tcp/25\", \"tcp/143\", ")
        .replace("permit = [\"US\"]\naction = \"observe\"", "permit = [\"IE\"]\naction = \"drop\"")
        .replace(
            "name = \"monitoring\"\npeers = [\"203.0.113.250/32\"]",
            "name = \"monitoring\"\npeers = [\"203.0.113.251/32\"]",
        );
    assert_ne!(other, POLICY);
    other
}

/// Two of those that are open now are not, and one is that was not.
fn candidate_exemptions() -> Vec<NamedExemption> {
    let mut all = exemptions().unwrap();
    all.retain(|it| !matches!(it.kernel.slot, 70 | 255));
    all.push(exemption(7, &["mail", "records"], "198.51.100.0/24", u64::MAX, 3000).unwrap());
    all
}

fn explainer(text: &str, exemptions: Vec<NamedExemption>) -> Explainer {
    let addresses = [IpAddr::from(SOURCES[2]), IpAddr::from(STORAGE_V6[1])];
    let explainer =
        Explainer::new(policy_of(text).unwrap(), embedded::load(), exemptions, Some("lo")).unwrap();
    explainer.with_addresses(addresses.map(Addr::from).into())
}

fn tables_of(explainer: &Explainer) -> ShadowTables {
    let geo = geo_image(&embedded::load(), &explainer.policy().sites).unwrap();
    ShadowTables { policy: explainer.tables().policy.clone().into(), geo: geo.into() }
}

#[test]
#[ignore = "needs root and BPF"]
fn packets_are_judged_as_ever_and_the_candidate_as_the_host_says() {
    const MUTATED: usize = 4000;
    can_bpf().unwrap();
    let every = every().unwrap();
    let pins = BpfFs::new("shadow-differential").unwrap();
    let (now, then) =
        (explainer(POLICY, exemptions().unwrap()), explainer(&candidate(), candidate_exemptions()));
    let open = |name: &str| {
        let mut kernel = support::open_to_judge(&pins.path().join(name)).unwrap();
        kernel.know_addresses(&now.tables().addresses).unwrap();
        kernel.publish(&now.tables().policy, Some(&now.tables().geo)).unwrap();
        kernel
    };
    let (ordinary, mut shadowed) = (open("ordinary"), open("shadowed"));
    let reader = shadowed.begin_shadow(&tables_of(&then)).unwrap();
    reader.judge_until(u64::MAX).unwrap();
    let mut three = Three { ordinary, shadowed, now, then, expected: BTreeMap::new() };
    let frames = frames();
    for (hook, from) in [
        (Hook::Egress, marked(0)),
        (Hook::Egress, forwarded()),
        (Hook::Egress, marked(0x110)),
        (Hook::Ingress, marked(0)),
        (Hook::Ingress, marked(0x110)),
    ] {
        for (link, frame) in frames.iter().step_by(every) {
            three.judge(hook, *link, frame, &from);
        }
    }
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    for _ in 0..MUTATED / every {
        let (link, frame) = numbers.mutate(&frames);
        let hook = if numbers.below(3) == 0 { Hook::Ingress } else { Hook::Egress };
        let from = if numbers.below(4) == 0 { marked(0x10) } else { marked(0) };
        three.judge(hook, link, &frame, &from);
    }
    compare_what_is_live(&mut three);
    compare_the_candidate(&three, &reader);
}

/// Counters, flows and what exemptions have let through are the same with a shadow and without.
fn compare_what_is_live(three: &mut Three) {
    let Three { ordinary, shadowed, .. } = three;
    assert_eq!(ordinary.counters().unwrap(), shadowed.counters().unwrap());
    assert_eq!(View::exemption_uses(ordinary).unwrap(), View::exemption_uses(shadowed).unwrap());
    assert!(View::exemption_uses(ordinary).unwrap().iter().any(|used| *used != ExemptionUse::default()));
    let flows = |kernel: &LinuxKernel| {
        let flows = kernel.flows().unwrap().into_iter();
        let of = |(key, record): (_, guard_common::abi::FlowRecord)| {
            (format!("{key:?}"), (record.packets, record.bytes, record.tag, record.denied, record.generation))
        };
        flows.map(of).collect::<BTreeMap<_, _>>()
    };
    let of_ordinary = flows(ordinary);
    assert!(of_ordinary.len() > 1000 / every().unwrap(), "{}", of_ordinary.len());
    assert_eq!(of_ordinary, flows(shadowed));
}

/// Of how many packets they judge alike and of how many not is what the host says, and so are quotas.
fn compare_the_candidate(three: &Three, reader: &ShadowReader) {
    let counts = reader.counts().unwrap();
    assert_eq!(counts.lost, [Count::default(); 2]);
    let mut found: BTreeMap<Pair, Count> = BTreeMap::new();
    for (key, count) in &counts.differences {
        assert_eq!(key.generation, 1);
        add(found.entry(pair(key)).or_default(), *count);
    }
    let mut same = [Count::default(); 2];
    let mut differ = BTreeMap::new();
    for ((hook, sides), count) in &three.expected {
        match sides[0] == sides[1] {
            true => add(&mut same[usize::from(*hook)], *count),
            false => drop(differ.insert((*hook, *sides), *count)),
        }
    }
    assert_eq!((counts.same, &found), (same, &differ));
    println!("{same:?}, {} differences", found.len());
    let verdicts: BTreeSet<(u8, u8)> = found.keys().map(|(_, [now, then])| (now.0, then.0)).collect();
    for kind in
        [(Verdict::Pass, Verdict::Drop), (Verdict::Drop, Verdict::Flag), (Verdict::Observe, Verdict::Drop)]
    {
        assert!(verdicts.contains(&(kind.0 as u8, kind.1 as u8)), "no {kind:?} in {verdicts:?}");
    }
    assert!(same.iter().all(|count| count.packets > 1000 / every().unwrap() as u64), "{same:?}");
    for slot in 0..three.then.tables().policy.exemptions.len() {
        let by_kernel = reader.exemption_use(u16::try_from(slot).unwrap()).unwrap();
        let host = three.then.tables();
        let by_host = [&host.used, &host.charged].map(|of| of[slot].load(Ordering::Relaxed));
        assert_eq!([by_kernel.bytes, by_kernel.charged], by_host, "slot {slot}");
        assert!(slot != 7 || by_kernel.bytes > 0, "{by_kernel:?}");
    }
    // Each flow of which the verdicts differ has its own amounts, where all had room.
    let flows = reader.flows().unwrap();
    let mut by_flow: BTreeMap<Pair, Count> = BTreeMap::new();
    for (key, flow) in &flows {
        let sides = [(key.flow.verdict, key.flow.reason), (key.verdict, key.reason)];
        assert_eq!(
            (flow.then.verdict, flow.then.reason, flow.then.place),
            (key.verdict, key.reason, key.place)
        );
        assert_ne!(key.flow.verdict, key.verdict);
        let Count { packets, bytes } = *found.get(&(key.flow.hook, sides)).unwrap();
        let sum = by_flow.entry((key.flow.hook, sides)).or_default();
        add(sum, Count { packets: flow.record.packets, bytes: flow.record.bytes });
        assert!(sum.packets <= packets && sum.bytes <= bytes);
    }
    assert!(flows.len() > 500 / every().unwrap(), "{}", flows.len());
}

/// Packets that were judged for this reason.
fn packets(view: &View, reason: Reason) -> u64 {
    view.totals().unwrap().iter().filter(|row| row.reason == reason).map(|row| row.count.packets).sum()
}

/// The ids of the programs that are attached, and whether all are those that are to be.
fn attached(kernel: &mut LinuxKernel) -> (Vec<u32>, bool) {
    let all = kernel.observe().unwrap().interfaces.into_iter().flat_map(|it| it.attachments);
    let all: Vec<_> = all.collect();
    (all.iter().map(|it| it.program).collect(), all.iter().all(|it| it.is_current))
}

/// A candidate that permits these jurisdictions, with the client in the US.
fn candidate_of(permit: &str) -> ShadowTables {
    ShadowTables { policy: support::policy(1 << 63, permit).into(), geo: geo("US").into() }
}

/// A first step, or a later one, of a shadow of this candidate.
fn step(permit: &str, milliseconds: u64) -> ShadowStep {
    let deadline_ns = boot_ns() + milliseconds * 1_000_000;
    ShadowStep { begin: Some(candidate_of(permit)), deadline_ns, ..ShadowStep::default() }
}

/// Begins a shadow as the daemon does.
fn begin(kernel: &mut LinuxKernel, permit: &str) {
    while !kernel.shadow_packets(step(permit, 60_000)).unwrap().is_on {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The ids of a shadow's own maps that these programs have.
fn shadow_maps(programs: &[u32]) -> BTreeSet<u32> {
    let loaded = aya::programs::loaded_programs().filter_map(Result::ok);
    let of_shadow = |id: &u32| {
        let map = MapInfo::from_id(*id).ok();
        map.is_some_and(|map| map.name_as_str().is_some_and(|name| name.starts_with("SHADOW_")))
    };
    let maps = loaded.filter(|program| programs.contains(&program.id()));
    maps.flat_map(|program| program.map_ids().unwrap().unwrap()).filter(of_shadow).collect()
}

#[test]
#[ignore = "needs root and BPF"]
fn a_shadow_counts_what_would_differ_follows_another_table_and_leaves_nothing() {
    let pins = PinPlace::new("shadow");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", true);
        let before = attached(&mut kernel);
        assert_eq!((before.0.len(), before.1, shadow_maps(&before.0).len()), (2, true, 0));
        begin(&mut kernel, "\"US\"");
        let during = attached(&mut kernel);
        assert!(during.1 && during.0.iter().all(|program| !before.0.contains(program)), "{during:?}");
        let own = shadow_maps(&during.0);
        assert_eq!(own.len(), 13, "tables, accounts and counts: {own:?}");
        let sender = FrameSocket::on("bgk0");
        for _ in 0..3 {
            sender.send(&frame(STORAGE));
        }
        sender.send(&frame(OTHER));
        // Dropped as ever: the candidate permits where they go.
        assert_eq!(packets(&kernel, Reason::Forbidden), 3);
        assert!(packets(&kernel, Reason::Untagged) >= 1);
        let seen = kernel
            .shadow_packets(ShadowStep { deadline_ns: boot_ns() + 60_000_000_000, ..Default::default() });
        let seen = seen.unwrap();
        let len = frame(STORAGE).len() as u64;
        let [(key, count)] = &seen.counts.differences[..] else { panic!("{seen:?}") };
        assert_eq!(*count, Count { packets: 3, bytes: 3 * len });
        let (drop, pass) = (Verdict::Drop as u8, Verdict::Pass as u8);
        assert_eq!(pair(key), (0, [(drop, Reason::Forbidden as u8), (pass, Reason::Permitted as u8)]));
        assert_eq!((key.generation, key.now_pins, key.then_pins), (1, 1, 0));
        assert!(seen.flows.is_empty() && seen.counts.same[0].packets >= 1, "{seen:?}");
        // A table in the place of the candidate's: it judges as the live one does.
        let policy = Some(support::policy((1 << 63) + 1, "\"IE\""));
        let step = ShadowStep { policy, deadline_ns: boot_ns() + 60_000_000_000, ..Default::default() };
        kernel.shadow_packets(step).unwrap();
        sender.send(&frame(STORAGE));
        let last = kernel.shadow_packets(ShadowStep { is_last: true, ..Default::default() }).unwrap();
        assert_eq!(last.counts.differences, seen.counts.differences);
        assert!(last.counts.same[0].packets > seen.counts.same[0].packets, "{last:?}");
        let [(flow, entry)] = &last.flows[..] else { panic!("{last:?}") };
        assert_eq!((flow.flow.dst, entry.record.packets), (Addr::from(IpAddr::from(CLIENT)), 3));
        assert_eq!((entry.record.bytes, entry.record.denied, entry.then.denied), (3 * len, 1, 0));
        // It is over: nothing is judged by the candidate any more, whoever still has the programs.
        sender.send(&frame(STORAGE));
        let after = kernel.shadow_packets(ShadowStep { is_last: true, ..Default::default() }).unwrap();
        assert_eq!(after.counts, last.counts);
        kernel.put_back().unwrap();
        assert_eq!(attached(&mut kernel), before, "the ordinary programs again");
        sender.send(&frame(STORAGE));
        assert_eq!(packets(&kernel, Reason::Forbidden), 6, "packets were judged as ever");
        // The kernel frees maps a moment after the last program that has them.
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while own.iter().any(|id| MapInfo::from_id(*id).is_ok()) {
            assert!(std::time::Instant::now() < until, "{own:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_stay_takes_effect_at_once_and_the_shadow_goes_on() {
    let pins = PinPlace::new("shadow-stay");
    in_own_network(|| {
        // The client is permitted until it is not any more: as where an exemption is stayed.
        let mut kernel = guarded(&pins, "\"IE\", \"US\"", false);
        begin(&mut kernel, "\"US\"");
        let sender = FrameSocket::on("bgk0");
        sender.send(&frame(STORAGE));
        let published = kernel.publish(&support::policy(2, "\"IE\""), None).unwrap();
        assert!(published.wait < Duration::from_millis(250), "{published}");
        sender.send(&frame(STORAGE));
        assert_eq!((packets(&kernel, Reason::Permitted), packets(&kernel, Reason::Forbidden)), (1, 1));
        let seen = kernel.shadow_packets(ShadowStep { is_last: true, ..Default::default() }).unwrap();
        let differences: Vec<(u64, u64)> =
            seen.counts.differences.iter().map(|(key, count)| (key.generation, count.packets)).collect();
        assert_eq!((seen.is_on, differences), (true, vec![(2, 1)]));
        kernel.put_back().unwrap();
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn nothing_is_judged_twice_when_the_lease_is_over_and_the_next_process_swaps_back() {
    let pins = PinPlace::new("shadow-lease");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", true);
        let reader = kernel.begin_shadow(&candidate_of("\"US\"")).unwrap();
        kernel.swap_attachments().unwrap();
        // An interface that comes meanwhile gets the same program.
        add_veth("bgk2", "bgk3");
        kernel.attach(&Interface::by_name("bgk2").unwrap(), false).unwrap();
        let programs = attached(&mut kernel);
        assert!(programs.1 && programs.0.len() == 3, "{programs:?}");
        let sender = FrameSocket::on("bgk0");
        let judged = || reader.counts().unwrap().differences.iter().map(|(_, it)| it.packets).sum::<u64>();
        sender.send(&frame(STORAGE));
        assert_eq!(judged(), 0, "nobody has asked yet");
        reader.judge_until(boot_ns() + 300_000_000).unwrap();
        sender.send(&frame(STORAGE));
        FrameSocket::on("bgk2").send(&frame(STORAGE));
        assert_eq!(judged(), 2);
        std::thread::sleep(Duration::from_millis(350));
        sender.send(&frame(STORAGE));
        assert_eq!(judged(), 2, "the lease is over");
        // As where the process is killed: what is in bpffs stays, and these programs judge.
        drop(kernel);
        sender.send(&frame(STORAGE));
        assert_eq!(judged(), 2);
        let view = View::open(&pins.path()).unwrap();
        assert_eq!(packets(&view, Reason::Forbidden), 5);
        let mut next = pins.open();
        assert!(!attached(&mut next).1, "they are not those of this process");
        next.swap_attachments().unwrap();
        let now = attached(&mut next);
        assert!(now.1 && now.0.iter().all(|program| !programs.0.contains(program)), "{now:?}");
        sender.send(&frame(STORAGE));
        assert_eq!(packets(&next, Reason::Forbidden), 6);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn swaps_and_tables_under_traffic_lose_no_packet_and_count_each_once() {
    const SHADOWS: usize = 5;
    let pins = PinPlace::new("shadow-swaps");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", false);
        let network = support::Network::here();
        let (is_over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                network.run(|| {
                    let sender = FrameSocket::on("bgk0");
                    while !is_over.load(Ordering::Relaxed) {
                        sender.send(&frame(STORAGE));
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                });
            });
            for shadow in 0..SHADOWS {
                begin(&mut kernel, "\"US\"");
                for table in 0..10_u64 {
                    let permit = if table % 2 == 0 { "\"IE\"" } else { "\"US\"" };
                    let step = ShadowStep {
                        policy: Some(support::policy((1 << 63) + table, permit)),
                        deadline_ns: boot_ns() + 60_000_000_000,
                        ..Default::default()
                    };
                    kernel.shadow_packets(step).unwrap();
                }
                let last = kernel.shadow_packets(ShadowStep { is_last: true, ..Default::default() }).unwrap();
                let differ: u64 = last.counts.differences.iter().map(|(_, count)| count.packets).sum();
                assert!(differ > 0 && last.counts.same[0].packets > 0, "{shadow}: {last:?}");
                kernel.put_back().unwrap();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let sent = sent.into_inner();
        assert!(sent > 1000, "{sent}");
        assert_eq!(packets(&kernel, Reason::Forbidden), sent, "all are dropped, and each is counted once");
    });
}
