//! Everything that reads bytes of others, with its seeds, what `cargo xtask fuzz` once found, and some thousand changes of
//! those, the same ones at every run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use guard_tests::fuzz::{TARGETS, Target, change};
use guard_tests::mutation::Numbers;

/// How long a target is given changed inputs: some read slowly where nothing is optimized.
const CHANGES: Duration = Duration::from_secs(4);
/// How many at most.
const MOST: usize = 4000;

fn replay(target: &Target) {
    let kept = target.kept().unwrap();
    let take = |input: &[u8], what: &str| {
        let taken = catch_unwind(AssertUnwindSafe(|| (target.take)(input)));
        assert!(taken.is_ok(), "{}: {what}: {}", target.name, input.escape_ascii());
    };
    for (file, input) in &kept {
        take(input, &file.display().to_string());
    }
    let seeds = (target.seeds)().unwrap();
    for (number, seed) in seeds.iter().enumerate() {
        take(seed, &format!("seed {number}"));
    }
    let inputs: Vec<Vec<u8>> = kept.into_iter().map(|(_, input)| input).chain(seeds).collect();
    assert!(!inputs.is_empty(), "{} begins with nothing", target.name);
    let (mut numbers, begin) = (Numbers(0x2545_f491_4f6c_dd1d), Instant::now());
    let mut changed = 0;
    while changed < MOST && begin.elapsed() < CHANGES {
        take(&change(&mut numbers, &inputs, target.longest), "a changed input");
        changed += 1;
    }
    println!("{}: {} inputs, {changed} changed", target.name, inputs.len());
    assert!(changed > 20, "{} took {changed} inputs", target.name);
}

#[test]
fn no_input_of_the_corpus_or_like_it_shows_a_fault() {
    TARGETS.iter().filter(|target| !target.needs_bpf).for_each(replay);
}

#[test]
#[ignore = "needs root and BPF"]
fn no_frame_of_the_corpus_or_like_it_is_judged_otherwise_by_the_kernel() {
    TARGETS.iter().filter(|target| target.needs_bpf).for_each(replay);
}

#[test]
fn each_folder_of_the_corpus_is_a_targets() {
    let names: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names.len(), TARGETS.len(), "two targets of one name");
    for folder in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(name.as_str()), "no target reads tests/corpus/{name}");
    }
}
