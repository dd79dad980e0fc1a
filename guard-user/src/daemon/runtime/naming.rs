//! Names the holders of sockets, and finds those of files, that were open before the hooks were attached: once, on a thread
//! that ends with it.
//! Nobody waits for it, and a second one waits for the first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{info, warn};

use crate::kernel::{FoundCarriers, NamedSockets, View};

/// The way to it.
#[derive(Clone)]
pub(super) struct Naming(Arc<Mutex<View>>);

impl Naming {
    pub(super) fn over(view: View) -> Self {
        Self(Arc::new(Mutex::new(view)))
    }

    /// Begins to name sockets of processes below the cgroup of this folder.
    pub(super) fn begin(&self, below: PathBuf) {
        self.spawn("sockets that are open already are not named", move |view| {
            tell(&view.name_open_sockets(&below), &below);
        });
    }

    /// Begins to look for processes that have files open on these devices.
    pub(super) fn find_carriers(&self, devices: BTreeMap<u32, u64>) {
        self.spawn("who has files of volumes open already is NOT known", move |view| {
            tell_carriers(&view.find_carriers(&devices));
        });
    }

    fn spawn(&self, without: &str, work: impl FnOnce(&View) + Send + 'static) {
        let view = Arc::clone(&self.0);
        let work = move || work(&view.lock().unwrap_or_else(PoisonError::into_inner));
        if let Err(error) = std::thread::Builder::new().name("naming".to_owned()).spawn(work) {
            warn!("{without}, for no thread can be had: {error}");
        }
    }
}

fn tell_carriers(done: &FoundCarriers) {
    let FoundCarriers { found, refused } = done;
    info!("{found} processes have files of volumes open that were open before");
    if let Some((processes, error)) = refused {
        warn!("of {processes} processes it can't be seen whether they have files of volumes open: {error}");
    }
}

fn tell(done: &NamedSockets, below: &Path) {
    let NamedSockets { named, refused, is_cut_off } = done;
    info!(
        "noted who has {named} sockets open that were there before, of processes below {}",
        below.display()
    );
    if let Some((processes, error)) = refused {
        warn!(
            "sockets of {processes} processes can't be looked at, so that events do not name who has them: {error}"
        );
    }
    if *is_cut_off {
        warn!(
            "there are more open sockets than are looked at: of the others events do not name who has them"
        );
    }
}
