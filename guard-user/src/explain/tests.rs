//! Explanations: their words, and captures of any content.

mod calls;
mod captures;
mod quoted;
mod told;
