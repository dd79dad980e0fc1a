//! Waiting until no packet is judged by the old tables any more.
//!
//! The kernel offers one way to wait for running programs: an update of a map of maps, which ends with an
//! RCU grace period (`maybe_wait_bpf_programs`, kernel/bpf/syscall.c). That takes some jiffies, 5 to 15 ms
//! where a jiffy is 4. A thread that has run on every CPU since knows the same sooner, mostly within a
//! millisecond: our programs run with softirqs disabled (TC in `__dev_queue_xmit`, XDP in NAPI), where
//! nothing else gets the CPU, so a thread that runs on a CPU knows that no program that ran there at the call is
//! still running. It is the toy implementation of `synchronize_rcu` in the kernel's
//! Documentation/RCU/whatisRCU.rst, and right wherever softirqs can't be preempted, which is every kernel but
//! those with `PREEMPT_RT`. Both ways are gone at once, and the first that comes through counts. One visitor at most is
//! under way: where it is kept from a CPU (by a task of a higher priority), later waits go the other way alone.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use super::raw::{ARRAY, ARRAY_OF_MAPS, Map, raw};

/// The CPUs that are online, as the kernel itself has it.
const ONLINE: &str = "/sys/devices/system/cpu/online";
/// `SYSFS_MAGIC` of linux/magic.h.
const SYSFS_MAGIC: u64 = 0x6265_6572;

/// Waits for running programs.
#[derive(Debug)]
pub(super) struct GracePeriod {
    rcu: Arc<Rcu>,
    /// Whether a visitor is under way.
    visiting: Arc<AtomicBool>,
}

/// The smallest map of maps, kept for what its updates wait for.
#[derive(Debug)]
struct Rcu {
    outer: Map,
    inner: Map,
}

impl GracePeriod {
    pub(super) fn new() -> io::Result<Self> {
        let inner = Map::create(ARRAY, 0)?;
        let outer = Map::create(ARRAY_OF_MAPS, raw(inner.as_fd()))?;
        Ok(Self { rcu: Arc::new(Rcu { outer, inner }), visiting: Arc::default() })
    }

    /// Returns when every program that was running at the call has ended.
    pub(super) fn wait(&self) -> io::Result<()> {
        let (sender, first) = mpsc::channel();
        let (rcu, by_rcu) = (Arc::clone(&self.rcu), sender.clone());
        // Nobody listens to the second.
        let waiting = thread::Builder::new().name("grace".to_owned()).spawn(move || {
            let _second = by_rcu.send(rcu.wait());
        });
        // Where the CPUs can't all be visited, the other way goes on.
        let is_visited = self.visit(visit_every_cpu, move || {
            let _second = sender.send(Ok(()));
        });
        if waiting.is_err() && !is_visited {
            return self.rcu.wait();
        }
        let mut refused = io::Error::other("no thread could be had to wait in");
        for outcome in first {
            match outcome {
                Ok(()) => return Ok(()),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}

impl GracePeriod {
    /// As [`wait`](Self::wait), where programs that judge calls of processes may run too: those give the CPU to others in the
    /// middle, so that a thread that runs on it knows nothing of them. They run within RCU.
    pub(super) fn wait_for_calls(&self) -> io::Result<()> {
        self.rcu.wait()
    }

    /// Sends a visitor out, who reports where it comes through. False where it can't be had, or another one is under
    /// way.
    fn visit(
        &self,
        visit: impl FnOnce() -> io::Result<()> + Send + 'static,
        report: impl FnOnce() + Send + 'static,
    ) -> bool {
        if self.visiting.swap(true, Ordering::Acquire) {
            return false;
        }
        let done = Arc::clone(&self.visiting);
        let visitor = thread::Builder::new().name("grace-visit".to_owned()).spawn(move || {
            let outcome = visit();
            done.store(false, Ordering::Release);
            if outcome.is_ok() {
                report();
            }
        });
        if visitor.is_err() {
            self.visiting.store(false, Ordering::Release);
        }
        visitor.is_ok()
    }
}

impl Rcu {
    fn wait(&self) -> io::Result<()> {
        self.outer.update(&0_u32.to_ne_bytes(), &raw(self.inner.as_fd()).to_ne_bytes())
    }
}

/// Has the calling thread run on every CPU that is online, and leaves it on the last one. A CPU that comes
/// later has not judged by the old tables, and one that goes has ended what it ran.
fn visit_every_cpu() -> io::Result<()> {
    if softirqs_can_be_preempted() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    for cpu in cpus(read_sysfs(Path::new(ONLINE))?.trim()).ok_or(io::ErrorKind::InvalidData)? {
        if cpu >= CpuSet::MAX_CPU {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut only = CpuSet::new();
        only.set(cpu);
        // It returns once the thread runs there (sched_setaffinity(2)); refused where the cpuset of the
        // process does not have this CPU.
        sched_setaffinity(None, &only)?;
        if sched_getcpu() != cpu {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    Ok(())
}

/// Reads a file of sysfs. A container may have another file system's in its place (lxcfs), which lists its own CPUs
/// and not those on which programs run: that is refused.
fn read_sysfs(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let magic = rustix::fs::fstatfs(&file)?.f_type;
    if u64::try_from(magic).is_ok_and(|magic| magic == SYSFS_MAGIC) {
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        return Ok(text);
    }
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether this is a `PREEMPT_RT` kernel, which says so in its version.
pub(super) fn softirqs_can_be_preempted() -> bool {
    let uname = rustix::system::uname();
    let version = uname.version().to_string_lossy();
    let says_so = std::fs::read_to_string("/sys/kernel/realtime").is_ok_and(|text| text.trim() != "0");
    says_so || version.contains("PREEMPT_RT") || version.contains("PREEMPT RT")
}

/// The numbers in a list such as `0-3,8,10-11`; `None` where it is no such list.
fn cpus(list: &str) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        numbers.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(cpus("0-3,8,10-11"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(cpus("0"), Some(vec![0]));
        for bad in ["", "a", "0-", "1,,2", "0-3-5"] {
            assert_eq!(cpus(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_sysfs_says_which_cpus_there_are() {
        assert!(cpus(read_sysfs(Path::new(ONLINE)).unwrap().trim()).is_some_and(|cpus| !cpus.is_empty()));
        let overlaid = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(overlaid.path(), "0\n").unwrap();
        assert_eq!(read_sysfs(overlaid.path()).unwrap_err().kind(), io::ErrorKind::Unsupported);
        assert_eq!(read_sysfs(Path::new("/proc/version")).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }

    /// Where a map can't be made (without root), there is nothing to wait with.
    #[test]
    fn a_visitor_that_is_stuck_is_joined_by_no_other() {
        let Ok(grace) = GracePeriod::new() else { return };
        let (let_go, stuck) = mpsc::channel::<()>();
        let (reports, reported) = mpsc::channel();
        let first = reports.clone();
        let is_out =
            grace.visit(move || stuck.recv().map_err(io::Error::other), move || first.send("first").unwrap());
        assert!(is_out);
        for _ in 0..100 {
            assert!(!grace.visit(|| panic!("a second visitor"), || ()));
        }
        let_go.send(()).unwrap();
        assert_eq!(reported.recv(), Ok("first"));
        // It is back before it reports, and the next one may go.
        assert!(grace.visit(|| Ok(()), move || reports.send("next").unwrap()));
        assert_eq!(reported.recv(), Ok("next"));
    }

    /// While a visitor goes round, every CPU's own thread is interrupted at least once: it could not have been
    /// visited otherwise.
    #[test]
    fn the_visitor_runs_on_every_cpu_that_it_may_use() {
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
        let online = cpus(online.trim()).unwrap();
        let last = thread::spawn(|| visit_every_cpu().map(|()| sched_getcpu())).join().unwrap();
        match last {
            Ok(cpu) => assert_eq!(Some(&cpu), online.last()),
            Err(error) => assert!(online.len() > 1, "one CPU can always be visited: {error}"),
        }
    }
}
