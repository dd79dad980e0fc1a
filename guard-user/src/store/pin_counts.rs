//! Which pins the kernel's counts are of.
//!
//! The kernel counts by a pin's number, which is its place in the config, over generations and daemon restarts. A
//! reload may give a number to another pin. What was counted until then is set aside under the names of the pins
//! that it was counted for, so that no pin is shown another's counts. The store keeps all of this.

use std::collections::BTreeMap;

use guard_common::abi::Hook;
use guard_common::jurisdiction::Jurisdiction;
use guard_common::verdict::{Reason, Verdict};
use serde::{Deserialize, Serialize};

use super::Judged;
use super::holders::Holders;
use super::pin_info::PinInfo;
use crate::config::policy::Pin;

/// Version of the stored form.
const FORMAT: u32 = 1;

/// How packets of a pin were judged, by the kernel's numbers. [`Judged`] is the same by names, with the pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Judgement {
    hook: u8,
    verdict: u8,
    reason: u8,
    jurisdiction: u8,
}

impl Judgement {
    /// Of these four.
    #[must_use]
    pub const fn new(hook: Hook, verdict: Verdict, reason: Reason, jurisdiction: Jurisdiction) -> Self {
        Self {
            hook: hook as u8,
            verdict: verdict as u8,
            reason: reason as u8,
            jurisdiction: jurisdiction.index(),
        }
    }

    /// The hook.
    #[must_use]
    pub fn hook(self) -> Hook {
        Hook::from_index(self.hook).unwrap_or(Hook::Egress)
    }

    /// The verdict.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        Verdict::from_index(self.verdict).unwrap_or(Verdict::Drop)
    }

    /// The reason.
    #[must_use]
    pub fn reason(self) -> Reason {
        Reason::from_index(self.reason).unwrap_or(Reason::NoTables)
    }

    /// The jurisdiction of the other end.
    #[must_use]
    pub fn jurisdiction(self) -> Jurisdiction {
        Jurisdiction::from_index(self.jurisdiction).unwrap_or(Jurisdiction::UNKNOWN)
    }
}

/// Packets and bytes of a pin, by how they were judged. The pin is a number or a name.
pub type Rows<K> = BTreeMap<(K, Judgement), (u64, u64)>;

/// What has the kernel's counts by the pins' numbers.
pub trait CountsByNumber {
    /// Everything counted since the kernel's counters began; rows of zero may be left out.
    fn rows(&self) -> Rows<u8>;
}

impl CountsByNumber for Rows<u8> {
    fn rows(&self) -> Self {
        self.clone()
    }
}

/// Which pins the kernel's counts are of. Empty where the kernel's counters began anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PinCounts {
    generation: u64,
    pins: Vec<PinInfo>,
    /// The kernel's counts when a number last went to another pin.
    base: Rows<u8>,
    /// What was counted before that.
    before: Rows<String>,
    /// What the numbers stood for in this and in earlier generations.
    holders: Holders,
}

impl PinCounts {
    /// The pins of a generation, by number; `None` where they are not known.
    #[must_use]
    pub fn pins_of(&self, generation: u64) -> Option<&[PinInfo]> {
        (self.generation == generation && generation > 0).then_some(&self.pins)
    }

    /// The pins of an earlier generation and the ids of the exemptions in its places; `None` where they are not known.
    #[must_use]
    pub fn names_of(&self, generation: u64) -> Option<(&[PinInfo], impl Iterator<Item = (u16, &str)>)> {
        let pins = self.holders.pins_of(generation)?;
        Some((pins, self.holders.exemptions_of(generation)))
    }

    /// The generation that is live has these exemptions in these places; after [`switch`](Self::switch) to it.
    pub fn hold<'i>(&mut self, exemptions: impl Iterator<Item = (u16, &'i str)>) {
        self.holders.note(self.generation, &self.pins, exemptions);
    }

    /// Whether it is known whose the kernel's counts are. Before that they are of nobody, and are not to be kept: they would be
    /// there twice, under the pins' numbers and under their names.
    #[must_use]
    pub const fn are_named(&self) -> bool {
        self.generation > 0
    }

    /// Whether a number goes to another pin, or to none, with these pins. Then [`switch`](Self::switch) needs the
    /// kernel's counts of the moment at which they go live.
    #[must_use]
    pub fn change_hands(&self, pins: &[Pin]) -> bool {
        let stays = |(number, pin): (usize, &PinInfo)| pins.get(number).is_some_and(|it| it.name == pin.name);
        !self.pins.iter().enumerate().all(stays)
    }

    /// A generation with these pins is live: counts from here on are theirs. Without the kernel's counts of this
    /// moment, what was counted under a number that changed hands is shown as the new pin's.
    pub fn switch(&mut self, pins: &[Pin], generation: u64, counts: Option<&impl CountsByNumber>) {
        if self.change_hands(pins)
            && let Some(counts) = counts
        {
            let rows = counts.rows();
            self.before = self.named(&rows);
            self.base = rows;
        }
        self.pins = pins.iter().map(PinInfo::of).collect();
        self.generation = generation;
    }

    /// What was counted, by the pins' names; rows of zero are left out. A number without a pin is shown as `#3`.
    #[must_use]
    pub fn by_name(&self, counts: &impl CountsByNumber) -> Rows<String> {
        self.named(&counts.rows())
    }

    /// What was counted, as the store keeps it by day.
    #[must_use]
    pub fn judged(&self, counts: &impl CountsByNumber) -> BTreeMap<Judged, (u64, u64)> {
        let mut judged: BTreeMap<Judged, (u64, u64)> = BTreeMap::new();
        for ((pin, judgement), count) in self.by_name(counts) {
            let row = Judged {
                pin,
                hook: judgement.hook().name().to_owned(),
                jurisdiction: judgement.jurisdiction().to_string(),
                verdict: judgement.verdict().name().to_owned(),
                reason: judgement.reason().name().to_owned(),
            };
            add(judged.entry(row).or_default(), count);
        }
        judged
    }

    fn named(&self, rows: &Rows<u8>) -> Rows<String> {
        let mut named = self.before.clone();
        for (&(number, judgement), &(packets, bytes)) in rows {
            let base = self.base.get(&(number, judgement)).copied().unwrap_or_default();
            let since = (packets.saturating_sub(base.0), bytes.saturating_sub(base.1));
            if since == (0, 0) {
                continue;
            }
            let pin = self.pins.get(usize::from(number));
            let name = pin.map_or_else(|| format!("#{number}"), |pin| pin.name.clone());
            add(named.entry((name, judgement)).or_default(), since);
        }
        named
    }

    /// As the store keeps it.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Stored {
            format: FORMAT,
            generation: self.generation,
            pins: self.pins.clone(),
            base: list(&self.base),
            archive: list(&self.before),
            holders: self.holders.clone(),
        })
    }

    /// What the store kept.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let stored: Stored = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if stored.format != FORMAT {
            return Err(format!("its format is {}, and this version reads {FORMAT}", stored.format));
        }
        Ok(Self {
            generation: stored.generation,
            pins: stored.pins,
            base: unlist(stored.base),
            before: unlist(stored.archive),
            holders: stored.holders,
        })
    }
}

fn add(sum: &mut (u64, u64), more: (u64, u64)) {
    *sum = (sum.0.saturating_add(more.0), sum.1.saturating_add(more.1));
}

/// The stored form: lists in place of maps, whose keys JSON wants to be strings.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    generation: u64,
    pins: Vec<PinInfo>,
    base: Vec<(u8, Judgement, u64, u64)>,
    archive: Vec<(String, Judgement, u64, u64)>,
    /// Empty where an earlier version wrote it.
    #[serde(default)]
    holders: Holders,
}

fn list<K: Clone + Ord>(rows: &Rows<K>) -> Vec<(K, Judgement, u64, u64)> {
    rows.iter().map(|((key, judgement), count)| (key.clone(), *judgement, count.0, count.1)).collect()
}

fn unlist<K: Ord>(list: Vec<(K, Judgement, u64, u64)>) -> Rows<K> {
    list.into_iter().map(|(key, judgement, packets, bytes)| ((key, judgement), (packets, bytes))).collect()
}
