//! A shared library, small enough to be written down here: headers, a page of text that makes a system call, one that does not, data, zeros.

use mayfly_abi::layout::{PAGE_BYTES, STUBS_BYTES};

/// Where its function is that calls `getpid`, in the file and in memory.
pub const CALL: u64 = 0x1000;
/// Text without a system call.
pub const TEXT: u64 = 0x2000;
/// Its data, in the file and in memory.
pub const DATA: u64 = 0x3000;
/// Bytes of that.
pub const DATA_BYTES: u64 = 0x800;
/// Zeros.
pub const ZEROS: u64 = 0x4000;
/// Extent in memory.
pub const EXTENT: u64 = 0x6000;
/// Length of the file: there is more in it after the data.
pub const FILE_BYTES: u64 = 0x3c00;

/// As in an image: file, load area, pages of the area that a guest can write, and pieces of the file as (offset, offset in the area, if there).
pub(crate) struct Library {
    pub(crate) file: Vec<u8>,
    /// The load area, and room for stubs.
    pub(crate) area: Vec<u8>,
    pub(crate) ranges: [(u64, u64); 2],
    pub(crate) pieces: [(u64, Option<u64>); 2],
}

/// Where the room for stubs starts in `area`: a page of nothing is between.
pub(crate) const STUBS: u64 = EXTENT + PAGE_BYTES;

pub(crate) fn library() -> Library {
    let file = file();
    let mut area = vec![0; (STUBS + STUBS_BYTES) as usize];
    area[..file.len()].copy_from_slice(&file);
    let page = |address: u64| address / PAGE_BYTES;
    Library {
        file,
        area,
        // The page with the call and the data; the stubs come last.
        ranges: [(page(CALL), 1), (page(DATA), page(EXTENT - DATA))],
        pieces: [(0, Some(0)), (CALL, None)],
    }
}

/// The ELF file.
#[must_use]
pub fn file() -> Vec<u8> {
    let segments: [(u32, u64, u64, u64); 3] =
        [(4, 0, 0x800, 0x800), (5, CALL, 0x2000, 0x2000), (6, DATA, DATA_BYTES, EXTENT - DATA - 0x10)];
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
    for word in [0, 64, 0_u64] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&[0, 0, 0, 0, 64, 0, 56, 0, segments.len() as u8, 0, 64, 0, 0, 0, 0, 0]);
    for (flags, at, file_bytes, memory_bytes) in segments {
        file.extend_from_slice(&[1, 0, 0, 0]);
        file.extend_from_slice(&flags.to_le_bytes());
        for word in [at, at, at, file_bytes, memory_bytes, PAGE_BYTES] {
            file.extend_from_slice(&word.to_le_bytes());
        }
    }
    let headers = file.len();
    file.extend((headers..FILE_BYTES as usize).map(|at| (at % 251) as u8));
    // mov eax, 39 (getpid); syscall; ret
    let code = [0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3];
    file[CALL as usize..CALL as usize + code.len()].copy_from_slice(&code);
    file
}
