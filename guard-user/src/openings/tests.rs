//! What is said to open, against the decision itself.

mod examples;
mod mutation;
mod oracle;
mod point;
mod speed;
