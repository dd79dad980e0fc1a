//! What is kept of egress that no pin tags.

use guard_common::abi::{Place, Side, UntaggedKey, UntaggedRecord};
use guard_common::jurisdiction::Jurisdiction;

use super::counts::{UntaggedCount, UntaggedFlow};
use super::elements::{each, each_count};
use super::plain::read;
use super::{KernelError, View};

impl View {
    /// Egress that no pin tags, by jurisdiction. Where nothing went is left out.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the map can't be read.
    pub fn untagged(&self) -> Result<Vec<UntaggedCount>, KernelError> {
        let mut rows = Vec::new();
        each_count(&self.maps.untagged, "UNTAGGED", |key, count| {
            let index = read::<u32>(key).and_then(|index| u8::try_from(index).ok());
            rows.extend(
                index
                    .and_then(Jurisdiction::from_index)
                    .map(|jurisdiction| UntaggedCount { jurisdiction, count }),
            );
        })?;
        Ok(rows)
    }

    /// The flows without a pin that sent most bytes, at most `most`, those with most bytes first. The kernel keeps them
    /// while the policy observes.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the map can't be read.
    pub fn untagged_flows(&self, most: usize) -> Result<Vec<UntaggedFlow>, KernelError> {
        let mut flows = Vec::new();
        each(&self.maps.untagged_flows, "UNTAGGED_FLOWS", |key, value| {
            let key = read::<UntaggedKey>(key);
            flows
                .extend(key.zip(read::<UntaggedRecord>(value)).and_then(|(key, record)| flow(&key, &record)));
        })?;
        flows.sort_by_key(|flow| std::cmp::Reverse((flow.count.bytes, flow.peer)));
        flows.truncate(most);
        Ok(flows)
    }
}

fn flow(key: &UntaggedKey, record: &UntaggedRecord) -> Option<UntaggedFlow> {
    Some(UntaggedFlow {
        peer: key.peer.into(),
        place: Place(key.place),
        protocol: key.proto,
        side: Side::from_index(key.side)?,
        port: key.port,
        ifindex: key.ifindex,
        cgroup: key.cgroup,
        process: record.process,
        count: record.count,
    })
}
