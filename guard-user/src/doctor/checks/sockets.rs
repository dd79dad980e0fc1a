//! Sockets and calls that go past the hooks.

use super::{Looked, listed};
use crate::doctor::finding::{Finding, State, Unknown};
use crate::doctor::host::Host;

/// Packet sockets and sockets of `AF_XDP` that are there now, in this network namespace.
pub(in crate::doctor) fn earlier(host: &Host) -> Looked {
    let missing = |path: &str| Unknown::by_hand(format!("/{path} is not there"));
    let protocols = host.text("proc/net/protocols")?.ok_or_else(|| missing("proc/net/protocols"))?;
    // The columns are the protocol, the size of a socket, and how many there are.
    let sockets = |protocol: &str| {
        let rows = protocols.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
        // A protocol that is not listed is none of this kernel's.
        let Some(row) = rows.into_iter().find(|row| row.first() == Some(&protocol)) else { return Ok(0) };
        let count = row.get(2).and_then(|count| count.parse::<u64>().ok());
        count.ok_or_else(|| Unknown::by_hand(format!("/proc/net/protocols has no number of {protocol}")))
    };
    let (xdp, packet) = (sockets("XDP")?, sockets("PACKET")?);
    let said = |name: &str, count: u64| format!("/proc/net/protocols has {count} sockets of {name}");
    Ok(match (xdp, packet) {
        (0, 0) => Finding::of(State::Absent, said("XDP and PACKET", 0)),
        (0, _) => with_owners(host, Finding::of(State::NotKnown, said("PACKET", packet)))
            .and("no file says which of them has an option by which it sends past the guard"),
        (_, 0) => Finding::of(State::NotCovered, said("XDP", xdp)),
        _ => with_owners(host, Finding::of(State::NotCovered, said("XDP", xdp)).and(said("PACKET", packet))),
    })
}

/// Users of the packet sockets, where they can be read.
fn with_owners(host: &Host, found: Finding) -> Finding {
    let Ok(Some(table)) = host.text("proc/net/packet") else { return found };
    // sk, RefCnt, Type, Proto, Iface, R, Rmem, User, Inode.
    let rows = table.lines().skip(1).map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let owners: Vec<String> = rows
        .filter_map(|row| {
            let (protocol, user, inode) = (row.get(3)?, row.get(7)?, row.get(8)?);
            Some(format!("inode {inode} of user {user} for EtherType {protocol}"))
        })
        .collect();
    match owners.is_empty() {
        true => found,
        false => found.and(format!("/proc/net/packet: {}", listed(&owners))),
    }
}

/// 32-bit system calls, which ask no program at `setsockopt` (`in_compat_syscall`).
pub(in crate::doctor) fn calls_of_32_bits(host: &Host) -> Looked {
    if !matches!(host.arch, "x86_64" | "aarch64") {
        return Err(Unknown::by_hand(format!("nothing is known of 32-bit system calls of {}", host.arch)));
    }
    if host.arch == "aarch64" {
        let (value, shown) = host.option("CONFIG_COMPAT")?;
        let state = if value == "y" { State::NotCovered } else { State::Absent };
        return Ok(Finding::of(state, shown));
    }
    let Some(line) = host.text("proc/cmdline")? else {
        return Err(Unknown::by_hand("/proc/cmdline is not there"));
    };
    // Made by what sets up 32-bit processes, and by nothing else (arch/x86/entry/vdso).
    let has_ia32 = host.has("proc/sys/abi/vsyscall32")?;
    let asked =
        line.split_ascii_whitespace().filter_map(|word| word.strip_prefix("ia32_emulation=")).next_back();
    let of_ia32 = match asked {
        _ if !has_ia32 => Finding::of(
            State::Absent,
            "/proc/sys/abi/vsyscall32 is not there: the kernel has no IA-32 emulation",
        ),
        Some("off" | "0" | "n" | "N" | "no" | "false") => {
            Finding::of(State::Blocked, "/proc/cmdline has ia32_emulation=off")
        }
        Some(asked) => Finding::of(State::NotCovered, format!("/proc/cmdline has ia32_emulation={asked}")),
        None => of_default(host),
    };
    match (of_ia32.state, x32(host, &line)) {
        (State::NotCovered, _) => Ok(of_ia32),
        (_, Ok((true, shown))) => Ok(Finding::of(State::NotCovered, shown)),
        (_, Ok((false, shown))) => Ok(of_ia32.and(shown)),
        (_, Err(Unknown { why, next })) => {
            let why = format!("{}; of x32 calls: {why}", of_ia32.evidence.join("; "));
            Err(Unknown { why, next })
        }
    }
}

/// Whether the kernel has x32 calls, which are 32-bit ones too; Debian has a switch for them, which is off.
fn x32(host: &Host, line: &str) -> Result<(bool, String), Unknown> {
    let (value, shown) = host.option("CONFIG_X86_X32_ABI")?;
    let (disabled, _) = host.option("CONFIG_X86_X32_DISABLED")?;
    let is_off = disabled == "y" && !line.split_ascii_whitespace().any(|word| word == "syscall.x32=y");
    Ok((value == "y" && !is_off, shown))
}

fn of_default(host: &Host) -> Finding {
    let there = "/proc/sys/abi/vsyscall32 is there, and /proc/cmdline has no ia32_emulation=off";
    match host.option("CONFIG_IA32_EMULATION_DEFAULT_DISABLED") {
        Ok((value, shown)) if value == "y" => Finding::of(State::Blocked, shown),
        Ok((_, shown)) => Finding::of(State::NotCovered, there).and(shown),
        // Off by default is rare, and can't be told from on: it counts against the host.
        Err(unknown) => Finding::of(State::NotCovered, there).and(unknown.why),
    }
}

/// Whether the kernel closes sockets for the daemon, before a stay or a revocation.
pub(in crate::doctor) fn resets(host: &Host) -> Looked {
    let (value, shown) = host.option("CONFIG_INET_DIAG_DESTROY")?;
    Ok(Finding::of(if value == "y" { State::Covered } else { State::NotCovered }, shown))
}
