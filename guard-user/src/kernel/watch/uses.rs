//! What only grows in the kernel, or falls by this process's own hand: what exemptions and failsafe rules have let pass.
//! Programs add to it with each packet, so that its value says nothing; that it fell says that somebody has written there.

use std::mem::offset_of;

use guard_common::abi::{Exemption, ExemptionUse, FailsafeUse, MAX_EXEMPTIONS, PolicyTable};

use crate::kernel::plain::{bytes_of, read};
use crate::kernel::tampered::Tampered;
use crate::kernel::{KernelError, LinuxKernel};

/// Looks at what is spent of a budget, one after the other. A packet that finds too little left adds its bytes and takes
/// them back at once: the least of these looks has none of such bytes, and no one look is believed that it fell.
const LOOKS: usize = 6;

impl LinuxKernel {
    /// What the exemptions of all slots have let through. What somebody has lowered is set back to what it was at the last
    /// look or is known to have been at an earlier one, and what is charged to no less than what had passed by then.
    pub(in crate::kernel) fn watched_uses(
        &mut self,
        known: &[(u16, ExemptionUse)],
    ) -> Result<Vec<ExemptionUse>, KernelError> {
        let mut uses = self.view.exemption_uses()?;
        let mut least = least(&self.written.uses, self.written.policy.as_deref(), uses.len());
        for (slot, known) in known {
            if let Some(least) = least.get_mut(usize::from(*slot)) {
                *least = least.at_least(known);
            }
        }
        let (mut lowered, mut first, mut outcome) = (0, String::new(), Ok(()));
        for (slot, (used, least)) in (0_u16..).zip(uses.iter_mut().zip(least)) {
            let right = used.at_least(&least);
            if right == *used {
                continue;
            }
            if lowered == 0 {
                first = format!("slot {slot}: {} bytes charged of {} or more", used.charged, right.charged);
            }
            lowered += 1;
            outcome = outcome.and(self.reset_exemption_use(slot, right));
            *used = right;
        }
        if lowered > 0 {
            self.written.found.push(Tampered::set_back("EXEMPTION_USE", (lowered, first), outcome));
        }
        self.written.uses.clone_from(&uses);
        Ok(uses)
    }

    /// What each failsafe rule with a budget has let pass, by its number in the live generation. What somebody has lowered is
    /// set back to what it was at the last look.
    pub(in crate::kernel) fn watched_failsafes(&mut self) -> Result<Vec<FailsafeUse>, KernelError> {
        let has_budgets = match &self.written.policy {
            Some(policy) => {
                policy.get(offset_of!(PolicyTable, failsafe_bounded)..).and_then(read::<u64>) != Some(0)
            }
            None => return self.view.failsafe_uses(),
        };
        let looks = (0..if has_budgets { LOOKS } else { 1 }).map(|_| self.view.failsafe_elements());
        let looks: Vec<Vec<FailsafeUse>> = looks.collect::<Result<_, _>>()?;
        let mut uses = looks.last().cloned().unwrap_or_default();
        self.written.spent.resize(uses.len(), 0);
        let (mut lowered, mut first, mut outcome) = (0, String::new(), Ok(()));
        for (element, used) in (0_u32..).zip(uses.iter_mut()) {
            let at = element as usize;
            let of = || looks.iter().filter_map(|look| look.get(at)).map(|used| used.spent);
            let (least, most) = (of().min().unwrap_or_default(), of().max().unwrap_or_default());
            let Some(known) = self.written.spent.get_mut(at) else { continue };
            if most >= *known {
                *known = least.max(*known);
                continue;
            }
            if lowered == 0 {
                first = format!("element {element}: {most:#x} of {known:#x} or more");
            }
            lowered += 1;
            used.spent = *known;
            let key = element.to_ne_bytes();
            let set = self.view.maps.failsafe_use.update(&key, bytes_of(used));
            outcome = outcome.and(set);
        }
        if lowered > 0 {
            self.written.found.push(Tampered::set_back("FAILSAFE_USE", (lowered, first), outcome));
        }
        self.view.of_live_rules(uses, self.written.policy.as_deref())
    }
}

/// The least that may be found in each slot, by what was found before and by whose account each slot is charged to: every
/// byte that passes is charged before it is booked.
fn least(before: &[ExemptionUse], policy: Option<&[u8]>, slots: usize) -> Vec<ExemptionUse> {
    let mut least: Vec<ExemptionUse> =
        before.iter().map(|used| ExemptionUse { charged: 0, ..*used }).collect();
    least.resize(slots, ExemptionUse::default());
    let exemptions =
        policy.and_then(|policy| policy.get(offset_of!(PolicyTable, exemptions)..)).unwrap_or_default();
    let each = exemptions.chunks_exact(size_of::<Exemption>()).take(MAX_EXEMPTIONS);
    for (used, exemption) in before.iter().zip(each) {
        let word = |at: usize| exemption.get(at..).and_then(read::<u64>);
        let account = exemption.get(offset_of!(Exemption, account)..).and_then(read::<u32>);
        // The table is this process's own: an exemption without pins is none.
        if word(offset_of!(Exemption, pins)).is_some_and(|pins| pins != 0)
            && let Some(account) = account.and_then(|account| least.get_mut(account as usize))
        {
            account.charged = account.charged.saturating_add(used.bytes);
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(bytes: u64, charged: u64) -> ExemptionUse {
        ExemptionUse { bytes, packets: 1, charged }
    }

    #[test]
    fn an_account_is_charged_no_less_than_what_its_slots_have_let_through() {
        let mut policy = vec![0; size_of::<PolicyTable>()];
        // Slots 1 and 3 are charged to 1; slot 2 is none of the policy's.
        for slot in [1, 3] {
            let at = offset_of!(PolicyTable, exemptions) + slot * size_of::<Exemption>();
            policy[at..at + 8].copy_from_slice(&1_u64.to_ne_bytes());
            let at = at + offset_of!(Exemption, account);
            policy[at..at + 4].copy_from_slice(&1_u32.to_ne_bytes());
        }
        let before = [used(0, 0), used(100, 900), used(70, 80), used(30, 0)];
        let least = least(&before, Some(&policy), 5);
        assert_eq!(least.iter().map(|it| it.charged).collect::<Vec<_>>(), [0, 130, 0, 0, 0]);
        assert_eq!(least.iter().map(|it| it.bytes).collect::<Vec<_>>(), [0, 100, 70, 30, 0]);
    }
}
