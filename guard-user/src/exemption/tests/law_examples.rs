//! The rules that ask for particulars, and those that hang on the law pack, each broken alone.

use super::law::{adequacy, clauses, derogation, union_order, with, without};
use super::{GOOD, with_value};
use crate::exemption::law::Rule;

const TYPE: &str = "instrument";

fn compelling() -> String {
    let text = with_value(&derogation(), TYPE, "ground", Some("\"art-49-1-2\""));
    let text = text.replace("met = \"the treaty's own\"", "met = \"once\"\nsubjects = 3");
    text + "[[duty]]\nwhat = \"tell-authority\"\ndue = 2026-12-20\n[[duty]]\nwhat = \"tell-subjects\"\ndue = 2026-12-20\n"
}

pub(super) fn data_act() -> String {
    let text = with(&[
        ("", "data_subjects", ""),
        (TYPE, "type", "\"data-act-request\""),
        (TYPE, "ground", "\"data-act-32-2\""),
        (TYPE, "basis", "\"not-personal\""),
    ]);
    text + "[[duty]]\nwhat = \"tell-customer\"\ndue = 2026-12-20\n"
}

fn certificate(word: &str) -> String {
    let lines = format!("certificate = \"{word}\"\naddressee = \"Example Ltd\"\n[exporter]");
    union_order().replace("[exporter]", &lines).replace("\"NO\"", "\"FR\"")
}

fn direct(agreement: &str) -> String {
    let text = with(&[(TYPE, "type", "\"direct-request\"")]);
    text.replace("[exporter]", &format!("agreement_id = \"{agreement}\"\n[exporter]"))
        .replace("\"JP\"", "\"US\"")
}

/// Documents that keep the rules of [`examples`].
pub(super) fn kept() -> Vec<String> {
    let uk = |text: &str| with_value(text, "", "law", Some("\"uk\""));
    let idta = with_value(&clauses(), TYPE, "ground", Some("\"art-46-2-d\"")).replace("c2c", "idta");
    let safeguards = |kind: &str, ground: &str| {
        let text = with_value(&clauses(), TYPE, "type", Some(kind));
        with_value(&text, TYPE, "ground", Some(ground))
    };
    let rules = safeguards("\"bcr\"", "\"art-47\"");
    vec![
        compelling(),
        data_act(),
        certificate("epoc"),
        with(&[("", "delete_by", "2026-12-14")]),
        with_value(
            &data_act().replace("tell-customer", "other"),
            "condition",
            "customer_not_told",
            Some("\"secret\""),
        ),
        with_value(&derogation(), "exporter", "public_authority", Some("true")),
        adequacy().replace("\"US\"", "\"BR\"").replace("\"JP\"", "\"KR\""),
        uk(&direct("cloud-act-us-gb")),
        uk(&idta),
        uk(&idta.replace("idta", "addendum")),
        rules.replace("c2c", "bcr-c"),
        rules.replace("c2c", "bcr-p").replace("\"controller\"", "\"processor\""),
        clauses().replace("c2c", "p2p").replace("\"controller\"", "\"processor\""),
        safeguards("\"code-of-conduct\"", "\"art-46-2-e\""),
        safeguards("\"authorised-safeguards\"", "\"art-46-3-b\""),
        with_value(&clauses(), "", "law", Some("\"ch\"")).replace("\"CH\"", "\"GB\""),
    ]
}

/// A rule, a document that breaks it alone, and the error that comes of it.
pub(super) fn examples() -> Vec<(Rule, String, &'static str)> {
    let uk = |text: &str| with_value(text, "", "law", Some("\"uk\""));
    let safeguard = |kind: &str, ground: &str| {
        let text = with_value(&clauses(), TYPE, "type", Some(kind));
        with_value(&text, TYPE, "ground", Some(ground))
    };
    vec![
        (
            Rule::NoAssessment,
            without(GOOD, "[assessment]", "[approval]"),
            "12:8 instrument.type: treaty-request needs a transfer impact assessment, and there is no [assessment]",
        ),
        (
            Rule::NoReviewDate,
            with_value(&safeguard("\"code-of-conduct\"", "\"art-46-2-e\""), "assessment", "review_by", None),
            "the assessment for code-of-conduct has to be looked at again",
        ),
        (
            Rule::NoDataSubjects,
            with(&[("", "data_subjects", "")]),
            "1:1 data_subjects: the document says nothing of whose data leaves (GDPR Art. 30(1)(c)) | add data_subjects",
        ),
        (
            Rule::NotPersonal,
            with(&[(TYPE, "basis", "\"not-personal\"")]),
            "12:8 instrument.type: data that is not personal goes by data-act-request and not-personal",
        ),
        (
            Rule::NotPersonal,
            with_value(&data_act(), "", "data_subjects", Some("[\"customers\"]")),
            "has no data subjects (Data Act, Art. 32) | name both or neither",
        ),
        (
            Rule::NoModule,
            with_value(&clauses(), TYPE, "module", None),
            "instrument.type: the document does not say which form of the scc is used (Decision (EU) 2021/914; GDPR Art. 47) | add module: \
             c2c or c2p of a controller, p2p or p2c of a processor",
        ),
        (
            Rule::ModuleMismatch,
            clauses().replace("c2c", "p2c"),
            "instrument.module: p2c is not of this type, law, ground or role of the exporter",
        ),
        (
            Rule::ModuleMismatch,
            clauses().replace("c2c", "idta"),
            "instrument.module: idta is not of this type",
        ),
        (Rule::ModuleMismatch, uk(&clauses()), "instrument.module: c2c is not of this type"),
        (
            Rule::NotAParty,
            clauses().replace("\"Department\", \"Tr", "\"Tr"),
            "recipient: \"Department\" is not among the parties, so that nothing binds the recipient",
        ),
        (
            Rule::NotAParty,
            clauses().replace(", \"Example Mail Ireland Ltd\"]", "]"),
            "exporter.name: \"Example Mail Ireland Ltd\" is not among the parties, so that nothing binds the exporter (GDPR Art. 46)",
        ),
        (
            Rule::ExceptedPurpose,
            adequacy()
                .replace("\"US\"", "\"BR\"")
                .replace("\"JP\"", "\"CH\"")
                .split("[condition]")
                .next()
                .unwrap()
                .to_owned(),
            "recipient.jurisdiction: the adequacy decision (EU) 2026/179 on BR is not for public safety, national defence, state \
             security, and the investigation and prosecution of criminal offences, and there is no [condition] that shows that \
             this is none of them (GDPR Art. 45(3)) | add [condition] with met",
        ),
        (
            Rule::ExceptedPurpose,
            with_value(GOOD, TYPE, "ground", Some("\"art-45\""))
                .replace("\"US\"", "\"BR\"")
                .replace("\"JP\"", "\"CH\""),
            "and an authority asks there (GDPR Art. 45(3)) | name another ground",
        ),
        (
            Rule::PublicAuthority,
            with_value(
                &with_value(&derogation(), TYPE, "ground", Some("\"art-49-1-a\"")),
                "exporter",
                "public_authority",
                Some("true"),
            ),
            "instrument.ground: art-49-1-a is not for what a public authority does in the exercise of its powers (GDPR Art. 49(3))",
        ),
        (
            Rule::EarlyDeletion,
            with(&[("", "delete_by", "2026-12-13")]),
            "delete_by: the data has to have been deleted by 2026-12-14T00:00:00Z, and may still leave until 2026-12-15T00:00:00Z \
             (GDPR Art. 30(1)(f)) | end the window before",
        ),
        (
            Rule::NoCertification,
            GOOD.replace("\"CH\"", "\"US\""),
            "onward: \"Forensic laboratory\" has no certification, and is covered where it is certified (GDPR Art. 45(3))",
        ),
        (
            Rule::StaleCertification,
            GOOD.replace("\"CH\"", "\"US\"").replace(
                "the rule of speciality\"",
                "the rule of speciality\"\ncertification = \"EU-US DPF\"\nchecked_on = 2026-01-20",
            ),
            "onward.checked_on: the certification was looked up on 2026-01-20T00:00:00Z",
        ),
        (
            Rule::NoCondition,
            without(&derogation(), "[condition]", "[[processor]]"),
            "instrument.ground: the document does not show that the condition of art-49-1-e is met: there is no [condition]",
        ),
        (
            Rule::NoCondition,
            with_value(&derogation(), TYPE, "ground", Some("\"art-49-1-d\"")),
            "there is no recognised_by (GDPR Art. 49) | add it to [condition]",
        ),
        (
            Rule::NoCondition,
            compelling().replace("subjects = 3\n", ""),
            "there is no subjects (GDPR Art. 49)",
        ),
        (
            Rule::NoNotification,
            compelling().replace("tell-subjects", "other"),
            "nobody has dated who has to be told: there is no [[duty]] tell-subjects (GDPR Art. 49(1), second subparagraph)",
        ),
        (
            Rule::NoNotification,
            data_act().replace("tell-customer", "other"),
            "there is no [[duty]] tell-customer (Data Act, Art. 32(5)) | add [[duty]] with what = \"tell-customer\" and due",
        ),
        (
            Rule::NoAddressee,
            certificate("epoc").replace("addressee = \"Example Ltd\"\n", ""),
            "instrument.certificate: the certificate has no addressee (Regulation (EU) 2023/1543, Art. 7)",
        ),
        (
            Rule::PreservationOnly,
            certificate("epoc-pr"),
            "instrument.certificate: a preservation order has data kept where it is: nothing leaves by it",
        ),
        (
            Rule::NoCertification,
            adequacy().replace("checked_on = 2026-11-20\n", ""),
            "recipient: \"Department\" has no checked_on, and is covered where it is certified (GDPR Art. 45(3)) | look the",
        ),
        (
            Rule::NoCertification,
            safeguard("\"certification\"", "\"art-46-2-f\"")
                .replace("[\"tcp/993\"]", "[\"tcp/993\"]\ncertification = \"seal\"\nchecked_on = 2026-11-20"),
            "recipient: \"Department\" has no certification",
        ),
        (
            Rule::StaleCertification,
            adequacy().replace("2026-11-20", "2026-12-03"),
            "recipient.checked_on: the certification was looked up on 2026-12-03T00:00:00Z, which is not within 90 days",
        ),
        (
            Rule::NoAgreementInForce,
            direct("cloud-act-us-eu"),
            "instrument.agreement_id: by the law pack the agreement \"cloud-act-us-eu\" is not in force with US for this",
        ),
        (Rule::NoAgreementInForce, direct("us-ie-mlat"), "\"us-ie-mlat\" is not in force with US for this"),
        (Rule::NoAgreementInForce, direct("none"), "the law pack has no agreement \"none\" (GDPR Art. 48)"),
        (
            Rule::NoAgreementInForce,
            with_value(&direct("none"), TYPE, "agreement_id", None),
            "instrument.type: a direct request needs the agreement that allows it, by agreement_id",
        ),
        (
            Rule::NotBound,
            certificate("epoc").replace("\"FR\"", "\"DK\""),
            "recipient.jurisdiction: DK is not bound by Regulation (EU) 2023/1543",
        ),
        (
            Rule::NotYetApplicable,
            with_value(&certificate("epoc"), "", "valid_from", Some("2026-08-17T23:59:59Z")),
            "instrument.certificate: Regulation (EU) 2023/1543 on European Production Orders and European Preservation Orders \
             applies from 2026-08-18T00:00:00Z",
        ),
        (
            Rule::OtherLaw,
            with_value(&compelling(), "", "law", Some("\"ch\"")),
            "instrument.ground: the law ch has no ground art-49-1-2 | name a ground that the law has: by it derogation can carry \
             art-49-1-a, art-49-1-b, art-49-1-c, art-49-1-d, art-49-1-e, art-49-1-f, art-49-1-g",
        ),
        (
            Rule::OnwardWithoutGround,
            GOOD.replace("\"CH\"", "\"IN\""),
            "onward.ground: the onward transfer to IN can't rest on art-45 (GDPR Art. 44)",
        ),
    ]
}
