//! Each stage that is not reached is named, and the next canary that reaches it ends the problem.

use guard_common::abi::{Canary, Outcome};
use guard_common::packet::Link;

use super::*;
use crate::canary::{Flow, Guarded, Sender};
use crate::config::policy::Protocol;

const HOUR: Duration = Duration::from_secs(3600);

fn planned(returned_within: Option<Duration>) -> Planned {
    let [source, destination] = ["192.0.2.1", "198.51.100.254"].map(|ip| ip.parse().unwrap());
    let flow = Flow { source, destination, protocol: Protocol::Udp, sport: 9, dport: 9 };
    let direction = guard_common::abi::Direction::Unknown;
    Planned {
        pin: "mail".into(),
        bit: 3,
        way: 0,
        interface: Guarded { index: 2, name: "eth0".into(), link: Link::Ethernet },
        every: HOUR,
        returned_within,
        at_least: Verdict::Drop,
        senders: Ok(vec![Sender { flow, mark: 0, party: None, volumes: 0, direction }; 2]),
    }
}

/// What the kernel says of one that goes well.
fn well(number: u64) -> Launch {
    let outcome = Outcome { denied: 1 << 3, verdict: Verdict::Drop as u8, ..Outcome::default() };
    let noted = Canary { number, packets: 1, outcome, ..Canary::default() };
    Launch { sent: SentCanary { has_left: false, noted }, counted: [4, 5] }
}

/// How the event of a canary goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    Seen,
    Written,
    Returned,
}

/// The problem after an hour's canary, which the kernel answers so and which goes on so.
fn told(
    watch: &mut Watch,
    at: Instant,
    then: Then,
    launch: impl Fn(u64) -> io::Result<Option<Launch>>,
) -> String {
    let sent = Sent::default();
    let number = std::cell::Cell::new(0);
    let launch = |_: (&Planned, &Sender), its: u64| {
        number.set(its);
        launch(its)
    };
    watch.look(at, &sent, launch);
    if then != Then::Nothing
        && let Some((_, written)) = sent.see(number.get())
    {
        if then != Then::Seen {
            written.set();
        }
        if then == Then::Returned {
            assert!(sent.confirm(number.get()));
        }
    }
    for seconds in [1, 9, 11, 61] {
        watch.look(at + Duration::from_secs(seconds), &sent, launch);
    }
    watch.problem().map_or_else(String::new, |problem| {
        assert_eq!((problem.code, problem.subject.as_deref()), (ProblemCode::CanaryMissing, Some("mail")));
        problem.message
    })
}

#[test]
fn the_stage_that_was_not_reached_is_named_until_the_next_one_reaches_it() {
    let begin = Instant::now();
    let within = Some(Duration::from_secs(60));
    let mut watch = Watch::new(planned(within), begin);
    let mut at = begin;
    let mut next = || {
        at += HOUR + Duration::from_secs(1);
        at
    };
    let changed = |change: fn(&mut Launch)| {
        move |number| {
            let mut launch = well(number);
            change(&mut launch);
            Ok(Some(launch))
        }
    };
    assert_eq!(told(&mut watch, next(), Then::Returned, changed(|_| ())), "");
    let failing = |_| Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    let why = told(&mut watch, next(), Then::Nothing, failing);
    assert!(why.contains("at eth0 was not sent") && why.contains("Message too long"), "{why}");
    for (change, words) in [
        (
            (|it: &mut Launch| (it.sent.noted.packets, it.sent.has_left) = (0, true)) as fn(&mut Launch),
            "has LEFT",
        ),
        (|it| it.sent.noted.packets = 0, "something else dropped it"),
        (|it| it.sent.noted.outcome.verdict = Verdict::Flag as u8, "its verdict was flag"),
        (|it| it.sent.noted.outcome.denied = 1, "its verdict was drop"),
        (|it| it.sent.has_left = true, "LEFT by the interface all the same"),
    ] {
        let why = told(&mut watch, next(), Then::Returned, changed(change));
        assert!(why.contains("was not judged") && why.contains(words), "{why}");
    }
    for counted in [[4, 4], [4, 6], [4, 0]] {
        let why = told(&mut watch, next(), Then::Returned, move |number| {
            Ok(Some(Launch { counted, ..well(number) }))
        });
        assert!(why.contains("was not counted"), "{why}");
    }
    for (then, words) in [
        (Then::Nothing, "was not logged: its event was not taken"),
        (Then::Seen, "was not logged: its line was not written"),
        (Then::Written, "was not returned"),
    ] {
        let why = told(&mut watch, next(), then, changed(|_| ()));
        assert!(why.contains(words), "{why}");
    }
    assert_eq!(told(&mut watch, next(), Then::Returned, changed(|_| ())), "");
    // What need not come back is well when it is written, and so is what an interface that is down does not send.
    watch = watch.with(planned(None));
    assert!(told(&mut watch, next(), Then::Nothing, changed(|_| ())).contains("not logged"));
    assert_eq!(told(&mut watch, next(), Then::Written, changed(|_| ())), "");
    assert!(told(&mut watch, next(), Then::Nothing, failing).contains("not sent"));
    assert_eq!(told(&mut watch, next(), Then::Nothing, |_| Ok(None)), "");
    watch = watch.with(Planned { senders: Err("every one is permitted".to_owned()), ..planned(None) });
    assert!(told(&mut watch, next(), Then::Nothing, changed(|_| ())).contains("none can be made"));
}

/// A database places one documentation address where the pin permits it, and the next one is forbidden.
#[test]
fn another_destination_is_tried_where_one_is_permitted() {
    let begin = Instant::now();
    let tries = std::cell::Cell::new(0);
    let launch = |permitted: u32| {
        tries.set(0);
        let tries = &tries;
        move |number| {
            tries.set(tries.get() + 1);
            let mut launch = well(number);
            if tries.get() <= permitted {
                let outcome = &mut launch.sent.noted.outcome;
                (outcome.denied, outcome.verdict) = (0, Verdict::Pass as u8);
            }
            Ok(Some(launch))
        }
    };
    let mut watch = Watch::new(planned(None), begin);
    assert_eq!((told(&mut watch, begin, Then::Written, launch(1)), tries.get()), (String::new(), 2));
    let why = told(&mut watch, begin + 2 * HOUR, Then::Nothing, launch(9));
    assert!(why.contains("its verdict was pass") && tries.get() == 2, "{why}");
}

#[test]
fn numbers_differ() {
    let all: std::collections::BTreeSet<u64> = (0..1000).map(|_| number()).collect();
    assert!(all.len() == 1000 && !all.contains(&0));
}
