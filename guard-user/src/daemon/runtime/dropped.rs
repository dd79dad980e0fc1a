//! The worker that closes the local sockets of flows that the kernel drops, so that whoever uses one learns it at once
//! and does not hang until it times out.
//!
//! No verdict depends on it. Under a flood of forbidden flows it closes what it has time for: the others hang, as all
//! did without it. Sockets of other network namespaces, as of containers, are not this one's to close.

use std::collections::HashSet;
use std::io;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use guard_common::abi::{FlowKey, Hook};
use guard_common::verdict::{Reason, Verdict};
use tracing::{debug, warn};

use crate::kernel::sockets::{self, CloseError, Flow};

/// Flows that wait to be closed.
const ROOM: usize = 4096;
/// How long it collects flows before it looks for their sockets: a look goes through all sockets of the host.
const COLLECTED: Duration = Duration::from_millis(10);
/// How much longer than a look it rests after one, so that it takes no more of a processor than a part.
const RESTS: u32 = 4;

/// The way to it. It ends with its last handle.
#[derive(Clone)]
pub(super) struct Dropped(SyncSender<Flow>);

impl Dropped {
    /// Starts it in the network namespace of the calling thread.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub(super) fn start() -> io::Result<Self> {
        let (sender, flows) = mpsc::sync_channel(ROOM);
        std::thread::Builder::new().name("dropped".to_owned()).spawn(move || work(&flows))?;
        Ok(Self(sender))
    }

    /// Has the socket closed that sends this flow, if it is one of which every packet is dropped. It never waits.
    pub(super) fn seen(&self, key: &FlowKey) {
        let Some(flow) = Flow::of(key).filter(|_| is_hopeless(key)) else { return };
        // Where there is no room the flow is dropped all the same; its next event asks again.
        let _full = self.0.try_send(flow);
    }
}

/// Whether no packet of a flow can pass as long as config and database are as they are. What is dropped for want of
/// something, or as it can't be read, may pass the next moment; what an exemption carried is closed with it.
fn is_hopeless(key: &FlowKey) -> bool {
    key.hook == Hook::Egress as u8
        && key.verdict == Verdict::Drop as u8
        && key.reason == Reason::Forbidden as u8
}

fn work(flows: &Receiver<Flow>) {
    let mut is_unsupported = false;
    while let Ok(first) = flows.recv() {
        std::thread::sleep(COLLECTED);
        let all: HashSet<Flow> = std::iter::once(first).chain(flows.try_iter().take(ROOM)).collect();
        if is_unsupported {
            continue;
        }
        let begin = Instant::now();
        match sockets::close(all) {
            Ok(done) => {
                if done.closed > 0 {
                    debug!("closed {} local sockets of flows that are dropped", done.closed);
                }
                if let Some((flow, error)) = done.refused.first() {
                    warn!("the socket {} of a flow that is dropped can't be closed: {error}", flow.local);
                }
            }
            Err(error) => {
                is_unsupported = matches!(error, CloseError::Unsupported);
                warn!("local sockets of flows that are dropped can't be closed: {error}");
            }
        }
        std::thread::sleep(begin.elapsed().saturating_mul(RESTS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_packet_of_can_pass_is_hopeless() {
        let forbidden = FlowKey {
            hook: Hook::Egress as u8,
            verdict: Verdict::Drop as u8,
            reason: Reason::Forbidden as u8,
            ..FlowKey::default()
        };
        assert!(is_hopeless(&forbidden));
        for other in [
            FlowKey { hook: Hook::Ingress as u8, ..forbidden },
            FlowKey { verdict: Verdict::Flag as u8, ..forbidden },
            FlowKey { verdict: Verdict::Observe as u8, ..forbidden },
            FlowKey { reason: Reason::NoTables as u8, ..forbidden },
            FlowKey { reason: Reason::ExemptionExhausted as u8, ..forbidden },
        ] {
            assert!(!is_hopeless(&other), "{other:?}");
        }
    }
}
