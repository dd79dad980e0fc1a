//! The program's table of subcommands, which help, documentation and its tests are made from.

use clap::{Parser, Subcommand};

use super::{audit, check, detach, events, exemption, explain, instrument, reload, report, run, status};

/// Keeps region-pinned data in its region: marks every flow that comes from pinned storage, and drops or
/// flags it in the kernel where it goes to a jurisdiction that the data may not reach.
#[derive(Clone, Debug, Parser)]
#[command(name = "borderguard", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 failed, or a difference found; 2 input that can't be used; 3 no daemon; 4 not permitted.
Of `status` beside these: 0 guarding; 5 degraded; 6 observing; 7 off.
Start with `borderguard check FILE`, then `borderguard run --config FILE --observe`, then without `--observe`.";

/// The subcommands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Guard this host: load, attach, watch and log, until SIGTERM (enforcement stays)
    Run(run::Args),
    /// Check a config, and this host against it: every error at once, or every warning
    Check(check::Args),
    /// Show how well this host is guarded, and what was counted; the exit code has the state
    Status(status::Args),
    /// Show violations and exempted flows, one line each
    Events(events::Args),
    /// Write, check, sign, load, show, stay, resume, revoke and renew exemptions
    Exemption(exemption::Args),
    /// Close every exemption that rests on a legal instrument
    Instrument(instrument::Args),
    /// Show, verify and export the audit trail
    Audit(audit::Args),
    /// Write the record of transfers: what crossed, on what ground, and what was refused
    Report(report::Args),
    /// Tell why a packet passes or not, step by step, or judge every frame of a capture
    Explain(explain::Args),
    /// Have the daemon read config, geo databases and exemptions again
    Reload(reload::Args),
    /// Remove everything from the kernel: nothing is guarded any more
    Detach(detach::Args),
}
