//! The decision over compiled tables against the decision over the policy itself.

mod differential;
mod examples;
mod generate;
mod reference;
