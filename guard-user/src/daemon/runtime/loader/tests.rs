//! What a config that is read opens, and what it is held against.

use std::collections::BTreeMap;

use tokio::sync::mpsc::unbounded_channel;

use super::super::gate::{AtStart, Given, at_start};
use super::*;
use crate::approval::POLICY;
use crate::approval::tests::oracle::{ED25519, key, sign};
use crate::geo::Runs;
use crate::geo::mmdb::writer::{Value, Writer};
use crate::store::Spent;

#[test]
fn what_opens_is_known_where_nobody_has_to_sign_it() {
    let config = |permit: &str| {
        format!(
            "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
             permit = [{permit}]\naction = \"drop\"\nselect.ports = [\"tcp/143\"]\n"
        )
    };
    let file = Path::new("policy.toml");
    let (mut v4, v6) = (Runs::unknown(), Runs::unknown());
    for (start, place) in [(0x0100_0000, "IE"), (0x1100_0000, "FR"), (0x2100_0000, "US")] {
        v4.push(start, place.parse().unwrap());
    }
    let database = GeoDb { v4, v6, info: Info::default() };
    let opened = |live: &str, text: &str, in_force: Option<&GeoDb>| {
        let last = LastPolicy {
            bytes: live.as_bytes().to_vec(),
            observe: false,
            unheld: None,
            users: BTreeMap::new(),
        };
        let live = InForce::any(last, "the live config").ok().unwrap();
        let candidate = Candidate::of(file, text.as_bytes().to_vec(), false).ok().unwrap();
        let policy = candidate.checked.policy.clone();
        unsigned(&live, file, (&candidate, &policy), (&database, in_force))
    };
    let (narrow, wide) = (config(""), config("\"FR\""));
    for in_force in [Some(&database), None] {
        let found = opened(&narrow, &wide, in_force).unwrap();
        assert_eq!((found.sha256, found.by.len()), (sha256(wide.as_bytes()), 0));
        assert!(found.opens.contains("mail"), "{}", found.opens);
        assert!(opened(&wide, &narrow, in_force).is_none());
        assert!(opened(&wide, &format!("{wide}# later\n"), in_force).is_none());
    }
}

/// A state directory with a database and a key that may sign, where a config is live that asks nobody.
struct Bed {
    folder: tempfile::TempDir,
    reading: Reading,
    spent: KnownSpent,
}

impl Bed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().to_owned();
        let mut writer = Writer::new(6);
        // A jurisdiction without an address opens nothing.
        for (code, network) in [("IE", 0xc633_6400), ("FR", 0xcb00_7100), ("DE", 0xc000_0200)] {
            let country = Value::Map(vec![("iso_code", Value::Text(code))]);
            let record = writer.record(&Value::Map(vec![("country", country)]));
            writer.network(network, 96 + 24, record);
        }
        std::fs::write(state.join("a.mmdb"), writer.bytes()).unwrap();
        let allowed = format!("anne@example.org {}\n", key(ED25519).public);
        std::fs::write(state.join("allowed"), allowed).unwrap();
        let inputs = unbounded_channel().0;
        let reading = Reading {
            keeper: Keeper::new(state.clone(), inputs.clone()),
            configs: ConfigKeeper::new(state, inputs),
            databases: Databases::new().unwrap(),
        };
        Self { folder, reading, spent: Ok(Spent::default()) }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, first: &str, permit: &str, rest: &str) -> String {
        let database = self.at("a.mmdb");
        format!(
            "{first}[host]\ninterfaces = [\"eth0\"]\n[geo]\nfiles = [{database:?}]\nincomplete = true\n[[pin]]\n\
             name = \"mail\"\nhome = \"IE\"\npermit = [{permit}]\naction = \"drop\"\nselect.ports = [\"tcp/143\"]\n{rest}"
        )
    }

    /// The config that is live.
    fn old(&self) -> String {
        self.config("approval = \"none\"\n", "", "")
    }

    /// One that asks for signatures.
    fn asking(&self, permit: &str) -> String {
        let allowed = self.at("allowed");
        let rest = format!(
            "[approval]\nallowed_signers = {allowed:?}\n[[approval.signer]]\nidentity = \"anne@example.org\"\n\
             roles = [\"dpo\"]\n[[approval.rule]]\nrequired = [{{ role = \"dpo\", count = 1 }}]\n\
             [approval.policy]\nrequired = [{{ role = \"dpo\", count = 1 }}]\n"
        );
        self.config("", permit, &rest)
    }

    fn sign(&self, text: &str) {
        let signature = sign(key(ED25519), POLICY, "sha512", text.as_bytes());
        std::fs::write(self.at("policy.toml.anne.sig"), signature).unwrap();
    }

    fn reload(&self, text: &str) -> Result<Held, String> {
        let file = self.at("policy.toml");
        std::fs::write(&file, text).unwrap();
        let live = (last(&self.old()), &self.spent);
        let read = read((&file, false), &self.reading, live, &LoadOf::File);
        read.map(|prepared| prepared.held).map_err(|failure| failure.message)
    }

    /// What is kept as what the next config is held against.
    fn kept(&self) -> Option<LastPolicy> {
        self.reading.configs.read(OPENS).unwrap()
    }

    /// Whether a start goes by the config that was live, which is in its file again and in the audit trail.
    fn starts_by_old(&self) -> bool {
        let (file, old) = (self.at("policy.toml"), self.old());
        std::fs::write(&file, &old).unwrap();
        let recorded = last(&old);
        let policy = Candidate::of(&file, old.into_bytes(), false).ok().unwrap().checked.policy;
        let given = Given { file: &file, observe: false, refused: None };
        let held = at_start(
            (&self.reading.configs, OPENS),
            (|| Ok(Some(recorded)), false),
            (given, &self.spent),
            &policy,
            (|| None, None),
        );
        matches!(held, Ok(AtStart::Given(_)))
    }
}

fn last(text: &str) -> LastPolicy {
    let (bytes, users) = (text.as_bytes().to_vec(), BTreeMap::new());
    LastPolicy { bytes, observe: false, unheld: None, users }
}

/// By how many each record is signed that is to be made of this config.
fn signers(held: &Held, text: &str) -> Vec<usize> {
    assert!(held.signed.iter().all(|it| it.sha256 == sha256(text.as_bytes())), "{held:?}");
    held.signed.iter().map(|it| it.by.len()).collect()
}

/// A config that asks for signatures takes the place of one that asks for none. A daemon that ends before its record is on the
/// disk leaves nothing of it.
#[test]
fn what_nobody_signs_is_not_kept_before_its_record() {
    let bed = Bed::new();
    let (old, new) = (bed.old(), bed.asking("\"FR\""));
    let held = bed.reload(&new).unwrap();
    assert_eq!((signers(&held, &new), bed.kept()), (vec![0], None));
    assert_eq!(held.to_keep, Some(Some(last(&new))), "it is the engine's to keep");
    assert!(bed.starts_by_old());
    assert_eq!(bed.reload(&old), Ok(Held::default()));
}

/// It may be refused after it is on record and kept.
#[test]
fn what_was_kept_and_never_live_needs_its_record_and_keeps_nothing_out() {
    let bed = Bed::new();
    let (old, new) = (bed.old(), bed.asking("\"FR\""));
    // The second time it is kept already.
    for _ in 0..2 {
        let held = bed.reload(&new).unwrap();
        assert_eq!(signers(&held, &new), [0]);
        bed.reading.configs.put_back(held.to_keep.unwrap());
        assert_eq!(bed.kept(), Some(last(&new)));
    }
    assert!(bed.reload(&old).is_err() && !bed.starts_by_old(), "it is held against the one that is kept");
    // As the engine wants it where it refuses one.
    bed.reading.configs.put_back(None);
    assert_eq!(bed.reload(&old), Ok(Held::default()));
    assert!(bed.starts_by_old());
}

/// That somebody signed it all the same says nothing of what it opens over the live one.
#[test]
fn what_opens_over_the_live_one_is_on_record_beside_who_signed_it() {
    // By their word goes on what the last signed config had opened.
    let mut bed = Bed::new();
    let new = bed.asking("\"FR\"");
    bed.sign(&new);
    bed.spent = Ok(Spent { is_by_revoked: true, ..Spent::default() });
    let held = bed.reload(&new).unwrap();
    assert_eq!((signers(&held, &new), bed.kept()), (vec![1, 0], None));
    assert!(held.signed[0].opens.contains("the one before it") && held.signed[1].opens.contains("mail"));
    // Over one that is kept and was never live it opens less.
    let bed = Bed::new();
    let (kept, more) = (bed.asking("\"FR\""), bed.asking("\"FR\", \"DE\""));
    bed.reading.configs.put_back(Some(last(&kept)));
    assert!(bed.reload(&more).unwrap_err().contains("newly lets pass"));
    bed.sign(&more);
    let held = bed.reload(&more).unwrap();
    assert_eq!((signers(&held, &more), bed.kept()), (vec![1, 0], Some(last(&kept))));
    assert!(held.signed[1].opens.contains("mail"), "{held:?}");
}
