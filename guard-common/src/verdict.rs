//! Verdicts and reasons: one table of names for the kernel, the log, the metrics and the docs.

/// What was decided for a packet, from the mildest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// The packet may go.
    Pass = 0,
    /// The packet goes; a pin in `observe` would have dropped it.
    Observe = 1,
    /// The packet goes and is reported.
    Flag = 2,
    /// The packet is dropped and reported.
    Drop = 3,
}

impl Verdict {
    /// How many verdicts there are: the size of every array by verdict.
    pub const COUNT: usize = 4;
    /// All verdicts, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [Self::Pass, Self::Observe, Self::Flag, Self::Drop];

    /// The name in logs, metrics and docs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Observe => "observe",
            Self::Flag => "flag",
            Self::Drop => "drop",
        }
    }

    /// The verdict that events and counters hold as this number.
    #[must_use]
    pub const fn from_index(index: u8) -> Option<Self> {
        match index {
            0 => Some(Self::Pass),
            1 => Some(Self::Observe),
            2 => Some(Self::Flag),
            3 => Some(Self::Drop),
            _ => None,
        }
    }

    /// Whether the packet leaves the host.
    #[must_use]
    pub const fn lets_through(self) -> bool {
        !matches!(self, Self::Drop)
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $text:literal;)+) => {
        /// The one typed reason of a verdict. Every reason has a name, a counter and a line in the docs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason { $($(#[doc = $doc])+ $name = $number,)+ }

        impl Reason {
            /// All reasons, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name in logs, metrics and docs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The reason of this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.name() == name)
            }

            /// What the reason means, in one sentence: the line of the docs.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
            }

            /// The reason that events and counters hold as this number.
            #[must_use]
            pub const fn from_index(index: u8) -> Option<Self> {
                match index { $($number => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

reasons! {
    /// The frame carries no IP packet (ARP, LLDP and the like).
    NotIp = 0, "not-ip";
    /// No pin's selectors match the packet.
    Untagged = 1, "untagged";
    /// A pin forbids the destination, and a failsafe rule lets the packet pass all the same.
    Failsafe = 2, "failsafe";
    /// The destination cannot be reached beyond the link.
    LinkScope = 3, "link-scope";
    /// Every pin of the packet permits the destination's jurisdiction.
    Permitted = 4, "permitted";
    /// An exemption covers every pin that forbids the destination.
    Exempt = 5, "exempt";
    /// A pin forbids the destination's jurisdiction and no exemption covers it.
    Forbidden = 6, "forbidden";
    /// A pin forbids destinations that no source places.
    PlaceUnknown = 7, "place-unknown";
    /// A pin forbids destinations whose place is uncertain: anycast, or sources disagree.
    PlaceUncertain = 8, "place-uncertain";
    /// The only exemption for this transfer is past its validity.
    ExemptionExpired = 9, "exemption-expired";
    /// The only exemption for this transfer is not valid yet.
    ExemptionNotYet = 10, "exemption-not-yet-valid";
    /// The only exemption for this transfer has too little quota left for the packet.
    ExemptionExhausted = 11, "exemption-exhausted";
    /// A header is cut off by the end of the frame, and the packet may be pinned.
    Truncated = 12, "truncated";
    /// A header contradicts itself, and the packet may be pinned.
    BadHeader = 13, "bad-header";
    /// Headers nest deeper or reach further than is read, and the packet may be pinned.
    TooDeep = 14, "too-deep";
    /// A first fragment lacks part of its headers, and the packet may be pinned.
    TinyFragment = 15, "tiny-fragment";
    /// An encapsulation that can carry IP but is not read, and the packet may be pinned.
    Opaque = 16, "opaque";
    /// The kernel's tables cannot be read: nothing can be judged, so nothing may go.
    NoTables = 17, "no-tables";
    /// More packets are being judged on this processor at once than there is room for.
    Busy = 18, "busy";
    /// A pin forbids the destination, and the failsafe rule that would let the packet pass has used up its budget.
    FailsafeExhausted = 19, "failsafe-exhausted";
}

impl Reason {
    /// The size of every array by reason: a power of two, with room for reasons to come.
    pub const SLOTS: usize = 32;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_back_from_their_numbers_and_fit_their_arrays() {
        for (place, &reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason as usize, place);
            assert!(place < Reason::SLOTS);
            assert_eq!(Reason::from_index(reason as u8), Some(reason));
            assert_eq!(Reason::from_name(reason.name()), Some(reason));
            assert!(reason.meaning().ends_with('.'), "{}", reason.name());
        }
        assert_eq!(Reason::from_index(Reason::ALL.len() as u8), None);
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
    }

    #[test]
    fn verdicts_read_back_and_only_drop_stops_a_packet() {
        for verdict in Verdict::ALL {
            assert_eq!(Verdict::from_index(verdict as u8), Some(verdict));
            assert_eq!(verdict.lets_through(), verdict != Verdict::Drop);
        }
        assert_eq!(Verdict::from_index(4), None);
    }
}
