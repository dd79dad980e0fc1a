//! The kinds of bad signatures that a document must never be loaded with, each refused by its own name,
//! and by ssh-keygen as well where it can tell.

use super::oracle::{Desk, ED25519, Key, OTHER_ED25519, P256, RSA_1024, RSA_3072, key, sign};
use super::{allowed, now, signer};
use crate::approval::{
    AUDIT, Candidate, EXEMPTION, NotApproved, Requirement, Signature, Signer, judge, verify,
};

const DOCUMENT: &[u8] = b"id = \"mlat-2026-0142\"\n";
const ANNE: &str = "anne@example.org";
const BOB: &str = "bob@example.org";
const ONE_LEGAL: &[Requirement<'_>] = &[Requirement { role: "legal", count: 1 }];

fn file() -> String {
    format!("{ANNE} {}\n{BOB} {}\n", key(ED25519).public, key(OTHER_ED25519).public)
}

fn signers() -> Vec<Signer> {
    let carl = signer("carl@example.org", &["press"], Some("carl"));
    vec![signer(ANNE, &["legal", "dpo"], Some("anne")), signer(BOB, &["legal"], None), carl]
}

fn signed(key: &Key) -> Signature {
    Signature { name: "m.sig".to_owned(), bytes: sign(key, EXEMPTION, "sha512", DOCUMENT) }
}

/// What becomes of the document, with what Anne signs of it and Carl wrote.
fn code(signatures: &[Signature], required: &[Requirement<'_>], file: &str) -> Result<(), &'static str> {
    code_of(DOCUMENT, signatures, required, "carl@example.org", Some("carl"), file)
}

fn code_of(
    bytes: &[u8],
    signatures: &[Signature],
    required: &[Requirement<'_>],
    submitter: &str,
    loader: Option<&str>,
    file: &str,
) -> Result<(), &'static str> {
    let candidate = Candidate { bytes, namespace: EXEMPTION, submitter: Some(submitter), required };
    let judged = judge(&candidate, signatures, &signers(), &allowed(file), loader, now());
    judged.map(drop).map_err(|error: NotApproved| {
        assert!(!error.to_string().is_empty());
        error.code()
    })
}

#[test]
fn a_good_signature_is_taken_and_a_missing_one_is_missed() {
    assert_eq!(code(&[signed(key(ED25519))], ONE_LEGAL, &file()), Ok(()));
    assert_eq!(code(&[], ONE_LEGAL, &file()), Err("approvals-missing"));
    let two = [Requirement { role: "legal", count: 2 }];
    assert_eq!(code(&[signed(key(ED25519))], &two, &file()), Err("approvals-missing"));
    let both = [signed(key(ED25519)), signed(key(OTHER_ED25519))];
    assert_eq!(code(&both, &two, &file()), Ok(()));
}

#[test]
fn a_document_stripped_of_its_requirement_is_refused() {
    assert_eq!(code(&[], &[], &file()), Err("nothing-required"));
    assert_eq!(code(&[signed(key(ED25519))], &[], &file()), Err("nothing-required"));
    let none = [Requirement { role: "legal", count: 0 }];
    assert_eq!(code(&[signed(key(ED25519))], &none, &file()), Err("nothing-required"));
}

#[test]
fn a_stripped_signature_file_is_refused() {
    let whole = signed(key(ED25519));
    for length in [0, 1, 29, 100, whole.bytes.len() - 10] {
        let cut = Signature { bytes: whole.bytes[..length].to_vec(), ..whole.clone() };
        assert_eq!(code(&[cut], ONE_LEGAL, &file()), Err("signature-malformed"), "{length}");
    }
}

#[test]
fn a_duplicated_signature_is_refused() {
    let one = signed(key(ED25519));
    let two = [Requirement { role: "legal", count: 2 }];
    assert_eq!(code(&[one.clone(), one.clone()], &two, &file()), Err("twice-by-one"));
    assert_eq!(code(&[one.clone(), one.clone()], ONE_LEGAL, &file()), Err("twice-by-one"));
    // Two keys of one person are still one person.
    let second_key = format!("{}{ANNE} {}\n", file(), key(P256).public);
    assert_eq!(code(&[one.clone(), signed(key(P256))], &two, &second_key), Err("twice-by-one"));
    // Both signatures in one file.
    let joined = Signature { bytes: [one.bytes.clone(), one.bytes.clone()].concat(), ..one };
    assert_eq!(code(&[joined], ONE_LEGAL, &file()), Err("signature-malformed"));
}

#[test]
fn a_signature_for_another_namespace_is_refused() {
    for namespace in [AUDIT, "file", "borderguard-exemption2", "Borderguard-exemption"] {
        let other = sign(key(ED25519), namespace, "sha512", DOCUMENT);
        let other = Signature { name: "m.sig".to_owned(), bytes: other };
        assert_eq!(code(&[other], ONE_LEGAL, &file()), Err("wrong-namespace"));
    }
    let file_only = format!("{ANNE} namespaces=\"file\" {}\n", key(ED25519).public);
    assert_eq!(code(&[signed(key(ED25519))], ONE_LEGAL, &file_only), Err("namespace-not-allowed"));
}

#[test]
fn a_signature_by_an_expired_or_not_yet_valid_key_is_refused() {
    let with = |option: &str| format!("{ANNE} {option} {}\n", key(ED25519).public);
    let verdict = |option: &str| code(&[signed(key(ED25519))], ONE_LEGAL, &with(option));
    assert_eq!(verdict("valid-before=\"20260615115959Z\""), Err("key-expired"));
    assert_eq!(verdict("valid-before=\"20260615120000Z\""), Ok(()));
    assert_eq!(verdict("valid-after=\"20260615120001Z\""), Err("key-not-yet-valid"));
    assert_eq!(verdict("valid-after=\"20260615120000Z\""), Ok(()));
}

#[test]
fn an_altered_document_is_refused() {
    let signatures = [signed(key(ED25519))];
    let altered =
        |bytes: &[u8]| code_of(bytes, &signatures, ONE_LEGAL, "carl@example.org", Some("carl"), &file());
    assert_eq!(altered(DOCUMENT), Ok(()));
    assert_eq!(altered(&DOCUMENT[1..]), Err("altered"));
    assert_eq!(altered(&[DOCUMENT, b"\n"].concat()), Err("altered"));
    assert_eq!(altered(b""), Err("altered"));
}

#[test]
fn a_signature_by_an_unknown_key_is_refused() {
    assert_eq!(code(&[signed(key(P256))], ONE_LEGAL, &file()), Err("unknown-key"));
    // A key for somebody who is in the file and not in the config.
    let stranger = format!("mallory@example.org {}\n", key(ED25519).public);
    assert_eq!(code(&[signed(key(ED25519))], ONE_LEGAL, &stranger), Err("no-such-signer"));
    // A key that anybody could have.
    let anybody = format!("*@example.org {}\n", key(ED25519).public);
    assert_eq!(code(&[signed(key(ED25519))], ONE_LEGAL, &anybody), Err("several-signers"));
}

#[test]
fn the_submitter_or_the_loader_alone_is_refused() {
    let one = [signed(key(ED25519))];
    let by = |submitter, loader| code_of(DOCUMENT, &one, ONE_LEGAL, submitter, loader, &file());
    assert_eq!(by(ANNE, None), Err("nobody-else"));
    assert_eq!(by("Anne@Example.org", None), Err("nobody-else"));
    assert_eq!(by("carl@example.org", Some("anne")), Err("nobody-else"));
    // Anne signs alone, and names Carl as the writer: he took no part.
    assert_eq!(by("carl@example.org", Some("root")), Err("absent-submitter"));
    assert_eq!(by("carl@example.org", None), Err("absent-submitter"));
    // A made-up name is nobody's, and a user who loads what they wrote is one.
    assert_eq!(by("dora@example.org", None), Err("unknown-submitter"));
    assert_eq!(by("dora@example.org", Some("root")), Err("unknown-submitter"));
    assert_eq!(by("root", Some("root")), Ok(()));
    assert_eq!(by("root", Some("anne")), Err("unknown-submitter"));
    assert_eq!(by("anne", Some("anne")), Err("nobody-else"));
    let both = [signed(key(ED25519)), signed(key(OTHER_ED25519))];
    assert_eq!(code_of(DOCUMENT, &both, ONE_LEGAL, ANNE, Some("anne"), &file()), Ok(()));
    // An approval in a role that nobody asked for is none.
    let dpo = [Requirement { role: "dpo", count: 1 }];
    assert_eq!(code_of(DOCUMENT, &both, &dpo, ANNE, None, &file()), Err("nobody-else"));
    let unsaid = Candidate { bytes: DOCUMENT, namespace: EXEMPTION, submitter: None, required: ONE_LEGAL };
    let judged = judge(&unsaid, &one, &signers(), &allowed(&file()), None, now());
    assert_eq!(judged.unwrap_err().code(), "no-submitter");
}

#[test]
fn one_bad_signature_refuses_all() {
    let unneeded = Signature { name: "x.sig".to_owned(), bytes: b"hello".to_vec() };
    assert_eq!(code(&[signed(key(ED25519)), unneeded], ONE_LEGAL, &file()), Err("signature-malformed"));
}

#[test]
fn a_role_that_too_few_signers_have_is_said() {
    let board = [Requirement { role: "board", count: 1 }];
    assert_eq!(code(&[signed(key(ED25519))], &board, &file()), Err("too-few-signers"));
    let many = [Requirement { role: "legal", count: u32::MAX }];
    assert_eq!(code(&[signed(key(ED25519))], &many, &file()), Err("too-few-signers"));
}

#[test]
fn short_rsa_keys_and_sha_1_are_refused() {
    let line = format!("{ANNE} {}\n", key(RSA_1024).public);
    let short = sign(key(RSA_1024), EXEMPTION, "sha512", DOCUMENT);
    let refused = verify(DOCUMENT, &short, EXEMPTION, &[ANNE], &allowed(""), now()).unwrap_err();
    assert_eq!(refused.code(), "rsa-bits");
    let zone = jiff::tz::TimeZone::UTC;
    let refused = crate::approval::AllowedSigners::parse(line.as_bytes(), &zone).unwrap_err().to_string();
    assert_eq!(refused, "line 1: the RSA key has 1024 bits, and 2048 to 4096 are accepted");
    // OpenSSH takes them for good, which is why this one refusal is ours alone.
    assert!(Desk::new().verify(DOCUMENT, &short, EXEMPTION, ANNE, line.as_bytes()));

    // The same signature under the name of the algorithm that hashes with SHA-1.
    let line = format!("{ANNE} {}\n", key(RSA_3072).public);
    let good = sign(key(RSA_3072), EXEMPTION, "sha512", DOCUMENT);
    let sha_1 = renamed(&good, b"rsa-sha2-512", b"ssh-rsa");
    let refused = verify(DOCUMENT, &sha_1, EXEMPTION, &[ANNE], &allowed(&line), now()).unwrap_err();
    assert_eq!(refused.code(), "signature-unsupported");
    assert!(!Desk::new().verify(DOCUMENT, &sha_1, EXEMPTION, ANNE, line.as_bytes()));
}

/// The signature with its algorithm called by another name.
fn renamed(armoured: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let string = |text: &[u8]| [u32::try_from(text.len()).unwrap().to_be_bytes().as_slice(), text].concat();
    let blob = super::security_keys::dearmoured(armoured);
    let at = blob.windows(from.len()).position(|window| window == from).unwrap() - 4;
    let data = &blob[at + 4 + from.len()..];
    let inner = [string(to).as_slice(), data].concat();
    super::security_keys::armoured(&[&blob[..at - 4], string(&inner).as_slice()].concat())
}
