//! The keys of `[history]`, and who may see people, for the [table of keys](super::keys::KEYS), and their check.

use std::path::PathBuf;

use jiff::SignedDuration;

use super::each::{each, one};
use super::error::ErrorKind;
use super::history::{FlowHistory, LegalHold};
use super::read::{List, Section, Text};
use super::schema::{Key, Kind, Need};
use super::sink::{Report, Sink};
use super::values;

/// The least that a bound of bytes may be: two segments and what is added to them.
const LEAST: u64 = 1 << 20;
/// The most that it may be.
const MOST: u64 = 1 << 40;
const DEFAULT_SIZE: u64 = 256 << 20;
const DEFAULT_HOLD_SIZE: u64 = 1 << 30;
const DEFAULT_AGE: SignedDuration = SignedDuration::from_hours(90 * 24);
const DEFAULT_PEOPLE_AGE: SignedDuration = SignedDuration::from_hours(30 * 24);

pub(super) const PEOPLE: Key = Key {
    section: "control.groups",
    name: "people",
    kind: Kind::List,
    need: Need::Optional("no group"),
    example: r#"["bg-people"]"#,
    meaning: "May look, and see users, commands, processes and cgroups. Who has none of `people` and `everything` sees \
              everything else.",
};

pub(super) const CANARIES: Key = Key {
    section: "control.groups",
    name: "canaries",
    kind: Kind::List,
    need: Need::Optional("no group"),
    example: r#"["bg-collector"]"#,
    meaning: "May hand canaries back, and nothing else: what collects the event log needs no more.",
};

const fn text(name: &'static str, need: Need, example: &'static str, meaning: &'static str) -> Key {
    Key { section: "history", name, kind: Kind::Text, need, example, meaning }
}

pub(super) const DIRECTORY: Key = text(
    "directory",
    Need::Optional("`history` in `state.directory`"),
    r#""/var/lib/borderguard/history""#,
    "The folder that it is kept in, as an absolute path, for nothing else; `off` for none. It is made for root alone.",
);

pub(super) const MAX_SIZE: Key = text(
    "max_size",
    Need::Default(r#""256MiB""#),
    r#""2GiB""#,
    "How much it may have on the disk, from `1MiB` to `1TiB`, in `KiB`, `MiB`, `GiB` or `TiB`: the oldest gives way.",
);

pub(super) const MAX_AGE: Key = text(
    "max_age",
    Need::Default(r#""90d""#),
    r#""26w""#,
    "What is older is removed. Written as `geo.max_age`.",
);

pub(super) const PEOPLE_AGE: Key = text(
    "people_age",
    Need::Default(r#""30d""#),
    r#""7d""#,
    "Users, commands, processes and cgroups are removed from what is older, and the rest stays. Written as `geo.max_age`.",
);

pub(super) const HOLD: Key = Key {
    section: "history",
    name: "hold",
    kind: Kind::List,
    need: Need::Optional("nothing is held"),
    example: r#"["mlat-2026-0142"]"#,
    meaning: "Legal holds, by ids of exemptions and names of pins. Events of flows that pass by such an exemption, that go \
              from its pins to its recipients and are denied, or that are of such a pin are copied to `hold_directory` from now \
              on, from which nothing is removed.",
};

pub(super) const HOLD_DIRECTORY: Key = text(
    "hold_directory",
    Need::Optional("`history-hold` in `state.directory`"),
    r#""/var/lib/borderguard/history-hold""#,
    "The folder of these copies, as an absolute path, for nothing else.",
);

pub(super) const HOLD_SIZE: Key = text(
    "hold_size",
    Need::Default(r#""1GiB""#),
    r#""4GiB""#,
    "How much the copies may have on the disk. When it is full, nothing more is copied, and that is the problem `hold-full`.",
);

#[derive(Debug)]
pub(super) struct RawHistory {
    directory: Option<Text>,
    max_size: Option<Text>,
    max_age: Option<Text>,
    people_age: Option<Text>,
    hold: Option<List>,
    hold_directory: Option<Text>,
    hold_size: Option<Text>,
}

impl RawHistory {
    /// The legal holds as they stand in the file.
    pub(super) fn holds(&self) -> impl Iterator<Item = &Text> {
        self.hold.iter().flat_map(|list| &list.items)
    }
}

pub(super) fn read(root: &Section<'_, '_>, sink: &mut dyn Report) -> RawHistory {
    let section = root.table("history", sink);
    RawHistory {
        directory: section.text("directory", sink),
        max_size: section.text("max_size", sink),
        max_age: section.text("max_age", sink),
        people_age: section.text("people_age", sink),
        hold: section.list("hold", sink),
        hold_directory: section.text("hold_directory", sink),
        hold_size: section.text("hold_size", sink),
    }
}

/// The section, of a daemon whose state is in this folder.
pub(super) fn check(raw: &RawHistory, state: &std::path::Path, sink: &mut Sink<'_>) -> FlowHistory {
    let mut names = each(&raw.hold, "history.hold", sink, values::name);
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    FlowHistory {
        directory: one(&raw.directory, "history.directory", sink, directory)
            .unwrap_or_else(|| Some(state.join("history"))),
        max_size: one(&raw.max_size, "history.max_size", sink, size).unwrap_or(DEFAULT_SIZE),
        max_age: one(&raw.max_age, "history.max_age", sink, values::duration).unwrap_or(DEFAULT_AGE),
        people_age: one(&raw.people_age, "history.people_age", sink, values::duration)
            .unwrap_or(DEFAULT_PEOPLE_AGE),
        hold: LegalHold {
            names,
            directory: one(&raw.hold_directory, "history.hold_directory", sink, values::path)
                .unwrap_or_else(|| state.join("history-hold")),
            max_size: one(&raw.hold_size, "history.hold_size", sink, size).unwrap_or(DEFAULT_HOLD_SIZE),
        },
    }
}

/// `off`, or an absolute path.
fn directory(text: &str) -> Result<Option<PathBuf>, ErrorKind> {
    match text {
        "off" => Ok(None),
        path => values::path(path).map(Some),
    }
}

/// A whole number of bytes with its unit, of powers of 1024 (IEC 80000-13).
fn size(text: &str) -> Result<u64, ErrorKind> {
    const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let bad = || ErrorKind::BadSize { text: text.to_owned() };
    let unit = UNITS.iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, *bits)));
    let (digits, bits) = unit.ok_or_else(bad)?;
    let digits = digits.strip_suffix(' ').unwrap_or(digits);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = is_number.then(|| digits.parse().ok()).flatten().ok_or_else(bad)?;
    number.checked_mul(1 << bits).filter(|bytes| (LEAST..=MOST).contains(bytes)).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_number_and_a_unit_within_bounds() {
        for (text, bytes) in [
            ("1MiB", LEAST),
            ("1024 KiB", LEAST),
            ("256MiB", DEFAULT_SIZE),
            ("1GiB", 1 << 30),
            ("1TiB", MOST),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "1",
            "1MB",
            "1 M",
            "-1MiB",
            "+1MiB",
            "1023KiB",
            "0MiB",
            "2TiB",
            "1.5GiB",
            "18446744073709551616MiB",
            "MiB",
            "1  MiB",
        ] {
            assert!(matches!(size(text), Err(ErrorKind::BadSize { .. })), "{text}");
        }
    }
}
