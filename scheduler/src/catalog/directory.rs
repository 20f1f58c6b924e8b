//! The names in the data directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::refusal::OpenError;

/// A data directory that is there and can be written.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    root: PathBuf,
}

impl Directory {
    /// Creates what is missing.
    pub(crate) fn create(root: &Path) -> Result<Directory, OpenError> {
        let directory = Directory { root: root.to_owned() };
        for path in [directory.root.clone(), directory.packages(), directory.images(), directory.snapshots()] {
            fs::create_dir_all(&path).map_err(|source| OpenError::DataDir { path: root.into(), source })?;
        }
        Ok(directory)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn catalog(&self) -> PathBuf {
        self.root.join("catalog.redb")
    }

    pub(crate) fn packages(&self) -> PathBuf {
        self.root.join("packages")
    }

    pub(crate) fn package(&self, sha256_hex: &str) -> PathBuf {
        self.packages().join(package_name(sha256_hex))
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(crate) fn image(&self, sha256_hex: &str) -> PathBuf {
        self.images().join(image_name(sha256_hex))
    }

    pub(crate) fn layer_image(&self, sha256_hex: &str) -> PathBuf {
        self.images().join(layer_image_name(sha256_hex))
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    pub(crate) fn snapshot(&self, key: &str) -> PathBuf {
        self.snapshots().join(snapshot_name(key))
    }

    pub(crate) fn working_set(&self, key: &str) -> PathBuf {
        self.snapshots().join(working_set_name(key))
    }
}

/// Name of the file of a package.
pub(crate) fn package_name(sha256_hex: &str) -> String {
    format!("{sha256_hex}.zip")
}

/// Name of the file of an image.
pub(crate) fn image_name(sha256_hex: &str) -> String {
    format!("{sha256_hex}-{:x}.img", crate::image::BUILD)
}

/// Name of the file of the image of a package as a layer.
pub(crate) fn layer_image_name(sha256_hex: &str) -> String {
    format!("{sha256_hex}-layer-{:x}.img", crate::image::BUILD)
}

/// Name of the file of a snapshot's working set.
pub(crate) fn working_set_name(key: &str) -> String {
    format!("{key}.working-set")
}

/// Name of the file of a snapshot.
pub(crate) fn snapshot_name(key: &str) -> String {
    format!("{key}.snapshot")
}
