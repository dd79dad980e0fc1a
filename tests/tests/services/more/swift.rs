//! OpenStack Swift, which speaks S3: objects that others fetch, and what is pushed to other stores.

use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;
use guard_tests::proc::{Process, Transport};

use super::sh;
use crate::stage::{PATIENCE, Page, STORE_ADDRESS, Stage, Way, guarded, mails};

const PAGE: Page = Page { name: "s3", text: include_str!("../../../../docs/recipes/s3.md") };
/// The servers of the parts, each with its port.
const PARTS: [(&str, u16); 3] = [("object", 6200), ("container", 6201), ("account", 6202)];
const PROXY: &str = "[DEFAULT]
bind_ip = 0.0.0.0
bind_port = 8080
workers = 0
user = root
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:s3api]
use = egg:swift#s3api
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:cache]
use = egg:swift#memcache
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
";

fn store(machine: &Machine<'_>, within: Option<&Cgroup>) -> Vec<Process> {
    machine.write("/etc/swift/swift.conf", "[swift-hash]\nswift_hash_path_suffix = x\n").unwrap();
    machine.write("/etc/swift/proxy-server.conf", PROXY).unwrap();
    // It keeps what it knows of an object in attributes of its file.
    machine.mount("/srv/node").unwrap();
    machine.run(&["install", "-d", "/srv/node/disk"]).unwrap();
    for (part, port) in PARTS {
        let config = format!(
            "[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nworkers = 0\nuser = root\ndevices = /srv/node\n\
             mount_check = false\n[pipeline:main]\npipeline = {part}-server\n[app:{part}-server]\n\
             use = egg:swift#{part}\n"
        );
        machine.write(&format!("/etc/swift/{part}-server.conf"), config).unwrap();
        let ring = format!(
            "cd /etc/swift && swift-ring-builder {part}.builder create 4 1 0 && \
             swift-ring-builder {part}.builder add r1z1-127.0.0.1:{port}/disk 1 && \
             swift-ring-builder {part}.builder rebalance"
        );
        sh(machine, None, &ring).unwrap();
    }
    let ports = PARTS.into_iter().chain([("proxy", 8080)]);
    let start = |(part, port): (&str, u16)| {
        let (program, config) = (format!("swift-{part}-server"), format!("/etc/swift/{part}-server.conf"));
        let server = machine.serve("root", within, &[&program, &config]).unwrap();
        server.wait_for_port(machine.netns(), Transport::Tcp, port, PATIENCE).unwrap();
        server
    };
    ports.map(start).collect()
}

#[test]
#[ignore = "needs root and BPF"]
fn by_slice() {
    guarded(&PAGE, Way::Slice, scenario);
}

fn scenario(stage: &Stage<'_>) {
    let _stores =
        [store(&stage.store, Some(&stage.service)), store(&stage.belgium, None), store(&stage.us, None)];
    stage.store.write("/srv/mail/box", mails()).unwrap();
    let s3 = |machine: &Machine<'_>, within, server: &str, words: &str| {
        let options = "--s3-provider Other --s3-access-key-id test:tester --s3-secret-access-key testing \
            --s3-region us-east-1 --retries 1 --low-level-retries 1 --contimeout 3s --timeout 5s";
        sh(
            machine,
            within,
            &format!("timeout 20 rclone {options} --s3-endpoint http://{server}:8080 {words}"),
        )
    };
    let has = |machine: &Machine<'_>, file: &str| std::fs::read(machine.path(file)).unwrap() == mails();
    s3(&stage.store, None, "127.0.0.1", "copy /srv/mail/box :s3:mail").unwrap();

    // What another service of the host fetches from there.
    stage.us.write("/tmp/new", "an import").unwrap();
    s3(&stage.us, None, "127.0.0.1", "copy /tmp/new :s3:news").unwrap();
    s3(&stage.store, Some(&stage.import), "203.0.113.10", "copy :s3:news/new /srv/in").unwrap();
    assert_eq!(std::fs::read_to_string(stage.store.path("/srv/in/new")).unwrap(), "an import");

    // Clients.
    let fetch = "copy :s3:mail/box /tmp/fetched";
    s3(&stage.belgium, None, STORE_ADDRESS, fetch).unwrap();
    assert!(has(&stage.belgium, "/tmp/fetched/box"));
    stage.is_cut("an object", || s3(&stage.us, None, STORE_ADDRESS, fetch));
    stage.told(8080);

    // What is pushed from its slice.
    for (machine, address) in stage.others() {
        let push = || s3(&stage.store, Some(&stage.service), address, "copy /srv/mail/box :s3:pushed");
        let there = || s3(machine, None, "127.0.0.1", "copy :s3:pushed/box /tmp/pushed");
        if address == "203.0.113.10" {
            stage.is_cut("a push", push);
            there().unwrap_err();
        } else {
            push().unwrap();
            there().unwrap();
            assert!(has(machine, "/tmp/pushed/box"));
        }
    }
}
