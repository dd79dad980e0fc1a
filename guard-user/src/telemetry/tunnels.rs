//! Outer ends of the flows in tunnels: an event has them, and a flow's record does not.

use std::collections::HashMap;

use guard_common::abi::{self, FlowKey};
use guard_common::packet::Addr;

/// Destination and source of the outermost layer, by flow, of events that came.
#[derive(Debug, Default)]
pub(super) struct Tunnels(HashMap<FlowKey, [Addr; 2]>);

impl Tunnels {
    /// Takes note of an event's.
    pub(super) fn note(&mut self, event: &abi::Event) {
        if event.record.layers > 1 {
            self.0.insert(event.key, [event.outer_dst, event.outer_src]);
        }
    }

    /// Those of a flow; none where no event of it came.
    pub(super) fn of(&self, key: &FlowKey) -> [Addr; 2] {
        self.0.get(key).copied().unwrap_or_default()
    }

    /// Forgets all but these flows.
    pub(super) fn keep(&mut self, is_kept: impl Fn(&FlowKey) -> bool) {
        self.0.retain(|key, _| is_kept(key));
        if self.0.capacity() > 4 * self.0.len().max(1024) {
            self.0.shrink_to(2 * self.0.len());
        }
    }
}
