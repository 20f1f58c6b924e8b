//! Sockets: making, naming and connecting them.

mod control;
pub(crate) mod message;
pub(crate) mod option;

use super::call::{Answer, Call, DONE, Reply, Wait, input, load, output, store};
use super::pipe::write_pair;
use crate::errno::Errno;
use crate::files::description::{Object, flag};
use crate::files::limits::ADDRESS_BYTES_MAX;
use crate::files::readiness::Awaited;
use crate::files::socket::{
    Address, Connecting, DATAGRAM, Endpoint, INTERNET, INTERNET_6, STREAM, TCP, UDP, UDP_LITE, UNIX,
};

/// `SOCK_NONBLOCK` and `SOCK_CLOEXEC` are the flags of `open`.
const TYPE_FLAGS: u32 = flag::NONBLOCKING | flag::CLOSE_ON_EXEC;

/// `socket(family, type, protocol)`.
pub(crate) fn socket(call: &mut Call<'_>) -> Answer {
    let (family, kind) = (call.word(0), call.word(1) & !TYPE_FLAGS);
    let protocol = protocol_of(family, kind, call.word(2))?;
    let fd = call.files.open_socket((family, kind, protocol), call.word(1) & TYPE_FLAGS)?;
    Ok(Reply::Value(u64::from(fd)))
}

/// `socketpair(family, type, protocol, fds)`: of the family `AF_UNIX`.
pub(crate) fn socketpair(call: &mut Call<'_>) -> Answer {
    let (family, kind) = (call.word(0), call.word(1) & !TYPE_FLAGS);
    protocol_of(family, kind, call.word(2))?;
    if family != UNIX {
        return Err(Errno::OPNOTSUPP);
    }
    let flags = call.word(1) & TYPE_FLAGS;
    let into = output(call.memory, call.arguments[3], 8)?;
    let pair = call.files.open_socket_pair(kind, flags)?;
    write_pair(into, pair);
    DONE
}

/// The protocol of a socket for which the program asks for `wanted`; 0: what there is.
fn protocol_of(family: u32, kind: u32, wanted: u32) -> Result<u32, Errno> {
    if ![UNIX, INTERNET, INTERNET_6].contains(&family) {
        return Err(Errno::AFNOSUPPORT);
    }
    match (family, kind, wanted) {
        // PF_UNIX may be given as the protocol.
        (UNIX, STREAM | DATAGRAM, 0 | UNIX) => Ok(0),
        (INTERNET | INTERNET_6, STREAM, 0 | TCP) => Ok(TCP),
        (INTERNET | INTERNET_6, DATAGRAM, 0 | UDP) => Ok(UDP),
        (INTERNET | INTERNET_6, DATAGRAM, UDP_LITE) => Ok(UDP_LITE),
        (_, STREAM | DATAGRAM, _) => Err(Errno::PROTONOSUPPORT),
        _ => Err(Errno::SOCKTNOSUPPORT),
    }
}

/// `bind(fd, address, bytes)`.
pub(crate) fn bind(call: &mut Call<'_>) -> Answer {
    let fd = call.arguments[0];
    let (index, socket) = call.files.socket(fd)?;
    let family = socket.family;
    let address = load_address(call, family, (call.arguments[1], call.arguments[2]))?;
    match address.ok_or(Errno::AFNOSUPPORT)? {
        Address::Internet(endpoint) => call.files.bind_port(index, endpoint)?,
        address => {
            let start = call.files.start_of(super::call::WORKING_DIRECTORY)?;
            call.files.bind_local(index, address, start, call.environment.realtime_ns())?;
        }
    }
    DONE
}

/// `listen(fd, backlog)`.
pub(crate) fn listen(call: &mut Call<'_>) -> Answer {
    let (index, _) = call.files.socket(call.arguments[0])?;
    let backlog = call.word(1);
    call.files.listen(index, backlog)?;
    DONE
}

/// `connect(fd, address, bytes)`.
pub(crate) fn connect(call: &mut Call<'_>) -> Answer {
    let fd = call.arguments[0];
    let (index, socket) = call.files.socket(fd)?;
    let (family, kind) = (socket.family, socket.kind);
    let address = load_address(call, family, (call.arguments[1], call.arguments[2]))?;
    if kind == DATAGRAM {
        connect_datagrams(call, index, address)?;
        return DONE;
    }
    let address = address.ok_or(Errno::AFNOSUPPORT)?;
    let is_nonblocking = call.files.description(fd)?.is_nonblocking();
    match call.files.connect_again(index)? {
        Some(Connecting::Done) => DONE,
        Some(Connecting::Waiting) if is_nonblocking => Err(Errno::ALREADY),
        Some(Connecting::Waiting) => block(call, fd, 0, Patience::Sending),
        None if family == UNIX => {
            let start = call.files.start_of(super::call::WORKING_DIRECTORY)?;
            let listener = call.files.local_socket(&address, start)?;
            match call.files.connect_to(index, listener, !is_nonblocking)? {
                Connecting::Done => DONE,
                Connecting::Waiting => block(call, fd, 0, Patience::Sending),
            }
        }
        None => {
            let to = address.endpoint().ok_or(Errno::INVAL)?;
            connect_stream(call, (fd, index), to, is_nonblocking)
        }
    }
}

fn connect_stream(call: &mut Call<'_>, (fd, index): (u64, u32), to: Endpoint, is_nonblocking: bool) -> Answer {
    match call.files.connect_stream(index, to) {
        // As on Linux, the answer is there already, but not this call is what gives it.
        Err(Errno::CONNREFUSED) if is_nonblocking => {
            call.files.fail_socket(index, Errno::CONNREFUSED)?;
            Err(Errno::INPROGRESS)
        }
        Err(error) => Err(error),
        Ok(Connecting::Done) if is_nonblocking => {
            call.files.mark_news(index);
            Err(Errno::INPROGRESS)
        }
        Ok(Connecting::Done) => DONE,
        Ok(Connecting::Waiting) if is_nonblocking => Err(Errno::INPROGRESS),
        Ok(Connecting::Waiting) => block(call, fd, 0, Patience::Sending),
    }
}

fn connect_datagrams(call: &mut Call<'_>, index: u32, to: Option<Address>) -> Result<(), Errno> {
    match to {
        Some(to @ (Address::Path(_) | Address::Abstract(_))) => {
            let start = call.files.start_of(super::call::WORKING_DIRECTORY)?;
            let target = call.files.local_socket(&to, start)?;
            call.files.connect_local_datagrams(index, to, target)
        }
        Some(Address::None) => Err(Errno::INVAL),
        Some(Address::Internet(endpoint)) => call.files.connect_datagrams(index, Some(endpoint)),
        None => call.files.connect_datagrams(index, None),
    }
}

/// `accept(fd, address, bytes)`.
pub(crate) fn accept(call: &mut Call<'_>) -> Answer {
    accept_with(call, 0)
}

/// `accept4(fd, address, bytes, flags)`.
pub(crate) fn accept4(call: &mut Call<'_>) -> Answer {
    let flags = call.word(3);
    accept_with(call, flags)
}

fn accept_with(call: &mut Call<'_>, flags: u32) -> Answer {
    let [fd, address, bytes, ..] = call.arguments;
    if flags & !TYPE_FLAGS != 0 {
        return Err(Errno::INVAL);
    }
    let (index, _) = call.files.socket(fd)?;
    // Before a connection is taken that nobody would get.
    call.files.lowest_free(0)?;
    if address != 0 {
        room_for_address(call, address, bytes)?;
    }
    let Some(accepted) = call.files.take_connection(index)? else {
        return block(call, fd, 0, Patience::Receiving);
    };
    let socket = call.files.socket_mut(accepted)?;
    let (peer, family) = (socket.peer.clone(), socket.family);
    let fd = call.files.install(Object::Socket(accepted), None, flag::READ_WRITE | flags)?;
    if address != 0 {
        store_address(call, address, bytes, &peer.to_bytes(family))?;
    }
    Ok(Reply::Value(u64::from(fd)))
}

/// `shutdown(fd, how)`.
pub(crate) fn shutdown(call: &mut Call<'_>) -> Answer {
    let (index, _) = call.files.socket(call.arguments[0])?;
    let (reading, writing) = match call.word(1) {
        0 => (true, false),
        1 => (false, true),
        2 => (true, true),
        _ => return Err(Errno::INVAL),
    };
    call.files.shut_down(index, reading, writing)?;
    DONE
}

/// `getsockname(fd, address, bytes)`.
pub(crate) fn getsockname(call: &mut Call<'_>) -> Answer {
    let [fd, address, bytes, ..] = call.arguments;
    let (_, socket) = call.files.socket(fd)?;
    let name = socket.local.to_bytes(socket.family);
    store_address(call, address, bytes, &name)?;
    DONE
}

/// `getpeername(fd, address, bytes)`.
pub(crate) fn getpeername(call: &mut Call<'_>) -> Answer {
    let [fd, address, bytes, ..] = call.arguments;
    let (_, socket) = call.files.socket(fd)?;
    if !socket.is_connected() {
        return Err(Errno::NOTCONN);
    }
    let name = socket.peer.to_bytes(socket.family);
    store_address(call, address, bytes, &name)?;
    DONE
}

/// The address in the program's memory; `None` for `AF_UNSPEC`.
fn load_address(call: &Call<'_>, family: u32, (address, bytes): (u64, u64)) -> Result<Option<Address>, Errno> {
    let bytes = u64::from(bytes as u32);
    if bytes > ADDRESS_BYTES_MAX {
        return Err(Errno::INVAL);
    }
    Address::parse(family, input(call.memory, address, bytes)?)
}

/// How much of an address the program wants, which must be there.
fn room_for_address(call: &mut Call<'_>, address: u64, bytes: u64) -> Result<usize, Errno> {
    let room = u32::from_le_bytes(load(call.memory, bytes)?);
    if room > i32::MAX as u32 {
        return Err(Errno::INVAL);
    }
    let room = u64::from(room).min(ADDRESS_BYTES_MAX);
    output(call.memory, address, room)?;
    Ok(room as usize)
}

/// Writes an address, cut to the room that there is, and its real length.
fn store_address(call: &mut Call<'_>, address: u64, bytes: u64, name: &[u8]) -> Result<(), Errno> {
    let room = room_for_address(call, address, bytes)?;
    store(call.memory, address, &name[..name.len().min(room)])?;
    store(call.memory, bytes, &(name.len() as u32).to_le_bytes())
}

/// Which of a socket's timeouts counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    Sending,
    Receiving,
}

/// `MSG_DONTWAIT`.
const DONT_WAIT: u32 = 0x40;

/// The wait of a call on the socket `fd` that has nothing to do now, or `EAGAIN`.
fn block(call: &mut Call<'_>, fd: u64, flags: u32, patience: Patience) -> Answer {
    if call.files.description(fd)?.is_nonblocking() || flags & DONT_WAIT != 0 {
        return Err(Errno::AGAIN);
    }
    let (_, socket) = call.files.socket(fd)?;
    let timeout_ns = match patience {
        Patience::Sending => socket.options.send_timeout_ns,
        Patience::Receiving => socket.options.receive_timeout_ns,
    };
    if timeout_ns == 0 {
        return Ok(Reply::Block(Wait::default()));
    }
    call.wait(Some(timeout_ns), Awaited::default()).ok_or(Errno::AGAIN)
}
