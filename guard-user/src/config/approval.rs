//! `[approval]`: who has to approve exemptions. From the raw section to the checked one.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::approval_fault::ApprovalFault;
use super::each::{checked, choice, each, one};
use super::error::ErrorKind;
use super::policy::{Action, Approvals, Policy};
use super::read::{List, Section, Text};
use super::sink::{Report, Sink};
use super::values;
use crate::approval::quorum::can_fill;
use crate::approval::{ACTS, Needed, Rule, Signer, Widest, requirements};
use crate::text::looks;

#[derive(Debug)]
pub(super) struct RawApproval {
    pub(super) allowed_signers: Option<Text>,
    widest_ipv4: Option<Spanned<i128>>,
    widest_ipv6: Option<Spanned<i128>>,
    signers: Vec<RawSigner>,
    rules: Vec<RawRule>,
    policy: Option<RawQuorum>,
    emergency: Option<RawQuorum>,
}

/// Whom a config that opens, or an emergency, asks for.
#[derive(Debug)]
struct RawQuorum {
    /// Its header.
    at: usize,
    required: Vec<RawNeeded>,
}

impl RawApproval {
    /// Where the config says whom one that opens asks for, where it does.
    pub(super) fn policy_at(&self) -> Option<usize> {
        self.policy.as_ref().map(|policy| policy.at)
    }

    /// Where each signer's user stands; the file's start for one who has none.
    pub(super) fn users(&self) -> impl Iterator<Item = usize> {
        self.signers.iter().map(|signer| signer.user.as_ref().map_or(0, |user| user.span().start))
    }
}

#[derive(Debug)]
struct RawSigner {
    identity: Option<Text>,
    roles: Option<List>,
    user: Option<Text>,
}

#[derive(Debug)]
struct RawRule {
    /// Its header.
    at: usize,
    pins: Option<List>,
    instruments: Option<List>,
    required: Vec<RawNeeded>,
}

#[derive(Debug)]
struct RawNeeded {
    role: Option<Text>,
    count: Option<Spanned<i128>>,
}

/// The section, where the config has it and no word in its place.
pub(super) fn read(root: &Section<'_, '_>, sink: &mut dyn Report) -> Option<RawApproval> {
    if root.word("approval").is_some() {
        return None;
    }
    let section = root.table("approval", sink);
    if !section.is_there() {
        return None;
    }
    let signers = section.entries("approval.signer", sink);
    let example = "[[approval.signer]] with identity = \"aoife@example.org\" and roles = [\"legal\"]";
    require(&section, ("signer", "approval.signer"), example, sink);
    let rules = section.entries("approval.rule", sink);
    let example = "[[approval.rule]] with required = [{ role = \"legal\", count = 1 }]";
    require(&section, ("rule", "approval.rule"), example, sink);
    let signers = signers.iter().map(|entry| RawSigner {
        identity: entry.text("identity", sink),
        roles: entry.list("roles", sink),
        user: entry.text("user", sink),
    });
    let signers = signers.collect();
    let rules = rules.iter().map(|entry| read_rule(entry, sink)).collect();
    let mut quorum = |name, required| {
        let table = section.table(name, sink);
        table.is_there().then(|| RawQuorum { at: table.at, required: read_required(&table, required, sink) })
    };
    let policy = quorum("approval.policy", "approval.policy.required");
    let emergency = quorum("approval.emergency", "approval.emergency.required");
    Some(RawApproval {
        allowed_signers: section.text("allowed_signers", sink),
        widest_ipv4: section.integer("widest_ipv4", sink),
        widest_ipv6: section.integer("widest_ipv6", sink),
        signers,
        rules,
        policy,
        emergency,
    })
}

/// Reports a section without any entry of this name; the path is the one of the entries.
fn require(section: &Section<'_, '_>, (name, path): (&str, &str), example: &str, sink: &mut dyn Report) {
    if section.lacks(name) || section.is_empty_list(name) {
        let kind = ErrorKind::Missing { example: example.to_owned() };
        sink.report(section.at, path.to_owned(), kind);
    }
}

fn read_required(section: &Section<'_, '_>, path: &'static str, sink: &mut dyn Report) -> Vec<RawNeeded> {
    let required = section.entries(path, sink);
    let example = "required = [{ role = \"legal\", count = 1 }]";
    require(section, ("required", path), example, sink);
    let needed = required
        .iter()
        .map(|needed| RawNeeded { role: needed.text("role", sink), count: needed.integer("count", sink) });
    needed.collect()
}

fn read_rule(entry: &Section<'_, '_>, sink: &mut dyn Report) -> RawRule {
    let required = read_required(entry, "approval.rule.required", sink);
    RawRule {
        at: entry.at,
        pins: entry.list("pins", sink),
        instruments: entry.list("instruments", sink),
        required,
    }
}

/// Checks the section, or the word in its place, with the names of the pins; what is wrong is left out, and `None` is
/// right only where the sink has errors or nobody has to approve.
pub(super) fn check(
    raw: Option<&RawApproval>,
    word: &Option<Text>,
    pins: &BTreeSet<&str>,
    sink: &mut Sink<'_>,
) -> Option<Approvals> {
    choice(word, "approval", &[("none", ())], sink);
    let raw = raw?;
    let signers = check_signers(raw, sink);
    let rules = raw.rules.iter().map(|rule| check_rule(rule, pins, sink)).collect();
    let allowed_signers = one(&raw.allowed_signers, "approval.allowed_signers", sink, values::path);
    let bits = |number: &Option<Spanned<i128>>, field, (least, most), sink: &mut Sink<'_>| {
        let fits = |number: &i128| {
            let bits = u8::try_from(*number).ok().filter(|bits| (least..=most).contains(bits));
            bits.ok_or(ApprovalFault::BadWidest { number: *number, least, most })
        };
        number.as_ref().and_then(|number| checked(number, field, sink, fits)).unwrap_or(least)
    };
    let widest = Widest {
        ipv4: bits(&raw.widest_ipv4, "approval.widest_ipv4", (Widest::IPV4, 32), sink),
        ipv6: bits(&raw.widest_ipv6, "approval.widest_ipv6", (Widest::IPV6, 128), sink),
    };
    let mut quorum = |raw: &Option<RawQuorum>, keys| {
        raw.as_ref().map(|raw| check_required(&raw.required, keys, sink)).unwrap_or_default()
    };
    let policy = quorum(&raw.policy, ("approval.policy.required.role", "approval.policy.required.count"));
    let emergency =
        quorum(&raw.emergency, ("approval.emergency.required.role", "approval.emergency.required.count"));
    Some(Approvals { allowed_signers: allowed_signers?, widest, signers, rules, policy, emergency })
}

fn check_signers(raw: &RawApproval, sink: &mut Sink<'_>) -> Vec<Signer> {
    let (mut first_lines, mut users) = (BTreeMap::new(), BTreeMap::new());
    let mut seen: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let signers = raw.signers.iter().filter_map(|raw| {
        let identity = one(&raw.identity, "approval.signer.identity", sink, values::identity);
        let roles = each(&raw.roles, "approval.signer.roles", sink, values::name);
        let user = one(&raw.user, "approval.signer.user", sink, values::unix_user);
        let (identity, at) = (identity?, raw.identity.as_ref()?.span().start);
        let line = sink.line(at);
        // Whoever writes a document is known by this name, and must not be somebody else in capitals.
        let first = *first_lines.entry(identity.to_ascii_lowercase()).or_insert(at);
        if first != at {
            let first_line = sink.line_at(first);
            let kind = ErrorKind::DuplicateName { name: identity.clone(), first_line };
            sink.error(at, "approval.signer.identity", kind);
        } else if let Some((other, first_line)) = looks(&identity).iter().find_map(|look| seen.get(look)) {
            let (identity, other, first_line) = (identity.clone(), other.clone(), *first_line);
            let fault = ApprovalFault::LooksAlike { identity, other, first_line };
            sink.error(at, "approval.signer.identity", fault);
        }
        seen.extend(looks(&identity).map(|look| (look, (identity.clone(), line))));
        if let (Some(user), Some(text)) = (&user, &raw.user) {
            let at = text.span().start;
            let line = sink.line(at);
            let first_line = *users.entry(user.clone()).or_insert(line);
            if first_line != line {
                let fault = ApprovalFault::SharedUser { user: user.clone(), first_line };
                sink.error(at, "approval.signer.user", fault);
            }
        }
        Some(Signer { identity, roles, user })
    });
    signers.collect()
}

fn check_required(raw: &[RawNeeded], (role, count): (&str, &str), sink: &mut Sink<'_>) -> Vec<Needed> {
    let number_of = |number: &i128| {
        let count = u32::try_from(*number).ok().filter(|count| *count > 0);
        count.ok_or(ApprovalFault::BadCount { number: *number })
    };
    let required = raw.iter().filter_map(|needed| {
        let role = one(&needed.role, role, sink, values::name);
        let number = needed.count.as_ref()?;
        let count = checked(number, count, sink, number_of)?;
        Some(Needed { role: role?, count })
    });
    required.collect()
}

fn check_rule(raw: &RawRule, pins: &BTreeSet<&str>, sink: &mut Sink<'_>) -> Rule {
    let pin = |text: &str| match pins.contains(text) {
        true => Ok(text.to_owned()),
        false => Err(ApprovalFault::NoSuchPin { pin: text.to_owned() }),
    };
    let act = |text: &str| {
        let known = ACTS.into_iter().find(|act| *act == text);
        known.ok_or_else(|| ErrorKind::BadChoice { text: text.to_owned(), choices: ACTS.to_vec() })
    };
    let required =
        check_required(&raw.required, ("approval.rule.required.role", "approval.rule.required.count"), sink);
    Rule {
        pins: each(&raw.pins, "approval.rule.pins", sink, pin),
        acts: each(&raw.instruments, "approval.rule.instruments", sink, act),
        required,
    }
}

/// Reports pins that drop without a word on whose approval opens them, and rules that the signers can't meet. With other
/// errors that can't be told. The places are those of the pins.
pub(super) fn check_pins(
    raw: Option<&RawApproval>,
    places: impl Iterator<Item = usize>,
    policy: &Policy,
    sink: &mut Sink<'_>,
) {
    if sink.has_errors() {
        return;
    }
    for (at, pin) in places.zip(policy.distinct_pins()).filter(|(_, pin)| pin.action == Action::Drop) {
        let name = pin.name.clone();
        match &policy.approval {
            None => sink.error(at, "pin", ApprovalFault::Unsaid { pin: name }),
            Some(approval) if !approval.rules.iter().any(|rule| rule.is_for(&name)) => {
                sink.error(at, "pin", ApprovalFault::PinWithoutRule { pin: name });
            }
            Some(_) => {}
        }
    }
    let (Some(raw), Some(approval)) = (raw, &policy.approval) else { return };
    for (raw, rule) in raw.rules.iter().zip(&approval.rules) {
        if let Err(why) = can_fill(&approval.signers, &rule.requirements()) {
            sink.error(raw.at, "approval.rule.required", ApprovalFault::RuleUnmet { why });
        }
    }
    let quorums = [
        (&raw.policy, &approval.policy, "approval.policy.required"),
        (&raw.emergency, &approval.emergency, "approval.emergency.required"),
    ];
    for (raw, needed, field) in quorums {
        if let Some(raw) = raw
            && let Err(why) = can_fill(&approval.signers, &requirements(needed))
        {
            sink.error(raw.at, field, ApprovalFault::RuleUnmet { why });
        }
    }
}
