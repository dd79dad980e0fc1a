//! restic: backups that are pushed to others, and those that others fetch from a repository here.

use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;
use guard_tests::proc::{Process, Transport};

use super::sh;
use crate::stage::{PATIENCE, Page, STORE_ADDRESS, Stage, Way, guarded, mails};

const PAGE: Page = Page { name: "restic", text: include_str!("../../../../docs/recipes/restic.md") };

/// A server of a repository: rclone's, which speaks restic's protocol over HTTP.
fn server(machine: &Machine<'_>, within: Option<&Cgroup>) -> Process {
    let words = ["rclone", "serve", "restic", "--addr", "0.0.0.0:8080", "/srv/repository"];
    machine.run(&["install", "-d", "/srv/repository"]).unwrap();
    let server = machine.serve("root", within, &words).unwrap();
    server.wait_for_port(machine.netns(), Transport::Tcp, 8080, PATIENCE).unwrap();
    server
}

#[test]
#[ignore = "needs root and BPF"]
fn by_slice() {
    guarded(&PAGE, Way::Slice, scenario);
}

fn scenario(stage: &Stage<'_>) {
    let _servers =
        [server(&stage.store, Some(&stage.service)), server(&stage.belgium, None), server(&stage.us, None)];
    stage.store.write("/srv/mail/box", mails()).unwrap();
    // It tries for minutes where nobody answers.
    let restic = |machine: &Machine<'_>, within, server: &str, words: &str| {
        let line =
            format!("RESTIC_PASSWORD=x timeout 20 restic --no-cache -r rest:http://{server}:8080/ {words}");
        sh(machine, within, &line)
    };
    for machine in [&stage.store, &stage.belgium, &stage.us] {
        restic(machine, None, "127.0.0.1", "init").unwrap();
    }

    // What another service of the host fetches from there.
    stage.us.write("/srv/new/file", "an import").unwrap();
    restic(&stage.us, None, "127.0.0.1", "backup /srv/new").unwrap();
    restic(&stage.store, Some(&stage.import), "203.0.113.10", "restore latest --target /srv/in").unwrap();
    let import = std::fs::read_to_string(stage.store.path("/srv/in/srv/new/file")).unwrap();
    assert_eq!(import, "an import");

    // What is pushed. It is encrypted before that: that nothing has come is told by segments.
    for (machine, address) in stage.others() {
        let push = || restic(&stage.store, Some(&stage.service), address, "backup /srv/mail");
        if address == "203.0.113.10" {
            let before = stage.segments_in_the_us();
            assert!(push().is_err());
            assert_eq!(stage.segments_in_the_us(), before);
        } else {
            push().unwrap();
            restic(machine, None, "127.0.0.1", "restore latest --target /tmp/restored").unwrap();
            assert!(std::fs::read(machine.path("/tmp/restored/srv/mail/box")).unwrap() == mails());
        }
    }

    // Clients of a repository here.
    restic(&stage.store, None, "127.0.0.1", "backup /srv/mail").unwrap();
    let fetch = "restore latest --target /tmp/fetched";
    restic(&stage.belgium, None, STORE_ADDRESS, fetch).unwrap();
    assert!(std::fs::read(stage.belgium.path("/tmp/fetched/srv/mail/box")).unwrap() == mails());
    let before = stage.segments_in_the_us();
    assert!(restic(&stage.us, None, STORE_ADDRESS, fetch).is_err());
    assert_eq!(stage.segments_in_the_us(), before);
    stage.told(8080);
}
