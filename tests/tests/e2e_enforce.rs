//! What the running daemon has the kernel do with real packets of a storage host.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use guard_tests::bed::{
    self, BELGIUM, Bed, CLIENT_PORT, Family, MAIL_PORT, OTHER_PORT, PATIENCE, PIN, STORE, US, packets,
};
use guard_tests::proc::retry_until;
use guard_user::health::Problem;
use serde_json::Value;

/// The event about a flow from this port to a host, as soon as it is there.
fn event(bed: &Bed, hook: &str, to: &str, family: Family) -> Value {
    let ip = bed::address(to, family).unwrap().to_string();
    let is_it = |event: &Value| event["destination"]["ip"] == ip.as_str() && event["hook"] == hook;
    bed.event(Duration::from_secs(5), &format!("an event at {hook} about {ip}"), is_it).unwrap()
}

/// The line of the config that the pin begins on.
fn line_of_pin(bed: &Bed) -> usize {
    let text = std::fs::read_to_string(bed.config()).unwrap();
    1 + text.lines().position(|line| line == "[[pin]]").unwrap()
}

#[test]
#[ignore = "needs root and BPF"]
fn the_eu_gets_the_mailbox_and_the_us_does_not() {
    let bed = Bed::new("enforce").unwrap();
    bed.configure(PIN).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    for family in Family::ALL {
        assert_eq!(bed.send(20, MAIL_PORT, BELGIUM, family).unwrap(), 20, "permitted, {family:?}");
        assert_eq!(bed.send(20, MAIL_PORT, US, family).unwrap(), 0, "forbidden, {family:?}");
        assert_eq!(bed.send(20, OTHER_PORT, US, family).unwrap(), 20, "not pinned, {family:?}");
        let event = event(&bed, "egress", US, family);
        assert_eq!(event["pins"], serde_json::json!(["mail"]), "{event}");
        assert_eq!(event["jurisdiction"], "US", "{event}");
        assert_eq!(event["placed_by"], "site", "{event}");
        assert_eq!((&event["verdict"], &event["reason"]), (&"drop".into(), &"forbidden".into()), "{event}");
        assert_eq!(event["rule"]["pin"], "mail", "{event}");
        assert_eq!(event["rule"]["line"], line_of_pin(&bed), "{event}");
        assert_eq!(event["source"]["port"], MAIL_PORT, "{event}");
    }
    let status = bed.status().unwrap();
    assert_eq!(packets(&status, "egress", "drop", "forbidden"), 40, "{:?}", status.totals);
    assert_eq!(packets(&status, "egress", "pass", "permitted"), 40, "{:?}", status.totals);
    let us: u64 = status
        .counters
        .iter()
        .filter(|row| row.pin.as_deref() == Some("mail") && row.jurisdiction.as_deref() == Some("US"))
        .map(|row| row.packets)
        .sum();
    assert_eq!(us, 40, "{:?}", status.counters);
    assert_eq!(status.problems, Vec::<Problem>::new());
    let events = bed.events().unwrap();
    assert!(events.iter().all(|event| event["jurisdiction"] == "US"), "nothing else is told of");
}

#[test]
#[ignore = "needs root and BPF"]
fn what_is_flagged_or_observed_passes_and_is_reported() {
    for (action, options, verdict) in
        [("flag", &[][..], "flag"), ("observe", &[][..], "observe"), ("drop", &["--observe"][..], "observe")]
    {
        let bed = Bed::new("report").unwrap();
        bed.configure(&PIN.replace("\"drop\"", &format!("{action:?}"))).unwrap();
        let daemon = bed.start(options).unwrap();
        for family in Family::ALL {
            assert_eq!(bed.send(5, MAIL_PORT, US, family).unwrap(), 5, "{action} {options:?} {family:?}");
            let event = event(&bed, "egress", US, family);
            assert_eq!(
                (&event["verdict"], &event["reason"]),
                (&verdict.into(), &"forbidden".into()),
                "{event}"
            );
        }
        let status = bed.status().unwrap();
        assert_eq!(packets(&status, "egress", verdict, "forbidden"), 10, "{:?}", status.totals);
        assert_eq!(packets(&status, "egress", "drop", "forbidden"), 0, "{:?}", status.totals);
        assert_eq!(status.observe, !options.is_empty());
        drop(daemon);
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn the_failsafe_always_passes() {
    let bed = Bed::new("failsafe").unwrap();
    let failsafe = "[[failsafe]]\nname = \"rescue\"\nlocal_ports = [\"udp/2222\"]\nanywhere = true\n";
    let pin = PIN.replace("ports = [\"udp/143\", \"tcp/143\"]\n", "");
    bed.configure(&format!("{failsafe}{pin}")).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    for family in Family::ALL {
        assert_eq!(bed.send(5, 2222, US, family).unwrap(), 5, "{family:?}");
        assert_eq!(bed.send(5, 2222, BELGIUM, family).unwrap(), 5, "{family:?}");
        let told = event(&bed, "egress", US, family);
        assert_eq!((&told["verdict"], &told["reason"]), (&"pass".into(), &"failsafe".into()), "{told}");
        assert_eq!((&told["rule"]["pin"], &told["jurisdiction"]), (&"mail".into(), &"US".into()), "{told}");
        assert_eq!(bed.send(5, 2223, US, family).unwrap(), 0, "{family:?}");
    }
    let status = bed.status().unwrap();
    assert_eq!(packets(&status, "egress", "pass", "failsafe"), 10, "{:?}", status.totals);
    let us = status.counters.iter().filter(|row| {
        (row.pin.as_deref(), row.jurisdiction.as_deref()) == (Some("mail"), Some("US"))
            && row.reason == "failsafe"
    });
    assert_eq!(us.map(|row| row.packets).sum::<u64>(), 10, "{:?}", status.counters);
    // What the pin permits anyway needs no rule, and is nothing to tell.
    assert_eq!(packets(&status, "egress", "pass", "permitted"), 10, "{:?}", status.totals);
    let events = bed.events().unwrap();
    assert!(events.iter().all(|event| event["jurisdiction"] == "US"), "{events:?}");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_failsafe_rule_lets_as_many_bytes_of_pins_pass_in_a_minute_as_it_may() {
    // A datagram of `send` is less than 100 bytes on the wire.
    const BUDGET: u64 = 1000;
    let bed = Bed::new("budget").unwrap();
    let failsafe = format!(
        "[[failsafe]]\nname = \"rescue\"\nlocal_ports = [\"udp/1-65535\"]\nanywhere = true\nbytes_per_minute = {BUDGET}\n"
    );
    bed.configure(&format!("{failsafe}{PIN}")).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    // Not in two minutes of the kernel's clock.
    let into = guard_user::exemption::Clocks::read().boot_ns / 1_000_000_000 % 60;
    if into > 40 {
        std::thread::sleep(Duration::from_secs(60 - into));
    }
    let arrived = bed.send(40, MAIL_PORT, US, Family::V4).unwrap();
    assert!((5..=40).contains(&arrived) && arrived < 40, "{arrived}");
    assert_eq!(bed.send(5, MAIL_PORT, US, Family::V4).unwrap(), 0);
    let status = bed.status().unwrap();
    let passed = status.totals.iter().find(|row| row.reason == "failsafe").unwrap();
    assert!(passed.packets == arrived && passed.bytes <= BUDGET, "{passed:?}");
    assert_eq!(packets(&status, "egress", "drop", "failsafe-exhausted"), 45 - arrived, "{:?}", status.totals);
    let is_it = |problem: &Problem| problem.to_string().contains("rescue");
    assert!(status.problems.iter().any(is_it), "{:?}", status.problems);
    let told = |event: &Value| event["reason"] == "failsafe-exhausted" && event["verdict"] == "drop";
    bed.event(Duration::from_secs(5), "an event of it", told).unwrap();
    // What no pin has, and what its pins permit, is never held up.
    assert_eq!(bed.send(40, OTHER_PORT, US, Family::V4).unwrap(), 40);
    assert_eq!(bed.send(40, MAIL_PORT, BELGIUM, Family::V4).unwrap(), 40);
}

/// Whether a client can open a session with the mailbox.
fn session_opens(bed: &Bed, from: &str, family: Family) -> bool {
    let mailbox = SocketAddr::new(bed::address(STORE, family).unwrap(), MAIL_PORT);
    let wait = Duration::from_millis(700);
    bed.host(from).unwrap().run(|| TcpStream::connect_timeout(&mailbox, wait).is_ok()).unwrap()
}

#[test]
#[ignore = "needs root and BPF"]
fn a_forbidden_session_never_opens() {
    // Egress only observes, so what keeps the session from opening is ingress alone.
    for (ingress, opens) in [("drop", false), ("flag", true)] {
        let bed = Bed::new("ingress").unwrap();
        let actions = format!("action = \"observe\"\ningress = {ingress:?}\n");
        bed.configure(&PIN.replace("action = \"drop\"\n", &actions)).unwrap();
        let _daemon = bed.start(&[]).unwrap();
        for family in Family::ALL {
            let mailbox = SocketAddr::new(bed::address(STORE, family).unwrap(), MAIL_PORT);
            let listener = bed.host(STORE).unwrap().run(|| TcpListener::bind(mailbox).unwrap()).unwrap();
            listener.set_nonblocking(true).unwrap();
            assert!(session_opens(&bed, BELGIUM, family), "{ingress} {family:?}");
            assert!(listener.accept().is_ok(), "{ingress} {family:?}");
            assert_eq!(session_opens(&bed, US, family), opens, "{ingress} {family:?}");
            assert_eq!(listener.accept().is_ok(), opens, "the server sees it or not: {ingress} {family:?}");
            let event = event(&bed, "ingress", US, family);
            assert_eq!(event["verdict"], ingress, "{event}");
            assert_eq!(event["jurisdiction"], "US", "{event}");
            assert_eq!(event["source"]["port"], MAIL_PORT, "{event}");
        }
        let status = bed.status().unwrap();
        assert!(packets(&status, "ingress", ingress, "forbidden") >= 2, "{:?}", status.totals);
        if !opens {
            assert_eq!(packets(&status, "egress", "observe", "forbidden"), 0, "no answer was ever sent");
        }
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn a_reload_changes_what_is_live() {
    let bed = Bed::new("reload").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let before = bed.status().unwrap().generation;
    assert_eq!(bed.send(5, MAIL_PORT, US, Family::V4).unwrap(), 0);
    bed.configure(&PIN.replace("\"EU\"", "\"US\"")).unwrap();
    daemon.signal(rustix::process::Signal::HUP);
    retry_until(PATIENCE, "the next generation", || {
        (bed.status().unwrap().generation > before).then_some(())
    })
    .unwrap();
    assert_eq!(bed.send(5, MAIL_PORT, US, Family::V4).unwrap(), 5);
    assert_eq!(bed.send(5, MAIL_PORT, BELGIUM, Family::V4).unwrap(), 0);
}

/// What the storage sends by connections of its own has any source port, and one at the other end.
#[test]
#[ignore = "needs root and BPF"]
fn a_pin_knows_what_storage_sends_by_the_port_at_the_other_end() {
    let bed = Bed::new("remote").unwrap();
    let pin = |port: u16| {
        let ports = "ports = [\"udp/143\", \"tcp/143\"]";
        bed.configure(&PIN.replace(ports, &format!("remote_ports = [\"udp/{port}\"]"))).unwrap();
    };
    pin(CLIENT_PORT);
    let _daemon = bed.start(&[]).unwrap();
    for family in Family::ALL {
        for port in [MAIL_PORT, OTHER_PORT] {
            assert_eq!(bed.send(10, port, US, family).unwrap(), 0, "{family:?} from {port}");
            assert_eq!(bed.send(10, port, BELGIUM, family).unwrap(), 10, "{family:?} from {port}");
        }
    }
    let explained = |port: u16| {
        let to = format!("203.0.113.10:{port}");
        bed.ask(&["explain", "--from", "192.0.2.10:40000", "--to", &to, "--proto", "udp"]).unwrap().out
    };
    let said = explained(CLIENT_PORT);
    assert!(said.contains(&format!("remote port udp/{CLIENT_PORT}")), "{said}");
    pin(CLIENT_PORT + 1);
    bed.tell(&["reload"]).unwrap();
    assert_eq!(bed.send(10, OTHER_PORT, US, Family::V4).unwrap(), 10, "another port");
    let said = explained(CLIENT_PORT);
    assert!(
        said.contains(&format!("the remote port udp/{CLIENT_PORT} is not udp/{}", CLIENT_PORT + 1)),
        "{said}"
    );
}

/// The port that a service serves and the one at which it asks its own members are one pin.
#[test]
#[ignore = "needs root and BPF"]
fn a_pin_that_is_known_in_two_ways_is_one_pin() {
    let bed = Bed::new("ways").unwrap();
    let selectors = "sources = [\"192.0.2.10/32\", \"2001:db8:1::10/128\"]\n";
    let ports = "ports = [\"udp/143\", \"tcp/143\"]\n";
    let ways = format!(
        "[[pin.select]]\n{selectors}{ports}[[pin.select]]\n{selectors}remote_ports = [\"udp/{CLIENT_PORT}\"]\n"
    );
    bed.configure(&PIN.replace(&format!("[pin.select]\n{selectors}{ports}"), &ways)).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    for port in [MAIL_PORT, OTHER_PORT] {
        assert_eq!(bed.send(10, port, US, Family::V4).unwrap(), 0, "from {port}");
        assert_eq!(bed.send(10, port, BELGIUM, Family::V4).unwrap(), 10, "from {port}");
    }
    let told = event(&bed, "egress", US, Family::V4);
    assert_eq!(
        (&told["pins"], &told["tagged"]),
        (&serde_json::json!(["mail"]), &serde_json::json!(["mail"]))
    );
    let status = bed.status().unwrap();
    let names: Vec<&str> = status.pins.iter().map(|pin| pin.name.as_str()).collect();
    assert_eq!((names, packets(&status, "egress", "drop", "forbidden")), (vec!["mail"], 20));
    // One exemption covers both ways.
    bed.exempt("both", &["203.0.113.10/32"], 600, None).unwrap();
    for port in [MAIL_PORT, OTHER_PORT] {
        assert_eq!(bed.send(10, port, US, Family::V4).unwrap(), 10, "from {port}");
    }
    let said = bed.tell(&[
        "explain",
        "--from",
        "192.0.2.10:40000",
        "--to",
        &format!("203.0.113.10:{CLIENT_PORT}"),
        "--proto",
        "udp",
    ]);
    let said = said.unwrap();
    assert!(said.contains("way 1 of 2, does not match") && said.contains("way 2 of 2, matches"), "{said}");
}
