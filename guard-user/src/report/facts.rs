//! The facts of an exemption as names and values, the same in every form of the report.

use super::model::{ExemptionEntry, RecipientEntry};

/// All facts but those that are lists of their own. What an exemption does not have is left out.
pub(super) fn of(exemption: &ExemptionEntry) -> Vec<(&'static str, String)> {
    let ExemptionEntry { instrument, exporter, .. } = exemption;
    let time = |time: Option<jiff::Timestamp>| time.map_or_else(String::new, |time| time.to_string());
    let mut facts = vec![
        ("state", exemption.state.clone()),
        ("confidential", if exemption.confidential { "yes" } else { "no" }.to_owned()),
        ("instrument type", instrument.kind.clone()),
        ("instrument", instrument.name.clone()),
        ("article", instrument.article.clone()),
        ("ground (Chapter V GDPR)", instrument.ground.clone()),
        ("basis (Art. 6(1) GDPR)", instrument.basis.clone()),
        ("issuing authority", instrument.authority.clone()),
        ("case reference", instrument.reference.clone()),
        ("international agreement", instrument.agreement.clone()),
        ("opened as an emergency", exemption.emergency.clone()),
        ("purpose", exemption.purpose.clone()),
        ("data categories", exemption.data_categories.join(", ")),
        ("pins", exemption.pins.join(", ")),
        ("hosts", exemption.hosts.join(", ")),
        ("exporter", exporter.name.clone()),
        ("exporter is", exporter.role.clone()),
        ("exporter contact", exporter.contact.clone()),
    ];
    if let Some(assessment) = &exemption.assessment {
        facts.push(("transfer impact assessment", assessment.reference.clone()));
        facts.push(("assessment to be reviewed by", assessment.review_by.clone()));
        facts.push(("supplementary measures", assessment.measures.join(", ")));
    }
    facts.extend(exemption.particulars.iter().map(|it| ("further", format!("{}: {}", it.key, it.value))));
    facts.extend([
        ("valid from", exemption.valid_from.to_string()),
        ("valid until", exemption.valid_until.to_string()),
        ("quota in bytes", exemption.quota_bytes.map_or("none".to_owned(), |quota| quota.to_string())),
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
