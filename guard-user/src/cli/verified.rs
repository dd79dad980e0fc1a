//! What the signatures of a file came to, as lines and as JSON: of a document and of a config alike.

use std::io::{self, Write};
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::table::plain;
use crate::approval::{
    self, AllowedSigners, Approval, NotApproved, NotEnough, Quorum, Refusal, Signature, Signer,
};
use crate::exemption::approvers;

/// A signature's file, and whose it is or why it does not count.
pub(super) type Verified<'s> = (&'s str, Result<Approval, Refusal>);

/// Each signature by itself, so that every bad one is told at once. `namespace` is what they are made for.
pub(super) fn each<'s>(
    bytes: &[u8],
    signatures: &'s [Signature],
    (signers, namespace): (&[Signer], &str),
    allowed: &AllowedSigners,
    now: Timestamp,
) -> Vec<Verified<'s>> {
    let identities: Vec<&str> = signers.iter().map(|signer| signer.identity.as_str()).collect();
    let verified = signatures.iter().map(|signature| {
        let verified = approval::verify(bytes, &signature.bytes, namespace, &identities, allowed, now);
        (signature.name.as_str(), verified)
    });
    verified.collect()
}

/// Writes a line for each, and whether the file is `word` ("approved", "signed") by them.
pub(super) fn report(
    (file, word): (&Path, &str),
    each: &[Verified<'_>],
    judged: &Result<Quorum, NotApproved>,
    out: &mut impl Write,
) -> io::Result<()> {
    for (name, verified) in each {
        let name = plain(name);
        match verified {
            Ok(Approval { identity, fingerprint, algorithm, .. }) => {
                writeln!(out, "{name}: good, by {} with {algorithm} {fingerprint}", plain(identity))?;
            }
            Err(refusal) => writeln!(out, "{name}: bad: {}", plain(&refusal.to_string()))?,
        }
    }
    let file = plain(&file.to_string_lossy());
    match judged {
        Ok(quorum) => {
            let seats = quorum.seats.iter().map(|seat| (seat.identity.as_str(), Some(seat.role.as_str())));
            let has_seat = |identity: &str| quorum.seats.iter().any(|seat| seat.identity == identity);
            let signers = each.iter().filter_map(|(_, verified)| verified.as_ref().ok());
            let others = signers.filter(|it| !has_seat(&it.identity)).map(|it| (it.identity.as_str(), None));
            writeln!(out, "{file}: {word}, by {}", plain(&approvers::words(seats.chain(others), ", ")))
        }
        Err(NotApproved::Refused { .. }) => writeln!(out, "{file}: not {word}: a signature is bad"),
        Err(NotApproved::NotEnough(why)) => writeln!(out, "{file}: not {word}: {}", plain(&why.to_string())),
    }
}

/// The same as an object, with `word` as a key of it.
pub(super) fn report_json(
    (file, word): (&Path, &str),
    each: &[Verified<'_>],
    judged: &Result<Quorum, NotApproved>,
) -> Value {
    let signatures = each.iter().map(|(name, verified)| match verified {
        Ok(Approval { identity, fingerprint, algorithm, .. }) => json!({
            "file": name, "good": true, "identity": identity, "algorithm": algorithm,
            "fingerprint": fingerprint, "code": null, "message": null,
        }),
        Err(refusal) => json!({
            "file": name, "good": false, "identity": null, "algorithm": null, "fingerprint": null,
            "code": refusal.code(), "message": refusal.to_string(),
        }),
    });
    let mut object = judged_json(word, judged);
    object["file"] = json!(file.to_string_lossy());
    object["signatures"] = signatures.collect();
    object
}

/// Whether signatures are enough, with `word` as the key that says it, and what they lack.
pub(super) fn judged_json(word: &str, judged: &Result<Quorum, NotApproved>) -> Value {
    let missing: Vec<Value> = match judged {
        Err(NotApproved::NotEnough(NotEnough::Missing { missing })) => {
            missing.iter().map(|one| json!({ "role": one.role, "count": one.count })).collect()
        }
        _ => Vec::new(),
    };
    let error = judged.as_ref().err();
    json!({
        word: judged.is_ok(),
        "missing": missing,
        "code": error.map(NotApproved::code),
        "message": error.map(ToString::to_string),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approval::Seat;

    #[test]
    fn a_good_signature_in_no_role_that_counts_is_told_apart() {
        let good = |identity: &str| Approval {
            identity: identity.to_owned(),
            fingerprint: format!("SHA256:{identity}"),
            algorithm: "ssh-ed25519".to_owned(),
            line: 1,
        };
        let each: Vec<Verified<'_>> =
            vec![("m.aoife.sig", Ok(good("aoife"))), ("m.brian.sig", Ok(good("brian")))];
        let seats = vec![Seat { role: "dpo".to_owned(), identity: "brian".to_owned() }];
        let mut out = Vec::new();
        report((Path::new("m.toml"), "approved"), &each, &Ok(Quorum { seats }), &mut out).unwrap();
        let shown = String::from_utf8(out).unwrap();
        let verdict = "m.toml: approved, by brian as dpo; aoife signed too, in no role that counts";
        assert_eq!(shown.lines().last(), Some(verdict), "{shown}");
    }
}
