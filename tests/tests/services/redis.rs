//! Redis: reads, replicas, MIGRATE.

use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;
use guard_tests::proc::{Process, retry_until};

use crate::stage::{PATIENCE, STORE_ADDRESS, guarded, mark, wait_until};

const PAGE: &str = include_str!("../../../docs/recipes/redis.md");
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
        "/tmp",
        "--repl-diskless-sync-delay",
        "0",
    ];
    let server = machine.serve("redis", within, &words).unwrap();
    wait_until(machine, &["redis-cli", "ping"]);
    server
}

/// What a command gives on a server, as it is seen from a machine; an error where no answer comes.
fn ask(from: &Machine<'_>, server: &str, words: &[&str]) -> anyhow::Result<String> {
    from.run(&[&["timeout", "3", "redis-cli", "-h", server], words].concat())
}

#[test]
#[ignore = "needs root and BPF"]
fn redis() {
    guarded("redis", PAGE, |stage| {
        let _servers = [
            server(&stage.store, Some(&stage.service)),
            server(&stage.belgium, None),
            server(&stage.us, None),
        ];
        let local = |words: &[&str]| ask(&stage.store, "127.0.0.1", words).unwrap();
        let fill = format!("for i = 1, {KEYS} do redis.call('set', 'mail' .. i, i .. ' {}') end", mark());
        local(&["eval", &fill, "0"]);

        // Clients.
        let last = format!("mail{KEYS}");
        assert_eq!(
            ask(&stage.belgium, STORE_ADDRESS, &["get", &last]).unwrap(),
            format!("{KEYS} {}\n", mark())
        );
        stage.nothing_arrives("a read", || ask(&stage.us, STORE_ADDRESS, &["get", &last]).unwrap_err());
        stage.told(6379);

        // What the server itself sends on.
        for (machine, address) in stage.others() {
            let push = || local(&["migrate", address, "6379", "mail1", "0", "1000", "copy"]);
            let key = || ask(machine, "127.0.0.1", &["get", "mail1"]).unwrap();
            if address == "203.0.113.10" {
                let answer = stage.nothing_arrives("MIGRATE", push);
                assert!(answer.contains("IOERR"), "{answer}");
                assert_eq!(key(), "\n");
            } else {
                assert_eq!(push(), "OK\n");
                assert_eq!(key(), format!("1 {}\n", mark()));
            }
        }

        // What another service of the host fetches from there.
        ask(&stage.us, "127.0.0.1", &["set", "new", "an import"]).unwrap();
        let import = "redis-cli -h 203.0.113.10 get new | head -c -1 | redis-cli -x set new";
        stage.store.run_of("root", Some(&stage.import), &["sh", "-c", import]).unwrap();
        assert_eq!(local(&["get", "new"]), "an import\n");

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
    });
}
