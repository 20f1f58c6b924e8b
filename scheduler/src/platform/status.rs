//! What the platform is doing, in numbers.

use std::sync::{PoisonError, atomic::Ordering};

use super::Inner;
use crate::status::Status;

impl Inner {
    pub(super) fn status(&self) -> Status {
        let (instances_idle, instances_busy, invocations_queued) = self.dispatcher.totals();
        let turns = self.dispatcher.turns.load();
        let shutting_down = self.is_closing.load(Ordering::Relaxed);
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let not_ready_reason = if shutting_down {
            Some("it is shutting down".into())
        } else if !self.deployer.is_ready() {
            Some(trouble.unwrap_or_else(|| "the runtime snapshot is being made".into()))
        } else {
            self.dispatcher.pool.trouble()
        };
        Status {
            ready: not_ready_reason.is_none(),
            not_ready_reason,
            shutting_down,
            functions: self.catalog.len(),
            deploys: self.deploys.load(Ordering::Relaxed),
            shells_ready: self.dispatcher.pool.ready(),
            shells_target: self.settings.shells,
            instances_idle,
            instances_busy,
            invocations_queued,
            invocations_running: self.concurrency.in_flight(),
            turns: turns.running,
            turns_limit: turns.limit,
            invocations_total: self.answered.load(Ordering::Relaxed),
            throttles_total: self.throttled.load(Ordering::Relaxed),
            instances_failed_total: self.dispatcher.failures.load(Ordering::Relaxed),
            resets_total: self.dispatcher.resets.load(Ordering::Relaxed),
            concurrency_limit: self.settings.account_concurrency,
            instances_limit: self.settings.instances_max,
            memory_available_bytes: self.dispatcher.backing.available_bytes(),
        }
    }
}
