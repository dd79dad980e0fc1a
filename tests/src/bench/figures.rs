//! The figures, each with its unit, its meaning and the bound that the project sets itself: the one table
//! that `--json`, the terminal and the README's check read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};

/// One figure.
pub(crate) struct Figure {
    /// Its key in the JSON object.
    pub(crate) key: &'static str,
    /// What it says.
    pub(crate) meaning: &'static str,
    /// It should be at most this.
    pub(crate) at_most: Option<f64>,
}

const fn figure(key: &'static str, meaning: &'static str) -> Figure {
    Figure { key, meaning, at_most: None }
}

const fn bound(key: &'static str, meaning: &'static str, at_most: f64) -> Figure {
    Figure { key, meaning, at_most: Some(at_most) }
}

/// Every figure, in the order in which they are shown.
pub(crate) const FIGURES: &[Figure] = &[
    figure("empty_ns", "an empty program, with the kernel's own share of a test run"),
    figure("draw_ns", "taking the next destination from the list"),
    bound(
        "egress_v4_random_ns",
        "whole program, IPv4, permitted, destinations over the database's ranges",
        150.0,
    ),
    bound("egress_v6_random_ns", "the same, IPv6", 220.0),
    bound("egress_v4_fixed_ns", "whole program, IPv4, permitted, one destination", 70.0),
    figure("egress_v6_fixed_ns", "the same, IPv6"),
    figure(
        "egress_v4_fixed_users_ns",
        "the same, IPv4, by TCP, with a pin by user: who made and used the socket is read",
    ),
    figure("egress_v4_fixed_users_udp_ns", "the same by UDP, whose owner the kernel is asked for"),
    figure("egress_v4_fixed_cgroups_ns", "the same, IPv4, with a pin by cgroup"),
    figure("egress_v4_fixed_volumes_ns", "the same, IPv4, with a pin by volume"),
    figure("egress_v4_fixed_directions_ns", "the same, IPv4, with a pin by who opened the connection"),
    bound("users_extra_ns", "what a pin by user adds to a TCP packet of another pin", 25.0),
    figure("users_udp_extra_ns", "what it adds to one of UDP"),
    bound("cgroups_extra_ns", "what a pin by cgroup adds to a packet of another pin", 25.0),
    bound("volumes_extra_ns", "what a pin by volume adds to it", 25.0),
    bound("directions_extra_ns", "what a pin by who opened the connection adds to it", 25.0),
    figure("egress_v4_fixed_shadow_ns", "the same, IPv4, judged by a candidate too, as alike"),
    figure("shadow_extra_ns", "what a shadow adds to a permitted packet while it runs"),
    figure("egress_v4_fixed_record_ns", "the same, IPv4, with a flow record"),
    figure("egress_v4_drop_ns", "the same, IPv4, forbidden: a flow record, and an event each second"),
    figure("egress_v4_exempt_ns", "the same, forbidden and exempt, with 256 exemptions"),
    bound("exemption_extra_ns", "what that is more than a forbidden packet without exemptions", 40.0),
    bound("egress_unpinned_ns", "a packet that no pin tags", 65.0),
    figure(
        "wire_nothing_ns",
        "sending a packet to another namespace, with nothing on its way; the next are over it",
    ),
    figure("wire_empty_1_ns", "an empty program, one destination"),
    figure("wire_empty_256_ns", "the same, 256 destinations by turns"),
    figure("wire_empty_all_ns", "the same, destinations over the database's ranges"),
    figure("wire_guard_1_ns", "the guard, one destination"),
    figure("wire_guard_256_ns", "the same, 256 destinations by turns"),
    figure("wire_guard_all_ns", "the same, destinations over the database's ranges"),
    figure("wire_nftables_1_ns", "an nftables set of the same ranges, one destination"),
    figure("wire_nftables_256_ns", "the same, 256 destinations by turns"),
    figure("wire_nftables_all_ns", "the same, destinations over the database's ranges"),
    figure("wire_trie_1_ns", "the kernel's LPM trie of the same ranges, one destination"),
    figure("wire_trie_256_ns", "the same, 256 destinations by turns"),
    figure("wire_trie_all_ns", "the same, destinations over the database's ranges"),
    bound("wire_to_nftables_1", "the guard's time, the set's being 1: one destination", 0.25),
    figure("wire_to_nftables_256", "the same, 256 destinations"),
    bound("wire_to_nftables_all", "the same, destinations over the database's ranges", 0.125),
    figure("gso_time_ratio", "a byte's time by TCP with GSO, without the guard 1, the median of 25 pairs"),
    figure("gso_time_low", "that is at least this with 95.7 % certainty"),
    figure("gso_time_high", "and at most this"),
    figure("gso_cpu_ratio", "a byte's time of a processor, likewise"),
    bound("gso_ratio", "the first where it is known to 1 %, else the last", 1.01),
    figure("lookup_v4_random_ns", "jurisdiction of an IPv4 address over the database's ranges"),
    figure("lookup_v6_random_ns", "the same, IPv6"),
    figure("lpm_v4_random_ns", "the same addresses in the kernel's LPM trie"),
    figure("lpm_v6_random_ns", "the same, IPv6"),
    bound("lookup_v4_to_lpm", "the IPv4 lookup's time, the trie's being 1", 0.1),
    bound("lookup_v6_to_lpm", "the IPv6 lookup's time, the trie's being 1", 0.1),
    figure("generation_build_ms", "building a generation: database, sites, policy"),
    figure("generation_flip_ms", "copying it into the idle tables, reading it back, switching it live"),
    bound("generation_total_ms", "both", 150.0),
    bound(
        "policy_diff_ms",
        "computing what opens where a tenth of the database's ranges are moved into the union",
        2_000.0,
    ),
    figure("lpm_build_ms", "filling the kernel's LPM tries with the same ranges"),
    bound("kernel_tables_mib", "kernel memory of the tables of both generations", 32.0),
    figure("lpm_tables_mib", "kernel memory of the LPM tries, one generation"),
    bound(
        "revoke_ms",
        "from the command to the kernel's new generation, on the disk too, at 256 exemptions",
        10.0,
    ),
    figure(
        "storm_rate",
        "new forbidden flows a second that two unprivileged senders make, for the next four",
    ),
    bound("storm_stay_ms", "from a stay to the kernel's new generation, the worst of fifty", 100.0),
    bound("storm_stay_median_ms", "the same, the median", 10.0),
    bound("storm_status_ms", "from a request for the status to its answer, the worst of fifty", 200.0),
    bound("storm_interface_ms", "until a new interface is guarded, the worst of ten", 100.0),
    bound(
        "storm_beside_ratio",
        "a permitted byte's time beside the storm, under an empty program 1, the median of 9 pairs",
        1.05,
    ),
    bound(
        "idle_percent",
        "of one CPU that the daemon uses with a full flow table once the storm is over",
        0.5,
    ),
    bound("daemon_rss_mib", "the daemon's resident memory with the full database loaded", 64.0),
];

/// What was measured.
#[derive(Default)]
pub(crate) struct Figures(BTreeMap<&'static str, f64>);

impl Figures {
    /// Keeps one figure.
    pub(crate) fn set(&mut self, key: &'static str, value: f64) {
        debug_assert!(FIGURES.iter().any(|figure| figure.key == key), "{key} is not in the table");
        self.0.insert(key, value);
    }

    /// A figure that was measured before.
    pub(crate) fn get(&self, key: &'static str) -> Option<f64> {
        self.0.get(key).copied()
    }

    /// That every figure was measured.
    pub(crate) fn are_whole(&self) -> Result<()> {
        let missing: Vec<_> =
            FIGURES.iter().map(|figure| figure.key).filter(|key| self.get(key).is_none()).collect();
        ensure!(missing.is_empty(), "not measured: {}", missing.join(", "));
        Ok(())
    }

    /// One JSON object of the figures, rounded to three places.
    pub(crate) fn json(&self) -> Result<String> {
        let rounded: BTreeMap<_, _> =
            self.0.iter().map(|(key, value)| (key, (value * 1000.0).round() / 1000.0)).collect();
        serde_json::to_string(&rounded).context("write the figures")
    }

    /// A table for people.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for Figure { key, meaning, at_most } in FIGURES {
            let Some(value) = self.get(key) else { continue };
            let bound = match at_most {
                Some(bound) if value <= *bound => format!("<= {bound}"),
                Some(bound) => format!("PAST {bound}"),
                None => String::new(),
            };
            let value = if value < 10.0 { format!("{value:.3}") } else { format!("{value:.1}") };
            let _infallible = writeln!(text, "{key:<26} {value:>9}  {bound:<9} {meaning}");
        }
        text
    }

    /// Whether every figure that has a bound keeps it.
    pub(crate) fn within_bounds(&self) -> bool {
        FIGURES.iter().all(|figure| match (self.get(figure.key), figure.at_most) {
            (Some(value), Some(bound)) => value <= bound,
            _ => true,
        })
    }
}

/// The middle value; 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!(median(Vec::new()).abs() < f64::EPSILON);
    }

    #[test]
    fn a_figure_past_its_bound_is_seen() {
        let mut figures = Figures::default();
        figures.set("egress_unpinned_ns", 64.0);
        assert!(figures.within_bounds());
        figures.set("egress_unpinned_ns", 66.0);
        assert!(!figures.within_bounds() && figures.table().contains("PAST 65"));
        assert!(figures.are_whole().is_err());
    }
}
