//! Snapshots: guest memory as it was when the guest asked for its next event.
//!
//! `format` is the file, byte by byte, without I/O; this file opens one and checks it; `save` writes one.

pub mod format;
mod save;

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use mayfly_abi::layout::PAGE_BYTES;
use xxhash_rust::xxh3::Xxh3;

pub use format::{Header, Run};
pub(crate) use save::{Contents, save};

/// Why a snapshot file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not a snapshot, is cut off, or has rotted: delete it, it is made anew.
    #[error("{path}: {problem}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// It was made by another build, on another CPU or over another runtime snapshot: it has to be made anew.
    #[error("{path}: made by another build or on another CPU")]
    OtherBuild {
        /// The file.
        path: PathBuf,
    },
}

/// An open, checked snapshot file.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) file: File,
    header: Header,
    runs: Vec<Run>,
}

impl Snapshot {
    /// Opens a snapshot of this build and this CPU and verifies every byte of it.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn open(path: &Path, build: &[u8; 16]) -> Result<Snapshot, SnapshotError> {
        let io = |source| SnapshotError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let snapshot = Snapshot::read(file).map_err(io)?;
        let damaged = |problem| SnapshotError::Damaged { path: path.to_owned(), problem };
        let snapshot = snapshot.map_err(damaged)?;
        if snapshot.header.build != *build {
            return Err(SnapshotError::OtherBuild { path: path.to_owned() });
        }
        if snapshot.checksum().map_err(io)? != snapshot.header.data_checksum {
            return Err(damaged("the pages have another checksum than when they were written"));
        }
        Ok(snapshot)
    }

    /// Reads header and run table of a file, and checks them.
    pub(crate) fn read(file: File) -> std::io::Result<Result<Snapshot, &'static str>> {
        let file_bytes = file.metadata()?.len();
        let mut head = vec![0; PAGE_BYTES as usize];
        if file_bytes < PAGE_BYTES {
            return Ok(Err("too short for a snapshot"));
        }
        file.read_exact_at(&mut head, 0)?;
        let header = match Header::parse(&head, file_bytes) {
            Ok(header) => header,
            Err(problem) => return Ok(Err(problem)),
        };
        let mut table = vec![0; header.runs_bytes()];
        file.read_exact_at(&mut table, PAGE_BYTES)?;
        Ok(format::parse_runs(&header, &table).map(|runs| Snapshot { file, header, runs }))
    }

    /// What the header says.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The page ranges, in order.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Bytes of guest memory in it.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.pages * PAGE_BYTES).sum()
    }

    fn checksum(&self) -> std::io::Result<u64> {
        let mut hasher = Xxh3::new();
        let mut buffer = vec![0; 1 << 20];
        let mut at = self.header.data_offset;
        let mut reader = &self.file;
        std::io::Seek::seek(&mut reader, std::io::SeekFrom::Start(at))?;
        let end = at + self.data_bytes();
        while at < end {
            let part = (end - at).min(buffer.len() as u64) as usize;
            reader.read_exact(&mut buffer[..part])?;
            hasher.update(&buffer[..part]);
            at += part as u64;
        }
        Ok(hasher.digest())
    }
}
