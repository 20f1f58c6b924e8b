//! Messages: over loopback, and between sockets of `AF_UNIX`.

use mayfly_kernel::errno::Errno;
use mayfly_kernel::syscall::call::Reply;
use mayfly_kernel::syscall::number as n;

use crate::machine::{BUFFER, Machine, O_NONBLOCK, Pending};
use crate::sockets::{ADDRESS, DATAGRAM, INET, INET6, LENGTH, UNIX, local, pair, v4, v6};

const IN: u32 = 0x1;
const OUT: u32 = 0x4;
const ERROR: u32 = 0x8;

fn bound(machine: &mut Machine) -> (u64, u16) {
    let fd = machine.socket(INET, DATAGRAM);
    assert_eq!(machine.at_address(n::BIND, fd, &local(0)), Ok(0));
    (fd, machine.port_of(fd))
}

fn send_to(machine: &mut Machine, fd: u64, bytes: &[u8], to: &[u8]) -> Result<u64, Errno> {
    machine.put(BUFFER, bytes);
    machine.put(ADDRESS, to);
    machine.call(n::SENDTO, &[fd, BUFFER, bytes.len() as u64, 0, ADDRESS, to.len() as u64])
}

/// A message of up to `room` bytes, what the call returned, and whom it is from.
fn receive(machine: &mut Machine, fd: u64, room: u64, flags: u64) -> Result<(Vec<u8>, u64, Vec<u8>), Errno> {
    machine.put(LENGTH, &128_u32.to_le_bytes());
    let count = machine.call(n::RECVFROM, &[fd, BUFFER, room, flags, ADDRESS, LENGTH])?;
    let from = machine.get(ADDRESS, u64::from(machine.half(LENGTH)));
    Ok((machine.get(BUFFER, count.min(room)), count, from))
}

#[test]
fn messages_arrive_whole_and_with_their_sender() {
    let mut machine = Machine::new();
    let (server, port) = bound(&mut machine);
    let client = machine.socket(INET, DATAGRAM);
    assert_eq!((machine.poll(server), machine.poll(client)), (OUT, OUT));
    machine.blocked(n::RECVFROM, &[server, BUFFER, 10, 0, 0, 0], &mut Pending::default());
    for message in [&b"one"[..], b"", b"three"] {
        assert_eq!(send_to(&mut machine, client, message, &local(port)), Ok(message.len() as u64));
    }
    assert_eq!(machine.poll(server), IN | OUT);
    machine.put(BUFFER, &[0; 4]);
    assert_eq!(machine.call(n::IOCTL, &[server, 0x541b, BUFFER]), Ok(0));
    assert_eq!(machine.half(BUFFER), 3, "the first message alone");
    let from = local(machine.port_of(client));
    assert_eq!(receive(&mut machine, server, 10, 2), Ok((b"one".to_vec(), 3, from.clone())), "a look takes nothing");
    // What does not fit is gone; MSG_TRUNC tells how much there was.
    assert_eq!(receive(&mut machine, server, 2, 0x20), Ok((b"on".to_vec(), 3, from.clone())));
    assert_eq!(receive(&mut machine, server, 10, 0), Ok((vec![], 0, from.clone())));
    assert_eq!(receive(&mut machine, server, 10, 0), Ok((b"three".to_vec(), 5, from)));
    assert_eq!(receive(&mut machine, server, 10, 0x40), Err(Errno::AGAIN));
    // The whole message in several buffers is one message.
    let (list, data) = (BUFFER + 0x2000, BUFFER + 0x3000);
    machine.put(data, b"abcdef");
    machine.put(list, &[data, 2, data + 2, 4].map(u64::to_le_bytes).concat());
    assert_eq!(machine.at_address(n::CONNECT, client, &local(port)), Ok(0));
    assert_eq!(machine.call(n::WRITEV, &[client, list, 2]), Ok(6));
    assert_eq!(machine.call(n::READV, &[server, list, 2]), Ok(6));
    assert_eq!(machine.get(data, 6), b"abcdef");
}

#[test]
fn who_is_connected_hears_one_and_learns_that_nobody_is_there() {
    let mut machine = Machine::new();
    let (server, port) = bound(&mut machine);
    let (client, own) = bound(&mut machine);
    let (stranger, _) = bound(&mut machine);
    assert_eq!(machine.write(client, b"x"), Err(Errno::DESTADDRREQ));
    assert_eq!(machine.at_address(n::CONNECT, client, &local(port)), Ok(0));
    assert_eq!(machine.address_of(n::GETPEERNAME, client), Ok((0, local(port))));
    assert_eq!(send_to(&mut machine, stranger, b"from a stranger", &local(own)), Ok(15));
    assert_eq!(send_to(&mut machine, server, b"from the peer", &local(own)), Ok(13));
    assert_eq!(machine.read(client, 99).as_deref(), Ok(&b"from the peer"[..]));
    assert_eq!(machine.write(client, b"to the peer"), Ok(11));
    assert_eq!(machine.read(server, 99).as_deref(), Ok(&b"to the peer"[..]));
    machine.close(server);
    assert_eq!(machine.write(client, b"to nobody"), Ok(9));
    assert_eq!(machine.poll(client), OUT | ERROR);
    assert_eq!(machine.read(client, 99), Err(Errno::CONNREFUSED));
    machine.blocked(n::READ, &[client, BUFFER, 1], &mut Pending::default());
    // Who is not connected never learns it.
    assert_eq!(send_to(&mut machine, stranger, b"to nobody", &local(port)), Ok(9));
    assert_eq!(machine.poll(stranger), OUT);
    // AF_UNSPEC dissolves the connection.
    assert_eq!(machine.at_address(n::CONNECT, client, &[0; 16]), Ok(0));
    assert_eq!(machine.address_of(n::GETPEERNAME, client), Err(Errno::NOTCONN));
    assert_eq!(send_to(&mut machine, stranger, b"now", &local(own)), Ok(3));
    assert_eq!(machine.read(client, 99).as_deref(), Ok(&b"now"[..]));
    for (to, error) in [(local(0), Errno::INVAL), (v4([9, 9, 9, 9], 9), Errno::NETUNREACH)] {
        assert_eq!(send_to(&mut machine, client, b"x", &to), Err(error));
    }
}

#[test]
fn a_socket_for_both_families_answers_both() {
    let mut machine = Machine::new();
    let server = machine.socket(INET6, DATAGRAM);
    assert_eq!(machine.at_address(n::BIND, server, &v6(0, 5000)), Ok(0));
    let (client, port) = bound(&mut machine);
    assert_eq!(send_to(&mut machine, client, b"ping", &local(5000)), Ok(4));
    let mapped = v6(0xffff_7f00_0001, port);
    assert_eq!(receive(&mut machine, server, 10, 0), Ok((b"ping".to_vec(), 4, mapped.clone())));
    assert_eq!(send_to(&mut machine, server, b"pong", &mapped), Ok(4));
    assert_eq!(receive(&mut machine, client, 10, 0), Ok((b"pong".to_vec(), 4, local(5000))));
}

#[test]
fn nothing_longer_than_allowed_and_no_more_than_fits() {
    let mut machine = Machine::new();
    let (server, port) = bound(&mut machine);
    let client = machine.socket(INET, DATAGRAM);
    machine.put(ADDRESS, &local(port));
    let source = BUFFER + (1 << 20);
    assert_eq!(machine.call(n::SENDTO, &[client, source, 65_508, 0, ADDRESS, 16]), Err(Errno::MSGSIZE));
    assert_eq!(machine.call(n::SENDTO, &[client, source, u64::MAX, 0, ADDRESS, 16]), Err(Errno::MSGSIZE));
    for _ in 0..100 {
        assert_eq!(machine.call(n::SENDTO, &[client, source, 65_507, 0, ADDRESS, 16]), Ok(65_507));
    }
    let mut count = 0;
    while machine.call(n::RECVFROM, &[server, source, 1 << 17, 0x40, 0, 0]) == Ok(65_507) {
        count += 1;
    }
    assert!((3..=4).contains(&count), "{count} of a hundred were kept");
    for _ in 0..10_000 {
        assert_eq!(machine.call(n::SENDTO, &[client, source, 0, 0, ADDRESS, 16]), Ok(0));
    }
    let mut count = 0;
    while machine.call(n::RECVFROM, &[server, source, 1, 0x40, 0, 0]) == Ok(0) {
        count += 1;
    }
    assert!(count < 1000, "{count} empty ones were kept");
}

#[test]
fn pairs_for_datagrams_wait_when_they_are_full() {
    let mut machine = Machine::new();
    let (left, right) = pair(&mut machine, DATAGRAM);
    assert_eq!(machine.write(left, b"one"), Ok(3));
    assert_eq!(machine.write(left, b"two"), Ok(3));
    assert_eq!(machine.read(right, 2).as_deref(), Ok(&b"on"[..]));
    assert_eq!(machine.read(right, 9).as_deref(), Ok(&b"two"[..]));
    let (source, bytes) = (BUFFER + (1 << 20), 100_000);
    let mut pending = Pending::default();
    let mut sent = 0;
    while let Ok(Reply::Value(_)) = machine.attempt(n::WRITE, &[left, source, bytes], &mut pending) {
        sent += 1;
    }
    assert!((2..=3).contains(&sent), "{sent}");
    assert_eq!(machine.poll(left), 0);
    assert_eq!(machine.call(n::READ, &[right, source, 1 << 20]), Ok(bytes));
    assert_eq!(machine.attempt(n::WRITE, &[left, source, bytes], &mut pending), Ok(Reply::Value(bytes)));
    machine.close(right);
    assert_eq!(machine.write(left, b"x"), Err(Errno::CONNREFUSED));
    assert_eq!(machine.write(left, b"x"), Err(Errno::NOTCONN));
    // Its number is another socket's now, and no message of the old pair goes there.
    let other = machine.socket(UNIX, DATAGRAM);
    assert_eq!(machine.write(left, b"x"), Err(Errno::NOTCONN));
    assert_eq!(machine.poll(other), OUT);
    let (left, right) = pair(&mut machine, DATAGRAM | O_NONBLOCK);
    assert_eq!(machine.call(n::SHUTDOWN, &[right, 0]), Ok(0));
    assert_eq!(machine.write(left, b"x"), Err(Errno::PIPE));
    assert_eq!(machine.read(right, 1), Ok(vec![]));
}

#[test]
fn the_header_of_a_message_is_told_to_who_asks() {
    let mut machine = Machine::new();
    let (server, client) = (machine.socket(INET6, DATAGRAM), machine.socket(INET6, DATAGRAM));
    assert_eq!(machine.at_address(n::BIND, server, &v6(1, 6000)), Ok(0));
    assert_eq!(machine.at_address(n::CONNECT, client, &v6(1, 6000)), Ok(0));
    for option in [51, 66] {
        assert_eq!(machine.set_option(server, 41, option, 1), Ok(0));
    }
    assert_eq!(machine.set_option(client, 41, 67, 7), Ok(0), "IPV6_TCLASS");
    let (header, control) = (BUFFER + 0x1000, BUFFER + 0x2000);
    // A hop limit of 2 for this message alone.
    let item = |kind: u32, value: u32| {
        [&20_u64.to_le_bytes()[..], &41_u32.to_le_bytes(), &kind.to_le_bytes(), &value.to_le_bytes(), &[0; 4]].concat()
    };
    machine.put(control, &item(52, 2));
    machine.put(header, &[0, 0, BUFFER, 0, control, 24, 0].map(u64::to_le_bytes).concat());
    assert_eq!(machine.call(n::SENDMSG, &[client, header, 0]), Ok(0));
    assert_eq!(machine.write(client, b""), Ok(0));
    for (room, hop_limit, items, flags) in [(100, 2, [item(52, 2), item(67, 7)].concat(), 0), (18, 64, Vec::new(), 8)] {
        machine.put(control, &[0; 64]);
        machine.put(header, &[0, 0, BUFFER, 0, control, room, 0].map(u64::to_le_bytes).concat());
        assert_eq!(machine.call(n::RECVMSG, &[server, header, 0]), Ok(0));
        assert_eq!(machine.half(header + 48), flags);
        if flags == 0 {
            assert_eq!((machine.word(header + 40), machine.get(control, 48)), (48, items));
        } else {
            // Cut after two bytes of the number.
            assert_eq!((machine.word(header + 40), machine.word(control)), (18, 18));
            assert_eq!(machine.half(control + 16), hop_limit);
        }
    }
    machine.put(control, &item(52, 256));
    machine.put(header, &[0, 0, BUFFER, 0, control, 24, 0].map(u64::to_le_bytes).concat());
    assert_eq!(machine.call(n::SENDMSG, &[client, header, 0]), Err(Errno::INVAL));
}
