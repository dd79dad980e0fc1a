//! `borderguard exemption sign FILE --key KEY`: approves a document with an SSH key.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use jiff::Timestamp;

use super::policy::Against;
use super::{lift, lint, policy, show};
use crate::approval::EXEMPTION;
use crate::cli::CliError;
use crate::cli::signing::{self, How, Signable};
use crate::exemption::{self, Lift, Summary, Surroundings};
use crate::exit::Exit;

/// Arguments of `exemption sign`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The document
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The config whose pins and signers the document is held against; without it any will do
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How.
    #[command(flatten)]
    pub how: How,
}

/// Does it, at this moment. A document that would be refused is not signed.
///
/// # Errors
/// Where the document has errors, the signature's file is there already, or `ssh-keygen` can't sign.
pub fn run(args: &Args, now: Timestamp, out: &mut impl Write) -> Result<Exit> {
    run_with(args, now, &mut signing::terminal::answer, out)
}

/// The same, with who is asked whether what was shown is to be signed.
fn run_with(
    args: &Args,
    now: Timestamp,
    ask: &mut dyn FnMut(&str) -> Result<String>,
    out: &mut impl Write,
) -> Result<Exit> {
    let bytes = exemption::read(&args.file).map_err(|errors| CliError::errors(&errors))?;
    let signable = match Lift::is_meant(&bytes) {
        true => lift::signable(&args.file, bytes)?,
        false => document(args, bytes, now)?,
    };
    signing::sign(signable, (&args.file, &args.how), ask, out)
}

/// An exemption's document.
fn document(args: &Args, bytes: Vec<u8>, now: Timestamp) -> Result<Signable> {
    let against = args.config.as_deref().map(Against::load).transpose()?;
    let pins = against.as_ref().map(|against| against.pins.as_slice());
    let widest = against.as_ref().map(Against::widest).unwrap_or_default();
    let homes = against.as_ref().map(Against::homes);
    let law = against.as_ref().map_or_else(lint::embedded, Against::law);
    let surroundings = Surroundings {
        pins,
        now: Some(now),
        widest,
        homes: homes.as_deref(),
        law: law.as_ref().ok(),
        ..Surroundings::default()
    };
    let document = exemption::parse(&args.file, &bytes, &surroundings).map_err(|errors| {
        let CliError { codes, .. } = CliError::errors(&errors);
        CliError::document(format!("{errors}\nnothing was signed")).with_codes(codes)
    })?;
    // A warning: the config of this machine need not be the one by which the document is loaded.
    let mut warnings = match against.as_ref().map(|against| against.prospect(&document, now)) {
        Some(Ok(prospect)) => prospect.notes(),
        Some(Err(hopeless)) => vec![format!("by this config {hopeless}")],
        None => Vec::new(),
    };
    warnings.extend(policy::unjudged(&law));
    warnings.extend(document.doubts());
    let summary = Summary::of_document(&document, now);
    let mut shown = Vec::new();
    show::one(&summary, now, &mut shown)?;
    if document.approval.required.is_empty() {
        let words = "it asks for nobody's approval itself: the rules of the config alone say whose it needs";
        writeln!(shown, "{words}")?;
    }
    let object = ("exemption", serde_json::to_value(summary)?);
    Ok(Signable { bytes, sha256: document.sha256, namespace: EXEMPTION, shown, object, warnings })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use serde_json::{Value, json};

    use super::super::verify::tests::{Bed, DOCUMENT, now};
    use super::*;
    use crate::approval::signature::Parsed;
    use crate::approval::tests::oracle::{ED25519, Key, RSA_1024, key};
    use crate::cli::exit_of;

    fn args(bed: &Bed, key: &Key) -> Args {
        Args {
            file: bed.file("m.toml"),
            config: None,
            how: How {
                key: key.file.clone(),
                label: Some("anne".to_owned()),
                yes: Some(sha256_of(&bed.file("m.toml"))),
                dry_run: false,
                json: false,
            },
        }
    }

    /// The same, signed in another way.
    fn but(args: &Args, change: impl FnOnce(&mut How)) -> Args {
        let mut args = args.clone();
        change(&mut args.how);
        args
    }

    /// As `sha256sum` prints it.
    fn sha256_of(file: &Path) -> String {
        let out = Command::new("sha256sum").arg(file).output().unwrap();
        String::from_utf8(out.stdout).unwrap().split(' ').next().unwrap().to_owned()
    }

    fn signed(args: &Args) -> Result<String> {
        answered(args, &mut |_| panic!("nobody is asked"))
    }

    fn answered(args: &Args, ask: &mut dyn FnMut(&str) -> Result<String>) -> Result<String> {
        let mut out = Vec::new();
        assert_eq!(run_with(args, now(), ask, &mut out)?, Exit::Ok);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn nothing_is_signed_before_somebody_says_yes_to_what_was_shown() {
        let bed = Bed::new();
        let asking = but(&args(&bed, key(ED25519)), |how| how.yes = None);
        // No key is touched before: with one that is not there the answer comes first.
        let keyless = but(&asking, |how| how.key = bed.file("no-key"));
        for no in ["", "\n", "y\n", "no\n", "YES\n", "yes please\n"] {
            let error = answered(&keyless, &mut |_| Ok(no.to_owned())).unwrap_err();
            assert_eq!(error.to_string(), "nothing was signed: the answer was not yes");
            assert_eq!(exit_of(&error), Exit::Failed);
        }
        assert!(!bed.file("m.toml.anne.sig").exists());
        // What is signed is what was shown, also where the file is another one by then.
        let shown = answered(&asking, &mut |question| {
            assert!(
                question.starts_with("sign this with ") && question.ends_with("? Type yes: "),
                "{question}"
            );
            fs::write(bed.file("m.toml"), DOCUMENT.replace("case 5", "case 6")).unwrap();
            Ok("yes\n".to_owned())
        })
        .unwrap();
        assert!(shown.contains("Evidence in case 5") && !shown.contains("case 6"), "{shown}");
        let made = Parsed::read(&fs::read(bed.file("m.toml.anne.sig")).unwrap()).unwrap();
        made.verify(DOCUMENT.as_bytes()).unwrap();
        assert!(made.verify(&fs::read(bed.file("m.toml")).unwrap()).is_err());
    }

    #[test]
    fn a_script_says_yes_to_one_document_alone() {
        let bed = Bed::new();
        let good = args(&bed, key(ED25519));
        let shown = signed(&but(&good, |how| how.dry_run = true)).unwrap();
        let line = format!("  sha256   {}\n", sha256_of(&bed.file("m.toml")));
        assert!(shown.contains(&line), "{shown}");
        fs::write(bed.file("m.toml"), format!("{DOCUMENT}\n# more\n")).unwrap();
        for yes in [good.how.yes.clone(), Some("yes".into()), Some(String::new())] {
            let error = signed(&but(&good, |how| how.yes = yes)).unwrap_err();
            assert_eq!(exit_of(&error), Exit::BadInput);
            assert!(error.to_string().contains(&sha256_of(&bed.file("m.toml"))), "{error}");
        }
        let error = signed(&but(&good, |how| (how.yes, how.json) = (None, true))).unwrap_err();
        assert!(error.to_string().ends_with("give --yes SHA256"), "{error}");
        assert!(!bed.file("m.toml.anne.sig").exists());
        let yes = Some(sha256_of(&bed.file("m.toml")).to_uppercase());
        signed(&but(&good, |how| how.yes = yes)).unwrap();
    }

    #[test]
    fn a_document_is_shown_and_signed_and_nothing_is_overwritten() {
        let bed = Bed::new();
        let args = args(&bed, key(ED25519));
        let shown = signed(&args).unwrap();
        assert!(shown.starts_with("this is to be signed:\nm-1, version 1: treaty-request\n"), "{shown}");
        assert!(shown.contains("\nsigned with ssh-ed25519 SHA256:"), "{shown}");
        let made = fs::read(bed.file("m.toml.anne.sig")).unwrap();
        Parsed::read(&made).unwrap().verify(DOCUMENT.as_bytes()).unwrap();

        let error = signed(&args).unwrap_err();
        assert_eq!(exit_of(&error), Exit::BadInput);
        assert!(error.to_string().contains("m.toml.anne.sig is there already"), "{error}");
        assert_eq!(fs::read(bed.file("m.toml.anne.sig")).unwrap(), made);

        let by_the_key_s_name = but(&args, |how| how.label = None);
        signed(&by_the_key_s_name).unwrap();
        assert!(bed.file("m.toml.0.sig").exists());
    }

    #[test]
    fn the_command_of_a_dry_run_makes_the_signature() {
        let bed = Bed::new();
        let dry = but(&args(&bed, key(ED25519)), |how| (how.dry_run, how.json) = (true, true));
        let object: Value = serde_json::from_str(&signed(&dry).unwrap()).unwrap();
        assert_eq!((&object["signed"], &object["key"]), (&json!(false), &Value::Null));
        let file = bed.file("m.toml.anne.sig");
        assert!(!file.exists());
        let ran = Command::new("sh").args(["-c", object["command"].as_str().unwrap()]).status().unwrap();
        assert!(ran.success());
        let by_hand = fs::read(&file).unwrap();
        Parsed::read(&by_hand).unwrap().verify(DOCUMENT.as_bytes()).unwrap();

        fs::remove_file(&file).unwrap();
        let object: Value =
            serde_json::from_str(&signed(&but(&dry, |how| how.dry_run = false)).unwrap()).unwrap();
        assert_eq!(object["signed"], json!(true));
        // Signatures with this kind of key are the same each time.
        assert_eq!(fs::read(&file).unwrap(), by_hand);
    }

    #[test]
    fn what_would_be_refused_is_not_signed() {
        let bed = Bed::new();
        let good = args(&bed, key(ED25519));
        fs::write(bed.file("bad.toml"), DOCUMENT.replace("treaty-request", "foreign-order")).unwrap();
        let yes = Some(sha256_of(&bed.file("bad.toml")));
        let bad = Args { file: bed.file("bad.toml"), ..but(&good, |how| how.yes = yes) };
        let error = signed(&bad).unwrap_err();
        assert_eq!(exit_of(&error), Exit::BadInput);
        assert!(error.to_string().ends_with("nothing was signed"), "{error}");
        let weak = but(&good, |how| how.key = key(RSA_1024).file.clone());
        let error = format!("{:#}", signed(&weak).unwrap_err());
        assert!(error.contains("the RSA key has 1024 bits"), "{error}");
        let none = but(&good, |how| how.key = bed.file("no-key"));
        let error = format!("{:#}", signed(&none).unwrap_err());
        assert!(error.starts_with("nothing was signed: ssh-keygen did not sign with"), "{error}");
        let odd = but(&good, |how| how.label = Some("../x".to_owned()));
        assert_eq!(exit_of(&signed(&odd).unwrap_err()), Exit::BadInput);
        assert_eq!(
            fs::read_dir(bed.folder())
                .unwrap()
                .filter(|entry| { entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".sig") })
                .count(),
            0
        );
    }

    #[test]
    fn who_signs_what_nobody_can_approve_is_warned() {
        let bed = Bed::new();
        let warnings = |bed: &Bed| {
            let args = but(&args(bed, key(ED25519)), |how| how.dry_run = true);
            let args = Args { config: Some(bed.file("policy.toml")), ..args };
            let shown = signed(&args).unwrap();
            let object = signed(&but(&args, |how| how.json = true)).unwrap();
            let object: Value = serde_json::from_str(&object).unwrap();
            let told: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("warning: ")).collect();
            assert_eq!(object["warnings"], json!(told));
            told.join("\n")
        };
        assert_eq!(warnings(&bed), "it can't be loaded by bob: nobody else could have approved it");
        // Bob has no key any more.
        let allowed = format!("anne@example.org {}\n", key(ED25519).public);
        fs::write(bed.file("allowed_signers"), allowed).unwrap();
        let told = warnings(&bed);
        assert!(told.starts_with("by this config nobody can approve it, also when all"), "{told}");
        assert!(told.ends_with("(no key of these signers counts: bob@example.org)"), "{told}");
    }
}
