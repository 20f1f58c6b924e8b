//! The places where bytes of strangers come in, one function each: any bytes may be given, and it must return.
//!
//! - [`mailbox`]: what a guest leaves in the memory that it shares with the host.
//! - [`snapshot`]: what a file in the store may have become: header, run table, working set.
//! - [`package`]: what somebody uploads.
//!
//! Each checks not only that nothing panics, but what was promised about what is accepted. Two things call them:
//!
//! - `tests/bounded.rs`, on every `cargo test`, with as many cases as `PROPTEST_CASES` says;
//! - libFuzzer, which looks for new paths as long as it is let: `cargo install cargo-fuzz`, then, with a nightly compiler
//!   or `RUSTC_BOOTSTRAP=1`, `cargo fuzz run --fuzz-dir scheduler/fuzz --features libfuzzer package`.

use std::cell::RefCell;

use mayfly_abi::layout::{PAGE_BYTES, image_base};
use mayfly_abi::mailbox::{ANSWER, Control, GuestWords, LOG_BYTES, RECORD_MAX_BYTES};
use mayfly_abi::record::HEADER_BYTES;
use mayfly_scheduler::package::{self, EntryKind};
use mayfly_vmm::snapshot::format::{FORMAT_VERSION, Header, MAGIC, parse_runs};
use mayfly_vmm::{BadAnswer, Mailbox, WorkingSet, diagnosis};
use xxhash_rust::xxh3::xxh3_64;

/// `data` is the guest's words, then the start of its answer.
///
/// # Panics
/// If anything is read that the guest could not have meant.
pub fn mailbox(data: &[u8]) {
    // A mailbox is 32 MiB of address space: mapping one for each case would be most of the work.
    thread_local!(static MAILBOX: RefCell<Option<Mailbox>> = const { RefCell::new(None) });
    MAILBOX.with_borrow_mut(|slot| {
        let mailbox = slot.get_or_insert_with(|| Mailbox::new().expect("memory for a mailbox"));
        let mut words = [0; size_of::<GuestWords>()];
        let (given, record) = data.split_at(data.len().min(words.len()));
        words[..given.len()].copy_from_slice(given);
        let mut start = [0; 64];
        let record = &record[..record.len().min(start.len())];
        start[..record.len()].copy_from_slice(record);
        write(mailbox, std::mem::offset_of!(Control, guest) as u64, &words);
        write(mailbox, ANSWER, &start);
        check_mailbox(mailbox, &start);
    });
}

/// Through the file, as a guest writes: past everything that the host's side of it checks.
fn write(mailbox: &Mailbox, at: u64, bytes: &[u8]) {
    let written = rustix::io::pwrite(mailbox.file(), bytes, at).expect("the mailbox is a memory file");
    assert_eq!(written, bytes.len());
}

fn check_mailbox(mailbox: &Mailbox, record: &[u8]) {
    let words = mailbox.guest_words();
    match mailbox.answer() {
        Ok(answer) => {
            assert!(words.answer_bytes as usize <= RECORD_MAX_BYTES);
            assert!(answer.payload.len() + HEADER_BYTES <= words.answer_bytes as usize, "more than there is");
            assert_eq!(answer.kind.to_le_bytes(), record[..4]);
        }
        Err(BadAnswer::Missing) => assert_eq!(words.answer_bytes, 0),
        Err(BadAnswer::Lengths) => {}
    }
    assert!(mailbox.take_log().len() as u64 <= LOG_BYTES.min(words.log_bytes));
    assert!(mailbox.take_log().is_empty(), "a log is taken once");
    let text = diagnosis::describe(&words.last_words, words.wake_ns);
    assert!(text.len() < 4096 && !text.contains(char::is_control), "{text:?} is to go into a log");
    let _ = diagnosis::signal(words.last_words.vector);
}

/// `data` is the header's page without what makes it formally one, the length of the file, and the run table. Checksums are put
/// right first: a fuzzer does not guess them, and whoever can write the file can.
///
/// # Panics
/// If a header or run is accepted that leads out of the guest's memory or the file.
pub fn snapshot(data: &[u8]) {
    let _ = Header::parse(data, data.len() as u64);
    if let Some(set) = WorkingSet::from_bytes(data) {
        assert_eq!(set.to_bytes(), data);
    }
    let Some((file_bytes, data)) = data.split_first_chunk::<4>() else { return };
    let file_bytes = u64::from(u32::from_le_bytes(*file_bytes)) * PAGE_BYTES;
    let (given, table) = data.split_at(data.len().min(SIGNED_BYTES - 16));
    let mut page = vec![0; SIGNED_BYTES];
    page[..8].copy_from_slice(&MAGIC);
    page[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    page[12..16].copy_from_slice(&mayfly_abi::VERSION.to_le_bytes());
    page[16..16 + given.len()].copy_from_slice(given);
    page[RUNS_CHECKSUM..RUNS_CHECKSUM + 8].copy_from_slice(&xxh3_64(table).to_le_bytes());
    page.extend_from_slice(&xxh3_64(&page).to_le_bytes());
    let Ok(header) = Header::parse(&page, file_bytes) else { return };
    assert!(header.data_offset <= file_bytes);
    assert_eq!(header.to_page()[..RUNS_CHECKSUM + 8], page[..RUNS_CHECKSUM + 8], "what is read is what is written");
    let Ok(runs) = parse_runs(&header, table) else { return };
    let (mut end, mut file_offset) = (0, header.data_offset);
    for run in runs {
        assert!(run.first_page >= end && run.pages > 0);
        assert_eq!(run.file_offset, file_offset);
        end = run.first_page + run.pages;
        file_offset += run.bytes();
        let images = header.image_bytes.iter().take(header.images as usize).enumerate();
        let mut places = images.map(|(index, bytes)| (image_base(index), *bytes)).chain([(0, header.memory_bytes)]);
        let is_inside = |(start, bytes)| start <= run.address() && end * PAGE_BYTES <= start + bytes;
        assert!(places.any(is_inside), "{run:?}");
    }
}

/// Bytes of a snapshot's header that its checksum is about, and where in it that of the run table is.
const SIGNED_BYTES: usize = 192;
const RUNS_CHECKSUM: usize = 160;

/// `data` is the file.
///
/// # Panics
/// If an entry is accepted that leads out of the package, is twice in it, or is not what it says it is.
pub fn package(data: &[u8]) {
    let Ok(package) = package::check(data.to_vec().into()) else { return };
    assert!(!package.entries().is_empty());
    let mut total = 0;
    let mut files = std::collections::HashSet::new();
    for entry in package.entries() {
        let parts: Vec<&str> = entry.path.split('/').collect();
        assert!(parts.iter().all(|part| !matches!(*part, "" | "." | "..")), "{:?} is not a plain path", entry.path);
        assert!(!entry.path.contains('\0'));
        match &entry.kind {
            EntryKind::Directory => {}
            EntryKind::File { bytes, .. } => {
                let mut content = Vec::new();
                package.copy(entry, &mut content).expect("it was checked, and memory takes everything");
                assert_eq!(content.len() as u64, *bytes);
                total += bytes;
                assert!(files.insert(&entry.path), "{:?} twice", entry.path);
            }
            EntryKind::Link { target } => {
                assert_inside(&parts, target);
                assert!(files.insert(&entry.path), "{:?} twice", entry.path);
            }
        }
    }
    assert!(total <= package.unzipped_bytes());
}

/// Whether a link, followed from its directory, never leaves the root.
fn assert_inside(link: &[&str], target: &str) {
    assert!(!target.starts_with('/'), "{target:?} is absolute");
    let mut depth = link.len() - 1;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => depth = depth.checked_sub(1).unwrap_or_else(|| panic!("{target:?} leads out")),
            _ => depth += 1,
        }
    }
}
