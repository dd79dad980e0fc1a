//! docs/approvals.md has every reason for which a document is not approved.

const DOCS: &str = include_str!("../../../../docs/approvals.md");

/// The codes that a source file gives.
fn codes_in(source: &str) -> Vec<&str> {
    let table = source.split("pub const fn code(&self)").nth(1).unwrap();
    table.lines().filter_map(|line| line.split_once("=> \"")?.1.strip_suffix("\",")).collect()
}

fn rows(heading: &str) -> Vec<&'static str> {
    let (_, rest) = DOCS.split_once(heading).unwrap_or_else(|| panic!("docs/approvals.md has {heading}"));
    let section = rest.split("\n## ").next().unwrap().split("\n### ").next().unwrap();
    section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(code, _)| code)
        .collect()
}

#[test]
fn the_documentation_lists_every_reason() {
    let refusals = codes_in(include_str!("../refusal.rs"));
    let not_enough = codes_in(include_str!("../quorum.rs"));
    assert!(refusals.len() > 10 && not_enough.len() > 5);
    assert_eq!(rows("### A signature that does not count\n"), refusals);
    assert_eq!(rows("### Good signatures that are not enough\n"), not_enough);
}
