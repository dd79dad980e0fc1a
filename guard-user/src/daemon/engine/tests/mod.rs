//! The engine on a kernel and a disk in memory.

mod begin;
mod bypass;
mod calls;
mod closings;
mod cuts;
mod databases;
mod inputs;
mod interfaces;
mod latest;
mod law;
mod notices;
mod noting;
mod openings;
mod properties;
mod reads;
mod record;
mod reloads;
mod shadow;
mod slices;
mod stacked;
mod store;
mod tampering;
mod told;
mod tracing;
mod unconfirmed;
mod world;
