//! What the platform is doing, in numbers.

use std::sync::{PoisonError, atomic::Ordering};

use super::Inner;
use crate::status::{Reservation, Status};

impl Inner {
    pub(super) fn status(&self) -> Status {
        let (instances_idle, instances_busy, invocations_queued) = self.dispatcher.totals();
        let turns = self.dispatcher.turns.load();
        let mut reservations: Vec<Reservation> = (self.concurrency.reservations().into_iter())
            .map(|(function, limit, in_flight)| Reservation { function, limit, in_flight })
            .collect();
        reservations.sort_by(|left, right| left.function.cmp(&right.function));
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
            reservations,
            provisions: self.provisions(),
            instances_limit: self.settings.instances_max,
            instances_per_function_limit: self.settings.instances_per_function_max,
            queue_per_function_limit: self.settings.queue_per_function,
            queue_wait_limit: self.settings.queue_wait_max,
            memory_reserve_bytes: self.settings.memory_reserve_bytes,
            memory_available_bytes: self.dispatcher.backing.available_bytes(),
        }
    }
}
