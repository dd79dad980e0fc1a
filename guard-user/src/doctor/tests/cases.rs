//! Checks of what a host's files say.

use super::*;
use State::{Absent, Blocked, Covered, NotCovered, NotKnown};

/// A check, what the host has beside the base, and what has to come of it with which evidence.
type Case = (&'static str, &'static [(&'static str, Entry)], State, &'static str);

const PROTOCOLS: &str = "protocol size sockets memory\nPACKET 1600 0 -1\nXDP 1088 0 -1\n";
const PACKET: &str = "sk RefCnt Type Proto Iface R Rmem User Inode\n0000 3 3 0003 2 1 0 104 5501\n";
const NIC: &str = "sys/class/net/eth0/device/driver";
const PCI: &str = "sys/bus/pci/devices/0000:01:00.0/driver";
const PCI_CLASS: &str = "sys/bus/pci/devices/0000:01:00.0/class";
const VFS: &str = "sys/bus/pci/devices/0000:01:00.0/sriov_numvfs";
const VIRTFN: &str = "sys/bus/pci/devices/0000:01:00.0/virtfn0";
const VF_NET: &str = "sys/bus/pci/devices/0000:01:10.0/net";
const CONFIG: &str = "boot/config-6.12.1";
const VSYSCALL32: &str = "proc/sys/abi/vsyscall32";
const BPF_MOUNT: &str = "bpf /sys/fs/bpf bpf rw,mode=700 0 0\n";
const SUBUID: &str = "etc/subuid";
const LSM: &str = "sys/kernel/security/lsm";

const CASES: &[Case] = &[
    ("namespace-tunnels", &[], Absent, "/proc/*/ns/net"),
    (
        "namespace-tunnels",
        &[("proc/7/ns/net", Link("net:[9]")), ("proc/7/comm", File("pod\n"))],
        NotKnown,
        "net:[9] of process 7 (pod)",
    ),
    ("namespace-tunnels", &[("run/netns/blue", File(""))], NotKnown, "/run/netns/blue"),
    ("namespace-tunnels", &[("proc/7/ns", Unreadable)], NotKnown, "of process 7"),
    ("namespace-tunnels", &[("proc/1/ns/net", Nothing)], NotKnown, "/proc/1"),
    ("earlier-sockets", &[("proc/net/protocols", File(PROTOCOLS))], Absent, "0 sockets of XDP and PACKET"),
    (
        "earlier-sockets",
        &[("proc/net/protocols", File("PACKET 1 0\nXDP 1 2\n"))],
        NotCovered,
        "2 sockets of XDP",
    ),
    (
        "earlier-sockets",
        &[("proc/net/protocols", File("PACKET 1 1\n")), ("proc/net/packet", File(PACKET))],
        NotKnown,
        "inode 5501 of user 104",
    ),
    (
        "earlier-sockets",
        &[("proc/net/protocols", File("PACKET 1 1\nXDP 1 1\n")), ("proc/net/packet", File(PACKET))],
        NotCovered,
        "1 sockets of PACKET",
    ),
    ("earlier-sockets", &[("proc/net/protocols", File("PACKET 1\n"))], NotKnown, "no number of PACKET"),
    ("earlier-sockets", &[("proc/net/protocols", Unreadable)], NotKnown, "can't be read"),
    ("32-bit-calls", &[(CONFIG, File("CONFIG_X86_64=y\n"))], Absent, "vsyscall32 is not there"),
    (
        "32-bit-calls",
        &[
            (CONFIG, File("CONFIG_X86_64=y\n")),
            (VSYSCALL32, File("1")),
            ("proc/cmdline", File("quiet ia32_emulation=off")),
        ],
        Blocked,
        "ia32_emulation=off",
    ),
    (
        "32-bit-calls",
        &[(CONFIG, File("CONFIG_IA32_EMULATION_DEFAULT_DISABLED=y\n")), (VSYSCALL32, File("1"))],
        Blocked,
        "DEFAULT_DISABLED=y",
    ),
    ("32-bit-calls", &[(VSYSCALL32, File("1"))], NotCovered, "vsyscall32 is there"),
    (
        "32-bit-calls",
        &[(VSYSCALL32, File("1")), ("proc/cmdline", File("ia32_emulation=off ia32_emulation=on"))],
        NotCovered,
        "ia32_emulation=on",
    ),
    ("32-bit-calls", &[(CONFIG, File("CONFIG_X86_X32_ABI=y\n"))], NotCovered, "CONFIG_X86_X32_ABI=y"),
    ("32-bit-calls", &[(CONFIG, File("CONFIG_X86_X32_ABI=y\nCONFIG_X86_X32_DISABLED=y\n"))], Absent, "X32"),
    (
        "32-bit-calls",
        &[
            (CONFIG, File("CONFIG_X86_X32_ABI=y\nCONFIG_X86_X32_DISABLED=y\n")),
            ("proc/cmdline", File("syscall.x32=y")),
        ],
        NotCovered,
        "X32",
    ),
    // Whether the kernel has x32 calls is not known: nothing here is blocked.
    (
        "32-bit-calls",
        &[(VSYSCALL32, File("1")), ("proc/cmdline", File("ia32_emulation=off"))],
        NotKnown,
        "config can't be read",
    ),
    ("32-bit-calls", &[("proc/sys/abi", Unreadable)], NotKnown, "can't be read"),
    ("senders", &[("sys/kernel/btf/vmlinux", File(""))], Covered, "lsm is not there"),
    ("senders", &[("sys/kernel/btf/vmlinux", File("")), (LSM, File("lockdown,bpf"))], Covered, "lsm has bpf"),
    ("senders", &[], NotCovered, "vmlinux is not there"),
    ("senders", &[("sys/kernel/btf", Unreadable)], NotKnown, "can't be read"),
    (
        "user-namespaces",
        &[("proc/sys/user/max_user_namespaces", File("0\n"))],
        Blocked,
        "max_user_namespaces = 0",
    ),
    (
        "user-namespaces",
        &[("proc/sys/kernel/unprivileged_userns_clone", File("0\n"))],
        Blocked,
        "unprivileged_userns_clone = 0",
    ),
    ("user-namespaces", &[], Absent, "/etc/subuid has nobody"),
    ("user-namespaces", &[(SUBUID, File("dev:100000:65536\n"))], NotCovered, "dev:100000:65536"),
    (
        "user-namespaces",
        &[
            (SUBUID, File("dev:100000:65536\n")),
            ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", File("1")),
        ],
        NotCovered,
        "apparmor",
    ),
    (
        "user-namespaces",
        &[("etc/nsswitch.conf", File("passwd: files\nsubid: sss\n"))],
        NotKnown,
        "subid: sss",
    ),
    ("user-namespaces", &[(SUBUID, Unreadable)], NotKnown, "/etc/subuid can't be read"),
    ("mptcp", &[], Absent, "the kernel has none"),
    ("mptcp", &[("proc/sys/net/mptcp/enabled", File("0\n"))], Blocked, "net.mptcp.enabled = 0"),
    (
        "mptcp",
        &[("proc/sys/net/mptcp/enabled", File("1\n")), ("proc/sys/net/mptcp/path_manager", File("kernel\n"))],
        Covered,
        "path_manager = kernel",
    ),
    (
        "mptcp",
        &[("proc/sys/net/mptcp/enabled", File("1\n")), ("proc/sys/net/mptcp/pm_type", File("0\n"))],
        Covered,
        "pm_type = 0",
    ),
    ("mptcp", &[("proc/sys/net/mptcp/enabled", File("x\n"))], NotKnown, "no number"),
    (
        "forwarding",
        &[
            ("proc/sys/net/ipv4/conf/all/forwarding", File("0")),
            ("proc/sys/net/ipv4/conf/default/forwarding", File("1")),
        ],
        Absent,
        "are 0",
    ),
    (
        "forwarding",
        &[
            ("proc/sys/net/ipv6/conf/br0/forwarding", File("1")),
            ("proc/net/ip_tables_names", File("filter\nnat\n")),
        ],
        NotKnown,
        "has nat",
    ),
    (
        "forwarding",
        &[("proc/sys/net/ipv4/conf/all/forwarding", Nothing)],
        NotKnown,
        "all/forwarding is not there",
    ),
    ("forwarding", &[("proc/sys/net/ipv4/conf/all/forwarding", Unreadable)], NotKnown, "can't be read"),
    ("taps", &[], Absent, "no interface is a tap device"),
    ("taps", &[("sys/class/net/eth0/tun_flags", File("0x1002\n"))], NotCovered, "eth0"),
    ("taps", &[("sys/class/net/eth0/tun_flags", File("tap"))], NotKnown, "no number"),
    ("taps", &[("sys/class/net/other0", Folder)], NotKnown, "another network namespace"),
    ("tunnels", &[], Absent, "no interface"),
    (
        "tunnels",
        &[("sys/class/net/eth0/uevent", File("DEVTYPE=wireguard\nINTERFACE=eth0\n"))],
        Covered,
        "eth0 (wireguard)",
    ),
    ("tunnels", &[("sys/class/net/lo/tun_flags", File("0x1001"))], NotCovered, "lo (tun)"),
    ("tunnels", &[("sys/class/net/lo/uevent", Unreadable)], NotKnown, "can't be read"),
    ("netpoll", &[], Absent, "neither"),
    ("netpoll", &[("sys/module/pktgen", Folder)], NotCovered, "/sys/module/pktgen"),
    ("netpoll", &[("sys/kernel/config/netconsole/t1/enabled", File("1"))], NotCovered, "t1/enabled is 1"),
    ("netpoll", &[("proc/cmdline", File("netconsole=@/eth0,@192.0.2.1/"))], NotCovered, "netconsole=@/eth0"),
    ("netpoll", &[("sys/kernel/config/netconsole", Unreadable)], NotKnown, "can't be read"),
    ("rdma", &[], Absent, "no device"),
    ("rdma", &[("sys/class/infiniband/mlx5_0", Folder)], NotCovered, "mlx5_0"),
    ("rdma", &[("sys/class/infiniband", Unreadable)], NotKnown, "can't be read"),
    ("vfio", &[(PCI, Link("../../drivers/ixgbe"))], Absent, "no network device"),
    (
        "vfio",
        &[(PCI, Link("../../drivers/vfio-pci")), (PCI_CLASS, File("0x030000"))],
        Absent,
        "class 0x030000",
    ),
    (
        "vfio",
        &[(PCI, Link("../../drivers/vfio-pci")), (PCI_CLASS, File("0x020000"))],
        NotCovered,
        "0000:01:00.0 (vfio-pci)",
    ),
    ("vfio", &[(PCI, Link("../../drivers/igb_uio"))], NotCovered, "igb_uio"),
    ("vfio", &[("sys/bus/vdpa/devices/vdpa0", Folder)], NotCovered, "vdpa0"),
    (
        "vfio",
        &[("sys/bus/vdpa/devices/vdpa0/driver", Link("../../drivers/virtio_vdpa"))],
        Absent,
        "no network device",
    ),
    ("virtual-functions", &[(VFS, File("2"))], NotCovered, "those of 0000:01:00.0"),
    (
        "netpoll",
        &[("proc/cmdline", File("netconsole.netconsole=@/,@192.0.2.1/"))],
        NotCovered,
        "netconsole.netconsole",
    ),
    ("vfio", &[("sys/bus/pci/devices", Unreadable)], NotKnown, "can't be read"),
    ("virtual-functions", &[(VFS, File("0"))], Absent, "is 0"),
    (
        "virtual-functions",
        &[(VFS, File("1")), (VIRTFN, Link("../0000:01:10.0"))],
        NotCovered,
        "0000:01:10.0 of 0000:01:00.0",
    ),
    (
        "virtual-functions",
        &[
            (VFS, File("1")),
            (VIRTFN, Link("../0000:01:10.0")),
            (VF_NET, Folder),
            ("sys/bus/pci/devices/0000:01:10.0/net/lo", Folder),
        ],
        NotCovered,
        "without a guard",
    ),
    (
        "virtual-functions",
        &[
            (VFS, File("1")),
            (VIRTFN, Link("../0000:01:10.0")),
            ("sys/bus/pci/devices/0000:01:10.0/net/eth0", Folder),
        ],
        Covered,
        "0000:01:10.0 (eth0)",
    ),
    ("virtual-functions", &[(VFS, Unreadable)], NotKnown, "can't be read"),
    ("offloads", &[], Absent, "no interface"),
    ("offloads", &[(NIC, Link("../../virtio_net"))], Absent, "eth0 (virtio_net)"),
    ("offloads", &[("sys/class/net/eth0/phys_switch_id", File("7c1e"))], NotCovered, "eth0"),
    ("offloads", &[(NIC, Link("../../mlx5_core"))], NotKnown, "eth0 (mlx5_core)"),
    ("offloads", &[("proc/net/dev", Unreadable)], NotKnown, "can't be read"),
    (
        "card-connections",
        &[("proc/net/tls_stat", File("TlsCurrTxSw    3\nTlsCurrTxDevice   0\n"))],
        Absent,
        "no chtls",
    ),
    (
        "card-connections",
        &[("proc/net/tls_stat", File("TlsCurrTxSw    3\nTlsCurrTxDevice   2\n"))],
        NotCovered,
        "TlsCurrTxDevice 2",
    ),
    ("card-connections", &[("sys/module/chtls", Folder)], NotCovered, "chtls"),
    (
        "card-connections",
        &[("sys/class/iscsi_host/host3", Folder), ("sys/class/scsi_host/host3/proc_name", File("iscsi_tcp"))],
        Absent,
        "no",
    ),
    (
        "card-connections",
        &[("sys/class/iscsi_host/host3", Folder), ("sys/class/scsi_host/host3/proc_name", File("bnx2i"))],
        NotCovered,
        "bnx2i",
    ),
    ("card-connections", &[("sys/class/fc_host/host4", Folder)], NotCovered, "host4"),
    ("card-connections", &[("sys/class/fc_host", Unreadable)], NotKnown, "can't be read"),
    ("link-protocols", &[], Absent, "none of"),
    ("link-protocols", &[("sys/module/tipc", Folder)], NotCovered, "tipc"),
    ("link-protocols", &[("sys/module", Unreadable)], NotKnown, "can't be read"),
    ("resets", &[(CONFIG, File("CONFIG_INET_DIAG_DESTROY=y\n"))], Covered, "=y"),
    (
        "resets",
        &[("lib/modules/6.12.1/config", File("CONFIG_INET=y\n"))],
        NotCovered,
        "CONFIG_INET_DIAG_DESTROY=n",
    ),
    ("resets", &[], NotKnown, "config can't be read"),
    (
        "bpffs",
        &[("proc/self/mounts", File(BPF_MOUNT)), ("sys/fs/bpf", Folder)],
        Blocked,
        "/sys/fs/bpf (user 0, mode 755)",
    ),
    ("bpffs", &[("proc/self/mounts", File("proc /proc proc rw 0 0\n"))], NotCovered, "no bpf"),
    ("bpffs", &[("proc/self/mounts", File(BPF_MOUNT))], NotKnown, "are not there"),
    (
        "bpffs",
        &[("proc/self/mounts", File(BPF_MOUNT)), ("sys/fs/bpf", Unreadable)],
        NotKnown,
        "/sys/fs/bpf can't be read",
    ),
    ("unprivileged-bpf", &[("proc/sys/kernel/unprivileged_bpf_disabled", File("2"))], Blocked, "= 2"),
    (
        "unprivileged-bpf",
        &[
            ("proc/sys/kernel/unprivileged_bpf_disabled", File("0")),
            ("proc/sys/net/core/bpf_jit_harden", File("1")),
        ],
        NotCovered,
        "bpf_jit_harden = 1",
    ),
    ("unprivileged-bpf", &[], NotKnown, "is not there"),
    ("modules", &[("proc/sys/kernel/modules_disabled", File("1"))], Blocked, "modules_disabled = 1"),
    ("modules", &[], Absent, "no modules"),
    (
        "modules",
        &[
            ("proc/sys/kernel/modules_disabled", File("0")),
            ("sys/module/module/parameters/sig_enforce", File("Y")),
        ],
        NotCovered,
        "those that are signed",
    ),
    ("modules", &[("proc/sys/kernel/modules_disabled", Unreadable)], NotKnown, "can't be read"),
    ("kexec", &[("proc/sys/kernel/kexec_load_disabled", File("1"))], Blocked, "kexec_load_disabled = 1"),
    ("kexec", &[], Absent, "no kexec"),
    (
        "kexec",
        &[("proc/sys/kernel/kexec_load_disabled", File("0")), ("sys/kernel/kexec_loaded", File("1"))],
        NotCovered,
        "one waits",
    ),
    ("kexec", &[("proc/sys/kernel/kexec_load_disabled", Unreadable)], NotKnown, "can't be read"),
    (
        "lockdown",
        &[("sys/kernel/security/lockdown", File("none [integrity] confidentiality"))],
        Blocked,
        "[integrity]",
    ),
    (
        "lockdown",
        &[("sys/kernel/security/lockdown", File("[none] integrity confidentiality"))],
        NotCovered,
        "[none]",
    ),
    ("lockdown", &[(LSM, File("capability"))], NotCovered, "no lockdown"),
    ("lockdown", &[], NotKnown, "securityfs is not mounted"),
];

#[test]
fn each_way_is_as_the_host_s_files_say() {
    for (code, entries, state, part) in CASES {
        let (host, _folder) = host(entries);
        // Root owns what its tests make; another user's folders are that one's.
        let part = part.replace("user 0", &format!("user {}", rustix::process::getuid().as_raw()));
        hold(&host, code, *state, &part);
    }
}

/// Of which no file ever says that they are open: what is forwarded or in another namespace may be a pin's or not.
const NEVER_OPEN: &[&str] = &["namespace-tunnels", "forwarding"];

#[test]
fn each_check_has_a_host_where_it_is_closed_one_where_it_is_open_and_one_where_it_is_not_known() {
    for check in CHECKS {
        let of_files = CASES.iter().filter(|(code, ..)| *code == check.code).map(|(.., state, _)| *state);
        let states: BTreeSet<State> = of_files.chain(of_daemon::states(check.code)).collect();
        let is_closed = states.iter().any(|state| !state.needs_doing());
        assert!(is_closed && states.contains(&NotKnown), "{}: {states:?}", check.code);
        assert_eq!(states.contains(&NotCovered), !NEVER_OPEN.contains(&check.code), "{}", check.code);
    }
}

#[test]
fn what_is_missing_is_absent_only_where_its_file_system_is_there() {
    // A host without /proc and /sys: nothing is absent, covered or blocked by their files.
    let folder = tempfile::tempdir().unwrap();
    let (mut host, _files) = host(&[]);
    host.root = folder.path().to_owned();
    let files: BTreeSet<&str> = CASES.iter().map(|(code, ..)| *code).collect();
    for checked in Report::of(&host, &BTreeSet::new()).checks {
        // Which volumes pins select is the daemon's word.
        let is_by_files = files.contains(checked.code) && checked.code != "interrupted-programs";
        assert!(!is_by_files || checked.state == NotKnown, "{checked:?}");
    }
}

#[test]
fn who_may_not_read_is_told_to_be_root() {
    let denied = Unknown { why: "x".into(), next: Next::AsRoot };
    let (mut host, _files) = host(&[]);
    host.daemon = Err(denied);
    hold(&host, "interfaces", NotKnown, "Run it as root of the host");
    // Where this user is not root, a file that is not for it is such a one.
    let (host, folder) = super::host(&[("proc/sys/kernel/modules_disabled", File("1"))]);
    let file = folder.path().join("proc/sys/kernel/modules_disabled");
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o0)).unwrap();
    match rustix::process::getuid().is_root() {
        true => hold(&host, "modules", Blocked, "= 1"),
        false => hold(&host, "modules", NotKnown, "Run it as root of the host"),
    }
}
