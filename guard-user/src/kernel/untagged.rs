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

    /// What is kept of flows without a pin, in no order. The kernel adds to it while the policy observes.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the map can't be read.
    pub fn untagged_records(&self) -> Result<Vec<(UntaggedKey, UntaggedRecord)>, KernelError> {
        let mut flows = Vec::new();
        each(&self.maps.untagged_flows, "UNTAGGED_FLOWS", |key, value| {
            flows.extend(read::<UntaggedKey>(key).zip(read::<UntaggedRecord>(value)));
        })?;
        Ok(flows)
    }
}

impl UntaggedFlow {
    /// Of these, those that sent most bytes, at most `most`, the one with most bytes first.
    #[must_use]
    pub fn greatest(records: &[(UntaggedKey, UntaggedRecord)], most: usize) -> Vec<Self> {
        let mut flows: Vec<Self> = records.iter().filter_map(|(key, record)| flow(key, record)).collect();
        flows.sort_by_key(|flow| std::cmp::Reverse((flow.count.bytes, flow.peer)));
        flows.truncate(most);
        flows
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
