//! Instances that run, as those see them who look for memory.
//!
//! When memory is short and nothing is idle any more, one that runs has to go, or the kernel stalls all of them for as long as it finds something
//! to drop: the one that has taken most since it was bound. It is told so, ends with an error of its own, and the others go on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

/// Who has taken less than this is not why memory is short: then it is another program, and to end invocations would not help.
const OFFENCE_MIN_BYTES: u64 = 16 << 20;

/// All instances that are bound.
#[derive(Default)]
pub(crate) struct Tenants(Mutex<Vec<Weak<Tenant>>>);

/// An instance.
#[derive(Debug, Default)]
pub(crate) struct Tenant {
    pid: Option<u32>,
    stay: Mutex<Stay>,
    is_evicted: Notify,
}

/// What it does.
#[derive(Debug, Clone, Copy, Default)]
struct Stay {
    /// Events that it has had.
    begun: u64,
    is_running: bool,
    /// What it had taken when it was told to go.
    evicted_at_bytes: Option<u64>,
}

impl Tenants {
    /// Adds the instance of that process.
    pub(super) fn add(&self, pid: Option<u32>) -> Arc<Tenant> {
        let tenant = Arc::new(Tenant { pid, ..Tenant::default() });
        let mut tenants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.retain(|tenant| tenant.strong_count() > 0);
        tenants.push(Arc::downgrade(&tenant));
        tenant
    }

    /// Ends the invocation whose instance has taken most, if any has taken much. `taken` says what a process has.
    pub(super) fn evict_offender(&self, taken: impl Fn(u32) -> u64) -> Option<u64> {
        // Not under the lock: to ask the kernel takes a while.
        let tenants: Vec<Arc<Tenant>> =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect();
        let running = tenants.iter().filter_map(|tenant| {
            let stay = *tenant.stay();
            stay.is_running.then_some((tenant, stay.begun))
        });
        let (bytes, offender, event) =
            running.filter_map(|(tenant, event)| Some((taken(tenant.pid?), tenant, event))).max_by_key(|of| of.0)?;
        (bytes >= OFFENCE_MIN_BYTES && offender.evict(event, bytes)).then_some(bytes)
    }
}

impl Tenant {
    /// It has an event.
    pub(crate) fn begin(&self) {
        let mut stay = self.stay();
        stay.begun += 1;
        stay.is_running = true;
    }

    /// It has no event any more; true if it was told to go, and must not come back.
    pub(crate) fn end(&self) -> bool {
        let mut stay = self.stay();
        stay.is_running = false;
        stay.evicted_at_bytes.is_some()
    }

    /// Tells it to go, if it still has that event; whether it has.
    fn evict(&self, event: u64, bytes: u64) -> bool {
        let mut stay = self.stay();
        if !stay.is_running || stay.begun != event {
            return false;
        }
        stay.evicted_at_bytes = Some(bytes);
        self.is_evicted.notify_one();
        true
    }

    /// When it has to go: with how much. Nothing is lost if this is dropped before it is ready.
    pub(crate) async fn evicted(&self) -> u64 {
        self.is_evicted.notified().await;
        self.stay().evicted_at_bytes.unwrap_or_default()
    }

    fn stay(&self) -> MutexGuard<'_, Stay> {
        self.stay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MUCH: u64 = OFFENCE_MIN_BYTES;

    #[test]
    fn who_has_ended_meanwhile_is_not_told_to_go() {
        let tenants = Tenants::default();
        let tenant = tenants.add(Some(1));
        assert_eq!(tenants.evict_offender(|_| MUCH), None, "it has no event");
        tenant.begin();
        // It ends while it is looked at, and has another event, which is innocent.
        let looked = tenants.evict_offender(|_| {
            assert!(!tenant.end());
            tenant.begin();
            MUCH
        });
        assert_eq!(looked, None);
        assert!(!tenant.end());
    }

    #[tokio::test]
    async fn the_one_with_most_has_to_go() {
        let tenants = Tenants::default();
        let all = [1, 2, 3].map(|pid| tenants.add(Some(pid)));
        all.iter().for_each(|tenant| tenant.begin());
        assert_eq!(tenants.evict_offender(|_| MUCH - 1), None, "none has taken much");
        assert_eq!(tenants.evict_offender(|pid| MUCH * u64::from(pid % 3)), Some(MUCH * 2));
        assert_eq!(all[1].evicted().await, MUCH * 2);
        assert_eq!(all.map(|tenant| tenant.end()), [false, true, false]);
    }
}
