//! Time stamps by an authority (RFC 3161): the request, and what its answer has to be. The way to the authority is a command
//! of the operator's, so that this program speaks no network protocol; whether the stamp counts says `openssl ts`, to which
//! the authority's certificate is given.
//!
//! The request is a sequence of a fixed length, so it is written here; a crate for the whole protocol would bring four
//! others for its certificates and messages.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use crate::digest::hexadecimal;

/// Bytes of a reply, at most: a token with its certificates has a few thousand.
const REPLY_BYTES: u64 = 1 << 20;

/// SHA-256 of what is stamped.
pub(super) type Imprint = [u8; 32];

/// The imprint of these pieces, one behind the other.
pub(super) fn imprint(pieces: &[&[u8]]) -> Imprint {
    let mut hash = Sha256::new();
    pieces.iter().for_each(|piece| hash.update(piece));
    hash.finalize().into()
}

/// A request for a stamp on this imprint, as DER (RFC 3161 section 2.4.1): version 1, SHA-256, the nonce, and that the
/// answer is to have the authority's certificate.
fn request(imprint: &Imprint, nonce: [u8; 8]) -> Vec<u8> {
    // SEQUENCE, version, and an imprint by id-sha256 (RFC 5754) without parameters but NULL.
    const HEAD: [u8; 24] = [
        0x30, 0x43, 0x02, 0x01, 0x01, 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03,
        0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20,
    ];
    const NONCE: [u8; 2] = [0x02, 0x08];
    const WITH_CERTIFICATE: [u8; 3] = [0x01, 0x01, 0xff];
    [&HEAD[..], imprint, &NONCE, &nonce, &WITH_CERTIFICATE].concat()
}

/// Eight random bytes that are a positive integer in its shortest form.
fn nonce() -> Result<[u8; 8]> {
    let mut bytes = [0; 8];
    let random = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    random.context("cannot read random bytes for the time stamp's request")?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(bytes)
}

/// Has the imprint stamped by this command, a program and its arguments; returns the reply, which holds the stamp.
///
/// # Errors
/// Where the command can't be run or fails, or its answer is no stamp on this imprint.
pub(super) fn stamp(command: &[String], imprint: &Imprint) -> Result<Vec<u8>> {
    let [program, arguments @ ..] = command else { bail!("no command is named that has receipts stamped") };
    let nonce = nonce()?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    if let Some(mut input) = child.stdin.take() {
        // Where it ends before it has read everything, its exit code says more.
        let _closed = input.write_all(&request(imprint, nonce));
    }
    let mut reply = Vec::new();
    if let Some(output) = child.stdout.take() {
        output
            .take(REPLY_BYTES)
            .read_to_end(&mut reply)
            .with_context(|| format!("cannot read from {program}"))?;
    }
    let status = child.wait().with_context(|| format!("cannot wait for {program}"))?;
    if !status.success() {
        bail!("{program} failed ({status}): see what it said above");
    }
    check(&reply, imprint, nonce).with_context(|| format!("{program} brought no time stamp"))?;
    Ok(reply)
}

/// Whether a reply grants a stamp on this imprint for this request. Who signed it is not looked at here.
fn check(reply: &[u8], imprint: &Imprint, nonce: [u8; 8]) -> Result<()> {
    let malformed = "the answer is no reply of a time-stamping authority (RFC 3161)";
    let (0x30, content, []) = element(reply).context(malformed)? else { bail!(malformed) };
    let (0x30, status, token) = element(content).context(malformed)? else { bail!(malformed) };
    let (0x02, status, _) = element(status).context(malformed)? else { bail!(malformed) };
    // granted, and granted with modifications (RFC 3161 section 2.4.2)
    if !matches!(status, [0 | 1]) {
        bail!("the authority granted none (status {status:?})");
    }
    let holds = |bytes: &[u8]| token.windows(bytes.len()).any(|window| window == bytes);
    if !holds(imprint) || !holds(&nonce) {
        bail!("the authority stamped another request");
    }
    Ok(())
}

/// The first element of DER (X.690 section 8.1): its tag, its content, and what is behind it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length - 0x80))?;
            (digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// When the stamp in this file was made, which `openssl` takes for one on the imprint by an authority whose root is in
/// `authority`.
///
/// # Errors
/// Where there is no such file; what openssl says where it does not take it, and where it can't be run.
pub(super) fn verify(stamp: &Path, imprint: &Imprint, authority: &Path) -> Result<Timestamp> {
    for (file, what) in [(stamp, "no time stamp"), (authority, "no root certificate of an authority")] {
        File::open(file).with_context(|| format!("there is {what}: {} can't be read", file.display()))?;
    }
    let digest = hexadecimal(imprint);
    let output = Command::new("openssl")
        .args(["ts", "-verify", "-digest", &digest, "-in"])
        .arg(stamp)
        .arg("-CAfile")
        .arg(authority)
        .stdin(Stdio::null())
        .output()
        .context("cannot run openssl, which verifies time stamps")?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let words: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let why = match words.iter().any(|line| line.contains("message imprint mismatch")) {
            true => "it is of another receipt or signature, or one of them was changed since",
            false => "it is not one of this authority, or was changed",
        };
        bail!("the time stamp does not count: {why} (openssl: {})", words.join("; "));
    }
    time_of(stamp)
}

/// When a stamp was made, by what `openssl` reads in it: `Time stamp: Nov 28 17:40:00 2026 GMT`, with a part of a second
/// where the authority gives one (`genTime`, RFC 3161 section 2.4.2).
fn time_of(stamp: &Path) -> Result<Timestamp> {
    let output = Command::new("openssl")
        .args(["ts", "-reply", "-text", "-in"])
        .arg(stamp)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .context("cannot run openssl, which reads time stamps")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let written = text.lines().find_map(|line| line.trim().strip_prefix("Time stamp: "));
    let written = written.context("openssl does not say when the time stamp was made")?;
    let words: Vec<&str> = written.split_whitespace().collect();
    let time = DateTime::strptime("%b %d %H:%M:%S%.f %Y GMT", words.join(" "))
        .and_then(|time| time.to_zoned(TimeZone::UTC));
    Ok(time.with_context(|| format!("the time stamp is of no time that is known: {written}"))?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_the_one_that_openssl_would_make() {
        let folder = tempfile::tempdir().unwrap();
        let (data, made) = (folder.path().join("data"), folder.path().join("made"));
        std::fs::write(&data, "receipt").unwrap();
        let run = |arguments: &[&str]| {
            let output = Command::new("openssl").args(arguments).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let data = data.to_str().unwrap();
        // Its nonce has as many bytes as it needs, most often eight or nine.
        let mut theirs = std::iter::repeat_with(|| run(&["ts", "-query", "-data", data, "-sha256", "-cert"]));
        let theirs = theirs.by_ref().take(100).find(|theirs| theirs.len() == 69).unwrap();
        let ours = request(&imprint(&[b"rec", b"eipt"]), nonce().unwrap());
        assert_eq!(theirs.len(), ours.len());
        // All but the nonce.
        let at = ours.len() - 11;
        assert_eq!((&theirs[..at], &theirs[at + 8..]), (&ours[..at], &ours[at + 8..]));
        std::fs::write(&made, &ours).unwrap();
        let text = String::from_utf8(run(&["ts", "-query", "-in", made.to_str().unwrap(), "-text"])).unwrap();
        assert!(
            text.contains("Certificate required: yes") && text.contains("Hash Algorithm: sha256"),
            "{text}"
        );
    }

    #[test]
    fn an_answer_that_is_no_stamp_on_this_request_is_refused() {
        let (imprint, nonce) = ([7; 32], [0x41, 2, 3, 4, 5, 6, 7, 8]);
        let granted = |status: u8, token: &[u8]| {
            let mut reply = vec![0x30, u8::try_from(5 + token.len()).unwrap(), 0x30, 3, 2, 1, status];
            reply.extend(token);
            reply
        };
        let token = [&imprint[..], &nonce].concat();
        check(&granted(0, &token), &imprint, nonce).unwrap();
        check(&granted(1, &token), &imprint, nonce).unwrap();
        for (reply, why) in [
            (granted(2, &token), "granted none"),
            (granted(0, &imprint), "another request"),
            (granted(0, &nonce), "another request"),
            (Vec::new(), "no reply"),
            (b"<html>".to_vec(), "no reply"),
            (granted(0, &token)[..20].to_vec(), "no reply"),
            ([granted(0, &token), vec![0]].concat(), "no reply"),
        ] {
            let error = check(&reply, &imprint, nonce).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_command_that_fails_or_brings_nothing_is_told() {
        let told = |command: &[&str]| {
            let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
            format!("{:#}", stamp(&command, &[0; 32]).unwrap_err())
        };
        assert!(told(&["/bin/false"]).contains("failed"), "{}", told(&["/bin/false"]));
        assert!(told(&["/bin/cat"]).contains("no time stamp"), "{}", told(&["/bin/cat"]));
        assert!(told(&["/nowhere/stamp"]).starts_with("cannot run"));
    }
}
