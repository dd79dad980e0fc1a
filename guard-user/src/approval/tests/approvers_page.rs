//! docs/approvers.md as its readers follow it: every command in its order with the real `ssh-keygen`, and what comes of it
//! verified by this program.

use std::path::Path;
use std::process::Command;

use super::{allowed, now};
use crate::approval::{EXEMPTION, ORDER, POLICY, verify};

const PAGE: &str = include_str!("../../../../docs/approvers.md");
const DOCUMENTS: &str = include_str!("../../../../docs/exemption-document.md");

/// The blocks of this kind.
fn blocks(kind: &str) -> Vec<&'static str> {
    let begin = format!("```{kind}\n");
    PAGE.split(begin.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// Runs the page's commands in a folder and returns what they print; a passphrase can't be typed here.
fn run(folder: &Path, commands: &str) -> (bool, String) {
    let commands = commands.replace("ssh-keygen -t ed25519 ", "ssh-keygen -q -t ed25519 -N '' ");
    let mut command = Command::new("sh");
    command.arg("-euc").arg(format!("exec 2>&1; {commands}")).current_dir(folder).env("HOME", folder);
    let output = command.env_remove("SSH_AUTH_SOCK").output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// A line without the key's fingerprint, which differs from run to run.
fn lasting(line: &str) -> String {
    let words = line.split(' ').map(|word| if word.starts_with("SHA256:") { "SHA256" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn an_approver_with_ssh_keygen_alone_can_do_all_that_the_page_says() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join(".ssh")).unwrap();
    let document = DOCUMENTS.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let files = [
        ("mlat-2026-0142.toml", EXEMPTION, document),
        ("lift-1.toml", ORDER, "lift = \"stay\"\n"),
        ("policy.toml", POLICY, "approval = \"none\"\n"),
    ];
    for (name, _, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let mut printed = String::new();
    for commands in blocks("sh") {
        let (is_done, text) = run(folder, commands);
        assert!(is_done, "{commands}\n{text}");
        printed += &text;
    }
    let shown: Vec<String> = printed.lines().map(lasting).collect();
    let told = blocks("text");
    assert!(told.len() >= 2);
    for line in told.iter().flat_map(|text| text.lines()).map(lasting) {
        assert!(shown.contains(&line), "the page says that this is printed: {line}\n{printed}");
    }
    assert!(printed.contains(&crate::store::sha256(document.as_bytes())), "{printed}");

    let public = std::fs::read_to_string(folder.join(".ssh/aoife.pub")).unwrap();
    let signers = allowed(&format!("aoife@example.org namespaces=\"borderguard-*\" {public}"));
    for (name, namespace, text) in files {
        // The row of the table, the commands and the program agree on what it is signed for.
        assert!(
            PAGE.lines()
                .any(|line| line.starts_with(&format!("| `{name}`"))
                    && line.contains(&format!("`{namespace}`")))
        );
        let signature = std::fs::read(folder.join(format!("{name}.aoife.sig"))).unwrap();
        for other in [EXEMPTION, ORDER, POLICY] {
            let found = verify(text.as_bytes(), &signature, other, &["aoife@example.org"], &signers, now());
            assert_eq!(found.is_ok(), other == namespace, "{name} for {other}: {found:?}");
        }
        let changed = format!("{text}# more\n");
        let found =
            verify(changed.as_bytes(), &signature, namespace, &["aoife@example.org"], &signers, now());
        assert_eq!(found.unwrap_err().code(), "altered");
        // By ssh-keygen as well, in the page's words.
        std::fs::write(folder.join(name), changed).unwrap();
        let line = blocks("sh").concat();
        let line = line.lines().find(|line| line.contains("-Y verify") && line.ends_with(name)).unwrap();
        let (is_good, text) = run(folder, line);
        assert!(!is_good && text.contains("Could not verify signature"), "{text}");
    }
}

#[test]
fn a_character_that_nobody_sees_is_found_by_the_page_s_command() {
    let folder = tempfile::tempdir().unwrap();
    let command = blocks("sh").into_iter().find(|text| text.contains("grep")).unwrap();
    let file = folder.path().join("mlat-2026-0142.toml");
    std::fs::write(&file, "id = \"a\"\npurpose = \"all of it\" # {~}\n").unwrap();
    assert_eq!(run(folder.path(), command), (true, String::new()));
    for unseen in ["\u{200b}", "\u{202e}", "\u{a0}", "\t", "\u{7f}", "\u{ad}", "\u{430}"] {
        std::fs::write(&file, format!("id = \"a{unseen}\"\n")).unwrap();
        let (_, printed) = run(folder.path(), command);
        assert!(printed.starts_with("1:") || printed.contains("matches"), "{unseen:?}: {printed}");
    }
}
