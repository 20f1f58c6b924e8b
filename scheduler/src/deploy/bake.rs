//! Loads a handler once, so that no invocation has to.

use std::{path::Path, sync::Arc};

use mayfly_abi::record;

use super::{DeployError, Deployer, Loaded, files};
use crate::{
    instance::Instance,
    invoke::{INIT_STREAM, InitCause, InitFailure},
    limits,
    machine::{Binding, Event, Gone, Stop, Stopped},
};

/// Binds a shell to the runtime and the function's files, lets it load the handler, and saves it at `path`.
pub(super) async fn bake(
    deployer: &Deployer,
    binding: Binding,
    meta: &[u8],
    path: &Path,
) -> Result<Loaded, DeployError> {
    let gone = |gone: Gone| DeployError(gone.to_string());
    let instance = bind(deployer, &binding).await?;
    let event = Event { kind: record::INIT, meta, payload: b"" };
    let mut running = instance.run(event, limits::INIT_TIMEOUT, None).map_err(gone)?;
    let mut stopped = running.stopped().await.map_err(gone)?;
    let mut log = std::mem::take(&mut stopped.log);
    log.truncate(limits::INVOCATION_LOG_BYTES);
    let duration = stopped.usage.duration;
    if let Some(cause) = failure(&stopped) {
        let failure = InitFailure { cause, log, duration, timeout: limits::INIT_TIMEOUT, at: deployer.clock.now() };
        return Ok(Loaded::InitFailed(failure));
    }
    let mut instance =
        running.settle(&stopped.stop).ok_or_else(|| DeployError("the handler's machine is gone".into()))?;
    files::save(instance.machine(), path).await?;
    let top = files::open_snapshot(deployer, path)
        .await
        .ok_or_else(|| DeployError("the function snapshot that was just written cannot be opened".into()))?;
    Ok(Loaded::Ready(Binding { top: Some(Arc::new(top)), ..binding }, log))
}

async fn bind(deployer: &Deployer, binding: &Binding) -> Result<Instance, DeployError> {
    let mut tries = 1;
    loop {
        let shell = deployer.dispatcher.pool.take_for(binding).await.map_err(DeployError)?;
        match Instance::bind(shell, binding, INIT_STREAM.into()).await {
            Ok(instance) => return Ok(instance),
            Err(Gone::Ended(_)) if tries < limits::SHELL_TRIES => tries += 1,
            Err(error) => return Err(DeployError(error.to_string())),
        }
    }
}

/// Why the handler is not loaded, if it is not.
fn failure(stopped: &Stopped) -> Option<InitCause> {
    match (&stopped.stop, &stopped.answer) {
        (Stop::Next, Some(answer)) if answer.kind == record::INIT_OK => None,
        (Stop::Next, Some(answer)) if answer.kind == record::ERROR => {
            Some(InitCause::Raised(answer.payload.clone().into()))
        }
        (stop, _) => Some(InitCause::Ended(stop.clone())),
    }
}
