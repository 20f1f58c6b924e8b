//! What is written is what a guest reads.

use std::{
    collections::BTreeMap,
    io::{Read as _, Seek as _, SeekFrom},
};

use mayfly_abi::{
    image::{Image, Node as Read},
    layout::LARGE_PAGE_BYTES,
};
use proptest::prelude::*;

use super::*;

pub(super) fn written(tree: &Tree<Vec<u8>>) -> Vec<u8> {
    let mut file = tempfile::tempfile().expect("a file");
    tree.write(&mut file, |source, to| to.write_all(source)).expect("it is written");
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).expect("it can");
    file.read_to_end(&mut bytes).expect("it is read");
    bytes
}

pub(super) fn look_up(image: &Image<'_>, path: &str) -> Option<Read> {
    let mut node = image.node(0)?;
    for component in path.split('/').filter(|component| !component.is_empty()) {
        node = image.node(image.child(&node, component.as_bytes())?)?;
    }
    Some(node)
}

#[test]
fn a_tree_is_read_back() {
    let mut tree = Tree::new();
    tree.file("/var/task/handler.py", 0o644, OLDEST_S + 7, 4, b"pass".to_vec()).expect("a path");
    tree.file("/var/task/a/empty", 0o755, 0, 0, vec![]).expect("a path");
    tree.directory("/var/task/a", 0o700, OLDEST_S + 9).expect("a path");
    tree.link("/var/task/link", "a/empty", 0).expect("a path");
    tree.file("/big", 0o644, 0, 10_000, vec![3; 10_000]).expect("a path");
    let bytes = written(&tree);
    assert_eq!(bytes.len() as u64 % LARGE_PAGE_BYTES, 0);
    let image = Image::new(&bytes).expect("an image");

    let handler = look_up(&image, "/var/task/handler.py").expect("it is there");
    assert_eq!((handler.mode, handler.modified_s), (0o100_644, OLDEST_S + 7));
    assert_eq!(image.data(&handler), b"pass");
    assert_eq!(handler.data_offset % 4096, 0);
    assert_eq!(image.data(&look_up(&image, "/big").expect("it is there")), [3; 10_000]);
    let directory = look_up(&image, "/var/task/a").expect("it is there");
    assert_eq!((directory.mode, directory.modified_s, directory.count), (0o040_700, OLDEST_S + 9, 1));
    assert_eq!(image.data(&look_up(&image, "/var/task/a/empty").expect("it is there")), b"");
    let link = look_up(&image, "/var/task/link").expect("it is there");
    assert_eq!((link.mode, image.target(&link)), (0o120_777, &b"a/empty"[..]));
    assert_eq!(look_up(&image, "/var/task/none"), None);
    assert_eq!(look_up(&image, "/var/task/handler.py/x"), None);

    let parent = image.node(handler.parent).expect("it has one");
    assert_eq!(image.name(&parent), b"task");
    for path in ["/", "/var", "/var/task", "/var/task/a/empty", "/var/task/link"] {
        assert_eq!(look_up(&image, path).expect("it is there").modified_s, OLDEST_S, "{path}");
    }
}

#[test]
fn wrong_paths_are_refused() {
    for path in ["relative", "/", "", "/a//b", "/a/../b", "/a/"] {
        assert!(Tree::new().file(path, 0o644, 0, 0, ()).is_err(), "{path:?}");
    }
    let mut tree = Tree::new();
    tree.file("/a", 0o644, 0, 0, ()).expect("a path");
    assert!(tree.file("/a", 0o644, 0, 0, ()).is_err());
    assert!(tree.file("/a/b", 0o644, 0, 0, ()).is_err());
    assert!(tree.directory("/a", 0o755, 0).is_err());
}

#[test]
fn false_lengths_are_refused() {
    for said in [3, 5] {
        let mut tree = Tree::new();
        tree.file("/a", 0o644, 0, said, b"four".to_vec()).expect("a path");
        let mut file = tempfile::tempfile().expect("a file");
        assert!(tree.write(&mut file, |source, to| to.write_all(source)).is_err(), "{said} bytes said");
    }
    let mut tree = Tree::new();
    tree.file("/a", 0o644, 0, 2 << 30, ()).expect("a path");
    let mut file = tempfile::tempfile().expect("a file");
    assert!(matches!(tree.write(&mut file, |(), _| Ok(())), Err(ImageError::TooLarge(_))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_is_read_back(
        files in proptest::collection::btree_map("(/[a-d]{1,3}){1,4}", proptest::collection::vec(any::<u8>(), 0..9000), 0..40)
    ) {
        let (mut tree, mut added) = (Tree::new(), BTreeMap::new());
        for (path, content) in files {
            if tree.file(&path, 0o644, 1, content.len() as u64, content.clone()).is_ok() {
                added.insert(path, content);
            }
        }
        let bytes = written(&tree);
        let image = Image::new(&bytes).expect("an image");
        for (path, content) in &added {
            let node = look_up(&image, path);
            prop_assert_eq!(node.map(|node| image.data(&node)), Some(&content[..]));
        }
        // Every node is reached from its parent by its name, and nothing else is there.
        let mut reached = 0;
        for index in 1..image.nodes() {
            let node = image.node(index).expect("in range");
            let parent = image.node(node.parent).expect("in range");
            prop_assert_eq!(image.child(&parent, image.name(&node)), Some(index));
            reached += u32::from(node.mode & mayfly_abi::image::TYPE_MASK == mayfly_abi::image::FILE);
        }
        prop_assert_eq!(reached as usize, added.len());
    }
}
