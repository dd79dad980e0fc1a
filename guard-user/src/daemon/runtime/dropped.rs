//! The worker that closes the local sockets whose packets the kernel drops, so that whoever uses one learns it at once and
//! does not hang until it times out.
//!
//! A socket is known by the kernel's own number of it: another one with the same addresses, or a packet that somebody
//! forged, closes nobody's. No verdict depends on it. Under a flood of forbidden flows it closes what it has time for:
//! the others hang, as all did without it. Sockets of other network namespaces, as of containers, are not this one's to
//! close.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use guard_common::abi::{FlowKey, FlowRecord, Hook};
use guard_common::verdict::{Reason, Verdict};
use tracing::{debug, warn};

use crate::kernel::View;
use crate::kernel::sockets::{self, CloseError};
use crate::worker::give_way;

/// Sockets that wait to be closed.
const ROOM: usize = 4096;
/// How long it collects them before it looks: a look goes through all sockets of the host.
const COLLECTED: Duration = Duration::from_millis(10);
/// How much longer than a look it rests after one, so that it takes no more of a processor than a part.
const RESTS: u32 = 9;
/// For how long a socket is not looked for again at first, and after how many looks in vain: one that sends to ever new places
/// and is connected to none stays open.
const AGAIN: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(64);

/// A socket of which a generation drops every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hopeless {
    cookie: u64,
    generation: u64,
}

impl Hopeless {
    /// The socket of a flow, if no packet of it can pass as long as config and database are as they are. What is dropped
    /// for want of something, or as it can't be read, may pass the next moment; what an exemption carried is closed with
    /// it. Of a packet that no socket sent, and of one that is pinned only until its cgroup is known, there is none.
    fn of(key: &FlowKey, record: &FlowRecord) -> Option<Self> {
        let reasons = [Reason::Forbidden, Reason::PlaceUnknown, Reason::PlaceUncertain];
        let is_hopeless = key.hook == Hook::Egress as u8
            && key.verdict == Verdict::Drop as u8
            && reasons.iter().any(|reason| *reason as u8 == key.reason)
            && record.cookie != 0;
        is_hopeless.then_some(Self { cookie: record.cookie, generation: record.generation })
    }
}

/// The sockets that were looked for. A flood from one that can't be closed costs a look now and then, and not one each
/// second: each goes through all sockets of the host.
#[derive(Debug, Default)]
struct Looked(HashMap<u64, Again>);

/// When a socket is looked for again, and how long that was to wait.
#[derive(Clone, Copy, Debug)]
struct Again {
    at: Instant,
    after: Duration,
}

impl Looked {
    /// Forgets whom nobody has asked for since, and all where they are more than there is room for.
    fn tidy(&mut self, now: Instant) {
        self.0.retain(|_, again| now < again.at + again.after);
        if self.0.len() > ROOM {
            self.0.clear();
        }
    }

    /// Whether it is time to look for this socket.
    fn is_due(&self, cookie: u64, now: Instant) -> bool {
        self.0.get(&cookie).is_none_or(|again| now >= again.at)
    }

    /// Notes that these are looked for now.
    fn look(&mut self, cookies: &HashSet<u64>, now: Instant) {
        for cookie in cookies {
            let after = self.0.get(cookie).map_or(AGAIN, |again| LONGEST.min(again.after * 2));
            self.0.insert(*cookie, Again { at: now + after, after });
        }
    }
}

/// The way to it. It ends with its last handle.
#[derive(Clone)]
pub(super) struct Dropped(SyncSender<Hopeless>);

impl Dropped {
    /// Starts it in the network namespace of the calling thread, over a view of its own. What an earlier daemon's
    /// generation drops, up to this one, is not closed: the config of this daemon may let it pass in a moment.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub(super) fn start(view: View, earlier: u64) -> io::Result<Self> {
        let (sender, sockets) = mpsc::sync_channel(ROOM);
        std::thread::Builder::new().name("dropped".to_owned()).spawn(move || {
            give_way();
            work(&view, earlier, &sockets);
        })?;
        Ok(Self(sender))
    }

    /// Has the socket closed that sent the packet of this event, if every packet of it is dropped. It never waits.
    pub(super) fn seen(&self, key: &FlowKey, record: &FlowRecord) {
        let Some(socket) = Hopeless::of(key, record) else { return };
        // Where there is no room its packets are dropped all the same; its next event asks again.
        let _full = self.0.try_send(socket);
    }
}

fn work(view: &View, earlier: u64, sockets: &Receiver<Hopeless>) {
    let (mut is_unsupported, mut looked) = (false, Looked::default());
    while let Ok(first) = sockets.recv() {
        std::thread::sleep(COLLECTED);
        // An event may have waited since before a reload, or for a daemon to start: what was forbidden then may pass now.
        let live = view.live_generation().ok().filter(|live| *live > earlier);
        let all = std::iter::once(first).chain(sockets.try_iter().take(ROOM));
        let begin = Instant::now();
        looked.tidy(begin);
        let cookies: HashSet<u64> = all
            .filter(|it| Some(it.generation) == live && looked.is_due(it.cookie, begin))
            .map(|it| it.cookie)
            .collect();
        if is_unsupported || cookies.is_empty() {
            // Under a flood from sockets that were looked for: to go through its events each time would take a processor.
            std::thread::sleep(COLLECTED.saturating_mul(RESTS));
            continue;
        }
        looked.look(&cookies, begin);
        match sockets::close_by_cookie(&cookies) {
            Ok(done) => {
                if done.closed > 0 {
                    debug!("closed {} local sockets whose packets are dropped", done.closed);
                }
                if let Some((flow, error)) = done.refused.first() {
                    warn!("the socket {} whose packets are dropped can't be closed: {error}", flow.local);
                }
            }
            Err(error) => {
                is_unsupported = matches!(error, CloseError::Unsupported);
                warn!("local sockets whose packets are dropped can't be closed: {error}");
            }
        }
        std::thread::sleep(begin.elapsed().saturating_mul(RESTS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_socket_of_which_no_packet_can_pass_is_hopeless() {
        let forbidden = FlowKey {
            hook: Hook::Egress as u8,
            verdict: Verdict::Drop as u8,
            reason: Reason::Forbidden as u8,
            ..FlowKey::default()
        };
        let record = FlowRecord { cookie: 7, generation: 3, ..FlowRecord::default() };
        assert_eq!(Hopeless::of(&forbidden, &record), Some(Hopeless { cookie: 7, generation: 3 }));
        assert_eq!(Hopeless::of(&forbidden, &FlowRecord::default()), None, "no socket sent it");
        for other in [
            FlowKey { hook: Hook::Ingress as u8, ..forbidden },
            FlowKey { verdict: Verdict::Flag as u8, ..forbidden },
            FlowKey { verdict: Verdict::Observe as u8, ..forbidden },
            FlowKey { reason: Reason::NoTables as u8, ..forbidden },
            FlowKey { reason: Reason::ExemptionExhausted as u8, ..forbidden },
            FlowKey { reason: Reason::FailsafeExhausted as u8, ..forbidden },
        ] {
            assert_eq!(Hopeless::of(&other, &record), None, "{other:?}");
        }
    }
    #[test]
    fn a_socket_that_can_t_be_closed_is_looked_for_ever_less() {
        let (mut looked, mut now, mut looks) = (Looked::default(), Instant::now(), Vec::new());
        let begin = now;
        while now < begin + Duration::from_secs(400) {
            looked.tidy(now);
            if looked.is_due(7, now) {
                looked.look(&HashSet::from([7]), now);
                looks.push(now.duration_since(begin).as_secs());
            }
            now += Duration::from_millis(100);
        }
        assert_eq!(looks, [0, 1, 3, 7, 15, 31, 63, 127, 191, 255, 319, 383]);
        // Another one is looked for at once, and this one too after nobody has asked for it.
        assert!(looked.is_due(8, now));
        looked.tidy(now + 3 * LONGEST);
        assert!(looked.0.is_empty());
        looked.look(&(0..=ROOM as u64).collect(), now);
        looked.tidy(now);
        assert!(looked.0.is_empty(), "it stays small");
    }
}
