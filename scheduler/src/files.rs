//! Files that are there completely or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// End of the names of files that are being written. What is left of them at the start is removed.
const UNFINISHED: &str = ".unfinished";

/// Creates `path` with what `fill` writes: under another name first, onto the disk, then under its own. Replaces what was there.
pub(crate) fn write_durably<E: From<io::Error>>(
    path: &Path,
    fill: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    let unfinished = Unfinished::new(path);
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&unfinished.path)?;
    fill(&mut file)?;
    file.sync_all()?;
    unfinished.finish(path)?;
    Ok(())
}

/// Lets Linux forget its copy of a file, page by page as it was written. The machines that map an image ask for large pages, and get them where they are
/// the first to bring it in.
pub(crate) fn forget_cached(path: &Path) {
    let forgotten = File::open(path).map(|file| rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed));
    // Small pages are slower, and no failure.
    if let Err(error) = forgotten {
        tracing::debug!(%error, path = %path.display(), "a file stays in small pages");
    }
}

/// A file that is removed unless it is finished.
pub(crate) struct Unfinished {
    pub(crate) path: PathBuf,
}

impl Unfinished {
    /// A name beside `path` that nobody else has.
    pub(crate) fn new(path: &Path) -> Unfinished {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}-{number}{UNFINISHED}", std::process::id()));
        Unfinished { path: path.with_file_name(name) }
    }

    /// Gives the file, which must be on the disk, its name, durably.
    pub(crate) fn finish(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        sync_directory(path.parent().unwrap_or(Path::new(".")))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After a rename it is not there any more.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Removes from `directory` what is finished and has a name that nobody knows, and says how many.
pub(crate) fn collect_orphans(directory: &Path, is_known: impl Fn(&str) -> bool) -> io::Result<usize> {
    remove(directory, |name| !name.ends_with(UNFINISHED) && !is_known(name))
}

/// Removes from `directory` what an earlier process did not finish, and says how many. Nobody may be writing there.
pub(crate) fn remove_unfinished(directory: &Path) -> io::Result<usize> {
    remove(directory, |name| name.ends_with(UNFINISHED))
}

fn remove(directory: &Path, is_unwanted: impl Fn(&str) -> bool) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.file_name().to_str().is_none_or(&is_unwanted) {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_is_there_completely_or_not_at_all() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let failed: io::Result<()> = write_durably(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("no more"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(directory.path()).expect("it lists").count(), 0);
        for content in [b"one", b"two"] {
            write_durably::<io::Error>(&path, |file| file.write_all(content)).expect("it is written");
            assert_eq!(fs::read(&path).expect("it is there"), content);
        }
        assert_eq!(fs::read_dir(directory.path()).expect("it lists").count(), 1);
    }

    #[test]
    fn orphans_are_collected() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["known", "unknown", "known.1-2.unfinished"] {
            fs::write(directory.path().join(name), b"x").expect("it is written");
        }
        fs::create_dir(directory.path().join("directory")).expect("it is made");
        let removed = collect_orphans(directory.path(), |name| name.starts_with("known")).expect("it works");
        assert_eq!(removed, 1, "what is not finished may be in the works");
        assert_eq!(remove_unfinished(directory.path()).expect("it works"), 1);
        assert!(directory.path().join("known").exists());
        assert!(directory.path().join("directory").exists());
    }
}
