//! The program's table of subcommands, which help, documentation and its tests are made from.

use clap::{Parser, Subcommand};

use super::{
    apply, approval, audit, bundle, canary, check, confirm, detach, doctor, events, exemption, explain,
    generate, geo, groups, instrument, page, pin, policy, reload, report, run, selftest, shadow, simulate,
    status, suggest, top, trace,
};

/// Keeps region-pinned data in its region.
///
/// It knows the flows of pinned storage, and drops or flags them in the kernel where they go to a jurisdiction that the
/// data may not reach.
#[derive(Clone, Debug, Parser)]
#[command(name = "borderguard", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 failed, or a difference found; 2 unusable input;
3 no daemon answers; 4 not permitted.
`status` also ends with its state: 0 guarding; 5 degraded; 6 observing; 7 off.
`doctor` ends with 5 where a way past is not covered, or not known, and
`selftest` where something could not be tried.

To begin: borderguard check FILE
          borderguard run --config FILE --observe
and when nothing would be dropped that has to pass, without --observe.";

/// The subcommands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Guard this host until SIGTERM; what is enforced stays
    Run(run::Args),
    /// Check a config and its host: every error, or every warning
    Check(check::Args),
    /// Show how this host is guarded, what is wrong, what was counted
    Status(status::Args),
    /// Say which ways past the guard are open on this host
    Doctor(doctor::Args),
    /// Send a real packet of each kind through the programs, in a network of their own
    Selftest(selftest::Args),
    /// Write an archive with what somebody needs who is to help
    Bundle(bundle::Args),
    /// Show violations and exempted flows, one line each
    Events(Box<events::Args>),
    /// Watch what the guard does now, on a terminal
    Top(top::Args),
    /// Serve a page with what the guard does now, for a browser
    Page(page::Args),
    /// Write, sign, load, show, stay, resume, renew, revoke exemptions
    Exemption(exemption::Args),
    /// Close every exemption that rests on a legal instrument
    Instrument(instrument::Args),
    /// Revoke a signer's key, and close all that it approved
    Approval(approval::Args),
    /// Show, verify and export the audit trail
    Audit(audit::Args),
    /// Write the record of transfers, on what ground, and of refusals
    Report(report::Args),
    /// Say why a packet passes or not, or judge a capture's frames
    Explain(explain::Args),
    /// Say what another config would make of the flows that were seen
    Simulate(Box<simulate::Args>),
    /// Say how another config would judge live packets, which changes no verdict
    Shadow(Box<shadow::Args>),
    /// Say how live packets are judged, step by step
    Trace(trace::Args),
    /// Write pins and sites for what leaves without a pin
    Suggest(suggest::Args),
    /// Compare geo databases, and say yes to one that changes much
    Geo(geo::Args),
    /// Compare configs: what another one would newly let pass
    Policy(policy::Args),
    /// List groups of jurisdictions: members, sources, dates
    Groups(groups::Args),
    /// Hand back a canary that was in the event log
    Canary(canary::Args),
    /// Have the daemon read config and geo databases again
    Reload(reload::Args),
    /// Make another config live, which goes by itself unless it is confirmed
    Apply(apply::Args),
    /// Say whether a pin is ready for a stricter action, and make it live
    Pin(Box<pin::Args>),
    /// Keep the config that was applied, or go back at once
    Confirm(confirm::Args),
    /// Remove everything from the kernel: nothing is guarded any more
    Detach(detach::Args),
    /// Write manual pages and shell completions into a folder, for packages
    #[command(hide = true)]
    Generate(generate::Args),
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::CommandFactory;

    use super::*;

    /// By shells themselves where they are there: bash is on every machine that builds this.
    #[test]
    fn every_command_has_a_page_and_is_completed() {
        let folder = tempfile::tempdir().unwrap();
        let args = generate::Args { dir: folder.path().to_path_buf() };
        generate::run(&args, &Cli::command(), &mut Vec::new()).unwrap();
        let shown = Cli::command();
        for command in shown.get_subcommands().filter(|it| !it.is_hide_set()) {
            let page = folder.path().join(format!("man/borderguard-{}.1", command.get_name()));
            let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{page:?}: {error}"));
            assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{page:?}");
        }
        assert!(!folder.path().join("man/borderguard-generate.1").exists());
        let script = format!(
            "source {:?} && COMP_WORDS=(borderguard exem) COMP_CWORD=1 && \
             _borderguard borderguard exem borderguard && printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            folder.path().join("completions/borderguard")
        );
        let done = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&done.stdout), "exemption\n", "{done:?}");
    }
}
