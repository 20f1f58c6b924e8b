//! The pages that the first invocation of a snapshot wrote, brought in at each later bind.
//!
//! A hint in a file beside the snapshot: whatever is wrong with it costs time only, so it is neither checked nor made durable here.

use std::{
    fs::{File, OpenOptions},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

/// The working set of a snapshot: empty until an invocation has been recorded.
#[derive(Debug, Default)]
pub(crate) struct WorkingSet {
    file: Option<File>,
    is_recorded: AtomicBool,
    is_recording: AtomicBool,
}

impl WorkingSet {
    /// In the file at `path`, which is made if it is not there. Without a file there is no working set, and nothing else changes.
    pub(crate) fn open(path: &Path) -> WorkingSet {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.inspect_err(|error| tracing::warn!(%error, path = %path.display(), "no working set"));
        WorkingSet { file: file.ok(), ..WorkingSet::default() }
    }

    /// The file to be written by a first invocation, unless it is, or is being, written.
    pub(crate) fn to_record(&self) -> Option<&File> {
        if self.is_recording.load(Ordering::Relaxed) || self.recorded().is_some() {
            return None;
        }
        self.file.as_ref().filter(|_| !self.is_recording.swap(true, Ordering::Relaxed))
    }

    /// The invocation that should have written it has failed; another may.
    pub(crate) fn not_recorded(&self) {
        self.is_recording.store(false, Ordering::Relaxed);
    }

    /// The file, once something is in it.
    pub(crate) fn recorded(&self) -> Option<&File> {
        let file = self.file.as_ref()?;
        if !self.is_recorded.load(Ordering::Relaxed) {
            // It is written by the machine at some time after the invocation was answered.
            let is_recorded = file.metadata().is_ok_and(|metadata| metadata.len() > 0);
            self.is_recorded.store(is_recorded, Ordering::Relaxed);
            return is_recorded.then_some(file);
        }
        Some(file)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn one_records_and_the_others_use_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("set");
        let set = WorkingSet::open(&path);
        assert!(set.recorded().is_none());
        assert!(set.to_record().is_some());
        assert!(set.to_record().is_none(), "one at a time");
        set.not_recorded();
        set.to_record().expect("it failed").write_all(b"pages").expect("it is written");
        assert!(set.recorded().is_some());
        assert!(set.to_record().is_none());
        assert!(WorkingSet::open(&path).recorded().is_some(), "it is found again");
        let none = WorkingSet::open(&directory.path().join("no/set"));
        assert!(none.to_record().is_none() && none.recorded().is_none());
    }
}
