//! Dovecot: mails that are read by IMAP, and mailboxes that are copied to other servers.

use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;
use guard_tests::proc::{Process, Transport};

use super::sh;
use crate::stage::{PATIENCE, Page, STORE_ADDRESS, Stage, Way, guarded, mails, mark};

const PAGE: Page = Page { name: "dovecot", text: include_str!("../../../../docs/recipes/dovecot.md") };
const CONFIG: &str = "protocols = imap
listen = *
ssl = no
disable_plaintext_auth = no
log_path = /tmp/dovecot.log
first_valid_uid = 8
mail_location = maildir:~/mail
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=mail gid=mail home=/srv/mail/%u
}
doveadm_password = secret
service doveadm {
  inet_listener {
    port = 12345
  }
}
";

fn server(machine: &Machine<'_>, within: Option<&Cgroup>) -> Process {
    machine.write("/etc/dovecot/test.conf", CONFIG).unwrap();
    for folder in ["/srv/mail", "/srv/in"] {
        machine.folder("mail", folder).unwrap();
    }
    let server = machine.serve("root", within, &["dovecot", "-F", "-c", "/etc/dovecot/test.conf"]).unwrap();
    for port in [143, 12345] {
        server.wait_for_port(machine.netns(), Transport::Tcp, port, PATIENCE).unwrap();
    }
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
    let doveadm = |machine: &Machine<'_>, within, words: &str| {
        sh(machine, within, &format!("timeout 20 doveadm -c /etc/dovecot/test.conf {words}"))
    };
    let save = |machine: &Machine<'_>, user: &str, text: &[u8]| {
        machine.write("/tmp/mail", [b"Subject: a mail\n\n", text].concat()).unwrap();
        doveadm(machine, None, &format!("save -u {user} /tmp/mail")).unwrap();
    };
    let count = mails().iter().filter(|byte| **byte == b'\n').count();
    let has_all = |text: &str| text.matches(mark()).count() == count;
    save(&stage.store, "joe", &mails());

    // What another service of the host fetches from there.
    save(&stage.us, "jim", b"an import\n");
    let elsewhere = "-o mail_location=maildir:/srv/in/jim";
    let import = format!("{elsewhere} backup -R -u jim tcp:203.0.113.10:12345");
    doveadm(&stage.store, Some(&stage.import), &import).unwrap();
    assert!(
        doveadm(&stage.store, None, &format!("{elsewhere} fetch -u jim text all"))
            .unwrap()
            .contains("an import")
    );

    // Clients.
    let read = format!(
        "curl --silent --show-error --max-time {} --user joe:secret \
         'imap://{STORE_ADDRESS}/INBOX;MAILINDEX=1'",
        stage.seconds
    );
    assert!(has_all(&sh(&stage.belgium, None, &read).unwrap()));
    stage.is_cut("a mail", || sh(&stage.us, None, &read));
    stage.told(143);

    // Copies of the mailbox that the service makes.
    for (machine, address) in stage.others() {
        let push = format!("backup -u joe tcp:{address}:12345");
        let push = || doveadm(&stage.store, Some(&stage.service), &push);
        let there = || doveadm(machine, None, "fetch -u joe text all").unwrap_or_default();
        if address == "203.0.113.10" {
            stage.is_cut("a copy of the mailbox", push);
            assert!(!there().contains(mark()));
        } else {
            push().unwrap();
            assert!(has_all(&there()));
        }
    }
}
