//! Changes of the catalog. Each is checked, recorded durably, and only then begun.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{Inner, blocking, layers, packages};
use crate::{
    catalog::{Record, Revision, new_revision_id},
    configuration::{ConfigurationChange, check_tags},
    function::{Code, Function, FunctionState, NewFunction},
    refusal::Refusal,
};

pub(super) async fn create(inner: &Arc<Inner>, new: NewFunction) -> Result<Function, Refusal> {
    inner.check_open()?;
    let NewFunction { configuration, layers, package, tags, publish } = new;
    configuration.check()?;
    check_runtime(inner, &configuration.runtime).await?;
    check_tags(&tags)?;
    if publish {
        return Err(Refusal::InvalidParameter("Publishing versions is not supported by this platform yet.".into()));
    }
    let name = configuration.name.clone();
    let taken = |name: &str| Refusal::AlreadyExists { name: name.to_owned() };
    if inner.catalog.get(&name).is_some() {
        return Err(taken(&name));
    }
    let (_, code) = packages::check(inner, package.clone()).await?;
    let function = Function {
        version: "$LATEST".into(),
        arn: inner.arn(&name),
        code,
        revision_id: new_revision_id(),
        last_modified_ms: inner.clock.unix_ms(),
        state: FunctionState::Pending,
        state_reason: None,
        last_update: None,
        last_update_reason: None,
        tags,
        reserved_concurrency: None,
        provisioned_concurrency: None,
        configuration,
    };
    let this = inner.clone();
    let record = keep_and_change(inner, &name, package, function.code.clone(), move |before| match before {
        Some(before) => Err(taken(&before.function.configuration.name)),
        None => {
            let mut function = function;
            function.configuration.layers = this.resolve_layers(&layers)?;
            layers::check_size(&function.configuration, &function.code)?;
            Ok(Record::created(function))
        }
    });
    let record = record.await?;
    inner.begin_deploy(&name);
    Ok(record.function.clone())
}

pub(super) async fn update_code(
    inner: &Arc<Inner>,
    name: &str,
    package: Bytes,
    expected_revision: Option<String>,
    dry_run: bool,
) -> Result<Function, Refusal> {
    inner.check_open()?;
    inner.record(name)?.check_update(expected_revision.as_deref())?;
    let (_, code) = packages::check(inner, package.clone()).await?;
    if dry_run {
        let function = inner.record(name)?.function.clone();
        layers::check_size(&function.configuration, &code)?;
        return Ok(Function { code, ..function });
    }
    let (arn, now_ms, wanted) = (inner.arn(name), inner.clock.unix_ms(), code.clone());
    let record = keep_and_change(inner, name, package, code, move |before| {
        let before = before.ok_or(Refusal::NotFound { arn })?;
        before.check_update(expected_revision.as_deref())?;
        layers::check_size(&before.function.configuration, &wanted)?;
        Ok(before.updating(Revision { code: wanted, ..before.wanted() }, now_ms))
    });
    let record = record.await?;
    inner.begin_deploy(name);
    Ok(record.function.clone())
}

pub(super) async fn update_configuration(
    inner: &Arc<Inner>,
    name: &str,
    mut change: ConfigurationChange,
    expected_revision: Option<String>,
) -> Result<Function, Refusal> {
    inner.check_open()?;
    if let Some(runtime) = &change.runtime {
        check_runtime(inner, runtime).await?;
    }
    let (this, now_ms, layers) = (inner.clone(), inner.clock.unix_ms(), change.layers.take());
    let record = change_record(inner, name, move |before| {
        before.check_update(expected_revision.as_deref())?;
        let mut configuration = before.function.configuration.with(change);
        configuration.check()?;
        if let Some(layers) = layers {
            configuration.layers = this.resolve_layers(&layers)?;
            layers::check_size(&configuration, &before.function.code)?;
        }
        Ok(before.updating(Revision { configuration, ..before.wanted() }, now_ms))
    });
    let record = record.await?;
    inner.begin_deploy(name);
    Ok(record.function.clone())
}

pub(super) async fn delete(inner: &Arc<Inner>, name: &str) -> Result<(), Refusal> {
    let before = inner.record(name)?;
    change(inner, name, |_| Ok(None)).await?;
    let inner = inner.clone();
    tokio::spawn(async move { inner.collect_of(before).await });
    Ok(())
}

pub(super) async fn set_reserved_concurrency(
    inner: &Arc<Inner>,
    name: &str,
    reserved: Option<u32>,
) -> Result<Function, Refusal> {
    inner.check_open()?;
    let (this, owned) = (inner.clone(), name.to_owned());
    let record = change_record(inner, name, move |before| {
        if let Some(wanted) = reserved {
            this.concurrency.check_reservation(&owned, wanted)?;
        }
        let mut next = before.touched();
        next.function.reserved_concurrency = reserved;
        Ok(next)
    });
    record.await.map(|record| record.function.clone())
}

pub(super) async fn change_tags(
    inner: &Arc<Inner>,
    name: &str,
    set: BTreeMap<String, String>,
    remove: &[String],
) -> Result<Function, Refusal> {
    inner.check_open()?;
    let remove = remove.to_vec();
    let record = change_record(inner, name, move |before| {
        let mut next = before.clone();
        next.function.tags.retain(|key, _| !remove.contains(key));
        next.function.tags.extend(set);
        check_tags(&next.function.tags)?;
        Ok(next)
    });
    record.await.map(|record| record.function.clone())
}

/// Whether functions can have that runtime here.
async fn check_runtime(inner: &Arc<Inner>, name: &str) -> Result<(), Refusal> {
    let (offer, name) = (inner.deployer.offer.clone(), name.to_owned());
    blocking(move || offer.executor(&name).map(drop)).await
}

/// Writes a package, and then the record that names it.
async fn keep_and_change(
    inner: &Arc<Inner>,
    name: &str,
    package: Bytes,
    code: Code,
    decide: impl FnOnce(Option<&Record>) -> Result<Record, Refusal> + Send + 'static,
) -> Result<Arc<Record>, Refusal> {
    let _nobody_collects = inner.files.read().await;
    let (this, name) = (inner.clone(), name.to_owned());
    blocking(move || {
        packages::keep(&this.directory, &code, &package)?;
        written(this.catalog.change(&name, |before| decide(before).map(Some)))
    })
    .await
}

/// Changes the record of a function that exists.
pub(super) async fn change_record(
    inner: &Arc<Inner>,
    name: &str,
    decide: impl FnOnce(&Record) -> Result<Record, Refusal> + Send + 'static,
) -> Result<Arc<Record>, Refusal> {
    written(change(inner, name, |before| decide(before).map(Some)).await)
}

/// The same, or deletes it; then what counts is what is recorded, whether or not the caller waits for it.
async fn change(
    inner: &Arc<Inner>,
    name: &str,
    decide: impl FnOnce(&Record) -> Result<Option<Record>, Refusal> + Send + 'static,
) -> Result<Option<Arc<Record>>, Refusal> {
    let (this, name) = (inner.clone(), name.to_owned());
    blocking(move || {
        // Two reservations cannot both be the last that fits, and of two changes that which is recorded last counts.
        let _one_at_a_time = this.concurrency.changes();
        let changed = this
            .catalog
            .change(&name, |before| decide(before.ok_or_else(|| Refusal::NotFound { arn: this.arn(&name) })?));
        match this.catalog.get(&name) {
            Some(record) => {
                this.concurrency.reserve(&name, record.function.reserved_concurrency);
                let provisioned = record.function.provisioned_concurrency;
                this.concurrency.provision(&name, provisioned.map(|request| request.requested));
            }
            None => {
                this.concurrency.forget(&name);
                this.forget_deleted(&name);
            }
        }
        changed
    })
    .await
}

fn written(change: Result<Option<Arc<Record>>, Refusal>) -> Result<Arc<Record>, Refusal> {
    change?.ok_or_else(|| Refusal::Platform("a record went while it was written".into()))
}
