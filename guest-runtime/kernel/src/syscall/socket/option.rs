//! `setsockopt` and `getsockopt`.

use alloc::vec::Vec;

use crate::errno::Errno;
use crate::files::limits::ADDRESS_BYTES_MAX;
use crate::files::socket::{SOCKET_LEVEL, Socket, State, UNIX};
use crate::syscall::call::{Answer, Call, DONE, half_at, input, load, load_timeval, output, store};

// Options of the socket level that are more than a number, or can only be read.
const TYPE: u32 = 3;
const ERROR: u32 = 4;
const LINGER: u32 = 13;
const PEER_CREDENTIALS: u32 = 17;
const SEND_LOW_WATER: u32 = 19;
const RECEIVE_TIMEOUT: u32 = 20;
const SEND_TIMEOUT: u32 = 21;
const IS_LISTENING: u32 = 30;
const PROTOCOL: u32 = 38;
const DOMAIN: u32 = 39;

/// `setsockopt(fd, level, option, value, bytes)`.
pub(crate) fn setsockopt(call: &mut Call<'_>) -> Answer {
    let [fd, _, _, value, bytes, _] = call.arguments;
    let (level, name) = (call.word(1), call.word(2));
    let (index, socket) = call.files.socket(fd)?;
    let bytes = u64::from(bytes as u32);
    if bytes > i32::MAX as u64 {
        return Err(Errno::INVAL);
    }
    let special = (level == SOCKET_LEVEL).then_some(name);
    let least = match special {
        Some(LINGER) => 8,
        Some(RECEIVE_TIMEOUT | SEND_TIMEOUT) => 16,
        Some(_) => 4,
        // The internet levels take a single byte too.
        None => 1,
    };
    let option = match special {
        Some(LINGER | RECEIVE_TIMEOUT | SEND_TIMEOUT) => None,
        Some(TYPE | ERROR | PEER_CREDENTIALS | SEND_LOW_WATER | IS_LISTENING | PROTOCOL | DOMAIN) => {
            return Err(Errno::NOPROTOOPT);
        }
        _ => Some(socket.option(level, name)?),
    };
    if bytes < least {
        return Err(Errno::INVAL);
    }
    let given = input(call.memory, value, bytes.min(ADDRESS_BYTES_MAX))?;
    let number = if given.len() < 4 { u32::from(given[0]) } else { half_at(given, 0) };
    let linger = (half_at(given, 0), half_at(given, 4));
    let timeout = if least == 16 { load_timeval(call.memory, value).map_err(|_| OUT_OF_DOMAIN)? } else { 0 };
    let options = &mut call.files.socket_mut(index)?.options;
    match (option, name) {
        (Some(option), _) => options.set(option, number),
        (None, LINGER) => options.linger = linger,
        (None, RECEIVE_TIMEOUT) => options.receive_timeout_ns = timeout,
        (None, _) => options.send_timeout_ns = timeout,
    }
    DONE
}

/// `EDOM`: a time with too many microseconds.
const OUT_OF_DOMAIN: Errno = Errno(33);

/// `getsockopt(fd, level, option, value, bytes)`.
pub(crate) fn getsockopt(call: &mut Call<'_>) -> Answer {
    let [fd, _, _, value, bytes, _] = call.arguments;
    let (level, name) = (call.word(1), call.word(2));
    let (index, socket) = call.files.socket(fd)?;
    let process = call.files.process_id();
    let number = |number: u32| number.to_le_bytes().to_vec();
    let takes_error = (level, name) == (SOCKET_LEVEL, ERROR);
    let answer = match (level, name) {
        (SOCKET_LEVEL, TYPE) => number(socket.kind),
        (SOCKET_LEVEL, ERROR) => number(socket.error.map_or(0, |error| u32::from(error.0))),
        (SOCKET_LEVEL, LINGER) => pair(socket.options.linger),
        (SOCKET_LEVEL, PEER_CREDENTIALS) => credentials(socket, process),
        (SOCKET_LEVEL, SEND_LOW_WATER) => number(1),
        (SOCKET_LEVEL, RECEIVE_TIMEOUT) => timeval(socket.options.receive_timeout_ns),
        (SOCKET_LEVEL, SEND_TIMEOUT) => timeval(socket.options.send_timeout_ns),
        (SOCKET_LEVEL, IS_LISTENING) => number(u32::from(matches!(socket.state, State::Listening(_)))),
        (SOCKET_LEVEL, PROTOCOL) => number(socket.protocol),
        (SOCKET_LEVEL, DOMAIN) => number(socket.family),
        _ => number(socket.options.get(socket.option(level, name)?)),
    };
    let room = u32::from_le_bytes(load(call.memory, bytes)?);
    if room > i32::MAX as u32 {
        return Err(Errno::INVAL);
    }
    let answer = &answer[..answer.len().min(room as usize)];
    output(call.memory, bytes, 4)?;
    store(call.memory, value, answer)?;
    store(call.memory, bytes, &(answer.len() as u32).to_le_bytes())?;
    if takes_error {
        call.files.take_error(index);
    }
    DONE
}

fn pair((one, two): (u32, u32)) -> Vec<u8> {
    [one.to_le_bytes(), two.to_le_bytes()].concat()
}

/// `struct ucred`: of this process where there is a peer, of nobody elsewhere.
fn credentials(socket: &Socket, process: u32) -> Vec<u8> {
    let (process, user) = if socket.family == UNIX && socket.is_connected() { (process, 0) } else { (0, u32::MAX) };
    [process, user, user].iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn timeval(ns: u64) -> Vec<u8> {
    [(ns / 1_000_000_000).to_le_bytes(), (ns % 1_000_000_000 / 1000).to_le_bytes()].concat()
}
