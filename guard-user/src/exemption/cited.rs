//! The articles that a text names, as lawyers write them, and whether one of them is that of a transfer's ground.

use super::ground::Ground;
use super::instrument::InstrumentKind;
use super::particulars::Law;
use crate::text::visible;

/// Words before the number of an article.
const ARTICLE: [&str; 5] = ["art", "article", "articles", "artikel", "arts"];
/// Words before a paragraph, or a letter of it.
const PART: [&str; 8] = ["abs", "absatz", "letter", "lit", "par", "para", "paragraph", "point"];
/// Words between several.
const LIST: [&str; 3] = ["and", "or", "und"];
/// Words of a range, which names what is between as well.
const RANGE: [&str; 3] = ["ff", "seq", "to"];
/// Names of the GDPR.
const GDPR: [&str; 4] = ["2016/679", "dsgvo", "gdpr", "rgpd"];
/// Words that name no other act than the GDPR and the Data Act.
const PLAIN: [&str; 15] = [
    "2023/2854",
    "conjunction",
    "data",
    "eu",
    "first",
    "in",
    "of",
    "read",
    "regulation",
    "second",
    "subparagraph",
    "the",
    "together",
    "uk",
    "with",
];

/// What a reader may doubt of the article that a document names: that it is neither its ground's nor its type's, and no other
/// act is named that may have such an article.
pub(super) fn doubt(article: &str, kind: InstrumentKind, ground: Ground, law: Law) -> Option<String> {
    // Articles of the Swiss act stand for several grounds.
    if law == Law::Ch {
        return None;
    }
    let cited = Cited::of(article);
    let names_other_act = cited.has_other_words && !cited.names_gdpr;
    let its_words = ground.meaning().split_once(": ").map(|(its_words, _)| its_words);
    let its = Cited::of(its_words.unwrap_or_default()).provisions;
    let of_kind = Cited::of(kind.article()).provisions;
    let fits = |it: &Provision| {
        let is_its_article = its.iter().any(|its| its.article == it.article);
        let is_a_letter = it.parts.get(1).is_some_and(|part| !is_number(part));
        match is_its_article {
            // Where no personal data leaves for a third country, an act of its own says so.
            _ if its.is_empty() => !["45", "46", "47", "49"].contains(&it.article.as_str()),
            // What the United Kingdom has put in.
            _ if law == Law::Uk && !it.article.bytes().all(|byte| byte.is_ascii_digit()) => true,
            true if ground == Ground::CompellingInterests && is_a_letter => false,
            // Art. 46(1), and in the United Kingdom (1A), are those of every safeguard.
            true => its.iter().any(|its| its.agrees(it)) || (ground.is_safeguard() && it.is_general()),
            false => of_kind.iter().any(|of_kind| of_kind.agrees(it)),
        }
    };
    if cited.provisions.is_empty() || cited.has_range || names_other_act || cited.provisions.iter().any(fits)
    {
        return None;
    }
    let its_words = its_words.map(|its_words| format!(": {its_words}")).unwrap_or_default();
    Some(format!(
        "its article \"{}\" is neither its ground's ({ground}{its_words}) nor its type's ({kind}: {}): correct what is wrong, \
         or write of which other act the article is",
        visible(article),
        kind.article()
    ))
}

/// A provision: an article, and its paragraph and letter as far as they are named.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Provision {
    article: String,
    parts: Vec<String>,
}

impl Provision {
    /// Whether they are the same as far as both say.
    fn agrees(&self, other: &Self) -> bool {
        self.article == other.article
            && self.parts.iter().zip(&other.parts).all(|(one, another)| one == another)
    }

    fn is_general(&self) -> bool {
        self.article == "46" && matches!(self.parts.first().map(String::as_str), Some("1" | "1a"))
    }
}

/// What a text cites.
#[derive(Debug, Default)]
struct Cited {
    provisions: Vec<Provision>,
    names_gdpr: bool,
    has_other_words: bool,
    has_range: bool,
}

impl Cited {
    fn of(text: &str) -> Self {
        let mut cited = Self::default();
        let mut before = String::new();
        for (gap, word) in words(text) {
            cited.take(&gap, &word, &before);
            before = word;
        }
        cited
    }

    /// Takes a word up, with what stands between it and the word before.
    fn take(&mut self, gap: &str, word: &str, before: &str) {
        let is_bracketed = gap.ends_with('(');
        let is_listed = gap.contains([',', ';', '/']) || LIST.contains(&before);
        let begins = ARTICLE.contains(&before) || (is_listed && !self.provisions.is_empty());
        self.has_range |= gap.contains(['-', '–']) || RANGE.contains(&word);
        if is_number(word) && !is_bracketed && begins {
            self.provisions.push(Provision { article: word.to_owned(), parts: Vec::new() });
        } else if is_part(word)
            && (is_bracketed || PART.contains(&before))
            && let Some(last) = self.provisions.last_mut()
        {
            if is_listed {
                let mut another = last.clone();
                another.parts.pop();
                another.parts.push(word.to_owned());
                self.provisions.push(another);
            } else {
                last.parts.push(word.to_owned());
            }
        } else if GDPR.contains(&word) {
            self.names_gdpr = true;
        } else {
            let is_known = [&ARTICLE[..], &PART, &LIST, &RANGE, &PLAIN].iter().any(|all| all.contains(&word));
            self.has_other_words |= !is_known && (before, word) != ("data", "act");
        }
    }
}

/// The words of a text in small letters, each behind what stands between it and the one before.
fn words(text: &str) -> Vec<(String, String)> {
    let mut words = Vec::new();
    let (mut gap, mut word) = (String::new(), String::new());
    for letter in text.to_lowercase().chars().chain([' ']) {
        if letter.is_alphanumeric() || (letter == '/' && !word.is_empty()) {
            word.push(letter);
            continue;
        }
        if !word.is_empty() {
            words.push((std::mem::take(&mut gap), std::mem::take(&mut word)));
        }
        gap.push(letter);
    }
    words
}

/// Whether a word is a number as articles and paragraphs have it: up to three digits, and a letter that may follow.
fn is_number(word: &str) -> bool {
    let digits = word.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
    (1..=3).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && word.len() <= digits.len() + 1
}

fn is_part(word: &str) -> bool {
    is_number(word) || (word.len() == 1 && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ground_and_type_is_read_as_it_is_written() {
        let shown = |text: &str| -> Vec<String> {
            let all = Cited::of(text).provisions.into_iter();
            all.map(|it| format!("{} {}", it.article, it.parts.join(" "))).collect()
        };
        for ground in Ground::ALL {
            let (its_words, _) = ground.meaning().split_once(": ").unwrap_or_default();
            let name = ground.name();
            let numbers = name.strip_prefix("art-").or_else(|| name.strip_prefix("data-act-"));
            let (article, parts) = numbers.map_or(("", ""), |it| it.split_once('-').unwrap_or((it, "")));
            let expected = match ground {
                Ground::NoTransfer => vec![],
                Ground::CompellingInterests => vec!["49 1".to_owned()],
                _ => vec![format!("{article} {}", parts.replace('-', " "))],
            };
            assert_eq!(shown(its_words), expected, "{ground}");
        }
        for (text, expected) in [
            ("Art. 46(2)(c), (d)", &["46 2 c", "46 2 d"][..]),
            ("Art. 46(2)(e), Art. 40(3)", &["46 2 e", "40 3"]),
            ("Articles 48 and 49 (1) (e) GDPR", &["48 ", "49 1 e"]),
            ("Art. 46 Abs. 2 lit. c DSGVO", &["46 2 c"]),
            ("Regulation (EU) 2023/1543", &[]),
            ("clause 8, section 4", &[]),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn an_article_that_is_neither_the_ground_s_nor_the_type_s_is_doubted() {
        use {Ground as G, InstrumentKind as K};
        for (kind, ground, texts) in [
            (
                K::TreatyRequest,
                G::AuthoritiesInstrument,
                &[
                    "Art. 49(1)(a)",
                    "Art. 99",
                    "art. 99 GDPR",
                    "Article 46(2)(b)",
                    "Art. 46(3)",
                    "Art. 49(1)(a) GDPR (explicit consent)",
                    "Articles 45 and 49",
                    "Art. 4",
                ][..],
            ),
            (K::TreatyRequest, G::PublicInterest, &["Art. 49(1)(e)", "Art. 46"]),
            (
                K::StandardClauses,
                G::CommissionClauses,
                &["Art. 46(2)(d)", "Art. 46 para. 2 lit. b", "Art. 45A"],
            ),
            (K::CorporateRules, G::RulesOfArticle47, &["Art. 46(2)(c)"]),
            (K::Derogation, G::LegalClaims, &["Art. 49(1)(a)", "Art. 48"]),
            (K::Derogation, G::CompellingInterests, &["Art. 49(1)(a)"]),
            (K::DataActRequest, G::DataActAgreement, &["Art. 32(3)", "Data Act, Art. 32(3)"]),
            (K::UnionOrder, G::NoTransfer, &["Art. 49(1)(a)"]),
        ] {
            for text in texts {
                let doubt = doubt(text, kind, ground, Law::Eu);
                let begins = format!("its article \"{text}\" is neither its ground's ({ground}");
                assert!(
                    doubt.as_ref().is_some_and(|it| it.starts_with(&begins)),
                    "{text} {ground}: {doubt:?}"
                );
            }
        }
    }

    #[test]
    fn what_fits_and_what_is_of_another_act_is_not_doubted() {
        use {Ground as G, InstrumentKind as K};
        for (kind, ground, law, texts) in [
            (
                K::TreatyRequest,
                G::AuthoritiesInstrument,
                Law::Eu,
                &[
                    "Art. 48",
                    "Art. 46",
                    "Art. 46(2)",
                    "Art. 46(1)",
                    "Art. 46(2)(a) GDPR",
                    "Art. 48, Art. 46(2)(a)",
                    "Art. 4 of the Treaty; Art. 48 GDPR",
                    "Art. 49(1)(a) of the Convention",
                    "Article 5 MLAT",
                    "Art. 44-49",
                    "Criminal Justice (Mutual Assistance) Act 2008, s. 75",
                    "the whole of it",
                ][..],
            ),
            (
                K::CorporateRules,
                G::CorporateRules,
                Law::Eu,
                &["Art. 47", "Art. 46(2)(b)", "Art. 46(2)(b), 47"],
            ),
            (K::Certification, G::Certification, Law::Eu, &["Art. 42(2)"]),
            (
                K::AdequacyDecision,
                G::Adequacy,
                Law::Eu,
                &["Art. 45", "Art. 45(3)", "Art. 1 of Decision (EU) 2023/1795"],
            ),
            (
                K::Derogation,
                G::CompellingInterests,
                Law::Eu,
                &["Art. 49(1), second subparagraph", "Art. 49(1)"],
            ),
            (K::DataActRequest, G::DataActConditions, Law::Eu, &["Art. 32(3)", "Data Act, Art. 32"]),
            (K::UnionOrder, G::NoTransfer, Law::Eu, &["Art. 5", "Regulation (EU) 2023/1543, Art. 5(2)"]),
            (K::AdequacyDecision, G::Adequacy, Law::Uk, &["Art. 45A", "UK GDPR, Art. 45B"]),
            (K::StandardClauses, G::AuthorityClauses, Law::Uk, &["Art. 46(1A)", "Art. 46(2)(d)"]),
            (K::StandardClauses, G::CommissionClauses, Law::Ch, &["Art. 16(2)(d)"]),
        ] {
            for text in texts {
                assert_eq!(doubt(text, kind, ground, law), None, "{text} {ground}");
            }
        }
    }
}
