//! Explanations: their words, and captures of any content.

mod captures;
mod quoted;
mod told;
