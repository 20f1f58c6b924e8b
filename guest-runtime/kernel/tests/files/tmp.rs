//! The writable tree: names, limits, and what stays when a name goes.

use mayfly_kernel::errno::Errno;
use mayfly_kernel::syscall::number as n;

use crate::machine::{BUFFER, CWD, Machine, O_APPEND, O_CREAT, O_DIRECTORY, O_RDWR, O_TMPFILE, O_TRUNC, O_WRONLY};

#[test]
fn names_come_and_go() {
    let mut machine = Machine::new();
    for (number, path, rest, expected) in [
        (n::MKDIR, "/tmp/a", vec![0o777], Ok(0)),
        (n::MKDIR, "/tmp/a", vec![0o777], Err(Errno::EXIST)),
        (n::MKDIR, "/tmp/a/b/", vec![0o777], Ok(0)),
        (n::MKDIR, "/tmp/a/.", vec![0o777], Err(Errno::EXIST)),
        (n::MKDIR, "/tmp/none/b", vec![0o777], Err(Errno::NOENT)),
        (n::RMDIR, "/tmp/a", vec![], Err(Errno::NOTEMPTY)),
        (n::RMDIR, "/tmp/a/.", vec![], Err(Errno::INVAL)),
        (n::RMDIR, "/tmp/a/b/..", vec![], Err(Errno::NOTEMPTY)),
        (n::UNLINK, "/tmp/a", vec![], Err(Errno::ISDIR)),
        (n::UNLINK, "/tmp/none", vec![], Err(Errno::NOENT)),
        (n::RMDIR, "/tmp/a/b", vec![], Ok(0)),
        (n::RMDIR, "/tmp/a/", vec![], Ok(0)),
        (n::RMDIR, "/tmp/a", vec![], Err(Errno::NOENT)),
        (n::MKNOD, "/tmp/f", vec![0o100_600, 0], Ok(0)),
        (n::MKNOD, "/tmp/device", vec![0o020_600, 0], Err(Errno::PERM)),
        (n::RMDIR, "/tmp/f", vec![], Err(Errno::NOTDIR)),
        (n::UNLINK, "/tmp/f/", vec![], Err(Errno::NOTDIR)),
        (n::UNLINK, "/tmp/f", vec![], Ok(0)),
    ] {
        assert_eq!(machine.on(number, path, &rest), expected, "{number} {path}");
    }
    assert_eq!(machine.list("/tmp", 4096), Ok(vec![]));
}

#[test]
fn a_slash_after_a_link_does_not_hand_over_what_it_leads_to() {
    let mut machine = Machine::new();
    assert_eq!(machine.on(n::MKDIR, "/tmp/d", &[0o755]), Ok(0));
    machine.create("/tmp/f", b"");
    for (target, path) in [("d", "/tmp/to-directory"), ("f", "/tmp/to-file"), ("none", "/tmp/dangling")] {
        assert_eq!(machine.on_two(n::SYMLINK, target, path), Ok(0));
    }
    for (number, path, error) in [
        (n::RMDIR, "/tmp/to-directory", Errno::NOTDIR),
        (n::RMDIR, "/tmp/to-directory/", Errno::NOTDIR),
        (n::UNLINK, "/tmp/to-directory/", Errno::NOTDIR),
        (n::UNLINK, "/tmp/to-file/", Errno::NOTDIR),
        (n::RMDIR, "/tmp/dangling/", Errno::NOTDIR),
        (n::MKDIR, "/tmp/f/", Errno::EXIST),
        (n::MKDIR, "/tmp/dangling/", Errno::EXIST),
    ] {
        assert_eq!(machine.on(number, path, &[]), Err(error), "{path}");
    }
    assert_eq!(machine.on_two(n::RENAME, "/tmp/to-directory/", "/tmp/e"), Err(Errno::NOTDIR));
    assert!(machine.status("/tmp/d").is_ok() && machine.status("/tmp/f").is_ok());
}

#[test]
fn renames_replace_what_they_may() {
    let mut machine = Machine::new();
    for directory in ["/tmp/full", "/tmp/empty", "/tmp/moved"] {
        assert_eq!(machine.on(n::MKDIR, directory, &[0o755]), Ok(0));
    }
    for file in ["/tmp/full/x", "/tmp/f", "/tmp/g"] {
        machine.create(file, file.as_bytes());
    }
    for (old, new, expected) in [
        ("/tmp/none", "/tmp/x", Err(Errno::NOENT)),
        ("/tmp/f", "/tmp/empty", Err(Errno::ISDIR)),
        ("/tmp/moved", "/tmp/f", Err(Errno::NOTDIR)),
        ("/tmp/moved", "/tmp/full", Err(Errno::NOTEMPTY)),
        ("/tmp/f", "/tmp/f", Ok(0)),
        ("/tmp/f", "/tmp/new/", Err(Errno::NOTDIR)),
        ("/tmp/moved", "/tmp/new/", Ok(0)),
        ("/tmp/new", "/tmp/empty", Ok(0)),
        ("/tmp/f", "/tmp/g", Ok(0)),
        ("/tmp/g", "/tmp/full/y", Ok(0)),
        ("/tmp/.", "/tmp/z", Err(Errno::BUSY)),
        ("/tmp/full/..", "/tmp/z", Err(Errno::BUSY)),
        ("/tmp/full", "/dev/shm/full", Ok(0)),
    ] {
        assert_eq!(machine.on_two(n::RENAME, old, new), expected, "{old} {new}");
    }
    assert_eq!(machine.content("/dev/shm/full/y").as_deref(), Ok(&b"/tmp/f"[..]));
    assert_eq!(machine.list("/tmp", 4096), Ok(vec![("empty".into(), 4)]));
    machine.create("/tmp/new", b"");
    let (new, old) = (machine.text("/tmp/new"), machine.text("/tmp/other"));
    machine.create("/tmp/other", b"");
    assert_eq!(machine.call(n::RENAMEAT2, &[CWD, old, CWD, new, 1]), Err(Errno::EXIST));
    assert_eq!(machine.call(n::RENAMEAT2, &[CWD, old, CWD, new, 4]), Err(Errno::INVAL));
    assert_eq!(machine.call(n::RENAMEAT2, &[CWD, old, CWD, new, 3]), Err(Errno::INVAL));
    assert_eq!(machine.call(n::RENAMEAT2, &[CWD, old, CWD, new, 0]), Ok(0));
}

#[test]
fn two_names_can_be_exchanged() {
    let mut machine = Machine::new();
    for directory in ["/tmp/a", "/tmp/a/sub", "/tmp/b"] {
        assert_eq!(machine.on(n::MKDIR, directory, &[0o755]), Ok(0));
    }
    machine.create("/tmp/b/f", b"content");
    let exchange = |machine: &mut Machine, one: &str, two: &str| {
        let (one, two) = (machine.text(one), machine.text(two));
        machine.call(n::RENAMEAT2, &[CWD, one, CWD, two, 2])
    };
    assert_eq!(exchange(&mut machine, "/tmp/a/sub", "/tmp/b/f"), Ok(0));
    assert_eq!(machine.content("/tmp/a/sub").as_deref(), Ok(&b"content"[..]));
    assert_eq!(machine.list("/tmp/b", 4096), Ok(vec![("f".into(), 4)]));
    assert_eq!(machine.content("/tmp/b/f/../../a/sub").as_deref(), Ok(&b"content"[..]), "the way up has changed too");
    for (one, two, error) in [
        ("/tmp/a/sub", "/tmp/none", Errno::NOENT),
        ("/tmp/b", "/tmp/b/f", Errno::INVAL),
        ("/tmp/b/f", "/tmp/b", Errno::INVAL),
    ] {
        assert_eq!(exchange(&mut machine, one, two), Err(error), "{one} {two}");
    }
    let links = |machine: &mut Machine, path| machine.status(path).map(|status| status.2);
    assert_eq!((links(&mut machine, "/tmp/a"), links(&mut machine, "/tmp/b")), (Ok(2), Ok(3)));
    assert_eq!(links(&mut machine, "/tmp"), Ok(4));
    assert_eq!(machine.on(n::RMDIR, "/tmp/b/f", &[]), Ok(0));
    assert_eq!(links(&mut machine, "/tmp/b"), Ok(2));
}

#[test]
fn no_rename_makes_a_cycle() {
    let mut machine = Machine::new();
    for path in ["/tmp/a", "/tmp/a/b", "/tmp/a/b/c"] {
        assert_eq!(machine.on(n::MKDIR, path, &[0o755]), Ok(0));
    }
    assert_eq!(machine.on_two(n::SYMLINK, "/tmp/a/b/c", "/tmp/shortcut"), Ok(0));
    for new in ["/tmp/a/a", "/tmp/a/b/a", "/tmp/a/b/c/a", "/tmp/shortcut/a", "/tmp/a/b/../b/c/a", "/tmp/a/b/c"] {
        assert_eq!(machine.on_two(n::RENAME, "/tmp/a", new), Err(Errno::INVAL), "{new}");
    }
    assert_eq!(machine.on_two(n::RENAME, "/tmp/a/b/c", "/tmp/a/b"), Err(Errno::NOTEMPTY));
    // Directories one below another, deeper than any path: each is still reached, and none can be moved into itself.
    assert_eq!(machine.on(n::CHDIR, "/tmp/a/b/c", &[]), Ok(0));
    for _ in 0..3000 {
        assert_eq!(machine.on(n::MKDIR, "d", &[0o755]), Ok(0));
        assert_eq!(machine.on(n::CHDIR, "d", &[]), Ok(0));
    }
    assert_eq!(machine.on_two(n::RENAME, "/tmp/a", "x"), Err(Errno::INVAL));
    assert_eq!(machine.call(n::GETCWD, &[BUFFER, 1 << 16]), Err(Errno::NOENT));
    assert_eq!(machine.on(n::CHDIR, "..", &[]), Ok(0));
}

#[test]
fn an_open_file_outlives_its_name() {
    let mut machine = Machine::with_tmp(64 << 10);
    let fd = machine.open("/tmp/f", O_CREAT | O_RDWR).expect("a new file");
    assert_eq!(machine.write(fd, &[5; 32 << 10]), Ok(32 << 10));
    assert_eq!(machine.on(n::UNLINK, "/tmp/f", &[]), Ok(0));
    assert_eq!(machine.status("/tmp/f"), Err(Errno::NOENT));
    assert_eq!(machine.call(n::PREAD64, &[fd, BUFFER, 4, 1000]), Ok(4));
    assert_eq!(machine.get(BUFFER, 4), [5; 4]);
    assert_eq!(machine.call(n::FSTAT, &[fd, BUFFER]), Ok(0));
    assert_eq!(machine.word(BUFFER + 16), 0, "no links");
    // Its memory is free only once it is closed.
    let other = machine.open("/tmp/g", O_CREAT | O_RDWR).expect("a new file");
    assert!(machine.write(other, &[6; 48 << 10]).is_ok_and(|count| count < 48 << 10));
    machine.close(fd);
    assert_eq!(machine.call(n::PWRITE64, &[other, BUFFER, 48 << 10, 0]), Ok(48 << 10));
}

#[test]
fn the_limit_holds_for_everything() {
    let mut machine = Machine::with_tmp(100 << 10);
    let fd = machine.open("/tmp/f", O_CREAT | O_RDWR).expect("a new file");
    machine.put(BUFFER, &[1; 1 << 18]);
    let first = machine.call(n::WRITE, &[fd, BUFFER, 1 << 18]).expect("a short write");
    assert_eq!(first % 4096, 0);
    assert!((90 << 10..100 << 10).contains(&first));
    assert_eq!(machine.call(n::WRITE, &[fd, BUFFER, 1]), Err(Errno::NOSPC));
    // Pages that are there can still be written.
    assert_eq!(machine.call(n::PWRITE64, &[fd, BUFFER, first, 0]), Ok(first));
    let mut made = 0;
    while machine.on(n::MKDIR, &format!("/tmp/{made}"), &[0o755]).is_ok() {
        made += 1;
    }
    assert!((1..100).contains(&made), "{made}");
    assert_eq!(machine.on(n::MKDIR, "/tmp/one-more", &[0o755]), Err(Errno::NOSPC));
    assert_eq!(machine.on_two(n::SYMLINK, "target", "/tmp/link"), Err(Errno::NOSPC));
    assert_eq!(machine.open("/tmp/new", O_CREAT | O_WRONLY), Err(Errno::NOSPC));
    assert_eq!(machine.call(n::FALLOCATE, &[fd, 0, 0, i64::MAX as u64]), Err(Errno::FBIG));
    assert_eq!(machine.call(n::FALLOCATE, &[fd, 0, 0, 1 << 40]), Err(Errno::NOSPC));
    for index in 0..made {
        assert_eq!(machine.on(n::RMDIR, &format!("/tmp/{index}"), &[]), Ok(0));
    }
    machine.close(fd);
    assert_eq!(machine.on(n::UNLINK, "/tmp/f", &[]), Ok(0));
    // Nothing leaked: all of it can be used again.
    assert_eq!(machine.on(n::STATFS, "/tmp", &[BUFFER]), Ok(0));
    assert_eq!(machine.word(BUFFER + 24), 25);
}

#[test]
fn a_kernel_without_memory_says_that_the_disk_is_full() {
    let mut machine = Machine::with_tmp(4 << 20);
    let fd = machine.open("/tmp/f", O_CREAT | O_RDWR).expect("a new file");
    machine.world.heap_bytes = Some(600 << 10);
    machine.put(BUFFER, &vec![3; 1 << 20]);
    assert_eq!(machine.call(n::WRITE, &[fd, BUFFER, 1 << 20]), Ok(512 << 10));
    assert_eq!(machine.call(n::WRITE, &[fd, BUFFER, 1 << 20]), Err(Errno::NOSPC));
    machine.world.heap_bytes = None;
    assert_eq!(machine.call(n::WRITE, &[fd, BUFFER, 1 << 20]), Ok(1 << 20));
    assert_eq!(machine.content("/tmp/f"), Ok(vec![3; 1536 << 10]));
}

#[test]
fn holes_take_no_memory_and_read_as_zero() {
    let mut machine = Machine::with_tmp(64 << 10);
    let fd = machine.open("/tmp/sparse", O_CREAT | O_RDWR).expect("a new file");
    machine.put(BUFFER, b"end");
    assert_eq!(machine.call(n::PWRITE64, &[fd, BUFFER, 3, 1 << 40]), Ok(3));
    assert_eq!(machine.call(n::FTRUNCATE, &[fd, 1 << 42]), Ok(0));
    assert_eq!(machine.call(n::FSTAT, &[fd, BUFFER]), Ok(0));
    assert_eq!((machine.word(BUFFER + 48), machine.word(BUFFER + 64)), (1 << 42, 8));
    assert_eq!(machine.call(n::PREAD64, &[fd, BUFFER, 8, (1 << 40) - 2]), Ok(8));
    assert_eq!(machine.get(BUFFER, 8), b"\0\0end\0\0\0");
    for (offset, whence, expected) in [
        (0, 3, Ok(1 << 40)),
        (0, 4, Ok(0)),
        (1 << 40, 3, Ok(1 << 40)),
        (1 << 40, 4, Ok((1 << 40) + 4096)),
        ((1 << 40) + 5000, 3, Err(Errno::NXIO)),
        (1 << 42, 4, Err(Errno::NXIO)),
    ] {
        assert_eq!(machine.call(n::LSEEK, &[fd, offset, whence]), expected, "{offset} {whence}");
    }
    assert_eq!(machine.call(n::FTRUNCATE, &[fd, u64::MAX]), Err(Errno::INVAL));
    assert_eq!(machine.call(n::FTRUNCATE, &[fd, i64::MAX as u64]), Err(Errno::FBIG));
}

#[test]
fn shrinking_forgets_what_was_there() {
    let mut machine = Machine::new();
    let fd = machine.open("/tmp/f", O_CREAT | O_RDWR).expect("a new file");
    assert_eq!(machine.write(fd, &[9; 10_000]), Ok(10_000));
    assert_eq!(machine.call(n::FTRUNCATE, &[fd, 5_000]), Ok(0));
    assert_eq!(machine.call(n::FTRUNCATE, &[fd, 10_000]), Ok(0));
    let content = machine.content("/tmp/f").expect("a file");
    assert!(content[..5_000].iter().all(|byte| *byte == 9) && content[5_000..].iter().all(|byte| *byte == 0));
    // A hole in the middle; the edges of its first and last page are made zero by hand.
    assert_eq!(machine.call(n::PWRITE64, &[fd, BUFFER, 0, 0]), Ok(0));
    machine.put(BUFFER, &[7; 20_000]);
    assert_eq!(machine.call(n::PWRITE64, &[fd, BUFFER, 20_000, 0]), Ok(20_000));
    for (start, bytes) in [(100, 50), (4_000, 9_000), (16_384, 100_000)] {
        assert_eq!(machine.call(n::FALLOCATE, &[fd, 3, start, bytes]), Ok(0));
        let content = machine.content("/tmp/f").expect("a file");
        assert_eq!(content.len(), 20_000);
        for (at, byte) in content.iter().enumerate() {
            let at = at as u64;
            let punched = [(100, 50), (4_000, 9_000), (16_384, 100_000)]
                .iter()
                .take_while(|(other, _)| *other <= start)
                .any(|(start, bytes)| (*start..start + bytes).contains(&at));
            assert_eq!(*byte, if punched { 0 } else { 7 }, "{at} after {start}");
        }
    }
    let fd = machine.open("/tmp/f", O_TRUNC | O_WRONLY).expect("a file");
    assert_eq!(machine.content("/tmp/f"), Ok(vec![]));
    assert_eq!(machine.call(n::FALLOCATE, &[fd, 0, 0, 5]), Ok(0));
    assert_eq!(machine.content("/tmp/f"), Ok(vec![0; 5]));
}

#[test]
fn appending_goes_to_the_end_wherever_the_offset_is() {
    let mut machine = Machine::new();
    machine.create("/tmp/f", b"abc");
    let fd = machine.open("/tmp/f", O_APPEND | O_RDWR).expect("a file");
    assert_eq!(machine.write(fd, b"def"), Ok(3));
    assert_eq!(machine.call(n::LSEEK, &[fd, 1, 0]), Ok(1));
    assert_eq!(machine.write(fd, b"ghi"), Ok(3));
    assert_eq!(machine.call(n::LSEEK, &[fd, 0, 1]), Ok(9));
    assert_eq!(machine.call(n::LSEEK, &[fd, 2, 0]), Ok(2));
    assert_eq!(machine.write(fd, b""), Ok(0));
    assert_eq!(machine.call(n::LSEEK, &[fd, 0, 1]), Ok(2), "nothing written, nothing moved");
    assert_eq!(machine.content("/tmp/f").as_deref(), Ok(&b"abcdefghi"[..]));
}

#[test]
fn links_share_one_file() {
    let mut machine = Machine::new();
    machine.create("/tmp/a", b"one");
    assert_eq!(machine.on_two(n::LINK, "/tmp/a", "/tmp/b"), Ok(0));
    assert_eq!(machine.on_two(n::LINK, "/tmp/a", "/tmp/b"), Err(Errno::EXIST));
    assert_eq!(machine.on_two(n::LINK, "/tmp", "/tmp/c"), Err(Errno::PERM));
    assert_eq!(machine.on_two(n::RENAME, "/tmp/a", "/tmp/b"), Ok(0), "two names of one file: nothing happens");
    let (_, _, links, inode) = machine.status("/tmp/a").expect("a file");
    assert_eq!((links, inode), (2, machine.status("/tmp/b").expect("a file").3));
    assert_eq!(machine.on(n::UNLINK, "/tmp/a", &[]), Ok(0));
    assert_eq!(machine.content("/tmp/b").as_deref(), Ok(&b"one"[..]));
    // A file without a name gets one.
    let fd = machine.open("/tmp", O_TMPFILE | O_RDWR).expect("a directory");
    assert_eq!(machine.write(fd, b"late"), Ok(4));
    let (empty, name) = (machine.text(""), machine.text("/tmp/named"));
    assert_eq!(machine.call(n::LINKAT, &[fd, empty, CWD, name, 0x1000]), Ok(0));
    assert_eq!(machine.content("/tmp/named").as_deref(), Ok(&b"late"[..]));
    let (path, name) = (machine.text(format!("/proc/self/fd/{fd}")), machine.text("/tmp/again"));
    assert_eq!(machine.call(n::LINKAT, &[CWD, path, CWD, name, 0x400]), Ok(0));
    assert_eq!(machine.content("/tmp/again").as_deref(), Ok(&b"late"[..]));
}

#[test]
fn a_listing_survives_what_happens_meanwhile() {
    let mut machine = Machine::new();
    for index in 0..100 {
        machine.create(&format!("/tmp/{index}"), b"");
    }
    let fd = machine.open("/tmp", O_DIRECTORY).expect("a directory");
    let mut seen = Vec::new();
    loop {
        let count = machine.call(n::GETDENTS64, &[fd, BUFFER, 120]).expect("entries");
        if count == 0 {
            break;
        }
        let bytes = machine.get(BUFFER, count);
        let mut at = 0;
        while at < bytes.len() {
            let length = usize::from(u16::from_le_bytes([bytes[at + 16], bytes[at + 17]]));
            let name: Vec<u8> = bytes[at + 19..at + length].iter().copied().take_while(|byte| *byte != 0).collect();
            let name = String::from_utf8(name).expect("text");
            if !name.starts_with('.') {
                // As rmtree does: remove what was just listed.
                assert_eq!(machine.on(n::UNLINK, &format!("/tmp/{name}"), &[]), Ok(0));
                seen.push(name);
            }
            at += length;
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 100);
    assert_eq!(machine.list("/tmp", 4096), Ok(vec![]));
}
