//! What the kernel sends, forwards or names otherwise than TC sees it.

use super::{Looked, listed};
use crate::doctor::finding::{Finding, State, Unknown};
use crate::doctor::host::Host;

/// Multipath TCP, whose paths leave from ports and by interfaces of the kernel's choice.
pub(in crate::doctor) fn mptcp(host: &Host) -> Looked {
    match host.number("proc/sys/net/mptcp/enabled")? {
        None => {
            return Ok(Finding::of(
                State::Absent,
                "/proc/sys/net/mptcp/enabled is not there: the kernel has none",
            ));
        }
        Some(0) => return Ok(Finding::of(State::Blocked, "net.mptcp.enabled = 0")),
        Some(_) => {}
    }
    let manager = match host.text("proc/sys/net/mptcp/path_manager")? {
        Some(manager) => format!("net.mptcp.path_manager = {manager}"),
        None => format!(
            "net.mptcp.pm_type = {}",
            host.text("proc/sys/net/mptcp/pm_type")?.unwrap_or_else(|| "(not there)".to_owned())
        ),
    };
    let manager = format!("{manager}; its limits are in no file: `ip mptcp limits`");
    let (state, why) = match host.status() {
        Ok(status) if status.sockets.noted && status.sockets.attached => (
            State::Covered,
            "each path's packets are judged, as of every TCP port and of the connection's cgroup".to_owned(),
        ),
        Ok(_) => (
            State::NotCovered,
            "who uses sockets is not noted: pins by cgroup or user do not know a path".to_owned(),
        ),
        Err(unknown) => (State::NotKnown, unknown.why),
    };
    Ok(Finding::of(state, "net.mptcp.enabled = 1").and(manager).and(why))
}

/// Packets that the host sends on for others.
pub(in crate::doctor) fn forwarding(host: &Host) -> Looked {
    let mut on = Vec::new();
    // Every host has `all`: where it is not shown, that nothing forwards is not known.
    if !host.has("proc/sys/net/ipv4/conf/all/forwarding")? {
        return Err(Unknown::by_hand("/proc/sys/net/ipv4/conf/all/forwarding is not there"));
    }
    for family in ["ipv4", "ipv6"] {
        let folder = format!("proc/sys/net/{family}/conf");
        // What an interface gets that comes later does not forward yet.
        for name in host.names(&folder)?.into_iter().filter(|name| name != "default") {
            if host.number(&format!("{folder}/{name}/forwarding"))?.unwrap_or(0) != 0 {
                on.push(format!("net.{family}.conf.{name}.forwarding"));
            }
        }
    }
    if on.is_empty() {
        return Ok(Finding::of(
            State::Absent,
            "net.ipv4.conf.*.forwarding and net.ipv6.conf.*.forwarding are 0",
        ));
    }
    let found = Finding::of(State::NotKnown, format!("1: {}", listed(&on)));
    let tables = host.text("proc/net/ip_tables_names");
    let nat = matches!(&tables, Ok(Some(tables)) if tables.lines().any(|table| table == "nat"));
    let found = if nat {
        found.and("/proc/net/ip_tables_names has nat: the host may rewrite sources")
    } else {
        found
    };
    Ok(found.and(
        "no file has the rules of nftables: whether what is forwarded is a pin's is not known by its source",
    ))
}

/// Parts of the kernel that send without TC.
pub(in crate::doctor) fn netpoll(host: &Host) -> Looked {
    let mut found = Vec::new();
    let line = host.text("proc/cmdline")?.unwrap_or_default();
    found.extend(
        line.split_ascii_whitespace()
            .find(|word| is_netconsole(word))
            .map(|word| format!("/proc/cmdline has {word}")),
    );
    let folder = "sys/kernel/config/netconsole";
    for target in host.names(folder)? {
        if host.number(&format!("{folder}/{target}/enabled"))? == Some(1) {
            found.push(format!("/{folder}/{target}/enabled is 1"));
        }
    }
    for module in ["netconsole", "pktgen"] {
        if host.has(&format!("sys/module/{module}"))? {
            found.push(format!("/sys/module/{module} is loaded"));
        }
    }
    if host.has("proc/net/pktgen")? {
        found.push("/proc/net/pktgen is there".to_owned());
    }
    Ok(match found.split_first() {
        Some((first, more)) => more.iter().fold(Finding::of(State::NotCovered, first), Finding::and),
        None => Finding::of(
            State::Absent,
            "neither /sys/module/netconsole nor pktgen, nor netconsole= in /proc/cmdline",
        ),
    })
}

/// Whether a word of the boot's command line has a target of netconsole.
fn is_netconsole(word: &str) -> bool {
    word.starts_with("netconsole=") || word.starts_with("netconsole.netconsole=")
}

/// Modules whose protocols have no IP.
const WITHOUT_IP: &[&str] = &["aoe", "fcoe", "libfcoe", "bnx2fc", "qedf", "tipc", "ec_master"];

/// Protocols of the link that the kernel itself speaks.
pub(in crate::doctor) fn link_protocols(host: &Host) -> Looked {
    Ok(match loaded(host, WITHOUT_IP)? {
        modules if modules.is_empty() => none_of(WITHOUT_IP),
        modules => Finding::of(State::NotCovered, format!("/sys/module has {}", modules.join(", "))),
    })
}

/// Modules that send with a socket of their own what a carrier has given them.
const OWN_SOCKETS: &[&str] = &["gtp", "ovpn", "rxrpc", "rds", "tipc"];

/// Tunnels of the kernel whose packets no longer have the carrier's socket.
pub(in crate::doctor) fn own_sockets(host: &Host) -> Looked {
    if host.status()?.carriers.volumes.is_empty() {
        return Ok(Finding::of(State::Absent, "no pin selects a volume"));
    }
    Ok(match loaded(host, OWN_SOCKETS)? {
        modules if modules.is_empty() => none_of(OWN_SOCKETS),
        modules => Finding::of(State::NotCovered, format!("/sys/module has {}", modules.join(", "))),
    })
}

/// Those of these modules that are in the kernel.
fn loaded(host: &Host, modules: &[&'static str]) -> Result<Vec<&'static str>, Unknown> {
    let mut found = Vec::new();
    for module in modules {
        if host.has(&format!("sys/module/{module}"))? {
            found.push(*module);
        }
    }
    Ok(found)
}

fn none_of(modules: &[&str]) -> Finding {
    Finding::of(State::Absent, format!("/sys/module has none of {}", modules.join(", ")))
}

/// Tracing programs that are left out where they interrupt themselves, which takes a kernel that preempts itself. BPF LSM has no
/// such gap, but what is received, and pages and terminals, are seen by tracing programs on every kernel.
pub(in crate::doctor) fn interrupted(host: &Host) -> Looked {
    if host.status()?.carriers.volumes.is_empty() {
        return Ok(Finding::of(State::Absent, "no pin selects a volume"));
    }
    let lsm = host.text("sys/kernel/security/lsm");
    let has_lsm = matches!(&lsm, Ok(Some(names)) if names.split(',').any(|name| name == "bpf"));
    let open = |evidence: String| {
        let found = Finding::of(State::NotCovered, evidence);
        match has_lsm {
            true => found
                .and("/sys/kernel/security/lsm has bpf: of what is received, of pages and terminals alone"),
            false => found,
        }
    };
    let version = host.text("proc/version")?.unwrap_or_default();
    let words: Vec<&str> = version.split_ascii_whitespace().collect();
    if !words.iter().any(|word| word.starts_with("PREEMPT")) {
        return Ok(Finding::of(
            State::Covered,
            "/proc/version has no PREEMPT: the kernel does not preempt itself",
        ));
    }
    if !words.contains(&"PREEMPT_DYNAMIC") {
        return Ok(open(format!("/proc/version is {version}")));
    }
    let path = "sys/kernel/debug/sched/preempt";
    match host.text(path)? {
        Some(mode) if mode.contains("(none)") || mode.contains("(voluntary)") => {
            Ok(Finding::of(State::Covered, format!("/{path} has {mode}")))
        }
        Some(mode) => Ok(open(format!("/{path} has {mode}"))),
        None => Err(Unknown::by_hand(format!("/proc/version has PREEMPT_DYNAMIC, and /{path} is not there"))),
    }
}
