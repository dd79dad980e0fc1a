//! The config of a start whose own file can't be used: the one that was taken last, as it is kept beside the store. A host
//! without a guard lets everything pass, and after a reboot nothing guards before the start.

use std::fmt::Display;
use std::path::Path;

use super::gate::{Candidate, asks};
use super::patience::{disk, within};
use crate::config::Checked;
use crate::store::last_policy::{self, LastPolicy};

/// The config that a start goes by.
#[derive(Debug)]
pub struct OfStart {
    /// The config.
    pub checked: Checked,
    /// Why the file's is not it, where that can't be used.
    pub refused: Option<String>,
}

/// Returns the config that was taken last, where the file's can't be used for this reason. One is kept where it asks for
/// signatures of the next. `observe` is whether the daemon is told to observe only; it is held against what is kept and what
/// the audit trail has as any other config is.
///
/// # Errors
/// Why there is none to go by.
pub fn taken_last(state: &Path, observe: bool, why: &str) -> Result<OfStart, String> {
    let at = state.join(last_policy::FILE);
    let of_file = |why: &dyn Display| format!("{}: {why}", at.display());
    let place = state.to_owned();
    let kept = within(disk(), "read-last-policy", move || last_policy::read(&place));
    let kept = kept.map_err(|error| of_file(&error))?.map_err(|error| of_file(&error))?;
    let LastPolicy { bytes, users, .. } = kept.ok_or_else(|| of_file(&"it is not there"))?;
    let mut checked = Candidate::of(&at, bytes, observe).map_err(|failure| failure.message)?.checked;
    let of = &checked.policy.state.directory;
    if of != state {
        return Err(of_file(&format_args!("the config in it keeps its state in {}", of.display())));
    }
    if asks(&checked.policy).is_none() {
        return Err(of_file(&"the config in it asks for no signatures"));
    }
    // A user who is gone from this host meanwhile has the number of then.
    checked.policy.name_users(&users);
    let refused = format!(
        "the config can't be used, and the one that is kept as taken last goes on ({}):\n{why}",
        at.display()
    );
    Ok(OfStart { checked, refused: Some(refused) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc::unbounded_channel;

    use super::super::gate::{AtStart, Given, at_start};
    use super::super::kept_config::ConfigKeeper;
    use super::*;
    use crate::geo::{GeoDb, Info, Runs};
    use crate::store::Spent;
    use crate::store::last_policy::NamedUsers;

    const ASKED: &str = "[approval.policy]\nrequired = [{ role = \"dpo\", count = 1 }]\n";

    fn config(state: &Path, permit: &str, required: &str) -> LastPolicy {
        let text = format!(
            "[host]\ninterfaces = [\"eth0\"]\n[state]\ndirectory = {state:?}\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
             permit = [{permit}]\naction = \"drop\"\nselect.ports = [\"tcp/143\"]\n[approval]\nallowed_signers = \"/allowed\"\n\
             [[approval.signer]]\nidentity = \"anne@example.org\"\nroles = [\"dpo\"]\n[[approval.rule]]\n\
             required = [{{ role = \"dpo\", count = 1 }}]\n{required}"
        );
        LastPolicy { bytes: text.into_bytes(), observe: false, unheld: None, users: NamedUsers::new() }
    }

    /// A database in which something is in Belgium.
    fn small() -> GeoDb {
        let (mut v4, mut v6) = (Runs::unknown(), Runs::unknown());
        v4.push(0x0100_0000_u32, "BE".parse().unwrap());
        v6.push(0x2001_u128 << 112, "BE".parse().unwrap());
        GeoDb { v4, v6, info: Info::default() }
    }

    /// By what a start goes where the file can't be used: whether Belgium is permitted, whether all is observed, and what is
    /// told of the file.
    fn begin(state: &Path, observe: bool, recorded: LastPolicy) -> (bool, bool, String) {
        let OfStart { checked, refused } = taken_last(state, observe, "line 1: no TOML").unwrap();
        let file = state.join("policy.toml");
        let given = Given { file: &file, observe, refused: refused.as_deref() };
        let (before, configs) = (small(), ConfigKeeper::new(state.to_owned(), unbounded_channel().0));
        let started = at_start(
            (&configs, Duration::from_secs(10)),
            (|| Ok(Some(recorded)), false),
            (given, &Ok(Spent::default())),
            &checked.policy,
            (|| Some(small()), Some(&before)),
        );
        let (policy, held) = match started.unwrap() {
            AtStart::Given(held) => (checked.policy, held),
            AtStart::InForce(policy, held) => (*policy, held),
        };
        let belgium = format!("{:?}", policy.pins[0].permitted).contains("BE");
        (belgium, policy.host.observe, held.refused.unwrap())
    }

    #[test]
    fn a_start_whose_file_can_t_be_used_goes_by_the_config_that_was_taken_last() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        let narrow = config(state, "", ASKED);
        last_policy::write(state, &narrow).unwrap();
        let (belgium, observes, why) = begin(state, false, narrow.clone());
        assert!(!belgium && !observes);
        assert!(why.contains("line 1: no TOML") && why.contains("policy.last"), "{why}");
        // To observe is to open, whatever the file says.
        let (_, observes, why) = begin(state, true, narrow.clone());
        assert!(!observes && why.contains("host.observe") && why.contains("line 1: no TOML"), "{why}");
        // What somebody has put there is held against the audit trail's.
        last_policy::write(state, &config(state, "\"BE\"", ASKED)).unwrap();
        let (belgium, _, why) = begin(state, false, narrow);
        assert!(!belgium && why.contains("the pin mail (permit)"), "{why}");
    }

    #[test]
    fn what_is_not_kept_whole_or_is_another_daemons_is_not_gone_by() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        let why = || taken_last(state, false, "line 1").unwrap_err();
        assert!(why().contains("policy.last: it is not there"), "{}", why());
        std::fs::write(state.join(last_policy::FILE), "nonsense").unwrap();
        assert!(why().contains("it is damaged"), "{}", why());
        last_policy::write(state, &config(state, "", "")).unwrap();
        assert!(why().contains("asks for no signatures"), "{}", why());
        last_policy::write(state, &config(Path::new("/elsewhere"), "", ASKED)).unwrap();
        assert!(why().contains("keeps its state in /elsewhere"), "{}", why());
    }
}
