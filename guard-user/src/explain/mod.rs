//! Why a packet passes or not, step by step and in plain words.
//!
//! What is told is what [`guard_common::decide::decide`] did: the function that the kernel runs, over the
//! same tables, with a listener at each of its steps. Words are made of the checked config afterwards, and
//! change nothing.
//!
//! - [`flow`] makes a packet of what a person says of it, [`capture`] reads frames from a file.
//! - [`Explainer`] holds one generation of tables, and makes an [`Explanation`] of each packet.
//! - [`trace`] keeps what the decision says at its steps.
//! - [`words`] tells a decision, [`selectors`] why a pin matches and [`places`] where an address is.
//! - [`Flow`] is what an event says of a packet, and [`Judged`] what is decided for one, without words.
//! - [`frames`] judges a whole capture, and [`kernel_copy`] has the kernel judge it as well.

mod bit_set;
mod call;
pub mod capture;
mod country;
mod explainer;
mod explanation;
pub mod flow;
pub mod frames;
mod judged;
pub mod kernel_copy;
mod live;
mod places;
mod recorded;
mod selectors;
mod surroundings;
#[cfg(test)]
mod tests;
mod trace;
mod words;

pub use explainer::{ExplainError, Explainer, NamedExemption, Quotas, came_in_by, leaves_by};
pub use explanation::Explanation;
pub use judged::{Decided, Judged};
pub use recorded::Flow;
pub use surroundings::Surroundings;
pub use words::Step;
