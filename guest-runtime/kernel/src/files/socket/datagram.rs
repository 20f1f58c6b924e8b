//! Datagrams: messages with an address, delivered whole or not at all.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::address::{Address, Endpoint};
use super::{DATAGRAM, INTERNET, Socket, State};
use crate::errno::Errno;
use crate::files::Files;
use crate::files::limits::{DATAGRAM_BYTES_MAX, DATAGRAM_COST_BYTES, LOCAL_DATAGRAM_BYTES_MAX, SOCKET_BYTES};
use crate::files::place::Place;

/// A message.
#[derive(Debug, Default)]
pub(crate) struct Datagram {
    pub(crate) bytes: Vec<u8>,
    pub(crate) from: Address,
    /// Descriptions that came with it.
    pub(crate) rights: Vec<u32>,
    /// What its header says to those who ask: IPv6's hop limit and traffic class.
    pub(crate) header: Header,
}

/// Fields of the header of a message over IPv6.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) hop_limit: u8,
    pub(crate) traffic_class: u8,
}

/// What came in on a socket for datagrams.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    messages: VecDeque<Datagram>,
    /// What the messages count for.
    used_bytes: usize,
    /// The socket of `AF_UNIX` to which this one is connected.
    pub(crate) target: Option<u32>,
    /// That one was closed.
    is_target_gone: bool,
    pub(crate) is_read_shut: bool,
    pub(crate) is_write_shut: bool,
    pub(crate) arrivals: u64,
    pub(crate) drains: u64,
}

impl Inbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(crate) fn first_bytes(&self) -> usize {
        self.messages.front().map_or(0, |message| message.bytes.len())
    }

    pub(crate) fn has_room(&self) -> bool {
        self.used_bytes < SOCKET_BYTES
    }

    fn put(&mut self, message: Datagram) {
        self.used_bytes += message.bytes.len() + DATAGRAM_COST_BYTES;
        self.arrivals += 1;
        self.messages.push_back(message);
    }
}

impl Files {
    /// `connect` of a socket for datagrams; `None` dissolves it.
    pub(crate) fn connect_datagrams(&mut self, index: u32, to: Option<Endpoint>) -> Result<(), Errno> {
        let Some(to) = to else {
            let socket = self.socket_mut(index)?;
            socket.peer = Address::None;
            if let State::Datagrams(inbox) = &mut socket.state {
                inbox.target = None;
            }
            return Ok(());
        };
        let to = to.destination().ok_or(Errno::NETUNREACH)?;
        self.bind_any(index, to.source(0))?;
        let socket = self.socket_mut(index)?;
        socket.peer = Address::Internet(to);
        if let Some(local) = socket.local.endpoint().filter(|local| local.is_any()) {
            socket.local = Address::Internet(to.source(local.port));
        }
        Ok(())
    }

    /// The same on `AF_UNIX`.
    pub(crate) fn connect_local_datagrams(&mut self, index: u32, to: Address, target: u32) -> Result<(), Errno> {
        if self.sockets.get(target).is_none_or(|socket| socket.kind != DATAGRAM) {
            return Err(WRONG_TYPE);
        }
        let socket = self.socket_mut(index)?;
        socket.peer = to;
        if let State::Datagrams(inbox) = &mut socket.state {
            (inbox.target, inbox.is_target_gone) = (Some(target), false);
        }
        Ok(())
    }

    /// Sends a message to `to`, or to whom the socket is connected. `None`: there is no room at the other end. What is left of
    /// `message.rights` afterwards was not sent.
    pub(crate) fn send_datagram(
        &mut self,
        index: u32,
        to: Option<&Address>,
        start: Place,
        message: &mut Datagram,
    ) -> Result<Option<usize>, Errno> {
        let bytes = message.bytes.len();
        let socket = self.socket_mut(index)?;
        if let Some(error) = socket.error.take() {
            return Err(error);
        }
        let State::Datagrams(inbox) = &mut socket.state else { return Err(Errno::OPNOTSUPP) };
        if inbox.is_write_shut {
            return Err(Errno::PIPE);
        }
        if socket.is_local() {
            if bytes > LOCAL_DATAGRAM_BYTES_MAX {
                return Err(Errno::MSGSIZE);
            }
            return self.send_local(index, to, start, message);
        }
        if bytes > DATAGRAM_BYTES_MAX {
            return Err(Errno::MSGSIZE);
        }
        let to = to.unwrap_or(&socket.peer).endpoint().ok_or(Errno::DESTADDRREQ)?;
        let to = to.destination().ok_or(Errno::NETUNREACH)?;
        let (is_ipv4, protocol) = (socket.family == INTERNET, socket.protocol);
        if to.port == 0 || (to.is_ipv4() && !is_ipv4 && socket.options.is_ipv6_only()) {
            return Err(if to.port == 0 { Errno::INVAL } else { Errno::NETUNREACH });
        }
        self.bind_any(index, Endpoint::any(is_ipv4))?;
        let local = self.socket_mut(index)?.local.endpoint().ok_or(Errno::INVAL)?;
        let from = if local.is_any() { to.source(local.port) } else { local };
        message.from = Address::Internet(from);
        self.changes += 1;
        match self.reached(protocol, from, to).and_then(|target| self.sockets.get_mut(target)) {
            Some(Socket { state: State::Datagrams(inbox), .. }) if !inbox.is_read_shut => {
                // What there is no room for is lost, as on any network.
                if inbox.has_room() {
                    inbox.put(core::mem::take(message));
                }
            }
            _ => {
                let socket = self.socket_mut(index)?;
                if socket.peer != Address::None {
                    // What the other machine would have answered, had there been one.
                    socket.fail(Errno::CONNREFUSED);
                }
            }
        }
        Ok(Some(bytes))
    }

    fn send_local(
        &mut self,
        index: u32,
        to: Option<&Address>,
        start: Place,
        message: &mut Datagram,
    ) -> Result<Option<usize>, Errno> {
        let target = match to {
            Some(to) => self.local_socket(to, start)?,
            None => {
                let State::Datagrams(inbox) = &mut self.socket_mut(index)?.state else { return Err(Errno::NOTCONN) };
                if core::mem::take(&mut inbox.is_target_gone) {
                    return Err(Errno::CONNREFUSED);
                }
                inbox.target.ok_or(Errno::NOTCONN)?
            }
        };
        let bytes = message.bytes.len();
        message.from = self.socket_mut(index)?.local.clone();
        match self.sockets.get_mut(target).map(|socket| &mut socket.state) {
            Some(State::Datagrams(inbox)) if inbox.is_read_shut => Err(Errno::PIPE),
            // Who is connected hears only whom it is connected to.
            Some(State::Datagrams(inbox)) if inbox.target.is_some_and(|peer| peer != index) => Err(Errno::PERM),
            Some(State::Datagrams(inbox)) if !inbox.has_room() => Ok(None),
            Some(State::Datagrams(inbox)) => {
                inbox.put(core::mem::take(message));
                self.changes += 1;
                Ok(Some(bytes))
            }
            _ => Err(WRONG_TYPE),
        }
    }

    /// The next message, left where it is. `None`: there is none yet.
    pub(crate) fn next_datagram(&mut self, index: u32) -> Result<Option<&Datagram>, Errno> {
        let socket = self.sockets.get_mut(index).ok_or(Errno::BADF)?;
        if let Some(error) = socket.error.take() {
            return Err(error);
        }
        match &socket.state {
            State::Datagrams(inbox) => match inbox.messages.front() {
                None if inbox.is_read_shut => Ok(Some(&NOTHING)),
                next => Ok(next),
            },
            _ => Err(Errno::OPNOTSUPP),
        }
    }

    /// Takes that message, of which the bytes were read already.
    pub(crate) fn take_datagram(&mut self, index: u32) -> Datagram {
        let Some(Socket { state: State::Datagrams(inbox), .. }) = self.sockets.get_mut(index) else {
            return Datagram::default();
        };
        let was_full = !inbox.has_room();
        let message = inbox.messages.pop_front().unwrap_or_default();
        inbox.used_bytes = inbox.used_bytes.saturating_sub(message.bytes.len() + DATAGRAM_COST_BYTES);
        inbox.drains += u64::from(was_full && inbox.has_room());
        self.changes += 1;
        message
    }

    pub(super) fn end_inbox(&mut self, index: u32, inbox: Inbox, is_local: bool) {
        self.orphans.extend(inbox.messages.into_iter().flat_map(|message| message.rights));
        // Only on AF_UNIX does a socket know another by its number, which now may become another one's.
        for socket in self.sockets.values_mut().filter(|_| is_local) {
            if let State::Datagrams(inbox) = &mut socket.state
                && inbox.target == Some(index)
            {
                (inbox.target, inbox.is_target_gone) = (None, true);
                inbox.drains += 1;
            }
        }
    }
}

/// `EPROTOTYPE`: a stream for datagrams, or the other way round.
pub(crate) const WRONG_TYPE: Errno = Errno(91);

/// What reading from a socket that was shut down gives.
static NOTHING: Datagram = Datagram {
    bytes: Vec::new(),
    from: Address::None,
    rights: Vec::new(),
    header: Header { hop_limit: 0, traffic_class: 0 },
};
