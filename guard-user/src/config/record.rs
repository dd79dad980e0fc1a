//! Reads and checks `[record]`.

use super::each::{checked, each, one};
use super::read::{List, Section, Text};
use super::record_keeping::RecordKeeping;
use super::sink::{Report, Sink};
use super::values;

/// The mark of a report's page where the config names none.
const DEFAULT_MARK: &str = "Confidential";

#[derive(Debug)]
pub(super) struct RawRecord {
    controller: Option<Text>,
    joint_controller: Option<Text>,
    representative: Option<Text>,
    dpo: Option<Text>,
    mark: Option<Text>,
    host_key: Option<Text>,
    time_stamp: Option<List>,
    notify: Option<List>,
}

pub(super) fn read(root: &Section<'_, '_>, sink: &mut dyn Report) -> RawRecord {
    let section = root.table("record", sink);
    RawRecord {
        controller: section.text("controller", sink),
        joint_controller: section.text("joint_controller", sink),
        representative: section.text("representative", sink),
        dpo: section.text("dpo", sink),
        mark: section.text("mark", sink),
        host_key: section.text("host_key", sink),
        time_stamp: section.list("time_stamp", sink),
        notify: section.list("notify", sink),
    }
}

pub(super) fn check(raw: &RawRecord, sink: &mut Sink<'_>) -> RecordKeeping {
    let line = |text, field, sink: &mut Sink<'_>| one(text, field, sink, values::line);
    for (command, field) in [(&raw.time_stamp, "record.time_stamp"), (&raw.notify, "record.notify")] {
        if let Some(program) = command.iter().flat_map(|list| list.items.first()).next() {
            checked(program, field, sink, |text: &String| values::path(text));
        }
    }
    RecordKeeping {
        controller: line(&raw.controller, "record.controller", sink),
        joint_controller: line(&raw.joint_controller, "record.joint_controller", sink),
        representative: line(&raw.representative, "record.representative", sink),
        dpo: line(&raw.dpo, "record.dpo", sink),
        mark: line(&raw.mark, "record.mark", sink).unwrap_or_else(|| DEFAULT_MARK.to_owned()),
        host_key: one(&raw.host_key, "record.host_key", sink, values::path),
        time_stamp: each(&raw.time_stamp, "record.time_stamp", sink, values::line),
        notify: each(&raw.notify, "record.notify", sink, values::line),
    }
}
