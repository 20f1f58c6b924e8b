//! The object behind `timerfd`: a clock's alarm that one waits for.

use super::Files;
use super::description::{Object, flag};
use super::environment::Environment;
use crate::errno::Errno;

/// A timer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timer {
    /// It goes by the time of day, which may jump between invocations, and not by the monotonic clock.
    is_realtime: bool,
    /// Next expiration on its clock; `None`: not armed.
    next_ns: Option<u64>,
    /// Time between expirations; 0: one only.
    interval_ns: u64,
    /// Expirations that nobody has read.
    expired: u64,
    /// When it expires on the monotonic clock, as it looks now.
    pub(crate) due_ns: Option<u64>,
    /// All expirations so far: edges for epoll.
    pub(crate) arrivals: u64,
}

/// What a timer is set to: time to the next expiration, and between those after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) value_ns: u64,
    pub(crate) interval_ns: u64,
}

/// The time on both clocks.
#[derive(Debug, Clone, Copy)]
struct Now {
    realtime_ns: u64,
    monotonic_ns: u64,
}

impl Now {
    fn of(environment: &mut dyn Environment) -> Now {
        Now { realtime_ns: environment.realtime_ns(), monotonic_ns: environment.monotonic_ns() }
    }
}

impl Timer {
    pub(crate) fn is_expired(&self) -> bool {
        self.expired > 0
    }

    /// Takes the number of expirations. `None`: there was none.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<Option<usize>, Errno> {
        let Some(into) = into.first_chunk_mut::<8>() else { return Err(Errno::INVAL) };
        if self.expired == 0 {
            return Ok(None);
        }
        *into = core::mem::take(&mut self.expired).to_le_bytes();
        Ok(Some(into.len()))
    }

    fn clock_ns(&self, now: Now) -> u64 {
        if self.is_realtime { now.realtime_ns } else { now.monotonic_ns }
    }

    /// Counts the expirations up to now.
    fn advance(&mut self, now: Now) {
        let clock_ns = self.clock_ns(now);
        if let Some(next_ns) = self.next_ns.filter(|next_ns| *next_ns <= clock_ns) {
            let more = (clock_ns - next_ns).checked_div(self.interval_ns);
            let count = more.unwrap_or(0).saturating_add(1);
            self.expired = self.expired.saturating_add(count);
            self.arrivals = self.arrivals.wrapping_add(count);
            self.next_ns = more.map(|_| next_ns.saturating_add(count.saturating_mul(self.interval_ns)));
        }
        self.due_ns = self.next_ns.map(|next_ns| now.monotonic_ns.saturating_add(next_ns - clock_ns.min(next_ns)));
    }

    fn setting(&self, now: Now) -> Setting {
        let left = |next_ns: u64| next_ns.saturating_sub(self.clock_ns(now)).max(1);
        Setting { value_ns: self.next_ns.map_or(0, left), interval_ns: self.interval_ns }
    }
}

impl Files {
    pub(crate) fn open_timer(&mut self, is_realtime: bool, flags: u32) -> Result<u32, Errno> {
        let index = self.timers.insert(Timer { is_realtime, ..Timer::default() });
        self.install(Object::Timer(index), None, flag::READ_WRITE | flags)
    }

    fn timer_mut(&mut self, fd: u64) -> Result<&mut Timer, Errno> {
        match self.description(fd)?.object {
            Object::Timer(index) => self.timers.get_mut(index).ok_or(Errno::BADF),
            _ => Err(Errno::INVAL),
        }
    }

    /// Sets a timer and says what it was set to.
    pub(crate) fn set_timer(
        &mut self,
        fd: u64,
        setting: Setting,
        is_absolute: bool,
        environment: &mut dyn Environment,
    ) -> Result<Setting, Errno> {
        let now = Now::of(environment);
        let timer = self.timer_mut(fd)?;
        let before = timer.setting(now);
        let start_ns = if is_absolute { 0 } else { timer.clock_ns(now) };
        let armed = setting.value_ns > 0;
        timer.next_ns = armed.then(|| start_ns.saturating_add(setting.value_ns));
        timer.interval_ns = if armed { setting.interval_ns } else { 0 };
        timer.expired = 0;
        timer.advance(now);
        self.note_change();
        Ok(before)
    }

    pub(crate) fn timer_setting(&mut self, fd: u64, environment: &mut dyn Environment) -> Result<Setting, Errno> {
        let now = Now::of(environment);
        Ok(self.timer_mut(fd)?.setting(now))
    }

    /// Lets the timers expire whose time has come. Made before every call, since one may ask what is ready.
    pub(crate) fn advance_timers(&mut self, environment: &mut dyn Environment) {
        if self.timers.len() == 0 {
            return;
        }
        let now = Now::of(environment);
        for timer in self.timers.values_mut() {
            let before = timer.arrivals;
            timer.advance(now);
            self.changes += u64::from(timer.arrivals != before);
        }
    }
}
