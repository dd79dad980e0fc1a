use proptest::prelude::*;

use super::*;
use crate::config::policy::Action;
use crate::control::status::{PlaceStatus, ProcessStatus, UntaggedStatus};

const CONFIG: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\nobserve = true\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
                      action = \"drop\"\nselect.ports = [\"tcp/143\"]\n";

fn policy_of(text: &str) -> Policy {
    config::parse(Path::new("policy.toml"), text.as_bytes(), &Surroundings::new(None))
        .unwrap_or_else(|it| panic!("{it}\n{text}"))
        .policy
}

fn flow(peer: &str, place: &str, side: &str, port: Option<u16>, cgroup: Option<&str>) -> UntaggedFlowStatus {
    UntaggedFlowStatus {
        peer: peer.into(),
        jurisdiction: place.into(),
        protocol: "tcp".into(),
        side: side.into(),
        port,
        interface: Some("eth0".into()),
        cgroup: cgroup.map(str::to_owned),
        process: Some(ProcessStatus {
            pid: 7,
            command: "etcd".into(),
            user: Some("etcd".into()),
            ..Default::default()
        }),
        packets: 10,
        bytes: 1000,
    }
}

fn status(flows: Vec<UntaggedFlowStatus>) -> Status {
    let untagged = UntaggedStatus { jurisdictions: Vec::new(), flows };
    Status {
        observe: true,
        untagged,
        since: "2026-11-23T10:00:00Z".into(),
        people: "shown".into(),
        ..Status::default()
    }
}

fn told(status: &Status) -> String {
    let policy = policy_of(CONFIG);
    let now = "2026-11-23T12:00:00Z".parse().unwrap();
    let text = suggested(status, &policy, "IE".parse().unwrap(), now);
    check(Path::new("policy.toml"), &policy, &text).unwrap_or_else(|it| panic!("{it}\n{text}"));
    text
}

#[test]
fn the_config_of_the_daemon_on_a_socket_is_the_one_that_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let (file, socket) = (folder.path().join("policy.toml"), folder.path().join("none.sock"));
    std::fs::write(&file, CONFIG).unwrap();
    let status = |file: &Path| Status { config: file.to_string_lossy().into_owned(), ..Status::default() };
    let (found, policy) = of_daemon(&socket, &status(&file)).unwrap();
    assert_eq!((found, policy.pin_names()), (file, vec!["mail".to_owned()]));
    // One that can't be read from here is asked of the daemon.
    let error = of_daemon(&socket, &status(&folder.path().join("elsewhere.toml"))).unwrap_err();
    assert!(error.to_string().contains("no daemon answers on"), "{error}");
}

#[test]
fn a_pin_has_its_evidence_and_permits_nothing() {
    let etcd = Some("system.slice/etcd.service");
    let text = told(&status(vec![
        flow("203.0.113.30", "US", "remote", Some(2380), etcd),
        flow("203.0.113.31", "BR", "remote", Some(2380), etcd),
        flow("192.0.2.9", "IE", "remote", Some(2380), etcd),
        flow("10.0.0.9", "unknown", "remote", Some(22), None),
    ]));
    let expected = "\n# Seen: 20 packets of 2000 bytes.\n#   peers: 203.0.113.30 in US, 203.0.113.31 in BR\n#   ports: tcp/2380 remote\n\
                    #   processes: etcd (7) of etcd\n#   interfaces: eth0\n";
    assert!(text.contains(expected), "{text}");
    let pin = "[[pin]]\nname = \"seen-etcd.service-tcp-2380\"\nhome = \"IE\"\naction = \"observe\"\n[pin.select]\n\
               cgroups = [\"system.slice/etcd.service\"]\nremote_ports = [\"tcp/2380\"]\n";
    assert!(text.contains(pin) && text.contains("permit = [\"BR\", \"US\"]"), "{text}");
    assert!(text.contains("# [[site]]\n") && text.contains("# cidrs = [\"10.0.0.9/32\"]\n"), "{text}");
    assert!(
        text.contains("seen until 2026-11-23T12:00:00Z") && text.contains("since 2026-11-23T10:00:00Z"),
        "{text}"
    );
    assert_eq!(text.matches("\n[[pin]]").count(), 1);
}

#[test]
fn what_can_t_be_known_is_said() {
    let hidden = Status {
        people: "hidden".into(),
        ..status(vec![flow("203.0.113.30", "US", "remote", Some(2380), None)])
    };
    assert!(told(&hidden).contains("takes the right `people`"));
    let bare = UntaggedFlowStatus { protocol: "47".into(), ..flow("203.0.113.30", "US", "none", None, None) };
    assert!(told(&status(vec![bare])).contains("No selector knows these"));
    let two = policy_of(&format!(
        "{CONFIG}[[pin]]\nname = \"b\"\nhome = \"FR\"\naction = \"observe\"\nselect.ports = [\"tcp/1\"]\n"
    ));
    assert!(home(None, &two).unwrap_err().message.contains("--home"));
    assert_eq!(home(Some("DE"), &two).unwrap().as_str(), "DE");
    assert!(home(Some("unknown"), &two).is_err() && home(Some("XX"), &two).is_err());
    assert_eq!(home(None, &policy_of(CONFIG)).unwrap().as_str(), "IE");
}

/// Where there is nothing to suggest it is said, with since when and what to do; all of it comments.
#[test]
fn that_nothing_was_seen_is_said_plainly() {
    let seen_none = told(&status(Vec::new()));
    let says = "# Nothing is suggested: no packet without a pin was seen to leave since 2026-11-23T10:00:00Z";
    assert!(seen_none.starts_with(says) && seen_none.contains("ask again"), "{seen_none}");
    let mut off = Status { observe: false, ..status(Vec::new()) };
    let place = PlaceStatus { jurisdiction: "US".into(), packets: 1, bytes: 60 };
    off.untagged.jurisdictions = vec![place];
    let off = told(&off);
    assert!(off.starts_with("# Nothing is suggested: the policy does not observe"), "{off}");
    assert!(off.contains("Set host.observe = true") && off.contains("US (60 bytes)"), "{off}");
    let at_home = told(&status(vec![flow("192.0.2.9", "IE", "remote", Some(2380), None)]));
    assert!(at_home.contains("# Nothing is suggested: all of it stayed at home (IE)"), "{at_home}");
    for text in [seen_none, off, at_home] {
        assert!(text.lines().all(|line| line.starts_with("# ")), "{text}");
    }
}

proptest! {
    /// Whatever a process calls itself and its cgroup: what is suggested is a config, whose pins observe, permit their home
    /// alone, and select no more than what was seen.
    #[test]
    fn no_name_breaks_it_and_nothing_wider_is_suggested(
        flows in prop::collection::vec(
            (any::<u8>(), prop::sample::select(vec!["US", "BR", "unknown", "IE"]), prop::sample::select(vec!["local", "remote", "none"]),
             prop::option::of(any::<u16>()), prop::option::of("[a-z./\\-\n\u{1b}\"#\u{202e}A-Z ]{1,40}"), "[ -~\n\r\t\u{1b}\u{85}\u{2028}]{0,15}"),
            0..20),
    ) {
        let made: Vec<UntaggedFlowStatus> = flows.into_iter().map(|(host, place, side, port, cgroup, command)| {
            let mut flow = flow(&format!("203.0.113.{host}"), place, side, port, cgroup.as_deref());
            flow.process.as_mut().unwrap().command = command;
            flow
        }).collect();
        let text = told(&status(made.clone()));
        let policy = policy_of(&format!("{CONFIG}\n{text}"));
        for pin in policy.pins.iter().skip(1) {
            prop_assert!(pin.name.starts_with("seen-") && pin.action == Action::Observe);
            prop_assert!(!pin.permitted.contains("US".parse().unwrap()) && !pin.permitted.contains("BR".parse().unwrap()));
            let select = &pin.select;
            let is_of = |flow: &UntaggedFlowStatus| {
                let own = if flow.side == "local" { &select.ports } else { &select.remote_ports };
                let cgroup = select.cgroups.is_empty() || flow.cgroup.as_ref() == select.cgroups.first();
                cgroup && (own.is_empty() || own.iter().any(|it| Some(it.first) == flow.port && it.first == it.last))
            };
            prop_assert!(made.iter().any(|flow| flow.jurisdiction != "IE" && is_of(flow)), "{}", text);
        }
        let unseen = ['\u{1b}', '\u{202e}', '\r', '\u{85}', '\u{2028}'];
        prop_assert!(!text.contains(unseen));
    }
}
