//! Packages: zip files from strangers.
//!
//! [`check`] is the only door. It reads the whole file once, inflates everything to nowhere, and gives a [`Package`] whose entries
//! are known to be good: plain relative paths, files, directories and links that stay inside, sizes and checksums that are true.
//! It is a pure function of the bytes, with bounded memory, and is fuzzed as such.
//!
//! The directory is read by code of ours rather than by the zip crate: that one keeps the last of two entries of a name
//! without a word, and tries one end record after another, each with a directory of any length, until one fits. Inflating is flate2's.

mod directory;
mod inflate;
mod path;

use std::{
    collections::HashMap,
    io::{self, Write},
};

use bytes::Bytes;
use directory::Raw;

use crate::limits;

/// Why a package is refused. The text is the caller's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// Larger than [`limits::PACKAGE_ZIPPED_BYTES`].
    #[error("Zipped size must be smaller than {} bytes", limits::PACKAGE_ZIPPED_BYTES)]
    ZippedSize,
    /// Larger than [`limits::PACKAGE_UNZIPPED_BYTES`] once unpacked, or claims to be.
    #[error("Unzipped size must be smaller than {} bytes", limits::PACKAGE_UNZIPPED_BYTES)]
    UnzippedSize,
    /// Nothing in it.
    #[error("Uploaded file must be a non-empty zip")]
    Empty,
    /// Not a zip file, or a damaged or hostile one; the detail is for the log.
    #[error("Could not unzip uploaded file. Please check your file, then try to upload again.")]
    Unreadable {
        /// What is wrong.
        detail: String,
    },
}

impl PackageError {
    fn unreadable(detail: impl Into<String>) -> PackageError {
        PackageError::Unreadable { detail: detail.into() }
    }
}

/// A package that has been checked.
#[derive(Debug, Clone)]
pub struct Package {
    bytes: Bytes,
    entries: Vec<Entry>,
    unzipped_bytes: u64,
}

/// Something in a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative, without `.`, `..` or a slash at either end.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Seconds since 1970, its local time taken as UTC.
    pub modified_s: u64,
    content: Raw,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory; parents of entries need not be named.
    Directory,
    /// A file.
    File {
        /// Its size.
        bytes: u64,
        /// Whether anyone may execute it.
        executable: bool,
    },
    /// A symbolic link that leads to somewhere inside.
    Link {
        /// Relative to the directory of the link.
        target: String,
    },
}

impl Package {
    /// What is in it, in its own order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Sum of the sizes of its files.
    #[must_use]
    pub fn unzipped_bytes(&self) -> u64 {
        self.unzipped_bytes
    }

    /// Writes the content of `entry`, which must be of this package.
    ///
    /// # Errors
    /// What `to` says.
    pub fn copy(&self, entry: &Entry, to: &mut dyn Write) -> io::Result<()> {
        inflate::inflate(&self.bytes, &entry.content, to)
    }
}

/// Reads all of `bytes` and says what is in it, or why it is no package.
///
/// # Errors
/// See [`PackageError`].
pub fn check(bytes: Bytes) -> Result<Package, PackageError> {
    if bytes.len() > limits::PACKAGE_ZIPPED_BYTES {
        return Err(PackageError::ZippedSize);
    }
    if bytes.is_empty() {
        return Err(PackageError::Empty);
    }
    let raws = directory::read(&bytes)?;
    check_sizes(&raws)?;
    let mut names = Names::default();
    let mut entries = Vec::with_capacity(raws.len());
    for raw in raws {
        let Some(entry) = entry(&bytes, raw)? else { continue };
        names.add(&entry)?;
        entries.push(entry);
    }
    if entries.is_empty() {
        return Err(PackageError::Empty);
    }
    let unzipped_bytes = entries.iter().map(|entry| entry.content.unzipped_bytes).sum();
    Ok(Package { bytes, entries, unzipped_bytes })
}

/// By what the directory claims. Inflating stops at what is claimed, so this bounds the work of everything after it.
fn check_sizes(raws: &[Raw]) -> Result<(), PackageError> {
    let mut total = 0_u64;
    for raw in raws {
        total = total.saturating_add(raw.unzipped_bytes);
        if raw.unzipped_bytes > limits::PACKAGE_ENTRY_RATIO_FROM_BYTES
            && raw.unzipped_bytes / raw.zipped_bytes().max(1) > limits::PACKAGE_ENTRY_RATIO
        {
            return Err(PackageError::unreadable("an entry is compressed too well to be one"));
        }
    }
    if total > limits::PACKAGE_UNZIPPED_BYTES {
        return Err(PackageError::UnzippedSize);
    }
    let zipped: u64 = raws.iter().map(Raw::zipped_bytes).sum();
    if total > limits::PACKAGE_RATIO_FROM_BYTES && total / zipped.max(1) > limits::PACKAGE_RATIO {
        return Err(PackageError::unreadable("it is compressed too well to be a package"));
    }
    Ok(())
}

/// The entry that `raw` describes, its content verified; `None` for the root itself.
fn entry(bytes: &Bytes, raw: Raw) -> Result<Option<Entry>, PackageError> {
    let name = &bytes[raw.name.clone()];
    let refused = |what: &str| PackageError::unreadable(format!("{what}: {}", name.escape_ascii()));
    let (path, directory_by_name) = path::clean(name).map_err(refused)?;
    let kind = match raw.file_type() {
        // Made by a tool that knows no Unix modes: the name decides.
        0 if directory_by_name => EntryKind::Directory,
        0 | directory::REGULAR if !directory_by_name => {
            EntryKind::File { bytes: raw.unzipped_bytes, executable: raw.unix_mode & 0o111 != 0 }
        }
        directory::DIRECTORY => EntryKind::Directory,
        directory::LINK if !directory_by_name => {
            if raw.unzipped_bytes > limits::PACKAGE_LINK_BYTES {
                return Err(refused("a link's target is too long"));
            }
            let mut target = Vec::new();
            inflate::inflate(bytes, &raw, &mut target).map_err(|error| refused(&error.to_string()))?;
            EntryKind::Link { target: path::clean_target(&path, &target).map_err(refused)? }
        }
        _ => return Err(refused("neither file, directory nor link")),
    };
    if kind == EntryKind::Directory && raw.unzipped_bytes != 0 {
        return Err(refused("a directory with content"));
    }
    if let EntryKind::File { .. } = kind {
        inflate::inflate(bytes, &raw, &mut io::sink()).map_err(|error| refused(&error.to_string()))?;
    }
    if path.is_empty() {
        return if kind == EntryKind::Directory { Ok(None) } else { Err(refused("a name with nothing in it")) };
    }
    Ok(Some(Entry { path, kind, modified_s: raw.modified_s, content: raw }))
}

/// The names so far: each may be one thing only, and what others are in must be a directory.
#[derive(Default)]
struct Names(HashMap<String, bool>);

impl Names {
    fn add(&mut self, entry: &Entry) -> Result<(), PackageError> {
        let refused = |what: &str, path: &str| Err(PackageError::unreadable(format!("{what}: {path}")));
        for (end, _) in entry.path.match_indices('/') {
            let parent = &entry.path[..end];
            match self.0.get(parent) {
                Some(true) => {}
                Some(false) => return refused("both a file and a directory", parent),
                None => drop(self.0.insert(parent.to_owned(), true)),
            }
        }
        let is_directory = entry.kind == EntryKind::Directory;
        match self.0.insert(entry.path.clone(), is_directory) {
            None => Ok(()),
            Some(was_directory) if was_directory && is_directory => Ok(()),
            Some(was_directory) if was_directory != is_directory => refused("both a file and a directory", &entry.path),
            Some(_) => refused("twice in the package", &entry.path),
        }
    }
}

#[cfg(test)]
mod tests;
