//! The image of a function: its package below `/var/task`.

use super::{ImageError, Tree};
use crate::package::{Entry, EntryKind, Package};

/// Where a package is in the guest.
const TASK_ROOT: &str = "/var/task";

/// The tree of a package. The source of each file is its entry.
pub(crate) fn function_tree(package: &Package) -> Result<Tree<&Entry>, ImageError> {
    let mut tree = Tree::new();
    tree.directory(TASK_ROOT, 0o755, 0)?;
    for entry in package.entries() {
        let path = format!("{TASK_ROOT}/{}", entry.path);
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
