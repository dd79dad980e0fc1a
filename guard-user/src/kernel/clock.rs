//! Whether this process and the kernel program have the same clock.
//!
//! Windows of exemptions are given to the kernel as moments of `CLOCK_BOOTTIME`, and the program reads that clock as
//! the kernel has it. A process in a time namespace with an offset (time_namespaces(7)) reads another.

use std::fs;
use std::io;
use std::mem::MaybeUninit;

use super::KernelError;

/// The offsets of the time namespace of this process's children, which is its own unless it has just made one.
const OFFSETS: &str = "/proc/self/timens_offsets";

/// Refuses a clock that is not the kernel's.
pub(super) fn check() -> Result<(), KernelError> {
    match fs::read_to_string(OFFSETS) {
        Ok(offsets) => {
            boottime_offset(&offsets).map_or(Ok(()), |offset| Err(KernelError::TimeNamespace { offset }))
        }
        // A kernel without time namespaces.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(KernelError::folder("read", OFFSETS, error)),
    }
}

/// The offset of the boot time in seconds, with its nanoseconds; `None` where there is none. Lines are a clock's name
/// or number, seconds and nanoseconds.
fn boottime_offset(offsets: &str) -> Option<String> {
    let words = |line: &str| {
        let mut words = line.split_whitespace();
        let (clock, seconds, nanos) = (words.next()?, words.next()?, words.next()?);
        let is_boottime = matches!(clock, "boottime" | "7");
        (is_boottime && (seconds, nanos) != ("0", "0")).then(|| format!("{seconds}.{nanos:0>9}"))
    };
    offsets.lines().find_map(words)
}

/// What the kernel says of its wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    /// Whether something keeps it right.
    pub is_synchronised: bool,
    /// By how much it may be wrong at most, in microseconds.
    pub max_error: i64,
}

/// Asks the kernel of its wall clock (adjtimex(2)), and sets nothing.
///
/// # Errors
///
/// What the kernel says.
pub fn wall_clock() -> io::Result<WallClock> {
    let mut timex = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: the kernel reads and writes one `timex`, which has that room. All its fields are integers, of which zeros are
    // values; `modes` of 0 asks and sets nothing.
    let (state, timex) = unsafe { (libc::adjtimex(timex.as_mut_ptr()), timex.assume_init()) };
    match state {
        -1 => Err(io::Error::last_os_error()),
        state => Ok(WallClock {
            is_synchronised: state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0,
            max_error: timex.maxerror,
        }),
    }
}

/// `CLOCK_BOOTTIME` in nanoseconds, as the hooks read it.
pub(super) fn boot_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or_default().saturating_mul(1_000_000_000).saturating_add(nanos.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_of_the_boot_time_is_seen_and_others_are_not() {
        let none = "monotonic           0         0\nboottime            0         0\n";
        assert_eq!(boottime_offset(none), None);
        assert_eq!(boottime_offset("monotonic 86400 0\nboottime 0 0\n"), None);
        assert_eq!(
            boottime_offset("monotonic 0 0\nboottime -86400 0\n").as_deref(),
            Some("-86400.000000000")
        );
        assert_eq!(boottime_offset("7 0 5\n").as_deref(), Some("0.000000005"));
        assert_eq!(boottime_offset(""), None);
    }

    #[test]
    fn the_wall_clock_can_be_asked_by_anybody() {
        let clock = wall_clock().unwrap();
        assert!(clock.max_error >= 0, "{clock:?}");
    }

    #[test]
    fn this_process_has_the_kernels_clock() {
        check().unwrap();
    }
}
