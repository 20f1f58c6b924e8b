//! Writes an image: libraries first, beside each other, then what of their files is not in their load areas, then all other files.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufWriter, Seek, SeekFrom, Write},
};

use mayfly_abi::{
    image::{HEADER_BYTES, Header, MAGIC, Piece, Range},
    layout::{
        IMAGE_STRIDE_BYTES, IMAGE_TABLES_MAX, IMAGES_WRITABLE_MAX_BYTES, LARGE_PAGE_BYTES, PAGE_BYTES, STUBS_BYTES,
    },
};

use super::{
    Exactly, ImageError, Tree,
    layout::{self, Layout},
    library::Plan,
};

/// Larger files are no libraries: those are read as a whole.
const LIBRARY_MAX_BYTES: u64 = 128 << 20;
/// What libraries leave over is kept in memory up to here.
const REST_MAX_BYTES: usize = 32 << 20;
/// An image may use half of what there is for all of a guest's.
const WRITABLE_MAX_BYTES: u64 = IMAGES_WRITABLE_MAX_BYTES / 2;
const TABLES_MAX: usize = IMAGE_TABLES_MAX / 2;

/// Writes the bytes of a source.
pub(super) type Fill<'a, S> = &'a mut dyn FnMut(&S, &mut dyn Write) -> io::Result<()>;

/// An image on its way to a file.
pub(super) struct Writer<'a, S> {
    layout: Layout<'a, S>,
    out: BufWriter<&'a mut File>,
    /// Where the next bytes go.
    end: u64,
    pieces: Vec<Piece>,
    ranges: Vec<Range>,
    writable_bytes: u64,
    /// Parts of 2 MiB with a writable range.
    tables: BTreeSet<u64>,
    has_sites: bool,
    rest: Vec<u8>,
    /// Pieces in `rest`, with their offsets there.
    rest_pieces: Vec<usize>,
}

impl<'a, S> Writer<'a, S> {
    pub(super) fn new(tree: &'a Tree<S>, file: &'a mut File) -> Writer<'a, S> {
        let layout = Layout::new(tree);
        Writer {
            end: layout.head_bytes(),
            layout,
            out: BufWriter::with_capacity(1 << 20, file),
            pieces: Vec::new(),
            ranges: Vec::new(),
            writable_bytes: 0,
            tables: BTreeSet::new(),
            has_sites: false,
            rest: Vec::new(),
            rest_pieces: Vec::new(),
        }
    }

    /// Where nothing is written there is a hole: padding and zeros cost no disk.
    pub(super) fn write(mut self, fill: Fill<'_, S>) -> Result<(), ImageError> {
        let files = std::mem::take(&mut self.layout.files);
        // Refused before anything of that size is read.
        self.check(self.end.saturating_add(files.iter().fold(0, |sum, file| file.bytes.saturating_add(sum))))?;
        let (programs, others): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| file.may_be_program && file.bytes <= LIBRARY_MAX_BYTES);
        for file in programs {
            self.program(&file, fill)?;
        }
        self.put_rest()?;
        let stubs_offset = self.stubs();
        for file in others {
            let offset = self.begin(file.bytes)?;
            self.layout.nodes[file.node].data_offset = offset;
            exactly(&mut self.out, file.bytes, |to| fill(file.source, to))?;
        }
        self.finish(stubs_offset)
    }

    /// A file that may be a library: placed so that it can be used where it is, or like any other.
    fn program(&mut self, file: &layout::File<'_, S>, fill: Fill<'_, S>) -> Result<(), ImageError> {
        let mut bytes = Vec::with_capacity(file.bytes as usize);
        exactly(&mut bytes, file.bytes, |to| fill(file.source, to))?;
        let plan = Plan::of(&bytes).filter(|plan| self.can_have(plan));
        let Some(plan) = plan else {
            self.layout.nodes[file.node].data_offset = self.begin(file.bytes)?;
            return Ok(self.out.write_all(&bytes)?);
        };
        let area = self.begin(plan.area_bytes)?;
        for part in &plan.loaded {
            self.out.seek(SeekFrom::Start(area + part.area_offset))?;
            self.out.write_all(&bytes[part.file_offset as usize..(part.file_offset + part.bytes) as usize])?;
        }
        let node = &mut self.layout.nodes[file.node];
        (node.area_page, node.area_pages) = ((area / PAGE_BYTES) as u32, (plan.area_bytes / PAGE_BYTES) as u32);
        node.first_piece = self.pieces.len() as u32;
        self.add_pieces(&bytes, area, &plan);
        let node = &mut self.layout.nodes[file.node];
        node.pieces = self.pieces.len() as u32 - node.first_piece;
        for (first_page, pages) in plan.writable {
            self.add_range(area / PAGE_BYTES + first_page, pages);
        }
        self.has_sites |= plan.has_sites;
        if self.rest.len() > REST_MAX_BYTES { self.put_rest() } else { Ok(()) }
    }

    /// Whether a library can be placed next: a guest has only so many page tables, and may have only so much memory besides its own.
    fn can_have(&self, plan: &Plan) -> bool {
        let written: u64 = plan.writable.iter().map(|(_, pages)| pages * PAGE_BYTES).sum();
        let tables = plan.area_bytes / LARGE_PAGE_BYTES + 2;
        self.writable_bytes + written <= WRITABLE_MAX_BYTES && self.tables.len() + tables as usize <= TABLES_MAX
    }

    /// The file's bytes: in the load area where those stay what they are, else in the rest.
    fn add_pieces(&mut self, bytes: &[u8], area: u64, plan: &Plan) {
        let mut at = 0;
        for part in &plan.shared {
            self.add_rest(bytes, at, part.file_offset);
            self.pieces.push(Piece { file_offset: part.file_offset, image_offset: area + part.area_offset });
            at = part.file_offset + part.bytes;
        }
        self.add_rest(bytes, at, bytes.len() as u64);
    }

    fn add_rest(&mut self, bytes: &[u8], from: u64, to: u64) {
        if from < to {
            self.rest_pieces.push(self.pieces.len());
            self.pieces.push(Piece { file_offset: from, image_offset: self.rest.len() as u64 });
            self.rest.extend_from_slice(&bytes[from as usize..to as usize]);
        }
    }

    fn put_rest(&mut self) -> Result<(), ImageError> {
        let (rest, pieces) = (std::mem::take(&mut self.rest), std::mem::take(&mut self.rest_pieces));
        let start = self.begin(rest.len() as u64)?;
        for index in pieces {
            self.pieces[index].image_offset += start;
        }
        Ok(self.out.write_all(&rest)?)
    }

    fn add_range(&mut self, first_page: u64, pages: u64) {
        self.writable_bytes += pages * PAGE_BYTES;
        let table = |page: u64| page * PAGE_BYTES / LARGE_PAGE_BYTES;
        self.tables.extend(table(first_page)..=table(first_page + pages - 1));
        let (first_page, pages) = (first_page as u32, pages as u32);
        match self.ranges.last_mut() {
            Some(last) if last.first_page + last.pages == first_page => last.pages += pages,
            _ => self.ranges.push(Range { first_page, pages }),
        }
    }

    /// Room for the stubs of the guest's kernel, which has to be near the libraries that use them.
    fn stubs(&mut self) -> u64 {
        if !self.has_sites {
            return 0;
        }
        let offset = self.end.next_multiple_of(PAGE_BYTES);
        self.end = offset + STUBS_BYTES;
        self.add_range(offset / PAGE_BYTES, STUBS_BYTES / PAGE_BYTES);
        offset
    }

    /// Makes room for bytes that start on a page, and goes there.
    fn begin(&mut self, bytes: u64) -> Result<u64, ImageError> {
        let offset = self.end.next_multiple_of(PAGE_BYTES);
        self.check(offset + bytes)?;
        self.end = offset + bytes;
        self.out.seek(SeekFrom::Start(offset))?;
        Ok(offset)
    }

    fn check(&self, bytes: u64) -> Result<(), ImageError> {
        if bytes > IMAGE_STRIDE_BYTES { Err(ImageError::TooLarge(bytes)) } else { Ok(()) }
    }

    fn finish(mut self, stubs_offset: u64) -> Result<(), ImageError> {
        let mut tables = Vec::new();
        for piece in &self.pieces {
            tables.extend_from_slice(&piece.file_offset.to_le_bytes());
            tables.extend_from_slice(&piece.image_offset.to_le_bytes());
        }
        for range in &self.ranges {
            tables.extend_from_slice(&range.first_page.to_le_bytes());
            tables.extend_from_slice(&range.pages.to_le_bytes());
        }
        let tables_offset = self.begin(tables.len() as u64)?;
        self.out.write_all(&tables)?;
        let header = Header {
            magic: MAGIC,
            version: mayfly_abi::VERSION,
            nodes: self.layout.nodes.len() as u32,
            nodes_offset: HEADER_BYTES as u64,
            names_offset: self.layout.names_offset(),
            names_bytes: self.layout.names.len() as u64,
            image_bytes: self.end.next_multiple_of(LARGE_PAGE_BYTES),
            tables_offset,
            pieces: self.pieces.len() as u32,
            ranges: self.ranges.len() as u32,
            stubs_offset,
            reserved: 0,
        };
        self.check(header.image_bytes)?;
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&self.layout.head(&header))?;
        self.out.flush()?;
        Ok(self.out.get_ref().set_len(header.image_bytes)?)
    }
}

/// Lets exactly so many bytes be written.
fn exactly(
    out: &mut impl Write,
    bytes: u64,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), ImageError> {
    let mut exact = Exactly { out, left: bytes };
    fill(&mut exact)?;
    if exact.left != 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a file is shorter than was said").into());
    }
    Ok(())
}
