//! The tree of an image as nodes: breadth first, so that the children of a directory are beside each other.

use std::collections::VecDeque;

use mayfly_abi::image::{HEADER_BYTES, NODE_BYTES};

use super::{Kind, Node, Tree, image};

/// Nodes and names, without the places of files' bytes.
pub(super) struct Layout<'a, S> {
    pub(super) nodes: Vec<image::Node>,
    pub(super) names: Vec<u8>,
    /// Those with bytes.
    pub(super) files: Vec<File<'a, S>>,
}

/// A file that is to be written.
pub(super) struct File<'a, S> {
    /// Index of its node.
    pub(super) node: usize,
    pub(super) bytes: u64,
    pub(super) source: &'a S,
    /// Whether it may be a library or a program, by its name or permissions.
    pub(super) may_be_program: bool,
}

impl<'a, S> Layout<'a, S> {
    pub(super) fn new(tree: &'a Tree<S>) -> Layout<'a, S> {
        let mut names = Vec::new();
        let (mut nodes, mut files) = (Vec::new(), Vec::new());
        let mut waiting: VecDeque<(&[u8], u32, &'a Node<S>)> = VecDeque::from([(&b""[..], 0, &tree.root)]);
        // Nodes are numbered as they enter the queue.
        let mut numbered = 1_u32;
        while let Some((name, parent, node)) = waiting.pop_front() {
            let index = nodes.len() as u32;
            let (name_offset, name_bytes) = keep(&mut names, name);
            let (mut first, mut count, mut data_bytes) = (0, 0, 0);
            match &node.kind {
                Kind::Directory(children) => {
                    (first, count) = (numbered, children.len() as u32);
                    numbered += count;
                    waiting.extend(children.iter().map(|(name, child)| (name.as_slice(), index, child)));
                }
                Kind::Link(target) => (first, count) = keep(&mut names, target),
                Kind::File { bytes: 0, .. } => {}
                Kind::File { bytes, source } => {
                    data_bytes = *bytes;
                    let may_be_program = name.windows(3).any(|part| part == b".so") || node.permissions & 0o111 != 0;
                    files.push(File { node: nodes.len(), bytes: *bytes, source, may_be_program });
                }
            }
            nodes.push(image::Node {
                name_offset,
                name_bytes,
                mode: node.mode(),
                parent,
                first,
                count,
                data_offset: 0,
                data_bytes,
                modified_s: node.modified_s,
                area_page: 0,
                area_pages: 0,
                first_piece: 0,
                pieces: 0,
            });
        }
        Layout { nodes, names, files }
    }

    /// Bytes of header, nodes and names.
    pub(super) fn head_bytes(&self) -> u64 {
        self.names_offset() + self.names.len() as u64
    }

    pub(super) fn names_offset(&self) -> u64 {
        (HEADER_BYTES + self.nodes.len() * NODE_BYTES) as u64
    }

    /// The structures as bytes: all of them are little-endian words without padding.
    pub(super) fn head(&self, header: &image::Header) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.head_bytes() as usize);
        out.extend_from_slice(&header.magic);
        out.extend_from_slice(&header.version.to_le_bytes());
        out.extend_from_slice(&header.nodes.to_le_bytes());
        let words = [header.nodes_offset, header.names_offset, header.names_bytes, header.image_bytes];
        words.iter().chain([&header.tables_offset]).for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        [header.pieces, header.ranges].iter().for_each(|half| out.extend_from_slice(&half.to_le_bytes()));
        [header.stubs_offset, header.reserved].iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        for node in &self.nodes {
            for half in [node.name_offset, node.name_bytes, node.mode, node.parent, node.first, node.count] {
                out.extend_from_slice(&half.to_le_bytes());
            }
            for word in [node.data_offset, node.data_bytes, node.modified_s] {
                out.extend_from_slice(&word.to_le_bytes());
            }
            for half in [node.area_page, node.area_pages, node.first_piece, node.pieces] {
                out.extend_from_slice(&half.to_le_bytes());
            }
        }
        out.extend_from_slice(&self.names);
        out
    }
}

fn keep(names: &mut Vec<u8>, name: &[u8]) -> (u32, u32) {
    let offset = names.len() as u32;
    names.extend_from_slice(name);
    (offset, name.len() as u32)
}
