//! Connections: how they are made, what goes through them, and how they end.

use alloc::vec::Vec;

use super::address::{Address, Endpoint};
use super::{INTERNET, Listener, Rights, STREAM, Socket, State, TCP};
use crate::errno::Errno;
use crate::files::Files;
use crate::files::limits::{BACKLOG_MAX, SOCKET_BYTES, SOCKETS_MAX};
use crate::files::pipe::Pipe;

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Link {
    /// The other end, as long as it is open.
    peer: Option<u32>,
    /// What came in. It has no writer any more once the other end has said that nothing more comes.
    pub(crate) incoming: Pipe,
    /// Descriptors that came with it.
    pub(crate) rights: Rights,
    /// This end does not want to read, or to write, any more.
    is_read_shut: bool,
    is_write_shut: bool,
    /// The other end threw the connection away.
    is_reset: bool,
    /// `connect` has not said yet that this was a success.
    is_news: bool,
    /// A byte that came out of band; with `SO_OOBINLINE` it came with the others.
    urgent: Option<u8>,
}

impl Link {
    pub(crate) fn to(peer: u32) -> Link {
        Link {
            peer: Some(peer),
            incoming: Pipe::new(SOCKET_BYTES),
            rights: Rights::default(),
            is_read_shut: false,
            is_write_shut: false,
            is_reset: false,
            is_news: false,
            urgent: None,
        }
    }

    pub(crate) fn has_unread(&self) -> bool {
        self.incoming.len() > 0
    }

    /// Will nothing more come in?
    pub(crate) fn is_at_end(&self) -> bool {
        self.is_read_shut || self.incoming.writers == 0
    }

    pub(crate) fn is_write_shut(&self) -> bool {
        self.is_write_shut
    }

    pub(crate) fn is_reset(&self) -> bool {
        self.is_reset
    }

    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent.is_some()
    }

    pub(crate) fn peer(&self) -> Option<u32> {
        self.peer
    }
}

/// What became of a `connect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connecting {
    Done,
    /// The backlog is full.
    Waiting,
}

impl Files {
    /// `listen`.
    pub(crate) fn listen(&mut self, index: u32, backlog: u32) -> Result<(), Errno> {
        let socket = self.sockets.get(index).ok_or(Errno::BADF)?;
        let backlog = backlog.min(BACKLOG_MAX) as usize;
        let is_new = match &socket.state {
            State::Datagrams(_) => return Err(Errno::OPNOTSUPP),
            State::Idle => true,
            State::Listening(_) => false,
            _ => return Err(Errno::INVAL),
        };
        match (&socket.local, socket.is_local()) {
            (Address::None, true) => return Err(Errno::INVAL),
            (Address::None, false) => {
                let any = Endpoint::any(socket.family == INTERNET);
                self.bind_port(index, any)?;
            }
            // Sockets that share an address cannot all listen on it.
            (Address::Internet(local), _) if is_new && self.conflicts(index, *local, false) => {
                return Err(Errno::ADDRINUSE);
            }
            _ => {}
        }
        let socket = self.socket_mut(index)?;
        match &mut socket.state {
            State::Listening(listener) => listener.backlog = backlog,
            state => *state = State::Listening(Listener { backlog, ..Listener::default() }),
        }
        socket.activity += 1;
        self.changes += 1;
        Ok(())
    }

    /// What `connect` says before it looks at the address: how an earlier one ended, if there was one.
    pub(crate) fn connect_again(&mut self, index: u32) -> Result<Option<Connecting>, Errno> {
        let socket = self.socket_mut(index)?;
        match &mut socket.state {
            State::Connected(link) if link.is_news => {
                link.is_news = false;
                Ok(Some(Connecting::Done))
            }
            State::Connected(_) | State::Listening(_) => Err(Errno::ISCONN),
            State::Connecting(_) => Ok(Some(Connecting::Waiting)),
            State::Idle | State::Datagrams(_) => socket.error.take().map_or(Ok(None), Err),
        }
    }

    /// Connects a stream of the internet families.
    pub(crate) fn connect_stream(&mut self, index: u32, to: Endpoint) -> Result<Connecting, Errno> {
        let to = to.destination().ok_or(Errno::NETUNREACH)?;
        self.bind_any(index, to.source(0))?;
        let socket = self.socket_mut(index)?;
        let mut local = socket.local.endpoint().ok_or(Errno::INVAL)?;
        if local.is_any() {
            // Its port stays its own, under the address from which it now speaks.
            local = to.source(local.port);
            socket.local = Address::Internet(local);
        }
        let listener = self.reached(TCP, local, to).ok_or(Errno::CONNREFUSED)?;
        self.socket_mut(index)?.peer = Address::Internet(to);
        self.connect_to(index, listener, true)
    }

    /// Connects to that listener, or lines up for it if it `may_wait`.
    pub(crate) fn connect_to(&mut self, index: u32, listener: u32, may_wait: bool) -> Result<Connecting, Errno> {
        let Some(Socket { state: State::Listening(queue), kind: STREAM, .. }) = self.sockets.get_mut(listener) else {
            return Err(Errno::CONNREFUSED);
        };
        self.changes += 1;
        // One more than the backlog, as on Linux: a backlog of 0 is one of 1.
        if queue.ready.len() > queue.backlog {
            if !may_wait {
                return Err(Errno::AGAIN);
            }
            queue.waiting.push_back(index);
            self.socket_mut(index)?.state = State::Connecting(listener);
            return Ok(Connecting::Waiting);
        }
        self.establish(index, listener)?;
        Ok(Connecting::Done)
    }

    /// Makes the other end of a connection and puts it into the listener's queue.
    fn establish(&mut self, index: u32, listener: u32) -> Result<(), Errno> {
        if self.sockets.len() >= SOCKETS_MAX {
            return Err(Errno::NOBUFS);
        }
        let client = self.sockets.get(index).ok_or(Errno::BADF)?;
        let (peer, reached) = (client.local.clone(), client.peer.clone());
        let server = self.sockets.get(listener).ok_or(Errno::CONNREFUSED)?;
        let mut accepted = Socket::new(server.family, STREAM, server.protocol);
        accepted.options = server.options.clone();
        accepted.local = if server.is_local() { server.local.clone() } else { reached };
        accepted.peer = peer;
        accepted.state = State::Connected(Link::to(index));
        let name = accepted.local.clone();
        let accepted = self.sockets.insert(accepted);
        let client = self.socket_mut(index)?;
        client.state = State::Connected(Link::to(accepted));
        client.peer = name;
        client.activity += 1;
        if let Some(server) = self.sockets.get_mut(listener)
            && let State::Listening(queue) = &mut server.state
        {
            queue.ready.push_back(accepted);
            server.activity += 1;
        }
        Ok(())
    }

    /// `connect` returned before the connection was there: the next one says that it is.
    pub(crate) fn mark_news(&mut self, index: u32) {
        if let Some(Socket { state: State::Connected(link), .. }) = self.sockets.get_mut(index) {
            link.is_news = true;
        }
    }

    /// The next connection that waits to be accepted.
    pub(crate) fn take_connection(&mut self, index: u32) -> Result<Option<u32>, Errno> {
        let socket = self.socket_mut(index)?;
        let State::Listening(listener) = &mut socket.state else {
            return Err(if socket.kind == STREAM { Errno::INVAL } else { Errno::OPNOTSUPP });
        };
        let Some(accepted) = listener.ready.pop_front() else { return Ok(None) };
        let next = listener.waiting.pop_front();
        self.changes += 1;
        if let Some(waiting) = next {
            match self.establish(waiting, index) {
                Ok(()) => self.mark_news(waiting),
                Err(error) => {
                    let waiting = self.socket_mut(waiting)?;
                    waiting.state = State::Idle;
                    waiting.fail(error);
                }
            }
        }
        Ok(Some(accepted))
    }

    /// Takes bytes that came in, or only looks at them. Those of a message with descriptors are the last of one call.
    pub(crate) fn receive(&mut self, index: u32, into: &mut [u8], peeks: bool) -> Result<Option<usize>, Errno> {
        let socket = self.sockets.get_mut(index).ok_or(Errno::BADF)?;
        let State::Connected(link) = &mut socket.state else {
            return Err(socket.error.take().unwrap_or(Errno::NOTCONN));
        };
        if !link.has_unread() && !into.is_empty() {
            return match socket.error.take() {
                // What has ended has ended, whatever an answer of ours met later.
                Some(error) if error != Errno::PIPE => Err(error),
                _ if link.is_at_end() => Ok(Some(0)),
                _ => Ok(None),
            };
        }
        let limit = link.rights.readable(into.len());
        if peeks {
            return Ok(link.incoming.peek(&mut into[..limit]));
        }
        let read = link.incoming.read(&mut into[..limit]);
        link.rights.pass(read.unwrap_or(0));
        self.changes += u64::from(read.is_some_and(|count| count > 0));
        Ok(read)
    }

    /// Sends bytes, and descriptors with them, which are taken out of `rights`. `None`: no room.
    pub(crate) fn send(&mut self, index: u32, from: &[u8], rights: &mut Vec<u32>) -> Result<Option<usize>, Errno> {
        let socket = self.sockets.get_mut(index).ok_or(Errno::BADF)?;
        let is_local = socket.is_local();
        let link = match &mut socket.state {
            State::Connected(link) => link,
            State::Connecting(_) => return Ok(None),
            _ => return Err(socket.error.take().unwrap_or(if is_local { Errno::NOTCONN } else { Errno::PIPE })),
        };
        if !is_local && let Some(error) = socket.error.take() {
            return Err(error);
        }
        if link.is_write_shut {
            return Err(Errno::PIPE);
        }
        let peer = link.peer.and_then(|peer| self.sockets.get_mut(peer));
        let Some(Socket { state: State::Connected(other), .. }) = peer else {
            return self.send_to_nobody(index, from.len(), is_local);
        };
        let waiting = other.incoming.len();
        let written = other.incoming.write(from)?;
        if let Some(count) = written
            && count > 0
            && !rights.is_empty()
        {
            other.rights.attach(waiting, count, core::mem::take(rights));
        }
        self.changes += u64::from(written.is_some());
        Ok(written)
    }

    /// Sends the last byte of a message out of band, the others before it. `None`: no room for those.
    pub(crate) fn send_urgent(&mut self, index: u32, from: &[u8]) -> Result<Option<usize>, Errno> {
        let Some((last, others)) = from.split_last() else { return self.send(index, from, &mut Vec::new()) };
        let peer = match &self.socket_mut(index)?.state {
            State::Connected(link) => link.peer,
            _ => None,
        };
        let is_inline =
            peer.and_then(|peer| self.sockets.get(peer)).is_none_or(|peer| peer.options.takes_urgent_inline());
        if is_inline || !others.is_empty() {
            let sent = self.send(index, if is_inline { from } else { others }, &mut Vec::new())?;
            if is_inline || sent != Some(others.len()) {
                return Ok(sent);
            }
        }
        if let Some(Socket { state: State::Connected(other), .. }) = peer.and_then(|peer| self.sockets.get_mut(peer)) {
            other.urgent = Some(*last);
            other.incoming.arrivals += 1;
        }
        self.changes += 1;
        Ok(Some(from.len()))
    }

    /// Takes the byte that came out of band, or only looks at it. `None`: there is none.
    pub(crate) fn receive_urgent(&mut self, index: u32, peeks: bool) -> Result<Option<u8>, Errno> {
        match &mut self.socket_mut(index)?.state {
            State::Connected(link) if peeks => Ok(link.urgent),
            State::Connected(link) => Ok(link.urgent.take()),
            _ => Err(Errno::NOTCONN),
        }
    }

    /// The other end is closed. TCP finds that out by sending; on `AF_UNIX` it is known at once.
    fn send_to_nobody(&mut self, index: u32, bytes: usize, is_local: bool) -> Result<Option<usize>, Errno> {
        if is_local {
            return Err(Errno::PIPE);
        }
        let socket = self.socket_mut(index)?;
        if let State::Connected(link) = &mut socket.state {
            link.is_write_shut = true;
        }
        socket.fail(Errno::PIPE);
        self.changes += 1;
        Ok(Some(bytes))
    }

    /// `shutdown` of a stream.
    pub(crate) fn shut_down(&mut self, index: u32, reading: bool, writing: bool) -> Result<(), Errno> {
        let socket = self.socket_mut(index)?;
        let is_local = socket.is_local();
        let link = match &mut socket.state {
            State::Connected(link) => link,
            State::Datagrams(inbox) => {
                inbox.is_read_shut |= reading;
                inbox.is_write_shut |= writing;
                let is_connected = socket.is_connected();
                socket.activity += 1;
                self.changes += 1;
                return if is_connected { Ok(()) } else { Err(Errno::NOTCONN) };
            }
            // As Linux does: a listener that is shut down for reading takes no more connections.
            State::Listening(_) if reading => {
                if let State::Listening(listener) = core::mem::replace(&mut socket.state, State::Idle) {
                    self.end_listener(listener);
                }
                self.changes += 1;
                return Ok(());
            }
            _ => return Err(Errno::NOTCONN),
        };
        if link.is_reset {
            return Err(Errno::NOTCONN);
        }
        link.is_read_shut |= reading;
        link.is_write_shut |= writing;
        socket.activity += 1;
        if is_local && reading {
            // The other end learns of it; over TCP it does not.
            link.incoming.close_reader();
        }
        let peer = link.peer;
        if let Some(Socket { state: State::Connected(other), .. }) = peer.and_then(|peer| self.sockets.get_mut(peer))
            && writing
        {
            other.incoming.close_writer();
        }
        self.changes += 1;
        Ok(())
    }

    /// The end of one end. `resets`: what was on its way is lost, and the other end is told.
    pub(crate) fn end_link(&mut self, link: Link, resets: bool) {
        self.orphans.extend(link.rights.into_descriptions());
        let Some(peer) = link.peer.and_then(|peer| self.sockets.get_mut(peer)) else { return };
        peer.activity += 1;
        let State::Connected(other) = &mut peer.state else { return };
        other.peer = None;
        other.incoming.close_writer();
        if resets {
            (other.is_write_shut, other.is_reset) = (true, true);
            peer.fail(Errno::CONNRESET);
        }
        self.changes += 1;
    }
}
