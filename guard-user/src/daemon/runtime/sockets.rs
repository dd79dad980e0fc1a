//! The worker that closes local sockets of flows that are cut, so that their users see an end and not a hang.
//! Enforcement does not wait for it: what fails is logged, and the flow is cut all the same.

use std::collections::HashSet;
use std::io;

use tokio::sync::mpsc::UnboundedSender;

use super::queue::{Receiver, Urgency};
use super::worker;
use crate::daemon::engine::{Cut, Input, is_cut, may_be_cut};
use crate::kernel::View;
use crate::kernel::sockets::{self, Flow};

/// The way to the worker.
pub(super) struct Worker(worker::Worker<Cut>);

impl Worker {
    /// Starts it over a view of its own.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub(super) fn start(view: View, inputs: UnboundedSender<Input>) -> io::Result<Self> {
        worker::Worker::start("sockets", move |jobs| work(&view, &jobs, &inputs)).map(Self)
    }

    pub(super) fn put(&self, cut: Cut) {
        self.0.put(cut, Urgency::Ordinary);
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
    if cut.count_only {
        return flows_of(view, cut, problems).len();
    }
    // The sockets first: the cut waits for this, they are few where flow records may be 65,536, and where none of
    // them leads to a recipient, no record need be read.
    let listed = sockets::list().map(|mut all| {
        all.retain(|(flow, _)| may_be_cut(cut, flow));
        all
    });
    if listed.as_ref().is_ok_and(Vec::is_empty) {
        return 0;
    }
    let flows = flows_of(view, cut, problems);
    if flows.is_empty() {
        return 0;
    }
    match listed.and_then(|listed| sockets::close_listed(&listed, &flows)) {
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
    flows.len()
}

/// The flows that are cut, by the kernel's records.
fn flows_of(view: &View, cut: &Cut, problems: &mut Vec<String>) -> HashSet<Flow> {
    // A flow can have several records, one for each judgement.
    let mut flows = HashSet::new();
    let walked = view.for_each_flow(&mut |key, record| {
        flows.extend(Flow::of(&key).filter(|_| is_cut(cut, &key, &record)));
    });
    if let Err(error) = walked {
        problems.push(format!("the flows to be cut can't be read, so their sockets stay open: {error}"));
        flows.clear();
    }
    flows
}
