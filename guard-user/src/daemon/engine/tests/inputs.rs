//! Configs and documents for the tests, and what the daemon makes of them.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use guard_common::interval::build::GeoImage;
use jiff::{SignedDuration, Timestamp};

use super::super::{Asker, Geo, Prepared};
use crate::audit::Who;
use crate::compile;
use crate::config::policy::Policy;
use crate::control::protocol::Response;
use crate::daemon::engine::Held;
use crate::daemon::runtime;
use crate::geo::{GeoDb, Info, Runs};
use crate::health::Problem;

/// A policy with one pin on these interfaces.
pub(super) const CONFIG: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
     action = \"drop\"\nselect.ports = [\"tcp/143\"]\n";
/// The same for what comes in or leaves by an interface that is not guarded.
pub(super) const BY_PORT: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
     action = \"drop\"\nselect.interfaces = [\"port0\"]\n";
/// The same for one interface by its name.
pub(super) const ONE: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
     action = \"drop\"\nselect.ports = [\"tcp/143\"]\n";
/// One with another pin beside that one.
pub(super) const TWO: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
     action = \"drop\"\nselect.ports = [\"tcp/143\"]\n[[pin]]\nname = \"files\"\nhome = \"IE\"\n\
     action = \"drop\"\nselect.ports = [\"tcp/445\"]\n";
/// One with a pin on a cgroup that is not on this host.
pub(super) const CGROUP: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
     action = \"drop\"\nselect.cgroups = [\"absent.slice/mail.service\"]\n";
/// The same for one by another name.
pub(super) const STOR: &str = "approval = \"none\"\n[host]\ninterfaces = [\"stor0\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
     action = \"drop\"\nselect.ports = [\"tcp/143\"]\n";
/// [`CONFIG`] with another name for its pin.
pub(super) const POST: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n[[pin]]\nname = \"post\"\nhome = \"IE\"\n\
    action = \"drop\"\nselect.ports = [\"tcp/143\"]\n";
/// [`CONFIG`] with approvals asked for.
pub(super) const APPROVED: &str = "[host]\ninterfaces = [\"eth*\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
     action = \"drop\"\nselect.ports = [\"tcp/143\"]\n[approval]\nallowed_signers = \"/etc/borderguard/signers\"\n\
     [[approval.signer]]\nidentity = \"aoife@example.org\"\nuser = \"aoife\"\nroles = [\"legal\"]\n\
     [[approval.rule]]\nrequired = [{ role = \"legal\", count = 1 }]\n";
/// [`CONFIG`] without a refusal of ways past the guard, and without noting who uses sockets.
pub(super) const OPEN: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
     action = \"drop\"\nselect.ports = [\"tcp/143\"]\n[bypass]\nrefuse = false\n\
     [sockets]\nnote = false\n";
/// [`CONFIG`] with other values of keys that count from the start alone.
pub(super) const MOVED: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
     action = \"drop\"\nselect.ports = [\"tcp/143\"]\n[state]\npin_path = \"/sys/fs/bpf/elsewhere\"\n\
     [metrics]\nlisten = \"127.0.0.1:9467\"\n[control.groups]\nview = [\"sre\"]\n";
/// A config that can't be used.
pub(super) const BAD: &str = "[host]\n";

/// Puts a job as the daemon's queues do.
pub(super) fn put<T>(jobs: &mut VecDeque<T>, job: T, is_urgent: bool, are_urgent: impl Fn(&T) -> bool) {
    let before = |it: &&T| !is_urgent || are_urgent(it);
    let at = jobs.iter().take_while(before).count();
    jobs.insert(at, job);
}

pub(super) fn policy(text: &str) -> Result<Policy, String> {
    let surroundings = crate::config::Surroundings::new(None);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.toml");
    std::fs::write(&file, text).unwrap();
    crate::config::load(&file, &surroundings).map(|it| it.policy).map_err(|error| error.to_string())
}

pub(super) fn geo() -> (Geo, Info) {
    static IMAGE: OnceLock<Geo> = OnceLock::new();
    let image = IMAGE.get_or_init(|| {
        let database = GeoDb { v4: Runs::unknown(), v6: Runs::unknown(), info: Info::default() };
        let image: GeoImage = compile::geo_image(&database, &[]).unwrap();
        Geo(Arc::new(image))
    });
    (image.clone(), Info::default())
}

pub(super) fn prepared(text: &str) -> Result<Prepared, String> {
    let policy = Arc::new(policy(text)?);
    let paths: Vec<String> = policy.pins.iter().flat_map(|pin| pin.select.cgroups.clone()).collect();
    let cgroups = runtime::facts::cgroups(&paths);
    Ok(Prepared {
        policy,
        warnings: Vec::new(),
        geo: Some(geo()),
        database_waits: None,
        cgroups,
        held: Held::default(),
        law: None,
        before: None,
    })
}

/// The text of an exemption that is open for an hour.
pub(super) fn document(id: &str, version: u32, now: Timestamp) -> String {
    let (from, until) = (now - SignedDuration::from_hours(1), now + SignedDuration::from_hours(1));
    let replaces = if version > 1 { format!("replaces = {}\n", version - 1) } else { String::new() };
    format!(
        "id = {id:?}\nversion = {version}\n{replaces}pins = [\"mail\"]\npurpose = \"Evidence in case 2026/0142\"\n\
         data_categories = [\"e-mail content\"]\ndata_subjects = [\"customers\"]\nvalid_from = {from}\nvalid_until = {until}\n\
         [instrument]\ntype = \"treaty-request\"\nname = \"US-Ireland MLAT 2001\"\narticle = \"Art. 48\"\n\
         ground = \"art-46-2-a\"\nbasis = \"art-6-1-c\"\nauthority = \"Central Authority, Ireland\"\n\
         reference = \"case 2026/0142\"\nagreement = \"Treaty of 18 January 2001\"\n\
         [assessment]\nreference = \"TIA-2026-07\"\nreview_by = 2099-01-01\n\
         [exporter]\nname = \"Example Mail Ireland Ltd\"\nrole = \"controller\"\ncontact = \"privacy@example.org\"\n\
         [[recipient]]\nname = \"Requesting authority\"\njurisdiction = \"US\"\ncidrs = [\"203.0.113.10/32\"]\n"
    )
}

/// Whether an answer to an order holds beyond the daemon that gave it.
pub(super) fn is_promise(answer: &Response) -> bool {
    !matches!(answer, Response::Error { message, .. } if message.contains("Where the daemon ends before, give it again"))
}

/// Who asks.
pub(super) fn asker() -> Asker {
    Asker { who: Who { uid: 0, user: Some("root".to_owned()), pid: None }, sees_all: true, sees_people: true }
}

/// The problem that there is, where there is one and no other.
pub(super) fn the_only(problems: Vec<Problem>) -> Problem {
    let [problem] = <[Problem; 1]>::try_from(problems).unwrap_or_else(|all| panic!("{all:?}"));
    problem
}
