//! `borderguard exemption verify FILE`: who approved a document, and whose approval is missing. Asks no
//! daemon.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{lift, policy, show, signatures};
use crate::approval::{self, Candidate, EXEMPTION, NotApproved, Signer};
use crate::cli::table::plain;
use crate::cli::{CliError, DEFAULT_CONFIG, default_must_be_there, verified};
use crate::config::policy::{Approvals, Policy};
use crate::control::users::is_user;
use crate::exemption::{self, Lift, Summary, Surroundings};
use crate::exit::Exit;

/// Arguments of `exemption verify`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The document
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// A signature, once for each [default: FILE.sig and every FILE.*.sig]
    #[arg(long = "signature", value_name = "SIG")]
    pub signatures: Vec<PathBuf>,
    /// The config, whose [approval] names the signers
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// The Unix user who is going to load it, and can't be the only one who approved it
    #[arg(long, value_name = "USER")]
    pub loader: Option<String>,
    /// Of a document that lifts an order: the document of an exemption that passes again, once for each; it may ask for more
    /// than the config's rules, and says by which of them an order on it alone is lifted
    #[arg(long = "exemption", value_name = "FILE")]
    pub exemptions: Vec<PathBuf>,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Does it, at this moment; [`Exit::Ok`] only where every approval is there and every signature good.
///
/// # Errors
/// Where the config, the document or a file of signatures can't be used, or `out` can't be written.
pub fn run(args: &Args, now: Timestamp, out: &mut impl Write) -> Result<Exit> {
    let (policy, approvals) = approvals(&args.config)?;
    let bytes = exemption::read(&args.file).map_err(|errors| CliError::errors(&errors))?;
    if Lift::is_meant(&bytes) {
        let signatures = signatures::collect(&args.file, &args.signatures)?;
        let by = (&approvals, args.loader.as_deref());
        let opened = lift::opened(&args.exemptions)?;
        return lift::verify((&args.file, &bytes), &signatures, (by, &opened), args.json, now, out);
    }
    if !args.exemptions.is_empty() {
        let message = "--exemption is for a document that lifts an order, and this is an exemption's";
        return Err(CliError::bad_input(message).into());
    }
    let (pins, homes) = (policy::pin_names(&policy), policy.homes());
    let law = policy::law_of(&policy);
    let allowed = approval::load::load(&approvals.allowed_signers, &TimeZone::system())
        .map_err(|error| CliError::bad_input(error.to_string()))?;
    let surroundings = Surroundings {
        pins: Some(&pins),
        now: Some(now),
        widest: approvals.widest,
        homes: Some(&homes),
        law: law.as_ref().ok(),
        ..Surroundings::default()
    };
    let document =
        exemption::parse(&args.file, &bytes, &surroundings).map_err(|errors| CliError::errors(&errors))?;
    let signatures = signatures::collect(&args.file, &args.signatures)?;
    let judged = document.due(&approvals).map_err(NotApproved::from).and_then(|required| {
        let submitter = document.approval.submitter.as_deref();
        let candidate = Candidate { bytes: &bytes, namespace: EXEMPTION, submitter, required: &required };
        let loader = args.loader.as_deref();
        approval::judge(&candidate, &signatures, &approvals.signers, &allowed, loader, now)
    });
    let judged = judged.map(|(_, quorum)| quorum);
    let each = verified::each(&bytes, &signatures, (&approvals.signers, EXEMPTION), &allowed, now);
    let file = (args.file.as_path(), "approved");
    let stranger = args.loader.as_deref().and_then(|name| stranger(name, &approvals.signers));
    if args.json {
        let mut object = verified::report_json(file, &each, &judged);
        let seats = judged.iter().flat_map(|quorum| &quorum.seats);
        let seats: Vec<Value> =
            seats.map(|seat| json!({ "role": seat.role, "identity": seat.identity })).collect();
        object["seats"] = json!(seats);
        object["loader"] = json!(args.loader);
        object["warning"] = json!(stranger);
        object["exemption"] = json!(Summary::of_document(&document, now));
        writeln!(out, "{object}")?;
    } else {
        for warning in stranger.into_iter().chain(policy::unjudged(&law)) {
            writeln!(out, "warning: {}", plain(&warning))?;
        }
        writeln!(out, "this is what signatures are looked for of:")?;
        show::one(&Summary::of_document(&document, now), now, out)?;
        verified::report(file, &each, &judged, out)?;
    }
    Ok(if judged.is_ok() { Exit::Ok } else { Exit::Failed })
}

/// What the config says, and its signers.
fn approvals(config: &Path) -> Result<(Policy, Approvals)> {
    default_must_be_there(config, "name the one whose [approval] is meant by --config FILE")?;
    let policy = policy::load(config)?;
    let approvals = policy.approval.clone().ok_or_else(|| {
        let config = config.display();
        CliError::bad_input(format!(
            "{config} asks for no approval, so that no signature counts and one person may open: write [approval] there"
        ))
    })?;
    Ok((policy, approvals))
}

/// What is to say of a loader whom this host does not have as a user: a name with a typing error would be nobody's among
/// the signers, and what was verified would not hold. The document may be loaded on another host, so that it is no error.
fn stranger(name: &str, signers: &[Signer]) -> Option<String> {
    let here = match is_user(name) {
        Ok(true) => return None,
        Ok(false) => "is no user of this host".to_owned(),
        Err(error) => format!("could not be looked up on this host ({error})"),
    };
    let of_config = match signers.iter().find(|signer| signer.user.as_deref() == Some(name)) {
        Some(signer) => format!("the config has it as the user of {}", signer.identity),
        None => "no signer of the config has it either, so that it excluded nobody's approval".to_owned(),
    };
    Some(plain(&format!(
        "the loader \"{name}\" {here}; {of_config}. Where another host loads the document, it must be the user's name there"
    )))
}

#[cfg(test)]
pub(super) mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::approval::tests::oracle::{ED25519, OTHER_ED25519, P256, key, sign};
    use crate::cli::exit_of;

    pub(in super::super) const DOCUMENT: &str = r#"id = "m-1"
version = 1
pins = ["mail"]
hosts = ["mail-eu"]
purpose = "Evidence in case 5"
data_categories = ["e-mail"]
data_subjects = ["customers"]
retention = "until the judgment"
valid_from = 2026-12-01T00:00:00Z
valid_until = 2026-12-15T00:00:00Z
[instrument]
type = "treaty-request"
name = "MLAT 2001"
article = "Art. 48"
ground = "art-46-2-a"
basis = "art-6-1-c"
authority = "Department"
reference = "case 5"
agreement = "Treaty of 2001"
[exporter]
name = "Example Mail Ireland Ltd"
role = "controller"
contact = "privacy@example.org"
[assessment]
reference = "TIA-2026-07"
review_by = 2027-06-01
[approval]
submitter = "anne@example.org"
[[approval.required]]
role = "legal"
count = 1
[[approval.required]]
role = "dpo"
count = 1
[[recipient]]
name = "Court"
jurisdiction = "US"
cidrs = ["198.51.100.20/32"]
"#;

    pub(in super::super) fn now() -> Timestamp {
        "2026-12-02T00:00:00Z".parse().unwrap()
    }

    /// A folder with a document, a config and allowed signers: Anne may be either, Bob is legal.
    pub(in super::super) struct Bed(TempDir);

    impl Bed {
        pub(in super::super) fn new() -> Self {
            let bed = Self(tempfile::tempdir().unwrap());
            let allowed = format!(
                "anne@example.org {}\nbob@example.org valid-before=\"20261201Z\" {}\n\
                 bob@example.org namespaces=\"borderguard-*\" {}\n",
                key(ED25519).public,
                key(P256).public,
                key(OTHER_ED25519).public
            );
            let config = format!(
                "[host]\ninterfaces = [\"eth0\"]\n[[site]]\nname = \"court\"\njurisdiction = \"US\"\ncidrs = [\"198.51.100.0/24\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n\
                 select.ports = [\"tcp/143\"]\n[approval]\nallowed_signers = {:?}\n[[approval.signer]]\n\
                 identity = \"anne@example.org\"\nroles = [\"legal\", \"dpo\"]\nuser = \"anne\"\n\
                 [[approval.signer]]\nidentity = \"bob@example.org\"\nroles = [\"legal\"]\nuser = \"bob\"\n\
                 [[approval.rule]]\nrequired = [{{ role = \"legal\", count = 1 }}]\n",
                bed.file("allowed_signers")
            );
            for (name, text) in
                [("allowed_signers", allowed.as_str()), ("m.toml", DOCUMENT), ("policy.toml", &config)]
            {
                std::fs::write(bed.file(name), text).unwrap();
            }
            bed
        }

        pub(in super::super) fn folder(&self) -> &Path {
            self.0.path()
        }

        pub(in super::super) fn file(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn sign(&self, name: &str, which: usize) {
            let signature = sign(key(which), EXEMPTION, "sha512", DOCUMENT.as_bytes());
            std::fs::write(self.file(name), signature).unwrap();
        }

        fn args(&self) -> Args {
            Args {
                file: self.file("m.toml"),
                signatures: Vec::new(),
                config: self.file("policy.toml"),
                loader: None,
                exemptions: Vec::new(),
                json: false,
            }
        }

        fn verify(&self, args: &Args) -> Result<(Exit, String)> {
            let mut out = Vec::new();
            let exit = run(args, now(), &mut out)?;
            let folder = format!("{}/", self.folder().display());
            Ok((exit, String::from_utf8(out).unwrap().replace(&folder, "")))
        }
    }

    /// The last line of what is said.
    fn verdict(bed: &Bed, args: &Args) -> (Exit, String) {
        let (exit, shown) = bed.verify(args).unwrap();
        (exit, shown.lines().last().unwrap().to_owned())
    }

    #[test]
    fn it_says_who_approved_and_who_is_missing() {
        let bed = Bed::new();
        let none = "m.toml: not approved: approvals are missing: 1 as \"legal\", 1 as \"dpo\"";
        assert_eq!(verdict(&bed, &bed.args()), (Exit::Failed, none.to_owned()));
        bed.sign("m.toml.bob.sig", OTHER_ED25519);
        let one = "m.toml: not approved: approvals are missing: 1 as \"dpo\"";
        assert_eq!(verdict(&bed, &bed.args()), (Exit::Failed, one.to_owned()));
        bed.sign("m.toml.sig", ED25519);
        let both = "m.toml: approved, by bob@example.org as legal, anne@example.org as dpo";
        assert_eq!(verdict(&bed, &bed.args()), (Exit::Ok, both.to_owned()));
        let (_, shown) = bed.verify(&bed.args()).unwrap();
        assert!(shown.contains("\n  for      Evidence in case 5\n"), "{shown}");
        assert!(
            shown.contains("\nm.toml.bob.sig: good, by bob@example.org with ssh-ed25519 SHA256:"),
            "{shown}"
        );
        // A loader of another host is told, for a misspelt one would exclude nobody.
        let by = |name: &str| {
            let args = Args { loader: Some(name.to_owned()), signatures: Vec::new(), ..bed.args() };
            let (exit, shown) = bed.verify(&args).unwrap();
            let json = bed.verify(&Args { json: true, ..args }).unwrap().1;
            let json: Value = serde_json::from_str(&json).unwrap();
            assert_eq!(json["loader"], json!(name));
            let warning = json["warning"].as_str().unwrap_or_default().to_owned();
            assert_eq!(shown.lines().any(|line| line == format!("warning: {warning}")), !warning.is_empty());
            (exit, warning)
        };
        assert_eq!(by("root"), (Exit::Ok, String::new()));
        let (exit, warning) = by("bg-no-such-user");
        assert!(
            exit == Exit::Ok && warning.contains("\"bg-no-such-user\" is no user of this host"),
            "{warning}"
        );
        assert!(warning.contains("no signer of the config has it either"), "{warning}");
        let (_, warning) = by("bob");
        assert!(warning.contains("the config has it as the user of bob@example.org"), "{warning}");
        // Anne wrote it, so that Bob must not be the one who loads it.
        let by_bob = Args { loader: Some("bob".to_owned()), ..bed.args() };
        assert!(verdict(&bed, &by_bob).1.contains("nobody approved it but who wrote it or loads it"));
        let one_named = Args { signatures: vec![bed.file("m.toml.sig")], ..bed.args() };
        assert_eq!(verdict(&bed, &one_named).0, Exit::Failed);
    }

    #[test]
    fn a_bad_signature_is_named_and_refuses_all() {
        let bed = Bed::new();
        bed.sign("m.toml.anne.sig", ED25519);
        bed.sign("m.toml.bob.sig", OTHER_ED25519);
        bed.sign("m.toml.old.sig", P256);
        let (exit, shown) = bed.verify(&bed.args()).unwrap();
        assert_eq!(exit, Exit::Failed);
        assert!(
            shown.contains("\nm.toml.old.sig: bad: the key was valid until 2026-12-01T00:00:00Z (line 2"),
            "{shown}"
        );
        assert!(shown.ends_with("m.toml: not approved: a signature is bad\n"), "{shown}");

        let json = Args { json: true, ..bed.args() };
        let object: Value = serde_json::from_str(&bed.verify(&json).unwrap().1).unwrap();
        assert_eq!((&object["approved"], &object["code"]), (&json!(false), &json!("key-expired")));
        assert_eq!(object["signatures"][0]["identity"], json!("anne@example.org"));
        assert_eq!(object["signatures"][2]["code"], json!("key-expired"));
        std::fs::remove_file(bed.file("m.toml.old.sig")).unwrap();
        let object: Value = serde_json::from_str(&bed.verify(&json).unwrap().1).unwrap();
        assert_eq!((&object["approved"], &object["code"]), (&json!(true), &Value::Null));
        assert_eq!(object["seats"][1], json!({ "role": "dpo", "identity": "anne@example.org" }));
        std::fs::remove_file(bed.file("m.toml.anne.sig")).unwrap();
        let object: Value = serde_json::from_str(&bed.verify(&json).unwrap().1).unwrap();
        assert_eq!(object["missing"], json!([{ "role": "dpo", "count": 1 }]));
    }

    #[test]
    fn what_the_config_asks_for_is_needed_whatever_the_document_says() {
        let bed = Bed::new();
        let config = std::fs::read_to_string(bed.file("policy.toml")).unwrap();
        let with = |rule: &str| std::fs::write(bed.file("policy.toml"), config.clone() + rule).unwrap();
        bed.sign("m.toml.sig", ED25519);
        bed.sign("m.toml.bob.sig", OTHER_ED25519);
        assert_eq!(verdict(&bed, &bed.args()).0, Exit::Ok);
        with("[[approval.rule]]\ninstruments = [\"scc\"]\nrequired = [{ role = \"legal\", count = 2 }]\n");
        assert_eq!(verdict(&bed, &bed.args()).0, Exit::Ok, "that rule is for another instrument");
        with(
            "[[approval.rule]]\ninstruments = [\"treaty-request\"]\nrequired = [{ role = \"legal\", count = 2 }]\n",
        );
        let missing = "m.toml: not approved: approvals are missing: 1 as \"dpo\"";
        assert_eq!(verdict(&bed, &bed.args()), (Exit::Failed, missing.to_owned()));
        std::fs::write(
            bed.file("policy.toml"),
            config.replace("[[approval.rule]]\n", "[[approval.rule]]\ninstruments = [\"scc\"]\n"),
        )
        .unwrap();
        let none = verdict(&bed, &bed.args()).1;
        assert!(
            none.starts_with("m.toml: not approved: no rule of the config's [approval] is for the pin"),
            "{none}"
        );
    }

    #[test]
    fn what_can_t_be_used_is_bad_input() {
        let bed = Bed::new();
        let exit = |args: &Args| exit_of(&bed.verify(args).unwrap_err());
        let config = std::fs::read_to_string(bed.file("policy.toml")).unwrap();
        let (without, _) = config.split_once("[approval]").unwrap();
        std::fs::write(bed.file("without.toml"), format!("approval = \"none\"\n{without}")).unwrap();
        let without = Args { config: bed.file("without.toml"), ..bed.args() };
        assert_eq!(exit(&without), Exit::BadInput);
        assert!(bed.verify(&without).unwrap_err().to_string().contains("asks for no approval"));
        std::fs::write(bed.file("bad.toml"), DOCUMENT.replace("\"mail\"", "\"files\"")).unwrap();
        assert_eq!(exit(&Args { file: bed.file("bad.toml"), ..bed.args() }), Exit::BadInput);
        std::fs::write(bed.file("allowed_signers"), "anne@example.org\n").unwrap();
        assert_eq!(exit(&bed.args()), Exit::BadInput);
    }
}
