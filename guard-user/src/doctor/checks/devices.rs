//! Hardware and devices by which packets leave beside the kernel's hooks.

use super::{Looked, listed};
use crate::doctor::finding::{Finding, State, Unknown};
use crate::doctor::host::Host;

/// RDMA devices, whose queues programs write themselves.
pub(in crate::doctor) fn rdma(host: &Host) -> Looked {
    let devices = host.names("sys/class/infiniband")?;
    Ok(match devices.is_empty() {
        true => Finding::of(State::Absent, "/sys/class/infiniband has no device"),
        false => Finding::of(State::NotCovered, format!("/sys/class/infiniband has {}", listed(&devices))),
    })
}

/// Drivers that hand a PCI device to a program or a guest.
fn hands_on(driver: &str) -> bool {
    driver.contains("vfio")
        || matches!(driver, "uio_pci_generic" | "igb_uio" | "pci-stub" | "xen-pciback" | "pciback")
}

/// PCI classes of network controllers, and of Fibre Channel's (PCI Code and ID Assignment Specification).
fn leads_out(class: &str) -> bool {
    class.starts_with("0x02") || class.starts_with("0x0c04")
}

/// PCI devices that a program or a guest has as its own, and vDPA devices.
pub(in crate::doctor) fn vfio(host: &Host) -> Looked {
    let (mut out, mut other) = (Vec::new(), Vec::new());
    for device in host.names("sys/bus/pci/devices")? {
        let below = format!("sys/bus/pci/devices/{device}");
        let Some(driver) = host.linked(&format!("{below}/driver"))?.filter(|driver| hands_on(driver)) else {
            continue;
        };
        // Of one whose class is not known it is not known that nothing leaves by it.
        let class = host.text(&format!("{below}/class"))?.unwrap_or_default();
        match class.is_empty() || leads_out(&class) {
            true => out.push(format!("{device} ({driver})")),
            false => other.push(format!("{device} ({driver}, class {class})")),
        }
    }
    for device in host.names("sys/bus/vdpa/devices")? {
        // The kernel's own network device is judged as any.
        if host.linked(&format!("sys/bus/vdpa/devices/{device}/driver"))?.as_deref() != Some("virtio_vdpa") {
            out.push(format!("{device} (vDPA)"));
        }
    }
    if !out.is_empty() {
        return Ok(Finding::of(State::NotCovered, format!("/sys/bus has {}", listed(&out))));
    }
    let found = Finding::of(
        State::Absent,
        "/sys/bus/pci/devices has no network device that a guest or a program has",
    );
    Ok(match other.is_empty() {
        true => found,
        false => found.and(format!("of other classes: {}", listed(&other))),
    })
}

/// Virtual functions of a network device, which guests and containers send by.
pub(in crate::doctor) fn virtual_functions(host: &Host) -> Looked {
    let (mut bare, mut guarded) = (Vec::new(), Vec::new());
    for device in host.names("sys/bus/pci/devices")? {
        let below = format!("sys/bus/pci/devices/{device}");
        if host.number(&format!("{below}/sriov_numvfs"))?.unwrap_or(0) == 0 {
            continue;
        }
        if host.text(&format!("{below}/class"))?.is_some_and(|class| !leads_out(&class)) {
            continue;
        }
        let mut links = host.names(&below)?;
        links.retain(|name| name.starts_with("virtfn"));
        if links.is_empty() {
            bare.push(format!("those of {device}"));
        }
        for link in links {
            let Some(function) = host.linked(&format!("{below}/{link}"))? else { continue };
            let names = host.names(&format!("sys/bus/pci/devices/{function}/net"))?;
            match !names.is_empty() && names.iter().all(|name| host.is_guarded(name)) {
                true => guarded.push(format!("{function} ({})", names.join(", "))),
                false => bare.push(format!("{function} of {device}")),
            }
        }
    }
    if !bare.is_empty() {
        return Ok(Finding::of(
            State::NotCovered,
            format!("virtual functions without a guard: {}", listed(&bare)),
        ));
    }
    Ok(match guarded.is_empty() {
        true => {
            Finding::of(State::Absent, "/sys/bus/pci/devices/*/sriov_numvfs is 0 for every network device")
        }
        false => {
            Finding::of(State::Covered, format!("virtual functions that are guarded: {}", listed(&guarded)))
        }
    })
}

/// Drivers that offload neither TC nor IPsec: their sources set none of NETIF_F_HW_TC and NETIF_F_HW_ESP.
const WITHOUT_OFFLOADS: &[&str] = &["virtio_net", "vmxnet3", "e1000", "e1000e"];

/// Rules and IPsec that the network card does by itself.
pub(in crate::doctor) fn offloads(host: &Host) -> Looked {
    let (mut switched, mut open, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for name in host.interfaces()? {
        let below = format!("sys/class/net/{name}");
        if host.text(&format!("{below}/phys_switch_id"))?.is_some_and(|id| !id.is_empty()) {
            switched.push(name.clone());
        }
        if host.has(&format!("{below}/device"))? {
            let driver = host.linked(&format!("{below}/device/driver"))?.unwrap_or_default();
            let list = if WITHOUT_OFFLOADS.contains(&driver.as_str()) { &mut without } else { &mut open };
            list.push(format!("{name} ({driver})"));
        }
    }
    if !switched.is_empty() {
        let evidence = format!(
            "/sys/class/net/*/phys_switch_id: the card switches frames itself for {}",
            listed(&switched)
        );
        return Ok(Finding::of(State::NotCovered, evidence));
    }
    Ok(match (open.is_empty(), without.is_empty()) {
        (false, _) => Finding::of(State::NotKnown, format!("no file says what {} offloads", listed(&open))),
        (true, false) => Finding::of(State::Absent, format!("{} has no such offload", listed(&without))),
        (true, true) => Finding::of(State::Absent, "no interface in /sys/class/net is hardware"),
    })
}

/// Kernel modules with TCP connections on the card.
const WHOLE_CONNECTIONS: &[&str] = &["chtls"];

/// Connections that the card has instead of the kernel: TLS, iSCSI, Fibre Channel.
pub(in crate::doctor) fn connections(host: &Host) -> Looked {
    let mut found = Vec::new();
    for module in WHOLE_CONNECTIONS {
        if host.has(&format!("sys/module/{module}"))? {
            found.push(format!("/sys/module/{module} is loaded"));
        }
    }
    for name in host.names("sys/class/iscsi_host")? {
        let driver = host.text(&format!("sys/class/scsi_host/{name}/proc_name"))?.unwrap_or_default();
        // The kernel's own, by TCP.
        if driver != "iscsi_tcp" {
            found.push(format!("/sys/class/iscsi_host/{name} is {driver}'s"));
        }
    }
    found.extend(
        host.names("sys/class/fc_host")?
            .into_iter()
            .map(|name| format!("/sys/class/fc_host/{name} is there")),
    );
    let statistics = host.text("proc/net/tls_stat")?.unwrap_or_default();
    let counts = statistics.lines().filter_map(|line| line.split_once(char::is_whitespace));
    let on_card =
        counts.into_iter().find(|(name, _)| *name == "TlsCurrTxDevice").map(|(_, count)| count.trim());
    if let Some(count) = on_card.filter(|count| *count != "0") {
        found.push(format!("/proc/net/tls_stat has TlsCurrTxDevice {count}"));
    }
    Ok(match found.split_first() {
        Some((first, more)) => more.iter().fold(Finding::of(State::NotCovered, first), Finding::and),
        None => Finding::of(
            State::Absent,
            "no chtls in /sys/module, no adapter in /sys/class/iscsi_host and fc_host, no TlsCurrTxDevice in \
             /proc/net/tls_stat",
        ),
    })
}

/// `IFF_TUN` and `IFF_TAP` (linux/if_tun.h).
const TUN: u64 = 1;
const TAP: u64 = 2;

/// What kind of tun or tap device an interface is; 0 for others.
fn tun_flags(host: &Host, name: &str) -> Result<u64, Unknown> {
    let path = format!("sys/class/net/{name}/tun_flags");
    let Some(text) = host.text(&path)? else { return Ok(0) };
    let number = text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    number.ok_or_else(|| Unknown::by_hand(format!("/{path} has {text:?}, which is no number")))
}

/// Tap devices, whose guests name where a checksum is filled in.
pub(in crate::doctor) fn taps(host: &Host) -> Looked {
    let mut taps = Vec::new();
    for name in host.interfaces()? {
        if tun_flags(host, &name)? & TAP != 0 {
            taps.push(name);
        }
    }
    let can_be = if host.has("dev/net/tun")? { "is there" } else { "is not there" };
    Ok(match taps.is_empty() {
        true => Finding::of(State::Absent, format!("no interface is a tap device; /dev/net/tun {can_be}")),
        false => Finding::of(State::NotCovered, format!("tap devices: {}", listed(&taps))),
    })
}

/// Devices whose packets a program or a tunnel with keys carries on.
pub(in crate::doctor) fn tunnels(host: &Host) -> Looked {
    let (mut bare, mut guarded) = (Vec::new(), Vec::new());
    for name in host.interfaces()? {
        let event = host.text(&format!("sys/class/net/{name}/uevent"))?.unwrap_or_default();
        let kind = event.lines().find_map(|line| line.strip_prefix("DEVTYPE=")).unwrap_or_default();
        let kind = if tun_flags(host, &name)? & TUN != 0 { "tun" } else { kind };
        if matches!(kind, "tun" | "wireguard" | "ppp") {
            let list = if host.is_guarded(&name) { &mut guarded } else { &mut bare };
            list.push(format!("{name} ({kind})"));
        }
    }
    if bare.is_empty() {
        return Ok(match guarded.is_empty() {
            true => Finding::of(State::Absent, "no interface is a tun, PPP or WireGuard device"),
            false => Finding::of(State::Covered, format!("guarded themselves: {}", listed(&guarded))),
        });
    }
    let found = Finding::of(State::NotCovered, format!("not guarded themselves: {}", listed(&bare)));
    Ok(match host.status() {
        Ok(_) => found,
        Err(unknown) => Finding::of(State::NotKnown, format!("there are {}", listed(&bare))).and(unknown.why),
    })
}
