//! How severe what a line says is: one table for every format, and for docs/logs.md.

use guard_common::verdict::{Reason, Verdict};

/// From what everybody expects to what somebody is to look at now. The numbers are those of OCSF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing to do.
    Informational = 1,
    /// Somebody may look at it in time.
    Low = 2,
    /// Somebody should look at it.
    Medium = 3,
    /// Data left against a pin, or may have.
    High = 4,
    /// Nothing can be judged.
    Critical = 5,
}

impl Severity {
    /// The number in OCSF's `severity_id` and ECS's `event.severity`.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The name, as OCSF has it.
    #[must_use]
    pub const fn caption(self) -> &'static str {
        match self {
            Self::Informational => "Informational",
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
            Self::Critical => "Critical",
        }
    }

    /// The name in flat JSON, in text and in ECS's `log.level`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The priority in the journal, as syslog(3) numbers it.
    #[must_use]
    pub const fn priority(self) -> u8 {
        match self {
            Self::Informational => 6,
            Self::Low => 5,
            Self::Medium => 4,
            Self::High => 3,
            Self::Critical => 2,
        }
    }

    /// Of what was judged so. A packet that is flagged left all the same, so that is one step above a drop.
    #[must_use]
    pub const fn of(verdict: Verdict, reason: Reason) -> Self {
        match (verdict, of_reason(reason)) {
            (Verdict::Flag, Self::Informational) => Self::Low,
            (Verdict::Flag, Self::Low) => Self::Medium,
            (Verdict::Flag, Self::Medium) => Self::High,
            (Verdict::Flag, Self::High | Self::Critical) => Self::Critical,
            (_, severity) => severity,
        }
    }
}

/// How severe a packet of this reason is that was dropped, or that passes without a flag.
#[must_use]
pub const fn of_reason(reason: Reason) -> Severity {
    match reason {
        Reason::NotIp | Reason::Untagged | Reason::LinkScope | Reason::Permitted | Reason::Exempt => {
            Severity::Informational
        }
        Reason::Failsafe | Reason::ExemptionNotYet => Severity::Low,
        Reason::Forbidden
        | Reason::PlaceUnknown
        | Reason::PlaceUncertain
        | Reason::ExemptionExpired
        | Reason::ExemptionExhausted
        | Reason::FailsafeExhausted
        | Reason::Truncated
        | Reason::TooDeep => Severity::Medium,
        // Somebody may be at work who wants not to be judged.
        Reason::BadHeader | Reason::TinyFragment | Reason::Opaque => Severity::High,
        Reason::NoTables | Reason::Busy => Severity::Critical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_docs_have_the_severity_of_every_reason() {
        let docs = include_str!("../../../docs/logs.md");
        let table = docs.split("<!-- severity: begin -->").nth(1).unwrap();
        let table = table.split("<!-- severity: end -->").next().unwrap();
        let shown: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
        let row = |reason: &Reason| {
            let [drop, flag] = [Verdict::Drop, Verdict::Flag].map(|verdict| Severity::of(verdict, *reason));
            format!("| `{}` | {} | {} |", reason.name(), drop.name(), flag.name())
        };
        assert_eq!(shown, Reason::ALL.iter().map(row).collect::<Vec<_>>());
    }

    #[test]
    fn a_flag_is_above_a_drop_and_names_agree() {
        for reason in Reason::ALL {
            let [drop, flag] = [Verdict::Drop, Verdict::Flag].map(|verdict| Severity::of(verdict, *reason));
            assert!(flag > drop || flag == Severity::Critical, "{}", reason.name());
            assert_eq!(drop.caption().to_lowercase(), drop.name());
            assert_eq!(drop.priority() + drop.number(), 7);
        }
    }
}
