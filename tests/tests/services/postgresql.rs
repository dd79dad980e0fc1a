//! PostgreSQL: queries, base backups, foreign data.

use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;
use guard_tests::proc::Process;

use crate::stage::{STORE_ADDRESS, guarded, mark, wait_until};

const PAGE: &str = include_str!("../../../docs/recipes/postgresql.md");
const ROWS: usize = 20_000;

fn server(machine: &Machine<'_>, within: Option<&Cgroup>) -> Process {
    machine.folder("postgres", "/var/lib/data").unwrap();
    machine
        .run_of("postgres", None, &["initdb", "--no-sync", "--auth=trust", "-D", "/var/lib/data"])
        .unwrap();
    machine
        .write("/var/lib/data/pg_hba.conf", "local all all trust\nhost all,replication all all trust\n")
        .unwrap();
    let settings = ["listen_addresses=*", "unix_socket_directories=/run", "fsync=off", "wal_level=replica"];
    let mut words = vec!["postgres", "-D", "/var/lib/data"];
    words.extend(settings.iter().flat_map(|setting| ["-c", *setting]));
    let server = machine.serve("postgres", within, &words).unwrap();
    wait_until(machine, &["pg_isready", "-h", "/run"]);
    server
}

/// What a statement gives on a server, as it is seen from a machine.
fn ask(from: &Machine<'_>, server: &str, statement: &str) -> anyhow::Result<String> {
    let words =
        ["env", "PGCONNECT_TIMEOUT=3", "psql", "-h", server, "-U", "postgres", "-AtqX", "-c", statement];
    from.run(&words)
}

#[test]
#[ignore = "needs root and BPF"]
fn postgresql() {
    guarded("postgresql", PAGE, |stage| {
        let _servers = [
            server(&stage.store, Some(&stage.service)),
            server(&stage.belgium, None),
            server(&stage.us, None),
        ];
        let local = |statement: &str| ask(&stage.store, "/run", statement);
        let fill = format!("insert into mailbox select n || ' {}' from generate_series(1, {ROWS}) n", mark());
        local("create table mailbox (mail text); create extension postgres_fdw").unwrap();
        local(&fill).unwrap();

        // Clients, and copies that they fetch.
        let all = ask(&stage.belgium, STORE_ADDRESS, "select mail from mailbox").unwrap();
        assert_eq!(all.lines().filter(|line| line.ends_with(mark())).count(), ROWS);
        let backup = |machine: &Machine<'_>| {
            let words = [
                "env",
                "PGCONNECT_TIMEOUT=3",
                "pg_basebackup",
                "-h",
                STORE_ADDRESS,
                "-D",
                "/tmp/backup",
                "-c",
                "fast",
            ];
            machine.run_of("postgres", None, &words)
        };
        backup(&stage.belgium).unwrap();
        stage.belgium.run(&["pg_verifybackup", "/tmp/backup"]).unwrap();
        stage.nothing_arrives("a query", || {
            ask(&stage.us, STORE_ADDRESS, "select mail from mailbox").unwrap_err()
        });
        stage.nothing_arrives("a base backup", || backup(&stage.us).unwrap_err());
        stage.told(5432);

        // What the server itself writes to others.
        for (machine, address) in stage.others() {
            ask(machine, "/run", "create table inbox (mail text)").unwrap();
            local(&format!(
                "drop server if exists other cascade; \
                 create server other foreign data wrapper postgres_fdw options (host '{address}', connect_timeout '3'); \
                 create user mapping for postgres server other options (user 'postgres', password_required 'false'); \
                 create foreign table outbox (mail text) server other options (table_name 'inbox')"
            ))
            .unwrap();
            let push = || local("insert into outbox select mail from mailbox limit 10");
            let (is_us, count) = (machine.netns().name() == stage.us.netns().name(), || {
                ask(machine, "/run", "select count(*) from inbox").unwrap()
            });
            if is_us {
                stage.nothing_arrives("foreign data", push).unwrap_err();
                assert_eq!(count(), "0\n");
            } else {
                push().unwrap();
                assert_eq!(count(), "10\n");
            }
        }

        // What another service of the host fetches from there.
        ask(&stage.us, "/run", "insert into inbox values ('an import')").unwrap();
        let import = "psql -h 203.0.113.10 -U postgres -c 'copy inbox to stdout' \
            | psql -h /run -U postgres -c 'copy mailbox from stdin'";
        stage.store.run_of("root", Some(&stage.import), &["sh", "-c", import]).unwrap();
        assert_eq!(local("select count(*) from mailbox where mail = 'an import'").unwrap(), "1\n");
    });
}
