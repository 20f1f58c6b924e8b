//! Makes images (`mayfly_abi::image`) of small trees.

use std::collections::{BTreeMap, VecDeque};

use mayfly_abi::image::{DIRECTORY, FILE, HEADER_BYTES, LINK, MAGIC, NODE_BYTES};
use mayfly_abi::layout::{LARGE_PAGE_BYTES, PAGE_BYTES, STUBS_BYTES};

use crate::library::{self, Library};

/// Modification time of everything: 2024-01-01.
const MODIFIED_S: u64 = 1_704_067_200;

enum Entry {
    Directory(BTreeMap<String, Entry>),
    File { permissions: u32, data: Vec<u8> },
    Link(String),
    Library(Library),
}

/// A tree; its root is a directory.
#[derive(Default)]
pub(crate) struct Tree {
    root: BTreeMap<String, Entry>,
}

impl Tree {
    pub(crate) fn file(&mut self, path: &str, permissions: u32, data: &[u8]) {
        self.insert(path, Entry::File { permissions, data: data.to_vec() });
    }

    /// There may be one in an image.
    pub(crate) fn library(&mut self, path: &str) {
        self.insert(path, Entry::Library(library::library()));
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.insert(path, Entry::Link(target.to_owned()));
    }

    fn insert(&mut self, path: &str, entry: Entry) {
        let (directories, name) = path.trim_start_matches('/').rsplit_once('/').unwrap_or(("", path));
        let mut at = &mut self.root;
        for directory in directories.split('/') {
            let below = at.entry(directory.to_owned()).or_insert_with(|| Entry::Directory(BTreeMap::new()));
            let Entry::Directory(below) = below else { panic!("{directory} is no directory") };
            at = below;
        }
        at.insert(name.to_owned(), entry);
    }

    /// The image: header, nodes in breadth-first order (so children are consecutive and sorted), names, data.
    pub(crate) fn to_image(&self) -> Vec<u8> {
        self.to_image_with(0)
    }

    /// The same, with a range of so many bytes at its end that a guest may write.
    pub(crate) fn to_image_with(&self, writable_bytes: u64) -> Vec<u8> {
        let root = Entry::Directory(BTreeMap::new());
        let mut found = vec![("", &root, 0_u32)];
        let mut children = vec![(0_u32, 0_u32)];
        let mut waiting = VecDeque::from([(0_u32, &self.root)]);
        while let Some((index, entries)) = waiting.pop_front() {
            children[index as usize] = (found.len() as u32, entries.len() as u32);
            for (name, entry) in entries {
                if let Entry::Directory(below) = entry {
                    waiting.push_back((found.len() as u32, below));
                }
                found.push((name, entry, index));
                children.push((0, 0));
            }
        }
        let (mut nodes, mut names, mut data) = (Vec::new(), Vec::new(), Vec::new());
        let (mut pieces, mut ranges, mut stubs_offset) = (Vec::new(), Vec::new(), 0_u64);
        let names_bytes: usize = found.iter().map(|(name, entry, _)| name.len() + target(entry).len()).sum();
        let names_offset = HEADER_BYTES + found.len() * NODE_BYTES;
        let data_offset = (names_offset + names_bytes).next_multiple_of(PAGE_BYTES as usize);
        for ((name, entry, parent), (mut first, mut count)) in found.iter().zip(children) {
            let (mut at, mut bytes, mut area, mut piece_count) = (0, 0, (0, 0), 0);
            let mode = match entry {
                Entry::Directory(_) => DIRECTORY | 0o755,
                Entry::File { permissions, data: contents } => {
                    (at, bytes) = ((data_offset + data.len()) as u64, contents.len() as u64);
                    data.extend_from_slice(contents);
                    data.resize(data.len().next_multiple_of(PAGE_BYTES as usize), 0);
                    FILE | permissions
                }
                Entry::Link(_) => LINK | 0o777,
                Entry::Library(library) => {
                    let start = (data_offset + data.len()) as u64;
                    data.extend_from_slice(&library.area);
                    for (offset, place) in library.pieces {
                        let image_offset = place.map_or((data_offset + data.len()) as u64, |place| start + place);
                        pieces.push((offset, image_offset));
                        data.extend_from_slice(if place.is_none() { &library.file[offset as usize..] } else { &[] });
                    }
                    data.resize(data.len().next_multiple_of(PAGE_BYTES as usize), 0);
                    bytes = library.file.len() as u64;
                    area = ((start / PAGE_BYTES) as u32, (library::EXTENT / PAGE_BYTES) as u32);
                    piece_count = library.pieces.len() as u32;
                    stubs_offset = start + library::STUBS;
                    let stubs = (library::STUBS / PAGE_BYTES, STUBS_BYTES / PAGE_BYTES);
                    ranges.extend(
                        library.ranges.iter().chain([&stubs]).map(|range| (start / PAGE_BYTES + range.0, range.1)),
                    );
                    FILE | 0o755
                }
            };
            let name_offset = names.len() as u32;
            names.extend_from_slice(name.as_bytes());
            if let Entry::Link(target) = entry {
                (first, count) = (names.len() as u32, target.len() as u32);
                names.extend_from_slice(target.as_bytes());
            }
            for half in [name_offset, name.len() as u32, mode, *parent, first, count] {
                nodes.extend_from_slice(&half.to_le_bytes());
            }
            for word in [at, bytes, MODIFIED_S] {
                nodes.extend_from_slice(&word.to_le_bytes());
            }
            for half in [area.0, area.1, 0, piece_count] {
                nodes.extend_from_slice(&half.to_le_bytes());
            }
        }
        if writable_bytes > 0 {
            ranges.push(((data_offset + data.len()) as u64 / PAGE_BYTES, writable_bytes / PAGE_BYTES));
            data.resize(data.len() + writable_bytes as usize, 0);
        }
        let tables_offset = (data_offset + data.len()) as u64;
        let pieces_and_ranges =
            pieces.iter().flat_map(|(from, to): &(u64, u64)| [from.to_le_bytes(), to.to_le_bytes()]);
        data.extend(pieces_and_ranges.flatten());
        data.extend(ranges.iter().flat_map(|(first, pages): &(u64, u64)| (first | pages << 32).to_le_bytes()));
        let image_bytes = (data_offset + data.len()).next_multiple_of(LARGE_PAGE_BYTES as usize);
        let mut image = MAGIC.to_vec();
        for half in [mayfly_abi::VERSION, found.len() as u32] {
            image.extend_from_slice(&half.to_le_bytes());
        }
        let counts = pieces.len() as u64 | (ranges.len() as u64) << 32;
        let offsets = [HEADER_BYTES as u64, names_offset as u64, names_bytes as u64, image_bytes as u64];
        for word in offsets.into_iter().chain([tables_offset, counts, stubs_offset, 0]) {
            image.extend_from_slice(&word.to_le_bytes());
        }
        image.extend_from_slice(&nodes);
        image.extend_from_slice(&names);
        image.resize(data_offset, 0);
        image.extend_from_slice(&data);
        image.resize(image_bytes, 0);
        image
    }
}

fn target(entry: &Entry) -> &str {
    if let Entry::Link(target) = entry { target } else { "" }
}

#[cfg(test)]
mod tests {
    use mayfly_abi::image::Image;

    #[test]
    fn what_was_put_in_is_found() {
        let bytes = crate::image();
        assert_eq!(bytes.len() % mayfly_abi::layout::LARGE_PAGE_BYTES as usize, 0);
        let image = Image::new(&bytes).unwrap();
        let mut node = image.node(0).unwrap();
        for name in ["var", "task", "package", "deep", "below", "leaf"] {
            node = image.node(image.child(&node, name.as_bytes()).unwrap()).unwrap();
        }
        assert_eq!(image.data(&node), b"leaf\n");
    }
}
