//! Agreements that fall, whatever documents call them.

use super::model::ModelDisk;
use super::{load, named, now, open_ids, who};
use crate::store::{Change, Target};
#[test]
fn an_agreement_that_falls_closes_all_that_names_it_in_whatever_way() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    let of = |id: &str, name: &str, agreement_id: &str| {
        let text = named(id, 1).replace("US-Ireland MLAT 2001", name);
        text.replace("[exporter]", &format!("agreement_id = \"{agreement_id}\"\n[exporter]"))
    };
    load(&mut store, &of("by-name", "us-ie-mlat", "eu-us-mla")).unwrap();
    load(&mut store, &of("by-id", "Request 2026/0142", "us-ie-mlat")).unwrap();
    load(&mut store, &of("other", "Request 2026/0143", "eu-us-mla")).unwrap();
    let fallen = &Target::Instrument("us-ie-mlat".into());
    let why = Change::Invalidate { why: "denounced".into() };
    let keys = store.change(fallen, &why, &who(), now()).unwrap();
    assert_eq!(keys, [("by-id".to_owned(), 1), ("by-name".to_owned(), 1)]);
    assert_eq!(open_ids(&store), ["other"]);
    let held = load(&mut store, &of("late", "Request 2026/0144", "us-ie-mlat"));
    assert!(held.is_err(), "{held:?}");
    // By the words of the agreement, as `agreement` has them.
    let words =
        store.kept().entries().find_map(|(_, entry)| entry.document.as_ref()?.instrument.agreement.clone());
    let keys = store.change(&Target::Instrument(words.unwrap().to_uppercase()), &why, &who(), now()).unwrap();
    assert_eq!(keys, [("other".to_owned(), 1)]);
}
