//! PostgreSQL: queries, base backups, a standby, foreign data, dumps.

use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;
use guard_tests::proc::{Process, retry_until};

use crate::stage::{PATIENCE, Page, STORE_ADDRESS, Stage, Way, guarded, mark, wait_until};

const PAGE: Page = Page { name: "postgresql", text: include_str!("../../../docs/recipes/postgresql.md") };
const ROWS: usize = 20_000;
const FOLDER: &str = "/var/lib/postgresql";
const CLUSTER: &str = "/var/lib/postgresql/data";

/// Makes a cluster, which is slow in a guest, once for all machines.
fn make_clusters(stage: &Stage<'_>) {
    let made = &stage.belgium;
    for machine in [made, &stage.store, &stage.us] {
        machine.folder("postgres", FOLDER).unwrap();
    }
    made.run_of("postgres", None, &["initdb", "--no-sync", "--auth=trust", "-D", CLUSTER]).unwrap();
    let rights = "local all all trust\nhost all,replication all all trust\n";
    std::fs::write(made.path(CLUSTER).join("pg_hba.conf"), rights).unwrap();
    for machine in [&stage.store, &stage.us] {
        let mut copy = std::process::Command::new("cp");
        copy.arg("-a").args([made.path(CLUSTER), machine.path(CLUSTER)]);
        assert!(copy.status().unwrap().success());
    }
}

fn server(machine: &Machine<'_>, within: Option<&Cgroup>, cluster: &str, port: &str) -> Process {
    let settings = ["listen_addresses=*", "unix_socket_directories=/run", "fsync=off", "wal_level=replica"];
    let mut words = vec!["postgres", "-D", cluster, "-p", port];
    words.extend(settings.iter().flat_map(|setting| ["-c", *setting]));
    let server = machine.serve("postgres", within, &words).unwrap();
    wait_until(machine, &["pg_isready", "-h", "/run", "-p", port]);
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
    make_clusters(stage);
    let _servers = [
        server(&stage.store, Some(&stage.service), CLUSTER, "5432"),
        server(&stage.belgium, None, CLUSTER, "5432"),
        server(&stage.us, None, CLUSTER, "5432"),
    ];
    let timeout = format!("PGCONNECT_TIMEOUT={}", stage.seconds);
    // What a statement gives on a server, as it is seen from a machine.
    let ask = |from: &Machine<'_>, server: &str, statement: &str| {
        from.run(&["env", &timeout, "psql", "-h", server, "-U", "postgres", "-AtqX", "-c", statement])
    };
    let local = |statement: &str| ask(&stage.store, "/run", statement);
    let fill = format!("insert into mailbox select n || ' {}' from generate_series(1, {ROWS}) n", mark());
    local("create table mailbox (mail text); create extension postgres_fdw").unwrap();
    local(&fill).unwrap();

    // What another service of the host fetches from there.
    for (machine, _) in stage.others() {
        ask(machine, "/run", "create table inbox (mail text); create table news (mail text)").unwrap();
    }
    ask(&stage.us, "/run", "insert into news values ('an import')").unwrap();
    let import = "psql -h 203.0.113.10 -U postgres -c 'copy news to stdout' \
        | psql -h /run -U postgres -c 'copy mailbox from stdin'";
    stage.store.run_of("root", Some(&stage.import), &["sh", "-c", import]).unwrap();
    assert_eq!(local("select count(*) from mailbox where mail = 'an import'").unwrap(), "1\n");

    // Clients, and copies that they fetch.
    let all = ask(&stage.belgium, STORE_ADDRESS, "select mail from mailbox").unwrap();
    assert_eq!(all.lines().filter(|line| line.ends_with(mark())).count(), ROWS);
    let backup = |machine: &Machine<'_>| {
        let words = ["pg_basebackup", "-h", STORE_ADDRESS, "-D", "/tmp/backup", "-c", "fast", "-R"];
        machine.run_of("postgres", None, &[&["env", timeout.as_str()], &words[..]].concat())
    };
    backup(&stage.belgium).unwrap();
    stage.belgium.run(&["pg_verifybackup", "/tmp/backup"]).unwrap();
    stage.is_cut("a query", || ask(&stage.us, STORE_ADDRESS, "select mail from mailbox"));
    stage.is_cut("a base backup", || backup(&stage.us));
    stage.told(5432);

    // A standby goes on with what comes after its base backup.
    let _standby = server(&stage.belgium, None, "/tmp/backup", "5433");
    local(&format!("insert into mailbox values ('{} of later')", mark())).unwrap();
    let later = "select count(*) from mailbox where mail like '%of later'";
    let comes = || {
        let there = stage.belgium.run(&["psql", "-h", "/run", "-p", "5433", "-U", "postgres", "-Atc", later]);
        there.is_ok_and(|count| count == "1\n").then_some(())
    };
    retry_until(PATIENCE, "the row to come to the standby", comes).unwrap();

    for (machine, address) in stage.others() {
        let is_us = address == "203.0.113.10";
        let count = || ask(machine, "/run", "select count(*) from inbox").unwrap();
        // What the server itself writes to others.
        local(&format!(
            "drop server if exists other cascade; \
             create server other foreign data wrapper postgres_fdw \
             options (host '{address}', connect_timeout '{}'); \
             create user mapping for postgres server other options (user 'postgres', password_required 'false'); \
             create foreign table outbox (mail text) server other options (table_name 'inbox')",
            stage.seconds
        ))
        .unwrap();
        let write = || local("insert into outbox select mail from mailbox limit 10");
        // A dump by the service's own tools, sent on.
        let dump = format!(
            "pg_dump -h /run -U postgres --data-only --table=mailbox | sed s/public.mailbox/public.inbox/ \
             | {timeout} psql -h {address} -U postgres --single-transaction"
        );
        let dump = || stage.store.run_of("postgres", Some(&stage.service), &["sh", "-c", &dump]);
        if is_us {
            stage.is_cut("foreign data", write);
            stage.is_cut("a dump", dump);
            assert_eq!(count(), "0\n");
        } else {
            write().unwrap();
            assert_eq!(count(), "10\n");
            dump().unwrap();
            assert_eq!(count(), format!("{}\n", 10 + ROWS + 2));
        }
    }
}
