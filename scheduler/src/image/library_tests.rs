//! Libraries in images: the file is what it was, the load area what a loader would have made, and no file, however odd, breaks either.

use std::{collections::BTreeSet, fs, path::PathBuf};

use mayfly_abi::{
    image::{Image, Node},
    layout::{IMAGE_TABLES_MAX, IMAGES_WRITABLE_MAX_BYTES, LARGE_PAGE_BYTES, PAGE_BYTES, STUBS_BYTES},
};
use proptest::prelude::*;

use super::{
    Tree,
    library::Plan,
    tests::{look_up, written},
};

const READ: u32 = 4;
const WRITE: u32 = 2;
const EXECUTE: u32 = 1;
/// `mov eax, 39; syscall`
const SITE: [u8; 7] = [0xb8, 39, 0, 0, 0, 0x0f, 0x05];

/// A `PT_LOAD`.
#[derive(Debug, Clone, Copy)]
struct Load {
    flags: u32,
    offset: u64,
    address: u64,
    file_bytes: u64,
    memory_bytes: u64,
    align: u64,
}

/// Headers, text, data and zeros, as a linker makes it: data is a page further in memory than in the file.
const ORDINARY: [Load; 3] = [
    load(READ, 0, 0, 0x800, 0x800),
    load(READ | EXECUTE, 0x1000, 0x1000, 0x1800, 0x1800),
    load(READ | WRITE, 0x2c00, 0x3c00, 0x700, 0x3000),
];
const ORDINARY_BYTES: usize = 0x4000;

const fn load(flags: u32, offset: u64, address: u64, file_bytes: u64, memory_bytes: u64) -> Load {
    Load { flags, offset, address, file_bytes, memory_bytes, align: PAGE_BYTES }
}

fn library(loads: &[Load], bytes: usize) -> Vec<u8> {
    let mut file: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8 | 1).collect();
    let mut head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
    for word in [0, 64, 0_u64] {
        head.extend_from_slice(&word.to_le_bytes());
    }
    head.extend_from_slice(&[0, 0, 0, 0, 64, 0, 56, 0, loads.len() as u8, 0, 64, 0, 0, 0, 0, 0]);
    for load in loads {
        head.extend_from_slice(&[1, 0, 0, 0]);
        head.extend_from_slice(&load.flags.to_le_bytes());
        for word in [load.offset, load.address, load.address, load.file_bytes, load.memory_bytes, load.align] {
            head.extend_from_slice(&word.to_le_bytes());
        }
    }
    let head_bytes = head.len().min(file.len());
    file[..head_bytes].copy_from_slice(&head[..head_bytes]);
    file
}

fn image_of(files: &[Vec<u8>]) -> Vec<u8> {
    let mut tree = Tree::new();
    for (number, file) in files.iter().enumerate() {
        tree.file(&format!("/lib/{number:03}.so"), 0o644, 0, file.len() as u64, file.clone()).expect("a path");
    }
    written(&tree)
}

fn node_of(image: &Image<'_>, number: usize) -> Node {
    look_up(image, &format!("/lib/{number:03}.so")).expect("it is there")
}

/// The file as a guest reads it.
fn content(image: &Image<'_>, node: &Node) -> Vec<u8> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < node.data_bytes {
        let piece = image.piece(node, bytes.len() as u64);
        assert!(!piece.is_empty(), "nothing at {} of {}", bytes.len(), node.data_bytes);
        bytes.extend_from_slice(piece);
    }
    bytes
}

/// What a loader has after it mapped that: whole pages of the file, zeros after them.
fn loaded(file: &[u8], loads: &[Load]) -> Vec<u8> {
    let page = |at: u64| at & !(PAGE_BYTES - 1);
    let first = page(loads.iter().map(|load| load.address).min().expect("one"));
    let end = loads.iter().map(|load| page(load.address + load.memory_bytes + PAGE_BYTES - 1)).max().expect("one");
    let mut memory = vec![0; (end - first) as usize];
    for load in loads {
        let (from, to) = (page(load.offset), page(load.offset + load.file_bytes + PAGE_BYTES - 1));
        let bytes = &file[from as usize..file.len().min(to as usize)];
        let at = (page(load.address) - first) as usize;
        memory[at..at + bytes.len()].copy_from_slice(bytes);
    }
    memory
}

#[track_caller]
fn assert_loaded(image: &Image<'_>, all: &[u8], node: &Node, expected: &[u8]) {
    let area = image.area(node).expect("a load area");
    let memory = &all[area.offset as usize..(area.offset + area.bytes) as usize];
    assert_eq!(memory.len(), expected.len());
    let differs = memory.iter().zip(expected).position(|(now, then)| now != then);
    assert_eq!(differs, None);
}

#[test]
fn a_library_is_there_as_a_loader_would_map_it() {
    let file = library(&ORDINARY, ORDINARY_BYTES);
    let all = image_of(&[file.clone(), file.clone()]);
    let image = Image::new(&all).expect("an image");
    let area = |number| image.area(&node_of(&image, number)).expect("a load area");
    for number in [0, 1] {
        let node = node_of(&image, number);
        assert_eq!(content(&image, &node), file);
        assert_loaded(&image, &all, &node, &loaded(&file, &ORDINARY));
        let start = area(number).offset;
        let writable = |offset, bytes| image.is_writable(start + offset, bytes);
        assert!(
            writable(0x3000, 0x4000) && !writable(0x2000, 0x1000) && !writable(0x2fff, 2) && !writable(0x3000, 0x4001)
        );
        // Text is not there twice.
        let text = image.piece(&node, 0x1000).as_ptr() as usize - all.as_ptr() as usize;
        assert_eq!(text as u64, start + 0x1000);
    }
    assert!(area(0).offset + area(0).bytes <= area(1).offset);
    assert_eq!(image.stubs(), None);
    assert_eq!(image.read_only().area(&node_of(&image, 0)), None);
    assert!(!image.read_only().is_writable(area(0).offset + 0x3000, 1));
}

#[test]
fn pages_with_system_calls_can_be_written_and_the_file_stays_the_same() {
    let mut file = library(&ORDINARY, ORDINARY_BYTES);
    // Its first five bytes, which change, are on two pages.
    file[0x1ffd..0x1ffd + SITE.len()].copy_from_slice(&SITE);
    let all = image_of(std::slice::from_ref(&file));
    let image = Image::new(&all).expect("an image");
    let node = node_of(&image, 0);
    let start = image.area(&node).expect("a load area").offset;
    assert!(image.is_writable(start + 0x1000, 0x2000) && !image.is_writable(start, 1));
    let stubs = image.stubs().expect("room for stubs");
    assert!(
        image.is_writable(stubs, STUBS_BYTES)
            && all[stubs as usize..][..STUBS_BYTES as usize].iter().all(|&byte| byte == 0)
    );
    assert_eq!(content(&image, &node), file);
    let text = image.piece(&node, 0x1ffd).as_ptr() as usize - all.as_ptr() as usize;
    assert!(!image.is_writable(text as u64, 1), "the guest's kernel changes the load area, not the file");
}

#[test]
fn libraries_that_loaders_treat_differently_have_no_load_area() {
    type Change = fn(&mut [Load; 3]);
    let with = |change: Change| {
        let mut loads = ORDINARY;
        change(&mut loads);
        Plan::of(&library(&loads, ORDINARY_BYTES))
    };
    assert!(with(|_| {}).is_some());
    let changes: [(&str, Change); 9] = [
        ("aligned to more than a page", |loads| loads[1].align = 2 << 20),
        ("not congruent", |loads| loads[2].address += 1),
        ("out of order", |loads| loads.swap(0, 2)),
        ("overlapping", |loads| loads[2].address = 0x2c00),
        ("beyond the file", |loads| loads[2].file_bytes = 0x1_0000),
        ("more in the file than in memory", |loads| loads[2].memory_bytes = 0x100),
        ("headers that are written", |loads| loads[0].flags |= WRITE),
        ("a hole", |loads| loads[2].address += 1 << 30),
        ("beyond all addresses", |loads| loads[2].memory_bytes = u64::MAX - 0x3c00),
    ];
    for (what, change) in changes {
        assert_eq!(with(change), None, "{what}");
    }
    let mut program = library(&ORDINARY, ORDINARY_BYTES);
    program[16] = 2;
    assert_eq!(Plan::of(&program), None, "a program with a fixed address");
}

#[test]
fn an_image_has_no_more_than_its_share() {
    // Each could be written as a whole: 8 MiB. Beyond the fourth they are copied, as all were once.
    let mut loads = ORDINARY;
    loads[2].memory_bytes = 8 << 20;
    let files = vec![library(&loads, ORDINARY_BYTES); 6];
    let all = image_of(&files);
    let image = Image::new(&all).expect("an image");
    let placed = (0..6).filter(|&number| image.area(&node_of(&image, number)).is_some()).count();
    assert_eq!(placed, 3);
    assert!((0..6).all(|number| content(&image, &node_of(&image, number)) == files[number]));
}

/// Libraries of this host, those of this very program.
fn own_libraries() -> Vec<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").expect("it can be read");
    let paths = maps.lines().filter_map(|line| Some(line[line.find('/')?..].into()));
    paths.collect::<BTreeSet<PathBuf>>().into_iter().filter(|path| path.is_file()).collect()
}

#[test]
fn libraries_of_this_host_are_used_in_place() {
    let paths = own_libraries();
    let files: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).expect("it can be read")).collect();
    let all = image_of(&files);
    let image = Image::new(&all).expect("an image");
    let mut placed = 0;
    for (number, file) in files.iter().enumerate() {
        let node = node_of(&image, number);
        assert_eq!(content(&image, &node), *file, "{}", paths[number].display());
        if image.area(&node).is_some() {
            placed += 1;
            assert_loaded(&image, &all, &node, &loaded(file, &loads_of(file)));
        }
    }
    assert!(placed >= 2, "of {paths:?}");
}

fn loads_of(file: &[u8]) -> Vec<Load> {
    let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("8 bytes"));
    let table = word(32) as usize;
    let entries =
        (0..usize::from(file[56])).map(|index| table + index * 56).filter(|&at| file[at..at + 4] == [1, 0, 0, 0]);
    entries
        .map(|at| Load {
            flags: word(at) as u32,
            offset: word(at + 8),
            address: word(at + 16),
            file_bytes: word(at + 32),
            memory_bytes: word(at + 40),
            align: word(at + 48),
        })
        .collect()
}

/// Numbers that are near what matters.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => (0_u64..8, prop_oneof![Just(0), Just(1), Just(0xfff), 0_u64..0x1000])
            .prop_map(|(page, offset)| page * PAGE_BYTES + offset),
        1 => any::<u64>(),
        1 => any::<u64>().prop_map(|number| number & !(PAGE_BYTES - 1)),
    ]
}

fn any_load() -> impl Strategy<Value = Load> {
    let align = prop_oneof![4 => Just(PAGE_BYTES), 1 => any::<u64>()];
    (0_u32..8, number(), number(), number(), number(), align).prop_map(
        |(flags, offset, address, file_bytes, memory_bytes, align)| Load {
            flags,
            offset,
            address,
            file_bytes,
            memory_bytes,
            align,
        },
    )
}

/// Files that are nearly libraries.
fn any_library() -> impl Strategy<Value = Vec<u8>> {
    let flips = proptest::collection::vec((0_usize..240, any::<u8>()), 0..4);
    let loads = prop_oneof![
        2 => Just(ORDINARY.to_vec()),
        1 => (0_usize..3, any_load()).prop_map(|(at, load)| { let mut loads = ORDINARY; loads[at] = load; loads.to_vec() }),
        1 => proptest::collection::vec(any_load(), 0..20),
    ];
    (loads, flips, 0_usize..0x6000).prop_map(|(loads, flips, bytes)| {
        let mut file = library(&loads, bytes);
        for (at, value) in flips {
            if let Some(byte) = file.get_mut(at) {
                *byte = value;
            }
        }
        file
    })
}

proptest! {
    #[test]
    fn no_file_breaks_an_image(files in proptest::collection::vec(any_library(), 1..5)) {
        let all = image_of(&files);
        let image = Image::new(&all).expect("an image");
        let mut taken: Vec<(u64, u64)> = Vec::new();
        for (number, file) in files.iter().enumerate() {
            let node = node_of(&image, number);
            prop_assert_eq!(&content(&image, &node), file);
            let mut at = 0;
            while at < node.data_bytes {
                let piece = image.piece(&node, at);
                let offset = (piece.as_ptr() as usize - all.as_ptr() as usize) as u64;
                let pages = (offset / PAGE_BYTES..=(offset + piece.len() as u64 - 1) / PAGE_BYTES).map(|page| page * PAGE_BYTES);
                prop_assert!(pages.into_iter().all(|page| !image.is_writable(page, 1)), "a file that can be changed");
                at += piece.len() as u64;
            }
            if let Some(area) = image.area(&node) {
                let end = area.offset + area.bytes;
                prop_assert!(taken.iter().all(|&(from, to)| end <= from || to <= area.offset), "two in one place");
                taken.push((area.offset, end));
                prop_assert_eq!(loaded(file, &loads_of(file)).len() as u64, area.bytes);
            }
        }
        let writable = (0..all.len() as u64 / PAGE_BYTES).filter(|page| image.is_writable(page * PAGE_BYTES, PAGE_BYTES));
        let writable: Vec<u64> = writable.collect();
        prop_assert!(writable.len() as u64 * PAGE_BYTES <= IMAGES_WRITABLE_MAX_BYTES / 2 + STUBS_BYTES);
        let tables: BTreeSet<u64> = writable.iter().map(|page| page * PAGE_BYTES / LARGE_PAGE_BYTES).collect();
        prop_assert!(tables.len() <= IMAGE_TABLES_MAX / 2 + 1);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(file in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Plan::of(&file);
    }
}
