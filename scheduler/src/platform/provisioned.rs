//! Provisioned concurrency: checked against what the account and the server have, recorded, and then the business of the function's lane.
//!
//! What is recorded holds for whatever answers: a new revision's lane has its instances before it takes its place, and after a restart functions with provisioned
//! concurrency are loaded without being called.

use std::sync::{Arc, PoisonError};

use super::{
    Inner,
    functions::change_record,
    serving::{Serving, With},
};
use crate::{
    function::{Function, ProvisionedRequest},
    limits,
    refusal::Refusal,
    status::{Provision, Provisioned, ProvisionedState},
};

pub(super) async fn set(inner: &Arc<Inner>, name: &str, wanted: Option<u32>) -> Result<Function, Refusal> {
    inner.check_open()?;
    let (this, owned) = (inner.clone(), name.to_owned());
    let record = change_record(inner, name, move |before| {
        if let Some(wanted) = wanted {
            this.check_instances(&owned, wanted)?;
            this.concurrency.check_provision(&owned, wanted)?;
        }
        let mut next = before.touched();
        let modified_ms = this.clock.unix_ms();
        next.function.provisioned_concurrency = wanted.map(|requested| ProvisionedRequest { requested, modified_ms });
        Ok(next)
    });
    let record = record.await?;
    inner.keep_provisioned(name);
    if wanted.is_some() {
        inner.load_provisioned(name.to_owned());
    }
    Ok(record.function.clone())
}

impl Inner {
    /// Tells what answers for a function how many instances shall always be there.
    pub(super) fn keep_provisioned(&self, name: &str) {
        // Whoever is last to read the record is last to tell the lane.
        let _one_at_a_time = self.provisioning.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever shuts down has ended what answers, and wants no more of it.
        if self.check_open().is_err() {
            return;
        }
        let request = self.catalog.get(name).and_then(|record| record.function.provisioned_concurrency);
        let slot = self.slots.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let serving = slot.and_then(|slot| slot.get());
        if let Some(With::Lane(lane)) = serving.as_ref().map(|serving| &serving.with) {
            lane.keep_ahead(request.map_or(0, |request| request.requested as usize));
        }
    }

    /// Lets what shall answer have its instances while what was there before still does, so that nobody waits for a bind after an update. If they take
    /// too long, since the old ones have the room for one, it goes without.
    pub(super) async fn provide_first(&self, name: &str, next: &Serving) {
        let request = self.catalog.get(name).and_then(|record| record.function.provisioned_concurrency);
        let (Some(request), With::Lane(lane)) = (request, &next.with) else { return };
        let wanted = request.requested as usize;
        lane.keep_ahead(wanted);
        let deadline = self.clock.now() + limits::PROVIDE_FIRST;
        let is_coming = || {
            let progress = lane.progress();
            progress.available < wanted && progress.trouble.is_none()
        };
        while is_coming() && self.clock.now() < deadline {
            tokio::time::sleep(limits::PROVIDE_LOOK).await;
        }
    }

    /// Loads a function that nobody has called yet. Until its deploy has ended, there is nothing to load.
    fn load_provisioned(self: &Arc<Self>, name: String) {
        let inner = self.clone();
        tokio::spawn(async move { inner.load_one(&name).await });
    }

    /// Loads all functions with provisioned concurrency, one after another.
    pub(super) async fn load_all_provisioned(self: &Arc<Self>) {
        for (name, _) in self.concurrency.provisions() {
            self.load_one(&name).await;
        }
    }

    async fn load_one(self: &Arc<Self>, name: &str) {
        let is_wanted = self.check_open().is_ok() && self.record(name).is_ok_and(|record| record.serving.is_some());
        if is_wanted && let Err(refusal) = self.clone().serving(name).await {
            tracing::warn!(function = name, %refusal, "a function with provisioned concurrency cannot be loaded");
        }
    }

    /// How far the instances are that shall always be there for a function, if there shall be any.
    pub(super) fn provisioned(&self, function: &Function) -> Option<Provisioned> {
        let ProvisionedRequest { requested, modified_ms } = function.provisioned_concurrency?;
        let slot = self.slots.lock().unwrap_or_else(PoisonError::into_inner).get(&function.configuration.name).cloned();
        let serving = slot.and_then(|slot| slot.get());
        let (allocated, available, trouble) = match serving.as_ref().map(|serving| &serving.with) {
            Some(With::Lane(lane)) => {
                let progress = lane.progress();
                (progress.allocated, progress.available, progress.trouble)
            }
            Some(With::InitFailure(_)) => (0, 0, Some("FUNCTION_ERROR_INIT_FAILURE".into())),
            None => {
                (0, 0, function.state_reason.as_ref().filter(|_| !function.is_pending()).map(|why| why.text.clone()))
            }
        };
        let max = self.settings.instances_per_function_max;
        let trouble = trouble.or_else(|| (requested as usize > max).then(|| too_many_of_one(max)));
        let state = match trouble {
            _ if available >= requested as usize => ProvisionedState::Ready,
            Some(why) => ProvisionedState::Failed(why),
            None => ProvisionedState::InProgress,
        };
        Some(Provisioned { requested, allocated: allocated as u32, available: available as u32, state, modified_ms })
    }

    /// The same for all functions, with their use.
    pub(super) fn provisions(&self) -> Vec<Provision> {
        let counts = self.concurrency.provisions().into_iter();
        let mut provisions: Vec<Provision> = counts
            .filter_map(|(function, count)| {
                let record = self.catalog.get(&function)?;
                let provisioned = self.provisioned(&record.function)?;
                Some(Provision { function, provisioned, in_flight: count.in_flight, spilled_total: count.spilled })
            })
            .collect();
        provisions.sort_by(|left, right| left.function.cmp(&right.function));
        provisions
    }

    /// Whether the server may have as many instances.
    fn check_instances(&self, name: &str, wanted: u32) -> Result<(), Refusal> {
        let (of_one, of_all) = (self.settings.instances_per_function_max, self.settings.instances_max);
        if wanted as usize > of_one {
            return Err(Refusal::InvalidParameter(too_many_of_one(of_one)));
        }
        let provisions = self.concurrency.provisions();
        let others: u32 = provisions.iter().filter(|(other, _)| other != name).map(|(_, of)| of.limit).sum();
        if (others + wanted) as usize > of_all {
            return Err(Refusal::InvalidParameter(format!(
                "This server has at most {of_all} instances, and {others} are provisioned for other functions."
            )));
        }
        Ok(())
    }
}

fn too_many_of_one(max: usize) -> String {
    format!("This server has at most {max} instances of a function.")
}
