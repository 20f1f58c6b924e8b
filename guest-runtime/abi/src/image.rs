//! Images: read-only file trees in the form in which the guest uses them, so that nothing is unpacked or copied.
//!
//! ```text
//! header          magic, version, counts, offsets
//! nodes           64 bytes each; node 0 is the root directory; the children of a directory are consecutive and sorted by name
//! names           names and link targets, not terminated
//! data            each file's bytes, starting on a page
//! ```
//!
//! An image holds absolute paths of the guest (`/var/task/handler.py`). Several images form one tree: directories are merged,
//! of files with the same path the image with the highest index counts. Images are made by the host and never written by a
//! guest; still, [`Image::new`] checks the header against the real length, and every accessor is bounded by it.

/// First bytes of an image.
pub const MAGIC: [u8; 8] = *b"MAYFLYI1";
/// Size of [`Header`].
pub const HEADER_BYTES: usize = 64;
/// Size of [`Node`].
pub const NODE_BYTES: usize = 64;

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
    /// Zero.
    pub reserved: [u64; 2],
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
    /// Zero.
    pub reserved: [u64; 2],
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

/// An image in memory.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    bytes: &'a [u8],
    nodes: u32,
    nodes_offset: usize,
    names_offset: usize,
    names_bytes: usize,
}

impl<'a> Image<'a> {
    /// The image in `bytes`; `None` if the header does not describe one of that length.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Image<'a>> {
        let word = |at: usize| bytes.get(at..at + 8).map(le64);
        if bytes.get(..8)? != MAGIC || word(8)? as u32 != crate::VERSION {
            return None;
        }
        let nodes = (word(8)? >> 32) as u32;
        let (nodes_offset, names_offset) = (usize_of(word(16)?)?, usize_of(word(24)?)?);
        let (names_bytes, image_bytes) = (usize_of(word(32)?)?, usize_of(word(40)?)?);
        let nodes_end = nodes_offset.checked_add((nodes as usize).checked_mul(NODE_BYTES)?)?;
        let names_end = names_offset.checked_add(names_bytes)?;
        let fits = nodes > 0 && nodes_end <= image_bytes && names_end <= image_bytes && image_bytes <= bytes.len();
        fits.then_some(Image { bytes, nodes, nodes_offset, names_offset, names_bytes })
    }

    /// Length of the image.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Number of nodes.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        self.nodes
    }

    /// Node `index`.
    #[must_use]
    pub fn node(&self, index: u32) -> Option<Node> {
        if index >= self.nodes {
            return None;
        }
        let at = self.nodes_offset + index as usize * NODE_BYTES;
        let bytes: &[u8; NODE_BYTES] = self.bytes.get(at..)?.first_chunk()?;
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
            reserved: [0; 2],
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

    /// Bytes of the file `node`.
    #[must_use]
    pub fn data(&self, node: &Node) -> &'a [u8] {
        let Some(start) = usize_of(node.data_offset) else { return &[] };
        let end = start.saturating_add(usize_of(node.data_bytes).unwrap_or(usize::MAX));
        self.bytes.get(start..end).unwrap_or(&[])
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
        if index >= self.nodes {
            return None;
        }
        let at = self.nodes_offset + index as usize * NODE_BYTES;
        let word = u64::from_le_bytes(*self.bytes.get(at..)?.first_chunk()?);
        Some(self.text(word as u32, (word >> 32) as u32))
    }

    fn text(&self, offset: u32, bytes: u32) -> &'a [u8] {
        let (start, end) = (offset as usize, offset as usize + bytes as usize);
        if end > self.names_bytes {
            return &[];
        }
        self.bytes.get(self.names_offset + start..self.names_offset + end).unwrap_or(&[])
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
