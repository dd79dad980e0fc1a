//! Paths of the config that are used for two things: one would be written over the other.

use std::path::Path;

use super::error::ErrorKind;
use super::metrics::Listen;
use super::policy::{LogTo, Policy};
use super::raw::Raw;
use super::read::Text;
use super::sink::Sink;

/// How the names of files begin that the daemon keeps in the state directory and in that of the mark.
const OWN: [&str; 7] = [
    "audit-lost.json",
    "event-log.",
    "geo.last",
    "high-water.json",
    "policy.last",
    "store.redb",
    // What is written anew, before it takes the place of the other.
    ".new",
];

/// A path of the config.
struct Used<'a> {
    key: &'static str,
    /// That it is this key's too.
    too: &'static str,
    path: &'a Path,
    text: &'a Option<Text>,
    /// Whether the daemon writes there or makes a socket.
    is_written: bool,
}

/// Reports each path that the daemon writes to and that is another key's too, and files in the place of the daemon's own.
pub(super) fn check(raw: &Raw, policy: &Policy, sink: &mut Sink<'_>) {
    let used = |key, too, path, text, is_written| Used { key, too, path, text, is_written };
    let state = &policy.state;
    let mut all = vec![
        used(
            "state.directory",
            "is that of `state.directory` too",
            &*state.directory,
            &raw.state_directory,
            true,
        ),
        used(
            "state.mark_directory",
            "is that of `state.mark_directory` too",
            &*state.mark_directory,
            &raw.mark_directory,
            true,
        ),
        used("state.pin_path", "is that of `state.pin_path` too", &*state.pin_path, &raw.pin_path, true),
        used("control.socket", "is that of `control.socket` too", &*policy.control.socket, &raw.socket, true),
    ];
    if let Some(Listen::Unix(path)) = &policy.metrics {
        all.push(used("metrics.listen", "is that of `metrics.listen` too", path, &raw.metrics_listen, true));
    }
    if let LogTo::File(path) = &policy.log.to {
        all.push(used("log.to", "is that of `log.to` too", path, &raw.log_to, true));
    }
    if let Some(law) = &policy.law {
        all.push(used("law.pack", "is that of `law.pack` too", &*law.pack, &raw.law_pack, false));
    }
    if let (Some(approval), Some(of)) = (&policy.approval, &raw.approval) {
        let too = "is that of `approval.allowed_signers` too";
        all.push(used(
            "approval.allowed_signers",
            too,
            &*approval.allowed_signers,
            &of.allowed_signers,
            false,
        ));
    }
    let is_same = |one: &Path, other: &Path| one.components().eq(other.components());
    for (index, it) in all.iter().enumerate() {
        let mut others = all.iter().take(index);
        let other = others.find(|other| is_same(other.path, it.path) && (it.is_written || other.is_written));
        let is_database = it.is_written && policy.geo.files.iter().any(|file| is_same(file, it.path));
        let reason = match (other, is_database) {
            (Some(other), _) => other.too,
            (None, true) => "is that of a database in `geo.files` too",
            (None, false) if is_file(it.key) && is_own(it.path, policy) => {
                "is of a file that the daemon keeps there itself"
            }
            (None, false) => continue,
        };
        let hint = "give each a path of its own";
        let kind = ErrorKind::BadPath { path: it.path.to_owned(), reason, hint };
        sink.error(it.text.as_ref().map_or(0, |text| text.span().start), it.key, kind);
    }
}

/// Whether this key is of a file or a socket.
fn is_file(key: &str) -> bool {
    ["control.socket", "metrics.listen", "log.to"].contains(&key)
}

/// Whether it is the place of a file of the daemon's own.
fn is_own(path: &Path, policy: &Policy) -> bool {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return false;
    };
    let is_in = |own: &Path| folder.components().eq(own.components());
    (is_in(&policy.state.directory) || is_in(&policy.state.mark_directory))
        && OWN.iter().any(|own| name.starts_with(own) || name.ends_with(own))
}
