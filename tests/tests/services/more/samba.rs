//! Samba: files that others fetch, and what is pushed to other servers.

use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;
use guard_tests::proc::{Process, Transport};

use super::sh;
use crate::stage::{PATIENCE, Page, STORE_ADDRESS, Stage, Way, guarded, mails};

const PAGE: Page = Page { name: "samba", text: include_str!("../../../../docs/recipes/samba.md") };
const CONFIG: &str = "[global]
    map to guest = Bad User
    disable netbios = yes
    smb ports = 445
    load printers = no
[mail]
    path = /srv/mail
    guest ok = yes
    read only = no
    force user = root
";

fn server(machine: &Machine<'_>, within: Option<&Cgroup>) -> Process {
    machine.write("/etc/samba/smb.conf", CONFIG).unwrap();
    machine.run(&["install", "-d", "/srv/mail", "/srv/in", "/run/samba"]).unwrap();
    let server = machine.serve("root", within, &["smbd", "--foreground", "--no-process-group"]).unwrap();
    server.wait_for_port(machine.netns(), Transport::Tcp, 445, PATIENCE).unwrap();
    server
}

#[test]
#[ignore = "needs root and BPF"]
fn by_slice() {
    guarded(&PAGE, Way::Slice, scenario);
}

#[test]
#[ignore = "needs root and BPF"]
fn by_volume() {
    guarded(&PAGE, Way::Volume, scenario);
}

fn scenario(stage: &Stage<'_>) {
    let _servers =
        [server(&stage.store, Some(&stage.service)), server(&stage.belgium, None), server(&stage.us, None)];
    stage.store.write("/srv/mail/box", mails()).unwrap();
    let ask = |machine: &Machine<'_>, within, server: &str, words: &str| {
        sh(
            machine,
            within,
            &format!("timeout {} smbclient --no-pass //{server}/mail --command '{words}'", stage.seconds),
        )
    };
    let has = |machine: &Machine<'_>, file: &str| std::fs::read(machine.path(file)).unwrap() == mails();

    // What another service of the host fetches from there.
    stage.us.write("/srv/mail/new", "an import").unwrap();
    ask(&stage.store, Some(&stage.import), "203.0.113.10", "get new /srv/in/new").unwrap();
    assert_eq!(std::fs::read_to_string(stage.store.path("/srv/in/new")).unwrap(), "an import");

    // Clients.
    ask(&stage.belgium, None, STORE_ADDRESS, "get box /tmp/fetched").unwrap();
    assert!(has(&stage.belgium, "/tmp/fetched"));
    stage.is_cut("a file", || ask(&stage.us, None, STORE_ADDRESS, "get box /tmp/fetched"));
    stage.told(445);

    // What is pushed from its slice.
    for (machine, address) in stage.others() {
        let push = || ask(&stage.store, Some(&stage.service), address, "put /srv/mail/box pushed");
        if address == "203.0.113.10" {
            stage.is_cut("a push", push);
            assert!(!machine.path("/srv/mail/pushed").exists());
        } else {
            push().unwrap();
            assert!(has(machine, "/srv/mail/pushed"));
        }
    }
}
