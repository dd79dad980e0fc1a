//! What a user may ask of the daemon: six rights, and the one that each request takes.

use std::fmt;

use super::protocol::Request;

/// What may be done over the control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// To look.
    View,
    /// To load and close exemptions, and to look.
    Exemptions,
    /// To reload the policy, and to look.
    Policy,
    /// To do all of it.
    Everything,
    /// To look, and to see users, commands, processes and cgroups.
    People,
    /// To hand canaries back, and nothing else.
    Canaries,
}

impl Right {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 6] =
        [Self::View, Self::Exemptions, Self::Policy, Self::Everything, Self::People, Self::Canaries];

    /// Its name, which is also that of its key in `[control.groups]`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Exemptions => "exemptions",
            Self::Policy => "policy",
            Self::Everything => "everything",
            Self::People => "people",
            Self::Canaries => "canaries",
        }
    }

    /// Whether who has this right may do what takes the other.
    #[must_use]
    pub const fn includes(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Everything, _)
                | (Self::View | Self::Exemptions | Self::Policy | Self::People, Self::View)
                | (Self::Exemptions, Self::Exemptions)
                | (Self::Policy, Self::Policy)
                | (Self::People, Self::People)
                | (Self::Canaries, Self::Canaries)
        )
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of a request, and the right that it takes.
///
/// The one table of who may do what. A request that is added has no place to be forgotten: this does not
/// compile without a line for it.
#[must_use]
pub const fn needed(request: &Request) -> (&'static str, Right) {
    match request {
        Request::Status {} => ("status", Right::View),
        Request::Events { .. } => ("events", Right::View),
        Request::Flows { .. } => ("flows", Right::View),
        Request::Trace { .. } => ("trace", Right::View),
        Request::ExemptionList {} => ("exemption-list", Right::View),
        Request::ExemptionShow { .. } => ("exemption-show", Right::View),
        Request::Audit { .. } => ("audit", Right::View),
        Request::Report { .. } => ("report", Right::View),
        Request::Shadow { .. } => ("shadow", Right::Exemptions),
        Request::AuditCheckpoint {} => ("audit-checkpoint", Right::Exemptions),
        Request::AuditConfig { .. } => ("audit-config", Right::Exemptions),
        Request::AuditDocument { .. } => ("audit-document", Right::Exemptions),
        Request::AuditLift { .. } => ("audit-lift", Right::Exemptions),
        Request::ExemptionReceipt { .. } => ("exemption-receipt", Right::Exemptions),
        Request::ExemptionDone { .. } => ("exemption-done", Right::Exemptions),
        Request::ExemptionOpen {} => ("exemption-open", Right::Exemptions),
        Request::ExemptionOrders {} => ("exemption-orders", Right::Exemptions),
        Request::ExemptionLoad { .. } => ("exemption-load", Right::Exemptions),
        Request::ExemptionStay { .. } => ("exemption-stay", Right::Exemptions),
        Request::ExemptionResume { .. } => ("exemption-resume", Right::Exemptions),
        Request::ExemptionRevoke { .. } => ("exemption-revoke", Right::Exemptions),
        Request::InstrumentInvalidate { .. } => ("instrument-invalidate", Right::Exemptions),
        Request::ApprovalRevoke { .. } => ("approval-revoke", Right::Exemptions),
        Request::Reload {} => ("reload", Right::Policy),
        Request::ReloadPlan {} => ("reload-plan", Right::Policy),
        Request::Confirm { .. } => ("confirm", Right::Policy),
        Request::GeoAccept {} => ("geo-accept", Right::Policy),
        Request::Apply { .. } => ("apply", Right::Everything),
        Request::CanaryConfirm { .. } => ("canary-confirm", Right::Canaries),
    }
}

/// The rights that one user has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// This right beside those that are there.
    #[must_use]
    pub const fn with(self, right: Right) -> Self {
        Self(self.0 | 1 << right as u8)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The rights that were given.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL.into_iter().filter(move |right| self.0 & 1 << *right as u8 != 0)
    }

    /// Whether one of them includes this one.
    #[must_use]
    pub fn include(self, needed: Right) -> bool {
        self.iter().any(|right| right.includes(needed))
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        rights.into_iter().fold(Self::default(), Self::with)
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Right::name).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::control::protocol::ApplyWanted;
    use crate::exemption::Target;

    /// One request of each kind.
    fn requests() -> Vec<Request> {
        vec![
            Request::Status {},
            Request::Events {
                follow: false,
                limit: None,
                format: Default::default(),
                filter: Default::default(),
                brief: false,
            },
            Request::Flows { brief: false },
            Request::Trace { id: String::new(), begin: None },
            Request::Shadow { id: String::new(), begin: None },
            Request::ExemptionList {},
            Request::ExemptionShow { id: String::new(), version: None },
            Request::Audit { from: 0 },
            Request::Report { from: None, until: None },
            Request::AuditCheckpoint {},
            Request::AuditConfig { sha256: String::new() },
            Request::AuditDocument { id: String::new(), version: 1 },
            Request::AuditLift { sha256: String::new() },
            Request::ExemptionReceipt {
                id: String::new(),
                version: None,
                not_written: None,
                right_only: false,
            },
            Request::ExemptionDone {
                id: String::new(),
                version: None,
                duty: String::new(),
                on: None,
                why: String::new(),
                dry_run: false,
            },
            Request::ExemptionOpen {},
            Request::ExemptionOrders {},
            Request::ExemptionLoad {
                document: String::new(),
                name: String::new(),
                signatures: Vec::new(),
                dry_run: false,
                refused: false,
            },
            Request::ExemptionStay {
                target: Target::All,
                order: String::new(),
                not_loaded: false,
                dry_run: false,
            },
            Request::ExemptionResume {
                target: Target::All,
                order: None,
                why: String::new(),
                lift: None,
                dry_run: false,
                to_sign: false,
            },
            Request::ExemptionRevoke { id: String::new(), why: String::new(), dry_run: false },
            Request::InstrumentInvalidate {
                name: String::new(),
                why: String::new(),
                not_loaded: false,
                dry_run: false,
            },
            Request::ApprovalRevoke {
                key: String::new(),
                why: String::new(),
                unknown: false,
                dry_run: false,
            },
            Request::Reload {},
            Request::ReloadPlan {},
            Request::Confirm { roll_back: false },
            Request::GeoAccept {},
            Request::Apply {
                wanted: Box::new(ApplyWanted {
                    name: "new.toml".into(),
                    config: String::new(),
                    signatures: Vec::new(),
                    seconds: 1,
                    guard_nothing: false,
                }),
            },
            Request::CanaryConfirm { canary: String::new() },
        ]
    }

    /// The names of all requests, as the reader of requests has them.
    fn all_names() -> BTreeSet<String> {
        let error = serde_json::from_str::<Request>(r#"{"request":"?"}"#).unwrap_err().to_string();
        let (_, names) = error.split_once("expected one of ").unwrap();
        names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn every_request_has_its_own_name_in_the_table() {
        let mut named = BTreeSet::new();
        for request in requests() {
            let written = serde_json::to_value(&request).unwrap();
            assert_eq!(written["request"], needed(&request).0);
            named.insert(needed(&request).0.to_owned());
        }
        assert_eq!(named, all_names());
    }

    /// Every right against every request.
    #[test]
    fn each_right_lets_do_just_what_it_says() {
        const VIEW: &[&str] =
            &["status", "events", "flows", "trace", "exemption-list", "exemption-show", "audit", "report"];
        const EXEMPTIONS: &[&str] = &[
            "shadow",
            "audit-checkpoint",
            "audit-config",
            "audit-document",
            "audit-lift",
            "exemption-receipt",
            "exemption-done",
            "exemption-open",
            "exemption-orders",
            "exemption-load",
            "exemption-stay",
            "exemption-resume",
            "exemption-revoke",
            "instrument-invalidate",
            "approval-revoke",
        ];
        const POLICY: &[&str] = &["reload", "reload-plan", "confirm", "geo-accept"];
        const CANARIES: &[&str] = &["canary-confirm"];
        let may = |right| match right {
            Right::View => VIEW.to_vec(),
            Right::Exemptions => [VIEW, EXEMPTIONS].concat(),
            Right::Policy => [VIEW, POLICY].concat(),
            Right::Everything => [VIEW, EXEMPTIONS, POLICY, CANARIES, &["apply"]].concat(),
            Right::People => VIEW.to_vec(),
            Right::Canaries => CANARIES.to_vec(),
        };
        for right in Right::ALL {
            for request in requests() {
                let (name, needed) = needed(&request);
                let expected = may(right).contains(&name);
                assert_eq!(right.includes(needed), expected, "{right} {name}");
                assert_eq!(Rights::default().with(right).include(needed), expected, "{right} {name}");
                assert!(!Rights::default().include(needed));
            }
        }
    }

    #[test]
    fn who_has_several_rights_may_do_what_any_of_them_lets() {
        for bits in 0..64_u8 {
            let given = || Right::ALL.into_iter().filter(move |right| bits & 1 << *right as u8 != 0);
            let rights: Rights = given().collect();
            assert_eq!(rights.iter().collect::<Vec<_>>(), given().collect::<Vec<_>>());
            assert_eq!(rights.is_empty(), bits == 0);
            for needed in Right::ALL {
                assert_eq!(rights.include(needed), given().any(|right| right.includes(needed)), "{rights}");
            }
        }
        assert_eq!(Rights::from_iter([Right::Policy, Right::View]).to_string(), "view and policy");
        assert_eq!(Rights::default().to_string(), "none");
    }

    #[test]
    fn the_docs_have_every_request_with_its_right() {
        let docs = include_str!("../../../docs/sre.md");
        let (_, section) = docs.split_once("\n## Who may do what\n").unwrap();
        let rows = section.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| `"));
        let expected: Vec<String> = Right::ALL
            .iter()
            .map(|right| {
                let requests = requests();
                let own = requests.iter().map(needed).filter(|(_, needed)| needed == right);
                let own: Vec<String> = own.map(|(name, _)| format!("`{name}`")).collect();
                let beside = match right {
                    Right::View | Right::Canaries => "",
                    Right::Exemptions | Right::Policy => "as `view`, and ",
                    Right::Everything => "every request; for root and the daemon's own user alone: ",
                    Right::People => {
                        "as `view`, with users, commands, processes and cgroups, and `events` of a process"
                    }
                };
                format!("| `{right}` | {beside}{} |", own.join(", "))
            })
            .collect();
        assert_eq!(rows.collect::<Vec<_>>(), expected);
    }
}
