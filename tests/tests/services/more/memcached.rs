//! memcached: what others read, and what is handed on to other caches.

use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;
use guard_tests::proc::{Process, Transport};

use super::sh;
use crate::stage::{PATIENCE, Page, STORE_ADDRESS, Stage, Way, guarded, mails, mark};

const PAGE: Page = Page { name: "memcached", text: include_str!("../../../../docs/recipes/memcached.md") };
/// Makes an answer to `get` into what another cache is told, and ends the connection.
const AS_SET: &str = r"sed 's/^VALUE \([^ ]* [0-9]*\) \(.*\)/set \1 0 \2/; s/^END/quit/'";

fn server(machine: &Machine<'_>, within: Option<&Cgroup>) -> Process {
    let server = machine.serve("memcache", within, &["memcached", "-l", "0.0.0.0", "-U", "0"]).unwrap();
    server.wait_for_port(machine.netns(), Transport::Tcp, 11211, PATIENCE).unwrap();
    server
}

/// What a server answers for a key; an error where none comes.
fn get(from: &Machine<'_>, within: Option<&Cgroup>, server: &str, key: &str) -> anyhow::Result<String> {
    sh(from, within, &format!("printf 'get {key}\\r\\nquit\\r\\n' | timeout 3 nc {server} 11211"))
}

#[test]
#[ignore = "needs root and BPF"]
fn by_slice() {
    guarded(&PAGE, Way::Slice, scenario);
}

fn scenario(stage: &Stage<'_>) {
    let _servers =
        [server(&stage.store, Some(&stage.service)), server(&stage.belgium, None), server(&stage.us, None)];
    let set = |machine: &Machine<'_>, key: &str, value: &[u8]| {
        let request =
            [format!("set {key} 0 0 {}\r\n", value.len()).as_bytes(), value, b"\r\nquit\r\n"].concat();
        machine.write("/tmp/request", request).unwrap();
        let answer = sh(machine, None, "nc 127.0.0.1 11211 < /tmp/request").unwrap();
        assert_eq!(answer, "STORED\r\n");
    };
    set(&stage.store, "mail", &mails());
    let is_whole = |answer: &str| answer.contains(std::str::from_utf8(&mails()).unwrap());

    // What another service of the host fetches from there.
    set(&stage.us, "new", b"an import");
    let import =
        format!("printf 'get new\\r\\nquit\\r\\n' | nc 203.0.113.10 11211 | {AS_SET} | nc 127.0.0.1 11211");
    sh(&stage.store, Some(&stage.import), &import).unwrap();
    assert!(get(&stage.store, None, "127.0.0.1", "new").unwrap().contains("an import"));

    // Clients.
    assert!(is_whole(&get(&stage.belgium, None, STORE_ADDRESS, "mail").unwrap()));
    stage.is_cut("a read", || get(&stage.us, None, STORE_ADDRESS, "mail"));
    stage.told(11211);

    // What its slice hands on to other caches.
    for (machine, address) in stage.others() {
        let push = format!(
            "printf 'get mail\\r\\nquit\\r\\n' | nc 127.0.0.1 11211 | {AS_SET} | timeout 3 nc {address} 11211"
        );
        let push = || sh(&stage.store, Some(&stage.service), &push);
        let there = || get(machine, None, "127.0.0.1", "mail").unwrap();
        if address == "203.0.113.10" {
            stage.is_cut("a push", push);
            assert!(!there().contains(mark()));
        } else {
            push().unwrap();
            assert!(is_whole(&there()));
        }
    }
}
