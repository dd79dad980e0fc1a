//! Captures of both formats, whole, cut and of any content, and what is said of their frames.

use guard_common::abi::Hook;
use guard_common::packet::Link;
use guard_common::verdict::{Reason, Verdict};
use proptest::prelude::*;

use super::super::Surroundings;
use super::super::capture::{CaptureError, Frame, read};
use super::super::frames::{Compared, Judge, KernelAnswer};

type Read = Vec<(u64, Link, Vec<u8>, u32)>;

fn frames(file: &[u8]) -> (Read, Result<u64, CaptureError>) {
    let mut frames = Vec::new();
    let read = read(file, |Frame { number, link, bytes, wire_len }| {
        frames.push((number, link, bytes.to_vec(), wire_len));
        Ok(())
    });
    (frames, read)
}

/// A classic file (draft-ietf-opsawg-pcap): frames with their length on the wire.
fn classic(link_type: u32, frames: &[(&[u8], u32)]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(0xa1b2_c3d4_u32.to_le_bytes());
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend(65_535_u32.to_le_bytes());
    file.extend(link_type.to_le_bytes());
    for (bytes, wire_len) in frames {
        file.extend([0; 8]);
        file.extend((bytes.len() as u32).to_le_bytes());
        file.extend(wire_len.to_le_bytes());
        file.extend(*bytes);
    }
    file
}

/// A pcapng block (draft-ietf-opsawg-pcapng section 3.1), big-endian.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let len = (padded as u32 + 12).to_be_bytes();
    let padding = vec![0; padded - body.len()];
    [&kind.to_be_bytes()[..], &len, body, &padding, &len].concat()
}

/// One section with an Ethernet and a raw interface, an enhanced and a simple packet.
fn next_generation() -> Vec<u8> {
    let section = [&0x1a2b_3c4d_u32.to_be_bytes()[..], &[0, 1, 0, 0], &[0xff; 8]].concat();
    let interface = |link: u16, snap_len: u32| {
        block(1, &[&link.to_be_bytes()[..], &[0, 0], &snap_len.to_be_bytes()].concat())
    };
    let enhanced =
        [&1_u32.to_be_bytes()[..], &[0; 8], &3_u32.to_be_bytes(), &9_u32.to_be_bytes(), b"raw"].concat();
    let simple = [&7_u32.to_be_bytes()[..], b"ether"].concat();
    [
        block(0x0a0d_0d0a, &section),
        interface(1, 5),
        interface(101, 0),
        block(6, &enhanced),
        block(0x0000_0bad, b"ignored"),
        block(3, &simple),
    ]
    .concat()
}

#[test]
fn both_formats_are_read() {
    let (read, count) = frames(&classic(1, &[(b"first", 5), (b"", 0), (b"cut", 1500)]));
    assert_eq!(count.unwrap(), 3);
    let expected = [(1, &b"first"[..], 5), (2, &b""[..], 0), (3, &b"cut"[..], 1500)];
    assert_eq!(read, expected.map(|(number, bytes, len)| (number, Link::Ethernet, bytes.to_vec(), len)));
    for link_type in [12, 101, 228, 229] {
        assert_eq!(frames(&classic(link_type, &[(b"E", 1)])).0[0].1, Link::Raw);
    }
    let (read, count) = frames(&next_generation());
    assert_eq!(count.unwrap(), 2);
    assert_eq!(read, [(1, Link::Raw, b"raw".to_vec(), 9), (2, Link::Ethernet, b"ether".to_vec(), 7)]);
}

#[test]
fn other_link_types_and_other_files_are_refused() {
    let refused = frames(&classic(113, &[(b"cooked", 6)])).1.unwrap_err();
    assert!(matches!(refused, CaptureError::LinkType { link_type: 113 }), "{refused}");
    for file in [&b""[..], b"GIF89a and so on, for a while longer", b"\xa1"] {
        let refused = frames(file).1.unwrap_err();
        assert!(matches!(refused, CaptureError::NotACapture), "{refused}");
    }
}

#[test]
fn frames_before_the_cut_are_given() {
    let whole = classic(1, &[(b"first", 5), (b"second", 6)]);
    for cut in 24 + 16 + 5 + 1..whole.len() {
        let (read, end) = frames(&whole[..cut]);
        assert_eq!(read.len(), 1, "cut at {cut}");
        let end = end.unwrap_err();
        assert!(matches!(end, CaptureError::CutOff { after: 1 }), "{end}");
    }
}

#[test]
fn files_longer_than_the_buffer_are_read_to_their_end() {
    let frame = vec![7; 60_000];
    let many: Vec<(&[u8], u32)> = vec![(&frame, 60_000); 70];
    let (read, count) = frames(&classic(1, &many));
    assert_eq!((read.len(), count.unwrap()), (70, 70));
    assert!(read.iter().all(|frame| frame.2.len() == 60_000));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0..4_usize) {
        let begin = [&classic(1, &[])[..], &next_generation()[..28], &0xa1b2_3c4d_u32.to_be_bytes(), b""][kind].to_vec();
        let _ = frames(&[begin, bytes].concat());
    }

    #[test]
    fn captures_with_bytes_changed_are_answered(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        next in any::<bool>(),
    ) {
        let mut file = if next { next_generation() } else { classic(101, &[(b"first", 5), (b"second", 6)]) };
        for (index, byte) in changes {
            *index.get_mut(&mut file) = byte;
        }
        file.truncate(cut.index(file.len()) + 1);
        let _ = frames(&file);
    }
}

#[test]
fn a_frame_that_the_kernel_judges_otherwise_is_named() {
    const ARP: [u8; 14] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 6];
    let explainer = super::told::explainer();
    let from = Surroundings::default();
    for (json, told) in
        [(false, "1: pass not-ip; THE KERNEL DIFFERS: drop truncated"), (true, r#""differing":[1]"#)]
    {
        let mut out = Vec::new();
        let mut judge = Judge::new(&explainer, &from, Hook::Egress, json, &mut out);
        let answers = [
            KernelAnswer::Judged(Verdict::Drop, Reason::Truncated),
            KernelAnswer::Judged(Verdict::Pass, Reason::NotIp),
            KernelAnswer::Refused("too short".to_owned()),
        ];
        for (number, answer) in (1..).zip(answers) {
            let frame = Frame { number, link: Link::Ethernet, bytes: &ARP, wire_len: 14 };
            judge.frame(frame, 0, Some(answer)).unwrap();
        }
        assert_eq!(judge.finish(true).unwrap(), Compared::Differing);
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains(told), "{out}");
    }
}

#[test]
fn where_the_kernel_takes_no_frame_nothing_was_compared() {
    let explainer = super::told::explainer();
    let from = Surroundings::default();
    for (answers, outcome, told) in [
        (
            vec![Some(KernelAnswer::Refused("too short".to_owned()))],
            Compared::Nothing,
            "NOTHING was compared",
        ),
        (vec![None], Compared::Alike, "1 frames"),
        (Vec::new(), Compared::Alike, "0 frames"),
    ] {
        let compared = answers.iter().all(Option::is_some);
        let mut out = Vec::new();
        let mut judge = Judge::new(&explainer, &from, Hook::Egress, false, &mut out);
        for (number, answer) in (1..).zip(answers) {
            let frame = Frame { number, link: Link::Ethernet, bytes: &[0; 14], wire_len: 14 };
            judge.frame(frame, 0, answer).unwrap();
        }
        assert_eq!(judge.finish(compared).unwrap(), outcome);
        assert!(String::from_utf8(out).unwrap().contains(told));
    }
}
