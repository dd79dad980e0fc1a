//! Databases after each other, as a start and reloads take them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;

use super::*;
use crate::approval::POLICY;
use crate::approval::tests::oracle::{ED25519, OTHER_ED25519, key, sign};
use crate::config::{self, Surroundings};
use crate::geo::merge::merge;
use crate::geo::mmdb;
use crate::geo::mmdb::writer::{Value, Writer};

/// A folder with the allowed signers and databases.
struct Bed(tempfile::TempDir);

const ASKED: &str = "[approval.policy]\nrequired = [{ role = \"dpo\", count = 1 }]\n";

impl Bed {
    fn new() -> Self {
        let bed = Self(tempfile::tempdir().unwrap());
        let allowed = format!(
            "anne@example.org {}\nbob@example.org {}\n",
            key(ED25519).public,
            key(OTHER_ED25519).public
        );
        std::fs::write(bed.file("allowed"), allowed).unwrap();
        bed
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn policy(&self, geo: &str, asked: &str) -> Policy {
        let text = format!(
            "[host]\ninterfaces = [\"eth0\"]\n[geo]\nfiles = [{:?}]\nask_above = \"never\"\n{geo}\n[[pin]]\n\
             name = \"mail\"\nhome = \"IE\"\npermit = [\"BE\"]\naction = \"drop\"\nselect.ports = [\"tcp/143\"]\n\
             [approval]\nallowed_signers = {:?}\n[[approval.signer]]\nidentity = \"anne@example.org\"\n\
             roles = [\"dpo\"]\n[[approval.signer]]\nidentity = \"bob@example.org\"\nroles = [\"legal\"]\n\
             [[approval.rule]]\nrequired = [{{ role = \"legal\", count = 1 }}]\n{asked}",
            self.file("a.mmdb"),
            self.file("allowed"),
        );
        config::parse(Path::new("policy.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap().policy
    }

    /// Writes a database in which these networks are in these countries, and reads it.
    fn database(&self, name: &str, networks: &[(&str, &'static str)]) -> GeoDb {
        self.built(name, networks, 0)
    }

    /// Writes one that was built so many days after those, and reads it.
    fn built(&self, name: &str, networks: &[(&str, &'static str)], days: i64) -> GeoDb {
        let mut writer = Writer::new(6);
        writer.build_epoch = writer.build_epoch.saturating_add_signed(days * 86_400);
        for (network, country) in networks {
            let country = Value::Map(vec![("iso_code", Value::Text(country))]);
            let record = writer.record(&Value::Map(vec![("country", country)]));
            let IpNetwork::V4(it) = network.parse().unwrap() else { panic!("{network}") };
            writer.network(u32::from(it.ip()).into(), u32::from(it.prefix()) + 96, record);
        }
        std::fs::write(self.file(name), writer.bytes()).unwrap();
        mmdb::read(&self.file(name)).unwrap()
    }

    fn sign(&self, name: &str, which: usize, namespace: &str) {
        let bytes = std::fs::read(self.file(name)).unwrap();
        let signature = sign(key(which), namespace, "sha512", &bytes);
        std::fs::write(self.file(&format!("{name}.anne.sig")), signature).unwrap();
    }
}

/// Of the first network each is in Ireland; the second and the third move.
const NOW: [(&str, &str); 3] = [("198.51.0.0/24", "IE"), ("198.51.1.0/24", "US"), ("198.51.2.0/24", "BE")];
const NEXT: [(&str, &str); 3] = [("198.51.0.0/24", "IE"), ("198.51.1.0/24", "BE"), ("198.51.2.0/24", "US")];

fn places(database: &GeoDb) -> [String; 3] {
    ["198.51.0.9", "198.51.1.9", "198.51.2.9"].map(|address| {
        let address: IpAddr = address.parse().unwrap();
        database.lookup(address).to_string()
    })
}

fn gone(why: &str) -> Before {
    Before::Gone(why.to_owned(), Built::default())
}

fn before(database: &GeoDb) -> Before {
    Before::Is(Box::new(database.clone()))
}

#[test]
fn what_closes_is_taken_and_what_opens_waits_for_signatures() {
    let bed = Bed::new();
    let policy = bed.policy("", ASKED);
    let (now, next) = (bed.database("now", &NOW), bed.database("a.mmdb", &NEXT));
    let chosen = |before: Before, yes: bool| choose(&policy, next.clone(), before, (yes, &Ok(Vec::new())));
    for yes in [false, true] {
        let it = chosen(before(&now), yes);
        assert_eq!(places(&it.database), ["IE", "US", "US"], "what moves inward stays where it was");
        let Some(Waits::Openings(why)) = &it.waits else { panic!("{:?}", it.waits) };
        assert!(
            why.contains("for the pin mail 50.0% of what it permits") && why.contains("geo.may_open"),
            "{why}"
        );
        assert!(
            why.contains("a.mmdb: ") && why.contains("1 as \"dpo\"") && why.contains("policy sign"),
            "{why}"
        );
        // What is in force is what the next is compared with: it still waits, and is not opened by coming again.
        let again = chosen(before(&it.database), yes);
        assert_eq!((places(&again.database), again.waits.is_some()), (places(&it.database), true));
    }
    for (which, namespace) in [(OTHER_ED25519, GEO), (ED25519, POLICY)] {
        bed.sign("a.mmdb", which, namespace);
        assert!(chosen(before(&now), true).waits.is_some());
    }
    bed.sign("a.mmdb", ED25519, GEO);
    let it = chosen(before(&now), false);
    assert_eq!((places(&it.database), it.waits.clone()), (places(&next), None));
    let held = it.held();
    assert_eq!(held.signed[0].sha256, sha256(&std::fs::read(bed.file("a.mmdb")).unwrap()));
    assert_eq!(held.signed[0].by[0].identity, "anne@example.org");
    let revoked = Ok(vec![held.signed[0].by[0].fingerprint.clone()]);
    assert!(choose(&policy, next.clone(), before(&now), (true, &revoked)).waits.is_some(), "a revoked key");
    // The signatures are of the bytes that were read, and not of what took their place since.
    bed.database("a.mmdb", &NOW);
    bed.sign("a.mmdb", ED25519, GEO);
    let Some(Waits::Openings(why)) = chosen(before(&now), false).waits else { panic!() };
    assert!(why.contains("it was replaced while it was read"), "{why}");
}

#[test]
fn every_file_of_several_has_to_be_signed() {
    let bed = Bed::new();
    let policy = bed.policy("", ASKED);
    let now = bed.database("now", &NOW);
    let next = merge([bed.database("a.mmdb", &NEXT[..2]), bed.database("b.mmdb", &NEXT[2..])]).unwrap();
    bed.sign("a.mmdb", ED25519, GEO);
    let Some(Waits::Openings(why)) =
        choose(&policy, next.clone(), before(&now), (false, &Ok(Vec::new()))).waits
    else {
        panic!()
    };
    assert!(why.contains("b.mmdb: "), "{why}");
    bed.sign("b.mmdb", ED25519, GEO);
    assert_eq!(choose(&policy, next, before(&now), (false, &Ok(Vec::new()))).waits, None);
    // One in the place of the other would take away what that one says.
    std::fs::copy(bed.file("a.mmdb"), bed.file("b.mmdb")).unwrap();
    std::fs::copy(bed.file("a.mmdb.anne.sig"), bed.file("b.mmdb.anne.sig")).unwrap();
    let twice = merge(["a.mmdb", "b.mmdb"].map(|name| mmdb::read(&bed.file(name)).unwrap())).unwrap();
    assert!(choose(&policy, twice, before(&now), (false, &Ok(Vec::new()))).waits.is_some());
}

#[test]
fn where_nobody_is_asked_or_little_opens_all_of_it_is_taken() {
    let bed = Bed::new();
    let (now, next) = (bed.database("now", &NOW), bed.database("a.mmdb", &NEXT));
    for policy in [bed.policy("", ""), bed.policy("may_open = \"50%\"", ASKED)] {
        let it = choose(&policy, next.clone(), before(&now), (false, &Ok(Vec::new())));
        assert_eq!((places(&it.database), it.waits), (places(&next), None));
    }
    let closing = bed.database("a.mmdb", &NOW[..2]);
    let it = choose(&bed.policy("", ASKED), closing.clone(), before(&now), (false, &Ok(Vec::new())));
    assert_eq!((places(&it.database), it.waits), (places(&closing), None), "what only closes needs nobody");
}

#[test]
fn what_is_compared_with_none_is_taken_and_told_unless_it_is_signed() {
    let bed = Bed::new();
    let next = bed.database("a.mmdb", &NEXT);
    let policy = bed.policy("", ASKED);
    for before in [gone("geo.last is not there"), gone("it is damaged")] {
        let it = choose(&policy, next.clone(), before, (false, &Ok(Vec::new())));
        assert_eq!(places(&it.database), places(&next), "a host without a guard lets everything pass");
        let why = it.database.info.unheld.clone().unwrap();
        assert!(!it.is_compared);
        // It is told until it is signed, and not only until the next look.
        let again = choose(&policy, next.clone(), Before::Is(Box::new(it.database)), (true, &Ok(Vec::new())));
        assert_eq!(again.database.info.unheld.as_ref(), Some(&why));
        assert!(why.contains("geo.last is not there") || why.contains("it is damaged"), "{why}");
    }
    bed.sign("a.mmdb", ED25519, GEO);
    assert_eq!(
        choose(&policy, next.clone(), gone("geo.last is not there"), (false, &Ok(Vec::new())))
            .database
            .info
            .unheld,
        None
    );
    assert_eq!(
        choose(&policy, next.clone(), Before::First, (false, &Ok(Vec::new()))).database.info.unheld,
        None
    );
    assert_eq!(
        choose(&bed.policy("", ""), next, gone("geo.last is not there"), (false, &Ok(Vec::new()))).held(),
        Held::default()
    );
}

#[test]
fn an_older_database_that_was_signed_once_does_not_come_back_by_its_signatures() {
    let bed = Bed::new();
    let policy = bed.policy("", ASKED);
    let none_revoked = Ok(Vec::new());
    let choose = |read: &GeoDb, before| choose(&policy, read.clone(), before, (true, &none_revoked));
    // The older one opens what the newer one closes, and is in force first, by its signatures.
    let first = bed.database("now", &NOW);
    let older = bed.built("a.mmdb", &NEXT, 1);
    bed.sign("a.mmdb", ED25519, GEO);
    let in_force = choose(&older, before(&first));
    assert_eq!((places(&in_force.database), in_force.waits), (places(&older), None));
    // The newer one closes and opens: unsigned it comes into force by half, signed as a whole.
    let unsigned = bed.built("c.mmdb", &NOW, 2);
    let by_half = choose(&unsigned, before(&in_force.database));
    assert!(by_half.waits.is_some() && places(&by_half.database) == ["IE", "US", "US"]);
    let signed = bed.built("b.mmdb", &NOW, 2);
    bed.sign("b.mmdb", ED25519, GEO);
    let whole = choose(&signed, before(&in_force.database));
    assert_eq!(whole.waits, None);
    for now in [&by_half.database, &whole.database] {
        let back = choose(&older, before(now));
        let Some(Waits::Openings(why)) = back.waits else { panic!("{:?}", back.waits) };
        assert!(why.contains("was in force") && why.contains("borderguard-geo-older"), "{why}");
        assert_eq!(places(&back.database)[1], "US");
        // Nor behind the back of what is kept: the audit trail knows when the newest was built.
        let lost = Before::Gone("geo.last is not there".to_owned(), now.info.built.clone());
        assert!(choose(&older, lost).database.info.unheld.unwrap().contains("borderguard-geo-older"));
        // Nor after another one of the same day.
        let other = choose(&bed.built("d.mmdb", &NOW, 1), before(now));
        assert!(choose(&older, before(&other.database)).waits.is_some());
    }
    // Who wants it back signs that.
    bed.sign("a.mmdb", ED25519, crate::approval::GEO_OLDER);
    let back = choose(&older, before(&whole.database));
    assert_eq!((places(&back.database), back.waits), (places(&older), None));
    assert!(choose(&bed.built("c.mmdb", &NOW, 3), before(&back.database)).waits.is_some(), "unsigned");
}
