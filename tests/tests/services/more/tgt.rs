//! tgt: disks that others read by iSCSI, and what else sends them.

use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;
use guard_tests::marked::Marked;
use guard_tests::proc::{Process, Transport};

use super::sh;
use crate::stage::{PATIENCE, Page, STORE_ADDRESS, Stage, Way, guarded, mails};

const PAGE: Page = Page { name: "tgt", text: include_str!("../../../../docs/recipes/tgt.md") };
const NAME: &str = "iqn.2000-01.org.example:mail";

fn server(machine: &Machine<'_>, within: Option<&Cgroup>) -> Process {
    machine.run(&["install", "-d", "/run/tgtd"]).unwrap();
    let mut disk = mails();
    disk.resize(1 << 20, b' ');
    machine.write("/srv/disks/mail", disk).unwrap();
    let server = machine.serve("root", within, &["tgtd", "--foreground"]).unwrap();
    server.wait_for_port(machine.netns(), Transport::Tcp, 3260, PATIENCE).unwrap();
    for words in [
        format!("new --mode target --tid 1 --targetname {NAME}"),
        "new --mode logicalunit --tid 1 --lun 1 --backing-store /srv/disks/mail".to_owned(),
        "bind --mode target --tid 1 --initiator-address ALL".to_owned(),
    ] {
        sh(machine, None, &format!("tgtadm --lld iscsi --op {words}")).unwrap();
    }
    server
}

#[test]
#[ignore = "needs root and BPF"]
fn by_slice() {
    guarded(&PAGE, Way::Slice, scenario);
}

fn scenario(stage: &Stage<'_>) {
    let _server = server(&stage.store, Some(&stage.service));

    // What another service of the host fetches from there.
    let sender = stage.us.serve("root", None, &["sh", "-c", "echo an import | nc -N -l 9001"]).unwrap();
    sender.wait_for_port(stage.us.netns(), Transport::Tcp, 9001, PATIENCE).unwrap();
    let import = "timeout 3 nc 203.0.113.10 9001 > /srv/new";
    sh(&stage.store, Some(&stage.import), import).unwrap();
    assert_eq!(std::fs::read_to_string(stage.store.path("/srv/new")).unwrap(), "an import\n");

    // Clients: one that reads the disk for a second.
    let read = format!("timeout 5 iscsi-perf --runtime 1 --blocks 64 iscsi://{STORE_ADDRESS}/{NAME}/1");
    let seen = Marked::at(stage.belgium.netns()).unwrap();
    sh(&stage.belgium, None, &read).unwrap();
    assert!(seen.count().unwrap() > 10);
    stage.is_cut("a disk", || sh(&stage.us, None, &read));
    stage.told(3260);

    // It opens no connections; what is pushed from its slice.
    for (machine, address) in stage.others() {
        let listener = machine.serve("root", None, &["sh", "-c", "nc -l 9000 > /tmp/pushed"]).unwrap();
        listener.wait_for_port(machine.netns(), Transport::Tcp, 9000, PATIENCE).unwrap();
        let push = format!("timeout 3 nc -N {address} 9000 < /srv/disks/mail");
        let push = || sh(&stage.store, Some(&stage.service), &push);
        let there = || std::fs::read(machine.path("/tmp/pushed")).unwrap();
        if address == "203.0.113.10" {
            stage.is_cut("a push", push);
            assert_eq!(there(), b"");
        } else {
            push().unwrap();
            assert!(there() == std::fs::read(stage.store.path("/srv/disks/mail")).unwrap());
        }
    }
}
