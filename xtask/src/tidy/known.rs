//! The layers of the daemon's crate, and what is not yet as the rules say. Each list but the layers only shrinks.

use super::{
    circles::Known,
    layers::{Exception, Layer},
};

/// The modules at the top of `guard-user`, from the bottom up, with those that each may import: the model, then what
/// is made of it, then the daemon, then the command line. The kernel's side knows the crate `guard-common` alone.
pub(super) const LAYERS: &[Layer] = &[
    Layer { module: "kernel", may: &[] },
    Layer { module: "text", may: &[] },
    Layer { module: "digest", may: &[] },
    Layer { module: "hostname", may: &[] },
    Layer { module: "no_symlinks", may: &[] },
    Layer { module: "geo", may: &["digest"] },
    Layer { module: "groups", may: &[] },
    Layer { module: "health", may: &[] },
    Layer { module: "exit", may: &["health"] },
    Layer { module: "approval", may: &[] },
    Layer { module: "worker", may: &[] },
    Layer { module: "bundle", may: &[] },
    Layer { module: "config", may: &["approval", "geo", "groups", "text"] },
    Layer { module: "exemption", may: &["approval", "config", "digest", "groups", "text"] },
    Layer { module: "audit", may: &["approval", "digest"] },
    Layer { module: "inputs", may: &["config", "geo"] },
    Layer { module: "compile", may: &["config", "exemption", "geo"] },
    Layer { module: "store", may: &["approval", "audit", "config", "digest", "exemption", "geo", "text"] },
    Layer { module: "explain", may: &["compile", "config", "exemption", "geo", "text"] },
    Layer { module: "openings", may: &["approval", "compile", "config", "geo"] },
    Layer { module: "report", may: &["audit", "exemption", "groups", "text"] },
    Layer { module: "canary", may: &["compile", "config"] },
    Layer { module: "selftest", may: &["canary", "compile", "config", "explain", "geo", "kernel"] },
    Layer {
        module: "events",
        may: &["canary", "config", "digest", "exemption", "hostname", "no_symlinks", "text", "worker"],
    },
    Layer { module: "simulate", may: &["compile", "config", "events", "explain", "geo"] },
    Layer { module: "history", may: &["config", "events", "health", "no_symlinks", "worker"] },
    Layer {
        module: "telemetry",
        may: &["canary", "config", "events", "exemption", "health", "history", "kernel", "worker"],
    },
    Layer {
        module: "control",
        may: &["config", "events", "exemption", "exit", "health", "history", "report", "worker"],
    },
    Layer { module: "doctor", may: &["control", "health", "kernel"] },
    Layer { module: "web", may: &["config", "control"] },
    Layer { module: "metrics", may: &["config", "control", "exemption", "health", "web"] },
    Layer { module: "live", may: &["control", "history"] },
    Layer { module: "top", may: &["control", "exemption", "health", "live", "report", "text"] },
    Layer {
        module: "page",
        may: &["config", "control", "exemption", "health", "live", "report", "text", "web"],
    },
    Layer { module: "unpinned", may: &["config", "control", "events", "kernel"] },
    Layer {
        module: "daemon",
        may: &[
            "approval",
            "audit",
            "canary",
            "compile",
            "config",
            "control",
            "digest",
            "events",
            "exemption",
            "geo",
            "groups",
            "health",
            "history",
            "hostname",
            "inputs",
            "kernel",
            "metrics",
            "openings",
            "report",
            "store",
            "telemetry",
            "text",
            "unpinned",
            "worker",
        ],
    },
    Layer {
        module: "cli",
        may: &[
            "approval",
            "audit",
            "bundle",
            "canary",
            "compile",
            "config",
            "control",
            "daemon",
            "digest",
            "doctor",
            "events",
            "exemption",
            "exit",
            "explain",
            "geo",
            "groups",
            "health",
            "history",
            "hostname",
            "inputs",
            "kernel",
            "live",
            "openings",
            "page",
            "report",
            "selftest",
            "simulate",
            "store",
            "telemetry",
            "text",
            "top",
            "unpinned",
        ],
    },
];

/// Imports against the layers.
pub(super) const AGAINST_LAYERS: &[Exception] = &[
    Exception {
        from: "store",
        to: "compile",
        why: "what the store admits keeps the exemption as the kernel has it",
    },
    Exception { from: "explain", to: "kernel", why: "the live tables are read in place, not handed over" },
];

/// Circles of imports.
pub(super) const CIRCLES: &[Known] = &[];

/// Files with words that are no names for parts.
pub(super) const WORDS: &[&str] = &[
    "guard-user/src/approval/tests/bad_signatures.rs",
    "guard-user/src/approval/tests/differential.rs",
    "guard-user/src/approval/tests/oracle.rs",
    "guard-user/src/approval/tests/security_keys.rs",
    "guard-user/src/approval/tests/signers_file.rs",
    "tests/src/demo/world.rs",
    "tests/tests/story.rs",
];
