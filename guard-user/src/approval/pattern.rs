//! OpenSSH's lists of patterns (ssh_config(5), PATTERNS): `*` stands for any characters, `?` for one, and
//! a pattern after `!` takes out what it matches.

/// Patterns with commas between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternList {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    negated: bool,
    text: Vec<u8>,
}

impl PatternList {
    /// Reads the list; every text is one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let patterns = text.split(',').map(|part| match part.strip_prefix('!') {
            Some(rest) => Pattern { negated: true, text: rest.into() },
            None => Pattern { negated: false, text: part.into() },
        });
        Self { patterns: patterns.collect() }
    }

    /// Whether a pattern matches and no negated one does. A list of negated patterns alone matches nothing.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut any = self.patterns.iter().filter(|pattern| glob(&pattern.text, text.as_bytes())).peekable();
        any.peek().is_some() && any.all(|pattern| !pattern.negated)
    }
}

/// Whether the whole text matches, in time that is at most the product of both lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where to go on when the rest does not match: after the last star, which then takes one byte more.
    let mut retry: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                retry = Some((at, read));
            }
            Some(&wanted) if wanted == b'?' || Some(&wanted) == text.get(read) => {
                at += 1;
                read += 1;
            }
            _ => match retry {
                Some((after_star, taken)) => {
                    retry = Some((after_star, taken + 1));
                    (at, read) = (after_star, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at.min(pattern.len())..].iter().all(|&byte| byte == b'*')
}
