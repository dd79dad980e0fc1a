//! `borderguard top`: what the guard does now, on a terminal.
//!
//! The state and what is drawn of it are pure: [`State::update`](state::State::update) takes what came in, and
//! [`draw`](draw::draw) draws a frame. The loop in [`terminal`] only carries inputs and frames to and fro.

mod cell;
pub mod draw;
mod health;
mod layout;
mod overview;
pub mod state;
mod table;
mod tables;
pub mod terminal;
#[cfg(test)]
mod tests;
pub mod theme;
