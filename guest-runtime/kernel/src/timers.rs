//! Timers of the program: `alarm`, `setitimer`, `timer_create`.
//!
//! All run on the monotonic clock; a CPU-time timer counts time that passes. They are looked at when nobody can run, and at ticks.

use alloc::vec::Vec;

use crate::errno::Errno;
use crate::signals::{Info, Target, code, number};

/// Most timers of `timer_create`.
pub const TIMERS_MAX: usize = 1024;
/// Largest count of overruns (`DELAYTIMER_MAX`).
const OVERRUNS_MAX: u64 = i32::MAX as u64;

/// What happens when a timer expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Nothing: the program looks at it.
    Nothing,
    /// A signal.
    Signal {
        /// To whom.
        target: Target,
        /// Its number.
        signal: u64,
        /// Its value.
        value: u64,
    },
}

/// When a timer expires.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Setting {
    /// Next time, on the monotonic clock.
    pub at_ns: Option<u64>,
    /// And then again after this time; 0: never.
    pub interval_ns: u64,
}

impl Setting {
    /// Time left at `now`. A timer that has not been looked at yet still has some.
    #[must_use]
    pub fn left_ns(&self, now_ns: u64) -> u64 {
        self.at_ns.map_or(0, |at| at.saturating_sub(now_ns).max(1))
    }

    /// Moves on to the time after `now`; returns how often it expired, or 0.
    fn expire(&mut self, now_ns: u64) -> u64 {
        let Some(at) = self.at_ns.filter(|at| *at <= now_ns) else { return 0 };
        if self.interval_ns == 0 {
            self.at_ns = None;
            return 1;
        }
        let times = (now_ns - at) / self.interval_ns + 1;
        self.at_ns = Some(at.saturating_add(times.saturating_mul(self.interval_ns)));
        times
    }
}

#[derive(Debug, Clone, Copy)]
struct Timer {
    clock: u64,
    setting: Setting,
    notice: Notice,
    /// Times that it expired and no signal told, at the last signal.
    overruns: u64,
}

/// Signals of the three timers of `setitimer`.
const INTERVAL_SIGNALS: [u64; 3] = [number::ALARM, number::VIRTUAL_ALARM, number::PROFILE];

/// All timers.
#[derive(Debug, Default)]
pub struct Timers {
    interval: [Setting; 3],
    created: Vec<Option<Timer>>,
    /// The earliest time of all, so that nobody needs to look at each.
    next_ns: Option<u64>,
}

/// A signal that a timer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    /// To whom.
    pub target: Target,
    /// What.
    pub info: Info,
}

impl Timers {
    /// When the next one expires.
    #[must_use]
    pub fn next_ns(&self) -> Option<u64> {
        self.next_ns
    }

    /// The timer of `setitimer`: 0 real, 1 virtual, 2 profiling.
    ///
    /// # Errors
    /// [`Errno::INVAL`] if there is no such timer.
    pub fn interval(&self, which: u64) -> Result<Setting, Errno> {
        self.interval.get(which as usize).copied().ok_or(Errno::INVAL)
    }

    /// Sets it.
    ///
    /// # Errors
    /// As for [`Timers::interval`].
    pub fn set_interval(&mut self, which: u64, setting: Setting) -> Result<(), Errno> {
        *self.interval.get_mut(which as usize).ok_or(Errno::INVAL)? = setting;
        self.find_next();
        Ok(())
    }

    /// Makes a timer that is not set; returns its number. `notice` gets the number.
    ///
    /// # Errors
    /// [`Errno::AGAIN`] if there are too many.
    pub fn create(&mut self, clock: u64, notice: impl FnOnce(u64) -> Notice) -> Result<u64, Errno> {
        let free = self.created.iter().position(Option::is_none).unwrap_or(self.created.len());
        if free >= TIMERS_MAX {
            return Err(Errno::AGAIN);
        }
        let timer = Timer { clock, setting: Setting::default(), notice: notice(free as u64), overruns: 0 };
        if free == self.created.len() {
            self.created.push(Some(timer));
        } else {
            self.created[free] = Some(timer);
        }
        Ok(free as u64)
    }

    /// Clock and setting of a timer.
    ///
    /// # Errors
    /// [`Errno::INVAL`] if there is no such timer.
    pub fn get(&self, id: u64) -> Result<(u64, Setting), Errno> {
        let timer = self.created.get(id as usize).and_then(Option::as_ref).ok_or(Errno::INVAL)?;
        Ok((timer.clock, timer.setting))
    }

    /// Sets a timer.
    ///
    /// # Errors
    /// As for [`Timers::get`].
    pub fn set(&mut self, id: u64, setting: Setting) -> Result<(), Errno> {
        let timer = self.created.get_mut(id as usize).and_then(Option::as_mut).ok_or(Errno::INVAL)?;
        (timer.setting, timer.overruns) = (setting, 0);
        self.find_next();
        Ok(())
    }

    /// How often a timer expired besides the time that its last signal told.
    ///
    /// # Errors
    /// As for [`Timers::get`].
    pub fn overruns(&self, id: u64) -> Result<u64, Errno> {
        let timer = self.created.get(id as usize).and_then(Option::as_ref).ok_or(Errno::INVAL)?;
        Ok(timer.overruns)
    }

    /// Removes a timer.
    ///
    /// # Errors
    /// As for [`Timers::get`].
    pub fn remove(&mut self, id: u64) -> Result<(), Errno> {
        self.get(id)?;
        self.created[id as usize] = None;
        self.find_next();
        Ok(())
    }

    /// The signals of all timers whose time has come.
    pub fn expire(&mut self, now_ns: u64) -> Vec<Expired> {
        let mut expired = Vec::new();
        if self.next_ns.is_none_or(|next| next > now_ns) {
            return expired;
        }
        for (setting, signal) in self.interval.iter_mut().zip(INTERVAL_SIGNALS) {
            if setting.expire(now_ns) > 0 {
                let info = Info { signal, code: code::KERNEL, fields: [0; 3] };
                expired.push(Expired { target: Target::Process, info });
            }
        }
        for (id, timer) in self.created.iter_mut().enumerate() {
            let Some(timer) = timer else { continue };
            let times = timer.setting.expire(now_ns);
            if times == 0 {
                continue;
            }
            timer.overruns = (times - 1).min(OVERRUNS_MAX);
            if let Notice::Signal { target, signal, value } = timer.notice {
                let fields = [id as u64 | timer.overruns << 32, value, 0];
                expired.push(Expired { target, info: Info { signal, code: code::TIMER, fields } });
            }
        }
        self.find_next();
        expired
    }

    fn find_next(&mut self) {
        let created = self.created.iter().flatten().filter_map(|timer| timer.setting.at_ns);
        self.next_ns = self.interval.iter().filter_map(|setting| setting.at_ns).chain(created).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_timers_come_again() {
        let mut timers = Timers::default();
        timers.set_interval(0, Setting { at_ns: Some(100), interval_ns: 50 }).unwrap();
        assert_eq!((timers.expire(99), timers.next_ns()), (Vec::new(), Some(100)));
        let expired = timers.expire(210);
        assert_eq!(expired.len(), 1, "one signal for all times that were missed");
        assert_eq!((expired[0].info.signal, timers.next_ns()), (number::ALARM, Some(250)));
        assert_eq!(timers.interval(0).unwrap().left_ns(240), 10);
        assert_eq!(timers.interval(3), Err(Errno::INVAL));
    }

    #[test]
    fn created_timers_count_what_they_missed() {
        let mut timers = Timers::default();
        let notice = |id| Notice::Signal { target: Target::Thread(7), signal: 40, value: id + 5 };
        let id = timers.create(1, notice).unwrap();
        timers.set(id, Setting { at_ns: Some(10), interval_ns: 10 }).unwrap();
        let expired = timers.expire(45);
        assert_eq!((expired[0].target, expired[0].info.fields), (Target::Thread(7), [3 << 32, 5, 0]));
        assert_eq!((timers.overruns(id), timers.next_ns()), (Ok(3), Some(50)));
        timers.set(id, Setting { at_ns: Some(60), interval_ns: 0 }).unwrap();
        assert_eq!((timers.expire(60).len(), timers.next_ns(), timers.overruns(id)), (1, None, Ok(0)));
        timers.remove(id).unwrap();
        assert_eq!((timers.get(id), timers.create(1, notice)), (Err(Errno::INVAL), Ok(id)));
    }

    #[test]
    fn timers_are_limited() {
        let mut timers = Timers::default();
        for _ in 0..TIMERS_MAX {
            timers.create(0, |_| Notice::Nothing).unwrap();
        }
        assert_eq!(timers.create(0, |_| Notice::Nothing), Err(Errno::AGAIN));
    }
}
