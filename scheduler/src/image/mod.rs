//! Images: file trees in the form in which guests use them (`mayfly_abi::image`).
//!
//! A [`Tree`] collects paths; [`Tree::write`] lays them out and writes the file. The content of files is not in memory: a tree knows
//! each file's length and a source `S`, and asks for the bytes when their place comes.

mod function;
mod layout;
mod library;
mod writer;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    path::Path,
};

pub(crate) use function::{Part, package_tree};
use mayfly_abi::{image, layout::IMAGE_STRIDE_BYTES};
use writer::Writer;

use crate::files;

/// Part of the name of image files: another layout by this module is another file.
pub(crate) const BUILD: u32 = mayfly_abi::VERSION << 16 | 3;

/// A file tree to be written.
#[derive(Debug)]
pub(crate) struct Tree<S> {
    root: Node<S>,
}

#[derive(Debug)]
struct Node<S> {
    permissions: u32,
    modified_s: u64,
    kind: Kind<S>,
}

/// Date of whatever has none, or an older one: 1980-01-02. The day before is the first that a zip file can say, and it has to be
/// that day wherever a function thinks that it is.
const OLDEST_S: u64 = 315_619_200;

/// By name, in the order in which an image has them.
type Children<S> = BTreeMap<Vec<u8>, Node<S>>;

#[derive(Debug)]
enum Kind<S> {
    Directory(Children<S>),
    File { bytes: u64, source: S },
    Link(Vec<u8>),
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    /// A path that is not absolute, or is something else already.
    #[error("{0} cannot be put into an image")]
    Path(String),
    /// More than an image's place in a guest can hold.
    #[error("the image would have {0} bytes, and a guest has room for {IMAGE_STRIDE_BYTES}")]
    TooLarge(u64),
    /// It cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl<S> Tree<S> {
    /// A tree with nothing but its root.
    pub(crate) fn new() -> Tree<S> {
        Tree { root: Node::directory(0o755, 0) }
    }

    /// Adds a directory, and those above it; one that is there gets the permissions.
    pub(crate) fn directory(&mut self, path: &str, permissions: u32, modified_s: u64) -> Result<(), ImageError> {
        let (parent, name) = self.place(path)?;
        let node = parent.entry(name.into()).or_insert_with(|| Node::directory(permissions, modified_s));
        if !matches!(node.kind, Kind::Directory(_)) {
            return Err(ImageError::Path(path.to_owned()));
        }
        (node.permissions, node.modified_s) = (permissions, modified_s.max(OLDEST_S));
        Ok(())
    }

    /// Adds a file, and the directories above it.
    pub(crate) fn file(
        &mut self,
        path: &str,
        permissions: u32,
        modified_s: u64,
        bytes: u64,
        source: S,
    ) -> Result<(), ImageError> {
        self.add(path, Node::new(permissions, modified_s, Kind::File { bytes, source }))
    }

    /// Adds a symbolic link, and the directories above it.
    pub(crate) fn link(&mut self, path: &str, target: &str, modified_s: u64) -> Result<(), ImageError> {
        self.add(path, Node::new(0o777, modified_s, Kind::Link(target.into())))
    }

    fn add(&mut self, path: &str, node: Node<S>) -> Result<(), ImageError> {
        let (parent, name) = self.place(path)?;
        if parent.insert(name.into(), node).is_some() {
            return Err(ImageError::Path(path.to_owned()));
        }
        Ok(())
    }

    /// The directory in which `path` is, and its name there.
    fn place<'a>(&mut self, path: &'a str) -> Result<(&mut Children<S>, &'a str), ImageError> {
        let wrong = || ImageError::Path(path.to_owned());
        let (parents, name) = path.strip_prefix('/').ok_or_else(wrong)?.rsplit_once('/').unwrap_or(("", &path[1..]));
        let mut directory = match &mut self.root.kind {
            Kind::Directory(children) => children,
            _ => return Err(wrong()),
        };
        for component in parents.split('/').filter(|_| !parents.is_empty()).chain([name]) {
            if matches!(component, "" | "." | "..") {
                return Err(wrong());
            }
        }
        for component in parents.split('/').filter(|_| !parents.is_empty()) {
            let node = directory.entry(component.into()).or_insert_with(|| Node::directory(0o755, 0));
            let Kind::Directory(children) = &mut node.kind else { return Err(wrong()) };
            directory = children;
        }
        Ok((directory, name))
    }

    /// Writes the image to the start of an empty `file`. `fill` writes the bytes of a source, exactly as many as were said.
    pub(crate) fn write(
        &self,
        file: &mut File,
        mut fill: impl FnMut(&S, &mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ImageError> {
        Writer::new(self, file).write(&mut fill)
    }

    /// Writes the image to a new file, whole and on disk, or not at all.
    pub(crate) fn write_durably(
        &self,
        path: &Path,
        fill: impl FnMut(&S, &mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ImageError> {
        files::write_durably(path, |file| self.write(file, fill))?;
        files::forget_cached(path);
        Ok(())
    }
}

impl<S> Node<S> {
    fn directory(permissions: u32, modified_s: u64) -> Node<S> {
        Node::new(permissions, modified_s, Kind::Directory(BTreeMap::new()))
    }

    fn new(permissions: u32, modified_s: u64, kind: Kind<S>) -> Node<S> {
        Node { permissions, modified_s: modified_s.max(OLDEST_S), kind }
    }

    fn mode(&self) -> u32 {
        self.permissions
            | match self.kind {
                Kind::Directory(_) => image::DIRECTORY,
                Kind::File { .. } => image::FILE,
                Kind::Link(_) => image::LINK,
            }
    }
}

/// A writer that takes no more than it was promised.
struct Exactly<'a, W> {
    out: &'a mut W,
    left: u64,
}

impl<W: Write> Write for Exactly<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a file is longer than was said"))?;
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod library_tests;
#[cfg(test)]
mod tests;
