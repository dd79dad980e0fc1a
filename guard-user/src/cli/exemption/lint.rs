//! `borderguard exemption lint FILE`: every error in a document, or what it would allow. Asks no daemon.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::policy::{self, Against, Prospect};
use super::show;
use crate::cli::check::{counted, finding_json, write_finding};
use crate::cli::table::{plain, write_wrapped};
use crate::config::Errors;
use crate::exemption::{self, Document, ErrorKind, LawPack, Summary, Surroundings};
use crate::exit::Exit;

/// Arguments of `exemption lint`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The document
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The config whose pins and signers the document is held against; without it any will do
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Does it, at this moment.
///
/// # Errors
/// Where the config can't be used or `out` can't be written.
pub fn run(args: &Args, now: Timestamp, out: &mut impl Write) -> Result<Exit> {
    let against = args.config.as_deref().map(Against::load).transpose()?;
    let (checked, notes) = match exemption::read(&args.file) {
        Ok(bytes) => check(against.as_ref(), &args.file, &bytes, now),
        Err(errors) => (Err(errors), Vec::new()),
    };
    if args.json {
        let mut object = report_json(&args.file, &checked, now);
        object["notes"] = json!(notes);
        writeln!(out, "{object}")?;
    } else {
        report(&args.file, &checked, against.is_some(), now, out)?;
        notes.iter().try_for_each(|note| write_wrapped("", show::REST, &plain(note), out))?;
    }
    Ok(exit(&checked))
}

/// Holds a document of this file against a config, where there is one; what is to say of it comes along, a line each.
pub(super) fn check(
    against: Option<&Against>,
    file: &Path,
    bytes: &[u8],
    now: Timestamp,
) -> (Checked, Vec<String>) {
    let pins = against.map(|against| against.pins.as_slice());
    let widest = against.map(Against::widest).unwrap_or_default();
    let homes = against.map(Against::homes);
    let law = against.map_or_else(embedded, Against::law);
    let surroundings =
        Surroundings { widest, homes: homes.as_deref(), law: law.as_ref().ok(), ..surroundings(pins, now) };
    let loaded = exemption::parse(file, bytes, &surroundings);
    let (checked, prospect) = approvable(file, loaded, against, now);
    let (checked, unplaced) = placed(file, checked, against);
    let doubts = checked.as_ref().map(Document::doubts).unwrap_or_default();
    let unjudged = policy::unjudged(&law);
    let judged = checked.as_ref().ok().zip(against);
    let needless = judged.map(|(document, it)| it.not_needed(document));
    let elsewhere = judged.and_then(|(document, it)| it.elsewhere(document));
    let notes = unjudged
        .into_iter()
        .chain(unplaced)
        .chain(needless.into_iter().flatten())
        .chain(elsewhere)
        .chain(prospect.notes())
        .chain(doubts);
    let notes = notes.collect();
    (checked, notes)
}

/// Refuses a good document that nobody can approve by the config.
pub(super) fn approvable(
    file: &Path,
    checked: Checked,
    against: Option<&Against>,
    now: Timestamp,
) -> (Checked, Prospect) {
    let (Ok(document), Some(against)) = (&checked, against) else { return (checked, Prospect::default()) };
    match against.approvable(file, document.clone(), now) {
        Ok((document, prospect)) => (Ok(document), prospect),
        Err(errors) => (Err(errors), Prospect::default()),
    }
}

/// Refuses a good document with a network that the config's sites and databases place elsewhere than its recipient; says
/// why that was not looked at.
fn placed(file: &Path, checked: Checked, against: Option<&Against>) -> (Checked, Option<String>) {
    let (Ok(document), Some(against)) = (&checked, against) else { return (checked, None) };
    if document.recipients.iter().all(|it| it.networks.is_empty() || it.anywhere) {
        return (checked, None);
    }
    match against.places() {
        Ok(places) => match places.errors(document) {
            errors if errors.is_empty() => (checked, None),
            errors => (Err(Errors { file: file.to_owned(), errors }), None),
        },
        Err(why) => {
            (checked, Some(format!("where its recipients' networks are placed was not looked at: {why}")))
        }
    }
}

/// What came of checking a document.
pub(super) type Checked = std::result::Result<Document, Errors<ErrorKind>>;

/// With the program's own law pack.
pub(super) fn surroundings(pins: Option<&[String]>, now: Timestamp) -> Surroundings<'_> {
    Surroundings { pins, now: Some(now), law: LawPack::embedded().ok(), ..Surroundings::default() }
}

pub(super) fn embedded() -> std::result::Result<LawPack, String> {
    LawPack::embedded().cloned().map_err(|error| error.to_string())
}

pub(super) fn exit(checked: &Checked) -> Exit {
    if checked.is_ok() { Exit::Ok } else { Exit::BadInput }
}

/// Writes every error in a document, or what it would allow; `with_pins` says whether the config's pins were
/// known.
pub(super) fn report(
    file: &Path,
    checked: &Checked,
    with_pins: bool,
    now: Timestamp,
    out: &mut impl Write,
) -> io::Result<()> {
    match checked {
        Ok(document) => {
            writeln!(out, "{}: no errors; it would allow:", file.display())?;
            show::one(&Summary::of_document(document, now), now, out)?;
            match with_pins {
                true => Ok(()),
                false => write_wrapped(
                    "",
                    show::REST,
                    "whether the config has these pins was not looked at; `borderguard exemption lint FILE --config CONFIG` \
                     does",
                    out,
                ),
            }
        }
        Err(errors) => {
            for error in &errors.errors {
                write_finding(file, "error", error, out)?;
            }
            writeln!(out, "{}: {}", file.display(), counted(errors.errors.len(), "error"))
        }
    }
}

/// The same as one object.
pub(super) fn report_json(file: &Path, checked: &Checked, now: Timestamp) -> Value {
    let (errors, exemption) = match checked {
        Ok(document) => (Vec::new(), Some(Summary::of_document(document, now))),
        Err(errors) => (errors.errors.iter().map(finding_json).collect(), None),
    };
    json!({
        "file": file.to_string_lossy(),
        "usable": checked.is_ok(),
        "errors": errors,
        "exemption": exemption,
    })
}

#[cfg(test)]
mod tests {
    use super::super::verify::tests::{Bed, DOCUMENT, now};
    use super::*;

    fn lint(text: &str, pin: Option<&str>, json: bool) -> (Exit, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.toml");
        std::fs::write(&file, text).unwrap();
        let config = pin.map(|pin| {
            let config = folder.path().join("policy.toml");
            let text = format!(
                "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[[site]]\nname = \"court\"\njurisdiction = \"US\"\ncidrs = [\"198.51.100.0/24\"]\n[[pin]]\nname = \"{pin}\"\nhome = \"IE\"\naction = \"drop\"\n\
                 select.ports = [\"tcp/143\"]\n"
            );
            std::fs::write(&config, text).unwrap();
            config
        });
        let mut out = Vec::new();
        let now = "2026-12-02T00:00:00Z".parse().unwrap();
        let exit = run(&Args { file: file.clone(), config, json }, now, &mut out).unwrap();
        (exit, String::from_utf8(out).unwrap().replace(file.to_str().unwrap(), "m.toml"))
    }

    #[test]
    fn a_document_that_the_policy_does_not_need_is_told() {
        let (bed, mut out) = (Bed::new(), Vec::new());
        let permits = std::fs::read_to_string(bed.file("policy.toml")).unwrap();
        let permits = permits.replace("home = \"IE\"\n", "home = \"IE\"\npermit = [\"US\"]\n");
        std::fs::write(bed.file("permits.toml"), permits).unwrap();
        let mut of = |config: &str| {
            out.clear();
            let args = Args { file: bed.file("m.toml"), config: Some(bed.file(config)), json: false };
            run(&args, now(), &mut out).unwrap();
            String::from_utf8(out.clone()).unwrap()
        };
        let warning = "\nwarning: an exemption is not needed where the pin mail permits US: ";
        assert!(of("permits.toml").contains(warning) && !of("policy.toml").contains("warning"));
    }

    #[test]
    fn a_good_document_says_what_it_would_allow() {
        let (code, shown) = lint(DOCUMENT, Some("mail"), false);
        let expected = "m.toml: no errors; it would allow:\n\
                        m-1, version 1: treaty-request\n\
                        \x20 act      MLAT 2001\n\
                        \x20 article  Art. 48\n\
                        \x20 case     case 5\n\
                        \x20 issuer   Department\n\
                        \x20 under    Treaty of 2001\n\
                        \x20 ground   art-46-2-a and art-6-1-c\n\
                        \x20 for      Evidence in case 5\n\
                        \x20 data     e-mail\n\
                        \x20 pin      mail\n\
                        \x20 host     mail-eu\n\
                        \x20 sender   controller, Example Mail Ireland Ltd\n\
                        \x20 contact  privacy@example.org\n\
                        \x20 to       Court\n\
                        \x20 at       198.51.100.20/32 in US, any port\n\
                        \x20 from     2026-12-01 00:00:00 UTC (1 day ago)\n\
                        \x20 until    2026-12-15 00:00:00 UTC (in 13 days)\n\
                        \x20 bytes    without bound\n\
                        \x20 assessed TIA-2026-07\n\
                        \x20 review   before 2027-06-02 00:00:00 UTC (in 182 days)\n\
                        \x20 further  data_subjects: customers\n\
                        \x20 further  retention: until the judgment\n\
                        \x20 author   anne@example.org\n\
                        \x20 needs    signatures, 1 as legal, 1 as dpo\n\
                        \x20 sha256   SHA256\n\
                        by the config no approval is required: one person may open\n";
        let digest = shown.split_once("sha256   ").and_then(|(_, rest)| rest.get(..64)).unwrap();
        let shown = shown.replace(digest, "SHA256");
        let (head, rest) = shown.split_once("it is for mail-eu, and every other host refuses it").unwrap();
        let tail = rest.find("by the config ").and_then(|at| rest.get(at..)).unwrap();
        assert_eq!((code, format!("{head}{tail}").as_str()), (Exit::Ok, expected));
        let named = DOCUMENT.replace("mail-eu", crate::hostname::hostname());
        assert!(lint(&named, Some("mail"), false).1.ends_with("one person may open\n"));
        let (_, shown) = lint(DOCUMENT, None, false);
        assert!(shown.ends_with("--config CONFIG` does\n"), "{shown}");
        let (code, shown) = lint(DOCUMENT, None, true);
        let object: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(
            (code, &object["usable"], &object["exemption"]["id"]),
            (Exit::Ok, &json!(true), &json!("m-1"))
        );
    }

    #[test]
    fn an_article_of_another_ground_is_told() {
        let notes = |article: &str| {
            let (code, shown) = lint(&DOCUMENT.replace("Art. 48", article), None, true);
            let object: Value = serde_json::from_str(&shown).unwrap();
            (code, object["notes"].to_string().contains("is neither its ground's (art-46-2-a"))
        };
        for (article, is_told) in [("Art. 48", false), ("Art. 49(1)(a)", true), ("Art. 99", true)] {
            assert_eq!(notes(article), (Exit::Ok, is_told), "{article}");
        }
    }

    #[test]
    fn errors_are_written_as_check_writes_them() {
        let text = DOCUMENT.replace("treaty-request", "foreign-order");
        let (code, shown) = lint(&text, Some("files"), false);
        let expected = "m.toml:3:9: error: pins: there is no pin \"mail\"\n  hint: the config has \"files\"\n\
                        m.toml:12:8: error: instrument.type: an order of a third country's court or authority is by \
                        itself no ground for a transfer (GDPR Art. 48)\n  hint: name the ground that it rests on: a \
                        treaty-request under an international agreement, or another instrument of Chapter V\n\
                        m.toml: 2 errors\n";
        assert_eq!((code, shown.as_str()), (Exit::BadInput, expected));
        let (code, shown) = lint(&text, None, true);
        let object: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!((code, &object["errors"][0]["code"]), (Exit::BadInput, &json!("foreign-order-alone")));
        assert_eq!((&object["errors"][0]["line"], &object["exemption"]), (&json!(12), &Value::Null));
    }

    #[test]
    fn a_document_that_nobody_can_approve_is_refused() {
        let bed = Bed::new();
        let lint = |name: &str, json: bool| {
            let args = Args { file: bed.file(name), config: Some(bed.file("policy.toml")), json };
            let mut out = Vec::new();
            let exit = run(&args, now(), &mut out).unwrap();
            (exit, String::from_utf8(out).unwrap())
        };
        let (exit, shown) = lint("m.toml", false);
        assert_eq!(exit, Exit::Ok, "{shown}");
        let last = "it can't be loaded by bob: nobody else could have approved it";
        assert_eq!(shown.lines().last(), Some(last));
        for (part, instead, code, told) in [
            (
                "role = \"dpo\"",
                "role = \"press\"",
                "too-few-signers",
                "0 of the config's signers have this role",
            ),
            ("count = 1", "count = 2", "approvals-missing", "approvals are missing: 1 as \"dpo\""),
            ("submitter", "submitter_", "no-submitter", "does not say who wrote it"),
            ("anne@", "bob@", "", ""),
        ] {
            std::fs::write(bed.file("other.toml"), DOCUMENT.replacen(part, instead, 1)).unwrap();
            if part == "submitter" {
                let without: Vec<&str> =
                    DOCUMENT.lines().filter(|line| !line.contains("submitter")).collect();
                std::fs::write(bed.file("other.toml"), without.join("\n")).unwrap();
            }
            let (exit, shown) = lint("other.toml", false);
            let (_, object) = lint("other.toml", true);
            let object: Value = serde_json::from_str(&object).unwrap();
            if code.is_empty() {
                assert_eq!((exit, &object["usable"]), (Exit::Ok, &json!(true)), "{shown}");
                continue;
            }
            assert_eq!(exit, Exit::BadInput, "{shown}");
            assert!(
                shown.contains("error: approval: nobody can approve it") && shown.contains(told),
                "{shown}"
            );
            assert_eq!(object["errors"][0]["code"], json!(code));
        }
        // Without the file of keys the roles alone are held against it, and that is told.
        std::fs::remove_file(bed.file("allowed_signers")).unwrap();
        let (exit, shown) = lint("m.toml", false);
        assert!(
            exit == Exit::Ok && shown.contains("whether its signers have keys was not looked at"),
            "{shown}"
        );
    }

    #[test]
    fn a_recipient_that_is_placed_elsewhere_is_refused_unless_the_document_says_otherwise() {
        let british = DOCUMENT.replacen("jurisdiction = \"US\"", "jurisdiction = \"GB\"", 1);
        assert_ne!(british, DOCUMENT);
        let (code, shown) = lint(&british, Some("mail"), false);
        let expected = "m.toml: error: recipient.cidrs: 198.51.100.20/32 of \"Court\" is not all in GB, all of it \
                        elsewhere: 198.51.100.20 is placed in US\n  hint: name the country";
        assert!(code == Exit::BadInput && shown.starts_with(expected), "{shown}");
        let (_, shown) = lint(&british, Some("mail"), true);
        let object: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(object["errors"][0]["code"], json!("placed-elsewhere"));
        let anywhere = british.replacen("jurisdiction = \"GB\"", "jurisdiction = \"GB\"\nanywhere = true", 1);
        let (code, shown) = lint(&anywhere, Some("mail"), false);
        assert!(
            code == Exit::Ok && shown.contains("198.51.100.20/32 in GB, wherever they are placed"),
            "{shown}"
        );
        assert_eq!(lint(&british, None, false).0, Exit::Ok, "without a config no place is known");
    }
}
