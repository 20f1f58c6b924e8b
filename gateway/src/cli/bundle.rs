//! A folder as a package: always the same bytes for the same files.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Write},
    path::{Path, PathBuf},
};

use mayfly_scheduler::limits;
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

/// What is not code: left out wherever it is.
const SKIPPED: &[&str] = &[".git", ".venv", "__pycache__", ".DS_Store"];
/// What describes the function: left out at the top.
const SKIPPED_AT_TOP: &[&str] = &["function.json", "event.json", "expected.json"];

/// Files by the names that they get in a package, and where they are.
type Files = BTreeMap<String, PathBuf>;

/// Where modules of a layer are.
const LAYER_PYTHON: &str = "python";

/// A zip of the files in `code`, and of those in `packages` that have other names. A problem is one sentence.
pub(super) fn folder(code: &Path, packages: Option<&Path>) -> Result<Vec<u8>, String> {
    let mut files = Files::new();
    for folder in packages.into_iter().chain([code]) {
        if add(&mut files, folder, Path::new(""), SKIPPED_AT_TOP)? == 0 && folder == code {
            return Err(format!("the folder {} has no files; give the one with the function's code", code.display()));
        }
    }
    pack(files, code)
}

/// A zip of a layer: the files in `content` as they are, and those in `packages` below `python/`.
pub(super) fn layer(content: Option<&Path>, packages: Option<&Path>) -> Result<Vec<u8>, String> {
    let mut files = Files::new();
    for (folder, below) in
        packages.map(|folder| (folder, LAYER_PYTHON)).into_iter().chain(content.map(|folder| (folder, "")))
    {
        if add(&mut files, folder, Path::new(below), &[])? == 0 {
            return Err(format!("the folder {} has no files; give the one with the layer's content", folder.display()));
        }
    }
    pack(files, content.or(packages).unwrap_or(Path::new("")))
}

/// Adds the files of `folder` below `below`, in the place of those of the same names, and says how many.
fn add(files: &mut Files, folder: &Path, below: &Path, skipped_at_top: &[&str]) -> Result<usize, String> {
    let mut found = Vec::new();
    walk(folder, Path::new(""), skipped_at_top, &mut found)?;
    let count = found.len();
    files.extend(found.into_iter().map(|file| (below.join(&file).to_string_lossy().into_owned(), folder.join(file))));
    Ok(count)
}

/// A zip of these files; a problem is told of `whole`.
fn pack(files: Files, whole: &Path) -> Result<Vec<u8>, String> {
    let mut contents = Vec::with_capacity(files.len());
    let mut bytes = 0;
    for (name, path) in files {
        let content = fs::read(&path).map_err(|error| format!("cannot read {} ({error})", path.display()))?;
        bytes += content.len() as u64;
        if bytes > limits::PACKAGE_UNZIPPED_BYTES {
            let limit = limits::PACKAGE_UNZIPPED_BYTES;
            return Err(format!(
                "the files of {} have more than {limit} bytes, which Lambda does not take",
                whole.display()
            ));
        }
        contents.push((name, content));
    }
    let zipped = zip(contents.iter().map(|(name, content)| (name.as_str(), content.as_slice())))?;
    if zipped.len() > limits::PACKAGE_ZIPPED_BYTES {
        let (bytes, limit) = (zipped.len(), limits::PACKAGE_ZIPPED_BYTES);
        return Err(format!("the package of {} has {bytes} bytes, and Lambda takes {limit}", whole.display()));
    }
    Ok(zipped)
}

/// A zip of these files.
pub(super) fn zip<'a>(files: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Vec<u8>, String> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(name, options).map_err(|error| format!("cannot pack {name} ({error})"))?;
        zip.write_all(content).map_err(|error| format!("cannot pack {name} ({error})"))?;
    }
    zip.finish().map(Cursor::into_inner).map_err(|error| format!("cannot pack ({error})"))
}

/// Collects the files below `folder`/`inside`, in the order of their names. Links are followed, as `zip -r` does.
fn walk(folder: &Path, inside: &Path, skipped_at_top: &[&str], files: &mut Vec<PathBuf>) -> Result<(), String> {
    let here = folder.join(inside);
    let cannot = |error: std::io::Error| format!("cannot read the folder {} ({error})", here.display());
    let mut entries = fs::read_dir(&here).map_err(cannot)?.collect::<Result<Vec<_>, _>>().map_err(cannot)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let is_top = inside.as_os_str().is_empty();
        let is_skipped = |list: &[&str]| list.iter().any(|skipped| name == *skipped);
        if is_skipped(SKIPPED) || (is_top && is_skipped(skipped_at_top)) {
            continue;
        }
        let path = inside.join(&name);
        if path.components().count() > limits::PACKAGE_PATH_DEPTH || files.len() > limits::PACKAGE_ENTRIES {
            return Err(format!(
                "the folder {} is too deep or has too many files; is it the right one?",
                folder.display()
            ));
        }
        match fs::metadata(entry.path()) {
            Ok(metadata) if metadata.is_dir() => walk(folder, &path, skipped_at_top, files)?,
            Ok(metadata) if metadata.is_file() => files.push(path),
            _ => return Err(format!("{} is neither a file nor a folder; take it away", entry.path().display())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn same_files_same_bytes_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("created");
            fs::write(path, text).expect("written");
        };
        write("handler.py", "x = 1");
        write("lib/data.json", "{}");
        write("event.json", "{}");
        write("__pycache__/handler.pyc", "");
        let zipped = folder(dir.path(), None).expect("packed");
        assert_eq!(zipped, folder(dir.path(), None).expect("packed"));

        assert_eq!(
            read(zipped),
            [("handler.py".to_owned(), "x = 1".to_owned()), ("lib/data.json".into(), "{}".into())]
        );
    }

    fn read(zipped: Vec<u8>) -> Vec<(String, String)> {
        let mut archive = zip::ZipArchive::new(Cursor::new(zipped)).expect("a zip");
        let mut files = Vec::new();
        for index in 0..archive.len() {
            let mut file = archive.by_index(index).expect("there");
            let (name, mut text) = (file.name().to_owned(), String::new());
            file.read_to_string(&mut text).expect("text");
            files.push((name, text));
        }
        files
    }

    #[test]
    fn packages_of_a_layer_are_where_python_looks() {
        let (content, packages) =
            (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        fs::write(packages.path().join("module.py"), "theirs").expect("written");
        fs::write(content.path().join("event.json"), "{}").expect("written");
        let packed = |content, packages| layer(content, packages).map(read);
        let both = [("event.json", "{}"), ("python/module.py", "theirs")];
        let found = packed(Some(content.path()), Some(packages.path())).expect("packed");
        assert_eq!(found, both.map(|(name, text)| (name.to_owned(), text.to_owned())));
        assert_eq!(
            packed(None, Some(packages.path())).expect("packed"),
            [("python/module.py".into(), "theirs".into())]
        );
        let empty = tempfile::tempdir().expect("a directory");
        assert!(layer(Some(empty.path()), None).is_err());
    }

    #[test]
    fn code_goes_over_packages() {
        let (code, packages) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        fs::write(code.path().join("handler.py"), "ours").expect("written");
        assert!(folder(packages.path(), Some(code.path())).is_err(), "packages alone are no function");
        for name in ["handler.py", "module.py"] {
            fs::write(packages.path().join(name), "theirs").expect("written");
        }
        let zipped = folder(code.path(), Some(packages.path())).expect("packed");
        let expected = [("handler.py", "ours"), ("module.py", "theirs")];
        assert_eq!(read(zipped), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }
}
