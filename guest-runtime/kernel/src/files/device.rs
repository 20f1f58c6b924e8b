//! Devices: the log, the event device, and the usual ones of `/dev`.

use super::environment::Environment;
use crate::errno::Errno;

/// A device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    /// `/dev/null`, and standard input: nothing to read, takes everything.
    Null,
    /// `/dev/zero`.
    Zero,
    /// `/dev/random` and `/dev/urandom`, which are the same: the generator is seeded before the first program runs.
    Random,
    /// `/dev/full`: zeros to read, no room for anything.
    Full,
    /// `/dev/tty`: there is none, and opening it says so.
    Terminal,
    /// Standard output and error: each write goes to the function's log.
    Log,
    /// `/dev/mayfly`: events in, answers out.
    Events,
}

impl Device {
    /// Its number, as `st_rdev` has it. The first three are Linux's own; programs compare them.
    pub(crate) fn number(self) -> u64 {
        let (major, minor) = match self {
            Device::Null => (1, 3),
            Device::Zero => (1, 5),
            Device::Full => (1, 7),
            Device::Random => (1, 9),
            Device::Terminal => (5, 0),
            Device::Log => (5, 1),
            Device::Events => (10, 109),
        };
        major << 8 | minor
    }

    /// Reads. `None`: nothing yet.
    pub(crate) fn read(self, into: &mut [u8], environment: &mut dyn Environment) -> Result<Option<usize>, Errno> {
        match self {
            Device::Null | Device::Log | Device::Terminal => return Ok(Some(0)),
            Device::Zero | Device::Full => into.fill(0),
            Device::Random => environment.fill(into),
            Device::Events if into.is_empty() => {}
            Device::Events => return environment.read(into),
        }
        Ok(Some(into.len()))
    }

    /// Writes. What is written to the generator is thrown away: its seed is the host's business.
    pub(crate) fn write(self, from: &[u8], environment: &mut dyn Environment) -> Result<usize, Errno> {
        match self {
            _ if from.is_empty() => Ok(0),
            Device::Full => Err(Errno::NOSPC),
            Device::Null | Device::Zero | Device::Random | Device::Terminal => Ok(from.len()),
            Device::Log => {
                environment.append(from);
                Ok(from.len())
            }
            Device::Events => environment.write(from),
        }
    }
}
