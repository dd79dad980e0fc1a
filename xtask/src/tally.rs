//! What a test program says of its tests, counted.

use std::{fmt, time::Duration};

use crate::run;

/// How many of the longest suites are named.
const LONGEST: usize = 12;

/// The sums over test programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// The names of the tests that failed.
    pub(crate) failures: Vec<String>,
    /// How long each suite took.
    pub(crate) times: Vec<(String, Duration)>,
    /// Whether the line with the result was seen: a program that died did not print one.
    pub(crate) complete: bool,
}

impl Tally {
    /// Takes one line of a test program's output.
    pub(crate) fn line(&mut self, line: &str) {
        if let Some(result) = line.find("test result: ").and_then(|at| line.get(at..)) {
            self.passed += count(result, "passed");
            self.failed += count(result, "failed");
            self.complete = true;
        } else if let Some(name) = failed_test(line) {
            self.failures.push(name.to_owned());
        }
    }

    /// Adds what another program said.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
        self.times.extend(other.times);
    }

    /// The suites that took longest, for whoever has to bring the time of all down.
    pub(crate) fn longest(&self) -> String {
        let mut times: Vec<_> = self.times.iter().collect();
        times.sort_by(|(_, a), (_, b)| b.cmp(a));
        let named = |(name, took): &(String, Duration)| format!("\n  {name:42} {}", run::duration(*took));
        let all: Duration = times.iter().map(|(_, took)| *took).sum();
        let of = format!("the longest of {} suites, {} in all:", times.len(), run::duration(all));
        of + &times.into_iter().take(LONGEST).map(named).collect::<String>()
    }

    /// How many tests were run.
    pub(crate) fn run(&self) -> u64 {
        self.passed + self.failed
    }
}

/// The closing line: `12 passed, 0 failed, 3 skipped`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The number before a word in `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
fn count(result: &str, word: &str) -> u64 {
    let mut before = "";
    for token in result.split([' ', ';']).filter(|token| !token.is_empty()) {
        if token == word {
            return before.parse().unwrap_or(0);
        }
        before = token;
    }
    0
}

/// The name in `test NAME ... FAILED`; the result can stand on a later line when a test prints.
fn failed_test(line: &str) -> Option<&str> {
    let (name, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
    result.trim_end().ends_with("FAILED").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &str) -> Tally {
        let mut tally = Tally::default();
        text.lines().for_each(|line| tally.line(line));
        tally
    }

    #[test]
    fn results_are_summed_and_failures_named() {
        let mut sum = tally(
            "\nrunning 3 tests\ntest a::one ... ok\ntest a::two - should panic ... FAILED\n\
             test three ... ignored, slow\n\ntest result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; \
             0 filtered out; finished in 0.01s\n",
        );
        assert!(sum.complete);
        assert_eq!(sum.failures, ["a::two - should panic"]);
        sum.add(tally("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 4 filtered out"));
        sum.add(Tally { skipped: 2, ..Tally::default() });
        assert_eq!(sum.to_string(), "13 passed, 1 failed, 2 skipped");
        assert_eq!(sum.run(), 14);
    }

    #[test]
    fn a_program_that_died_is_not_complete() {
        let tally = tally("running 2 tests\ntest one ... ok\n");
        assert!(!tally.complete);
        assert_eq!(tally.run(), 0);
    }

    #[test]
    fn a_result_after_other_text_on_the_console_counts() {
        assert_eq!(tally("[    4.2] veth0: up test result: ok. 7 passed; 0 failed; 0 ignored").passed, 7);
    }
}
