//! Suites that need root and BPF, three at a time: most of their time they wait.

use std::{
    panic,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::Result;

use crate::{suites::Suite, tally::Tally};

/// How many run beside each other.
const LANES: usize = 3;

/// Suites that hold bounds of time, of rates or of load, for which a neighbour's work would be noise.
const ALONE: [&str; 12] = [
    "demo",
    "e2e_killed",
    "e2e_revoke",
    "e2e_shadow",
    "e2e_slow",
    "e2e_stalled",
    "e2e_storm",
    "e2e_survive",
    "kernel_attach_dump",
    "kernel_attach_many",
    "kernel_events",
    "kernel_preempt",
];

/// Runs the tests of these suites that need root and BPF. Within a suite they run one after the other, and a suite of
/// [`ALONE`] after all others. Each suite's output is shown when it ends; that it begins is told, for one
/// that hangs.
pub(crate) fn run(suites: &[Suite], names: &[String]) -> Result<Tally> {
    let (alone, beside): (Vec<_>, Vec<_>) =
        suites.iter().partition(|suite| ALONE.contains(&suite.name.as_str()));
    let mut sum = side_by_side(&beside, LANES, |suite| suite_output(suite, names))?;
    sum.add(side_by_side(&alone, 1, |suite| suite_output(suite, names))?);
    Ok(sum)
}

fn suite_output(suite: &Suite, names: &[String]) -> Result<Tally> {
    println!("begins: {}, in the kernel", suite.title());
    let (tally, output) = suite.run_quietly(names, &["--ignored", "--test-threads=1"])?;
    // One write, so that two suites' ends are not mixed.
    print!("\n== {}, in the kernel\n{output}", suite.title());
    Ok(tally)
}

/// Does `work` for each item, in order, `lanes` at a time. The first error is returned when all have ended.
fn side_by_side<T: Sync>(
    items: &[T],
    lanes: usize,
    work: impl Fn(&T) -> Result<Tally> + Sync,
) -> Result<Tally> {
    let next = AtomicUsize::new(0);
    let sum = Mutex::new(Ok(Tally::default()));
    let lane = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = work(item);
            let mut sum = sum.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            match (&mut *sum, result) {
                (Ok(sum), Ok(tally)) => sum.add(tally),
                (Ok(_), Err(error)) => *sum = Err(error),
                (Err(_), _) => {}
            }
        }
    };
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        for lane in lanes {
            lane.join().unwrap_or_else(|payload| panic::resume_unwind(payload));
        }
    });
    sum.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use anyhow::bail;

    use super::*;
    use crate::workspace;

    #[test]
    fn every_suite_that_runs_alone_exists() {
        for suite in ALONE {
            let file = workspace::root().join("tests/tests").join(suite).with_extension("rs");
            assert!(Path::new(&file).exists(), "{}", file.display());
        }
    }

    #[test]
    fn each_is_done_once_and_an_error_is_kept() {
        let one = |passed: &u64| Ok(Tally { passed: *passed, ..Tally::default() });
        let items: Vec<u64> = (1..=100).collect();
        assert_eq!(side_by_side(&items, LANES, one).unwrap().passed, 5050);
        let seen = AtomicUsize::new(0);
        let error = side_by_side(&items, LANES, |item| {
            seen.fetch_add(1, Ordering::Relaxed);
            if *item == 7 { bail!("the seventh") } else { one(item) }
        });
        assert_eq!((error.unwrap_err().to_string().as_str(), seen.into_inner()), ("the seventh", 100));
    }

    #[test]
    fn as_many_run_at_a_time_as_there_are_lanes() {
        let together = std::sync::Barrier::new(LANES);
        side_by_side(&[(); 4 * LANES], LANES, |()| {
            together.wait();
            Ok(Tally::default())
        })
        .unwrap();
    }
}
