//! Whose what failsafe rules have let pass in this minute is: a rule keeps it from one generation to the next, whatever number it
//! has in either.
//!
//! A reload must not make a budget whole again. So a rule is known by its name, and one that is new, or was given another name,
//! begins with the most that any rule which is gone has spent in this minute.

use std::mem::offset_of;

use guard_common::abi::failsafe::{begun, bytes_of as spent_bytes, minute_at, minute_of};
use guard_common::abi::{FailsafeUse, MAX_FAILSAFES, PolicyTable};

use super::plain::{bytes_of, read};
use super::{KernelError, LinuxKernel, View, clock};

/// The rules of a generation: what each is known by, and its element.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rules {
    names: Vec<u64>,
    elements: Vec<u32>,
}

impl Rules {
    /// Those of a policy's table, as its bytes are; `None` where there are too few.
    fn of(policy: &[u8]) -> Option<Self> {
        let of_names = policy.get(offset_of!(PolicyTable, failsafe_names)..)?;
        let of_elements = policy.get(offset_of!(PolicyTable, failsafe_elements)..)?;
        let names = of_names.chunks_exact(8).take(MAX_FAILSAFES).filter_map(read).collect();
        let elements = of_elements.chunks_exact(4).take(MAX_FAILSAFES).filter_map(read).collect();
        Some(Self { names, elements })
    }

    /// The element of the rule that is known by this.
    fn element_of(&self, name: u64) -> Option<u32> {
        let at = self.names.iter().position(|it| *it == name && name != 0)?;
        self.elements.get(at).copied()
    }
}

/// The elements of the rules of a table to come, and what has to be in some of them before it is live.
fn give(
    names: &[u64],
    live: Option<&Rules>,
    uses: &[FailsafeUse],
    minute: u64,
) -> (Vec<u32>, Vec<(u32, FailsafeUse)>) {
    let known: Vec<Option<u32>> = names.iter().map(|name| live?.element_of(*name)).collect();
    let spent = |used: &FailsafeUse| match minute_of(used.spent) >= minute {
        true => spent_bytes(used.spent),
        false => 0,
    };
    let mut free: Vec<(u32, &FailsafeUse)> =
        (0..).zip(uses).filter(|(element, _)| !known.contains(&Some(*element))).collect();
    // A rule that has another name takes over the very element, which goes on being counted in until the table is live.
    free.sort_by_key(|(_, used)| std::cmp::Reverse(spent(used)));
    let most = free.first().map_or(0, |(_, used)| spent(used));
    let (mut free, mut raised) = (free.into_iter(), Vec::new());
    let elements = names.iter().zip(known).map(|(name, known)| {
        known.unwrap_or_else(|| {
            let Some((element, used)) = free.next().filter(|_| *name != 0) else { return 0 };
            if spent(used) < most {
                raised.push((element, FailsafeUse { spent: begun(minute) + most, ..*used }));
            }
            element
        })
    });
    let elements = elements.collect();
    (elements, raised)
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
        let Some(rules) = self.live_failsafes()? else { return Ok(uses) };
        let of = |element: &u32| uses.get(*element as usize).copied().unwrap_or_default();
        let named = rules.names.iter().zip(&rules.elements);
        Ok(named
            .map(|(name, element)| if *name == 0 { FailsafeUse::default() } else { of(element) })
            .collect())
    }
}

impl LinuxKernel {
    /// The bytes of a policy's table, in which each failsafe rule has its element.
    pub(super) fn with_failsafe_elements(&self, policy: &PolicyTable) -> Result<Vec<u8>, KernelError> {
        let mut bytes = bytes_of(policy).to_vec();
        let live = self.view.live_failsafes()?;
        let uses = self.view.failsafe_elements()?;
        let minute = minute_at(clock::boot_ns());
        let (elements, raised) = give(&policy.failsafe_names, live.as_ref(), &uses, minute);
        for (element, used) in raised {
            let written = self.view.maps.failsafe_use.update(&element.to_ne_bytes(), bytes_of(&used));
            written.map_err(|source| KernelError::Map { what: "write", map: "FAILSAFE_USE", source })?;
        }
        let to = bytes.get_mut(offset_of!(PolicyTable, failsafe_elements)..).unwrap_or_default();
        for (to, element) in to.chunks_exact_mut(4).zip(elements) {
            to.copy_from_slice(&element.to_ne_bytes());
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 7;

    /// The elements of rules with these names after those, each of which has spent so much in this minute, and the bytes that
    /// each rule begins with.
    fn after(before: &[(u64, u64)], names: &[u64]) -> Vec<u64> {
        let mut uses = vec![FailsafeUse::default(); MAX_FAILSAFES];
        for (used, (_, spent)) in uses.iter_mut().zip(before) {
            used.spent = begun(MINUTE) + spent;
        }
        let live = Rules {
            names: before.iter().map(|(name, _)| *name).collect(),
            elements: (0..).take(before.len()).collect(),
        };
        let (elements, raised) = give(names, Some(&live), &uses, MINUTE);
        for (element, used) in raised {
            uses[element as usize] = used;
        }
        let mut distinct = elements.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), names.len(), "each has one of its own");
        elements.iter().map(|element| spent_bytes(uses[*element as usize].spent)).collect()
    }

    #[test]
    fn a_reload_makes_no_budget_whole() {
        assert_eq!(after(&[(1, 10), (2, 20)], &[2, 1]), [20, 10], "moved");
        assert_eq!(after(&[(1, 10), (2, 20)], &[3, 1, 2]), [0, 10, 20], "one more before them");
        assert_eq!(after(&[(1, 10), (2, 20)], &[2]), [20], "one less");
        assert_eq!(after(&[(1, 10), (2, 20)], &[1, 3]), [10, 20], "renamed");
        assert_eq!(after(&[(1, 10), (2, 20)], &[4, 3]), [20, 20], "which of the two is not known");
        // What went with one reload does not come back whole by the next.
        assert_eq!(after(&[(0, 30), (2, 20)], &[2, 1]), [20, 30]);
    }

    #[test]
    fn a_minute_that_is_over_counts_for_nobody_and_the_first_rules_have_the_first_elements() {
        let uses = vec![FailsafeUse { spent: begun(MINUTE - 1) + 50, refused_ns: 0 }; MAX_FAILSAFES];
        let mut names = [0; MAX_FAILSAFES];
        names[..2].copy_from_slice(&[5, 6]);
        let (elements, raised) = give(&names, None, &uses, MINUTE);
        assert_eq!((&elements[..2], raised), (&[0, 1][..], Vec::new()));
    }
}
