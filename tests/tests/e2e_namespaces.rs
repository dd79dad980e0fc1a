//! Devices of other network namespaces by which packets leave the host past its guarded interfaces.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::process::Command;
use std::time::Duration;

use guard_tests::bed::{Bed, PIN, STORE};
use guard_tests::netns::Netns;
use guard_tests::proc::{retry_until, run_to_end};
use guard_tests::program;
use guard_user::health::{Problem, ProblemCode};
use serde_json::Value;

/// The daemon looks every ten seconds.
const SOON: Duration = Duration::from_secs(40);

/// A process of another namespace, which ends with this.
struct Process(std::process::Child);

impl Process {
    fn in_namespace(netns: &Netns) -> Self {
        let mut sleep: Command = netns.command("sleep").unwrap();
        Self(sleep.arg("600").spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// A macvlan device on an interface of the storage host, in a namespace of its own.
fn macvlan_on(bed: &Bed, interface: &str, name: &str) -> (Netns, Process) {
    let (store, container) = (bed.host(STORE).unwrap(), Netns::new("elsewhere").unwrap());
    let process = Process::in_namespace(&container);
    let made = [
        "link",
        "add",
        name,
        "link",
        interface,
        "netns",
        container.name(),
        "type",
        "macvlan",
        "mode",
        "private",
    ];
    store.ip(&made).unwrap();
    container.ip(&["link", "set", name, "up"]).unwrap();
    (container, process)
}

/// What `check` says of other namespaces.
fn warned(bed: &Bed) -> Vec<String> {
    let program = program::borderguard().unwrap();
    let mut command = bed.host(STORE).unwrap().command(&program.to_string_lossy()).unwrap();
    command.arg("check").arg("--json").arg(bed.config());
    let (_status, out, complaint) = run_to_end("borderguard", command, SOON).unwrap();
    let said: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{complaint}"));
    let warnings =
        said["warnings"].as_array().unwrap().iter().filter(|it| it["code"] == "namespace-unguarded");
    warnings.map(|it| it["message"].as_str().unwrap().to_owned()).collect()
}

fn told(bed: &Bed) -> Vec<Problem> {
    let problems = bed.status().unwrap().problems;
    problems.into_iter().filter(|it| it.code == ProblemCode::NamespaceUnguarded).collect()
}

#[test]
#[ignore = "needs root and BPF"]
fn a_device_in_another_namespace_is_told_of_where_what_it_is_made_on_is_not_guarded() {
    let bed = Bed::new("elsewhere").unwrap();
    bed.host(STORE).unwrap().link("bare0", bed.router(), "bare0").unwrap();
    bed.configure(PIN).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    // The twin, which must not be told of, is there as long.
    let _twin = macvlan_on(&bed, "eth0", "twin0");
    let open = macvlan_on(&bed, "bare0", "open0");
    let [warning] = &warned(&bed)[..] else { panic!("{:?}", warned(&bed)) };
    assert!(warning.contains("open0 (on bare0)") && warning.contains("(sleep)"), "{warning}");
    let problems = retry_until(SOON, "the device to be told of", || {
        let told = told(&bed);
        (!told.is_empty()).then_some(told)
    })
    .unwrap();
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert_eq!(problem.subject.as_deref(), Some("open0"));
    for part in ["bare0", "sleep"] {
        assert!(problem.message.contains(part), "{problem}");
    }
    // It is over with the process that could send there.
    drop(open);
    retry_until(SOON, "it to be over", || told(&bed).is_empty().then_some(())).unwrap();
}
