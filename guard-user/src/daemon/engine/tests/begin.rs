//! How a test's daemon begins: with a store, and with what the kernel has.

use std::path::{Path, PathBuf};

use super::super::{Action, Begin, Engine, SignedFile, daemon};
use super::inputs::prepared;
use super::world::World;
use crate::daemon::runtime;
use crate::exemption::Clocks;
use crate::kernel::Kernel;
use crate::kernel::memory::MemoryKernel;
use crate::store::tests::model::ModelDisk;
use crate::store::{Store, StoreError};

/// Opens the store as the daemon does.
pub(super) fn opened(disk: &ModelDisk, is_anew: bool) -> Result<Store, StoreError> {
    let mut store = disk.try_open()?;
    runtime::store::make_ready(&mut store, is_anew)?;
    Ok(store)
}

/// A store that could not be opened.
pub(super) fn closed(error: &StoreError) -> Store {
    Store::closed(Path::new("state"), error)
}

/// A daemon that takes over what the kernel has, by a config that these have signed.
pub(super) fn begin(
    (config, signed): (&'static str, &[SignedFile]),
    kernel: &MemoryKernel,
    store: &Store,
    now: Clocks,
) -> (Engine, Vec<Action>) {
    let mut kernel = kernel.clone();
    let mut prepared = prepared(config).unwrap();
    prepared.held.signed = signed.to_vec();
    let begin = Begin {
        config_file: PathBuf::from("policy.toml"),
        prepared,
        kept: store.kept(),
        counts: store.kept().is_usable().then(|| store.pin_counts().unwrap()),
        generation: kernel.generation(),
        refused_bypass: kernel.refuses_bypass(),
        held: kernel.held().unwrap(),
        ended: kernel.ended(now.boot_ns).unwrap(),
        volume_slots: kernel.volume_slots().unwrap(),
        daemon: daemon(None),
        named_before: None,
        guarded_until: None,
        left_unconfirmed: store.reader().and_then(|reader| reader.unconfirmed()).ok().flatten(),
        latest: {
            let time = kernel.marks().0.latest(now.boot_ns);
            time.map(|it| jiff::Timestamp::from_nanosecond(it.into()).unwrap())
        },
    };
    Engine::new(begin, now)
}

impl World {
    /// Opens the store again, as the worker does that has a closed one; whether it could.
    pub(super) fn opens_again(&mut self) -> bool {
        let Ok(store) = opened(&self.disk, self.is_anew) else { return false };
        let before = std::mem::replace(&mut self.store, store);
        self.store.take_orders_of(&before.kept());
        true
    }
}
