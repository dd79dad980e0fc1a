//! The engine on a kernel and a disk in memory.

mod closings;
mod cuts;
mod interfaces;
mod properties;
mod reloads;
mod world;
