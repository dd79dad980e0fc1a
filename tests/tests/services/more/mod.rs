//! Services of the long run, `cargo xtask services --all`.

mod dovecot;
mod memcached;
mod nfs;
mod nginx;
mod restic;
mod rsyslog;
mod samba;
mod swift;
mod tgt;
mod vsftpd;

use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;

/// Runs a line of a shell's as root, in a cgroup where one is given.
fn sh(machine: &Machine<'_>, within: Option<&Cgroup>, line: &str) -> anyhow::Result<String> {
    machine.run_of("root", within, &["sh", "-c", line])
}
