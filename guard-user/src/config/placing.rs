//! Where networks are by a policy's sites and the database in force.

use std::fmt;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use super::jurisdiction_set::JurisdictionSet;

type Places = dyn Fn(&[IpNetwork]) -> Option<JurisdictionSet> + Send + Sync;

/// Says where networks are, once tables were made of a policy. It is no part of the policy: two are the same whatever it says.
#[derive(Clone, Default)]
pub struct Placing(Option<Arc<Places>>);

impl Placing {
    /// By what is laid over each other.
    pub fn new(places: impl Fn(&[IpNetwork]) -> Option<JurisdictionSet> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(places)))
    }

    /// Where these are; `None` where no database was read with the policy, where some are placed by an IPv4 address in them, and of
    /// no networks.
    #[must_use]
    pub fn of(&self, networks: &[IpNetwork]) -> Option<JurisdictionSet> {
        let places = self.0.as_ref().filter(|_| !networks.is_empty())?;
        places(networks)
    }
}

impl fmt::Debug for Placing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Placing(known)" } else { "Placing(unknown)" })
    }
}

impl PartialEq for Placing {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Placing {}
