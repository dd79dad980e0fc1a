//! The table against docs, rules and dashboard; the text against what formats ask for; the server against clients.

mod documentation;
mod server;
mod text;
mod values;
