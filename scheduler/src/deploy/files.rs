//! The files of a deploy.

use std::{collections::HashSet, fs::OpenOptions, io, path::Path, path::PathBuf, sync::Arc};

use super::{DeployError, Deployer, base::Plan, blocking};
use crate::{
    catalog::{Directory, image_name, layer_image_name, package_name, snapshot_name, working_set_name},
    files::{Unfinished, collect_orphans},
    image::{Part, package_tree},
    limits,
    machine::{Command, Image, Machine, Report, Snapshot, carry_out},
    package::{self, Package},
};

/// The snapshot at `path`, if it is there and good. One that is not good is made anew by whoever asks.
pub(super) async fn open_snapshot(deployer: &Deployer, path: &Path) -> Option<Snapshot> {
    if !path.exists() {
        return None;
    }
    let (host, path) = (deployer.host.clone(), path.to_owned());
    let opened = blocking(move || host.open_snapshot(&path)).await;
    opened.inspect_err(|error| tracing::warn!(%error, "a snapshot cannot be used and is made anew")).ok()
}

/// Saves the waiting guest of `machine` at `path`.
pub(super) async fn save(machine: &mut dyn Machine, path: &Path) -> Result<(), DeployError> {
    let failed = |error: &dyn std::fmt::Display| DeployError(format!("a snapshot cannot be saved: {error}"));
    let unfinished = Unfinished::new(path);
    let open = OpenOptions::new().read(true).write(true).create_new(true).open(&unfinished.path);
    let file = open.map_err(|error| failed(&error))?;
    let saved = |report: &Report| matches!(report, Report::Saved);
    carry_out(machine, Command::Save { to: &file }, limits::SAVE_TIMEOUT, saved).await.map_err(|gone| failed(&gone))?;
    let path = path.to_owned();
    blocking(move || file.sync_all().and_then(|()| unfinished.finish(&path)).map_err(|error| error.to_string())).await
}

/// The image of the package with that hash, made from it if it is not there.
pub(super) async fn image(deployer: &Deployer, part: Part, sha256_hex: &str) -> Result<Arc<Image>, DeployError> {
    let (host, directory, sha256_hex) = (deployer.host.clone(), deployer.directory.clone(), sha256_hex.to_owned());
    let image = blocking(move || {
        let path = image_path(&directory, part, &sha256_hex);
        if !path.exists() {
            write_image(&directory, part, &sha256_hex, &stored(&directory, &sha256_hex)?)?;
        }
        host.open_image(&path)
    });
    image.await.map(Arc::new)
}

fn image_path(directory: &Directory, part: Part, sha256_hex: &str) -> PathBuf {
    match part {
        Part::Package => directory.image(sha256_hex),
        Part::Layer => directory.layer_image(sha256_hex),
    }
}

/// The package with that hash.
fn stored(directory: &Directory, sha256_hex: &str) -> Result<Package, String> {
    let bytes =
        std::fs::read(directory.package(sha256_hex)).map_err(|error| format!("the package cannot be read: {error}"))?;
    // It was checked when it came; this is what gives access to its entries, and would notice if the disk has changed it.
    package::check(bytes.into()).map_err(|error| format!("the stored package is damaged: {error:?}"))
}

/// Writes the image of a package, if it is not there. Blocks.
pub(crate) fn write_image(
    directory: &Directory,
    part: Part,
    sha256_hex: &str,
    package: &Package,
) -> Result<(), String> {
    let path = image_path(directory, part, sha256_hex);
    if path.exists() {
        return Ok(());
    }
    let tree = package_tree(package, part).map_err(|error| error.to_string())?;
    tree.write_durably(&path, |entry, to| package.copy(entry, to))
        .map_err(|error| format!("the image cannot be written: {error}"))
}

/// Names of files that someone needs.
#[derive(Debug, Default)]
pub(crate) struct KnownFiles {
    names: HashSet<String>,
}

impl KnownFiles {
    pub(super) fn of_runtimes<'a>(own_images: [String; 2], plans: impl Iterator<Item = &'a Plan>) -> KnownFiles {
        KnownFiles { names: own_images.into_iter().chain(plans.flat_map(Plan::file_names)).collect() }
    }

    /// The files of a revision. Without a key, its runtime is not there and its snapshot of no more use.
    pub(super) fn add(&mut self, code_sha256_hex: &str, snapshot_key: Option<&str>) {
        self.names.extend([package_name(code_sha256_hex), image_name(code_sha256_hex)]);
        self.names.extend(snapshot_key.into_iter().flat_map(|key| [snapshot_name(key), working_set_name(key)]));
    }

    /// The files of a layer.
    pub(crate) fn add_layer(&mut self, code_sha256_hex: &str) {
        self.names.extend([package_name(code_sha256_hex), layer_image_name(code_sha256_hex)]);
    }

    /// Removes all others. Blocks.
    pub(crate) fn collect(&self, directory: &Directory) -> io::Result<usize> {
        let mut removed = 0;
        for place in [directory.packages(), directory.images(), directory.snapshots()] {
            removed += collect_orphans(&place, |name| self.names.contains(name))?;
        }
        Ok(removed)
    }
}
