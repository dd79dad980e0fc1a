//! The decision over compiled tables against the decision over the policy itself.

mod addresses;
mod budgets;
mod differential;
mod early;
pub(crate) mod examples;
pub(crate) mod generate;
mod networks;
pub(crate) mod packets;
mod plain;
pub(crate) mod reference;
