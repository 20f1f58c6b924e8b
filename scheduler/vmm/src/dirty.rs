//! Which pages of a guest's memory are private now, that is: differ, or may differ, from what is mapped there.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use mayfly_abi::layout::PAGE_BYTES;

use crate::error::Error;

/// `PAGEMAP_SCAN` of Linux 6.7: `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;
const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
const PAGE_IS_PFNZERO: u64 = 1 << 5;

/// Regions that one call can return.
const REGIONS: usize = 512;

#[repr(C)]
#[derive(Default)]
struct ScanArguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// Memory of a guest in which private pages are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Searched {
    /// The guest's address.
    pub guest: u64,
    /// The host's.
    pub host: u64,
    /// Length.
    pub bytes: u64,
}

/// Looks into the page tables of the own process.
pub struct DirtyPages {
    pagemap: File,
    scan: bool,
    regions: Vec<Region>,
    found: Vec<Range<u64>>,
}

impl DirtyPages {
    /// Opens the own page map. Must happen in the process whose memory is looked at.
    ///
    /// # Errors
    /// If `/proc` is not there.
    pub fn open() -> Result<DirtyPages, Error> {
        let pagemap = File::open("/proc/self/pagemap").map_err(Error::host("opening /proc/self/pagemap"))?;
        let mut pages =
            DirtyPages { pagemap, scan: true, regions: vec![Region::default(); REGIONS], found: Vec::new() };
        let nothing = Searched { guest: 0, host: 0, bytes: PAGE_BYTES };
        pages.scan = pages.scan_part(nothing, 0).is_ok();
        Ok(pages)
    }

    /// Whether the host has `PAGEMAP_SCAN`; without it a search reads 8 bytes per page of the guest.
    #[must_use]
    pub fn can_scan(&self) -> bool {
        self.scan
    }

    /// Uses the way of older kernels.
    pub fn without_scan(mut self) -> DirtyPages {
        self.scan = false;
        self
    }

    /// Private pages, as ranges of the guest's addresses, in the order of `searched`.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn find(&mut self, searched: impl Iterator<Item = Searched>) -> Result<&[Range<u64>], Error> {
        self.found.clear();
        for part in searched {
            if self.scan {
                let mut at = part.host;
                while at < part.host + part.bytes {
                    at = self.scan_part(part, at).map_err(Error::host("PAGEMAP_SCAN"))?;
                }
            } else {
                self.read_map(part).map_err(Error::host("reading the page map"))?;
            }
        }
        Ok(&self.found)
    }

    /// Searches from the host's address `start` on; returns where to go on.
    fn scan_part(&mut self, searched: Searched, start: u64) -> io::Result<u64> {
        let mut arguments = ScanArguments {
            size: size_of::<ScanArguments>() as u64,
            start,
            end: searched.host + searched.bytes,
            vec: self.regions.as_mut_ptr() as u64,
            vec_len: self.regions.len() as u64,
            category_inverted: PAGE_IS_FILE | PAGE_IS_PFNZERO,
            category_mask: PAGE_IS_FILE | PAGE_IS_PFNZERO,
            category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
            return_mask: PAGE_IS_FILE,
            ..Default::default()
        };
        #[expect(unsafe_code, reason = "an ioctl without a wrapper")]
        // SAFETY: the argument is the structure that the call expects; `vec` and `vec_len` describe our own vector.
        let count = unsafe { libc::ioctl(self.pagemap.as_raw_fd(), PAGEMAP_SCAN, &raw mut arguments) };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        for region in &self.regions[..count as usize] {
            let guest = |host: u64| host - searched.host + searched.guest;
            self.found.push(guest(region.start)..guest(region.end));
        }
        Ok(arguments.walk_end.max(start + PAGE_BYTES))
    }

    fn read_map(&mut self, searched: Searched) -> io::Result<()> {
        const PRESENT_OR_SWAPPED: u64 = 0b11 << 62;
        const FILE_OR_SHARED: u64 = 1 << 61;
        const CHUNK_PAGES: u64 = 8192;
        let mut words = vec![0; (CHUNK_PAGES * 8) as usize];
        let (first, pages) = (searched.host / PAGE_BYTES, searched.bytes / PAGE_BYTES);
        for chunk in (0..pages).step_by(CHUNK_PAGES as usize) {
            let words = &mut words[..((pages - chunk).min(CHUNK_PAGES) * 8) as usize];
            self.pagemap.read_exact_at(words, (first + chunk) * 8)?;
            for (index, word) in words.chunks_exact(8).enumerate() {
                let word = u64::from_le_bytes([word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7]]);
                if word & PRESENT_OR_SWAPPED != 0 && word & FILE_OR_SHARED == 0 {
                    let at = searched.guest + (chunk + index as u64) * PAGE_BYTES;
                    match self.found.last_mut() {
                        Some(last) if last.end == at => last.end = at + PAGE_BYTES,
                        _ => self.found.push(at..at + PAGE_BYTES),
                    }
                }
            }
        }
        Ok(())
    }
}
