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
    let all = match sockets::list() {
        Ok(all) => all,
        Err(error) => {
            problems.push(error.to_string());
            return 0;
        }
    };
    let mut met = 0;
    for (flow, socket) in all {
        let key = key_of(&flow);
        match view.flow(&key) {
            Ok(Some(record)) if is_cut(cut, &key, &record) => {}
            Ok(_) => continue,
            Err(error) => {
                problems.push(format!("the flows to be cut can't be read, so their sockets stay open: {error}"));
                return met;
            }
        }
        met += 1;
        if cut.count_only {
            continue;
        }
        if let Err(error) = sockets::destroy(&socket) {
            problems.push(format!("the socket {} of a cut flow can't be closed: {error}", flow.local));
        }
    }
    if met > 0 && !cut.count_only {
        tracing::info!("closed {} local sockets of flows that are cut", met - problems.len().min(met));
    }
    met
}

/// The key of the flow's record at egress.
fn key_of(flow: &Flow) -> FlowKey {
    FlowKey {
        src: address(flow.local.ip()),
        dst: address(flow.remote.ip()),
        sport: flow.local.port(),
        dport: flow.remote.port(),
        proto: match flow.transport {
            Transport::Tcp => TCP,
            Transport::Udp => UDP,
        },
        hook: Hook::Egress as u8,
        pad: [0; 2],
    }
}

fn address(address: std::net::IpAddr) -> Addr {
    match address.to_canonical() {
        std::net::IpAddr::V4(address) => Addr::from_v4(address.to_bits()),
        std::net::IpAddr::V6(address) => {
            let bits = address.to_bits();
            Addr { hi: (bits >> 64) as u64, lo: bits as u64 }
        }
    }
}
