//! Signing by the program itself: with an agent's key and at a terminal, nothing is signed before somebody says yes to what
//! was shown.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use guard_tests::program;
use guard_tests::signing::sha256_of;

const DOCUMENT: &str = include_str!("../../docs/exemption-document.md");

/// A document, a key, and an agent that has the key; the private file is gone.
struct Signer {
    folder: tempfile::TempDir,
    agent: Child,
}

impl Drop for Signer {
    fn drop(&mut self) {
        // It may be over already.
        let _over = self.agent.kill();
        let _status = self.agent.wait();
    }
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

impl Signer {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let (_, rest) = DOCUMENT.split_once("```toml\n").unwrap();
        let (text, _) = rest.split_once("```").unwrap();
        fs::write(file("m.toml"), text).unwrap();
        let made =
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(file("key")));
        assert!(made.status.success(), "{made:?}");
        let agent =
            Command::new("ssh-agent").arg("-D").arg("-a").arg(file("agent")).stdout(Stdio::null()).spawn();
        let signer = Self { agent: agent.unwrap(), folder };
        let added = (0..100).any(|_| {
            sleep(Duration::from_millis(50));
            run(signer.with_agent(&mut Command::new("ssh-add")).arg(signer.file("key"))).status.success()
        });
        assert!(added, "the agent takes the key");
        fs::remove_file(signer.file("key")).unwrap();
        signer
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn with_agent<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("SSH_AUTH_SOCK", self.file("agent"))
    }

    fn signature(&self) -> PathBuf {
        self.file("m.toml.key.sig")
    }

    /// The command line, as a shell takes it.
    fn line(&self) -> String {
        let program = program::borderguard().unwrap();
        format!("{program:?} exemption sign {:?} --key {:?}", self.file("m.toml"), self.file("key.pub"))
    }
}

/// By `ssh-keygen` alone.
fn is_good(document: &Path, signature: &Path) -> bool {
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "check-novalidate", "-n", "borderguard-exemption", "-s"]).arg(signature);
    command.stdin(fs::File::open(document).unwrap()).output().unwrap().status.success()
}

#[test]
fn an_agent_s_key_signs_for_nobody_who_has_not_said_yes() {
    let signer = Signer::new();
    let sign = |more: &[&str]| {
        let mut command = Command::new("sh");
        // Without a terminal, as a script has it.
        command.args(["-c", &format!("exec setsid {} {}", signer.line(), more.join(" "))]);
        run(signer.with_agent(&mut command))
    };
    let refused = sign(&[]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stdout).contains("Evidence in case 2026/0142"), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--yes SHA256"), "{refused:?}");
    let other = sign(&["--yes", &"0".repeat(64)]);
    assert_eq!(other.status.code(), Some(2), "{other:?}");
    assert!(!signer.signature().exists());
    let shown = sha256_of(&signer.file("m.toml")).unwrap();
    let signed = sign(&["--yes", &shown]);
    assert!(signed.status.success(), "{signed:?}");
    assert!(String::from_utf8_lossy(&signed.stdout).contains(&format!("sha256   {shown}\n")), "{signed:?}");
    assert!(is_good(&signer.file("m.toml"), &signer.signature()));
}

#[test]
fn at_a_terminal_yes_is_typed() {
    let signer = Signer::new();
    let typed = |answer: &str| {
        let mut command = Command::new("script");
        command.args(["-q", "-e", "-c", &signer.line(), "/dev/null"]);
        signer.with_agent(&mut command);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // As somebody who reads it first.
        sleep(Duration::from_millis(1500));
        std::io::Write::write_all(&mut input, answer.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        drop(input);
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (is_done, said) = typed("y\n");
    assert!(!is_done && said.contains("Type yes: ") && said.contains("the answer was not yes"), "{said}");
    assert!(!signer.signature().exists());
    let (is_done, said) = typed("yes\n");
    assert!(is_done && said.contains("Evidence in case 2026/0142") && said.contains("Type yes: "), "{said}");
    assert!(is_good(&signer.file("m.toml"), &signer.signature()));
}
