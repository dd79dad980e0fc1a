//! The law pack: its examples, its dates, and what refuses to be one.

use std::path::Path;

use guard_common::jurisdiction::Jurisdiction;

use super::errors::errors;
use super::law::{derogation, without};
use super::law_examples::{data_act, kept};
use super::{GOOD, NOW, check, pins, time, with_value};
use crate::exemption::law::pack::{EMBEDDED, begin_of, end_of};
use crate::exemption::particulars::Law;
use crate::exemption::{LawPack, Surroundings, parse};
use crate::groups;

fn pack() -> &'static LawPack {
    LawPack::embedded().unwrap_or_else(|error| panic!("{error}"))
}

/// The codes of the errors of a document at a moment, by a pack.
fn codes(text: &str, pack: &LawPack, now: jiff::Timestamp) -> Vec<&'static str> {
    let surroundings = Surroundings { now: Some(now), law: Some(pack), ..Surroundings::default() };
    let errors = parse(Path::new("x.toml"), text.as_bytes(), &surroundings).err();
    errors.into_iter().flat_map(|errors| errors.errors).map(|error| error.kind.code()).collect()
}

#[test]
fn each_rule_that_hangs_on_the_pack_has_a_document_that_keeps_it_and_one_that_breaks_it_alone() {
    let pack = pack();
    for example in &pack.rules {
        let [good, bad] = pack.documents(example);
        let now = begin_of(example.at);
        assert_eq!(codes(&good, pack, now), Vec::<&str>::new(), "{}\n{good}", example.name);
        assert_eq!(codes(&bad, pack, now), [example.name.as_str()], "{bad}");
    }
}

#[test]
fn what_the_examples_begin_with_keeps_every_rule() {
    for text in kept() {
        check(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    }
}

#[test]
fn the_pack_has_the_same_facts_as_the_built_in_groups() {
    let pack = pack();
    let of = |group: &str| groups::builtin(group).unwrap().jurisdictions().collect::<Vec<_>>();
    let inside: Vec<Jurisdiction> = Jurisdiction::all().filter(|it| pack.is_inside(Law::Eu, *it)).collect();
    assert_eq!(inside.len(), of("EEA").len());
    assert!(of("EEA").iter().all(|it| inside.contains(it)));
    let decisions: Vec<_> = pack.decisions.iter().filter(|it| it.law == Law::Eu).collect();
    assert_eq!(decisions.len(), groups::DECISIONS.len());
    for (one, other) in decisions.iter().zip(&groups::DECISIONS) {
        assert_eq!(one.countries, [other.country.parse::<Jurisdiction>().unwrap()]);
        assert_eq!((one.act.as_str(), one.since.to_string().as_str()), (other.act, other.adopted));
        let whom = match other.scope {
            groups::Scope::Whole => None,
            groups::Scope::Part(whom) => Some(whom),
        };
        assert_eq!(one.covers.as_deref(), whom);
    }
    // Whoever is bound by the regulation is a member state, and Denmark is not.
    let bound = &pack.act("e-evidence").unwrap().bound;
    let eu = of("EU");
    assert!(bound.iter().all(|it| eu.contains(it)) && bound.len() + 1 == eu.len());
}

#[test]
fn an_expired_pack_refuses_what_is_new_and_leaves_what_was_loaded() {
    let pack = pack();
    let text = with_value(GOOD, "", "valid_until", Some("2028-01-01T00:00:00Z"));
    let text = with_value(&text, "assessment", "review_by", Some("2028-01-01"));
    let last = end_of(pack.look_again_by);
    assert_eq!(pack.ends(), last);
    let before = last - jiff::SignedDuration::from_secs(1);
    assert_eq!(codes(&text, pack, before), Vec::<&str>::new());
    assert_eq!(codes(&text, pack, last), ["law-pack-expired"]);
    assert!(parse(Path::new("x.toml"), text.as_bytes(), &Surroundings::default()).is_ok());
}

#[test]
fn what_was_loaded_before_needs_no_particulars_and_is_judged_by_no_pack() {
    let old = GOOD.split_once("[condition]").unwrap().0.replace("data_subjects = [\"customers\"]\n", "");
    let (head, rest) = old.split_once("[assessment]").unwrap();
    let old = format!("{head}[approval]{}", rest.split_once("[approval]").unwrap().1);
    assert!(parse(Path::new("x.toml"), old.as_bytes(), &Surroundings::default()).is_ok());
    let new: Vec<_> = check(&old).unwrap_err().errors.into_iter().map(|error| error.kind.code()).collect();
    assert_eq!(new, ["no-data-subjects", "no-assessment"]);
}

#[test]
fn a_milder_law_is_refused_for_pins_that_are_at_home_elsewhere() {
    let text = with_value(GOOD, "", "law", Some("\"uk\""));
    let found = |home: &str| {
        let refused = refused_at(home, &text).into_iter();
        refused.map(|(code, error, _)| (code, error)).collect::<Vec<_>>()
    };
    assert_eq!(found("GB"), []);
    let refused = found("IE");
    assert!(refused.iter().all(|(code, _)| *code == "other-law") && refused.len() == 2, "{refused:?}");
    assert_eq!(refused[0].1, "the pin \"mail\" is at home in IE, where the law uk does not hold");
}

/// What the documents of GOOD with these changes are refused for, where both pins are at home there.
fn refused_at(home: &str, text: &str) -> Vec<(&'static str, String, String)> {
    let homes =
        pins().into_iter().map(|pin| (pin, home.parse::<Jurisdiction>().unwrap())).collect::<Vec<_>>();
    let now = Some(time(NOW));
    let surroundings =
        Surroundings { now, homes: Some(&homes), law: Some(pack()), ..Surroundings::default() };
    let errors = parse(Path::new("x.toml"), text.as_bytes(), &surroundings).err();
    let errors = errors.into_iter().flat_map(|errors| errors.errors);
    errors.map(|error| (error.kind.code(), error.kind.to_string(), error.kind.hint())).collect()
}

/// Every agreement against every home: it counts where that is a party, and nowhere else.
#[test]
fn an_agreement_counts_for_the_homes_that_are_a_party_to_it() {
    let homes = Jurisdiction::all().filter(|it| it.is_country() && pack().is_inside(Law::Eu, *it));
    let homes: Vec<String> = homes.map(|it| it.to_string()).collect();
    let in_force = |it: &&crate::exemption::law::pack::Agreement| it.law == Law::Eu && it.since.is_some();
    let agreements: Vec<_> = pack().agreements.iter().filter(in_force).collect();
    assert!(agreements.len() >= 3 && homes.len() > 30);
    for agreement in agreements {
        let text = with_value(GOOD, "instrument", "agreement_id", Some(&format!("\"{}\"", agreement.id)));
        let country = format!("\"{}\"", agreement.countries[0]);
        let text = text.replace("\"US\"", &country).replace("\"JP\"", &country);
        for home in &homes {
            let is_party = agreement.home.iter().any(|it| it.to_string() == *home);
            let refused = refused_at(home, &text);
            let codes: Vec<_> = refused.iter().map(|(code, ..)| *code).collect();
            let expected = if is_party { vec![] } else { vec!["no-agreement-in-force"; 2] };
            assert_eq!(codes, expected, "{} {home}", agreement.id);
        }
    }
    let text =
        with_value(GOOD, "instrument", "agreement_id", Some("\"us-ie-mlat\"")).replace("\"JP\"", "\"US\"");
    let refused = refused_at("FR", &text);
    assert_eq!(
        refused[0].1,
        "by the law pack FR, where the pin \"mail\" is at home, is no party to the agreement \"us-ie-mlat\" (GDPR Art. 48)"
    );
    assert!(refused_at("IE", &text).is_empty());
}

/// Every example of every rule, at each home: an error cites the law that holds there, and no other.
#[test]
fn errors_and_hints_name_the_articles_of_the_law_at_home() {
    let mut met = 0;
    for (home, word, own) in [("GB", "uk", "UK GDPR"), ("CH", "ch", "FADP")] {
        let examples = super::law::examples().into_iter().map(|(_, text, _)| text);
        // With the law written, and without: then it is the one at home.
        for text in
            examples.flat_map(|text| [with_value(&text, "", "law", Some(&format!("\"{word}\""))), text])
        {
            // One that goes by another law by its own words is told that law's articles.
            if text.contains("law = \"uk\"") && word != "uk" || text.contains("law = \"ch\"") && word != "ch"
            {
                continue;
            }
            for (code, said, hint) in refused_at(home, &text) {
                let all = format!("{said} | {hint}").replace(own, "");
                let foreign = ["GDPR", "FADP", "DPA 2018"]
                    .iter()
                    .any(|it| all.contains(it) && !(own == "UK GDPR" && *it == "DPA 2018"));
                assert!(!foreign, "{home} {code}: {said} | {hint}");
                assert!(!(home == "CH" && hint.contains("idta")), "{home} {code}: {hint}");
                assert!(!(home == "GB" && hint.contains("c2c") && code == "no-module"), "{hint}");
                met += usize::from(said.contains(own));
            }
        }
        let text = super::law::clauses();
        let hint_of =
            |text: &str| refused_at("IE", text).into_iter().map(|(.., hint)| hint).collect::<String>();
        assert!(!hint_of(&with_value(&text, "instrument", "module", None)).contains("idta"));
    }
    assert!(met > 40, "{met}");
}

/// The one error of a document: its code, and its words with the hint.
fn the_error(text: &str) -> (&'static str, String) {
    let mut found = errors(text);
    assert_eq!(found.len(), 1, "{found:#?}\n{text}");
    found.remove(0)
}

#[test]
fn what_is_not_personal_is_refused_by_the_articles_of_the_data_act_and_of_no_other() {
    let good = data_act();
    let with = |key: &str, value: &str| with_value(&good, "instrument", key, Some(value));
    let cidrs = "cidrs = [\"198.51.100.20/32\", \"2001:db8:20::/48\"]\n";
    assert!(good.contains(cidrs));
    for (text, code, said) in [
        (
            with_value(&good, "instrument", "agreement", None),
            "no-agreement",
            "(Data Act, Art. 32(2)) | name the treaty as agreement, or the ground data-act-32-3",
        ),
        (good.replace(cidrs, ""), "whole-country", "(Data Act, Art. 32(1)) | name the recipient's own"),
        (good.replace("\"JP\"", "\"BE\""), "inside-eea", "(Data Act, Art. 32(1)) | permit BE in the pin"),
        (
            with_value(&good, "", "delete_by", Some("2026-12-13")),
            "early-deletion",
            "may still leave until 2026-12-15T00:00:00Z | end the window before",
        ),
        (
            with("ground", "\"art-45\""),
            "ground-mismatch",
            "(Data Act, Art. 32(2), (3)) | data-act-request can carry data-act-32-2, data-act-32-3",
        ),
        (
            with("type", "\"foreign-order\""),
            "foreign-order-alone",
            "(Data Act, Art. 32(2), (3)) | name the ground that it rests on: a data-act-request",
        ),
    ] {
        let (found, told) = the_error(&text);
        assert_eq!(found, code, "{told}");
        assert!(told.contains(said) && !told.contains("GDPR"), "{told}");
    }
}

/// What else would be asked for on a ground that the law does not have is nothing that would mend the document.
#[test]
fn a_ground_that_the_law_does_not_have_is_the_only_error_and_those_that_it_has_are_named() {
    let with_law = |text: &str, law: &str| with_value(text, "", "law", Some(&format!("\"{law}\"")));
    let bare = without(&without(&derogation(), "[assessment]", "[approval]"), "[condition]", "[[processor]]");
    let compelling = with_value(&bare, "instrument", "ground", Some("\"art-49-1-2\""));
    let (code, told) = the_error(&with_law(&with_value(&compelling, "", "quota_bytes", None), "ch"));
    assert_eq!(code, "other-law");
    assert!(told.contains("by it derogation can carry art-49-1-a, ") && !told.contains("FADP"), "{told}");
    let (_, hint) = told.split_once(" | ").unwrap();
    assert!(!hint.contains("art-49-1-2"), "{told}");
    let silent = data_act().replace("tell-customer", "other");
    let (code, told) = the_error(&with_law(&with_value(&silent, "instrument", "agreement", None), "uk"));
    assert_eq!(code, "other-law");
    assert!(told.contains("name another type: that law has art-45, "), "{told}");
    assert!(!told.contains("data-act-32-3"), "{told}");
}

#[test]
fn what_is_to_be_done_yet_is_not_done() {
    let done = |day: &str| GOOD.to_owned() + &format!("done = {day}\n");
    for day in ["2026-12-03", "2026-12-02T00:00:01Z", "2030-01-01"] {
        let errors = check(&done(day)).unwrap_err().errors;
        assert_eq!((errors[0].kind.code(), errors[0].field.as_str()), ("done-later", "duty.done"), "{day}");
        assert_eq!(errors.len(), 1);
    }
    for day in ["2026-12-02", "2026-12-02T00:00:00Z", "2026-11-30"] {
        assert!(check(&done(day)).is_ok(), "{day}");
    }
    // What was loaded before is read as it is.
    assert!(parse(Path::new("x.toml"), done("2030-01-01").as_bytes(), &Surroundings::default()).is_ok());
}

#[test]
fn what_is_no_pack_is_refused_and_says_why() {
    let cases = [
        ("format = 2\n", "format = 1\n", "its format is 1"),
        ("home = [\"IE\"]\n", "", "the agreement \"us-ie-mlat\" has no home that is a party to it"),
        (
            "home = [\"IE\"]",
            "home = [\"GB\"]",
            "the home GB of the agreement \"us-ie-mlat\" is not in the area of the law eu",
        ),
        ("look_again_by = 2027-06-30", "look_again_by = 2026-11-28", "look_again_by is not after as_of"),
        ("inside = [\"CH\"]", "inside = [\"EU\"]", "\"EU\" is no country"),
        ("law = \"ch\"\ninside", "law = \"uk\"\ninside", "one [[area]] of the law uk"),
        ("id = \"data-act\"", "id = \"e-evidence\"", "one [[act]] of the id e-evidence"),
        ("id = \"eu-us-mla\"", "id = \"us-ie-mlat\"", "\"us-ie-mlat\" is there twice"),
        ("name = \"not-bound\"", "name = \"expired\"", "a [[rule]] of the name not-bound"),
        ("certification_days = 90", "certification_days = 90\nmore = 1", "unknown field `more`"),
        ("since = 2023-07-10", "since = 2023-07-10T00:00:00Z", "is no date"),
    ];
    for (part, instead, why) in cases {
        let text = crate::config::tests::findings::replaced(EMBEDDED, part, instead);
        let error = LawPack::parse("law.toml", text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_file_is_a_pack_only_where_it_is_the_one_that_was_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("law.toml");
    std::fs::write(&file, EMBEDDED).unwrap();
    let digest = std::process::Command::new("sha256sum").arg(&file).output().unwrap();
    let digest = String::from_utf8(digest.stdout).unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(&LawPack::read(&file, &digest).unwrap(), pack());
    std::fs::write(&file, EMBEDDED.replace("2027-06-30", "2037-06-30")).unwrap();
    let error = LawPack::read(&file, &digest).unwrap_err().to_string();
    assert!(error.contains("is not the law pack that the config names: its SHA-256 is "), "{error}");
    assert!(
        LawPack::read(Path::new("/dev/zero"), &digest)
            .unwrap_err()
            .to_string()
            .contains("not a regular file")
    );
}

/// The facts of a pack as docs/law.md has them.
fn page(pack: &LawPack) -> String {
    let mut page = format!(
        "The pack in the program is as of **{}**, and is to be looked at again by **{}**. A certification counts where it was looked \
         up within {} days before the document is loaded.\n",
        pack.as_of, pack.look_again_by, pack.certification_days
    );
    let list = |of: &[Jurisdiction]| of.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    page += "\n### Areas\n\nWithin one no transfer begins.\n\n| law | countries and territories | source |\n| --- | --- | --- |\n";
    for it in &pack.areas {
        page += &format!("| `{}` | {} | {} |\n", it.law, list(&it.inside), it.source);
    }
    page += "\n### Adequacy\n\n| law | countries | act | since | until | covers | source |\n| --- | --- | --- | --- | --- | --- | --- |\n";
    for it in &pack.decisions {
        let until = it.until.map(|until| until.to_string()).unwrap_or_default();
        let register =
            it.register.as_ref().map(|register| format!(" (register: <{register}>)")).unwrap_or_default();
        let covers = it.covers.as_deref().unwrap_or("whole countries");
        let excepts = it.excepts.as_ref().map(|it| format!(", but for {it}")).unwrap_or_default();
        let (law, act, since) = (it.law, &it.act, it.since);
        page += &format!(
            "| `{law}` | {} | {act} | {since} | {until} | {covers}{excepts}{register} | {} |\n",
            list(&it.countries),
            it.source
        );
    }
    page += "\n### Agreements\n\n| id | agreement | law | home | with | to providers | in force since | source |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for it in &pack.agreements {
        let since = it.since.map_or_else(|| "**not in force**".to_owned(), |since| since.to_string());
        let direct = if it.direct { "yes" } else { "no" };
        let (id, name, law) = (&it.id, &it.name, it.law);
        page += &format!(
            "| `{id}` | {name} | `{law}` | {} | {} | {direct} | {since} | {} |\n",
            list(&it.home),
            list(&it.countries),
            it.source
        );
    }
    page += "\n### Acts\n\n| act | applies from | binds | source |\n| --- | --- | --- | --- |\n";
    for it in &pack.acts {
        page += &format!("| {} | {} | {} | {} |\n", it.name, it.since, list(&it.bound), it.source);
    }
    page += "\n### Rules that hang on it\n\n";
    let names: Vec<String> = pack.rules.iter().map(|it| format!("`{}`", it.name)).collect();
    page + &names.join(", ") + ".\n"
}

#[test]
fn the_documentation_has_the_facts_of_the_pack() {
    let docs = include_str!("../../../../docs/law.md");
    let (_, rest) = docs.split_once("<!-- law pack: begin, made from the pack in the program -->\n").unwrap();
    let (written, _) = rest.split_once("<!-- law pack: end -->").unwrap();
    let page = page(pack());
    assert!(written == page, "docs/law.md must say between its marks:\n{page}end of the pack");
}
