//! A storage host whose service is pinned as its page in docs/recipes says, and machines in Belgium and the US.

use std::time::Duration;

use guard_tests::bed::{BELGIUM, Bed, STORE, US};
use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;
use guard_tests::marked::{MARK, Marked};
use guard_tests::pages;
use guard_tests::proc::{Process, retry_until};
use guard_user::control::status::CarrierCgroupStatus;
use serde_json::Value;

/// How long a server may take until it answers; in a guest, beside others, that is long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// The storage host's address.
pub(crate) const STORE_ADDRESS: &str = "192.0.2.10";

/// A page of docs/recipes.
pub(crate) struct Page {
    /// Its name, which labels what a test makes.
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

/// How a pin knows the data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the processes of the service.
    Slice,
    /// By the file system that the data is on: in a guest alone, for the kernel tells it of all processes.
    Volume,
}

/// The three machines, and the cgroups of the storage host in which things run there.
pub(crate) struct Stage<'a> {
    bed: &'a Bed,
    way: Way,
    /// How long a client is to try, in seconds.
    pub(crate) seconds: &'static str,
    pub(crate) store: Machine<'a>,
    pub(crate) belgium: Machine<'a>,
    pub(crate) us: Machine<'a>,
    /// The pinned service's.
    pub(crate) service: Cgroup,
    /// Another service's of the same host, which imports.
    pub(crate) import: Cgroup,
}

/// Runs a scenario on a host that is guarded by the policy of a page from its beginning.
///
/// What a carrier has written is a copy, and whoever reads that a carrier too: also this process, where it reads what a
/// carrier complained of, and what it starts from then on. So a scenario imports before it has the service push.
pub(crate) fn guarded(page: &Page, way: Way, scenario: impl FnOnce(&Stage<'_>)) {
    unguarded(page, way, |stage| {
        let _daemon = stage.guard(page);
        scenario(stage);
    });
}

/// Runs a scenario that has the host guarded when it wants.
pub(crate) fn unguarded(page: &Page, way: Way, scenario: impl FnOnce(&Stage<'_>)) {
    assert!(
        way == Way::Slice || std::env::var_os("BORDERGUARD_GUEST").is_some(),
        "this would look at all of this machine's processes"
    );
    let bed = Bed::new(page.name).unwrap();
    let (service, import) = (bed.cgroup().child("service").unwrap(), bed.cgroup().child("import").unwrap());
    let [store, belgium, us] =
        [STORE, BELGIUM, US].map(|host| Machine::new(host, bed.host(host).unwrap()).unwrap());
    // A guest is emulated, and slow.
    let seconds = if way == Way::Volume { "8" } else { "3" };
    let stage = Stage { bed: &bed, way, seconds, store, belgium, us, service, import };
    stage.volumes(page).iter().for_each(|folder| stage.store.mount(folder).unwrap());
    scenario(&stage);
}

/// The block of TOML below a heading of a page.
fn block(page: &Page, way: Way) -> String {
    let heading = if way == Way::Slice { "## By slice" } else { "## By volume" };
    let below = page.text.split_once(heading).expect("the page has no such heading").1;
    let block = pages::blocks(below).into_iter().find(|(kind, _)| *kind == "toml");
    block.expect("no block of TOML").1
}

impl Stage<'_> {
    /// Starts the guard.
    pub(crate) fn guard(&self, page: &Page) -> Process {
        self.bed.configure(&self.policy(page)).unwrap();
        self.bed.start(&[]).unwrap()
    }

    /// The page's policy, with the test's cgroup and folders for the page's.
    fn policy(&self, page: &Page) -> String {
        // This machine's kernel need not tell who sends, a guest's does.
        let sent_by = if self.way == Way::Slice { "sent_by = \"socket\"\n" } else { "" };
        let line = |line: &str| match line.split_once(" = ") {
            Some(("cgroups", _)) => format!("cgroups = [{:?}]\n{sent_by}", self.service.name()),
            Some(("volumes", _)) => {
                let paths: Vec<_> = self.volumes(page).iter().map(|folder| self.store.path(folder)).collect();
                format!("volumes = {paths:?}\n")
            }
            _ => format!("{line}\n"),
        };
        block(page, self.way).lines().map(line).collect()
    }

    /// The folders that the page's pin names as volumes; none by slice.
    fn volumes(&self, page: &Page) -> Vec<String> {
        let block = block(page, self.way);
        let lists = block.lines().filter_map(|line| line.strip_prefix("volumes = "));
        lists.flat_map(|list| serde_json::from_str::<Vec<String>>(list).unwrap()).collect()
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

    /// Likewise, of what is to fail by that.
    pub(crate) fn is_cut(&self, what: &str, work: impl FnOnce() -> anyhow::Result<String>) {
        // What it printed may be the whole mailbox.
        assert!(self.nothing_arrives(what, work).is_err(), "{what} did not fail");
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

    /// Waits for an event of a drop, of the service's cgroup and from or to this port. By volume that cgroup has to carry.
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
        if self.way == Way::Volume {
            let cgroups = self.bed.status().unwrap().carriers.cgroups;
            let carries = |cgroup: &CarrierCgroupStatus| cgroup.cgroup.as_ref() == Some(&self.service.name());
            assert!(cgroups.iter().any(carries), "the service carries nothing: {cgroups:?}");
        }
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
