//! Who made and who used the sending socket, and what that lets match. What was found for a user or a cgroup is remembered
//! for each processor and generation: a host has few of them, and a search costs as much as the rest of the decision.

use guard_common::abi::{MAX_PARTIES, NO_USER, Party, PolicyTable, dimension};

use crate::cache::{LastCgroup, LastUser};
use crate::generation::Generation;
use crate::hooks::Source;
use crate::scratch::Scratch;
use crate::subprograms;

/// Writes what the users and the cgroups of the sending socket let match, as far as a selector asks for it, to the scratch
/// of this number.
#[inline(always)]
pub fn describe<S: Source>(
    number: u32,
    generation: Generation,
    source: &S,
    policy: &PolicyTable,
    scratch: &mut Scratch,
) {
    let judged = Judged { number, live: generation.live.0, generation: policy.generation };
    let by_cgroup = policy.dimensions & dimension::CGROUP != 0;
    let by_user = policy.dimensions & dimension::USER != 0;
    scratch.provenance.cgroup_pins = 0;
    scratch.provenance.unplaced = 0;
    scratch.provenance.user_pins = 0;
    scratch.provenance.everybody = 0;
    if by_cgroup {
        let id = source.cgroup();
        judged.add_cgroup(scratch, 0, id, |scratch| {
            source.describe_cgroups(policy.read_levels, &mut scratch.provenance);
        });
    }
    let owner = if by_user { source.owner() } else { NO_USER };
    judged.add_user(scratch, 0, owner);
    let Some(facts) = source.facts() else { return };
    // SAFETY: what is kept with the socket stays while the program runs, and is no scratch. A party that is written is not
    // written again, and one that is being written counts as anybody.
    unsafe {
        // Nearly always the maker is the owner.
        if by_user && (*facts).maker.is_known() && (*facts).maker.uid != owner {
            judged.add_user(scratch, 1, (*facts).maker.uid);
        }
        scratch.provenance.everybody = (*facts).everybody;
        for at in 0..MAX_PARTIES {
            let party = &raw const (*facts).parties[at];
            match core::ptr::read_volatile(&raw const (*party).state) {
                Party::FREE => {}
                Party::READY => {
                    if by_user {
                        judged.add_user(scratch, 2 + at, (*party).uid);
                    }
                    if by_cgroup {
                        judged.add_cgroup(scratch, 1 + at, (*party).cgroup, |scratch| {
                            scratch.provenance.cgroups = (*party).cgroups;
                        });
                    }
                }
                _ => scratch.provenance.everybody = 1,
            }
        }
    }
}

/// The generation by which a packet is judged, and the number of its scratch.
#[derive(Clone, Copy)]
struct Judged {
    number: u32,
    live: u32,
    generation: u64,
}

impl Judged {
    /// Adds the pins that a user lets match, remembered as the last user `at`.
    #[inline(always)]
    fn add_user(self, scratch: &mut Scratch, at: usize, uid: u32) {
        if uid == NO_USER {
            return;
        }
        let last = &mut scratch.last_users[at];
        if !last.answers(uid, self.generation) {
            let pins = subprograms::borderguard_user_pins(uid, self.live);
            *last = LastUser { generation: self.generation, pins, uid, pad: 0 };
        }
        scratch.provenance.user_pins |= last.pins;
    }

    /// Adds the pins that a cgroup lets match, remembered as the last cgroup `at`. `describe` writes its id and those of the
    /// cgroups above it.
    #[inline(always)]
    fn add_cgroup(self, scratch: &mut Scratch, at: usize, id: u64, describe: impl FnOnce(&mut Scratch)) {
        if !scratch.last_cgroups[at].answers(id, self.generation) {
            describe(scratch);
            // What can't be found out is not remembered, and counts as any.
            scratch.found = LastCgroup { generation: 0, id, pins: u64::MAX, unplaced: 0 };
            subprograms::borderguard_find_cgroup(self.number, self.live);
            scratch.last_cgroups[at] = scratch.found;
        }
        let last = &scratch.last_cgroups[at];
        scratch.provenance.cgroup_pins |= last.pins;
        scratch.provenance.unplaced |= last.unplaced;
    }
}
