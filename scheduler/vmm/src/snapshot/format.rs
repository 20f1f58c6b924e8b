//! The snapshot file, version 2. `docs/snapshot-format.md` is the text that goes with it.
//!
//! ```text
//! 0        header, one page
//! 4096     run table: first page and number of pages of each run, 8 bytes each, little-endian
//! data     the pages of all runs, one after another, page-aligned
//! ```

use mayfly_abi::layout::{IMAGE_STRIDE_BYTES, IMAGES_MAX, MEMORY_MAX_BYTES, MEMORY_MIN_BYTES, PAGE_BYTES, image_base};
use xxhash_rust::xxh3::xxh3_64;

/// First bytes of a snapshot.
pub const MAGIC: [u8; 8] = *b"MAYFLYS1";
/// Version of this format.
pub const FORMAT_VERSION: u32 = 2;
/// Largest number of runs: more could only come from a damaged or hostile file.
pub const RUNS_MAX: u64 = MEMORY_MAX_BYTES / PAGE_BYTES;
/// Bytes of a run in the table.
pub const RUN_BYTES: usize = 16;
/// Bytes of the header in use, the checksum at their end included.
const USED_BYTES: usize = 200;

/// What a snapshot says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Identity of kernel, contract and CPU: see [`crate::Host::build`].
    pub build: [u8; 16],
    /// Identity of this snapshot: a hash of its contents.
    pub identity: u64,
    /// Identity of the snapshot under this one; 0 for a runtime snapshot.
    pub base: u64,
    /// Memory of the guest.
    pub memory_bytes: u64,
    /// Room in `/tmp`.
    pub tmp_bytes: u64,
    /// Images, in their order, by size; a guest finds them where they were.
    pub image_bytes: [u64; IMAGES_MAX],
    /// Number of images.
    pub images: u32,
    /// Number of runs.
    pub runs: u64,
    /// Offset of the first page.
    pub data_offset: u64,
    /// XXH3 of all pages.
    pub data_checksum: u64,
    /// XXH3 of the run table.
    pub runs_checksum: u64,
}

/// Consecutive pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Number of the first page in guest memory.
    pub first_page: u64,
    /// Number of pages.
    pub pages: u64,
    /// Offset of the first page in the file.
    pub file_offset: u64,
}

impl Run {
    /// Guest address of the first page.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.first_page * PAGE_BYTES
    }

    /// Bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pages * PAGE_BYTES
    }
}

impl Header {
    /// Bytes of the run table.
    #[must_use]
    pub fn runs_bytes(&self) -> usize {
        self.runs as usize * RUN_BYTES
    }

    /// The header as the first page of a file.
    #[must_use]
    pub fn to_page(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE_BYTES as usize);
        page.extend_from_slice(&MAGIC);
        page.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        page.extend_from_slice(&mayfly_abi::VERSION.to_le_bytes());
        page.extend_from_slice(&self.build);
        for word in [self.identity, self.base, self.memory_bytes, self.tmp_bytes] {
            page.extend_from_slice(&word.to_le_bytes());
        }
        for bytes in self.image_bytes {
            page.extend_from_slice(&bytes.to_le_bytes());
        }
        for word in [u64::from(self.images), self.runs, self.data_offset, self.data_checksum, self.runs_checksum] {
            page.extend_from_slice(&word.to_le_bytes());
        }
        page.resize(USED_BYTES - 8, 0);
        page.extend_from_slice(&xxh3_64(&page).to_le_bytes());
        page.resize(PAGE_BYTES as usize, 0);
        page
    }

    /// The header that `page` holds, if it fits a file of `file_bytes`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(page: &[u8], file_bytes: u64) -> Result<Header, &'static str> {
        let page = page.get(..USED_BYTES).ok_or("too short for a snapshot")?;
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&page[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        if page[..8] != MAGIC {
            return Err("not a snapshot");
        }
        if word(8) != u64::from(FORMAT_VERSION) | u64::from(mayfly_abi::VERSION) << 32 {
            return Err("of another version");
        }
        if xxh3_64(&page[..USED_BYTES - 8]) != word(USED_BYTES - 8) {
            return Err("the header has another checksum than when it was written");
        }
        let mut build = [0; 16];
        build.copy_from_slice(&page[16..32]);
        let mut image_bytes = [0; IMAGES_MAX];
        for (index, bytes) in image_bytes.iter_mut().enumerate() {
            *bytes = word(64 + index * 8);
        }
        let header = Header {
            build,
            identity: word(32),
            base: word(40),
            memory_bytes: word(48),
            tmp_bytes: word(56),
            image_bytes,
            images: u32::try_from(word(128)).map_err(|_| "impossible number of images")?,
            runs: word(136),
            data_offset: word(144),
            data_checksum: word(152),
            runs_checksum: word(160),
        };
        header.check(file_bytes).map(|()| header)
    }

    /// Whether the pages up to `end` are all in memory, or all in one image.
    fn has_pages(&self, first: u64, end: u64) -> bool {
        let images = self.image_bytes.iter().take(self.images as usize).enumerate();
        let mut places = images.map(|(index, bytes)| (image_base(index), *bytes)).chain([(0, self.memory_bytes)]);
        places.any(|(start, bytes)| {
            let start = start / PAGE_BYTES;
            start <= first && end <= start + bytes / PAGE_BYTES
        })
    }

    fn check(&self, file_bytes: u64) -> Result<(), &'static str> {
        let memory_fits = (MEMORY_MIN_BYTES..=MEMORY_MAX_BYTES).contains(&self.memory_bytes);
        if !memory_fits || !self.memory_bytes.is_multiple_of(PAGE_BYTES) {
            return Err("impossible memory size");
        }
        let images_fit = self.image_bytes.iter().all(|bytes| *bytes <= IMAGE_STRIDE_BYTES);
        if self.images as usize > IMAGES_MAX || !images_fit || self.runs > RUNS_MAX {
            return Err("impossible counts");
        }
        let table_end = PAGE_BYTES + self.runs * RUN_BYTES as u64;
        if !self.data_offset.is_multiple_of(PAGE_BYTES) || self.data_offset < table_end || self.data_offset > file_bytes
        {
            return Err("impossible offsets");
        }
        Ok(())
    }
}

/// The runs that `table` holds: in order, apart from each other, inside of the guest's memory and of the file.
///
/// # Errors
/// What is wrong, in words.
pub fn parse_runs(header: &Header, table: &[u8]) -> Result<Vec<Run>, &'static str> {
    if table.len() != header.runs_bytes() || xxh3_64(table) != header.runs_checksum {
        return Err("the run table has another checksum than when it was written");
    }
    let mut runs = Vec::with_capacity(header.runs as usize);
    let (mut next_page, mut file_offset) = (0, header.data_offset);
    for entry in table.chunks_exact(RUN_BYTES) {
        let mut words = [0; 2];
        for (word, bytes) in words.iter_mut().zip(entry.chunks_exact(8)) {
            let mut buffer = [0; 8];
            buffer.copy_from_slice(bytes);
            *word = u64::from_le_bytes(buffer);
        }
        let [first_page, pages] = words;
        let end = first_page.checked_add(pages).ok_or("a run wraps around")?;
        if first_page < next_page || pages == 0 || !header.has_pages(first_page, end) {
            return Err("a run is out of order or outside of memory and images");
        }
        runs.push(Run { first_page, pages, file_offset });
        next_page = end;
        file_offset += pages * PAGE_BYTES;
    }
    Ok(runs)
}

/// The run table as bytes.
#[must_use]
pub fn runs_to_bytes(runs: &[Run]) -> Vec<u8> {
    runs.iter().flat_map(|run| [run.first_page.to_le_bytes(), run.pages.to_le_bytes()]).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        Header {
            build: [3; 16],
            identity: 5,
            base: 7,
            memory_bytes: MEMORY_MIN_BYTES,
            tmp_bytes: 512 << 20,
            image_bytes: [2 << 20, 4 << 20, 0, 0, 0, 0, 0, 0],
            images: 2,
            runs: 1,
            data_offset: 8192,
            data_checksum: 9,
            runs_checksum: xxh3_64(&[4, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Header::parse(&header().to_page(), 1 << 20), Ok(header()));
        let runs = [Run { first_page: 4, pages: 2, file_offset: 8192 }];
        assert_eq!(parse_runs(&header(), &runs_to_bytes(&runs)), Ok(runs.to_vec()));
    }

    #[test]
    fn runs_are_in_memory_or_in_one_image() {
        let (memory, image) = (MEMORY_MIN_BYTES / PAGE_BYTES, image_base(0) / PAGE_BYTES);
        let next = image_base(1) / PAGE_BYTES;
        let cases = [
            (memory - 1, 1, true),
            (memory - 1, 2, false),
            (memory, 1, false),
            (image - 1, 1, false),
            (image - 1, 2, false),
            (image, 512, true),
            (image + 511, 2, false),
            (next, 1024, true),
            (next + 1024, 1, false),
            (image_base(2) / PAGE_BYTES, 1, false),
        ];
        for (first_page, pages, expected) in cases {
            let table = runs_to_bytes(&[Run { first_page, pages, file_offset: 0 }]);
            let header = Header { runs_checksum: xxh3_64(&table), ..header() };
            assert_eq!(parse_runs(&header, &table).is_ok(), expected, "{first_page:#x}, {pages} pages");
        }
    }

    /// The layout of version 2, so that a change of it is noticed: it needs a new version.
    #[test]
    fn the_layout_has_not_moved() {
        let page = header().to_page();
        assert_eq!(&page[..16], b"MAYFLYS1\x02\0\0\0\x02\0\0\0");
        assert_eq!(page[16..32], [3; 16]);
        assert_eq!(
            [page[32], page[40], page[64 + 2], page[128], page[136], page[145], page[152]],
            [5, 7, 0x20, 2, 1, 0x20, 9]
        );
    }

    #[test]
    fn every_flipped_bit_of_the_header_is_noticed() {
        let page = header().to_page();
        for bit in 0..USED_BYTES * 8 {
            let mut bad = page.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::parse(&bad, 1 << 20).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(mut page in proptest::collection::vec(any::<u8>(), 0..300), file_bytes: u64, sign: bool) {
            if sign && page.len() >= USED_BYTES {
                page[..8].copy_from_slice(&MAGIC);
                page[8..16].copy_from_slice(&(u64::from(FORMAT_VERSION) | u64::from(mayfly_abi::VERSION) << 32).to_le_bytes());
                let checksum = xxh3_64(&page[..USED_BYTES - 8]);
                page[USED_BYTES - 8..USED_BYTES].copy_from_slice(&checksum.to_le_bytes());
            }
            let _ = Header::parse(&page, file_bytes);
        }

        #[test]
        fn runs_that_are_accepted_stay_in_bounds(words in proptest::collection::vec(prop_oneof![0_u64..40_000, 0x500_0000_u64..0x500_0240, 0x504_0000_u64..0x504_0420], 0..40)) {
            let table: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let table = &table[..table.len() / RUN_BYTES * RUN_BYTES];
            let header = Header { runs: (table.len() / RUN_BYTES) as u64, runs_checksum: xxh3_64(table), ..header() };
            if let Ok(runs) = parse_runs(&header, table) {
                let mut end = 0;
                for run in runs {
                    prop_assert!(run.first_page >= end && run.pages > 0);
                    end = run.first_page + run.pages;
                    let places = [(0, header.memory_bytes), (image_base(0), 2 << 20), (image_base(1), 4 << 20)];
                    let (first, last) = (run.first_page * PAGE_BYTES, end * PAGE_BYTES);
                    prop_assert!(places.iter().any(|(start, bytes)| first >= *start && last <= start + bytes));
                }
            }
        }
    }
}
