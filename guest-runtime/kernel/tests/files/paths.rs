//! Path resolution, and paths that are attacks on it.

use mayfly_kernel::errno::Errno;
use mayfly_kernel::syscall::number as n;

use crate::machine::{
    BASE, BUFFER, BYTES, CWD, Machine, NOWHERE, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_TMPFILE, O_WRONLY,
};

/// `/tmp/d/f`, and links to it.
fn linked() -> Machine {
    let mut machine = Machine::new();
    assert_eq!(machine.on(n::MKDIR, "/tmp/d", &[0o755]), Ok(0));
    machine.create("/tmp/d/f", b"content");
    for (target, path) in [
        ("f", "/tmp/d/near"),
        ("/tmp/d/f", "/tmp/far"),
        ("d", "/tmp/directory"),
        ("nowhere", "/tmp/dangling"),
        ("loop", "/tmp/loop"),
        ("pong", "/tmp/ping"),
        ("ping", "/tmp/pong"),
        ("/", "/tmp/root"),
        ("d/", "/tmp/slash"),
    ] {
        assert_eq!(machine.on_two(n::SYMLINK, target, path), Ok(0), "{path}");
    }
    machine
}

#[test]
fn paths_lead_where_they_do_on_linux() {
    let mut machine = linked();
    for (path, expected) in [
        ("/tmp/d/f", Ok(())),
        ("/tmp/d/near", Ok(())),
        ("/tmp/far", Ok(())),
        ("/tmp/directory/f", Ok(())),
        ("/tmp/directory/../d/./f", Ok(())),
        ("/../../tmp//d///f", Ok(())),
        ("/tmp/root/tmp/root/tmp/far", Ok(())),
        ("/tmp/slash/f", Ok(())),
        ("/tmp/d/f/", Err(Errno::NOTDIR)),
        ("/tmp/far/", Err(Errno::NOTDIR)),
        ("/tmp/d/f/.", Err(Errno::NOTDIR)),
        ("/tmp/d/f/..", Err(Errno::NOTDIR)),
        ("/tmp/d/f/x", Err(Errno::NOTDIR)),
        ("/tmp/dangling", Err(Errno::NOENT)),
        ("/tmp/dangling/x", Err(Errno::NOENT)),
        ("/tmp/loop", Err(Errno::LOOP)),
        ("/tmp/ping", Err(Errno::LOOP)),
        ("/tmp/ping/x", Err(Errno::LOOP)),
        ("/none/../tmp/d/f", Err(Errno::NOENT)),
        ("", Err(Errno::NOENT)),
        ("tmp/d/f", Ok(())),
    ] {
        assert_eq!(machine.open(path, 0).map(drop), expected, "{path:?}");
    }
}

#[test]
fn long_names_and_paths_are_refused_and_not_cut() {
    let mut machine = Machine::new();
    let longest = "n".repeat(255);
    machine.create(&format!("/tmp/{longest}"), b"x");
    assert_eq!(machine.content(&format!("/tmp/{longest}")).as_deref(), Ok(&b"x"[..]));
    assert_eq!(machine.open(&format!("/tmp/{longest}n"), O_CREAT | O_WRONLY), Err(Errno::NAMETOOLONG));
    assert_eq!(machine.open(&"/".repeat(4095), 0).map(drop), Ok(()));
    assert_eq!(machine.open(&"/".repeat(4096), 0), Err(Errno::NAMETOOLONG));
    assert_eq!(machine.on(n::STAT, &"../".repeat(1365), &[BUFFER]), Ok(0));
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let mut machine = Machine::new();
    machine.create("/tmp/0", b"end");
    for index in 1..=41 {
        let (target, path) = (format!("{}", index - 1), format!("/tmp/{index}"));
        assert_eq!(machine.on_two(n::SYMLINK, &target, &path), Ok(0));
    }
    assert_eq!(machine.content("/tmp/40").as_deref(), Ok(&b"end"[..]));
    assert_eq!(machine.content("/tmp/41"), Err(Errno::LOOP));
    // Links that unfold into long paths through each other: 2^40 steps if nobody counted.
    assert_eq!(machine.on(n::MKDIR, "/tmp/d", &[0o755]), Ok(0));
    assert_eq!(machine.on_two(n::SYMLINK, ".", "/tmp/d/l0"), Ok(0));
    for index in 1..=40 {
        let previous = format!("l{}", index - 1);
        let target = [previous.as_str(); 100].join("/");
        assert_eq!(machine.on_two(n::SYMLINK, &target, &format!("/tmp/d/l{index}")), Ok(0));
    }
    assert_eq!(machine.on(n::STAT, "/tmp/d/l40", &[BUFFER]), Err(Errno::LOOP));
}

#[test]
fn flags_say_what_the_last_name_may_be() {
    let mut machine = linked();
    for (path, flags, expected) in [
        ("/tmp/far", O_NOFOLLOW, Err(Errno::LOOP)),
        ("/tmp/directory/f", O_NOFOLLOW, Ok(())),
        ("/tmp/directory", O_NOFOLLOW | O_DIRECTORY, Err(Errno::NOTDIR)),
        ("/tmp/d/f", O_DIRECTORY, Err(Errno::NOTDIR)),
        ("/tmp/directory", O_DIRECTORY, Ok(())),
        ("/tmp/far", O_NOFOLLOW | O_PATH, Ok(())),
        ("/tmp/dangling", O_CREAT | O_EXCL | O_WRONLY, Err(Errno::EXIST)),
        ("/tmp/d/f", O_CREAT | O_EXCL | O_WRONLY, Err(Errno::EXIST)),
        ("/tmp/new/", O_CREAT | O_WRONLY, Err(Errno::ISDIR)),
        ("/tmp/d", O_CREAT, Err(Errno::ISDIR)),
        ("/tmp/d", O_WRONLY, Err(Errno::ISDIR)),
        ("/tmp", O_TMPFILE, Err(Errno::INVAL)),
        ("/tmp/d/f", O_TMPFILE | O_WRONLY, Err(Errno::NOTDIR)),
        ("/opt", O_TMPFILE | O_WRONLY, Err(Errno::ROFS)),
        ("/tmp/d/f", 3, Err(Errno::INVAL)),
        ("/tmp/dangling", O_CREAT | O_WRONLY, Ok(())),
    ] {
        assert_eq!(machine.open(path, flags).map(drop), expected, "{path} {flags:o}");
    }
    // The dangling link's target was made, not a file in the link's place.
    assert!(machine.status("/tmp/nowhere").is_ok());
    assert_eq!(machine.status("/tmp/dangling").map(|status| status.0 & 0o170_000), Ok(0o120_000));
}

#[test]
fn paths_start_from_directories_and_nothing_else() {
    let mut machine = linked();
    let directory = machine.open("/tmp/d", O_PATH | O_DIRECTORY).expect("a directory");
    let file = machine.open("/tmp/d/f", 0).expect("a file");
    let (near, absolute, empty) = (machine.text("f"), machine.text("/tmp/d/f"), machine.text(""));
    for (start, path, flags, expected) in [
        (directory, near, 0, Ok(0)),
        (CWD, absolute, 0, Ok(0)),
        (999, absolute, 0, Ok(0)),
        (999, near, 0, Err(Errno::BADF)),
        (file, near, 0, Err(Errno::NOTDIR)),
        (1, near, 0, Err(Errno::NOTDIR)),
        (file, empty, 0x1000, Ok(0)),
        (file, 0, 0x1000, Ok(0)),
        (1, empty, 0x1000, Ok(0)),
        (file, empty, 0, Err(Errno::NOENT)),
        (directory, near, 0x1_0000, Err(Errno::INVAL)),
        (directory, NOWHERE, 0, Err(Errno::FAULT)),
    ] {
        assert_eq!(machine.call(n::NEWFSTATAT, &[start, path, BUFFER, flags]), expected, "{start} {flags:x}");
    }
    assert_eq!(machine.call(n::NEWFSTATAT, &[directory, near, NOWHERE, 0]), Err(Errno::FAULT));
    // What was opened only as a place cannot be read.
    assert_eq!(machine.read(directory, 8), Err(Errno::BADF));
}

#[test]
fn paths_at_the_edge_of_memory_fault() {
    let mut machine = Machine::new();
    machine.put(BASE + BYTES - 4, b"/tmp");
    for address in [0, NOWHERE, BASE + BYTES - 4, BASE + BYTES, u64::MAX] {
        assert_eq!(machine.call(n::OPEN, &[address, 0, 0]), Err(Errno::FAULT), "{address:x}");
    }
    machine.put(BASE + BYTES - 4, b"/d\0");
    assert_eq!(machine.call(n::OPEN, &[BASE + BYTES - 4, 0, 0]), Err(Errno::NOENT));
}

#[test]
fn the_working_directory_follows_its_directory() {
    let mut machine = linked();
    assert_eq!(machine.on(n::CHDIR, "/tmp/directory", &[]), Ok(0));
    assert_eq!(machine.content("f").as_deref(), Ok(&b"content"[..]));
    assert_eq!(machine.on_two(n::RENAME, "/tmp/d", "/tmp/moved"), Ok(0));
    assert_eq!(machine.call(n::GETCWD, &[BUFFER, 4096]), Ok(11));
    assert_eq!(machine.get(BUFFER, 11), b"/tmp/moved\0");
    assert_eq!(machine.call(n::GETCWD, &[BUFFER, 10]), Err(Errno::RANGE));
    assert_eq!(machine.call(n::GETCWD, &[NOWHERE, 4096]), Err(Errno::FAULT));
    assert_eq!(machine.on(n::CHDIR, "f", &[]), Err(Errno::NOTDIR));
    for path in ["f", "near"] {
        assert_eq!(machine.on(n::UNLINK, path, &[]), Ok(0));
    }
    assert_eq!(machine.on(n::RMDIR, "/tmp/moved", &[]), Ok(0));
    // Gone, but still where we are: nothing can be found from here, and nothing made.
    assert_eq!(machine.call(n::GETCWD, &[BUFFER, 4096]), Err(Errno::NOENT));
    assert_eq!(machine.open("new", O_CREAT | O_WRONLY), Err(Errno::NOENT));
    assert_eq!(machine.on(n::MKDIR, "new", &[0o755]), Err(Errno::NOENT));
    assert_eq!(machine.open("..", 0), Err(Errno::NOENT));
    assert_eq!(machine.on(n::STAT, ".", &[BUFFER]), Ok(0));
    assert_eq!(machine.on(n::CHDIR, "/", &[]), Ok(0));
}
