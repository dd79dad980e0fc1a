//! vsftpd: files by connections that the client opens, by those that the server opens, and what is pushed.

use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;
use guard_tests::proc::{Process, Transport};

use super::sh;
use crate::stage::{PATIENCE, Page, STORE_ADDRESS, Stage, Way, guarded, mails};

const PAGE: Page = Page { name: "vsftpd", text: include_str!("../../../../docs/recipes/vsftpd.md") };
/// Data may go elsewhere than to the client that asks for it (`port_promiscuous`): a worse server than the default.
const CONFIG: &str = "listen=YES\nbackground=NO\nanonymous_enable=YES\nanon_root=/srv/ftp\nwrite_enable=YES\n\
    anon_upload_enable=YES\nanon_umask=022\nport_promiscuous=YES\nsecure_chroot_dir=/run/vsftpd/empty\n\
    isolate=NO\nisolate_network=NO\nseccomp_sandbox=NO\nconnect_from_port_20=NO\n";

fn server(machine: &Machine<'_>, within: Option<&Cgroup>) -> Process {
    machine.write("/etc/vsftpd.conf", CONFIG).unwrap();
    machine.run(&["install", "-d", "/run/vsftpd/empty", "/srv/ftp", "/srv/in"]).unwrap();
    machine.folder("ftp", "/srv/ftp/in").unwrap();
    let server = machine.serve("root", within, &["vsftpd", "/etc/vsftpd.conf"]).unwrap();
    server.wait_for_port(machine.netns(), Transport::Tcp, 21, PATIENCE).unwrap();
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
    stage.store.write("/srv/ftp/box", mails()).unwrap();
    let curl = |machine: &Machine<'_>, within, options: &str| {
        sh(machine, within, &format!("curl --silent --show-error --max-time {} {options}", stage.seconds))
    };
    let has = |machine: &Machine<'_>, file: &str| std::fs::read(machine.path(file)).unwrap() == mails();

    // What another service of the host fetches from there.
    stage.us.write("/srv/ftp/new", "an import").unwrap();
    curl(&stage.store, Some(&stage.import), "-o /srv/in/new ftp://203.0.113.10/new").unwrap();
    assert_eq!(std::fs::read_to_string(stage.store.path("/srv/in/new")).unwrap(), "an import");

    // Clients: with data by a connection that they open.
    let fetch = format!("-o /tmp/passive ftp://{STORE_ADDRESS}/box");
    curl(&stage.belgium, None, &fetch).unwrap();
    assert!(has(&stage.belgium, "/tmp/passive"));
    stage.is_cut("passive data", || curl(&stage.us, None, &fetch));
    stage.told(21);

    // With data by a connection that the server opens: to the client, and elsewhere.
    let is_belgium = |machine: &Machine<'_>| machine.netns().name() == stage.belgium.netns().name();
    for client in [&stage.belgium, &stage.us] {
        for (machine, address) in stage.others() {
            let listener = machine.serve("root", None, &["sh", "-c", "nc -l 9000 > /tmp/active"]).unwrap();
            listener.wait_for_port(machine.netns(), Transport::Tcp, 9000, PATIENCE).unwrap();
            let port = format!("PORT {},35,40", address.replace('.', ","));
            let ask = format!(
                "(for line in 'USER ftp' 'PASS x' 'TYPE I' '{port}' 'RETR box' QUIT; \
                 do printf '%s\\r\\n' \"$line\"; sleep 0.3; done; sleep 3) | nc -N -w 3 {STORE_ADDRESS} 21"
            );
            let send = || sh(client, None, &ask);
            if !is_belgium(client) {
                let answer = stage.nothing_arrives("data that was asked for from the US", send);
                assert_eq!(answer.unwrap_or_default(), "", "not even the server's name");
            } else if is_belgium(machine) {
                let answer = send().unwrap();
                assert!(answer.contains("226 "), "{answer}");
                assert!(has(machine, "/tmp/active"));
            } else {
                let answer = stage.nothing_arrives("data that was asked for from Belgium", send).unwrap();
                assert!(answer.contains("200 PORT") && !answer.contains("226 "), "{answer}");
            }
        }
    }
    stage.told(9000);

    // What is pushed from its slice.
    for (machine, address) in stage.others() {
        let push = format!("--upload-file /srv/ftp/box ftp://{address}/in/box");
        let push = || curl(&stage.store, Some(&stage.service), &push);
        if address == "203.0.113.10" {
            stage.is_cut("a push", push);
            assert!(!machine.path("/srv/ftp/in/box").exists());
        } else {
            push().unwrap();
            assert!(has(machine, "/srv/ftp/in/box"));
        }
    }
}
