//! Receipts with texts and numbers that no daemon writes, and those that are good.

use super::super::super::model::ApprovalEntry;
use super::super::super::tests::sample::receipt;
use super::*;

type Forge = fn(&mut Receipt);
type Field = fn(&mut Receipt) -> &mut String;

/// The receipt whose last change is of this kind, by an order on this.
fn closed_by(what: &str, on: Option<(&str, &str)>) -> Receipt {
    let mut it = receipt();
    let last = it.history.last_mut().unwrap();
    what.clone_into(&mut last.what);
    (last.covers, last.name) = on.map(|(covers, name)| (covers.to_owned(), name.to_owned())).unzip();
    it
}

#[test]
fn a_hash_is_one_in_small_letters_wherever_it_stands() {
    let fields: [(&str, Field, bool); 7] = [
        ("program.sha256", |it| &mut it.program.sha256, true),
        ("program.kernel_program_sha256", |it| &mut it.program.kernel_program_sha256, false),
        ("tables.policy_sha256", |it| &mut it.tables.policy_sha256, true),
        ("tables.geo_sha256", |it| &mut it.tables.geo_sha256, true),
        ("exemption.document_sha256", |it| &mut it.exemption.document_sha256, false),
        ("audit.sha256", |it| &mut it.audit.sha256, false),
        ("a document_sha256 of its history", |it| it.history[0].document_sha256.as_mut().unwrap(), false),
    ];
    for (what, field, may_lack) in fields {
        for text in ["zz".repeat(32), "AB".repeat(32), "ab".repeat(31), String::new()] {
            let mut it = receipt();
            let expected = match may_lack && text.is_empty() {
                true => None,
                false => Some(format!("{what} is \"{text}\", and no SHA-256 in small letters")),
            };
            *field(&mut it) = text;
            assert_eq!(it.disagreement(), expected);
        }
    }
}

#[test]
fn what_no_daemon_writes_is_named() {
    let forged: [(Forge, &str); 12] = [
        (
            |it| it.audit.sequence = 1,
            "its history has 2 changes, each a record of the audit trail, and audit.sequence is 1",
        ),
        (|it| it.exemption.id.clear(), "the id of the exemption is empty"),
        (|it| it.exemption.pins.clear(), "the exemption covers no pin, or one without a name"),
        (
            |it| it.orders[0].kind = "banana".to_owned(),
            "its orders have one of the kind \"banana\", which there is not",
        ),
        (
            |it| it.orders[0].covers = "banana".to_owned(),
            "its orders have one on the banana \"mail-ie\", which does not cover the exemption",
        ),
        (
            |it| it.orders[0].name = "files".to_owned(),
            "its orders have one on the pin \"files\", which does not cover the exemption",
        ),
        (
            |it| it.history[0].covers = Some("banana".to_owned()),
            "its history has an order on the banana \"a instrument\", which does not cover the exemption",
        ),
        (
            |it| (it.history[0].covers, it.history[0].name) = (Some("banana".to_owned()), None),
            "its history has an order on the banana \"\", which does not cover the exemption",
        ),
        (
            |it| *it = closed_by("invalidate", Some(("instrument", "Another"))),
            "its history has an order on the instrument \"Another\", which does not cover the exemption",
        ),
        (
            |it| *it = closed_by("invalidate", Some(("pin", "mail-ie"))),
            "its history has \"invalidate\" by an order on the pin, which there is not",
        ),
        (
            |it| *it = closed_by("revoke-key", Some(("key", "SHA256:another"))),
            "its history has an order on the key \"SHA256:another\", which does not cover the exemption",
        ),
        (
            |it| *it = closed_by("revoke-key", Some(("all", ""))),
            "its history has \"revoke-key\" by an order on the all, which there is not",
        ),
    ];
    for (forge, which) in forged {
        let mut it = receipt();
        forge(&mut it);
        assert_eq!(it.disagreement().as_deref(), Some(which));
    }
}

/// Names that look alike are one, the submitter's key closes it too, and earlier versions did not say what an order was on.
#[test]
fn what_a_daemon_writes_is_taken() {
    let good = receipt();
    let id = good.exemption.id.as_str();
    for (what, on) in [
        ("invalidate", Some(("instrument", "A Instrument"))),
        ("invalidate", Some(("exemption", id))),
        ("invalidate", None),
        ("revoke-key", Some(("key", "SHA256:of the submitter"))),
        ("revoke-key", Some(("exemption", id))),
        ("revoke-key", None),
    ] {
        let mut it = closed_by(what, on);
        let (identity, key) = ("submitter".to_owned(), "SHA256:of the submitter".to_owned());
        it.signers.push(ApprovalEntry { identity, roles: Vec::new(), key });
        assert_eq!(it.disagreement(), None, "{what} {on:?}");
    }
    // An order that held it may be lifted after its end.
    let mut it = receipt();
    let lift = |covers: &str, name: &str| Change {
        what: "resume".to_owned(),
        covers: Some(covers.to_owned()),
        name: Some(name.to_owned()),
        order: Some("High Court, 2026/5512".to_owned()),
        document_sha256: None,
        ..good.history[0].clone()
    };
    let on = [("exemption", id), ("pin", "mail-ie"), ("recipient", "a recipient"), ("all", "")];
    it.history.extend(on.map(|(covers, name)| lift(covers, name)));
    assert_eq!(it.disagreement(), None);
}
