//! Metrics of a real daemon: against its own status, `promtool`, and the real Prometheus server.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use guard_tests::bed::{BELGIUM, Bed, Family, MAIL_PORT, OTHER_PORT, PATIENCE, PIN, STORE, US};
use guard_tests::document::exemption;
use guard_tests::proc::{Process, retry_until, run_to_end};
use guard_user::control::status::Status;
use guard_user::exemption::State;
use guard_user::health::{Health, ProblemCode};
use serde_json::Value;

const AT: &str = "127.0.0.1:9467";
const SENT: u64 = 10;
/// Longer than figures are kept.
const FRESH: Duration = Duration::from_millis(1200);

fn with_metrics(rest: &str) -> String {
    format!("[metrics]\nlisten = \"{AT}\"\n{PIN}{rest}")
}

/// Debian's program, as `cargo xtask test` has it unpacked.
fn tool(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/prometheus/usr/bin").join(name);
    assert!(program.is_file(), "{} is not there: run this by `cargo xtask test`", program.display());
    fs::canonicalize(program).unwrap()
}

fn rules(file: &str) -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/prometheus").join(file))
        .unwrap()
}

/// What curl prints on the storage host; nothing where it fails.
fn curl(bed: &Bed, arguments: &[&str]) -> Option<String> {
    let mut command = bed.host(STORE).unwrap().command("curl").unwrap();
    command.args(["--silent", "--show-error", "--fail", "--max-time", "20"]).args(arguments);
    let (status, out, _) = run_to_end("curl", command, PATIENCE).unwrap();
    status.success().then_some(out)
}

fn scrape(bed: &Bed) -> String {
    std::thread::sleep(FRESH);
    retry_until(PATIENCE, "metrics", || curl(bed, &[&format!("http://{AT}/metrics")])).unwrap()
}

/// Numbers by name with labels, as they stand there.
type Samples = BTreeMap<String, String>;

fn samples(text: &str) -> Samples {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples: Vec<(&str, &str)> = lines.map(|line| line.rsplit_once(' ').unwrap()).collect();
    let map: Samples =
        samples.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(map.len(), samples.len(), "a sample is there twice:\n{text}");
    map
}

/// The samples that a status must have, but for those that it does not know: made by hand, from what docs/metrics.md says.
fn expected(status: &Status) -> Samples {
    let mut expected = Samples::new();
    let mut add = |name: &str, labels: &[(&str, &str)], value: u64| {
        let labels: Vec<String> = labels.iter().map(|(label, is)| format!("{label}=\"{is}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        expected.insert(format!("borderguard_{name}{labels}"), value.to_string());
    };
    add("build_info", &[("version", &status.version), ("kernel", &status.kernel)], 1);
    add("policy_info", &[("fingerprint", &status.fingerprint)], 1);
    add("database_info", &[("source", &status.database.source)], 1);
    for health in Health::ALL {
        add("health", &[("state", health.name())], u64::from(status.health == health));
    }
    add("observe", &[], u64::from(status.observe));
    add("approval_required", &[], u64::from(status.approval_required));
    add("generation", &[], status.generation);
    add("events_total", &[], status.events);
    add("unplaced_packets_total", &[], status.unplaced.packets);
    add("unplaced_bytes_total", &[], status.unplaced.bytes);
    for loss in &status.losses {
        add("lost_total", &[("kind", &loss.kind)], loss.count);
    }
    for row in &status.totals {
        let labels = [("hook", row.hook.as_str()), ("verdict", &row.verdict), ("reason", &row.reason)];
        add("packets_total", &labels, row.packets);
        add("bytes_total", &labels, row.bytes);
    }
    for row in status.counters.iter().filter(|row| row.pin.is_some()) {
        let labels = [
            ("pin", row.pin.as_deref().unwrap()),
            ("jurisdiction", row.jurisdiction.as_deref().unwrap_or("")),
            ("hook", &row.hook),
            ("verdict", &row.verdict),
            ("reason", &row.reason),
        ];
        add("pin_packets_total", &labels, row.packets);
        add("pin_bytes_total", &labels, row.bytes);
    }
    for row in &status.untagged.jurisdictions {
        add("untagged_packets_total", &[("jurisdiction", &row.jurisdiction)], row.packets);
        add("untagged_bytes_total", &[("jurisdiction", &row.jurisdiction)], row.bytes);
    }
    for asked in &status.bypass.asked {
        for (outcome, count) in [("refused", asked.refused), ("allowed", asked.allowed)] {
            add("bypass_calls_total", &[("way", &asked.way), ("outcome", outcome)], count);
        }
    }
    for hook in ["egress", "ingress"] {
        let has = status.interfaces.iter().filter(|it| it.hooks.iter().any(|at| at.hook == hook)).count();
        let is_wanted = hook == "egress" || status.pins.iter().any(|pin| pin.ingress != "off");
        let wanted = if is_wanted { status.interfaces.len() } else { 0 };
        add("hooks_wanted", &[("hook", hook)], wanted as u64);
        add("hooks_attached", &[("hook", hook)], has as u64);
    }
    add("interfaces_faulty", &[], status.interfaces.iter().filter(|it| it.problem.is_some()).count() as u64);
    add("interfaces_unguarded", &[], status.unguarded.len() as u64);
    add("carriers", &[], status.carriers.count as u64);
    add("pinned_copies", &[], status.carriers.copies);
    for state in ["reported", "accepted", "carrier"] {
        let count = status.carriers.relays.iter().filter(|it| it.state == state).count();
        add("relays", &[("state", state)], count as u64);
    }
    for (label, mounted) in [("true", true), ("false", false)] {
        let count = status.carriers.volumes.iter().filter(|it| it.mounted == mounted).count();
        add("volumes", &[("mounted", label)], count as u64);
    }
    add("database_stale", &[], u64::from(status.database.stale.is_some()));
    add("database_ranges", &[("family", "ipv4")], status.database.ranges_v4 as u64);
    add("database_ranges", &[("family", "ipv6")], status.database.ranges_v6 as u64);
    for state in State::LISTED {
        let count = status.exemptions.iter().filter(|it| it.state == state).count();
        add("exemptions", &[("state", state.name())], count as u64);
    }
    for it in status.exemptions.iter().filter(|it| it.slot.is_some() && !it.confidential) {
        let version = it.version.to_string();
        let labels = [("exemption", it.id.as_str()), ("version", &version)];
        add("exemption_passed_bytes_total", &labels, it.used_bytes);
        add("exemption_passed_packets_total", &labels, it.used_packets);
        if let Some(quota) = it.quota_bytes {
            add("exemption_quota_bytes", &labels, quota);
        }
    }
    if let Some(whole) = status.audit.whole {
        add("audit_whole", &[], u64::from(whole));
    }
    if let Some(records) = status.audit.records {
        add("audit_verified_records", &[], records);
    }
    expected
}

/// The metrics and the status of one moment: nothing was counted between two looks at the status.
fn quiet(bed: &Bed) -> (Status, Samples, String) {
    let begin = Instant::now();
    loop {
        let before = bed.status().unwrap();
        let text = scrape(bed);
        let after = bed.status().unwrap();
        if (&before.totals, &before.untagged, &before.exemptions)
            == (&after.totals, &after.untagged, &after.exemptions)
            && (before.events, &before.audit, &before.problems)
                == (after.events, &after.audit, &after.problems)
        {
            return (after, samples(&text), text);
        }
        assert!(begin.elapsed() < PATIENCE, "the host is never quiet");
    }
}

fn number(samples: &Samples, name: &str) -> f64 {
    samples.get(name).unwrap_or_else(|| panic!("no {name} in {samples:#?}")).parse().unwrap()
}

#[test]
#[ignore = "needs root and BPF"]
fn the_figures_are_those_of_the_status_and_go_on_over_reload_and_restart() {
    let bed = Bed::new("metrics").unwrap();
    bed.configure(&with_metrics("")).unwrap();
    let daemon = bed.start(&[]).unwrap();
    bed.exempt("mlat-1", &["203.0.113.10/32"], 3600, Some(1_000_000)).unwrap();
    let secret = exemption("secret-1", "mail", &["203.0.113.77/32"], 3600, None);
    bed.load("secret.toml", &secret.replacen("purpose", "confidential = true\npurpose", 1)).unwrap();
    for family in Family::ALL {
        // IPv4 passes by the exemption, IPv6 is dropped.
        let passes = if family == Family::V4 { SENT } else { 0 };
        assert_eq!(bed.send(SENT, MAIL_PORT, US, family).unwrap(), passes);
        assert_eq!(bed.send(SENT, MAIL_PORT, BELGIUM, family).unwrap(), SENT);
        assert_eq!(bed.send(SENT, OTHER_PORT, US, family).unwrap(), SENT);
    }
    let (status, first, text) = quiet(&bed);
    assert!(!text.contains("secret-1"), "{text}");
    let us = "borderguard_pin_packets_total{pin=\"mail\",jurisdiction=\"US\",hook=\"egress\"";
    assert_eq!(number(&first, &format!("{us},verdict=\"drop\",reason=\"forbidden\"}}")), SENT as f64);
    assert_eq!(number(&first, &format!("{us},verdict=\"pass\",reason=\"exempt\"}}")), SENT as f64);
    let untagged = "borderguard_untagged_packets_total{jurisdiction=\"US\"}";
    assert_eq!(number(&first, untagged), 2.0 * SENT as f64);
    let used = "borderguard_exemption_passed_packets_total{exemption=\"mlat-1\",version=\"1\"}";
    assert_eq!(number(&first, used), SENT as f64);
    assert_eq!(number(&first, "borderguard_exemptions{state=\"active\"}"), 2.0);

    // All of what the status has, and nothing else but moments, problems, and the exporter's own.
    let own = ["_timestamp_seconds", "slow_turns", "metrics_refused", "borderguard_problem{"];
    let of_status: Samples =
        first.clone().into_iter().filter(|(name, _)| own.iter().all(|own| !name.contains(own))).collect();
    assert_eq!(of_status, expected(&status));
    for code in ProblemCode::ALL {
        let name = format!("borderguard_problem{{code=\"{code}\",");
        let found: Vec<&str> =
            first.iter().filter(|(it, _)| it.starts_with(&name)).map(|(_, is)| is.as_str()).collect();
        let is_there = status.problems.iter().any(|problem| problem.code == *code);
        assert_eq!(found, [if is_there { "1" } else { "0" }], "{code}");
    }
    let second = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second() as f64;
    let at = |name: &str| number(&first, &format!("borderguard_{name}_timestamp_seconds")).trunc();
    assert_eq!(at("generation"), second(&status.since));
    assert_eq!(at("database_build"), second(status.database.generated.as_ref().unwrap()));
    assert!(at("start") <= at("snapshot"));
    let until = "borderguard_exemption_valid_until_timestamp_seconds{exemption=\"mlat-1\",version=\"1\"}";
    let mlat = status.exemptions.iter().find(|it| it.id == "mlat-1").unwrap();
    assert_eq!(number(&first, until).trunc(), mlat.valid_until.as_second() as f64);

    // No counter of the kernel falls over a reload, nor over another daemon.
    let is_kept = |name: &str| {
        let kept = ["packets_total", "bytes_total", "bypass_calls_total"];
        kept.iter().any(|kept| name.split('{').next().unwrap().ends_with(kept))
    };
    let holds = |later: &Samples, what: &str| {
        for (name, _) in first.iter().filter(|(name, _)| is_kept(name)) {
            assert!(number(later, name) >= number(&first, name), "{name} fell over {what}");
        }
    };
    bed.configure(&with_metrics("[[failsafe]]\nname = \"ssh\"\nlocal_ports = [\"tcp/22\"]\n")).unwrap();
    bed.tell(&["reload"]).unwrap();
    let (_, reloaded, _) = quiet(&bed);
    assert!(number(&reloaded, "borderguard_generation") > number(&first, "borderguard_generation"));
    holds(&reloaded, "a reload");
    daemon.kill(PATIENCE).unwrap();
    assert_eq!(curl(&bed, &[&format!("http://{AT}/metrics")]), None);
    let _daemon = bed.start(&[]).unwrap();
    let (_, restarted, _) = quiet(&bed);
    holds(&restarted, "a restart");
    assert_eq!(number(&restarted, untagged), number(&first, untagged));
}

/// Runs promtool with this input.
fn promtool(arguments: &[&str], input: &str) -> (bool, String) {
    let mut command = Command::new(tool("promtool"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
#[ignore = "needs root and BPF"]
fn promtool_finds_no_fault_in_rules_their_cases_and_a_scrape() {
    let file = rules("borderguard.rules.yml");
    let (is_well, text) = promtool(&["check", "rules", &file.to_string_lossy()], "");
    assert!(is_well && text.contains("SUCCESS: 18 rules"), "{text}");
    let cases = rules("borderguard.test.yml");
    let (is_well, text) = promtool(&["test", "rules", &cases.to_string_lossy()], "");
    assert!(is_well, "{text}");
    // It does find faults.
    let changed = fs::read_to_string(&file).unwrap().replace("== 0", "== 7");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("borderguard.rules.yml"), changed).unwrap();
    fs::copy(&cases, folder.path().join("borderguard.test.yml")).unwrap();
    let copy = folder.path().join("borderguard.test.yml");
    assert!(!promtool(&["test", "rules", &copy.to_string_lossy()], "").0);

    let bed = Bed::new("promtool").unwrap();
    bed.configure(&with_metrics("")).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    bed.exempt("mlat-1", &["203.0.113.10/32"], 3600, Some(1_000_000)).unwrap();
    assert_eq!(bed.send(SENT, MAIL_PORT, US, Family::V6).unwrap(), 0);
    let (is_well, text) = promtool(&["check", "metrics"], &scrape(&bed));
    assert!(is_well && text.is_empty(), "{text}");
    assert!(!promtool(&["check", "metrics"], "# TYPE a counter\na 1\n").0);
}

/// The rows that the server has for a query; `None` where it does not take it.
fn ask(bed: &Bed, expression: &str) -> Option<Vec<Value>> {
    let data = format!("query={expression}");
    let answer = curl(bed, &["--get", "--data-urlencode", &data, "http://127.0.0.1:9090/api/v1/query"])?;
    let answer: Value = serde_json::from_str(&answer).ok()?;
    answer["data"]["result"].as_array().cloned()
}

/// The first value that the server has for a query, as text.
fn query(bed: &Bed, expression: &str) -> Option<String> {
    ask(bed, expression)?.first()?["value"][1].as_str().map(str::to_owned)
}

#[test]
#[ignore = "needs root and BPF"]
fn the_real_server_scrapes_it_and_fires_alerts() {
    let bed = Bed::new("prometheus").unwrap();
    bed.configure(&with_metrics("")).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{:?}]\nscrape_configs:\n  - job_name: \
         borderguard\n    static_configs: [{{targets: [\"{AT}\"]}}]\n",
        rules("borderguard.rules.yml")
    );
    let config = bed.write("prometheus.yml", config).unwrap();
    let mut command = bed.host(STORE).unwrap().command(&tool("prometheus").to_string_lossy()).unwrap();
    command.arg(format!("--config.file={config}")).args([
        &format!("--storage.tsdb.path={}", bed.file("tsdb").display()),
        "--web.listen-address=127.0.0.1:9090",
    ]);
    let server = Process::spawn("prometheus", command).unwrap();
    let wait = |what: &str, expression: &str, value: &str| {
        let probe = || query(&bed, expression).filter(|is| is == value);
        server.wait_for(PATIENCE, what, probe).unwrap();
    };
    wait("a scrape", "up{job=\"borderguard\"}", "1");
    // So that each panel of the dashboard has something to show: an exemption without an approval is a problem.
    bed.exempt("mlat-1", &["203.0.113.77/32"], 3600, Some(1_000_000)).unwrap();
    for port in [MAIL_PORT, OTHER_PORT] {
        assert_eq!(bed.send(SENT, port, BELGIUM, Family::V4).unwrap(), SENT);
    }
    assert_eq!(bed.send(SENT, MAIL_PORT, US, Family::V4).unwrap(), 0);
    let dropped = "sum(borderguard_pin_packets_total{pin=\"mail\",jurisdiction=\"US\",verdict=\"drop\"})";
    wait("the first figures", dropped, &SENT.to_string());
    assert_eq!(bed.send(SENT, MAIL_PORT, US, Family::V4).unwrap(), 0);
    wait("the next figures", dropped, &(2 * SENT).to_string());
    wait("the alert", "ALERTS{alertname=\"BorderGuardForbiddenEgress\",alertstate=\"firing\"}", "1");
    wait("the record", "count(borderguard:packets:rate5m) > bool 0", "1");
    // The server takes every query of the dashboard.
    let dashboard = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/grafana/borderguard.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(dashboard).unwrap()).unwrap();
    let targets =
        dashboard["panels"].as_array().unwrap().iter().flat_map(|it| it["targets"].as_array().unwrap());
    let queries: Vec<String> =
        targets.map(|it| it["expr"].as_str().unwrap().replace("$instance", ".*")).collect();
    assert!(queries.len() >= 10);
    for query in &queries {
        // Rates have a row once there are two figures: of what passed before the first query, by now.
        let probe = || ask(&bed, query).filter(|rows| !rows.is_empty());
        server.wait_for(PATIENCE, query, probe).unwrap();
    }
    // It was OpenMetrics: in the older text an info is a gauge of another name.
    let metadata = curl(&bed, &["http://127.0.0.1:9090/api/v1/metadata?metric=borderguard_build"]).unwrap();
    assert!(metadata.contains("\"type\":\"info\""), "{metadata}");
    let figures = bed.status().unwrap();
    wait("the generation", "borderguard_generation", &figures.generation.to_string());
    daemon.kill(PATIENCE).unwrap();
    wait("the end of scrapes", "up{job=\"borderguard\"}", "0");
    let unreachable = "ALERTS{alertname=\"BorderGuardUnreachable\",alertstate=\"pending\"}";
    wait("the alert of that", unreachable, "1");
}

#[test]
#[ignore = "needs root and BPF"]
fn clients_that_are_slow_or_hostile_hold_up_nothing() {
    let bed = Bed::new("hostile").unwrap();
    bed.configure(&with_metrics("")).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    scrape(&bed);
    let at: SocketAddr = AT.parse().unwrap();
    let host = bed.host(STORE).unwrap();
    let begin = Instant::now();
    let mut held = Vec::new();
    for round in 0..200_u32 {
        let mut stream = host.run(|| TcpStream::connect(at)).unwrap().unwrap();
        let text = if round % 2 == 0 { "GET /metrics HTTP/1.1\r\nX: " } else { "\u{1b}[2J\0\r\n\r\n" };
        let _closed = stream.write_all(text.as_bytes());
        held.push(stream);
    }
    // The daemon answers, takes a new config and judges meanwhile.
    assert_eq!(bed.send(SENT, MAIL_PORT, US, Family::V4).unwrap(), 0);
    let generation = bed.status().unwrap().generation;
    bed.configure(&with_metrics("[[failsafe]]\nname = \"ssh\"\nlocal_ports = [\"tcp/22\"]\n")).unwrap();
    bed.tell(&["reload"]).unwrap();
    let status = bed.status().unwrap();
    assert!(status.generation > generation);
    assert_eq!(status.problems, []);
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    drop(held);
    let after = samples(&scrape(&bed));
    assert!(number(&after, "borderguard_metrics_refused_total{why=\"busy\"}") > 0.0, "{after:#?}");
    assert!(number(&after, "borderguard_metrics_refused_total{why=\"bad-request\"}") > 0.0, "{after:#?}");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_socket_is_for_those_who_may_use_the_control_socket() {
    let bed = Bed::new("socket").unwrap();
    let socket = bed.file("metrics.sock");
    let rest = format!("[metrics]\nlisten = {socket:?}\n[control.groups]\nview = [\"daemon\"]\n{PIN}");
    bed.configure(&rest).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let of_control = retry_until(PATIENCE, "the groups of both sockets", || {
        let of = |path: &Path| fs::metadata(path).ok().map(|it| (it.permissions().mode() & 0o777, it.gid()));
        of(&socket).filter(|it| it.0 == 0o660 && of(&bed.socket()) == Some(*it))
    });
    let (_, gid) = of_control.unwrap();
    fs::set_permissions(socket.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    let as_user = |gid: u32| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--max-time", "20", "--unix-socket"]).arg(&socket);
        command.arg("http://any.example.org/metrics").uid(65_534).gid(gid);
        run_to_end("curl", command, PATIENCE).unwrap()
    };
    let (status, text, _) = as_user(gid);
    assert!(status.success() && text.contains("borderguard_generation 1\n"), "{status:?} {text}");
    let (status, text, _) = as_user(65_534);
    assert!(!status.success() && text.is_empty(), "{status:?} {text}");
}
