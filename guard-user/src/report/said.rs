//! What a document says beside its instrument, as the register and the page have it: by which law it goes, whose data it is, who
//! takes part, and on what condition.

use super::model::ExemptionEntry;
use super::redact::WITHHELD;
use super::words;
use crate::exemption::particulars::Law;

/// The law that an exemption goes by, which says what the codes of its ground and its basis stand for.
pub(super) fn law(exemption: &ExemptionEntry) -> Law {
    // A daemon of an earlier version has it among the particulars alone, where it is another one than the law of the Union.
    let further =
        || exemption.particulars.iter().find(|it| it.key == "law").and_then(|it| Law::of(&it.value));
    Law::of(&exemption.law).or_else(further).unwrap_or(Law::Eu)
}

/// The law with the name of its act.
pub(super) fn act(exemption: &ExemptionEntry) -> String {
    words::law(law(exemption), &exemption.instrument.ground)
}

/// The ground with its code, in words of the law.
pub(super) fn ground(exemption: &ExemptionEntry) -> String {
    words::ground(law(exemption), &exemption.instrument.ground)
}

/// Likewise the basis.
pub(super) fn basis(exemption: &ExemptionEntry) -> String {
    words::basis(law(exemption), &exemption.instrument.basis)
}

/// The entries of a section of the document that repeats, each with the values of its keys in the document's order.
pub(super) fn entries(exemption: &ExemptionEntry, section: &str) -> Vec<String> {
    let mut entries: Vec<(&str, String)> = Vec::new();
    for it in &exemption.particulars {
        let Some((number, key)) =
            it.key.strip_prefix(section).and_then(|rest| rest.strip_prefix(' ')?.split_once(": "))
        else {
            continue;
        };
        let value = match (key, it.value.as_str()) {
            (_, WITHHELD) => WITHHELD.to_owned(),
            // Beside the day by which it has to be.
            ("done", value) => format!("done {value}"),
            ("checked_on", value) => format!("looked up on {value}"),
            ("ground", value) => words::ground(law(exemption), value).trim_end_matches('.').to_owned(),
            (_, value) => value.to_owned(),
        };
        match entries.last_mut() {
            // What is withheld of an entry is withheld as one.
            Some((last, values)) if *last == number && values == WITHHELD && value == WITHHELD => {}
            Some((last, values)) if *last == number => *values = format!("{values}, {value}"),
            _ => entries.push((number, value)),
        }
    }
    entries.into_iter().map(|(_, values)| values).collect()
}

/// Who decides together with the exporter, by the config and by the document.
pub(super) fn joint_controllers(of_config: Option<&str>, exemption: &ExemptionEntry) -> String {
    let of_config = of_config.map(str::to_owned).into_iter();
    of_config.chain(entries(exemption, "joint_controller")).collect::<Vec<_>>().join("; ")
}

/// The processors that take part.
pub(super) fn processors(exemption: &ExemptionEntry) -> String {
    entries(exemption, "processor").join("; ")
}

/// The onward transfers that are known of.
pub(super) fn onward(exemption: &ExemptionEntry) -> String {
    entries(exemption, "onward").join("; ")
}

/// How the condition of the ground is met, with the article that has it.
pub(super) fn condition(exemption: &ExemptionEntry) -> String {
    let words = |key: &str, in_words: fn(&str) -> String| match particulars(exemption, &[key]) {
        said if said.is_empty() || said == WITHHELD => said,
        said => in_words(&said),
    };
    let mut said = vec![
        words("condition.met", str::to_owned),
        words("condition.recognised_by", |law| format!("recognised by {law}")),
        words("condition.subjects", |count| format!("at most {count} data subjects")),
    ];
    said.retain(|it| !it.is_empty());
    // What is withheld of it is withheld as one.
    said.dedup_by(|one, other| *one == WITHHELD && *other == WITHHELD);
    let said = said.join(", ");
    match words::condition(law(exemption), &exemption.instrument.ground) {
        Some(article) if !said.is_empty() && said != WITHHELD => format!("{article}: {said}"),
        _ => said,
    }
}

/// Why the customer is not told of the request yet.
pub(super) fn customer_not_told(exemption: &ExemptionEntry) -> String {
    match particulars(exemption, &["condition.customer_not_told"]) {
        said if said.is_empty() || said == WITHHELD => said,
        said => format!("Data Act, Art. 32(5): {said}"),
    }
}

/// What the document says of the certification of a recipient, by its number from 1, under this key.
pub(super) fn of_recipient(exemption: &ExemptionEntry, number: Option<usize>, key: &str) -> String {
    let said = |number: usize| particulars(exemption, &[format!("recipient {number}: {key}").as_str()]);
    number.map(said).unwrap_or_default()
}

/// Who is bound by the clauses, the rules, the code or the certification.
pub(super) fn parties(exemption: &ExemptionEntry) -> String {
    listed(exemption, &["instrument.parties"], "; ")
}

/// The categories of data subjects.
pub(super) fn subjects(exemption: &ExemptionEntry) -> String {
    particulars(exemption, &["data_subjects"])
}

/// The form of the clauses or rules; empty where there is none.
pub(super) fn module(exemption: &ExemptionEntry) -> String {
    particulars(exemption, &["instrument.module"])
}

/// What the document says under these keys; empty where it does not, and one word where all of it is withheld.
pub(super) fn particulars(exemption: &ExemptionEntry, keys: &[&str]) -> String {
    listed(exemption, keys, ", ")
}

/// Likewise, with this between one and the next.
fn listed(exemption: &ExemptionEntry, keys: &[&str], between: &str) -> String {
    let said = exemption.particulars.iter().filter(|it| keys.contains(&it.key.as_str()));
    let mut said: Vec<&str> = said.map(|it| it.value.as_str()).collect();
    said.dedup_by(|one, other| *one == WITHHELD && *other == WITHHELD);
    said.join(between)
}
