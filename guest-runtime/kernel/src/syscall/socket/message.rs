//! Sending and receiving.

use alloc::vec::Vec;

use super::control::{Control, Request, Told};
use super::{Patience, block, load_address, room_for_address};
use crate::errno::Errno;
use crate::files::limits::{ADDRESS_BYTES_MAX, CONTROL_BYTES_MAX, LOCAL_DATAGRAM_BYTES_MAX, SOCKET_BYTES};
use crate::files::socket::{Address, DATAGRAM, Datagram, Header, UNIX};
use crate::syscall::call::transfer_bytes;
use crate::syscall::call::{
    Answer, Call, DONE, Reply, WORKING_DIRECTORY, half_at, input, load, output, store, word_at,
};
use crate::syscall::layout::MESSAGE_BYTES;
use crate::syscall::segments::{Segment, Segments};

const OUT_OF_BAND: u32 = 0x1;
const PEEK: u32 = 0x2;
const CONTROL_TRUNCATED: u32 = 0x8;
const TRUNCATED: u32 = 0x20;
const WAIT_ALL: u32 = 0x100;
const ERROR_QUEUE: u32 = 0x2000;
const CLOSE_ON_EXEC: u32 = 0x4000_0000;

/// What was received.
#[derive(Default)]
struct Received {
    bytes: u64,
    from: Address,
    /// Descriptions that came with it.
    rights: Vec<u32>,
    header: Header,
    flags: u32,
}

/// What came of trying to.
enum Attempt {
    Got(Received),
    Not(Answer),
}

/// `sendto(fd, buffer, bytes, flags, address, address_bytes)`.
pub(crate) fn sendto(call: &mut Call<'_>) -> Answer {
    let [fd, address, bytes, flags, to, to_bytes] = call.arguments;
    let to = destination(call, fd, (to, to_bytes))?;
    send(call, fd, &[Segment { address, bytes: transfer_bytes(bytes) }], flags as u32, to.as_ref(), &Request::default())
}

/// `sendmsg(fd, message, flags)`.
pub(crate) fn sendmsg(call: &mut Call<'_>) -> Answer {
    let [fd, message, flags, ..] = call.arguments;
    let header: [u8; MESSAGE_BYTES] = load(call.memory, message)?;
    let to = destination(call, fd, (word_at(&header, 0), u64::from(half_at(&header, 8))))?;
    let segments = Segments::load(call.memory, word_at(&header, 16), word_at(&header, 24))?;
    let (control, control_bytes) = (word_at(&header, 32), word_at(&header, 40));
    let request = match control_bytes {
        _ if control == 0 => Request::default(),
        0..=CONTROL_BYTES_MAX => {
            Request::parse(call.files.socket(fd)?.1.family, input(call.memory, control, control_bytes)?)?
        }
        _ => return Err(Errno::NOBUFS),
    };
    send(call, fd, segments.as_slice(), flags as u32, to.as_ref(), &request)
}

/// Where a message is to go, if it says so itself.
fn destination(call: &Call<'_>, fd: u64, (address, bytes): (u64, u64)) -> Result<Option<Address>, Errno> {
    let (_, socket) = call.files.socket(fd)?;
    if address == 0 || bytes == 0 {
        return Ok(None);
    }
    load_address(call, socket.family, (address, bytes))
}

/// The plain form of sending, for `write`.
pub(crate) fn write(call: &mut Call<'_>, fd: u64, segments: &[Segment]) -> Answer {
    send(call, fd, segments, 0, None, &Request::default())
}

/// What every way of writing to a socket comes down to.
fn send(
    call: &mut Call<'_>,
    fd: u64,
    segments: &[Segment],
    flags: u32,
    to: Option<&Address>,
    request: &Request,
) -> Answer {
    let (index, socket) = call.files.socket(fd)?;
    if flags & OUT_OF_BAND != 0 && (socket.kind == DATAGRAM || socket.family == UNIX) {
        return Err(Errno::OPNOTSUPP);
    }
    if socket.kind == DATAGRAM {
        return send_datagram(call, (fd, index), segments, flags, to, request);
    }
    if to.is_some() && socket.family == UNIX {
        return Err(if socket.is_connected() { Errno::ISCONN } else { Errno::OPNOTSUPP });
    }
    // A message that had to wait has its descriptors under way already.
    let mut rights = if call.resume.done_bytes == 0 { call.files.refer(&request.fds)? } else { Vec::new() };
    let answer = send_stream(call, (fd, index), segments, flags, &mut rights);
    call.files.forget(rights);
    answer
}

fn send_stream(
    call: &mut Call<'_>,
    (fd, index): (u64, u32),
    segments: &[Segment],
    flags: u32,
    rights: &mut Vec<u32>,
) -> Answer {
    let mut done = call.resume.done_bytes;
    let mut skipped = done;
    if segments.iter().all(|segment| segment.bytes == 0) {
        // Says whether there is a connection.
        call.files.send(index, &[], rights)?;
    }
    for segment in segments {
        let start = skipped.min(segment.bytes);
        skipped -= start;
        let mut from = match input(call.memory, segment.address.wrapping_add(start), segment.bytes - start) {
            Err(_) if done > 0 => return Ok(Reply::Value(done)),
            claim => claim?,
        };
        while !from.is_empty() {
            // Without it there is still what is free; what does not fit then is an error of the call.
            call.environment.reserve(from.len().min(SOCKET_BYTES));
            let sent = match flags & OUT_OF_BAND {
                0 => call.files.send(index, from, rights),
                _ => call.files.send_urgent(index, from),
            };
            match sent {
                Ok(Some(count)) => {
                    done += count as u64;
                    from = &from[count..];
                }
                Ok(None) => return pause(call, fd, flags, done, Patience::Sending),
                Err(_) if done > 0 => return Ok(Reply::Value(done)),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Reply::Value(done))
}

/// The wait of a call that has `done` bytes behind it; without one, they are its answer.
fn pause(call: &mut Call<'_>, fd: u64, flags: u32, done: u64, patience: Patience) -> Answer {
    match block(call, fd, flags, patience) {
        Err(Errno::AGAIN) if done > 0 => Ok(Reply::Value(done)),
        answer => {
            call.resume.done_bytes = done;
            answer
        }
    }
}

fn send_datagram(
    call: &mut Call<'_>,
    (fd, index): (u64, u32),
    segments: &[Segment],
    flags: u32,
    to: Option<&Address>,
    request: &Request,
) -> Answer {
    let total: u64 = segments.iter().map(|segment| segment.bytes).sum();
    if total > LOCAL_DATAGRAM_BYTES_MAX as u64 {
        return Err(Errno::MSGSIZE);
    }
    call.environment.reserve(total as usize);
    let mut message = Datagram::default();
    message.bytes.try_reserve_exact(total as usize).map_err(|_| Errno::NOBUFS)?;
    for segment in segments {
        message.bytes.extend_from_slice(input(call.memory, segment.address, segment.bytes)?);
    }
    let header = call.files.socket(fd)?.1.options.header();
    message.header.hop_limit = request.hop_limit.unwrap_or(header.hop_limit);
    message.header.traffic_class = request.traffic_class.unwrap_or(header.traffic_class);
    message.rights = call.files.refer(&request.fds)?;
    let start = call.files.start_of(WORKING_DIRECTORY)?;
    let sent = call.files.send_datagram(index, to, start, &mut message);
    call.files.forget(message.rights);
    match sent? {
        Some(count) => Ok(Reply::Value(count as u64)),
        None => block(call, fd, flags, Patience::Sending),
    }
}

/// `recvfrom(fd, buffer, bytes, flags, address, address_bytes)`.
pub(crate) fn recvfrom(call: &mut Call<'_>) -> Answer {
    let [fd, address, bytes, flags, from, from_bytes] = call.arguments;
    if from != 0 && from_bytes != 0 {
        room_for_address(call, from, from_bytes)?;
    }
    let family = call.files.socket(fd)?.1.family;
    match receive(call, fd, &[Segment { address, bytes: transfer_bytes(bytes) }], flags as u32) {
        Attempt::Not(answer) => answer,
        Attempt::Got(received) => {
            call.files.forget(received.rights);
            if from != 0 && from_bytes != 0 {
                super::store_address(call, from, from_bytes, &sender(&received.from, family))?;
            }
            Ok(Reply::Value(received.bytes))
        }
    }
}

/// The plain form of receiving, for `read`.
pub(crate) fn read(call: &mut Call<'_>, fd: u64, segments: &[Segment]) -> Answer {
    match receive(call, fd, segments, 0) {
        Attempt::Not(answer) => answer,
        Attempt::Got(received) => {
            call.files.forget(received.rights);
            Ok(Reply::Value(received.bytes))
        }
    }
}

/// `recvmsg(fd, message, flags)`.
pub(crate) fn recvmsg(call: &mut Call<'_>) -> Answer {
    let [fd, message, flags, ..] = call.arguments;
    let mut header: [u8; MESSAGE_BYTES] = load(call.memory, message)?;
    output(call.memory, message, MESSAGE_BYTES as u64)?;
    let segments = Segments::load(call.memory, word_at(&header, 16), word_at(&header, 24))?;
    let (name, name_room) = (word_at(&header, 0), u64::from(half_at(&header, 8)).min(ADDRESS_BYTES_MAX));
    let (control, control_room) = (word_at(&header, 32), word_at(&header, 40).min(CONTROL_BYTES_MAX));
    let control_room = if control == 0 { 0 } else { control_room };
    if name != 0 {
        output(call.memory, name, name_room)?;
    }
    output(call.memory, control, control_room)?;
    let (_, socket) = call.files.socket(fd)?;
    let (family, told) = (socket.family, Told::of(socket));
    let received = match receive(call, fd, segments.as_slice(), flags as u32) {
        Attempt::Not(answer) => return answer,
        Attempt::Got(received) => received,
    };
    let mut out = Control::new(control_room as usize);
    told.put(&mut out, &received.header, call.files.process_id());
    if !received.rights.is_empty() {
        let closes = flags as u32 & CLOSE_ON_EXEC != 0;
        let (fds, is_cut) = call.files.receive_rights(received.rights, out.rights_room(), closes);
        out.is_cut |= is_cut;
        if !fds.is_empty() {
            out.put_rights(&fds);
        }
    }
    let sender = if name == 0 { Vec::new() } else { sender(&received.from, family) };
    store(call.memory, name, &sender[..sender.len().min(name_room as usize)])?;
    store(call.memory, control, &out.bytes)?;
    header[8..12].copy_from_slice(&(sender.len() as u32).to_le_bytes());
    header[40..48].copy_from_slice(&(out.bytes.len() as u64).to_le_bytes());
    let cut = if out.is_cut { CONTROL_TRUNCATED } else { 0 };
    header[48..52].copy_from_slice(&(received.flags | cut | flags as u32 & CLOSE_ON_EXEC).to_le_bytes());
    store(call.memory, message, &header)?;
    Ok(Reply::Value(received.bytes))
}

/// The address that a message came from, for the program. A stream's bytes come from none.
fn sender(from: &Address, family: u32) -> Vec<u8> {
    if *from == Address::None { Vec::new() } else { from.to_bytes(family) }
}

fn receive(call: &mut Call<'_>, fd: u64, segments: &[Segment], flags: u32) -> Attempt {
    let attempt = match call.files.socket(fd) {
        Err(error) => Err(error),
        Ok((index, socket)) if flags & OUT_OF_BAND != 0 => {
            let takes = socket.kind != DATAGRAM && socket.family != UNIX;
            if takes { receive_urgent(call, index, segments, flags) } else { Err(Errno::INVAL) }
        }
        // No error comes with the packet that caused it.
        Ok(_) if flags & ERROR_QUEUE != 0 => Err(Errno::AGAIN),
        Ok((index, socket)) if socket.kind == DATAGRAM => receive_datagram(call, (fd, index), segments, flags),
        Ok((index, _)) => receive_stream(call, (fd, index), segments, flags),
    };
    attempt.unwrap_or_else(|error| Attempt::Not(Err(error)))
}

fn receive_stream(
    call: &mut Call<'_>,
    (fd, index): (u64, u32),
    segments: &[Segment],
    flags: u32,
) -> Result<Attempt, Errno> {
    let mut done = call.resume.done_bytes;
    let mut skipped = done;
    let peeks = flags & PEEK != 0;
    let all = flags & WAIT_ALL != 0 && !peeks;
    let mut rights = Vec::new();
    'segments: for segment in segments {
        let mut start = skipped.min(segment.bytes);
        skipped -= start;
        while start < segment.bytes {
            // A socket never has more than its buffer, and the program's need not be larger to be checked.
            let bytes = (segment.bytes - start).min(SOCKET_BYTES as u64);
            let into = match output(call.memory, segment.address.wrapping_add(start), bytes) {
                Err(_) if done > 0 => break 'segments,
                claim => claim?,
            };
            match call.files.receive(index, into, peeks) {
                Ok(None) if done == 0 || all => {
                    return Ok(match pause(call, fd, flags, done, Patience::Receiving) {
                        Ok(Reply::Value(bytes)) => Attempt::Got(Received { bytes, ..Received::default() }),
                        answer => Attempt::Not(answer),
                    });
                }
                Ok(None | Some(0)) => break 'segments,
                // Reported by the next call: this one has something to report already.
                Err(error) if done > 0 => {
                    call.files.fail_socket(index, error)?;
                    break 'segments;
                }
                Err(error) => return Err(error),
                Ok(Some(count)) => {
                    done += count as u64;
                    start += count as u64;
                    rights = if peeks { Vec::new() } else { call.files.take_rights(index) };
                    // A second look would see the same bytes; and what came with descriptors comes alone.
                    if peeks || !rights.is_empty() || (!all && (count as u64) < bytes) {
                        break 'segments;
                    }
                }
            }
        }
    }
    Ok(Attempt::Got(Received { bytes: done, rights, ..Received::default() }))
}

/// The byte out of band, which has to have come: nothing waits for one.
fn receive_urgent(call: &mut Call<'_>, index: u32, segments: &[Segment], flags: u32) -> Result<Attempt, Errno> {
    let urgent = call.files.receive_urgent(index, true)?.ok_or(Errno::INVAL)?;
    let Some(segment) = segments.iter().find(|segment| segment.bytes > 0) else {
        return Ok(Attempt::Got(Received::default()));
    };
    store(call.memory, segment.address, &[urgent])?;
    call.files.receive_urgent(index, flags & PEEK != 0)?;
    Ok(Attempt::Got(Received { bytes: 1, flags: OUT_OF_BAND, ..Received::default() }))
}

fn receive_datagram(
    call: &mut Call<'_>,
    (fd, index): (u64, u32),
    segments: &[Segment],
    flags: u32,
) -> Result<Attempt, Errno> {
    let Some(message) = call.files.next_datagram(index)? else {
        return Ok(Attempt::Not(block(call, fd, flags, Patience::Receiving)));
    };
    let mut received = Received { from: message.from.clone(), header: message.header, ..Received::default() };
    let mut left = &message.bytes[..];
    for segment in segments {
        let (part, rest) = left.split_at(left.len().min(usize::try_from(segment.bytes).unwrap_or(usize::MAX)));
        store(call.memory, segment.address, part)?;
        (left, received.bytes) = (rest, received.bytes + part.len() as u64);
    }
    if !left.is_empty() {
        received.flags = TRUNCATED;
        received.bytes += if flags & TRUNCATED != 0 { left.len() as u64 } else { 0 };
    }
    if flags & PEEK == 0 {
        received.rights = call.files.take_datagram(index).rights;
    }
    Ok(Attempt::Got(received))
}

/// `sendmmsg(fd, messages, count, flags)`: one message, which the interface allows.
pub(crate) fn sendmmsg(call: &mut Call<'_>) -> Answer {
    one_of_many(call, sendmsg)
}

/// `recvmmsg(fd, messages, count, flags, timeout)`: one message.
pub(crate) fn recvmmsg(call: &mut Call<'_>) -> Answer {
    one_of_many(call, recvmsg)
}

fn one_of_many(call: &mut Call<'_>, handler: fn(&mut Call<'_>) -> Answer) -> Answer {
    /// `MSG_WAITFORONE`.
    const WAIT_FOR_ONE: u64 = 0x1_0000;
    let [fd, messages, count, flags, ..] = call.arguments;
    call.files.socket(fd)?;
    if count as u32 == 0 {
        return DONE;
    }
    let length_at = messages.checked_add(MESSAGE_BYTES as u64).ok_or(Errno::FAULT)?;
    output(call.memory, length_at, 4)?;
    let all = core::mem::replace(&mut call.arguments, [fd, messages, flags & !WAIT_FOR_ONE, 0, 0, 0]);
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
