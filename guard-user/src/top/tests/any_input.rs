//! Whatever comes in, at whatever size: no panic, and no control character on the screen.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::control::status::{CounterStatus, PinStatus, Status, TotalStatus, VerdictStatus};
use crate::exemption::Summary;
use crate::health::{Problem, ProblemCode};
use crate::live::event::{Endpoint, Event, Process};
use crate::live::feed::News;
use crate::live::sums::tests::event;

fn name() -> impl Strategy<Value = String> {
    let nasty = prop::sample::select(vec![
        "\u{1b}[2J",
        "\u{9b}31m",
        "\r\n",
        "a\u{301}\u{301}",
        "漢字",
        "🇮🇪",
        "\u{202e}x",
        "\u{200d}",
        "👩\u{200d}🚀",
        "\0",
        "ൎx",
        "ᄀ\u{1161}",
    ]);
    let parts = prop_oneof![any::<String>(), nasty.prop_map(str::to_owned)];
    prop::collection::vec(parts, 0..4).prop_map(|parts| parts.concat())
}

fn verdict() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["pass", "observe", "flag", "drop"]).prop_map(str::to_owned),
        1 => name(),
    ]
}

prop_compose! {
    fn counter()(pin in name(), place in name(), verdict in verdict(), packets: u64, bytes: u64) -> CounterStatus {
        CounterStatus { pin: Some(pin), jurisdiction: Some(place), verdict, packets, bytes, ..Default::default() }
    }
}

prop_compose! {
    fn exemption()(id in name(), pins in prop::collection::vec(name(), 0..3), quota: Option<u64>, used: u64,
        until in -377_705_023_201_i64..253_402_207_200) -> Summary {
        Summary {
            id, pins, quota_bytes: quota, used_bytes: used,
            valid_until: jiff::Timestamp::from_second(until).unwrap(),
            ..sample::exemption()
        }
    }
}

prop_compose! {
    fn status()(
        counters in prop::collection::vec(counter(), 0..6),
        exemptions in prop::collection::vec(exemption(), 0..4),
        names in prop::collection::vec((name(), name(), name()), 0..5),
        codes in prop::collection::vec(prop::sample::select(ProblemCode::ALL), 0..4),
        packets: u64, bytes: u64, said in verdict(),
    ) -> Status {
        let pins = names.iter().map(|(name, home, action)| PinStatus {
            name: name.clone(), home: home.clone(), action: action.clone(),
            verdicts: vec![VerdictStatus { verdict: said.clone(), packets, bytes }],
            ..Default::default()
        });
        let problems = codes.iter().zip(&names).map(|(code, (subject, message, _))| {
            Problem::of(*code, subject.clone(), message.clone())
        });
        Status {
            pins: pins.collect(),
            problems: problems.collect(),
            totals: vec![TotalStatus { verdict: said.clone(), packets, bytes, ..Default::default() }; 2],
            counters, exemptions,
            version: names.first().map(|it| it.0.clone()).unwrap_or_default(),
            kernel: names.last().map(|it| it.1.clone()).unwrap_or_default(),
            config: names.last().map(|it| it.2.clone()).unwrap_or_default(),
            ..Default::default()
        }
    }
}

prop_compose! {
    fn any_event()(command in name(), unit in name(), peer in name(), pin in name(), place in name(),
        verdict in verdict(), id: u64, packets: u64, bytes: u64) -> Event {
        Event {
            process: Some(Process { command, pid: 1, uid: None, user: None, unit: Some(unit) }),
            destination: Some(Endpoint { ip: peer, port: None }),
            pins: vec![pin], jurisdiction: place, verdict, id, packets, bytes,
            ..event(1, 1)
        }
    }
}

fn news() -> impl Strategy<Value = News> {
    let begin = Instant::now();
    prop_oneof![
        3 => (status(), 0_u64..1 << 40).prop_map(move |(status, nanos)| {
            News::Status(Box::new(status), begin + Duration::from_nanos(nanos))
        }),
        3 => any_event().prop_map(|event| News::Event(Box::new(event))),
        1 => name().prop_map(News::NoStatus),
        1 => name().prop_map(News::NoEvents),
        1 => any::<u64>().prop_map(News::Missed),
        1 => any::<u64>().prop_map(News::Summed),
    ]
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        (0_usize..10).prop_map(Key::View),
        any::<i32>().prop_map(Key::Scroll),
        prop::sample::select(vec![
            Key::Next,
            Key::Previous,
            Key::Sort,
            Key::Reverse,
            Key::Pause,
            Key::Help,
            Key::First,
            Key::Last,
        ]),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        3 => news().prop_map(Input::News),
        2 => key().prop_map(Input::Key),
        1 => (-377_705_023_201_i64..253_402_207_200)
            .prop_map(|at| Input::Time(jiff::Timestamp::from_second(at).unwrap())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn no_input_breaks_the_screen(
        inputs in prop::collection::vec(input(), 0..8),
        columns in 1_u16..=300,
        rows in 1_u16..=100,
        colour: bool,
    ) {
        let theme = if colour { Theme::Colour } else { Theme::Plain };
        let mut state = State::default();
        for input in inputs {
            state.update(input);
            let backend = drawn(&mut state, theme, columns, rows);
            for cell in &backend.buffer().content {
                let symbol = cell.symbol();
                prop_assert!(!symbol.chars().any(crate::text::is_unseen), "{symbol:?}");
                prop_assert!(super::super::cell::width(symbol) <= 2, "{symbol:?}");
            }
        }
    }
}
