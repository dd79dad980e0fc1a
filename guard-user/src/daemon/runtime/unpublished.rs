//! What a start after a boot is granted of quotas before it has published anything: where it fails, nothing passed by that.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tracing::warn;

use super::patience::{disk, within};
use crate::store::{Store, StoreError};

/// Gives back what was granted where it is dropped with a folder. Else each start that fails would cost every quota a slice, which
/// the next one takes for what passed before the host went down. It has to be dropped after the store, which is locked until then.
#[derive(Default)]
pub(super) struct Unpublished {
    /// The folder of a store that was made ready for a kernel without tables; `None` once something may be published by it.
    pub(super) state: Option<PathBuf>,
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        let Some(state) = self.state.take() else { return };
        let given_back = within(disk(), "give-back", move || give_back(&state, Timestamp::now()));
        let given_back = given_back.map_err(|error| error.to_string());
        if let Err(error) = given_back.and_then(|it| it.map_err(|error| error.to_string())) {
            warn!("what this start was granted of quotas can't be given back, and counts as used: {error}");
        }
    }
}

/// The kernel has counted nothing since this store was made ready for it.
fn give_back(state: &Path, now: Timestamp) -> Result<(), StoreError> {
    Store::open(state)?.counters_end(&[], now)
}

#[cfg(test)]
mod tests {
    use super::super::store::make_ready;
    use super::*;
    use crate::store::tests::{load, named};

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_start_that_fails_costs_no_slice_of_a_quota() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let text = named("a", 1).replace("1_000_000", &(4 * GIB).to_string());
        load(&mut Store::open(&state).unwrap(), &text).unwrap();
        // The host goes down; then starts fail before they have published, and at last one does not.
        for is_published in [false, false, false, true] {
            let mut unpublished = Unpublished::default();
            let mut store = Store::open(&state).unwrap();
            make_ready(&mut store, true).unwrap();
            assert_eq!(store.kept().list(Timestamp::now())[0].used_bytes, GIB / 2);
            unpublished.state = (!is_published).then(|| state.clone());
        }
        let mut store = Store::open(&state).unwrap();
        make_ready(&mut store, true).unwrap();
        assert_eq!(
            store.kept().list(Timestamp::now())[0].used_bytes,
            GIB,
            "what was granted may have passed"
        );
    }
}
