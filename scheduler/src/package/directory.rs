//! The directory at the end of a zip file (APPNOTE.TXT 6.3.10, sections 4.3.7 to 4.3.16).
//!
//! ```text
//! [anything] { local header, data }… { central header }… [zip64 end record, zip64 locator] end record, comment
//! ```
//!
//! Strict where readers differ, since what one reader sees and another does not is how hostile packages work: the end record
//! is the one whose comment ends with the file, the central directory fills the room before it exactly, local and central
//! names agree, and no two entries share bytes.

use std::ops::Range;

use super::PackageError;
use crate::limits;

/// A central header, checked against the file's length and its local header; the name and content not yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) name: Range<usize>,
    pub(super) data: Range<usize>,
    pub(super) method: Method,
    pub(super) crc: u32,
    pub(super) unzipped_bytes: u64,
    /// `st_mode`; 0 where the tool that made the package knows none.
    pub(super) unix_mode: u32,
    pub(super) modified_s: u64,
    local_header: usize,
}

/// How content is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflated,
}

/// `st_mode` types.
pub(super) const REGULAR: u32 = 0o100_000;
pub(super) const DIRECTORY: u32 = 0o040_000;
pub(super) const LINK: u32 = 0o120_000;
const TYPE_MASK: u32 = 0o170_000;

const END: u32 = 0x0605_4b50;
const END_BYTES: usize = 22;
const ZIP64_LOCATOR: u32 = 0x0706_4b50;
const ZIP64_LOCATOR_BYTES: usize = 20;
const ZIP64_END: u32 = 0x0606_4b50;
const ZIP64_END_BYTES: usize = 56;
const CENTRAL: u32 = 0x0201_4b50;
const CENTRAL_BYTES: usize = 46;
const LOCAL: u32 = 0x0403_4b50;
const LOCAL_BYTES: usize = 30;
const COMMENT_MAX_BYTES: usize = 0xffff;
/// Encrypted, patch data, strongly encrypted, masked headers.
const FLAGS_REFUSED: u16 = 1 | 1 << 5 | 1 << 6 | 1 << 13;
/// Hosts whose external attributes hold an `st_mode`: Unix and macOS.
const UNIX_HOSTS: [u8; 2] = [3, 19];

impl Raw {
    pub(super) fn zipped_bytes(&self) -> u64 {
        self.data.len() as u64
    }

    pub(super) fn file_type(&self) -> u32 {
        self.unix_mode & TYPE_MASK
    }
}

/// Where the central directory is.
struct Directory {
    bytes: Range<usize>,
    entries: usize,
    /// What to add to offsets: the length of whatever was put before the zip.
    shift: usize,
}

/// Every entry of `file`.
pub(super) fn read(file: &[u8]) -> Result<Vec<Raw>, PackageError> {
    let directory = find(file).ok_or_else(|| PackageError::unreadable("no end record"))?;
    if directory.entries > limits::PACKAGE_ENTRIES {
        return Err(PackageError::unreadable("too many entries"));
    }
    let damaged = || PackageError::unreadable("a header is cut off or points nowhere");
    let mut raws = Vec::with_capacity(directory.entries.min(directory.bytes.len() / CENTRAL_BYTES));
    let mut at = directory.bytes.start;
    for _ in 0..directory.entries {
        let header = Bytes(file.get(at..directory.bytes.end).ok_or_else(damaged)?);
        let (raw, header_bytes) = central(header, at, &directory).ok_or_else(damaged)??;
        raws.push(local(file, raw, directory.bytes.start).ok_or_else(damaged)??);
        at += header_bytes;
    }
    if at != directory.bytes.end {
        return Err(PackageError::unreadable("more in the directory than its end record says"));
    }
    check_overlaps(&raws)?;
    Ok(raws)
}

fn find(file: &[u8]) -> Option<Directory> {
    let last = file.len().checked_sub(END_BYTES)?;
    let first = last.saturating_sub(COMMENT_MAX_BYTES);
    let at = (first..=last).rev().find(|&at| {
        let record = Bytes(&file[at..]);
        record.u32(0) == Some(END) && record.u16(20).map(usize::from) == Some(last - at)
    })?;
    let end = Bytes(&file[at..]);
    if end.u16(4)? != 0 || end.u16(6)? != 0 || end.u16(8)? != end.u16(10)? {
        return None;
    }
    let (mut directory_end, mut entries) = (at, usize::from(end.u16(10)?));
    let (mut bytes, mut offset) = (u64::from(end.u32(12)?), u64::from(end.u32(16)?));
    let before = |bytes: usize| at.checked_sub(bytes).map(|start| Bytes(&file[start..at]));
    if before(ZIP64_LOCATOR_BYTES).and_then(|locator| locator.u32(0)) == Some(ZIP64_LOCATOR) {
        let record = before(ZIP64_LOCATOR_BYTES + ZIP64_END_BYTES)?;
        if record.u32(0)? != ZIP64_END || record.u64(24)? != record.u64(32)? {
            return None;
        }
        directory_end = at - ZIP64_LOCATOR_BYTES - ZIP64_END_BYTES;
        entries = usize::try_from(record.u64(32)?).ok()?;
        (bytes, offset) = (record.u64(40)?, record.u64(48)?);
    }
    let start = directory_end.checked_sub(usize::try_from(bytes).ok()?)?;
    let shift = start.checked_sub(usize::try_from(offset).ok()?)?;
    Some(Directory { bytes: start..directory_end, entries, shift })
}

/// The central header at `at` and its length. Its `data` is relative to the end of the local header, which is read next.
fn central(header: Bytes<'_>, at: usize, directory: &Directory) -> Option<Result<(Raw, usize), PackageError>> {
    if header.u32(0)? != CENTRAL {
        return None;
    }
    let (flags, method) = (header.u16(8)?, header.u16(10)?);
    if flags & FLAGS_REFUSED != 0 {
        return Some(Err(PackageError::unreadable("encrypted")));
    }
    let method = match method {
        0 => Method::Stored,
        8 => Method::Deflated,
        other => return Some(Err(PackageError::unreadable(format!("compression method {other}")))),
    };
    let lengths = [28, 30, 32].map(|at| header.u16(at).map(usize::from));
    let [Some(name_bytes), Some(extra_bytes), Some(comment_bytes)] = lengths else { return None };
    let header_bytes = CENTRAL_BYTES + name_bytes + extra_bytes + comment_bytes;
    header.0.get(..header_bytes)?;
    let extra = Bytes(&header.0[CENTRAL_BYTES + name_bytes..CENTRAL_BYTES + name_bytes + extra_bytes]);
    let mut sizes = [24, 20, 42].map(|at| header.u32(at).map_or(0, u64::from));
    widen(&mut sizes, extra)?;
    let [unzipped_bytes, zipped_bytes, offset] = sizes;
    let has_mode = UNIX_HOSTS.contains(&header.0[5]);
    let raw = Raw {
        name: at + CENTRAL_BYTES..at + CENTRAL_BYTES + name_bytes,
        data: 0..usize::try_from(zipped_bytes).ok()?,
        method,
        crc: header.u32(16)?,
        unzipped_bytes,
        unix_mode: if has_mode { header.u32(38)? >> 16 } else { 0 },
        modified_s: seconds(header.u16(14)?, header.u16(12)?),
        local_header: usize::try_from(offset).ok()?.checked_add(directory.shift)?,
    };
    Some(Ok((raw, header_bytes)))
}

/// Completes `raw` from its local header; everything must end before the central directory begins.
fn local(file: &[u8], raw: Raw, directory_start: usize) -> Option<Result<Raw, PackageError>> {
    let header = Bytes(file.get(raw.local_header..directory_start)?);
    if header.u32(0)? != LOCAL {
        return None;
    }
    let (name_bytes, extra_bytes) = (usize::from(header.u16(26)?), usize::from(header.u16(28)?));
    if header.0.get(LOCAL_BYTES..LOCAL_BYTES + name_bytes)? != &file[raw.name.clone()] {
        return Some(Err(PackageError::unreadable("an entry has two names")));
    }
    let start = raw.local_header + LOCAL_BYTES + name_bytes + extra_bytes;
    let end = start.checked_add(raw.data.end)?;
    (end <= directory_start).then_some(Ok(Raw { data: start..end, ..raw }))
}

/// Sizes that do not fit 32 bits are in the zip64 extra field, in this order, those that do not fit only (section 4.5.3).
fn widen(sizes: &mut [u64; 3], extra: Bytes<'_>) -> Option<()> {
    if sizes.iter().all(|&size| size != u64::from(u32::MAX)) {
        return Some(());
    }
    let mut at = 0;
    while let (Some(kind), Some(bytes)) = (extra.u16(at), extra.u16(at + 2)) {
        at += 4;
        if kind == 1 {
            let mut field = at;
            for size in sizes.iter_mut().filter(|size| **size == u64::from(u32::MAX)) {
                *size = extra.u64(field)?;
                field += 8;
            }
            return (field <= at + usize::from(bytes)).then_some(());
        }
        at += usize::from(bytes);
    }
    None
}

/// Entries that share bytes are how a few megabytes become petabytes.
fn check_overlaps(raws: &[Raw]) -> Result<(), PackageError> {
    let mut spans: Vec<_> = raws.iter().map(|raw| (raw.local_header, raw.data.end)).collect();
    spans.sort_unstable();
    if spans.windows(2).any(|pair| pair[0].1 > pair[1].0) {
        return Err(PackageError::unreadable("entries overlap"));
    }
    Ok(())
}

/// An MS-DOS date and time as seconds since 1970; 0 if it is none.
fn seconds(date: u16, time: u16) -> u64 {
    let (year, month, day) = (1980 + u64::from(date >> 9), u64::from(date >> 5 & 15), u64::from(date & 31));
    let (hour, minute, second) = (u64::from(time >> 11), u64::from(time >> 5 & 63), u64::from(time & 31) * 2);
    if !(1..=12).contains(&month) || day == 0 || hour > 23 || minute > 59 || second > 59 {
        return 0;
    }
    crate::clock::unix_seconds(year, month, day) + hour * 3600 + minute * 60 + second
}

/// Little-endian words at offsets that may not be there.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn u16(self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes(self.0.get(at..at + 2)?.try_into().ok()?))
    }

    fn u32(self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.0.get(at..at + 4)?.try_into().ok()?))
    }

    fn u64(self, at: usize) -> Option<u64> {
        Some(u64::from_le_bytes(self.0.get(at..at + 8)?.try_into().ok()?))
    }
}
