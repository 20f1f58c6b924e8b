//! Writes a snapshot.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};

use mayfly_abi::layout::{IMAGES_MAX, PAGE_BYTES};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::format::{Header, Run, runs_to_bytes};
use crate::error::Error;
use crate::memory::Memory;

/// What goes into a snapshot.
pub(crate) struct Contents {
    pub(crate) build: [u8; 16],
    pub(crate) base: u64,
    pub(crate) tmp_bytes: u64,
    pub(crate) image_bytes: [u64; IMAGES_MAX],
    pub(crate) images: u32,
    /// Pages to save as (first page, number of pages), in order.
    pub(crate) pages: Vec<(u64, u64)>,
}

/// Writes the pages of `memory` to `file` and waits until they are on disk.
pub(crate) fn save(file: &File, memory: &Memory, contents: &Contents) -> Result<Header, Error> {
    let data_offset =
        (PAGE_BYTES + (contents.pages.len() * super::format::RUN_BYTES) as u64).next_multiple_of(PAGE_BYTES);
    let mut runs = Vec::with_capacity(contents.pages.len());
    let mut file_offset = data_offset;
    for &(first_page, pages) in &contents.pages {
        runs.push(Run { first_page, pages, file_offset });
        file_offset += pages * PAGE_BYTES;
    }
    let table = runs_to_bytes(&runs);
    let io = Error::host;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    writer.seek(SeekFrom::Start(data_offset)).map_err(io("writing a snapshot"))?;
    let mut hasher = Xxh3::new();
    for run in &runs {
        let bytes = memory.slice(run.address(), run.bytes())?;
        hasher.update(bytes);
        writer.write_all(bytes).map_err(io("writing a snapshot"))?;
    }
    let (data_checksum, runs_checksum) = (hasher.digest(), xxh3_64(&table));
    let header = Header {
        build: contents.build,
        identity: data_checksum.rotate_left(1) ^ runs_checksum | 1,
        base: contents.base,
        memory_bytes: memory.bytes(),
        tmp_bytes: contents.tmp_bytes,
        image_bytes: contents.image_bytes,
        images: contents.images,
        runs: runs.len() as u64,
        data_offset,
        data_checksum,
        runs_checksum,
    };
    writer.seek(SeekFrom::Start(0)).map_err(io("writing a snapshot"))?;
    writer.write_all(&header.to_page()).map_err(io("writing a snapshot"))?;
    writer.write_all(&table).map_err(io("writing a snapshot"))?;
    writer.flush().map_err(io("writing a snapshot"))?;
    drop(writer);
    file.sync_data().map_err(io("writing a snapshot"))?;
    Ok(header)
}
