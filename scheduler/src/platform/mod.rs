//! The platform as a gateway sees it.
//!
//! `open` puts it together; `functions`, `provisioned` and `layers` change the catalog, `packages` keeps zips; `serving` has what answers invocations, and deploys it;
//! `orphans` removes files; `status` is what all of it is doing;
//! this file is the list of what can be asked.

mod functions;
mod layers;
mod open;
mod orphans;
mod packages;
mod provisioned;
mod serving;
mod status;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serving::Slot;

use crate::{
    catalog::{Catalog, Directory, Record},
    clock::Clock,
    configuration::ConfigurationChange,
    deploy::Deployer,
    dispatch::{Dispatcher, concurrency::Concurrency},
    function::{Function, NewFunction},
    invocation::{Invocation, LogLine, Outcome},
    invoke::{self, Errand},
    layer::{LayerFilter, LayerId, LayerStatement, LayerVersion, NewLayer},
    limits,
    logs::Logs,
    machine::Host,
    refusal::{OpenError, Refusal},
    settings::{Settings, StateMode},
    status::{Provisioned, Status},
};

/// All of it: the catalog, the deploys, the machines. Cheap to clone.
#[derive(Clone)]
pub struct Platform {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    clock: Clock,
    directory: Directory,
    catalog: Catalog,
    logs: Logs,
    concurrency: Arc<Concurrency>,
    host: Arc<dyn Host>,
    dispatcher: Arc<Dispatcher>,
    deployer: Deployer,
    /// What answers for each function.
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    /// Held shared from the writing of a package to the record that names it, alone while orphans are collected.
    files: tokio::sync::RwLock<()>,
    /// Held by who tells lanes how many instances to keep.
    provisioning: Mutex<()>,
    package_checks: tokio::sync::Semaphore,
    deploys: AtomicUsize,
    answered: AtomicU64,
    throttled: AtomicU64,
    is_closing: AtomicBool,
    /// Why the runtime could not be made, if so.
    trouble: Mutex<Option<String>>,
}

impl Platform {
    /// Opens the data directory, starts the machines and resumes what a crash interrupted. Invocations are served once
    /// [`Platform::status`] says that it is ready; those before wait.
    ///
    /// # Errors
    /// The data directory or the host cannot be used.
    pub async fn open(settings: Settings) -> Result<Platform, OpenError> {
        open::open(settings).await
    }

    /// Records a function, durably, in state `Pending`; its deploy goes on in the background.
    ///
    /// # Errors
    /// A parameter or the package cannot be used, or the name is taken.
    pub async fn create_function(&self, new: NewFunction) -> Result<Function, Refusal> {
        let inner = self.inner.clone();
        to_the_end(async move { functions::create(&inner, new).await }).await
    }

    /// The function `name`.
    ///
    /// # Errors
    /// There is none.
    pub fn function(&self, name: &str) -> Result<Function, Refusal> {
        self.inner.record(name).map(|record| record.function.clone())
    }

    /// Functions by name, from the one after `after`; with it, the last name if there are more.
    #[must_use]
    pub fn functions(&self, after: Option<&str>, limit: usize) -> (Vec<Function>, Option<String>) {
        let (page, last) = self.inner.catalog.page(after, limit);
        (page.iter().map(|record| record.function.clone()).collect(), last)
    }

    /// Replaces the package. What was there answers until the new one is deployed.
    ///
    /// # Errors
    /// See [`Refusal`]. With `dry_run`, everything is checked and nothing done.
    pub async fn update_code(
        &self,
        name: &str,
        package: Bytes,
        expected_revision: Option<String>,
        dry_run: bool,
    ) -> Result<Function, Refusal> {
        let (inner, name) = (self.inner.clone(), name.to_owned());
        to_the_end(async move { functions::update_code(&inner, &name, package, expected_revision, dry_run).await })
            .await
    }

    /// Changes the configuration. What was there answers until the new one is deployed.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn update_configuration(
        &self,
        name: &str,
        change: ConfigurationChange,
        expected_revision: Option<String>,
    ) -> Result<Function, Refusal> {
        let (inner, name) = (self.inner.clone(), name.to_owned());
        to_the_end(async move { functions::update_configuration(&inner, &name, change, expected_revision).await }).await
    }

    /// Deletes a function. Invocations that run are finished.
    ///
    /// # Errors
    /// There is none.
    pub async fn delete_function(&self, name: &str) -> Result<(), Refusal> {
        let (inner, name) = (self.inner.clone(), name.to_owned());
        to_the_end(async move { functions::delete(&inner, &name).await }).await
    }

    /// Sets or takes away (`None`) the concurrency that is kept for a function and limits it.
    ///
    /// # Errors
    /// No such function, or too little would be left for the others.
    pub async fn set_reserved_concurrency(&self, name: &str, reserved: Option<u32>) -> Result<Function, Refusal> {
        functions::set_reserved_concurrency(&self.inner, name, reserved).await
    }

    /// Sets or takes away (`None`) how many instances of a function are there before anyone calls.
    ///
    /// # Errors
    /// No such function, or more than the account or the server has.
    pub async fn set_provisioned_concurrency(&self, name: &str, wanted: Option<u32>) -> Result<Function, Refusal> {
        provisioned::set(&self.inner, name, wanted).await
    }

    /// How far that is, if it was asked for.
    #[must_use]
    pub fn provisioned_concurrency(&self, function: &Function) -> Option<Provisioned> {
        self.inner.provisioned(function)
    }

    /// Sets tags and takes others away.
    ///
    /// # Errors
    /// No such function, or too many tags.
    pub async fn change_tags(
        &self,
        name: &str,
        set: BTreeMap<String, String>,
        remove: &[String],
    ) -> Result<Function, Refusal> {
        functions::change_tags(&self.inner, name, set, remove).await
    }

    /// The zip with that SHA-256.
    ///
    /// # Errors
    /// No function or layer has it.
    pub async fn package(&self, code_sha256_hex: &str) -> Result<Bytes, Refusal> {
        packages::read(&self.inner, code_sha256_hex).await
    }

    /// Records the next version of a layer, durably, and makes its image.
    ///
    /// # Errors
    /// The package cannot be used.
    pub async fn publish_layer(&self, new: NewLayer) -> Result<Arc<LayerVersion>, Refusal> {
        layers::publish(&self.inner, new).await
    }

    /// A version of a layer.
    ///
    /// # Errors
    /// There is none, or it was deleted.
    pub fn layer(&self, id: &LayerId) -> Result<Arc<LayerVersion>, Refusal> {
        layers::get(&self.inner, id)
    }

    /// The newest version that `filter` takes of each layer, by name, from the one after `after`; with it, the last name if there
    /// are more.
    #[must_use]
    pub fn layers(
        &self,
        after: Option<&str>,
        limit: usize,
        filter: &LayerFilter,
    ) -> (Vec<Arc<LayerVersion>>, Option<String>) {
        self.inner.catalog.page_of_layers(after, limit, filter)
    }

    /// Versions of a layer, the newest first, from the one before `before`; with it, the last number if there are more.
    #[must_use]
    pub fn layer_versions(
        &self,
        name: &str,
        before: Option<u64>,
        limit: usize,
        filter: &LayerFilter,
    ) -> (Vec<Arc<LayerVersion>>, Option<u64>) {
        self.inner.catalog.page_of_layer(name, before, limit, filter)
    }

    /// Size of all layer versions, as published.
    #[must_use]
    pub fn layer_bytes(&self) -> u64 {
        self.inner.catalog.all_layers().iter().map(|version| version.code.bytes).sum()
    }

    /// Deletes a version of a layer, if there is one. Functions that use it keep it.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub async fn delete_layer(&self, id: LayerId) -> Result<(), Refusal> {
        layers::delete(&self.inner, id).await
    }

    /// Adds a statement to the policy of a version, or removes (`None`) the one of that name.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn change_layer_policy(
        &self,
        id: LayerId,
        name: String,
        statement: Option<LayerStatement>,
        expected_revision: Option<String>,
    ) -> Result<Arc<LayerVersion>, Refusal> {
        layers::change_policy(&self.inner, id, name, statement, expected_revision).await
    }

    /// Why an event for that function would be refused for load if it came now: so that nobody need read it first.
    ///
    /// # Errors
    /// It would. That counts as a refusal.
    pub fn check_load(&self, function: &str) -> Result<(), Refusal> {
        let inner = &self.inner;
        let slot = inner.slots.lock().unwrap_or_else(PoisonError::into_inner).get(function).cloned();
        let refusal =
            slot.and_then(|slot| inner.concurrency.refusal(function, inner.clock.now()).or_else(|| slot.refusal()));
        refusal.map_or(Ok(()), |refusal| {
            inner.throttled.fetch_add(1, Ordering::Relaxed);
            Err(refusal)
        })
    }

    /// Runs one event. Dropping the future gives up the wait, not an invocation that has begun.
    ///
    /// # Errors
    /// It did not run; but for [`Refusal::Platform`], which may have.
    pub async fn invoke(&self, invocation: Invocation) -> Result<Outcome, Refusal> {
        let outcome = self.inner.clone().invoke(invocation).await;
        match &outcome {
            Ok(_) => self.inner.answered.fetch_add(1, Ordering::Relaxed),
            Err(Refusal::Throttled { .. }) => self.inner.throttled.fetch_add(1, Ordering::Relaxed),
            Err(_) => 0,
        };
        outcome
    }

    /// Log lines of a function whose sequence is above `after`, oldest first.
    ///
    /// # Errors
    /// No such function.
    pub fn logs(&self, name: &str, after: u64, limit: usize) -> Result<Vec<LogLine>, Refusal> {
        self.inner.record(name)?;
        Ok(self.inner.logs.of(name).after(after, limit))
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.inner.status()
    }

    /// The settings it was opened with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Takes no more work, and waits for what was accepted, at most `limit`. What a deploy has not finished by then is resumed at
    /// the next start.
    pub async fn shutdown(&self, limit: Duration) {
        let inner = &self.inner;
        inner.is_closing.store(true, Ordering::Relaxed);
        let deadline = inner.clock.now() + limit;
        let is_busy = || inner.concurrency.in_flight() > 0 || inner.deploys.load(Ordering::Relaxed) > 0;
        while is_busy() && inner.clock.now() < deadline {
            tokio::time::sleep(limits::SHUTDOWN_LOOK).await;
        }
        let slots: Vec<_> = inner.slots.lock().unwrap_or_else(PoisonError::into_inner).drain().collect();
        for (_, slot) in slots {
            slot.retire();
        }
        let host = inner.host.clone();
        // If it panics, the process ends all the same.
        let _ = tokio::task::spawn_blocking(move || host.end()).await;
    }

    /// The ARN of a layer of that name, without a version.
    #[must_use]
    pub fn layer_arn(&self, name: &str) -> String {
        self.inner.layer_arn_of(name)
    }

    /// The unqualified ARN of a function of that name.
    #[must_use]
    pub fn arn(&self, name: &str) -> String {
        self.inner.arn(name)
    }
}

impl Inner {
    fn arn(&self, name: &str) -> String {
        let Settings { region, account_id, .. } = &self.settings;
        format!("arn:aws:lambda:{region}:{account_id}:function:{name}")
    }

    fn record(&self, name: &str) -> Result<Arc<Record>, Refusal> {
        self.catalog.get(name).ok_or_else(|| Refusal::NotFound { arn: self.arn(name) })
    }

    fn check_open(&self) -> Result<(), Refusal> {
        if self.is_closing.load(Ordering::Relaxed) { Err(Refusal::ShuttingDown) } else { Ok(()) }
    }

    async fn invoke(self: Arc<Self>, invocation: Invocation) -> Result<Outcome, Refusal> {
        let accepted = self.clock.now();
        self.check_open()?;
        let (bytes, limit) = (invocation.payload.len(), limits::PAYLOAD_BYTES);
        if bytes > limit {
            return Err(Refusal::PayloadTooLarge { bytes, limit });
        }
        let record = self.record(&invocation.function)?;
        let function = &record.function;
        if record.serving.is_none() {
            let (state, reason) = (function.state, function.state_reason.clone());
            return Err(Refusal::NotActive { arn: function.arn.clone(), state, reason });
        }
        let permit = self.concurrency.admit(&invocation.function, accepted)?;
        let serving = self.clone().serving(&invocation.function).await?;
        let errand = Errand {
            revision: serving.revision.clone(),
            version: function.version.clone(),
            mode: self.mode(function),
            log: serving.log.clone(),
            clock: self.clock,
            invocation,
            _permit: permit,
            accepted,
        };
        match &serving.with {
            serving::With::Lane(lane) => invoke::carry_out(errand, lane.clone()).await,
            serving::With::InitFailure(failure) => Ok(invoke::init_failed(&errand, failure)),
        }
    }

    fn mode(&self, function: &Function) -> StateMode {
        let tag = function.tags.get(StateMode::TAG);
        tag.and_then(|mode| StateMode::from_name(mode)).unwrap_or(self.settings.default_state)
    }
}

/// Carries something out to its end, whether or not the caller waits for that: what is recorded is also begun.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::spawn(work).await.map_err(|error| Refusal::Platform(error.to_string()))?
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Refusal::Platform(error.to_string()))?
}

#[cfg(test)]
mod tests;
