//! Which kernel modules the guest needs, and in which order they go in.

use std::collections::{HashMap, HashSet};

/// What the suites use: the hooks, the kinds of device and of protocol that packets pass, what rewrites their addresses, the
/// lists of sockets, a file system that lies over others, a disk, and ones in memory, and parts of the kernel that data goes
/// through: TLS, ciphers, FUSE, L2TP, an NFS server.
const WANTED: [&str; 44] = [
    "sch_ingress",
    "cls_bpf",
    "act_bpf",
    "veth",
    "tun",
    "dummy",
    "8021q",
    "bonding",
    "bridge",
    "ipvlan",
    "macvlan",
    "vrf",
    "vxlan",
    "geneve",
    "ip_gre",
    "ipip",
    "sit",
    "wireguard",
    "esp4",
    "xfrm_user",
    "crypto_null",
    "authenc",
    "sctp",
    "nf_tables",
    "nft_chain_nat",
    "nft_ct",
    "nft_masq",
    "nft_nat",
    "tcp_diag",
    "udp_diag",
    "overlay",
    "virtio_blk",
    "brd",
    "tls",
    "gcm",
    "ctr",
    "ghash_generic",
    "aes_generic",
    "algif_skcipher",
    "ecb",
    "fuse",
    "l2tp_eth",
    "l2tp_netlink",
    "nfsd",
];

/// The files of the wanted modules and of everything that they depend on, each after what it needs, as
/// paths below the folder of `modules.dep`. A module that this kernel does not have is left out: it may be
/// built in.
pub(super) fn in_order(modules_dep: &str) -> Vec<String> {
    closure(modules_dep, &WANTED)
}

fn closure(modules_dep: &str, wanted: &[&str]) -> Vec<String> {
    let needs: HashMap<&str, Vec<&str>> = modules_dep
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(file, needs)| (file.trim(), needs.split_whitespace().collect()))
        .collect();
    let files: HashMap<String, &str> = needs.keys().map(|file| (name(file), *file)).collect();
    let mut order = Vec::new();
    let mut seen = HashSet::new();
    for module in wanted {
        if let Some(file) = files.get(&module.replace('-', "_")) {
            visit(file, &needs, &mut seen, &mut order);
        }
    }
    order
}

fn visit<'a>(
    file: &'a str,
    needs: &HashMap<&'a str, Vec<&'a str>>,
    seen: &mut HashSet<&'a str>,
    order: &mut Vec<String>,
) {
    if !seen.insert(file) {
        return;
    }
    for needed in needs.get(file).into_iter().flatten() {
        visit(needed, needs, seen, order);
    }
    order.push(file.to_owned());
}

/// `cls_bpf` of `kernel/net/sched/cls_bpf.ko.xz`; a dash in a file's name is an underscore to the kernel.
fn name(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    base.split('.').next().unwrap_or(base).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/net/bridge.ko.xz: kernel/net/stp.ko.xz kernel/net/llc.ko.xz\n\
        kernel/net/stp.ko.xz: kernel/net/llc.ko.xz\nkernel/net/llc.ko.xz:\nkernel/net/ip-gre.ko:\n";

    #[test]
    fn every_module_comes_after_what_it_needs_and_once() {
        assert_eq!(
            closure(DEP, &["bridge", "stp"]),
            ["kernel/net/llc.ko.xz", "kernel/net/stp.ko.xz", "kernel/net/bridge.ko.xz"]
        );
    }

    #[test]
    fn dashes_and_missing_modules_are_no_trouble() {
        assert_eq!(closure(DEP, &["veth", "ip_gre"]), ["kernel/net/ip-gre.ko"]);
    }

    #[test]
    fn a_circle_ends() {
        assert_eq!(closure("a.ko: b.ko\nb.ko: a.ko\n", &["a"]), ["b.ko", "a.ko"]);
    }
}
