//! A carrier wrote to a file off the volumes whose data it carries.

use std::fmt::Write as _;
use std::sync::Arc;

use guard_common::abi::{self, COPY_NAMES};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::enrich::{Context, volumes, wall_time};
use super::event::{People, Process};
use super::severity::Severity;
use super::stored;
use super::text::word;

/// The first write of a process to a file off the volumes whose data it carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedCopy {
    /// As of an [`Event`](super::Event): both are numbered together.
    pub sequence: u64,
    /// When the daemon started.
    pub session: Timestamp,
    /// When that was, by the wall clock.
    pub time: Timestamp,
    /// Paths of the volumes whose data the process carries.
    #[serde(with = "stored::shared_all")]
    pub volumes: Vec<Arc<str>>,
    /// Those of them whose data is followed into the file: who reads it is a carrier too.
    #[serde(with = "stored::shared_all")]
    pub followed: Vec<Arc<str>>,
    /// The path of the file below the root of its file system. It begins with `...` where there are more folders than the
    /// kernel tells.
    pub file: String,
    /// The device of its file system, `major:minor`.
    pub device: String,
    /// The number of its inode.
    pub inode: u64,
    /// Who wrote; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// Whether the process is there as far as it is known.
    #[serde(default, skip_serializing_if = "People::are_shown")]
    pub people: People,
}

impl PinnedCopy {
    /// The event in words, of the volumes of the newest generation; its number is for the history to give, and names of
    /// users and cgroups for who knows them.
    #[must_use]
    pub fn of(raw: &abi::PinnedCopy, context: Context<'_>) -> Self {
        let names = context.names.newest();
        // As the kernel has it in a superblock (linux/kdev_t.h).
        let (major, minor) = (raw.file.device >> 20, raw.file.device & 0xf_ffff);
        Self {
            sequence: 0,
            session: context.session,
            time: wall_time(&context.clock, raw.at_ns),
            volumes: volumes(names, raw.volumes),
            followed: volumes(names, raw.followed),
            file: path(raw),
            device: format!("{major}:{minor}"),
            inode: raw.file.inode,
            process: Process::of(&raw.process),
            people: People::Shown,
        }
    }

    /// The same without its process.
    #[must_use]
    pub fn without_people(self, people: People) -> Self {
        Self { process: None, people, ..self }
    }

    /// How severe it is: less so where the data is followed.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        if self.followed.is_empty() { Severity::Medium } else { Severity::Low }
    }

    /// The event in one line for people, without a line break.
    #[must_use]
    pub fn to_text(&self) -> String {
        let Self { sequence, session, time, file, device, inode, .. } = self;
        let (all, followed) = (self.volumes.join(","), self.followed.join(","));
        let mut line = format!("{time:.3} wrote to {} on {device}, carrying data of {all}", word(file));
        // Writing to a string does not fail.
        if let Some(process) = &self.process {
            let _ok = write!(line, ", by {} ({})", word(&process.command), process.pid);
        }
        let then = match (followed.is_empty(), followed == all) {
            (true, _) => "it is not followed there",
            (_, true) => "who reads the file carries it too",
            _ => "it is followed there in part",
        };
        let _ok = write!(
            line,
            ": {then} [kind=pinned-copy id={session}/{sequence} severity={} volumes={}",
            self.severity().name(),
            word(&all)
        );
        if !followed.is_empty() {
            let _ok = write!(line, " followed={}", word(&followed));
        }
        let _ok = write!(line, " device={device} inode={inode}");
        if let Some(process) = &self.process {
            let Process { pid, command, uid, .. } = process;
            let _ok = write!(line, " pid={pid} command={} uid={uid}", word(command));
            let names = [("user", process.user.as_deref()), ("unit", process.unit())];
            for (key, name) in names.into_iter().filter_map(|(key, name)| Some((key, name?))) {
                let _ok = write!(line, " {key}={}", word(name));
            }
        }
        if let Some(why) = self.people.why_not() {
            let _ok = write!(line, " people={why}");
        }
        line.push(']');
        line
    }
}

/// The names that the kernel tells, as a path.
fn path(raw: &abi::PinnedCopy) -> String {
    let text = |name: &[u8]| {
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    };
    let names: Vec<String> =
        raw.names.iter().map(|name| text(name)).take_while(|it| !it.is_empty()).collect();
    let begin = if names.len() == COPY_NAMES { ".../" } else { "/" };
    format!("{begin}{}", names.iter().rev().map(String::as_str).collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
pub(crate) mod tests {
    use guard_common::abi::{COPY_NAME_LEN, FileKey};

    use super::super::names::Generations;
    use super::super::tests::dropped;
    use super::*;
    use crate::exemption::Clocks;

    /// A dump in `/tmp` that is followed.
    pub(crate) fn dumped() -> PinnedCopy {
        let dropped = dropped();
        PinnedCopy {
            sequence: 8,
            session: dropped.session,
            time: dropped.time,
            volumes: vec!["/srv/mail-ie".into()],
            followed: vec!["/srv/mail-ie".into()],
            file: "/export/mail.tar".to_owned(),
            device: "8:1".to_owned(),
            inode: 131_077,
            process: dropped.process,
            people: People::Shown,
        }
    }

    fn raw(names: &[&str]) -> abi::PinnedCopy {
        let mut raw = abi::PinnedCopy {
            volumes: 1,
            followed: 0,
            at_ns: 5,
            file: FileKey { inode: 131_077, device: 8 << 20 | 1, generation: 9 },
            process: abi::Process { pid: 4711, cgroup: 9, ..abi::Process::default() },
            names: [[0; COPY_NAME_LEN]; COPY_NAMES],
        };
        for (to, name) in raw.names.iter_mut().zip(names) {
            to[..name.len()].copy_from_slice(name.as_bytes());
        }
        raw
    }

    #[test]
    fn a_file_has_its_path_as_far_as_the_kernel_tells_it() {
        let names = Generations::default();
        let clock = Clocks::read();
        let context = Context { names: &names, clock, session: dropped().session };
        let of = |names: &[&str]| PinnedCopy::of(&raw(names), context);
        let copy = of(&["mail.tar", "export"]);
        assert_eq!((copy.file.as_str(), copy.device.as_str()), ("/export/mail.tar", "8:1"));
        assert_eq!(copy.process.unwrap().pid, 4711);
        // A volume without a name has its number.
        assert_eq!((copy.volumes, copy.followed), (vec!["#0".into()], Vec::new()));
        let deep: Vec<&str> = "hgfedcba".split("").filter(|name| !name.is_empty()).collect();
        assert_eq!(of(&deep).file, ".../a/b/c/d/e/f/g/h");
        assert_eq!(of(&[]).file, "/");
    }

    #[test]
    fn the_sentence_says_whether_it_is_followed() {
        let part =
            PinnedCopy { volumes: vec!["/a".into(), "/b".into()], followed: vec!["/a".into()], ..dumped() };
        let not = PinnedCopy { followed: vec![], process: None, ..dumped() };
        for (copy, expected) in [
            (dumped(), "who reads the file carries it too"),
            (part, "it is followed there in part"),
            (not, "it is not followed there"),
        ] {
            assert!(copy.to_text().contains(expected), "{}", copy.to_text());
        }
    }
}
