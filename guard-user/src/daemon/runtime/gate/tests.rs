//! Configs after each other, as a start and reloads hold them.

use std::collections::BTreeMap;
use std::fs;

use jiff::SignedDuration;

use super::*;
use crate::approval::POLICY;
use crate::approval::tests::oracle::{ED25519, OTHER_ED25519, key, sign};
use crate::geo::{Info, Runs};
use crate::store::Spent;

/// A state directory, a config file, and the file of allowed signers.
struct Bed(tempfile::TempDir, KnownSpent);

impl Bed {
    fn new() -> Self {
        let bed = Self(tempfile::tempdir().unwrap(), Ok(Spent::default()));
        let allowed = format!(
            "anne@example.org {}\nbob@example.org {}\n",
            key(ED25519).public,
            key(OTHER_ED25519).public
        );
        std::fs::write(bed.0.path().join("allowed"), allowed).unwrap();
        bed
    }

    fn config(&self, permit: &str, required: &str) -> String {
        format!(
            "[host]\ninterfaces = [\"eth0\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [{permit}]\n\
             action = \"drop\"\nselect.ports = [\"tcp/143\"]\n[approval]\nallowed_signers = {:?}\n\
             [[approval.signer]]\nidentity = \"anne@example.org\"\nroles = [\"dpo\"]\n[[approval.signer]]\n\
             identity = \"bob@example.org\"\nroles = [\"legal\"]\n[[approval.rule]]\n\
             required = [{{ role = \"legal\", count = 1 }}]\n{required}",
            self.0.path().join("allowed")
        )
    }

    fn sign(&self, text: &str, which: usize, namespace: &str) {
        let signature = sign(key(which), namespace, "sha512", text.as_bytes());
        std::fs::write(self.0.path().join("policy.toml.anne.sig"), signature).unwrap();
    }

    /// Takes a config, as a reload does.
    fn reload(&self, text: &str, observe: bool) -> Result<(), String> {
        self.reload_with(text, observe, (&small(), Some(small())))
    }

    /// Likewise, where the name `storage` is the user of this number.
    fn reload_as(&self, text: &str, uid: u32) -> Result<(), String> {
        let names = BTreeMap::from([("storage".to_owned(), uid)]);
        self.take((text, false, &names), (&small(), Some(small())))
    }

    /// Likewise, where this database was read, and this one is in force.
    fn reload_with(
        &self,
        text: &str,
        observe: bool,
        databases: (&GeoDb, Option<GeoDb>),
    ) -> Result<(), String> {
        self.take((text, observe, &BTreeMap::new()), databases)
    }

    fn take(
        &self,
        (text, observe, names): (&str, bool, &NamedUsers),
        (read, before): (&GeoDb, Option<GeoDb>),
    ) -> Result<(), String> {
        let (state, file) = (self.0.path(), self.0.path().join("policy.toml"));
        std::fs::write(&file, text).unwrap();
        let taken = || {
            let candidate = Candidate::read(&file, observe)?;
            let mut policy = candidate.checked.policy.clone();
            policy.name_users(names);
            let configs = configs(state);
            if let Some(in_force) = InForce::kept(configs.read(PATIENCE), state)?.unwrap() {
                in_force.admit((file.as_path(), &self.1), (&candidate, &policy), read, before.as_ref())?;
            }
            configs.keep(candidate.to_keep(None, policy.named_users()), PATIENCE);
            Ok(())
        };
        taken().map_err(|failure: LoadFailure| failure.message)
    }
}

/// Longer than any disk takes here.
const PATIENCE: Duration = Duration::from_secs(60);

fn configs(state: &Path) -> ConfigKeeper {
    ConfigKeeper::new(state.to_owned(), tokio::sync::mpsc::unbounded_channel().0)
}

const ASKED: &str = "[approval.policy]\nrequired = [{ role = \"dpo\", count = 1 }]\n";

#[test]
fn what_opens_waits_for_the_signatures_that_the_config_in_force_asks_for() {
    let bed = Bed::new();
    let (narrow, wide) = (bed.config("\"BE\"", ASKED), bed.config("\"BE\", \"US\"", ASKED));
    assert_eq!(bed.reload(&narrow, false), Ok(()), "the first is compared with nothing");
    let refused = bed.reload(&wide, false).unwrap_err();
    assert!(refused.contains("newly lets pass: the pin mail (permit)"), "{refused}");
    assert!(refused.contains("approvals are missing: 1 as \"dpo\""), "{refused}");
    // What closes goes on; what was refused counts as nothing.
    assert_eq!(bed.reload(&bed.config("", ASKED), false), Ok(()));
    assert!(bed.reload(&narrow, false).is_err(), "and what was closed is not opened again");
    bed.sign(&wide, OTHER_ED25519, POLICY);
    assert!(bed.reload(&wide, false).is_err(), "of another role");
    bed.sign(&wide, ED25519, approval::EXEMPTION);
    assert!(bed.reload(&wide, false).is_err(), "made for something else");
    bed.sign(&narrow, ED25519, POLICY);
    assert!(bed.reload(&wide, false).is_err(), "over another config");
    bed.sign(&wide, ED25519, POLICY);
    assert_eq!(bed.reload(&wide, false), Ok(()));
    assert_eq!(bed.reload(&wide, false), Ok(()), "the same again needs no look at it");
    assert_eq!(bed.reload(&narrow, false), Ok(()));
}

#[test]
fn a_revoked_key_signs_no_config() {
    let mut bed = Bed::new();
    let (narrow, wide) = (bed.config("\"BE\"", ASKED), bed.config("\"BE\", \"US\"", ASKED));
    bed.reload(&narrow, false).unwrap();
    bed.sign(&wide, ED25519, POLICY);
    let allowed = approval::load::load(&bed.0.path().join("allowed"), &TimeZone::UTC).unwrap();
    let keys: Vec<String> = allowed.of_identity("anne@example.org").collect();
    bed.1 = Ok(Spent { keys: keys.clone(), ..Spent::default() });
    let refused = bed.reload(&wide, false).unwrap_err();
    assert!(refused.contains(&keys[0]) && refused.contains("is revoked"), "{refused}");
    bed.1 = Err("the store can't be opened".to_owned());
    let refused = bed.reload(&wide, false).unwrap_err();
    assert!(refused.contains("no signature counts: the store can't be opened"), "{refused}");
    bed.1 = Ok(Spent::default());
    bed.reload(&wide, false).unwrap();
}

/// It opens nothing, so that nobody would be asked: who signs it all the same is who it goes on by.
#[test]
fn who_signs_the_next_config_is_known_where_a_revoked_key_had_signed_the_last_one() {
    let bed = Bed::new();
    let text = bed.config("\"BE\"", ASKED);
    let file = bed.0.path().join("policy.toml");
    fs::write(&file, &text).unwrap();
    let candidate = Candidate::of(&file, text.clone().into_bytes(), false).map_err(|it| it.message).unwrap();
    let is_by_revoked = Ok(Spent { is_by_revoked: true, ..Spent::default() });
    assert_eq!(candidate.signed_anew(file.as_path(), &is_by_revoked, &[]), None, "nobody signed it");
    bed.sign(&text, ED25519, POLICY);
    let anew = candidate.signed_anew(file.as_path(), &is_by_revoked, &[]).unwrap();
    assert_eq!((anew.sha256.clone(), anew.by.len()), (sha256(text.as_bytes()), 1));
    assert_eq!(candidate.signed_anew(file.as_path(), &is_by_revoked, &[anew]), None, "once is enough");
    assert_eq!(candidate.signed_anew(file.as_path(), &Ok(Spent::default()), &[]), None, "nobody asks");
}

/// What ended by the latest time that is known has ended, whatever the wall clock says; what has not begun by that has not.
#[test]
fn a_key_that_had_ended_signs_nothing_with_the_clock_set_back_and_one_to_come_not_by_a_later_time() {
    let mut bed = Bed::new();
    let (narrow, wide) = (bed.config("\"BE\"", ASKED), bed.config("\"BE\", \"US\"", ASKED));
    bed.reload(&narrow, false).unwrap();
    bed.sign(&wide, ED25519, POLICY);
    let file = bed.0.path().join("allowed");
    let keys = fs::read_to_string(&file).unwrap();
    let in_days = |days: i64| Timestamp::now() + SignedDuration::from_hours(24 * days);
    let until = |option: &str, days: i64| {
        let option = format!("{option}=\"{}Z\"", in_days(days).strftime("%Y%m%d%H%M%S"));
        let line = |line: &str| match line.split_once(' ') {
            Some((identity, key)) => format!("{identity} {option} {key}\n"),
            None => String::new(),
        };
        fs::write(&file, keys.lines().map(line).collect::<String>()).unwrap();
    };
    for (option, days, latest, is_taken) in [
        ("valid-before", 1, Some(2), false),
        ("valid-before", 3, Some(2), true),
        ("valid-before", 1, None, true),
        ("valid-before", -1, None, false),
        ("valid-after", 1, Some(2), false),
    ] {
        until(option, days);
        bed.1 = Ok(Spent { latest: latest.map(in_days), ..Spent::default() });
        let came = bed.reload(&wide, false);
        assert_eq!(came.is_ok(), is_taken, "{option} in {days} days, known: {latest:?}: {came:?}");
        bed.reload(&narrow, false).unwrap();
    }
}

/// Who has root can give a name another number in /etc/passwd, and then what the service sends has no pin.
#[test]
fn a_name_that_is_another_user_than_it_was_is_a_change_that_opens() {
    let bed = Bed::new();
    let of = |users: &str| {
        let select = format!("select.ports = [\"tcp/143\"]\nselect.users = [{users}]");
        bed.config("\"BE\"", ASKED).replace("select.ports = [\"tcp/143\"]", &select)
    };
    let text = of("\"storage\", 12");
    bed.sign(&text, ED25519, POLICY);
    assert_eq!(bed.reload_as(&text, 107), Ok(()), "the first is compared with nothing");
    assert_eq!(bed.reload_as(&text, 107), Ok(()), "the same again");
    let refused = bed.reload_as(&text, 108).unwrap_err();
    assert!(refused.contains("the pin mail (select.users)"), "{refused}");
    assert!(refused.contains("don't cover") && refused.contains("(storage was 107 and is 108)"), "{refused}");
    // By another text, too, until that is signed.
    let anew = format!("# the service has another user\n{text}");
    let refused = bed.reload_as(&anew, 108).unwrap_err();
    assert!(refused.contains("the pin mail (select.users)"), "{refused}");
    assert_eq!(bed.reload_as(&anew, 107), Ok(()), "the number is back");
    let again = format!("# once more\n{text}");
    bed.sign(&again, ED25519, POLICY);
    assert_eq!(bed.reload_as(&again, 108), Ok(()));
    assert!(bed.reload_as(&again, 107).is_err(), "and back is another user again");
    // A name that stands beside the same number is no other user.
    assert_eq!(bed.reload_as(&of("\"storage\", 12, 108"), 108), Ok(()));
}

/// A database of some countries: what is compared by all of the embedded one takes seconds here, and is tested elsewhere.
fn small() -> GeoDb {
    world(&["IE", "BE", "US", "CN"])
}

/// A database by which every address is in Ireland.
fn all_irish() -> GeoDb {
    world(&["IE"; 4])
}

fn world(places: &[&str]) -> GeoDb {
    let (mut v4, mut v6) = (Runs::unknown(), Runs::unknown());
    for (start, place) in (0x0100_0000_u32..).step_by(0x1000_0000).zip(places) {
        v4.push(start, place.parse().unwrap());
        v6.push(u128::from(0x2000_0000 | start >> 4) << 96, place.parse().unwrap());
    }
    GeoDb { v4, v6, info: Info { source: "a small world".to_owned(), ..Info::default() } }
}

#[test]
fn a_database_that_comes_with_a_config_hides_nothing_of_it() {
    let bed = Bed::new();
    let narrow = bed.config("\"BE\"", ASKED);
    bed.reload(&narrow, false).unwrap();
    let irish = all_irish();
    let site = "[[site]]\nname = \"dublin\"\njurisdiction = \"IE\"\ncidrs = [\"203.0.113.0/24\"]\n";
    let of_site = narrow.replace("[[pin]]", &format!("{site}[[pin]]"));
    for (text, key) in [(of_site, "site"), (bed.config("\"BE\", \"US\"", ASKED), "permit")] {
        let refused = bed.reload_with(&text, false, (&irish, Some(small()))).unwrap_err();
        assert!(refused.contains(&format!("the pin mail ({key})")), "{refused}");
        // Where it is not known which one is in force, any config may open.
        let refused = bed.reload_with(&text, false, (&irish, None)).unwrap_err();
        assert!(refused.contains("the database in force can't be read"), "{refused}");
    }
    let narrower = bed.config("", ASKED);
    assert_eq!(bed.reload_with(&narrower, false, (&irish, Some(small()))), Ok(()), "it closes");
}

#[test]
fn a_config_that_was_replaced_does_not_come_back_by_its_signatures() {
    let mut bed = Bed::new();
    let (narrow, wide) = (bed.config("\"BE\"", ASKED), bed.config("\"BE\", \"US\"", ASKED));
    bed.reload(&narrow, false).unwrap();
    bed.sign(&wide, ED25519, POLICY);
    bed.reload(&wide, false).unwrap();
    bed.reload(&narrow, false).unwrap();
    bed.1 = Ok(Spent { configs: [sha256(wide.as_bytes())].into(), ..Spent::default() });
    let refused = bed.reload(&wide, false).unwrap_err();
    assert!(refused.contains("was in force before and was replaced since"), "{refused}");
    // Nor is one that could be held against none by then signed since.
    let file = bed.0.path().join("policy.toml");
    let candidate = Candidate::of(&file, wide.clone().into_bytes(), false).unwrap();
    let unheld = |spent| candidate.still_unheld((file.as_path(), spent), Some("a store that is gone"));
    assert_eq!(
        (unheld(&Ok(Spent::default())), unheld(&bed.1)),
        (None, Some("a store that is gone".to_owned()))
    );
    let anew = format!("# 2026-11-29\n{wide}");
    bed.sign(&anew, ED25519, POLICY);
    bed.reload(&anew, false).unwrap();
}

#[test]
fn the_way_around_is_an_opening_itself() {
    let bed = Bed::new();
    let narrow = bed.config("\"BE\"", ASKED);
    bed.reload(&narrow, false).unwrap();
    // To ask for nobody, to ask another signer, to be approved by none, and to observe.
    let of_anne = "identity = \"anne@example.org\"\nroles = [\"dpo\"]";
    for (text, key) in [
        (bed.config("\"BE\"", ""), "approval.policy"),
        (narrow.replace(of_anne, "identity = \"eve@example.org\"\nroles = [\"dpo\"]"), "approval.signer"),
        (format!("approval = \"none\"\n{}", narrow.split_once("[approval]").unwrap().0), "approval"),
        (narrow.replace("/allowed\"", "/policy.toml\""), "approval.allowed_signers"),
        (format!("{narrow}[law]\npack = \"/law.toml\"\nsha256 = \"{}\"\n", "07".repeat(32)), "law.sha256"),
    ] {
        let refused = bed.reload(&text, false).unwrap_err();
        assert!(refused.contains(key), "{key}: {refused}");
    }
    let refused = bed.reload(&narrow, true).unwrap_err();
    assert!(refused.contains("host.observe"), "{refused}");
    // Who has to sign is what the config in force says, and not the one that would come.
    bed.sign(&bed.config("\"BE\"", ""), ED25519, POLICY);
    assert_eq!(bed.reload(&bed.config("\"BE\"", ""), false), Ok(()));
    assert_eq!(bed.reload(&bed.config("\"US\"", ""), false), Ok(()), "nobody is asked any more");
}

#[test]
fn a_start_by_a_config_that_opens_goes_on_by_the_one_in_force_and_a_damaged_one_is_told() {
    let bed = Bed::new();
    let (state, file) = (bed.0.path(), bed.0.path().join("policy.toml"));
    let (is_anew, recorded) = (std::cell::Cell::new(true), std::cell::RefCell::new(None));
    let start = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let policy = Candidate::read(&file, false).unwrap().checked.policy;
        let patience = Duration::from_secs(10);
        let before = small();
        let databases = (|| Some(small()), Some(&before));
        let base = (|| Ok(recorded.borrow().clone()), is_anew.get());
        let started = at_start(
            (&configs(state), patience),
            base,
            (Given { file: &file, observe: false, refused: None }, &Ok(Spent::default())),
            &policy,
            databases,
        )
        .unwrap();
        match started {
            AtStart::Given(Held { unheld: Some(why), .. }) => format!("unheld: {why}"),
            AtStart::Given(_) => "given".to_owned(),
            AtStart::InForce(policy, held) => {
                format!("{:?}: {}", policy.pins[0].permitted, held.refused.unwrap())
            }
        }
    };
    let (narrow, wide) = (bed.config("\"BE\"", ASKED), bed.config("\"BE\", \"US\"", ASKED));
    assert_eq!(start(&narrow), "given", "no daemon was at work yet");
    is_anew.set(false);
    assert_eq!(start(&narrow), "given");
    for _ in 0..2 {
        let by = start(&wide);
        assert!(by.contains("the pin mail (permit)") && by.contains("BE"), "{by}");
        assert!(!by.split(':').next().unwrap().contains("US"), "{by}");
    }
    bed.sign(&wide, ED25519, POLICY);
    assert_eq!(start(&wide), "given");
    std::fs::write(state.join(last_policy::FILE), "nonsense").unwrap();
    let by = start(&narrow);
    assert!(by.starts_with("unheld: ") && by.contains("policy.last: it is damaged"), "{by}");
    // Where it is removed, that is told until somebody has signed what took its place: at each start, and of what was held
    // against it alone.
    std::fs::remove_file(state.join(last_policy::FILE)).unwrap();
    std::fs::remove_file(state.join("policy.toml.anne.sig")).unwrap();
    let narrower = bed.config("", ASKED);
    for text in [&wide, &wide, &narrow, &narrower] {
        let by = start(text);
        assert!(
            by.starts_with("unheld: ")
                && by.contains("policy.last is not there, and the audit trail has no config"),
            "{by}"
        );
    }
    assert!(start(&bed.config("\"CN\"", ASKED)).contains("the pin mail (permit)"));
    bed.sign(&narrower, ED25519, POLICY);
    assert_eq!(start(&narrower), "given");
    bed.sign(&narrower, OTHER_ED25519, POLICY);
    assert_eq!(start(&narrower), "given", "that it was signed once is kept");
    // Where the audit trail has the one in force, removing the file, or damaging it, gains nothing.
    for damage in [None, Some("nonsense")] {
        let last = LastPolicy {
            bytes: narrow.clone().into_bytes(),
            observe: false,
            unheld: None,
            users: BTreeMap::new(),
        };
        *recorded.borrow_mut() = Some(last);
        match damage {
            Some(text) => std::fs::write(state.join(last_policy::FILE), text).unwrap(),
            None => std::fs::remove_file(state.join(last_policy::FILE)).unwrap(),
        }
        let by = start(&wide);
        assert!(by.contains("the pin mail (permit)"), "{by}");
        assert_eq!(start(&narrow), "given");
    }
}

#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("policy.toml");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let error = Candidate::read(&pipe, false).err().unwrap().message;
    assert!(error.contains("not a regular file"), "{error}");
}
