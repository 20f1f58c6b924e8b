//! Files: `/tmp`, images, devices, `/proc`.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};

use crate::Probe;
use crate::system::{call, errno};

pub const PROBES: &[(&str, Probe)] = &[
    ("files-tmp", Probe::Each(tmp)),
    ("files-tmp-limit", Probe::Each(tmp_limit)),
    ("files-tmp-memory", Probe::Each(tmp_memory)),
    ("files-read-only", Probe::Each(read_only)),
    ("files-image", Probe::Each(image)),
    ("files-directory", Probe::Each(directory)),
    ("files-devices", Probe::Each(devices)),
    ("files-proc", Probe::Each(proc)),
    ("files-descriptors", Probe::Each(descriptors)),
    ("files-show", Probe::Each(show)),
    ("files-leave", Probe::Each(leave)),
];

fn tmp(_: &[u8]) -> Vec<u8> {
    fs::create_dir("/tmp/d").expect("mkdir");
    fs::write("/tmp/d/a", b"hello").expect("write");
    assert_eq!(fs::read("/tmp/d/a").expect("read"), b"hello");
    OpenOptions::new().append(true).open("/tmp/d/a").expect("append").write_all(b" world").expect("append");
    let mut file = OpenOptions::new().read(true).write(true).open("/tmp/d/a").expect("open");
    file.seek(SeekFrom::Start(6)).expect("seek");
    file.write_all(b"W").expect("write in the middle");
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).expect("seek");
    file.read_to_string(&mut text).expect("read");
    assert_eq!(text, "hello World");
    // A hole is zero, and truncating cuts.
    file.write_all_at(b"end", 100_000).expect("write beyond the end");
    let contents = fs::read("/tmp/d/a").expect("read");
    assert!(contents.len() == 100_003 && contents[11..100_000].iter().all(|&byte| byte == 0));
    file.set_len(5).expect("truncate");
    file.set_len(10).expect("extend");
    assert_eq!(fs::read("/tmp/d/a").expect("read"), b"hello\0\0\0\0\0");
    fs::rename("/tmp/d/a", "/tmp/b").expect("rename");
    assert_eq!(errno(fs::metadata("/tmp/d/a")), libc::ENOENT);
    fs::hard_link("/tmp/b", "/tmp/c").expect("link");
    assert_eq!(fs::metadata("/tmp/c").expect("stat").nlink(), 2);
    symlink("c", "/tmp/s").expect("symlink");
    assert_eq!(fs::read("/tmp/s").expect("read through a link").len(), 10);
    for name in ["b", "c", "s"] {
        fs::remove_file(format!("/tmp/{name}")).expect("unlink");
    }
    // What is open lives on without a name.
    assert_eq!(file.metadata().expect("fstat").len(), 10);
    assert_eq!(errno(fs::remove_dir("/tmp")), libc::EBUSY);
    fs::write("/tmp/d/x", b"").expect("write");
    assert_eq!(errno(fs::remove_dir("/tmp/d")), libc::ENOTEMPTY);
    fs::remove_dir_all("/tmp/d").expect("remove all");
    assert_eq!(fs::read_dir("/tmp").expect("list").count(), 0);
    b"ok".to_vec()
}

/// Returns how many bytes `/tmp` took.
fn tmp_limit(_: &[u8]) -> Vec<u8> {
    let fill = || {
        let mut file = File::create("/tmp/big").expect("create");
        let mut total = 0;
        loop {
            match file.write(&[7; 65_536]) {
                Ok(bytes) => total += bytes as u64,
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
                    break total;
                }
            }
        }
    };
    let first = fill();
    assert_eq!(fs::metadata("/tmp/big").expect("stat").len(), first);
    assert!(fs::read("/tmp/big").expect("read").iter().all(|&byte| byte == 7));
    fs::remove_file("/tmp/big").expect("unlink");
    assert_eq!(fill(), first, "room comes back");
    fs::remove_file("/tmp/big").expect("unlink");
    first.to_le_bytes().to_vec()
}

/// What files took goes back to the program with them, also if some stay.
fn tmp_memory(_: &[u8]) -> Vec<u8> {
    const MIB: usize = 1 << 20;
    let free_mib = || {
        let text = fs::read_to_string("/proc/meminfo").expect("meminfo");
        let line = text.lines().find(|line| line.starts_with("MemFree:")).expect("MemFree");
        line.split_whitespace().nth(1).expect("a number").parse::<usize>().expect("a number") / 1024
    };
    let content: Vec<u8> = (0..MIB).map(|at| (at % 251) as u8).collect();
    let before = free_mib();
    for round in 0..3 {
        for file in 0..14 {
            fs::write(format!("/tmp/{file}"), &content).expect("write");
        }
        assert!(free_mib() <= before - 13, "round {round}: files are memory");
        for file in (0..14).filter(|file| *file != 5) {
            fs::remove_file(format!("/tmp/{file}")).expect("remove");
        }
        assert_eq!(fs::read("/tmp/5").expect("read"), content);
        fs::remove_file("/tmp/5").expect("remove");
        assert!(free_mib() + 3 >= before, "round {round}: {} of {before} MiB are free again", free_mib());
        // And it can be used for something else, as zeros.
        let parts: Vec<Vec<u8>> = (0..before - 30).map(|_| vec![0; MIB]).collect();
        assert!(parts.iter().flatten().all(|byte| *byte == 0));
    }
    b"ok".to_vec()
}

fn read_only(_: &[u8]) -> Vec<u8> {
    let path = "/var/task/handler.py";
    let refused = [
        ("open for writing", errno(OpenOptions::new().write(true).open(path))),
        ("truncate", errno(OpenOptions::new().write(true).truncate(true).open(path))),
        ("create", errno(File::create("/var/task/new"))),
        ("create at the root", errno(File::create("/new"))),
        ("unlink", errno(fs::remove_file(path))),
        ("mkdir", errno(fs::create_dir("/var/task/newdir"))),
        ("rmdir", errno(fs::remove_dir("/var/task/many"))),
        ("symlink", errno(symlink("x", "/var/task/newlink"))),
    ];
    for (what, errno) in refused {
        assert!(errno == libc::EROFS || errno == libc::EACCES, "{what}: errno {errno}");
    }
    for (from, to) in [(path, "/tmp/moved"), (path, "/var/task/other")] {
        let errno = errno(fs::rename(from, to));
        assert!(errno == libc::EROFS || errno == libc::EXDEV, "rename to {to}: errno {errno}");
    }
    assert!(fs::read_to_string(path).expect("still there").starts_with("def handler"));
    b"ok".to_vec()
}

fn image(_: &[u8]) -> Vec<u8> {
    assert_eq!(fs::read("/var/task/empty").expect("read"), b"");
    let large = fs::read("/var/task/large").expect("read");
    assert!(large.len() == 300_000 && large.iter().enumerate().all(|(at, &byte)| byte == (at % 251) as u8));
    let mut part = [0; 100];
    File::open("/var/task/large").expect("open").read_exact_at(&mut part, 123_456).expect("pread");
    assert_eq!(part[..], large[123_456..123_556]);
    assert_eq!(fs::read_link("/var/task/link").expect("readlink").to_str(), Some("handler.py"));
    assert_eq!(fs::read("/var/task/link").expect("through a link"), fs::read("/var/task/handler.py").expect("read"));
    assert_eq!(fs::metadata("/var/task/package/up").expect("stat through ..").len(), 300_000);
    assert_eq!(fs::canonicalize("/var/task/package/deep/../up").expect("realpath").to_str(), Some("/var/task/large"));
    assert_eq!(errno(fs::metadata("/var/task/loop")), libc::ELOOP);
    assert_eq!(errno(fs::metadata("/var/task/dangling")), libc::ENOENT);
    assert_eq!(errno(fs::metadata("/var/task/handler.py/below")), libc::ENOTDIR);
    assert_eq!(errno(fs::metadata("/var/task/nothing")), libc::ENOENT);
    assert_eq!(errno(fs::metadata(format!("/{}", "x".repeat(300)))), libc::ENAMETOOLONG);
    let status = fs::metadata("/opt/probe").expect("stat");
    assert_eq!((status.mode(), status.mtime()), (0o100_755, 1_704_067_200));
    b"ok".to_vec()
}

fn directory(_: &[u8]) -> Vec<u8> {
    let mut names: Vec<String> = fs::read_dir("/var/task/many")
        .expect("list")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    assert_eq!(names, (0..100).map(|number| format!("{number:03}")).collect::<Vec<_>>());
    // With a buffer for a single entry, all come one by one, and none twice.
    let file = File::open("/var/task/many").expect("open");
    let mut buffer = [0_u8; 32];
    let mut entries = 0;
    loop {
        let got = call(libc::SYS_getdents64, &[file.as_raw_fd() as u64, buffer.as_mut_ptr() as u64, 32]);
        assert!(got >= 0, "getdents64: {got}");
        if got == 0 {
            break;
        }
        entries += 1;
    }
    assert_eq!(entries, 102, "100 files, . and ..");
    let tiny = call(libc::SYS_getdents64, &[file.as_raw_fd() as u64, buffer.as_mut_ptr() as u64, 32]);
    assert_eq!(tiny, 0, "the end stays the end");
    let roots: Vec<_> = fs::read_dir("/").expect("list").map(|entry| entry.expect("entry").file_name()).collect();
    for name in ["dev", "opt", "proc", "tmp", "var"] {
        assert!(roots.iter().any(|found| found == name), "{name} in {roots:?}");
    }
    b"ok".to_vec()
}

fn devices(_: &[u8]) -> Vec<u8> {
    let open = |path: &str| {
        OpenOptions::new().read(true).write(true).open(path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let mut buffer = [1; 64];
    assert_eq!(open("/dev/null").read(&mut buffer).expect("read"), 0);
    assert_eq!(open("/dev/null").write(&buffer).expect("write"), 64);
    assert_eq!(open("/dev/zero").read(&mut buffer).expect("read"), 64);
    assert_eq!(buffer, [0; 64]);
    let mut random = [[0; 64]; 2];
    for draw in &mut random {
        assert_eq!(open("/dev/urandom").read(draw).expect("read"), 64);
    }
    assert!(random[0] != random[1] && random[0] != [0; 64]);
    b"ok".to_vec()
}

fn proc(_: &[u8]) -> Vec<u8> {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(fs::read_link("/proc/self/exe").expect("exe").to_str(), Some("/opt/probe"));
    assert_eq!(text("/proc/self/cmdline"), "/opt/probe\0files-proc\0");
    assert!(text("/proc/self/environ").contains("PROBE=yes\0"));
    assert!(text("/proc/self/status").contains("Pid:\t1\n"));
    let maps = text("/proc/self/maps");
    assert!(maps.contains("[heap]") && maps.contains("[stack]"), "{maps}");
    let total: u64 = text("/proc/meminfo").split_whitespace().nth(1).expect("MemTotal").parse().expect("a number");
    assert_eq!(total, 128 << 10);
    assert_eq!(text("/proc/cpuinfo").matches("processor").count(), 1);
    let file = File::open("/var/task/large").expect("open");
    let link = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("fd");
    assert_eq!(link.to_str(), Some("/var/task/large"));
    assert_eq!(errno(File::create("/proc/self/maps")), libc::EACCES);
    b"ok".to_vec()
}

fn descriptors(_: &[u8]) -> Vec<u8> {
    let mut buffer = [0_u8; 8];
    assert_eq!(call(libc::SYS_read, &[999, buffer.as_mut_ptr() as u64, 8]), -i64::from(libc::EBADF));
    assert_eq!(call(libc::SYS_close, &[u64::MAX]), -i64::from(libc::EBADF));
    let mut files = Vec::new();
    let refused = loop {
        match File::open("/var/task/empty") {
            Ok(file) => files.push(file),
            Err(error) => break error.raw_os_error(),
        }
    };
    assert_eq!(refused, Some(libc::EMFILE));
    // Three for the standard ones, one for the event device.
    assert_eq!(files.len(), 1024 - 4);
    drop(files);
    let file = File::open("/var/task/large").expect("open");
    let mut copy = file.try_clone().expect("dup");
    copy.read_exact(&mut buffer).expect("read");
    assert_eq!((&file).stream_position().expect("the position is shared"), 8);
    b"ok".to_vec()
}

/// Returns the file that the payload names, or the error's number.
fn show(payload: &[u8]) -> Vec<u8> {
    let path = String::from_utf8_lossy(payload);
    fs::read(path.as_ref()).unwrap_or_else(|error| format!("errno {}", error.raw_os_error().unwrap_or(-1)).into_bytes())
}

/// Leaves the payload in a file; returns what was there before.
fn leave(payload: &[u8]) -> Vec<u8> {
    let before = fs::read("/tmp/left").unwrap_or_default();
    fs::write("/tmp/left", payload).expect("write");
    before
}
