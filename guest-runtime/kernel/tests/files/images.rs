//! The read-only tree: images over each other, and what exists without them.

use mayfly_kernel::errno::Errno;
use mayfly_kernel::files::Mappable;
use mayfly_kernel::syscall::number as n;

use crate::builder::{Content, image};
use crate::machine::{BUFFER, CWD, Machine, O_CREAT, O_DIRECTORY, O_RDWR, O_TRUNC, O_WRONLY};

fn layered() -> Machine {
    let mut machine = Machine::new();
    let low = image(&[
        ("/opt/lib/a.py", Content::File(b"low a")),
        ("/opt/lib/b.py", Content::File(b"low b")),
        ("/opt/shadow/inner", Content::File(b"hidden")),
        ("/opt/python", Content::File(b"\x7fELF")),
        ("/opt/latest", Content::Link("lib/a.py")),
        ("/opt/absolute", Content::Link("/opt/lib")),
        ("/etc/hosts", Content::File(b"from an image")),
    ]);
    let middle = image(&[("/opt/shadow", Content::File(b"a file now"))]);
    let high = image(&[
        ("/opt/lib/a.py", Content::File(b"high a")),
        ("/opt/lib/c.py", Content::File(b"high c")),
        ("/opt/shadow/other", Content::File(b"visible")),
        ("/var/task/handler.py", Content::File(&[7; 5000])),
    ]);
    for (index, image) in [(0, low), (1, middle), (2, high)] {
        assert!(machine.files.set_image(index, Some(image)));
    }
    machine
}

#[test]
fn the_highest_image_counts_and_directories_are_merged() {
    let mut machine = layered();
    for (path, content) in [
        ("/opt/lib/a.py", "high a"),
        ("/opt/lib/b.py", "low b"),
        ("/opt/lib/c.py", "high c"),
        ("/opt/latest", "high a"),
        ("/opt/absolute/b.py", "low b"),
        ("/opt/shadow/other", "visible"),
        ("/etc/hosts", "from an image"),
        ("/etc/hostname", "mayfly\n"),
        ("//opt///lib/./../lib/b.py", "low b"),
    ] {
        assert_eq!(machine.content(path).as_deref(), Ok(content.as_bytes()), "{path}");
    }
    // The file of the middle image hides the directory below it.
    assert_eq!(machine.content("/opt/shadow/inner"), Err(Errno::NOENT));
}

#[test]
fn each_name_is_listed_once_whatever_the_buffer() {
    let mut machine = layered();
    for room in [32, 40, 100, 4096] {
        let mut names = machine.list("/opt/lib", room).expect("a directory");
        names.sort();
        assert_eq!(names, [("a.py".into(), 8), ("b.py".into(), 8), ("c.py".into(), 8)], "{room}");
        let mut names = machine.list("/opt", room).expect("a directory");
        names.sort();
        let expected = [("absolute", 10), ("latest", 10), ("lib", 4), ("python", 8), ("shadow", 4)];
        assert_eq!(names, expected.map(|(name, kind)| (name.into(), kind)), "{room}");
    }
    let root: Vec<_> = machine.list("/", 4096).expect("the root").into_iter().map(|(name, _)| name).collect();
    for name in ["dev", "proc", "tmp", "etc", "var", "opt", "sys"] {
        assert_eq!(root.iter().filter(|other| *other == name).count(), 1, "{name}");
    }
    assert_eq!(machine.list("/opt", 24), Err(Errno::INVAL));
}

#[test]
fn directories_exist_without_any_image() {
    let mut machine = Machine::new();
    for path in ["/", "/dev", "/tmp", "/proc", "/proc/self", "/etc", "/var/task", "/dev/shm", "/opt", "/sys/fs/cgroup"]
    {
        let (mode, ..) = machine.status(path).unwrap_or_else(|error| panic!("{path}: {error:?}"));
        assert_eq!(mode & 0o170_000, 0o040_000, "{path}");
    }
    assert_eq!(machine.list("/var/task", 4096), Ok(vec![]));
    assert_eq!(machine.content("/etc/passwd").map(|text| text.starts_with(b"root:")), Ok(true));
}

#[test]
fn nothing_in_an_image_can_be_changed() {
    let mut machine = layered();
    for (path, flags, error) in [
        ("/opt/lib/a.py", O_WRONLY, Errno::ROFS),
        ("/opt/lib/a.py", O_RDWR, Errno::ROFS),
        ("/opt/lib/a.py", O_TRUNC, Errno::ROFS),
        ("/opt/lib/new", O_CREAT | O_WRONLY, Errno::ROFS),
        ("/new", O_CREAT | O_WRONLY, Errno::ROFS),
        ("/opt/lib", O_WRONLY, Errno::ISDIR),
        ("/opt/lib/", O_CREAT | O_WRONLY, Errno::ISDIR),
        ("/proc/cpuinfo", O_WRONLY, Errno::ACCES),
        ("/etc/passwd", O_WRONLY, Errno::ROFS),
        ("/proc/new", O_CREAT | O_WRONLY, Errno::ROFS),
    ] {
        assert_eq!(machine.open(path, flags), Err(error), "{path}");
    }
    // An existing file may be "created" for reading.
    assert!(machine.open("/opt/lib/a.py", O_CREAT).is_ok());
    for (number, rest) in [(n::UNLINK, vec![]), (n::CHMOD, vec![0o600]), (n::CHOWN, vec![1, 1]), (n::TRUNCATE, vec![0])]
    {
        assert_eq!(machine.on(number, "/opt/lib/a.py", &rest), Err(Errno::ROFS), "{number}");
    }
    assert_eq!(machine.on(n::RMDIR, "/opt/lib", &[]), Err(Errno::ROFS));
    assert_eq!(machine.on(n::MKDIR, "/opt/new", &[0o755]), Err(Errno::ROFS));
    assert_eq!(machine.on(n::MKDIR, "/opt/lib", &[0o755]), Err(Errno::EXIST));
    assert_eq!(machine.on(n::RMDIR, "/tmp", &[]), Err(Errno::BUSY));
    assert_eq!(machine.on_two(n::RENAME, "/opt/lib", "/opt/bib"), Err(Errno::ROFS));
    assert_eq!(machine.on_two(n::RENAME, "/opt/lib/a.py", "/tmp/a.py"), Err(Errno::XDEV));
    assert_eq!(machine.on_two(n::RENAME, "/tmp", "/opt/tmp"), Err(Errno::BUSY));
    assert_eq!(machine.on_two(n::LINK, "/opt/lib/a.py", "/tmp/a.py"), Err(Errno::XDEV));
    assert_eq!(machine.on(n::ACCESS, "/opt/lib/a.py", &[2]), Err(Errno::ROFS));
    assert_eq!(machine.on(n::ACCESS, "/opt/lib/a.py", &[4]), Ok(0));
    assert_eq!(machine.on(n::ACCESS, "/opt/lib/a.py", &[1]), Err(Errno::ACCES));
    assert_eq!(machine.on(n::ACCESS, "/opt/lib", &[5]), Ok(0));
    assert_eq!(machine.on(n::ACCESS, "/opt/lib", &[8]), Err(Errno::INVAL));
}

#[test]
fn an_image_that_comes_later_shows_in_open_directories() {
    let mut machine = Machine::new();
    assert_eq!(machine.on(n::CHDIR, "/var/task", &[]), Ok(0));
    let directory = machine.open("/var/task", O_DIRECTORY).expect("a directory");
    let package = image(&[("/var/task/handler.py", Content::File(b"def handler"))]);
    assert!(machine.files.set_image(3, Some(package)));
    assert_eq!(machine.content("handler.py").as_deref(), Ok(&b"def handler"[..]));
    let path = machine.text("handler.py");
    assert_eq!(machine.call(n::FACCESSAT, &[directory, path, 4]), Ok(0));
    assert_eq!(machine.call(n::GETCWD, &[BUFFER, 4096]), Ok(10));
    assert_eq!(machine.get(BUFFER, 10), b"/var/task\0");
    assert!(!machine.files.set_image(8, None));
}

#[test]
fn bytes_are_handed_out_in_place() {
    let mut machine = layered();
    let data = machine.files.file_data(b"/var/task/handler.py").expect("a file");
    assert_eq!(data.piece(0), [7; 5000]);
    assert_eq!(machine.files.file_data(b"/opt/lib"), None);
    assert_eq!(machine.files.file_data(b"/tmp/none"), None);
    let fd = machine.open("/var/task/handler.py", 0).expect("a file");
    match machine.files.mappable(fd) {
        Ok(Mappable::InPlace(bytes)) => assert_eq!(bytes, data),
        other => panic!("{other:?}"),
    }
    machine.create("/tmp/x", b"0123456789");
    let fd = machine.open("/tmp/x", O_RDWR).expect("a file");
    assert_eq!(machine.files.mappable(fd), Ok(Mappable::Tmp { file: 2, is_writable: true }));
    let mut into = [9; 8];
    assert_eq!(machine.files.copy_file(fd, 6, &mut into), Ok(4));
    assert_eq!(&into, b"6789\x09\x09\x09\x09");
    assert_eq!(machine.files.copy_file(fd, u64::MAX, &mut into), Ok(0));
    assert_eq!(machine.files.mappable(1), Err(Errno::ACCES));
    assert_eq!(machine.files.mappable(99), Err(Errno::BADF));
}

#[test]
fn statuses_tell_files_apart() {
    let mut machine = layered();
    let (mode, bytes, ..) = machine.status("/var/task/handler.py").expect("a file");
    assert_eq!((mode, bytes), (0o100_644, 5000));
    assert_eq!(machine.word(BUFFER + 64), 10);
    assert_eq!(machine.word(BUFFER + 88), 1_600_000_000);
    let (mode, bytes, ..) = machine.status("/opt/latest").expect("a link");
    assert_eq!((mode & 0o170_000, bytes), (0o120_000, 8));
    let inodes: Vec<_> = ["/opt/lib/a.py", "/opt/lib/b.py", "/opt/lib/c.py", "/opt/lib", "/var/task/handler.py"]
        .iter()
        .map(|path| machine.status(path).expect("a file").3)
        .collect();
    for (index, inode) in inodes.iter().enumerate() {
        assert!(!inodes[..index].contains(inode));
    }
    let path = machine.text("/opt/lib/a.py");
    assert_eq!(machine.call(n::STATX, &[CWD, path, 0, 0x7ff, BUFFER]), Ok(0));
    assert_eq!((machine.half(BUFFER), machine.word(BUFFER + 40)), (0x7ff, 6));
    assert_eq!(machine.on(n::STATFS, "/opt", &[BUFFER]), Ok(0));
    assert_eq!(machine.word(BUFFER), 0x7371_7368);
    assert_eq!(machine.on(n::STATFS, "/tmp", &[BUFFER]), Ok(0));
    assert_eq!((machine.word(BUFFER), machine.word(BUFFER + 16)), (0x0102_1994, 256));
}
