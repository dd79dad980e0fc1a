//! One canary that is sent again and again: when the next is due, and which stage the last has not reached.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::{Duration, Instant};

use guard_common::abi::{Process, SocketFacts};
use guard_common::verdict::{Reason, Verdict};

use crate::canary::{self, Planned, Sender, Sent};
use crate::health::{Problem, ProblemCode};
use crate::kernel::{OutgoingCanary, SentCanary, View};

/// How long the event of a canary may take to the log.
const LOGGED_WITHIN: Duration = Duration::from_secs(10);

/// A stage that a canary has to reach, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Sent,
    Judged,
    Counted,
    Logged,
    Returned,
}

impl Stage {
    const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Judged => "judged",
            Self::Counted => "counted",
            Self::Logged => "logged",
            Self::Returned => "returned",
        }
    }
}

/// What came of sending a canary, and what the kernel counts for its pin before and after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Launch {
    pub(super) sent: SentCanary,
    pub(super) counted: [u64; 2],
}

impl Launch {
    /// Sends one. `None` where the interface is down.
    pub(super) fn by(
        view: &View,
        (planned, sender): (&Planned, &Sender),
        number: u64,
    ) -> io::Result<Option<Self>> {
        let count = || view.canaries(planned.bit).map(|count| count.packets).map_err(io::Error::other);
        let mut facts = SocketFacts { maker: own(), ..SocketFacts::default() };
        if let (Some(party), Some(first)) = (sender.party, facts.parties.first_mut()) {
            *first = party;
        }
        let outgoing = OutgoingCanary {
            number,
            pin: planned.bit,
            ifindex: planned.interface.index,
            link: planned.interface.link,
            packet: canary::packet(&sender.flow, number),
            mark: sender.mark,
            facts,
            direction: sender.direction,
            volumes: sender.volumes,
        };
        let before = count()?;
        let Some(sent) = view.send_canary(&outgoing)? else { return Ok(None) };
        Ok(Some(Self { sent, counted: [before, count()?] }))
    }
}

/// The daemon, as an event names it.
fn own() -> Process {
    let mut command = [0; guard_common::abi::COMMAND_LEN];
    command.iter_mut().zip(b"borderguard").for_each(|(to, from)| *to = *from);
    let pid = std::process::id();
    let uid = rustix::process::getuid().as_raw();
    Process { pid, thread: pid, uid, command, ..Process::default() }
}

/// A canary that is on its way behind the kernel.
#[derive(Clone, Copy, Debug)]
struct OnItsWay {
    number: u64,
    since: Instant,
}

/// A canary that is sent again and again.
#[derive(Debug)]
pub(super) struct Watch {
    planned: Planned,
    next: Instant,
    on_its_way: Option<OnItsWay>,
    /// The stage that the last one did not reach, and what is known of it.
    fault: Option<(Stage, String)>,
}

impl Watch {
    pub(super) fn new(planned: Planned, first: Instant) -> Self {
        Self { planned, next: first, on_its_way: None, fault: None }
    }

    /// Whether it is of the same way of a pin, and of the same interface.
    pub(super) fn is_of(&self, planned: &Planned) -> bool {
        let key = |it: &Planned| (it.pin.clone(), it.way, it.interface.index);
        key(&self.planned) == key(planned)
    }

    /// The same by another plan. What comes more often than before is not waited for as long as before.
    pub(super) fn with(self, planned: Planned) -> Self {
        let next = self.next.min(Instant::now() + planned.every);
        Self { planned, next, ..self }
    }

    /// When there is something to look at.
    pub(super) fn next_look(&self, between: Duration) -> Instant {
        match self.on_its_way {
            Some(_) => self.next.min(Instant::now() + between),
            None => self.next,
        }
    }

    /// Sends the next one where it is due, and looks how far the last one has come.
    pub(super) fn look(
        &mut self,
        now: Instant,
        sent: &Sent,
        launch: impl Fn((&Planned, &Sender), u64) -> io::Result<Option<Launch>>,
    ) {
        self.follow(now, sent);
        if now < self.next {
            return;
        }
        self.next = now + self.planned.every;
        // One that has time left is not given up for the next: that one is sent when it has come, or has not.
        if self.on_its_way.is_some() {
            self.next = now + (self.planned.every / 10).max(Duration::from_millis(100));
            return;
        }
        let senders = match &self.planned.senders {
            Ok(senders) => senders,
            Err(why) => {
                self.fault = Some((Stage::Sent, format!("none can be made that it forbids: {why}")));
                return;
            }
        };
        for sender in senders {
            let number = number();
            sent.add(number, self.planned.pin.clone());
            let launched = match launch((&self.planned, sender), number) {
                Ok(Some(launched)) => launched,
                // Nothing leaves by an interface that is down.
                Ok(None) => {
                    self.fault = None;
                    return;
                }
                Err(error) => {
                    self.fault = Some((Stage::Sent, format!("the kernel refuses it: {error}")));
                    return;
                }
            };
            match self.fault_in_kernel(number, &launched) {
                None => {
                    self.on_its_way = Some(OnItsWay { number, since: now });
                    return;
                }
                Some(fault) => self.fault = Some(fault),
            }
            // A database may place this destination where the pin permits it: then the next one shows more.
            let outcome = launched.sent.noted.outcome;
            if launched.sent.noted.packets == 0 || outcome.denied >> self.planned.bit & 1 == 1 {
                return;
            }
        }
    }

    /// What is wrong with one that was sent, as far as the kernel tells.
    fn fault_in_kernel(&self, number: u64, launched: &Launch) -> Option<(Stage, String)> {
        let SentCanary { has_left, noted } = launched.sent;
        if noted.packets == 0 || noted.number != number {
            let why = match has_left {
                true => "no program of the guard judged it, and it has LEFT by the interface",
                false => "no program of the guard judged it; something else dropped it",
            };
            return Some((Stage::Judged, why.to_owned()));
        }
        let outcome = noted.outcome;
        let verdict = Verdict::from_index(outcome.verdict);
        let is_denied = outcome.denied >> self.planned.bit & 1 == 1;
        if !is_denied || verdict.is_none_or(|verdict| verdict < self.planned.at_least) {
            let verdict = verdict.map_or("unknown", Verdict::name);
            let reason = Reason::from_index(outcome.reason).map_or("unknown", Reason::name);
            let wanted = self.planned.at_least.name();
            return Some((
                Stage::Judged,
                format!(
                    "its verdict was {verdict} ({reason}) by generation {}, and not {wanted}",
                    noted.generation
                ),
            ));
        }
        if has_left {
            let why = "it was judged, and has LEFT by the interface all the same";
            return Some((Stage::Judged, why.to_owned()));
        }
        let [before, after] = launched.counted;
        (after != before + 1)
            .then(|| (Stage::Counted, format!("the kernel's count of its pin went from {before} to {after}")))
    }

    fn follow(&mut self, now: Instant, sent: &Sent) {
        let Some(OnItsWay { number, since }) = self.on_its_way else { return };
        let seen = sent.seen(number);
        let waited = now.saturating_duration_since(since);
        let fault = match (seen.line, self.planned.returned_within) {
            (true, None) => None,
            (true, Some(_)) if seen.returned => None,
            (true, Some(within)) if waited >= within => {
                let within = within.as_secs();
                let why = format!(
                    "it was written to the event log, and what collects that has not handed it back within {within} s"
                );
                Some((Stage::Returned, why))
            }
            (false, _) if waited >= LOGGED_WITHIN => {
                let within = LOGGED_WITHIN.as_secs();
                let what = match seen.event {
                    true => "its line was not written to the event log",
                    false => "its event was not taken from the kernel",
                };
                Some((Stage::Logged, format!("{what} within {within} s")))
            }
            _ => return,
        };
        self.fault = fault;
        self.on_its_way = None;
    }

    /// What is wrong, if anything.
    pub(super) fn problem(&self) -> Option<Problem> {
        let (stage, why) = self.fault.as_ref()?;
        let Planned { pin, interface, .. } = &self.planned;
        let message = format!("the last canary at {} was not {}: {why}", interface.name, stage.name());
        Some(Problem::of(ProblemCode::CanaryMissing, &**pin, message))
    }
}

/// A number that no other canary has, never 0. It is no secret: the right to hand one back is what counts.
fn number() -> u64 {
    // Its keys come from the system's source of random numbers.
    RandomState::new().hash_one(std::process::id()).max(1)
}

#[cfg(test)]
mod tests;
