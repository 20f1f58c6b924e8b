//! Save, bind, reset: what comes back is the snapshot, byte for byte and register for register.

mod setup;

use std::os::unix::fs::FileExt;
use std::time::Duration;

use mayfly_abi::layout::{GDT, PAGE_BYTES};
use mayfly_vmm::{Error, ImageFile, Machine, Mailbox, ResetStats, Snapshot, SnapshotError, Stop, WorkingSet};
use setup::{
    Guest, MEMORY_BYTES, PATIENCE, TMP_BYTES, assert_same_memory, file_with, host, image, memory, path_of, words,
};

/// Both ways of finding the pages that diverged.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Search {
    Scan,
    OldPageMap,
}

const BOTH: [Search; 2] = [Search::Scan, Search::OldPageMap];

fn bound(snapshot: &Snapshot, top: Option<&Snapshot>, search: Search) -> Guest {
    let mut guest = Guest::bound(snapshot, top);
    if search == Search::OldPageMap {
        guest.machine.use_old_page_map().expect("the page map");
    }
    guest
}

#[test]
fn a_bound_guest_has_the_memory_that_was_saved() {
    let mut guest = Guest::new("event-echo");
    guest.invoke(b"some history").payload();
    let saved = memory(&guest);
    let snapshot = guest.save();
    assert_same_memory(&guest, &saved);
    assert!(snapshot.data_bytes() < 16 << 20, "zero pages are not saved");
    let mut bound = Guest::bound(&snapshot, None);
    assert_same_memory(&bound, &saved);
    // Both go on from there, apart from each other.
    assert_eq!(guest.invoke(b"the old one").payload(), b"the old one");
    assert_eq!(bound.invoke(b"the new one").payload(), b"the new one");
}

/// (pages, step between them): nothing, a page, scattered pages, a large range, nearly all memory.
#[test]
fn a_reset_guest_has_the_memory_that_was_saved() {
    let mut guest = Guest::new("memory-dirty");
    assert_eq!(guest.invoke(&words([50, 1])).word(0), 0);
    let snapshot = guest.save();
    for search in BOTH {
        let mut guest = bound(&snapshot, None, search);
        let before = memory(&guest);
        for (pages, step) in
            [(0, 1), (1, 1), (500, 3), (1023, 1), (1024, 1), (1025, 1), (10_000, 2), (25_600, 1), (1, 1)]
        {
            for _ in 0..2 {
                assert_eq!(guest.invoke(&words([pages, step])).word(0), 1, "calls are counted in memory");
                let stats = guest.machine.reset().expect("reset");
                assert_same_memory(&guest, &before);
                let all = stats.copied_pages + stats.zeroed_pages;
                assert!(all >= pages, "{search:?}: {pages} pages were written, {stats:?}");
            }
        }
    }
}

/// Whatever a search finds: pages that are private from before, and that a run wrote again without a fault, are put back.
#[test]
fn pages_that_are_written_again_without_a_fault_are_put_back() {
    let mut guest = Guest::new("files-leave");
    let snapshot = guest.save();
    for search in BOTH {
        let mut guest = bound(&snapshot, None, search);
        let before = memory(&guest);
        for round in 0..20_u64 {
            let left = vec![round as u8; 10_000];
            assert_eq!(guest.invoke(&left).payload(), b"", "nothing is left from the last time");
            // A run may come between, so that more than one run's writes have to go.
            if round % 3 == 0 {
                assert_eq!(guest.invoke(b"more").payload(), left);
            }
            guest.machine.reset().expect("reset");
            assert_same_memory(&guest, &before);
        }
    }
}

#[test]
fn without_a_reset_state_is_kept() {
    let mut guest = Guest::new("files-leave");
    guest.invoke(b"first").payload();
    let snapshot = guest.save();
    let mut guest = Guest::bound(&snapshot, None);
    assert_eq!(guest.invoke(b"second").payload(), b"first");
    assert_eq!(guest.invoke(b"third").payload(), b"second");
    guest.machine.reset().expect("reset");
    assert_eq!(guest.invoke(b"fourth").payload(), b"first");
}

/// What is written again and again stays private, so that it takes no fault; what one invocation wrote and no other is given back.
#[test]
fn a_reset_keeps_what_is_written_again_and_nothing_else() {
    let snapshot = Guest::new("memory-dirty").save();
    let saved = memory(&Guest::bound(&snapshot, None));
    let mut guest = Guest::bound(&snapshot, None);
    let mut put_back = |pages: u64, resets: usize| -> Vec<u64> {
        let reset = |_| {
            guest.invoke(&words([pages, 1])).payload();
            let ResetStats { zeroed_pages, copied_pages, .. } = guest.machine.reset().expect("reset");
            zeroed_pages + copied_pages
        };
        (0..resets).map(reset).collect()
    };
    let few = put_back(1, 2);
    assert!(few.iter().all(|pages| (1..500).contains(pages)), "{few:?}");
    let many = put_back(5000, 70);
    assert!(many.iter().all(|pages| (5000..5500).contains(pages)), "{many:?}");
    let few = put_back(1, 33);
    assert!(few[32] < 500, "{few:?}");
    let outlier = [put_back(5000, 1), put_back(1, 2)].concat();
    assert!(outlier[0] >= 5000 && outlier[2] < 500, "{outlier:?}");
    // Only now: on old kernels a page of zeros that was only read is taken for a copy.
    assert_same_memory(&guest, &saved);
}

/// Nothing of one caller's event or answer is left for the next one.
#[test]
fn a_reset_empties_the_mailbox() {
    use mayfly_abi::mailbox::{BYTES, EVENT};
    let mut guest = Guest::new("event-echo");
    let snapshot = guest.save();
    let mut guest = Guest::bound(&snapshot, None);
    let secret = b"a secret of 34 bytes, many times. ".repeat(20_000);
    assert!(guest.invoke(&secret).payload() == secret);
    guest.machine.reset().expect("reset");
    let mut mailbox = vec![0; BYTES as usize];
    let file = std::fs::File::from(guest.machine.mailbox().file().try_clone_to_owned().expect("a descriptor"));
    file.read_exact_at(&mut mailbox, 0).expect("the mailbox");
    assert!(mailbox[4096..].iter().all(|&byte| byte == 0), "something is left");
    assert!(!mailbox[..EVENT as usize].windows(8).any(|window| window == b"a secret"));
    assert!(guest.machine.mailbox().answer().is_err() && guest.machine.mailbox().take_log().is_empty());
    assert!(guest.machine.memory().expect("memory").windows(8).all(|window| window != b"a secret"));
}

#[test]
fn each_bind_and_reset_is_a_new_generation() {
    let mut guest = Guest::new("event-echo");
    let snapshot = guest.save();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..5 {
        let mut guest = Guest::bound(&snapshot, None);
        for _ in 0..3 {
            guest.invoke(b"").payload();
            assert!(seen.insert(guest.machine.mailbox().guest_words().seeded_generation));
            guest.machine.reset().expect("reset");
        }
    }
}

/// A function snapshot holds what differs from the runtime's, and both together are the function's guest.
#[test]
fn snapshots_stack() {
    let mut guest = Guest::new("files-leave");
    let base = guest.save();
    assert_eq!(base.header().base, 0);
    for search in BOTH {
        let mut guest = bound(&base, None, search);
        guest.invoke(b"the function").payload();
        let saved = memory(&guest);
        let top = guest.save();
        assert_eq!(top.header().base, base.header().identity);
        assert!(top.data_bytes() < base.data_bytes() / 2, "{} of {} bytes", top.data_bytes(), base.data_bytes());
        let mut guest = bound(&base, Some(&top), search);
        assert_same_memory(&guest, &saved);
        for _ in 0..3 {
            assert_eq!(guest.invoke(b"an invocation").payload(), b"the function");
            guest.machine.reset().expect("reset");
            assert_same_memory(&guest, &saved);
        }
        // The runtime's own guests see nothing of it.
        assert_eq!(bound(&base, None, search).invoke(b"x").payload(), b"");
    }
}

/// A page that the function changed back to what the runtime had, or to zeros, is not the runtime's dirty one.
#[test]
fn a_function_snapshot_may_undo_the_runtimes_pages() {
    let mut guest = Guest::new("files-leave");
    guest.invoke(&[7; 100_000]).payload();
    let base = guest.save();
    let mut guest = Guest::bound(&base, None);
    assert_eq!(guest.invoke(&[0; 100_000]).payload(), [7; 100_000]);
    let saved = memory(&guest);
    let top = guest.save();
    let mut guest = Guest::bound(&base, Some(&top));
    assert_same_memory(&guest, &saved);
    assert!(guest.invoke(b"").payload() == [0; 100_000]);
    guest.machine.reset().expect("reset");
    assert_same_memory(&guest, &saved);
}

/// A guest of a function snapshot is either saved so that it can be bound again, or not at all.
#[test]
fn a_third_storey_is_right_or_refused() {
    let mut guest = Guest::new("files-leave");
    let base = guest.save();
    let mut guest = Guest::bound(&base, None);
    guest.invoke(b"second storey").payload();
    let top = guest.save();
    let mut guest = Guest::bound(&base, Some(&top));
    assert_eq!(guest.invoke(b"third storey").payload(), b"second storey");
    let file = tempfile::tempfile().expect("a temporary file");
    match guest.machine.save(&file) {
        Err(error) => assert!(matches!(error, Error::State(_)), "{error}"),
        Ok(_) => {
            let again = Snapshot::open(&path_of(&file), &host().build()).expect("the snapshot");
            let saved = memory(&guest);
            let mut guest = Guest::bound(&base, Some(&again));
            assert_same_memory(&guest, &saved);
            assert_eq!(guest.invoke(b"").payload(), b"third storey");
        }
    }
}

#[test]
fn a_runtime_snapshot_can_get_more_memory() {
    let mut guest = Guest::new("memory-size");
    assert_eq!(guest.invoke(&words([200 << 20])).payload(), b"errno 12");
    let base = guest.save();
    let larger = 512 << 20;
    let mut guest = Guest::bound_with(&base, None, larger).expect("bind");
    assert_eq!(guest.invoke(&words([300 << 20])).payload(), b"mapped");
    assert_eq!(guest.invoke(&words([500 << 20])).payload(), b"errno 12");
    let saved = memory(&guest);
    let top = guest.save();
    assert_eq!(top.header().memory_bytes, larger);
    let mut guest = Guest::bound_with(&base, Some(&top), larger).expect("bind");
    assert_same_memory(&guest, &saved);
    assert_eq!(guest.invoke(&words([300 << 20])).payload(), b"mapped");
    guest.machine.reset().expect("reset");
    assert_same_memory(&guest, &saved);
    assert_eq!(guest.invoke(&words([300 << 20])).payload(), b"mapped");
    // Its size is part of a function snapshot.
    assert!(matches!(Guest::bound_with(&base, Some(&top), MEMORY_BYTES).map(|_| ()), Err(Error::State(_))));
    assert!(matches!(Guest::bound_with(&base, Some(&top), 2 * larger).map(|_| ()), Err(Error::State(_))));
}

/// A snapshot with runs of one page, which are copied, and a long one, which is mapped; and the memory that was saved.
fn scattered(dirty: &mut Guest) -> (Snapshot, Vec<u8>) {
    dirty.invoke(&words([500, 4])).payload();
    dirty.invoke(&words([200, 1])).payload();
    (dirty.save(), memory(dirty))
}

/// A machine that was bound to the runtime snapshot ahead of time, and has run, takes the function snapshot over it.
#[test]
fn a_guest_can_be_bound_over_its_reset_runtime() {
    let mut guest = Guest::new("memory-dirty");
    guest.invoke(&words([3000, 2])).payload();
    let base = guest.save();
    let mut guest = Guest::bound(&base, None);
    let (top, saved) = scattered(&mut guest);
    for search in BOTH {
        let mut guest = bound(&base, None, search);
        let at_first = memory(&guest);
        guest.invoke(&words([1000, 1])).payload();
        let refused = guest.bind_over(&base, Some(&top), &[&image()], MEMORY_BYTES);
        assert!(matches!(refused, Err(Error::State(_))), "it has run since its last reset");
        guest.machine.reset().expect("reset");
        assert_same_memory(&guest, &at_first);
        guest.bind_over(&base, Some(&top), &[&image()], MEMORY_BYTES).expect("bind");
        assert_same_memory(&guest, &saved);
        for _ in 0..2 {
            assert_eq!(guest.invoke(&words([1500, 1])).word(0), 3, "calls are counted in memory");
            guest.machine.reset().expect("reset");
            assert_same_memory(&guest, &saved);
        }
        let again = guest.bind_over(&base, Some(&top), &[&image()], MEMORY_BYTES);
        assert!(matches!(again, Err(Error::State(_))), "it has a function already");
    }
}

/// What is given back was the snapshot's, wherever it came from; the guest's own stays.
#[test]
fn a_trimmed_guest_has_the_memory_that_it_had() {
    let mut guest = Guest::new("memory-dirty");
    let base = guest.save();
    let mut guest = Guest::bound(&base, None);
    let (top, saved) = scattered(&mut guest);
    for search in BOTH {
        let mut guest = bound(&base, Some(&top), search);
        assert!(guest.machine.trim().expect("trim") >= 400, "what the bind has copied, before the first event");
        assert_same_memory(&guest, &saved);
        let mut guest = bound(&base, Some(&top), search);
        assert_eq!(guest.invoke(&words([0, 1])).word(0), 2);
        for round in 0..3_u64 {
            let now = memory(&guest);
            let given = guest.machine.trim().expect("trim");
            assert!(round > 0 || given >= 300, "{given} pages were given back: the bind has copied more");
            assert_eq!(guest.machine.trim().expect("trim"), 0, "there is nothing more");
            assert_same_memory(&guest, &now);
            assert_eq!(guest.invoke(&words([700, 1])).word(0), 3 + round, "calls are counted in memory");
        }
        guest.machine.reset().expect("reset");
        assert_same_memory(&guest, &saved);
        guest.machine.trim().expect("trim");
        assert_same_memory(&guest, &saved);
        assert_eq!(guest.invoke(&words([700, 1])).word(0), 2);
        guest.machine.reset().expect("reset");
        assert_same_memory(&guest, &saved);
    }
}

#[test]
fn a_guest_that_is_bound_over_its_runtime_can_get_more_memory_and_images() {
    let mut guest = Guest::new("memory-size");
    let base = guest.save();
    let added = file_with(&mayfly_probes::added_image(0));
    let added = ImageFile::open(&path_of(&added)).expect("the image");
    let (images, larger) = ([&image(), &added], 256 << 20);
    let primed = || {
        let mut guest = Guest::bound(&base, None);
        assert_eq!(guest.invoke(&words([110 << 20])).payload(), b"errno 12");
        guest.machine.reset().expect("reset");
        guest
    };
    let mut guest = primed();
    guest.bind_over(&base, None, &images, larger).expect("bind");
    assert_eq!(guest.invoke(&words([110 << 20])).payload(), b"mapped");
    let (top, saved) = (guest.save(), memory(&guest));
    assert_eq!(saved.len() as u64, larger);
    let mut guest = primed();
    guest.bind_over(&base, Some(&top), &images, larger).expect("bind");
    assert_same_memory(&guest, &saved);
    assert_eq!(guest.invoke(&words([110 << 20])).payload(), b"mapped");
    guest.machine.reset().expect("reset");
    assert_same_memory(&guest, &saved);
    for (top, images, memory_bytes) in [
        (Some(&top), &images[..], 2 * larger),
        (Some(&top), &images[..1], larger),
        (None, &[][..], MEMORY_BYTES),
        (None, &images[..], MEMORY_BYTES - (4 << 20)),
    ] {
        let refused = primed().bind_over(&base, top, images, memory_bytes);
        assert!(matches!(refused, Err(Error::State(_))), "{memory_bytes}: {refused:?}");
    }
}

#[test]
fn impossible_sizes_are_refused() {
    let mut guest = Guest::new("event-echo");
    let base = guest.save();
    for bytes in [0, 1, MEMORY_BYTES - (4 << 20), 11 << 30, u64::MAX - (1 << 30)] {
        assert!(Guest::bound_with(&base, None, bytes).is_err(), "{bytes} bytes");
    }
    // A size that is no multiple of a large page is rounded up.
    let guest = Guest::bound_with(&base, None, MEMORY_BYTES + 1).expect("bind");
    assert_eq!(guest.machine.memory().expect("memory").len() as u64, MEMORY_BYTES + (2 << 20));
}

/// The package comes after the runtime snapshot was made: its image is mapped at the bind.
#[test]
fn a_bound_guest_sees_images_that_were_added() {
    let mut guest = Guest::new("files-show");
    assert_eq!(guest.invoke(b"/var/task/added").payload(), b"errno 2");
    let base = guest.save();
    let added = file_with(&mayfly_probes::added_image(0));
    let added = ImageFile::open(&path_of(&added)).expect("the image");
    let bind = |top: Option<&Snapshot>| {
        let mut machine = Machine::new(&host(), Mailbox::new().expect("a mailbox")).expect("a machine");
        machine.bind(&base, top, &[&image(), &added], MEMORY_BYTES, TMP_BYTES, None).expect("bind");
        Guest { machine }
    };
    let mut guest = bind(None);
    assert_eq!(guest.invoke(b"/var/task/added").payload(), b"added\n");
    assert!(guest.invoke(b"/var/task/handler.py").payload().starts_with(b"def handler"));
    let top = guest.save();
    let mut guest = bind(Some(&top));
    assert_eq!(guest.invoke(b"/var/task/added").payload(), b"added\n");
    guest.machine.reset().expect("reset");
    assert_eq!(guest.invoke(b"/var/task/added").payload(), b"added\n");
    // A function snapshot belongs to its images.
    assert!(matches!(Guest::bound_with(&base, Some(&top), MEMORY_BYTES).map(|_| ()), Err(Error::State(_))));
}

/// Of an image that may come, KVM is told ahead: a small one needs no more, of a large one it hears the rest.
#[test]
fn a_guest_that_is_bound_over_its_runtime_finds_images_of_every_size() {
    let base = Guest::new("files-show").save();
    for filler_bytes in [0, 40 << 20] {
        let added = file_with(&mayfly_probes::added_image(filler_bytes));
        let added = ImageFile::open(&path_of(&added)).expect("the image");
        let images = [&image(), &added];
        let bound_over = |top: Option<&Snapshot>| {
            let mut guest = Guest::bound(&base, None);
            assert_eq!(guest.invoke(b"/var/task/added").payload(), b"errno 2");
            guest.machine.reset().expect("reset");
            guest.bind_over(&base, top, &images, MEMORY_BYTES).expect("bind");
            assert_eq!(guest.invoke(b"/var/task/added").payload(), b"added\n");
            assert_eq!(guest.invoke(b"/var/task/last").payload(), b"last\n");
            guest
        };
        let top = bound_over(None).save();
        let mut guest = bound_over(Some(&top));
        guest.machine.reset().expect("reset");
        assert_eq!(guest.invoke(b"/var/task/last").payload(), b"last\n");
    }
}

/// What a working set brings in is a hint: the guest is the same with it, without it, and with a wrong one.
#[test]
fn a_working_set_changes_nothing_but_time() {
    let mut guest = Guest::new("files-leave");
    let base = guest.save();
    let mut guest = Guest::bound(&base, None);
    let before = memory(&guest);
    drop(guest);
    guest = Guest::bound(&base, None);
    guest.invoke(b"x").payload();
    let set = guest.machine.working_set().expect("the working set");
    assert!(set.pages() > 5, "{} pages", set.pages());
    let all_pages = (MEMORY_BYTES / PAGE_BYTES) as u32;
    let ranges = [0, all_pages - 1, all_pages - 1, 2, all_pages + 5, 0].map(u32::to_le_bytes).concat();
    let everything = WorkingSet::from_bytes(&ranges).expect("all pages of memory, and some beyond");
    for set in [WorkingSet::default(), set, everything] {
        let mut machine = Machine::new(&host(), Mailbox::new().expect("a mailbox")).expect("a machine");
        machine.bind(&base, None, &[&image()], MEMORY_BYTES, TMP_BYTES, Some(&set)).expect("bind");
        let mut guest = Guest { machine };
        assert_same_memory(&guest, &before);
        for _ in 0..2 {
            assert_eq!(guest.invoke(b"y").payload(), b"");
            guest.machine.reset().expect("reset");
            assert_same_memory(&guest, &before);
        }
    }
}

/// Page faults of this thread, those of a vCPU that it runs among them.
fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("/proc");
    let (_, numbers) = stat.rsplit_once(')').expect("a name");
    numbers.split_whitespace().nth(7).and_then(|count| count.parse().ok()).expect("a count of minor faults")
}

#[test]
fn with_its_working_set_a_guest_takes_few_faults() {
    let mut guest = Guest::new("memory-dirty");
    let base = guest.save();
    let mut guest = Guest::bound(&base, None);
    let event = words([200, 3]);
    guest.invoke(&event).payload();
    let top = guest.save();
    let mut guest = Guest::bound(&base, Some(&top));
    guest.invoke(&event).payload();
    let set = guest.machine.working_set().expect("the working set");
    let count = |set: Option<&WorkingSet>| {
        let mut machine = Machine::new(&host(), Mailbox::new().expect("a mailbox")).expect("a machine");
        machine.bind(&base, Some(&top), &[&image()], MEMORY_BYTES, TMP_BYTES, set).expect("bind");
        let mut guest = Guest { machine };
        let before = faults();
        guest.invoke(&event).payload();
        faults() - before
    };
    let (without, with) = (count(None), count(Some(&set)));
    assert!(without >= 200 && with < without / 4, "{without} faults without, {with} with {} pages", set.pages());
}

/// Who has the time may have all of a snapshot copied: what the guest then writes to is told apart, and the rest can be given back.
#[test]
fn all_of_a_snapshot_can_be_copied() {
    let mut guest = Guest::new("memory-dirty");
    let base = guest.save();
    let mut guest = Guest::bound(&base, None);
    let (top, saved) = scattered(&mut guest);
    let all = WorkingSet::all(&top, u64::MAX);
    assert_eq!(all.pages() * PAGE_BYTES, top.data_bytes());
    let some = WorkingSet::all(&top, top.data_bytes() - 1);
    assert!((1..all.pages()).contains(&some.pages()), "{} pages", some.pages());
    assert_eq!(WorkingSet::all(&top, 0), WorkingSet::copied(&top), "short runs are copied anyway");
    for (set, search) in [(&all, Search::Scan), (&some, Search::Scan), (&all, Search::OldPageMap)] {
        let copied = set.pages();
        let new = || {
            let mut machine = Machine::new(&host(), Mailbox::new().expect("a mailbox")).expect("a machine");
            if search == Search::OldPageMap {
                machine.use_old_page_map().expect("the page map");
            }
            machine.bind(&base, Some(&top), &[&image()], MEMORY_BYTES, TMP_BYTES, Some(set)).expect("bind");
            Guest { machine }
        };
        assert_same_memory(&new(), &saved);
        // Another one: on old kernels a page of zeros that was only read is taken for a copy.
        let mut guest = new();
        assert_eq!(guest.invoke(&words([50, 1])).word(0), 2, "calls are counted in memory");
        let written = guest.machine.working_set().expect("the working set").pages();
        assert!((50..200).contains(&written), "{written} pages");
        let given = guest.machine.trim().expect("trim");
        assert!(given + 200 >= copied, "{given} pages of {copied}");
        assert_eq!(guest.invoke(&words([700, 1])).word(0), 3);
        guest.machine.reset().expect("reset");
        assert_same_memory(&guest, &saved);
    }
}

// States.

#[test]
fn only_a_waiting_guest_can_be_saved_or_reset() {
    let state = |result: Result<(), Error>| assert!(matches!(result, Err(Error::State(_))), "{result:?}");
    let mut empty = Machine::new(&host(), Mailbox::new().expect("a mailbox")).expect("a machine");
    state(empty.run(0, PATIENCE, &mut Vec::new()).map(|_| ()));
    state(empty.reset().map(|_| ()));
    state(empty.save(&tempfile::tempfile().expect("a temporary file")).map(|_| ()));
    state(empty.memory().map(|_| ()));
    let mut loaded = Guest::loaded("event-echo");
    state(loaded.machine.reset().map(|_| ()));
    state(loaded.machine.save(&tempfile::tempfile().expect("a temporary file")).map(|_| ()));
    state(loaded.machine.boot(&[&image()], MEMORY_BYTES, TMP_BYTES));
    // A booted guest has nothing to be reset to.
    let mut booted = Guest::new("event-echo");
    state(booted.machine.reset().map(|_| ()));
    assert_eq!(booted.invoke(b"still alive").payload(), b"still alive");
    let snapshot = booted.save();
    state(booted.machine.bind(&snapshot, None, &[&image()], MEMORY_BYTES, TMP_BYTES, None));
    // A bound guest that has not run can be saved or reset only once it waits again.
    let mut bound = Guest::bound(&snapshot, None);
    state(bound.machine.reset().map(|_| ()));
    bound.invoke(b"").payload();
    bound.machine.reset().expect("reset");
    bound.machine.reset().expect("a reset of a guest that is reset");
}

#[test]
fn a_guest_that_failed_is_dead() {
    for (probe, payload, timeout) in [
        ("attack-execute", vec![0xb0, 99, 0xe6, 0x6d], PATIENCE),
        ("thread-deadlock", Vec::new(), Duration::from_millis(200)),
    ] {
        let snapshot = Guest::new(probe).save();
        let mut guest = Guest::bound(&snapshot, None);
        let stop = guest.invoke_within(&payload, timeout).stop;
        assert!(matches!(stop, Stop::Violation(_) | Stop::TimedOut), "{stop:?}");
        guest.assert_dead();
        // Its snapshot is as good as ever.
        assert_eq!(Guest::bound(&snapshot, None).invoke_within(&payload, timeout).stop, stop);
    }
}

#[test]
fn a_guest_whose_program_has_ended_can_be_reset() {
    for (probe, payload) in [
        ("end-exit", words([1])),
        ("end-abort", Vec::new()),
        ("end-thread", Vec::new()),
        ("attack-read", words([0])),
        ("memory-out", Vec::new()),
    ] {
        let snapshot = Guest::new(probe).save();
        for search in BOTH {
            let mut guest = bound(&snapshot, None, search);
            let saved = memory(&guest);
            let mut stops = Vec::new();
            for _ in 0..3 {
                let outcome = guest.invoke(&payload);
                assert!(outcome.stop.is_end(), "{outcome:?}");
                guest.assert_ended();
                assert!(guest.machine.working_set().expect("the working set").pages() > 0);
                guest.machine.reset().expect("reset");
                assert_same_memory(&guest, &saved);
                stops.push(outcome.stop);
            }
            assert!(stops.windows(2).all(|pair| pair[0] == pair[1]), "{stops:?}");
        }
    }
    // And goes on as if nothing had been.
    let mut guest = Guest::bound(&Guest::new("attack-read").save(), None);
    let answer = guest.invoke(&words([GDT])).payload().to_vec();
    guest.machine.reset().expect("reset");
    assert!(guest.invoke(&words([0])).stop.is_end());
    guest.machine.reset().expect("reset");
    assert_eq!(guest.invoke(&words([GDT])).payload(), answer);
}

// Files.

fn snapshot_bytes() -> (Snapshot, Vec<u8>) {
    let mut guest = Guest::new("event-echo");
    let file = tempfile::tempfile().expect("a temporary file");
    guest.machine.save(&file).expect("save");
    let mut bytes = vec![0; file.metadata().expect("its length").len() as usize];
    file.read_exact_at(&mut bytes, 0).expect("reading it");
    (Snapshot::open(&path_of(&file), &host().build()).expect("the snapshot"), bytes)
}

fn open(bytes: &[u8]) -> Result<Snapshot, SnapshotError> {
    Snapshot::open(&path_of(&file_with(bytes)), &host().build())
}

#[test]
fn damaged_snapshots_are_refused() {
    let (_, bytes) = snapshot_bytes();
    open(&bytes).expect("the undamaged one");
    let mut places = vec![0, 8, 12, 16, 32, 48, 100, 128, 136, 144, 152, 199, 4096, 4097, 4104, bytes.len() - 1];
    places.extend((8192..bytes.len()).step_by(bytes.len() / 50));
    for at in places {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        assert!(open(&bad).is_err(), "a flipped bit at {at} was not noticed");
    }
}

#[test]
fn truncated_snapshots_are_refused() {
    let (snapshot, bytes) = snapshot_bytes();
    let data = snapshot.header().data_offset as usize;
    for length in
        [0, 1, 199, 4095, 4096, 4100, data - 1, data, data + 1, bytes.len() / 2, bytes.len() - 4096, bytes.len() - 1]
    {
        assert!(open(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
}

#[test]
fn files_that_are_no_snapshots_are_refused() {
    for bytes in [vec![0; 10_000], vec![0xff; 10_000], mayfly_probes::PROGRAM.to_vec(), mayfly_probes::image()] {
        assert!(matches!(open(&bytes), Err(SnapshotError::Damaged { .. })));
    }
    let nowhere = Snapshot::open("/nowhere/at/all".as_ref(), &host().build());
    assert!(matches!(nowhere, Err(SnapshotError::Io { .. })));
}

#[test]
fn snapshots_of_another_build_are_refused() {
    let (_, bytes) = snapshot_bytes();
    let mut other = host().build();
    other[3] ^= 1;
    let opened = Snapshot::open(&path_of(&file_with(&bytes)), &other);
    assert!(matches!(opened, Err(SnapshotError::OtherBuild { .. })));
}

/// The identity of a build must not depend on the CPU on which the question was asked.
#[test]
fn the_build_is_the_same_on_every_cpu() {
    let build = host().build();
    let allowed = rustix::thread::sched_getaffinity(None).expect("the CPUs of this thread");
    for cpu in (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)) {
        let mut one = rustix::thread::CpuSet::new();
        one.set(cpu);
        rustix::thread::sched_setaffinity(None, &one).expect("moving this thread");
        assert_eq!(host().build(), build, "on CPU {cpu}");
    }
}

#[test]
fn a_function_snapshot_belongs_to_one_runtime_snapshot() {
    let mut one = Guest::new("files-leave");
    let base = one.save();
    let mut two = Guest::new("event-echo");
    let other = two.save();
    let mut guest = Guest::bound(&base, None);
    guest.invoke(b"x").payload();
    let top = guest.save();
    for (base, top) in [(&other, Some(&top)), (&top, None), (&top, Some(&top)), (&base, Some(&base))] {
        let bound = Guest::bound_with(base, top, MEMORY_BYTES);
        assert!(matches!(bound.map(|_| ()), Err(Error::State(_))));
    }
}

/// Cut off after it was checked: as when a disk fills up or an operator is careless.
#[test]
fn a_snapshot_that_shrinks_after_it_was_opened_is_refused() {
    let (_, bytes) = snapshot_bytes();
    let file = file_with(&bytes);
    let snapshot = Snapshot::open(&path_of(&file), &host().build()).expect("the snapshot");
    file.set_len(bytes.len() as u64 - 4096).expect("truncating");
    assert!(matches!(Guest::bound_with(&snapshot, None, MEMORY_BYTES).map(|_| ()), Err(Error::State(_))));
}

#[test]
fn images_of_impossible_length_are_refused() {
    for bytes in [0, 1, 4096, (2 << 20) - 1, (2 << 20) + 4096] {
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len(bytes).expect("its length");
        assert!(ImageFile::open(&path_of(&file)).is_err(), "{bytes} bytes");
    }
}
