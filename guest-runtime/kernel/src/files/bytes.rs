//! Bytes of files that never change, where they are in memory.

use mayfly_abi::image::{Image, Node};

use crate::memory::Span;

/// The bytes of a file that never changes.
#[derive(Debug, Clone, Copy)]
pub enum Bytes {
    /// A text of the kernel's.
    Text(&'static [u8]),
    /// A file of an image.
    File {
        /// The image.
        image: Image<'static>,
        /// The file.
        node: Node,
    },
}

impl Bytes {
    /// Length of the file.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Bytes::Text(text) => text.len() as u64,
            Bytes::File { node, .. } => node.data_bytes,
        }
    }

    /// Is the file empty?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes from offset `at` on, as many as are together in memory; empty at the end.
    #[must_use]
    pub fn piece(&self, at: u64) -> &'static [u8] {
        match self {
            Bytes::Text(text) => usize::try_from(at).ok().and_then(|at| text.get(at..)).unwrap_or(&[]),
            Bytes::File { image, node } => image.piece(node, at),
        }
    }

    /// Copies bytes from offset `at` on; fewer than asked for only at the end.
    pub fn copy(&self, at: u64, into: &mut [u8]) -> usize {
        let mut copied = 0;
        while copied < into.len() {
            let piece = self.piece(at.saturating_add(copied as u64));
            if piece.is_empty() {
                break;
            }
            let count = piece.len().min(into.len() - copied);
            into[copied..copied + count].copy_from_slice(&piece[..count]);
            copied += count;
        }
        copied
    }

    /// Where the file, a library, is in memory as a loader would map it.
    #[must_use]
    pub fn area(&self) -> Option<Span> {
        let Bytes::File { image, node } = self else { return None };
        let area = image.area(node)?;
        let start = image.address() + area.offset;
        Some(Span { start, end: start + area.bytes })
    }
}

impl PartialEq for Bytes {
    /// Are they the same bytes in the same place?
    fn eq(&self, other: &Bytes) -> bool {
        self.len() == other.len() && core::ptr::eq(self.piece(0).as_ptr(), other.piece(0).as_ptr())
    }
}

impl Eq for Bytes {}
