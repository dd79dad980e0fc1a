//! What the tests of Border Guard share: frames, networks of namespaces, and guards that clean up.
//!
//! - [`packet`] builds frames layer by layer, tunnels included, and [`pcap`] writes them to a file.
//! - [`netns`] makes network namespaces, the links between them and small networks, with no way out.
//! - [`cgroup`] and [`bpffs`] make a control group and a place for pins.
//! - [`proc`] runs real servers and clients inside them, with [`scratch`] folders for their files.
//! - [`bed`] is a storage host with the real daemon, which [`program`] finds, and two clients.
//! - [`service`] is what the storage host serves, and [`signing`] is who approves exemptions.
//! - [`geo_file`] writes a geo database.
//! - [`user`] does work as another user.
//! - [`frames`] are of every kind, [`mutation`] changes them, and [`differential`] holds the kernel's program against the host's
//!   decision for each.
//! - [`fuzz`] is what inputs made at random are given to.
//! - [`marked`] sees whether marked bytes come to a host.
//! - [`wire`] counts what a network received, by the kernel's own counters.
//! - [`resources`] says what a process uses of memory and CPUs.
//! - [`demo`] is the Dublin demo, which `cargo xtask demo` runs.
//! - [`pages`] reads pages of the documentation.
//! - [`privilege`] says whether this process may do any of that.
//!
//! Everything that these make on the machine is named `bg-<pid>-<number>-<label>` (see [`names`]) and
//! is removed when its guard is dropped, on a panic, and on SIGINT, SIGTERM or SIGHUP (see
//! [`cleanup`]). What a killed run left is removed by the next one.
pub mod bed;
pub mod bench;
pub mod bpffs;
pub mod cgroup;
pub mod cleanup;
pub mod demo;
pub mod differential;
pub mod document;
pub mod error;
pub mod frames;
pub mod fuzz;
pub mod geo_file;
pub mod machine;
pub mod marked;
pub mod mutation;
pub mod names;
pub mod netns;
pub mod packet;
pub mod pages;
pub mod pcap;
pub mod privilege;
pub mod proc;
pub mod program;
pub mod raw_map;
pub mod resources;
pub mod scratch;
pub mod service;
pub mod signing;
pub mod slow;
pub mod sockopt;
pub mod storm;
pub mod story;
pub mod user;
pub mod wire;
