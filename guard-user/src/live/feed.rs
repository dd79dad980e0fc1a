//! Reads the status again and again and the events as they come, each from a thread of its own, and goes on after the
//! daemon was gone.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::event::Event;
use serde_json::Value;

use crate::control::client::{ClientError, Exchange, status};
use crate::control::protocol::{EventFormat, Request, Response};
use crate::control::status::Status;
use crate::history::Filter;

/// News that wait to be taken. Where nobody takes them the threads wait, and the daemon says how many events were
/// missed.
const WAITING: usize = 256;
/// How soon it is tried again after the daemon could not be reached.
const AGAIN: Duration = Duration::from_secs(1);

/// What is new.
#[derive(Clone, Debug)]
pub enum News {
    /// The status, and when it came.
    Status(Box<Status>, Instant),
    /// No status is to be had, and why: it is asked for again.
    NoStatus(String),
    /// An event.
    Event(Box<Event>),
    /// So many events were not sent, because they were taken too slowly.
    Missed(u64),
    /// So many events are in sums alone, as those of a storm are.
    Summed(u64),
    /// No events are to be had, and why: they are asked for again.
    NoEvents(String),
}

/// What is asked for, and of whom.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The daemon's control socket.
    pub socket: PathBuf,
    /// How often the status is asked for.
    pub interval: Duration,
    /// How many of the events that are in the daemon's memory come first.
    pub events: usize,
}

/// Starts both threads. They end when the receiver is dropped: the one that waits for an event with the next one.
///
/// # Errors
/// Where no thread can be started.
pub fn start(wanted: &Wanted) -> io::Result<Receiver<News>> {
    let (news, receiver) = sync_channel(WAITING);
    let (for_status, its_news) = (wanted.clone(), news.clone());
    let for_events = wanted.clone();
    thread::Builder::new().name("status".to_owned()).spawn(move || read_status(&for_status, &its_news))?;
    thread::Builder::new().name("events".to_owned()).spawn(move || read_events(&for_events, &news))?;
    Ok(receiver)
}

fn read_status(wanted: &Wanted, news: &SyncSender<News>) {
    loop {
        let begin = Instant::now();
        let (told, pause) = match status(&wanted.socket) {
            Ok(status) => (News::Status(status, Instant::now()), wanted.interval),
            Err(error) => (News::NoStatus(error.to_string()), AGAIN),
        };
        if news.send(told).is_err() {
            return;
        }
        thread::sleep(pause.saturating_sub(begin.elapsed()));
    }
}

fn read_events(wanted: &Wanted, news: &SyncSender<News>) {
    loop {
        let why = match follow(wanted, news) {
            Ok(Ended::NobodyListens) => return,
            Ok(Ended::ByDaemon) => "the daemon has ended".to_owned(),
            Err(error) => error.to_string(),
        };
        if news.send(News::NoEvents(why)).is_err() {
            return;
        }
        thread::sleep(AGAIN);
    }
}

enum Ended {
    NobodyListens,
    ByDaemon,
}

fn follow(wanted: &Wanted, news: &SyncSender<News>) -> Result<Ended, ClientError> {
    let request = Request::Events {
        follow: true,
        limit: Some(wanted.events),
        format: EventFormat::Json,
        filter: Filter::default(),
        brief: false,
    };
    let mut exchange = Exchange::begin(&wanted.socket, &request)?;
    exchange.wait_for_ever()?;
    loop {
        let told = match exchange.response()? {
            Some(Response::Event { line }) => match serde_json::from_str(&line) {
                Ok(event) => News::Event(event),
                Err(_) => of_another_kind(&line),
            },
            Some(Response::Missed { events }) => News::Missed(events),
            None | Some(Response::End {}) => return Ok(Ended::ByDaemon),
            Some(_) => return Err(exchange.unexpected()),
        };
        if news.send(told).is_err() {
            return Ok(Ended::NobodyListens);
        }
    }
}

/// A line that is no single event: a sum of them, or of a kind that another version has.
fn of_another_kind(line: &str) -> News {
    let line: Value = serde_json::from_str(line).unwrap_or_default();
    match line["kind"].as_str() {
        Some("summary") => News::Summed(line["events"].as_u64().unwrap_or(1)),
        _ => News::Missed(1),
    }
}
