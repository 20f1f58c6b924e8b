//! What answers for each function, and how it comes to be there.
//!
//! A [`Slot`] is empty until its function is deployed or, after a restart, invoked. One load at a time per slot; what is in it answers
//! until the next is ready.

use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering};

use super::Inner;
use crate::{
    catalog::{Record, Revision},
    deploy::{DeployError, Loaded, blocking},
    dispatch::Lane,
    invoke::{INIT_STREAM, InitCause, InitFailure, timestamp},
    limits,
    logs::{FunctionLog, last_lines},
    refusal::Refusal,
    runtime::Executor,
};

/// The place of a function.
#[derive(Default)]
pub(super) struct Slot {
    serving: Mutex<Option<Arc<Serving>>>,
    loading: tokio::sync::Mutex<()>,
}

/// What answers.
pub(super) struct Serving {
    pub(super) revision: Arc<Revision>,
    pub(super) log: Arc<FunctionLog>,
    pub(super) with: With,
}

/// With what it answers.
pub(super) enum With {
    /// Instances.
    Lane(Arc<Lane>),
    /// The reason why there are none.
    InitFailure(InitFailure),
}

impl Slot {
    pub(super) fn get(&self) -> Option<Arc<Serving>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is there, unless it is a failure that may have passed.
    fn current(&self) -> Option<Arc<Serving>> {
        self.get().filter(|serving| match &serving.with {
            With::Lane(_) => true,
            With::InitFailure(failure) => failure.at.elapsed() < limits::INIT_ERROR_AGE,
        })
    }

    fn put(&self, serving: Arc<Serving>) {
        let before = self.serving.lock().unwrap_or_else(PoisonError::into_inner).replace(serving);
        retire(before);
    }

    /// Why an invocation that came now would be refused for load, if it would.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match &self.get()?.with {
            With::Lane(lane) => lane.refusal(),
            With::InitFailure(_) => None,
        }
    }

    /// Ends what is idle. Those who wait are still served.
    pub(super) fn retire(&self) {
        let before = self.serving.lock().unwrap_or_else(PoisonError::into_inner).take();
        retire(before);
    }
}

impl Serving {
    /// Its instances, if it has any.
    fn lane(&self) -> Option<&Arc<Lane>> {
        match &self.with {
            With::Lane(lane) => Some(lane),
            With::InitFailure(_) => None,
        }
    }
}

fn retire(serving: Option<Arc<Serving>>) {
    if let Some(lane) = serving.as_ref().and_then(|serving| serving.lane()) {
        lane.retire();
    }
}

/// A deploy that is counted for as long as it goes on, however it ends.
struct Deploying(Arc<Inner>);

impl Deploying {
    fn of(inner: &Arc<Inner>) -> Deploying {
        inner.deploys.fetch_add(1, Ordering::Relaxed);
        Deploying(inner.clone())
    }
}

impl Drop for Deploying {
    fn drop(&mut self) {
        self.0.deploys.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Inner {
    pub(super) fn slot(&self, name: &str) -> Arc<Slot> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default().clone()
    }

    /// What answers for a function now; loads it if need be.
    pub(super) async fn serving(self: Arc<Self>, name: &str) -> Result<Arc<Serving>, Refusal> {
        let slot = self.slot(name);
        if let Some(serving) = slot.current() {
            return Ok(serving);
        }
        // In a task: what one caller began is used by the next, whether or not he waits for it.
        let name = name.to_owned();
        let load = tokio::spawn(async move {
            let serving = self.load_into(&slot, &name).await;
            self.forget_deleted(&name);
            self.record(&name).and(serving)
        });
        load.await.map_err(|error| Refusal::Platform(error.to_string()))?
    }

    async fn load_into(&self, slot: &Slot, name: &str) -> Result<Arc<Serving>, Refusal> {
        let _alone = slot.loading.lock().await;
        if let Some(serving) = slot.current() {
            return Ok(serving);
        }
        let record = self.record(name)?;
        let revision = record.serving.clone().ok_or_else(|| Refusal::NotFound { arn: self.arn(name) })?;
        let loaded = self.load(&record, revision).await;
        let serving = loaded.map_err(|error| Refusal::Platform(format!("the function cannot be loaded: {error}")))?;
        slot.put(serving.clone());
        self.keep_provisioned(name);
        Ok(serving)
    }

    /// Forgets what answers for a function and its log, unless there is one of that name, be it a new one. For all who delete one, or may have
    /// begun before that and made them anew.
    pub(super) fn forget_deleted(&self, name: &str) {
        // While nobody can ask for them: what is made for a function that comes after that look is not taken away.
        let is_there = || self.catalog.get(name).is_some();
        self.logs.forget_unless(name, is_there);
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            if is_there() { None } else { slots.remove(name) }
        };
        if let Some(slot) = slot {
            slot.retire();
        }
    }

    async fn load(&self, record: &Record, revision: Revision) -> Result<Arc<Serving>, DeployError> {
        let loaded = self.deployer.load(&revision, &record.function.version).await?;
        let log = self.logs.of(&revision.configuration.name);
        let with = match loaded {
            Loaded::Ready(binding, lines) => {
                self.log_init(&log, &lines, None);
                let share = self.host.share(&revision.configuration.name, binding.memory_bytes);
                With::Lane(Lane::new(self.dispatcher.clone(), binding, share))
            }
            Loaded::InitFailed(failure) => {
                self.log_init(&log, &failure.log, Some(&failure.cause));
                With::InitFailure(failure)
            }
        };
        Ok(Arc::new(Serving { revision: Arc::new(revision), log, with }))
    }

    pub(super) fn log_init(&self, log: &FunctionLog, lines: &[u8], failure: Option<&InitCause>) {
        let now = self.clock.unix_ms();
        let cause = failure.map(|cause| match cause {
            InitCause::Raised(payload) => {
                format!("{} the handler cannot be loaded: {}", timestamp(now), String::from_utf8_lossy(payload))
            }
            InitCause::Ended(stop) => format!("{} the handler cannot be loaded: {stop:?}", timestamp(now)),
        });
        let text = String::from_utf8_lossy(lines);
        log.add(now, &INIT_STREAM.into(), None, last_lines(&text).chain(cause.as_deref()));
    }

    /// Begins to deploy what is wanted of a function.
    pub(super) fn begin_deploy(self: &Arc<Self>, name: &str) {
        let (deploying, name) = (Deploying::of(self), name.to_owned());
        tokio::spawn(async move {
            deploying.0.deploy(&name).await;
            deploying.0.forget_deleted(&name);
        });
    }

    async fn deploy(self: &Arc<Self>, name: &str) {
        let slot = self.slot(name);
        let _alone = slot.loading.lock().await;
        let Some(record) = self.catalog.get(name).filter(|record| record.is_deploying()) else { return };
        let wanted = record.wanted();
        self.say_runtime(name, &wanted.configuration.runtime).await;
        let loaded = self.load(&record, wanted.clone()).await;
        let error = loaded.as_ref().err().cloned();
        let lane = loaded.as_ref().ok().and_then(|serving| serving.lane()).cloned();
        match loaded {
            // Before it is recorded: who reads that the update is done must not be answered by what was there before.
            Ok(serving) => {
                self.provide_first(name, &serving).await;
                slot.put(serving);
                self.keep_provisioned(name);
            }
            Err(error) => tracing::error!(function = name, %error, "a deploy failed"),
        }
        match self.clone().mark(name.to_owned(), wanted, error).await {
            Ok(()) => {
                // Not before, and not for those whose first invocation is soon answered anyway.
                lane.iter()
                    .filter(|lane| lane.snapshot_bytes() > limits::SPARE_FROM_BYTES && self.check_open().is_ok())
                    .for_each(|lane| lane.bind_spare());
                let inner = self.clone();
                tokio::spawn(async move { inner.collect_of(record).await });
            }
            Err(Refusal::NotFound { .. }) => slot.retire(),
            Err(refusal) => tracing::error!(function = name, %refusal, "the end of a deploy cannot be recorded"),
        }
    }

    /// Records the end of the deploy of `wanted`, if that is still what is wanted.
    async fn mark(self: Arc<Self>, name: String, wanted: Revision, error: Option<DeployError>) -> Result<(), Refusal> {
        let mark = move || {
            let change = self.catalog.change(&name, |before| match before {
                // It may have been deleted, and even created anew, in between.
                Some(now) if now.is_deploying() && now.wanted() == wanted => Ok(Some(match &error {
                    None => now.deployed(),
                    Some(error) => now.failed(error.to_string()),
                })),
                _ => Err(Refusal::NotFound { arn: self.arn(&name) }),
            });
            change.map(drop)
        };
        tokio::task::spawn_blocking(mark).await.map_err(|error| Refusal::Platform(error.to_string()))?
    }

    async fn say_runtime(&self, name: &str, runtime: &str) {
        let (offer, wanted) = (self.deployer.offer.clone(), runtime.to_owned());
        let executor = blocking(move || offer.executor(&wanted).map_err(|refusal| refusal.to_string())).await;
        if let Ok(Executor::RustPython { stands_in: true }) = executor {
            let line = format!(
                "mayfly: {runtime} runs on the built-in RustPython here; packages with compiled modules do not load"
            );
            self.logs.of(name).add(self.clock.unix_ms(), &INIT_STREAM.into(), None, [&*line]);
        }
    }
}
