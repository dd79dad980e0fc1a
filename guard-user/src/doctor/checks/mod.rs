//! What each check looks at. None changes anything.

pub(super) mod devices;
pub(super) mod guard;
pub(super) mod kernel;
pub(super) mod namespaces;
pub(super) mod packets;
pub(super) mod sockets;

use super::finding::{Finding, Unknown};

/// What a check gives.
pub(super) type Looked = Result<Finding, Unknown>;

/// Names that a line of evidence has; JSON has no more.
const SHOWN: usize = 8;

/// Names as a line shows them.
fn listed(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
