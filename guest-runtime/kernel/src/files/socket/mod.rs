//! Sockets: connections, datagrams and names within this machine, which is all the network that there is.
//!
//! ```text
//!          connect                 accept
//!  idle ───────────► connecting ───────────► connected ──► (each direction shut down, or the peer gone)
//!   │ listen            │ nobody listens any more
//!   ▼                   ▼
//!  listening           idle, with an error
//!                                             datagrams: one state, an inbox
//! ```
//!
//! A connected socket owns the pipe of what comes in and knows its peer, which owns the other; so nothing is shared, and what
//! one end does to the other is a change in the other's own state. Between the ends there is no wire: `connect` on loopback
//! is done before it returns, and only a full backlog makes it wait.

mod address;
mod datagram;
mod names;
mod options;
mod readiness;
mod rights;
mod stream;

use alloc::collections::VecDeque;

pub(crate) use address::{Address, Endpoint};
pub(crate) use datagram::{Datagram, Header, Inbox};
pub(crate) use names::Names;
pub(crate) use options::{
    IPV6_LEVEL, Options, PASS_CREDENTIALS, RECEIVE_HOP_LIMIT, RECEIVE_TRAFFIC_CLASS, SOCKET_LEVEL,
};
pub(crate) use rights::Rights;
pub(crate) use stream::{Connecting, Link};

use super::Files;
use super::description::{Object, flag};
use super::limits::SOCKETS_MAX;
use super::tmp::NodeId;
use crate::errno::Errno;

/// Address families.
pub(crate) const UNIX: u32 = 1;
pub(crate) const INTERNET: u32 = 2;
pub(crate) const INTERNET_6: u32 = 10;
/// `SOCK_STREAM`.
pub(crate) const STREAM: u32 = 1;
/// `SOCK_DGRAM`.
pub(crate) const DATAGRAM: u32 = 2;
/// Protocols of the internet families. The lighter form of UDP leaves parts of a message unchecked; here no part is ever damaged.
pub(crate) const TCP: u32 = 6;
pub(crate) const UDP: u32 = 17;
pub(crate) const UDP_LITE: u32 = 136;

/// A socket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) family: u32,
    pub(crate) kind: u32,
    /// As `SO_PROTOCOL` has it. Ports are a protocol's own.
    pub(crate) protocol: u32,
    pub(crate) state: State,
    /// Its own name, and whom it is connected to.
    pub(crate) local: Address,
    pub(crate) peer: Address,
    /// File of the path that it is bound to.
    node: Option<NodeId>,
    pub(crate) options: Options,
    /// What went wrong meanwhile: reported once, by the next call or by `SO_ERROR`.
    pub(crate) error: Option<Errno>,
    /// Changes that neither pipe nor inbox counts: edges for epoll.
    activity: u64,
}

/// What a socket is doing.
#[derive(Debug)]
pub(crate) enum State {
    Idle,
    /// In line for the backlog of that listener.
    Connecting(u32),
    Listening(Listener),
    Connected(Link),
    Datagrams(Inbox),
}

/// A socket that takes connections.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    /// Connections in `ready` beyond which others wait.
    pub(crate) backlog: usize,
    /// Connected sockets that nobody has accepted yet.
    pub(crate) ready: VecDeque<u32>,
    /// Sockets that would be connected if there were room.
    pub(crate) waiting: VecDeque<u32>,
}

impl Socket {
    fn new(family: u32, kind: u32, protocol: u32) -> Socket {
        Socket {
            family,
            kind,
            protocol,
            state: if kind == DATAGRAM { State::Datagrams(Inbox::default()) } else { State::Idle },
            local: Address::None,
            peer: Address::None,
            node: None,
            options: Options::default(),
            error: None,
            activity: 0,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        match &self.state {
            // What was reset over TCP has no peer any more.
            State::Connected(link) => self.is_local() || !link.is_reset(),
            State::Datagrams(inbox) => inbox.target.is_some() || self.peer != Address::None,
            _ => false,
        }
    }

    pub(crate) fn is_local(&self) -> bool {
        self.family == UNIX
    }

    /// Does it take a connection or datagram from there?
    fn listens_to(&self, from: Endpoint) -> bool {
        match self.state {
            State::Listening(_) => true,
            State::Datagrams(_) => self.peer == Address::None || self.peer == Address::Internet(from),
            _ => false,
        }
    }

    fn fail(&mut self, error: Errno) {
        self.error = Some(error);
        self.activity += 1;
    }
}

impl Files {
    /// A socket that is not connected.
    pub(crate) fn open_socket(&mut self, (family, kind, protocol): (u32, u32, u32), flags: u32) -> Result<u32, Errno> {
        let index = self.add_socket(Socket::new(family, kind, protocol))?;
        self.install(Object::Socket(index), None, flag::READ_WRITE | flags)
    }

    /// Two connected sockets of `AF_UNIX`.
    pub(crate) fn open_socket_pair(&mut self, kind: u32, flags: u32) -> Result<[u32; 2], Errno> {
        if !self.descriptors.has_room(2) {
            return Err(Errno::MFILE);
        }
        if self.sockets.len() + 2 > SOCKETS_MAX {
            return Err(Errno::NFILE);
        }
        let (one, two) = (self.add_socket(Socket::new(UNIX, kind, 0))?, self.add_socket(Socket::new(UNIX, kind, 0))?);
        for (index, other) in [(one, two), (two, one)] {
            let socket = self.socket_mut(index)?;
            match &mut socket.state {
                State::Datagrams(inbox) => inbox.target = Some(other),
                state => *state = State::Connected(Link::to(other)),
            }
        }
        let mut pair = [0; 2];
        for (slot, index) in pair.iter_mut().zip([one, two]) {
            *slot = self.install(Object::Socket(index), None, flag::READ_WRITE | flags)?;
        }
        Ok(pair)
    }

    fn add_socket(&mut self, socket: Socket) -> Result<u32, Errno> {
        if self.sockets.len() >= SOCKETS_MAX { Err(Errno::NFILE) } else { Ok(self.sockets.insert(socket)) }
    }

    pub(crate) fn socket(&self, fd: u64) -> Result<(u32, &Socket), Errno> {
        match self.description(fd)?.object {
            Object::Socket(index) => Ok((index, self.sockets.get(index).ok_or(Errno::BADF)?)),
            Object::Path => Err(Errno::BADF),
            _ => Err(Errno::NOTSOCK),
        }
    }

    pub(crate) fn is_socket(&self, fd: u64) -> bool {
        self.description(fd).is_ok_and(|description| matches!(description.object, Object::Socket(_)))
    }

    pub(crate) fn socket_mut(&mut self, index: u32) -> Result<&mut Socket, Errno> {
        self.sockets.get_mut(index).ok_or(Errno::BADF)
    }

    /// The error that was not reported yet, which is reported with this.
    pub(crate) fn take_error(&mut self, index: u32) -> Option<Errno> {
        self.sockets.get_mut(index)?.error.take()
    }

    /// Leaves an error for the next call to report.
    pub(crate) fn fail_socket(&mut self, index: u32, error: Errno) -> Result<(), Errno> {
        self.socket_mut(index)?.fail(error);
        self.changes += 1;
        Ok(())
    }

    /// Ends a socket with its last descriptor, or one that nobody ever accepted.
    pub(crate) fn end_socket(&mut self, index: u32) {
        let Some(mut socket) = self.sockets.remove(index) else { return };
        self.changes += 1;
        self.unbind(index, &socket);
        match core::mem::replace(&mut socket.state, State::Idle) {
            State::Idle => {}
            State::Connecting(listener) => {
                if let Some(Socket { state: State::Listening(listener), .. }) = self.sockets.get_mut(listener) {
                    listener.waiting.retain(|waiting| *waiting != index);
                }
            }
            State::Listening(listener) => self.end_listener(listener),
            State::Connected(link) => {
                let resets = link.has_unread() || socket.options.lingers_not();
                self.end_link(link, resets);
            }
            State::Datagrams(inbox) => self.end_inbox(index, inbox, socket.is_local()),
        }
    }

    fn end_listener(&mut self, listener: Listener) {
        for index in listener.waiting {
            if let Some(socket) = self.sockets.get_mut(index) {
                socket.state = State::Idle;
                socket.fail(Errno::CONNREFUSED);
            }
        }
        for index in listener.ready {
            if let Some(Socket { state: State::Connected(link), .. }) = self.sockets.remove(index) {
                self.end_link(link, true);
            }
        }
    }
}
