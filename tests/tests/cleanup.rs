//! Whatever ends a test run, the machine is as it was: `testbed` is ended by each signal in turn.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use guard_tests::bpffs::BpfFs;
use guard_tests::cgroup::Cgroup;
use guard_tests::netns::Netns;
use guard_tests::proc::{Process, retry_until};
use rustix::process::Signal;

const DEADLINE: Duration = Duration::from_secs(20);

/// What one run of `testbed` has made.
struct Traces {
    namespaces: Vec<String>,
    pins: String,
    cgroup: String,
    process: String,
}

impl Traces {
    fn left(&self) -> Vec<String> {
        let namespaces = self.namespaces.iter().filter(|name| Netns::exists(name)).cloned();
        let process = format!("/proc/{}", self.process);
        let paths = [&self.pins, &self.cgroup, &process].into_iter().filter(|path| Path::new(path).exists());
        namespaces.chain(paths.cloned()).collect()
    }
}

fn testbed() -> (Process, Traces) {
    let process = Process::spawn("testbed", Command::new(env!("CARGO_BIN_EXE_testbed"))).unwrap();
    let output = process
        .wait_for(DEADLINE, "the network to be ready", || {
            let output = process.stdout();
            output.contains("\nready").then_some(output)
        })
        .unwrap();
    let after = |start: &str| output.lines().find_map(|line| line.strip_prefix(start)).unwrap().to_owned();
    let traces = Traces {
        namespaces: output
            .lines()
            .filter_map(|line| line.strip_prefix("ip netns exec ")?.strip_suffix(" bash").map(str::to_owned))
            .collect(),
        pins: after("pins: "),
        cgroup: after("cgroup: "),
        process: after("process: "),
    };
    assert_eq!((traces.namespaces.len(), traces.left().len()), (3, 6), "all is there before the end");
    (process, traces)
}

#[test]
#[ignore = "needs root and BPF"]
fn a_signal_cleans_up_and_ends_the_run() {
    use std::os::unix::process::ExitStatusExt;
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let (process, traces) = testbed();
        process.signal(signal);
        let status = process.wait(DEADLINE).unwrap();
        assert_eq!(status.signal(), Some(signal.as_raw()), "ended by the signal itself");
        assert_eq!(traces.left(), Vec::<String>::new(), "{signal:?}");
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn the_next_run_cleans_up_after_a_killed_one() {
    let (killed, traces) = testbed();
    let (_alive, others) = testbed();
    killed.kill(DEADLINE).unwrap();
    // Any new guard looks for leftovers of its kind. (The sleeper has its own process group, so it
    // outlived its parent until now.)
    let _next = (Netns::new("next").unwrap(), BpfFs::new("next").unwrap(), Cgroup::new("next").unwrap());
    let gone = retry_until(DEADLINE, "the leftovers to go", || traces.left().is_empty().then_some(()));
    assert!(gone.is_ok(), "left: {:?}", traces.left());
    assert_eq!(others.left().len(), 6, "what a living run has made is left alone");
}
