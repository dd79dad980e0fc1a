//! A storage host whose service is pinned as its page in docs/recipes says, and machines in Belgium and the US.

use std::time::Duration;

use guard_tests::bed::{BELGIUM, Bed, STORE, US};
use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;
use guard_tests::marked::{MARK, Marked};
use guard_tests::pages;
use guard_tests::proc::{Process, retry_until};
use serde_json::Value;

/// How long a server may take until it answers.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The storage host's address.
pub(crate) const STORE_ADDRESS: &str = "192.0.2.10";

/// The three machines, and the cgroups of the storage host in which things run there.
pub(crate) struct Stage<'a> {
    bed: &'a Bed,
    pub(crate) store: Machine<'a>,
    pub(crate) belgium: Machine<'a>,
    pub(crate) us: Machine<'a>,
    /// The pinned service's.
    pub(crate) service: Cgroup,
    /// Another service's of the same host, which imports.
    pub(crate) import: Cgroup,
}

/// Runs a scenario on a host that is guarded by the policy of a page from its beginning.
pub(crate) fn guarded(label: &str, page: &str, scenario: impl FnOnce(&Stage<'_>)) {
    unguarded(label, |stage| {
        let _daemon = stage.guard(&policy_of(page, &stage.service));
        scenario(stage);
    });
}

/// Runs a scenario that has the host guarded when it wants.
pub(crate) fn unguarded(label: &str, scenario: impl FnOnce(&Stage<'_>)) {
    let bed = Bed::new(label).unwrap();
    let (service, import) = (bed.cgroup().child("service").unwrap(), bed.cgroup().child("import").unwrap());
    let [store, belgium, us] =
        [STORE, BELGIUM, US].map(|host| Machine::new(host, bed.host(host).unwrap()).unwrap());
    scenario(&Stage { bed: &bed, store, belgium, us, service, import });
}

/// The page's policy by slice, with the test's cgroup for the page's, and with what this kernel can tell of who sends.
pub(crate) fn policy_of(page: &str, service: &Cgroup) -> String {
    let by_slice = page.split_once("## By slice").expect("the page has no policy by slice").1;
    let block = pages::blocks(by_slice).into_iter().find(|(kind, _)| *kind == "toml");
    let (_, text) = block.expect("no block of TOML");
    let line = |line: &str| match line.starts_with("cgroups = ") {
        true => format!("cgroups = [{:?}]\nsent_by = \"socket\"\n", service.name()),
        false => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

impl Stage<'_> {
    /// Starts the guard.
    pub(crate) fn guard(&self, policy: &str) -> Process {
        self.bed.configure(policy).unwrap();
        self.bed.start(&[]).unwrap()
    }

    /// The other machines, with their addresses: the permitted one first.
    pub(crate) fn others(&self) -> [(&Machine<'_>, &'static str); 2] {
        [(&self.belgium, "198.51.100.10"), (&self.us, "203.0.113.10")]
    }

    /// Does what nothing of the mailbox may come to the US by, and looks there.
    pub(crate) fn nothing_arrives<T>(&self, what: &str, work: impl FnOnce() -> T) -> T {
        let marked = Marked::at(self.us.netns()).unwrap();
        let outcome = work();
        assert_eq!(marked.count().unwrap(), 0, "marked frames in the US by {what}");
        outcome
    }

    /// TCP segments that the machine in the US ever got in answer to one of its own.
    pub(crate) fn segments_in_the_us(&self) -> u64 {
        let text =
            self.us.netns().run(|| std::fs::read_to_string("/proc/thread-self/net/snmp")).unwrap().unwrap();
        let mut rows = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let (names, values) = (rows.next().unwrap(), rows.next().unwrap());
        let found = names.split(' ').zip(values.split(' ')).find(|(name, _)| *name == "InSegs");
        found.unwrap().1.parse().unwrap()
    }

    /// Waits for an event of a drop, of the service's cgroup and from or to this port.
    pub(crate) fn told(&self, port: u16) {
        let mut seen = Vec::new();
        let is_it = |event: &Value| {
            let ports = [&event["source"]["port"], &event["destination"]["port"]];
            event["verdict"] == "drop"
                && event["cgroup"] == self.service.name()
                && ports.contains(&&port.into())
        };
        let comes = retry_until(PATIENCE, "an event", || {
            seen = self.bed.events().unwrap();
            seen.iter().any(is_it).then_some(())
        });
        assert!(comes.is_ok(), "no event of port {port} in {seen:#?}");
    }
}

/// The mark, as text.
pub(crate) fn mark() -> &'static str {
    std::str::from_utf8(MARK).unwrap()
}

/// A mailbox of some size, full of marks.
pub(crate) fn mails() -> Vec<u8> {
    (0..20_000).flat_map(|number| format!("{number} {}\n", mark()).into_bytes()).collect()
}

/// Waits until a command works on a machine.
pub(crate) fn wait_until(machine: &Machine<'_>, words: &[&str]) {
    let mut last = String::new();
    let works = retry_until(PATIENCE, &words.join(" "), || match machine.run(words) {
        Ok(_) => Some(()),
        Err(error) => {
            last = error.to_string();
            std::thread::sleep(Duration::from_millis(100));
            None
        }
    });
    assert!(works.is_ok(), "{last}");
}
