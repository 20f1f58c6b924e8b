//! Waiting to the microsecond. tokio's own timers tick every millisecond, which is more than many an invocation takes.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// A timer of the kernel's, with the precision of its clock.
pub(crate) struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    #[expect(unsafe_code, reason = "a file descriptor is registered with tokio, which must not outlive it")]
    pub(crate) fn new() -> io::Result<Timer> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK.union(TimerfdFlags::CLOEXEC))?;
        // SAFETY: the descriptor is owned by what is registered, and nothing takes it out or puts another in its place.
        let timer = unsafe { AsyncFd::register(timer) }?;
        Ok(Timer(timer))
    }

    /// Waits until then.
    pub(crate) async fn until(&self, moment: Instant) -> io::Result<()> {
        while let Some(left) = moment.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.arm(left)?;
            // Not read: arming it anew forgets that it was ready, and being ready again is a new event.
            self.0.readable().await?.clear_ready();
        }
        Ok(())
    }

    fn arm(&self, left: Duration) -> io::Result<()> {
        let once = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = Itimerspec { it_interval: never, it_value: once };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &setting)?;
        Ok(())
    }
}
