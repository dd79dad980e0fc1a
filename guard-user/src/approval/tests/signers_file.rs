//! The file of allowed signers, against `ssh-keygen -Y match-principals` and by examples of every error.

use std::os::unix::fs::PermissionsExt;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::oracle::{Desk, ED25519, OTHER_ED25519, RSA_1024, key, run, sign, ssh_keygen};
use crate::approval::allowed_signers::{FILE_BYTES, Problem};
use crate::approval::load::{LoadError, load};
use crate::approval::pattern::PatternList;
use crate::approval::{AllowedSigners, EXEMPTION};

const ANNE: &str = "anne@example.org";

fn parse(text: &str) -> Result<AllowedSigners, Problem> {
    AllowedSigners::parse(text.as_bytes(), &TimeZone::UTC).map_err(|error| error.problem)
}

/// What `ssh-keygen` lets pass and we refuse: a file that looks careless where it decides who may approve.
fn stricter_on_purpose(problem: &Problem) -> bool {
    matches!(
        problem,
        Problem::Quote
            | Problem::Pattern
            | Problem::Certificate
            | Problem::UnknownOption(_)
            | Problem::BadTime(_)
            | Problem::UnusableKey(_)
            | Problem::BadKey
            | Problem::NotText
    )
}

prop_compose! {
    /// A line of the grammar, now and then with something wrong.
    fn line()(
        indent in "[ \t]{0,2}",
        principals in prop_oneof![
            6 => "(!?[an?*]{1,3}(@example\\.(org|\\*))?,){0,2}!?(anne|a\\*|\\*|\\?nne)(@example\\.org)?",
            1 => "\"[an* ]{0,4}(,anne@example.org)?\"",
            1 => "[a,\"!]{1,4}",
        ],
        gap in "[ \t]{1,2}",
        options in prop::collection::vec(prop_oneof![
            2 => "(N|n)amespaces=\"[a-z*,!]{0,8}\"",
            2 => "valid-after=\"20[012][0-9](0[1-9]|1[0-2])(0[1-9]|[123][0-9])([0-2][0-9][0-6][0-9]){0,2}Z?\"",
            2 => "valid-before=\"20[2345][0-9](0[1-9]|1[0-2])(0[1-9]|[123][0-9])([0-2][0-9][0-6][0-9]){0,2}Z?\"",
            1 => "(cert-authority|no-touch|namespaces|valid-after=2020|valid-before=\"|namespaces=\"a\\\\\"b\"|)",
        ], 0..3),
        comma in prop::sample::select(&[",", ",", ",", ",,", ", "][..]),
        key in prop::sample::select(&[ED25519, OTHER_ED25519][..]),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
        comment in "( [a-z \"]{0,6})?",
    ) -> String {
        let options = options.join(comma);
        let after = if options.is_empty() { "" } else { " " };
        let mut key = super::oracle::key(key).public.clone();
        if let Some(cut) = cut {
            key.truncate(cut.index(key.len()));
        }
        format!("{indent}{principals}{gap}{options}{after}{key}{comment}\n")
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_line_means_what_it_means_to_ssh_keygen(line in line()) {
        let theirs = Desk::new().match_principals(ANNE, line.as_bytes());
        match parse(&line) {
            Ok(file) => {
                let ours = file.lines().iter().any(|line| line.principals.matches(ANNE));
                prop_assert_eq!(ours, theirs.is_some(), "{}", line);
            }
            // They look at the rest of a line only where it is for the one who is asked for.
            Err(problem) => prop_assert!(theirs.is_none() || stricter_on_purpose(&problem), "{}{:?}", line, problem),
        }
    }

    #[test]
    fn a_file_names_whom_it_names_to_ssh_keygen(lines in prop::collection::vec(line(), 0..5)) {
        let good: String = lines.into_iter().filter(|line| parse(line).is_ok()).collect();
        let theirs = Desk::new().match_principals(ANNE, good.as_bytes()).unwrap_or_default();
        let file = parse(&good).unwrap();
        let ours = file.lines().iter().filter(|line| line.principals.matches(ANNE)).count();
        prop_assert_eq!(ours, theirs.lines().count(), "{}{}", good, theirs);
    }

    #[test]
    fn a_local_time_is_never_milder_than_to_ssh_keygen(
        zone in prop::sample::select(&["Europe/Berlin", "Europe/Dublin", "America/New_York", "Australia/Lord_Howe", "Asia/Tokyo", "UTC"][..]),
        (month, day, hour) in (1..13_u8, 1..29_u8, 0..24_u8),
        minutes in -150..150_i64,
        before in any::<bool>(),
    ) {
        let time = format!("2026{month:02}{day:02}{hour:02}30");
        let option = if before { "valid-before" } else { "valid-after" };
        let line = format!("{ANNE} {option}=\"{time}\" {}\n", key(ED25519).public);
        let zone_of = TimeZone::get(zone).unwrap();
        let local: jiff::civil::DateTime = format!("2026-{month:02}-{day:02}T{hour:02}:30:00").parse().unwrap();
        let around = zone_of.to_ambiguous_timestamp(local).compatible().unwrap();
        let now = around + jiff::SignedDuration::from_mins(minutes);

        static SIGNED: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let signature = SIGNED.get_or_init(|| sign(key(ED25519), EXEMPTION, "sha512", b"x"));
        let desk = Desk::new();
        let mut command = ssh_keygen();
        command.env("TZ", zone).args(["-q", "-Y", "verify", "-n", EXEMPTION, "-I", ANNE]);
        command.arg(format!("-Overify-time={}Z", now.strftime("%Y%m%d%H%M%S")));
        command.arg("-f").arg(desk.write("a", line.as_bytes())).arg("-s").arg(desk.write("s", signature));
        let theirs = run(command, b"x").status.success();

        let file = AllowedSigners::parse(line.as_bytes(), &zone_of).unwrap();
        let ours = crate::approval::verify(b"x", signature, EXEMPTION, &[ANNE], &file, now).is_ok();
        prop_assert!(theirs || !ours, "{}{} {}", line, zone, now);
        // Outside the hour that readings can differ by it is the same.
        prop_assert!(ours == theirs || minutes.abs() <= 60, "{}{} {}", line, zone, now);
    }
}

/// A line, and which error it is.
type Case = (String, fn(&Problem) -> bool);

#[test]
fn every_error_has_its_name_and_line() {
    let public = &key(ED25519).public;
    let (kind, blob) = public.split_once(' ').unwrap();
    let weak = &key(RSA_1024).public;
    let cases: [Case; 24] = [
        (format!("\"{ANNE} {public}"), |p| *p == Problem::Quote),
        (format!("\"{ANNE}\"{public}"), |p| *p == Problem::Quote),
        (format!("an\"ne {public}"), |p| *p == Problem::Quote),
        (format!("{ANNE} namespaces=\"a b {public}"), |p| *p == Problem::Quote),
        (format!("{ANNE} namespaces=\"a\"b {public}"), |p| *p == Problem::Quote),
        (format!("{ANNE}, {public}"), |p| *p == Problem::Pattern),
        (format!("{} {public}", "a".repeat(1001)), |p| *p == Problem::Pattern),
        (format!("{ANNE} namespaces=\"\" {public}"), |p| *p == Problem::Pattern),
        (ANNE.to_owned(), |p| *p == Problem::NoKey),
        (format!("{ANNE} {kind}"), |p| *p == Problem::NoKey),
        (format!("{ANNE} namespaces=\"file\""), |p| *p == Problem::NoKey),
        (format!("{ANNE} {kind} AAAA"), |p| *p == Problem::BadKey),
        (format!("{ANNE} ssh-rsa {blob}"), |p| *p == Problem::BadKey),
        (format!("{ANNE} {kind} {blob}AAAA"), |p| *p == Problem::BadKey),
        (format!("{ANNE} {weak}"), |p| matches!(p, Problem::UnusableKey(_))),
        (format!("{ANNE} cert-authority {public}"), |p| *p == Problem::Certificate),
        (format!("{ANNE} {kind}-cert-v01@openssh.com {blob}"), |p| *p == Problem::Certificate),
        (format!("{ANNE} verify-required {public}"), |p| matches!(p, Problem::UnknownOption(_))),
        (format!("{ANNE} valid-before=20300101 {public}"), |p| matches!(p, Problem::UnknownOption(_))),
        (format!("{ANNE} valid-before=\"20300231Z\" {public}"), |p| matches!(p, Problem::BadTime(_))),
        (format!("{ANNE} valid-before=\"203001\" {public}"), |p| matches!(p, Problem::BadTime(_))),
        (format!("{ANNE} namespaces=\"a\",namespaces=\"b\" {public}"), |p| {
            *p == Problem::RepeatedOption("namespaces")
        }),
        (format!("{ANNE} valid-after=\"20260102Z\",valid-before=\"20260102Z\" {public}"), |p| {
            *p == Problem::NeverValid
        }),
        (format!("{ANNE} {public}\u{7}"), |p| *p == Problem::NotText),
    ];
    for (line, expected) in cases {
        let file = format!("# approvers\n\n{ANNE} {public}\n{line}\n");
        let error = AllowedSigners::parse(file.as_bytes(), &TimeZone::UTC).expect_err(&line);
        assert!(expected(&error.problem) && error.line == 4, "{line}\n{error:?}");
        assert!(error.to_string().starts_with("line 4: "));
    }
    let long = vec![b'\n'; FILE_BYTES + 1];
    assert_eq!(AllowedSigners::parse(&long, &TimeZone::UTC).unwrap_err().problem, Problem::TooLong);
}

#[test]
fn patterns_are_those_of_ssh_config() {
    for (patterns, text, matches) in [
        ("*", "", true),
        ("", "", true),
        ("a*b*c", "axxbyyc", true),
        ("a*b*c", "axxbyy", false),
        ("*a", "aaab", false),
        ("*ab", "aaab", true),
        ("a?c", "ac", false),
        ("A", "a", false),
        ("!a", "b", false),
        ("*,!a", "a", false),
        ("*,!a", "b", true),
        ("!*,a", "a", false),
        ("x,a", "a", true),
    ] {
        assert_eq!(PatternList::new(patterns).matches(text), matches, "{patterns} {text}");
    }
    // Many stars take no more time than the product of the lengths.
    assert!(!PatternList::new(&"*a".repeat(400)).matches(&"a".repeat(399)));
}

#[test]
fn a_file_that_others_can_write_is_refused() {
    let desk = Desk::new();
    let file = desk.write("a", format!("{ANNE} {}\n", key(ED25519).public).as_bytes());
    let mode = |mode| {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        load(&file, &TimeZone::UTC)
    };
    assert_eq!(mode(0o644).unwrap().lines().len(), 1);
    assert!(matches!(mode(0o664), Err(LoadError::Open { .. })));
    assert!(matches!(mode(0o646), Err(LoadError::Open { .. })));
    assert!(matches!(load(&file.with_extension("x"), &TimeZone::UTC), Err(LoadError::Unreadable { .. })));
    let folder = file.parent().unwrap();
    assert!(matches!(
        load(folder, &TimeZone::UTC),
        Err(LoadError::Unreadable { .. } | LoadError::Open { .. })
    ));
    let bad = desk.write("b", b"nobody\n");
    let error = load(&bad, &TimeZone::UTC).unwrap_err().to_string();
    assert!(error.contains("line 1: the key is missing"), "{error}");
}
