//! What the daemon shows, as it goes on: its status again and again, and its events as they come, over the control socket
//! with the rights of whoever runs this.

pub mod event;
pub mod feed;
pub mod known;
pub mod rates;
#[cfg(test)]
pub(crate) mod sample;
pub mod sums;
