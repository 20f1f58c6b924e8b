//! The fuzz functions on a stable compiler, within bounds: `PROPTEST_CASES` says how far (256 if it is not set).
//!
//! Bytes at random hardly ever get past the first check, so each case starts from something that is right, or nearly so.

use std::io::{Cursor, Write};

use mayfly_abi::layout::{IMAGE_STRIDE_BYTES, IMAGES, MEMORY_MAX_BYTES, MEMORY_MIN_BYTES, PAGE_BYTES};
use mayfly_abi::mailbox::{GuestWords, KERNEL_PANIC, LOG_BYTES, LastWords, RECORD_MAX_BYTES};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Numbers around which checks go wrong.
fn numbers() -> impl Strategy<Value = u64> {
    let edges = [0, 1, 16, LOG_BYTES, RECORD_MAX_BYTES as u64, u32::MAX.into(), 1 << 63, u64::MAX];
    prop_oneof![
        3 => (select(edges.to_vec()), -2_i64..=2).prop_map(|(edge, by)| edge.wrapping_add_signed(by)),
        1 => any::<u64>(),
        1 => 0_u64..64,
    ]
}

/// Pages between two runs: some, or all up to the next image.
fn gap() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0_u64..40_000, 1 => select(vec![IMAGES, IMAGE_STRIDE_BYTES]).prop_map(|bytes| bytes / PAGE_BYTES)]
}

proptest! {
    #[test]
    fn mailbox(
        words in vec(numbers(), size_of::<GuestWords>() / 8),
        vector in prop_oneof![Just(KERNEL_PANIC), 0_u64..40, numbers()],
        message in vec(any::<u8>(), 0..128),
        header in prop::array::uniform4(numbers()),
    ) {
        let mut data: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        let last_words = std::mem::offset_of!(GuestWords, last_words);
        data[last_words..last_words + 8].copy_from_slice(&vector.to_le_bytes());
        let at = last_words + std::mem::offset_of!(LastWords, message);
        data[at..at + message.len()].copy_from_slice(&message);
        data.extend(header.into_iter().flat_map(|number| (number as u32).to_le_bytes()));
        mayfly_fuzz::mailbox(&data);
    }

    #[test]
    fn answers_whose_lengths_are_nearly_right(payload_bytes in 0_u32..70_000, meta_bytes in 0_u32..300, off in -2_i64..=2) {
        let mut data = vec![0; size_of::<GuestWords>()];
        let total = 16 + i64::from(payload_bytes) + i64::from(meta_bytes) + off;
        let at = std::mem::offset_of!(GuestWords, answer_bytes);
        data[at..at + 8].copy_from_slice(&total.to_le_bytes());
        data.extend([2, 0, meta_bytes, payload_bytes].into_iter().flat_map(u32::to_le_bytes));
        mayfly_fuzz::mailbox(&data);
    }

    #[test]
    fn snapshot(
        file_pages in 0_u32..64,
        memory_bytes in prop_oneof![3 => select(vec![MEMORY_MIN_BYTES, MEMORY_MAX_BYTES]), 1 => numbers()],
        images in prop_oneof![3 => 0_u64..10, 1 => numbers()],
        data_page in 0_u64..70,
        runs in vec((gap(), 0_u64..300), 0..12),
        wrong in prop::option::weighted(0.2, (any::<Index>(), any::<u8>())),
        more in numbers(),
    ) {
        // The header from its seventeenth byte on: build, identity, base, memory, /tmp, images.
        let mut words = vec![3, 3, 5, 7, memory_bytes, more];
        words.extend([2 << 20; 8]);
        words.extend([images, runs.len() as u64, data_page * PAGE_BYTES, more, 0]);
        words.extend([0; 3]);
        let mut first = 0;
        for (gap, pages) in runs {
            // In order, as a rule; `wrong` is for the others.
            words.extend([first + gap, pages]);
            first += gap + pages;
        }
        let mut data = file_pages.to_le_bytes().to_vec();
        data.extend(words.into_iter().flat_map(u64::to_le_bytes));
        if let Some((index, byte)) = wrong {
            let at = index.index(data.len());
            data[at] = byte;
        }
        mayfly_fuzz::snapshot(&data);
    }

    #[test]
    fn package(
        files in vec((name(), vec(any::<u8>(), 0..200), any::<bool>()), 0..6),
        links in vec((name(), name()), 0..3),
        changes in vec((any::<Index>(), prop_oneof![any::<u8>(), select(vec![0, 1, 0x7f, 0xff])]), 0..4),
        cut in prop::option::weighted(0.1, any::<Index>()),
    ) {
        let mut data = zip(&files, &links);
        for (index, byte) in changes {
            let at = index.index(data.len());
            data[at] = byte;
        }
        if let Some(cut) = cut {
            data.truncate(cut.index(data.len()));
        }
        mayfly_fuzz::package(&data);
    }

    #[test]
    fn any_bytes(data in vec(any::<u8>(), 0..1000)) {
        mayfly_fuzz::mailbox(&data);
        mayfly_fuzz::snapshot(&data);
        mayfly_fuzz::package(&data);
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{1,2}(/[a-c]{1,2}){0,2}/?", "(\\.\\./|\\./|/|[a-c]/|\\\\){0,4}[a-c.]{0,2}"]
}

/// A package as an honest zip program writes it, of names that may be anything.
fn zip(files: &[(String, Vec<u8>, bool)], links: &[(String, String)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content, deflate) in files {
        let method = if *deflate { CompressionMethod::Deflated } else { CompressionMethod::Stored };
        // The writer refuses what it has already, which is as well.
        if writer.start_file(name, SimpleFileOptions::default().compression_method(method)).is_ok() {
            writer.write_all(content).expect("memory takes everything");
        }
    }
    for (name, target) in links {
        let _ = writer.add_symlink(name, target, SimpleFileOptions::default());
    }
    writer.finish().expect("memory takes everything").into_inner()
}
