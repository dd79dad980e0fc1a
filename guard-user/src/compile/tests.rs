//! The decision over compiled tables against the decision over the policy itself.

mod differential;
mod examples;
pub(crate) mod generate;
pub(crate) mod packets;
pub(crate) mod reference;
