//! Real services, pinned as their pages in docs/recipes say: permitted clients get all, others not a byte, what the service
//! itself sends on is cut, and the same host's imports go on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should stop at the line that says so"
)]

mod etcd;
mod more;
mod postgresql;
mod redis;
mod rsync;
mod sftp;
mod stage;
