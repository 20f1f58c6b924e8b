//! Where everything is in an image: breadth first, so that the children of a directory are beside each other.

use std::collections::VecDeque;

use mayfly_abi::{
    image::{HEADER_BYTES, Header, MAGIC, NODE_BYTES},
    layout::PAGE_BYTES,
};

use super::{IMAGE_STRIDE_BYTES, ImageError, Kind, LARGE_PAGE_BYTES, Node, Tree, image};

/// An image, but for the bytes of its files.
pub(super) struct Layout<'a, S> {
    /// Header, nodes and names.
    pub(super) head: Vec<u8>,
    /// Offset, length and source of each file's bytes.
    pub(super) contents: Vec<(u64, u64, &'a S)>,
    pub(super) image_bytes: u64,
}

impl<'a, S> Layout<'a, S> {
    pub(super) fn new(tree: &'a Tree<S>) -> Result<Layout<'a, S>, ImageError> {
        let mut names = Vec::new();
        let (mut nodes, mut files) = (Vec::new(), Vec::new());
        let mut waiting: VecDeque<(&[u8], u32, &'a Node<S>)> = VecDeque::from([(&b""[..], 0, &tree.root)]);
        // Nodes are numbered as they enter the queue.
        let mut numbered = 1_u32;
        while let Some((name, parent, node)) = waiting.pop_front() {
            let index = nodes.len() as u32;
            let (name_offset, name_bytes) = keep(&mut names, name);
            let (mut first, mut count) = (0, 0);
            match &node.kind {
                Kind::Directory(children) => {
                    (first, count) = (numbered, children.len() as u32);
                    numbered += count;
                    waiting.extend(children.iter().map(|(name, child)| (name.as_slice(), index, child)));
                }
                Kind::Link(target) => (first, count) = keep(&mut names, target),
                Kind::File { bytes, source } => files.push((nodes.len(), *bytes, source)),
            }
            nodes.push(image::Node {
                name_offset,
                name_bytes,
                mode: node.mode(),
                parent,
                first,
                count,
                data_offset: 0,
                data_bytes: 0,
                modified_s: node.modified_s,
                reserved: [0; 2],
            });
        }
        let names_offset = (HEADER_BYTES + nodes.len() * NODE_BYTES) as u64;
        let mut end = names_offset + names.len() as u64;
        let mut contents = Vec::with_capacity(files.len());
        for (index, bytes, source) in files {
            let offset = end.next_multiple_of(PAGE_BYTES);
            (nodes[index].data_offset, nodes[index].data_bytes) = (if bytes == 0 { 0 } else { offset }, bytes);
            if bytes > 0 {
                contents.push((offset, bytes, source));
                end = offset + bytes;
            }
        }
        let image_bytes = end.next_multiple_of(LARGE_PAGE_BYTES);
        if image_bytes > IMAGE_STRIDE_BYTES {
            return Err(ImageError::TooLarge(image_bytes));
        }
        let header = Header {
            magic: MAGIC,
            version: mayfly_abi::VERSION,
            nodes: nodes.len() as u32,
            nodes_offset: HEADER_BYTES as u64,
            names_offset,
            names_bytes: names.len() as u64,
            image_bytes,
            reserved: [0; 2],
        };
        Ok(Layout { head: head(&header, &nodes, &names), contents, image_bytes })
    }
}

fn keep(names: &mut Vec<u8>, name: &[u8]) -> (u32, u32) {
    let offset = names.len() as u32;
    names.extend_from_slice(name);
    (offset, name.len() as u32)
}

/// The structures as bytes: all of them are little-endian words without padding.
fn head(header: &Header, nodes: &[image::Node], names: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + nodes.len() * NODE_BYTES + names.len());
    out.extend_from_slice(&header.magic);
    out.extend_from_slice(&header.version.to_le_bytes());
    out.extend_from_slice(&header.nodes.to_le_bytes());
    for word in [header.nodes_offset, header.names_offset, header.names_bytes, header.image_bytes] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&[0; 16]);
    for node in nodes {
        for half in [node.name_offset, node.name_bytes, node.mode, node.parent, node.first, node.count] {
            out.extend_from_slice(&half.to_le_bytes());
        }
        for word in [node.data_offset, node.data_bytes, node.modified_s, 0, 0] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }
    out.extend_from_slice(names);
    out
}
