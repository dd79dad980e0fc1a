//! What the commands about exemptions show, whatever a document says.

use proptest::prelude::*;

use super::verify::tests::{Bed, DOCUMENT, now};
use super::{lint, show};
use crate::cli::seen::{Form, Seen};
use crate::exemption::{Summary, parse};
use crate::text::is_unseen;

/// What a command prints by way of the program's standard output.
fn printed(form: Form, command: impl FnOnce(&mut Seen<&mut Vec<u8>>)) -> String {
    let mut out = Vec::new();
    command(&mut Seen::new(&mut out, form));
    String::from_utf8(out).unwrap()
}

fn unseen(text: &str) -> Vec<char> {
    text.chars().filter(|&letter| !matches!(letter, '\n' | '\t') && is_unseen(letter)).collect()
}

/// Texts with what a reader would not see, and without.
fn text() -> impl Strategy<Value = String> {
    let letter = prop_oneof![
        3 => prop::char::range('a', 'z'),
        2 => any::<char>(),
        2 => prop::sample::select(vec!['\u{202e}', '\u{2066}', '\u{1b}', '\u{200b}', '\u{fe0f}', '\u{a0}', '\u{378}', '\n', '\u{85}']),
    ];
    prop::collection::vec(letter, 0..12).prop_map(|letters| letters.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn nothing_that_nobody_sees_is_shown_of_any_document(text in text(), raw: bool, key in 0..6_usize, json: bool) {
        let old = ["Evidence in case 5", "Court", "198.51.100.20/32", "dpo", "\"m-1\"", "\npurpose"][key];
        let value = match raw {
            true => text.clone(),
            false => text.chars().map(|letter| format!("\\U{:08X}", u32::from(letter))).collect(),
        };
        let new = match key {
            4 => format!("\"{value}\""),
            5 => format!("\n# {text}\n\"{value}\" = 1\npurpose"),
            _ => value,
        };
        let document = DOCUMENT.replacen(old, &new, 1);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m\u{202e}.toml");
        std::fs::write(&file, &document).unwrap();
        let args = lint::Args { file, config: None, json };
        let form = if json { Form::Json } else { Form::Lines };
        let shown = printed(form, |out| { lint::run(&args, now(), out).unwrap(); });
        prop_assert_eq!(unseen(&shown), vec![], "{}", shown);
        if json {
            let object: serde_json::Value = serde_json::from_str(&shown).unwrap();
            let has_its_name = object["file"].as_str().unwrap().ends_with("m\u{202e}.toml");
            prop_assert!(has_its_name);
        }
        // A document with such a character in it is refused, wherever it stands.
        let has_unseen = !unseen(&document).is_empty() || !raw && text.chars().any(is_unseen);
        if has_unseen {
            prop_assert!(shown.contains("error") || json, "{}", shown);
        }
    }

    #[test]
    fn nothing_that_nobody_sees_is_shown_of_what_is_loaded(text in text()) {
        let pins = ["mail".to_owned()];
        let surroundings = lint::surroundings(Some(&pins), now());
        let document = parse(std::path::Path::new("m.toml"), DOCUMENT.as_bytes(), &surroundings).unwrap();
        let mut summary = Summary::of_document(&document, now());
        for place in [
            &mut summary.id,
            &mut summary.purpose,
            &mut summary.instrument.name,
            &mut summary.instrument.authority,
            &mut summary.exporter.contact,
            &mut summary.required[0].role,
            &mut summary.pins[0],
        ] {
            place.push_str(&text);
        }
        summary.recipients[0].name.push_str(&text);
        summary.recipients[0].cidrs[0].push_str(&text);
        let shown = printed(Form::Lines, |out| show::list(&[summary], now(), out).unwrap());
        prop_assert_eq!(unseen(&shown), vec![], "{}", shown);
    }
}

/// One line of text as a document may have it, also one that looks like what stands beside it.
fn line() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => "[a-zA-Z0-9äÉ漢,.:;()\"#=_-]{1,12}",
        1 => prop::sample::select(vec!["any port", "in US,", "to", "SHA-256", "  ", "and", "never", "under"]).prop_map(str::to_owned),
    ];
    prop::collection::vec(word, 1..12)
        .prop_map(|words| format!("re {}", words.join(" ")).trim().to_owned())
        .prop_filter("a line", |line| (1..=200).contains(&line.len()))
}

/// A document of these texts, with every key that one can have.
fn document(texts: &[String], (quota, count, minute): (u32, u32, u32), confidential: bool) -> String {
    let text = |at: usize| toml::Value::from(texts[at].as_str()).to_string();
    format!(
        "id = \"m-{quota}\"\nversion = {version}\nreplaces = {count}\npins = [\"mail\"]\npurpose = {}\ndata_categories = [{}, {}]\ndata_subjects = [{subject}]\nretention = {retention}\n\
         delete_by = 2027-06-01\nlaw = \"uk\"\n\
         valid_from = 2026-12-01T00:{minute:02}:00.{minute:03}+01:00\nvalid_until = 2026-12-15T00:00:00Z\nquota_bytes = {}\n\
         confidential = {confidential}\n[instrument]\ntype = \"treaty-request\"\nname = {}\narticle = {}\nground = \"art-46-2-a\"\n\
         basis = \"art-6-1-c\"\nauthority = {}\nreference = {}\nagreement = {}\ndocument_sha256 = \"{quota:064x}\"\n\
         module = \"c2c\"\nparties = [{subject}]\nagreement_id = \"cloud-act-us-gb\"\naddressee = {subject}\n\
         [exporter]\nname = {}\nrole = \"processor\"\ncontact = {}\n[assessment]\nreference = {}\nreview_by = 2027-06-01\n\
         measures = [{}, {}]\n[condition]\nmet = {subject}\nrecognised_by = {retention}\nsubjects = {count}\n[approval]\nsubmitter = \"a{quota}@example.org\"\n[[approval.required]]\nrole = \"legal\"\n\
         count = {count}\n[[recipient]]\nname = {}\njurisdiction = \"US\"\ncidrs = [\"198.51.100.{count}/32\", \"2001:db8:{count}::/48\"]\n\
         anywhere = {confidential}\nlarge_network = {}\nports = [\"tcp/443\", \"udp/{count}-500\"]\ncertification = {subject}\nchecked_on = 2026-11-20\n[[recipient]]\nname = {}\n\
         jurisdiction = \"US\"\ncidrs = [\"203.0.113.{count}/32\"]\n[[processor]]\nname = {subject}\njurisdiction = \"DE\"\n\
         contract = {retention}\n[[joint_controller]]\nname = {retention}\ncontact = {subject}\narrangement = {retention}\n\
         [[onward]]\nname = {subject}\njurisdiction = \"CH\"\nground = \"art-45\"\nsafeguard = {retention}\n\
         [[duty]]\nwhat = \"tell-subjects\"\ndue = 2027-06-01\ndone = 2026-11-20\n",
        text(0),
        text(1),
        text(2),
        u64::from(quota) + 5_000,
        text(3),
        text(4),
        text(5),
        text(6),
        text(7),
        text(8),
        text(9),
        text(10),
        text(11),
        text(12),
        text(13),
        text(15),
        text(14),
        version = count + 1,
        subject = text(16),
        retention = text(17),
    )
}

/// What is shown of each value of a TOML document: the names of flags that are set, moments in UTC, numbers in groups.
fn leaves(value: &toml::Value, name: &str, found: &mut Vec<String>) {
    use crate::report::number::grouped;
    match value {
        toml::Value::Table(table) => table.iter().for_each(|(name, value)| leaves(value, name, found)),
        toml::Value::Array(items) => items.iter().for_each(|item| leaves(item, name, found)),
        toml::Value::String(text) => found.push(text.clone()),
        toml::Value::Integer(number) if name == "quota_bytes" => {
            found.push(format!("at most {}", grouped(u64::try_from(*number).unwrap())));
        }
        toml::Value::Integer(number) if name == "subjects" => {
            found.push(format!("condition.subjects: {number}"))
        }
        toml::Value::Integer(number) if name == "count" => found.push(format!("{number} as legal")),
        toml::Value::Integer(number) if name == "replaces" => found.push(format!("renews version {number}")),
        toml::Value::Integer(number) => found.push(format!("{name} {number}")),
        toml::Value::Boolean(true) if name == "anywhere" => found.push("wherever they are placed".into()),
        toml::Value::Boolean(true) => found.push(name.to_owned()),
        toml::Value::Boolean(false) => {}
        toml::Value::Datetime(time) if time.time.is_none() => {
            found.push(match time.to_string().as_str() {
                // To the end of the day.
                "2027-06-01" => "before 2027-06-02 00:00:00 UTC".into(),
                // From its begin.
                done => format!("{done} 00:00:00 UTC"),
            });
        }
        toml::Value::Datetime(time) => {
            let time: jiff::Timestamp = time.to_string().parse().unwrap();
            found.push(format!("{} UTC", time.to_string().replace('T', " ").trim_end_matches('Z')));
        }
        toml::Value::Float(_) => panic!("no key is one"),
    }
}

/// Each line that is shown, unwrapped, as its title and its value.
fn facts(shown: &str) -> Vec<String> {
    let mut facts: Vec<String> = Vec::new();
    for line in shown.lines() {
        match (line.strip_prefix(show::REST), facts.last_mut()) {
            (Some(rest), Some(last)) => *last = format!("{last} {rest}"),
            _ => facts.push(line.to_owned()),
        }
    }
    facts.iter().map(|fact| spaced(fact)).collect()
}

/// With one blank between words.
fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_network_that_is_too_large_for_the_config_is_refused_and_what_is_said_of_it_is_shown() {
    let bed = Bed::new();
    let config = std::fs::read_to_string(bed.file("policy.toml")).unwrap();
    std::fs::write(
        bed.file("policy.toml"),
        config.replace("allowed_signers =", "widest_ipv4 = 25\nallowed_signers ="),
    )
    .unwrap();
    let large = DOCUMENT.replace("198.51.100.20/32", "198.51.100.0/24");
    let linted = |text: &str, config: Option<&str>| {
        std::fs::write(bed.file("m.toml"), text).unwrap();
        let config = config.map(|name| bed.file(name));
        let args = lint::Args { file: bed.file("m.toml"), config, json: false };
        printed(Form::Lines, |out| {
            lint::run(&args, now(), out).unwrap();
        })
    };
    assert!(linted(&large, None).contains("no errors"));
    let refused = linted(&large, Some("policy.toml"));
    assert!(refused.contains("198.51.100.0/24 is larger than a /25, and nothing says why"), "{refused}");
    let said = large.replace("/24\"]", "/24\"]\nlarge_network = \"the whole office\"");
    let shown = linted(&said, Some("policy.toml"));
    assert!(shown.contains("no errors") && shown.contains("\n  large    the whole office\n"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_value_that_is_signed_is_shown_and_stands_for_itself(
        texts in prop::collection::vec(line(), 18),
        numbers in (any::<u32>(), 1..60_u32, 0..60_u32),
        flag: bool,
    ) {
        let text = document(&texts, numbers, flag);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.toml");
        std::fs::write(&file, &text).unwrap();
        let args = lint::Args { file: file.clone(), config: None, json: false };
        let shown = printed(Form::Lines, |out| { lint::run(&args, now(), out).unwrap(); });
        prop_assert!(shown.contains("no errors"), "{}\n{}", shown, text);
        let facts = facts(&shown);
        let mut wanted = Vec::new();
        leaves(&text.parse::<toml::Table>().unwrap().into(), "", &mut wanted);
        prop_assert!(wanted.len() >= 65);
        for value in wanted {
            let value = spaced(&value);
            prop_assert!(facts.iter().any(|fact| fact.contains(&value)), "{} is not in\n{}", value, shown);
        }
        // A free text stands on a line of its own: it can't look like what stands beside it.
        let titles = [
            "for", "data", "data", "act", "article", "issuer", "case", "under", "sender processor,", "contact", "assessed",
            "measure", "measure", "to", "to",
            "large",
        ];
        for (title, value) in titles.iter().zip(&texts) {
            let fact = format!("{title} {}", spaced(value));
            prop_assert!(facts.contains(&fact), "{} is not in\n{}", fact, shown);
        }
        let out = std::process::Command::new("sha256sum").arg(&file).output().unwrap();
        let digest = String::from_utf8(out.stdout).unwrap().split(' ').next().unwrap().to_owned();
        let has_digest = facts.contains(&format!("sha256 {digest}"));
        prop_assert!(has_digest, "{}", shown);
    }
}

/// A slice of a quota from before a crash, with one recipient, which is not told that it has received it.
#[test]
fn what_is_not_known_to_have_left_is_told_apart() {
    let told = |unattributed_packets, unattributed_bytes, presumed_bytes| {
        let it =
            Summary { unattributed_packets, unattributed_bytes, presumed_bytes, ..show::tests::summary() };
        let mut out = Vec::new();
        show::one(&it, now(), &mut out).unwrap();
        String::from_utf8(out).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let presumed = "of these 625,000 counted as used, not known to have left: the host went down";
    let alone = told(0, 625_000, 625_000);
    assert!(alone.contains(presumed) && !alone.contains("not counted by recipient"), "{alone}");
    let both = told(90, 625_067, 625_000);
    assert!(both.contains("of these 67 on the wire, in 90 packets, not counted by recipient"), "{both}");
    assert!(both.contains(presumed), "{both}");
    assert!(!told(90, 67, 0).contains("not known to have left"));
}
