//! The images of a function: its package below `/var/task`, each of its layers below `/opt`.

use super::{ImageError, Tree};
use crate::package::{Entry, EntryKind, Package};

/// What a zip is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The function's own code.
    Package,
    /// What it shares with others.
    Layer,
}

impl Part {
    /// Where its files are in the guest.
    fn root(self) -> &'static str {
        match self {
            Part::Package => "/var/task",
            Part::Layer => "/opt",
        }
    }
}

/// The tree of a package. The source of each file is its entry.
pub(crate) fn package_tree(package: &Package, part: Part) -> Result<Tree<&Entry>, ImageError> {
    let (mut tree, root) = (Tree::new(), part.root());
    tree.directory(root, 0o755, 0)?;
    for entry in package.entries() {
        let path = format!("{root}/{}", entry.path);
        match &entry.kind {
            EntryKind::Directory => tree.directory(&path, 0o755, entry.modified_s)?,
            // As Lambda does: everyone can read, nobody can write.
            EntryKind::File { bytes, executable } => {
                tree.file(&path, if *executable { 0o755 } else { 0o644 }, entry.modified_s, *bytes, entry)?;
            }
            EntryKind::Link { target } => tree.link(&path, target, entry.modified_s)?,
        }
    }
    Ok(tree)
}
