//! Puts a platform together.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize},
    },
    time::Duration,
};

use super::{Inner, Platform};
use crate::{
    catalog::{Catalog, Directory},
    clock::Clock,
    deploy::{Deployer, blocking},
    dispatch::{Bounds, Dispatcher, balance, concurrency::Concurrency, keep, scaling::ScalingRule, turns},
    files, limits,
    logs::Logs,
    machine::{
        Host,
        vmm::{VmmHost, spare_the_server},
    },
    memory::{HostMemory, own_bytes},
    pool::Pool,
    refusal::OpenError,
    runtime::{self, Offer, RUSTPYTHON_NAME, Runtimes},
    settings::Settings,
    shares::Cpus,
};

/// Between two tries to make the runtime.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

pub(super) async fn open(settings: Settings) -> Result<Platform, OpenError> {
    spare_the_server();
    let (program, cpus, shares) = (settings.program.clone(), settings.vm_cpus.clone(), settings.cpu_shares);
    let host = tokio::task::spawn_blocking(move || VmmHost::start(&program, cpus, shares)).await;
    let host = host.map_err(|error| OpenError::Machines(error.to_string()))??;
    open_with(settings, Arc::new(host), runtime::RUSTPYTHON, Clock::System).await
}

/// With any host of machines and any program for the runtime.
pub(super) async fn open_with(
    settings: Settings,
    host: Arc<dyn Host>,
    program: &'static [u8],
    clock: Clock,
) -> Result<Platform, OpenError> {
    let root = settings.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let directory = Directory::create(&root)?;
        let catalog = Catalog::open(&directory)?;
        // The catalog's lock makes this process the only one here.
        for place in [directory.packages(), directory.images(), directory.snapshots()] {
            files::remove_unfinished(&place).map_err(|source| OpenError::DataDir { path: root.clone(), source })?;
        }
        let runtimes = Runtimes::open(&root).map_err(|source| OpenError::DataDir { path: root.clone(), source })?;
        Ok((directory, catalog, runtimes))
    });
    let (directory, catalog, runtimes) = opened.await.map_err(|error| OpenError::Machines(error.to_string()))??;
    let rule = |started_max| ScalingRule { started_max, idle_max: settings.idle_instance_ttl };
    let scaling = settings.scaling_rate.map(rule);
    let concurrency = Arc::new(Concurrency::new(settings.account_concurrency, scaling));
    for record in catalog.all() {
        let function = &record.function;
        concurrency.reserve(&function.configuration.name, function.reserved_concurrency);
        let provisioned = function.provisioned_concurrency.map(|request| request.requested);
        concurrency.provision(&function.configuration.name, provisioned);
    }
    let pool = Arc::new(Pool::start(host.clone(), settings.shells));
    let cpus = settings.vm_cpus.clone().unwrap_or_else(Cpus::of_this_process);
    let mut memory = HostMemory::find();
    let dispatcher = Dispatcher::new(pool, bounds(&settings, &cpus, memory.total_bytes()), clock);
    tokio::spawn(keep(Arc::downgrade(&dispatcher), move || memory.look(), own_bytes));
    if settings.overload_control {
        tokio::spawn(balance(Arc::downgrade(&dispatcher)));
        tokio::spawn(turns::adapt(Arc::downgrade(&dispatcher.turns), cpus));
    }
    let offer = Arc::new(Offer::new(runtimes, settings.python.clone()));
    let deployer =
        Deployer::new(host.clone(), dispatcher.clone(), directory.clone(), settings.clone(), clock, program, offer);
    let inner = Arc::new(Inner {
        settings,
        clock,
        directory,
        catalog,
        logs: Logs::default(),
        concurrency,
        host,
        dispatcher,
        deployer,
        slots: Mutex::new(HashMap::new()),
        files: tokio::sync::RwLock::new(()),
        provisioning: Mutex::new(()),
        package_checks: tokio::sync::Semaphore::new(limits::CHECKS_AT_A_TIME),
        deploys: AtomicUsize::new(0),
        answered: AtomicU64::new(0),
        throttled: AtomicU64::new(0),
        is_closing: AtomicBool::new(false),
        trouble: Mutex::new(None),
    });
    for record in inner.catalog.all().iter().filter(|record| record.is_deploying()) {
        inner.begin_deploy(&record.function.configuration.name);
    }
    tokio::spawn(come_up(inner.clone()));
    Ok(Platform { inner })
}

/// Makes the runtimes ready before anyone asks for them: first the one that is built in, then the one of the host's interpreter.
async fn come_up(inner: Arc<Inner>) {
    while let Err(error) = inner.deployer.base(RUSTPYTHON_NAME).await {
        tracing::error!(%error, "the runtime cannot be made ready");
        *inner.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        tokio::time::sleep(RETRY_PAUSE).await;
        if inner.check_open().is_err() {
            return;
        }
    }
    inner.clone().collect_all().await;
    inner.load_all_provisioned().await;
    let offer = inner.deployer.offer.clone();
    let Ok(Some(usual)) = blocking(move || Ok(offer.usual())).await else { return };
    if let Err(error) = inner.deployer.base(&usual).await {
        tracing::warn!(%error, runtime = usual, "the runtime of this host's interpreter cannot be made ready");
    }
}

fn bounds(settings: &Settings, cpus: &Cpus, memory_bytes: u64) -> Bounds {
    Bounds {
        instances_max: settings.instances_max,
        instances_per_function_max: settings.instances_per_function_max,
        queue_per_function: settings.queue_per_function,
        queue_wait_max: settings.queue_wait_max,
        idle_instance_ttl: settings.idle_instance_ttl,
        memory_reserve_bytes: settings.memory_reserve_bytes,
        memory_bytes,
        memory_promise_max_bytes: (memory_bytes as f64 * settings.memory_overcommit) as u64,
        processors: if settings.overload_control { cpus.count() as f64 } else { f64::INFINITY },
    }
}
