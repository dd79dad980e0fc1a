//! What was lost on the way to the log, or of it.

use guard_common::abi::{COPY_EVENT_RATE, EVENT_RATE, Loss};
use jiff::Timestamp;

/// Something that was lost. The kernel's counters have every packet all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// When that was noticed.
    pub time: Timestamp,
    /// What.
    pub what: What,
    /// How many since the last record of the same.
    pub count: u64,
}

/// What can be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Lines of the log, because its destination did not take them in time.
    Lines,
    /// What the kernel program could not keep or send.
    Kernel(Loss),
    /// Flows whose records gave way to newer ones before all that they counted was reported.
    Evicted,
    /// Records of the flow history, because the disk did not take them in time. The history itself has this line, and the log
    /// has none.
    History,
}

impl What {
    /// Every kind, in the order of docs/logs.md.
    pub const ALL: [Self; Loss::COUNT + 3] = [
        Self::Lines,
        Self::Kernel(Loss::Events),
        Self::Kernel(Loss::Limited),
        Self::Kernel(Loss::Flows),
        Self::Kernel(Loss::Outcomes),
        Self::Kernel(Loss::Copies),
        Self::Evicted,
        Self::History,
    ];

    /// The name in a line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Kernel(loss) => loss.name(),
            Self::Evicted => "evicted",
            Self::History => "history",
        }
    }

    /// What became of them, to be said after their number.
    #[must_use]
    pub fn fate(self) -> String {
        match self {
            Self::Lines => "lines were lost, because this log was not taken in time".to_owned(),
            Self::Kernel(Loss::Events) => "events were lost in the kernel".to_owned(),
            Self::Kernel(Loss::Flows) => "flows were lost in the kernel".to_owned(),
            Self::Kernel(Loss::Outcomes) => "outcomes were lost in the kernel".to_owned(),
            Self::Kernel(Loss::Limited) => format!(
                "events were held back in the kernel, being more than {EVENT_RATE} a second of one hook, pin and reason \
                 on one processor"
            ),
            Self::Kernel(Loss::Copies) => format!(
                "writes of carriers to files off their volumes had no event, being more than {COPY_EVENT_RATE} a second \
                 of a volume, or finding the ring buffer full"
            ),
            Self::Evicted => {
                "flow records gave way to newer ones before it was seen that all of their packets were reported"
                    .to_owned()
            }
            Self::History => {
                "records of the flow history were lost, because the disk did not take them in time".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_docs_have_all_that_can_be_lost() {
        let docs = include_str!("../../../docs/logs.md");
        let table = docs.split("<!-- losses: begin -->").nth(1).unwrap();
        let table = table.split("<!-- losses: end -->").next().unwrap();
        let shown: Vec<&str> =
            table.lines().filter(|line| line.starts_with("| `") && !line.contains("`what`")).collect();
        let rows = What::ALL.map(|what| format!("| `{}` | {}. |", what.name(), what.fate()));
        assert_eq!(shown, rows);
        assert!(Loss::ALL.iter().all(|loss| What::ALL.contains(&What::Kernel(*loss))));
    }
}
