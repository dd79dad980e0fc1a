//! Exit codes: one table for the program and for docs/exit-codes.md.

use std::process::ExitCode;

use crate::health::Health;

macro_rules! exits {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal;)+) => {
        /// How a command ended, as its exit code says it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Exit { $($(#[doc = $doc])+ $name = $code,)+ }

        impl Exit {
            /// All of them, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// What the code means: the line of the docs.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

exits! {
    /// Everything went as it should.
    Ok = 0;
    /// The command failed, or found a difference where it was asked to compare.
    Failed = 1;
    /// The input can't be used: the command line, a config, a database, a document, a signature or a capture.
    BadInput = 2;
    /// No daemon answers on the control socket.
    NoDaemon = 3;
    /// The user may not do this: root or a group with the right to it is needed.
    NotPermitted = 4;
    /// `status`: something is guarded, and there is a problem (`degraded`). `doctor`: a way past is not covered, or not known. `selftest`: something could not be tried.
    Degraded = 5;
    /// `status` alone: no problem, and nothing is dropped or flagged (`observing`).
    Observing = 6;
    /// `status`: nothing is guarded (`off`). `reload`: it is reloaded, and nothing is guarded now.
    Off = 7;
}

impl Exit {
    /// What kind of error ends with it, for programs.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::BadInput => "bad-input",
            Self::NoDaemon => "no-daemon",
            Self::NotPermitted => "not-permitted",
            Self::Ok | Self::Failed | Self::Degraded | Self::Observing | Self::Off => "failed",
        }
    }

    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Health> for Exit {
    fn from(health: Health) -> Self {
        match health {
            Health::Guarding => Self::Ok,
            Health::Degraded => Self::Degraded,
            Health::Observing => Self::Observing,
            Health::Off => Self::Off,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_of_the_guard_has_its_code() {
        let codes = Health::ALL.map(|health| Exit::from(health).code());
        assert_eq!(codes, [0, 5, 6, 7]);
    }

    #[test]
    fn the_docs_of_problems_have_every_state_with_its_code() {
        let docs = include_str!("../../docs/problems.md");
        for health in Health::ALL {
            let row = docs.lines().find(|line| line.starts_with(&format!("| {health} |"))).unwrap();
            assert!(row.ends_with(&format!("| `{}` |", Exit::from(health).code())), "{row}");
        }
    }

    #[test]
    fn the_docs_have_every_code_with_its_meaning() {
        let docs = include_str!("../../docs/exit-codes.md");
        let rows: Vec<&str> = docs.lines().filter(|line| line.starts_with("| `")).collect();
        let expected: Vec<String> =
            Exit::ALL.iter().map(|exit| format!("| `{}` | {} |", exit.code(), exit.meaning())).collect();
        assert_eq!(rows, expected);
    }
}
