//! An order that the store is to lift by a signed document.

use std::sync::Arc;

use jiff::Timestamp;

use crate::approval::Signature;
use crate::audit::Who;
use crate::config::policy::Policy;
use crate::store::Target;

/// An order that is to be lifted, with the document that says so.
#[derive(Debug)]
pub struct LiftJob {
    /// What the order covers.
    pub target: Target,
    /// The latest time that is known, as for a load.
    pub latest: Timestamp,
    /// The order's reference; `None` where there is one alone.
    pub order: Option<String>,
    /// Why.
    pub why: String,
    /// The document's bytes.
    pub bytes: Vec<u8>,
    /// The signatures over them.
    pub signatures: Vec<Signature>,
    /// Who asks for it.
    pub who: Who,
    /// Whether nothing is to be changed.
    pub dry_run: bool,
    /// The policy that is live.
    pub policy: Arc<Policy>,
}
