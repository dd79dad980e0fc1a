//! The raw values of what the law asks a document to say, each with its place.

use toml::Spanned;
use toml::value::Datetime;

use crate::config::read::{List, Section, Text};
use crate::config::sink::Report;

/// As in [`Raw`](super::raw::Raw), `None` is a value that is not there or has an error of its own.
#[derive(Debug)]
pub(super) struct RawParticulars {
    pub(super) law: Option<Text>,
    /// Whether the key is not there, nor a slip for it.
    pub(super) lacks_data_subjects: bool,
    pub(super) data_subjects: Option<List>,
    pub(super) retention: Option<Text>,
    pub(super) delete_by: Option<Spanned<Datetime>>,
    pub(super) lacks_module: bool,
    pub(super) module: Option<Text>,
    pub(super) parties: Option<List>,
    pub(super) lacks_agreement_id: bool,
    pub(super) agreement_id: Option<Text>,
    pub(super) certificate: Option<Text>,
    pub(super) lacks_addressee: bool,
    pub(super) addressee: Option<Text>,
    pub(super) condition: Option<RawCondition>,
    pub(super) processors: Vec<RawProcessor>,
    pub(super) joint_controllers: Vec<RawJointController>,
    pub(super) onward: Vec<RawOnward>,
    pub(super) duties: Vec<RawDuty>,
}

#[derive(Debug)]
pub(super) struct RawCondition {
    pub(super) met: Option<Text>,
    pub(super) lacks_recognised_by: bool,
    pub(super) recognised_by: Option<Text>,
    pub(super) lacks_customer_not_told: bool,
    pub(super) customer_not_told: Option<Text>,
    pub(super) lacks_subjects: bool,
    pub(super) subjects: Option<Spanned<i128>>,
}

#[derive(Debug)]
pub(super) struct RawProcessor {
    pub(super) name: Option<Text>,
    pub(super) jurisdiction: Option<Text>,
    pub(super) contract: Option<Text>,
}

#[derive(Debug)]
pub(super) struct RawJointController {
    pub(super) name: Option<Text>,
    pub(super) contact: Option<Text>,
    pub(super) arrangement: Option<Text>,
}

#[derive(Debug)]
pub(super) struct RawOnward {
    /// Where it begins.
    pub(super) at: usize,
    pub(super) name: Option<Text>,
    pub(super) jurisdiction: Option<Text>,
    pub(super) ground: Option<Text>,
    pub(super) safeguard: Option<Text>,
    /// Whether the key is not there, nor a slip for it.
    pub(super) lacks_certification: bool,
    pub(super) certification: Option<Text>,
    /// Whether the key is not there, nor a slip for it.
    pub(super) lacks_checked_on: bool,
    pub(super) checked_on: Option<Spanned<Datetime>>,
}

#[derive(Debug)]
pub(super) struct RawDuty {
    pub(super) what: Option<Text>,
    pub(super) due: Option<Spanned<Datetime>>,
    pub(super) done: Option<Spanned<Datetime>>,
}

/// Reads them; `instrument` is the section of that name.
pub(super) fn read(
    root: &Section<'_, '_>,
    instrument: &Section<'_, '_>,
    sink: &mut dyn Report,
) -> RawParticulars {
    let condition = root.table("condition", sink);
    let processors = root.entries("processor", sink);
    let joint = root.entries("joint_controller", sink);
    let onward = root.entries("onward", sink);
    let duties = root.entries("duty", sink);
    RawParticulars {
        law: root.text("law", sink),
        lacks_data_subjects: root.lacks("data_subjects"),
        data_subjects: root.list("data_subjects", sink),
        retention: root.text("retention", sink),
        delete_by: root.time("delete_by", sink),
        lacks_module: instrument.lacks("module"),
        module: instrument.text("module", sink),
        parties: instrument.list("parties", sink),
        lacks_agreement_id: instrument.lacks("agreement_id"),
        agreement_id: instrument.text("agreement_id", sink),
        certificate: instrument.text("certificate", sink),
        lacks_addressee: instrument.lacks("addressee"),
        addressee: instrument.text("addressee", sink),
        condition: (!root.lacks("condition")).then(|| RawCondition {
            met: condition.text("met", sink),
            lacks_recognised_by: condition.lacks("recognised_by"),
            recognised_by: condition.text("recognised_by", sink),
            lacks_customer_not_told: condition.lacks("customer_not_told"),
            customer_not_told: condition.text("customer_not_told", sink),
            lacks_subjects: condition.lacks("subjects"),
            subjects: condition.integer("subjects", sink),
        }),
        processors: processors
            .iter()
            .map(|entry| RawProcessor {
                name: entry.text("name", sink),
                jurisdiction: entry.text("jurisdiction", sink),
                contract: entry.text("contract", sink),
            })
            .collect(),
        joint_controllers: joint
            .iter()
            .map(|entry| RawJointController {
                name: entry.text("name", sink),
                contact: entry.text("contact", sink),
                arrangement: entry.text("arrangement", sink),
            })
            .collect(),
        onward: onward
            .iter()
            .map(|entry| RawOnward {
                at: entry.at,
                name: entry.text("name", sink),
                jurisdiction: entry.text("jurisdiction", sink),
                ground: entry.text("ground", sink),
                safeguard: entry.text("safeguard", sink),
                lacks_certification: entry.lacks("certification"),
                certification: entry.text("certification", sink),
                lacks_checked_on: entry.lacks("checked_on"),
                checked_on: entry.time("checked_on", sink),
            })
            .collect(),
        duties: duties
            .iter()
            .map(|entry| RawDuty {
                what: entry.text("what", sink),
                due: entry.time("due", sink),
                done: entry.time("done", sink),
            })
            .collect(),
    }
}
