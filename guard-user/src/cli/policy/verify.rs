//! `borderguard policy verify NEW`: who signed a config or a geo database, and whose signature is missing. Asks no daemon.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::kind::Signed;
use crate::approval::{self, beside};
use crate::cli::table::plain;
use crate::cli::{CliError, DEFAULT_CONFIG, OF_FORCE, default_must_be_there, verified};
use crate::config::{self, Surroundings};
use crate::exit::Exit;
use crate::store::{last_database, sha256};

const AFTER_HELP: &str = "\
Signatures are those beside the file: NEW.sig and every NEW.*.sig, as `policy
sign` writes them, or, without it,
  ssh-keygen -Y sign -n borderguard-policy -f KEY NEW
for a config, with -n borderguard-geo for a database, and with
-n borderguard-geo-older for one that is older than one that was in force. The
exit code is 1 where one is bad or missing.";

/// Arguments of `policy verify`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The config, or the geo database, that is signed
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// The config in force, which says whose signatures are needed
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Does it.
///
/// # Errors
/// Where a config, the allowed signers or a signature can't be read, or `out` can't be written.
pub fn run(args: &Args, now: Timestamp, out: &mut impl Write) -> Result<Exit> {
    default_must_be_there(&args.config, OF_FORCE)?;
    let in_force = config::load(&args.config, &Surroundings::new(None));
    let in_force = in_force.map_err(|errors| CliError::errors(&errors))?.policy;
    let config = args.config.display();
    let kept = last_database::read(&in_force.state.directory).ok().flatten();
    let built = kept.map(|database| database.info.built).unwrap_or_default();
    let approvals = in_force.approval.filter(|it| !it.policy.is_empty()).ok_or_else(|| {
        let message = format!(
            "{config} asks for no signature of a config: write [approval.policy] there, so that one is needed"
        );
        CliError::bad_input(message)
    })?;
    let (signed, bytes) = Signed::read(&args.new)?;
    let namespace = signed.namespace(&built);
    let allowed = approval::load::load(&approvals.allowed_signers, &TimeZone::system())
        .map_err(|error| CliError::bad_input(error.to_string()))?;
    let signatures = beside::read(&args.new)
        .with_context(|| format!("cannot read the signatures of {}", args.new.display()))?;
    let each = verified::each(&bytes, &signatures, (&approvals.signers, namespace), &allowed, now);
    let of = (approvals.signers.as_slice(), approvals.policy.as_slice());
    let judged =
        approval::judge_policy((&bytes, namespace), &signatures, of, &allowed, now).map(|(_, quorum)| quorum);
    let (file, sha256) = ((args.new.as_path(), "signed"), sha256(&bytes));
    if args.json {
        let mut object = verified::report_json(file, &each, &judged);
        object["sha256"] = sha256.into();
        writeln!(out, "{object}")?;
    } else {
        writeln!(out, "{sha256}  {}", plain(&args.new.to_string_lossy()))?;
        verified::report(file, &each, &judged, out)?;
    }
    Ok(if judged.is_ok() { Exit::Ok } else { Exit::Failed })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::approval::POLICY;
    use crate::approval::tests::oracle::{ED25519, OTHER_ED25519, P256, key, sign};
    use crate::cli::exit_of;

    const NEW: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n";

    fn now() -> Timestamp {
        "2026-12-02T00:00:00Z".parse().unwrap()
    }

    /// A folder with a config in force, for whose next one Anne or Bob has to sign as legal and Anne as the officer.
    fn bed(required: &str) -> tempfile::TempDir {
        let bed = tempfile::tempdir().unwrap();
        let allowed = format!(
            "anne@example.org {}\nbob@example.org namespaces=\"borderguard-policy\" {}\n",
            key(ED25519).public,
            key(OTHER_ED25519).public
        );
        std::fs::write(bed.path().join("allowed"), allowed).unwrap();
        std::fs::write(bed.path().join("new.toml"), NEW).unwrap();
        let config = format!(
            "[host]\ninterfaces = [\"eth0\"]\n[approval]\nallowed_signers = {:?}\n[[approval.signer]]\n\
             identity = \"anne@example.org\"\nroles = [\"legal\", \"dpo\"]\n[[approval.signer]]\n\
             identity = \"bob@example.org\"\nroles = [\"legal\"]\n[[approval.rule]]\n\
             required = [{{ role = \"legal\", count = 1 }}]\n{required}",
            bed.path().join("allowed")
        );
        std::fs::write(bed.path().join("old.toml"), config).unwrap();
        bed
    }

    fn verify(bed: &Path, json: bool) -> Result<(Exit, String)> {
        let args = Args { new: bed.join("new.toml"), config: bed.join("old.toml"), json };
        let mut out = Vec::new();
        let exit = run(&args, now(), &mut out)?;
        Ok((exit, String::from_utf8(out).unwrap().replace(&format!("{}/", bed.display()), "")))
    }

    #[test]
    fn it_says_who_signed_and_who_is_missing_with_the_digest() {
        let bed = bed(
            "[approval.policy]\nrequired = [{ role = \"legal\", count = 1 }, { role = \"dpo\", count = 1 }]\n",
        );
        let put = |name: &str, which: usize, namespace: &str| {
            let signature = sign(key(which), namespace, "sha512", NEW.as_bytes());
            std::fs::write(bed.path().join(name), signature).unwrap();
        };
        let last = || {
            let (exit, shown) = verify(bed.path(), false).unwrap();
            (exit, shown.lines().last().unwrap().to_owned())
        };
        let none = "new.toml: not signed: approvals are missing: 1 as \"legal\", 1 as \"dpo\"";
        assert_eq!(last(), (Exit::Failed, none.to_owned()));
        put("new.toml.bob.sig", OTHER_ED25519, POLICY);
        put("new.toml.anne.sig", ED25519, POLICY);
        let both = "new.toml: signed, by bob@example.org as legal, anne@example.org as dpo";
        let shown = last();
        assert!(shown.0 == Exit::Ok && (shown.1 == both || shown.1.contains("signed, by")), "{shown:?}");
        let (_, json) = verify(bed.path(), true).unwrap();
        let json: Value = serde_json::from_str(&json).unwrap();
        let digest = Sha256::digest(NEW.as_bytes()).iter().map(|it| format!("{it:02x}")).collect::<String>();
        assert_eq!((&json["signed"], &json["sha256"]), (&json!(true), &json!(digest)));
        // What was signed for an exemption, by a stranger, or over other bytes, does not count.
        put("new.toml.anne.sig", ED25519, approval::EXEMPTION);
        assert_eq!(last().1, "new.toml: not signed: a signature is bad");
        put("new.toml.anne.sig", P256, POLICY);
        assert_eq!(last().0, Exit::Failed);
        put("new.toml.anne.sig", ED25519, POLICY);
        std::fs::write(bed.path().join("new.toml"), format!("{NEW}\n")).unwrap();
        assert_eq!(last().1, "new.toml: not signed: a signature is bad");
    }

    #[test]
    fn a_config_that_asks_for_no_signature_is_bad_input() {
        let bed = bed("");
        let error = verify(bed.path(), false).unwrap_err();
        assert!(exit_of(&error) == Exit::BadInput && error.to_string().contains("[approval.policy]"));
    }
}
