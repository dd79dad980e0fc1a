//! The property that approvals exist for, over the store as the daemon's worker uses it: over any sequence of loads, orders,
//! lifts, revocations, keys that are taken out or revoked, other rules, restarts and older stores that are put back, nothing
//! passes that was not approved by the rules in force when it was loaded or lifted, and nothing that was closed passes
//! without a new approval.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
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
use crate::config::{self, Surroundings};
use crate::daemon::engine::{Basis, LiftJob, LoadJob, StoreJob, StoreOutcome};
use crate::exemption::{Clocks, LawPack, Lift, Opens, Target};
use crate::hostname::hostname;
use crate::store::tests::high_water::Memory;
use crate::store::{Change, FILE, HeadKeeper, Key, Marks, Store};
use signers::{SIGNERS, Who3, chosen, fingerprint, signed};

mod signers;

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

struct World {
    folder: TempDir,
    kernel: Memory,
    store: Option<Store>,
    policy: Arc<Policy>,
    rule: usize,
    allowed: Who3,
    /// Stores that were kept, with their marks.
    kept: Vec<(PathBuf, PathBuf)>,
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
        let kernel: Box<dyn HeadKeeper + Send> = Box::new(self.kernel.clone());
        store.mark_by(Marks::new(self.at("mark"), Some(kernel)), &who(), now()).unwrap();
        store.counters_began_anew().unwrap();
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
            order: Some(order.clone()),
            why: why.clone(),
            bytes: bytes.clone(),
            signatures: signatures.clone(),
            who: who(),
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
                let (target, change) =
                    (Target::Instrument(name.into()), Change::Invalidate { why: "it fell".into() });
                let job = StoreJob::Change { target: target.clone(), change, who: who() };
                if let StoreOutcome::Changed(Ok(_)) = done(self.store(), job, now()) {
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
                self.kept.push((state, mark));
                self.start();
            }
            Step::PutBack(which, with_mark) => {
                let Some((state, mark)) = self.kept.get(which).cloned() else { return };
                self.store = None;
                fs::copy(state, self.at("state").join(FILE)).unwrap();
                if with_mark {
                    fs::copy(mark, self.at("mark/high-water.json")).unwrap();
                }
                self.start();
                if with_mark {
                    // The mark in the kernel shows that it is older, and has no orders: then one on everything stands, until
                    // somebody lifts it who could approve all that may come.
                    self.forget_what_no_mark_has();
                }
            }
        }
        self.nothing_passes_that_may_not();
    }

    fn forget_what_no_mark_has(&mut self) {
        let kept = self.store().kept();
        self.orders
            .retain(|(target, order)| kept.orders().any(|it| it.covers == *target && it.order == *order));
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

fn policy(folder: &Path, rule: usize) -> Policy {
    let (legal, compliance) = RULES[rule];
    let needed = [("legal", legal), ("compliance", compliance)].into_iter().filter(|(_, count)| *count > 0);
    let needed: Vec<String> =
        needed.map(|(role, count)| format!("{{ role = {role:?}, count = {count} }}")).collect();
    let signers: String = SIGNERS
        .iter()
        .map(|(_, identity, role)| {
            format!("[[approval.signer]]\nidentity = {identity:?}\nroles = [{role:?}]\n")
        })
        .collect();
    let text = format!(
        "[host]\ninterfaces = [\"eth0\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n\
         select.ports = [\"tcp/143\"]\n[approval]\nallowed_signers = {:?}\n{signers}[[approval.signer]]\n\
         identity = \"aoife@example.org\"\nroles = [\"drafting\"]\nuser = \"root\"\n[[approval.rule]]\nrequired = [{}]\n",
        folder.join("allowed"),
        needed.join(", "),
    );
    config::parse(Path::new("policy.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap().policy
}

fn document(at: usize, version: u32, replaces: Option<u32>) -> String {
    let replaces = replaces.map(|version| format!("replaces = {version}\n")).unwrap_or_default();
    let (from, until) = (now() - SignedDuration::from_hours(1), now() + SignedDuration::from_hours(1));
    format!(
        "id = {:?}\nversion = {version}\n{replaces}pins = [\"mail\"]\nhosts = [{:?}]\npurpose = \"Evidence\"\n\
         data_categories = [\"e-mail content\"]\ndata_subjects = [\"customers\"]\nvalid_from = {from}\nvalid_until = {until}\n\
         [instrument]\ntype = \"treaty-request\"\nname = {:?}\narticle = \"Art. 48\"\nground = \"art-46-2-a\"\n\
         basis = \"art-6-1-c\"\nauthority = \"Central Authority, Ireland\"\nreference = \"case 2026/0142\"\n\
         agreement = \"Treaty of 18 January 2001\"\n[assessment]\nreference = \"TIA-2026-07\"\nreview_by = 2099-01-01\n\
         [exporter]\nname = \"Example Mail Ireland Ltd\"\nrole = \"controller\"\ncontact = \"privacy@example.org\"\n\
         [approval]\nsubmitter = \"aoife@example.org\"\n[[recipient]]\nname = \"Requesting authority\"\n\
         jurisdiction = \"US\"\ncidrs = [\"203.0.113.10/32\"]\n",
        IDS[at],
        hostname(),
        INSTRUMENTS[at],
    )
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

/// The steps above reach what they are to test: all is loaded, held, lifted, closed and put back.
#[test]
fn what_the_rules_approve_is_loaded_and_lifted() {
    let mut world = World::new();
    let passes = |world: &World| {
        let kept = world.store.as_ref().unwrap().kept();
        kept.kernel_exemptions(&Clocks { wall: now(), boot_ns: 5_000_000_000 }, &["mail".to_owned()]).len()
    };
    world.take(Step::Load(0, 0b001));
    assert_eq!(passes(&world), 0, "one as legal alone");
    world.take(Step::Load(0, 0b101));
    world.take(Step::Rule(1));
    world.take(Step::Load(1, 0b101));
    assert_eq!(passes(&world), 1);
    world.take(Step::Load(1, 0b011));
    assert_eq!(passes(&world), 2);
    world.take(Step::Keep);
    world.take(Step::Stay(4));
    assert_eq!(passes(&world), 0);
    world.take(Step::Lift(0, 0b101));
    assert_eq!(passes(&world), 0);
    world.take(Step::Lift(0, 0b011));
    assert_eq!(passes(&world), 2);
    world.take(Step::LiftAgain);
    assert_eq!(passes(&world), 0);
    world.take(Step::Lift(0, 0b011));
    world.take(Step::RevokeKey(2));
    assert_eq!(passes(&world), 1);
    world.take(Step::PutBack(0, false));
    assert_eq!(passes(&world), 0, "an older store closes what was open in it");
    world.take(Step::Load(1, 0b011));
    assert_eq!(passes(&world), 1, "{}", world.refused);
}
