//! Signatures of security keys, made here as the key's firmware makes them (OpenSSH's PROTOCOL.u2f), for
//! there is none at hand.

use base64ct::{Base64, Encoding};
use ssh_key::private::KeypairData;
use ssh_key::sha2::{Digest, Sha256};
use ssh_key::{HashAlg, PrivateKey, SigningKey, SshSig};

use super::oracle::{Desk, ED25519, P256, key};
use super::{allowed, now};
use crate::approval::{EXEMPTION, verify};

const ANNE: &str = "anne@example.org";
const DOCUMENT: &[u8] = b"id = \"m-1\"\n";

pub(super) fn armoured(blob: &[u8]) -> Vec<u8> {
    let base64 = Base64::encode_string(blob);
    let lines: Vec<&str> =
        base64.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", lines.join("\n")).into()
}

pub(super) fn dearmoured(file: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(file).unwrap();
    let base64: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    Base64::decode_vec(&base64).unwrap()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [u32::try_from(bytes.len()).unwrap().to_be_bytes().as_slice(), bytes].concat()
}

/// What the key itself answers.
fn sign_raw(key: &impl SigningKey, message: &[u8]) -> Vec<u8> {
    key.try_sign(message).unwrap().as_bytes().to_vec()
}

/// A security key's line of allowed signers, and its signature with these flags.
fn security_key(which: usize, flags: u8) -> (String, Vec<u8>) {
    let pair = PrivateKey::read_openssh_file(&key(which).file).unwrap();
    let (name, public) = match pair.key_data() {
        KeypairData::Ed25519(pair) => ("sk-ssh-ed25519@openssh.com", string(pair.public.as_ref())),
        KeypairData::Ecdsa(pair) => (
            "sk-ecdsa-sha2-nistp256@openssh.com",
            [string(b"nistp256"), string(pair.public_key_bytes())].concat(),
        ),
        other => panic!("{other:?}"),
    };
    let blob = [string(name.as_bytes()), public, string(b"ssh:")].concat();
    let counter = 7_u32.to_be_bytes();
    let message = SshSig::signed_data(EXEMPTION, HashAlg::Sha512, DOCUMENT).unwrap();
    let challenge =
        [&Sha256::digest(b"ssh:")[..], &[flags], &counter, &Sha256::digest(&message)[..]].concat();
    let inner =
        [string(name.as_bytes()), string(&sign_raw(&pair, &challenge)), vec![flags], counter.into()].concat();
    let whole = [
        b"SSHSIG\0\0\0\x01".to_vec(),
        string(&blob),
        string(EXEMPTION.as_bytes()),
        string(b""),
        string(b"sha512"),
        string(&inner),
    ];
    (format!("{ANNE} {name} {}\n", Base64::encode_string(&blob)), armoured(&whole.concat()))
}

#[test]
fn a_touched_security_key_counts_and_an_untouched_one_does_not() {
    let desk = Desk::new();
    for which in [ED25519, P256] {
        let (line, touched) = security_key(which, 1);
        assert!(desk.verify(DOCUMENT, &touched, EXEMPTION, ANNE, line.as_bytes()), "{line}");
        let approval = verify(DOCUMENT, &touched, EXEMPTION, &[ANNE], &allowed(&line), now()).unwrap();
        assert!(approval.algorithm.starts_with("sk-") && approval.identity == ANNE);
        let altered = verify(b"x", &touched, EXEMPTION, &[ANNE], &allowed(&line), now()).unwrap_err();
        assert_eq!(altered.code(), "altered");

        let (line, untouched) = security_key(which, 0);
        let refused = verify(DOCUMENT, &untouched, EXEMPTION, &[ANNE], &allowed(&line), now()).unwrap_err();
        assert_eq!(refused.code(), "not-touched");
    }
}
