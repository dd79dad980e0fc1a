//! `borderguard status`: how well this host is guarded, what is wrong, and what was counted.

mod protect;

use std::io::{self, Write};

use anyhow::Result;

use super::table::{numbers, plain, words, write, write_wrapped};
use super::target::Target;
use crate::approval;
use crate::control::client;
use crate::control::status::{
    BypassStatus, CarriersStatus, ProcessStatus, SocketsStatus, Status, UnconfirmedStatus, UnplacedStatus,
    UntaggedStatus,
};
use crate::exit::Exit;
use crate::health::{Problem, written_out};
use crate::report::number::{bytes, grouped};
use crate::unpinned;

const AFTER_HELP: &str = "\
The exit code is the state: 0 guarding, 5 degraded (a problem), 6 observing,
7 off; 3 where no daemon answers, 1 where the answer can't be had.
docs/problems.md has every problem's code, what it means and what to do.";

/// Arguments of `status`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// One JSON object; docs/status.md has its keys
    #[arg(long)]
    pub json: bool,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// Asks the daemon, writes its answer, and ends with the exit code of its state.
///
/// # Errors
/// Where no daemon answers, or `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let socket = args.target.socket()?;
    let status = client::status(&socket)?;
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string(&status)?)?,
        false => write_text(&status, out)?,
    }
    out.flush()?;
    Ok(status.health.into())
}

/// Writes the status for people.
///
/// # Errors
/// Where `out` can't be written.
pub fn write_text(status: &Status, out: &mut impl Write) -> io::Result<()> {
    write_health(status, out)?;
    write_head(status, out)?;
    write_interfaces(status, out)?;
    write_bypass(&status.bypass, out)?;
    write_calls(&status.sockets, out)?;
    if let Some(text) = protect::text(&status.protect) {
        write_indented(&text, out)?;
    }
    write_carriers(&status.carriers, out)?;
    write_pins(status, out)?;
    write_unplaced(status, out)?;
    write_untagged(status, out)?;
    write_unpinned(status, out)?;
    write_totals(status, out)?;
    write_database(status, out)?;
    write_exemptions(status, out)?;
    let mut lost: Vec<String> = status
        .losses
        .iter()
        .filter(|loss| loss.count > 0)
        .map(|loss| format!("{} {}", grouped(loss.count), loss.kind))
        .collect();
    if lost.is_empty() {
        lost.push("nothing".to_owned());
    }
    writeln!(out)?;
    if !status.holds.is_empty() {
        let names: Vec<String> = status.holds.iter().map(|name| plain(name)).collect();
        write_wrapped("", INDENT, &format!("legal holds: {}", names.join(", ")), out)?;
    }
    let lost = format!("lost: {}; events reported: {}", lost.join(", "), grouped(status.events));
    write_wrapped("", INDENT, &lost, out)?;
    match status.people.as_str() {
        "hidden" => {
            writeln!(out, "users, commands, processes and cgroups are hidden: they take the right people")
        }
        _ => Ok(()),
    }
}

/// The state, and each problem with its message on the line below; what to do once for each code.
fn write_health(status: &Status, out: &mut impl Write) -> io::Result<()> {
    let Status { health, problems, .. } = status;
    match problems.as_slice() {
        [] => writeln!(out, "{health}: no problems")?,
        [_] => writeln!(out, "{health}: 1 problem")?,
        more => writeln!(out, "{health}: {} problems", more.len())?,
    }
    for group in problems.chunk_by(|one, next| one.code == next.code) {
        let (first, more) = written_out(group);
        for Problem { code, subject, message } in first {
            match subject {
                Some(subject) => writeln!(out, "  PROBLEM {code}: {}", plain(subject))?,
                None => writeln!(out, "  PROBLEM {code}")?,
            }
            message.lines().try_for_each(|line| write_indented(&plain(line), out))?;
        }
        if let Some(more) = more {
            write_indented(&more, out)?;
        }
        if let Some(Problem { code, .. }) = group.first() {
            write_indented(&format!("To do: {}", code.remedy()), out)?;
        }
    }
    Ok(())
}

/// Writes a sentence as indented lines.
fn write_indented(text: &str, out: &mut impl Write) -> io::Result<()> {
    write_wrapped(INDENT, INDENT, text, out)
}

fn write_head(status: &Status, out: &mut impl Write) -> io::Result<()> {
    let Status { version, pid, kernel, config, generation, since, .. } = status;
    writeln!(out, "borderguard {version}, process {pid}, Linux {}", plain(kernel))?;
    let live = format!("generation {generation} since {since}, config {}", plain(config));
    write_wrapped("", INDENT, &live, out)?;
    if let Some(it) = &status.unconfirmed {
        let UnconfirmedStatus { config, by, until, seconds_left, .. } = it;
        let line = format!(
            "UNCONFIRMED: {}, applied by {}, goes at {until} (in {seconds_left} s) unless `borderguard confirm` comes",
            plain(config),
            plain(by)
        );
        write_wrapped("", INDENT, &line, out)?;
    }
    if status.observe {
        writeln!(out, "OBSERVING: nothing is dropped, everything is counted")?;
    }
    if !status.approval_required {
        writeln!(out, "EXEMPTIONS: {}", approval::NONE_REQUIRED)?;
    }
    Ok(())
}

/// Carriers that are shown to people; `--json` has more.
const CARRIERS: usize = 10;

/// Who carries data of volumes, where any pin selects one.
fn write_carriers(carriers: &CarriersStatus, out: &mut impl Write) -> io::Result<()> {
    if carriers.volumes.is_empty() {
        return Ok(());
    }
    writeln!(out, "\ncarriers of volumes")?;
    for volume in &carriers.volumes {
        let mounted = if volume.mounted { "" } else { ", NOT mounted" };
        write_indented(&format!("{}, by {}{mounted}", plain(&volume.path), volume.spread), out)?;
    }
    let paths = |volumes: &[String]| volumes.iter().map(|path| plain(path)).collect::<Vec<_>>().join(", ");
    let of_cgroups = carriers.cgroups.iter().map(|it| {
        let name = it.cgroup.as_ref().map_or("(gone)".to_owned(), |path| plain(path));
        [format!("cgroup {name}"), paths(&it.volumes), it.since.clone()]
    });
    let of_processes = carriers.processes.iter().take(CARRIERS).map(|it| {
        let unit = it.process.unit.as_ref().map(|unit| format!(", {}", plain(unit))).unwrap_or_default();
        let name = format!("{} ({}){unit}", plain(&it.process.command), it.process.pid);
        [name, paths(&it.volumes), it.since.clone()]
    });
    let rows: Vec<[String; 3]> = of_cgroups.chain(of_processes).collect();
    match rows.is_empty() {
        true => write_indented("nobody carries data of them now", out)?,
        false => write(out, [words("who"), words("volume"), words("since")], &rows)?,
    }
    match carriers.count.saturating_sub(CARRIERS.min(carriers.processes.len())) {
        0 => {}
        more => write_indented(&format!("and {more} more processes"), out)?,
    }
    match carriers.copies {
        0 => {}
        files => write_indented(&format!("{} files elsewhere have data of them", grouped(files)), out)?,
    }
    if carriers.copy_events > 0 {
        let line = format!("writes elsewhere that were reported: {}", grouped(carriers.copy_events));
        write_indented(&line, out)?;
    }
    for relay in carriers.relays.iter().take(CARRIERS) {
        let of = |unit: &Option<String>| {
            unit.as_ref().map(|unit| format!(" of {}", plain(unit))).unwrap_or_default()
        };
        let (at, by) = (of(&relay.unit), of(&relay.from_unit));
        let line = format!(
            "{} to {} ({}){at}, by {}{by}, last {}: {}",
            paths(&relay.volumes),
            plain(&relay.command),
            relay.pid,
            relay.from_pid,
            relay.last,
            relay.state
        );
        write_indented(&format!("handed on: {line}"), out)?;
    }
    match carriers.relays.len().saturating_sub(CARRIERS) {
        0 => Ok(()),
        more => write_indented(&format!("and to {more} more"), out),
    }
}

fn write_interfaces(status: &Status, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\ninterfaces")?;
    let rows: Vec<[String; 4]> = status
        .interfaces
        .iter()
        .map(|interface| {
            let mode = |hook: &str| {
                let attached = interface.hooks.iter().find(|attached| attached.hook == hook);
                attached.map_or("-".to_owned(), |attached| attached.mode.clone())
            };
            let problem = interface.problem.clone().unwrap_or_else(|| "guarded".to_owned());
            [interface.name.clone(), mode("egress"), mode("ingress"), problem]
        })
        .collect();
    match rows.is_empty() {
        true => writeln!(out, "  none: no interface matches the config's `host.interfaces`")?,
        false => write(out, [words("name"), words("egress"), words("ingress"), words("state")], &rows)?,
    }
    match status.unguarded.as_slice() {
        [] => Ok(()),
        names => {
            let names: Vec<String> = names.iter().map(|name| plain(name)).collect();
            write_indented(&format!("not guarded, and a route leads by: {}", names.join(", ")), out)
        }
    }
}

/// Ways past the guard: whether they are refused, to whom, and how often each was asked for.
fn write_bypass(bypass: &BypassStatus, out: &mut impl Write) -> io::Result<()> {
    let BypassStatus { refused, cgroup, attached, allow, asked } = bypass;
    let state = match (refused, attached) {
        (true, true) => format!("refused to cgroup {}", plain(cgroup)),
        (true, false) => format!("NOT refused to cgroup {}, and to be", plain(cgroup)),
        (false, true) => format!("still refused to cgroup {}", plain(cgroup)),
        (false, false) => "not refused".to_owned(),
    };
    let allowed = allow.iter().map(|it| match it.is_there {
        true => plain(&it.cgroup),
        false => format!("{} (absent)", plain(&it.cgroup)),
    });
    let allowed: Vec<String> = allowed.collect();
    let but = if allowed.is_empty() || (!refused && !attached) {
        String::new()
    } else {
        format!(", but for {}", allowed.join(", "))
    };
    let asked = asked
        .iter()
        .filter(|it| it.refused + it.allowed > 0)
        .map(|it| format!("{}: {} refused, {} allowed", it.way, grouped(it.refused), grouped(it.allowed)));
    let counts: String = asked.map(|count| format!("; {count}")).collect();
    writeln!(out, "\nways past the guard")?;
    write_indented(&format!("{state}{but}{counts}"), out)
}

/// Whether calls of processes are refused: nothing where the config does not ask for it.
fn write_calls(sockets: &SocketsStatus, out: &mut impl Write) -> io::Result<()> {
    let text = match &sockets.not_refused {
        None if !sockets.refused => return Ok(()),
        None => format!("calls that name a forbidden place: refused to cgroup {}", plain(&sockets.cgroup)),
        Some(why) => format!("calls that name a forbidden place: left to their packets, for {}", plain(why)),
    };
    write_indented(&text, out)
}

/// Cgroups that were made again: nothing where that never mattered.
fn write_unplaced(status: &Status, out: &mut impl Write) -> io::Result<()> {
    let UnplacedStatus { times, milliseconds, packets, .. } = status.unplaced;
    if times == 0 && packets == 0 {
        return Ok(());
    }
    let text = format!(
        "cgroups made again: {}, in the tables after {} ms altogether; packets that counted as pinned meanwhile: {}",
        grouped(times),
        grouped(milliseconds),
        grouped(packets)
    );
    write_indented(&text, out)
}

fn write_pins(status: &Status, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\npins, packets")?;
    if status.pins.is_empty() {
        return writeln!(out, "  none: nothing is enforced");
    }
    let rows: Vec<[String; 9]> = status
        .pins
        .iter()
        .map(|pin| {
            let count = |verdict: &str| {
                let found = pin.verdicts.iter().find(|found| found.verdict == verdict);
                grouped(found.map_or(0, |found| found.packets))
            };
            let top: Vec<String> = pin
                .top
                .iter()
                .map(|place| format!("{} {}", place.jurisdiction, bytes(place.bytes)))
                .collect();
            [
                pin.name.clone(),
                pin.home.clone(),
                pin.action.clone(),
                pin.ingress.clone(),
                count("pass"),
                count("observe"),
                count("flag"),
                count("drop"),
                if top.is_empty() { "-".to_owned() } else { top.join(", ") },
            ]
        })
        .collect();
    let columns = [
        words("name"),
        words("home"),
        words("action"),
        words("ingress"),
        numbers("pass"),
        numbers("observe"),
        numbers("flag"),
        numbers("drop"),
        words("most bytes judged"),
    ];
    write(out, columns, &rows)
}

/// By what this host can be reached and that no pin knows.
fn write_unpinned(status: &Status, out: &mut impl Write) -> io::Result<()> {
    let said = match &status.unpinned {
        Some(unpinned) => unpinned::sentences(unpinned),
        None => vec!["what is served on this host can't be listed".to_owned()],
    };
    if !said.is_empty() {
        writeln!(out)?;
    }
    said.iter().try_for_each(|sentence| write_wrapped("", INDENT, &plain(sentence), out))
}

/// Egress without a pin: where it went, and what sent most of it.
fn write_untagged(status: &Status, out: &mut impl Write) -> io::Result<()> {
    let UntaggedStatus { jurisdictions, flows } = &status.untagged;
    if jurisdictions.is_empty() {
        return Ok(());
    }
    let mut places: Vec<String> = jurisdictions
        .iter()
        .take(PLACES)
        .map(|place| format!("{} {}", place.jurisdiction, bytes(place.bytes)))
        .collect();
    if jurisdictions.len() > PLACES {
        places.push(format!("{} more", jurisdictions.len() - PLACES));
    }
    writeln!(out)?;
    write_wrapped("", INDENT, &format!("egress without a pin: {}", places.join(", ")), out)?;
    if flows.is_empty() {
        return Ok(());
    }
    let rows: Vec<[String; 7]> = flows
        .iter()
        .map(|flow| {
            let port = flow.port.map_or("-".to_owned(), |port| port.to_string());
            let service = match flow.side.as_str() {
                "local" => format!("from {}/{port}", flow.protocol),
                "remote" => format!("to {}/{port}", flow.protocol),
                _ => flow.protocol.clone(),
            };
            [
                flow.peer.clone(),
                flow.jurisdiction.clone(),
                service,
                flow.interface.clone().unwrap_or_else(|| "-".to_owned()),
                bytes(flow.bytes),
                flow.process.as_ref().map_or_else(|| "-".to_owned(), process),
                flow.cgroup.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    let columns = [
        words("peer"),
        words("place"),
        words("service"),
        words("interface"),
        numbers("bytes"),
        words("process"),
        words("cgroup"),
    ];
    write(out, columns, &rows)
}

/// A process in a cell: its command, its number and its user.
fn process(process: &ProcessStatus) -> String {
    let user = process.user.clone().unwrap_or_else(|| process.uid.to_string());
    format!("{} ({}) of {user}", process.command, process.pid)
}

fn write_totals(status: &Status, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\ntotals")?;
    let rows: Vec<[String; 5]> = status
        .totals
        .iter()
        .map(|total| {
            [
                total.hook.clone(),
                total.verdict.clone(),
                total.reason.clone(),
                grouped(total.packets),
                bytes(total.bytes),
            ]
        })
        .collect();
    match rows.is_empty() {
        true => writeln!(out, "  none: no packet was seen yet"),
        false => write(
            out,
            [words("hook"), words("verdict"), words("reason"), numbers("packets"), numbers("bytes")],
            &rows,
        ),
    }
}

fn write_database(status: &Status, out: &mut impl Write) -> io::Result<()> {
    let database = &status.database;
    writeln!(out)?;
    write_wrapped("", INDENT, &format!("geo database: {}", plain(&database.source)), out)?;
    for file in &database.files {
        writeln!(out, "  file {}", plain(file))?;
    }
    if let Some(licence) = &database.licence {
        write_wrapped("  ", INDENT, &format!("licence {}", plain(licence)), out)?;
    }
    match (&database.generated, database.age_days) {
        (Some(generated), Some(days)) => writeln!(out, "  made {generated}, {days} days ago")?,
        _ => writeln!(out, "  without a date")?,
    }
    let (v4, v6) = (grouped(database.ranges_v4 as u64), grouped(database.ranges_v6 as u64));
    writeln!(out, "  {v4} IPv4 and {v6} IPv6 ranges")?;
    match &database.stale {
        Some(stale) => write_wrapped("  ", INDENT, &format!("STALE: {}", plain(stale)), out),
        None => Ok(()),
    }
}

fn write_exemptions(status: &Status, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\nexemptions")?;
    if status.exemptions.is_empty() {
        return writeln!(out, "  none");
    }
    let rows: Vec<[String; 6]> = status
        .exemptions
        .iter()
        .map(|exemption| {
            let quota = exemption.quota_bytes.map_or("no bound".to_owned(), bytes);
            [
                exemption.id.clone(),
                exemption.state.to_string(),
                exemption.pins.join(", "),
                exemption.valid_from.to_string(),
                exemption.valid_until.to_string(),
                format!("{} of {quota}", bytes(exemption.used_bytes)),
            ]
        })
        .collect();
    let columns =
        [words("id"), words("state"), words("pins"), words("from"), words("until"), numbers("used")];
    write(out, columns, &rows)
}

const INDENT: &str = "    ";
/// Jurisdictions of egress without a pin that are named.
const PLACES: usize = 8;

#[cfg(test)]
mod tests;
