//! Client and server together, over a real socket, with a daemon's loop that answers simply.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::access::Peer;
use super::client::{ClientError, Exchange, ask};
use super::protocol::{ErrorKind, EventFormat, Request, Response};
use super::server::{Command, Desk, Message, Server};
use super::{MAX_CLIENTS, MAX_REQUEST_BYTES};
use crate::config::policy::ControlGroups;
use crate::events::history::History;
use crate::events::tests::dropped;

/// A server on a thread of its own, until it is dropped.
struct Served {
    socket: PathBuf,
    history: Arc<History>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Served {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let history = Arc::new(History::new(100));
        let (end, ended) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (path, events) = (socket.clone(), Arc::clone(&history));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::bind(&path, &ControlGroups::default()).unwrap();
                let (commands, requests) = mpsc::channel(4);
                ready.send(()).unwrap();
                let desk = Desk { commands, history: events };
                tokio::select! {
                    () = server.serve(&desk) => {}
                    () = answer(requests) => {}
                    _ = ended => {}
                }
            });
        });
        is_ready.recv().unwrap();
        Self { socket, history, end: Some(end), thread: Some(thread), _folder: folder }
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

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _its_panic_is_seen = thread.join();
        }
    }
}

/// Answers with the request itself, so that a test sees what came through.
async fn answer(mut requests: mpsc::Receiver<Message>) {
    while let Some(message) = requests.recv().await {
        let Message::Asked(Command { request, peer: Peer { uid, .. }, answer }) = message else {
            panic!("{message:?}")
        };
        let message = format!("{uid} {}", serde_json::to_string(&request).unwrap());
        let _gone = answer.send(Response::Done { message, generation: 7, exemptions: Vec::new() });
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
    assert!(one.contains("\"sequence\":4,") && two.contains("\"sequence\":5,"), "{said}");
}

#[test]
fn a_follower_gets_each_event_as_it_comes_and_none_twice() {
    let served = Served::new();
    served.tell(1);
    let request = Request::Events { follow: true, limit: None, format: EventFormat::Text };
    let mut exchange = Exchange::begin(&served.socket, &request).unwrap();
    for sequence in 1..=200 {
        let Some(Response::Event { line }) = exchange.response().unwrap() else { panic!("no event") };
        assert!(line.contains(&format!("[seq={sequence} ")), "{line}");
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
    assert!(lines.next().unwrap().unwrap().contains("[seq=1 "));
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
fn one_client_too_many_is_told_to_come_back() {
    let served = Served::new();
    let waiting: Vec<UnixStream> =
        (0..MAX_CLIENTS).map(|_| UnixStream::connect(&served.socket).unwrap()).collect();
    let refused = ask(&served.socket, &Request::Reload {}).unwrap_err();
    assert!(matches!(refused, ClientError::Refused { kind: ErrorKind::Busy, .. }), "{refused}");
    drop(waiting);
    let again = || ask(&served.socket, &Request::Reload {}).is_ok();
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while !again() {
        assert!(std::time::Instant::now() < patience, "the places did not come free");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn the_socket_goes_with_the_server() {
    let served = Served::new();
    let socket = served.socket.clone();
    assert!(socket.exists());
    drop(served);
    assert!(!socket.exists());
}
