//! What was acknowledged: records of functions and layers, durable before anyone hears of them, and all of them in memory for reading.
//!
//! ```text
//! <data dir>/catalog.redb                     records, and the format of the directory
//! <data dir>/packages/<sha256>.zip            as uploaded
//! <data dir>/images/<sha256>-<build>.img      made from packages and runtimes; `<sha256>-layer-<build>.img`: from layers
//! <data dir>/snapshots/<key>.snapshot         made from images
//! <data dir>/snapshots/<key>.working-set      which of its pages to bring in first
//! ```
//!
//! Images and snapshots are caches: their names say what is in them, and whoever misses one makes it again.

mod directory;
mod layers;
mod record;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

pub(crate) use directory::{Directory, image_name, layer_image_name, package_name, snapshot_name, working_set_name};
use layers::Layers;
pub(crate) use record::{Record, Revision, new_revision_id};
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};

use crate::{
    files, limits,
    refusal::{OpenError, Refusal},
};

/// Format of the data directory that this module writes, and the newest that it reads.
const FORMAT: u64 = 2;
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const FUNCTIONS: TableDefinition<&str, &[u8]> = TableDefinition::new("functions");
const FORMAT_KEY: &str = "format";

/// The records.
pub(crate) struct Catalog {
    /// Held by whoever changes something, from reading the record to publishing it.
    database: Mutex<Database>,
    records: RwLock<BTreeMap<String, Arc<Record>>>,
    layers: RwLock<Layers>,
}

impl Catalog {
    /// Opens or creates the catalog of a directory. Blocks.
    pub(crate) fn open(directory: &Directory) -> Result<Catalog, OpenError> {
        let path = directory.catalog();
        let database = Database::create(&path).map_err(|error| open_error(directory.root(), error))?;
        let damaged =
            |error: redb::Error| OpenError::Damaged { path: directory.root().into(), detail: error.to_string() };
        let found = prepare(&database).map_err(damaged)?;
        if found > FORMAT {
            return Err(OpenError::NewerFormat { path: directory.root().into(), found, known: FORMAT });
        }
        files::sync_directory(directory.root())
            .map_err(|source| OpenError::DataDir { path: directory.root().into(), source })?;
        let mut records = BTreeMap::new();
        for (name, bytes) in read_all(&database).map_err(damaged)? {
            let record: Record = serde_json::from_slice(&bytes).map_err(|error| OpenError::Damaged {
                path: directory.root().into(),
                detail: format!("the record of function {name}: {error}"),
            })?;
            records.insert(name, Arc::new(record));
        }
        let layers = Layers::read(&database).map_err(damaged)?;
        Ok(Catalog { database: Mutex::new(database), records: RwLock::new(records), layers: RwLock::new(layers) })
    }

    /// The record of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Record>> {
        self.records.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Every record, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Record>> {
        self.records.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        self.records.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Who needs the zip with that hash.
    pub(crate) fn uses_of(&self, sha256_hex: &str) -> Uses {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        let mut uses = Uses::default();
        for record in records.values() {
            let serving = record.serving.as_ref().map(|revision| (&revision.configuration, &revision.code));
            let wanted = (&record.function.configuration, &record.function.code);
            for (configuration, code) in [Some(wanted), serving].into_iter().flatten() {
                uses.as_package |= code.sha256_hex == sha256_hex;
                uses.as_layer |= configuration.layers.iter().any(|layer| layer.code.sha256_hex == sha256_hex);
            }
        }
        let layers = self.layers.read().unwrap_or_else(PoisonError::into_inner);
        uses.as_layer |= layers.all().any(|version| version.code.sha256_hex == sha256_hex);
        uses
    }

    /// At most `limit` records by name, from the one after `after`; with it, the last name if there are more.
    pub(crate) fn page(&self, after: Option<&str>, limit: usize) -> (Vec<Arc<Record>>, Option<String>) {
        use std::ops::Bound;
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let limit = limit.clamp(1, limits::LIST_PAGE);
        let mut rest = records.range::<str, _>((start, Bound::Unbounded));
        let page: Vec<_> = rest.by_ref().take(limit).map(|(_, record)| record.clone()).collect();
        let more = rest.next().is_some();
        let last = page.last().filter(|_| more).map(|record| record.function.configuration.name.clone());
        (page, last)
    }

    /// Changes the record of `name` into what `decide` makes of it; `None` removes it. One change at a time, on the disk
    /// before it is seen. Blocks.
    pub(crate) fn change(
        &self,
        name: &str,
        decide: impl FnOnce(Option<&Record>) -> Result<Option<Record>, Refusal>,
    ) -> Result<Option<Arc<Record>>, Refusal> {
        let database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.get(name);
        let after = decide(before.as_deref())?.map(Arc::new);
        if after.is_some() && before.is_none() && self.len() >= limits::FUNCTIONS {
            return Err(Refusal::InvalidParameter(format!("no more than {} functions", limits::FUNCTIONS)));
        }
        write(&database, name, after.as_deref()).map_err(unwritable)?;
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        match &after {
            Some(record) => drop(records.insert(name.to_owned(), record.clone())),
            None => drop(records.remove(name)),
        }
        Ok(after)
    }
}

/// What a zip is needed as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// A function has it as its package, or is served from it.
    pub(crate) as_package: bool,
    /// It is a layer version, or a function has it as a layer.
    pub(crate) as_layer: bool,
}

/// Creates what is missing; the format that was there, or is now.
fn prepare(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_write()?;
    let found = {
        let mut meta = transaction.open_table(META)?;
        let found = meta.get(FORMAT_KEY)?.map(|format| format.value());
        // What is new in this format is only added: the records of an older one are read as they are.
        if found.is_none_or(|found| found < FORMAT) {
            meta.insert(FORMAT_KEY, FORMAT)?;
        }
        found.unwrap_or(FORMAT)
    };
    if found > FORMAT {
        // Not a byte of a newer directory is touched.
        transaction.abort()?;
        return Ok(found);
    }
    transaction.open_table(FUNCTIONS)?;
    transaction.open_table(layers::COUNTS)?;
    transaction.open_table(layers::VERSIONS)?;
    transaction.commit()?;
    Ok(found)
}

fn read_all(database: &Database) -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(FUNCTIONS)?;
    let mut records = Vec::new();
    for entry in table.iter()? {
        let (name, bytes) = entry?;
        records.push((name.value().to_owned(), bytes.value().to_vec()));
    }
    Ok(records)
}

/// One transaction. A commit of redb returns when it is on the disk.
fn write(database: &Database, name: &str, record: Option<&Record>) -> Result<(), Box<dyn std::error::Error>> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(FUNCTIONS)?;
        match record {
            Some(record) => drop(table.insert(name, serde_json::to_vec(record)?.as_slice())?),
            None => drop(table.remove(name)?),
        }
    }
    transaction.commit()?;
    Ok(())
}

fn unwritable(error: Box<dyn std::error::Error>) -> Refusal {
    Refusal::Platform(format!("the catalog cannot be written: {error}"))
}

fn open_error(root: &Path, error: DatabaseError) -> OpenError {
    let path = PathBuf::from(root);
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::Locked { path },
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() != std::io::ErrorKind::InvalidData => {
            OpenError::DataDir { path, source }
        }
        other => OpenError::Damaged { path, detail: other.to_string() },
    }
}

#[cfg(test)]
mod tests;
