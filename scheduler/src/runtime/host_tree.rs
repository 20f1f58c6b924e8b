//! Files of the host for an image, at the paths that they have on the host.
//!
//! A path is mirrored with every symbolic link on its way, so that whatever name a program uses for a file leads there in the
//! guest too, and no file is there twice.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Component, Path, PathBuf},
};

use super::BuildError;
use crate::image::{ImageError, Tree};

/// Links in one path, as Linux counts them.
const LINKS: usize = 40;

/// What will be in an image, by path.
#[derive(Debug, Default)]
pub(crate) struct HostTree {
    nodes: BTreeMap<PathBuf, Node>,
}

#[derive(Debug)]
enum Node {
    Directory,
    Link(PathBuf),
    File { source: Source, bytes: u64, is_executable: bool },
}

/// Where the bytes of a file come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file of the host.
    Host(PathBuf),
    /// Bytes of ours.
    Bytes(Vec<u8>),
}

impl Source {
    /// Writes the bytes.
    pub(crate) fn copy(&self, to: &mut dyn Write) -> io::Result<()> {
        match self {
            Source::Host(path) => io::copy(&mut File::open(path)?, to).map(drop),
            Source::Bytes(bytes) => to.write_all(bytes),
        }
    }
}

impl HostTree {
    /// Adds what is at `path` and every link on the way: a file, or a directory without what is in it. Gives its real path.
    pub(crate) fn mirror(&mut self, path: &Path) -> io::Result<PathBuf> {
        let (mut done, mut left) = (PathBuf::from("/"), VecDeque::new());
        push_front(&mut left, path);
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == ".." {
                done.pop();
                continue;
            }
            let next = done.join(name);
            let metadata = fs::symlink_metadata(&next)?;
            if metadata.is_symlink() {
                links += 1;
                if links > LINKS {
                    return Err(io::Error::other(format!("{} has too many links", path.display())));
                }
                let target = fs::read_link(&next)?;
                if target.is_absolute() {
                    done = PathBuf::from("/");
                }
                push_front(&mut left, &target);
                self.nodes.insert(next, Node::Link(target));
                continue;
            }
            done = next;
            let node = if metadata.is_dir() {
                Node::Directory
            } else if metadata.is_file() {
                let is_executable = metadata.permissions().mode() & 0o111 != 0;
                Node::File { source: Source::Host(done.clone()), bytes: metadata.len(), is_executable }
            } else {
                return Err(io::Error::other(format!("{} is no file", done.display())));
            };
            self.nodes.insert(done.clone(), node);
        }
        Ok(done)
    }

    /// Adds a directory with what is in it, as far as `is_wanted`, which is asked with the path as it is reached. What a link leads to
    /// comes too. What cannot be read or leads nowhere does not: a host has such files in its libraries, and runs without them.
    pub(crate) fn mirror_all(&mut self, path: &Path, is_wanted: &dyn Fn(&Path, bool) -> bool) -> io::Result<()> {
        self.descend(path, is_wanted, &mut BTreeSet::new())
    }

    fn descend(
        &mut self,
        path: &Path,
        is_wanted: &dyn Fn(&Path, bool) -> bool,
        seen: &mut BTreeSet<PathBuf>,
    ) -> io::Result<()> {
        let real = self.mirror(path)?;
        if !seen.insert(real.clone()) {
            return Ok(());
        }
        let mut entries = fs::read_dir(&real)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let reached = path.join(entry.file_name());
            let Ok(metadata) = fs::metadata(entry.path()) else { continue };
            // What others may not read on the host, guests may not either.
            let is_private = metadata.is_file() && metadata.permissions().mode() & 0o004 == 0;
            if is_private || !is_wanted(&reached, metadata.is_dir()) {
                continue;
            }
            let _ = if metadata.is_dir() {
                self.descend(&reached, is_wanted, seen)
            } else if metadata.is_file() && File::open(&reached).is_ok() {
                self.mirror(&reached).map(drop)
            } else {
                continue;
            };
        }
        Ok(())
    }

    /// Adds a file of ours; what was there is replaced.
    pub(crate) fn put(&mut self, path: &Path, bytes: impl Into<Vec<u8>>) {
        let (path, bytes) = (self.resolve(path), bytes.into());
        let length = bytes.len() as u64;
        let file = Node::File { source: Source::Bytes(bytes), bytes: length, is_executable: false };
        self.nodes.insert(path, file);
    }

    /// Adds a link, unless something is there.
    pub(crate) fn put_link(&mut self, path: &Path, target: &Path) {
        let path = self.resolve(path);
        self.nodes.entry(path).or_insert_with(|| Node::Link(target.to_owned()));
    }

    /// Adds a directory, unless something is there.
    pub(crate) fn put_directory(&mut self, path: &Path) {
        let path = self.resolve(path);
        self.nodes.entry(path).or_insert(Node::Directory);
    }

    /// Whether something is at `path`.
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.nodes.contains_key(&self.resolve(path))
    }

    /// The files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.nodes.iter().filter(|(_, node)| matches!(node, Node::File { .. })).map(|(path, _)| path.as_path())
    }

    /// Where `path` leads with the links that are in this tree.
    fn resolve(&self, path: &Path) -> PathBuf {
        let (mut done, mut left) = (PathBuf::from("/"), VecDeque::new());
        push_front(&mut left, path);
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == ".." {
                done.pop();
                continue;
            }
            let next = done.join(name);
            match self.nodes.get(&next) {
                Some(Node::Link(target)) if links < LINKS => {
                    links += 1;
                    if target.is_absolute() {
                        done = PathBuf::from("/");
                    }
                    push_front(&mut left, target);
                }
                _ => done = next,
            }
        }
        done
    }

    /// As the tree of an image. Everyone can read everything; owners, times and the host's permissions are not kept, so that the same files
    /// are the same image.
    pub(crate) fn into_tree(self) -> Result<Tree<Source>, ImageError> {
        let mut tree = Tree::new();
        for (path, node) in self.nodes {
            let text = |path: &Path| path.to_str().map(str::to_owned);
            // Names that are no UTF-8 are in test suites only.
            let Some(path) = text(&path) else { continue };
            match node {
                Node::Directory => tree.directory(&path, 0o755, 0)?,
                Node::Link(target) => tree.link(&path, &text(&target).ok_or(ImageError::Path(path.clone()))?, 0)?,
                Node::File { source, bytes, is_executable } => {
                    tree.file(&path, if is_executable { 0o755 } else { 0o644 }, 0, bytes, source)?;
                }
            }
        }
        Ok(tree)
    }
}

/// Adds what is in `directory` below another `path`, with its links as they are.
pub(crate) fn relocate(tree: &mut Tree<Source>, directory: &Path, path: &str) -> Result<(), BuildError> {
    let cannot = |source| BuildError::File { path: directory.to_owned(), source };
    tree.directory(path, 0o755, 0)?;
    for entry in fs::read_dir(directory).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let (name, metadata) = (entry.file_name(), entry.metadata().map_err(cannot)?);
        let Some(name) = name.to_str() else { continue };
        let (from, to) = (entry.path(), format!("{path}/{name}"));
        if metadata.is_dir() {
            relocate(tree, &from, &to)?;
        } else if metadata.is_symlink() {
            let target = fs::read_link(&from).map_err(cannot)?;
            tree.link(&to, &target.to_string_lossy(), 0)?;
        } else if metadata.is_file() {
            let permissions = if metadata.permissions().mode() & 0o111 != 0 { 0o755 } else { 0o644 };
            tree.file(&to, permissions, metadata.mtime().max(0) as u64, metadata.len(), Source::Host(from))?;
        }
    }
    Ok(())
}

/// Puts the components of `path` before those that are left.
fn push_front(left: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => left.push_front(name.to_owned()),
            Component::ParentDir => left.push_front("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn paths(tree: &HostTree, below: &Path) -> Vec<String> {
        let shown = |path: &Path| path.strip_prefix(below).ok()?.to_str().map(str::to_owned);
        tree.nodes.keys().filter_map(|path| shown(path)).filter(|path| !path.is_empty()).collect()
    }

    #[test]
    fn links_are_kept_and_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("it is there");
        fs::create_dir_all(root.join("usr/lib")).expect("it is made");
        fs::write(root.join("usr/lib/libc.so.6.1"), b"library").expect("it is written");
        symlink("usr/lib", root.join("lib")).expect("a link");
        symlink("libc.so.6.1", root.join("usr/lib/libc.so.6")).expect("a link");
        symlink(root.join("lib/../lib"), root.join("lib64")).expect("a link");
        let mut tree = HostTree::default();
        let real = tree.mirror(&root.join("lib64/libc.so.6")).expect("it is there");
        assert_eq!(real, root.join("usr/lib/libc.so.6.1"));
        let all = ["lib", "lib64", "usr", "usr/lib", "usr/lib/libc.so.6", "usr/lib/libc.so.6.1"];
        assert_eq!(paths(&tree, &root), all);
        assert!(tree.has(&root.join("lib64/libc.so.6")) && !tree.has(&root.join("lib64/libm.so.6")));
        tree.put(&root.join("lib64/new"), "ours");
        assert!(tree.nodes.contains_key(&root.join("usr/lib/new")));
        assert!(tree.mirror(&root.join("missing")).is_err());
        tree.into_tree().expect("an image can have it");
    }

    #[test]
    fn directories_are_filtered_and_circles_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("it is there");
        for path in ["lib/a/x.py", "lib/a/x.pyc", "lib/tests/y.py", "outside/z.py"] {
            fs::create_dir_all(root.join(path).parent().expect("it has one")).expect("it is made");
            fs::write(root.join(path), path).expect("it is written");
        }
        symlink("..", root.join("lib/a/up")).expect("a link");
        symlink(root.join("outside"), root.join("lib/linked")).expect("a link");
        symlink("nowhere", root.join("lib/dangling")).expect("a link");
        symlink("loop", root.join("lib/loop")).expect("a link");
        let mut tree = HostTree::default();
        let wanted = |path: &Path, _: bool| path.extension().is_none_or(|end| end != "pyc") && !path.ends_with("tests");
        tree.mirror_all(&root.join("lib"), &wanted).expect("it is there");
        let all = ["lib", "lib/a", "lib/a/up", "lib/a/x.py", "lib/linked", "outside", "outside/z.py"];
        assert_eq!(paths(&tree, &root), all);
        let files: Vec<_> = tree.files().collect();
        assert_eq!(files, [root.join("lib/a/x.py"), root.join("outside/z.py")]);
    }
}
