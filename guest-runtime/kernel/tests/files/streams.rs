//! Connections over loopback.

use mayfly_kernel::errno::Errno;
use mayfly_kernel::syscall::call::Reply;
use mayfly_kernel::syscall::number as n;

use crate::machine::{BUFFER, Machine, NOWHERE, O_CLOEXEC, O_NONBLOCK, Pending};
use crate::sockets::{ADDRESS, INET, INET6, LENGTH, STREAM, local, v4, v6};

const IN: u32 = 0x1;
const OUT: u32 = 0x4;
const ERROR: u32 = 0x8;
const HANGUP: u32 = 0x10;
const READ_HANGUP: u32 = 0x2000;
const SOCKET_BYTES: u64 = 208 << 10;

/// A listening socket and its port.
fn listener(machine: &mut Machine, backlog: u64) -> (u64, u16) {
    let fd = machine.socket(INET, STREAM);
    assert_eq!(machine.at_address(n::BIND, fd, &local(0)), Ok(0));
    assert_eq!(machine.call(n::LISTEN, &[fd, backlog]), Ok(0));
    let port = machine.port_of(fd);
    assert!(port >= 32_768, "{port}");
    (fd, port)
}

fn connect(machine: &mut Machine, port: u16) -> u64 {
    let fd = machine.socket(INET, STREAM);
    assert_eq!(machine.at_address(n::CONNECT, fd, &local(port)), Ok(0));
    fd
}

/// Two connected sockets: the one that connected, the one that was accepted.
fn connection(machine: &mut Machine) -> (u64, u64) {
    let (server, port) = listener(machine, 1);
    let client = connect(machine, port);
    let accepted = machine.call(n::ACCEPT, &[server, 0, 0]).expect("a connection");
    machine.close(server);
    (client, accepted)
}

#[test]
fn a_client_and_a_server_find_each_other() {
    let mut machine = Machine::new();
    let (server, port) = listener(&mut machine, 5);
    assert_eq!(machine.poll(server), 0);
    machine.blocked(n::ACCEPT, &[server, 0, 0], &mut Pending::default());
    let client = connect(&mut machine, port);
    assert_eq!(machine.poll(server), IN);
    assert_eq!(machine.write(client, b"before accept"), Ok(13));
    let (accepted, from) = machine.address_of(n::ACCEPT, server).expect("a connection");
    assert_eq!(machine.poll(server), 0);
    let name = local(machine.port_of(client));
    assert_eq!(from, name);
    assert_eq!(machine.address_of(n::GETPEERNAME, accepted), Ok((0, name)));
    assert_eq!(machine.address_of(n::GETSOCKNAME, accepted), Ok((0, local(port))));
    assert_eq!(machine.address_of(n::GETPEERNAME, client), Ok((0, local(port))));
    assert_eq!(machine.poll(accepted), IN | OUT);
    assert_eq!(machine.read(accepted, 99).as_deref(), Ok(&b"before accept"[..]));
    assert_eq!(machine.poll(client), OUT);
    assert_eq!(machine.write(accepted, b"answer"), Ok(6));
    machine.close(accepted);
    assert_eq!(machine.poll(client), IN | OUT | READ_HANGUP);
    assert_eq!(machine.read(client, 99).as_deref(), Ok(&b"answer"[..]));
    assert_eq!(machine.read(client, 99), Ok(vec![]));
    assert_eq!(machine.at_address(n::CONNECT, client, &local(port)), Err(Errno::ISCONN));
    assert_eq!(machine.at_address(n::CONNECT, server, &local(port)), Err(Errno::ISCONN));
    let accepted = machine.call(n::ACCEPT4, &[server, 0, 0, 1]);
    assert_eq!(accepted, Err(Errno::INVAL), "a flag that is none");
    connect(&mut machine, port);
    let accepted = machine.call(n::ACCEPT4, &[server, 0, 0, O_NONBLOCK | O_CLOEXEC]).expect("a connection");
    assert_eq!(machine.read(accepted, 1), Err(Errno::AGAIN));
    assert_eq!(machine.call(n::FCNTL, &[accepted, 1]), Ok(1));
}

#[test]
fn a_connect_that_does_not_wait_is_done_all_the_same() {
    let mut machine = Machine::new();
    let (server, port) = listener(&mut machine, 5);
    let client = machine.socket(INET, STREAM | O_NONBLOCK);
    assert_eq!(machine.poll(client), OUT | HANGUP);
    assert_eq!(machine.at_address(n::CONNECT, client, &local(port)), Err(Errno::INPROGRESS));
    assert_eq!(machine.poll(client), OUT);
    assert_eq!(machine.option(client, 1, 4), Ok(0));
    assert_eq!(machine.at_address(n::CONNECT, client, &local(port)), Ok(0));
    assert_eq!(machine.at_address(n::CONNECT, client, &local(port)), Err(Errno::ISCONN));
    machine.close(server);
    let client = machine.socket(INET, STREAM | O_NONBLOCK);
    assert_eq!(machine.at_address(n::CONNECT, client, &local(port)), Err(Errno::INPROGRESS));
    assert_eq!(machine.poll(client), IN | OUT | ERROR | HANGUP);
    assert_eq!(machine.option(client, 1, 4), Ok(111));
    assert_eq!(machine.option(client, 1, 4), Ok(0), "an error is reported once");
    let client = machine.socket(INET, STREAM);
    assert_eq!(machine.at_address(n::CONNECT, client, &local(port)), Err(Errno::CONNREFUSED));
    assert_eq!(machine.at_address(n::CONNECT, client, &local(port)), Err(Errno::CONNREFUSED));
}

#[test]
fn a_full_backlog_makes_connect_wait() {
    let mut machine = Machine::new();
    let (server, port) = listener(&mut machine, 0);
    connect(&mut machine, port);
    let waiting = machine.socket(INET, STREAM);
    machine.put(ADDRESS, &local(port));
    let call = [waiting, ADDRESS, 16];
    let mut pending = Pending::default();
    machine.blocked(n::CONNECT, &call, &mut pending);
    let other = machine.socket(INET, STREAM | O_NONBLOCK);
    assert_eq!(machine.call(n::CONNECT, &[other, ADDRESS, 16]), Err(Errno::INPROGRESS));
    assert_eq!(machine.call(n::CONNECT, &[other, ADDRESS, 16]), Err(Errno::ALREADY));
    assert_eq!(machine.poll(other), 0);
    machine.put(ADDRESS, &local(port));
    machine.blocked(n::CONNECT, &call, &mut pending);
    let before = machine.files.changes();
    machine.call(n::ACCEPT, &[server, 0, 0]).expect("a connection");
    assert!(machine.files.changes() > before, "who waits must be tried again");
    assert_eq!(machine.attempt(n::CONNECT, &call, &mut pending), Ok(Reply::Value(0)));
    assert_eq!(machine.write(waiting, b"x"), Ok(1));
    // Nobody will accept the others any more.
    machine.close(server);
    assert_eq!(machine.read(waiting, 1), Err(Errno::CONNRESET));
    assert_eq!(machine.poll(other), IN | OUT | ERROR | HANGUP);
    assert_eq!(machine.at_address(n::CONNECT, other, &local(port)), Err(Errno::CONNREFUSED));
}

#[test]
fn closed_while_in_line_is_out_of_line() {
    let mut machine = Machine::new();
    let (server, port) = listener(&mut machine, 0);
    let first = connect(&mut machine, port);
    let waiting = machine.socket(INET, STREAM | O_NONBLOCK);
    assert_eq!(machine.at_address(n::CONNECT, waiting, &local(port)), Err(Errno::INPROGRESS));
    machine.close(waiting);
    machine.close(first);
    let accepted = machine.call(n::ACCEPT, &[server, 0, 0]).expect("the first");
    assert_eq!(machine.read(accepted, 1), Ok(vec![]));
    machine.blocked(n::ACCEPT, &[server, 0, 0], &mut Pending::default());
}

#[test]
fn the_end_of_a_connection_is_told_as_tcp_tells_it() {
    let mut machine = Machine::new();
    // Closed with everything read: one write goes nowhere, the next fails.
    let (client, server) = connection(&mut machine);
    machine.close(server);
    assert_eq!(machine.write(client, b"x"), Ok(1));
    assert_eq!(machine.poll(client) & (ERROR | HANGUP), ERROR | HANGUP);
    assert_eq!(machine.write(client, b"x"), Err(Errno::PIPE));
    assert_eq!(machine.read(client, 1), Ok(vec![]));
    // Closed with something unread: the connection is reset.
    let (client, server) = connection(&mut machine);
    assert_eq!(machine.write(client, b"unread"), Ok(6));
    machine.close(server);
    assert_eq!(machine.read(client, 1), Err(Errno::CONNRESET));
    assert_eq!(machine.read(client, 1), Ok(vec![]));
    assert_eq!(machine.write(client, b"x"), Err(Errno::PIPE));
    // SO_LINGER with no time resets it too.
    let (client, server) = connection(&mut machine);
    machine.put(ADDRESS, &[1_u32, 0].map(u32::to_le_bytes).concat());
    assert_eq!(machine.call(n::SETSOCKOPT, &[server, 1, 13, ADDRESS, 8]), Ok(0));
    machine.close(server);
    assert_eq!(machine.write(client, b"x"), Err(Errno::CONNRESET));
    // One direction shut down leaves the other.
    let (client, server) = connection(&mut machine);
    assert_eq!(machine.write(client, b"last"), Ok(4));
    assert_eq!(machine.call(n::SHUTDOWN, &[client, 1]), Ok(0));
    assert_eq!(machine.write(client, b"x"), Err(Errno::PIPE));
    assert_eq!(machine.read(server, 9).as_deref(), Ok(&b"last"[..]));
    assert_eq!(machine.read(server, 9), Ok(vec![]));
    assert_eq!(machine.poll(server), IN | OUT | READ_HANGUP);
    assert_eq!(machine.write(server, b"reply"), Ok(5));
    assert_eq!(machine.read(client, 9).as_deref(), Ok(&b"reply"[..]));
    assert_eq!(machine.call(n::SHUTDOWN, &[server, 1]), Ok(0));
    assert_eq!(machine.poll(client), IN | OUT | HANGUP | READ_HANGUP);
    assert_eq!(machine.call(n::SHUTDOWN, &[client, 3]), Err(Errno::INVAL));
}

#[test]
fn a_full_connection_waits_for_its_reader() {
    let mut machine = Machine::new();
    let (client, server) = connection(&mut machine);
    let (source, total) = (BUFFER + (1 << 20), 2 * SOCKET_BYTES + 100);
    let content: Vec<u8> = (0..total).map(|at| (at % 251) as u8).collect();
    machine.put(source, &content);
    let call = [client, source, total];
    let (mut pending, mut seen) = (Pending::default(), Vec::new());
    loop {
        match machine.attempt(n::WRITE, &call, &mut pending) {
            Ok(Reply::Value(count)) => break assert_eq!(count, total),
            Ok(Reply::Block(_)) => assert_eq!(machine.poll(client) & OUT, 0),
            Err(error) => panic!("{error:?}"),
        }
        seen.extend(machine.read(server, 50_000).expect("bytes"));
    }
    while seen.len() < content.len() {
        seen.extend(machine.read(server, 1 << 20).expect("bytes"));
    }
    assert!(seen == content);
}

#[test]
fn ports_have_one_owner_unless_they_are_shared() {
    let mut machine = Machine::new();
    let (server, port) = listener(&mut machine, 1);
    let other = machine.socket(INET, STREAM);
    assert_eq!(machine.at_address(n::BIND, other, &local(port)), Err(Errno::ADDRINUSE));
    assert_eq!(machine.at_address(n::BIND, other, &v4([0; 4], port)), Err(Errno::ADDRINUSE));
    // SO_REUSEADDR does not help against a listener, nor alone.
    assert_eq!(machine.set_option(other, 1, 2, 1), Ok(0));
    assert_eq!(machine.at_address(n::BIND, other, &local(port)), Err(Errno::ADDRINUSE));
    // Another address of loopback is another place.
    assert_eq!(machine.at_address(n::BIND, other, &v4([127, 9, 9, 9], port)), Ok(0));
    assert_eq!(machine.at_address(n::BIND, other, &local(0)), Err(Errno::INVAL), "bound once");
    machine.close(server);
    let again = machine.socket(INET, STREAM);
    assert_eq!(machine.at_address(n::BIND, again, &local(port)), Ok(0));
    // SO_REUSEADDR on both, until one of them listens.
    let pair = [machine.socket(INET, STREAM), machine.socket(INET, STREAM)];
    for fd in pair {
        assert_eq!(machine.set_option(fd, 1, 2, 1), Ok(0));
        assert_eq!(machine.at_address(n::BIND, fd, &local(7000)), Ok(0));
    }
    assert_eq!(machine.call(n::LISTEN, &[pair[0], 1]), Ok(0));
    assert_eq!(machine.call(n::LISTEN, &[pair[1], 1]), Err(Errno::ADDRINUSE));
    // SO_REUSEPORT on both: connections go to each in turn.
    let pair = [machine.socket(INET, STREAM), machine.socket(INET, STREAM)];
    for fd in pair {
        assert_eq!(machine.set_option(fd, 1, 15, 1), Ok(0));
        assert_eq!(machine.at_address(n::BIND, fd, &local(8000)), Ok(0));
        assert_eq!(machine.call(n::LISTEN, &[fd, 9]), Ok(0));
    }
    for _ in 0..4 {
        connect(&mut machine, 8000);
    }
    for fd in pair {
        assert_eq!(machine.poll(fd), IN);
    }
    // A port that the kernel chose is nobody else's.
    let mut ports: Vec<u16> = (0..200).map(|_| listener(&mut machine, 0).1).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 200);
}

#[test]
fn both_families_reach_what_listens_to_both() {
    let mut machine = Machine::new();
    let server = machine.socket(INET6, STREAM);
    assert_eq!(machine.at_address(n::BIND, server, &v6(0, 9000)), Ok(0));
    assert_eq!(machine.call(n::LISTEN, &[server, 9]), Ok(0));
    let mapped = |ip: u32| 0xffff_0000_0000 | u128::from(ip);
    let client = connect(&mut machine, 9000);
    let port = machine.port_of(client);
    let (accepted, from) = machine.address_of(n::ACCEPT, server).expect("a connection");
    assert_eq!(from, v6(mapped(0x7f00_0001), port));
    assert_eq!(machine.address_of(n::GETSOCKNAME, accepted), Ok((0, v6(mapped(0x7f00_0001), 9000))));
    for to in [v6(1, 9000), v6(0, 9000), v6(mapped(0x7f00_0005), 9000)] {
        let client = machine.socket(INET6, STREAM);
        assert_eq!(machine.at_address(n::CONNECT, client, &to), Ok(0), "{to:?}");
        machine.call(n::ACCEPT, &[server, 0, 0]).expect("a connection");
    }
    // With IPV6_V6ONLY an IPv4 socket can have the same port.
    let (six, four) = (machine.socket(INET6, STREAM), machine.socket(INET, STREAM));
    assert_eq!(machine.set_option(six, 41, 26, 1), Ok(0));
    assert_eq!(machine.at_address(n::BIND, six, &v6(0, 9001)), Ok(0));
    assert_eq!(machine.at_address(n::BIND, four, &v4([0; 4], 9001)), Ok(0));
    let four = machine.socket(INET, STREAM);
    assert_eq!(machine.at_address(n::BIND, four, &v4([0; 4], 9000)), Err(Errno::ADDRINUSE));
    // Any address of the machine will do for one that is bound to all of them; the answer comes from that address.
    let (any, far) = (machine.socket(INET, STREAM), machine.socket(INET, STREAM));
    assert_eq!(machine.at_address(n::BIND, any, &v4([0; 4], 9002)), Ok(0));
    assert_eq!(machine.call(n::LISTEN, &[any, 9]), Ok(0));
    assert_eq!(machine.at_address(n::CONNECT, far, &v4([127, 1, 2, 3], 9002)), Ok(0));
    assert_eq!(machine.address_of(n::GETPEERNAME, far), Ok((0, v4([127, 1, 2, 3], 9002))));
    assert_eq!(machine.address_of(n::GETSOCKNAME, far).map(|name| name.1[4..8].to_vec()), Ok(vec![127, 0, 0, 1]));
}

#[test]
fn bad_pointers_take_no_connection() {
    let mut machine = Machine::new();
    let (server, port) = listener(&mut machine, 1);
    connect(&mut machine, port);
    machine.put(LENGTH, &16_u32.to_le_bytes());
    assert_eq!(machine.call(n::ACCEPT, &[server, NOWHERE, LENGTH]), Err(Errno::FAULT));
    assert_eq!(machine.call(n::ACCEPT, &[server, ADDRESS, NOWHERE]), Err(Errno::FAULT));
    machine.put(LENGTH, &u32::MAX.to_le_bytes());
    assert_eq!(machine.call(n::ACCEPT, &[server, ADDRESS, LENGTH]), Err(Errno::INVAL));
    // A short buffer gets what fits, and how much there would have been.
    machine.put(LENGTH, &4_u32.to_le_bytes());
    machine.put(ADDRESS, &[0xee; 16]);
    machine.call(n::ACCEPT, &[server, ADDRESS, LENGTH]).expect("a connection");
    assert_eq!((machine.half(LENGTH), machine.get(ADDRESS + 4, 1)), (16, vec![0xee]));
}

#[test]
fn sockets_are_bounded_and_all_of_them_come_back() {
    let mut machine = Machine::new();
    let (server, port) = listener(&mut machine, u64::from(u32::MAX));
    let clients: Vec<u64> =
        std::iter::from_fn(|| machine.call(n::SOCKET, &[INET, STREAM | O_NONBLOCK, 0]).ok()).collect();
    assert!(clients.len() > 1000);
    for fd in &clients {
        assert_eq!(machine.at_address(n::CONNECT, *fd, &local(port)), Err(Errno::INPROGRESS));
    }
    assert_eq!(machine.call(n::ACCEPT, &[server, 0, 0]), Err(Errno::MFILE), "no number free, no connection lost");
    for fd in clients {
        machine.close(fd);
    }
    machine.close(server);
    for _ in 0..5000 {
        connection(&mut machine);
        assert_eq!(machine.call(n::CLOSE_RANGE, &[3, u64::from(u32::MAX), 0]), Ok(0));
    }
}

#[test]
fn one_byte_can_go_out_of_band() {
    let mut machine = Machine::new();
    let (client, server) = connection(&mut machine);
    let (urgent, peek, inline) = (1, 2, 10);
    assert_eq!(machine.call(n::RECVFROM, &[server, BUFFER, 9, urgent, 0, 0]), Err(Errno::INVAL));
    machine.put(BUFFER, b"abc!");
    assert_eq!(machine.call(n::SENDTO, &[client, BUFFER, 4, urgent, 0, 0]), Ok(4));
    machine.put(ADDRESS, &[&(server as u32).to_le_bytes()[..], &[0x3, 0, 0, 0]].concat());
    assert_eq!(machine.call(n::POLL, &[ADDRESS, 1, 0]), Ok(1));
    assert_eq!(machine.half(ADDRESS + 4) >> 16, 0x3, "POLLPRI");
    for flags in [urgent | peek, urgent] {
        assert_eq!(machine.call(n::RECVFROM, &[server, BUFFER, 9, flags, 0, 0]), Ok(1));
        assert_eq!(machine.get(BUFFER, 1), b"!");
    }
    assert_eq!(machine.call(n::RECVFROM, &[server, BUFFER, 9, urgent, 0, 0]), Err(Errno::INVAL));
    assert_eq!(machine.read(server, 9).as_deref(), Ok(&b"abc"[..]));
    assert_eq!(machine.set_option(server, 1, inline, 1), Ok(0));
    machine.put(BUFFER, b"xyz");
    assert_eq!(machine.call(n::SENDTO, &[client, BUFFER, 3, urgent, 0, 0]), Ok(3));
    assert_eq!(machine.read(server, 9).as_deref(), Ok(&b"xyz"[..]));
}

#[test]
fn a_connection_that_was_reset_has_no_peer_but_what_it_sent() {
    let mut machine = Machine::new();
    let (client, server) = connection(&mut machine);
    assert_eq!(machine.write(server, b"last words"), Ok(10));
    machine.put(ADDRESS, &[1_u32, 0].map(u32::to_le_bytes).concat());
    assert_eq!(machine.call(n::SETSOCKOPT, &[server, 1, 13, ADDRESS, 8]), Ok(0));
    machine.close(server);
    assert_eq!(machine.address_of(n::GETPEERNAME, client), Err(Errno::NOTCONN));
    assert_eq!(machine.call(n::SHUTDOWN, &[client, 2]), Err(Errno::NOTCONN));
    assert_eq!(machine.read(client, 99).as_deref(), Ok(&b"last words"[..]));
    assert_eq!(machine.read(client, 99), Err(Errno::CONNRESET));
}
