//! A builder of images, as small as a test needs it.

use mayfly_abi::image::{self, Image};

/// What an image has at a path.
pub(crate) enum Content<'a> {
    File(&'a [u8]),
    Link(&'a str),
}

/// Builds an image of files and links; the directories are those that they need.
pub(crate) fn image(files: &[(&str, Content<'_>)]) -> Image<'static> {
    let mut directories: Vec<String> = vec![String::new()];
    for (path, _) in files {
        for (at, _) in path.match_indices('/') {
            let directory = path[..at].to_string();
            if !directories.contains(&directory) {
                directories.push(directory);
            }
        }
    }
    // A node is a path; children of one directory follow each other, by name.
    let mut nodes: Vec<String> = vec![String::new()];
    let mut spans: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    while at < nodes.len() {
        let parent = nodes[at].clone();
        let all = directories.iter().skip(1).cloned().chain(files.iter().map(|(path, _)| (*path).to_string()));
        let mut children: Vec<String> =
            all.filter(|path| path.rsplit_once('/').is_some_and(|(above, _)| above == parent)).collect();
        children.sort();
        if !directories.contains(&parent) {
            children.clear();
        }
        spans.push((nodes.len(), children.len()));
        nodes.extend(children);
        at += 1;
    }
    assemble(&nodes, &spans, &directories, files)
}

fn assemble(
    nodes: &[String],
    spans: &[(usize, usize)],
    directories: &[String],
    files: &[(&str, Content<'_>)],
) -> Image<'static> {
    let (mut names, mut data, mut table) = (Vec::new(), Vec::new(), Vec::new());
    let data_offset = 1 << 16;
    for (index, path) in nodes.iter().enumerate() {
        let name = path.rsplit('/').next().unwrap_or("");
        let name_offset = names.len() as u32;
        names.extend_from_slice(name.as_bytes());
        let (first, count) = (spans[index].0 as u32, spans[index].1 as u32);
        let parent = spans.iter().position(|(first, count)| (*first..first + count).contains(&index)).unwrap_or(0);
        let content = files.iter().find(|(other, _)| other == path).map(|(_, content)| content);
        let (mode, first, count, offset, bytes) = match content {
            None => {
                assert!(directories.contains(path));
                (image::DIRECTORY | 0o755, first, count, 0, 0)
            }
            Some(Content::Link(target)) => {
                let offset = names.len() as u32;
                names.extend_from_slice(target.as_bytes());
                (image::LINK | 0o777, offset, target.len() as u32, 0, 0)
            }
            Some(Content::File(bytes)) => {
                let offset = data_offset + data.len() as u64;
                data.extend_from_slice(bytes);
                data.resize(data.len().next_multiple_of(4096), 0);
                (image::FILE | 0o644, 0, 0, offset, bytes.len() as u64)
            }
        };
        for word in [name_offset, name.len() as u32, mode, parent as u32, first, count] {
            table.extend_from_slice(&word.to_le_bytes());
        }
        for word in [offset, bytes, 1_600_000_000, 0, 0] {
            table.extend_from_slice(&word.to_le_bytes());
        }
    }
    let total = data_offset + data.len() as u64;
    let mut bytes = image::MAGIC.to_vec();
    bytes.extend_from_slice(&mayfly_abi::VERSION.to_le_bytes());
    bytes.extend_from_slice(&(nodes.len() as u32).to_le_bytes());
    let head = image::HEADER_BYTES as u64;
    for word in [head, head + table.len() as u64, names.len() as u64, total, 0, 0, 0, 0] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(&table);
    bytes.extend_from_slice(&names);
    assert!(bytes.len() as u64 <= data_offset);
    bytes.resize(data_offset as usize, 0);
    bytes.extend_from_slice(&data);
    Image::new(Box::leak(bytes.into_boxed_slice())).expect("an image as the host makes it")
}
