//! The test programs of the workspace: built once by cargo, then listed and run from here, so that what
//! was skipped can be named.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{build, run, setup, tally::Tally};

/// One test program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suite {
    /// The name of the library, program or file of tests.
    pub(crate) name: String,
    /// Whether it is a file of `PACKAGE/tests/`.
    pub(crate) integration: bool,
    pub(crate) executable: PathBuf,
    /// Tests whose names have one of these in them are not for here.
    pub(crate) skipped: Vec<&'static str>,
    /// The package's folder, from which cargo would run it.
    dir: PathBuf,
}

/// The tests in a suite whose names match: plain ones and those that need root and BPF.
pub(crate) struct Tests {
    pub(crate) plain: Vec<String>,
    pub(crate) kernel: Vec<String>,
}

/// Test files of this kind change what belongs to the whole machine, such as its clock: they run in the guests
/// of `cargo xtask vm` alone.
pub(crate) const GUEST: &str = "guest_";

/// The tests of real services, in tests/tests/services.
pub(crate) const SERVICES: &str = "services";
/// In the names of those that a guest alone can run.
pub(crate) const BY_VOLUME: &str = "by_volume";
/// In the names of those that are for this machine.
pub(crate) const BY_SLICE: &str = "by_slice";
/// At the begin of the names of those of the long run.
pub(crate) const LONG: &str = "more::";

/// The suite of the programs for kernels with `PREEMPT_RT`, which has other suites within it. Those are tried here with the
/// programs of this machine; with these, on the kernel that they are for (`cargo xtask vm`).
pub(crate) const PREEMPT: &str = "kernel_preempt";
/// How the names of that begin.
const OF_OTHER_SUITES: [&str; 3] = ["attach::", "differential::", "shadow::"];

/// Builds the test programs of all packages but the kernel program's, and the programs that they run; cargo
/// shows its own progress.
pub(crate) fn build() -> Result<Vec<Suite>> {
    build::programs()?;
    let mut child = setup::cargo()?
        .args(["test", "--no-run", "--message-format=json-render-diagnostics"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let stdout = child.stdout.take().context("cargo's output is not there to read")?;
    let mut suites = Vec::new();
    for line in BufReader::new(stdout).lines() {
        suites.extend(Suite::from_message(&line.context("cannot read what cargo says")?));
    }
    if !child.wait().context("cannot wait for cargo")?.success() {
        bail!("the tests do not build");
    }
    suites.sort_by(|a, b| (a.integration, &a.dir, &a.name).cmp(&(b.integration, &b.dir, &b.name)));
    Ok(suites)
}

/// The fields that are used of cargo's message `compiler-artifact`.
#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: Target,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

impl Suite {
    /// The suite that a line of cargo's JSON output tells of, if it does.
    fn from_message(line: &str) -> Option<Self> {
        let Artifact { manifest_path, target, profile, executable } = serde_json::from_str(line).ok()?;
        if !profile.test {
            return None;
        }
        // What is for a guest, or for a long run, is asked for by who runs it.
        let skipped = match target.name.as_str() {
            SERVICES => vec![BY_VOLUME, LONG],
            PREEMPT => OF_OTHER_SUITES.to_vec(),
            _ => Vec::new(),
        };
        Some(Self {
            name: target.name,
            skipped,
            integration: target.kind.iter().any(|kind| kind == "test"),
            executable: executable?,
            dir: manifest_path.parent().map(Path::to_path_buf)?,
        })
    }

    /// What a person calls it.
    pub(crate) fn title(&self) -> String {
        let kind = if self.integration { "tests" } else { "unit tests" };
        format!("{} ({kind})", self.name)
    }

    /// What to give this suite's program as names: none, which means all of its tests, where one of `names`
    /// is part of the suite's own name.
    fn filters<'a>(&self, names: &'a [String]) -> &'a [String] {
        if names.iter().any(|name| self.name.contains(name.as_str())) { &[] } else { names }
    }

    /// The tests whose names, or whose suite's name, contain one of `names`; all for no names.
    pub(crate) fn tests(&self, names: &[String]) -> Result<Tests> {
        let all = self.list(names, &[])?;
        let kernel = self.list(names, &["--ignored"])?;
        let plain = all.into_iter().filter(|test| !kernel.contains(test)).collect();
        // Kernel tests are those of the package `tests`. What another package ignores is a child process of
        // one of its tests, or wants a file of the user's, as its reason says: nothing to run here.
        let kernel = if self.dir.ends_with("tests") { kernel } else { Vec::new() };
        Ok(Tests { plain, kernel })
    }

    /// What to give this suite's program: names, and what it is not to run.
    pub(crate) fn choice<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = &'a str> {
        let skipped = self.skipped.iter().flat_map(|part| ["--skip", *part]);
        self.filters(names).iter().map(String::as_str).chain(skipped)
    }

    fn list(&self, names: &[String], options: &[&str]) -> Result<Vec<String>> {
        let text = run::output(
            self.command().args(["--list", "--format", "terse"]).args(options).args(self.choice(names)),
        )
        .with_context(|| format!("cannot list {}", self.title()))?;
        Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    }

    /// Runs tests and shows their output as it comes.
    pub(crate) fn run(&self, names: &[String], options: &[&str]) -> Result<Tally> {
        self.run_with(names, options, |line| println!("{line}"))
    }

    /// Runs tests and returns their output when they have ended.
    pub(crate) fn run_quietly(&self, names: &[String], options: &[&str]) -> Result<(Tally, String)> {
        let mut output = String::new();
        let tally = self.run_with(names, options, |line| {
            output.push_str(line);
            output.push('\n');
        })?;
        Ok((tally, output))
    }

    fn run_with(&self, names: &[String], options: &[&str], show: impl FnMut(&str)) -> Result<Tally> {
        let started = Instant::now();
        let mut tally = counted(self.command().args(options).args(self.choice(names)), show)?;
        tally.times.push((self.title(), started.elapsed()));
        for failure in &mut tally.failures {
            *failure = format!("{}: {failure}", self.name);
        }
        Ok(tally)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        // As cargo does it.
        command.current_dir(&self.dir).env("CARGO_MANIFEST_DIR", &self.dir);
        command
    }
}

/// Runs a test program (or cargo running some), shows its output and counts. A program that fails without
/// naming a failed test counts as one failure.
pub(crate) fn run_counted(command: &mut Command) -> Result<Tally> {
    counted(command, |line| println!("{line}"))
}

fn counted(command: &mut Command, mut show: impl FnMut(&str)) -> Result<Tally> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let stdout = child.stdout.take().context("the output of the tests is not there to read")?;
    let mut tally = Tally::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("cannot read what the tests say")?;
        let line = String::from_utf8_lossy(&line);
        show(&line);
        tally.line(&line);
    }
    let status = child.wait().context("cannot wait for the tests")?;
    if !status.success() && tally.failed == 0 {
        tally.failed += 1;
        tally.failures.push(format!("the program itself ({status})"));
    }
    if status.success() && !tally.complete {
        bail!("{} ended well but gave no test result", command.get_program().display());
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_program_is_recognised() {
        let line = r#"{"reason":"compiler-artifact","package_id":"p","manifest_path":"/w/tests/Cargo.toml",
            "target":{"kind":["test"],"crate_types":["bin"],"name":"kernel_load","src_path":"/w/x.rs"},
            "profile":{"opt_level":"0","test":true},"executable":"/w/target/debug/deps/kernel_load-1"}"#;
        let suite = Suite::from_message(line).unwrap();
        assert_eq!((suite.name.as_str(), suite.integration), ("kernel_load", true));
        assert_eq!(suite.dir, Path::new("/w/tests"));
    }

    #[test]
    fn a_name_picks_tests_and_a_suites_own_name_all_of_them() {
        let (name, executable, dir) = ("story".to_owned(), PathBuf::new(), PathBuf::new());
        let mut suite = Suite { name, integration: true, executable, skipped: Vec::new(), dir };
        // The beginning of every story's name is none of the suite's: other suites with it are filtered alike.
        let names = ["story_".to_owned()];
        assert_eq!(suite.filters(&names), names);
        assert_eq!(suite.filters(&["sto".to_owned()]), [""; 0]);
        suite.skipped = vec!["long"];
        assert_eq!(suite.choice(&names).collect::<Vec<_>>(), ["story_", "--skip", "long"]);
    }

    #[test]
    fn ordinary_programs_and_other_messages_are_not() {
        let program = r#"{"reason":"compiler-artifact","manifest_path":"/w/Cargo.toml",
            "target":{"kind":["bin"],"name":"x"},"profile":{"test":false},"executable":"/w/x"}"#;
        assert_eq!(Suite::from_message(program), None);
        assert_eq!(Suite::from_message(r#"{"reason":"build-finished","success":true}"#), None);
    }
}
