//! What is no matter of a single packet: pins by name, what is guarded and refused at all, who may open.

use std::{collections::BTreeSet, path::Path};

use super::destinations::{Destinations, Moved};
use super::dimensions::Class;
use super::judge::Comparison;
use super::text::{joined, listed};
use crate::approval::{ACTS, Needed, Signer, due};
use crate::config::canary::Canary;
use crate::config::history::LegalHold;
use crate::config::policy::{Approvals, LogTo, Policy, covers, is_in_cgroup};

/// A change that opens something, whatever the tables say of single packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key of the config, or `pin`; empty for what can't be compared.
    pub key: String,
    /// What it was.
    pub was: String,
    /// What it is.
    pub is: String,
    /// What that opens.
    pub opens: String,
}

/// What the new policy opens beside single packets.
pub(super) fn changes(old: &Policy, new: &Policy) -> Vec<Change> {
    let gone = old.pin_names().into_iter().filter(|name| new.pins.iter().all(|pin| pin.name != *name));
    let mut changes: Vec<Change> =
        gone.map(|name| change("pin", &name, "", "there is no pin of this name any more")).collect();
    changes.extend(of_guard(old, new));
    changes.extend(of_bypass(old, new));
    changes.extend(of_relays(old, new));
    changes.extend(of_evidence(old, new));
    changes.extend(of_databases(old, new));
    changes.extend(of_control(old, new));
    changes.extend(of_law(old, new));
    changes.extend(of_homes(old, new));
    changes.extend(of_approval(old, new));
    changes
}

fn change(key: &str, was: &str, is: &str, opens: impl Into<String>) -> Change {
    Change { key: key.to_owned(), was: was.to_owned(), is: is.to_owned(), opens: opens.into() }
}

/// Addresses that sites, or NAT64 prefixes, newly have in a jurisdiction that a pin forbids as it did where they were: an
/// exemption for that jurisdiction covers them from now on.
pub(super) fn of_sites(comparison: &Comparison<'_>) -> Vec<Change> {
    let is_other = |it: &&Destinations| {
        matches!(it.moved, Moved::Sites | Moved::Nat64) && it.from != it.to && it.to.as_str().len() == 2
    };
    let names = |side: usize, pins: u64| {
        let all = comparison.worlds[side].policy.pins.iter().enumerate();
        all.filter(move |(way, _)| pins >> way & 1 == 1).map(|(_, pin)| pin.name.as_str())
    };
    let told = |it: &Destinations| {
        let (was, is) = (it.from.as_str().to_owned(), it.to.as_str().to_owned());
        let opens = format!("exemptions for {is} cover {}", listed(it.first.iter().chain(&it.carriers)));
        change("site.jurisdiction", &was, &is, opens)
    };
    let is_forbidden = |class: &&Class<Destinations>| {
        let [was, is] = class.lets.each_ref().map(|lets| lets.pins);
        names(0, was).any(|name| names(1, is).any(|it| it == name))
    };
    let moved = comparison.destinations.iter().filter(is_forbidden).flat_map(|class| &class.values);
    moved.filter(is_other).map(told).collect()
}

fn of_guard(old: &Policy, new: &Policy) -> Vec<Change> {
    let is_guarded = |pattern: &str| new.host.interfaces.iter().any(|it| covers(it.as_str(), pattern));
    let unguarded = old.host.interfaces.iter().filter(|pattern| !is_guarded(pattern.as_str()));
    let (was, is) = (joined(&old.host.interfaces), joined(&new.host.interfaces));
    let told = |pattern| change("host.interfaces", &was, &is, format!("{pattern} is guarded no more"));
    let mut changes: Vec<Change> = unguarded.map(told).collect();
    let is_accepted = |pattern: &str| old.host.unguarded.iter().any(|it| covers(it.as_str(), pattern));
    let accepted = new.host.unguarded.iter().filter(|pattern| !is_accepted(pattern.as_str()));
    let (was_accepted, are_accepted) = (joined(&old.host.unguarded), joined(&new.host.unguarded));
    changes.extend(accepted.map(|pattern| {
        change(
            "host.unguarded",
            &was_accepted,
            &are_accepted,
            format!("{pattern} is no problem without a guard"),
        )
    }));
    if !old.host.observe && new.host.observe {
        changes.push(change("host.observe", "false", "true", "nothing is dropped or flagged"));
    }
    if let Some(fleet) = new.host.fleet.as_ref().filter(|_| old.host.fleet != new.host.fleet) {
        let was = old.host.fleet.as_deref().unwrap_or("none");
        changes.push(change("host.fleet", was, fleet, "documents that are for this fleet are for this host"));
    }
    let paths = [
        ("state.directory", &old.state.directory, &new.state.directory),
        ("state.mark_directory", &old.state.mark_directory, &new.state.mark_directory),
        ("state.pin_path", &old.state.pin_path, &new.state.pin_path),
    ];
    let moved = paths.into_iter().filter(|(_, was, is)| was != is);
    changes.extend(moved.map(|(key, was, is)| {
        let (was, is) = (was.display().to_string(), is.display().to_string());
        change(key, &was, &is, "what was stayed and revoked is kept in the old folder")
    }));
    changes
}

fn of_bypass(old: &Policy, new: &Policy) -> Vec<Change> {
    let word = |is: bool| if is { "true" } else { "false" };
    let switches = [
        (
            "bypass.refuse",
            old.refuses_bypass(),
            new.refuses_bypass(),
            "ways past the hooks are refused no more",
        ),
        ("sockets.note", old.sockets.note, new.sockets.note, "it is noted no more who uses a socket"),
        ("sockets.refuse", old.refuses_calls(), new.refuses_calls(), "calls are refused no more"),
        (
            "protect.lsm",
            old.protect.lsm,
            new.protect.lsm,
            "others are kept no more from the guard's maps and links",
        ),
    ];
    let off = switches.into_iter().filter(|(_, was, is, _)| *was && !*is);
    let mut changes: Vec<Change> =
        off.map(|(key, was, is, opens)| change(key, word(was), word(is), opens)).collect();
    let cgroups = [
        ("bypass.cgroup", new.refuses_bypass(), &old.bypass.cgroup, &new.bypass.cgroup),
        ("sockets.cgroup", new.sockets.note, &old.sockets.cgroup, &new.sockets.cgroup),
    ];
    let is_outside = |was: &str, is: &str| !is.trim_matches('/').is_empty() && !is_in_cgroup(was, is);
    let smaller = cgroups.into_iter().filter(|(_, is_on, was, is)| *is_on && is_outside(was, is));
    changes.extend(smaller.map(|(key, _, was, is)| change(key, was, is, "it holds for fewer cgroups")));
    if old.refuses_bypass() && new.refuses_bypass() {
        let was_allowed = |cgroup: &str| old.bypass.allow.iter().any(|it| is_in_cgroup(cgroup, it));
        let allowed = new.bypass.allow.iter().filter(|cgroup| !was_allowed(cgroup));
        let (was, is) = (joined(&old.bypass.allow), joined(&new.bypass.allow));
        let told =
            |cgroup| change("bypass.allow", &was, &is, format!("{cgroup} may use ways past the hooks"));
        changes.extend(allowed.map(told));
    }
    changes
}

/// Cgroups that are newly no problem `relay` for a volume that is followed already: what they are handed leaves by them, and
/// nobody is told.
fn of_relays(old: &Policy, new: &Policy) -> Vec<Change> {
    let accepted = |policy: &Policy, volume: &Path| -> Vec<String> {
        let selects = policy.pins.iter().map(|pin| &pin.select);
        let of_volume = selects.filter(|select| select.volumes.iter().any(|it| it == volume));
        of_volume.flat_map(|select| select.accept_relays.iter().cloned()).collect()
    };
    let mut changes = Vec::new();
    for volume in old.volumes() {
        let [was, is] = [old, new].map(|policy| accepted(policy, &volume.path));
        let newly = is.iter().filter(|cgroup| !was.iter().any(|it| is_in_cgroup(cgroup, it)));
        let path = volume.path.display();
        changes.extend(newly.map(|cgroup| {
            let opens = format!("what {cgroup} is handed of {path} is no problem");
            change("select.accept_relays", &joined(&was), &joined(&is), opens)
        }));
    }
    changes
}

/// What is looked at, or kept, no more: nothing passes by that, and nobody would see what does, or could prove it.
fn of_evidence(old: &Policy, new: &Policy) -> Vec<Change> {
    let (was, is) = (&old.history.hold.names, &new.history.hold.names);
    let let_go = was.iter().filter(|name| !is.contains(name));
    let told = |name| {
        change("history.hold", &joined(was), &joined(is), format!("{name} is under no legal hold any more"))
    };
    let mut changes: Vec<Change> = let_go.map(told).collect();
    let (was, is) = (&old.history.hold, &new.history.hold);
    if !was.names.is_empty() && is.max_size < was.max_size {
        let opens = "less of what is under a legal hold is copied".to_owned();
        changes.push(change("history.hold_size", &was.max_size.to_string(), &is.max_size.to_string(), opens));
    }
    if !was.names.is_empty() && is.directory != was.directory {
        let opens = "what is under a legal hold is copied to another place from now on".to_owned();
        let place = |hold: &LegalHold| hold.directory.display().to_string();
        changes.push(change("history.hold_directory", &place(was), &place(is), opens));
    }
    changes.extend(of_history(old, new));
    changes.extend(of_record(old, new));
    changes.extend(of_canaries(old, new));
    changes
}

/// Flows that are kept no more, for a shorter time or in less room, or in another place.
fn of_history(old: &Policy, new: &Policy) -> Vec<Change> {
    let (was, is) = (&old.history, &new.history);
    // Where nothing is kept, nothing less can be.
    let Some(folder) = &was.directory else { return Vec::new() };
    let place = folder.display().to_string();
    let Some(is_in) = &is.directory else {
        return vec![change("history.directory", &place, "off", "flows are kept on the disk no more")];
    };
    let mut changes = Vec::new();
    if is_in != folder {
        let is_in = is_in.display().to_string();
        changes.push(change(
            "history.directory",
            &place,
            &is_in,
            "flows are kept in another place from now on",
        ));
    }
    if is.max_age < was.max_age {
        let [was, is] = [was, is].map(|it| format!("{:#}", it.max_age));
        changes.push(change("history.max_age", &was, &is, "flows are kept for a shorter time"));
    }
    if is.max_size < was.max_size {
        let [was, is] = [was, is].map(|it| it.max_size.to_string());
        changes.push(change("history.max_size", &was, &is, "fewer flows are kept"));
    }
    changes
}

/// What proves and tells what happened: by another key, program or place nobody can see whether it still does.
fn of_record(old: &Policy, new: &Policy) -> Vec<Change> {
    let key = |policy: &Policy| policy.record.host_key.as_ref().map(|path| path.display().to_string());
    let command = |words: &[String]| (!words.is_empty()).then(|| words.join(" "));
    let place = |policy: &Policy| match &policy.log.to {
        LogTo::Stdout => "stdout".to_owned(),
        LogTo::Journald => "journald".to_owned(),
        LogTo::File(path) => path.display().to_string(),
    };
    let (was, is) = (&old.record, &new.record);
    let all = [
        ("record.host_key", key(old), key(new), "receipts are signed by another key, or not at all"),
        (
            "record.time_stamp",
            command(&was.time_stamp),
            command(&is.time_stamp),
            "receipts are stamped by another program, or not at all",
        ),
        (
            "record.notify",
            command(&was.notify),
            command(&is.notify),
            "another program is told of what people have to do, or none",
        ),
        ("log.to", Some(place(old)), Some(place(new)), "the event log goes to another place from now on"),
    ];
    // What there was none of can't get worse.
    let changed = all.into_iter().filter(|(_, was, is, _)| was.is_some() && was != is);
    let word = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
    changed.map(|(key, was, is, opens)| change(key, &word(was), &word(is), opens)).collect()
}

/// Canaries that are sent no more, or less often, or may come back later than before.
fn of_canaries(old: &Policy, new: &Policy) -> Vec<Change> {
    let of = |policy: &Policy, name: &str| {
        policy.pins.iter().find(|pin| pin.name == name).and_then(|pin| pin.canary)
    };
    let word = |canary: Canary| {
        let every = format!("every {:#}", canary.every);
        canary.returned_within.map_or(every.clone(), |within| format!("{every}, returned within {within:#}"))
    };
    let mut changes = Vec::new();
    for name in old.pin_names() {
        let Some(was) = of(old, &name) else { continue };
        let is = of(new, &name);
        let opens = match is {
            None => format!("whether the pin {name} still drops is not tried any more"),
            Some(is) if is.every > was.every => {
                format!("whether the pin {name} still drops is tried less often")
            }
            Some(is)
                if was.returned_within.is_some_and(|was| is.returned_within.is_none_or(|is| is > was)) =>
            {
                format!("that the canaries of the pin {name} don't arrive is seen later, or never")
            }
            Some(_) => continue,
        };
        changes.push(change("pin.canary", &word(was), &is.map_or_else(|| "none".to_owned(), word), opens));
    }
    changes
}

/// What the databases that come later may open without a yes.
fn of_databases(old: &Policy, new: &Policy) -> Vec<Change> {
    let mut changes = Vec::new();
    if !old.geo.incomplete && new.geo.incomplete {
        changes.push(change("geo.incomplete", "false", "true", "databases that lack much are taken"));
    }
    let is_less = match (old.geo.ask_above, new.geo.ask_above) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(was), Some(is)) => was < is,
    };
    if is_less {
        let word = |share: Option<crate::config::share::Share>| {
            share.map_or_else(|| "never".to_owned(), |share| share.to_string())
        };
        let (was, is) = (word(old.geo.ask_above), word(new.geo.ask_above));
        changes.push(change(
            "geo.ask_above",
            &was,
            &is,
            "databases that change more are taken without a yes",
        ));
    }
    // Without signatures no opening waits for them, whatever the share.
    if old.geo.max_age < new.geo.max_age {
        let [was, is] = [old, new].map(|it| format!("{:#}", it.geo.max_age));
        changes.push(change("geo.max_age", &was, &is, "a database that is older is told of later"));
    }
    if old.geo.may_open < new.geo.may_open {
        let (was, is) = (old.geo.may_open.to_string(), new.geo.may_open.to_string());
        changes.push(change(
            "geo.may_open",
            &was,
            &is,
            "databases that open more are taken without signatures",
        ));
    }
    changes
}

/// By which law pack exemptions are judged. What another content allows is not compared: each change counts as one that
/// opens.
fn of_law(old: &Policy, new: &Policy) -> Option<Change> {
    let digest = |policy: &Policy| policy.law.as_ref().map(|law| law.sha256.clone());
    let (was, is) = (digest(old), digest(new));
    let word = |digest: &Option<String>| digest.clone().unwrap_or_else(|| "the program's own".to_owned());
    let opens = "new exemptions are judged by another law pack, which may allow more";
    (was != is).then(|| change("law.sha256", &word(&was), &word(&is), opens))
}

/// Pins whose data is at home elsewhere. As with a law pack, what that place's law and agreements allow is not compared: each
/// other home counts as one that opens.
fn of_homes(old: &Policy, new: &Policy) -> Vec<Change> {
    let are = new.homes();
    let mut changes = Vec::new();
    for (name, was) in old.homes() {
        let Some((_, is)) = are.iter().find(|(it, home)| *it == name && *home != was) else { continue };
        let opens =
            format!("new exemptions of the pin {name} are judged by the law of {is}, which may allow more");
        changes.push(change("pin.home", &was.to_string(), &is.to_string(), opens));
    }
    changes
}

/// Who may load exemptions and policies, see people, or hand canaries back.
fn of_control(old: &Policy, new: &Policy) -> Vec<Change> {
    let (was, is) = (&old.control.groups, &new.control.groups);
    let rights = [
        ("control.groups.exemptions", &was.exemptions, &is.exemptions),
        ("control.groups.policy", &was.policy, &is.policy),
        ("control.groups.everything", &was.everything, &is.everything),
        ("control.groups.people", &was.people, &is.people),
        // Who hands canaries back says that a pin drops.
        ("control.groups.canaries", &was.canaries, &is.canaries),
    ];
    let mut changes = Vec::new();
    for (key, own, is) in rights {
        for group in is.iter().filter(|group| !own.contains(group) && !was.everything.contains(group)) {
            let opens = format!("the group {group} has the right to it");
            changes.push(change(key, &joined(own), &joined(is), opens));
        }
    }
    changes
}

fn of_approval(before: &Policy, new: &Policy) -> Vec<Change> {
    // Where nobody has to approve, nobody less has to.
    let Some(old) = before.approval.as_ref() else { return Vec::new() };
    let Some(is) = new.approval.as_ref() else {
        return vec![change("approval", "required", "none", "exemptions are loaded without approval")];
    };
    let mut changes = Vec::new();
    if old.allowed_signers != is.allowed_signers {
        let paths = [old, is].map(|it| it.allowed_signers.display().to_string());
        changes.push(change("approval.allowed_signers", &paths[0], &paths[1], "other keys may count"));
    }
    changes.extend(is.signers.iter().filter_map(|signer| of_signer(&old.signers, signer)));
    let widths = [
        ("approval.widest_ipv4", old.widest.ipv4, is.widest.ipv4),
        ("approval.widest_ipv6", old.widest.ipv6, is.widest.ipv6),
    ];
    for (key, was, is) in widths.into_iter().filter(|(_, was, is)| is < was) {
        let opens = "documents need not say why a recipient's network is as large";
        changes.push(change(key, &was.to_string(), &is.to_string(), opens));
    }
    let text = |needed: &[Needed]| listed(needed.iter().map(|it| format!("{} {}", it.count, it.role)));
    if asks_less(&old.policy, &is.policy) {
        let (was, is) = (text(&old.policy), text(&is.policy));
        changes.push(change("approval.policy", &was, &is, "configs that open need fewer signatures"));
    }
    // Where there was no emergency, there is one.
    if !is.emergency.is_empty() && (old.emergency.is_empty() || asks_less(&old.emergency, &is.emergency)) {
        let (was, is) = (text(&old.emergency), text(&is.emergency));
        changes.push(change("approval.emergency", &was, &is, "an emergency opens by fewer approvals"));
    }
    let weaker: BTreeSet<String> =
        before.pin_names().into_iter().filter(|pin| is_weaker(old, is, pin)).collect();
    let rules = |approvals: &Approvals, pin: &str| {
        let rules = approvals.rules.iter().filter(|rule| rule.is_for(pin));
        let required = |rule: &crate::approval::Rule| {
            let needed = rule.required.iter().map(|it| format!("{} {}", it.count, it.role));
            let acts = if rule.acts.is_empty() { "any act".to_owned() } else { rule.acts.join(" or ") };
            format!("{} for {acts}", listed(needed))
        };
        listed(rules.map(required))
    };
    changes.extend(weaker.into_iter().map(|pin| {
        let opens = format!("some exemptions of the pin {pin} need fewer approvals");
        change("approval.rule", &rules(old, &pin), &rules(is, &pin), opens)
    }));
    changes
}

/// Whether of any role fewer are asked for.
fn asks_less(old: &[Needed], new: &[Needed]) -> bool {
    let count = |needed: &[Needed], role: &str| -> u32 {
        let of = needed.iter().filter(|it| it.role == role);
        of.fold(0, |sum, it| sum.saturating_add(it.count))
    };
    old.iter().any(|it| count(new, &it.role) < count(old, &it.role))
}

fn of_signer(old: &[Signer], signer: &Signer) -> Option<Change> {
    let text = |signer: &Signer| {
        let user = signer.user.as_ref().map(|user| format!(", the user {user}")).unwrap_or_default();
        format!("{} as {}{user}", signer.identity, signer.roles.join(", "))
    };
    let before = old.iter().find(|it| it.identity.eq_ignore_ascii_case(&signer.identity));
    let opens = match before {
        None => "one more may approve",
        Some(was) if signer.roles.iter().any(|role| !was.roles.contains(role)) => {
            "the signer approves in a role more"
        }
        Some(was) if was.user.is_some() && was.user != signer.user => {
            "who loads is held against another user of the signer"
        }
        // As the author of a document they take part in it by loading it, without a signature.
        Some(was) if was.user != signer.user => "the signer takes part by loading, without a signature",
        Some(_) => return None,
    };
    Some(change("approval.signer", &before.map(text).unwrap_or_default(), &text(signer), opens))
}

/// Whether any exemption of a pin may need fewer approvals. Each act is asked for by itself: what a document that rests on
/// several acts needs is the most that any of them needs. An act that is refused now asks for nothing beside others.
fn is_weaker(old: &Approvals, new: &Approvals, pin: &str) -> bool {
    let pins = [pin.to_owned()];
    let acts = ACTS.iter().map(std::slice::from_ref).chain([[].as_slice()]);
    acts.into_iter().any(|acts| {
        let was = due(&old.rules, &pins, acts, Vec::new());
        let is = due(&new.rules, &pins, acts, Vec::new());
        match (was, is) {
            (Err(_), is) => is.is_ok(),
            (Ok(was), Err(_)) => !was.is_empty(),
            (Ok(was), Ok(is)) => {
                was.iter().any(|one| is.iter().all(|it| it.role != one.role || it.count < one.count))
            }
        }
    })
}
