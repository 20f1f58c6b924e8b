//! The runtimes of a data directory: `runtimes/<name>.json` says what a runtime is, `runtimes/<SHA-256>-<build>.img` is its image.
//!
//! Beside the catalog and not in it, for `mayfly runtime` changes it while a server has the catalog locked. Builds and removals
//! hold a lock of their own; readers need none, for records appear and go at once, and an image is there before its record.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{BuildError, Interpreter, contents};
use crate::{
    catalog::image_name,
    deploy::hex,
    files::{self, Unfinished, write_durably},
    image,
};

/// The runtimes of a data directory.
#[derive(Debug, Clone)]
pub struct Runtimes {
    directory: PathBuf,
}

/// What a runtime is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeRecord {
    /// What functions ask for.
    pub name: String,
    /// Of the interpreter: `3.11.2`.
    pub version: String,
    /// The interpreter, on the host and in the guest.
    pub executable: PathBuf,
    /// Of the image.
    pub image_sha256_hex: String,
    /// By which layout of images it was made.
    pub(crate) image_build: u32,
    /// Files in the image.
    pub files: u64,
    /// Whether CPython's own tests are in it.
    pub has_tests: bool,
}

/// What to build.
#[derive(Debug, Clone, Default)]
pub struct Build {
    /// The interpreter, or a shim or virtual environment of it.
    pub python: PathBuf,
    /// Of the runtime; `python3.N` if there is none.
    pub name: Option<String>,
    /// Take CPython's own tests along.
    pub with_tests: bool,
}

impl Runtimes {
    /// Those in `data_dir`, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be.
    pub fn open(data_dir: &Path) -> io::Result<Runtimes> {
        let directory = data_dir.join("runtimes");
        fs::create_dir_all(&directory)?;
        Ok(Runtimes { directory })
    }

    /// All that can be used, by name.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self) -> io::Result<Vec<RuntimeRecord>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            names.extend(name.to_str().and_then(|name| name.strip_suffix(".json")).map(str::to_owned));
        }
        names.sort();
        Ok(names.iter().filter_map(|name| self.get(name)).collect())
    }

    /// The runtime called `name`, if it can be used.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<RuntimeRecord> {
        if !is_name(name) {
            return None;
        }
        let text = fs::read(self.record(name)).ok()?;
        let record: RuntimeRecord = serde_json::from_slice(&text)
            .inspect_err(|error| tracing::warn!(%error, name, "the record of a runtime is damaged"))
            .ok()?;
        // Another layout of images, or a name that somebody gave the file: it has to be built again.
        let is_usable = record.image_build == image::BUILD && record.name == name && self.image(&record).is_file();
        is_usable.then_some(record)
    }

    /// The image of a runtime.
    #[must_use]
    pub fn image(&self, record: &RuntimeRecord) -> PathBuf {
        self.directory.join(image_name(&record.image_sha256_hex))
    }

    /// Builds a runtime, in place of the one that has its name. Waits for another build that goes on.
    ///
    /// # Errors
    /// See [`BuildError`]; then nothing has changed.
    pub fn build(&self, build: &Build, progress: &mut dyn FnMut(&str)) -> Result<RuntimeRecord, BuildError> {
        let _alone = self.lock()?;
        // Nobody else is writing here now.
        files::remove_unfinished(&self.directory).map_err(BuildError::Store)?;
        let python = Interpreter::discover(&build.python)?;
        let name = name_for(&python, build.name.as_deref())?;
        progress(&format!("packing {} ({}) as {name}", python.executable.display(), python.version()));
        let tree = contents::collect(&python, build.with_tests, progress)?;
        let files = tree.files().count() as u64;
        progress(&format!("writing {files} files"));
        let image_sha256_hex = self.write(&tree.into_tree()?)?;
        let record = RuntimeRecord {
            name,
            version: python.version(),
            executable: python.executable,
            image_sha256_hex,
            image_build: image::BUILD,
            files,
            has_tests: build.with_tests,
        };
        let text = serde_json::to_vec_pretty(&record).map_err(|error| BuildError::Store(error.into()))?;
        write_durably::<io::Error>(&self.record(&record.name), |file| io::Write::write_all(file, &text))
            .map_err(BuildError::Store)?;
        self.collect().map_err(BuildError::Store)?;
        Ok(record)
    }

    /// Removes a runtime; `false` if there is none of that name. A server that uses it goes on until it is started anew.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, name: &str) -> Result<bool, BuildError> {
        let _alone = self.lock()?;
        if !is_name(name) {
            return Ok(false);
        }
        match fs::remove_file(self.record(name)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(BuildError::Store(error)),
        }
        files::sync_directory(&self.directory).and_then(|()| self.collect()).map_err(BuildError::Store)?;
        Ok(true)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    fn record(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }

    fn lock(&self) -> Result<File, BuildError> {
        let lock = File::create(self.directory.join("lock")).map_err(BuildError::Store)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| BuildError::Store(error.into()))?;
        Ok(lock)
    }

    /// Writes an image under the name of its hash, which it gives.
    fn write(&self, tree: &image::Tree<super::host_tree::Source>) -> Result<String, BuildError> {
        let unfinished = Unfinished::new(&self.directory.join("image"));
        let open = File::options().read(true).write(true).create_new(true).open(&unfinished.path);
        let mut file = open.map_err(BuildError::Store)?;
        tree.write(&mut file, |source, to| source.copy(to))?;
        file.sync_all().map_err(BuildError::Store)?;
        let sha256_hex = hash(&mut file).map_err(BuildError::Store)?;
        let path = self.directory.join(image_name(&sha256_hex));
        unfinished.finish(&path).map_err(BuildError::Store)?;
        files::forget_cached(&path);
        Ok(sha256_hex)
    }

    /// Removes the images that no record names.
    fn collect(&self) -> io::Result<()> {
        let used: Vec<String> = self.list()?.iter().map(|record| image_name(&record.image_sha256_hex)).collect();
        files::collect_orphans(&self.directory, |name| {
            !name.ends_with(".img") || used.iter().any(|used| used == name)
        })?;
        Ok(())
    }
}

fn hash(file: &mut File) -> io::Result<String> {
    file.rewind()?;
    let (mut hash, mut bytes) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&bytes[..read]),
        }
    }
}

/// Whether it can be the name of a file, and of a runtime that is not built in.
fn is_name(name: &str) -> bool {
    let good =
        |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || "._-".contains(character);
    (1..=64).contains(&name.len())
        && name.chars().all(good)
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name != super::RUSTPYTHON_NAME
}

/// The name of a runtime of `python`: what was asked for, unless that says something wrong.
fn name_for(python: &Interpreter, asked: Option<&str>) -> Result<String, BuildError> {
    let usual = format!("python3.{}", python.minor());
    let Some(asked) = asked else { return Ok(usual) };
    let wrong = |why: String| Err(BuildError::Name { name: asked.to_owned(), why });
    if !is_name(asked) {
        return wrong("a name has lower-case letters, digits, '.', '_' and '-', and is not rustpython".into());
    }
    let is_version = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if asked.strip_prefix("python3.").is_some_and(is_version) && asked != usual {
        return wrong(format!("{} is a {usual}", python.executable.display()));
    }
    Ok(asked.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::tests::host_python;

    #[test]
    fn a_runtime_is_built_found_and_removed() {
        let Some(python) = host_python() else { return };
        let data = tempfile::tempdir().expect("a directory");
        let runtimes = Runtimes::open(data.path()).expect("it opens");
        let build = Build { python, ..Build::default() };
        let record = runtimes.build(&build, &mut |_| {}).expect("it builds");
        assert!(crate::runtime::python_minor(&record.name).is_some(), "{}", record.name);
        let image = fs::read(runtimes.image(&record)).expect("it is there");
        assert_eq!(hex(&Sha256::digest(&image)), record.image_sha256_hex);
        let image = mayfly_abi::image::Image::new(&image).expect("an image");
        assert!(u64::from(image.nodes()) > record.files && record.files > 500, "{} files", record.files);

        let copy = Build { name: Some("copy".into()), ..build.clone() };
        let again = runtimes.build(&copy, &mut |_| {}).expect("it builds");
        assert_eq!(again.image_sha256_hex, record.image_sha256_hex, "the same files are the same image");
        assert_eq!(runtimes.list().expect("it lists"), [again, record.clone()]);
        assert!(runtimes.remove("copy").expect("it can") && !runtimes.remove("copy").expect("it can"));
        assert!(runtimes.image(&record).exists(), "the other one needs it");
        let wrong = Build { name: Some("python3.99".into()), ..build };
        assert!(matches!(runtimes.build(&wrong, &mut |_| {}), Err(BuildError::Name { .. })));
        assert!(runtimes.remove(&record.name).expect("it can"));
        assert!(!runtimes.image(&record).exists());
    }

    #[test]
    fn records_that_cannot_be_used_are_as_if_they_were_not_there() {
        let data = tempfile::tempdir().expect("a directory");
        let runtimes = Runtimes::open(data.path()).expect("it opens");
        let record = RuntimeRecord {
            name: "python3.11".into(),
            version: "3.11.2".into(),
            executable: "/usr/bin/python3.11".into(),
            image_sha256_hex: "ab".into(),
            image_build: image::BUILD,
            files: 1,
            has_tests: false,
        };
        let keep = |name: &str, record: &RuntimeRecord| {
            fs::write(runtimes.record(name), serde_json::to_vec(record).expect("JSON")).expect("it is written");
        };
        keep("python3.11", &record);
        assert_eq!(runtimes.get("python3.11"), None, "there is no image");
        fs::write(runtimes.image(&record), b"image").expect("it is written");
        assert_eq!(runtimes.get("python3.11").as_ref(), Some(&record));
        keep("renamed", &record);
        fs::write(runtimes.record("damaged"), b"{").expect("it is written");
        assert_eq!(runtimes.list().expect("it lists"), std::slice::from_ref(&record));
        keep("python3.11", &RuntimeRecord { image_build: 0, ..record });
        assert_eq!(runtimes.list().expect("it lists"), []);
        assert_eq!(runtimes.get("../python3.11"), None);
    }

    #[test]
    fn names() {
        for name in ["python3.11", "python3.12-debug", "a_b"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "rustpython", "Python3", "../x", ".hidden", "3.11", "a/b", "a b"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
