//! Names of a package's entries.

use crate::limits;

/// Longest component: what the guest's file names can be.
const COMPONENT_BYTES: usize = 255;

/// The path called `name`, and whether the name says that it is a directory.
pub(super) fn clean(name: &[u8]) -> Result<(String, bool), &'static str> {
    if name.len() > limits::PACKAGE_PATH_BYTES {
        return Err("a name that is too long");
    }
    let name = std::str::from_utf8(name).map_err(|_| "a name that is not UTF-8")?;
    if name.is_empty() {
        return Err("an empty name");
    }
    if name.starts_with('/') {
        return Err("an absolute name");
    }
    let (name, is_directory) = match name.strip_suffix('/') {
        Some(directory) => (directory, true),
        None => (name, false),
    };
    let mut components = Vec::new();
    for component in name.split('/') {
        match component {
            // `zip ./handler.py` of some tools.
            "." => {}
            "" => return Err("an empty component in a name"),
            ".." => return Err("a name that leads outside"),
            _ if component.contains(['\\', '\0']) => return Err("a backslash or zero byte in a name"),
            _ if component.len() > COMPONENT_BYTES => return Err("a name that is too long"),
            _ => components.push(component),
        }
    }
    if components.len() > limits::PACKAGE_PATH_DEPTH {
        return Err("a name that is too deep");
    }
    Ok((components.join("/"), is_directory))
}

/// The target of the link at `path`. What counts is the words: through other links it may still lead to somewhere else in
/// the guest, where there is nothing that the function could not open by its own name.
pub(super) fn clean_target(path: &str, target: &[u8]) -> Result<String, &'static str> {
    let target = std::str::from_utf8(target).map_err(|_| "a link to what is not UTF-8")?;
    if target.is_empty() || target.contains(['\\', '\0']) {
        return Err("a link to no name");
    }
    if target.starts_with('/') {
        return Err("a link that leads outside");
    }
    let mut depth = path.matches('/').count();
    for component in target.split('/') {
        depth = match component {
            "" | "." => depth,
            ".." => depth.checked_sub(1).ok_or("a link that leads outside")?,
            _ => depth + 1,
        };
    }
    Ok(target.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let deep = "d/".repeat(limits::PACKAGE_PATH_DEPTH) + "f";
        let cases: &[(&str, Option<(&str, bool)>)] = &[
            ("handler.py", Some(("handler.py", false))),
            ("a/b/c.py", Some(("a/b/c.py", false))),
            ("a/", Some(("a", true))),
            ("./a/./b", Some(("a/b", false))),
            ("./", Some(("", true))),
            ("..a/b..", Some(("..a/b..", false))),
            ("", None),
            ("/", None),
            ("/etc/passwd", None),
            ("../x", None),
            ("a/../b", None),
            ("a/..", None),
            ("a//b", None),
            ("a\\b", None),
            ("a\0", None),
            ("\u{e9}t\u{e9}.py", Some(("\u{e9}t\u{e9}.py", false))),
            (&deep, None),
        ];
        for (name, wanted) in cases {
            let got = clean(name.as_bytes()).ok();
            assert_eq!(got, wanted.map(|(path, directory)| (path.to_owned(), directory)), "{name:?}");
        }
        assert!(clean(&[b'a', 0xff]).is_err());
        assert!(clean("x".repeat(256).as_bytes()).is_err());
        assert!(clean("x/".repeat(600).as_bytes()).is_err());
    }

    #[test]
    fn link_targets() {
        let cases = [
            ("l", "f", true),
            ("l", "./d/f", true),
            ("l", "..", false),
            ("a/l", "..", true),
            ("a/l", "../..", false),
            ("a/l", "../b/../../c", false),
            ("a/b/l", "../../c", true),
            ("l", "/var/task/f", false),
            ("l", "", false),
            ("l", "a\\b", false),
        ];
        for (path, target, good) in cases {
            assert_eq!(clean_target(path, target.as_bytes()).is_ok(), good, "{path} -> {target}");
        }
    }
}
