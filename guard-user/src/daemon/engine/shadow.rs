//! A shadow: a candidate that judges live packets beside what is live, in tables of its own.

use std::collections::{BTreeMap, BTreeSet};

use guard_common::abi::MAX_EXEMPTIONS;

use super::basis::Basis;
use super::input::{LoadFailure, ShadowPrepared};
use crate::compile::{HostFacts, KernelExemption, failsafe_matches};
use crate::config::policy::{Pin, Policy};
use crate::control::protocol::{ErrorKind, ShadowWanted};
use crate::control::shadow::{MOST_SHADOW_SECONDS, ShadowAdded};
use crate::control::trace::MOST_NAME;
use crate::exemption::{Clocks, Document, division};
use crate::store::{Kept, kernel_entries};

/// The first number of a candidate's generations. No live one has as many before it.
pub(super) const FIRST_GENERATION: u64 = 1 << 63;

/// A shadow that runs.
pub(super) struct ShadowRun {
    pub(super) seconds: u64,
    /// Ids of open exemptions that the candidate does not have.
    pub(super) without: Vec<String>,
    pub(super) sees_people: bool,
    pub(super) candidate: Candidate,
    /// What the tables that the kernel has for it are made of; `None` before it has any.
    pub(super) sent: Option<Sent>,
    /// The generation that was live when it began.
    pub(super) first: u64,
    /// How many tables were made for it.
    pub(super) tables: u64,
    /// Whether the kernel was asked for the end of it.
    pub(super) is_ending: bool,
}

/// How far the candidate is.
pub(super) enum Candidate {
    /// It is being read.
    Loading,
    /// It can't be used.
    Failed(LoadFailure),
    /// Its tables are made.
    Ready(Box<ShadowPrepared>),
}

/// What a candidate's tables are made of.
pub(super) struct Sent {
    pub(super) basis: Basis,
    /// Whose the slots are.
    pub(super) ids: BTreeMap<u16, String>,
}

impl ShadowRun {
    pub(super) fn new(wanted: &ShadowWanted, sees_people: bool, generation: u64) -> Self {
        Self {
            seconds: wanted.seconds,
            without: wanted.without.clone(),
            sees_people,
            candidate: Candidate::Loading,
            sent: None,
            first: generation,
            tables: 0,
            is_ending: false,
        }
    }

    /// The candidate, where its tables are made.
    pub(super) fn prepared(&self) -> Option<&ShadowPrepared> {
        match &self.candidate {
            Candidate::Ready(prepared) => Some(prepared),
            Candidate::Loading | Candidate::Failed(_) => None,
        }
    }
}

/// What is wrong with what is asked for.
pub(super) fn fault(id: &str, wanted: &ShadowWanted) -> Option<String> {
    if id.is_empty() || id.len() > MOST_NAME {
        return Some(format!("a shadow has a name of 1 to {MOST_NAME} bytes"));
    }
    if !(1..=MOST_SHADOW_SECONDS).contains(&wanted.seconds) {
        return Some(format!(
            "a shadow goes on for 1 to {MOST_SHADOW_SECONDS} seconds, and not for {}",
            wanted.seconds
        ));
    }
    None
}

/// What the candidate's tables are to be made of now: its exemptions are those that are `open`, but for those that it does not
/// have, and its own besides. What is left of a quota is all of it, and not what the kernel has of it yet.
pub(super) fn contents(
    open: Vec<KernelExemption>,
    (kept, without): (&Kept, &[String]),
    prepared: &ShadowPrepared,
    facts: HostFacts,
    (clocks, clock): (&Clocks, u64),
) -> Result<Sent, LoadFailure> {
    let pins = prepared.policy.pin_names();
    let documents = &prepared.documents;
    let mut ids = BTreeMap::new();
    let mut exemptions = Vec::new();
    for mut it in open {
        let Some((document, record)) = kept.open().find(|(_, record)| record.slots.contains(&it.slot)) else {
            continue;
        };
        if without.contains(&document.id) || documents.iter().any(|added| added.id == document.id) {
            continue;
        }
        let quota = document.quota_bytes;
        it.quota = quota.map_or(u64::MAX, |quota| quota.saturating_sub(record.before.bytes));
        ids.insert(it.slot, document.id.clone());
        exemptions.push(it);
    }
    // From the last slot down: those that are loaded meanwhile take the first ones that are free.
    let taken: BTreeSet<u16> = exemptions.iter().map(|it| it.slot).collect();
    let all = (0..u16::try_from(MAX_EXEMPTIONS).unwrap_or(u16::MAX)).rev();
    let mut free = all.filter(|slot| !taken.contains(slot));
    for document in documents {
        let wanted = division::slots_wanted(document);
        let slots: Vec<u16> = free.by_ref().take(wanted).collect();
        let mut entries =
            kernel_entries(document, &slots, &pins, document.quota_bytes.unwrap_or(u64::MAX), clocks);
        if entries.is_empty() {
            let why = match slots.len() < wanted {
                true => "the kernel's tables have no room for it beside those that are open",
                false => "it has ended, or names no pin of the candidate",
            };
            return Err(bad_input(format!("--exemption: {}: {why}", document.id)));
        }
        entries.iter_mut().for_each(|entry| entry.valid_from_ns = 0);
        ids.extend(slots.into_iter().map(|slot| (slot, document.id.clone())));
        exemptions.extend(entries);
    }
    exemptions.sort_by_key(|it| it.slot);
    Ok(Sent { basis: Basis { config: 0, clock, exemptions, facts }, ids })
}

fn bad_input(message: String) -> LoadFailure {
    LoadFailure { kind: ErrorKind::BadInput, message }
}

/// That one of these is not open.
pub(super) fn not_open(without: &[String], kept: &Kept) -> Option<LoadFailure> {
    let is_open = |id: &&String| kept.open().any(|(document, _)| document.id == **id);
    let id = without.iter().find(|id| !is_open(id))?;
    Some(bad_input(format!("--without {id}: no exemption of this id is open")))
}

/// The exemptions that the candidate has besides those that are open.
pub(super) fn added(documents: &[Document], kept: &Kept) -> Vec<ShadowAdded> {
    let added = documents.iter().map(|it| ShadowAdded {
        id: it.id.clone(),
        quota: it.quota_bytes,
        replaces: kept.open().any(|(document, _)| document.id == it.id),
    });
    added.collect()
}

/// Failsafe rules that match the same on both sides, by which a reload knows them too: the live number, and the candidate's.
pub(super) fn same_failsafes(live: &Policy, then: &Policy) -> Vec<(u32, u32)> {
    let number = |at: usize| u32::try_from(at).ok();
    let before = failsafe_matches(&live.failsafe);
    let then = failsafe_matches(&then.failsafe).into_iter().enumerate();
    then.filter_map(|(at, matches)| {
        Some((number(before.iter().position(|it| *it == matches)?)?, number(at)?))
    })
    .collect()
}

/// What the candidate's pins ask for that nobody notes, because no pin in force does.
pub(super) fn not_noted(live: &Policy, then: &Policy) -> Vec<String> {
    let asks = |policy: &Policy| policy.pins.iter().any(|pin| pin.select.asks_for_senders());
    let mut sentences = Vec::new();
    if !asks(live)
        && let Some(pin) = then.pins.iter().find(|pin| pin.select.asks_for_senders())
    {
        sentences.push(format!(
            "the pin {} goes by who sends, and no pin in force does: of a socket it is known who made and who connected it, and \
             not who else sends by it",
            pin.name
        ));
    }
    let noted = live.volumes();
    for volume in then.volumes() {
        if !noted.iter().any(|it| it.path == volume.path) {
            sentences.push(format!(
                "{} is no volume of a pin in force: nobody knows who carries its data, so that no packet is of it here",
                volume.path.display()
            ));
        }
    }
    sentences
}

/// Why a candidate is refused to who may not see people: what a pin of its own tags would tell who sent it. A pin that goes by
/// the same users and cgroups as one in force tells what everybody who sees flows is told.
pub(super) fn tells_who_sends(then: &Policy, live: &Policy) -> Option<LoadFailure> {
    let who = |pin: &Pin| {
        let users: BTreeSet<Option<u32>> = pin.select.users.iter().map(|user| user.uid).collect();
        let cgroups: BTreeSet<String> = pin.select.cgroups.iter().cloned().collect();
        (users, cgroups)
    };
    let known: Vec<_> = live.pins.iter().map(who).collect();
    let goes_by_people = |pin: &&Pin| !pin.select.users.is_empty() || !pin.select.cgroups.is_empty();
    let pin = then.pins.iter().filter(goes_by_people).find(|pin| !known.contains(&who(pin)))?;
    let message = format!(
        "the pin \"{}\" goes by users or cgroups as no pin in force does, so that its packets would tell who sends: that takes \
         the right `people`",
        pin.name
    );
    Some(LoadFailure { kind: ErrorKind::NotPermitted, message })
}
