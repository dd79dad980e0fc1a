//! Canaries: frames that the daemon sends now and then, which a pin forbids, to see that what should become of them does.
//!
//! `plan` says which are to be sent, from the config and what it stands for on this host; `packet` makes them; `sent` has
//! those that were sent, for what sees one on its way.

mod packet;
mod plan;
mod sent;
#[cfg(test)]
mod tests;

pub use packet::{Flow, packet};
pub use plan::{Guarded, Planned, Sender, any_sender, plan, senders};
pub use sent::{Seen, Sent, Written};

/// A canary's number as people and programs read it: 16 hexadecimal digits.
#[must_use]
pub fn name(number: u64) -> String {
    format!("{number:016x}")
}

/// The number of this name.
#[must_use]
pub fn number(name: &str) -> Option<u64> {
    let is_name = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_name.then(|| u64::from_str_radix(name, 16).ok()).flatten()
}
