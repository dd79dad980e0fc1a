//! `borderguard page` with a real daemon and real traffic: who gets something, and the page in a real browser, judged by
//! axe-core.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

#[path = "support/browser.rs"]
mod browser;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use browser::{Browser, axe};
use guard_tests::bed::{BELGIUM, Bed, Family, MAIL_PORT, PATIENCE, PIN, STORE, US};
use guard_tests::proc::{Process, retry_until, run_to_end};
use rustix::process::Signal;

const SENT: u64 = 10;
/// A user of no right.
const NOBODY: u32 = 61_000;

/// The page's process on the storage host.
fn serve(bed: &Bed, listen: &str) -> Process {
    let mut command = bed.host(STORE).unwrap().command(&bed.program().to_string_lossy()).unwrap();
    command.args(["page", "--interval", "1", "--listen", listen, "--config"]).arg(bed.config());
    Process::spawn("borderguard page", command).unwrap()
}

/// The link that it printed, and what is before its path.
fn link(page: &Process) -> (String, String) {
    let link = page
        .wait_for(PATIENCE, "the link", || {
            page.stdout().lines().find(|line| line.starts_with("http://")).map(str::to_owned)
        })
        .unwrap();
    let (origin, _) = link.split_once("/?token=").unwrap();
    (link.clone(), origin.to_owned())
}

/// Status and answer of a request by curl on the storage host.
fn ask(bed: &Bed, arguments: &[&str]) -> (u16, String) {
    let command = bed.host(STORE).unwrap().command("curl").unwrap();
    ask_by(command, arguments)
}

fn ask_by(mut command: Command, arguments: &[&str]) -> (u16, String) {
    command.args(["--silent", "--show-error", "--include", "--max-time", "20"]).args(arguments);
    let (_, out, complaint) = run_to_end("curl", command, PATIENCE).unwrap();
    let status = out.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or(0), if status.is_some() { out } else { complaint })
}

fn guarded(label: &str) -> (Bed, Process) {
    let bed = Bed::new(label).unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    (bed, daemon)
}

#[test]
#[ignore = "needs root and BPF"]
fn only_who_has_the_link_gets_something_and_nothing_of_another_origin_does() {
    let (bed, _daemon) = guarded("page-gate");
    let page = serve(&bed, "127.0.0.1:0");
    let (link, origin) = link(&page);
    let port = origin.rsplit_once(':').unwrap().1.to_owned();
    let at = |path: &str| format!("{origin}{path}");
    let nothing = |arguments: &[&str]| {
        let (status, answer) = ask(&bed, arguments);
        assert_eq!(status, 403, "{arguments:?}: {answer}");
        assert!(
            !answer.contains("<main") && !answer.contains("mail") && !answer.contains("Set-Cookie"),
            "{answer}"
        );
    };
    for path in ["/", "/live", "/page.js", "/none", "/?token=", "/?token=00"] {
        nothing(&[&at(path)]);
    }
    // The link by a foreign name, from a foreign page, with a second name, or for another port: not even used up.
    let foreign_port = format!("Host: 127.0.0.1:{}", port.parse::<u16>().unwrap() ^ 1);
    for header in [
        "Host: example.org",
        &format!("Host: example.org:{port}"),
        "Host: 127.0.0.1.example.org",
        "Host;",
        &foreign_port,
        "Origin: http://example.org",
        "Origin: null",
        &format!("Origin: https://127.0.0.1:{port}"),
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
    ] {
        let (status, _) = ask(&bed, &["--header", header, &link]);
        assert!(matches!(status, 400 | 403), "{header}: {status}");
    }
    let (status, answer) = ask(&bed, &[&link]);
    assert_eq!(status, 303, "{answer}");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    assert!(cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Strict"), "{cookie}");
    let cookie = format!("Cookie: {}", cookie.split(';').next().unwrap());
    nothing(&[&link]);
    let (status, answer) = ask(&bed, &["--header", &cookie, &at("/")]);
    assert_eq!(status, 200, "{answer}");
    for header in
        ["content-security-policy: default-src 'none'; ", "cache-control: no-store", "x-frame-options: DENY"]
    {
        assert!(answer.contains(header), "{answer}");
    }
    // The session too is for this page's own requests alone.
    nothing(&["--header", &cookie, "--header", "Origin: http://example.org", &at("/live")]);
    nothing(&["--header", &cookie, "--header", "Sec-Fetch-Site: cross-site", &at("/live")]);
    nothing(&["--header", &cookie, "--header", "Host: example.org", &at("/live")]);
    assert_eq!(ask(&bed, &["--header", &cookie, "--request", "POST", &at("/live")]).0, 405);
    assert_eq!(ask(&bed, &["--header", &cookie, &at("/none")]).0, 404);

    // By a Unix socket: its own user and root, and nobody else.
    let socket = bed.file("page.sock");
    let by_socket = serve(&bed, &socket.to_string_lossy());
    by_socket.wait_for(PATIENCE, "the socket", || socket.exists().then_some(())).unwrap();
    let arguments = ["--unix-socket", &*socket.to_string_lossy(), "http://localhost/"];
    let own =
        retry_until(PATIENCE, "an answer", || Some(ask(&bed, &arguments)).filter(|(status, _)| *status != 0));
    assert_eq!(own.unwrap().0, 200);
    assert_eq!(ask(&bed, &[&["--header", "Host: example.org"], &arguments[..]].concat()).0, 403);
    // Even where its mode lets everybody connect.
    for path in [bed.file(""), socket.clone()] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut other = Command::new("curl");
    std::os::unix::process::CommandExt::uid(&mut other, NOBODY);
    let (status, answer) = ask_by(other, &arguments);
    assert_eq!(status, 0, "{answer}");
    by_socket.signal(Signal::TERM);
    assert!(by_socket.wait(PATIENCE).unwrap().success());
    assert!(!socket.exists());

    // Who may not look gets no page at all.
    let mut command = Command::new(bed.program());
    command.args(["page", "--listen", "127.0.0.1:0", "--socket"]).arg(bed.socket());
    std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
    let (status, out, complaint) = run_to_end("borderguard page", command, PATIENCE).unwrap();
    assert_eq!((status.code(), out.as_str()), (Some(4), ""), "{complaint}");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_browser_shows_the_figures_and_axe_finds_nothing() {
    let (bed, daemon) = guarded("page");
    bed.exempt("mlat-1", &["203.0.113.77/32"], 3600, Some(1 << 20)).unwrap();
    let order = "High Court <b>2026/5512</b>";
    bed.tell(&["exemption", "stay", "mlat-1", "--order", order]).unwrap();
    assert_eq!(bed.send(SENT, MAIL_PORT, US, Family::V4).unwrap(), 0);
    assert_eq!(bed.send(SENT, MAIL_PORT, BELGIUM, Family::V4).unwrap(), SENT);
    bed.event(PATIENCE, "the drop", |event| event["verdict"] == "drop").unwrap();

    let page = serve(&bed, "127.0.0.1:0");
    let (link, origin) = link(&page);
    let profile = bed.file("browser");
    fs::create_dir(&profile).unwrap();
    let mut browser = Browser::new(bed.host(STORE).unwrap(), &profile);
    assert_eq!(browser.go(&link), 200);
    assert_eq!(browser.run("location.pathname + location.search"), "/");
    assert_eq!(browser.run("document.cookie"), "", "no script reads the session");
    let shown = |browser: &mut Browser, part: &str| {
        browser
            .run(&format!("document.querySelector('[data-part={part}]').innerText"))
            .as_str()
            .unwrap()
            .to_owned()
    };
    let wait = |browser: &mut Browser, part: &str, text: &str| {
        let mut last = String::new();
        let found = retry_until(Duration::from_secs(60), "the page", || {
            last = shown(browser, part);
            last.contains(text).then_some(())
        });
        assert!(found.is_ok(), "no {text:?} in {part}: {last}");
        last
    };
    // Nobody's approval is asked for, and that is a problem.
    wait(&mut browser, "health", "The guard is DEGRADED, 1 problem");
    wait(&mut browser, "health", "approvals-off");
    let places = wait(&mut browser, "map", "US");
    let us = places.lines().find(|line| line.starts_with("US\t")).unwrap();
    let status = bed.status().unwrap();
    let of = |place: &str, pass: bool| {
        let rows =
            status.counters.iter().filter(|it| it.pin.is_some() && it.jurisdiction.as_deref() == Some(place));
        rows.filter(|it| (it.verdict == "pass") == pass)
            .fold((0, 0), |(p, b), it| (p + it.packets, b + it.bytes))
    };
    assert_eq!(us.split('\t').nth(2), Some(of("US", false).0.to_string().as_str()), "{us}");
    let be = places.lines().find(|line| line.starts_with("BE\t")).unwrap();
    assert_eq!(be.split('\t').nth(1), Some(format!("{} B", of("BE", true).1).as_str()), "{be}");
    assert_eq!(browser.run("document.querySelectorAll('path.forbidden').length"), 1);
    assert_eq!(browser.run("document.querySelectorAll('path.passed').length"), 1);
    let violations = wait(&mut browser, "violations", "203.0.113.10:40000");
    assert!(
        violations.contains("A pin forbids the destination's jurisdiction")
            && violations.contains("policy.toml:"),
        "{violations}"
    );
    assert!(wait(&mut browser, "exemptions", "mlat-1 v1").contains("stayed"));
    // As text, not as an element.
    wait(&mut browser, "orders", order);
    assert!(wait(&mut browser, "coverage", "guarded").contains("tcx"));

    // Live: what is sent now is there without a click.
    assert_eq!(bed.send(SENT, MAIL_PORT, US, Family::V6).unwrap(), 0);
    wait(&mut browser, "violations", "[2001:db8:3::10]:40000");

    browser.run(&axe());
    for (scheme, size) in [("light", (1280, 900)), ("dark", (1280, 900)), ("light", (360, 740))] {
        browser.look(scheme, size);
        let found = browser.run("axe.run().then(it => JSON.stringify(it.violations.map(v => [v.id, v.nodes.map(n => [n.html, n.failureSummary])])))");
        assert_eq!(found, "[]", "{scheme} {size:?}");
        let passed = browser.run("axe.run().then(it => it.passes.length)").as_u64().unwrap();
        assert!(passed > 15, "axe judged {passed} rules alone");
        keep(&format!("page-{scheme}-{}.png.base64", size.0), &browser.picture());
    }
    // By keyboard: every part of the page that can be used is reached, in the order of the page.
    let mut reached = Vec::new();
    for _ in 0..40 {
        browser.press("Tab");
        let at = browser.run("document.activeElement.id || document.activeElement.getAttribute('href') || document.activeElement.getAttribute('aria-label') || ''");
        reached.push(at.as_str().unwrap().to_owned());
    }
    for part in ["#main", "#map", "#coverage", "hold", "By jurisdiction", "The newest first", "Interfaces"] {
        assert!(reached.iter().any(|it| it == part), "{part}: {reached:?}");
    }
    browser.run("document.activeElement.blur(); document.getElementById('hold').focus()");
    browser.press("Enter");
    let (asked, errors) = browser.asked_and_errors();
    assert!(asked.len() > 4 && asked.iter().all(|url| url.starts_with(&origin)), "{asked:?}");
    assert!(errors.is_empty(), "{errors:?}");

    // Without a daemon the page says so, and goes on with the next one.
    browser.run("document.activeElement.blur(); if (document.getElementById('hold').getAttribute('aria-pressed') === 'true') document.getElementById('hold').click()");
    daemon.kill(PATIENCE).unwrap();
    wait(&mut browser, "health", "No answer from the daemon");
    let daemon = bed.start(&[]).unwrap();
    let is_back = || (!shown(&mut browser, "health").contains("No answer")).then_some(());
    retry_until(Duration::from_secs(60), "the daemon on the page", is_back).unwrap();
    drop(daemon);
    // And without its own server it says that.
    page.signal(Signal::TERM);
    page.wait(PATIENCE).unwrap();
    let said = || {
        let said = browser.run("document.getElementById('connection').textContent");
        said.as_str().unwrap().contains("Not up to date").then_some(())
    };
    retry_until(Duration::from_secs(60), "the page", said).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn without_a_daemon_the_page_says_so() {
    let bed = Bed::new("page-none").unwrap();
    bed.configure(PIN).unwrap();
    let page = serve(&bed, "127.0.0.1:0");
    let (link, origin) = link(&page);
    let (_, answer) = ask(&bed, &[&link]);
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let cookie = format!("Cookie: {}", cookie.split(';').next().unwrap());
    let (status, answer) = ask(&bed, &["--header", &cookie, &origin]);
    assert_eq!(status, 200);
    assert!(
        answer.contains("No answer from the daemon") && answer.contains("no daemon answers on"),
        "{answer}"
    );
}

/// Keeps a picture where a person can look at it.
fn keep(name: &str, picture: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), picture).unwrap();
}
