//! The worker that closes local sockets of flows that are cut, so that their users see an end and not a hang.
//! Enforcement does not wait for it: what fails is logged, and the flow is cut all the same.

use std::collections::HashSet;
use std::io;

use tokio::sync::mpsc::UnboundedSender;

use super::queue::{Receiver, Sender, Urgency, queue};
use crate::daemon::engine::{Cut, Input, is_cut};
use crate::kernel::View;
use crate::kernel::sockets::{self, Flow};

/// The way to the worker; dropped, it ends the worker.
pub(super) struct Worker {
    jobs: Sender<Cut>,
}

impl Worker {
    /// Starts it over a view of its own.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub(super) fn start(view: View, inputs: UnboundedSender<Input>) -> io::Result<Self> {
        let (jobs, receiver) = queue();
        std::thread::Builder::new()
            .name("sockets".to_owned())
            .spawn(move || work(&view, &receiver, &inputs))?;
        Ok(Self { jobs })
    }

    pub(super) fn put(&self, cut: Cut) {
        self.jobs.put(cut, Urgency::Ordinary);
    }
}

fn work(view: &View, jobs: &Receiver<Cut>, inputs: &UnboundedSender<Input>) {
    while let Some(cut) = jobs.take() {
        let mut problems = Vec::new();
        let flows = close(view, &cut, &mut problems);
        if inputs.send(Input::SocketsClosed { id: cut.id, flows, problems }).is_err() {
            return;
        }
    }
}

/// Closes, or only counts, the sockets of the flows that are cut.
fn close(view: &View, cut: &Cut, problems: &mut Vec<String>) -> usize {
    // A flow can have several records, one for each judgement.
    let mut flows = HashSet::new();
    let walked = view.for_each_flow(&mut |key, record| {
        flows.extend(Flow::of(&key).filter(|_| is_cut(cut, &key, &record)));
    });
    if let Err(error) = walked {
        problems.push(format!("the flows to be cut can't be read, so their sockets stay open: {error}"));
        return 0;
    }
    let count = flows.len();
    if cut.count_only || count == 0 {
        return count;
    }
    match sockets::close(flows) {
        Ok(closed) => {
            if closed.closed > 0 {
                tracing::info!("closed {} local sockets of flows that are cut", closed.closed);
            }
            let refused = closed.refused.iter();
            problems.extend(refused.map(|(flow, error)| {
                format!("the socket {} of a cut flow can't be closed: {error}", flow.local)
            }));
        }
        Err(error) => problems.push(error.to_string()),
    }
    count
}
