//! Who has which port, path or abstract name.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::address::{Address, Endpoint};
use super::{INTERNET_6, STREAM, Socket, State};
use crate::errno::Errno;
use crate::files::Files;
use crate::files::arena::Arena;
use crate::files::limits::EPHEMERAL_PORTS;
use crate::files::place::Place;
use crate::files::tmp::{Kind, NodeId};

/// The names of bound sockets.
#[derive(Debug)]
pub(crate) struct Names {
    /// By protocol and port; several may share one.
    ports: BTreeMap<(u32, u16), Vec<u32>>,
    abstracts: BTreeMap<Vec<u8>, u32>,
    /// By node of the file that a path leads to.
    nodes: BTreeMap<NodeId, u32>,
    next_port: u16,
    next_name: u32,
    /// Goes round among sockets that share a port.
    turn: usize,
}

impl Names {
    pub(crate) const fn new() -> Names {
        Names {
            ports: BTreeMap::new(),
            abstracts: BTreeMap::new(),
            nodes: BTreeMap::new(),
            next_port: *EPHEMERAL_PORTS.start(),
            next_name: 0,
            turn: 0,
        }
    }

    /// The socket that a packet or connection to `to` reaches: of those that are bound to it, to the very address before
    /// any, and in turns.
    fn reached(&mut self, sockets: &Arena<Socket>, protocol: u32, from: Endpoint, to: Endpoint) -> Option<u32> {
        let bound = self.ports.get(&(protocol, to.port))?;
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn % bound.len();
        let in_turn = || bound[turn..].iter().chain(&bound[..turn]);
        let takes = |index: &&u32, exact: bool| {
            let Some(socket) = sockets.get(**index) else { return false };
            let Some(local) = socket.local.endpoint() else { return false };
            let is_addressed = if exact { local == to } else { local.is_any() && overlap(socket, local, to) };
            is_addressed && socket.listens_to(from)
        };
        in_turn().find(|index| takes(index, true)).or_else(|| in_turn().find(|index| takes(index, false))).copied()
    }
}

impl Files {
    /// The socket that `to` reaches; `None` if nobody is there.
    pub(crate) fn reached(&mut self, protocol: u32, from: Endpoint, to: Endpoint) -> Option<u32> {
        self.names.reached(&self.sockets, protocol, from, to)
    }

    /// The socket of `AF_UNIX` with that name. `start` is the directory from which a path counts.
    pub(crate) fn local_socket(&self, address: &Address, start: Place) -> Result<u32, Errno> {
        match address {
            Address::Abstract(name) => self.names.abstracts.get(name).copied().ok_or(Errno::CONNREFUSED),
            Address::Path(path) => match self.find(start, path, true)? {
                Place::Tmp(node) => self.names.nodes.get(&node).copied().ok_or(Errno::CONNREFUSED),
                _ => Err(Errno::CONNREFUSED),
            },
            _ => Err(Errno::INVAL),
        }
    }

    /// `bind` of the internet families. Port 0: any that is free.
    pub(crate) fn bind_port(&mut self, index: u32, endpoint: Endpoint) -> Result<(), Errno> {
        let socket = self.sockets.get(index).ok_or(Errno::BADF)?;
        if socket.local.endpoint().is_some_and(|local| local.port != 0) {
            return Err(Errno::INVAL);
        }
        if !endpoint.is_local() {
            return Err(Errno::ADDRNOTAVAIL);
        }
        let port = if endpoint.port == 0 { self.free_port(index, endpoint)? } else { endpoint.port };
        let endpoint = endpoint.with_port(port);
        if self.conflicts(index, endpoint, false) {
            return Err(Errno::ADDRINUSE);
        }
        let socket = self.sockets.get_mut(index).ok_or(Errno::BADF)?;
        socket.local = Address::Internet(endpoint);
        self.names.ports.entry((socket.protocol, port)).or_default().push(index);
        Ok(())
    }

    /// Gives a socket that has none a port to send from.
    pub(crate) fn bind_any(&mut self, index: u32, endpoint: Endpoint) -> Result<(), Errno> {
        let socket = self.sockets.get(index).ok_or(Errno::BADF)?;
        if socket.local == Address::None { self.bind_port(index, endpoint.with_port(0)) } else { Ok(()) }
    }

    fn free_port(&mut self, index: u32, endpoint: Endpoint) -> Result<u16, Errno> {
        for _ in EPHEMERAL_PORTS {
            let port = self.names.next_port;
            self.names.next_port = if port >= *EPHEMERAL_PORTS.end() { *EPHEMERAL_PORTS.start() } else { port + 1 };
            let protocol = self.sockets.get(index).ok_or(Errno::BADF)?.protocol;
            if !self.names.ports.contains_key(&(protocol, port))
                || !self.conflicts(index, endpoint.with_port(port), true)
            {
                return Ok(port);
            }
        }
        Err(Errno::ADDRINUSE)
    }

    /// Does another socket keep `index` from being bound to `endpoint`? `strict`: sharing does not count.
    pub(crate) fn conflicts(&self, index: u32, endpoint: Endpoint, strict: bool) -> bool {
        let Some(socket) = self.sockets.get(index) else { return false };
        let Some(holders) = self.names.ports.get(&(socket.protocol, endpoint.port)) else { return false };
        holders.iter().filter(|holder| **holder != index).filter_map(|holder| self.sockets.get(*holder)).any(|holder| {
            let Some(local) = holder.local.endpoint() else { return false };
            let overlaps = local == endpoint
                || (local.is_any() && overlap(holder, local, endpoint))
                || (endpoint.is_any() && overlap(socket, endpoint, local));
            let share_port = socket.options.reuses_port() && holder.options.reuses_port();
            let is_taken = holder.kind == STREAM && matches!(holder.state, State::Listening(_));
            let share_address = socket.options.reuses_address() && holder.options.reuses_address() && !is_taken;
            overlaps && (strict || !(share_port || share_address))
        })
    }

    /// `bind` of `AF_UNIX`. `None`: an abstract name of the kernel's choice.
    pub(crate) fn bind_local(&mut self, index: u32, address: Address, start: Place, now_ns: u64) -> Result<(), Errno> {
        if self.sockets.get(index).ok_or(Errno::BADF)?.local != Address::None {
            return Err(Errno::INVAL);
        }
        let address = match address {
            Address::None => self.free_name(),
            address => address,
        };
        match &address {
            Address::Abstract(name) if self.names.abstracts.contains_key(name) => return Err(Errno::ADDRINUSE),
            Address::Abstract(name) => drop(self.names.abstracts.insert(name.clone(), index)),
            Address::Path(path) => {
                let walk = self.walk(start, path, false)?;
                if walk.place.is_some() {
                    return Err(Errno::ADDRINUSE);
                }
                let node = self.create(&walk, Kind::Socket, 0o777, now_ns)?;
                // The number of the node must not become another's as long as it leads here.
                self.hold(Some(Place::Tmp(node)));
                self.names.nodes.insert(node, index);
                self.sockets.get_mut(index).ok_or(Errno::BADF)?.node = Some(node);
            }
            _ => return Err(Errno::INVAL),
        }
        self.sockets.get_mut(index).ok_or(Errno::BADF)?.local = address;
        Ok(())
    }

    fn free_name(&mut self) -> Address {
        loop {
            self.names.next_name = (self.names.next_name + 1) & 0xf_ffff;
            let name = alloc::format!("{:05x}", self.names.next_name).into_bytes();
            // There are more names than sockets can ever be.
            if !self.names.abstracts.contains_key(&name) {
                return Address::Abstract(name);
            }
        }
    }

    /// Takes the name from a socket that ends.
    pub(crate) fn unbind(&mut self, index: u32, socket: &Socket) {
        match &socket.local {
            Address::Internet(endpoint) => {
                if let Some(holders) = self.names.ports.get_mut(&(socket.protocol, endpoint.port)) {
                    holders.retain(|holder| *holder != index);
                    if holders.is_empty() {
                        self.names.ports.remove(&(socket.protocol, endpoint.port));
                    }
                }
            }
            Address::Abstract(name) if self.names.abstracts.get(name) == Some(&index) => {
                self.names.abstracts.remove(name);
            }
            _ => {}
        }
        if let Some(node) = socket.node {
            self.names.nodes.remove(&node);
            self.release(Some(Place::Tmp(node)));
        }
    }
}

/// Does a socket that is bound to "any" get what goes to `to`?
fn overlap(socket: &Socket, any: Endpoint, to: Endpoint) -> bool {
    if any.is_any_ipv6() {
        debug_assert_eq!(socket.family, INTERNET_6);
        !to.is_ipv4() || !socket.options.is_ipv6_only()
    } else {
        to.is_ipv4()
    }
}
