//! Client and server together, over a real socket, with a daemon's loop that answers simply.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::access::Peer;
use super::client::{Exchange, ask};
use super::protocol::{EventFormat, Request, Response};
use super::right::Right;
use super::server::{Command, Message, Server, Setup};
use super::socket::SocketError;
use super::users::tests::Slow;
use super::users::{Host, Names};
use super::{MAX_CLIENTS, MAX_REQUEST_BYTES};
use crate::config::policy::ControlGroups;
use crate::events::brief::Batch;
use crate::events::flow_records;
use crate::events::history::History;
use crate::events::tests::dropped;
use crate::health::ProblemCode;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server whose daemon answers simply, until it is dropped.
struct Served {
    socket: PathBuf,
    history: Arc<History>,
    server: Server,
    _daemon: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Served {
    fn new() -> Self {
        Self::with(ControlGroups::default(), Names::start(Host).unwrap())
    }

    fn with(groups: ControlGroups, names: Names) -> Self {
        Self::of(groups, names, |setup| Server::start(setup).unwrap(), answer)
    }

    /// A server whose daemon takes up requests and never answers.
    fn hung() -> Self {
        let start = |setup| Server::start_with(setup, Duration::from_millis(300)).unwrap();
        Self::of(ControlGroups::default(), Names::start(Host).unwrap(), start, |mut requests| {
            let mut taken = Vec::new();
            while taken.len() < MAX_CLIENTS / 2 {
                taken.extend(requests.blocking_recv());
            }
            // From now on it does not even take them up.
            while !requests.is_closed() {
                std::thread::sleep(Duration::from_millis(10));
            }
        })
    }

    fn of(
        groups: ControlGroups,
        names: Names,
        start: impl FnOnce(Setup) -> Server,
        daemon: impl FnOnce(mpsc::Receiver<Message>) + Send + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let history = Arc::new(History::new(100));
        let (requests, asked) = mpsc::channel(4);
        let setup = Setup {
            path: socket.clone(),
            groups,
            names,
            history: Arc::clone(&history),
            past: None,
            flows: Some(flow_records::tests::source()),
            untagged: None,
            requests,
        };
        let server = start(setup);
        let daemon = std::thread::spawn(move || daemon(asked));
        Self { socket, history, server, _daemon: daemon, _folder: folder }
    }

    /// The codes and subjects of its problems.
    fn problems(&self) -> Vec<(ProblemCode, String)> {
        let problems = self.server.problems(Instant::now()).into_iter();
        problems.map(|problem| (problem.code, problem.subject.unwrap_or_default())).collect()
    }

    /// Sends these bytes and returns everything that comes.
    fn talk(&self, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        // A server that has heard enough closes early.
        let _closed = stream.write_all(bytes);
        let mut all = String::new();
        let _reset = stream.read_to_string(&mut all);
        all
    }

    fn tell(&self, events: usize) {
        (0..events).for_each(|_| drop(self.history.push(vec![dropped()])));
    }
}

/// Answers with the request itself, so that a test sees what came through.
fn answer(mut requests: mpsc::Receiver<Message>) {
    while let Some(message) = requests.blocking_recv() {
        let Message::Asked(command) = message else { panic!("{message:?}") };
        let Command { request, peer: Peer { uid, .. }, answer } = *command;
        let message = format!("{uid} {}", serde_json::to_string(&request).unwrap());
        let _gone = answer.send(Response::Done { message, generation: 7, exemptions: Vec::new() });
    }
}

/// Waits until something holds.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < patience, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_request_comes_through_with_the_user_that_asks() {
    let served = Served::new();
    let response = ask(&served.socket, &Request::Reload {}).unwrap();
    let uid = rustix::process::geteuid().as_raw();
    let message = format!("{uid} {{\"request\":\"reload\"}}");
    assert_eq!(response, Response::Done { message, generation: 7, exemptions: Vec::new() });
}

#[test]
fn what_is_no_request_gets_an_error_and_the_next_client_is_served() {
    let served = Served::new();
    for bytes in [&b"\n"[..], b"status\n", b"{\"request\":\"stop\"}\n", b"\xff\xfe\n", b"{\"request\":\n"] {
        let said = served.talk(bytes);
        assert!(said.starts_with("{\"response\":\"error\",\"kind\":\"bad-request\""), "{said}");
        assert_eq!(said.lines().count(), 1);
    }
    let long = served.talk(&vec![b' '; MAX_REQUEST_BYTES + 10]);
    assert!(long.is_empty() || long.contains("longer than"), "{long}");
    ask(&served.socket, &Request::Reload {}).unwrap();
}

#[test]
fn events_come_in_order_and_end() {
    let served = Served::new();
    served.tell(5);
    let said = served.talk(b"{\"request\":\"events\",\"limit\":2,\"format\":\"json\"}\n");
    let responses: Vec<Response> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [Response::Event { line: one }, Response::Event { line: two }, Response::End {}] =
        responses.as_slice()
    else {
        panic!("{said}")
    };
    assert!(one.contains("\"id\":4,") && two.contains("\"id\":5,"), "{said}");
}

#[test]
fn every_flow_record_comes_after_how_many_there_are() {
    let served = Served::new();
    let said = served.talk(b"{\"request\":\"flows\"}\n");
    let mut responses = said.lines().map(|line| serde_json::from_str(line).unwrap());
    let first = Response::Flows { flows: 300, capacity: 1000, generation: 0, policy: None };
    assert_eq!(responses.next(), Some(first));
    for port in 1..=300 {
        let Some(Response::Flow { line }) = responses.next() else { panic!("no flow {port}") };
        assert!(line.contains(&format!("\"port\":{port}}}")), "{line}");
    }
    assert_eq!(responses.collect::<Vec<_>>(), [Response::End {}]);
}

#[test]
fn in_brief_every_flow_comes_with_many_others() {
    let served = Served::new();
    served.tell(5);
    let flows = |said: &str| {
        let responses = said.lines().map(|line| serde_json::from_str::<Response>(line).unwrap());
        let batches = responses.filter_map(|it| match it {
            Response::Brief { line } => Some(Batch::read(&line).unwrap()),
            Response::Flow { .. } | Response::Event { .. } => panic!("{said}"),
            _ => None,
        });
        batches.flat_map(|batch| batch.flows).collect::<Vec<_>>()
    };
    let said = served.talk(b"{\"request\":\"flows\",\"brief\":true}\n");
    assert!(said.ends_with("{\"response\":\"end\"}\n") && said.lines().count() < 10, "{said}");
    let ports: Vec<_> = flows(&said).iter().map(|one| one.destination.unwrap().port).collect();
    assert_eq!(ports, (1..=300).map(Some).collect::<Vec<_>>());
    let said = served.talk(b"{\"request\":\"events\",\"limit\":2,\"brief\":true}\n");
    assert_eq!((flows(&said).len(), said.lines().count()), (2, 2), "{said}");
}

#[test]
fn a_client_that_takes_no_flows_holds_up_no_reader_of_events() {
    let served = Served::new();
    served.tell(1);
    let silent = UnixStream::connect(&served.socket).unwrap();
    (&silent).write_all(b"{\"request\":\"flows\"}\n").unwrap();
    let said = served.talk(b"{\"request\":\"events\"}\n");
    assert_eq!(said.lines().count(), 2, "{said}");
    ask(&served.socket, &Request::Reload {}).unwrap();
}

#[test]
fn a_follower_gets_each_event_as_it_comes_and_none_twice() {
    let served = Served::new();
    served.tell(1);
    let request = Request::Events {
        follow: true,
        limit: None,
        format: EventFormat::Text,
        filter: Default::default(),
        brief: false,
    };
    let mut exchange = Exchange::begin(&served.socket, &request).unwrap();
    for sequence in 1..=200 {
        let Some(Response::Event { line }) = exchange.response().unwrap() else { panic!("no event") };
        assert!(line.contains(&format!("/{sequence} phase=")), "{line}");
        served.tell(1);
    }
}

#[test]
fn a_follower_that_falls_behind_is_told_how_far() {
    let served = Served::new();
    served.tell(1);
    let stream = UnixStream::connect(&served.socket).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    (&stream).write_all(b"{\"request\":\"events\",\"follow\":true}\n").unwrap();
    assert!(lines.next().unwrap().unwrap().contains("/1 phase="));
    // More than the history and the socket's buffers hold, while nobody reads.
    served.tell(20_000);
    let (mut seen, mut missed) = (1, 0);
    for line in lines.by_ref() {
        match serde_json::from_str(&line.unwrap()).unwrap() {
            Response::Event { .. } => seen += 1,
            Response::Missed { events } => missed += events,
            other => panic!("{other:?}"),
        }
        if seen + missed == 20_001 {
            break;
        }
    }
    assert!(missed > 0, "{seen} seen");
}

#[test]
fn clients_that_say_nothing_keep_nobody_out_and_are_told() {
    let served = Served::new();
    let silent: Vec<UnixStream> =
        (0..2 * MAX_CLIENTS).map(|_| UnixStream::connect(&served.socket).unwrap()).collect();
    ask(&served.socket, &Request::Reload {}).unwrap();
    // The longest silent ones gave way.
    let mut told = String::new();
    silent[0].try_clone().unwrap().read_to_string(&mut told).unwrap();
    assert!(told.contains("\"kind\":\"busy\""), "{told}");
}

#[test]
fn a_daemon_that_hangs_keeps_no_place_for_ever_and_the_client_is_told() {
    let served = Served::hung();
    let ask_all = || {
        let asks: Vec<_> = (0..MAX_CLIENTS)
            .map(|_| {
                let socket = served.socket.clone();
                std::thread::spawn(move || ask(&socket, &Request::Reload {}).unwrap_err().to_string())
            })
            .collect();
        asks.into_iter().map(|ask| ask.join().unwrap()).collect::<Vec<_>>()
    };
    let begin = Instant::now();
    let told = ask_all();
    let (taken, not_taken): (Vec<_>, Vec<_>) = told.iter().partition(|it| it.contains("may still be done"));
    assert!(
        taken.iter().all(|it| it.contains("no answer within 0.3 s") && it.contains("borderguard status"))
    );
    assert!(!taken.is_empty() && not_taken.iter().all(|it| it.contains("nothing was done")), "{told:?}");
    // Each place is free again.
    let told = ask_all();
    assert!(told.iter().all(|it| it.contains("no answer within 0.3 s")), "{told:?}");
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
}

#[test]
fn two_thousand_connections_hold_up_no_request() {
    let served = Served::new();
    let (mut held, mut worst) = (std::collections::VecDeque::new(), Duration::ZERO);
    for made in 1..=2000 {
        held.push_back(UnixStream::connect(&served.socket).unwrap());
        // As many as a process may have open beside the other tests.
        if held.len() > 300 {
            held.pop_front();
        }
        if made % 40 == 0 {
            let begin = Instant::now();
            ask(&served.socket, &Request::Reload {}).unwrap();
            worst = worst.max(begin.elapsed());
        }
    }
    assert!(worst < Duration::from_secs(2), "{worst:?}");
}

#[test]
fn readers_of_events_are_bounded_and_hold_up_no_request() {
    let served = Served::new();
    served.tell(100);
    let follow = b"{\"request\":\"events\",\"follow\":true}\n";
    let mut followers: Vec<UnixStream> = (0..MAX_CLIENTS)
        .map(|_| {
            let mut stream = UnixStream::connect(&served.socket).unwrap();
            stream.write_all(follow).unwrap();
            // It has its place once it has an event; from then on it reads nothing.
            stream.read_exact(&mut [0]).unwrap();
            stream
        })
        .collect();
    let one_more = served.talk(follow);
    assert!(one_more.contains("\"kind\":\"busy\""), "{one_more}");
    let mut worst = Duration::ZERO;
    for _ in 0..50 {
        served.tell(500);
        let begin = Instant::now();
        ask(&served.socket, &Request::Reload {}).unwrap();
        worst = worst.max(begin.elapsed());
    }
    assert!(worst < Duration::from_secs(2), "{worst:?}");
    followers.truncate(MAX_CLIENTS - 1);
    wait_until("a place to come free", || {
        let mut stream = UnixStream::connect(&served.socket).unwrap();
        stream.write_all(follow).unwrap();
        let mut begin = [0; 19];
        stream.read_exact(&mut begin).unwrap();
        begin == *b"{\"response\":\"event\"" || begin == *b"{\"response\":\"missed"
    });
}

#[test]
fn a_source_of_names_that_hangs_holds_up_no_request() {
    let (answers, rules) = std::sync::mpsc::channel();
    let groups = ControlGroups { view: vec!["ops".to_owned()], ..Default::default() };
    let served = Served::with(groups, Names::start(Slow(rules)).unwrap());
    let begin = Instant::now();
    for _ in 0..50 {
        ask(&served.socket, &Request::Reload {}).unwrap();
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(served.problems(), [(ProblemCode::GroupsUnresolved, "ops".to_owned())]);
    // A load needs the name, and is not done without it.
    (0..3).for_each(|_| answers.send(Err(std::io::Error::other("no server"))).unwrap());
    let load = Request::ExemptionLoad {
        document: String::new(),
        name: String::new(),
        signatures: Vec::new(),
        dry_run: false,
        refused: false,
    };
    let refused = ask(&served.socket, &load).unwrap_err().to_string();
    assert!(refused.contains("nothing was loaded") && refused.contains("no server"), "{refused}");
    (0..1000).for_each(|_| answers.send(Ok(Some("5"))).unwrap());
    wait_until("the name to be known again", || ask(&served.socket, &load).is_ok());
    wait_until("the group to be found", || served.problems().is_empty());
}

#[test]
fn a_user_whose_group_is_still_looked_up_is_told_to_try_again() {
    let (answers, rules) = std::sync::mpsc::channel();
    let groups =
        ControlGroups { view: vec!["ops".to_owned()], policy: vec!["sre".to_owned()], ..Default::default() };
    let served = Served::with(groups, Names::start(Slow(rules)).unwrap());
    let refused = |right| served.server.shared().refusal_words("7", "status", right);
    assert!(refused(Right::View).contains("Members of \"ops\", \"sre\" have it as soon as"));
    let policy = refused(Right::Policy);
    assert!(policy.contains("Members of \"sre\" have") && policy.ends_with("try again"), "{policy}");
    answers.send(Ok(Some("5"))).unwrap();
    wait_until("the first group to be found", || served.problems().len() == 1);
    let view = refused(Right::View);
    assert!(view.contains("\"ops\" have; join it") && view.contains("Members of \"sre\""), "{view}");
    // What is not there is nothing to wait for.
    answers.send(Ok(None)).unwrap();
    wait_until("the second group to be missed", || !refused(Right::Policy).contains("try again"));
}

#[test]
fn a_group_that_is_made_later_gets_its_right_then() {
    let (answers, rules) = std::sync::mpsc::channel();
    let groups = ControlGroups { policy: vec!["ops".to_owned()], ..Default::default() };
    let served = Served::with(groups, Names::start(Slow(rules)).unwrap());
    let mode = || std::fs::metadata(&served.socket).unwrap().permissions().mode() & 0o777;
    answers.send(Ok(None)).unwrap();
    wait_until("the group to be looked up", || {
        let problems = served.server.problems(Instant::now());
        problems.iter().any(|problem| problem.message.contains("groupadd --system ops"))
    });
    assert_eq!(mode(), 0o600);
    let own = rustix::process::getegid().as_raw().to_string();
    answers.send(Ok(Some(Box::leak(own.into_boxed_str())))).unwrap();
    wait_until("the group to be found", || served.problems().is_empty());
    assert_eq!(mode(), 0o660);
}

#[test]
fn a_socket_that_is_removed_or_replaced_is_made_anew() {
    let served = Served::new();
    std::fs::remove_file(&served.socket).unwrap();
    assert!(!served.server.is_in_place());
    wait_until("the socket to be made anew", || ask(&served.socket, &Request::Reload {}).is_ok());
    // Another one's, on which nobody listens any more.
    std::fs::remove_file(&served.socket).unwrap();
    drop(UnixListener::bind(&served.socket).unwrap());
    wait_until("the socket to be made anew", || ask(&served.socket, &Request::Reload {}).is_ok());
    assert_eq!(served.problems(), []);
    // Another one's that listens is left alone.
    std::fs::remove_file(&served.socket).unwrap();
    let other = UnixListener::bind(&served.socket).unwrap();
    let path = served.socket.display().to_string();
    assert_eq!(served.problems(), [(ProblemCode::SocketMissing, path)]);
    assert!(matches!(served.server.rebind(), Err(SocketError::Taken { .. })));
    drop(other);
    wait_until("the socket to be made anew", || ask(&served.socket, &Request::Reload {}).is_ok());
}

#[test]
fn a_server_without_its_socket_starts_and_makes_it_when_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    std::fs::write(&path, "mine").unwrap();
    let (requests, _asked) = mpsc::channel(4);
    let (names, history) = (Names::start(Host).unwrap(), Arc::default());
    let setup = Setup {
        path: path.clone(),
        groups: ControlGroups::default(),
        names,
        history,
        past: None,
        flows: None,
        untagged: None,
        requests,
    };
    let server = Server::start(setup).unwrap();
    let problems = server.problems(Instant::now());
    assert!(
        problems.iter().any(|it| it.code == ProblemCode::SocketMissing && it.message.contains("no socket"))
    );
    std::fs::remove_file(&path).unwrap();
    wait_until("the socket to be made", || server.is_in_place());
    drop(server);
    assert!(!path.exists());
}

#[test]
fn the_socket_goes_with_the_server() {
    let served = Served::new();
    let socket = served.socket.clone();
    assert!(socket.exists());
    drop(served);
    assert!(!socket.exists());
}
