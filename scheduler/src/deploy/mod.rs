//! From a package to something that can be bound.
//!
//! ```text
//!  package ──checked──► image ──┐
//!                               ├─ bound to a shell ── INIT ──┬─ INIT_OK ──► function snapshot ──► Ready
//!  runtime snapshot ────────────┘                             └─ ERROR, or it ended ──► InitFailed
//! ```
//!
//! Every file is named by what it was made from, so whatever is there already is used, and a deploy that a crash interrupted
//! is simply made again. A handler that cannot be imported is no failed deploy: its callers are told, as on Lambda.

mod bake;
mod base;
mod files;

use std::sync::Arc;

pub(crate) use base::Base;
use sha2::{Digest, Sha256};
use tokio::sync::{OnceCell, Semaphore};

use crate::{
    catalog::{Directory, Revision},
    clock::Clock,
    dispatch::Dispatcher,
    invoke::{InitFailure, InitMeta},
    limits,
    machine::{Binding, Host, WorkingSet},
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
    base: OnceCell<Base>,
    places: Semaphore,
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
    ) -> Deployer {
        let places = Semaphore::new(limits::DEPLOYS_AT_A_TIME);
        Deployer { host, dispatcher, directory, settings, clock, program, base: OnceCell::new(), places }
    }

    /// The runtime, made at the first start and loaded at others. One that fails is tried again by the next who asks.
    pub(crate) async fn base(&self) -> Result<&Base, DeployError> {
        self.base.get_or_try_init(|| base::prepare(self)).await
    }

    /// Whether the runtime is there.
    pub(crate) fn is_ready(&self) -> bool {
        self.base.initialized()
    }

    /// Makes `revision` ready.
    pub(crate) async fn load(&self, revision: &Revision, version: &str) -> Result<Loaded, DeployError> {
        let base = self.base().await?;
        let _place = self.places.acquire().await.map_err(|error| DeployError(error.to_string()))?;
        let image = files::function_image(self, &revision.code.sha256_hex).await?;
        let meta = InitMeta::new(&revision.configuration, version, &self.settings).to_json();
        let binding = Binding {
            base: base.snapshot.clone(),
            top: None,
            working_set: Arc::default(),
            images: vec![base.image.clone(), image],
            memory_bytes: u64::from(revision.configuration.memory_mb) << 20,
            tmp_bytes: u64::from(revision.configuration.ephemeral_storage_mb) << 20,
        };
        let key = key(base, revision, &meta);
        let path = self.directory.snapshot(&key);
        let loaded = match files::open_snapshot(self, &path).await {
            Some(top) => Loaded::Ready(Binding { top: Some(Arc::new(top)), ..binding }, Vec::new()),
            None => bake::bake(self, binding, &meta, &path).await?,
        };
        Ok(match loaded {
            Loaded::Ready(binding, log) => {
                let working_set = Arc::new(WorkingSet::open(&self.directory.working_set(&key)));
                Loaded::Ready(Binding { working_set, ..binding }, log)
            }
            failed @ Loaded::InitFailed(_) => failed,
        })
    }

    /// Name of the snapshot of a revision; `None` before there is a runtime to make it on.
    pub(crate) fn snapshot_key(&self, revision: &Revision, version: &str) -> Option<String> {
        let meta = InitMeta::new(&revision.configuration, version, &self.settings).to_json();
        self.base.get().map(|base| key(base, revision, &meta))
    }

    /// Names of the files that these revisions need.
    pub(crate) fn known_files<'a>(
        &self,
        base: &Base,
        revisions: impl Iterator<Item = (&'a Revision, &'a str)>,
    ) -> files::KnownFiles {
        let mut known = files::KnownFiles::of_base(base);
        for (revision, version) in revisions {
            let meta = InitMeta::new(&revision.configuration, version, &self.settings).to_json();
            known.add(&revision.code.sha256_hex, &key(base, revision, &meta));
        }
        known
    }
}

/// Name of a function snapshot: a hash of everything that decides what is in it.
fn key(base: &Base, revision: &Revision, meta: &[u8]) -> String {
    let configuration = &revision.configuration;
    let mut hash = Sha256::new();
    for part in [base.key.as_bytes(), revision.code.sha256_hex.as_bytes(), meta] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update(crate::image::BUILD.to_le_bytes());
    hash.update(configuration.memory_mb.to_le_bytes());
    hash.update(configuration.ephemeral_storage_mb.to_le_bytes());
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
