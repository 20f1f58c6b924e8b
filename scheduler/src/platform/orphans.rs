//! Removes files that no function needs any more: all of them once, at the start; later those of what was replaced or deleted.

use std::{path::PathBuf, sync::Arc};

use super::Inner;
use crate::{
    catalog::{Record, Revision},
    deploy::blocking,
};

impl Inner {
    /// Removes every file that no function needs.
    pub(super) async fn collect_all(self: Arc<Self>) {
        let _nobody_adds = self.files.write().await;
        let records = self.catalog.all();
        let revisions: Vec<(Revision, String)> = records
            .iter()
            .flat_map(|record| revisions(record).map(|revision| (revision, record.function.version.clone())))
            .collect();
        let this = self.clone();
        let collected = blocking(move || {
            let mut known = this.deployer.known_files(&revisions);
            this.catalog.all_layers().iter().for_each(|version| known.add_layer(&version.code.sha256_hex));
            known.collect(&this.directory).map_err(|error| error.to_string())
        });
        match collected.await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "files that nobody needs were removed"),
            Err(error) => tracing::warn!(%error, "files that nobody needs cannot be removed"),
        }
    }

    /// Removes the files of a record as it was, but for those that are still needed. Machines that have them open keep them.
    pub(super) async fn collect_of(self: Arc<Self>, before: Arc<Record>) {
        self.remove(move |inner| inner.unneeded(&before)).await;
    }

    /// Removes the files of a deleted layer version, but for those that are still needed.
    pub(super) async fn collect_zip(self: Arc<Self>, sha256_hex: String) {
        self.remove(move |inner| inner.unneeded_of(&sha256_hex)).await;
    }

    async fn remove(self: Arc<Self>, unneeded: impl FnOnce(&Inner) -> Vec<PathBuf> + Send + 'static) {
        let _nobody_adds = self.files.write().await;
        let this = self.clone();
        let removed = blocking(move || {
            for path in unneeded(&this) {
                // Most revisions have only some of the files.
                let _ = std::fs::remove_file(path);
            }
            Ok(())
        });
        if let Err(error) = removed.await {
            tracing::warn!(%error, "files that nobody needs cannot be removed");
        }
    }

    fn unneeded(&self, before: &Record) -> Vec<PathBuf> {
        let version = &before.function.version;
        let key = |revision: &Revision| self.deployer.snapshot_key(revision, version);
        let now = self.catalog.get(&before.function.configuration.name);
        let kept: Vec<_> =
            now.iter().flat_map(|record| revisions(record)).filter_map(|revision| key(&revision)).collect();
        let mut paths = Vec::new();
        for revision in revisions(before) {
            if let Some(key) = key(&revision).filter(|key| !kept.contains(key)) {
                paths.extend([self.directory.snapshot(&key), self.directory.working_set(&key)]);
            }
            let layers = revision.configuration.layers.iter().map(|layer| &layer.code);
            for code in layers.chain([&revision.code]) {
                paths.extend(self.unneeded_of(&code.sha256_hex));
            }
        }
        paths
    }

    /// The files of a zip that nobody needs.
    fn unneeded_of(&self, sha256_hex: &str) -> Vec<PathBuf> {
        let uses = self.catalog.uses_of(sha256_hex);
        let files = [
            (self.directory.image(sha256_hex), uses.as_package),
            (self.directory.layer_image(sha256_hex), uses.as_layer),
            (self.directory.package(sha256_hex), uses.as_package || uses.as_layer),
        ];
        files.into_iter().filter_map(|(path, is_needed)| (!is_needed).then_some(path)).collect()
    }
}

/// What is wanted of a function, and what serves.
fn revisions(record: &Record) -> impl Iterator<Item = Revision> + use<> {
    [Some(record.wanted()), record.serving.clone()].into_iter().flatten()
}
