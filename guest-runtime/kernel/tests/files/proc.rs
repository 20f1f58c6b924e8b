//! What programs read about themselves and their machine.

use mayfly_kernel::errno::Errno;
use mayfly_kernel::syscall::number as n;

use crate::builder::{Content, image};
use crate::machine::{BUFFER, Machine, O_CREAT, O_RDWR};

fn text(machine: &mut Machine, path: &str) -> String {
    let content = machine.content(path).unwrap_or_else(|error| panic!("{path}: {error:?}"));
    String::from_utf8(content).expect("text")
}

#[test]
fn every_file_of_proc_has_content() {
    let mut machine = Machine::new();
    machine.world.now_ns = 12_340_000_000;
    for (path, part) in [
        ("/proc/meminfo", "MemTotal:         131072 kB\n"),
        ("/proc/cpuinfo", "processor\t: 0\n"),
        ("/proc/version", "Linux version "),
        ("/proc/uptime", "12.34 "),
        ("/proc/loadavg", "0.00 "),
        ("/proc/stat", "cpu0 1234 "),
        ("/proc/mounts", "tmpfs /tmp tmpfs"),
        ("/proc/self/maps", "07800000-08000000 rw-p 00000000 00:00 0"),
        ("/proc/self/status", "VmHWM:\t   65536 kB\n"),
        ("/proc/self/stat", "1 (python) R "),
        ("/proc/self/cmdline", "python\0-S\0"),
        ("/proc/self/environ", "LANG=C\0"),
        ("/proc/self/cgroup", "0::/\n"),
        ("/proc/self/comm", "python\n"),
        ("/proc/1/comm", "python\n"),
        ("/proc/sys/kernel/osrelease", "5.15.0\n"),
        ("/proc/sys/kernel/pid_max", "32768\n"),
        ("/proc/sys/vm/overcommit_memory", "0\n"),
        ("/sys/devices/system/cpu/online", "0\n"),
        ("/sys/devices/system/cpu/possible", "0\n"),
        ("/proc/self/mountinfo", "24 20 0:21 / /dev/shm rw,nosuid - tmpfs tmpfs rw,nosuid\n"),
        ("/proc/self/status", "Threads:\t3\n"),
        ("/proc/self/task/1/comm", "python\n"),
        ("/proc/thread-self/comm", "python\n"),
        ("/proc/self/oom_score_adj", "0\n"),
        ("/proc/cpuinfo", " sse2 "),
        ("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0\n"),
        ("/etc/services", "http 80/tcp"),
    ] {
        let content = text(&mut machine, path);
        assert!(content.contains(part), "{path}: {content}");
    }
    let fields = text(&mut machine, "/proc/self/stat");
    assert_eq!(fields.split_whitespace().count(), 52);
    assert_eq!(
        text(&mut machine, "/proc/self/maps")
            .lines()
            .next()
            .and_then(|line| line.split_whitespace().last())
            .map(String::from),
        Some("/opt/python".into())
    );
    assert_eq!(machine.open("/proc/2", 0), Err(Errno::NOENT));
    assert_eq!(machine.open("/proc/01", 0), Err(Errno::NOENT));
}

#[test]
fn identifiers_are_stable_where_they_must_be() {
    let mut machine = Machine::new();
    let boot = text(&mut machine, "/proc/sys/kernel/random/boot_id");
    assert_eq!(boot.len(), 37);
    assert_eq!((&boot[8..9], &boot[14..15]), ("-", "4"));
    assert_eq!(text(&mut machine, "/proc/sys/kernel/random/boot_id"), boot);
    let one = text(&mut machine, "/proc/sys/kernel/random/uuid");
    assert_ne!(text(&mut machine, "/proc/sys/kernel/random/uuid"), one);
}

#[test]
fn links_of_proc_lead_to_what_they_name() {
    let mut machine = Machine::new();
    assert!(machine.files.set_image(0, Some(image(&[("/opt/python", Content::File(b"\x7fELF"))]))));
    assert_eq!(machine.on(n::CHDIR, "/tmp", &[]), Ok(0));
    let fd = machine.open("/tmp/f", O_CREAT | O_RDWR).expect("a new file");
    assert_eq!(machine.call(n::PIPE, &[BUFFER]), Ok(0));
    for (path, target) in [
        ("/proc/self/exe", "/opt/python"),
        ("/proc/self/cwd", "/tmp"),
        ("/proc/self/root", "/"),
        ("/proc/thread-self", "self/task/1"),
        ("/dev/fd", "/proc/self/fd"),
        ("/proc/self/fd/3", "/tmp/f"),
        ("/proc/self/fd/4", "pipe:[0]"),
        ("/proc/self/fd/1", "/dev/console"),
        ("/dev/stdout", "/proc/self/fd/1"),
    ] {
        let count = machine.on(n::READLINK, path, &[BUFFER, 100]).unwrap_or_else(|error| panic!("{path}: {error:?}"));
        assert_eq!(String::from_utf8_lossy(&machine.get(BUFFER, count)), target);
    }
    assert_eq!(machine.on(n::READLINK, "/proc/self/exe", &[BUFFER, 4]), Ok(4));
    assert_eq!(machine.on(n::READLINK, "/proc/self/exe", &[BUFFER, 0]), Err(Errno::INVAL));
    assert_eq!(machine.on(n::READLINK, "/proc/self/maps", &[BUFFER, 4]), Err(Errno::INVAL));
    assert_eq!(machine.on(n::READLINK, "/proc/self/fd/99", &[BUFFER, 4]), Err(Errno::NOENT));
    assert_eq!(machine.content("/proc/self/exe").as_deref(), Ok(&b"\x7fELF"[..]));
    assert_eq!(machine.content("/proc/self/cwd/../opt/python").as_deref(), Ok(&b"\x7fELF"[..]));
    // A removed file is still reached through its descriptor; a pipe is shared.
    assert_eq!(machine.write(fd, b"kept"), Ok(4));
    assert_eq!(machine.on(n::UNLINK, "/tmp/f", &[]), Ok(0));
    assert_eq!(machine.content("/dev/fd/3").as_deref(), Ok(&b"kept"[..]));
    assert_eq!(machine.on(n::STAT, "/proc/self/fd/3", &[BUFFER]), Ok(0));
    assert_eq!(machine.word(BUFFER + 48), 4);
    assert_eq!(machine.on(n::STAT, "/proc/self/fd/4", &[BUFFER]), Ok(0));
    assert_eq!(machine.half(BUFFER + 24) & 0o170_000, 0o010_000);
    let shared = machine.open("/proc/self/fd/5", O_RDWR).expect("a pipe's end");
    assert_eq!(machine.write(shared, b"x"), Ok(1));
    assert_eq!(machine.read(4, 1).as_deref(), Ok(&b"x"[..]));
    machine.close(shared);
    let names: Vec<_> =
        machine.list("/proc/self/fd", 4096).expect("a directory").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["0", "1", "2", "3", "4", "5", "6"]);
    for (path, error) in
        [("/proc/self/fd/4/x", Errno::NOTDIR), ("/proc/self/fd/03", Errno::NOENT), ("/proc/self/fd/-1", Errno::NOENT)]
    {
        assert_eq!(machine.open(path, 0), Err(error), "{path}");
    }
}

#[test]
fn a_descriptor_of_itself_ends() {
    let mut machine = Machine::new();
    // O_PATH | O_NOFOLLOW opens the link itself; number 3 is then a link to itself.
    let (path, nofollow) = (0o10_000_000, 0o400_000);
    let own = machine.open("/proc/self/fd/0", path | nofollow).expect("a link");
    assert_eq!(own, 3);
    let fd = machine.open("/proc/self/fd/3", path | nofollow).expect("a link");
    assert_eq!(fd, 4);
    assert_eq!(machine.call(n::DUP2, &[fd, 3]), Ok(3));
    // 3 and 4 are now both the entry "3".
    assert!(matches!(machine.open("/proc/self/fd/3", 0), Err(Errno::LOOP | Errno::BADF)));
    assert!(matches!(machine.on(n::STAT, "/proc/self/fd/4/x", &[BUFFER]), Err(Errno::LOOP | Errno::NOTDIR)));
    assert_eq!(machine.call(n::FSTAT, &[3, BUFFER]), Ok(0));
    machine.on(n::READLINK, "/proc/self/fd/3", &[BUFFER, 100]).expect("a link");
}

#[test]
fn the_two_directories_of_descriptors_list_the_same() {
    let mut machine = Machine::new();
    let fd = machine.open("/tmp/f", O_CREAT | O_RDWR).expect("a new file");
    assert_eq!(machine.write(fd, b"12345"), Ok(5));
    assert_eq!(text(&mut machine, "/proc/self/fdinfo/3"), "pos:\t5\nflags:\t0100002\nmnt_id:\t23\nino:\t3\n");
    let mut names = |path| {
        let list = machine.list(path, 4096).expect("a directory");
        list.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names("/proc/self/fd"), names("/proc/self/fdinfo"));
    assert_eq!(names("/proc/self/task"), ["1"]);
    assert_eq!(machine.open("/proc/self/task/2", 0), Err(Errno::NOENT));
    assert_eq!(machine.open("/proc/self/fdinfo/99", 0), Err(Errno::NOENT));
    assert_eq!(machine.open("/proc/self/fdinfo/3", O_RDWR), Err(Errno::ACCES));
}

#[test]
fn the_time_zone_is_utc_where_no_image_says_otherwise() {
    let mut machine = Machine::new();
    let zone = machine.content("/etc/localtime").expect("a file");
    assert!(zone.starts_with(b"TZif2") && zone.ends_with(b"\nUTC0\n"));
    assert_eq!(zone.len(), 114);
    assert!(machine.files.set_image(0, Some(image(&[("/etc/localtime", Content::File(b"another"))]))));
    assert_eq!(machine.content("/etc/localtime").as_deref(), Ok(&b"another"[..]));
}
