//! Checkpoints: their text, their signature, and what they find.

use proptest::prelude::*;

use super::{record, trail};
use crate::approval::tests::oracle::{ED25519, key, sign};
use crate::approval::tests::{allowed, now};
use crate::approval::{AUDIT, EXEMPTION};
use crate::audit::checkpoint::CheckpointError;
use crate::audit::{Checkpoint, Head, verify};

const KEEPER: &str = "keeper@example.org";

proptest! {
    #[test]
    fn a_text_is_read_as_it_was_written(
        host in any::<String>(),
        seconds in 0..4_000_000_000_i64,
        sequence in any::<u64>(),
        hash in any::<[u8; 32]>(),
    ) {
        let time = jiff::Timestamp::from_second(seconds).unwrap();
        let checkpoint = Checkpoint::new(&host, time, Head { sequence, hash });
        let text = checkpoint.to_string();
        prop_assert_eq!(text.lines().count(), 5);
        prop_assert_eq!(text.parse(), Ok(checkpoint));
    }

    #[test]
    fn no_other_text_is_a_checkpoint(at in any::<prop::sample::Index>(), to in any::<char>()) {
        let text = Checkpoint::new("mail1", now(), Head { sequence: 7, hash: [7; 32] }).to_string();
        let at = at.index(text.len());
        let mut altered = text.clone();
        altered.replace_range(at..=at, &to.to_string());
        prop_assume!(altered != text);
        // Whatever can still be read is written in the one way that there is.
        if let Ok(read) = altered.parse::<Checkpoint>() {
            prop_assert_eq!(read.to_string(), altered);
        }
        let longer = text.clone() + "x";
        prop_assert!(longer.parse::<Checkpoint>().is_err());
        prop_assert!(text[..at].parse::<Checkpoint>().is_err());
    }
}

#[test]
fn a_signed_checkpoint_finds_that_the_end_was_cut_off() {
    let records: Vec<_> = (0..4).map(record).collect();
    let (mut lines, head) = trail(&records);
    let text = Checkpoint::new("mail1.example.org", now(), head).to_string();
    let signature = sign(key(ED25519), AUDIT, "sha512", text.as_bytes());
    let allowed = allowed(&format!("{KEEPER} namespaces=\"{AUDIT}\" {}\n", key(ED25519).public));
    let read = |text: &str, signature: &[u8]| {
        Checkpoint::read_signed(text.as_bytes(), signature, &[KEEPER], &allowed, now())
    };

    let (checkpoint, approval) = read(&text, &signature).unwrap();
    assert_eq!((checkpoint.host(), approval.identity.as_str()), ("mail1.example.org", KEEPER));
    assert_eq!(verify(&lines, &[checkpoint.head]), Ok(head));
    lines.pop();
    assert_eq!(verify(&lines, &[checkpoint.head]).unwrap_err().fault.code(), "cut-off");

    let refused = |result: Result<_, CheckpointError>| match result {
        Err(CheckpointError::Refused(refusal)) => refusal.code(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(read(&text.replace("sequence 4", "sequence 3"), &signature)), "altered");
    let approval = sign(key(ED25519), EXEMPTION, "sha512", text.as_bytes());
    assert_eq!(refused(read(&text, &approval)), "wrong-namespace");
    let nonsense = sign(key(ED25519), AUDIT, "sha512", b"nonsense");
    assert!(matches!(read("nonsense", &nonsense), Err(CheckpointError::Malformed(_))));
}
