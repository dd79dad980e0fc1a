//! OpenSSH's file of allowed signers (ssh-keygen(1), ALLOWED SIGNERS): a line for each key, with whose it
//! is, what it may sign, and when. Any line that is not understood refuses the whole file, since what it
//! was meant to forbid is not known.

use base64ct::{Base64, Encoding};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ssh_key::HashAlg;
use ssh_key::public::KeyData;

use super::pattern::PatternList;
use super::refusal::Refusal;
use super::signature;
use super::validity::{self, End};

/// Bytes of the file: some ten thousand keys.
pub const FILE_BYTES: usize = 1 << 20;
/// Bytes of one pattern: OpenSSH's `match_pattern_list` takes no longer one.
const PATTERN_BYTES: usize = 1000;

/// The lines of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedSigners {
    lines: Vec<Line>,
}

/// One key, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number in the file, from 1.
    pub number: usize,
    /// The identities that the key speaks for.
    pub principals: PatternList,
    /// What it may sign; `None`: anything.
    pub namespaces: Option<PatternList>,
    /// The first second of its validity.
    pub valid_after: Option<Timestamp>,
    /// The last second of its validity.
    pub valid_before: Option<Timestamp>,
    /// The key.
    pub key: KeyData,
}

/// What is wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct FileError {
    /// Where, from 1.
    pub line: usize,
    /// What.
    pub problem: Problem,
}

/// What can be wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file has more than [`FILE_BYTES`].
    #[error("the file has more than {FILE_BYTES} bytes")]
    TooLong,
    /// Bytes that are not UTF-8, or control characters.
    #[error("here is a byte that is no text")]
    NotText,
    /// A quote that does not end, or one in the middle of a word.
    #[error("a double quote stands where none can, or does not end")]
    Quote,
    /// A pattern that is empty or that OpenSSH would never match.
    #[error("a pattern is empty, or longer than {PATTERN_BYTES} bytes")]
    Pattern,
    /// No key follows the principals and options.
    #[error("the key is missing: write the principals, then options, then the key's type and the key")]
    NoKey,
    /// The key is not what its type says, or is none.
    #[error("the key can't be read: copy type and key from the .pub file")]
    BadKey,
    /// A key whose signatures never count.
    #[error("{0}")]
    UnusableKey(Refusal),
    /// A certificate, or a key that makes them.
    #[error("certificates are not supported: name each signer's own key instead")]
    Certificate,
    /// An option that there is none of.
    #[error("there is no option \"{}\": there are namespaces, valid-after and valid-before, each as name=\"value\"", .0.escape_debug())]
    UnknownOption(String),
    /// An option that is there twice.
    #[error("the option {0} is there twice")]
    RepeatedOption(&'static str),
    /// Not a time as OpenSSH writes it.
    #[error("\"{}\" is no time: write YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with a Z behind it for UTC", .0.escape_debug())]
    BadTime(String),
    /// A validity without a second in it.
    #[error("valid-before is not after valid-after")]
    NeverValid,
}

impl AllowedSigners {
    /// Reads the content of the file; times without `Z` are in `zone`.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(bytes: &[u8], zone: &TimeZone) -> Result<Self, FileError> {
        if bytes.len() > FILE_BYTES {
            return Err(FileError { line: 1, problem: Problem::TooLong });
        }
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
            let parsed =
                parse_line(number, line, zone).map_err(|problem| FileError { line: number, problem })?;
            lines.extend(parsed);
        }
        Ok(Self { lines })
    }

    /// Every line, in the order of the file.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The fingerprints of the keys that speak for somebody, whatever they may sign and when.
    pub fn of_identity(&self, identity: &str) -> impl Iterator<Item = String> {
        let lines = self.lines.iter().filter(move |line| line.principals.matches(identity));
        lines.map(|line| line.key.fingerprint(HashAlg::Sha256).to_string())
    }

    /// The lines that have the key.
    pub fn of_key(&self, key: &KeyData) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| line.key == *key)
    }
}

/// A line's key; `None` where it is empty or a comment.
fn parse_line(number: usize, bytes: &[u8], zone: &TimeZone) -> Result<Option<Line>, Problem> {
    let line = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let line = std::str::from_utf8(line).map_err(|_| Problem::NotText)?;
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err(Problem::NotText);
    }
    let line = line.trim_matches(BLANKS);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (principals, rest) = principals(line)?;
    let (options, rest) = match key_type(rest) {
        Some(_) => ("", rest),
        None => options(rest)?,
    };
    let (namespaces, valid_after, valid_before) = read_options(options, zone)?;
    let key = read_key(rest)?;
    Ok(Some(Line { number, principals: patterns(principals)?, namespaces, valid_after, valid_before, key }))
}

const BLANKS: [char; 2] = [' ', '\t'];

/// The first field, which may be quoted as a whole, and what follows it.
fn principals(line: &str) -> Result<(&str, &str), Problem> {
    let (field, rest) = match line.strip_prefix('"') {
        Some(quoted) => {
            let (field, rest) = quoted.split_once('"').ok_or(Problem::Quote)?;
            if !rest.starts_with(BLANKS) {
                return Err(Problem::Quote);
            }
            (field, rest)
        }
        None => line.split_once(BLANKS).ok_or(Problem::NoKey)?,
    };
    if field.contains('"') {
        return Err(Problem::Quote);
    }
    Ok((field, rest.trim_start_matches(BLANKS)))
}

fn patterns(text: &str) -> Result<PatternList, Problem> {
    let good = |part: &str| (1..=PATTERN_BYTES).contains(&part.trim_start_matches('!').len());
    if text.split(',').all(good) { Ok(PatternList::new(text)) } else { Err(Problem::Pattern) }
}

/// The word at the beginning, where it is a type of keys.
fn key_type(rest: &str) -> Option<&str> {
    let word = rest.split(BLANKS).next()?;
    let begins = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "rsa-sha2-"];
    begins.iter().any(|begin| word.starts_with(begin)).then_some(word)
}

/// The options, which end at the first blank outside quotes, and what follows them.
fn options(rest: &str) -> Result<(&str, &str), Problem> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ' ' | '\t' if !quoted => {
                let (options, rest) = rest.split_at(at);
                return Ok((options, rest.trim_start_matches(BLANKS)));
            }
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    Err(if quoted { Problem::Quote } else { Problem::NoKey })
}

type Options = (Option<PatternList>, Option<Timestamp>, Option<Timestamp>);

fn read_options(mut rest: &str, zone: &TimeZone) -> Result<Options, Problem> {
    let (mut namespaces, mut after, mut before) = (None, None, None);
    while !rest.is_empty() {
        let name_ends = rest.find(['=', ',']).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(name_ends);
        let name = name.to_ascii_lowercase();
        if name == "cert-authority" {
            return Err(Problem::Certificate);
        }
        let unknown = || Problem::UnknownOption(name.chars().take(60).collect());
        let quoted = behind.strip_prefix("=\"").ok_or_else(unknown)?;
        let (value, behind) = quoted.split_once('"').ok_or(Problem::Quote)?;
        if value.ends_with('\\') {
            // An escaped quote, which no namespace of ours and no time has.
            return Err(Problem::Quote);
        }
        match name.as_str() {
            "namespaces" => once(&mut namespaces, "namespaces", patterns(value)?)?,
            "valid-after" => once(&mut after, "valid-after", time(value, zone, End::After)?)?,
            "valid-before" => once(&mut before, "valid-before", time(value, zone, End::Before)?)?,
            _ => return Err(unknown()),
        }
        rest = match behind.strip_prefix(',') {
            Some("") => return Err(Problem::UnknownOption(String::new())),
            Some(next) => next,
            None if behind.is_empty() => behind,
            None => return Err(Problem::Quote),
        };
    }
    match (after, before) {
        (Some(after), Some(before)) if before <= after => Err(Problem::NeverValid),
        _ => Ok((namespaces, after, before)),
    }
}

fn once<T>(place: &mut Option<T>, name: &'static str, value: T) -> Result<(), Problem> {
    if place.replace(value).is_some() { Err(Problem::RepeatedOption(name)) } else { Ok(()) }
}

fn time(text: &str, zone: &TimeZone, end: End) -> Result<Timestamp, Problem> {
    validity::read(text, zone, end).ok_or_else(|| Problem::BadTime(text.chars().take(60).collect()))
}

/// The key's type and the key; what follows is a comment.
fn read_key(rest: &str) -> Result<KeyData, Problem> {
    let kind = key_type(rest).ok_or(if rest.is_empty() { Problem::NoKey } else { Problem::BadKey })?;
    if kind.contains("-cert-v01@") {
        return Err(Problem::Certificate);
    }
    let mut words = rest.split(BLANKS).filter(|word| !word.is_empty()).skip(1);
    let base64 = words.next().ok_or(Problem::NoKey)?;
    let blob = Base64::decode_vec(base64).map_err(|_| Problem::BadKey)?;
    let key = signature::key(&blob).ok_or(Problem::BadKey)?;
    if key.algorithm().as_str() != kind {
        return Err(Problem::BadKey);
    }
    signature::check_key(key.key_data()).map_err(Problem::UnusableKey)?;
    Ok(key.key_data().clone())
}
