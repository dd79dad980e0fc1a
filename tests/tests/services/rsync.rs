//! rsync's daemon: what others fetch, and what is pushed to others.

use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;
use guard_tests::proc::{Process, Transport};

use crate::stage::{PATIENCE, Page, STORE_ADDRESS, Stage, Way, guarded, mails};

const PAGE: Page = Page { name: "rsync", text: include_str!("../../../docs/recipes/rsync.md") };

fn server(machine: &Machine<'_>, within: Option<&Cgroup>) -> Process {
    let config = "use chroot = no\nuid = root\ngid = root\n[mail]\npath = /srv/mail\n[in]\npath = /srv/in\nread only = no\n";
    machine.write("/etc/rsyncd.conf", config).unwrap();
    machine.run(&["install", "-d", "/srv/mail", "/srv/in"]).unwrap();
    let server = machine.serve("root", within, &["rsync", "--daemon", "--no-detach"]).unwrap();
    server.wait_for_port(machine.netns(), Transport::Tcp, 873, PATIENCE).unwrap();
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
    let timeouts = ["contimeout", "timeout"].map(|option| format!("--{option}={}", stage.seconds));
    let copy = |machine: &Machine<'_>, within, from: &str, to: &str| {
        machine.run_of("root", within, &["rsync", &timeouts[0], &timeouts[1], "-a", from, to])
    };
    let fetched = format!("rsync://{STORE_ADDRESS}/mail/");

    // What another service of the host fetches from there.
    stage.us.write("/srv/mail/new", "an import").unwrap();
    copy(&stage.store, Some(&stage.import), "rsync://203.0.113.10/mail/", "/srv/in/").unwrap();
    assert_eq!(std::fs::read_to_string(stage.store.path("/srv/in/new")).unwrap(), "an import");

    // Clients.
    copy(&stage.belgium, None, &fetched, "/tmp/copy/").unwrap();
    assert!(std::fs::read(stage.belgium.path("/tmp/copy/box")).unwrap() == mails());
    stage.is_cut("a copy", || copy(&stage.us, None, &fetched, "/tmp/copy/"));
    stage.told(873);

    // What the service pushes, also with a source port that it chooses.
    for (machine, address) in stage.others() {
        let to = format!("rsync://{address}/in/");
        let push = || copy(&stage.store, Some(&stage.service), "/srv/mail/", &to);
        let there = machine.path("/srv/in/box");
        if address == "203.0.113.10" {
            stage.is_cut("a push", push);
            assert!(!there.exists());
        } else {
            push().unwrap();
            assert!(std::fs::read(there).unwrap() == mails());
        }
    }
}
