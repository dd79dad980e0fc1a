//! Names the holders of sockets, and finds those of files, that were open before the hooks were attached: once, on a thread
//! that ends with it.
//! Nobody waits for it, and a second one waits for the first.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::UnboundedSender;
use tracing::{info, warn};

use crate::daemon::engine::{Input, Surroundings};
use crate::kernel::{FoundCarriers, NamedSockets, View};

/// The way to it.
#[derive(Clone)]
pub(super) struct Naming {
    view: Arc<Mutex<View>>,
    inputs: UnboundedSender<Input>,
}

impl Naming {
    pub(super) fn over(view: View, inputs: UnboundedSender<Input>) -> Self {
        Self { view: Arc::new(Mutex::new(view)), inputs }
    }

    /// Begins to name sockets of processes below the cgroup of this folder.
    pub(super) fn begin(&self, below: PathBuf) {
        let begun = self.spawn(move |view| tell(&view.name_open_sockets(&below), &below));
        if let Err(error) = begun {
            warn!("sockets that are open already are not named, for no thread can be had: {error}");
        }
    }

    /// Begins to look for processes that have files open on these devices.
    pub(super) fn find_carriers(&self, devices: BTreeMap<u32, u64>) {
        let inputs = self.inputs.clone();
        let begun = self.spawn(move |view| {
            let FoundCarriers { found, refused } = view.find_carriers(&devices);
            info!("{found} processes have files of volumes open that were open before");
            let refused = refused.map(|(processes, error)| {
                format!("of {processes} processes it can't be seen whether they have files of volumes open: {error}")
            });
            let _nobody_is_left = inputs.send(Input::Surroundings(Surroundings::Carriers(refused)));
        });
        if let Err(error) = begun {
            let why = format!(
                "who has files of volumes open already is not known, for no thread can be had: {error}"
            );
            let _nobody_is_left = self.inputs.send(Input::Surroundings(Surroundings::Carriers(Some(why))));
        }
    }

    fn spawn(&self, work: impl FnOnce(&View) + Send + 'static) -> io::Result<()> {
        let view = Arc::clone(&self.view);
        let work = move || work(&view.lock().unwrap_or_else(PoisonError::into_inner));
        std::thread::Builder::new().name("naming".to_owned()).spawn(work).map(drop)
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
