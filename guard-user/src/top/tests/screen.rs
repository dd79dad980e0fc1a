//! The figures on the screen are those of the input, at both sizes, and keys do what they say.

use std::time::{Duration, Instant};

use ratatui::style::{Color, Modifier};

use super::*;
use crate::control::status::Status;
use crate::live::feed::News;
use crate::report::number::{bytes, grouped};

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (200, 60);

fn overview((columns, rows): (u16, u16)) -> Vec<String> {
    screen(&[], columns, rows)
}

/// The words of the first line from this one on that begins so, wherever on the screen that part stands.
fn row(lines: &[String], below: &str, begin: &str) -> Vec<String> {
    let (from, line) = lines.iter().enumerate().find(|(_, line)| line.contains(below)).unwrap();
    let left = line[..line.find(below).unwrap()].chars().count();
    let mut found = lines[from..].iter().map(|line| line.chars().skip(left).collect::<String>());
    let found = found.find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{begin}: {lines:#?}"));
    // Columns are two blanks apart.
    let words = found.split("  ").map(str::trim).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

fn packets(status: &Status, wanted: &str) -> u64 {
    status.totals.iter().filter(|it| it.verdict == wanted).map(|it| it.packets).sum()
}

#[test]
fn the_figures_are_those_of_the_status_at_both_sizes() {
    let (before, after) = (sample::status(0), sample::status(1));
    for size in [SMALL, LARGE] {
        let lines = overview(size);
        let of = |row: &[String], at: usize| row[at].clone();
        for (at, verdict) in ["pass", "observe", "flag", "drop"].into_iter().enumerate() {
            let rate = (packets(&after, verdict) - packets(&before, verdict)) / 2;
            assert_eq!(of(&row(&lines, "judged", "packets/s"), at + 1), grouped(rate), "{verdict}");
            let all = grouped(packets(&after, verdict));
            assert_eq!(of(&row(&lines, "judged", "packets  "), at + 1), all, "{verdict}");
        }
        for pin in &after.pins {
            // The left half of a wide screen.
            let left: Vec<String> = lines.iter().map(|line| line.chars().take(98).collect()).collect();
            let shown = row(&left, "pin      home", &pin.name);
            let drops = pin.verdicts.iter().find(|it| it.verdict == "drop").unwrap().packets;
            assert_eq!(shown.last().unwrap(), &grouped(drops), "{shown:?}");
            assert_eq!(shown[1], pin.home);
        }
        let exemption = row(&lines, "exemption  ", "mlat-2026-0142 v1");
        assert!(exemption.contains(&"active".to_owned()), "{exemption:?}");
        assert!(exemption.contains(&bytes((2 << 30) - (512 << 20))), "{exemption:?}");
        assert!(exemption.contains(&"2d 11h".to_owned()), "{exemption:?}");
        let violator = row(&lines, "peer  ", "2001:db8:3::30");
        assert!(
            violator.contains(&"310".to_owned()) && violator.contains(&"unknown".to_owned()),
            "{violator:?}"
        );
        assert!(row(&lines, "process  ", "rsync").contains(&"replica.service".to_owned()));
        let text = lines.join("\n");
        assert!(text.contains("DEGRADED") && text.contains("interface-missing: wg0"), "{text}");
    }
}

#[test]
fn a_view_has_all_columns_where_there_is_room() {
    let lines = screen(&[Key::View(3)], LARGE.0, LARGE.1);
    let us = row(&lines, "place  ", "US");
    let (after, before) = (sample::status(1), sample::status(0));
    let of = |status: &Status, verdict: &str| {
        let rows = status
            .counters
            .iter()
            .filter(|it| it.jurisdiction.as_deref() == Some("US") && it.verdict == verdict);
        rows.fold((0, 0), |(packets, bytes), it| (packets + it.packets, bytes + it.bytes))
    };
    let (pass, drop) = (of(&after, "pass"), of(&after, "drop"));
    let rate = (drop.0 - of(&before, "drop").0) / 2;
    let byte_rate = (pass.1 + drop.1 - of(&before, "pass").1 - of(&before, "drop").1) / 2;
    let expected =
        ["US", "0", &grouped(rate), &bytes(byte_rate), &bytes(pass.1), &grouped(drop.0), "0 B", "0 B"];
    assert_eq!(us, expected);
    let fr = row(&lines, "place  ", "FR");
    assert_eq!(fr[6..], [bytes(20_000), bytes(7_240_000)]);
    let health = screen(&[Key::View(7)], SMALL.0, SMALL.1).join("\n");
    assert!(health.contains("To do: ") && health.contains("there is no such interface"), "{health}");
}

#[test]
fn before_the_second_look_a_rate_is_not_known() {
    let mut state = State::default();
    state.update(Input::News(News::Status(Box::new(sample::status(0)), Instant::now())));
    let lines = lines(&drawn(&mut state, Theme::Colour, SMALL.0, SMALL.1));
    assert_eq!(row(&lines, "judged", "packets/s")[1..], ["-", "-", "-", "-"]);
    assert_eq!(row(&lines, "judged", "packets  ")[1], grouped(packets(&sample::status(0), "pass")));
}

#[test]
fn tables_are_sorted_as_the_keys_say() {
    let order = |keys: &[Key]| {
        let lines = screen(&[&[Key::View(4)], keys].concat(), 120, 24);
        let first = |line: &String| line.split(' ').next().map(str::to_owned);
        lines.iter().skip(3).filter_map(first).take(3).collect::<Vec<_>>()
    };
    let by_packets = ["2001:db8:3::30", "198.51.100.7", "203.0.113.9"];
    assert_eq!(order(&[]), by_packets);
    assert_eq!(order(&[Key::Reverse]), by_packets.iter().rev().copied().collect::<Vec<_>>());
    // Bytes, events, last, and then by the peer's address.
    let four = [Key::Sort; 4];
    assert_eq!(order(&four), ["198.51.100.7", "2001:db8:3::30", "203.0.113.9"]);
    let titles = screen(&[&[Key::View(4)], &four[..]].concat(), 120, 24)[2].clone();
    assert!(titles.starts_with("peer▲"), "{titles}");
}

#[test]
fn what_is_paused_stays_and_goes_on() {
    let mut state = state(&[Key::Pause]);
    let held = lines(&drawn(&mut state, Theme::Colour, SMALL.0, SMALL.1));
    assert!(held[0].contains("PAUSED"), "{held:?}");
    state.update(Input::News(News::Status(
        Box::new(sample::status(9)),
        Instant::now() + Duration::from_secs(60),
    )));
    assert_eq!(lines(&drawn(&mut state, Theme::Colour, SMALL.0, SMALL.1)), held);
    state.update(Input::Key(Key::Pause));
    let now = lines(&drawn(&mut state, Theme::Colour, SMALL.0, SMALL.1));
    assert_eq!(row(&now, "judged", "packets  ")[1], grouped(packets(&sample::status(9), "pass")));
    assert!(!now[0].contains("PAUSED"));
}

#[test]
fn a_daemon_that_is_gone_is_told_until_it_answers() {
    let mut state = state(&[]);
    state.update(Input::News(News::NoStatus("no daemon answers on /run/x".into())));
    state.update(Input::News(News::NoEvents("the daemon has ended".into())));
    let gone = lines(&drawn(&mut state, Theme::Plain, SMALL.0, SMALL.1));
    assert!(gone[2].starts_with("NO ANSWER since 2026-11-23T12:00:04Z"), "{gone:?}");
    assert_eq!(row(&gone, "judged", "packets/s")[1], "-");
    // What was known stays.
    assert_eq!(row(&gone, "judged", "packets  ")[1], grouped(packets(&sample::status(1), "pass")));
    state.update(Input::News(News::Status(Box::new(sample::status(2)), Instant::now())));
    let back = lines(&drawn(&mut state, Theme::Plain, SMALL.0, SMALL.1)).join("\n");
    assert!(!back.contains("NO "), "{back}");
    state.update(Input::News(News::Missed(1_234)));
    let missed = lines(&drawn(&mut state, Theme::Plain, SMALL.0, SMALL.1)).join("\n");
    assert!(missed.contains("1,234 events were not taken in time"), "{missed}");
    assert!(!missed.contains("in sums alone"), "{missed}");
    state.update(Input::News(News::Summed(59_878)));
    let summed = lines(&drawn(&mut state, Theme::Plain, SMALL.0, SMALL.1)).join("\n");
    assert!(summed.contains("59,878 events of a storm are in sums alone"), "{summed}");
}

#[test]
fn without_colour_nothing_is_coloured_and_nothing_is_lost() {
    for view in 1..=7 {
        let (colour, plain) = {
            let mut state = state(&[Key::View(view)]);
            let colour = drawn(&mut state, Theme::Colour, SMALL.0, SMALL.1);
            (colour, drawn(&mut state, Theme::Plain, SMALL.0, SMALL.1))
        };
        assert_eq!(lines(&colour), lines(&plain));
        let cells = &plain.buffer().content;
        assert!(cells.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
        // The view that is shown is marked by more than a colour.
        assert!(cells.iter().any(|cell| cell.modifier.contains(Modifier::REVERSED)));
        assert!(colour.buffer().content.iter().any(|cell| cell.fg != Color::Reset));
    }
}

#[test]
fn keys_lead_to_every_view_and_the_help_closes_with_any() {
    let mut state = state(&[]);
    let mut seen = Vec::new();
    for _ in 0..7 {
        seen.push(state.view().name());
        state.update(Input::Key(Key::Next));
    }
    assert_eq!(seen, ["overview", "pins", "places", "violators", "processes", "exemptions", "health"]);
    assert_eq!(state.view().name(), "overview");
    state.update(Input::Key(Key::Help));
    let help = lines(&drawn(&mut state, Theme::Colour, SMALL.0, SMALL.1)).join("\n");
    assert!(help.contains("Ctrl-C") && help.contains("the guard goes on"), "{help}");
    state.update(Input::Key(Key::Next));
    assert!(!state.shows_help() && state.view().name() == "overview");
    state.update(Input::Key(Key::Quit));
    assert!(state.has_ended());
}

#[test]
fn lines_scroll_as_far_as_there_are_any() {
    let mut state = state(&[Key::View(7), Key::Last]);
    let (columns, rows) = (40, 8);
    let last = lines(&drawn(&mut state, Theme::Colour, columns, rows));
    let most = state.scroll();
    assert!(most > 0 && most < 100, "{most}");
    state.update(Input::Key(Key::Scroll(-1)));
    let before = lines(&drawn(&mut state, Theme::Colour, columns, rows));
    assert_eq!(before[3..7], last[2..6]);
    assert_eq!(state.scroll(), most - 1);
}

#[test]
fn the_docs_have_the_screen_as_it_is() {
    let shown = overview(SMALL).join("\n");
    let docs = [
        ("docs/top.md", include_str!("../../../../docs/top.md")),
        ("README.md", include_str!("../../../../README.md")),
    ];
    for (name, text) in docs {
        assert!(text.contains(&format!("```text\n{}\n```", shown.trim_end())), "{name} is to have:\n{shown}");
    }
}
