use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::cli::exit_of;

const NOW: &str = "2026-12-02T00:00:00Z";

/// What makes a whole document, in the order of the table of keys but for the kind of act.
const ANSWERS: &[&str] = &[
    "id=mlat-1",
    "pins=mail, files",
    "purpose=Evidence in \"case 5\"",
    "data_categories=e-mail",
    "valid_from=2026-12-01T00:00:00Z",
    "valid_until=2026-12-15T00:00:00Z",
    "quota_bytes=5_000_000",
    "data_subjects=customers",
    "instrument.type=treaty-request",
    "instrument.name=MLAT 2001",
    "instrument.article=Art. 48",
    "instrument.ground=art-46-2-a",
    "instrument.basis=art-6-1-c",
    "instrument.authority=Department",
    "instrument.reference=case 5",
    "instrument.agreement=Treaty of 2001",
    "exporter.name=Example Ltd",
    "exporter.role=controller",
    "exporter.contact=privacy@example.org",
    "assessment.reference=TIA-2026-07",
    "assessment.review_by=2027-06-01",
    "approval.required.role=legal",
    "approval.required.count=1",
    "approval.required.role=privacy",
    "approval.required.count=2",
    "recipient.name=Court",
    "recipient.jurisdiction=US",
    "recipient.cidrs=198.51.100.20/32,2001:db8::/48",
    "recipient.ports=tcp/443",
    "recipient.name=Translator",
    "recipient.jurisdiction=JP",
    "recipient.cidrs=203.0.113.0/24",
];

struct Bed(tempfile::TempDir);

impl Bed {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn args(&self, set: &[&str]) -> Args {
        Args {
            file: self.0.path().join("m.toml"),
            answers: None,
            set: set.iter().map(|&pair| pair.to_owned()).collect(),
            from_event: None,
            socket: None,
            config: None,
            dry_run: false,
            json: false,
        }
    }
}

fn new(args: &Args) -> (Result<Exit>, String) {
    let mut out = Vec::new();
    let result = run(args, NOW.parse().unwrap(), &mut out);
    (result, String::from_utf8(out).unwrap().replace(&args.file.display().to_string(), "m.toml"))
}

fn parse(text: &str) -> exemption::Document {
    exemption::parse(Path::new("m.toml"), text.as_bytes(), &Surroundings::default())
        .unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn whole_answers_make_a_commented_document_that_lint_accepts() {
    let bed = Bed::new();
    let args = bed.args(ANSWERS);
    let (exit, shown) = new(&args);
    assert_eq!(exit.unwrap(), Exit::Ok);
    assert!(
        shown.starts_with("m.toml is written\nm.toml: no errors; it would allow:\nmlat-1, version 1: "),
        "{shown}"
    );
    let text = std::fs::read_to_string(&args.file).unwrap();
    let document = parse(&text);
    assert_eq!((document.pins.len(), document.recipients.len()), (2, 2));
    assert_eq!(document.approval.required.iter().map(|it| it.count).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(document.purpose, "Evidence in \"case 5\"");
    assert_eq!(document.particulars.condition, None);
    for part in ["# Unique on the host", "\n# [condition]\n", "# replaces = 1\n", "One of adequacy-decision,"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(
        !text.contains("](#") && text.lines().all(|line| !line.starts_with('#') || line.len() <= 101),
        "{text}"
    );
    let lint = lint::Args { file: args.file, config: None, json: false };
    assert_eq!(lint::run(&lint, NOW.parse().unwrap(), &mut Vec::new()).unwrap(), Exit::Ok);
}

#[test]
fn an_incomplete_document_is_written_with_what_is_still_needed() {
    let bed = Bed::new();
    let args = bed.args(&["id=mlat-1", "instrument.type=scc"]);
    let (exit, shown) = new(&args);
    assert_eq!(exit.unwrap(), Exit::BadInput);
    let text = std::fs::read_to_string(&args.file).unwrap();
    assert!(text.contains("\n# basis = \"art-6-1-c\"  # still needed\n"), "{text}");
    for part in
        ["error: instrument.basis: required, but missing", "[assessment]", "error: recipient.name: required"]
    {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    // With the examples of what is named as needed it lacks nothing but what the law asks for.
    let whole: Vec<&str> = text
        .lines()
        .map(|line| line.strip_suffix("  # still needed").map_or(line, |open| open.trim_start_matches("# ")))
        .collect();
    let whole = whole.join("\n");
    let errors =
        exemption::parse(Path::new("m.toml"), whole.as_bytes(), &Surroundings::default()).unwrap_err();
    let codes: Vec<&str> = errors.errors.iter().map(|error| error.kind.code()).collect();
    assert_eq!(codes, ["no-assessment", "ground-mismatch"]);
}

#[test]
fn answers_come_from_a_file_and_single_ones_add_to_it() {
    let bed = Bed::new();
    let answers = bed.0.path().join("answers.toml");
    let text = "id = \"from-file\"\ninstrument.type = \"scc\" # a comment\n[[recipient]]\nname = \"A\"\n\
                [[recipient]]\nname = \"B\"\n";
    std::fs::write(&answers, text).unwrap();
    let args =
        Args { answers: Some(answers), dry_run: true, ..bed.args(&["id=from-set", "recipient.name=C"]) };
    let (_, shown) = new(&args);
    for part in ["id = \"from-set\"", "type = \"scc\"\n", "name = \"A\"", "name = \"B\"", "name = \"C\""] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert_eq!(shown.matches("[[recipient]]\n").count(), 3 + shown.matches("add [[recipient]]\n").count());
    assert!(!args.file.exists() && shown.contains("\nnothing was written; of this document:\n"), "{shown}");
    let stdin = Args { answers: Some("-".into()), ..bed.args(&[]) };
    let (draft, _) = given(&stdin, &mut "recipient = [{ name = \"A\" }]".as_bytes()).unwrap();
    assert!(draft.to_toml().contains("[[recipient]]\n"));
}

#[test]
fn answers_that_make_no_sense_are_refused_and_nothing_is_written() {
    let bed = Bed::new();
    let cases = [
        ("idd=1", "there is no key \"idd\"", ""),
        ("instrument.tipe=scc", "there is no key \"instrument.tipe\"; did you mean instrument.type?", ""),
        ("id", "\"id\" is no KEY=VALUE", ""),
        ("version=one", "version: \"one\" is not a whole number; for example 1", ""),
        ("valid_from=today", "valid_from: \"today\" is not a date and time with its zone", ""),
        ("instrument.type=warrant", "instrument.type: \"warrant\" is none of adequacy-decision, scc", ""),
        (
            "instrument.type=foreign-order",
            "itself no ground for a transfer (GDPR Art. 48); name the ground",
            "",
        ),
        (
            "instrument.ground=art-45",
            "instrument.ground: scc is no act that the ground art-45 can rest on (GDPR Art. 44); scc can carry",
            "instrument.type = \"scc\"",
        ),
        ("", "the answers are not TOML", "= 1"),
        ("", "there is no key \"instrument.tipe\"", "instrument.tipe = \"scc\""),
        ("", "recipient is not written as [[recipient]]", "recipient = \"A\""),
        ("", "exporter is not written as [exporter]", "exporter = \"A\""),
    ];
    for (set, expected, answers) in cases {
        let file = bed.0.path().join("answers.toml");
        std::fs::write(&file, answers).unwrap();
        let set: Vec<&str> = Some(set).filter(|set| !set.is_empty()).into_iter().collect();
        let args = Args { answers: Some(file), ..bed.args(&set) };
        let error = new(&args).0.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!((exit_of(&error), args.file.exists()), (Exit::BadInput, false));
    }
    let missing = Args { answers: Some("/no/such".into()), ..bed.args(&[]) };
    assert_eq!(exit_of(&new(&missing).0.unwrap_err()), Exit::BadInput);
}

#[test]
fn a_file_that_is_there_is_left_as_it_is() {
    let bed = Bed::new();
    for dry_run in [false, true] {
        let args = Args { dry_run, ..bed.args(ANSWERS) };
        std::fs::write(&args.file, "mine").unwrap();
        assert_eq!(exit_of(&new(&args).0.unwrap_err()), Exit::BadInput);
        assert_eq!(std::fs::read_to_string(&args.file).unwrap(), "mine");
    }
}

#[test]
fn json_is_one_object_with_the_document() {
    let bed = Bed::new();
    let (exit, shown) = new(&Args { json: true, dry_run: true, ..bed.args(ANSWERS) });
    let object: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (exit.unwrap(), &object["written"], &object["usable"]),
        (Exit::Ok, &json!(false), &json!(true))
    );
    assert_eq!(parse(object["document"].as_str().unwrap()).id, "mlat-1");
    let (exit, shown) = new(&Args { json: true, ..bed.args(&["id=a"]) });
    let object: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (exit.unwrap(), &object["written"], &object["usable"]),
        (Exit::BadInput, &json!(true), &json!(false))
    );
}

/// Answers as they are typed, in the order of the questions.
const TYPED: &str = "mlat-1\nmail\n\nEvidence\ne-mail\nsoon\n2026-12-01T00:00:00Z\n2026-12-15T00:00:00Z\n\n\nno\n\ncustomers\n\n\n\
                     warrant\ntreaty-request\nMLAT\nArt. 48\nart-47\nart-46-2-a\nart-6-1-c\nDepartment\ncase 5\nTreaty\n\n\n\n\n\n\n\
                     Example Ltd\ncontroller\nprivacy@example.org\n\ny\nTIA-7\n2027-06-01\n\nn\ny\naoife@example.org\ny\nlegal\n1\nn\n\
                     Court\nUS\n198.51.100.20/32\n\n\n\n\n\ny\nTranslator\nJP\n203.0.113.0/24\n\n\ntcp/443\n";

#[test]
fn a_terminal_is_asked_for_everything_and_asked_again_where_an_answer_makes_no_sense() {
    let (mut draft, mut prompts) = (Draft::default(), Vec::new());
    ask(&mut draft, &mut TYPED.as_bytes(), &mut prompts).unwrap();
    let bed = Bed::new();
    let args = bed.args(&[]);
    let mut out = Vec::new();
    let exit = finish(&args, (draft, &[]), NOW.parse().unwrap(), &mut out).unwrap();
    let document = std::fs::read_to_string(&args.file).unwrap();
    assert_eq!(exit, Exit::Ok, "{}\n{document}", String::from_utf8_lossy(&out));
    let document = parse(&document);
    assert_eq!((document.recipients.len(), document.version, document.quota_bytes), (2, 1, None));
    assert_eq!(document.approval.submitter.as_deref(), Some("aoife@example.org"));
    let prompts = String::from_utf8(prompts).unwrap();
    for part in [
        "valid_from: \"soon\" is not a date and time with its zone",
        "instrument.type: \"warrant\" is none of",
        "instrument.ground: treaty-request is no act that the ground art-47 can rest on",
        "quota_bytes (empty: no bound): Bytes on the wire",
        "Add [assessment]? [y/N] ",
        "such as mail-ie\n> ",
        "Another [[recipient]]? [y/N] ",
    ] {
        assert!(prompts.contains(part), "{part} in {prompts}");
    }
    assert!(!prompts.contains("\nreplaces ("), "{prompts}");
}

proptest! {
    /// Whatever is typed, and wherever it ends: a text that is TOML, and says what was answered.
    #[test]
    fn any_answers_make_toml(lines in prop::collection::vec("\\PC{0,12}|y|US|scc|1|2026-12-01T00:00:00Z", 0..60)) {
        let mut draft = Draft::default();
        ask(&mut draft, &mut lines.join("\n").as_bytes(), &mut Vec::new()).unwrap();
        let text = draft.to_toml();
        let again = Draft::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        prop_assert_eq!(again.to_toml(), text);
    }
}
