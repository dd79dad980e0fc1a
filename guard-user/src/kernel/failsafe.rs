//! Whose what failsafe rules have let pass in this minute is: a rule keeps it from one generation to the next, whatever name,
//! number and budget it has in either.
//!
//! A reload must not make a budget whole again. So a rule is known by what it matches, and one that matches something else begins with
//! the most that any rule which is gone has spent in this minute. It may count on in the very element of one that is gone, so that what
//! it has spent stands for that one's too: as long as the minute lasts, others that are new begin with at least that.

use std::mem::offset_of;

use guard_common::abi::failsafe::{begun, bytes_of as spent_bytes, minute_at, minute_of};
use guard_common::abi::{FailsafeUse, MAX_FAILSAFES, PolicyTable};

use super::plain::{bytes_of, read};
use super::{KernelError, LinuxKernel, View, clock};

/// The rules of a generation: what each is known by, its element, and the minute in which it took the place of rules that went.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rules {
    matches: Vec<u64>,
    elements: Vec<u32>,
    since: Vec<u32>,
}

impl Rules {
    /// Those of a policy's table, as its bytes are; `None` where there are too few.
    fn of(policy: &[u8]) -> Option<Self> {
        let numbers = |at: usize| {
            let bytes = policy.get(at..)?;
            Some(bytes.chunks_exact(4).take(MAX_FAILSAFES).filter_map(read).collect::<Vec<u32>>())
        };
        let matches = policy.get(offset_of!(PolicyTable, failsafe_matches)..)?;
        let matches = matches.chunks_exact(8).take(MAX_FAILSAFES).filter_map(read).collect();
        let elements = numbers(offset_of!(PolicyTable, failsafe_elements))?;
        let since = numbers(offset_of!(PolicyTable, failsafe_since))?;
        Some(Self { matches, elements, since })
    }

    /// The element of the rule that is known by this, and its minute.
    fn find(&self, matches: u64) -> Option<(u32, u32)> {
        let at = self.matches.iter().position(|it| *it == matches && matches != 0)?;
        Some((*self.elements.get(at)?, *self.since.get(at)?))
    }
}

/// What the rules of a table to come are given.
struct Given {
    /// The element of each.
    elements: Vec<u32>,
    /// The minute in which each took the place of rules that went; 0 where it did not.
    since: Vec<u32>,
    /// What has to be in some elements before the table is live.
    raised: Vec<(u32, FailsafeUse)>,
}

/// Gives the rules that match this what they count in, after those of the live table.
fn give(matches: &[u64], live: Option<&Rules>, uses: &[FailsafeUse], minute: u64) -> Given {
    let known: Vec<Option<(u32, u32)>> = matches.iter().map(|it| live?.find(*it)).collect();
    let is_known = |element: u32| known.iter().flatten().any(|(its, _)| *its == element);
    let is_live = |element: u32| {
        let mut rules = live.iter().flat_map(|live| live.matches.iter().zip(&live.elements));
        rules.any(|(matches, its)| *matches != 0 && *its == element)
    };
    let spent = |used: &FailsafeUse| match minute_of(used.spent) >= minute {
        true => spent_bytes(used.spent),
        false => 0,
    };
    let mut free: Vec<(u32, &FailsafeUse)> =
        (0..).zip(uses).filter(|(element, _)| !is_known(*element)).collect();
    // One that came shortly before this minute may have been given an element in which one that went has spent in it.
    let is_new = |since: u32| u64::from(since) + 1 >= minute;
    let came = known.iter().flatten().filter(|(_, since)| is_new(*since));
    let came = came.filter_map(|(element, _)| uses.get(*element as usize));
    let most = came.chain(free.iter().map(|(_, used)| *used)).map(spent).max().unwrap_or_default();
    // First the elements of rules that go, where nothing has to be written to them: those are counted in until the table is live.
    // What has to be written is written where nobody counts, as long as there is such an element.
    free.sort_by_key(|(element, used)| {
        let is_raised = spent(used) < most;
        (is_raised, is_raised == is_live(*element), std::cmp::Reverse(spent(used)))
    });
    let (mut free, this_minute) = (free.into_iter(), u32::try_from(minute).unwrap_or(u32::MAX));
    let mut given = Given { elements: Vec::new(), since: Vec::new(), raised: Vec::new() };
    for (matches, known) in matches.iter().zip(known) {
        let (element, since) = known.unwrap_or_else(|| {
            let Some((element, used)) = free.next().filter(|_| *matches != 0) else { return (0, 0) };
            if spent(used) < most {
                given.raised.push((element, FailsafeUse { spent: begun(minute) + most, ..*used }));
            }
            // What it begins with stands for rules that are gone, where there are any.
            (element, if most > 0 || is_live(element) { this_minute } else { 0 })
        });
        given.elements.push(element);
        given.since.push(since);
    }
    given
}

impl View {
    /// The rules of the live generation; `None` where none is live.
    fn live_failsafes(&self) -> Result<Option<Rules>, KernelError> {
        Ok(self.live_policy()?.and_then(|policy| Rules::of(&policy)))
    }

    /// The bytes of the policy's table that is live; `None` where none is.
    pub(super) fn live_policy(&self) -> Result<Option<Vec<u8>>, KernelError> {
        let live = self.maps.live()?;
        if !live.is_loaded() {
            return Ok(None);
        }
        let mut bytes = vec![0; self.maps.policy.value_len()];
        let found = self.maps.policy.lookup(&live.policy_slot().to_ne_bytes(), &mut bytes);
        found.map_err(|source| KernelError::Map { what: "read", map: "POLICY", source })?;
        Ok(Some(bytes))
    }

    /// What each failsafe rule with a budget has let pass, by its number in the live generation.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where a map can't be read.
    pub fn failsafe_uses(&self) -> Result<Vec<FailsafeUse>, KernelError> {
        let uses = self.failsafe_elements()?;
        self.of_live_rules(uses, self.live_policy()?.as_deref())
    }

    /// What the elements have, by the number of the rule in this live table of the policy.
    pub(super) fn of_live_rules(
        &self,
        uses: Vec<FailsafeUse>,
        policy: Option<&[u8]>,
    ) -> Result<Vec<FailsafeUse>, KernelError> {
        let Some(rules) = policy.and_then(Rules::of) else { return Ok(uses) };
        let of = |element: &u32| uses.get(*element as usize).copied().unwrap_or_default();
        let rules = rules.matches.iter().zip(&rules.elements);
        Ok(rules
            .map(|(matches, element)| if *matches == 0 { FailsafeUse::default() } else { of(element) })
            .collect())
    }
}

impl LinuxKernel {
    /// The bytes of a policy's table, in which each failsafe rule has its element and its minute.
    pub(super) fn with_failsafe_elements(&self, policy: &PolicyTable) -> Result<Vec<u8>, KernelError> {
        let mut bytes = bytes_of(policy).to_vec();
        let live = self.view.live_failsafes()?;
        let uses = self.view.failsafe_elements()?;
        let minute = minute_at(clock::boot_ns());
        let Given { elements, since, raised } = give(&policy.failsafe_matches, live.as_ref(), &uses, minute);
        for (element, used) in raised {
            let written = self.view.maps.failsafe_use.update(&element.to_ne_bytes(), bytes_of(&used));
            written.map_err(|source| KernelError::Map { what: "write", map: "FAILSAFE_USE", source })?;
        }
        let of_elements = (offset_of!(PolicyTable, failsafe_elements), elements);
        for (at, numbers) in [of_elements, (offset_of!(PolicyTable, failsafe_since), since)] {
            let to = bytes.get_mut(at..).unwrap_or_default();
            for (to, number) in to.chunks_exact_mut(4).zip(numbers) {
                to.copy_from_slice(&number.to_ne_bytes());
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
