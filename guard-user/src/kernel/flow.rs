//! Single flow records, without a copy of all of them.

use std::io;

use guard_common::abi::{FlowKey, FlowRecord};

use super::plain::{bytes_of, read};
use super::{KernelError, View};

impl View {
    /// The record of this flow; `None` where the kernel has none, or has it no more: the oldest make room for new
    /// ones.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the map can't be read.
    pub fn flow(&self, key: &FlowKey) -> Result<Option<FlowRecord>, KernelError> {
        let mut bytes = [0; size_of::<FlowRecord>()];
        match self.maps.flows.lookup(bytes_of(key), &mut bytes) {
            Ok(()) => Ok(read(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(KernelError::Map { what: "read", map: "FLOWS", source }),
        }
    }

    /// The flow records that are wanted, in no order. Takes time in proportion to all records, of which there are at
    /// most 65,536, and memory in proportion to those that are wanted.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the map can't be read.
    pub fn flows_that(
        &self,
        mut is_wanted: impl FnMut(&FlowKey, &FlowRecord) -> bool,
    ) -> Result<Vec<(FlowKey, FlowRecord)>, KernelError> {
        let mut wanted = Vec::new();
        let walked = self.maps.flows.for_each(|key, value| {
            let flow = read::<FlowKey>(key).zip(read::<FlowRecord>(value));
            wanted.extend(flow.filter(|(key, record)| is_wanted(key, record)));
        });
        walked.map_err(|source| KernelError::Map { what: "read", map: "FLOWS", source })?;
        Ok(wanted)
    }
}
