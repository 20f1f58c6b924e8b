//! What can be done with a socket without waiting; bit by bit as `tcp_poll`, `udp_poll` and `unix_poll` of Linux have it.

use super::{Inbox, Link, Socket, State};
use crate::files::Files;
use crate::files::pipe::Pipe;
use crate::files::readiness::Readiness;

impl Files {
    pub(crate) fn readiness_of_socket(&self, index: u32) -> Readiness {
        let Some(socket) = self.sockets.get(index) else { return Readiness::default() };
        let error = socket.error.is_some();
        let own = Readiness { error, arrivals: socket.activity, drains: socket.activity, ..Readiness::default() };
        match &socket.state {
            State::Idle => Readiness { write: true, hangup: true, read: error, ..own },
            State::Connecting(_) => own,
            State::Listening(listener) => Readiness { read: !listener.ready.is_empty(), ..own },
            State::Connected(link) => self.readiness_of_link(socket, link, own),
            State::Datagrams(inbox) => self.readiness_of_inbox(inbox, own),
        }
    }

    fn readiness_of_link(&self, socket: &Socket, link: &Link, own: Readiness) -> Readiness {
        let is_ended = link.is_at_end();
        let outgoing = self.outgoing(link);
        // Closing the other end closes both directions on AF_UNIX; of TCP only a reset does.
        let is_gone = link.peer().is_none() && socket.is_local();
        let is_write_shut = link.is_write_shut() || is_gone || outgoing.is_some_and(|pipe| pipe.readers == 0);
        Readiness {
            read: link.has_unread() || is_ended,
            write: is_write_shut || outgoing.is_none_or(Pipe::has_room),
            urgent: link.is_urgent(),
            read_hangup: is_ended,
            hangup: is_ended && is_write_shut,
            arrivals: own.arrivals.wrapping_add(link.incoming.arrivals),
            drains: own.drains.wrapping_add(outgoing.map_or(0, |pipe| pipe.drains)),
            ..own
        }
    }

    /// The pipe into which this end writes.
    fn outgoing(&self, link: &Link) -> Option<&Pipe> {
        match &self.sockets.get(link.peer()?)?.state {
            State::Connected(other) => Some(&other.incoming),
            _ => None,
        }
    }

    fn readiness_of_inbox(&self, inbox: &Inbox, own: Readiness) -> Readiness {
        let target = inbox.target.and_then(|target| match &self.sockets.get(target)?.state {
            State::Datagrams(inbox) => Some(inbox),
            _ => None,
        });
        Readiness {
            read: !inbox.is_empty() || inbox.is_read_shut,
            write: target.is_none_or(Inbox::has_room),
            read_hangup: inbox.is_read_shut,
            hangup: inbox.is_read_shut && inbox.is_write_shut,
            arrivals: own.arrivals.wrapping_add(inbox.arrivals),
            drains: own.drains.wrapping_add(target.map_or(inbox.drains, |inbox| inbox.drains)),
            ..own
        }
    }
}
