//! etcd: a member abroad gets nothing from the moment on that the guard is there, by whatever connection.

use std::time::Duration;

use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;
use guard_tests::proc::{Process, retry_until};

use crate::stage::{PATIENCE, Page, Stage, Way, mark, unguarded, wait_until};

const PAGE: Page = Page { name: "etcd", text: include_str!("../../../docs/recipes/etcd.md") };
const CLUSTER: &str =
    "store=http://192.0.2.10:2380,belgium=http://198.51.100.10:2380,us=http://203.0.113.10:2380";
/// Until a member that was cut off has tried all its ways: it connects anew each 5 s.
const LONG: Duration = Duration::from_secs(20);

fn member(name: &str, address: &str, machine: &Machine<'_>, within: Option<&Cgroup>) -> Process {
    let url = |port: u16| format!("http://{address}:{port}");
    let (peers, clients) = (url(2380), url(2379));
    #[rustfmt::skip]
    let words = ["etcd", "--name", name, "--data-dir", "/tmp/etcd", "--initial-cluster", CLUSTER,
        "--initial-advertise-peer-urls", &peers, "--listen-peer-urls", &peers,
        "--advertise-client-urls", &clients, "--listen-client-urls", "http://127.0.0.1:2379"];
    machine.serve("root", within, &words).unwrap()
}

fn ask(machine: &Machine<'_>, words: &[&str]) -> String {
    machine.run(&[&["env", "ETCDCTL_API=3", "etcdctl"], words].concat()).unwrap()
}

/// What this member has of its own.
fn has(machine: &Machine<'_>, key: &str) -> bool {
    ask(machine, &["get", "--consistency=s", key]).contains(mark())
}

fn comes(machine: &Machine<'_>, key: &str) {
    retry_until(PATIENCE, "the key to come", || has(machine, key).then_some(())).unwrap();
}

/// Has the member on the storage host lead: nobody else sends what is new.
fn lead(stage: &Stage<'_>) {
    let members = ask(&stage.store, &["member", "list"]);
    let own = members.lines().find(|line| line.contains("http://192.0.2.10:2380")).unwrap();
    let id = own.split(',').next().unwrap();
    let moves =
        |machine: &&Machine<'_>| machine.run(&["env", "ETCDCTL_API=3", "etcdctl", "move-leader", id]).is_ok();
    // The leader alone takes the word.
    let leads = || [&stage.store, &stage.belgium, &stage.us].iter().any(moves).then_some(());
    retry_until(PATIENCE, "the member on the storage host to lead", leads).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn by_slice() {
    unguarded(&PAGE, Way::Slice, |stage: &Stage<'_>| {
        let _members = [
            member("store", "192.0.2.10", &stage.store, Some(&stage.service)),
            member("belgium", "198.51.100.10", &stage.belgium, None),
            member("us", "203.0.113.10", &stage.us, None),
        ];
        for machine in [&stage.store, &stage.belgium, &stage.us] {
            wait_until(machine, &["env", "ETCDCTL_API=3", "etcdctl", "endpoint", "health"]);
        }
        ask(&stage.store, &["put", "before", mark()]);
        comes(&stage.us, "before");

        lead(stage);

        // The member in Belgium is not guarded: it would send to the one in the US what it has from here.
        for (machine, other) in [(&stage.belgium, "203.0.113.0/24"), (&stage.us, "198.51.100.0/24")] {
            machine.netns().ip(&["route", "add", "unreachable", other]).unwrap();
        }
        let _daemon = stage.guard(&PAGE);
        stage.nothing_arrives("replication", || {
            wait_until(&stage.store, &["env", "ETCDCTL_API=3", "etcdctl", "put", "after", mark()]);
            comes(&stage.belgium, "after");
            std::thread::sleep(LONG);
        });
        assert!(!has(&stage.us, "after"));
        stage.told(2380);
    });
}
