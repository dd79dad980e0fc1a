//! docs/doctor.md has the table, and docs/limits.md has no way that nobody has thought of here.

use super::*;

const DOCTOR: &str = include_str!("../../../../docs/doctor.md");
const LIMITS: &str = include_str!("../../../../docs/limits.md");

/// Rows of docs/limits.md that are open, and of which no check is: no look at a host can tell, whatever it finds.
const NO_HOST_TELLS: &[&str] = &[
    "What waits in the queue of an interface",
    "Data of `MSG_ZEROCOPY`",
    "A router, VPN or cloud that forwards 169.254.0.0/16",
    "What a process has sent before the programs of",
    "A datagram that goes on with what another process has begun",
    "A socket that only a message on its way holds",
    "A connection that the storage opens itself",
    "A connection that was accepted by a service of",
    "A connection that was accepted before and is set up again",
    "A helper that sends for a pinned process",
    "VXLAN, GPE, Geneve, GRE, IP in IP, 6in4, PPPoE",
    "The same: datagrams of a socket that is bound to no address",
    "A copy that a rule of nftables or iptables sends",
    "Packets that a rule at the ingress of such an interface hands",
    "An interface that `host.interfaces` names, from when it comes",
    "A route by an interface that nothing guards, where it is gone",
    "Interfaces that come and go while the daemon is stopped",
    "CAPWAP, STT, PIM registers",
    "Cgroups more than 8 levels deep",
    "Such a file after a reboot",
    "A mapping of a file elsewhere",
    "Names of files, extended attributes",
    "The same where a process waits at a pipe",
    "The same: data that was on its way",
    "The same: `TCP_ZEROCOPY_RECEIVE`",
    "The same: more than 65,536 pipes",
    "Shared memory without a file",
    "Memory that a process shares",
    "Files and devices that the kernel makes up",
    "A file system whose files a program",
    "nfsd and other threads of the kernel",
    "The same for btrfs, ZFS",
    "A volume at or below a folder",
    "A file on an overlay, handed on",
    "What is opened, read and closed",
];

/// The ways of the tables of docs/limits.md that are not wholly covered, and how each is.
fn ways() -> Vec<(&'static str, &'static str)> {
    let rows = LIMITS.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.filter_map(|row| row.split_once(" | "));
    let stands = ["blocked", "told", "partly", "not covered"];
    cells
        .filter_map(|(way, rest)| Some((way, rest.split_once(" | ")?.0)))
        .filter(|(_, is)| stands.contains(is))
        .collect()
}

#[test]
fn every_way_of_a_check_is_in_the_limits() {
    let points: Vec<&str> =
        LIMITS.lines().filter_map(|line| line.strip_prefix("| ").or(line.strip_prefix("- "))).collect();
    for check in CHECKS {
        assert!(!check.ways.is_empty(), "{}", check.code);
        for way in check.ways {
            assert!(
                points.iter().any(|point| point.starts_with(way)),
                "{}: {way:?} is not in docs/limits.md",
                check.code
            );
        }
    }
}

#[test]
fn every_way_of_the_limits_that_is_open_has_a_check_or_is_one_that_no_host_tells() {
    let ways = ways();
    assert!(ways.len() > 60, "{}", ways.len());
    let of_checks: Vec<&str> = CHECKS.iter().flat_map(|check| check.ways).copied().collect();
    for (way, is) in &ways {
        let has = |known: &[&str]| known.iter().any(|known| way.starts_with(known));
        let (checked, untold) = (has(&of_checks), has(NO_HOST_TELLS));
        assert!(checked || untold, "neither a check nor one that no host tells ({is}): {way}");
        assert!(!(checked && untold), "a check has it, so that a host tells it: {way}");
    }
    for known in NO_HOST_TELLS {
        assert!(
            ways.iter().any(|(way, _)| way.starts_with(known)),
            "not in docs/limits.md, or covered: {known}"
        );
    }
}

#[test]
fn the_page_has_every_check_and_every_state() {
    let rows: Vec<&str> = DOCTOR.lines().filter(|line| line.starts_with("| `")).collect();
    let row = |check: &Check| {
        let problems: Vec<String> = check.problems.iter().map(|code| format!("`{code}`")).collect();
        format!("| `{}` | {} | {} | {} |", check.code, check.title, check.todo, problems.join(", "))
            .replace("|  |", "| |")
    };
    assert_eq!(rows, CHECKS.iter().map(row).collect::<Vec<_>>());
    for state in State::ALL {
        assert!(DOCTOR.contains(&format!("| {state} | {} |", state.meaning())), "{state}");
    }
}

#[test]
fn codes_are_unique_kebab_case_and_sentences_end() {
    let mut seen = BTreeSet::new();
    for Check { code, title, todo, .. } in CHECKS {
        assert!(seen.insert(code), "{code} is there twice");
        assert!(
            code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
            "{code}"
        );
        assert!(todo.ends_with('.') && !title.ends_with('.') && title.len() <= 56, "{code}: {title}");
    }
}
