//! Images of a guest: which of them it can write to, and where.

use std::fs::File;
use std::os::unix::fs::FileExt;

use mayfly_abi::image::{HEADER_BYTES, Header, RANGE_BYTES, Range};
use mayfly_abi::layout::{
    IMAGE_STRIDE_BYTES, IMAGE_TABLES_MAX, IMAGES_MAX, IMAGES_WRITABLE_MAX_BYTES, LARGE_PAGE_BYTES, PAGE_BYTES,
};

use crate::error::Error;

/// Most writable ranges of an image: more could not be granted, were they a page each.
const RANGES_MAX: u32 = (IMAGES_WRITABLE_MAX_BYTES / PAGE_BYTES) as u32;

/// A file tree for guests, open.
#[derive(Debug)]
pub struct ImageFile {
    file: File,
    bytes: u64,
    /// Writable ranges, in order and apart from each other.
    ranges: Vec<Range>,
}

/// An image as a guest has it.
#[derive(Debug, Clone)]
pub(crate) struct GuestImage {
    pub(crate) bytes: u64,
    /// What the guest can write to.
    pub(crate) ranges: Vec<Range>,
    /// Whether that is all that the image asks for.
    pub(crate) is_in_place: bool,
}

impl ImageFile {
    /// Opens an image.
    ///
    /// # Errors
    /// If it cannot be read, has an impossible length or is no image.
    pub fn open(path: &std::path::Path) -> Result<ImageFile, Error> {
        let problem = |problem: String| Error::File { path: path.to_owned(), problem };
        let file = File::open(path).map_err(|error| problem(error.to_string()))?;
        ImageFile::from_file(file).map_err(|error| problem(error.to_string()))
    }

    pub(crate) fn from_file(file: File) -> Result<ImageFile, Error> {
        let bytes = file.metadata().map_err(Error::host("looking at an image"))?.len();
        if bytes == 0 || !bytes.is_multiple_of(LARGE_PAGE_BYTES) || bytes > IMAGE_STRIDE_BYTES {
            return Err(Error::State("an image must be a multiple of 2 MiB long, and at most 1 GiB"));
        }
        let mut head = [0; HEADER_BYTES];
        file.read_exact_at(&mut head, 0).map_err(Error::host("reading an image"))?;
        let header = Header::parse(&head, bytes).ok_or(Error::State("a file is no image of this version"))?;
        if header.ranges > RANGES_MAX {
            return Err(Error::State("an image has too many writable ranges"));
        }
        let mut table = vec![0; header.ranges as usize * RANGE_BYTES];
        file.read_exact_at(&mut table, header.ranges_offset()).map_err(Error::host("reading an image"))?;
        let (entries, _) = table.as_chunks::<RANGE_BYTES>();
        let ranges: Vec<Range> = entries.iter().map(Range::parse).collect();
        let mut next_page = 0;
        for range in &ranges {
            let end = range.first_page.checked_add(range.pages).filter(|_| range.first_page >= next_page);
            next_page = end.ok_or(Error::State("the writable ranges of an image are out of order"))?;
        }
        if u64::from(next_page) * PAGE_BYTES > bytes {
            return Err(Error::State("a writable range is outside of its image"));
        }
        Ok(ImageFile { file, bytes, ranges })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl GuestImage {
    /// What a guest with these images can write to. Those for which there are no page tables left, or which would let it have more memory than it
    /// may, are read-only. Images that are added later do not change what those before them get.
    pub(crate) fn grant(images: &[&ImageFile]) -> Result<Vec<GuestImage>, Error> {
        if images.len() > IMAGES_MAX {
            return Err(Error::State("too many images"));
        }
        let (mut tables_left, mut bytes_left) = (IMAGE_TABLES_MAX, IMAGES_WRITABLE_MAX_BYTES);
        let grant = |image: &&ImageFile| {
            let tables = tables_of(&image.ranges).count();
            let bytes = image.ranges.iter().map(|range| u64::from(range.pages) * PAGE_BYTES).sum::<u64>();
            let is_in_place = tables <= tables_left && bytes <= bytes_left;
            let mut ranges = Vec::new();
            if is_in_place {
                (tables_left, bytes_left) = (tables_left - tables, bytes_left - bytes);
                ranges.clone_from(&image.ranges);
            }
            GuestImage { bytes: image.bytes, ranges, is_in_place }
        };
        Ok(images.iter().map(grant).collect())
    }
}

/// The parts of 2 MiB that have a writable page, in order.
pub(crate) fn tables_of(ranges: &[Range]) -> impl Iterator<Item = u64> {
    let part = |page: u32| u64::from(page) * PAGE_BYTES / LARGE_PAGE_BYTES;
    let mut next = 0;
    ranges.iter().filter(|range| range.pages > 0).flat_map(move |range| {
        let (first, last) = (part(range.first_page), part(range.first_page + range.pages - 1));
        let new = first.max(next)..=last;
        next = last + 1;
        new
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(ranges: &[(u32, u32)]) -> ImageFile {
        let ranges = ranges.iter().map(|&(first_page, pages)| Range { first_page, pages }).collect();
        ImageFile { file: tempfile::tempfile().unwrap(), bytes: IMAGE_STRIDE_BYTES, ranges }
    }

    #[test]
    fn tables_are_counted_once() {
        let found = |ranges: &[(u32, u32)]| tables_of(&image(ranges).ranges).collect::<Vec<_>>();
        assert_eq!(found(&[(0, 1), (3, 4), (511, 1)]), [0]);
        assert_eq!(found(&[(511, 2), (600, 1), (1024, 1)]), [0, 1, 2]);
        assert_eq!(found(&[(100, 2000)]), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn images_that_ask_for_too_much_are_read_only() {
        let small = image(&[(1, 1)]);
        let many: Vec<(u32, u32)> = (0..512).map(|table| (table * 512, 1)).collect();
        let (scattered, large) = (image(&many), image(&[(0, 16_384)]));
        let granted = |images: &[&ImageFile]| {
            let images = GuestImage::grant(images).unwrap();
            images.iter().map(|image| image.is_in_place).collect::<Vec<_>>()
        };
        assert_eq!(granted(&[&small, &scattered, &small]), [true, false, true]);
        assert_eq!(granted(&[&small, &large, &small]), [true, false, true]);
        assert_eq!(granted(&[&large, &small]), [true, false]);
        assert!(GuestImage::grant(&[&small; 9]).is_err());
    }
}
