//! `borderguard page`: what the guard does, in a browser. A process of its own with the rights of its user, which asks the
//! daemon over the control socket and serves one page on loopback or on a Unix socket.

mod coverage;
mod gate;
mod map;
mod render;
pub mod server;
mod table;
#[cfg(test)]
mod tests;
mod time_line;
