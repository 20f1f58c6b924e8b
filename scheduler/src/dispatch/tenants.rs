//! Instances that run, as those see them who look for memory.
//!
//! When memory is short and nothing is idle any more, one that runs has to go, or the kernel stalls all of them for as long as it finds something
//! to drop: the one that has taken most since it was bound. It is told so, ends with an error of its own, and the others go on.

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

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
    is_running: AtomicBool,
    /// What it had taken when it was told to go; 0 until then.
    evicted_at_bytes: AtomicU64,
    is_evicted: Notify,
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
        let running = tenants.iter().filter(|tenant| tenant.is_running.load(Ordering::Acquire));
        let (bytes, offender) =
            running.filter_map(|tenant| Some((taken(tenant.pid?), tenant))).max_by_key(|of| of.0)?;
        (bytes >= OFFENCE_MIN_BYTES).then(|| {
            offender.evicted_at_bytes.store(bytes, Ordering::Release);
            offender.is_evicted.notify_one();
            bytes
        })
    }
}

impl Tenant {
    /// It has an event.
    pub(crate) fn begin(&self) {
        self.is_running.store(true, Ordering::Release);
    }

    /// It has no event any more; true if it was told to go, and must not come back.
    pub(crate) fn end(&self) -> bool {
        self.is_running.store(false, Ordering::Release);
        self.evicted_at_bytes.load(Ordering::Acquire) > 0
    }

    /// When it has to go: with how much. Nothing is lost if this is dropped before it is ready.
    pub(crate) async fn evicted(&self) -> u64 {
        self.is_evicted.notified().await;
        self.evicted_at_bytes.load(Ordering::Acquire)
    }
}
