//! The archive that somebody hands on to have a host looked at: what is in it, and how it is written.

mod redact;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

pub use redact::Redactor;

/// The folder that all of it is in.
pub const FOLDER: &str = "borderguard-bundle";

/// Bits of the archive's file, and of each file in it: for its owner alone.
const MODE: u32 = 0o600;

/// Files of an archive, with what is in each: the table of docs/bundle.md.
pub const FILES: &[(&str, &str)] = &[
    ("about.json", "when it was made, by which version, on which kernel; what is missing, and why"),
    ("policy.toml", "the config as it is on the disk, with its files in `policy.d`"),
    ("status.json", "what `borderguard status --json` prints, of exemptions without their texts"),
    ("problems.json", "the daemon's problems"),
    ("doctor.json", "what `borderguard doctor --json` prints"),
    ("audit.jsonl", "of the last 200 records of the audit trail number, time and kind, and nothing else"),
];

/// One file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// One of [`FILES`].
    pub name: &'static str,
    /// What is in it.
    pub text: String,
}

/// Writes an archive into a new file that its owner alone can read. Where that fails nothing is left.
///
/// # Errors
/// Where there is something at the path already, or the disk does not take it.
pub fn write(path: &Path, parts: &[Part], seconds: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    fill(file, parts, seconds).inspect_err(|_| {
        // What is half written is of no use; that it can't be removed changes nothing in what is told.
        let _left = fs::remove_file(path);
    })
}

/// `seconds` since 1970 are the time of each file in it.
fn fill(file: File, parts: &[Part], seconds: u64) -> io::Result<()> {
    let mut archive = tar::Builder::new(file);
    for Part { name, text } in parts {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(MODE);
        header.set_mtime(seconds);
        archive.append_data(&mut header, format!("{FOLDER}/{name}"), text.as_bytes())?;
    }
    archive.into_inner()?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_archive_has_its_parts_and_is_its_owner_s_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.tar");
        let parts = [
            Part { name: "about.json", text: "{}\n".into() },
            Part { name: "policy.toml", text: "x".repeat(70_000) },
        ];
        write(&path, &parts, 1_700_000_000).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let mut read = Vec::new();
        for entry in tar::Archive::new(File::open(&path).unwrap()).entries().unwrap() {
            let mut entry = entry.unwrap();
            assert_eq!(
                (entry.header().mode().unwrap(), entry.header().mtime().unwrap()),
                (0o600, 1_700_000_000)
            );
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            read.push((name, text));
        }
        let expected = parts.map(|part| (format!("borderguard-bundle/{}", part.name), part.text));
        assert_eq!(read, expected);
        // Nothing is written over, nor through a link.
        let again = write(&path, &[], 0).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &link).unwrap();
        assert_eq!(write(&link, &[], 0).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(!folder.path().join("elsewhere").exists());
    }

    #[test]
    fn the_page_has_every_file() {
        let page = include_str!("../../../docs/bundle.md");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        let expected: Vec<String> =
            FILES.iter().map(|(name, what)| format!("| `{name}` | {what} |")).collect();
        assert_eq!(rows, expected);
    }
}
