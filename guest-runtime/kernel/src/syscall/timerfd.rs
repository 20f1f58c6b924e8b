//! Timers that one waits for as for a file.

use super::call::{Answer, Call, DONE, Reply, load_timespec, store};
use crate::errno::Errno;
use crate::files::description::flag;
use crate::files::timer::Setting;

const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;
const BOOT: u32 = 7;
const REALTIME_ALARM: u32 = 8;
const BOOT_ALARM: u32 = 9;

/// `timerfd_create(clock, flags)`.
pub(crate) fn timerfd_create(call: &mut Call<'_>) -> Answer {
    let (clock, flags) = (call.word(0), call.word(1));
    let is_realtime = match clock {
        REALTIME | REALTIME_ALARM => true,
        // Nothing sleeps but between invocations, and then all clocks but the time of day stand still.
        MONOTONIC | BOOT | BOOT_ALARM => false,
        _ => return Err(Errno::INVAL),
    };
    if flags & !(flag::NONBLOCKING | flag::CLOSE_ON_EXEC) != 0 {
        return Err(Errno::INVAL);
    }
    let fd = call.files.open_timer(is_realtime, flags)?;
    Ok(Reply::Value(u64::from(fd)))
}

/// `timerfd_settime(fd, flags, new, old)`.
pub(crate) fn timerfd_settime(call: &mut Call<'_>) -> Answer {
    const ABSOLUTE: u32 = 1;
    /// `TFD_TIMER_CANCEL_ON_SET`: nobody sets the clock.
    const CANCEL_ON_SET: u32 = 2;
    let [fd, _, new, old, ..] = call.arguments;
    let flags = call.word(1);
    if flags & !(ABSOLUTE | CANCEL_ON_SET) != 0 {
        return Err(Errno::INVAL);
    }
    let interval_ns = load_timespec(call.memory, new)?;
    let value_ns = load_timespec(call.memory, new.wrapping_add(16))?;
    let setting = Setting { value_ns, interval_ns };
    let before = call.files.set_timer(fd, setting, flags & ABSOLUTE != 0, call.environment)?;
    if old != 0 {
        store_setting(call, old, before)?;
    }
    DONE
}

/// `timerfd_gettime(fd, current)`.
pub(crate) fn timerfd_gettime(call: &mut Call<'_>) -> Answer {
    let [fd, current, ..] = call.arguments;
    let setting = call.files.timer_setting(fd, call.environment)?;
    store_setting(call, current, setting)?;
    DONE
}

/// Writes a `struct itimerspec`.
fn store_setting(call: &mut Call<'_>, address: u64, setting: Setting) -> Result<(), Errno> {
    const NS_PER_S: u64 = 1_000_000_000;
    let words = [setting.interval_ns, setting.value_ns].map(|ns| [ns / NS_PER_S, ns % NS_PER_S]);
    let bytes: [[u8; 8]; 4] = [words[0][0], words[0][1], words[1][0], words[1][1]].map(u64::to_le_bytes);
    store(call.memory, address, bytes.as_flattened())
}
