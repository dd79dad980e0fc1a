//! What is said to open, against the decision itself.

mod examples;
mod oracle;
