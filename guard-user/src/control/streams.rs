//! Clients that read events, on a thread of their own.
//!
//! To make lines of events is work, and under a flood there is always more of it: here it holds up no other
//! client and nothing that guards. The thread gives way to others and uses half of one CPU at most; a client
//! that falls behind is told how many events it missed.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tracing::{debug, warn};

use super::MAX_CLIENTS;
use super::places::{Kind, Place, Places};
use super::protocol::{EventFormat, Response};
use super::wire::{send, write};
use crate::events::envelope::Envelope;
use crate::events::history::History;

/// Events that are rendered at once for one client: under a millisecond.
const BATCH: usize = 128;
/// By how much the thread gives way to others (nice(2)).
const NICE: i32 = 5;
/// The thread's time is counted in windows of this length.
const WINDOW: Duration = Duration::from_millis(50);
/// How much of each window goes to lines of events.
const SHARE: Duration = Duration::from_millis(25);

/// What a client wants to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) follow: bool,
    pub(super) limit: Option<usize>,
    pub(super) format: EventFormat,
}

/// A client on its way to the thread.
struct Reader {
    stream: StdStream,
    wanted: Wanted,
    _place: Place,
}

/// The thread. It ends when this is dropped, and with it the connections of its clients.
#[derive(Debug)]
pub(super) struct Streams {
    readers: mpsc::Sender<Reader>,
    /// Other places than those of requests.
    places: Arc<Places>,
}

impl Streams {
    /// Starts the thread.
    pub(super) fn start(history: Arc<History>) -> io::Result<Self> {
        let (readers, new) = mpsc::channel(Kind::COUNT * MAX_CLIENTS);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("event-streams".to_owned()).spawn(move || {
            if let Err(error) = rustix::process::nice(NICE) {
                warn!(%error, "the thread that serves readers of events can't give way to others");
            }
            LocalSet::new().block_on(&runtime, serve(new, history));
        })?;
        Ok(Self { readers, places: Arc::default() })
    }

    /// Hands a client over; gives it back where too many of its kind are there.
    pub(super) fn take(
        &self,
        stream: UnixStream,
        kind: Kind,
        wanted: Wanted,
    ) -> io::Result<Option<UnixStream>> {
        let Some(place) = self.places.take(kind) else { return Ok(Some(stream)) };
        let stream = stream.into_std()?;
        let reader = Reader { stream, wanted, _place: place };
        self.readers
            .try_send(reader)
            .map_err(|_| io::Error::other("the thread of event readers has ended"))?;
        Ok(None)
    }
}

async fn serve(mut new: mpsc::Receiver<Reader>, history: Arc<History>) {
    let pace = Pace::default();
    while let Some(Reader { stream, wanted, _place }) = new.recv().await {
        let (history, pace) = (Arc::clone(&history), pace.clone());
        tokio::task::spawn_local(async move {
            let served = async {
                let (mut reader, mut writer) = UnixStream::from_std(stream)?.into_split();
                stream_events(&mut reader, &mut writer, &history, wanted, &pace).await
            };
            if let Err(error) = served.await {
                debug!(%error, "a client that read events went away");
            }
            drop(_place);
        });
    }
}

async fn stream_events(
    reader: &mut OwnedReadHalf,
    writer: &mut OwnedWriteHalf,
    history: &History,
    Wanted { follow, limit, format }: Wanted,
    pace: &Pace,
) -> io::Result<()> {
    let mut news = history.subscribe();
    let mut next = history.first_of_last(limit);
    // Without `follow` what comes while the rest is sent is not sent: else it might never end.
    let end = if follow { u64::MAX } else { history.next_sequence() };
    loop {
        let begin = Instant::now();
        let wanted = usize::try_from(end.saturating_sub(next)).unwrap_or(BATCH).min(BATCH);
        let (missed, events) = history.from(next, wanted);
        let mut lines = String::new();
        if missed > 0 {
            lines.push_str(&Response::Missed { events: missed }.to_line());
        }
        next += missed + events.len() as u64;
        for event in &events {
            let line = event.to_line(format.into(), &Envelope::outside(event.session()));
            lines.push_str(&Response::Event { line }.to_line());
        }
        pace.spend(begin.elapsed()).await;
        if !lines.is_empty() {
            write(writer, lines.as_bytes()).await?;
            continue;
        }
        if next >= end {
            return send(writer, &Response::End {}).await;
        }
        let mut byte = [0];
        tokio::select! {
            changed = news.changed() => if changed.is_err() {
                return send(writer, &Response::End {}).await;
            },
            // A client that closes its end, or sends something that was not asked for, is done.
            _ = reader.read(&mut byte) => return Ok(()),
        }
    }
}

/// Keeps the thread's work within its share of time.
#[derive(Clone, Debug)]
struct Pace(std::rc::Rc<std::cell::Cell<(Instant, Duration)>>);

impl Default for Pace {
    fn default() -> Self {
        Self(std::rc::Rc::new(std::cell::Cell::new((Instant::now(), Duration::ZERO))))
    }
}

impl Pace {
    /// Counts this work, lets others run, and waits for the next window where this one is used up.
    async fn spend(&self, work: Duration) {
        let (mut window, mut spent) = self.0.get();
        let now = Instant::now();
        if now.saturating_duration_since(window) >= WINDOW {
            (window, spent) = (now, Duration::ZERO);
        }
        spent += work;
        self.0.set((window, spent));
        match spent >= SHARE {
            true => tokio::time::sleep_until((window + WINDOW).into()).await,
            false => tokio::task::yield_now().await,
        }
    }
}
