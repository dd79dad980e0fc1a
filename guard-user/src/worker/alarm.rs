//! A timer of the kernel's, for a thread that waits for a moment beside other things.
//!
//! The runtime's own timer wakes a thread twice or more for a moment that is further off than some milliseconds, and goes by
//! a clock that stands still in suspend.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What `CLOCK_BOOTTIME` shows, in nanoseconds.
#[must_use]
pub fn now_ns() -> u64 {
    let now = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Wakes at a moment of `CLOCK_BOOTTIME`, and not before it.
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<OwnedFd>,
    /// For when it is set, until it was heard.
    set: Option<u64>,
}

impl Alarm {
    /// One that is not set. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        // SAFETY: the descriptor is the alarm's own: open, and always the same one, until it is dropped, which is
        // after it is deregistered.
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) };
        Ok(Self { timer: timer.map_err(io::Error::from)?, set: None })
    }

    /// Waits until this moment, in nanoseconds. May be dropped at any point: the next call waits for its own moment alone.
    pub async fn at(&mut self, moment_ns: u64) {
        if self.rings(moment_ns).await.is_err() {
            // Nothing that is known. The runtime's timer does it too.
            self.set = None;
            tokio::time::sleep(Duration::from_nanos(moment_ns.saturating_sub(now_ns()))).await;
        }
    }

    async fn rings(&mut self, moment_ns: u64) -> io::Result<()> {
        if self.set != Some(moment_ns) {
            // 0 would mean never.
            let moment = Timespec::try_from(Duration::from_nanos(moment_ns.max(1)));
            let it_value = moment.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            let new = Itimerspec { it_interval: Timespec::default(), it_value };
            // What it had for an earlier moment is forgotten with this.
            timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &new)?;
            self.set = Some(moment_ns);
        }
        loop {
            let mut ready = self.timer.readable().await?;
            let mut times = [0_u8; 8];
            match ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut times)?)) {
                Ok(heard) => {
                    // It rings once, and then not before it is set again.
                    ready.clear_ready();
                    self.set = None;
                    return heard.map(drop);
                }
                Err(_not_yet) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const MS: u64 = 1_000_000;
    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test(flavor = "current_thread")]
    async fn it_is_heard_at_its_moment_and_not_before() {
        let mut alarm = Alarm::new().unwrap();
        for after in [0, 3 * MS, 30 * MS, 70 * MS] {
            let moment = now_ns() + after;
            timeout(LONG, alarm.at(moment)).await.unwrap();
            assert!(now_ns() >= moment);
        }
        // What was long ago, and what is asked for again.
        for moment in [0, 1, 1] {
            timeout(LONG, alarm.at(moment)).await.unwrap();
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_moment_that_is_given_up_for_another_one_is_not_heard_for_it() {
        let mut alarm = Alarm::new().unwrap();
        // Given up before it, and then past without anybody who hears it.
        let early = alarm.at(now_ns() + 20 * MS);
        assert!(timeout(Duration::from_millis(1), early).await.is_err());
        std::thread::sleep(Duration::from_millis(40));
        let moment = now_ns() + 50 * MS;
        timeout(LONG, alarm.at(moment)).await.unwrap();
        assert!(now_ns() >= moment);
        // A later one for an earlier one.
        assert!(timeout(Duration::from_millis(1), alarm.at(now_ns() + 3_600_000 * MS)).await.is_err());
        timeout(LONG, alarm.at(now_ns() + 5 * MS)).await.unwrap();
        // The same one goes on where it was given up.
        let moment = now_ns() + 30 * MS;
        while timeout(Duration::from_millis(2), alarm.at(moment)).await.is_err() {}
        assert!(now_ns() >= moment);
    }
}
