//! The facts of an exemption as names and values, the same in every form of the report.

use jiff::Timestamp;

use super::model::{ExemptionEntry, RecipientEntry};
use super::number::grouped;
use super::said;
use super::words;

/// How numbers and moments are written.
pub(super) struct Form {
    number: fn(u64) -> String,
    moment: fn(Timestamp) -> String,
}

/// Grouped digits, and moments to the second.
pub(super) const FOR_PEOPLE: Form = Form { number: grouped, moment: words::moment };

/// Plain digits, and whole moments as RFC 3339.
pub(super) const FOR_PROGRAMS: Form =
    Form { number: |number| number.to_string(), moment: |moment| moment.to_string() };

/// All facts but those that are lists of their own. What an exemption does not have is left out.
pub(super) fn of(exemption: &ExemptionEntry, form: &Form) -> Vec<(&'static str, String)> {
    let ExemptionEntry { instrument, exporter, .. } = exemption;
    let time = |time: Option<Timestamp>| time.map(form.moment).unwrap_or_default();
    let mut facts = vec![
        ("state", exemption.state.clone()),
        ("confidential", if exemption.confidential { "yes" } else { "no" }.to_owned()),
        ("law", said::act(exemption)),
        ("instrument type", instrument.kind.clone()),
        ("instrument", instrument.name.clone()),
        ("article", instrument.article.clone()),
        ("ground", said::ground(exemption)),
        ("lawful basis", said::basis(exemption)),
        ("issuing authority", instrument.authority.clone()),
        ("case reference", instrument.reference.clone()),
        ("international agreement", instrument.agreement.clone()),
        ("opened as an emergency", exemption.emergency.clone()),
        ("purpose", exemption.purpose.clone()),
        ("data categories", exemption.data_categories.join(", ")),
        ("pins", exemption.pins.join(", ")),
        ("not needed, and not counted, as far as", exemption.not_needed.clone()),
        ("hosts", exemption.hosts.join(", ")),
        ("exporter", exporter.name.clone()),
        ("exporter is", exporter.role.clone()),
        ("exporter contact", exporter.contact.clone()),
    ];
    if let Some(assessment) = &exemption.assessment {
        facts.push(("transfer impact assessment", assessment.reference.clone()));
        facts.push(("assessment to be reviewed before", assessment.review_by.clone()));
        facts.push(("supplementary measures", assessment.measures.join(", ")));
    }
    // The law is told above, also where this is withheld.
    let further = exemption.particulars.iter().filter(|it| it.key != "law");
    facts.extend(further.map(|it| ("further", format!("{}: {}", it.key, it.value))));
    facts.extend([
        ("valid from", (form.moment)(exemption.valid_from)),
        ("valid until", (form.moment)(exemption.valid_until)),
        ("quota in bytes", exemption.quota_bytes.map_or("none".to_owned(), form.number)),
        ("first use", time(exemption.first_use)),
        ("last use", time(exemption.last_use)),
        ("document sha256", exemption.document_sha256.clone()),
    ]);
    facts.retain(|(_, value)| !value.is_empty());
    facts
}

/// Where a recipient may be reached.
pub(super) fn reach(recipient: &RecipientEntry) -> String {
    let or = |values: &[String], none: &str| match values {
        [] => none.to_owned(),
        values => values.join(", "),
    };
    format!(
        "{}{}; {}",
        or(&recipient.networks, "anybody in the jurisdiction"),
        if recipient.anywhere { ", wherever they are placed" } else { "" },
        or(&recipient.ports, "any port")
    )
}
