//! What must be, held against what was seen.
use super::client::Received;

/// What the guard says about a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) verdict: String,
    pub(super) reason: String,
    /// Where the destination was placed; `None` where the guard had no need to look.
    pub(super) jurisdiction: Option<String>,
}

/// What must happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// It arrives, and nobody judges it.
    NoGuard,
    /// It arrives: the pin permits where it goes.
    Permitted,
    /// It arrives: no pin's selectors match it.
    Untagged,
    /// It arrives by an exemption.
    Exempt,
    /// Nothing arrives: the pin forbids where it goes.
    Forbidden,
    /// Nothing arrives: nobody knows where it goes.
    PlaceUnknown,
}

impl Expected {
    fn verdict_and_reason(self) -> Option<(&'static str, &'static str)> {
        match self {
            Expected::NoGuard => None,
            Expected::Permitted => Some(("pass", "permitted")),
            Expected::Untagged => Some(("pass", "untagged")),
            Expected::Exempt => Some(("pass", "exempt")),
            Expected::Forbidden => Some(("drop", "forbidden")),
            Expected::PlaceUnknown => Some(("drop", "place-unknown")),
        }
    }

    fn arrives(self) -> bool {
        !matches!(self, Expected::Forbidden | Expected::PlaceUnknown)
    }

    /// Every difference between this and what was seen, in words.
    pub(super) fn differences(
        self,
        jurisdiction: &str,
        received: Received,
        judged: Option<&Judged>,
    ) -> Vec<String> {
        let mut differences = Vec::new();
        let Received { bytes, whole } = received;
        if self.arrives() && !whole {
            differences
                .push(format!("all of it must arrive, but {bytes} bytes did, or others than were sent"));
        }
        if !self.arrives() && bytes > 0 {
            differences.push(format!("nothing may arrive, but {bytes} bytes did"));
        }
        match (self.verdict_and_reason(), judged) {
            (None, None) => {}
            (None, Some(seen)) => {
                differences
                    .push(format!("nobody should judge it, but it got {}, {}", seen.verdict, seen.reason));
            }
            (Some((verdict, reason)), None) => {
                differences
                    .push(format!("the verdict must be {verdict}, {reason}, but the guard tells of none"));
            }
            (Some((verdict, reason)), Some(seen)) => {
                if (verdict, reason) != (seen.verdict.as_str(), seen.reason.as_str()) {
                    let (saw, why) = (&seen.verdict, &seen.reason);
                    differences
                        .push(format!("the verdict must be {verdict}, {reason}, but was {saw}, {why}"));
                }
                if let Some(place) = seen.jurisdiction.as_deref().filter(|&place| place != jurisdiction) {
                    differences.push(format!("the jurisdiction must be {jurisdiction}, but was {place}"));
                }
            }
        }
        differences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Received = Received { bytes: 9, whole: true };
    const NOTHING: Received = Received { bytes: 0, whole: false };

    fn judged(verdict: &str, reason: &str, place: &str) -> Judged {
        Judged { verdict: verdict.into(), reason: reason.into(), jurisdiction: Some(place.into()) }
    }

    #[test]
    fn what_must_be_has_no_difference() {
        for (expected, place, received, seen) in [
            (Expected::NoGuard, "US", WHOLE, None),
            (Expected::Permitted, "BE", WHOLE, Some(judged("pass", "permitted", "BE"))),
            (Expected::Exempt, "US", WHOLE, Some(judged("pass", "exempt", "US"))),
            (Expected::Forbidden, "US", NOTHING, Some(judged("drop", "forbidden", "US"))),
            (Expected::PlaceUnknown, "unknown", NOTHING, Some(judged("drop", "place-unknown", "unknown"))),
        ] {
            assert_eq!(
                expected.differences(place, received, seen.as_ref()),
                Vec::<String>::new(),
                "{expected:?}"
            );
        }
    }

    #[test]
    fn each_difference_is_told() {
        let part = Received { bytes: 5, whole: false };
        for (expected, received, seen, differences) in [
            (Expected::Forbidden, part, Some(judged("drop", "forbidden", "US")), 1),
            (Expected::Forbidden, WHOLE, Some(judged("pass", "untagged", "US")), 2),
            (Expected::Forbidden, NOTHING, None, 1),
            (Expected::Exempt, part, Some(judged("pass", "exempt", "BE")), 2),
            (Expected::Permitted, NOTHING, Some(judged("drop", "forbidden", "BE")), 3),
            (Expected::NoGuard, NOTHING, Some(judged("drop", "forbidden", "US")), 2),
        ] {
            let found = expected.differences("US", received, seen.as_ref());
            assert_eq!(found.len(), differences, "{expected:?}: {found:?}");
        }
    }
}
