//! rsyslog: what it forwards by TCP and by UDP, and what it takes from others.

use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;
use guard_tests::proc::{Process, Transport, retry_until};

use super::sh;
use crate::stage::{PATIENCE, Page, Stage, Way, guarded, mark};

const PAGE: Page = Page { name: "rsyslog", text: include_str!("../../../../docs/recipes/rsyslog.md") };
const LINES: usize = 200;
/// A server that keeps what comes by either protocol.
const RECEIVER: &str = "module(load=\"imtcp\")\nmodule(load=\"imudp\")\n\
    input(type=\"imtcp\" port=\"514\" ruleset=\"keep\")\ninput(type=\"imudp\" port=\"514\" ruleset=\"keep\")\n\
    ruleset(name=\"keep\") { action(type=\"omfile\" file=\"/tmp/got\") }\n";

fn start(machine: &Machine<'_>, within: Option<&Cgroup>, name: &str, config: &str) -> Process {
    let (file, pid) = (format!("/etc/{name}.conf"), format!("/run/{name}.pid"));
    machine.write(&file, format!("global(workDirectory=\"/tmp\")\n{config}")).unwrap();
    machine.serve("root", within, &["rsyslogd", "-n", "-f", &file, "-i", &pid]).unwrap()
}

fn receiver(machine: &Machine<'_>, within: Option<&Cgroup>) -> Process {
    let server = start(machine, within, "receiver", RECEIVER);
    for transport in [Transport::Tcp, Transport::Udp] {
        server.wait_for_port(machine.netns(), transport, 514, PATIENCE).unwrap();
    }
    server
}

/// A service that forwards what is written to a file, by both protocols, to both machines: each by a queue of its own, so
/// that one that is cut does not hold up the others.
fn forwarder(stage: &Stage<'_>) -> Process {
    let mut config = "module(load=\"imfile\")\n\
        input(type=\"imfile\" file=\"/srv/log/app\" tag=\"app\" ruleset=\"on\")\nruleset(name=\"on\") {\n"
        .to_owned();
    for (_, address) in stage.others() {
        for protocol in ["tcp", "udp"] {
            config += &format!(
                "action(type=\"omfwd\" target=\"{address}\" port=\"514\" protocol=\"{protocol}\" \
                 template=\"{protocol}\" queue.type=\"LinkedList\" action.resumeRetryCount=\"-1\")\n"
            );
        }
    }
    let template =
        |name: &str| format!("template(name=\"{name}\" type=\"string\" string=\"<14>by {name}:%msg%\\n\")\n");
    let config = [template("tcp"), template("udp"), config, "}\n".to_owned()].concat();
    start(&stage.store, Some(&stage.service), "forwarder", &config)
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
    let _receivers = [receiver(&stage.belgium, None), receiver(&stage.us, None)];
    let got = |machine: &Machine<'_>, what: &str| {
        let text = std::fs::read_to_string(machine.path("/tmp/got")).unwrap_or_default();
        text.lines().filter(|line| line.contains(what) && line.contains(mark())).count()
    };
    // What another service of the host takes from there, and answers so that it comes.
    let _import = receiver(&stage.store, Some(&stage.import));
    sh(&stage.us, None, &format!("logger --tcp --server 192.0.2.10 --port 514 'an import, {}'", mark()))
        .unwrap();
    retry_until(PATIENCE, "an import", || (got(&stage.store, "an import") == 1).then_some(())).unwrap();

    stage.store.write("/srv/log/app", "").unwrap();
    let _forwarder = forwarder(stage);
    stage.nothing_arrives("forwarding", || {
        let lines: String = (0..LINES).map(|number| format!("{number} {}\n", mark())).collect();
        stage.store.write("/srv/log/app", lines).unwrap();
        for protocol in ["tcp", "udp"] {
            let comes = || (got(&stage.belgium, &format!("by {protocol}")) == LINES).then_some(());
            let arrives = retry_until(PATIENCE, "all lines to come", comes);
            let there = || std::fs::read_to_string(stage.belgium.path("/tmp/got"));
            assert!(arrives.is_ok(), "{protocol}: {:?}", there());
        }
        // It tries again what was cut.
        std::thread::sleep(std::time::Duration::from_secs(3));
    });
    assert_eq!(got(&stage.us, ""), 0);
    stage.told(514);
}
