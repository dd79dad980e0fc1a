//! The control socket, asked by processes of other users and groups.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use guard_tests::proc::retry_until;
use guard_user::config::policy::ControlGroups;
use guard_user::control::client::{ClientError, ask};
use guard_user::control::protocol::{ErrorKind, Request, Response};
use guard_user::control::refusals::Refusal;
use guard_user::control::right::Right;
use guard_user::control::server::{Command, Message, Server, Setup};
use guard_user::control::users::{NameSource, Names};
use guard_user::events::history::History;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

const NOBODY: u32 = 61_000;
const GROUPS: [(u32, &str, Right); 6] = [
    (61_070, "bg-view", Right::View),
    (61_071, "bg-compliance", Right::Exemptions),
    (61_072, "bg-sre", Right::Policy),
    (61_073, "bg-admin", Right::Everything),
    (61_074, "bg-people", Right::People),
    (61_075, "bg-collector", Right::Canaries),
];

/// A server whose daemon does whatever it is asked, until it is dropped.
struct Served {
    socket: PathBuf,
    refused: Receiver<Refusal>,
    _server: Server,
    _folder: tempfile::TempDir,
}

/// Groups that this host need not have.
struct Groups;

impl NameSource for Groups {
    fn user(&mut self, _: u32) -> io::Result<Option<String>> {
        Ok(None)
    }

    fn group(&mut self, name: &str) -> io::Result<Option<u32>> {
        Ok(GROUPS.iter().find(|(_, known, _)| *known == name).map(|(gid, ..)| *gid))
    }
}

impl Served {
    fn new(groups: &[(u32, &str, Right)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = folder.path().join("control.sock");
        let of = |right| {
            let own = groups.iter().filter(move |group| group.2 == right);
            own.map(|(_, name, _)| (*name).to_owned()).collect()
        };
        let groups = ControlGroups {
            view: of(Right::View),
            exemptions: of(Right::Exemptions),
            policy: of(Right::Policy),
            everything: of(Right::Everything),
            people: of(Right::People),
            canaries: of(Right::Canaries),
        };
        let (requests, mut messages) = tokio::sync::mpsc::channel(4);
        let (tell, refused) = mpsc::channel();
        std::thread::spawn(move || {
            while let Some(message) = messages.blocking_recv() {
                match message {
                    Message::Refused(refusal) => tell.send(refusal).unwrap(),
                    Message::Asked(command) => {
                        let Command { peer, answer, .. } = *command;
                        let message = format!("{} {} {}", peer.uid, peer.gid, peer.rights);
                        answer
                            .send(Response::Done { message, generation: 1, exemptions: Vec::new() })
                            .unwrap();
                    }
                }
            }
        });
        let names = Names::start(Groups).unwrap();
        let history = History::new(10).into();
        let server = Server::start(Setup {
            path: path.clone(),
            groups,
            names,
            history,
            past: None,
            flows: None,
            untagged: None,
            requests,
        })
        .unwrap();
        retry_until(Duration::from_secs(10), "the groups to be known", || {
            server.problems(Instant::now()).is_empty().then_some(())
        })
        .unwrap();
        Self { socket: path, refused, _server: server, _folder: folder }
    }

    fn mode(&self) -> u32 {
        fs::metadata(&self.socket).unwrap().permissions().mode() & 0o777
    }
}

/// Asks as this user with these groups. Credentials are a thread's own to the kernel (credentials(7)).
fn ask_as(
    socket: &Path,
    uid: u32,
    gid: u32,
    groups: &[u32],
    request: &Request,
) -> Result<Response, ClientError> {
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let groups: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            set_thread_groups(&groups).unwrap();
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
            ask(socket, request)
        });
        asked.join().unwrap()
    })
}

fn requests() -> [(Request, Right); 5] {
    [
        (Request::Status {}, Right::View),
        (Request::ExemptionList {}, Right::View),
        (
            Request::ExemptionRevoke { id: "x".to_owned(), why: "y".to_owned(), dry_run: false },
            Right::Exemptions,
        ),
        (Request::Reload {}, Right::Policy),
        (Request::CanaryConfirm { canary: "4be20d1c97a35f08".to_owned() }, Right::Canaries),
    ]
}

fn refusal(result: Result<Response, ClientError>) -> String {
    match result {
        Err(ClientError::Refused { kind: ErrorKind::NotPermitted, message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn each_group_may_do_what_its_right_says_and_no_more() {
    let served = Served::new(&GROUPS);
    assert_eq!(served.mode(), 0o666);
    for (user, &(group, _, right)) in (NOBODY..).zip(&GROUPS) {
        for (request, needed) in requests() {
            // As the user's own group, and as one of those beside it.
            for (gid, groups) in [(group, vec![]), (user, vec![61_999, group])] {
                let answer = ask_as(&served.socket, user, gid, &groups, &request);
                if right.includes(needed) {
                    let message = format!("{user} {gid} {right}");
                    assert_eq!(
                        answer.unwrap(),
                        Response::Done { message, generation: 1, exemptions: Vec::new() }
                    );
                    continue;
                }
                let message = refusal(answer);
                assert!(message.starts_with(&format!("the user {user} may not use `")), "{message}");
                assert!(message.contains(&format!("the right `{needed}`")), "{message}");
                let names_view = message.contains("\"bg-view\"");
                assert!(
                    message.contains("\"bg-admin\"") && names_view == (needed == Right::View),
                    "{message}"
                );
            }
        }
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn who_has_no_right_is_refused_unread_and_a_flood_of_it_is_one_record_a_second() {
    let served = Served::new(&GROUPS);
    for _ in 0..50 {
        let message = refusal(ask_as(&served.socket, NOBODY, NOBODY, &[], &Request::Status {}));
        assert!(message.contains("the right `view`") && message.contains("\"bg-view\""), "{message}");
    }
    let mut told = 0;
    while told < 50 {
        let refusal = served.refused.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!((refusal.peer.uid, refusal.request, refusal.needed), (NOBODY, None, Right::View));
        assert_eq!(refusal.peer.pid, Some(std::process::id()));
        told += 1 + refusal.left_out;
        assert!(told == 1 || refusal.left_out > 0, "{refusal:?}");
    }
    assert_eq!(told, 50);
    // The administrator is served all the while.
    ask(&served.socket, &Request::Reload {}).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn with_one_group_the_kernel_keeps_all_others_away() {
    let served = Served::new(&GROUPS[..1]);
    assert_eq!(served.mode(), 0o660);
    ask_as(&served.socket, NOBODY, GROUPS[0].0, &[], &Request::Status {}).unwrap();
    let kept_away = ask_as(&served.socket, NOBODY, NOBODY, &[], &Request::Status {}).unwrap_err();
    assert!(matches!(kept_away, ClientError::NotPermitted { .. }), "{kept_away}");
}

#[test]
#[ignore = "needs root and BPF"]
fn without_groups_root_alone_connects() {
    let served = Served::new(&[]);
    assert_eq!(served.mode(), 0o600);
    ask(&served.socket, &Request::Reload {}).unwrap();
    let kept_away = ask_as(&served.socket, NOBODY, 0, &[0], &Request::Status {}).unwrap_err();
    assert!(matches!(kept_away, ClientError::NotPermitted { .. }), "{kept_away}");
}
