//! Who made and who used the sending socket, and what that lets match.
//!
//! Most packets are of a socket whose facts were looked at a moment ago: what came of that is remembered by the number of
//! the facts, for each processor and generation. Else each user and each cgroup is looked for, and what was found for those
//! is remembered too: a host has few of them, and a search costs as much as the rest of the decision.

use core::ptr::read_volatile;

use guard_common::abi::{MAX_PARTIES, NO_USER, Party, PolicyTable, SocketFacts, dimension};

use crate::atomic;
use crate::cache::{LastCgroup, LastFacts, LastUser};
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
    let judged = Judged { number, live: generation.live.0, policy };
    let by_user = policy.dimensions & dimension::USER != 0;
    let owner = if by_user { source.owner() } else { NO_USER };
    let Some(facts) = source.facts() else {
        scratch.provenance.everybody = 0;
        judged.find(source, scratch, owner, None);
        return;
    };
    // SAFETY: what is kept with the socket stays while the program runs, and is no scratch.
    unsafe {
        scratch.provenance.everybody = read_volatile(&raw const (*facts).everybody);
        let noted = read_volatile(&raw const (*facts).noted);
        let key = LastFacts::key(states(facts), owner);
        let last = &scratch.last_facts[noted as usize % LastFacts::COUNT];
        if last.answers(noted, key, policy.generation) {
            scratch.provenance.cgroup_pins = last.cgroup_pins;
            scratch.provenance.unplaced = last.unplaced;
            scratch.provenance.user_pins = last.user_pins;
            return;
        }
        // A full barrier: parties are read as they were when the facts had this number, or later.
        scratch.finding.noted = atomic::fetch_or(&raw mut (*facts).noted, 0);
        scratch.finding.key = LastFacts::key(0, owner);
        judged.find(source, scratch, owner, Some(facts));
        let finding = &mut scratch.finding;
        if finding.noted != 0 && finding.key & FILLING == 0 {
            finding.generation = policy.generation;
            finding.cgroup_pins = scratch.provenance.cgroup_pins;
            finding.unplaced = scratch.provenance.unplaced;
            finding.user_pins = scratch.provenance.user_pins;
            let at = finding.noted as usize % LastFacts::COUNT;
            scratch.last_facts[at] = scratch.finding;
        }
    }
}

/// Bits that a party's state has in [`LastFacts::key`].
const STATE_BITS: usize = 2;

/// Which parties of these facts are written, as numbers of [`STATE_BITS`] each.
///
/// # Safety
///
/// `facts` must be the value of a map.
#[inline(always)]
unsafe fn states(facts: *const SocketFacts) -> u64 {
    let mut states = 0;
    for at in 0..MAX_PARTIES {
        // SAFETY: the caller vouches for `facts`.
        states |= unsafe { read_volatile(&raw const (*facts).parties[at].state) } << (at * STATE_BITS);
    }
    states
}

/// The bits of [`LastFacts::key`] of which one is set where a party is being written.
const FILLING: u64 = {
    let mut states = 0;
    let mut at = 0;
    while at < MAX_PARTIES {
        states |= Party::FILLING << (at * STATE_BITS);
        at += 1;
    }
    LastFacts::key(states, 0)
};

const _: () = assert!(Party::FREE == 0 && Party::FILLING == 1 && Party::READY == 2);

/// The generation by which a packet is judged, and the number of its scratch.
#[derive(Clone, Copy)]
struct Judged<'a> {
    number: u32,
    live: u32,
    policy: &'a PolicyTable,
}

impl Judged<'_> {
    /// Finds what the socket's own cgroup and owner, and those of its facts, let match, and notes the states of the parties
    /// that were gone by.
    #[inline(always)]
    fn find<S: Source>(self, source: &S, scratch: &mut Scratch, owner: u32, facts: Option<*mut SocketFacts>) {
        let by_cgroup = self.policy.dimensions & dimension::CGROUP != 0;
        let by_user = self.policy.dimensions & dimension::USER != 0;
        scratch.provenance.cgroup_pins = 0;
        scratch.provenance.unplaced = 0;
        scratch.provenance.user_pins = 0;
        if by_cgroup {
            let id = source.cgroup();
            self.add_cgroup(scratch, 0, id, |scratch| {
                source.describe_cgroups(self.policy.read_levels, &mut scratch.provenance);
            });
        }
        self.add_user(scratch, 0, owner);
        let Some(facts) = facts else { return };
        // SAFETY: what is kept with the socket stays while the program runs, and is no scratch. A party that is written is
        // not written again, and one that is being written counts as anybody.
        unsafe {
            // Nearly always the maker is the owner.
            if by_user && (*facts).maker.is_known() && (*facts).maker.uid != owner {
                self.add_user(scratch, 1, (*facts).maker.uid);
            }
            for at in 0..MAX_PARTIES {
                let party = &raw const (*facts).parties[at];
                let state = read_volatile(&raw const (*party).state);
                scratch.finding.key |= LastFacts::key(state << (at * STATE_BITS), 0);
                match state {
                    Party::FREE => {}
                    Party::READY => {
                        if by_user {
                            self.add_user(scratch, 2 + at, (*party).uid);
                        }
                        if by_cgroup {
                            self.add_cgroup(scratch, 1 + at, (*party).cgroup, |scratch| {
                                scratch.provenance.cgroups = (*party).cgroups;
                            });
                        }
                    }
                    _ => scratch.provenance.everybody = 1,
                }
            }
        }
    }

    /// Adds the pins that a user lets match, remembered as the last user `at`.
    #[inline(always)]
    fn add_user(self, scratch: &mut Scratch, at: usize, uid: u32) {
        if uid == NO_USER {
            return;
        }
        let last = &mut scratch.last_users[at];
        if !last.answers(uid, self.policy.generation) {
            let pins = subprograms::borderguard_user_pins(uid, self.live);
            *last = LastUser { generation: self.policy.generation, pins, uid, pad: 0 };
        }
        scratch.provenance.user_pins |= last.pins;
    }

    /// Adds the pins that a cgroup lets match, remembered as the last cgroup `at`. `describe` writes its id and those of the
    /// cgroups above it.
    #[inline(always)]
    fn add_cgroup(self, scratch: &mut Scratch, at: usize, id: u64, describe: impl FnOnce(&mut Scratch)) {
        if !scratch.last_cgroups[at].answers(id, self.policy.generation) {
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
