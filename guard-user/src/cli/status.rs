//! `borderguard status`: how well this host is guarded, what is wrong, and what was counted.

use std::io::{self, Write};

use anyhow::Result;

use super::exit::Exit;
use super::table::{grouped, numbers, plain, words, write};
use super::target::Target;
use crate::control::client::{ask, unexpected};
use crate::control::protocol::{Request, Response};
use crate::control::status::Status;
use crate::health::Problem;

const AFTER_HELP: &str = "\
The exit code is the state: 0 guarding, 5 degraded (a problem), 6 observing, 7 off; 3 where no daemon answers.
docs/problems.md has every problem's code, what it means and what to do.";

/// Arguments of `status`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// One JSON object; docs/status.md has its keys
    #[arg(long)]
    pub json: bool,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// Asks the daemon, writes its answer, and ends with the exit code of its state.
///
/// # Errors
/// Where no daemon answers, or `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let socket = args.target.socket()?;
    let Response::Status { status } = ask(&socket, &Request::Status {})? else {
        return Err(unexpected(&socket).into());
    };
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string(&status)?)?,
        false => write_text(&status, out)?,
    }
    out.flush()?;
    Ok(status.health.into())
}

/// Writes the status for people.
///
/// # Errors
/// Where `out` can't be written.
pub fn write_text(status: &Status, out: &mut impl Write) -> io::Result<()> {
    write_health(status, out)?;
    write_head(status, out)?;
    write_interfaces(status, out)?;
    write_pins(status, out)?;
    write_totals(status, out)?;
    write_database(status, out)?;
    write_exemptions(status, out)?;
    let lost: Vec<String> =
        status.losses.iter().map(|loss| format!("{} {}", grouped(loss.count), loss.kind)).collect();
    writeln!(out, "\nlost: {}; events told: {}", lost.join(", "), grouped(status.events))
}

/// The state, and each problem with its message on the line below; what to do once for each code.
fn write_health(status: &Status, out: &mut impl Write) -> io::Result<()> {
    let Status { health, problems, .. } = status;
    match problems.as_slice() {
        [] => writeln!(out, "{health}: no problems")?,
        [_] => writeln!(out, "{health}: 1 problem")?,
        more => writeln!(out, "{health}: {} problems", more.len())?,
    }
    for group in problems.chunk_by(|one, next| one.code == next.code) {
        for Problem { code, subject, message } in group {
            match subject {
                Some(subject) => writeln!(out, "  PROBLEM {code}: {}", plain(subject))?,
                None => writeln!(out, "  PROBLEM {code}")?,
            }
            write_wrapped(&plain(message), out)?;
        }
        if let Some(Problem { code, .. }) = group.first() {
            write_wrapped(&format!("To do: {}", code.remedy()), out)?;
        }
    }
    Ok(())
}

/// Writes a sentence as indented lines of at most 80 columns; a longer word has a line of its own.
fn write_wrapped(text: &str, out: &mut impl Write) -> io::Result<()> {
    let options = textwrap::Options::new(WIDTH).initial_indent(INDENT).subsequent_indent(INDENT);
    let options = options.break_words(false).word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(text, options).iter().try_for_each(|line| writeln!(out, "{line}"))
}

fn write_head(status: &Status, out: &mut impl Write) -> io::Result<()> {
    let Status { version, pid, kernel, config, generation, since, .. } = status;
    writeln!(out, "borderguard {version}, process {pid}, Linux {}", plain(kernel))?;
    writeln!(out, "generation {generation} since {since}, config {}", plain(config))?;
    if status.observe {
        writeln!(out, "OBSERVING: nothing is dropped, everything is counted")?;
    }
    Ok(())
}

fn write_interfaces(status: &Status, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\ninterfaces")?;
    let rows: Vec<[String; 4]> = status
        .interfaces
        .iter()
        .map(|interface| {
            let mode = |hook: &str| {
                let attached = interface.hooks.iter().find(|attached| attached.hook == hook);
                attached.map_or("-".to_owned(), |attached| attached.mode.clone())
            };
            let problem = interface.problem.clone().unwrap_or_else(|| "guarded".to_owned());
            [interface.name.clone(), mode("egress"), mode("ingress"), problem]
        })
        .collect();
    match rows.is_empty() {
        true => writeln!(out, "  none: no interface matches the config's `host.interfaces`")?,
        false => write(out, [words("name"), words("egress"), words("ingress"), words("state")], &rows)?,
    }
    match status.unguarded.as_slice() {
        [] => Ok(()),
        names => {
            let names: Vec<String> = names.iter().map(|name| plain(name)).collect();
            write_wrapped(&format!("not guarded, and a route leads by: {}", names.join(", ")), out)
        }
    }
}

fn write_pins(status: &Status, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\npins, packets")?;
    if status.pins.is_empty() {
        return writeln!(out, "  none: nothing is enforced");
    }
    let rows: Vec<[String; 9]> = status
        .pins
        .iter()
        .map(|pin| {
            let count = |verdict: &str| {
                let found = pin.verdicts.iter().find(|found| found.verdict == verdict);
                grouped(found.map_or(0, |found| found.packets))
            };
            let top: Vec<String> = pin
                .top
                .iter()
                .map(|place| format!("{} {}", place.jurisdiction, bytes(place.bytes)))
                .collect();
            [
                pin.name.clone(),
                pin.home.clone(),
                pin.action.clone(),
                pin.ingress.clone(),
                count("pass"),
                count("observe"),
                count("flag"),
                count("drop"),
                if top.is_empty() { "-".to_owned() } else { top.join(", ") },
            ]
        })
        .collect();
    let columns = [
        words("name"),
        words("home"),
        words("action"),
        words("ingress"),
        numbers("pass"),
        numbers("observe"),
        numbers("flag"),
        numbers("drop"),
        words("most bytes to"),
    ];
    write(out, columns, &rows)
}

fn write_totals(status: &Status, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\ntotals")?;
    let rows: Vec<[String; 5]> = status
        .totals
        .iter()
        .map(|total| {
            [
                total.hook.clone(),
                total.verdict.clone(),
                total.reason.clone(),
                grouped(total.packets),
                bytes(total.bytes),
            ]
        })
        .collect();
    match rows.is_empty() {
        true => writeln!(out, "  none: no packet was seen yet"),
        false => write(
            out,
            [words("hook"), words("verdict"), words("reason"), numbers("packets"), numbers("bytes")],
            &rows,
        ),
    }
}

fn write_database(status: &Status, out: &mut impl Write) -> io::Result<()> {
    let database = &status.database;
    writeln!(out, "\ngeo database: {}", plain(&database.source))?;
    for file in &database.files {
        writeln!(out, "  file {}", plain(file))?;
    }
    if let Some(licence) = &database.licence {
        writeln!(out, "  licence {}", plain(licence))?;
    }
    match (&database.generated, database.age_days) {
        (Some(generated), Some(days)) => writeln!(out, "  made {generated}, {days} days ago")?,
        _ => writeln!(out, "  without a date")?,
    }
    let (v4, v6) = (grouped(database.ranges_v4 as u64), grouped(database.ranges_v6 as u64));
    writeln!(out, "  {v4} IPv4 and {v6} IPv6 ranges")?;
    match &database.stale {
        Some(stale) => writeln!(out, "  STALE: {}", plain(stale)),
        None => Ok(()),
    }
}

fn write_exemptions(status: &Status, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\nexemptions")?;
    if status.exemptions.is_empty() {
        return writeln!(out, "  none");
    }
    let rows: Vec<[String; 6]> = status
        .exemptions
        .iter()
        .map(|exemption| {
            let quota = exemption.quota_bytes.map_or("no bound".to_owned(), bytes);
            [
                exemption.id.clone(),
                exemption.state.to_string(),
                exemption.pins.join(","),
                exemption.valid_from.to_string(),
                exemption.valid_until.to_string(),
                format!("{} of {quota}", bytes(exemption.used_bytes)),
            ]
        })
        .collect();
    let columns =
        [words("id"), words("state"), words("pins"), words("from"), words("until"), numbers("used")];
    write(out, columns, &rows)
}

/// Columns of a terminal that no text is to pass where it can be wrapped.
const WIDTH: usize = 80;
const INDENT: &str = "    ";

/// Bytes for people, by powers of 1024.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut scaled = count as f64 / 1024.0;
    for unit in UNITS {
        if scaled < 1023.95 {
            return format!("{scaled:.1} {unit}");
        }
        scaled /= 1024.0;
    }
    format!("{count} B")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::{
        DatabaseStatus, HookStatus, InterfaceStatus, LossStatus, PinStatus, PlaceStatus, TotalStatus,
        VerdictStatus,
    };
    use crate::exemption::State;
    use crate::exemption::Summary;
    use crate::exemption::summary::{
        AssessmentSummary, ExporterSummary, InstrumentSummary, RecipientSummary, RequiredSummary,
        RevokedSummary,
    };
    use crate::health::{Enforcement, Health, ProblemCode};

    fn exemption() -> Summary {
        let at = |text: &str| text.parse().unwrap();
        Summary {
            id: "mlat-1".into(),
            version: 1,
            state: State::Active,
            replaces: None,
            confidential: false,
            instrument: InstrumentSummary { kind: "treaty-request".into(), ..Default::default() },
            purpose: "evidence".into(),
            data_categories: vec!["e-mail".into()],
            exporter: ExporterSummary::default(),
            assessment: Some(AssessmentSummary::default()),
            submitter: None,
            required: vec![RequiredSummary::default()],
            pins: vec!["mail".into()],
            recipients: vec![RecipientSummary { name: "a".into(), ..Default::default() }],
            valid_from: at("2026-11-23T00:00:00Z"),
            valid_until: at("2026-11-24T00:00:00Z"),
            quota_bytes: Some(5 << 30),
            used_bytes: 2048,
            used_packets: 2,
            slot: Some(0),
            loaded_at: Some(at("2026-11-23T00:00:00Z")),
            loaded_by: Some(0),
            revoked: Some(RevokedSummary { at: at("2026-11-23T00:00:00Z"), why: "x".into(), by: 0 }),
            stayed: Some(RevokedSummary { at: at("2026-11-23T00:00:00Z"), why: "x".into(), by: 0 }),
            approved_by: vec!["aoife@example.org".into()],
        }
    }

    fn problems() -> Vec<Problem> {
        vec![
            Problem::of(
                ProblemCode::InterfaceMissing,
                "veth9",
                "there is no such interface; it is guarded as soon as it appears, and nothing needs to be done",
            ),
            Problem::of(ProblemCode::InterfaceMissing, "wg0", "there is no such interface"),
            Problem::new(ProblemCode::DatabaseStale, "the geo database is 61 days old"),
        ]
    }

    fn status() -> Status {
        let hook = |hook: &str, mode: &str| HookStatus { hook: hook.into(), mode: mode.into() };
        let verdict =
            |verdict: &str, packets, bytes| VerdictStatus { verdict: verdict.into(), packets, bytes };
        let total = |reason: &str, verdict: &str, packets, bytes| TotalStatus {
            hook: "egress".into(),
            verdict: verdict.into(),
            reason: reason.into(),
            packets,
            bytes,
        };
        Status {
            health: Health::Degraded,
            version: "0.1.0".into(),
            pid: 42,
            kernel: "6.12.1".into(),
            config: "/etc/borderguard/policy.toml".into(),
            fingerprint: "0".repeat(16),
            generation: 3,
            since: "2026-11-23T12:00:00Z".into(),
            observe: false,
            problems: problems(),
            interfaces: vec![
                InterfaceStatus {
                    name: "eth0".into(),
                    index: Some(2),
                    hooks: vec![hook("egress", "tcx"), hook("ingress", "xdp-native")],
                    problem: None,
                },
                InterfaceStatus {
                    name: "veth9".into(),
                    problem: Some("no such device".into()),
                    ..Default::default()
                },
            ],
            unguarded: vec!["docker0".into(), "wlan0".into()],
            pins: vec![PinStatus {
                name: "mail".into(),
                home: "IE".into(),
                action: "drop".into(),
                ingress: "flag".into(),
                line: 12,
                verdicts: vec![verdict("pass", 12_345, 9_000_000), verdict("drop", 7, 420)],
                top: vec![PlaceStatus { jurisdiction: "BE".into(), packets: 12_345, bytes: 9_000_000 }],
            }],
            totals: vec![total("permitted", "pass", 12_345, 9_000_000), total("forbidden", "drop", 7, 420)],
            counters: vec![],
            database: DatabaseStatus {
                source: "embedded".into(),
                files: vec![],
                licence: Some("CC BY-SA 4.0".into()),
                generated: Some("2026-09-23T04:35:31Z".into()),
                age_days: Some(61),
                stale: Some("the geo database is 61 days old".into()),
                ranges_v4: 400_123,
                ranges_v6: 305_001,
            },
            exemptions: vec![exemption()],
            losses: vec![
                LossStatus { kind: "events".into(), count: 0 },
                LossStatus { kind: "log".into(), count: 2 },
            ],
            events: 1234,
        }
    }

    #[test]
    fn the_text_is_as_people_read_it() {
        let mut out = Vec::new();
        write_text(&status(), &mut out).unwrap();
        let expected = "\
degraded: 3 problems
  PROBLEM interface-missing: veth9
    there is no such interface; it is guarded as soon as it appears, and nothing
    needs to be done
  PROBLEM interface-missing: wg0
    there is no such interface
    To do: Nothing, if it is still to appear. Otherwise correct
    `host.interfaces` and reload.
  PROBLEM database-stale
    the geo database is 61 days old
    To do: Bring a newer one (`geo.files`) and reload, or raise `geo.max_age`.
borderguard 0.1.0, process 42, Linux 6.12.1
generation 3 since 2026-11-23T12:00:00Z, config /etc/borderguard/policy.toml

interfaces
  name   egress  ingress     state
  eth0   tcx     xdp-native  guarded
  veth9  -       -           no such device
    not guarded, and a route leads by: docker0, wlan0

pins, packets
  name  home  action  ingress    pass  observe  flag  drop  most bytes to
  mail  IE    drop    flag     12,345        0     0     7  BE 8.6 MiB

totals
  hook    verdict  reason     packets    bytes
  egress  pass     permitted   12,345  8.6 MiB
  egress  drop     forbidden        7    420 B

geo database: embedded
  licence CC BY-SA 4.0
  made 2026-09-23T04:35:31Z, 61 days ago
  400,123 IPv4 and 305,001 IPv6 ranges
  STALE: the geo database is 61 days old

exemptions
  id      state   pins  from                  until                               used
  mlat-1  active  mail  2026-11-23T00:00:00Z  2026-11-24T00:00:00Z  2.0 KiB of 5.0 GiB

lost: 0 events, 2 log; events told: 1,234
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn the_first_line_is_the_state_and_nothing_of_problems_passes_80_columns() {
        let mut status = status();
        let long =
            "a problem whose message goes on and on, as those of the kernel and the verifier do ".repeat(9);
        status.problems = ProblemCode::ALL.iter().map(|code| Problem::of(*code, "eth0", &*long)).collect();
        status.health = Health::of(Enforcement::Enforces, &status.problems);
        let mut out = Vec::new();
        write_health(&status, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().next(), Some(&*format!("off: {} problems", ProblemCode::ALL.len())));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn without_a_problem_one_line_has_it_all() {
        for health in [Health::Guarding, Health::Observing] {
            let mut out = Vec::new();
            write_health(&Status { health, ..Status::default() }, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), format!("{health}: no problems\n"));
        }
    }

    #[test]
    fn json_reads_back() {
        let status = status();
        let text = serde_json::to_string(&status).unwrap();
        assert!(!text.contains('\n'));
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
    }

    #[test]
    fn the_docs_have_every_key() {
        fn keys(value: &serde_json::Value, path: &str, found: &mut Vec<String>) {
            match value {
                serde_json::Value::Object(object) => {
                    for (key, value) in object {
                        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                        found.push(path.clone());
                        keys(value, &path, found);
                    }
                }
                serde_json::Value::Array(items) => {
                    items.iter().take(1).for_each(|item| keys(item, path, found))
                }
                _ => {}
            }
        }
        let mut status = status();
        status.counters.push(Default::default());
        let mut found = Vec::new();
        keys(&serde_json::to_value(&status).unwrap(), "", &mut found);
        let docs = include_str!("../../../docs/status.md");
        let mut documented: Vec<String> = docs
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned))
            .collect();
        found.sort();
        documented.sort();
        assert_eq!(documented, found);
    }

    #[test]
    fn bytes_are_scaled() {
        let shown = [0, 1023, 1024, 1_048_575, 1 << 40, u64::MAX].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "1.0 TiB", "16.0 EiB"]);
    }
}
