//! `cargo xtask test`: all tests, with what was skipped by name.

use std::{env, process::ExitCode};

use anyhow::{Result, bail};

use crate::{
    bpf, browser, kubernetes, lanes, prometheus, services,
    setup::{
        self,
        packages::{self, Purpose},
    },
    sigma, suites,
    tally::Tally,
};

/// Tests that need no root run on so many threads: two processors are not busy with two, for a part of them waits for the
/// disk, for other processes or for a deadline.
const THREADS: &str = "--test-threads=4";

/// Run all tests: unit, property, kernel and end to end
///
/// Tests that need root and BPF are ordinary tests marked `#[ignore = "needs root and BPF"]`. Where root and BPF are
/// there they run after the others, those of one file one after the other, and three files at a time but for those with
/// bounds of time; where they are not, each is named as skipped. Ends with the line
/// `N passed, N failed, N skipped`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Take a skipped test for a failure; also on when the environment says CI=true
    #[arg(long)]
    ci: bool,
    /// Only tests whose name, or whose file's name, contains one of these; no documentation examples then
    names: Vec<String>,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    let in_ci = arguments.ci || env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1");
    let names = &arguments.names;
    setup::ensure()?;
    let kernel = bpf::usable();
    if kernel.is_ok() {
        packages::ensure(Purpose::Scenario)?;
    }

    let mut sum = Tally::default();
    let mut in_the_kernel = Vec::new();
    for suite in suites::build()? {
        let tests = suite.tests(names)?;
        if suite.name.starts_with(suites::GUEST) {
            if !tests.kernel.is_empty() {
                println!("\n== {}: in the guests of `cargo xtask vm` alone", suite.title());
            }
            continue;
        }
        if !tests.plain.is_empty() {
            println!("\n== {}", suite.title());
            sum.add(suite.run(names, &[THREADS])?);
        }
        if tests.kernel.is_empty() {
            continue;
        }
        // Made only where it is wanted: that takes minutes.
        let able = kernel.clone().and_then(|()| {
            let made = match suite.name.as_str() {
                suites::SERVICES => services::ensure(services::Extent::Usual),
                prometheus::SUITE => prometheus::ensure(),
                browser::SUITE => browser::ensure(),
                sigma::SUITE => sigma::SIGMA.ensure(),
                kubernetes::SUITE => kubernetes::VALIDATE.ensure(),
                _ => Ok(()),
            };
            made.map_err(|error| format!("{error:#}"))
        });
        match able {
            Ok(()) => in_the_kernel.push(suite),
            Err(why) => {
                println!("\n== {}, in the kernel", suite.title());
                for test in &tests.kernel {
                    println!("skipped: {}::{test} ({why})", suite.name);
                    sum.skipped += 1;
                }
            }
        }
    }
    sum.add(lanes::run(&in_the_kernel, names)?);
    if names.is_empty() {
        println!("\n== examples in the documentation");
        sum.add(suites::run_counted(setup::cargo()?.args(["test", "--doc", "--quiet"]))?);
    }
    if sum.run() + sum.skipped == 0 {
        bail!("no name of a test contains {}", names.join(" or "));
    }

    println!("\n{}\n", sum.longest());
    for failure in &sum.failures {
        println!("failed: {failure}");
    }
    let skip_fails = in_ci && sum.skipped > 0;
    if skip_fails {
        println!("in CI a skipped test is a failure");
    }
    println!("{sum}");
    Ok(if sum.failed > 0 || skip_fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
