//! docs/audit.md says what the code does, and its script does what it says.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{record, trail};
use crate::audit::{Checkpoint, Head, Kind, verify};

const DOCS: &str = include_str!("../../../../docs/audit.md");

fn between<'d>(begin: &str, end: &str) -> &'d str {
    let (_, rest) = DOCS.split_once(begin).unwrap_or_else(|| panic!("docs/audit.md has {begin:?}"));
    rest.split_once(end).unwrap_or_else(|| panic!("docs/audit.md has {end:?}")).0
}

#[test]
fn the_documentation_has_every_kind_with_its_meaning() {
    let rows: Vec<&str> =
        between("## Kinds\n", "\n## ").lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> =
        Kind::ALL.iter().map(|kind| format!("| `{kind}` | {} |", kind.meaning())).collect();
    assert_eq!(rows, expected);
}

#[test]
fn the_documentation_s_trail_is_one_and_so_is_its_checkpoint() {
    let lines: Vec<&str> = between("```json\n", "```").lines().collect();
    let head = verify(&lines, &[]).unwrap();
    let checkpoint: Checkpoint = between("```text\n", "```").parse().unwrap();
    assert_eq!((head.sequence, checkpoint.head), (2, head));
    assert_eq!(Head::of_line(lines[1]).unwrap(), head);
}

/// Whether the script of the documentation takes the export, and what it says.
fn script(export: &str) -> (bool, String) {
    let mut command = Command::new("sh");
    command.args(["-c", between("```sh\n", "```")]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It stops reading at the first break.
    let _closed = child.stdin.take().unwrap().write_all(export.as_bytes());
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_documentation_s_script_verifies_an_export_with_sha256sum_alone() {
    let records: Vec<_> = (0..12).map(record).collect();
    let (mut lines, head) = trail(&records);
    let export = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let good = export(&lines);
    assert_eq!(
        script(&good),
        (true, format!("12 records, the last one's SHA-256 is {}\n", head.hash_text()))
    );
    assert!(script(good.trim_end()).0, "the last line break may be missing");
    let altered = script(&good.replacen("mlat-4", "mlat-5", 1));
    assert_eq!(altered, (false, "record 6 does not follow the one before it\n".to_owned()));
    lines.swap(2, 3);
    assert!(!script(&export(&lines)).0);
    lines.swap(2, 3);
    lines.remove(7);
    assert!(!script(&export(&lines)).0);
}

#[test]
fn the_documentation_lists_every_fault() {
    let source = include_str!("../chain.rs").split("pub const fn code(&self)").nth(1).unwrap();
    let codes: Vec<&str> =
        source.lines().filter_map(|line| line.split_once("=> \"")?.1.strip_suffix("\",")).collect();
    let rows: Vec<&str> = between("## Verifying\n", "\n## ")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(code, _)| code)
        .collect();
    assert!(codes.len() > 5);
    assert_eq!(rows, codes);
}
