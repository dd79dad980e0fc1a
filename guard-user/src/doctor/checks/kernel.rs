//! What the guard needs of the kernel, and what the kernel lets root and others do to it.

use std::path::{Path, PathBuf};

use super::{Looked, listed};
use crate::doctor::finding::{Finding, State, Unknown};
use crate::doctor::host::Host;

/// Whether the kernel can tell who sends each packet.
pub(in crate::doctor) fn senders(host: &Host) -> Looked {
    let path = "sys/kernel/btf/vmlinux";
    if !host.has(path)? {
        return Ok(Finding::of(State::NotCovered, format!("/{path} is not there")));
    }
    let found = |state| Finding::of(state, format!("/{path} is there"));
    let lsm = match host.text("sys/kernel/security/lsm") {
        Ok(Some(names)) if names.split(',').any(|name| name == "bpf") => {
            return Ok(found(State::Covered).and("/sys/kernel/security/lsm has bpf"));
        }
        Ok(Some(names)) => format!("/sys/kernel/security/lsm has no bpf: {names}"),
        Ok(None) => "/sys/kernel/security/lsm is not there".to_owned(),
        Err(unknown) => unknown.why,
    };
    match host.status() {
        // It refuses a config whose pins need what the kernel can't do.
        Ok(_) => Ok(found(State::Covered)
            .and(lsm)
            .and("the daemon's config has no pin that this kernel can't tell")),
        Err(Unknown { why, next }) => Err(Unknown {
            why: format!("{lsm}; whether tracing programs can be had no file says, and {why}"),
            next,
        }),
    }
}

/// The wall clock.
pub(in crate::doctor) fn clock(host: &Host) -> Looked {
    let clock = host.clock.as_ref().map_err(|why| Unknown::by_hand(format!("adjtimex(2): {why}")))?;
    let most = clock.max_error / 1000;
    Ok(match clock.is_synchronised {
        true => Finding::of(State::Covered, format!("adjtimex(2): synchronised, wrong by {most} ms at most")),
        false => Finding::of(State::NotCovered, "adjtimex(2): nothing synchronises it (STA_UNSYNC)"),
    })
}

/// Who can write where the guard's links are kept.
pub(in crate::doctor) fn bpffs(host: &Host) -> Looked {
    let Some(mounts) = host.text("proc/self/mounts")? else {
        return Err(Unknown::by_hand("/proc/self/mounts is not there"));
    };
    // Device, folder, type; spaces in a folder are escaped.
    let of_bpf = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let of_bpf: Vec<PathBuf> = of_bpf
        .filter(|fields| fields.get(2) == Some(&"bpf"))
        .filter_map(|fields| fields.get(1).map(|folder| PathBuf::from(folder.replace("\\040", " "))))
        .collect();
    if of_bpf.is_empty() {
        return Ok(Finding::of(
            State::NotCovered,
            "/proc/self/mounts has no bpf: what guards ends with the daemon",
        ));
    }
    let (mut open, mut closed) = (Vec::new(), Vec::new());
    let of_guards: Vec<PathBuf> = of_bpf.iter().flat_map(|mount| folders_of_guards(host, mount)).collect();
    for folder in of_bpf.into_iter().chain(of_guards) {
        // Mounts come and go.
        let Some((owner, mode)) = host.owner_and_mode(&folder)? else { continue };
        let shown = format!("{} (user {owner}, mode {mode:o})", folder.display());
        // The sticky bit keeps others from removing what is root's.
        let others_write = mode & 0o022 != 0 && mode & 0o1000 == 0;
        let list = if owner != 0 || others_write { &mut open } else { &mut closed };
        list.push(shown);
    }
    if open.is_empty() && closed.is_empty() {
        return Err(Unknown::by_hand("the folders of bpf in /proc/self/mounts are not there"));
    }
    Ok(match open.is_empty() {
        true => Finding::of(
            State::Blocked,
            format!("others than root remove nothing of root's in {}", listed(&closed)),
        ),
        false => Finding::of(
            State::NotCovered,
            format!("others than root can remove entries in {}", listed(&open)),
        ),
    })
}

/// The folders of each guard that has its pins in this mount.
fn folders_of_guards(host: &Host, mount: &Path) -> Vec<PathBuf> {
    let below = mount.strip_prefix("/").unwrap_or(mount).to_string_lossy().into_owned();
    // What can't be listed has no guard of this user's to look at.
    let names = host.names(&below).unwrap_or_default();
    let pins = names.into_iter().map(|name| mount.join(name));
    let of_guard = pins.filter(|it| host.owner_and_mode(&it.join("maps")).is_ok_and(|found| found.is_some()));
    of_guard.flat_map(|it| [it.join("maps"), it.join("links"), it]).collect()
}

/// Programs that ordinary users load.
pub(in crate::doctor) fn unprivileged_bpf(host: &Host) -> Looked {
    let hardened = match host.number("proc/sys/net/core/bpf_jit_harden") {
        Ok(Some(value)) => format!("net.core.bpf_jit_harden = {value}"),
        Ok(None) => "net.core.bpf_jit_harden is not there".to_owned(),
        Err(unknown) => unknown.why,
    };
    let Some(value) = host.number("proc/sys/kernel/unprivileged_bpf_disabled")? else {
        return Err(Unknown::by_hand("/proc/sys/kernel/unprivileged_bpf_disabled is not there"));
    };
    let state = if value == 0 { State::NotCovered } else { State::Blocked };
    Ok(Finding::of(state, format!("kernel.unprivileged_bpf_disabled = {value}")).and(hardened))
}

/// Modules, by which root has any code in the kernel.
pub(in crate::doctor) fn modules(host: &Host) -> Looked {
    match host.number("proc/sys/kernel/modules_disabled")? {
        None => Ok(Finding::of(
            State::Absent,
            "/proc/sys/kernel/modules_disabled is not there: the kernel has no modules",
        )),
        Some(0) => {
            let found = Finding::of(State::NotCovered, "kernel.modules_disabled = 0");
            Ok(match host.text("sys/module/module/parameters/sig_enforce")?.as_deref() {
                Some("Y") => found.and("sig_enforce is Y: those that are signed"),
                _ => found.and("/sys/module/module/parameters/sig_enforce is not Y: unsigned ones too"),
            })
        }
        Some(value) => Ok(Finding::of(State::Blocked, format!("kernel.modules_disabled = {value}"))),
    }
}

/// Another kernel in the place of this one.
pub(in crate::doctor) fn kexec(host: &Host) -> Looked {
    match host.number("proc/sys/kernel/kexec_load_disabled")? {
        None => Ok(Finding::of(
            State::Absent,
            "/proc/sys/kernel/kexec_load_disabled is not there: the kernel has no kexec",
        )),
        Some(0) => {
            let loaded = host.number("sys/kernel/kexec_loaded")?.unwrap_or(0);
            let found = Finding::of(State::NotCovered, "kernel.kexec_load_disabled = 0");
            Ok(if loaded == 0 { found } else { found.and("/sys/kernel/kexec_loaded is 1: one waits") })
        }
        Some(value) => Ok(Finding::of(State::Blocked, format!("kernel.kexec_load_disabled = {value}"))),
    }
}

/// What root may do to the running kernel's memory.
pub(in crate::doctor) fn lockdown(host: &Host) -> Looked {
    let path = "sys/kernel/security/lockdown";
    let Some(modes) = host.text(path)? else {
        // Without that file system no file says whether the kernel has it.
        return match host.text("sys/kernel/security/lsm")? {
            Some(names) => Ok(Finding::of(
                State::NotCovered,
                format!("/sys/kernel/security/lsm has no lockdown: {names}"),
            )),
            None => Err(Unknown::by_hand("/sys/kernel/security has no file: securityfs is not mounted")),
        };
    };
    let state = if modes.contains("[none]") { State::NotCovered } else { State::Blocked };
    Ok(Finding::of(state, format!("/{path} has {modes}")))
}
