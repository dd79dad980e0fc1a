//! Which names are one, and which are not.

use proptest::prelude::*;

use super::*;

const TREATY: &str = "US-Ireland MLAT 2001";

#[test]
fn a_name_is_the_same_in_all_that_looks_like_it() {
    for other in [
        "us ireland mlat (2001)",
        "US\u{2013}Ireland MLAT 2001",
        "US\u{2014}Ireland MLAT 2001",
        "US-ireIand mlat 2001",
        "uS-ireland mIat 2001",
        "US-Ireland MLAT ②⓪⓪①",
        "US-Ireland MLAT ❷⓿⓿❶",
        "US-Ireland MLAT ٢٠٠١",
        "US-Ireland MLAT ２００１",
        "US-Ireland MLAT zoo1",
        "US-Ireland MLAT 20O1!",
        "U5-Ireland MLAT 2001",
        "U$-Ireland MLAT 2001",
        "US-!reland MLAT 2001",
        "US-|reland MLAT 2001",
        "US-Irelancl MLAT 2001",
        "US-Irela\u{43f}d MLAT 2001",
        "U\u{405}-\u{406}rel\u{430}nd \u{41c}LA\u{422} 2001",
        "US-Irelᴀnd MLAT 2001",
        "ＵＳ-Ireland MLAT 2001",
        "🇺🇸-Ireland MLAT 2001",
        "US-Íreländ MLÁT 2001",
        "US-Ireland MLAT 2001™",
        "US-Ireland ᴍʟᴀᴛ 2001",
        "US-Ireland MLAT 2○○1",
        "US-Ireland MLAT 2◯°1",
        "USーIreland MLAT 2001",
        "US一Ireland MLAT 2001",
        "US-Ireland MLA† 2001",
        "U§-Ireland MLAT 2001",
    ] {
        assert!(look_alike(TREATY, other) && look_alike(other, TREATY), "{other}");
    }
    for (one, other) in [
        ("Irish Mail Ltd", "irish maiI ltd"),
        ("Irish Mail Ltd", "lrish Mai! Ltd"),
        ("Yahoo! Inc", "Yahoo Inc"),
        ("Yahoo! Inc", "Yahoo! !nc"),
        ("Jump!Start", "JumpStart"),
        ("Commerz", "Cornrnerz"),
        ("Wave", "VVave"),
        ("Straße AG", "STRASSE AG"),
        ("Νόμος 4624", "ΝΌΜΟΣ 4624"),
        ("Минск", "МИНСК"),
        ("СССР", "CCCP"),
        ("Module II", "Module 11"),
    ] {
        assert!(look_alike(one, other), "{one} {other}");
    }
}

#[test]
fn other_names_are_other_names() {
    for other in [
        "US-Ireland MLAT 2002",
        "US-Ireland MLAT 2010",
        "US-Ireland MLAT ٢٠٠٢",
        "US-Ireland MLAT ②⓪⓪②",
        "UK-Ireland MLAT 2001",
        "US-Iceland MLAT 2001",
        "US-Ireland 2001",
        "US-Ireland M\u{41b}AT 2001",
        "",
    ] {
        assert!(!look_alike(TREATY, other), "{other}");
    }
    for (one, other) in [
        ("Court A", "Court B"),
        ("SCC 2021/914", "SCC 2021/915"),
        ("Module I", "Module II"),
        ("民法", "刑法"),
        ("Νόμος", "Κώδικας"),
    ] {
        assert!(!look_alike(one, other), "{one} {other}");
    }
    for (one, other) in (0..10).flat_map(|one| (0..10).map(move |other| (one, other))) {
        let name = |digit: u32| format!("Directive 95/4{digit}");
        assert_eq!(look_alike(&name(one), &name(other)), one == other, "{one} {other}");
    }
}

#[test]
fn a_digit_of_any_script_is_that_digit() {
    let digits = ('\0'..=char::MAX).filter_map(|letter| Some((letter, digit(letter)?)));
    let digits: Vec<(char, char)> = digits.collect();
    assert!(digits.len() > 500 && digits.len().is_multiple_of(10), "{}", digits.len());
    for (letter, digit) in digits {
        let compatible: String = letter.nfkd().filter(char::is_ascii_digit).collect();
        assert!(compatible.is_empty() || compatible == digit.to_string(), "U+{:04X}", u32::from(letter));
    }
    for (letter, expected) in [('٧', '7'), ('९', '9'), ('৪', '4'), ('𝟘', '0'), ('𝟿', '9'), ('7', '7')]
    {
        assert_eq!(digit(letter), Some(expected));
    }
}

#[test]
fn the_letter_of_another_script_is_found() {
    for alone in [
        TREATY,
        "Éire, Łódź & Straße 5",
        "Минск 2001",
        "Νόμος 4624/2019",
        "ソニー株式会社 Sony",
        "Tシャツ",
        "삼성 SDI",
        "中国银行 Bank",
        "شركة ٢٠٠١",
        "5 - !",
        "",
    ] {
        assert_eq!(OtherScript::find(alone), None, "{alone}");
    }
    for (mixed, letter, at) in [
        ("Irela\u{43f}d", '\u{43f}', 6),
        ("Alpha Ελλάς", 'Ε', 7),
        ("Минск Bank", 'B', 7),
        ("MLAT ٢٠٠١", '٢', 6),
        ("ソニー Минск", 'М', 5),
        ("Օpen", 'p', 2),
    ] {
        assert_eq!(OtherScript::find(mixed), Some(OtherScript { letter, at }), "{mixed}");
    }
    let told = OtherScript::find("Irela\u{43f}d").unwrap().to_string();
    assert_eq!(
        told,
        "has letters of several scripts: U+043F as character 6 is of another than those before it"
    );
}

#[test]
fn in_identities_signs_count() {
    let alike = |one: &str, other: &str| looks(one).iter().any(|form| looks(other).contains(form));
    for other in ["ANNl@example.org", "anni@example.org", "ann1@exarnple.org", "\u{430}nnl@example.org"] {
        assert!(alike("annl@example.org", other), "{other}");
    }
    for other in ["ann.l@example.org", "annl@example-org", "ann2@example.org"] {
        assert!(!alike("annl@example.org", other), "{other}");
    }
}

/// What can be written in the place of a letter or of two.
static CLASSES: [&[&str]; 10] = [
    &["i", "I", "l", "L", "1", "|", "!"],
    &["o", "O", "0"],
    &["s", "S", "5"],
    &["z", "Z", "2"],
    &["b", "B", "8"],
    &["g", "G", "9"],
    &["m", "M", "rn", "RN"],
    &["d", "D", "cl", "cI"],
    &["w", "W", "vv", "VV"],
    &["a", "A"],
];

/// A name written in two ways, a letter or a sign after the other.
fn name_twice() -> impl Strategy<Value = (String, String)> {
    let of_class = prop::sample::select(&CLASSES[..]).prop_flat_map(|class| {
        (prop::sample::select(class), prop::sample::select(class))
            .prop_map(|(one, other)| (one.to_owned(), other.to_owned()))
    });
    let any_case = |letter: char| {
        let cases =
            vec![letter.to_string(), letter.to_lowercase().collect(), letter.to_uppercase().collect()];
        prop::sample::select(cases).prop_map(move |other: String| (letter.to_string(), other))
    };
    let part = prop_oneof![
        3 => of_class,
        3 => prop::char::range('a', 'z').prop_flat_map(any_case),
        1 => prop::sample::select(vec!["-", " ", ", ", "/"]).prop_map(|sign| (sign.to_owned(), " ".to_owned())),
    ];
    prop::collection::vec(part, 1..24).prop_map(|parts| parts.into_iter().unzip())
}

proptest! {
    #[test]
    fn letters_that_are_swapped_within_a_class_change_no_name((one, other) in name_twice()) {
        prop_assert!(look_alike(&one, &other), "{:?} {:?}", forms(&one), forms(&other));
    }

    #[test]
    fn capitals_change_no_name(name in "\\PC{0,16}", capitals in prop::collection::vec(0..3_u8, 16)) {
        let cased = name.chars().zip(&capitals).map(|(letter, case)| match case {
            0 => letter.to_string(),
            1 => letter.to_lowercase().collect(),
            _ => letter.to_uppercase().collect(),
        });
        let cased: String = cased.collect();
        prop_assert!(look_alike(&name, &cased), "{} {:?} {:?}", cased, forms(&name), forms(&cased));
    }

    #[test]
    fn another_digit_or_another_word_is_another_name(
        (word, changed) in (0..6_usize, 0..6_usize), (year, next) in (1900..2100_u32, 1900..2100_u32),
    ) {
        const WORDS: [&str; 6] = ["Ireland", "Iceland", "Japan", "Poland", "Finland", "Mail"];
        let name = |word: usize, year: u32| format!("Treaty with {} of {year}", WORDS[word]);
        let is_one = look_alike(&name(word, year), &name(changed, next));
        prop_assert_eq!(is_one, (word, year) == (changed, next));
    }

    #[test]
    fn no_name_makes_it_panic(one in any::<String>(), other in any::<String>()) {
        let _either = look_alike(&one, &other);
        let _none = OtherScript::find(&one);
    }
}
