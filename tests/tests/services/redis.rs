//! Redis: reads, replicas, MIGRATE.

use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;
use guard_tests::proc::{Process, retry_until};

use crate::stage::{PATIENCE, Page, STORE_ADDRESS, Stage, Way, guarded, mark, wait_until};

const PAGE: Page = Page { name: "redis", text: include_str!("../../../docs/recipes/redis.md") };
const FOLDER: &str = "/var/lib/redis";
const KEYS: usize = 1_000;

fn server(machine: &Machine<'_>, within: Option<&Cgroup>) -> Process {
    let words = [
        "redis-server",
        "--bind",
        "* -::*",
        "--protected-mode",
        "no",
        "--save",
        "",
        "--dir",
        FOLDER,
        "--repl-diskless-sync-delay",
        "0",
    ];
    machine.folder("redis", FOLDER).unwrap();
    let server = machine.serve("redis", within, &words).unwrap();
    wait_until(machine, &["redis-cli", "ping"]);
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
    let _others = [server(&stage.belgium, None), server(&stage.us, None)];
    let ask = |from: &Machine<'_>, server: &str, words: &[&str]| {
        from.run(&[&["timeout", stage.seconds, "redis-cli", "-h", server], words].concat())
    };
    let local = |words: &[&str]| ask(&stage.store, "127.0.0.1", words).unwrap();
    let fill = format!("for i = 1, {KEYS} do redis.call('set', 'mail' .. i, i .. ' {}') end", mark());
    let first = server(&stage.store, Some(&stage.service));
    local(&["eval", &fill, "0"]);
    local(&["save"]);
    drop(first);
    // It has what it reads from the file.
    let _server = server(&stage.store, Some(&stage.service));

    // What another service of the host fetches from there.
    ask(&stage.us, "127.0.0.1", &["set", "new", "an import"]).unwrap();
    let import = "redis-cli -h 203.0.113.10 get new | head -c -1 | redis-cli -x set new";
    stage.store.run_of("root", Some(&stage.import), &["sh", "-c", import]).unwrap();
    assert_eq!(local(&["get", "new"]), "an import\n");

    // Clients.
    let last = format!("mail{KEYS}");
    assert_eq!(ask(&stage.belgium, STORE_ADDRESS, &["get", &last]).unwrap(), format!("{KEYS} {}\n", mark()));
    stage.is_cut("a read", || ask(&stage.us, STORE_ADDRESS, &["get", &last]));

    // What the server itself sends on.
    for (machine, address) in stage.others() {
        // It gives up before its client does.
        let push = || local(&["migrate", address, "6379", "mail1", "0", "2500", "copy"]);
        let key = || ask(machine, "127.0.0.1", &["get", "mail1"]).unwrap();
        if address == "203.0.113.10" {
            let answer = stage.nothing_arrives("MIGRATE", push);
            assert!(answer.contains("IOERR"), "{answer}");
            assert_eq!(key(), "\n");
            stage.told(6379);
        } else {
            assert_eq!(push(), "OK\n");
            assert_eq!(key(), format!("1 {}\n", mark()));
        }
    }

    // Replicas that come for all of it.
    for (machine, address) in stage.others() {
        ask(machine, "127.0.0.1", &["replicaof", STORE_ADDRESS, "6379"]).unwrap();
        let count = || ask(machine, "127.0.0.1", &["dbsize"]).unwrap();
        if address == "203.0.113.10" {
            stage.nothing_arrives("a replica", || std::thread::sleep(std::time::Duration::from_secs(3)));
            assert_eq!(count(), "1\n", "what was there before");
        } else {
            let whole = format!("{}\n", KEYS + 1);
            retry_until(PATIENCE, "a whole replica", || (count() == whole).then_some(())).unwrap();
        }
    }
}
