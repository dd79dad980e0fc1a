//! Making a new generation live, so that every packet is judged by exactly one.
//!
//! **What orders the tables and the live word.** A processor may make stores visible in another order than they were
//! made in, and load in another order than the program has. Tables and word are stored by two calls to the kernel,
//! whose copies promise no order. So between them stands a full barrier of this thread: it orders all that the thread
//! stored before, in the kernel too, against all that it stores later (Linux, Documentation/memory-barriers.txt, "CPU
//! memory barriers"; a thread that moves to another CPU in between meets a full barrier of the scheduler). The program
//! loads the word, and every address of a table is calculated from it: an address dependency, which all processors
//! that Linux runs on keep ("Address-dependency barriers"; Alpha has a barrier in the kernel's own load). A load with
//! acquire semantics would say the same in the instruction itself, but BPF has it only since Linux 6.15. What a program
//! reads beside the tables is reached by numbers out of them (an exemption's account) or belongs to its CPU.
//!
//! The order of the steps is [`switch`]; a model of it with weakly ordered memory is held by a test.

use std::sync::atomic::{Ordering, fence};
use std::time::Instant;

use guard_common::abi::{Live, PolicyTable};
use guard_common::interval::build::GeoImage;

use super::fill::fill;
use super::plain::bytes_of;
use super::published::Published;
use super::{KernelError, LinuxKernel};

impl LinuxKernel {
    /// Makes a new generation live: fills the idle tables, reads all of them back and compares, flips the
    /// live word, and waits until no packet is judged by the old tables any more. `None` for `geo` keeps
    /// the geo tables as they are. New ones are not kept here, so that no look holds the kernel's against them; those of
    /// [`Kernel::publish`](super::Kernel::publish) are.
    ///
    /// When it returns `Ok`, the old generation judges nothing: an exemption that the new one lacks lets
    /// no further packet through. Whatever fails before the flip leaves the old generation live.
    ///
    /// # Errors
    ///
    /// [`KernelError::NoGeo`] for a first generation without geo tables; [`KernelError::OldGeneration`]
    /// where `policy.generation` is not above [`generation`](LinuxKernel::generation);
    /// [`KernelError::ReadBack`] and [`KernelError::Map`] with the old generation still live;
    /// [`KernelError::GracePeriod`] with the new one live, but the old one perhaps still in use.
    pub fn publish(
        &mut self,
        policy: &PolicyTable,
        geo: Option<&GeoImage>,
    ) -> Result<Published, KernelError> {
        if geo.is_none() && !self.live.is_loaded() {
            return Err(KernelError::NoGeo);
        }
        if policy.generation <= self.generation {
            return Err(KernelError::OldGeneration { given: policy.generation, live: self.generation });
        }
        let next = idle(self.live, geo.is_some());
        let (before, will_judge) = (self.judges_calls, policy.refuse_in != 0);
        self.judges_calls |= will_judge;
        let mut quiet = self.quiet;
        let now = Instant::now();
        let mut slots = KernelSlots {
            kernel: self,
            policy,
            geo,
            table: Vec::new(),
            begun: now,
            filled: now,
            flipped: now,
        };
        let outcome = switch(&mut slots, next, &mut quiet);
        let KernelSlots { begun, filled, flipped, .. } = slots;
        self.quiet = quiet;
        // Where it was not flipped, or not waited for, calls may still be judged as before.
        self.judges_calls = if quiet && outcome.is_ok() { will_judge } else { before || will_judge };
        outcome?;
        Ok(Published {
            generation: self.generation,
            fill: filled - begun,
            flip: flipped - filled,
            wait: flipped.elapsed(),
        })
    }

    /// Fills the slots; the policy's table as it is there.
    fn fill(&self, next: Live, policy: &PolicyTable, geo: Option<&GeoImage>) -> Result<Vec<u8>, KernelError> {
        let maps = &self.view.maps;
        let policy = self.with_failsafe_elements(policy)?;
        fill(&maps.policy, "POLICY", next.policy_slot(), &policy)?;
        let Some(geo) = geo else { return Ok(policy) };
        let slot = next.geo_slot();
        fill(&maps.v4_nodes, "V4_NODES", slot, bytes_of(&*geo.v4_nodes))?;
        fill(&maps.v4_entries, "V4_ENTRIES", slot, bytes_of(&*geo.v4_entries))?;
        fill(&maps.v6_nodes, "V6_NODES", slot, bytes_of(&*geo.v6_nodes))?;
        fill(&maps.v6_entries, "V6_ENTRIES", slot, bytes_of(&*geo.v6_entries))?;
        fill(&maps.detail, "V6_DETAIL", slot, bytes_of(&*geo.detail))?;
        Ok(policy)
    }
}

/// Where a new generation is made live: the kernel's maps, or a model of them.
trait Slots {
    /// What can fail.
    type Error;

    /// Returns when every program that runs now has ended.
    fn wait(&mut self) -> Result<(), Self::Error>;

    /// Fills the slots of `next` that are not live.
    fn fill(&mut self, next: Live) -> Result<(), Self::Error>;

    /// Orders all that this thread stored before against all that it stores later.
    fn barrier(&mut self);

    /// Makes `next` the live word.
    fn flip(&mut self, next: Live) -> Result<(), Self::Error>;
}

/// The steps of a publication. `quiet` says whether every program that began by another live word than the present one
/// has ended: not after a word that this process found (the process before may have ended between its flip and its
/// wait), and not where a wait failed.
fn switch<S: Slots>(slots: &mut S, next: Live, quiet: &mut bool) -> Result<(), S::Error> {
    if !*quiet {
        slots.wait()?;
        *quiet = true;
    }
    slots.fill(next)?;
    slots.barrier();
    *quiet = false;
    slots.flip(next)?;
    slots.wait()?;
    *quiet = true;
    Ok(())
}

/// The live word to come: the slots that no packet reads now. The first generation takes slots 0.
fn idle(live: Live, with_geo: bool) -> Live {
    if !live.is_loaded() {
        return Live::new(0, 0);
    }
    let geo_slot = if with_geo { live.geo_slot() ^ 1 } else { live.geo_slot() };
    Live::new(live.policy_slot() ^ 1, geo_slot)
}

/// The kernel's slots, the generation for them, and when each step ended.
struct KernelSlots<'a> {
    kernel: &'a mut LinuxKernel,
    policy: &'a PolicyTable,
    geo: Option<&'a GeoImage>,
    /// The policy's table as it was filled in.
    table: Vec<u8>,
    begun: Instant,
    filled: Instant,
    flipped: Instant,
}

impl Slots for KernelSlots<'_> {
    type Error = KernelError;

    fn wait(&mut self) -> Result<(), KernelError> {
        let generation = self.kernel.generation;
        let grace = &self.kernel.grace;
        let waited = if self.kernel.judges_calls { grace.wait_for_calls() } else { grace.wait() };
        waited.map_err(|source| KernelError::GracePeriod { generation, source })
    }

    fn fill(&mut self, next: Live) -> Result<(), KernelError> {
        self.begun = Instant::now();
        self.table = self.kernel.fill(next, self.policy, self.geo)?;
        self.filled = Instant::now();
        Ok(())
    }

    fn barrier(&mut self) {
        fence(Ordering::SeqCst);
    }

    fn flip(&mut self, next: Live) -> Result<(), KernelError> {
        self.kernel.view.maps.set_live(next)?;
        self.flipped = Instant::now();
        let before = std::mem::replace(&mut self.kernel.live, next);
        self.kernel.generation = self.policy.generation;
        self.kernel.written.went_live(std::mem::take(&mut self.table), self.geo.is_some(), before);
        Ok(())
    }
}

/// Publishing, adopting and judging over two slots on a machine with weakly ordered memory: every order of steps and
/// every value that a load may have, as far as the model goes (loom, after the C11 memory model). The load of the live
/// word has acquire semantics here: the model knows no address dependencies, which are what the kernel program has.
#[cfg(test)]
mod model {
    use std::convert::Infallible;

    use loom::sync::atomic::{AtomicU32, AtomicU64, fence};
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    use super::*;

    /// A table is a generation's number, twice.
    #[derive(Default)]
    struct Table([AtomicU64; 2]);

    struct Machine {
        live: AtomicU32,
        policy: [Table; 2],
        /// A CPU runs a program to its end before anything else.
        cpu: Mutex<()>,
    }

    /// What a publication leaves out, to see that the model finds it.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Omitted {
        Nothing,
        Barrier,
        WaitAfterAdopting,
    }

    struct Publisher {
        machine: Arc<Machine>,
        generation: u64,
        omitted: Omitted,
        dies_after_flip: bool,
    }

    impl Slots for Publisher {
        type Error = Option<Infallible>;

        /// As a visitor of the CPU does.
        fn wait(&mut self) -> Result<(), Self::Error> {
            if self.dies_after_flip {
                return Err(None);
            }
            drop(self.machine.cpu.lock().unwrap());
            Ok(())
        }

        fn fill(&mut self, next: Live) -> Result<(), Self::Error> {
            for word in &self.machine.policy[next.policy_slot() as usize].0 {
                word.store(self.generation, Ordering::Relaxed);
            }
            Ok(())
        }

        fn barrier(&mut self) {
            if self.omitted != Omitted::Barrier {
                fence(Ordering::SeqCst);
            }
        }

        fn flip(&mut self, next: Live) -> Result<(), Self::Error> {
            self.machine.live.store(next.0, Ordering::Relaxed);
            Ok(())
        }
    }

    /// The program: one word, then the table that it names.
    fn judge(machine: &Machine) -> u64 {
        let _running = machine.cpu.lock().unwrap();
        let live = Live(machine.live.load(Ordering::Acquire));
        let words = machine.policy[live.policy_slot() as usize].0.each_ref();
        let [first, second] = words.map(|word| word.load(Ordering::Relaxed));
        assert_eq!(first, second, "no whole generation: judged by half of two");
        first
    }

    fn run(omitted: Omitted) {
        let mut bounds = loom::model::Builder::new();
        bounds.preemption_bound = Some(3);
        bounds.check(move || {
            let table = |generation| Table([AtomicU64::new(generation), AtomicU64::new(generation)]);
            let machine = Arc::new(Machine {
                live: AtomicU32::new(Live::new(0, 0).0),
                policy: [table(1), table(0)],
                cpu: Mutex::new(()),
            });
            let publishing = Arc::clone(&machine);
            let publisher = thread::spawn(move || {
                let mut quiet = true;
                let mut live = Live::new(0, 0);
                // The first daemon ends between its flip and its wait.
                let machine = Arc::clone(&publishing);
                let mut first = Publisher { machine, generation: 2, omitted, dies_after_flip: true };
                live = idle(live, false);
                assert!(switch(&mut first, live, &mut quiet).is_err());
                // The next one adopts what it finds.
                quiet = omitted == Omitted::WaitAfterAdopting;
                let machine = Arc::clone(&publishing);
                let mut second = Publisher { machine, generation: 3, omitted, dies_after_flip: false };
                switch(&mut second, idle(live, false), &mut quiet).unwrap();
                // Nothing is judged by an old generation from here on.
                assert_eq!(judge(&publishing), 3);
            });
            let (before, after) = (judge(&machine), judge(&machine));
            assert!(before <= after && before >= 1, "no whole generation: {after} after {before}");
            publisher.join().unwrap();
        });
    }

    #[test]
    fn every_packet_is_judged_by_one_generation() {
        run(Omitted::Nothing);
    }

    #[test]
    #[should_panic(expected = "no whole generation")]
    fn the_model_sees_a_missing_barrier() {
        run(Omitted::Barrier);
    }

    #[test]
    #[should_panic(expected = "no whole generation")]
    fn the_model_sees_a_slot_filled_too_early() {
        run(Omitted::WaitAfterAdopting);
    }
}
