//! A flow that the kernel judged twice: by what is live, and by a candidate.

use std::net::IpAddr;

use guard_common::abi::Hook;
use guard_common::jurisdiction::Jurisdiction;
use guard_common::verdict::{Reason, Verdict as Kernel};
use serde_json::Value;

use super::compare::Kind;
use super::sums::{Group, Sums, Verdict};
use super::traffic::{amount, sender};

impl Sums {
    /// Takes up a flow of a shadow, as its line has it. False where its verdicts do not differ, or the line can't be read.
    pub fn add_shadowed(&mut self, line: &Value) -> bool {
        let Some(group) = group(line) else { return false };
        *self.groups.entry(group).or_default() += amount(1, line, ["flow_packets", "flow_bytes"]);
        true
    }
}

/// What becomes of a packet with these verdicts, by their names; `None` where they are the same, or none.
#[must_use]
pub fn kind_of(now: &str, then: &str) -> Option<Kind> {
    Kind::of(verdict(now)?, verdict(then)?)
}

fn verdict(name: &str) -> Option<Kernel> {
    Kernel::ALL.into_iter().find(|it| it.name() == name)
}

fn group(line: &Value) -> Option<Group> {
    let then = &line["then"];
    let kind = kind_of(line["verdict"].as_str()?, then["verdict"].as_str()?)?;
    let hook = Hook::ALL.into_iter().find(|it| line["hook"] == it.name())?;
    let end = if hook == Hook::Ingress { "source" } else { "destination" };
    let peer = line[end]["ip"].as_str().map_or(Some(IpAddr::from([0; 4])), |ip| ip.parse().ok())?;
    let by = match kind {
        Kind::Drops | Kind::Flags => then,
        Kind::Opens | Kind::Unflags => line,
    };
    let pins = by["pins"].as_array().into_iter().flatten();
    Some(Group {
        kind,
        pins: pins.filter_map(|pin| pin.as_str().map(str::to_owned)).collect(),
        peer,
        process: sender(line),
        hook: hook.name(),
        now: side(line)?,
        then: side(then)?,
    })
}

fn side(of: &Value) -> Option<Verdict> {
    let reason = of["reason"].as_str()?;
    let jurisdiction: Option<Jurisdiction> = of["jurisdiction"].as_str().and_then(|it| it.parse().ok());
    Some(Verdict {
        verdict: verdict(of["verdict"].as_str()?)?.name(),
        reason: Reason::from_name(reason)?.name(),
        jurisdiction: jurisdiction.map(Jurisdiction::as_str),
        exemption: of["exemption"].as_str().map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::traffic::Amount;
    use super::*;

    fn line(verdict: &str, reason: &str, then: &Value) -> Value {
        json!({
            "hook": "egress", "source": { "ip": "192.0.2.10" }, "destination": { "ip": "203.0.113.10" },
            "verdict": verdict, "reason": reason, "pins": ["mail"], "jurisdiction": "US", "exemption": null,
            "people": "shown", "process": { "command": "imap", "unit": "dovecot.service" }, "cgroup": null,
            "flow_packets": 7, "flow_bytes": 441, "then": then,
        })
    }

    #[test]
    fn a_flow_is_of_the_pins_that_forbid_it_on_the_stricter_side() {
        let mut sums = Sums::default();
        let side = |verdict, reason, pins: &[&str]| json!({ "verdict": verdict, "reason": reason, "pins": pins, "jurisdiction": "BE", "exemption": null });
        for _ in 0..2 {
            assert!(sums.add_shadowed(&line("drop", "forbidden", &side("pass", "permitted", &[]))));
        }
        assert!(sums.add_shadowed(&line("pass", "permitted", &side("drop", "forbidden", &["other"]))));
        assert!(!sums.add_shadowed(&line("drop", "forbidden", &side("drop", "opaque", &["other"]))));
        assert!(!sums.add_shadowed(&line("drop", "no such reason", &side("pass", "permitted", &[]))));
        assert_eq!(sums.of(Kind::Opens), Amount { flows: 2, packets: 14, bytes: 882 });
        assert_eq!(sums.of(Kind::Drops), Amount { flows: 1, packets: 7, bytes: 441 });
        let pins: Vec<_> = sums.groups.keys().map(|it| (it.kind, it.pins.join(" "))).collect();
        assert_eq!(pins, [(Kind::Drops, "other".to_owned()), (Kind::Opens, "mail".to_owned())]);
        let group = sums.groups.keys().next().unwrap();
        assert_eq!((group.process.as_str(), group.then.jurisdiction), ("imap (dovecot.service)", Some("BE")));
        assert_eq!(group.peer.to_string(), "203.0.113.10");
    }
}
