//! What the documentation says and the code knows better: names, commands, configs and links.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use guard_common::abi::Loss;
use guard_common::verdict::{Reason, Verdict};
use guard_tests::pages::blocks;
use guard_user::cli::command::Cli;
use guard_user::config::{self, Surroundings};
use guard_user::geo::embedded;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every page, with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let markdown = |folder: PathBuf| {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "md"))
    };
    let mut paths: Vec<PathBuf> = markdown(root()).chain(markdown(root().join("docs"))).collect();
    paths.sort();
    assert!(paths.iter().any(|path| path.ends_with("README.md")));
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// The words of a line of shell, with quotes taken off; a comment ends it.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote): (Option<String>, Option<char>) = (None, None);
    for letter in line.chars() {
        match (letter, quote) {
            (_, Some(end)) if letter == end => quote = None,
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (' ', None) => words.extend(word.take()),
            ('#', None) if word.is_none() => break,
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// The commands that begin with this word in the code blocks of all pages.
fn commands(program: &str) -> Vec<(PathBuf, Vec<String>)> {
    let mut found = Vec::new();
    for (path, text) in pages() {
        // What commands print is no command.
        for (_, block) in blocks(&text).into_iter().filter(|(kind, _)| *kind != "text") {
            // Where there is a prompt, the other lines are what the command says.
            let prompt = if block.lines().any(|line| line.starts_with("$ ")) { "$ " } else { "" };
            for line in block.lines().filter_map(|line| line.strip_prefix(prompt)) {
                // A synopsis tells what may be left out.
                if line.starts_with(&format!("{program} ")) && !line.contains('[') {
                    let line = line.split(" | ").next().unwrap();
                    found.push((path.clone(), words(line)));
                }
            }
        }
    }
    found
}

#[test]
fn words_are_split_as_a_shell_does() {
    assert_eq!(words(r#"a --why "it is 'over'" b # c"#), ["a", "--why", "it is 'over'", "b"]);
    assert_eq!(words("a '' c"), ["a", "", "c"]);
}

#[test]
fn every_command_of_the_program_that_is_shown_is_one() {
    let commands = commands("borderguard");
    assert!(commands.len() > 20, "{}", commands.len());
    for (page, words) in commands {
        if let Err(error) = Cli::try_parse_from(&words) {
            panic!("{}: {}: {error}", page.display(), words.join(" "));
        }
    }
}

#[test]
fn every_command_of_xtask_that_is_shown_is_one() {
    let source = page("xtask/src/main.rs");
    let known: Vec<String> = source
        .lines()
        .filter_map(|line| line.trim().split_once("::Arguments)"))
        .filter_map(|(before, _)| before.split_once('(').map(|(name, _)| name.to_lowercase()))
        .collect();
    assert!(known.len() >= 5, "{known:?}");
    let shown: Vec<_> =
        commands("cargo").into_iter().filter(|(_, words)| words.get(1).unwrap() == "xtask").collect();
    assert!(!shown.is_empty());
    for (page, words) in shown {
        let name = words.get(2).unwrap();
        assert!(known.contains(name), "{}: cargo xtask {name} is none of {known:?}", page.display());
    }
}

#[test]
fn every_link_to_a_file_of_the_project_leads_to_one() {
    let mut links = 0;
    for (page, text) in pages() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if target.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            let file = page.parent().unwrap().join(target);
            assert!(file.exists(), "{}: no file {target}", page.display());
        }
    }
    assert!(links > 30, "{links}");
}

#[test]
fn every_config_that_is_shown_is_one_without_errors_and_warnings() {
    let database = embedded::load();
    let place = |address| Some(database.lookup(address));
    let surroundings = Surroundings::new(Some(&place));
    let folder = tempfile::tempdir().unwrap();
    let mut configs = vec![(PathBuf::from("packaging/policy.toml"), page("packaging/policy.toml"))];
    for (page, text) in pages() {
        let whole =
            blocks(&text).into_iter().filter(|(kind, block)| *kind == "toml" && block.contains("[host]"));
        configs.extend(whole.map(|(_, block)| (page.clone(), block)));
    }
    assert!(configs.len() > 1);
    for (page, text) in configs {
        let file = folder.path().join("policy.toml");
        fs::write(&file, text).unwrap();
        match config::load(&file, &surroundings) {
            Ok(checked) => assert!(checked.warnings.is_empty(), "{}: {:?}", page.display(), checked.warnings),
            Err(errors) => panic!("{}: {errors}", page.display()),
        }
    }
}

/// The first cells of a table's rows, between backquotes, that follow this heading.
fn names_below(text: &str, heading: &str) -> Vec<String> {
    let (_, rest) =
        text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let section = rest.split("\n#").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next().map(str::to_owned)).collect()
}

/// A suite that is named as the proof of something is there.
#[test]
fn the_threat_model_names_suites_that_exist() {
    let text = page("docs/threat-model.md");
    let words: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    let is_suite = |word: &&&str| {
        ["kernel_", "e2e_", "guest_", "control_"].iter().any(|start| word.starts_with(start))
            && !word.ends_with('_')
    };
    let suites: Vec<&&str> = words.iter().filter(is_suite).collect();
    assert!(suites.len() > 20, "{suites:?}");
    for suite in suites {
        let file = root().join(format!("tests/tests/{suite}.rs"));
        assert!(file.exists(), "docs/threat-model.md: no {}", file.display());
    }
}

#[test]
fn the_analysts_page_has_every_verdict() {
    let expected: Vec<_> = Verdict::ALL.iter().map(|verdict| verdict.name()).collect();
    assert_eq!(names_below(&page("docs/security.md"), "## Verdicts"), expected);
}

#[test]
fn the_analysts_page_has_every_loss() {
    let mut expected: Vec<_> = Loss::ALL.iter().map(|loss| loss.name()).collect();
    // Counted by the daemon, not by the kernel.
    expected.extend(["evicted", "log", "history", "hold", "diagnostics"]);
    assert_eq!(names_below(&page("docs/security.md"), "## Losses"), expected);
}

#[test]
fn reasons_that_pass_flag_or_drop_are_told_apart_without_a_gap() {
    let text = page("docs/reasons.md");
    let (_, rest) = text.split_once("## What follows from each").unwrap();
    let told = rest.split("\n## ").next().unwrap();
    for reason in Reason::ALL {
        let name = format!("`{}`", reason.name());
        assert_eq!(told.matches(&name).count(), 1, "docs/reasons.md must place {name} once");
    }
}
