//! Images: read-only file trees in the form in which the guest uses them, so that nothing is unpacked or copied.
//!
//! ```text
//! header          magic, version, counts, offsets
//! nodes           64 bytes each; node 0 is the root directory; the children of a directory are consecutive and sorted by name
//! names           names and link targets, not terminated
//! data            each file's bytes, starting on a page
//! tables          pieces of libraries, then writable ranges
//! ```
//!
//! A shared library is there as a program's loader would map it, so that it is used where it is: its *load area* is its segments at the distances
//! that their addresses have, with zeros for what the file leaves out. The bytes of the file itself are *pieces*, most of them in the load area:
//!
//! ```text
//! file        │ headers, text, constants │ data │ symbols, sections │
//!                  ▲                        ▲          ▲
//! load area   │ headers, text, constants │  │   │ data, zeros │      │
//! rest                                    │ data │ symbols, sections │
//! ```
//!
//! An image is mapped read-only but for its *writable ranges*: data of load areas, pages of text in which system calls are made (the kernel may rewrite
//! those), and room for the kernel's stubs. A guest writes to a copy of its own.
//!
//! An image holds absolute paths of the guest (`/var/task/handler.py`). Several images form one tree: directories are merged,
//! of files with the same path the image with the highest index counts. Images are made by the host and never written by a
//! guest; still, [`Image::new`] checks the header against the real length, and every accessor is bounded by it.

use crate::layout::{PAGE_BYTES, STUBS_BYTES};

/// First bytes of an image.
pub const MAGIC: [u8; 8] = *b"MAYFLYI2";
/// Size of [`Header`].
pub const HEADER_BYTES: usize = 80;
/// Size of [`Node`].
pub const NODE_BYTES: usize = 64;
/// Size of [`Piece`].
pub const PIECE_BYTES: usize = 16;
/// Size of [`Range`].
pub const RANGE_BYTES: usize = 8;

/// First bytes of an image.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`crate::VERSION`].
    pub version: u32,
    /// Number of nodes, the root included.
    pub nodes: u32,
    /// Offset of the first node.
    pub nodes_offset: u64,
    /// Offset of the names.
    pub names_offset: u64,
    /// Length of the names.
    pub names_bytes: u64,
    /// Length of the whole image, a multiple of the page size.
    pub image_bytes: u64,
    /// Offset of the pieces, which the writable ranges follow.
    pub tables_offset: u64,
    /// Number of pieces.
    pub pieces: u32,
    /// Number of writable ranges.
    pub ranges: u32,
    /// Offset of the room for stubs, a multiple of the page size; 0: none.
    pub stubs_offset: u64,
    /// Zero.
    pub reserved: u64,
}

/// A file, directory or symbolic link.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Offset of the name in the names.
    pub name_offset: u32,
    /// Length of the name.
    pub name_bytes: u32,
    /// Type and permissions as in `st_mode`.
    pub mode: u32,
    /// Index of the parent directory.
    pub parent: u32,
    /// Directory: index of the first child. Link: offset of the target in the names. File: 0.
    pub first: u32,
    /// Directory: number of children. Link: length of the target. File: 0.
    pub count: u32,
    /// File: offset of its bytes in the image, a multiple of the page size.
    pub data_offset: u64,
    /// File: its length.
    pub data_bytes: u64,
    /// Seconds since 1970.
    pub modified_s: u64,
    /// Library: page of the image at which its load area starts. Else 0.
    pub area_page: u32,
    /// Library: pages of its load area. Else 0.
    pub area_pages: u32,
    /// Library: index of its first piece. Else 0.
    pub first_piece: u32,
    /// Library: number of its pieces; then `data_offset` means nothing. Else 0.
    pub pieces: u32,
}

/// A part of a library's file: from `file_offset` up to where the next piece starts, or the file's end.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Offset in the file.
    pub file_offset: u64,
    /// Offset in the image.
    pub image_offset: u64,
}

/// Pages that a guest may write. Ranges are in order and do not touch.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First page, counted from the start of the image.
    pub first_page: u32,
    /// Number of pages.
    pub pages: u32,
}

/// `mode` of a directory, without permissions.
pub const DIRECTORY: u32 = 0o040_000;
/// `mode` of a regular file, without permissions.
pub const FILE: u32 = 0o100_000;
/// `mode` of a symbolic link, without permissions.
pub const LINK: u32 = 0o120_000;
/// Mask of the type in `mode`.
pub const TYPE_MASK: u32 = 0o170_000;

const _: () = assert!(core::mem::size_of::<Header>() == HEADER_BYTES);
const _: () = assert!(core::mem::size_of::<Node>() == NODE_BYTES);
const _: () = assert!(core::mem::size_of::<Piece>() == PIECE_BYTES);
const _: () = assert!(core::mem::size_of::<Range>() == RANGE_BYTES);

impl Header {
    /// The header of an image with `image_bytes` bytes; `None` if `bytes` do not start with one.
    #[must_use]
    pub fn parse(bytes: &[u8], image_bytes: u64) -> Option<Header> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let word = |at: usize| le64(&bytes[at..at + 8]);
        let header = Header {
            magic: MAGIC,
            version: word(8) as u32,
            nodes: (word(8) >> 32) as u32,
            nodes_offset: word(16),
            names_offset: word(24),
            names_bytes: word(32),
            image_bytes: word(40),
            tables_offset: word(48),
            pieces: word(56) as u32,
            ranges: (word(56) >> 32) as u32,
            stubs_offset: word(64),
            reserved: 0,
        };
        let end = header.image_bytes;
        let is_inside = |offset: u64, count: u64, each: usize| {
            count.checked_mul(each as u64).and_then(|bytes| bytes.checked_add(offset)).is_some_and(|last| last <= end)
        };
        let fits = header.nodes > 0
            && end <= image_bytes
            && is_inside(header.nodes_offset, u64::from(header.nodes), NODE_BYTES)
            && is_inside(header.names_offset, header.names_bytes, 1)
            && is_inside(header.tables_offset, u64::from(header.pieces), PIECE_BYTES)
            && is_inside(header.ranges_offset(), u64::from(header.ranges), RANGE_BYTES)
            && header.stubs_offset.is_multiple_of(PAGE_BYTES)
            && is_inside(header.stubs_offset, STUBS_BYTES, 1);
        (bytes[..8] == MAGIC && header.version == crate::VERSION && fits).then_some(header)
    }

    /// Offset of the writable ranges.
    #[must_use]
    pub fn ranges_offset(&self) -> u64 {
        self.tables_offset.saturating_add(u64::from(self.pieces) * PIECE_BYTES as u64)
    }
}

impl Range {
    /// The range that these bytes of a table say.
    #[must_use]
    pub fn parse(bytes: &[u8; RANGE_BYTES]) -> Range {
        let word = u64::from_le_bytes(*bytes);
        Range { first_page: word as u32, pages: (word >> 32) as u32 }
    }
}

/// Where a library is in an image as a loader would map it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Offset in the image.
    pub offset: u64,
    /// Length, a multiple of the page size.
    pub bytes: u64,
}

/// An image in memory.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    bytes: &'a [u8],
    header: Header,
    /// Whether its load areas can be used.
    in_place: bool,
}

impl<'a> Image<'a> {
    /// The image in `bytes`; `None` if the header does not describe one of that length.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Image<'a>> {
        let header = Header::parse(bytes, bytes.len() as u64)?;
        Some(Image { bytes, header, in_place: true })
    }

    /// The same image, mapped where no page of it can be written: it has no load areas.
    #[must_use]
    pub fn read_only(self) -> Image<'a> {
        Image { in_place: false, ..self }
    }

    /// Where it is in memory.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.bytes.as_ptr() as u64
    }

    /// Length of the image.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Number of nodes.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        self.header.nodes
    }

    /// Node `index`.
    #[must_use]
    pub fn node(&self, index: u32) -> Option<Node> {
        let bytes: &[u8; NODE_BYTES] = self.entry(self.header.nodes_offset, index, self.header.nodes)?;
        let word = |at: usize| le64(&bytes[at..at + 8]);
        let half = |at: usize| word(at & !7) >> ((at & 7) * 8);
        Some(Node {
            name_offset: half(0) as u32,
            name_bytes: half(4) as u32,
            mode: half(8) as u32,
            parent: half(12) as u32,
            first: half(16) as u32,
            count: half(20) as u32,
            data_offset: word(24),
            data_bytes: word(32),
            modified_s: word(40),
            area_page: half(48) as u32,
            area_pages: half(52) as u32,
            first_piece: half(56) as u32,
            pieces: half(60) as u32,
        })
    }

    /// Name of `node`.
    #[must_use]
    pub fn name(&self, node: &Node) -> &'a [u8] {
        self.text(node.name_offset, node.name_bytes)
    }

    /// Target of the symbolic link `node`.
    #[must_use]
    pub fn target(&self, node: &Node) -> &'a [u8] {
        self.text(node.first, node.count)
    }

    /// Bytes of the file `node` from its start on, as far as they are together: all of them, but for a library's.
    #[must_use]
    pub fn data(&self, node: &Node) -> &'a [u8] {
        self.piece(node, 0)
    }

    /// Bytes of the file `node` from offset `at` on, as many as are together in the image; empty at the end.
    #[must_use]
    pub fn piece(&self, node: &Node, at: u64) -> &'a [u8] {
        if at >= node.data_bytes {
            return &[];
        }
        let (mut start, mut end, mut offset) = (0, node.data_bytes, node.data_offset);
        for index in 0..node.pieces {
            let Some(piece) = node.first_piece.checked_add(index).and_then(|index| self.piece_at(index)) else {
                return &[];
            };
            if piece.file_offset > at {
                end = end.min(piece.file_offset);
                break;
            }
            (start, offset) = (piece.file_offset, piece.image_offset);
        }
        let first = offset.saturating_add(at - start);
        let last = first.saturating_add(end - at);
        let (Some(first), Some(last)) = (usize_of(first), usize_of(last)) else { return &[] };
        self.bytes.get(first..last).unwrap_or(&[])
    }

    /// Where the library `node` can be used in place.
    #[must_use]
    pub fn area(&self, node: &Node) -> Option<Area> {
        let area =
            Area { offset: u64::from(node.area_page) * PAGE_BYTES, bytes: u64::from(node.area_pages) * PAGE_BYTES };
        let is_inside = area.offset + area.bytes <= self.bytes.len() as u64;
        (self.in_place && area.bytes > 0 && is_inside).then_some(area)
    }

    /// Whether a guest may write to all of these bytes.
    #[must_use]
    pub fn is_writable(&self, offset: u64, bytes: u64) -> bool {
        let Some(end) = offset.checked_add(bytes).filter(|_| self.in_place) else { return false };
        // The last range that starts at or before `offset`.
        let (mut low, mut high) = (0, self.header.ranges);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.range(middle) {
                Some(range) if u64::from(range.first_page) * PAGE_BYTES <= offset => low = middle + 1,
                _ => high = middle,
            }
        }
        let Some(range) = low.checked_sub(1).and_then(|index| self.range(index)) else { return false };
        end <= (u64::from(range.first_page) + u64::from(range.pages)) * PAGE_BYTES
    }

    /// Offset of the room for the kernel's stubs.
    #[must_use]
    pub fn stubs(&self) -> Option<u64> {
        (self.in_place && self.header.stubs_offset > 0).then_some(self.header.stubs_offset)
    }

    fn piece_at(&self, index: u32) -> Option<Piece> {
        let bytes: &[u8; PIECE_BYTES] = self.entry(self.header.tables_offset, index, self.header.pieces)?;
        Some(Piece { file_offset: le64(&bytes[..8]), image_offset: le64(&bytes[8..]) })
    }

    fn range(&self, index: u32) -> Option<Range> {
        self.entry(self.header.ranges_offset(), index, self.header.ranges).map(Range::parse)
    }

    /// Entry `index` of a table with `count` of them.
    fn entry<const N: usize>(&self, table: u64, index: u32, count: u32) -> Option<&'a [u8; N]> {
        if index >= count {
            return None;
        }
        self.bytes.get(usize_of(table)? + index as usize * N..)?.first_chunk()
    }

    /// Index of the child of directory `node` with that name.
    #[must_use]
    pub fn child(&self, node: &Node, name: &[u8]) -> Option<u32> {
        if node.mode & TYPE_MASK != DIRECTORY {
            return None;
        }
        let (mut low, mut high) = (node.first, node.first.checked_add(node.count)?);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.name_of(middle)?.cmp(name) {
                core::cmp::Ordering::Equal => return Some(middle),
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Name of node `index`, without the rest of the node: looking for a name reads a few of them.
    fn name_of(&self, index: u32) -> Option<&'a [u8]> {
        let bytes: &[u8; NODE_BYTES] = self.entry(self.header.nodes_offset, index, self.header.nodes)?;
        let word = le64(&bytes[..8]);
        Some(self.text(word as u32, (word >> 32) as u32))
    }

    fn text(&self, offset: u32, bytes: u32) -> &'a [u8] {
        let (start, end) = (offset as usize, offset as usize + bytes as usize);
        if end as u64 > self.header.names_bytes {
            return &[];
        }
        let names = self.header.names_offset as usize;
        self.bytes.get(names + start..names + end).unwrap_or(&[])
    }
}

fn le64(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

fn usize_of(value: u64) -> Option<usize> {
    usize::try_from(value).ok()
}
