//! Probes: what a guest can do, one behaviour each, half of them attacks.
//!
//! All are one static Linux program (`program/`), which runs the probe that its first argument names. It waits for an
//! event, hands its payload to the probe, answers with what the probe returned, and waits again. A probe that finds
//! something wrong panics: the reason is in the log, and the program ends by SIGABRT.
//!
//! The program and its file tree are embedded, so a test that uses them needs no file of the build at run time.

pub mod library;
mod tree;

/// The program, a static ELF file.
pub static PROGRAM: &[u8] = include_bytes!(env!("MAYFLY_PROBE_PROGRAM"));

/// Where the program is in [`image`].
pub const PROGRAM_PATH: &str = "/opt/probe";
/// Bytes of `/var/task/large`; the byte at offset `n` is `n % 251`.
pub const LARGE_FILE_BYTES: usize = 300_000;

/// An image with the program and a few files, directories and links under `/var/task`.
#[must_use]
pub fn image() -> Vec<u8> {
    let large: Vec<u8> = (0..LARGE_FILE_BYTES).map(|at| (at % 251) as u8).collect();
    let mut tree = tree::Tree::default();
    tree.file(PROGRAM_PATH, 0o755, PROGRAM);
    tree.file("/var/task/handler.py", 0o644, b"def handler(event, context):\n    return event\n");
    tree.file("/var/task/empty", 0o600, b"");
    tree.file("/var/task/large", 0o644, &large);
    tree.file("/var/task/package/deep/below/leaf", 0o644, b"leaf\n");
    tree.link("/var/task/link", "handler.py");
    tree.link("/var/task/package/up", "../large");
    tree.link("/var/task/loop", "loop");
    tree.link("/var/task/dangling", "/nowhere");
    for number in 0..100 {
        tree.file(&format!("/var/task/many/{number:03}"), 0o644, format!("{number}\n").as_bytes());
    }
    tree.to_image()
}

/// Where [`library_image`] has its library.
pub const LIBRARY_PATH: &str = "/opt/library.so";

/// An image with a library that can be used in place. With `writable_bytes`, it asks for so much more that a guest may write.
#[must_use]
pub fn library_image(writable_bytes: u64) -> Vec<u8> {
    let mut tree = tree::Tree::default();
    tree.library(LIBRARY_PATH);
    tree.to_image_with(writable_bytes)
}

/// An image for a guest that finds more files after a bind than at its boot: `/var/task/added` with `added`, so much that nobody reads, and
/// `/var/task/last` with `last`.
#[must_use]
pub fn added_image(filler_bytes: usize) -> Vec<u8> {
    let mut tree = tree::Tree::default();
    tree.file("/var/task/added", 0o644, b"added\n");
    tree.file("/var/task/filler", 0o644, &vec![0; filler_bytes]);
    tree.file("/var/task/last", 0o644, b"last\n");
    tree.to_image()
}
