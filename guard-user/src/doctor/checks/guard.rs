//! What the daemon knows by itself.

use super::{Looked, listed};
use crate::control::status::Status;
use crate::doctor::finding::{Finding, State, Unknown};
use crate::doctor::host::Host;
use crate::health::Health;

/// Whether what pins forbid is dropped or flagged.
pub(in crate::doctor) fn guard(host: &Host) -> Looked {
    let status = host.status()?;
    if let Some(elsewhere) = other_namespace(host, status.pid)? {
        return Err(Unknown::by_hand(elsewhere));
    }
    let state = match status.health {
        // Problems are in the check that they belong to.
        Health::Guarding | Health::Degraded if drops(status) => State::Covered,
        // Somebody may have chosen that, and all leaves.
        Health::Guarding | Health::Degraded | Health::Observing | Health::Off => State::NotCovered,
    };
    let found =
        Finding::of(state, format!("the daemon says {}, generation {}", status.health, status.generation));
    Ok(if drops(status) {
        found
    } else {
        found.and("no pin drops or flags: what it forbids is counted, and leaves")
    })
}

/// Whether any pin drops or flags.
fn drops(status: &Status) -> bool {
    let does = |what: &str| matches!(what, "drop" | "flag");
    !status.observe && status.pins.iter().any(|pin| does(&pin.action) || does(&pin.ingress))
}

/// Why what is read here is of another network namespace than the daemon's.
fn other_namespace(host: &Host, daemon: u32) -> Result<Option<String>, Unknown> {
    let here = host.link("proc/self/ns/net")?;
    // Who may not look at the daemon's process can't tell: the status is of the daemon's namespace in any case.
    let Ok(there) = host.link(&format!("proc/{daemon}/ns/net")) else { return Ok(None) };
    Ok(there.filter(|there| Some(there) != here.as_ref()).map(|_| {
        format!(
            "the daemon (process {daemon}) is in another network namespace than this command, which reads what is in its own: \
             run it by `nsenter --net=/proc/{daemon}/ns/net`"
        )
    }))
}

/// Interfaces by which frames leave.
pub(in crate::doctor) fn interfaces(host: &Host) -> Looked {
    let status = host.status()?;
    let guarded = status.interfaces.iter().filter(|interface| host.is_guarded(&interface.name));
    let guarded: Vec<String> = guarded
        .map(|interface| {
            let modes: Vec<&str> = interface.hooks.iter().map(|hook| hook.mode.as_str()).collect();
            format!("{} ({})", interface.name, modes.join(", "))
        })
        .collect();
    if guarded.is_empty() {
        return Ok(Finding::of(State::NotCovered, "no interface is guarded"));
    }
    let found = Finding::of(State::Covered, format!("guarded: {}", listed(&guarded)));
    let is_problem = |name: &String| status.problems.iter().any(|it| it.subject.as_ref() == Some(name));
    let others: Vec<String> = status.unguarded.iter().filter(|name| !is_problem(name)).cloned().collect();
    Ok(match others.as_slice() {
        [] => found,
        // The daemon holds them against the config only where something is at stake.
        names if !drops(status) => Finding { state: State::NotKnown, ..found }.and(format!(
            "a route leads by {}, which is not guarded, and nobody looks whether it matters where no pin drops or flags",
            listed(names)
        )),
        names => found.and(format!(
            "a route leads by {}, which is not guarded: accepted by host.unguarded, or judged further on",
            listed(names)
        )),
    })
}

/// Devices in other network namespaces, which the daemon looks for every ten seconds.
pub(in crate::doctor) fn namespaces(host: &Host) -> Looked {
    host.status()?;
    Ok(Finding::of(
        State::Covered,
        "the daemon finds no device in another namespace that leads past what is guarded",
    ))
}

/// Programs of others at the guard's hooks.
pub(in crate::doctor) fn other_programs(host: &Host) -> Looked {
    let status = host.status()?;
    let with_xdp = host.with_xdp.as_ref().map_err(|why| Unknown::by_hand(why.clone()))?;
    let has_ours = |name: &str| {
        let of_name = status.interfaces.iter().filter(|interface| interface.name == name);
        of_name.flat_map(|interface| &interface.hooks).any(|hook| hook.hook == "ingress")
    };
    let others: Vec<String> = with_xdp.iter().filter(|name| !has_ours(name)).cloned().collect();
    Ok(match others.is_empty() {
        true => Finding::of(
            State::Covered,
            "the guard's programs are the first at every interface that it guards",
        )
        .and("no other XDP program is on an interface of this network namespace"),
        false => Finding::of(
            State::NotCovered,
            format!("an XDP program that is not the guard's is on {}", listed(&others)),
        ),
    })
}

/// Who carries data of volumes.
pub(in crate::doctor) fn carriers(host: &Host) -> Looked {
    let carriers = &host.status()?.carriers;
    let volumes: Vec<String> = carriers.volumes.iter().map(|volume| volume.path.clone()).collect();
    Ok(match volumes.is_empty() {
        true => Finding::of(State::Absent, "no pin selects a volume"),
        false => Finding::of(
            State::Covered,
            format!("carriers of {} are known: {}", listed(&volumes), carriers.count),
        ),
    })
}

/// What the kernel answers by itself to packets of pins that have another's source.
pub(in crate::doctor) fn answers(host: &Host) -> Looked {
    let Some(unpinned) = &host.status()?.unpinned else {
        return Err(Unknown::by_hand("the daemon can't list the host's addresses"));
    };
    Ok(match unpinned.answered.as_slice() {
        [] => Finding::of(
            State::Covered,
            "no pin goes by users, cgroups, volumes, interfaces or marks without the host's addresses",
        ),
        pins => Finding::of(
            State::NotCovered,
            format!(
                "what the kernel answers to a packet of {} with another's source has no socket, and is of no pin",
                listed(pins)
            ),
        ),
    })
}

/// Sockets by which frames go past the hooks.
pub(in crate::doctor) fn bypass(host: &Host) -> Looked {
    let bypass = &host.status()?.bypass;
    let uncovered = |why: String| Ok(Finding::of(State::NotCovered, why));
    if !bypass.refused {
        return uncovered(
            "such sockets are not refused: bypass.refuse is off, or nothing is dropped".to_owned(),
        );
    }
    if !bypass.attached {
        return uncovered("the hook that refuses such sockets is not attached".to_owned());
    }
    if bypass.cgroup != "/" {
        return uncovered(format!("such sockets are refused to the cgroup {} alone", bypass.cgroup));
    }
    let tried: u64 = bypass.asked.iter().map(|way| way.refused).sum();
    let found = Finding::of(State::Blocked, format!("refused to every process; so far {tried} times"));
    let let_through: Vec<String> = bypass.allow.iter().map(|allow| allow.cgroup.clone()).collect();
    Ok(match let_through.is_empty() {
        true => found,
        false => found.and(format!("but for those of {} (bypass.allow)", listed(&let_through))),
    })
}

/// Whether the kernel keeps who makes and uses sockets.
pub(in crate::doctor) fn sockets(host: &Host) -> Looked {
    let sockets = &host.status()?.sockets;
    let state = |is_kept| if is_kept { State::Covered } else { State::NotCovered };
    let evidence = match (sockets.noted, sockets.attached, sockets.cgroup.as_str()) {
        (false, ..) => "who uses sockets is not noted: sockets.note is off".to_owned(),
        (true, false, _) => "the hooks that note who uses sockets are not attached".to_owned(),
        (true, true, "/") => "who makes and uses sockets is noted for the whole host".to_owned(),
        (true, true, cgroup) => format!("who uses sockets is noted in the cgroup {cgroup} alone"),
    };
    let is_kept = sockets.noted && sockets.attached && sockets.cgroup == "/";
    Ok(Finding::of(state(is_kept), evidence))
}

/// Whether others are kept from the guard's maps and links.
pub(in crate::doctor) fn protect(host: &Host) -> Looked {
    let protect = &host.status()?.protect;
    Ok(match (protect.on, protect.lsm) {
        (true, _) => {
            let denied = format!("refused to every process but the daemon; so far {} times", protect.denied);
            Finding::of(State::Blocked, denied).and("root can still end the daemon: docs/limits.md")
        }
        (false, true) => Finding::of(State::NotCovered, "protect.lsm is set, and nobody is kept from them"),
        (false, false) => Finding::of(
            State::NotCovered,
            "root can write into the guard's maps, and is found by the next look alone: protect.lsm is off",
        ),
    })
}

/// The geo database.
pub(in crate::doctor) fn database(host: &Host) -> Looked {
    let database = &host.status()?.database;
    if let Some(stale) = &database.stale {
        return Ok(Finding::of(State::NotCovered, format!("{}: {stale}", database.source)));
    }
    match database.age_days {
        Some(days) => Ok(Finding::of(State::Covered, format!("{} is {days} days old", database.source))),
        None => Err(Unknown::by_hand(format!("{} does not say when it was made", database.source))),
    }
}
