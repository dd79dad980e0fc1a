//! Words that are no names for parts: metaphors that a reader would have to be told the meaning of.

use super::tree::Tree;

/// The words, in their singular.
const BANNED: [&str; 5] = ["teller", "desk", "porter", "seam", "ledger"];
/// The file that lists them, and the one that lists where they still are.
const OWN: [&str; 2] = ["xtask/src/tidy/words.rs", "xtask/src/tidy/known.rs"];

/// What is wrong with the words of the tree's file names, Rust files and documents. `known` are the paths of the
/// files where they still are.
pub(super) fn findings(tree: &Tree, known: &[&str]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in &tree.files {
        if OWN.contains(&file.path.as_str()) {
            continue;
        }
        let in_path = words(&file.path).find_map(|word| banned(&word));
        let is_read = [".rs", ".md", ".toml", ".service"].iter().any(|end| file.path.ends_with(end));
        let in_text = is_read.then(|| in_text(&file.text)).flatten();
        let excepted = known.contains(&file.path.as_str());
        match (in_path, in_text) {
            (None, None) if excepted => {
                findings
                    .push(format!("{}: take it out of xtask/src/tidy/known.rs, it is well now", file.path));
            }
            _ if excepted => {}
            (Some(word), _) => findings.push(format!("{}: \"{word}\" is no name for a part", file.path)),
            (None, Some((line, word))) => {
                findings.push(format!("{}:{line}: \"{word}\" is no name for a part", file.path));
            }
            (None, None) => {}
        }
    }
    for path in known.iter().filter(|path| !tree.files.iter().any(|file| file.path == **path)) {
        findings.push(format!("{path} is gone: take it out of xtask/src/tidy/known.rs"));
    }
    findings
}

/// The first banned word of a text, with its line.
fn in_text(text: &str) -> Option<(usize, &'static str)> {
    let mut lines = text.lines().enumerate();
    lines.find_map(|(at, line)| Some((at + 1, words(line).find_map(|word| banned(&word))?)))
}

fn banned(word: &str) -> Option<&'static str> {
    BANNED.into_iter().find(|banned| word == *banned || word.strip_suffix('s') == Some(banned))
}

/// The words of a text in small letters: `LogDesk`, `log_desk` and `LOG_DESK` have two.
fn words(text: &str) -> impl Iterator<Item = String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut before_small = false;
    for letter in text.chars() {
        if !letter.is_alphabetic() || (letter.is_uppercase() && before_small) {
            words.push(std::mem::take(&mut word));
        }
        if letter.is_alphabetic() {
            word.extend(letter.to_lowercase());
        }
        before_small = letter.is_lowercase();
    }
    words.push(word);
    words.into_iter().filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_several_words_is_read_word_by_word() {
        let split = |text| words(text).collect::<Vec<_>>().join(" ");
        assert_eq!(split("LogDesk.open(LOG_DESK, log_desk2)"), "log desk open log desk log desk");
        assert_eq!(split("src/reporter.rs"), "src reporter rs");
    }

    #[test]
    fn banned_words_are_found_in_names_of_files_and_in_texts() {
        let tree = Tree::of(&[
            ("src/teller.rs", ""),
            ("src/a.rs", "struct Reporter;\nfn open_ledgers() {}\n"),
            ("docs/b.md", "The porter opens."),
            ("docs/c.svg", "porter"),
            ("src/d.rs", "struct Exporter; // imported, seamless"),
        ]);
        assert_eq!(
            findings(&tree, &[]),
            [
                "src/teller.rs: \"teller\" is no name for a part",
                "src/a.rs:2: \"ledger\" is no name for a part",
                "docs/b.md:1: \"porter\" is no name for a part"
            ]
        );
    }

    #[test]
    fn the_list_of_known_files_only_shrinks() {
        let tree = Tree::of(&[("src/teller.rs", ""), ("src/a.rs", "")]);
        assert_eq!(
            findings(&tree, &["src/teller.rs", "src/a.rs", "src/gone.rs"]),
            [
                "src/a.rs: take it out of xtask/src/tidy/known.rs, it is well now",
                "src/gone.rs is gone: take it out of xtask/src/tidy/known.rs"
            ]
        );
    }
}
