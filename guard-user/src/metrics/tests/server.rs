//! The server against clients that behave, and those that do not. The daemon is a thread that counts what it is asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::config::metrics::Listen;
use crate::config::policy::ControlGroups;
use crate::control::protocol::{Request, Response};
use crate::control::right::Right;
use crate::control::server::Message;
use crate::control::status::Status;
use crate::control::users::{Host, Names};
use crate::metrics::server::{Exporter, Setup};

const PATIENCE: Duration = Duration::from_secs(30);

/// An exporter, and how often its daemon was asked.
fn exporter(listen: Listen, answers: bool) -> (Exporter, Arc<AtomicUsize>) {
    let (requests, mut asked) = mpsc::channel(4);
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        let mut unanswered = Vec::new();
        while let Some(Message::Asked(command)) = asked.blocking_recv() {
            counted.fetch_add(1, Ordering::SeqCst);
            assert_eq!(command.request, Request::Status {});
            assert!(!command.peer.rights.include(Right::Exemptions), "confidential text would be shown");
            let status = Box::new(Status { generation: 41, ..Default::default() });
            match answers {
                true => drop(command.answer.send(Response::Status { status })),
                false => unanswered.push(command),
            }
        }
    });
    let setup = Setup {
        listen,
        groups: ControlGroups::default(),
        names: Names::start(Host).unwrap(),
        requests,
        start: "2026-11-28T00:00:00Z".parse().unwrap(),
        slow_turns: Arc::default(),
    };
    (Exporter::start(setup).unwrap(), count)
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn connect(to: SocketAddr) -> TcpStream {
    let begin = Instant::now();
    loop {
        match TcpStream::connect(to) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                return stream;
            }
            Err(error) => assert!(begin.elapsed() < PATIENCE, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What it answers, or nothing where it hangs up.
fn ask(mut stream: impl Read + Write, request: &str) -> String {
    let mut answer = Vec::new();
    // Who is refused may find the connection closed already.
    let _sent = stream.write_all(request.as_bytes());
    let _read = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn get(to: SocketAddr) -> String {
    ask(connect(to), "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn refused(text: &str, why: &str) -> u64 {
    let name = format!("borderguard_metrics_refused_total{{why=\"{why}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

#[test]
fn requests_are_answered_or_refused_by_what_they_are() {
    let at = free_port();
    let (_exporter, asked) = exporter(Listen::Loopback(at), true);
    let first = get(at);
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{first}");
    assert!(first.contains("\nborderguard_generation 41\n"), "{first}");
    assert!(first.contains("content-type: text/plain; version=0.0.4"), "{first}");
    let open = ask(
        connect(at),
        "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/openmetrics-text;version=1.0.0\r\n\r\n",
    );
    assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0"), "{open}");
    assert!(open.ends_with("# EOF\n"), "{open}");
    let head = ask(connect(at), "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200") && !head.contains("borderguard_"), "{head}");

    for (code, request) in [
        (403, "GET /metrics HTTP/1.1\r\nHost: example.org\r\n\r\n".to_owned()),
        (403, "GET /metrics HTTP/1.1\r\n\r\n".to_owned()),
        (403, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: example.org\r\n\r\n".to_owned()),
        (403, "GET http://example.org/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()),
        (403, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nOrigin: http://example.org\r\n\r\n".to_owned()),
        (404, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()),
        (404, "GET /metrics/../x HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()),
        (405, "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".to_owned()),
        (405, "DELETE /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()),
        (400, "no request at all\r\n\r\n".to_owned()),
        (431, format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "A: b\r\n".repeat(100))),
        (431, format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nA: {}\r\n\r\n", "b".repeat(70_000))),
    ] {
        let answer = ask(connect(at), &request);
        // Of what comes too large the answer may be lost with the connection.
        let is_refused =
            answer.starts_with(&format!("HTTP/1.1 {code} ")) || (code == 431 && answer.is_empty());
        assert!(is_refused && !answer.contains("borderguard_"), "{code}: {answer:?}");
    }
    let last = get(at);
    for (why, count) in [("foreign", 5), ("path", 2), ("method", 2), ("bad-request", 3), ("busy", 0)] {
        assert_eq!(refused(&last, why), count, "{why}: {last}");
    }
    let asked = asked.load(Ordering::SeqCst);
    assert!((1..=1 + 30).contains(&asked), "{asked}");
}

#[test]
fn many_scrapes_cost_the_daemon_one_look_a_second() {
    let at = free_port();
    let (_exporter, asked) = exporter(Listen::Loopback(at), true);
    let begin = Instant::now();
    for _ in 0..50 {
        assert!(get(at).contains("borderguard_generation 41"));
    }
    let most = 1 + begin.elapsed().as_secs() as usize;
    assert!(asked.load(Ordering::SeqCst) <= most, "{asked:?} in {:?}", begin.elapsed());
}

#[test]
fn clients_that_stay_are_bounded_and_make_room_again() {
    let at = free_port();
    let (_exporter, _) = exporter(Listen::Loopback(at), true);
    assert!(get(at).contains("borderguard_generation 41"));
    let mut idle: Vec<TcpStream> = (0..16).map(|_| connect(at)).collect();
    // Half a request holds a place as well.
    idle[0].write_all(b"GET /metrics HT").unwrap();
    // Nobody else is served now, and each is told at once, by the end of the connection.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(3) && !get(at).is_empty() {}
    assert!(get(at).is_empty());
    drop(idle);
    let begin = Instant::now();
    let mut last = get(at);
    while last.is_empty() {
        assert!(begin.elapsed() < PATIENCE, "no place is free again");
        last = get(at);
    }
    assert!(refused(&last, "busy") >= 1, "{last}");
    // One that says nothing is not waited for.
    let mut silent = connect(at);
    let begin = Instant::now();
    let mut end = Vec::new();
    let _closed = silent.read_to_end(&mut end);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert!(get(at).contains("borderguard_generation 41"));
}

#[test]
fn a_daemon_that_does_not_answer_has_no_figures_and_no_old_ones() {
    let at = free_port();
    let (_exporter, _) = exporter(Listen::Loopback(at), false);
    let answer = get(at);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(!answer.contains("borderguard_"), "{answer}");
}

fn wait_for(path: &Path) {
    let begin = Instant::now();
    while UnixStream::connect(path).is_err() {
        assert!(begin.elapsed() < PATIENCE, "nobody listens on {}", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_socket_is_its_owners_and_made_anew_and_removed_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.sock");
    let (exporter, _) = exporter(Listen::Unix(path.clone()), true);
    wait_for(&path);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let request = "GET /metrics HTTP/1.1\r\nHost: anything\r\n\r\n";
    assert!(ask(UnixStream::connect(&path).unwrap(), request).contains("borderguard_generation 41"));
    std::fs::remove_file(&path).unwrap();
    wait_for(&path);
    assert!(ask(UnixStream::connect(&path).unwrap(), request).contains("borderguard_generation 41"));
    assert_eq!(exporter.problem(), None);
    drop(exporter);
    assert!(!path.exists());
}

#[test]
fn an_address_that_is_taken_is_a_problem_until_it_is_free() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let (exporter, _) = exporter(Listen::Loopback(at), true);
    let begin = Instant::now();
    while exporter.problem().is_none() {
        assert!(begin.elapsed() < PATIENCE, "no problem is reported");
        std::thread::sleep(Duration::from_millis(10));
    }
    let problem = exporter.problem().unwrap();
    assert_eq!(problem.code.as_str(), "metrics-missing");
    assert_eq!(problem.subject.as_deref(), Some(at.to_string().as_str()));
    drop(taken);
    let begin = Instant::now();
    while exporter.problem().is_some() {
        assert!(begin.elapsed() < PATIENCE, "{:?}", exporter.problem());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(get(at).contains("borderguard_generation 41"));
}
