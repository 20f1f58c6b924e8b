//! Sockets: pairs that work, and others that say at `connect` that there is no network.

use super::call::{Answer, Call, DONE, Reply, input, load, output, store, transfer_bytes, word_at};
use super::layout::MESSAGE_BYTES;
use super::pipe::write_pair;
use super::segments::{Segment, Segments};
use crate::errno::Errno;
use crate::files::description::flag;
use crate::files::limits::PIPE_BYTES;
use crate::files::socket::{self, DATAGRAM, INTERNET, INTERNET_6, STREAM, UNIX};

/// `SOCK_NONBLOCK` and `SOCK_CLOEXEC` are the flags of `open`.
const TYPE_FLAGS: u32 = flag::NONBLOCKING | flag::CLOSE_ON_EXEC;
/// Longest address (`struct sockaddr_storage`).
const ADDRESS_BYTES_MAX: u64 = 128;
/// `MSG_PEEK`, `MSG_TRUNC`, `MSG_DONTWAIT`, `MSG_WAITALL`, `MSG_NOSIGNAL`, `MSG_CMSG_CLOEXEC`.
const PEEK: u32 = 0x2;
const DONT_WAIT: u32 = 0x40;
const HARMLESS: u32 = 0x100 | 0x4000 | 0x4000_0000;

/// `socket(family, type, protocol)`.
pub(crate) fn socket(call: &mut Call<'_>) -> Answer {
    let (family, kind) = (call.word(0), call.word(1));
    if ![UNIX, INTERNET, INTERNET_6].contains(&family) {
        return Err(Errno::AFNOSUPPORT);
    }
    if ![STREAM, DATAGRAM].contains(&(kind & !TYPE_FLAGS)) {
        return Err(socket::NO_SUCH_TYPE);
    }
    let fd = call.files.open_socket(family, kind & !TYPE_FLAGS, kind & TYPE_FLAGS)?;
    Ok(Reply::Value(u64::from(fd)))
}

/// `socketpair(family, type, protocol, fds)`: streams of the family `AF_UNIX`.
pub(crate) fn socketpair(call: &mut Call<'_>) -> Answer {
    let (family, kind) = (call.word(0), call.word(1));
    if family != UNIX {
        return Err(if [INTERNET, INTERNET_6].contains(&family) { socket::NOT_SUPPORTED } else { Errno::AFNOSUPPORT });
    }
    if kind & !TYPE_FLAGS != STREAM {
        return Err(socket::NO_SUCH_PROTOCOL);
    }
    let into = output(call.memory, call.arguments[3], 8)?;
    let pair = call.files.open_socket_pair(kind & TYPE_FLAGS)?;
    write_pair(into, pair);
    DONE
}

/// `connect(fd, address, bytes)`.
pub(crate) fn connect(call: &mut Call<'_>) -> Answer {
    let [fd, address, bytes, ..] = call.arguments;
    let (_, socket) = call.files.socket(fd)?;
    if !(2..=ADDRESS_BYTES_MAX).contains(&bytes) {
        return Err(Errno::INVAL);
    }
    input(call.memory, address, bytes)?;
    match socket.family {
        _ if socket.is_connected => Err(socket::IS_CONNECTED),
        UNIX => Err(Errno::NOENT),
        _ => Err(Errno::NETUNREACH),
    }
}

/// `bind`, `listen`, `accept`, `accept4`.
pub(crate) fn not_supported(call: &mut Call<'_>) -> Answer {
    call.files.socket(call.arguments[0])?;
    Err(socket::NOT_SUPPORTED)
}

/// `shutdown(fd, how)`.
pub(crate) fn shutdown(call: &mut Call<'_>) -> Answer {
    let (index, socket) = call.files.socket(call.arguments[0])?;
    if !socket.is_connected {
        return Err(socket::NOT_CONNECTED);
    }
    match call.word(1) {
        0 => call.files.shut_down(index, true, false),
        1 => call.files.shut_down(index, false, true),
        2 => call.files.shut_down(index, true, true),
        _ => return Err(Errno::INVAL),
    }
    DONE
}

/// `sendto(fd, buffer, bytes, flags, address, address_bytes)`.
pub(crate) fn sendto(call: &mut Call<'_>) -> Answer {
    let [fd, address, bytes, flags, to, _] = call.arguments;
    check_sender(call, fd, to != 0)?;
    send(call, fd, &[Segment { address, bytes: transfer_bytes(bytes) }], flags as u32)
}

/// `sendmsg(fd, message, flags)`: no ancillary data.
pub(crate) fn sendmsg(call: &mut Call<'_>) -> Answer {
    let [fd, message, flags, ..] = call.arguments;
    let header: [u8; MESSAGE_BYTES] = load(call.memory, message)?;
    check_sender(call, fd, word_at(&header, 0) != 0)?;
    if word_at(&header, 40) != 0 {
        return Err(socket::NOT_SUPPORTED);
    }
    let segments = Segments::load(call.memory, word_at(&header, 16), word_at(&header, 24))?;
    send(call, fd, segments.as_slice(), flags as u32)
}

/// `recvfrom(fd, buffer, bytes, flags, address, address_bytes)`.
pub(crate) fn recvfrom(call: &mut Call<'_>) -> Answer {
    let [fd, address, bytes, flags, from, from_bytes] = call.arguments;
    let answer = receive(call, fd, &[Segment { address, bytes: transfer_bytes(bytes) }], flags as u32)?;
    if from != 0 && from_bytes != 0 && matches!(answer, Reply::Value(_)) {
        // A stream's bytes come from no address.
        store(call.memory, from_bytes, &0_u32.to_le_bytes())?;
    }
    Ok(answer)
}

/// `recvmsg(fd, message, flags)`.
pub(crate) fn recvmsg(call: &mut Call<'_>) -> Answer {
    let [fd, message, flags, ..] = call.arguments;
    let mut header: [u8; MESSAGE_BYTES] = load(call.memory, message)?;
    let segments = Segments::load(call.memory, word_at(&header, 16), word_at(&header, 24))?;
    let answer = receive(call, fd, segments.as_slice(), flags as u32)?;
    if matches!(answer, Reply::Value(_)) {
        // No address, no ancillary data, no flags.
        header[8..12].fill(0);
        header[40..52].fill(0);
        store(call.memory, message, &header)?;
    }
    Ok(answer)
}

/// `getsockname(fd, address, bytes)` and `getpeername`: the family, and nothing that it could be reached by.
pub(crate) fn getsockname(call: &mut Call<'_>) -> Answer {
    let [fd, address, bytes, ..] = call.arguments;
    let (_, socket) = call.files.socket(fd)?;
    let mut name = [0; 28];
    name[..2].copy_from_slice(&(socket.family as u16).to_le_bytes());
    let length: usize = match socket.family {
        INTERNET => 16,
        INTERNET_6 => 28,
        _ => 2,
    };
    let room = u32::from_le_bytes(load(call.memory, bytes)?) as usize;
    if room > i32::MAX as usize {
        return Err(Errno::INVAL);
    }
    store(call.memory, address, &name[..length.min(room)])?;
    store(call.memory, bytes, &(length as u32).to_le_bytes())?;
    DONE
}

/// `getpeername(fd, address, bytes)`.
pub(crate) fn getpeername(call: &mut Call<'_>) -> Answer {
    let (_, socket) = call.files.socket(call.arguments[0])?;
    if socket.is_connected { getsockname(call) } else { Err(socket::NOT_CONNECTED) }
}

/// `setsockopt(fd, level, option, value, bytes)`: accepted, and without effect where nothing is sent.
pub(crate) fn setsockopt(call: &mut Call<'_>) -> Answer {
    let [fd, _, _, value, bytes, _] = call.arguments;
    call.files.socket(fd)?;
    input(call.memory, value, u64::from(bytes as u32).min(ADDRESS_BYTES_MAX))?;
    DONE
}

/// `getsockopt(fd, level, option, value, bytes)`: what programs ask every socket.
pub(crate) fn getsockopt(call: &mut Call<'_>) -> Answer {
    const SOCKET_LEVEL: u32 = 1;
    const TYPE: u32 = 3;
    const ERROR: u32 = 4;
    const SEND_BUFFER: u32 = 7;
    const RECEIVE_BUFFER: u32 = 8;
    const PROTOCOL: u32 = 38;
    const DOMAIN: u32 = 39;
    let [fd, _, _, value, bytes, _] = call.arguments;
    let (_, socket) = call.files.socket(fd)?;
    if call.word(1) != SOCKET_LEVEL {
        return Err(socket::NO_SUCH_OPTION);
    }
    let answer = match call.word(2) {
        TYPE => socket.kind,
        DOMAIN => socket.family,
        ERROR | PROTOCOL => 0,
        SEND_BUFFER | RECEIVE_BUFFER => PIPE_BYTES as u32,
        // Every other option is one that is off.
        _ => 0,
    };
    let room = u32::from_le_bytes(load(call.memory, bytes)?) as usize;
    let length = room.min(4);
    store(call.memory, value, &answer.to_le_bytes()[..length])?;
    store(call.memory, bytes, &(length as u32).to_le_bytes())?;
    DONE
}

fn check_sender(call: &Call<'_>, fd: u64, has_address: bool) -> Result<(), Errno> {
    let (_, socket) = call.files.socket(fd)?;
    match (socket.is_connected, has_address) {
        (true, true) => Err(socket::IS_CONNECTED),
        (true, false) => Ok(()),
        (false, true) if socket.family == UNIX => Err(Errno::NOENT),
        (false, true) => Err(Errno::NETUNREACH),
        (false, false) if socket.kind == DATAGRAM => Err(socket::NO_DESTINATION),
        (false, false) => Err(socket::NOT_CONNECTED),
    }
}

fn send(call: &mut Call<'_>, fd: u64, segments: &[Segment], flags: u32) -> Answer {
    if flags & !(DONT_WAIT | HARMLESS) != 0 {
        return Err(socket::NOT_SUPPORTED);
    }
    let answer = super::transfer::write_all(call, fd, segments, None)?;
    without_waiting(call, answer, flags)
}

fn receive(call: &mut Call<'_>, fd: u64, segments: &[Segment], flags: u32) -> Answer {
    if flags & !(PEEK | DONT_WAIT | HARMLESS | 0x20) != 0 {
        return Err(socket::NOT_SUPPORTED);
    }
    let (index, _) = call.files.socket(fd)?;
    let mut done = 0;
    for segment in segments.iter().filter(|segment| segment.bytes > 0) {
        // A socket never has more than a pipe holds, and a buffer need not be larger to be checked.
        let bytes = segment.bytes.min(PIPE_BYTES as u64);
        let into = match output(call.memory, segment.address, bytes) {
            Err(_) if done > 0 => break,
            claim => claim?,
        };
        match call.files.receive(index, into, flags & PEEK != 0)? {
            None if done == 0 => {
                let answer = call.block(fd)?;
                return without_waiting(call, answer, flags);
            }
            None => break,
            Some(count) => {
                done += count as u64;
                // A second look would see the same bytes.
                if (count as u64) < segment.bytes || flags & PEEK != 0 {
                    break;
                }
            }
        }
    }
    Ok(Reply::Value(done))
}

/// `MSG_DONTWAIT`: a call that would block fails instead.
fn without_waiting(call: &mut Call<'_>, answer: Reply, flags: u32) -> Answer {
    match answer {
        Reply::Block(_) if flags & DONT_WAIT != 0 => match core::mem::take(&mut call.resume.done_bytes) {
            0 => Err(Errno::AGAIN),
            done => Ok(Reply::Value(done)),
        },
        answer => Ok(answer),
    }
}

/// `sendmmsg(fd, messages, count, flags)` and `recvmmsg`: one message.
pub(crate) fn sendmmsg(call: &mut Call<'_>) -> Answer {
    one_of_many(call, sendmsg)
}

/// `recvmmsg(fd, messages, count, flags, timeout)`: one message.
pub(crate) fn recvmmsg(call: &mut Call<'_>) -> Answer {
    one_of_many(call, recvmsg)
}

fn one_of_many(call: &mut Call<'_>, handler: fn(&mut Call<'_>) -> Answer) -> Answer {
    let [fd, messages, count, flags, ..] = call.arguments;
    call.files.socket(fd)?;
    if count as u32 == 0 {
        return DONE;
    }
    let length_at = messages.checked_add(MESSAGE_BYTES as u64).ok_or(Errno::FAULT)?;
    output(call.memory, length_at, 4)?;
    let all = core::mem::replace(&mut call.arguments, [fd, messages, flags, 0, 0, 0]);
    let answer = handler(call);
    call.arguments = all;
    match answer? {
        Reply::Value(bytes) => {
            store(call.memory, length_at, &(bytes as u32).to_le_bytes())?;
            Ok(Reply::Value(1))
        }
        block => Ok(block),
    }
}
