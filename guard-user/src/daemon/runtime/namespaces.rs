//! Looks at other network namespaces of the host now and then, on a thread of its own that nobody waits for.

use std::io;
use std::thread::{self, Builder};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use crate::daemon::engine::{Input, Surroundings};
use crate::kernel::Elsewhere;

/// From the end of one look to the begin of the next.
const PERIOD: Duration = Duration::from_secs(10);
/// How long one may take.
const AT_MOST: Duration = Duration::from_secs(2);

/// Begins to look, until nobody takes what is found.
///
/// # Errors
/// Where no thread can be had.
pub(super) fn start(inputs: UnboundedSender<Input>) -> io::Result<()> {
    Builder::new().name("namespaces".to_owned()).spawn(move || watch(&inputs)).map(drop)
}

fn watch(inputs: &UnboundedSender<Input>) {
    let mut before = Elsewhere::default();
    loop {
        let found = look();
        if found != before {
            before = found.clone();
            if inputs.send(Input::Surroundings(Surroundings::Elsewhere(found))).is_err() {
                return;
            }
        }
        if inputs.is_closed() {
            return;
        }
        thread::sleep(PERIOD);
    }
}

/// On a thread of its own, for that is in another namespace then.
fn look() -> Elsewhere {
    let unseen = |why: String| Elsewhere { unseen: Some(why), ..Elsewhere::default() };
    let looks = Builder::new().name("namespaces".to_owned()).spawn(|| Elsewhere::look(AT_MOST));
    match looks.map(thread::JoinHandle::join) {
        Ok(Ok(Ok(found))) => found,
        Ok(Ok(Err(error))) => unseen(format!("they can't be looked at: {error}")),
        Ok(Err(_)) => unseen("the thread that looks at them has ended".to_owned()),
        Err(error) => unseen(format!("no thread can be had to look at them: {error}")),
    }
}
