//! VM processes: zygote, shells, sandbox.
//!
//! The program is its own zygote, so it has no test harness: `processes zygote` is one, `processes [part of a name]` runs tests.

mod setup;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mayfly_abi::record::INVOKE;
use mayfly_vmm::shell::Stopped;
use mayfly_vmm::{Command, Error, Event, ImageFile, Report, Shell, Snapshot, Stop, Zygote};
use rustix::event::{PollFd, PollFlags, Timespec};
use setup::{MEMORY_BYTES, PATIENCE, TMP_BYTES, file_with, host, image, path_of, words};

const TESTS: &[(&str, fn())] = &[
    ("a_shell_boots_saves_binds_runs_and_resets", a_shell_boots_saves_binds_runs_and_resets),
    ("a_shell_can_be_bound_to_the_runtime_ahead_of_time", a_shell_can_be_bound_to_the_runtime_ahead_of_time),
    ("large_events_answers_and_logs_come_through", large_events_answers_and_logs_come_through),
    ("every_stop_comes_through", every_stop_comes_through),
    ("a_working_set_is_recorded_and_used", a_working_set_is_recorded_and_used),
    ("all_files_that_a_bind_can_have_fit_a_message", all_files_that_a_bind_can_have_fit_a_message),
    ("a_process_that_is_killed_is_gone", a_process_that_is_killed_is_gone),
    ("a_dropped_shell_ends_its_process", a_dropped_shell_ends_its_process),
    ("vm_processes_die_with_their_zygote", vm_processes_die_with_their_zygote),
    ("a_dropped_zygote_ends_everything", a_dropped_zygote_ends_everything),
    ("the_sandbox_is_on", the_sandbox_is_on),
    ("a_process_holds_only_the_files_it_needs", a_process_holds_only_the_files_it_needs),
    ("commands_out_of_order_end_the_process", commands_out_of_order_end_the_process),
    ("a_hostile_guest_ends_only_its_own_process", a_hostile_guest_ends_only_its_own_process),
    ("two_hundred_processes_share_a_snapshot", two_hundred_processes_share_a_snapshot),
];

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("zygote") {
        return mayfly_vmm::zygote_main();
    }
    // What else is passed is for harnesses: `--nocapture` and the like.
    let filter = argument.filter(|argument| !argument.starts_with('-')).unwrap_or_default();
    host();
    let mut failed = Vec::new();
    for (name, test) in TESTS.iter().filter(|(name, _)| name.contains(&filter)) {
        let start = Instant::now();
        let outcome = if catch_unwind(AssertUnwindSafe(test)).is_ok() { "ok" } else { "FAILED" };
        println!("test {name} ... {outcome} ({} ms)", start.elapsed().as_millis());
        if outcome != "ok" {
            failed.push(*name);
        }
    }
    println!("\ntest result: {} failed {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn zygote() -> Zygote {
    Zygote::start(&std::env::current_exe().expect("this program"), "zygote").expect("a zygote")
}

/// A shell that is ready.
fn shell(zygote: &Zygote) -> Shell {
    let mut shell = zygote.spawn().expect("a shell");
    let report = report(&mut shell);
    assert!(matches!(report, Ok(Report::Ready)), "{report:?}");
    shell
}

/// Waits for the next report.
fn report(shell: &mut Shell) -> Result<Report, Error> {
    loop {
        if let Some(report) = shell.receive()? {
            return Ok(report);
        }
        let timeout = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        let mut waiting = [PollFd::new(&*shell, PollFlags::IN)];
        let ready = rustix::event::poll(&mut waiting, Some(&timeout)).expect("poll");
        assert!(ready > 0, "a VM process says nothing");
    }
}

fn command(shell: &mut Shell, command: Command<'_>) -> Report {
    shell.send(command).expect("a command");
    report(shell).expect("a report")
}

fn boot(shell: &mut Shell, probe: &str) {
    let command_boot = Command::Boot {
        images: &[&image()],
        arguments: &[mayfly_probes::PROGRAM_PATH, probe],
        environment: &["PROBE=yes"],
        memory_bytes: MEMORY_BYTES,
        tmp_bytes: TMP_BYTES,
        output: None,
    };
    let report = command(shell, command_boot);
    assert!(matches!(report, Report::Bound), "{report:?}");
    let stopped = run(shell, None, PATIENCE);
    assert_eq!(stopped.stop, Stop::Next, "{}", String::from_utf8_lossy(&stopped.log));
}

fn bind(shell: &mut Shell, base: &Snapshot, top: Option<&Snapshot>) {
    let images = [&image()];
    let (memory_bytes, tmp_bytes) = (MEMORY_BYTES, TMP_BYTES);
    let report =
        command(shell, Command::Bind { base, top, working_set: None, images: &images, memory_bytes, tmp_bytes });
    assert!(matches!(report, Report::Bound), "{report:?}");
}

fn run(shell: &mut Shell, payload: Option<&[u8]>, timeout: Duration) -> Stopped {
    let event = payload.map(|payload| Event { kind: INVOKE, meta: b"{}", payload });
    match command(shell, Command::Run { event, timeout, record: None }) {
        Report::Stopped(stopped) => stopped,
        other => panic!("{other:?}"),
    }
}

fn invoke(shell: &mut Shell, payload: &[u8]) -> Vec<u8> {
    let stopped = run(shell, Some(payload), PATIENCE);
    assert_eq!(stopped.stop, Stop::Next, "{}", String::from_utf8_lossy(&stopped.log));
    stopped.answer.expect("an answer").payload
}

fn save(shell: &mut Shell) -> Snapshot {
    let file = tempfile::tempfile().expect("a temporary file");
    let report = command(shell, Command::Save { to: &file });
    let Report::Saved { identity } = report else { panic!("{report:?}") };
    let snapshot = Snapshot::open(&path_of(&file), &host().build()).expect("the snapshot");
    assert_eq!(snapshot.header().identity, identity);
    snapshot
}

/// A snapshot of a probe that waits for its first event.
fn snapshot_of(zygote: &Zygote, probe: &str) -> Snapshot {
    let mut maker = shell(zygote);
    boot(&mut maker, probe);
    save(&mut maker)
}

fn gone(shell: &mut Shell) {
    let report = report(shell);
    assert!(matches!(report, Err(Error::Gone(_))), "{report:?}");
    assert!(matches!(shell.send(Command::Reset), Err(Error::Gone(_))), "a command to a process that is gone");
}

/// A line of `/proc/<pid>/status`.
fn status(pid: u32, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the status of a process");
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("{key} in {text}"));
    line.trim_start_matches(':').split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Waits until a process is no more, or only a zombie that nobody has buried.
fn wait_for_end(pid: u32) {
    let start = Instant::now();
    let lives = |stat: String| !stat.contains(") Z ") && !stat.contains(") X ");
    while fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(lives) {
        assert!(start.elapsed() < PATIENCE, "process {pid} lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill");
}

/// A runtime snapshot, and a function's on top, with "the function" left in it.
fn stack_of(zygote: &Zygote) -> (Snapshot, Snapshot) {
    let base = snapshot_of(zygote, "files-leave");
    let mut shell = shell(zygote);
    bind(&mut shell, &base, None);
    assert_eq!(invoke(&mut shell, b"the function"), b"");
    let top = save(&mut shell);
    (base, top)
}

fn a_shell_boots_saves_binds_runs_and_resets() {
    let zygote = zygote();
    let (base, top) = stack_of(&zygote);
    let mut shell = shell(&zygote);
    bind(&mut shell, &base, Some(&top));
    for _ in 0..5 {
        assert_eq!(invoke(&mut shell, b"an invocation"), b"the function");
        assert_eq!(invoke(&mut shell, b"another"), b"an invocation");
        let report = command(&mut shell, Command::Reset);
        assert!(matches!(report, Report::ResetDone(stats) if stats.copied_pages > 0), "{report:?}");
    }
}

fn a_shell_can_be_bound_to_the_runtime_ahead_of_time() {
    let zygote = zygote();
    let (base, top) = stack_of(&zygote);
    let mut shell = shell(&zygote);
    bind(&mut shell, &base, None);
    assert_eq!(invoke(&mut shell, b"a rehearsal"), b"");
    assert!(matches!(command(&mut shell, Command::Reset), Report::ResetDone(_)));
    bind(&mut shell, &base, Some(&top));
    assert_eq!(invoke(&mut shell, b"an invocation"), b"the function");
    let report = command(&mut shell, Command::Trim);
    assert!(matches!(report, Report::Trimmed { pages } if pages > 0), "{report:?}");
    assert_eq!(invoke(&mut shell, b"another"), b"an invocation");
    assert!(matches!(command(&mut shell, Command::Reset), Report::ResetDone(_)));
    assert_eq!(invoke(&mut shell, b"one more"), b"the function");
}

fn large_events_answers_and_logs_come_through() {
    let zygote = zygote();
    let mut echo = shell(&zygote);
    boot(&mut echo, "event-echo");
    let payload: Vec<u8> = (0..6 << 20).map(|at: u32| (at % 239) as u8).collect();
    assert!(invoke(&mut echo, &payload) == payload);
    let too_large = Event { kind: INVOKE, meta: b"", payload: &vec![0; 9 << 20] };
    let refused = echo.send(Command::Run { event: Some(too_large), timeout: PATIENCE, record: None });
    assert!(matches!(refused, Err(Error::State(_))), "{refused:?}");
    assert_eq!(invoke(&mut echo, b"still works"), b"still works");
    let mut logger = shell(&zygote);
    boot(&mut logger, "log");
    for bytes in [10, 253_952, 1_500_000] {
        let stopped = run(&mut logger, Some(&words([bytes])), PATIENCE);
        assert_eq!(stopped.stop, Stop::Next);
        assert_eq!(stopped.log.len() as u64, bytes);
        assert!(stopped.log.starts_with(b"line 0000"));
    }
}

fn every_stop_comes_through() {
    let zygote = zygote();
    let hypercall_99 = [0xb0, 99, 0xe6, 0x6d];
    type Case<'a> = (&'a str, &'a [u8], u64, fn(&Stop) -> bool);
    let cases: &[Case<'_>] = &[
        ("end-exit", &words([3]), 300, |stop| *stop == Stop::Exited { status: 3 }),
        ("memory-out", b"", 300, |stop| *stop == Stop::OutOfMemory),
        ("thread-deadlock", b"", 1, |stop| *stop == Stop::TimedOut),
        ("attack-execute", &hypercall_99, 300, |stop| matches!(stop, Stop::Violation(what) if what.contains("99"))),
        (
            "attack-read",
            &words([8]),
            300,
            |stop| matches!(stop, Stop::Killed { signal: 11, diagnosis } if diagnosis.contains("null page")),
        ),
    ];
    for (probe, payload, seconds, expected) in cases {
        let mut shell = shell(&zygote);
        boot(&mut shell, probe);
        let stopped = run(&mut shell, Some(payload), Duration::from_secs(*seconds));
        assert!(expected(&stopped.stop), "{probe}: {:?}", stopped.stop);
        // The machine is dead, and the process ends when it is asked for more.
        let report = command(&mut shell, Command::Run { event: None, timeout: PATIENCE, record: None });
        assert!(matches!(report, Report::Failed(_)), "{report:?}");
        gone(&mut shell);
    }
}

fn a_working_set_is_recorded_and_used() {
    let zygote = zygote();
    let base = snapshot_of(&zygote, "files-leave");
    let mut first = shell(&zygote);
    bind(&mut first, &base, None);
    let record = tempfile::tempfile().expect("a temporary file");
    let event = Event { kind: INVOKE, meta: b"", payload: b"x" };
    let report = command(&mut first, Command::Run { event: Some(event), timeout: PATIENCE, record: Some(&record) });
    assert!(matches!(report, Report::Stopped(_)), "{report:?}");
    assert_eq!(invoke(&mut first, b"y"), b"x");
    // It is written when nothing comes for a moment, but before pages are put back.
    let report = command(&mut first, Command::Trim);
    assert!(matches!(report, Report::Trimmed { .. }), "{report:?}");
    assert!(record.metadata().expect("its length").len() > 0);
    // Also garbage is only a hint.
    for set in [record, file_with(&[0xff; 800]), file_with(b"")] {
        let mut shell = shell(&zygote);
        let (images, memory_bytes, tmp_bytes) = ([&image()], MEMORY_BYTES, TMP_BYTES);
        let bind =
            Command::Bind { base: &base, top: None, working_set: Some(&set), images: &images, memory_bytes, tmp_bytes };
        let report = command(&mut shell, bind);
        assert!(matches!(report, Report::Bound), "{report:?}");
        assert_eq!(invoke(&mut shell, b"z"), b"");
    }
}

fn all_files_that_a_bind_can_have_fit_a_message() {
    let zygote = zygote();
    let base = snapshot_of(&zygote, "files-show");
    let added = file_with(&mayfly_probes::added_image(0));
    let added = ImageFile::open(&path_of(&added)).expect("the image");
    let first = image();
    let mut images = vec![&first];
    images.resize(mayfly_abi::layout::IMAGES_MAX, &added);
    let set = file_with(b"");
    let bind = |top| Command::Bind {
        base: &base,
        top,
        working_set: Some(&set),
        images: &images,
        memory_bytes: MEMORY_BYTES,
        tmp_bytes: TMP_BYTES,
    };
    let mut maker = shell(&zygote);
    let report = command(&mut maker, bind(None));
    assert!(matches!(report, Report::Bound), "{report:?}");
    assert_eq!(invoke(&mut maker, b"/var/task/added"), b"added\n");
    let top = save(&mut maker);
    let mut shell = shell(&zygote);
    let report = command(&mut shell, bind(Some(&top)));
    assert!(matches!(report, Report::Bound), "{report:?}");
    assert_eq!(invoke(&mut shell, b"/var/task/added"), b"added\n");
}

fn a_process_that_is_killed_is_gone() {
    let zygote = zygote();
    let mut idle = shell(&zygote);
    kill(idle.pid());
    gone(&mut idle);
    // In the middle of a run.
    let mut busy = shell(&zygote);
    boot(&mut busy, "thread-deadlock");
    let event = Event { kind: INVOKE, meta: b"", payload: b"" };
    busy.send(Command::Run { event: Some(event), timeout: PATIENCE, record: None }).expect("a command");
    assert!(matches!(busy.receive(), Ok(None)));
    kill(busy.pid());
    gone(&mut busy);
    // The zygote makes others.
    let mut other = shell(&zygote);
    boot(&mut other, "event-echo");
    assert_eq!(invoke(&mut other, b"x"), b"x");
}

fn a_dropped_shell_ends_its_process() {
    let zygote = zygote();
    let mut shell = shell(&zygote);
    boot(&mut shell, "time-sleep");
    let event = Event { kind: INVOKE, meta: b"", payload: &words([3_600_000]) };
    shell
        .send(Command::Run { event: Some(event), timeout: Duration::from_secs(3600), record: None })
        .expect("a command");
    let pid = shell.pid();
    drop(shell);
    wait_for_end(pid);
}

fn zygote_of(shell: &Shell) -> u32 {
    status(shell.pid(), "PPid").parse().expect("a number")
}

fn vm_processes_die_with_their_zygote() {
    let zygote = zygote();
    let mut shells = [shell(&zygote), shell(&zygote)];
    boot(&mut shells[1], "thread-deadlock");
    let event = Event { kind: INVOKE, meta: b"", payload: b"" };
    shells[1].send(Command::Run { event: Some(event), timeout: PATIENCE, record: None }).expect("a command");
    kill(zygote_of(&shells[0]));
    for shell in &mut shells {
        gone(shell);
        wait_for_end(shell.pid());
    }
    let refused = zygote.spawn().map(|_| ());
    assert!(refused.is_err(), "a dead zygote forks");
}

fn a_dropped_zygote_ends_everything() {
    let zygote = zygote();
    let mut shell = shell(&zygote);
    let pid = zygote_of(&shell);
    drop(zygote);
    gone(&mut shell);
    wait_for_end(shell.pid());
    wait_for_end(pid);
}

/// Threads of a process, without those that KVM itself keeps in it.
fn threads(pid: u32) -> usize {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the threads of a process");
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| !name.starts_with("kvm-")).count()
}

fn the_sandbox_is_on() {
    let zygote = zygote();
    let mut shell = shell(&zygote);
    for bound in [false, true] {
        if bound {
            boot(&mut shell, "event-echo");
        }
        let pid = shell.pid();
        assert_eq!(status(pid, "Seccomp"), "2", "a filter");
        assert_eq!(status(pid, "NoNewPrivs"), "1");
        assert_eq!(threads(pid), 1);
        for capabilities in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(status(pid, capabilities), "0000000000000000", "{capabilities}");
        }
        if rustix::process::geteuid().is_root() {
            assert_eq!(status(pid, "Uid"), "65534 65534 65534 65534");
            assert_eq!(status(pid, "Gid"), "65534 65534 65534 65534");
            assert_eq!(status(pid, "Groups"), "");
        }
    }
}

/// What a process has open, sorted; numbers in names are cut.
fn open_files(pid: u32) -> Vec<String> {
    let name = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).expect("a descriptor").to_string_lossy().into_owned();
        let cut = target.split([':', '(']).next().expect("the first part").trim().to_owned();
        if cut.starts_with("/proc/") { "/proc/…/pagemap".to_owned() } else { cut }
    };
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("the descriptors of a process");
    let mut names: Vec<String> = entries.map(|entry| name(entry.expect("an entry"))).collect();
    names.sort();
    names
}

fn a_process_holds_only_the_files_it_needs() {
    let zygote = zygote();
    let base = snapshot_of(&zygote, "event-echo");
    let mut shell = shell(&zygote);
    let before = open_files(shell.pid());
    let own_stderr =
        fs::read_link("/proc/self/fd/2").map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let own_stderr = own_stderr.split([':', '(']).next().unwrap_or_default().trim().to_owned();
    let mut expected = vec![
        "/dev/null".to_owned(),
        "/dev/null".to_owned(),
        own_stderr,
        "/memfd".to_owned(),
        "/memfd".to_owned(),
        "/proc/…/pagemap".to_owned(),
        "anon_inode".to_owned(),
        "anon_inode".to_owned(),
        "socket".to_owned(),
    ];
    expected.sort();
    assert_eq!(before, expected, "standard ones, mailbox, page map, VM and vCPU, its socket");
    bind(&mut shell, &base, None);
    assert_eq!(invoke(&mut shell, b"x"), b"x");
    assert_eq!(open_files(shell.pid()), expected, "snapshots and images are mapped, not held open");
}

fn commands_out_of_order_end_the_process() {
    let zygote = zygote();
    let base = snapshot_of(&zygote, "event-echo");
    let orders: &[fn(&mut Shell, &Snapshot)] = &[
        |shell, _| shell.send(Command::Reset).expect("a command"),
        |shell, _| shell.send(Command::Run { event: None, timeout: PATIENCE, record: None }).expect("a command"),
        |shell, _| {
            let file = tempfile::tempfile().expect("a temporary file");
            shell.send(Command::Save { to: &file }).expect("a command");
        },
        |shell, base| {
            bind(shell, base, None);
            let images = [&image()];
            let (memory_bytes, tmp_bytes) = (MEMORY_BYTES, TMP_BYTES);
            let again = Command::Bind { base, top: None, working_set: None, images: &images, memory_bytes, tmp_bytes };
            shell.send(again).expect("a command");
        },
    ];
    for order in orders {
        let mut shell = shell(&zygote);
        order(&mut shell, &base);
        let report = report(&mut shell);
        assert!(matches!(report, Ok(Report::Failed(_))), "{report:?}");
        gone(&mut shell);
    }
}

fn a_hostile_guest_ends_only_its_own_process() {
    let zygote = zygote();
    let mut healthy = shell(&zygote);
    boot(&mut healthy, "event-echo");
    let attacks: &[(&str, &[u8])] = &[
        ("attack-race", &[0xff]),
        ("attack-words", &words([u64::MAX])),
        ("attack-host-words", &words([u64::MAX])),
        ("attack-next", &words([u64::MAX, u64::MAX, 0, u64::MAX, u64::MAX])),
        ("attack-fill", &words([mayfly_abi::layout::KERNEL_DATA, mayfly_abi::layout::KERNEL_DATA_END, 0xff])),
        ("attack-execute", &[0xe4, 0x6d]),
        ("attack-stack", b""),
    ];
    for (probe, payload) in attacks {
        let mut hostile = shell(&zygote);
        boot(&mut hostile, probe);
        let stopped = run(&mut hostile, Some(payload), Duration::from_secs(2));
        if stopped.stop == Stop::Next {
            // Alive, and perhaps lying: a booted guest has nothing to be reset to, which ends its process.
            assert!(matches!(command(&mut hostile, Command::Reset), Report::Failed(_)));
        }
        assert_eq!(invoke(&mut healthy, b"still here"), b"still here", "after {probe}");
    }
}

/// Private memory of a process in bytes.
fn private_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("the memory of a process");
    let kib = |line: &str| line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
    text.lines().filter(|line| line.starts_with("Private_")).map(kib).sum::<u64>() * 1024
}

/// As many as memory allows where there is little.
fn two_hundred_processes_share_a_snapshot() {
    let text = fs::read_to_string("/proc/meminfo").expect("meminfo");
    let available = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).expect("MemAvailable");
    let available_kib: usize = available.split_whitespace().next().expect("a number").parse().expect("a number");
    let count = (available_kib / (16 << 10)).clamp(4, 200);
    let zygote = zygote();
    let base = snapshot_of(&zygote, "event-echo");
    let mut shells = Vec::new();
    let mut times = Vec::new();
    for number in 0..count as u64 {
        let start = Instant::now();
        let mut shell = shell(&zygote);
        bind(&mut shell, &base, None);
        assert_eq!(invoke(&mut shell, &words([number])), words([number]));
        times.push(start.elapsed());
        shells.push(shell);
    }
    let memory: Vec<u64> = shells.iter().map(|shell| private_bytes(shell.pid())).collect();
    let (first, last) = (memory[0], memory[count - 1]);
    println!(
        "{count} processes: {:?} for the first, {:?} for the last; {} KiB each",
        times[0],
        times[count - 1],
        memory.iter().sum::<u64>() / count as u64 / 1024
    );
    assert!(memory.iter().all(|&bytes| bytes < 8 << 20), "private memory of each: {memory:?}");
    assert!(last < first * 2, "the first has {first} bytes, the last {last}");
    // All of them still work, each on its own.
    for (number, shell) in shells.iter_mut().enumerate() {
        assert_eq!(invoke(shell, &words([number as u64])), words([number as u64]));
    }
}
