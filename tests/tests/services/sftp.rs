//! OpenSSH: what others fetch by SFTP, and what is pushed to others.

use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;
use guard_tests::proc::{Process, Transport};

use crate::stage::{PATIENCE, Page, STORE_ADDRESS, Stage, Way, guarded, mails};

const PAGE: Page = Page { name: "sftp", text: include_str!("../../../docs/recipes/sftp.md") };

/// A server, and a key with which everybody may come in.
fn server(machine: &Machine<'_>, key: &[u8], within: Option<&Cgroup>) -> Process {
    machine.run(&["install", "-d", "-m", "700", "/run/sshd", "/root/.ssh"]).unwrap();
    machine.write("/root/.ssh/key", key).unwrap();
    machine.run(&["chmod", "600", "/root/.ssh/key"]).unwrap();
    machine.run(&["sh", "-c", "ssh-keygen -y -f /root/.ssh/key > /root/.ssh/authorized_keys"]).unwrap();
    let options = ["HostKey=/root/.ssh/key", "UsePAM=no", "PermitRootLogin=yes", "StrictModes=no"];
    let mut words = vec!["/usr/sbin/sshd", "-D", "-e"];
    words.extend(options.iter().flat_map(|option| ["-o", *option]));
    let server = machine.serve("root", within, &words).unwrap();
    server.wait_for_port(machine.netns(), Transport::Tcp, 22, PATIENCE).unwrap();
    server
}

/// Copies by SFTP, which `scp` speaks since OpenSSH 9.0.
fn copy(machine: &Machine<'_>, within: Option<&Cgroup>, from: &str, to: &str) -> anyhow::Result<String> {
    let options = [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "IdentityFile=/root/.ssh/key",
        "ConnectTimeout=3",
        "ServerAliveInterval=1",
    ];
    let mut words = vec!["scp", "-s"];
    words.extend(options.iter().flat_map(|option| ["-o", *option]));
    words.extend([from, to]);
    machine.run_of("root", within, &words)
}

#[test]
#[ignore = "needs root and BPF"]
fn by_slice() {
    guarded(&PAGE, Way::Slice, scenario);
}

fn scenario(stage: &Stage<'_>) {
    stage.store.run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/tmp/key"]).unwrap();
    let key = std::fs::read(stage.store.path("/tmp/key")).unwrap();
    let _servers = [
        server(&stage.store, &key, Some(&stage.service)),
        server(&stage.belgium, &key, None),
        server(&stage.us, &key, None),
    ];
    stage.store.write("/srv/mail/box", mails()).unwrap();
    let fetched = format!("root@{STORE_ADDRESS}:/srv/mail/box");

    // Clients. What goes over the wire is encrypted: what has come is told by the file.
    copy(&stage.belgium, None, &fetched, "/tmp/box").unwrap();
    assert!(std::fs::read(stage.belgium.path("/tmp/box")).unwrap() == mails());
    copy(&stage.us, None, &fetched, "/tmp/box").unwrap_err();
    assert!(!stage.us.path("/tmp/box").exists());
    assert_eq!(stage.segments_in_the_us(), 0, "not even the server's version");
    stage.told(22);

    // What the service pushes.
    for (machine, address) in stage.others() {
        let to = format!("root@{address}:/tmp/pushed");
        let push = || copy(&stage.store, Some(&stage.service), "/srv/mail/box", &to);
        if address == "203.0.113.10" {
            push().unwrap_err();
            assert!(!machine.path("/tmp/pushed").exists());
            assert_eq!(stage.segments_in_the_us(), 0);
        } else {
            push().unwrap();
            assert!(std::fs::read(machine.path("/tmp/pushed")).unwrap() == mails());
        }
    }

    // What another service of the host fetches from there.
    stage.us.write("/tmp/new", "an import").unwrap();
    copy(&stage.store, Some(&stage.import), "root@203.0.113.10:/tmp/new", "/srv/new").unwrap();
    assert_eq!(std::fs::read_to_string(stage.store.path("/srv/new")).unwrap(), "an import");
}
