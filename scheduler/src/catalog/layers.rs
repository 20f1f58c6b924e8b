//! The layers of the catalog: every version that is not deleted, and of each name how far its versions have been counted.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, PoisonError},
};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::Catalog;
use crate::{
    layer::{LayerFilter, LayerId, LayerVersion},
    limits,
    refusal::Refusal,
};

/// The last version that was ever given to a name.
pub(super) const COUNTS: TableDefinition<&str, u64> = TableDefinition::new("layers");
/// The versions that there are, by name and number.
pub(super) const VERSIONS: TableDefinition<(&str, u64), &[u8]> = TableDefinition::new("layer_versions");

/// All of them in memory, for reading.
#[derive(Debug, Default)]
pub(super) struct Layers {
    counts: BTreeMap<String, u64>,
    versions: BTreeMap<LayerId, Arc<LayerVersion>>,
}

impl Layers {
    /// What the database has. An error is for the operator.
    pub(super) fn read(database: &Database) -> Result<Layers, redb::Error> {
        let transaction = database.begin_read()?;
        let mut layers = Layers::default();
        for entry in transaction.open_table(COUNTS)?.iter()? {
            let (name, last) = entry?;
            layers.counts.insert(name.value().to_owned(), last.value());
        }
        for entry in transaction.open_table(VERSIONS)?.iter()? {
            let (key, bytes) = entry?;
            let version: LayerVersion = serde_json::from_slice(bytes.value()).map_err(|error| {
                let (name, number) = key.value();
                redb::Error::Corrupted(format!("the record of layer {name}:{number}: {error}"))
            })?;
            layers.versions.insert(version.id.clone(), Arc::new(version));
        }
        Ok(layers)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<LayerVersion>> {
        self.versions.values()
    }

    /// Those of `name`, the oldest first.
    fn of(&self, name: &str) -> impl DoubleEndedIterator<Item = &Arc<LayerVersion>> {
        let id = |version| LayerId { name: name.to_owned(), version };
        self.versions.range(id(0)..=id(u64::MAX)).map(|(_, version)| version)
    }
}

impl Catalog {
    /// The version called that.
    pub(crate) fn layer(&self, id: &LayerId) -> Option<Arc<LayerVersion>> {
        self.layers.read().unwrap_or_else(PoisonError::into_inner).versions.get(id).cloned()
    }

    /// Every version.
    pub(crate) fn all_layers(&self) -> Vec<Arc<LayerVersion>> {
        self.layers.read().unwrap_or_else(PoisonError::into_inner).all().cloned().collect()
    }

    /// Of at most `limit` layers by name, from the one after `after`, the newest version that `filter` takes; with it, the last
    /// name if there are more.
    pub(crate) fn page_of_layers(
        &self,
        after: Option<&str>,
        limit: usize,
        filter: &LayerFilter,
    ) -> (Vec<Arc<LayerVersion>>, Option<String>) {
        let layers = self.layers.read().unwrap_or_else(PoisonError::into_inner);
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let names = layers.counts.range::<str, _>((start, Bound::Unbounded)).map(|(name, _)| name);
        let newest = names.filter_map(|name| layers.of(name).rev().find(|version| filter.takes(version)));
        let (page, more) = page(newest, limit);
        let last = page.last().filter(|_| more).map(|version| version.id.name.clone());
        (page, last)
    }

    /// At most `limit` versions of a layer that `filter` takes, the newest first, from the one before `before`; with it, the
    /// last number if there are more.
    pub(crate) fn page_of_layer(
        &self,
        name: &str,
        before: Option<u64>,
        limit: usize,
        filter: &LayerFilter,
    ) -> (Vec<Arc<LayerVersion>>, Option<u64>) {
        let layers = self.layers.read().unwrap_or_else(PoisonError::into_inner);
        let is_wanted = |version: &&Arc<LayerVersion>| {
            before.is_none_or(|before| version.id.version < before) && filter.takes(version)
        };
        let (page, more) = page(layers.of(name).rev().filter(is_wanted), limit);
        let last = page.last().filter(|_| more).map(|version| version.id.version);
        (page, last)
    }

    /// Records the next version of `name`, as `make` makes it of its number. On the disk before it is seen. Blocks.
    pub(crate) fn publish_layer(
        &self,
        name: &str,
        make: impl FnOnce(LayerId) -> LayerVersion,
    ) -> Result<Arc<LayerVersion>, Refusal> {
        let database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let number = {
            let layers = self.layers.read().unwrap_or_else(PoisonError::into_inner);
            if layers.versions.len() >= limits::LAYER_VERSIONS {
                return Err(Refusal::InvalidParameter(format!(
                    "no more than {} layer versions",
                    limits::LAYER_VERSIONS
                )));
            }
            layers.counts.get(name).map_or(1, |last| last + 1)
        };
        let version = Arc::new(make(LayerId { name: name.to_owned(), version: number }));
        write(&database, &version.id, Some(&version), Some(number)).map_err(super::unwritable)?;
        let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
        layers.counts.insert(name.to_owned(), number);
        layers.versions.insert(version.id.clone(), version.clone());
        Ok(version)
    }

    /// Changes a version into what `decide` makes of it; `None` removes it. On the disk before it is seen. Blocks.
    pub(crate) fn change_layer(
        &self,
        id: &LayerId,
        decide: impl FnOnce(Option<&LayerVersion>) -> Result<Option<LayerVersion>, Refusal>,
    ) -> Result<Option<Arc<LayerVersion>>, Refusal> {
        let database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let after = decide(self.layer(id).as_deref())?.map(Arc::new);
        write(&database, id, after.as_deref(), None).map_err(super::unwritable)?;
        let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
        match &after {
            Some(version) => drop(layers.versions.insert(id.clone(), version.clone())),
            None => drop(layers.versions.remove(id)),
        }
        Ok(after)
    }
}

/// The first `limit`, and whether there are more.
fn page<'a>(mut found: impl Iterator<Item = &'a Arc<LayerVersion>>, limit: usize) -> (Vec<Arc<LayerVersion>>, bool) {
    let page = found.by_ref().take(limit.clamp(1, limits::LIST_PAGE)).cloned().collect();
    (page, found.next().is_some())
}

/// One transaction. A commit of redb returns when it is on the disk.
fn write(
    database: &Database,
    id: &LayerId,
    version: Option<&LayerVersion>,
    count: Option<u64>,
) -> Result<(), Box<dyn std::error::Error>> {
    let transaction = database.begin_write()?;
    {
        let (mut versions, key) = (transaction.open_table(VERSIONS)?, (id.name.as_str(), id.version));
        match version {
            Some(version) => drop(versions.insert(key, serde_json::to_vec(version)?.as_slice())?),
            None => drop(versions.remove(key)?),
        }
        if let Some(count) = count {
            transaction.open_table(COUNTS)?.insert(id.name.as_str(), count)?;
        }
    }
    transaction.commit()?;
    Ok(())
}
