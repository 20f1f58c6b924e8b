//! The guest kernel's behaviours, one probe each.
//!
//! What a probe checks is in its source (`guest-runtime/probes/program/src`); it answers "ok", or with what only the host can judge.

mod setup;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mayfly_abi::mailbox::RECORD_MAX_BYTES;
use mayfly_vmm::{BadAnswer, Stop};
use setup::{Guest, MEMORY_BYTES, PATIENCE, TMP_BYTES, words};

/// Probes that judge by themselves: a fresh guest must answer "ok", and once more, since a second event finds another state.
macro_rules! answers_ok {
    ($($test:ident: $probe:literal)*) => {
        $(
            #[test]
            fn $test() {
                let mut guest = Guest::new($probe);
                guest.invoke(b"").assert_ok();
                guest.invoke(b"").assert_ok();
            }
        )*
    };
}

answers_ok! {
    brk_grows_shrinks_and_gives_zeros: "memory-brk"
    mapped_memory_is_zero_also_when_it_was_used_before: "memory-map"
    fixed_mappings_replace_or_are_refused: "memory-fixed"
    protection_is_noted: "memory-protect"
    mremap_grows_in_place_or_moves: "memory-remap"
    dont_need_gives_zeros: "memory-advise"
    files_can_be_mapped: "memory-file"
    libraries_can_be_loaded: "memory-segments"
    shared_mappings_are_the_file: "memory-shared"
    shared_mappings_grow_with_their_file: "memory-shared-grows"
    reservations_leave_room: "memory-reserve"
    tmp_is_a_file_system: "files-tmp"
    memory_of_tmp_goes_back: "files-tmp-memory"
    images_are_read_only: "files-read-only"
    images_show_files_directories_and_links: "files-image"
    directories_are_listed_completely: "files-directory"
    devices_of_dev: "files-devices"
    proc_tells_about_the_program: "files-proc"
    descriptors_are_limited_and_shared_by_dup: "files-descriptors"
    pipes_connect_threads: "pipe-threads"
    poll_waits_and_wakes: "pipe-poll"
    connections_carry_everything_between_threads: "socket-streams"
    a_full_backlog_is_waited_for: "socket-backlog"
    datagrams_find_their_socket: "socket-datagrams"
    sockets_have_paths: "socket-local"
    no_other_network_is_reached: "socket-unreachable"
    epoll_sleeps_until_woken: "wait-epoll"
    timers_expire: "wait-timer"
    the_monotonic_clock_never_goes_back: "time-monotonic"
    mutexes_exclude: "thread-mutex"
    condition_variables_and_barriers_wake: "thread-condvar"
    channels_carry_everything: "thread-channel"
    threads_sleep_as_long_as_asked: "thread-sleep"
    threads_come_and_go: "thread-many"
    thread_locals_are_per_thread: "thread-local"
    waits_end_at_their_timeout: "thread-timeout"
    threads_that_compute_share_the_processor: "thread-busy"
    registers_survive_ticks: "thread-busy-registers"
    locks_of_threads_that_ended_are_handed_over: "thread-robust"
    sleeping_uses_no_cpu_time: "thread-cpu-time"
    handlers_run: "signal-handler"
    masks_hold_signals_back: "signal-mask"
    real_time_signals_queue: "signal-queue"
    handlers_see_and_change_registers: "signal-frame"
    vector_registers_survive_handlers: "signal-vectors"
    handlers_have_stacks_of_their_own: "signal-stack"
    faults_can_be_handled: "signal-fault"
    signals_interrupt_calls: "signal-restart"
    programs_wait_for_signals: "signal-waits"
    signals_find_their_thread: "signal-threads"
    threads_can_be_cancelled: "signal-cancel"
    waits_for_descriptors_change_the_mask: "signal-poll-mask"
    broken_pipes_send_a_signal: "signal-pipe"
    alarms_go_off: "timer-alarm"
    interval_timers_repeat: "timer-interval"
    timers_can_be_created: "timer-created"
    places_that_make_many_calls_make_them_without_a_trap: "call-sites"
    the_instruction_at_such_a_place_still_works: "call-sites-jump"
    bad_pointers_are_efault: "call-pointers"
    wild_lengths_are_survived: "call-lengths"
}

#[test]
fn vector_registers_survive_a_switch_of_threads() {
    let outcome = Guest::new("thread-vectors").invoke(b"");
    let widest = if std::is_x86_feature_detected!("avx512f") {
        "avx512"
    } else if std::is_x86_feature_detected!("avx") {
        "avx"
    } else {
        "sse"
    };
    assert_eq!(String::from_utf8_lossy(outcome.payload()), widest, "guests have the vector registers of the host");
}

#[test]
fn busy_threads_end_at_the_deadline() {
    let mut guest = Guest::new("thread-busy-deadline");
    let outcome = guest.invoke_within(b"", Duration::from_millis(300));
    assert_eq!(outcome.stop, Stop::TimedOut);
    assert!(outcome.usage.duration_ns >= 300_000_000);
    guest.assert_dead();
}

/// A timer is memory: it is saved, bound and reset with the rest, and goes by the clock that goes on meanwhile.
#[test]
fn timers_go_on_in_a_clone() {
    let mut guest = Guest::new("timer-kept");
    assert_eq!(guest.invoke(b"").word(0), 0);
    let snapshot = guest.save();
    std::thread::sleep(Duration::from_millis(250));
    let mut guest = Guest::bound(&snapshot, None);
    for _ in 0..2 {
        // It expired while there was nobody to tell.
        assert_eq!(guest.invoke(b"").word(0), 1);
        assert_eq!(guest.invoke(b"").word(0), 1, "once");
        guest.machine.reset().expect("reset");
    }
}

/// No tick that was under way is left in a guest that was reset, whatever it did before.
#[test]
fn a_reset_guest_has_no_tick_left() {
    let mut guest = Guest::new("thread-busy");
    guest.invoke(b"").assert_ok();
    let snapshot = guest.save();
    let mut guest = Guest::bound(&snapshot, None);
    for _ in 0..5 {
        guest.invoke(b"").assert_ok();
        guest.machine.reset().expect("reset");
        guest.invoke(b"").assert_ok();
    }
}

#[test]
fn a_signal_to_the_process_ends_it_whatever_its_threads_do() {
    for signal in [libc::SIGTERM, libc::SIGALRM, libc::SIGRTMIN() + 3] {
        Guest::new("signal-fatal").invoke(&words([signal as u64])).assert_killed(signal, &[]);
    }
}

#[test]
fn a_thread_lives_on_between_events() {
    let mut guest = Guest::new("thread-kept");
    for count in 1..=5 {
        assert_eq!(guest.invoke(b"").word(0), count);
    }
}

#[test]
fn when_nobody_can_run_the_deadline_ends_it() {
    let mut guest = Guest::new("thread-deadlock");
    assert_eq!(guest.invoke_within(b"", Duration::from_millis(300)).stop, Stop::TimedOut);
    guest.assert_dead();
}

#[test]
fn memory_ends_with_enomem_and_comes_back() {
    let mut guest = Guest::new("memory-exhaustion");
    for _ in 0..2 {
        let outcome = guest.invoke(b"");
        let blocks = outcome.word(0);
        assert!((100..MEMORY_BYTES >> 20).contains(&blocks), "{blocks} MiB could be mapped");
        let peak = outcome.usage.memory_peak_bytes;
        assert!((blocks << 20..=MEMORY_BYTES).contains(&peak), "the peak is {peak}");
    }
}

#[test]
fn a_program_that_ends_for_want_of_memory_is_out_of_memory() {
    let mut guest = Guest::new("memory-out");
    assert_eq!(guest.invoke(b"").stop, Stop::OutOfMemory);
    guest.assert_dead();
}

#[test]
fn a_program_that_bears_the_want_of_memory_exits_as_it_likes() {
    assert_eq!(Guest::new("memory-refused-exit").invoke(b"").stop, Stop::Exited { status: 3 });
}

#[test]
fn tmp_has_a_limit() {
    let outcome = Guest::new("files-tmp-limit").invoke(b"");
    let taken = outcome.word(0);
    assert!((TMP_BYTES - (1 << 20)..=TMP_BYTES).contains(&taken), "{taken} bytes fit");
}

#[test]
fn realtime_is_the_hosts() {
    let mut guest = Guest::new("time-now");
    let mut last_monotonic = 0;
    for _ in 0..3 {
        let before = realtime_ns();
        let outcome = guest.invoke(b"");
        let after = realtime_ns();
        let (realtime, monotonic) = (outcome.word(0), outcome.word(1));
        let margin = 1_000_000_000;
        assert!((before - margin..after + margin).contains(&realtime), "{before} {realtime} {after}");
        assert!(monotonic > last_monotonic);
        last_monotonic = monotonic;
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A snapshot does not carry its time with it, and its monotonic clock goes on.
#[test]
fn time_passes_while_a_guest_is_a_snapshot() {
    let mut guest = Guest::new("time-now");
    let first = guest.invoke(b"");
    let snapshot = guest.save();
    drop(guest);
    std::thread::sleep(Duration::from_secs(3));
    let mut guest = Guest::bound(&snapshot, None);
    let before = realtime_ns();
    let second = guest.invoke(b"");
    let after = realtime_ns();
    let margin = 1_000_000_000;
    assert!((before - margin..after + margin).contains(&second.word(0)), "{before} {} {after}", second.word(0));
    assert!(second.word(0) - first.word(0) >= 2_900_000_000, "real time");
    assert!(second.word(1) - first.word(1) >= 2_900_000_000, "monotonic time");
    guest.machine.reset().expect("reset");
    assert!(guest.invoke(b"").word(1) > second.word(1), "monotonic time over a reset");
}

fn realtime_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

#[test]
fn sleep_takes_as_long_as_asked() {
    let mut guest = Guest::new("time-sleep");
    let outcome = guest.invoke(&words([50]));
    assert!(outcome.word(0) >= 50_000_000, "slept {} ns", outcome.word(0));
    assert!(outcome.usage.exits < 20, "a sleep is one hypercall, not {}", outcome.usage.exits);
}

#[test]
fn sleep_ends_at_the_deadline() {
    let mut guest = Guest::new("time-sleep");
    let outcome = guest.invoke_within(&words([3_600_000]), Duration::from_millis(200));
    assert_eq!(outcome.stop, Stop::TimedOut);
    assert!(outcome.usage.duration_ns >= 200_000_000);
    guest.assert_dead();
}

#[test]
fn clones_draw_different_random_numbers() {
    let mut guest = Guest::new("random");
    let snapshot = guest.save();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..50 {
        let mut guest = Guest::bound(&snapshot, None);
        for _ in 0..2 {
            let outcome = guest.invoke(b"");
            let payload = outcome.payload();
            for part in [&payload[..32], &payload[32..64], &payload[64..]] {
                assert!(seen.insert(part.to_vec()), "the same randomness twice");
            }
            guest.machine.reset().expect("reset");
        }
    }
    assert_eq!(seen.len(), 50 * 2 * 3);
}

#[test]
fn payloads_go_both_ways() {
    let mut guest = Guest::new("event-echo");
    for bytes in [0, 1, 4080, 4096, 100_000, 6 << 20, 1] {
        let payload: Vec<u8> = (0..bytes).map(|at: usize| (at % 241) as u8).collect();
        let outcome = guest.invoke(&payload);
        assert!(outcome.payload() == payload, "{bytes} bytes came back changed");
        // Memory that was never used has to be asked for: some buffers of that size.
        let asked = 6 * bytes as u64 / (4 << 20);
        assert!((1..=1 + asked).contains(&outcome.usage.exits), "one hypercall per invocation");
    }
}

#[test]
fn the_largest_record_goes_both_ways() {
    let mut guest = Guest::new("event-echo");
    let payload = vec![7; RECORD_MAX_BYTES - 16 - 2];
    assert!(guest.invoke(&payload).payload() == payload);
    assert!(guest.machine.mailbox().put_event(2, 0, b"{}", &vec![7; RECORD_MAX_BYTES - 17]).is_err());
}

#[test]
fn events_can_be_read_and_answers_written_in_parts() {
    let mut guest = Guest::new("event-parts");
    for payload in [&b""[..], b"x", &[9; 1000]] {
        assert_eq!(guest.invoke(payload).payload(), [b"{}", payload].concat());
    }
}

#[test]
fn reading_nothing_does_not_wait() {
    let mut guest = Guest::new("event-empty-read");
    assert_eq!(guest.invoke(b"one").payload(), b"one");
    assert_eq!(guest.invoke(b"two").payload(), b"two");
}

#[test]
fn an_answer_cannot_be_larger_than_a_record() {
    assert_eq!(Guest::new("event-too-large").invoke(b"").answer, Err(BadAnswer::Lengths));
}

#[test]
fn asking_for_the_next_event_without_an_answer_is_noticed() {
    let mut guest = Guest::new("event-no-answer");
    let outcome = guest.invoke(b"");
    assert_eq!((outcome.stop, outcome.answer), (Stop::Next, Err(BadAnswer::Missing)));
}

#[test]
fn two_descriptors_of_the_event_device_are_one_device() {
    let mut guest = Guest::new("event-two");
    assert_eq!(guest.invoke(b"one").payload(), b"one");
    assert_eq!(guest.invoke(b"two").payload(), b"two");
}

#[test]
fn a_program_can_wait_for_an_event_in_poll() {
    let mut guest = Guest::new("event-poll");
    assert_eq!(guest.invoke(b"one").payload(), b"one");
    assert_eq!(guest.invoke(b"two").payload(), b"two");
}

#[test]
fn a_program_can_wait_for_an_event_in_any_thread() {
    let mut guest = Guest::new("event-thread");
    assert_eq!(guest.invoke(b"one").payload(), b"one");
    let snapshot = guest.save();
    assert_eq!(guest.invoke(b"two").payload(), b"two");
    assert_eq!(Guest::bound(&snapshot, None).invoke(b"three").payload(), b"three");
}

/// The event after a bind or reset says that memory is a snapshot's; the ones after it do not.
#[test]
fn the_first_event_of_a_clone_says_so() {
    let flags = |outcome: &setup::Outcome| outcome.word(0) >> 32;
    let mut guest = Guest::new("event-flags");
    let outcome = guest.invoke(b"");
    assert_eq!((flags(&outcome), &outcome.payload()[8..]), (0, &b"{}"[..]));
    let snapshot = guest.save();
    let mut guest = Guest::bound(&snapshot, None);
    assert_eq!([1, 0, 0].map(|_| flags(&guest.invoke(b""))), [1, 0, 0]);
    guest.machine.reset().expect("reset");
    assert_eq!([1, 0].map(|_| flags(&guest.invoke(b""))), [1, 0]);
}

#[test]
fn exit_statuses_are_told() {
    for (status, told) in [(0, 0), (1, 1), (255, 255), (256, 0), (u64::MAX, 255)] {
        let mut guest = Guest::new("end-exit");
        assert_eq!(guest.invoke(&words([status])).stop, Stop::Exited { status: told });
        guest.assert_dead();
    }
    assert_eq!(Guest::new("end-main").invoke(b"").stop, Stop::Exited { status: 0 });
    assert_eq!(Guest::new("end-thread").invoke(b"").stop, Stop::Exited { status: 9 });
}

#[test]
fn a_program_may_end_before_its_first_event() {
    assert_eq!(Guest::loaded("end-start").run(0, PATIENCE).stop, Stop::Exited { status: 7 });
}

#[test]
fn a_program_ends_with_its_last_thread() {
    assert_eq!(Guest::new("end-first-thread").invoke(b"").stop, Stop::Exited { status: 5 });
}

#[test]
fn abort_and_panic_end_by_sigabrt_and_the_log_is_kept() {
    Guest::new("end-abort").invoke(b"").assert_killed(libc::SIGABRT, &[]);
    let outcome = Guest::new("end-panic").invoke(b"");
    outcome.assert_killed(libc::SIGABRT, &[]);
    assert!(outcome.log.contains("a panic on purpose"), "{}", outcome.log);
}

#[test]
fn signals_to_itself_end_a_program_unless_they_are_ignored() {
    for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGFPE, libc::SIGUSR1] {
        Guest::new("end-signal").invoke(&words([signal as u64])).assert_killed(signal, &[]);
    }
    // Rust's runtime ignores SIGPIPE; SIGCHLD is ignored by default; 0 asks only whether there is a process.
    let mut guest = Guest::new("end-signal");
    for (signal, result) in [(libc::SIGPIPE, 0), (libc::SIGCHLD, 0), (0, 0), (99, -libc::EINVAL)] {
        assert_eq!(guest.invoke(&words([signal as u64])).word(0) as i64, i64::from(result), "signal {signal}");
    }
}

#[test]
fn a_program_that_is_not_there_is_a_kernel_panic() {
    use mayfly_vmm::{Machine, Mailbox};
    let mut machine = Machine::new(&setup::host(), Mailbox::new().expect("a mailbox")).expect("a machine");
    machine.mailbox().put_start(&["/nothing"], &[]).expect("start words");
    machine.boot(&[&setup::image()], MEMORY_BYTES, TMP_BYTES).expect("boot");
    let mut guest = Guest { machine };
    guest.run(0, PATIENCE).assert_killed(libc::SIGABRT, &["the program cannot be loaded: errno 2"]);
    guest.assert_dead();
}

#[test]
fn unknown_system_calls_are_named_once() {
    let outcome = Guest::new("call-unknown").invoke(b"");
    outcome.assert_ok();
    for name in ["userfaultfd (323)", "ptrace (101)", "bpf (321)"] {
        assert_eq!(outcome.log.matches(name).count(), 1, "{name} in {}", outcome.log);
    }
}

#[test]
fn garbage_system_calls_are_survived() {
    for seed in 1..=4_u64 {
        let mut guest = Guest::new("call-storm");
        guest.invoke(&words([seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)])).assert_ok();
    }
}

#[test]
fn a_log_larger_than_the_log_area_is_complete() {
    let mut guest = Guest::new("log");
    for bytes in [10, 253_952, 253_953, 1_500_000] {
        let outcome = guest.invoke(&words([bytes]));
        outcome.assert_ok();
        assert_eq!(outcome.log.len() as u64, bytes);
        for (number, line) in outcome.log.lines().enumerate().take((bytes / 30) as usize) {
            assert!(line.starts_with(&format!("line {number:08} ")), "line {number} is {line:?}");
        }
    }
}

#[test]
fn an_endless_log_is_cut() {
    let outcome = Guest::new("log").invoke(&words([8 << 20]));
    outcome.assert_ok();
    assert!((4 << 20..5 << 20).contains(&outcome.log.len()), "{} bytes", outcome.log.len());
}

/// General, vector and control registers and bases, over NEXT on one machine, over save and bind, and over a reset.
#[test]
fn registers_survive_waiting_for_an_event() {
    let mut guest = Guest::new("registers");
    let wait_and_changes =
        |outcome: &setup::Outcome| (outcome.word(0), String::from_utf8_lossy(&outcome.payload()[8..]).into_owned());
    for wait in 0..3 {
        assert_eq!(wait_and_changes(&guest.invoke(b"")), (wait, String::new()));
    }
    let snapshot = guest.save();
    let mut guest = Guest::bound(&snapshot, None);
    for _ in 0..3 {
        for wait in 3..6 {
            assert_eq!(wait_and_changes(&guest.invoke(b"")), (wait, String::new()));
        }
        guest.machine.reset().expect("reset");
    }
}
