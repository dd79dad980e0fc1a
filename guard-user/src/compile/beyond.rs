//! What a policy selects on a host beyond the room that the tables have.

use super::classes::Beyond;
use super::{HostFacts, cgroups, interfaces};
use crate::config::policy::Policy;

/// What this policy selects on this host beyond the tables' room.
#[must_use]
pub fn beyond(policy: &Policy, host: &HostFacts) -> Vec<Beyond> {
    let all = [interfaces::beyond(&policy.pins, host), cgroups::beyond(&policy.pins, host)];
    all.into_iter().flatten().collect()
}
