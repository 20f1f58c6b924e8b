//! From a package to something that can be bound.
//!
//! ```text
//!  package, layers ──checked──► images ──┐
//!                                        ├─ bound to a shell ── INIT ──┬─ INIT_OK ──► function snapshot ──► Ready
//!  base of its runtime ──────────────────┘                             └─ ERROR, or it ended ──► InitFailed
//! ```
//!
//! Every file is named by what it was made from, so whatever is there already is used, and a deploy that a crash interrupted
//! is simply made again. A handler that cannot be imported is no failed deploy: its callers are told, as on Lambda.

mod bake;
mod base;
mod files;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

#[cfg(test)]
pub(crate) use base::REHEARSED;
use base::{Base, Plan};
pub(crate) use files::write_image;
use sha2::{Digest, Sha256};
use tokio::sync::{OnceCell, Semaphore};

use crate::{
    catalog::{Directory, Revision},
    clock::Clock,
    dispatch::Dispatcher,
    image::Part,
    invoke::{InitFailure, InitMeta},
    limits,
    machine::{Binding, Host, WorkingSet},
    runtime::{Executor, Offer, RUSTPYTHON_NAME},
    settings::Settings,
};

/// Makes revisions ready.
pub(crate) struct Deployer {
    host: Arc<dyn Host>,
    dispatcher: Arc<Dispatcher>,
    directory: Directory,
    settings: Settings,
    clock: Clock,
    /// The RustPython program.
    program: &'static [u8],
    pub(crate) offer: Arc<Offer>,
    /// Of each runtime the last: functions that are bound to an earlier one hold what they need of it.
    bases: Mutex<HashMap<String, Place>>,
    is_ready: AtomicBool,
    places: Semaphore,
}

/// Where the base with that key is, or will be.
#[derive(Default)]
struct Place {
    key: String,
    base: Arc<OnceCell<Arc<Base>>>,
}

/// A revision that has been made ready.
pub(crate) enum Loaded {
    /// It can be bound.
    Ready(Binding, Vec<u8>),
    /// Its handler cannot be loaded.
    InitFailed(InitFailure),
}

/// Why a revision cannot be made ready: the platform's fault, or its host's.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct DeployError(pub(crate) String);

impl Deployer {
    pub(crate) fn new(
        host: Arc<dyn Host>,
        dispatcher: Arc<Dispatcher>,
        directory: Directory,
        settings: Settings,
        clock: Clock,
        program: &'static [u8],
        offer: Arc<Offer>,
    ) -> Deployer {
        let places = Semaphore::new(limits::DEPLOYS_AT_A_TIME);
        let (bases, is_ready) = (Mutex::default(), AtomicBool::new(false));
        Deployer { host, dispatcher, directory, settings, clock, program, offer, bases, is_ready, places }
    }

    /// The base of a runtime, made at the first start and loaded at others. One that fails is tried again by the next who asks.
    pub(crate) async fn base(&self, runtime: &str) -> Result<Arc<Base>, DeployError> {
        let plan = self.plan(runtime).await?;
        let cell = self.cell(runtime, &plan.key);
        let base = cell.get_or_try_init(|| async { base::prepare(self, &plan).await.map(Arc::new) }).await?;
        if runtime == RUSTPYTHON_NAME {
            self.is_ready.store(true, Ordering::Relaxed);
        }
        Ok(base.clone())
    }

    /// Whether the built-in runtime is there.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    /// What the base of a runtime is made from; its image is made if need be.
    async fn plan(&self, runtime: &str) -> Result<Plan, DeployError> {
        let (offer, name) = (self.offer.clone(), runtime.to_owned());
        let executor = blocking(move || match offer.executor(&name).map_err(|refusal| refusal.to_string())? {
            Executor::Unpacked(python) => {
                offer.pack(&name, &python).map(Executor::Packed).map_err(|error| error.to_string())
            }
            other => Ok(other),
        });
        let executor = executor.await?;
        Plan::of(self, &executor).ok_or_else(|| DeployError(format!("the runtime {runtime} has no image")))
    }

    fn cell(&self, runtime: &str, key: &str) -> Arc<OnceCell<Arc<Base>>> {
        let mut bases = self.bases.lock().unwrap_or_else(PoisonError::into_inner);
        let place = bases.entry(runtime.to_owned()).or_default();
        if place.key != key {
            *place = Place { key: key.to_owned(), ..Place::default() };
        }
        place.base.clone()
    }

    /// Makes `revision` ready.
    pub(crate) async fn load(&self, revision: &Revision, version: &str) -> Result<Loaded, DeployError> {
        let base = self.base(&revision.configuration.runtime).await?;
        let _place = self.places.acquire().await.map_err(|error| DeployError(error.to_string()))?;
        let mut images = base.images.clone();
        for layer in &revision.configuration.layers {
            images.push(files::image(self, Part::Layer, &layer.code.sha256_hex).await?);
        }
        images.push(files::image(self, Part::Package, &revision.code.sha256_hex).await?);
        let meta = self.meta(revision, version);
        let binding = Binding {
            base: base.snapshot.clone(),
            top: None,
            working_set: Arc::default(),
            images,
            memory_bytes: u64::from(revision.configuration.memory_mb) << 20,
            tmp_bytes: u64::from(revision.configuration.ephemeral_storage_mb) << 20,
            primed: Some(base.primed.clone()),
        };
        let key = key(&base.key, revision, &meta);
        let path = self.directory.snapshot(&key);
        let loaded = match files::open_snapshot(self, &path).await {
            Some(top) => Loaded::Ready(Binding { top: Some(Arc::new(top)), ..binding }, Vec::new()),
            None => bake::bake(self, binding, &meta, &path).await?,
        };
        Ok(match loaded {
            Loaded::Ready(binding, log) => {
                binding.top.iter().for_each(|top| base.primed.expect(top));
                let working_set = Arc::new(WorkingSet::open(&self.directory.working_set(&key)));
                Loaded::Ready(Binding { working_set, ..binding }, log)
            }
            failed @ Loaded::InitFailed(_) => failed,
        })
    }

    /// Name of the snapshot of a revision; `None` before there is a runtime to make it on. Blocks.
    pub(crate) fn snapshot_key(&self, revision: &Revision, version: &str) -> Option<String> {
        let plan = self.existing_plan(&revision.configuration.runtime)?;
        Some(key(&plan.key, revision, &self.meta(revision, version)))
    }

    /// Names of the files that these revisions need. Blocks.
    pub(crate) fn known_files(&self, revisions: &[(Revision, String)]) -> files::KnownFiles {
        // All that there are, and not those alone that a function has: they are dear to make.
        let names = self.offer.runtimes.list().unwrap_or_default().into_iter().map(|record| record.name);
        let asked = revisions.iter().map(|(revision, _)| revision.configuration.runtime.clone());
        let names: BTreeSet<_> = names.chain(asked).chain([RUSTPYTHON_NAME.to_owned()]).collect();
        let plans: HashMap<_, _> =
            names.into_iter().filter_map(|name| self.existing_plan(&name).map(|plan| (name, plan))).collect();
        let mut known = files::KnownFiles::of_runtimes(base::own_image_names(self.program), plans.values());
        for (revision, version) in revisions {
            let plan = plans.get(&revision.configuration.runtime);
            let key = plan.map(|plan| key(&plan.key, revision, &self.meta(revision, version)));
            known.add(&revision.code.sha256_hex, key.as_deref());
            revision.configuration.layers.iter().for_each(|layer| known.add_layer(&layer.code.sha256_hex));
        }
        known
    }

    /// The plan of a runtime whose image is there.
    fn existing_plan(&self, runtime: &str) -> Option<Plan> {
        self.offer.executor(runtime).ok().and_then(|executor| Plan::of(self, &executor))
    }

    fn meta(&self, revision: &Revision, version: &str) -> Vec<u8> {
        InitMeta::new(&revision.configuration, version, &self.settings).to_json()
    }
}

/// Name of a function snapshot: a hash of everything that decides what is in it.
fn key(base_key: &str, revision: &Revision, meta: &[u8]) -> String {
    let configuration = &revision.configuration;
    let mut hash = Sha256::new();
    for part in [base_key.as_bytes(), revision.code.sha256_hex.as_bytes(), meta] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update(crate::image::BUILD.to_le_bytes());
    hash.update(configuration.memory_mb.to_le_bytes());
    hash.update(configuration.ephemeral_storage_mb.to_le_bytes());
    // All of one length, and nothing comes after them.
    configuration.layers.iter().for_each(|layer| hash.update(&layer.code.sha256_hex));
    hex(&hash.finalize())
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Runs something that blocks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, DeployError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| DeployError(error.to_string()))?.map_err(DeployError)
}
