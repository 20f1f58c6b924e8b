//! Packages that must be read as they are, and packages that must be refused.

use std::io::{Cursor, Read, Write as _};

use proptest::prelude::*;
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

use super::*;

/// An entry of a hand-made package, with room for lies.
#[derive(Clone)]
struct Made {
    name: Vec<u8>,
    local_name: Option<Vec<u8>>,
    content: Vec<u8>,
    mode: u32,
    flags: u16,
    method: u16,
    crc: Option<u32>,
    claimed_bytes: Option<u32>,
    offset: Option<u32>,
}

impl Made {
    fn file(name: &str, content: &[u8]) -> Made {
        Made {
            name: name.into(),
            local_name: None,
            content: content.to_vec(),
            mode: 0o100_644,
            flags: 0,
            method: 0,
            crc: None,
            claimed_bytes: None,
            offset: None,
        }
    }

    fn link(name: &str, target: &str) -> Made {
        Made { mode: 0o120_777, ..Made::file(name, target.as_bytes()) }
    }

    fn crc(&self) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(&self.content);
        self.crc.unwrap_or(crc.sum())
    }
}

fn words(out: &mut Vec<u8>, words: &[(u32, usize)]) {
    for (word, bytes) in words {
        out.extend_from_slice(&word.to_le_bytes()[..*bytes]);
    }
}

/// A zip file of stored entries.
fn make(entries: &[Made]) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = entry.offset.unwrap_or(out.len() as u32);
        let local_name = entry.local_name.as_ref().unwrap_or(&entry.name);
        let claimed = entry.claimed_bytes.unwrap_or(entry.content.len() as u32);
        let common = [
            (20, 2),
            (entry.flags.into(), 2),
            (entry.method.into(), 2),
            (0, 2),
            (0x5c21, 2),
            (entry.crc(), 4),
            (entry.content.len() as u32, 4),
            (claimed, 4),
        ];
        words(&mut out, &[(0x0403_4b50, 4)]);
        words(&mut out, &common);
        words(&mut out, &[(local_name.len() as u32, 2), (0, 2)]);
        out.extend_from_slice(local_name);
        out.extend_from_slice(&entry.content);
        words(&mut central, &[(0x0201_4b50, 4), (3 << 8 | 20, 2)]);
        words(&mut central, &common);
        words(&mut central, &[(entry.name.len() as u32, 2), (0, 2), (0, 2), (0, 2), (0, 2)]);
        words(&mut central, &[(entry.mode << 16, 4), (offset, 4)]);
        central.extend_from_slice(&entry.name);
    }
    let start = out.len() as u32;
    out.extend_from_slice(&central);
    let count = entries.len() as u32;
    words(&mut out, &[(0x0605_4b50, 4), (0, 2), (0, 2), (count, 2), (count, 2)]);
    words(&mut out, &[(central.len() as u32, 4), (start, 4), (0, 2)]);
    out
}

fn check_made(entries: &[Made]) -> Result<Package, PackageError> {
    check(make(entries).into())
}

/// The detail with which it is refused as unreadable.
fn refused(entries: &[Made]) -> String {
    match check_made(entries) {
        Err(PackageError::Unreadable { detail }) => detail,
        other => panic!("not refused as unreadable: {other:?}"),
    }
}

fn content(package: &Package, path: &str) -> Vec<u8> {
    let entry = package.entries().iter().find(|entry| entry.path == path).expect("it is there");
    let mut bytes = Vec::new();
    package.copy(entry, &mut bytes).expect("checked");
    bytes
}

#[test]
fn a_plain_package_is_read() {
    let package = check_made(&[
        Made::file("handler.py", b"def handler(e, c): pass\n"),
        Made { mode: 0o040_755, ..Made::file("lib/", b"") },
        Made { mode: 0o104_755, ..Made::file("lib/tool", b"#!/bin/sh\n") },
        Made::link("lib/link", "../handler.py"),
        Made { mode: 0, ..Made::file("implied/parents/f", b"x") },
        Made { mode: 0, ..Made::file("no/mode/", b"") },
    ])
    .expect("it is good");
    let kinds: Vec<_> = package.entries().iter().map(|entry| (entry.path.as_str(), entry.kind.clone())).collect();
    assert_eq!(
        kinds,
        [
            ("handler.py", EntryKind::File { bytes: 24, executable: false }),
            ("lib", EntryKind::Directory),
            ("lib/tool", EntryKind::File { bytes: 10, executable: true }),
            ("lib/link", EntryKind::Link { target: "../handler.py".into() }),
            ("implied/parents/f", EntryKind::File { bytes: 1, executable: false }),
            ("no/mode", EntryKind::Directory),
        ]
    );
    assert_eq!(content(&package, "handler.py"), b"def handler(e, c): pass\n");
    // 2026-01-01.
    assert_eq!(package.entries()[0].modified_s, 1_767_225_600);
}

#[test]
fn what_writers_do_is_read() {
    let deflated = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let mut big = ZipWriter::new(Cursor::new(b"#!/usr/bin/env python3\n".to_vec()));
    big.start_file("a.py", deflated.large_file(true)).expect("starts");
    big.write_all(&[b'a'; 100_000]).expect("writes");
    big.set_comment("PK\x05\x06 is not the end");
    let package = check(big.finish().expect("ends").into_inner().into()).expect("it is good");
    assert_eq!(content(&package, "a.py"), [b'a'; 100_000]);

    let mut stream = ZipWriter::new_stream(Vec::new());
    stream.start_file("b.py", deflated).expect("starts");
    stream.write_all(b"with a data descriptor").expect("writes");
    let streamed = stream.finish().expect("ends").into_inner();
    let package = check(streamed.clone().into()).expect("it is good");
    assert_eq!(content(&package, "b.py"), b"with a data descriptor");

    let prefixed = [b"#!/usr/bin/env python3\n".to_vec(), streamed].concat();
    let package = check(prefixed.into()).expect("something before it does not matter");
    assert_eq!(content(&package, "b.py"), b"with a data descriptor");
}

#[test]
fn what_is_no_zip_is_refused() {
    assert_eq!(check(Bytes::new()).expect_err("empty"), PackageError::Empty);
    assert_eq!(check_made(&[]).expect_err("empty"), PackageError::Empty);
    assert_eq!(check_made(&[Made { mode: 0, ..Made::file("./", b"") }]).expect_err("empty"), PackageError::Empty);
    for bytes in [&b"def handler(): pass"[..], b"PK", b"PK\x05\x06", &[0; 22]] {
        let error = check(Bytes::copy_from_slice(bytes)).expect_err("no zip");
        assert!(matches!(error, PackageError::Unreadable { .. }), "{error:?}");
    }
    let large = vec![0; limits::PACKAGE_ZIPPED_BYTES + 1];
    assert_eq!(check(large.into()).expect_err("too large"), PackageError::ZippedSize);
}

#[test]
fn hostile_names_are_refused() {
    for name in ["/etc/passwd", "../../etc/passwd", "a/../../b", "a\\..\\b", "a\0b", "a//b", ""] {
        refused(&[Made::file(name, b"x")]);
    }
    refused(&[Made { name: vec![0xff, 0xfe], ..Made::file("", b"x") }]);
    let twice = refused(&[Made::file("a", b"1"), Made::file("./a", b"2")]);
    assert!(twice.contains("twice"), "{twice}");
    for conflict in [
        [Made::file("a", b"1"), Made::file("a/b", b"2")],
        [Made::file("a/b", b"1"), Made::file("a", b"2")],
        [Made::link("a", "b"), Made::file("a/b", b"2")],
        [Made { mode: 0o040_755, ..Made::file("a/", b"") }, Made::file("a", b"2")],
    ] {
        let detail = refused(&conflict);
        assert!(detail.contains("both a file and a directory"), "{detail}");
    }
    let two_names = refused(&[Made { local_name: Some(b"other".to_vec()), ..Made::file("a.py", b"x") }]);
    assert!(two_names.contains("two names"), "{two_names}");
}

#[test]
fn hostile_kinds_are_refused() {
    for mode in [0o020_666, 0o060_666, 0o010_644, 0o140_755] {
        let detail = refused(&[Made { mode, ..Made::file("device", b"") }]);
        assert!(detail.contains("neither file"), "{detail}");
    }
    for target in ["/etc/passwd", "../../x", "..", ""] {
        refused(&[Made::link("link", target)]);
    }
    refused(&[Made::link("link", &"x".repeat(2000))]);
    refused(&[Made { mode: 0o040_755, ..Made::file("directory/", b"content") }]);
    refused(&[Made { mode: 0o100_644, ..Made::file("file/", b"x") }]);
}

#[test]
fn lies_are_refused() {
    let detail = refused(&[Made { crc: Some(1), ..Made::file("a", b"x") }]);
    assert!(detail.contains("checksum"), "{detail}");
    for claimed_bytes in [0, 1, 5, 0xffff_fff0] {
        let made = Made { claimed_bytes: Some(claimed_bytes), ..Made::file("a", b"xx") };
        assert!(check_made(&[made]).is_err(), "{claimed_bytes} claimed");
    }
    for flags in [1, 1 << 6, 1 << 13] {
        assert_eq!(refused(&[Made { flags, ..Made::file("a", b"x") }]), "encrypted");
    }
    for method in [1, 9, 12, 14, 93, 99] {
        let detail = refused(&[Made { method, ..Made::file("a", b"x") }]);
        assert!(detail.contains("compression method"), "{detail}");
    }
    // A stored content said to be deflated.
    refused(&[Made { method: 8, ..Made::file("a", b"not deflated") }]);
}

#[test]
fn overlapping_entries_are_refused() {
    let first = Made::file("a", &[b'x'; 1000]);
    assert_eq!(refused(&[first.clone(), Made { offset: Some(0), ..first.clone() }]), "entries overlap");
    // An entry whose header is inside the content of another.
    let inner = make(&[Made::file("b", b"yyyy")]);
    let outer = Made::file("a", &inner);
    let offset = Some((LOCAL_AND_NAME_BYTES) as u32);
    assert_eq!(refused(&[outer, Made { offset, ..Made::file("b", b"yyyy") }]), "entries overlap");
}

/// Of an entry with a name of one byte.
const LOCAL_AND_NAME_BYTES: usize = 31;

#[test]
fn bombs_are_refused() {
    let deflated = |content: &[u8]| {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(content).expect("memory");
        encoder.finish().expect("memory")
    };
    let zeros = vec![0; 32 << 20];
    let bomb = |name: &str, claimed: u32| {
        let content = deflated(&zeros);
        let mut crc = flate2::Crc::new();
        crc.update(&zeros);
        Made { method: 8, crc: Some(crc.sum()), claimed_bytes: Some(claimed), ..Made::file(name, &content) }
    };
    assert!(refused(&[bomb("a", 32 << 20)]).contains("too well"));
    // It claims to be small: inflating stops there.
    assert!(refused(&[bomb("a", 1 << 20)]).contains("more than the directory says"));
    let many: Vec<_> = (0..5).map(|index| bomb(&format!("f{index}"), 7 << 20)).collect();
    assert!(matches!(check_made(&many), Err(PackageError::Unreadable { .. })));
    // Honest, but too large.
    let honest: Vec<_> = (0..5)
        .map(|index| Made { claimed_bytes: Some(60_000_000), ..Made::file(&format!("f{index}"), &[7; 200_000]) })
        .collect();
    assert_eq!(check_made(&honest).expect_err("too large"), PackageError::UnzippedSize);
    let entries: Vec<_> = (0..=limits::PACKAGE_ENTRIES).map(|index| Made::file(&index.to_string(), b"")).collect();
    assert!(check_made(&entries).is_err(), "an end record cannot even count them");
}

#[test]
fn every_truncation_is_refused() {
    let whole = make(&[Made::file("handler.py", b"def handler(e, c): pass\n"), Made::link("l", "handler.py")]);
    for length in 0..whole.len() {
        assert!(check(Bytes::copy_from_slice(&whole[..length])).is_err(), "cut to {length} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever comes in, there is an answer and no panic.
    #[test]
    fn garbage_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = check(bytes.into());
    }

    /// A good package with some bytes changed is refused, or what is taken is what the zip crate reads too.
    #[test]
    fn damage_is_survived(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = make(&[
            Made::file("handler.py", b"def handler(e, c): pass\n"),
            Made::link("lib/link", "../handler.py"),
            Made::file("lib/data", &[1; 100]),
        ]);
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(package) = check(bytes.clone().into()) {
            agrees_with_zip(&bytes, &package)?;
        }
    }

    /// What an honest writer writes is read, to the byte.
    #[test]
    fn honest_packages_are_read(
        files in proptest::collection::btree_map("[a-z]{1,8}(/[a-z]{9,12}){0,3}", proptest::collection::vec(any::<u8>(), 0..3000), 1..12),
        deflate in any::<bool>(),
    ) {
        let method = if deflate { CompressionMethod::Deflated } else { CompressionMethod::Stored };
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in &files {
            writer.start_file(name, SimpleFileOptions::default().compression_method(method)).expect("starts");
            writer.write_all(content).expect("writes");
        }
        let bytes = writer.finish().expect("ends").into_inner();
        let package = check(bytes.clone().into());
        // A name may be the start of another only by chance: then it is a conflict.
        if let Ok(package) = package {
            prop_assert_eq!(package.entries().len(), files.len());
            prop_assert_eq!(package.unzipped_bytes(), files.values().map(|content| content.len() as u64).sum::<u64>());
            for (name, wanted) in &files {
                prop_assert_eq!(&content(&package, name), wanted);
            }
            agrees_with_zip(&bytes, &package)?;
        } else {
            let conflict = files.keys().any(|name| files.keys().any(|other| other.starts_with(&format!("{name}/"))));
            prop_assert!(conflict, "refused: {:?}", package.err());
        }
    }
}

fn agrees_with_zip(bytes: &[u8], package: &Package) -> Result<(), TestCaseError> {
    let Ok(mut archive) = ZipArchive::new(Cursor::new(bytes)) else { return Ok(()) };
    for entry in package.entries().iter().filter(|entry| entry.kind != EntryKind::Directory) {
        let Ok(mut file) = archive.by_name(&entry.path) else { continue };
        let mut theirs = Vec::new();
        if file.read_to_end(&mut theirs).is_ok() {
            prop_assert_eq!(&theirs, &content(package, &entry.path));
        }
    }
    Ok(())
}
