//! Nothing that an invocation leaves is seen by the next one after a reset, wherever it is: and what says so would notice a reset that is broken.
//!
//! The probe leaves a canary in each place that the platform knows of, and tells what it finds before that. A broken reset is a good one after
//! which a part of what was there before it is written back: what a reset would have left that missed that part.

mod setup;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use mayfly_abi::layout::{KERNEL_DATA, KERNEL_DATA_END, PAGE_BYTES};
use mayfly_abi::mailbox::{BYTES as MAILBOX_BYTES, LOG};
use mayfly_vmm::{Snapshot, Stop};
use setup::Guest;

/// Invocations in all; where machines are emulated, a hundredth.
const ROUNDS: u64 = if cfg!(mayfly_emulated_svm) { 100 } else { 10_000 };
/// Every so many of them, all memory of the guest is compared with what it was.
const COMPARED_EVERY: u64 = 500;
/// Every so many of them is large.
const LARGE_EVERY: u64 = 16;
const LARGE_BYTES: usize = 100_000;
/// For a guest whose memory does not fit together, which may wait for ever. Others need a millisecond.
const BROKEN_FOR: Duration = Duration::from_secs(if cfg!(mayfly_emulated_svm) { 30 } else { 3 });

/// The places outside of the registers, as the probe calls them.
const PLACES: [&str; 14] = [
    "data",
    "heap",
    "stack",
    "memory",
    "mailbox",
    "thread",
    "tmp",
    "descriptor",
    "directory",
    "environment",
    "umask",
    "handler",
    "signal",
    "timer",
];

/// No two are alike, and the probe knows one by its highest bytes. All have the same lowest byte.
fn canary(round: u64) -> [u8; 8] {
    (0x1eca_0000_0000_00ca | round << 8).to_le_bytes()
}

fn snapshot() -> Snapshot {
    Guest::new("canaries").save()
}

/// The places in which the guest finds something, and leaves a canary in all of them.
fn invoke(guest: &mut Guest, round: u64) -> Vec<String> {
    let mut event = canary(round).to_vec();
    if round.is_multiple_of(LARGE_EVERY) {
        event = event.repeat(LARGE_BYTES / event.len());
    }
    places_in(guest.invoke(&event).payload())
}

/// The first line of an answer.
fn places_in(answer: &[u8]) -> Vec<String> {
    let found = answer.split(|&byte| byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(found).split_whitespace().map(str::to_owned).collect()
}

#[test]
fn nothing_is_left_after_a_reset() {
    let snapshot = snapshot();
    let mut guest = Guest::bound(&snapshot, None);
    let pristine = guest.machine.memory().expect("memory").to_vec();
    for round in 0..ROUNDS {
        let found = invoke(&mut guest, round);
        assert!(found.is_empty(), "invocation {round} found something of the last one: {found:?}");
        guest.machine.reset().expect("reset");
        if round % COMPARED_EVERY == 0 {
            assert!(guest.machine.memory().expect("memory") == pristine, "memory differs after invocation {round}");
            assert!(mailbox(&guest).iter().all(|&byte| byte == 0), "the mailbox is not empty after invocation {round}");
        }
    }
}

#[test]
fn without_a_reset_all_is_found() {
    let snapshot = snapshot();
    let mut guest = Guest::bound(&snapshot, None);
    assert!(invoke(&mut guest, 0).is_empty());
    let found = invoke(&mut guest, 1);
    // The kernel clears what it hands out, reset or not.
    for place in PLACES.iter().filter(|&&place| place != "memory") {
        assert!(found.iter().any(|found| found == place), "{place} is not among {found:?}");
    }
}

/// Each page that an invocation has changed is missed alone: what was in it is found, or it fits nothing and the guest ends.
#[test]
fn a_reset_that_misses_a_page_is_noticed() {
    let snapshot = snapshot();
    let mut guest = Guest::bound(&snapshot, None);
    let pristine = guest.machine.memory().expect("memory").to_vec();
    assert!(invoke(&mut guest, 1).is_empty());
    let kernel = KERNEL_DATA..KERNEL_DATA_END;
    let changed = changed_pages(&pristine, guest.machine.memory().expect("memory"));
    let (of_kernel, of_program): (Vec<u64>, Vec<u64>) = changed.into_iter().partition(|page| kernel.contains(page));
    for (pages, expected) in [
        // Not "memory": the kernel clears what it hands out.
        (of_program, &["data", "heap", "stack"][..]),
        (of_kernel, &["registers", "directory", "umask"]),
    ] {
        let found: BTreeSet<String> = pages.iter().flat_map(|&page| found_if_missed(&snapshot, page)).collect();
        assert!(expected.iter().all(|&place| found.contains(place)), "only {found:?} of {expected:?} are found");
    }
}

/// What is found in a guest whose reset has missed a page.
fn found_if_missed(snapshot: &Snapshot, page: u64) -> Vec<String> {
    let mut guest = Guest::bound(snapshot, None);
    assert!(invoke(&mut guest, 1).is_empty());
    let missed = guest.machine.memory().expect("memory")[page as usize..][..PAGE_BYTES as usize].to_vec();
    guest.machine.reset().expect("reset");
    let at = guest.machine.memory().expect("memory").as_ptr() as u64 + page;
    let own = File::options().write(true).open("/proc/self/mem").expect("the own memory");
    own.write_all_at(&missed, at).expect("writing the own memory");
    let outcome = guest.invoke_within(&canary(2), BROKEN_FOR);
    if outcome.stop == Stop::Next { places_in(outcome.payload()) } else { Vec::new() }
}

fn changed_pages(before: &[u8], after: &[u8]) -> Vec<u64> {
    let page = PAGE_BYTES as usize;
    let pages = before.chunks(page).zip(after.chunks(page)).enumerate();
    pages.filter(|(_, (before, after))| before != after).map(|(index, _)| index as u64 * PAGE_BYTES).collect()
}

#[test]
fn a_reset_that_misses_the_mailbox_is_noticed() {
    let snapshot = snapshot();
    let mut guest = Guest::bound(&snapshot, None);
    assert!(invoke(&mut guest, 0).is_empty());
    let missed = mailbox(&guest);
    guest.machine.reset().expect("reset");
    mailbox_file(&guest).write_all_at(&missed, LOG).expect("the mailbox");
    assert_eq!(invoke(&mut guest, 1), ["mailbox"]);
}

/// The mailbox but for its control page.
fn mailbox(guest: &Guest) -> Vec<u8> {
    let mut bytes = vec![0; (MAILBOX_BYTES - LOG) as usize];
    mailbox_file(guest).read_exact_at(&mut bytes, LOG).expect("the mailbox");
    bytes
}

fn mailbox_file(guest: &Guest) -> File {
    guest.machine.mailbox().file().try_clone_to_owned().expect("a descriptor").into()
}
