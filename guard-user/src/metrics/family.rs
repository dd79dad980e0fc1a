//! Every metric: one table for what is written and for docs/metrics.md.

/// What kind of number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until it begins anew.
    Counter,
    /// It may go either way.
    Gauge,
    /// Always 1: its labels are what it says.
    Info,
}

impl Kind {
    /// Its name in docs, and in OpenMetrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Info => "info",
        }
    }
}

/// One metric with all its label sets.
#[derive(Debug)]
pub struct Family {
    /// The name of its samples.
    pub name: &'static str,
    /// What kind of number.
    pub kind: Kind,
    /// The names of its labels, in order.
    pub labels: &'static [&'static str],
    /// What it is, one sentence without quotes, backslashes and line breaks.
    pub help: &'static str,
}

macro_rules! families {
    ($($id:ident = $name:literal $kind:ident [$($label:literal)*] $help:literal;)+) => {
        /// A metric of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Metric {
            $(#[doc = $help] $id,)+
        }

        impl Metric {
            /// All of them, in the order of the docs.
            pub const ALL: &'static [Self] = &[$(Self::$id),+];

            /// Its row of the table.
            #[must_use]
            pub const fn family(self) -> &'static Family {
                match self {
                    $(Self::$id => &Family {
                        name: $name,
                        kind: Kind::$kind,
                        labels: &[$($label),*],
                        help: $help,
                    },)+
                }
            }
        }
    };
}

families! {
    BuildInfo = "borderguard_build_info" Info ["version" "kernel"]
        "Version of the daemon, and release of the kernel.";
    PolicyInfo = "borderguard_policy_info" Info ["fingerprint"]
        "Fingerprint of the config, as borderguard status shows it.";
    DatabaseInfo = "borderguard_database_info" Info ["source"]
        "What the geo database is.";
    StartTime = "borderguard_start_timestamp_seconds" Gauge []
        "When the daemon started.";
    SnapshotTime = "borderguard_snapshot_timestamp_seconds" Gauge []
        "When these figures were read.";
    Health = "borderguard_health" Gauge ["state"]
        "1 for the state of the guard, 0 for the others.";
    Problem = "borderguard_problem" Gauge ["code" "severity"]
        "1 where there is such a problem, else 0.";
    Observe = "borderguard_observe" Gauge []
        "1 where every action counts as observe, else 0.";
    ApprovalRequired = "borderguard_approval_required" Gauge []
        "1 where an exemption needs approval by the rules of the config, else 0.";
    Generation = "borderguard_generation" Gauge []
        "Number of the generation that is live.";
    GenerationTime = "borderguard_generation_timestamp_seconds" Gauge []
        "When the generation went live.";
    HooksWanted = "borderguard_hooks_wanted" Gauge ["hook"]
        "Interfaces that are to have a program at this hook.";
    HooksAttached = "borderguard_hooks_attached" Gauge ["hook"]
        "Interfaces that are to be guarded, or are, and have a program at this hook.";
    InterfacesFaulty = "borderguard_interfaces_faulty" Gauge []
        "Interfaces that are not guarded as they should be.";
    InterfacesUnguarded = "borderguard_interfaces_unguarded" Gauge []
        "Other interfaces by which a route leads or frames leave the host.";
    Packets = "borderguard_packets_total" Counter ["hook" "verdict" "reason"]
        "Packets of each hook, each once; the segments of a GSO packet count as one.";
    Bytes = "borderguard_bytes_total" Counter ["hook" "verdict" "reason"]
        "Their bytes on the wire.";
    PinPackets = "borderguard_pin_packets_total" Counter ["pin" "jurisdiction" "hook" "verdict" "reason"]
        "Packets of each pin. One of several pins counts for each that forbids it, and where it leaves as permitted for the others.";
    PinBytes = "borderguard_pin_bytes_total" Counter ["pin" "jurisdiction" "hook" "verdict" "reason"]
        "Their bytes on the wire.";
    UntaggedPackets = "borderguard_untagged_packets_total" Counter ["jurisdiction"]
        "Packets of egress that no pin tags and that could go beyond its link.";
    UntaggedBytes = "borderguard_untagged_bytes_total" Counter ["jurisdiction"]
        "Their bytes on the wire.";
    UnplacedPackets = "borderguard_unplaced_packets_total" Counter []
        "Packets that were judged as pinned while their cgroup or interface, made anew, was not in the tables.";
    UnplacedBytes = "borderguard_unplaced_bytes_total" Counter []
        "Their bytes on the wire.";
    BypassCalls = "borderguard_bypass_calls_total" Counter ["way" "outcome"]
        "Calls by which a process asked for a way past the guard, refused or allowed.";
    Lost = "borderguard_lost_total" Counter ["kind"]
        "What could not be kept or reported, by kind of loss.";
    Events = "borderguard_events_total" Counter []
        "Events that were reported.";
    SlowTurns = "borderguard_slow_turns_total" Counter []
        "Turns of the daemon's loop that took more than 50 milliseconds.";
    Carriers = "borderguard_carriers" Gauge []
        "Processes that carry data of volumes.";
    Copies = "borderguard_pinned_copies" Gauge []
        "Files elsewhere that have data of volumes.";
    Relays = "borderguard_relays" Gauge ["state"]
        "Commands to which carriers have handed data on within a day, by state.";
    Volumes = "borderguard_volumes" Gauge ["mounted"]
        "Volumes that pins select, by whether anything is mounted there.";
    DatabaseTime = "borderguard_database_build_timestamp_seconds" Gauge []
        "When the data of the geo database was made; left out where the database does not say.";
    DatabaseStale = "borderguard_database_stale" Gauge []
        "1 where the geo database should not be relied on any longer, else 0.";
    DatabaseRanges = "borderguard_database_ranges" Gauge ["family"]
        "Ranges of the geo database.";
    Exemptions = "borderguard_exemptions" Gauge ["state"]
        "Exemptions, those that are closed among them.";
    ExemptionBytes = "borderguard_exemption_passed_bytes_total" Counter ["exemption" "version"]
        "Bytes on the wire that an exemption has let through.";
    ExemptionPackets = "borderguard_exemption_passed_packets_total" Counter ["exemption" "version"]
        "Packets that an exemption has let through.";
    ExemptionQuota = "borderguard_exemption_quota_bytes" Gauge ["exemption" "version"]
        "Bytes on the wire that an exemption may let through; left out where it has no bound.";
    ExemptionFrom = "borderguard_exemption_valid_from_timestamp_seconds" Gauge ["exemption" "version"]
        "First moment of an exemption's validity.";
    ExemptionUntil = "borderguard_exemption_valid_until_timestamp_seconds" Gauge ["exemption" "version"]
        "First moment after an exemption's validity.";
    AuditVerified = "borderguard_audit_verified_timestamp_seconds" Gauge []
        "When the daemon verified the audit trail last; left out before the first time.";
    AuditWhole = "borderguard_audit_whole" Gauge []
        "1 where the trail was whole then, else 0.";
    AuditRecords = "borderguard_audit_verified_records" Gauge []
        "Records that the trail had then; left out where it was not whole.";
    Refused = "borderguard_metrics_refused_total" Counter ["why"]
        "Connections and requests for metrics that were not answered with metrics.";
}
