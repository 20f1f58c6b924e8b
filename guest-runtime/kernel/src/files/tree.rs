//! The read-only tree: images laid over each other, and the synthetic directories among them.
//!
//! Nothing is copied or indexed. A directory is the list of its nodes in the images that have it; looking up a name is
//! a binary search in each. A name that an image has as something else than a directory hides the directories of that name
//! in the images below it.

use alloc::vec::Vec;

use mayfly_abi::image::{DIRECTORY, Image, LINK, Node, TYPE_MASK};
use mayfly_abi::layout::IMAGES_MAX;

use super::bytes::Bytes;
use super::limits::PATH_DEPTH_MAX;
use super::synthetic::{Kind, Synthetic};

/// A file or link of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImageNode {
    pub(crate) image: u8,
    pub(crate) node: u32,
}

/// A directory: its node in each image, and whether it is in the synthetic list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Directory {
    layers: [u32; IMAGES_MAX],
    pub(crate) synthetic: Option<Synthetic>,
}

/// An image that does not have the directory.
const ABSENT: u32 = u32::MAX;

impl Directory {
    const EMPTY: Directory = Directory { layers: [ABSENT; IMAGES_MAX], synthetic: None };

    /// The highest image that has the directory, and its node there.
    pub(crate) fn highest(&self) -> Option<ImageNode> {
        let image = self.layers.iter().rposition(|layer| *layer != ABSENT)?;
        Some(ImageNode { image: image as u8, node: self.layers[image] })
    }
}

/// What a name in a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Child {
    Directory(Directory),
    File(ImageNode),
    Link(ImageNode),
    Synthetic(Synthetic),
}

/// Images by index.
#[derive(Debug)]
pub(crate) struct Tree {
    images: [Option<Image<'static>>; IMAGES_MAX],
}

impl Tree {
    pub(crate) fn new() -> Tree {
        Tree { images: [None; IMAGES_MAX] }
    }

    /// Puts `image` at `index`; `false` if there is no such index.
    pub(crate) fn set(&mut self, index: usize, image: Option<Image<'static>>) -> bool {
        let slot = self.images.get_mut(index);
        slot.map(|slot| *slot = image).is_some()
    }

    pub(crate) fn root(&self) -> Directory {
        let layers = self.images.map(|image| if image.is_some() { 0 } else { ABSENT });
        Directory { layers, synthetic: Some(Synthetic::ROOT) }
    }

    pub(crate) fn image(&self, index: u8) -> Option<&Image<'static>> {
        self.images.get(index as usize)?.as_ref()
    }

    /// Length of all images together.
    pub(crate) fn image_bytes(&self) -> u64 {
        self.images.iter().flatten().map(|image| image.bytes() as u64).sum()
    }

    pub(crate) fn node(&self, at: ImageNode) -> Option<Node> {
        self.image(at.image)?.node(at.node)
    }

    /// Bytes of a file, where they are in memory.
    pub(crate) fn bytes(&self, at: ImageNode) -> Bytes {
        let image = self.image(at.image).copied();
        let file = image.and_then(|image| Some(Bytes::File { image, node: image.node(at.node)? }));
        file.unwrap_or(Bytes::Text(&[]))
    }

    /// Target of a link.
    pub(crate) fn target(&self, at: ImageNode) -> &'static [u8] {
        let image = self.image(at.image);
        image.and_then(|image| Some(image.target(&image.node(at.node)?))).unwrap_or(&[])
    }

    /// What `name` is in `directory`.
    pub(crate) fn child(&self, directory: &Directory, name: &[u8]) -> Option<Child> {
        let synthetic = directory.synthetic.and_then(|parent| parent.child(name));
        let mut merged = Directory::EMPTY;
        let mut found = false;
        match synthetic.map(|entry| (entry, entry.kind())) {
            // What only stands in for a missing file gives way to an image's.
            None | Some((_, Kind::Text(_))) => {}
            Some((entry, Kind::Directory)) => {
                merged.synthetic = Some(entry);
                found = true;
            }
            Some((entry, Kind::Sealed)) => {
                return Some(Child::Directory(Directory { synthetic: Some(entry), ..merged }));
            }
            Some((entry, _)) => return Some(Child::Synthetic(entry)),
        }
        for index in (0..IMAGES_MAX).rev() {
            let Some((at, node)) = self.child_in(directory, index, name) else { continue };
            match node.mode & TYPE_MASK {
                DIRECTORY => {
                    merged.layers[index] = at.node;
                    found = true;
                }
                // A file below a directory is hidden, and hides what is below it in turn.
                _ if found => break,
                LINK => return Some(Child::Link(at)),
                _ => return Some(Child::File(at)),
            }
        }
        if found { Some(Child::Directory(merged)) } else { synthetic.map(Child::Synthetic) }
    }

    /// Directory above; the root's is the root.
    pub(crate) fn parent(&self, directory: &Directory) -> Directory {
        let mut names = self.names(directory);
        if !names.is_empty() {
            names.remove(0);
        }
        self.descend(&names).unwrap_or_else(|| self.root())
    }

    /// The directory with these names from the root on, the last first.
    pub(crate) fn descend(&self, names: &[&[u8]]) -> Option<Directory> {
        let mut at = self.root();
        for name in names.iter().rev() {
            match self.child(&at, name)? {
                Child::Directory(directory) => at = directory,
                _ => return None,
            }
        }
        Some(at)
    }

    /// The names that lead from the root to `directory`, the last first.
    pub(crate) fn names(&self, directory: &Directory) -> Vec<&'static [u8]> {
        if let Some(at) = directory.synthetic {
            return synthetic_names(at);
        }
        directory.highest().map(|at| self.image_names(at)).unwrap_or_default()
    }

    /// The same for a node of an image.
    pub(crate) fn image_names(&self, at: ImageNode) -> Vec<&'static [u8]> {
        let mut names = Vec::new();
        let Some(image) = self.image(at.image) else { return names };
        let mut index = at.node;
        while index != 0 && names.len() < PATH_DEPTH_MAX {
            let Some(node) = image.node(index) else { break };
            names.push(image.name(&node));
            index = node.parent;
        }
        names
    }

    /// The entry of `directory` at `position` or later, and the position after it.
    ///
    /// A position is the layer in the upper half (0: synthetic, then the images from the highest down) and the index in that
    /// layer in the lower: listing needs no memory of its own, and no entry is ever visited twice.
    pub(crate) fn list(&self, directory: &Directory, position: u64) -> Option<(u64, &'static [u8], Child)> {
        let (mut layer, mut index) = ((position >> 32) as usize, position as u32);
        while layer <= IMAGES_MAX {
            let found = match layer {
                0 => directory.synthetic.and_then(|parent| {
                    let entry = parent.children(u8::try_from(index).ok()?).next()?;
                    Some((u32::from(entry.0), entry.name(), None))
                }),
                _ => self.nth_child(directory, IMAGES_MAX - layer, index),
            };
            let Some((at, name, alone)) = found else {
                (layer, index) = (layer + 1, 0);
                continue;
            };
            index = at + 1;
            if let Some(child) = alone {
                return Some(((layer as u64) << 32 | u64::from(index), name, child));
            }
            if layer > 0 && self.is_listed_before(directory, layer, name) {
                continue;
            }
            if let Some(child) = self.child(directory, name) {
                return Some(((layer as u64) << 32 | u64::from(index), name, child));
            }
        }
        None
    }

    fn is_listed_before(&self, directory: &Directory, layer: usize, name: &[u8]) -> bool {
        let above = IMAGES_MAX - layer + 1;
        directory.synthetic.is_some_and(|parent| parent.child(name).is_some())
            || (above..IMAGES_MAX).any(|image| self.child_in(directory, image, name).is_some())
    }

    /// Entry `index` of a directory in one image: the index, the name, and what it is, if no other image and no synthetic
    /// directory has a say in that. Nearly all directories are in one image.
    fn nth_child(
        &self,
        directory: &Directory,
        image: usize,
        index: u32,
    ) -> Option<(u32, &'static [u8], Option<Child>)> {
        let layer = directory.layers[image];
        if layer == ABSENT {
            return None;
        }
        let slot = self.images[image].as_ref()?;
        let parent = slot.node(layer)?;
        if index >= parent.count {
            return None;
        }
        let at = ImageNode { image: image as u8, node: parent.first.checked_add(index)? };
        let node = slot.node(at.node)?;
        let is_alone =
            directory.synthetic.is_none() && directory.layers.iter().filter(|layer| **layer != ABSENT).count() == 1;
        let child = is_alone.then(|| match node.mode & TYPE_MASK {
            DIRECTORY => {
                let mut only = Directory::EMPTY;
                only.layers[image] = at.node;
                Child::Directory(only)
            }
            LINK => Child::Link(at),
            _ => Child::File(at),
        });
        Some((index, slot.name(&node), child))
    }

    fn child_in(&self, directory: &Directory, image: usize, name: &[u8]) -> Option<(ImageNode, Node)> {
        let layer = directory.layers[image];
        if layer == ABSENT {
            return None;
        }
        let slot = self.images[image].as_ref()?;
        let node = slot.child(&slot.node(layer)?, name)?;
        Some((ImageNode { image: image as u8, node }, slot.node(node)?))
    }
}

/// The names that lead from the root to a synthetic entry, the last first.
pub(crate) fn synthetic_names(at: Synthetic) -> Vec<&'static [u8]> {
    let (mut at, mut names) = (at, Vec::new());
    while at != Synthetic::ROOT {
        names.push(at.name());
        at = at.parent();
    }
    names
}
