//! Packets of a local socket that a rule of the host has given another source, or another port of their destination: judged by
//! the socket's own end too.

use guard_common::abi::{Hook, PolicyTable, dimension};
use guard_common::decide;
use guard_common::packet::{Layer, Parsed};

use crate::decision::{EXEMPTABLE, borderguard_judge};
use crate::generation::Generation;
use crate::hooks::Source;
use crate::scratch::{self, Scratch};

/// What tells a sender by its end.
const BY_END: u32 = dimension::SOURCE | dimension::PORT | dimension::HOST | dimension::REMOTE_PORT;

/// Judges the packet in the scratch of this number by its socket's own end as well, where it has another one; `judged` is what
/// [`borderguard_judge`] answered of it as it is. Where that finds a pin, the packet is told with its socket's end.
#[inline(always)]
pub fn judge<S: Source>(
    (number, hook): (u32, Hook),
    generation: Generation,
    source: &S,
    policy: &PolicyTable,
    scratch: &mut Scratch,
    judged: u32,
) -> u32 {
    if hook as u8 != Hook::Egress as u8
        || policy.dimensions & BY_END == 0
        || scratch.parsed != Parsed::Ip.code()
        // The kernel gives the socket of a test run the addresses that it reads behind an Ethernet header, also where none is.
        || scratch::judges_test_runs()
    {
        return judged;
    }
    let Some(end) = source.own_end(&scratch.packet.layers[0]) else { return judged };
    if decide::is_sent_from(&scratch.packet, &end) {
        return judged;
    }
    scratch.written = scratch.outcome;
    scratch.error = scratch.packet.layers[0];
    let outermost = &mut scratch.packet.layers[0];
    outermost.src = end.address;
    if outermost.flags & Layer::HAS_PORTS != 0 {
        if end.port != 0 {
            outermost.sport = end.port;
        }
        // Where it goes is told by the packet: the port alone is what a pin may know it by.
        if end.peer != 0 {
            outermost.dport = end.peer;
        }
    }
    borderguard_judge(number, generation.live.0);
    if scratch.outcome.tag & !scratch.written.tag == 0 {
        scratch.outcome = scratch.written;
        scratch.packet.layers[0] = scratch.error;
        return judged;
    }
    scratch.outcome = decide::together(&scratch.written, &scratch.outcome);
    if scratch.outcome.exemptable != 0 { EXEMPTABLE } else { 0 }
}
