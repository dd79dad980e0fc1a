//! Our verdict against that of `ssh-keygen -Y verify`: the same, and where a file was altered never milder.

use proptest::prelude::*;

use super::oracle::{Desk, GOOD_KEYS, key, sign};
use super::{allowed, now};
use crate::approval::{AUDIT, AllowedSigners, EXEMPTION, Refusal, verify};

const ANNE: &str = "anne@example.org";
const DOCUMENT: &[u8] = b"id = \"m-1\"\nversion = 1\n";

const PRINCIPALS: [&str; 9] = [
    ANNE,
    "*@example.org",
    "anne@example.*",
    "bob@example.org,anne@example.org",
    "!bob@*,*",
    "!anne@example.org,*",
    "????@example.org",
    "\"anne@example.org\"",
    "bob@example.org",
];
const NAMESPACES: [&str; 9] = [
    "",
    "",
    "namespaces=\"borderguard-exemption\"",
    "NameSpaces=\"borderguard-*\"",
    "namespaces=\"file\"",
    "namespaces=\"file,borderguard-exemptio?\"",
    "namespaces=\"!borderguard-audit,*\"",
    "namespaces=\"!borderguard-*,*\"",
    "namespaces=\"!file\"",
];
const AFTER: [&str; 6] = [
    "",
    "",
    "valid-after=\"20250101\"",
    "valid-after=\"20260615120000Z\"",
    "valid-after=\"20260615120001Z\"",
    "valid-after=\"202606151201\"",
];
const BEFORE: [&str; 6] = [
    "",
    "",
    "valid-before=\"20300101Z\"",
    "VALID-BEFORE=\"20260615120002Z\"",
    "valid-before=\"20260615120002\"",
    "valid-before=\"202606151159Z\"",
];

prop_compose! {
    fn line(used: usize)(
        other in prop::bool::weighted(0.2),
        principals in prop::sample::select(&PRINCIPALS[..]),
        namespaces in prop::sample::select(&NAMESPACES[..]),
        after in prop::sample::select(&AFTER[..]),
        before in prop::sample::select(&BEFORE[..]),
        turned in any::<bool>(),
        before_it in prop::sample::select(&["", "\n", "# comment\n", "  \t\n", " "][..]),
        comment in prop::sample::select(&["", " anne's key", " \"quote", "\r"][..]),
    ) -> String {
        // A key that is never valid is an error of the file, which has a test of its own.
        let before = if after.contains("12000") || after.contains("1201") { "" } else { before };
        let mut options: Vec<&str> = [namespaces, after, before].into_iter().filter(|text| !text.is_empty()).collect();
        if turned {
            options.reverse();
        }
        let which = if other { (used + 1) % GOOD_KEYS } else { used };
        let gap = if options.is_empty() { "" } else { " " };
        format!("{before_it}{principals} {}{gap}{}{comment}\n", options.join(","), key(which).public)
    }
}

#[derive(Clone, Debug)]
enum Change {
    Nothing,
    Document(prop::sample::Index, u8),
    Byte(prop::sample::Index, u8),
    Blob(prop::sample::Index, u8),
    Removed(prop::sample::Index),
    Doubled(prop::sample::Index),
    Behind(&'static str),
    Before(&'static str),
}

fn change() -> impl Strategy<Value = Change> {
    let extra = || prop::sample::select(&["x", "\n", "\r\n", " ", "-----END SSH SIGNATURE-----\n"][..]);
    prop_oneof![
        4 => Just(Change::Nothing),
        1 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, to)| Change::Document(at, to)),
        2 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, to)| Change::Byte(at, to)),
        4 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, to)| Change::Blob(at, to)),
        1 => any::<prop::sample::Index>().prop_map(Change::Removed),
        1 => any::<prop::sample::Index>().prop_map(Change::Doubled),
        1 => extra().prop_map(Change::Behind),
        1 => extra().prop_map(Change::Before),
    ]
}

/// The document and the signature with the change made, and whether the verdicts must be the same; where
/// not, ours may be the stricter one.
fn changed(change: &Change, signature: &[u8]) -> (Vec<u8>, Vec<u8>, bool) {
    let (mut document, mut signature) = (DOCUMENT.to_vec(), signature.to_vec());
    let mut same = false;
    match change {
        Change::Nothing => same = true,
        Change::Document(at, to) => {
            let at = at.index(document.len());
            document[at] = *to;
            same = true;
        }
        Change::Byte(at, to) => {
            let at = at.index(signature.len());
            signature[at] = *to;
        }
        Change::Blob(at, to) => {
            let mut blob = super::security_keys::dearmoured(&signature);
            let at = at.index(blob.len());
            blob[at] = *to;
            signature = super::security_keys::armoured(&blob);
        }
        Change::Removed(at) => {
            let at = at.index(signature.len());
            signature.remove(at);
        }
        Change::Doubled(at) => {
            let at = at.index(signature.len());
            signature.insert(at, signature[at]);
        }
        Change::Behind(extra) => signature.extend_from_slice(extra.as_bytes()),
        Change::Before(extra) => signature = [extra.as_bytes(), &signature].concat(),
    }
    (document, signature, same)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn our_verdict_is_that_of_ssh_keygen(
        (used, file) in (0..GOOD_KEYS).prop_flat_map(|used| (Just(used), prop::collection::vec(line(used), 1..4))),
        namespace in prop::sample::select(&[EXEMPTION, EXEMPTION, EXEMPTION, EXEMPTION, AUDIT, "file"][..]),
        hash in prop::sample::select(&["sha256", "sha512"][..]),
        change in change(),
    ) {
        let file = file.concat();
        let signature = sign(key(used), namespace, hash, DOCUMENT);
        let (document, signature, same) = changed(&change, &signature);
        let desk = Desk::new();
        let theirs = desk.verify(&document, &signature, EXEMPTION, ANNE, file.as_bytes());
        let ours = verify(&document, &signature, EXEMPTION, &[ANNE], &allowed(&file), now());
        if same {
            prop_assert_eq!(ours.is_ok(), theirs, "{}{:?}", file, ours);
        } else {
            prop_assert!(theirs || ours.is_err(), "{}{:?}", file, change);
        }
        if let Ok(approval) = &ours {
            prop_assert_eq!(&approval.identity, ANNE);
        }
        if matches!(change, Change::Nothing) && namespace == EXEMPTION {
            // The key is there, valid, and for anybody at all.
            let found = desk.find_principals(&signature, file.as_bytes());
            let named = !matches!(ours, Err(Refusal::UnknownKey { .. }));
            prop_assert!(found.is_none() || named, "{}{:?}", file, ours);
            prop_assert!(ours.is_err() || found.is_some(), "{}{:?}", file, ours);
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        signature in prop::collection::vec(any::<u8>(), 0..400),
        blob in prop::collection::vec(any::<u8>(), 0..400),
        file in prop::collection::vec(any::<u8>(), 0..400),
        text in "[a*?!,@\" ]{0,20}( (namespaces|valid-after|valid-before|cert-authority)=?\"?[0-9Za,\"\\\\]{0,16})? (ssh-ed25519|ssh-rsa) [A-Za-z0-9+/=]{0,40}",
    ) {
        let zone = jiff::tz::TimeZone::UTC;
        let _any = AllowedSigners::parse(&file, &zone);
        let _any = AllowedSigners::parse(text.as_bytes(), &zone);
        for signature in [signature, super::security_keys::armoured(&blob)] {
            prop_assert!(verify(b"", &signature, EXEMPTION, &[ANNE], &AllowedSigners::default(), now()).is_err());
        }
    }

    #[test]
    fn no_change_inside_a_signature_makes_it_panic(
        which in 0..GOOD_KEYS,
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..9),
    ) {
        static SIGNED: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
        let signed = SIGNED.get_or_init(|| {
            (0..GOOD_KEYS).map(|which| sign(key(which), EXEMPTION, "sha512", DOCUMENT)).collect()
        });
        let mut blob = super::security_keys::dearmoured(&signed[which]);
        let at = at.index(blob.len());
        let end = (at + bytes.len()).min(blob.len());
        let untouched = blob.clone();
        blob.splice(at..end, bytes);
        let line = format!("{ANNE} {}\n", key(which).public);
        let verdict =
            verify(DOCUMENT, &super::security_keys::armoured(&blob), EXEMPTION, &[ANNE], &allowed(&line), now());
        prop_assert_eq!(verdict.is_ok(), blob == untouched);
    }
}
