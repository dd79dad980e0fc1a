//! Exemptions whose window the kernel has seen the end of.

use std::collections::BTreeSet;
use std::mem::{offset_of, size_of};

use guard_common::abi::{Exemption, MAX_EXEMPTIONS, PolicyTable};

use super::plain::read;
use super::{KernelError, View};

impl View {
    /// As [`Kernel::ended`](super::Kernel::ended) has it; none where no generation is live.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the map can't be read.
    pub fn ended(&self, now_ns: u64) -> Result<BTreeSet<u16>, KernelError> {
        let Some(policy) = self.live_policy()? else { return Ok(BTreeSet::new()) };
        Ok(ended_in(&policy, now_ns))
    }
}

/// Those of a policy's table, as its bytes are.
fn ended_in(policy: &[u8], now_ns: u64) -> BTreeSet<u16> {
    let all = policy.get(offset_of!(PolicyTable, exemptions)..).unwrap_or_default();
    let entries = (0..).zip(all.chunks_exact(size_of::<Exemption>())).take(MAX_EXEMPTIONS);
    let number = |entry: &[u8], at: usize| entry.get(at..at + 8).and_then(read::<u64>);
    let has_ended = |entry: &[u8]| {
        let pins = number(entry, offset_of!(Exemption, pins));
        let until = number(entry, offset_of!(Exemption, valid_until_ns));
        pins.is_some_and(|pins| pins != 0) && until.is_some_and(|until| until <= now_ns)
    };
    entries.filter(|(_, entry)| has_ended(entry)).map(|(slot, _)| slot).collect()
}

#[cfg(test)]
mod tests {
    use super::super::plain::bytes_of;
    use super::*;

    #[test]
    fn what_ends_now_has_ended_and_what_is_no_exemption_has_not() {
        let mut policy = PolicyTable::zeroed();
        for (slot, pins, until) in [(0, 1, 100), (1, 1, 101), (3, 1 << 63, 99), (4, 0, 1), (255, 2, 1)] {
            policy.exemptions[slot] = Exemption { pins, valid_until_ns: until, ..Exemption::default() };
        }
        assert_eq!(ended_in(bytes_of(&*policy), 100), BTreeSet::from([0, 3, 255]));
        assert_eq!(ended_in(bytes_of(&*policy), 0), BTreeSet::new());
    }
}
