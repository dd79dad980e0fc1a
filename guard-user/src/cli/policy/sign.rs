//! `borderguard policy sign NEW --key KEY`: signs a config or a geo database, once what it opens was shown.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ssh_key::PublicKey;

use super::diff::Compared;
use super::kind::{self, Signed};
use super::side::Side;
use crate::approval::POLICY;
use crate::approval::allowed_signers::Line;
use crate::approval::load::load;
use crate::cli::geo::{self, in_force};
use crate::cli::signing::{self, How, Signable};
use crate::cli::{CliError, DEFAULT_CONFIG, OF_FORCE, default_must_be_there};
use crate::config::policy::Policy;
use crate::config::{self, Surroundings};
use crate::digest::sha256;
use crate::exit::Exit;

/// Networks that are shown of a database.
const SHOWN: usize = 50;

const AFTER_HELP: &str = "\
The signature is NEW.NAME.sig. Where the file is put in its place, its
signatures are put beside it. `policy verify` says whose are still missing.";

/// Arguments of `policy sign`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The config, or the geo database (MMDB)
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// The config in force, with which it is compared
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// A database that a new one is compared with, once for each file [default: the one in force, as the daemon has kept it]
    #[arg(long, value_name = "FILE")]
    pub old: Vec<PathBuf>,
    /// How.
    #[command(flatten)]
    pub how: How,
}

/// Does it.
///
/// # Errors
/// Where the config in force or the file can't be used, the signature's file is there already, nobody said yes, or
/// `ssh-keygen` can't sign.
pub fn run(args: &Args, now: Timestamp, out: &mut impl Write) -> Result<Exit> {
    let signable = signable(args, now)?;
    signing::sign(signable, (&args.new, &args.how), &mut signing::terminal::answer, out)
}

fn signable(args: &Args, now: Timestamp) -> Result<Signable> {
    default_must_be_there(&args.config, OF_FORCE)?;
    let (signed, bytes) = Signed::read(&args.new)?;
    let sha256 = sha256(&bytes);
    let mut shown = Vec::new();
    let mut warnings = Vec::new();
    writeln!(shown, "{sha256}  {}\n", crate::cli::table::plain(&args.new.to_string_lossy()))?;
    let (namespace, object) = match signed {
        Signed::Config(policy) => {
            let namespace = POLICY;
            let (old, new) = (Side::read(&args.config, &[])?, Side::of(&args.new, *policy, &[])?);
            warnings.extend(key_that_does_not_count(&old.policy, (&args.how.key, namespace), now));
            let compared = Compared::of(&old, &new)?;
            compared.write(&mut shown)?;
            (namespace, ("config", compared.json()))
        }
        Signed::Database(database) => {
            let checked = config::load(&args.config, &Surroundings::new(None));
            let policy = checked.map_err(|errors| CliError::errors(&errors))?.policy;
            warnings.extend(database.info.stale(now, policy.geo.max_age).map(|stale| stale.to_string()));
            let old = match args.old.as_slice() {
                [] => in_force(&policy.state.directory)?,
                files => geo::database(&policy, files)?,
            };
            let mut built = old.info.built.clone();
            built.advance(&old.info, now);
            let namespace = kind::of_database(&database.info, &built);
            if let Some(newer) = built.newer_than(&database.info) {
                warnings.push(format!("one that was built at {newer} was in force: this one is older"));
            }
            warnings.extend(key_that_does_not_count(&policy, (&args.how.key, namespace), now));
            let compared = geo::Compared::of(policy, old, *database);
            compared.write(SHOWN, &mut shown)?;
            (namespace, ("database", compared.json()))
        }
    };
    Ok(Signable { bytes, sha256, namespace, shown, object, warnings })
}

/// That a signature with this key would not count by the config in force, where that can be told: its public half lies beside it,
/// and the allowed signers can be read.
fn key_that_does_not_count(
    policy: &Policy,
    (key, namespace): (&Path, &str),
    now: Timestamp,
) -> Option<String> {
    let approval = policy.approval.as_ref()?;
    let mut public = key.as_os_str().to_owned();
    if key.extension().is_none_or(|extension| extension != "pub") {
        public.push(".pub");
    }
    let public = PublicKey::read_openssh_file(Path::new(&public)).ok()?;
    let allowed = load(&approval.allowed_signers, &TimeZone::system()).ok()?;
    let file = approval.allowed_signers.display();
    let lines: Vec<&Line> = allowed.of_key(public.key_data()).collect();
    let is_valid = |line: &&Line| {
        line.valid_after.is_none_or(|from| from <= now) && line.valid_before.is_none_or(|until| now <= until)
    };
    let may_sign = |line: &Line| line.namespaces.as_ref().is_none_or(|it| it.matches(namespace));
    if lines.is_empty() {
        return Some(format!("the signature would not count: no line of {file} has this key"));
    }
    let mut valid = lines.into_iter().filter(is_valid).peekable();
    if valid.peek().is_none() {
        return Some(format!("the signature would not count now: no line of {file} with this key is valid"));
    }
    (!valid.any(may_sign)).then(|| {
        format!("the signature would not count: the line of {file} with this key has `namespaces` without {namespace}")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::approval::signature::Parsed;
    use crate::approval::tests::oracle::{ED25519, key};
    use crate::approval::{GEO, GEO_OLDER};
    use crate::geo::mmdb;
    use crate::geo::mmdb::writer::{Value as Field, Writer};
    use crate::store::last_database;

    fn bed() -> tempfile::TempDir {
        let bed = tempfile::tempdir().unwrap();
        let state = bed.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let database = |country: &'static str| {
            let mut writer = Writer::new(6);
            writer.build_epoch = if country == "CH" { 1_780_000_000 } else { writer.build_epoch };
            let country = Field::Map(vec![("iso_code", Field::Text(country))]);
            let record = writer.record(&Field::Map(vec![("country", country)]));
            writer.network(u128::from(u32::from_be_bytes([8, 8, 8, 0])), 120, record);
            writer.bytes()
        };
        let mut in_force = mmdb::parse(&database("US"), Path::new("old.mmdb")).unwrap();
        let itself = in_force.info.clone();
        in_force.info.built.advance(&itself, Timestamp::MAX);
        last_database::write(&state, &in_force).unwrap();
        let config = |permit: &str| {
            format!(
                "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[state]\ndirectory = {state:?}\n[geo]\n\
                 files = [{:?}]\nincomplete = true\n[[pin]]\n\
                 name = \"mail\"\nhome = \"IE\"\npermit = [{permit}]\naction = \"drop\"\nselect.ports = [\"tcp/143\"]\n",
                bed.path().join("files.mmdb")
            )
        };
        std::fs::write(bed.path().join("files.mmdb"), database("CH")).unwrap();
        std::fs::write(bed.path().join("old.toml"), config("\"BE\"")).unwrap();
        std::fs::write(bed.path().join("new.toml"), config("\"BE\", \"CH\"")).unwrap();
        std::fs::write(bed.path().join("new.mmdb"), database("BE")).unwrap();
        std::fs::write(bed.path().join("older.mmdb"), database("CH")).unwrap();
        bed
    }

    fn signed(bed: &tempfile::TempDir, name: &str, yes: Option<String>, json: bool) -> Result<String> {
        let args = Args {
            new: bed.path().join(name),
            config: bed.path().join("old.toml"),
            old: Vec::new(),
            how: How {
                key: key(ED25519).file.clone(),
                label: Some("anne".to_owned()),
                yes: yes.clone(),
                dry_run: yes.is_none(),
                json,
            },
        };
        let mut out = Vec::new();
        run(&args, "2026-12-02T00:00:00Z".parse().unwrap(), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_a_config_or_a_database_opens_is_shown_and_its_bytes_are_signed() {
        let bed = bed();
        for (name, namespace, opens) in [
            ("new.toml", POLICY, "pin mail: permit"),
            ("new.mmdb", GEO, "8.8.8.0/24  US    BE  permits mail"),
            ("older.mmdb", GEO_OLDER, "one that was built at 2026-09-21T"),
        ] {
            let bytes = std::fs::read(bed.path().join(name)).unwrap();
            let digest = sha256(&bytes);
            let shown = signed(&bed, name, None, false).unwrap();
            assert!(shown.contains(&digest) && shown.contains(opens), "{shown}");
            assert!(shown.contains(&format!("ssh-keygen -Y sign -n {namespace} ")), "{shown}");
            let file = bed.path().join(format!("{name}.anne.sig"));
            assert!(signed(&bed, name, Some("00".repeat(32)), false).is_err() && !file.exists());
            let object: Value =
                serde_json::from_str(&signed(&bed, name, Some(digest.clone()), true).unwrap()).unwrap();
            assert_eq!((&object["signed"], &object["sha256"]), (&Value::from(true), &Value::from(digest)));
            let made = Parsed::read(&std::fs::read(&file).unwrap()).unwrap();
            made.verify(&bytes).unwrap();
            assert_eq!(made.namespace, namespace);
        }
    }

    #[test]
    fn that_a_signature_would_not_count_is_told_before_it_is_made() {
        let bed = bed();
        let signers = bed.path().join("allowed_signers");
        let old = std::fs::read_to_string(bed.path().join("old.toml")).unwrap();
        let approval = format!(
            "[approval]\nallowed_signers = {signers:?}\n[[approval.signer]]\nidentity = \"anne@example.org\"\nroles = [\"dpo\"]\n\
             [[approval.rule]]\nrequired = [{{ role = \"dpo\", count = 1 }}]\n"
        );
        let old = old.replace("approval = \"none\"\n", "") + &approval;
        std::fs::write(bed.path().join("old.toml"), old).unwrap();
        let public = std::fs::read_to_string(key(ED25519).file.with_extension("pub")).unwrap();
        for (line, told) in [
            (format!("anne@example.org {public}"), None),
            (format!("anne@example.org namespaces=\"borderguard-policy,borderguard-geo\" {public}"), None),
            (
                format!("anne@example.org namespaces=\"borderguard-exemption\" {public}"),
                Some("has `namespaces` without borderguard-"),
            ),
            (format!("anne@example.org valid-before=\"20200101Z\" {public}"), Some("is valid")),
            (String::new(), Some("no line of")),
        ] {
            std::fs::write(&signers, &line).unwrap();
            for name in ["new.toml", "new.mmdb"] {
                let shown = signed(&bed, name, None, false).unwrap();
                match told {
                    Some(told) => assert!(
                        shown.contains("warning: the signature would not count") && shown.contains(told),
                        "{line}: {shown}"
                    ),
                    None => assert!(!shown.contains("would not count"), "{line}: {shown}"),
                }
            }
        }
    }

    #[test]
    fn what_has_errors_is_not_signed() {
        let bed = bed();
        std::fs::write(bed.path().join("new.toml"), "[host]\n").unwrap();
        assert!(signed(&bed, "new.toml", None, false).is_err());
        let mut bytes = std::fs::read(bed.path().join("new.mmdb")).unwrap();
        bytes.drain(..40);
        std::fs::write(bed.path().join("new.mmdb"), bytes).unwrap();
        assert!(signed(&bed, "new.mmdb", None, false).is_err());
    }
}
