//! The property that approvals exist for, over the store as the daemon's worker uses it: over any sequence of loads, orders,
//! lifts, revocations, keys that are taken out or revoked, other rules, restarts and older stores that are put back, nothing
//! passes that was not approved by the rules in force when it was loaded or lifted, and nothing that was closed passes
//! without a new approval.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tempfile::TempDir;

use super::store::done;
use crate::approval::tests::oracle::key;
use crate::approval::{EXEMPTION, ORDER, Signature};
use crate::audit::Who;
use crate::compile::HostFacts;
use crate::config::policy::Policy;
use crate::daemon::engine::{Basis, LiftJob, LoadJob, StoreJob, StoreOutcome};
use crate::exemption::{Clocks, LawPack, Lift, Opens, Target};
use crate::store::tests::high_water::Memory;
use crate::store::{Change, FILE, Key, MarkKeeper, Marks, Store};
use signers::{SIGNERS, Who3, chosen, fingerprint, signed};
use texts::{document, policy};

mod examples;
mod signers;
mod texts;

/// What a config can ask for: how many as legal, and how many for compliance.
const RULES: [(usize, usize); 3] = [(1, 1), (2, 0), (0, 1)];
const IDS: [&str; 3] = ["one", "two", "three"];
/// Instruments that documents rest on, by their ids.
const INSTRUMENTS: [&str; 3] = ["US-Ireland MLAT 2001", "Budapest Convention", "US-Ireland MLAT 2001"];

#[derive(Clone, Debug)]
enum Step {
    /// Loads the next version of an exemption, signed by these.
    Load(usize, Who3),
    /// Loads the text again that was loaded last, with the signatures of then.
    Again(usize),
    Stay(usize),
    /// Lifts an order by a document that these sign; where there are several, this one.
    Lift(usize, Who3),
    /// Lifts it by the document and the signatures of an earlier lift.
    LiftAgain,
    Revoke(usize),
    Invalidate(usize),
    RevokeKey(usize),
    /// From now on the file of allowed signers has these.
    Allow(Who3),
    /// From now on the config has this rule.
    Rule(usize),
    /// Ends the daemon, keeps the store as it is, and starts.
    Keep,
    /// Ends the daemon, puts a store that was kept in the place of the newest, and starts; with its mark or without.
    PutBack(usize, bool),
}

/// What covers what, in the words of orders.
fn targets() -> [Target; 5] {
    [
        Target::Id(IDS[0].into()),
        Target::Id(IDS[1].into()),
        Target::Pin("mail".into()),
        Target::Instrument(INSTRUMENTS[0].into()),
        Target::All,
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let signers = 1..8_u8;
    let step = prop_oneof![
        6 => (0..3_usize, signers.clone()).prop_map(|(id, by)| Step::Load(id, by)),
        2 => (0..3_usize).prop_map(|id| Step::Load(id, 7)),
        1 => (0..3_usize).prop_map(Step::Again),
        3 => (0..5_usize).prop_map(Step::Stay),
        3 => (0..4_usize, signers.clone()).prop_map(|(at, by)| Step::Lift(at, by)),
        1 => Just(Step::LiftAgain),
        1 => (0..3_usize).prop_map(Step::Revoke),
        1 => (0..2_usize).prop_map(Step::Invalidate),
        1 => (0..3_usize).prop_map(Step::RevokeKey),
        2 => signers.prop_map(Step::Allow),
        2 => (0..3_usize).prop_map(Step::Rule),
        2 => Just(Step::Keep),
        1 => (0..4_usize, any::<bool>()).prop_map(|(which, mark)| Step::PutBack(which, mark)),
    ];
    prop::collection::vec(step, 1..30)
}

/// What one version was approved by, and on what it rests.
struct Approved {
    by: BTreeSet<usize>,
    instrument: &'static str,
    text: String,
    signatures: Vec<Signature>,
}

/// What an order was lifted by: what it covers, its reference, why, the document and its signatures.
type Lifted = (Target, String, String, Vec<u8>, Vec<Signature>);

/// Who lifted an order the last time, by what it covers and its reference.
type Lifts = BTreeMap<(Target, String), BTreeSet<usize>>;

struct World {
    folder: TempDir,
    kernel: Memory,
    store: Option<Store>,
    policy: Arc<Policy>,
    rule: usize,
    allowed: Who3,
    /// Stores that were kept, with their marks, and who had lifted which orders.
    kept: Vec<(PathBuf, PathBuf, Lifts)>,
    lifts: Lifts,
    lifted: Option<Lifted>,
    /// The highest version of each id that was ever loaded.
    versions: BTreeMap<usize, u32>,
    /// What was approved, and was not closed since.
    open: BTreeMap<Key, Approved>,
    orders: BTreeSet<(Target, String)>,
    revoked: BTreeSet<usize>,
    given: usize,
    /// Why the last load was refused.
    refused: String,
}

fn who() -> Who {
    Who { uid: 0, user: Some("root".to_owned()), pid: None }
}

fn now() -> Timestamp {
    "2026-12-02T00:00:00Z".parse().unwrap()
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self {
            policy: Arc::new(policy(folder.path(), 0)),
            folder,
            kernel: Memory::default(),
            store: None,
            lifts: Lifts::new(),
            rule: 0,
            allowed: 7,
            kept: Vec::new(),
            lifted: None,
            versions: BTreeMap::new(),
            open: BTreeMap::new(),
            orders: BTreeSet::new(),
            revoked: BTreeSet::new(),
            given: 0,
            refused: String::new(),
        };
        world.allow(7);
        world.start();
        world
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().unwrap()
    }

    fn start(&mut self) {
        let mut store = Store::open(&self.at("state")).unwrap();
        let kernel: Box<dyn MarkKeeper + Send> = Box::new(self.kernel.clone());
        store.mark_by(Marks::new(self.at("mark"), Some(kernel)), &who(), now()).unwrap();
        store.counters_began_anew(now()).unwrap();
        store.grant().unwrap();
        self.store = Some(store);
    }

    fn allow(&mut self, by: Who3) {
        let lines: String =
            chosen(by).map(|at| format!("{} {}\n", SIGNERS[at].1, key(SIGNERS[at].0).public)).collect();
        fs::write(self.at("allowed"), lines).unwrap();
        self.allowed = by;
    }

    /// Whether these together are what the rule in force asks for, counted without the daemon's code.
    fn is_enough(&self, by: Who3) -> bool {
        let (legal, compliance) = RULES[self.rule];
        let counts = |role: &str| {
            let good = chosen(by & self.allowed).filter(|at| !self.revoked.contains(at));
            good.filter(|at| SIGNERS[*at].2 == role).count()
        };
        counts("legal") >= legal && counts("compliance") >= compliance
    }

    fn covers(target: &Target, key: &Key, approved: &Approved) -> bool {
        match target {
            Target::Id(id) => key.0 == *id,
            Target::Instrument(name) => approved.instrument == name,
            Target::Pin(_) | Target::All => true,
            other => panic!("{other:?} is given by nobody"),
        }
    }

    fn load(&mut self, text: String, signatures: Vec<Signature>, (at, version, by): (usize, u32, Who3)) {
        let job = LoadJob {
            name: "document.toml".to_owned(),
            bytes: text.clone().into_bytes(),
            signatures: signatures.clone(),
            who: who(),
            dry_run: false,
            basis: Basis { config: 0, clock: 0, exemptions: Vec::new(), facts: HostFacts::default() },
            policy: Arc::clone(&self.policy),
            latest: now(),
            law: Ok(Arc::clone(LawPack::shared().unwrap())),
        };
        let outcome = done(self.store(), StoreJob::Load(job), now());
        let StoreOutcome::Loaded(loaded) = outcome else { panic!() };
        let key = (IDS[at].to_owned(), version);
        match loaded {
            Ok(_) => {
                assert!(self.is_enough(by), "{key:?} was loaded, signed by {by:b} of {:b}", self.allowed);
                assert!(self.versions.get(&at).is_none_or(|highest| version > *highest), "{key:?} again");
                self.versions.insert(at, version);
                self.open.retain(|(id, _), _| id != IDS[at]);
                let by = chosen(by).collect();
                self.open.insert(key, Approved { by, instrument: INSTRUMENTS[at], text, signatures });
            }
            // What is enough may be refused for an order, or for a version that the mark alone remembers.
            Err(refused) => self.refused = refused.message,
        }
    }

    fn lift(
        &mut self,
        target: Target,
        order: String,
        document: (String, Vec<u8>),
        by: Option<Who3>,
        signatures: Vec<Signature>,
    ) {
        let (why, bytes) = document;
        let job = LiftJob {
            target: target.clone(),
            latest: now(),
            order: Some(order.clone()),
            why: why.clone(),
            bytes: bytes.clone(),
            signatures: signatures.clone(),
            who: who(),
            dry_run: false,
            policy: Arc::clone(&self.policy),
        };
        let StoreOutcome::Changed(lifted) = done(self.store(), StoreJob::Lift(Box::new(job)), now()) else {
            panic!()
        };
        if lifted.is_err() {
            return;
        }
        let by = by.unwrap_or_else(|| panic!("a document lifted {order} a second time"));
        assert!(self.is_enough(by), "{order} was lifted, signed by {by:b} of {:b}", self.allowed);
        assert!(self.orders.remove(&(target.clone(), order.clone())), "{order} did not stand");
        self.lifts.insert((target.clone(), order.clone()), chosen(by).collect());
        self.lifted = Some((target, order, why, bytes, signatures));
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Load(at, by) => {
                let version = self.versions.get(&at).map_or(1, |highest| highest + 1);
                let kept = self.store().kept();
                let open = kept.open().find(|(of, _)| of.id == IDS[at]).map(|(of, _)| of.version);
                let text = document(at, version, open);
                let signatures = signed(by, EXEMPTION, text.as_bytes());
                self.load(text, signatures, (at, version, by));
            }
            Step::Again(at) => {
                let Some((key, it)) = self.open.iter().find(|((id, _), _)| id == IDS[at]) else { return };
                let by = it.by.iter().fold(0, |by, at| by | 1 << at);
                let (text, signatures, version) = (it.text.clone(), it.signatures.clone(), key.1);
                self.load(text, signatures, (at, version, by));
            }
            Step::Stay(at) => {
                self.given += 1;
                let (target, order) = (targets()[at].clone(), format!("High Court {}", self.given));
                let change = Change::Stay { order: order.clone() };
                let job = StoreJob::Change { target: target.clone(), change, who: who() };
                if let StoreOutcome::Changed(Ok(_)) = done(self.store(), job, now()) {
                    self.orders.insert((target, order));
                }
            }
            Step::Lift(at, by) => {
                let kept = self.store().kept();
                let Some(order) = kept.orders().nth(at).cloned() else { return };
                let (target, reference) = (order.covers.clone(), order.order.clone());
                let change = Change::Resume { order: Some(reference.clone()), why: "lifted".to_owned() };
                let Ok(keys) = kept.affected(&target, &change, now()) else { return };
                let opens = |key: &Key| Opens {
                    id: key.0.clone(),
                    version: key.1,
                    sha256: kept.record(key).unwrap().sha256.clone(),
                };
                let submitter = Some("aoife@example.org".to_owned());
                let opens = keys.iter().map(opens).collect();
                let Ok(lift) = Lift::of(&order.summary(), "lifted", submitter, opens) else { return };
                let bytes = lift.to_toml().into_bytes();
                let signatures = signed(by, ORDER, &bytes);
                self.lift(target, reference, ("lifted".to_owned(), bytes), Some(by), signatures);
            }
            Step::LiftAgain => {
                let Some((target, order, why, bytes, signatures)) = self.lifted.take() else { return };
                // The same court gives the same order again.
                let change = Change::Stay { order: order.clone() };
                let job = StoreJob::Change { target: target.clone(), change, who: who() };
                if let StoreOutcome::Changed(Ok(_)) =
                    done(self.store(), job, now() + SignedDuration::from_secs(1))
                {
                    self.orders.insert((target.clone(), order.clone()));
                }
                self.lift(target, order, (why, bytes), None, signatures);
            }
            Step::Revoke(at) => {
                let (target, change) = (Target::Id(IDS[at].into()), Change::Revoke { why: "over".into() });
                if let StoreOutcome::Changed(Ok(keys)) =
                    done(self.store(), StoreJob::Change { target, change, who: who() }, now())
                {
                    self.open.retain(|key, _| !keys.contains(key));
                }
            }
            Step::Invalidate(at) => {
                let name = INSTRUMENTS[at];
                // Two never fall in the same nanosecond: by that the document is of one of them.
                self.given += 1;
                let fell = now() + SignedDuration::from_nanos(i64::try_from(self.given).unwrap());
                let (target, change) =
                    (Target::Instrument(name.into()), Change::Invalidate { why: "it fell".into() });
                let job = StoreJob::Change { target: target.clone(), change, who: who() };
                if let StoreOutcome::Changed(Ok(_)) = done(self.store(), job, fell) {
                    self.open.retain(|_, approved| approved.instrument != name);
                    self.orders.insert((target, "it fell".to_owned()));
                }
            }
            Step::RevokeKey(at) => {
                let target = Target::Key(fingerprint(SIGNERS[at].0));
                let change = Change::RevokeKey { why: "it was lost".into() };
                if let StoreOutcome::Changed(Ok(_)) =
                    done(self.store(), StoreJob::Change { target, change, who: who() }, now())
                {
                    self.revoked.insert(at);
                    self.open.retain(|_, approved| !approved.by.contains(&at));
                    // What was lifted by it stands again.
                    for ((target, order), _) in self.lifts.iter().filter(|(_, by)| by.contains(&at)) {
                        let stands = !self.orders.insert((target.clone(), order.clone()));
                        if let (Target::Instrument(name), "it fell", false) = (target, &**order, stands) {
                            self.open.retain(|_, approved| approved.instrument != name);
                        }
                    }
                }
            }
            Step::Allow(by) => self.allow(by),
            Step::Rule(rule) => {
                self.rule = rule;
                self.policy = Arc::new(policy(self.folder.path(), rule));
            }
            Step::Keep => {
                self.store = None;
                let at = self.kept.len();
                let (state, mark) = (self.at(&format!("state-{at}")), self.at(&format!("mark-{at}")));
                fs::copy(self.at("state").join(FILE), &state).unwrap();
                fs::copy(self.at("mark/high-water.json"), &mark).unwrap();
                self.kept.push((state, mark, self.lifts.clone()));
                self.start();
            }
            Step::PutBack(which, with_mark) => {
                let Some((state, mark, lifts)) = self.kept.get(which).cloned() else { return };
                (self.store, self.lifts) = (None, lifts);
                fs::copy(state, self.at("state").join(FILE)).unwrap();
                if with_mark {
                    fs::copy(mark, self.at("mark/high-water.json")).unwrap();
                }
                self.start();
                if with_mark {
                    // The mark in the kernel shows that it is older, and has no orders: then one on everything stands, until
                    // somebody lifts it who could approve all that may come.
                    self.forget_what_no_mark_has();
                } else {
                    // What stood when the older store was copied stands again, also where it was lifted since.
                    let kept = self.store().kept();
                    let standing = kept.orders().filter(|it| !matches!(it.covers, Target::Key(_)));
                    self.orders.extend(standing.map(|it| (it.covers.clone(), it.order.clone())));
                }
            }
        }
        self.nothing_passes_that_may_not();
    }

    fn forget_what_no_mark_has(&mut self) {
        let kept = self.store().kept();
        self.orders
            .retain(|(target, order)| kept.orders().any(|it| it.covers == *target && it.order == *order));
        // The daemon's own order on everything stands from now on, and is lifted as any other.
        let all = kept.orders().filter(|it| it.covers == Target::All);
        self.orders.extend(all.map(|it| (it.covers.clone(), it.order.clone())));
        let revoked = kept.revoked_keys();
        self.revoked.retain(|at| revoked.contains(&fingerprint(SIGNERS[*at].0)));
        self.versions.clear();
        for it in kept.list(now()) {
            let at = IDS.iter().position(|id| *id == it.id).unwrap();
            let highest = self.versions.entry(at).or_default();
            *highest = it.version.max(*highest);
        }
    }

    fn nothing_passes_that_may_not(&mut self) {
        let store = self.store.as_mut().unwrap();
        store.slots_were_reset(&store.kept().slots_to_reset()).unwrap();
        store.keep_marks();
        assert_eq!(store.mark_fault(), None);
        let clocks = Clocks { wall: now(), boot_ns: 5_000_000_000 };
        let kept = store.kept();
        for entry in kept.kernel_exemptions(&clocks, &["mail".to_owned()]) {
            let of = kept.by_slot(entry.slot).unwrap();
            let key = (of.id.clone(), of.version);
            let approved = self.open.get(&key).unwrap_or_else(|| panic!("{key:?} passes, and was closed"));
            let held = self.orders.iter().find(|(target, _)| Self::covers(target, &key, approved));
            assert!(held.is_none(), "{key:?} passes, held by {held:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_passes_that_the_rules_in_force_did_not_approve_and_nothing_comes_back(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
    }
}
