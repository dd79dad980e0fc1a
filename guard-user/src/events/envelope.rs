//! What every line of the log says besides what it is of: where it is from, and its number.

use std::sync::Arc;

use jiff::Timestamp;

use crate::hostname::hostname;

/// The version of the lines' form. It rises when a key changes its meaning or goes; new keys may come without that.
pub const SCHEMA: u32 = 1;
/// The product that lines name.
pub const PRODUCT: &str = "Border Guard";
/// The product's version that lines name.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where a line is from, and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Name of the host.
    pub host: Arc<str>,
    /// When the daemon started: one run of it is one stream of lines.
    pub session: Timestamp,
    /// The line's number in the stream, from 1 and without a gap; `None` outside the log.
    pub sequence: Option<u64>,
}

impl Envelope {
    /// Of an event that is shown outside the log, of the daemon that started then.
    #[must_use]
    pub fn outside(session: Timestamp) -> Self {
        Self { host: hostname().into(), session, sequence: None }
    }

    /// Names an event for good, among those of all hosts.
    pub(super) fn uid(&self, id: u64) -> String {
        format!("{}/{}/{id}", self.host, self.session)
    }
}
