//! Sockets of every kind, as far as they are alike: pairs, options, and what is refused.

use mayfly_kernel::errno::Errno;
use mayfly_kernel::syscall::call::Reply;
use mayfly_kernel::syscall::number as n;

use crate::machine::{BUFFER, Machine, NOWHERE, O_NONBLOCK, Pending};

/// Where tests put addresses and their lengths.
pub(crate) const ADDRESS: u64 = BUFFER + 0x8000;
pub(crate) const LENGTH: u64 = BUFFER + 0x9000;

pub(crate) const UNIX: u64 = 1;
pub(crate) const INET: u64 = 2;
pub(crate) const INET6: u64 = 10;
pub(crate) const STREAM: u64 = 1;
pub(crate) const DATAGRAM: u64 = 2;

pub(crate) fn v4(ip: [u8; 4], port: u16) -> Vec<u8> {
    [&[2, 0][..], &port.to_be_bytes(), &ip, &[0; 8]].concat()
}

pub(crate) fn v6(ip: u128, port: u16) -> Vec<u8> {
    [&[10, 0][..], &port.to_be_bytes(), &[0; 4], &ip.to_be_bytes(), &[0; 4]].concat()
}

pub(crate) fn local(port: u16) -> Vec<u8> {
    v4([127, 0, 0, 1], port)
}

impl Machine {
    pub(crate) fn socket(&mut self, family: u64, kind: u64) -> u64 {
        self.call(n::SOCKET, &[family, kind, 0]).expect("a socket")
    }

    /// A call with a descriptor and an address: `bind`, `connect`.
    pub(crate) fn at_address(&mut self, number: u64, fd: u64, address: &[u8]) -> Result<u64, Errno> {
        self.put(ADDRESS, address);
        self.call(number, &[fd, ADDRESS, address.len() as u64])
    }

    /// A call that gives an address: `getsockname`, `getpeername`, `accept`. Also what it returns.
    pub(crate) fn address_of(&mut self, number: u64, fd: u64) -> Result<(u64, Vec<u8>), Errno> {
        self.put(LENGTH, &128_u32.to_le_bytes());
        let value = self.call(number, &[fd, ADDRESS, LENGTH])?;
        Ok((value, self.get(ADDRESS, u64::from(self.half(LENGTH)))))
    }

    pub(crate) fn port_of(&mut self, fd: u64) -> u16 {
        let (_, name) = self.address_of(n::GETSOCKNAME, fd).expect("a socket");
        u16::from_be_bytes([name[2], name[3]])
    }

    pub(crate) fn option(&mut self, fd: u64, level: u64, name: u64) -> Result<u32, Errno> {
        self.put(LENGTH, &4_u32.to_le_bytes());
        self.call(n::GETSOCKOPT, &[fd, level, name, ADDRESS, LENGTH])?;
        Ok(self.half(ADDRESS))
    }

    pub(crate) fn set_option(&mut self, fd: u64, level: u64, name: u64, value: u32) -> Result<u64, Errno> {
        self.put(ADDRESS, &value.to_le_bytes());
        self.call(n::SETSOCKOPT, &[fd, level, name, ADDRESS, 4])
    }

    /// Bits that `poll` reports now, of all that there are.
    pub(crate) fn poll(&mut self, fd: u64) -> u32 {
        self.put(ADDRESS, &[&(fd as u32).to_le_bytes()[..], &0x2005_u16.to_le_bytes(), &[0; 2]].concat());
        self.call(n::POLL, &[ADDRESS, 1, 0]).expect("a descriptor");
        self.half(ADDRESS + 4) >> 16
    }
}

pub(crate) fn pair(machine: &mut Machine, kind: u64) -> (u64, u64) {
    assert_eq!(machine.call(n::SOCKETPAIR, &[UNIX, kind, 0, BUFFER]), Ok(0));
    (u64::from(machine.half(BUFFER)), u64::from(machine.half(BUFFER + 4)))
}

#[test]
fn pairs_of_sockets_talk_both_ways() {
    let mut machine = Machine::new();
    let (left, right) = pair(&mut machine, STREAM | O_NONBLOCK);
    assert_eq!(machine.write(left, b"to the right"), Ok(12));
    assert_eq!(machine.write(right, b"to the left"), Ok(11));
    assert_eq!(machine.read(left, 99).as_deref(), Ok(&b"to the left"[..]));
    // A look takes nothing.
    assert_eq!(machine.call(n::RECVFROM, &[right, BUFFER, 6, 2, 0, 0]), Ok(6));
    assert_eq!(machine.read(right, 99).as_deref(), Ok(&b"to the right"[..]));
    assert_eq!(machine.read(right, 1), Err(Errno::AGAIN));
    machine.put(BUFFER, b"sent");
    assert_eq!(machine.call(n::SENDTO, &[left, BUFFER, 4, 0x4000, 0, 0]), Ok(4));
    // One message in two buffers.
    let (header, list, data) = (BUFFER + 0x1000, BUFFER + 0x2000, BUFFER + 0x3000);
    machine.put(list, &[data, 3, data + 8, 8].map(u64::to_le_bytes).concat());
    machine.put(header, &[0, 77, list, 2, 0, 9, 5].map(u64::to_le_bytes).concat());
    assert_eq!(machine.call(n::RECVMSG, &[right, header, 0]), Ok(4));
    assert_eq!((machine.get(data, 3), machine.get(data + 8, 1)), (b"sen".to_vec(), b"t".to_vec()));
    assert_eq!((machine.half(header + 8), machine.half(header + 48)), (0, 0));
    machine.put(header, &[0, 0, list, 1, 0, 0, 0].map(u64::to_le_bytes).concat());
    assert_eq!(machine.call(n::SENDMSG, &[right, header, 0]), Ok(3));
    assert_eq!(machine.read(left, 99).as_deref(), Ok(&b"sen"[..]));
    assert_eq!(machine.call(n::SHUTDOWN, &[left, 1]), Ok(0));
    assert_eq!(machine.write(left, b"x"), Err(Errno::PIPE));
    assert_eq!(machine.read(right, 1), Ok(vec![]));
    assert_eq!(machine.write(right, b"still"), Ok(5));
    machine.close(right);
    assert_eq!(machine.read(left, 9).as_deref(), Ok(&b"still"[..]));
    assert_eq!(machine.read(left, 9), Ok(vec![]));
    let (left, _) = pair(&mut machine, STREAM);
    machine.blocked(n::READ, &[left, BUFFER, 1], &mut Pending::default());
    assert_eq!(machine.call(n::RECVFROM, &[left, BUFFER, 1, 0x40, 0, 0]), Err(Errno::AGAIN));
    assert_eq!(
        machine.call(n::RECVFROM, &[left, BUFFER, 1, 1, 0, 0]),
        Err(Errno::INVAL),
        "nothing is urgent on AF_UNIX"
    );
}

#[test]
fn a_pair_that_is_gone_is_found_out_at_once() {
    let mut machine = Machine::new();
    let (left, right) = pair(&mut machine, STREAM);
    assert_eq!(machine.write(right, b"unread"), Ok(6));
    assert_eq!(machine.write(left, b"lost"), Ok(4));
    machine.close(right);
    assert_eq!(machine.poll(left), 0x1 | 0x4 | 0x8 | 0x10 | 0x2000);
    // What was sent is still there, then what went wrong, then the end.
    assert_eq!(machine.read(left, 9).as_deref(), Ok(&b"unread"[..]));
    assert_eq!(machine.read(left, 9), Err(Errno::CONNRESET));
    assert_eq!(machine.read(left, 9), Ok(vec![]));
    assert_eq!(machine.write(left, b"x"), Err(Errno::PIPE));
    // Who does not read any more breaks the other's writes, but not its own reads of what is there.
    let (left, right) = pair(&mut machine, STREAM);
    assert_eq!(machine.write(left, b"early"), Ok(5));
    assert_eq!(machine.call(n::SHUTDOWN, &[right, 0]), Ok(0));
    assert_eq!(machine.write(left, b"late"), Err(Errno::PIPE));
    assert_eq!(machine.read(right, 9).as_deref(), Ok(&b"early"[..]));
    assert_eq!(machine.read(right, 9), Ok(vec![]));
}

#[test]
fn waiting_for_all_waits_for_all() {
    let mut machine = Machine::new();
    let (left, right) = pair(&mut machine, STREAM);
    let (all, into) = (0x100, BUFFER + 0x1000);
    let call = [left, into, 10, all, 0, 0];
    let mut pending = Pending::default();
    machine.blocked(n::RECVFROM, &call, &mut pending);
    for part in [&b"abc"[..], b"defg"] {
        assert_eq!(machine.write(right, part), Ok(part.len() as u64));
        machine.blocked(n::RECVFROM, &call, &mut pending);
    }
    assert_eq!(machine.write(right, b"hijkl"), Ok(5));
    assert_eq!(machine.attempt(n::RECVFROM, &call, &mut pending), Ok(Reply::Value(10)));
    assert_eq!(machine.get(into, 10), b"abcdefghij");
    // The end is the end of the wait; so is a socket that does not wait.
    assert_eq!(machine.call(n::RECVFROM, &[left, into, 10, all | 0x40, 0, 0]), Ok(2));
    let mut pending = Pending::default();
    machine.blocked(n::RECVFROM, &call, &mut pending);
    assert_eq!(machine.write(right, b"mn"), Ok(2));
    machine.close(right);
    assert_eq!(machine.attempt(n::RECVFROM, &call, &mut pending), Ok(Reply::Value(2)));
}

#[test]
fn options_are_kept_and_unknown_ones_refused() {
    let mut machine = Machine::new();
    let tcp = machine.socket(INET, STREAM);
    for (level, name, set, get) in [
        (1, 2, 1, 1),              // SO_REUSEADDR
        (1, 9, 77, 1),             // SO_KEEPALIVE
        (1, 8, 10_000, 20_000),    // SO_RCVBUF
        (1, 7, 1, 4608),           // SO_SNDBUF
        (1, 7, u32::MAX, 425_984), // SO_SNDBUF
        (6, 1, 1, 1),              // TCP_NODELAY
        (6, 4, 60, 60),            // TCP_KEEPIDLE
        (0, 1, 0x10, 0x10),        // IP_TOS
    ] {
        assert_eq!(machine.set_option(tcp, level, name, set), Ok(0), "{level} {name}");
        assert_eq!(machine.option(tcp, level, name), Ok(get), "{level} {name}");
    }
    for (name, value) in [(3, 1), (4, 0), (30, 0), (38, 6), (39, 2)] {
        assert_eq!(machine.option(tcp, 1, name), Ok(value), "{name}");
        assert_eq!(machine.set_option(tcp, 1, name, 0), Err(Errno::NOPROTOOPT), "{name}");
    }
    let (left, _) = pair(&mut machine, STREAM);
    let udp = machine.socket(INET, DATAGRAM);
    for (fd, level, name, error) in [
        (tcp, 1, 9999, Errno::NOPROTOOPT),
        (tcp, 99, 1, Errno::NOPROTOOPT),
        (udp, 6, 1, Errno::NOPROTOOPT),
        (left, 6, 1, Errno::OPNOTSUPP),
        (0, 1, 2, Errno::NOTSOCK),
        (99, 1, 2, Errno::BADF),
    ] {
        assert_eq!(machine.set_option(fd, level, name, 1), Err(error), "{level} {name}");
        assert_eq!(machine.option(fd, level, name), Err(error), "{level} {name}");
    }
    assert_eq!(machine.call(n::SETSOCKOPT, &[tcp, 1, 2, ADDRESS, 3]), Err(Errno::INVAL));
    assert_eq!(machine.call(n::SETSOCKOPT, &[tcp, 1, 2, NOWHERE, 4]), Err(Errno::FAULT));
    assert_eq!(machine.call(n::SETSOCKOPT, &[tcp, 1, 2, ADDRESS, u64::MAX]), Err(Errno::INVAL));
    assert_eq!(machine.call(n::SETSOCKOPT, &[tcp, 1, 13, ADDRESS, 4]), Err(Errno::INVAL), "SO_LINGER has two numbers");
    machine.put(LENGTH, &12_u32.to_le_bytes());
    assert_eq!(machine.call(n::GETSOCKOPT, &[left, 1, 17, ADDRESS, LENGTH]), Ok(0));
    assert_eq!((machine.half(ADDRESS), machine.half(ADDRESS + 4)), (1, 0), "SO_PEERCRED");
}

#[test]
fn timeouts_of_a_socket_end_its_waits() {
    const MS: u64 = 1_000_000;
    let mut machine = Machine::new();
    let (left, right) = pair(&mut machine, STREAM);
    machine.put(ADDRESS, &[0_u64, 5000].map(u64::to_le_bytes).concat());
    assert_eq!(machine.call(n::SETSOCKOPT, &[left, 1, 20, ADDRESS, 16]), Ok(0));
    let mut pending = Pending::default();
    let wait = machine.blocked(n::READ, &[left, BUFFER, 1], &mut pending);
    assert_eq!(wait.until_ns, Some(5 * MS));
    machine.world.now_ns = 5 * MS;
    assert_eq!(machine.attempt(n::READ, &[left, BUFFER, 1], &mut pending), Err(Errno::AGAIN));
    assert_eq!(machine.blocked(n::READ, &[right, BUFFER, 1], &mut Pending::default()).until_ns, None);
    machine.put(ADDRESS, &[0_u64, 1_000_000].map(u64::to_le_bytes).concat());
    assert_eq!(machine.call(n::SETSOCKOPT, &[left, 1, 21, ADDRESS, 16]), Err(Errno(33)));
}

#[test]
fn what_is_no_network_of_this_machine_says_so() {
    let mut machine = Machine::new();
    for (family, kind, error) in [
        (16, 3, Errno::AFNOSUPPORT),
        (17, 3, Errno::AFNOSUPPORT),
        (99, 1, Errno::AFNOSUPPORT),
        (INET, 3, Errno::SOCKTNOSUPPORT),
        (UNIX, 5, Errno::SOCKTNOSUPPORT),
    ] {
        assert_eq!(machine.call(n::SOCKET, &[family, kind, 0]), Err(error));
    }
    assert_eq!(machine.call(n::SOCKET, &[INET, STREAM, 17]), Err(Errno::PROTONOSUPPORT));
    assert_eq!(machine.call(n::SOCKETPAIR, &[INET, STREAM, 0, BUFFER]), Err(Errno::OPNOTSUPP));
    for (family, kind, address) in [
        (INET, STREAM, v4([10, 0, 0, 1], 80)),
        (INET, DATAGRAM, v4([8, 8, 8, 8], 53)),
        (INET, STREAM, v4([255; 4], 1)),
        (INET6, STREAM, v6(0x2001 << 112 | 1, 443)),
        (INET6, DATAGRAM, v6(0xffff_0808_0808, 53)),
    ] {
        for flags in [0, O_NONBLOCK] {
            let fd = machine.socket(family, kind | flags);
            assert_eq!(machine.at_address(n::CONNECT, fd, &address), Err(Errno::NETUNREACH), "{address:?}");
            assert_eq!(machine.at_address(n::BIND, fd, &address), Err(Errno::ADDRNOTAVAIL), "{address:?}");
        }
    }
    let udp = machine.socket(INET, DATAGRAM);
    machine.put(ADDRESS, &v4([8, 8, 8, 8], 53));
    assert_eq!(machine.call(n::SENDTO, &[udp, BUFFER, 4, 0, ADDRESS, 16]), Err(Errno::NETUNREACH));
    let tcp = machine.socket(INET, STREAM);
    for (address, bytes, error) in [
        (NOWHERE, 16, Errno::FAULT),
        (ADDRESS, 1 << 20, Errno::INVAL),
        (ADDRESS, 15, Errno::INVAL),
        (ADDRESS, 1, Errno::INVAL),
        (ADDRESS, 0, Errno::INVAL),
    ] {
        assert_eq!(machine.call(n::CONNECT, &[tcp, address, bytes]), Err(error), "{bytes}");
        assert_eq!(machine.call(n::BIND, &[tcp, address, bytes]), Err(error), "{bytes}");
    }
    assert_eq!(machine.at_address(n::CONNECT, tcp, &v6(1, 80)), Err(Errno::AFNOSUPPORT));
    assert_eq!(machine.at_address(n::CONNECT, 1, &local(80)), Err(Errno::NOTSOCK));
    assert_eq!(machine.read(tcp, 1), Err(Errno::NOTCONN));
    assert_eq!(machine.write(tcp, b"x"), Err(Errno::PIPE));
    assert_eq!(machine.call(n::SHUTDOWN, &[tcp, 2]), Err(Errno::NOTCONN));
    assert_eq!(machine.address_of(n::GETPEERNAME, tcp), Err(Errno::NOTCONN));
    assert_eq!(machine.address_of(n::GETSOCKNAME, tcp), Ok((0, v4([0; 4], 0))));
    assert_eq!(machine.call(n::ACCEPT, &[tcp, 0, 0]), Err(Errno::INVAL));
    assert_eq!(machine.call(n::ACCEPT, &[udp, 0, 0]), Err(Errno::OPNOTSUPP));
    assert_eq!(machine.call(n::LISTEN, &[udp, 1]), Err(Errno::OPNOTSUPP));
}
