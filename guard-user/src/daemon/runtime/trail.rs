//! Whether the audit trail is whole, looked at from time to time.

use std::time::Duration;

use crate::audit;
use crate::store::{Reader, StoreError};

/// From one look to the next.
pub(super) const PERIOD: Duration = Duration::from_secs(24 * 60 * 60);
/// Lines that are in memory at once.
const PAGE: usize = 1000;

/// How many records the trail has; else what is wrong with it. It is looked at in itself alone.
pub(super) fn verify(reader: &Reader) -> Result<u64, String> {
    let mut lines = Lines { reader, next: 0, page: Vec::new().into_iter(), error: None };
    let verified = audit::verify(&mut lines, &[]);
    match (lines.error, verified) {
        (Some(error), _) => Err(format!("it can't be read whole: {error}")),
        (None, Err(broken)) => Err(broken.to_string()),
        (None, Ok(head)) => Ok(head.sequence),
    }
}

/// The lines of the trail, page by page.
struct Lines<'r> {
    reader: &'r Reader,
    next: u64,
    page: std::vec::IntoIter<String>,
    error: Option<StoreError>,
}

impl Iterator for Lines<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if let Some(line) = self.page.next() {
            return Some(line);
        }
        match self.reader.audit_lines(self.next, PAGE) {
            Ok(page) => {
                self.next = self.next.max(1) + page.len() as u64;
                self.page = page.into_iter();
                self.page.next()
            }
            Err(error) => {
                self.error = Some(error);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::with_trail;

    #[test]
    fn a_trail_of_several_pages_is_whole_and_one_flipped_letter_is_found() {
        let count = 2 * PAGE as u64 + 7;
        let store = with_trail(count, None);
        assert_eq!(verify(&store.reader().unwrap()), Ok(count));
        for at in [1, PAGE as u64, PAGE as u64 + 1, count - 1] {
            let store = with_trail(count, Some(at));
            let found = verify(&store.reader().unwrap()).unwrap_err();
            assert!(found.contains(&format!("record {at} ")), "{found}");
        }
    }
}
