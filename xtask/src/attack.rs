//! `cargo xtask attack`: the ways past the guard that the documentation names, each with what an attempt comes to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    bpf,
    setup::{
        self,
        packages::{self, Purpose},
    },
    suites, workspace,
};

/// The page with the tables, from the workspace's root.
const PAGE: &str = "docs/limits.md";
/// What begins each table.
const HEADER: &str = "| way past | is | how | shown by |";
/// What a way can be.
const STATES: [&str; 5] = ["covered", "blocked", "told", "partly", NOT_COVERED];
const NOT_COVERED: &str = "not covered";

/// Make the attempts that docs/limits.md names, and print its table of ways with what came of them
///
/// Those of the guests (`guest_...`) run in `cargo xtask vm` alone and are named as such.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Print the table alone, and make no attempt
    #[arg(long)]
    list: bool,
}

/// A way past the guard.
#[derive(Debug, PartialEq, Eq)]
struct Way {
    name: String,
    is: String,
    /// Tests, as `suite::test`.
    shown_by: Vec<String>,
}

/// What came of an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Held,
    Failed,
    /// Only a guest can make it.
    InGuests,
    NotMade,
}

impl Way {
    /// Whether its tests show that data gets out, and not that it is kept.
    fn is_open(&self) -> bool {
        self.is == NOT_COVERED
    }

    /// What came of one of its attempts: "ok" would read as held where the test shows that there is a hole.
    fn word(&self, outcome: Outcome) -> &'static str {
        if outcome == Outcome::Held && self.is_open() { "open" } else { outcome.word() }
    }
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Held => "ok",
            Self::Failed => "FAILED",
            Self::InGuests => "vm",
            Self::NotMade => "-",
        }
    }
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    let ways = ways()?;
    let mut outcomes: BTreeMap<&str, Outcome> = BTreeMap::new();
    for test in ways.iter().flat_map(|way| &way.shown_by) {
        let is_guests = test.starts_with(suites::GUEST);
        outcomes.insert(test, if is_guests { Outcome::InGuests } else { Outcome::NotMade });
    }
    if !arguments.list {
        make(&mut outcomes)?;
    }
    println!("\n{}", table(&ways, &outcomes));
    let failed = outcomes.values().any(|outcome| *outcome == Outcome::Failed);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Makes every attempt that can be made here.
fn make(outcomes: &mut BTreeMap<&str, Outcome>) -> Result<()> {
    setup::ensure()?;
    if let Err(why) = bpf::usable() {
        bail!("the attempts {why}");
    }
    packages::ensure(Purpose::Scenario)?;
    let suites = suites::build()?;
    for suite in suites.iter().filter(|suite| suite.integration) {
        let begin = format!("{}::", suite.name);
        let of_suite =
            |outcome: &(&&str, &mut Outcome)| outcome.0.starts_with(&begin) && *outcome.1 == Outcome::NotMade;
        let mut here: Vec<_> = outcomes.iter_mut().filter(of_suite).collect();
        if here.is_empty() {
            continue;
        }
        println!("\n== {}", suite.title());
        let names: Vec<String> =
            here.iter().filter_map(|(test, _)| test.strip_prefix(&begin)).map(str::to_owned).collect();
        let tally = suite.run(&names, &["--ignored", "--test-threads=1"])?;
        let failures: BTreeSet<&str> =
            tally.failures.iter().filter_map(|failure| failure.rsplit(": ").next()).collect();
        let died = !tally.complete || tally.run() < names.len() as u64;
        for (test, outcome) in &mut here {
            let name = test.strip_prefix(&begin).unwrap_or(test);
            **outcome = if died || failures.contains(name) { Outcome::Failed } else { Outcome::Held };
        }
    }
    Ok(())
}

fn table(ways: &[Way], outcomes: &BTreeMap<&str, Outcome>) -> String {
    let mut text = String::new();
    for way in ways {
        for (number, line) in wrapped(&way.name, 66).iter().enumerate() {
            let is = if number == 0 { way.is.as_str() } else { "" };
            text.push_str(&format!("{is:12} {line}\n"));
        }
        for test in &way.shown_by {
            let outcome = outcomes.get(test.as_str()).copied().unwrap_or(Outcome::NotMade);
            text.push_str(&format!("{:12} {:6} {test}\n", "", way.word(outcome)));
        }
    }
    let count = |is: &str| ways.iter().filter(|way| way.is == is).count();
    let counts: Vec<String> = STATES.iter().map(|is| format!("{} {is}", count(is))).collect();
    let made = |which: Outcome| outcomes.values().filter(|outcome| **outcome == which).count();
    let of_open_ways: BTreeSet<&str> =
        ways.iter().filter(|way| way.is_open()).flat_map(|way| &way.shown_by).map(String::as_str).collect();
    let open = of_open_ways.iter().filter(|test| outcomes.get(**test) == Some(&Outcome::Held)).count();
    text.push_str(&format!(
        "\n{} ways: {}\n{} attempts held, {open} got through as the page says, {} failed, {} are made by\n`cargo xtask vm`\n",
        ways.len(),
        counts.join(", "),
        made(Outcome::Held) - open,
        made(Outcome::Failed),
        made(Outcome::InGuests),
    ));
    text
}

/// Lines of at most so many letters, broken between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let fits = lines
            .last()
            .is_some_and(|line| line.is_empty() || line.chars().count() + 1 + word.chars().count() <= width);
        match lines.last_mut().filter(|_| fits) {
            Some(line) => {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The ways of the page, each of whose tests is there.
fn ways() -> Result<Vec<Way>> {
    let page =
        fs::read_to_string(workspace::root().join(PAGE)).with_context(|| format!("cannot read {PAGE}"))?;
    let ways = read(&page)?;
    for test in ways.iter().flat_map(|way| &way.shown_by) {
        let (suite, name) = test.split_once("::").with_context(|| format!("{PAGE}: {test} names no test"))?;
        let file = format!("tests/tests/{suite}.rs");
        let source = fs::read_to_string(workspace::root().join(&file))
            .with_context(|| format!("{PAGE} names {test}: cannot read {file}"))?;
        ensure!(source.contains(&format!("fn {name}()")), "{PAGE} names {test}: {file} has no such test");
    }
    Ok(ways)
}

/// The rows of a page's tables.
fn read(page: &str) -> Result<Vec<Way>> {
    ensure!(page.contains(HEADER), "{PAGE} has no table {HEADER:?}");
    let tables = page.split(HEADER).skip(1);
    let rows = tables.flat_map(|table| table.lines().skip(2).take_while(|line| line.starts_with('|')));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let ["", name, is, _, tests, ""] = cells[..] else {
            bail!("{PAGE}: a row has not four cells: {row}")
        };
        ensure!(STATES.contains(&is), "{PAGE}: a way can't be {is:?}, only {}", STATES.join(", "));
        let shown_by = tests.split(", ").map(|test| test.trim_matches('`').to_owned());
        Ok(Way {
            name: name.replace(['`', '*'], ""),
            is: is.to_owned(),
            shown_by: shown_by.filter(|test| !test.is_empty()).collect(),
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Suites of the guests whose every test is an attempt.
    const OF_GUESTS: [&str; 8] = [
        "guest_volumes",
        "guest_copies",
        "guest_relays",
        "guest_ways",
        "guest_kernel",
        "guest_nfsd",
        "guest_paths",
        "guest_bonds",
    ];
    /// What stands before such a test.
    const IGNORED: &str = "#[ignore = \"needs root and BPF\"]";

    #[test]
    fn the_page_names_tests_that_are_there() {
        let ways = ways().unwrap();
        assert!(ways.len() > 30, "{}", ways.len());
        for is in STATES {
            assert!(ways.iter().any(|way| way.is == is), "no way is {is}");
        }
        assert!(ways.iter().filter(|way| !way.shown_by.is_empty()).count() > 10);
    }

    #[test]
    fn every_attempt_of_the_guests_is_evidence_of_a_way() {
        let named: BTreeSet<String> = ways().unwrap().into_iter().flat_map(|way| way.shown_by).collect();
        for suite in OF_GUESTS {
            let source =
                fs::read_to_string(workspace::root().join(format!("tests/tests/{suite}.rs"))).unwrap();
            let tests =
                source.split(IGNORED).skip(1).filter_map(|rest| rest.split_once("fn ")?.1.split_once('('));
            let mut count = 0;
            for (test, _) in tests {
                count += 1;
                assert!(named.contains(&format!("{suite}::{test}")), "{PAGE} does not name {suite}::{test}");
            }
            assert!(count > 0, "{suite} has no attempt");
        }
    }

    #[test]
    fn each_table_of_the_page_is_read() {
        let table =
            |name: &str| format!("{HEADER}\n| --- | --- | --- | --- |\n| {name} | told | | |\n\ntext\n");
        let ways = read(&format!("text\n{}## more\n{}", table("one"), table("other"))).unwrap();
        assert_eq!(ways.iter().map(|way| way.name.as_str()).collect::<Vec<_>>(), ["one", "other"]);
    }

    #[test]
    fn a_row_that_is_not_whole_is_an_error() {
        let page = |row: &str| format!("text\n{HEADER}\n| --- | --- | --- | --- |\n{row}\n\nmore");
        let way = |is: &str, tests: &[&str]| Way {
            name: "a way".to_owned(),
            is: is.to_owned(),
            shown_by: tests.iter().map(|test| (*test).to_owned()).collect(),
        };
        assert_eq!(
            read(&page("| a `way` | covered | how | `a::b`, `c::d` |\n| a way | told | | |")).unwrap(),
            [way("covered", &["a::b", "c::d"]), way("told", &[])]
        );
        for wrong in ["| a way | covered | how |", "| a way | unknown | how | `a::b` |"] {
            assert!(read(&page(wrong)).is_err(), "{wrong}");
        }
        assert!(read("no table").is_err());
    }

    #[test]
    fn an_attempt_that_shows_a_hole_is_not_said_to_have_held() {
        let way = |is: &str, test: &str| Way {
            name: "a way".to_owned(),
            is: is.to_owned(),
            shown_by: vec![test.to_owned()],
        };
        let ways = [way("covered", "a::b"), way("not covered", "a::c"), way("not covered", "a::d")];
        let outcomes =
            BTreeMap::from([("a::b", Outcome::Held), ("a::c", Outcome::Held), ("a::d", Outcome::Failed)]);
        let table = table(&ways, &outcomes);
        let word = |test: &str| {
            let line = table.lines().find(|line| line.ends_with(test)).unwrap();
            line.split_whitespace().next().unwrap().to_owned()
        };
        assert_eq!([word("a::b"), word("a::c"), word("a::d")], ["ok", "open", "FAILED"]);
        assert!(table.contains("1 attempts held, 1 got through as the page says, 1 failed"), "{table}");
    }

    #[test]
    fn the_table_fits_a_terminal() {
        let ways = ways().unwrap();
        for line in table(&ways, &BTreeMap::new()).lines() {
            let has_test = line.contains("::");
            assert!(has_test || line.chars().count() <= 80, "{line}");
        }
    }
}
