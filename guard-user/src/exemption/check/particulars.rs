//! What the law asks a document to say: from the raw values to the checked ones.

use jiff::Timestamp;

use super::super::error::ErrorKind;
use super::super::ground::Ground;
use super::super::particulars::{
    Certificate, Certified, Condition, Duty, DutyKind, JointController, Law, Module, Onward, Particulars,
    Processor,
};
use super::super::raw::Raw;
use super::super::sink::Sink;
use super::super::values::{country, day, line, review, subjects};
use crate::config::each::{checked, choice, each, one};
use crate::config::values;

/// Checks them. What comes back is right only where the sink has no errors.
pub(super) fn check(raw: &Raw, sink: &mut Sink<'_>) -> Particulars {
    let (recipients, exporter) = (&raw.recipients, &raw.exporter);
    let raw = &raw.particulars;
    let laws: Vec<_> = Law::ALL.iter().map(|it| (it.name(), *it)).collect();
    let modules: Vec<_> = Module::ALL.iter().map(|it| (it.name(), *it)).collect();
    let certificates: Vec<_> = Certificate::ALL.iter().map(|it| (it.name(), *it)).collect();
    let kinds: Vec<_> = DutyKind::ALL.iter().map(|it| (it.name(), *it)).collect();
    let grounds = Ground::ALL.map(|it| (it.name(), it));
    let mut onward = Vec::new();
    for it in &raw.onward {
        let name = one(&it.name, "onward.name", sink, line);
        let jurisdiction = one(&it.jurisdiction, "onward.jurisdiction", sink, country);
        let ground = choice(&it.ground, "onward.ground", &grounds, sink);
        let safeguard = one(&it.safeguard, "onward.safeguard", sink, line);
        let by = one(&it.certification, "onward.certification", sink, line);
        let checked_on = it.checked_on.as_ref();
        let checked_on = checked_on.and_then(|at| checked(at, "onward.checked_on", sink, day));
        let certified = Certified { by, checked_on };
        if let (Some(name), Some(jurisdiction), Some(ground), Some(safeguard)) =
            (name, jurisdiction, ground, safeguard)
        {
            onward.push(Onward { name, jurisdiction, ground, safeguard, certified });
        }
    }
    let mut processors = Vec::new();
    for it in &raw.processors {
        let name = one(&it.name, "processor.name", sink, line);
        let jurisdiction = one(&it.jurisdiction, "processor.jurisdiction", sink, country);
        let contract = one(&it.contract, "processor.contract", sink, line);
        if let (Some(name), Some(jurisdiction), Some(contract)) = (name, jurisdiction, contract) {
            processors.push(Processor { name, jurisdiction, contract });
        }
    }
    let mut joint_controllers = Vec::new();
    for it in &raw.joint_controllers {
        let name = one(&it.name, "joint_controller.name", sink, line);
        let contact = one(&it.contact, "joint_controller.contact", sink, line);
        let arrangement = one(&it.arrangement, "joint_controller.arrangement", sink, line);
        if let (Some(name), Some(contact), Some(arrangement)) = (name, contact, arrangement) {
            joint_controllers.push(JointController { name, contact, arrangement });
        }
    }
    let mut duties = Vec::new();
    for it in &raw.duties {
        let kind = choice(&it.what, "duty.what", &kinds, sink);
        let due = it.due.as_ref().and_then(|at| checked(at, "duty.due", sink, review));
        let done = it.done.as_ref().and_then(|at| checked(at, "duty.done", sink, day));
        if let (Some(kind), Some(due)) = (kind, due) {
            duties.push(Duty { kind, due, done });
        }
    }
    let mut certified = Vec::new();
    for it in recipients {
        let by = one(&it.certification, "recipient.certification", sink, line);
        let checked_on = it.checked_on.as_ref();
        let checked_on = checked_on.and_then(|at| checked(at, "recipient.checked_on", sink, day));
        certified.push(Certified { by, checked_on });
    }
    Particulars {
        law: choice(&raw.law, "law", &laws, sink).unwrap_or(Law::Eu),
        public_authority: exporter.public_authority.unwrap_or(false),
        data_subjects: each(&raw.data_subjects, "data_subjects", sink, line),
        retention: one(&raw.retention, "retention", sink, line),
        delete_by: raw.delete_by.as_ref().and_then(|at| checked(at, "delete_by", sink, review)),
        module: choice(&raw.module, "instrument.module", &modules, sink),
        parties: each(&raw.parties, "instrument.parties", sink, line),
        agreement_id: one(&raw.agreement_id, "instrument.agreement_id", sink, |text| {
            values::name(text).map_err(ErrorKind::from)
        }),
        certificate: choice(&raw.certificate, "instrument.certificate", &certificates, sink),
        addressee: one(&raw.addressee, "instrument.addressee", sink, line),
        condition: raw.condition.as_ref().map(|it| Condition {
            met: one(&it.met, "condition.met", sink, line).unwrap_or_default(),
            recognised_by: one(&it.recognised_by, "condition.recognised_by", sink, line),
            customer_not_told: one(&it.customer_not_told, "condition.customer_not_told", sink, line),
            subjects: it.subjects.as_ref().and_then(|at| checked(at, "condition.subjects", sink, subjects)),
        }),
        processors,
        joint_controllers,
        onward,
        duties,
        certified,
    }
}

/// Refuses what is said to have been done later than now.
pub(super) fn check_done(raw: &Raw, now: Timestamp, sink: &mut Sink<'_>) {
    for done in raw.particulars.duties.iter().filter_map(|duty| duty.done.as_ref()) {
        // One that is no day has an error of its own.
        if let Some(day) = day(done.get_ref()).ok().filter(|day| *day > now) {
            sink.error(done.span().start, "duty.done", ErrorKind::DoneLater { day });
        }
    }
}
