//! The pages that the first invocation of a snapshot wrote, brought in at each later bind.
//!
//! A hint: whatever is wrong with it costs time only, so it is neither checked nor made durable here. The machine writes it to memory,
//! for a disk that is busy would make the invocation after the recorded one wait; from there it is copied to a file beside
//! the snapshot, for the next start.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::fs::{MemfdFlags, memfd_create};

/// The working set of a snapshot: empty until an invocation has been recorded.
#[derive(Debug, Default)]
pub(crate) struct WorkingSet {
    /// In memory.
    file: Option<File>,
    path: PathBuf,
    is_recorded: AtomicBool,
    is_recording: AtomicBool,
}

impl WorkingSet {
    /// The one that was kept at `path`, if any. Without a file in memory there is no working set, and nothing else changes.
    pub(crate) fn open(path: &Path) -> WorkingSet {
        let kept = fs::read(path).unwrap_or_default();
        let file = memfd_create("mayfly-working-set", MemfdFlags::CLOEXEC).map(File::from);
        let file = file.inspect_err(|error| tracing::warn!(%error, "no working set")).ok();
        let is_kept = !kept.is_empty() && file.as_ref().is_some_and(|mut file| file.write_all(&kept).is_ok());
        WorkingSet {
            file,
            path: path.to_owned(),
            is_recorded: AtomicBool::new(is_kept),
            is_recording: AtomicBool::new(false),
        }
    }

    /// These pages, not kept in any file.
    pub(crate) fn of(pages: &mayfly_vmm::WorkingSet) -> WorkingSet {
        let file = memfd_create("mayfly-working-set", MemfdFlags::CLOEXEC).map(File::from).ok();
        let file = file.filter(|mut file| file.write_all(&pages.to_bytes()).is_ok());
        let is_recorded = AtomicBool::new(file.is_some());
        WorkingSet { file, is_recorded, ..WorkingSet::default() }
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
        if self.is_recorded.load(Ordering::Relaxed) {
            return Some(file);
        }
        // It is written by the machine at some time after the invocation was answered.
        let is_recorded = file.metadata().is_ok_and(|metadata| metadata.len() > 0);
        if is_recorded && !self.is_recorded.swap(true, Ordering::Relaxed) {
            self.keep(file);
        }
        is_recorded.then_some(file)
    }

    /// Copies it to its file, on nobody's path.
    fn keep(&self, file: &File) {
        // Opened anew, for its own position.
        let memory = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
        let (Ok(mut memory), path) = (File::open(memory), self.path.clone()) else { return };
        let mut copy = move || {
            let mut bytes = Vec::new();
            let kept = memory.read_to_end(&mut bytes).and_then(|_| fs::write(&path, &bytes));
            if let Err(error) = kept {
                tracing::warn!(%error, path = %path.display(), "a working set cannot be kept");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(handle) => drop(handle.spawn_blocking(copy)),
            Err(_) => copy(),
        }
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(fs::read(&path).expect("it is kept"), b"pages");
        let again = WorkingSet::open(&path);
        assert!(again.recorded().is_some() && again.to_record().is_none(), "it is found again");
        let none = WorkingSet::default();
        assert!(none.to_record().is_none() && none.recorded().is_none());
    }
}
