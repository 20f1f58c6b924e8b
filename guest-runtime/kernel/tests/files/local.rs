//! Sockets of `AF_UNIX`: paths, abstract names, and descriptors in messages.

use mayfly_kernel::errno::Errno;
use mayfly_kernel::syscall::call::Reply;
use mayfly_kernel::syscall::number as n;

use crate::machine::{BUFFER, Machine, O_CLOEXEC, O_CREAT, O_NONBLOCK, O_RDWR, Pending};
use crate::sockets::{ADDRESS, DATAGRAM, STREAM, UNIX, pair};

fn named(name: &[u8]) -> Vec<u8> {
    [&[1, 0][..], name].concat()
}

fn listener(machine: &mut Machine, name: &[u8]) -> u64 {
    let fd = machine.socket(UNIX, STREAM);
    assert_eq!(machine.at_address(n::BIND, fd, &named(name)), Ok(0));
    assert_eq!(machine.call(n::LISTEN, &[fd, 5]), Ok(0));
    fd
}

#[test]
fn a_path_leads_to_its_socket() {
    let mut machine = Machine::new();
    let server = listener(&mut machine, b"/tmp/s");
    assert_eq!(machine.status("/tmp/s").map(|status| status.0), Ok(0o140_755));
    assert_eq!(machine.open("/tmp/s", 0), Err(Errno::NXIO));
    assert_eq!(machine.list("/tmp", 4096), Ok(vec![("s".into(), 12)]));
    let client = machine.socket(UNIX, STREAM);
    // Relative to the working directory, and cut at the zero.
    assert_eq!(machine.on(n::CHDIR, "/tmp", &[]), Ok(0));
    assert_eq!(machine.at_address(n::CONNECT, client, &named(b"s\0rest")), Ok(0));
    let (accepted, from) = machine.address_of(n::ACCEPT, server).expect("a connection");
    assert_eq!(from, named(b""), "who connects has no name");
    assert_eq!(machine.address_of(n::GETPEERNAME, client), Ok((0, named(b"/tmp/s\0"))));
    assert_eq!(machine.address_of(n::GETSOCKNAME, accepted), Ok((0, named(b"/tmp/s\0"))));
    assert_eq!(machine.write(client, b"hello"), Ok(5));
    assert_eq!(machine.read(accepted, 9).as_deref(), Ok(&b"hello"[..]));
    let other = machine.socket(UNIX, STREAM);
    machine.create("/tmp/file", b"");
    for (name, error) in [
        (&b"/tmp/s"[..], Errno::ADDRINUSE),
        (b"/tmp/file", Errno::ADDRINUSE),
        (b"/tmp/none/s", Errno::NOENT),
        (b"/dev/s", Errno::ROFS),
    ] {
        assert_eq!(machine.at_address(n::BIND, other, &named(name)), Err(error));
    }
    for (name, error) in [(&b"/tmp/none"[..], Errno::NOENT), (b"/tmp/file", Errno::CONNREFUSED), (b"", Errno::INVAL)] {
        assert_eq!(machine.at_address(n::CONNECT, other, &named(name)), Err(error));
    }
    assert_eq!(machine.at_address(n::CONNECT, other, &named(&[b'x'; 109])), Err(Errno::INVAL));
    // The file outlives the socket, and leads nowhere then; removed, its name is free.
    machine.close(server);
    assert_eq!(machine.at_address(n::CONNECT, other, &named(b"/tmp/s")), Err(Errno::CONNREFUSED));
    assert_eq!(machine.on(n::UNLINK, "/tmp/s", &[]), Ok(0));
    listener(&mut machine, b"/tmp/s");
    // Renamed, it still leads there.
    assert_eq!(machine.on_two(n::RENAME, "/tmp/s", "/tmp/t"), Ok(0));
    assert_eq!(machine.at_address(n::CONNECT, other, &named(b"/tmp/t")), Ok(0));
}

#[test]
fn abstract_names_are_their_sockets_alone() {
    let mut machine = Machine::new();
    let server = listener(&mut machine, b"\0name\0more");
    let (one, two) = (machine.socket(UNIX, STREAM), machine.socket(UNIX, STREAM));
    assert_eq!(machine.at_address(n::BIND, one, &named(b"\0name\0more")), Err(Errno::ADDRINUSE));
    assert_eq!(machine.at_address(n::CONNECT, one, &named(b"\0name")), Err(Errno::CONNREFUSED));
    assert_eq!(machine.at_address(n::CONNECT, one, &named(b"\0name\0more")), Ok(0));
    assert_eq!(machine.address_of(n::GETPEERNAME, one), Ok((0, named(b"\0name\0more"))));
    machine.close(server);
    assert_eq!(machine.at_address(n::BIND, two, &named(b"\0name\0more")), Ok(0));
    // No name at all: the kernel finds one.
    let own = machine.socket(UNIX, STREAM);
    assert_eq!(machine.at_address(n::BIND, own, &named(b"")), Ok(0));
    let (_, name) = machine.address_of(n::GETSOCKNAME, own).expect("a socket");
    assert_eq!((name.len(), name[2]), (8, 0));
    assert_eq!(machine.call(n::LISTEN, &[one, 1]), Err(Errno::INVAL), "connected");
    let unbound = machine.socket(UNIX, STREAM);
    assert_eq!(machine.call(n::LISTEN, &[unbound, 1]), Err(Errno::INVAL), "nobody could find it");
}

#[test]
fn a_full_backlog_is_said_or_waited_for() {
    let mut machine = Machine::new();
    let server = machine.socket(UNIX, STREAM);
    assert_eq!(machine.at_address(n::BIND, server, &named(b"\0s")), Ok(0));
    assert_eq!(machine.call(n::LISTEN, &[server, 0]), Ok(0));
    let sockets = [(); 3].map(|()| machine.socket(UNIX, STREAM));
    assert_eq!(machine.at_address(n::CONNECT, sockets[0], &named(b"\0s")), Ok(0));
    let hurried = machine.socket(UNIX, STREAM | O_NONBLOCK);
    assert_eq!(machine.at_address(n::CONNECT, hurried, &named(b"\0s")), Err(Errno::AGAIN));
    machine.put(ADDRESS, &named(b"\0s"));
    let mut pending = Pending::default();
    let call = [sockets[1], ADDRESS, 4];
    machine.blocked(n::CONNECT, &call, &mut pending);
    machine.call(n::ACCEPT, &[server, 0, 0]).expect("a connection");
    assert_eq!(machine.attempt(n::CONNECT, &call, &mut pending), Ok(Reply::Value(0)));
}

#[test]
fn datagrams_go_to_names() {
    let mut machine = Machine::new();
    let (server, client) = (machine.socket(UNIX, DATAGRAM), machine.socket(UNIX, DATAGRAM));
    assert_eq!(machine.at_address(n::BIND, server, &named(b"/tmp/d")), Ok(0));
    assert_eq!(machine.at_address(n::BIND, client, &named(b"\0c")), Ok(0));
    machine.put(ADDRESS, &named(b"/tmp/d"));
    assert_eq!(machine.call(n::SENDTO, &[client, BUFFER, 4, 0, ADDRESS, 8]), Ok(4));
    let length = ADDRESS + 0x100;
    machine.put(length, &100_u32.to_le_bytes());
    assert_eq!(machine.call(n::RECVFROM, &[server, BUFFER, 9, 0, ADDRESS, length]), Ok(4));
    assert_eq!(machine.get(ADDRESS, u64::from(machine.half(length))), named(b"\0c"));
    let stream = listener(&mut machine, b"\0stream");
    assert_eq!(machine.at_address(n::CONNECT, client, &named(b"\0stream")), Err(Errno(91)));
    assert_eq!(machine.at_address(n::CONNECT, client, &named(b"/tmp/d")), Ok(0));
    assert_eq!(machine.write(client, b"more"), Ok(4));
    assert_eq!(machine.read(server, 9).as_deref(), Ok(&b"more"[..]));
    let other = machine.socket(UNIX, STREAM);
    assert_eq!(machine.at_address(n::CONNECT, other, &named(b"/tmp/d")), Err(Errno::CONNREFUSED));
    machine.close(server);
    machine.close(stream);
    assert_eq!(machine.write(client, b"x"), Err(Errno::CONNREFUSED));
}

const HEADER: u64 = BUFFER + 0x1000;
const LIST: u64 = BUFFER + 0x1100;
const CONTROL: u64 = BUFFER + 0x1200;
const DATA: u64 = BUFFER + 0x4000;

/// Lays out a message of `bytes` bytes with `control` bytes of ancillary data.
fn message(machine: &mut Machine, bytes: u64, control: u64) -> u64 {
    machine.put(LIST, &[DATA, bytes].map(u64::to_le_bytes).concat());
    machine.put(HEADER, &[0, 0, LIST, 1, CONTROL, control, 0].map(u64::to_le_bytes).concat());
    HEADER
}

fn send(machine: &mut Machine, fd: u64, bytes: &[u8], fds: &[u64]) -> Result<u64, Errno> {
    machine.put(DATA, bytes);
    let length = 16 + 4 * fds.len() as u64;
    machine.put(CONTROL, &[&length.to_le_bytes()[..], &1_u32.to_le_bytes(), &1_u32.to_le_bytes()].concat());
    for (index, fd) in fds.iter().enumerate() {
        machine.put(CONTROL + 16 + 4 * index as u64, &(*fd as u32).to_le_bytes());
    }
    let header = message(machine, bytes.len() as u64, length);
    machine.call(n::SENDMSG, &[fd, header, 0])
}

/// The bytes, the descriptors and the flags of a message.
fn receive(machine: &mut Machine, fd: u64, room: u64, control: u64, flags: u64) -> (Vec<u8>, Vec<u64>, u32) {
    let header = message(machine, room, control);
    let count = machine.call(n::RECVMSG, &[fd, header, flags]).expect("a message");
    let mut fds = Vec::new();
    if machine.word(HEADER + 40) > 0 {
        assert_eq!((machine.half(CONTROL + 8), machine.half(CONTROL + 12)), (1, 1));
        fds = (16..machine.word(CONTROL)).step_by(4).map(|at| u64::from(machine.half(CONTROL + at))).collect();
    }
    (machine.get(DATA, count), fds, machine.half(HEADER + 48))
}

#[test]
fn descriptors_travel_with_the_bytes_they_were_sent_with() {
    let mut machine = Machine::new();
    let (left, right) = pair(&mut machine, STREAM);
    machine.create("/tmp/f", b"content");
    let file = machine.open("/tmp/f", O_RDWR).expect("a file");
    assert_eq!(machine.write(left, b"plain"), Ok(5));
    assert_eq!(send(&mut machine, left, b"with", &[file, file]), Ok(4));
    assert_eq!(machine.write(left, b"after"), Ok(5));
    machine.close(file);
    let (bytes, fds, flags) = receive(&mut machine, right, 3, 100, 0);
    assert_eq!((&bytes[..], fds.len(), flags), (&b"pla"[..], 0, 0));
    let (bytes, fds, flags) = receive(&mut machine, right, 100, 100, u64::from(1_u32 << 30));
    assert_eq!((&bytes[..], fds.len(), flags), (&b"inwith"[..], 2, 1 << 30), "not beyond what came with descriptors");
    assert_eq!(machine.call(n::FCNTL, &[fds[0], 1]), Ok(1), "closed on exec, as asked for");
    // They are one open file.
    assert_eq!(machine.read(fds[0], 3).as_deref(), Ok(&b"con"[..]));
    assert_eq!(machine.read(fds[1], 9).as_deref(), Ok(&b"tent"[..]));
    let (bytes, fds, _) = receive(&mut machine, right, 100, 100, 0);
    assert_eq!((&bytes[..], fds.len()), (&b"after"[..], 0));
    // Who does not ask for them does not get them.
    let file = machine.open("/tmp/f", O_RDWR).expect("a file");
    for (control, kept, cut) in [(0, 0, 8), (16, 0, 8), (20, 1, 8), (100, 2, 0)] {
        assert_eq!(send(&mut machine, left, b"x", &[file, file]), Ok(1));
        let (_, fds, flags) = receive(&mut machine, right, 9, control, 0);
        assert_eq!((fds.len(), flags), (kept, cut), "{control}");
        fds.into_iter().for_each(|fd| machine.close(fd));
    }
    assert_eq!(send(&mut machine, left, b"x", &[999]), Err(Errno::BADF));
    assert_eq!(send(&mut machine, left, b"x", &[file; 254]), Err(Errno::INVAL));
    let header = message(&mut machine, 1, 15);
    machine.put(CONTROL, &[0xff; 16]);
    assert_eq!(machine.call(n::SENDMSG, &[left, header, 0]), Ok(1), "less than one header is nothing");
    let header = message(&mut machine, 1, 16);
    assert_eq!(machine.call(n::SENDMSG, &[left, header, 0]), Err(Errno::INVAL));
}

#[test]
fn what_is_never_received_is_closed() {
    let mut machine = Machine::new();
    for kind in [STREAM, DATAGRAM] {
        let (left, right) = pair(&mut machine, kind);
        assert_eq!(machine.call(n::PIPE, &[BUFFER]), Ok(0));
        let (read, write) = (u64::from(machine.half(BUFFER)), u64::from(machine.half(BUFFER + 4)));
        assert_eq!(send(&mut machine, left, b"x", &[write]), Ok(1));
        machine.close(write);
        machine.blocked(n::READ, &[read, BUFFER, 1], &mut Pending::default());
        machine.close(left);
        machine.close(right);
        assert_eq!(machine.read(read, 1), Ok(vec![]), "the pipe has no writer any more");
    }
}

#[test]
fn sockets_in_sockets_in_sockets_end_in_order() {
    let mut machine = Machine::new();
    assert_eq!(machine.call(n::PIPE, &[BUFFER]), Ok(0));
    let (read, write) = (u64::from(machine.half(BUFFER)), u64::from(machine.half(BUFFER + 4)));
    // Each pair carries the pair before it.
    let (mut one, mut two) = pair(&mut machine, DATAGRAM);
    assert_eq!(send(&mut machine, one, b"x", &[write]), Ok(1));
    machine.close(write);
    for _ in 0..500 {
        let (outer, inner) = pair(&mut machine, DATAGRAM);
        assert_eq!(send(&mut machine, outer, b"x", &[one, two]), Ok(1));
        machine.close(one);
        machine.close(two);
        (one, two) = (outer, inner);
    }
    machine.close(one);
    machine.close(two);
    assert_eq!(machine.read(read, 1), Ok(vec![]), "all the way down");
    // No more than a bounded number is ever under way.
    let (left, _right) = pair(&mut machine, DATAGRAM | O_NONBLOCK);
    let file = machine.open("/tmp/f", O_CREAT | O_RDWR | O_CLOEXEC).expect("a file");
    let mut sent = 0;
    let error = loop {
        match send(&mut machine, left, b"x", &[file; 200]) {
            Ok(_) => sent += 200,
            Err(error) => break error,
        }
    };
    assert_eq!((sent, error), (1000, Errno::TOOMANYREFS));
}

#[test]
fn credentials_are_told_to_who_asks() {
    let mut machine = Machine::new();
    let (left, right) = pair(&mut machine, STREAM);
    assert_eq!(machine.set_option(right, 1, 16, 1), Ok(0));
    assert_eq!(machine.write(left, b"x"), Ok(1));
    let header = message(&mut machine, 9, 100);
    assert_eq!(machine.call(n::RECVMSG, &[right, header, 0]), Ok(1));
    assert_eq!((machine.word(HEADER + 40), machine.word(CONTROL)), (32, 28));
    assert_eq!((machine.half(CONTROL + 12), machine.half(CONTROL + 16), machine.half(CONTROL + 20)), (2, 1, 0));
}
