//! The worker that closes local sockets of flows that are cut, so that their users see an end and not a hang.
//! Enforcement does not wait for it: what fails is logged, and the flow is cut all the same.

use std::io;

use guard_common::abi::{FlowKey, Hook};
use guard_common::packet::Addr;
use tokio::sync::mpsc::UnboundedSender;

use super::queue::{Receiver, Sender, Urgency, queue};
use crate::daemon::engine::{Cut, Input, is_cut};
use crate::kernel::View;
use crate::kernel::sockets::{self, Flow, Transport};

/// IANA protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;

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

/// Closes, or only counts, the sockets whose flow is cut. It goes by this host's sockets and looks each up among
/// the flow records, of which a storm of packets may have filled tens of thousands.
fn close(view: &View, cut: &Cut, problems: &mut Vec<String>) -> usize {
    let flows = match view.flows() {
        Ok(flows) => flows,
        Err(error) => {
            problems.push(error.to_string());
            return 0;
        }
    };
    let met: Vec<Flow> = flows.iter().filter(|(key, record)| is_cut(cut, key, record)).filter_map(|(key, _)| flow(key)).collect();
    let count = met.len();
    if cut.count_only || count == 0 { return count; }
    match sockets::close(met) {
        Ok(closed) => {
            if closed.closed > 0 { tracing::info!("closed {} local sockets of flows that are cut", closed.closed); }
        }
        Err(error) => problems.push(error.to_string()),
    }
    count
}

fn flow(key: &FlowKey) -> Option<Flow> {
    let transport = match key.proto { TCP => Transport::Tcp, UDP => Transport::Udp, _ => return None };
    let ip = |a: Addr| std::net::Ipv6Addr::from_bits(u128::from(a.hi) << 64 | u128::from(a.lo)).to_canonical();
    Some(Flow { transport, local: std::net::SocketAddr::new(ip(key.src), key.sport), remote: std::net::SocketAddr::new(ip(key.dst), key.dport) })
}
