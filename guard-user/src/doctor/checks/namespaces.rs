//! Network namespaces and users of user namespaces.

use std::collections::BTreeMap;

use super::{Looked, listed};
use crate::doctor::finding::{Finding, Next, State, Unknown};
use crate::doctor::host::Host;

/// Other network namespaces, whose tunnels are not looked for.
pub(in crate::doctor) fn elsewhere(host: &Host) -> Looked {
    let Some(here) = host.link("proc/self/ns/net")? else {
        return Err(Unknown::by_hand("/proc/self/ns/net is not there"));
    };
    let mut others = BTreeMap::new();
    let mut unseen = Vec::new();
    let mut processes = host.names("proc")?;
    processes.retain(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    if !processes.iter().any(|process| process == "1") {
        // Mounted so that a user has their own processes alone (hidepid).
        return Err(Unknown {
            why: "/proc/1 is not there: /proc hides processes".to_owned(),
            next: Next::AsRoot,
        });
    }
    for process in processes {
        match host.link(&format!("proc/{process}/ns/net")) {
            Ok(Some(there)) if there != here => {
                others.entry(there).or_insert(process);
            }
            // Here, or gone by now.
            Ok(_) => {}
            Err(unknown) => unseen.push((process, unknown)),
        }
    }
    let mut found: Vec<String> = Vec::new();
    for (namespace, process) in others {
        let command = host.text(&format!("proc/{process}/comm")).ok().flatten().unwrap_or_default();
        found.push(format!("{} of process {process} ({command})", namespace.display()));
    }
    found.extend(host.names("run/netns")?.into_iter().map(|name| format!("/run/netns/{name}")));
    if let Some((process, unknown)) = unseen.first() {
        let next =
            if unseen.iter().any(|(_, it)| it.next == Next::AsRoot) { Next::AsRoot } else { unknown.next };
        let why = match unseen.len() {
            1 => format!("the network namespace of process {process} can't be seen: {}", unknown.why),
            more => format!("the network namespaces of {more} processes can't be seen: {}", unknown.why),
        };
        return Err(Unknown { why, next });
    }
    Ok(match found.is_empty() {
        true => Finding::of(State::Absent, "/proc/*/ns/net are all of one network namespace"),
        false => Finding::of(State::NotKnown, format!("others: {}", listed(&found)))
            .and("whether a tun, PPP, WireGuard or other tunnel is there is not looked for"),
    })
}

/// Users of user namespaces that are others outside.
pub(in crate::doctor) fn users(host: &Host) -> Looked {
    if host.number("proc/sys/user/max_user_namespaces")? == Some(0) {
        return Ok(Finding::of(State::Blocked, "user.max_user_namespaces = 0"));
    }
    if host.number("proc/sys/kernel/unprivileged_userns_clone")? == Some(0) {
        return Ok(Finding::of(State::Blocked, "kernel.unprivileged_userns_clone = 0"));
    }
    let restricted = host.number("proc/sys/kernel/apparmor_restrict_unprivileged_userns")? == Some(1);
    let noted = |found: Finding| match restricted {
        true => {
            found.and("kernel.apparmor_restrict_unprivileged_userns = 1: programs with a profile for it may")
        }
        false => found,
    };
    let names = host.text("etc/subuid")?.unwrap_or_default();
    let ranges: Vec<String> = names
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    if !ranges.is_empty() {
        return Ok(noted(Finding::of(State::NotCovered, format!("/etc/subuid has {}", listed(&ranges)))));
    }
    let services = host.text("etc/nsswitch.conf")?.unwrap_or_default();
    let elsewhere = services.lines().find(|line| line.trim_start().starts_with("subid:"));
    if let Some(line) =
        elsewhere.filter(|line| line.split_ascii_whitespace().skip(1).any(|word| word != "files"))
    {
        return Err(Unknown::by_hand(format!(
            "/etc/nsswitch.conf has {line:?}: other users come from there"
        )));
    }
    Ok(noted(Finding::of(State::Absent, "/etc/subuid has nobody")))
}
