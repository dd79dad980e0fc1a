use serde_json::Value;

use super::*;
use crate::cli::exit_of;
use crate::exemption::Document;

const NOW: &str = "2026-12-20T00:00:00Z";

/// Comments of every place, and a window that is over.
const OLD: &str = r#"# Asked for by the court.
id = "scc-7"  # ours
version = 1   # the first
pins = ["mail"]
purpose = "Support"
data_categories = [
    "tickets", # without attachments
]
data_subjects = ["customers"]
# The window.
valid_from = 2026-12-01T00:00:00Z
valid_until = 2026-12-15T00:00:00Z # two weeks

[instrument]
type = "scc" # module two
name = "Clauses"
article = "Art. 46(2)(c)"
ground = "art-46-2-c"
basis = "art-6-1-f"
authority = "European Commission"
reference = "7"
module = "c2c"
parties = ["Partner", "Example Ltd"]

[exporter]
name = "Example Ltd"
role = "controller"
contact = "privacy@example.org"

[assessment]
reference = "TIA-7"
review_by = 2026-12-18 # yearly

[[recipient]] # the partner
name = "Partner"
jurisdiction = "US"
cidrs = ["198.51.100.0/24"]
# The end.
"#;

struct Bed(tempfile::TempDir);

impl Bed {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("m.toml"), text).unwrap();
        Self(folder)
    }

    fn args(&self) -> Args {
        Args {
            file: self.0.path().join("m.toml"),
            until: "2027-01-15T00:00:00Z".parse().unwrap(),
            from: None,
            review_by: Some("2027-06-01".parse().unwrap()),
            quota_bytes: None,
            out: None,
            config: None,
            dry_run: false,
            json: false,
        }
    }

    fn next(&self) -> PathBuf {
        self.0.path().join("m.v2.toml")
    }
}

fn renew(args: &Args) -> (Result<Exit>, String) {
    let mut out = Vec::new();
    let result = run(args, NOW.parse().unwrap(), &mut out);
    (result, String::from_utf8(out).unwrap())
}

fn parse(text: &str) -> Document {
    exemption::parse(Path::new("m.toml"), text.as_bytes(), &Surroundings::default())
        .unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn the_next_version_differs_in_what_was_renewed_and_in_nothing_else() {
    let bed = Bed::new(OLD);
    let (exit, shown) = renew(&bed.args());
    assert_eq!(exit.unwrap(), Exit::Ok, "{shown}");
    assert!(
        shown.starts_with("written: version 2 takes the place of version 1 when it is loaded"),
        "{shown}"
    );
    let expected = OLD
        .replace("version = 1   # the first\n", "version = 2   # the first\nreplaces = 1\n")
        .replace("valid_until = 2026-12-15T00:00:00Z", "valid_until = 2027-01-15T00:00:00Z")
        .replace("2026-12-18", "2027-06-01");
    let text = std::fs::read_to_string(bed.next()).unwrap();
    assert_eq!(text, expected);
    let (before, after) = (parse(OLD), parse(&text));
    assert_eq!((after.version, after.replaces), (2, Some(1)));
    let same = Document {
        version: 1,
        replaces: None,
        valid_until: before.valid_until,
        assessment: before.assessment.clone(),
        sha256: before.sha256.clone(),
        ..after
    };
    assert_eq!(same, before);
    assert_eq!(std::fs::read_to_string(bed.args().file).unwrap(), OLD);

    // And the one after it.
    let args = Args { file: bed.next(), from: Some("2026-12-10T00:00:00Z".parse().unwrap()), ..bed.args() };
    renew(&args).0.unwrap();
    let third = std::fs::read_to_string(bed.0.path().join("m.v3.toml")).unwrap();
    let expected = text
        .replace("version = 2 ", "version = 3 ")
        .replace("replaces = 1", "replaces = 2")
        .replace("valid_from = 2026-12-01", "valid_from = 2026-12-10");
    assert_eq!(third, expected);
}

#[test]
fn a_review_date_is_added_to_the_assessment_that_has_none_however_it_is_written() {
    let text = OLD.replace("review_by = 2026-12-18 # yearly\n", "");
    let renewed = |text: &str| {
        let renewal = Renewal {
            replaces: 1,
            until: "2027-01-15T00:00:00Z".parse().unwrap(),
            from: None,
            review_by: Some("2027-06-01".parse().unwrap()),
            quota_bytes: None,
        };
        next_version(text, &renewal)
    };
    let assessed = |text: &str| parse(&renewed(text).unwrap()).assessment.unwrap().review_by;
    let by = Some("2027-06-02T00:00:00Z".parse().unwrap());
    assert_eq!(assessed(&text), by);
    let inline = text
        .replace("[assessment]\nreference = \"TIA-7\"\n", "")
        .replace("# The window.", "assessment = { reference = \"TIA-7\" }");
    assert_eq!(assessed(&inline), by);
    let none = text.replace("[assessment]\nreference = \"TIA-7\"\n", "");
    assert_eq!(renewed(&none), Err(crate::exemption::renewal::RenewError::NoAssessment));
}

#[test]
fn a_quota_is_changed_or_added_and_stays_without_the_option() {
    let bed = Bed::new(OLD);
    let before = parse(OLD).quota_bytes;
    renew(&Args { quota_bytes: Some(5_000_000), ..bed.args() }).0.unwrap();
    let next = std::fs::read_to_string(bed.next()).unwrap();
    assert_eq!(parse(&next).quota_bytes, Some(5_000_000));
    std::fs::remove_file(bed.next()).unwrap();
    renew(&bed.args()).0.unwrap();
    assert_eq!(parse(&std::fs::read_to_string(bed.next()).unwrap()).quota_bytes, before);
}

#[test]
fn what_breaks_a_rule_is_named_and_not_written() {
    let bed = Bed::new(OLD);
    let (exit, shown) = renew(&Args { review_by: None, ..bed.args() });
    assert_eq!((exit.unwrap(), bed.next().exists()), (Exit::BadInput, false));
    assert!(shown.starts_with("nothing was written; of version 2:\n"), "{shown}");
    assert!(
        shown.contains("m.v2.toml:33:13: error: assessment.review_by: the assessment had to be"),
        "{shown}"
    );
    let (exit, shown) = renew(&Args { until: "2027-01-15".parse().unwrap(), ..bed.args() });
    assert_eq!((exit.unwrap(), bed.next().exists()), (Exit::BadInput, false));
    assert!(shown.contains("error: valid_until: 2027-01-15 has no zone"), "{shown}");
}

#[test]
fn a_document_with_errors_and_a_target_that_is_there_are_refused() {
    let bed = Bed::new(&OLD.replace("reference = \"7\"", "note = 1\nreference = \"7\""));
    let error = renew(&bed.args()).0.unwrap_err();
    assert_eq!(exit_of(&error), Exit::BadInput);
    assert!(error.to_string().contains("m.toml:21:1: error: instrument.note: there is no such"), "{error}");
    let bed = Bed::new(OLD);
    for args in
        [Args { out: Some(bed.args().file), ..bed.args() }, Args { dry_run: true, ..bed.args() }, bed.args()]
    {
        std::fs::write(bed.next(), "mine").unwrap();
        assert_eq!(exit_of(&renew(&args).0.unwrap_err()), Exit::BadInput);
    }
    assert_eq!(std::fs::read_to_string(bed.args().file).unwrap(), OLD);
    assert_eq!(std::fs::read_to_string(bed.next()).unwrap(), "mine");
    let last = Bed::new(&OLD.replace("version = 1", "version = 4294967295"));
    assert!(renew(&last.args()).0.unwrap_err().to_string().contains("has no next one"));
}

#[test]
fn a_dry_run_shows_the_document_and_json_is_one_object() {
    let bed = Bed::new(OLD);
    let (exit, shown) = renew(&Args { dry_run: true, ..bed.args() });
    assert_eq!((exit.unwrap(), bed.next().exists()), (Exit::Ok, false));
    assert!(
        shown.starts_with("# Asked for by the court.\n") && shown.contains("\nnothing was written; of"),
        "{shown}"
    );
    let target = bed.0.path().join("other.toml");
    let (exit, shown) = renew(&Args { json: true, out: Some(target.clone()), ..bed.args() });
    let object: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (exit.unwrap(), &object["written"], &object["usable"]),
        (Exit::Ok, &json!(true), &json!(true))
    );
    assert_eq!(object["exemption"]["replaces"], json!(1));
    assert_eq!(object["document"].as_str().unwrap(), std::fs::read_to_string(target).unwrap());
}

#[test]
fn names_have_one_version_at_their_end() {
    let name = |file: &str| beside(Path::new(file), 3).display().to_string();
    assert_eq!(name("/x/a.toml"), "/x/a.v3.toml");
    assert_eq!(name("a.v2.toml"), "a.v3.toml");
    assert_eq!(name("a.very.toml"), "a.very.v3.toml");
    assert_eq!(name("a"), "a.v3.toml");
}

#[test]
fn the_next_version_is_held_against_the_config_that_is_named() {
    let bed = Bed::new(OLD);
    let config = bed.0.path().join("policy.toml");
    let with = |pin: &str, home: &str| {
        let text = format!(
            "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[[site]]\nname = \"boston\"\njurisdiction = \"US\"\n\
             cidrs = [\"198.51.100.0/24\"]\n[[pin]]\nname = {pin:?}\nhome = {home:?}\naction = \"drop\"\n\
             select.ports = [\"tcp/143\"]\n"
        );
        std::fs::write(&config, text).unwrap();
        let (exit, shown) = renew(&Args { config: Some(config.clone()), dry_run: true, ..bed.args() });
        (exit.unwrap(), shown)
    };
    let (exit, shown) = with("files", "IE");
    assert!(exit == Exit::BadInput && shown.contains("pins: there is no pin \"mail\""), "{shown}");
    let (exit, shown) = with("mail", "GB");
    assert!(exit == Exit::BadInput && shown.contains("where the law uk decides"), "{shown}");
    let (exit, shown) = with("mail", "IE");
    assert_eq!(exit, Exit::Ok, "{shown}");
    assert!(!shown.contains("was not looked at; `borderguard exemption lint"), "{shown}");
}
