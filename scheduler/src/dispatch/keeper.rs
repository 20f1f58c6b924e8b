//! Gives up instances that nobody needs, or that there is no memory for.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::Dispatcher;
use crate::{clock::Instant, limits, memory::Look};

/// Looks through the instances, until the dispatcher is dropped. `memory` says what the host has, `taken` what a process has of it.
pub(crate) async fn keep(dispatcher: Weak<Dispatcher>, mut memory: impl FnMut() -> Look, taken: impl Fn(u32) -> u64) {
    let mut was_low = false;
    loop {
        let period = if was_low { limits::KEEPER_PERIOD_LOW } else { limits::KEEPER_PERIOD };
        tokio::time::sleep(period).await;
        let Some(dispatcher) = dispatcher.upgrade() else { return };
        let memory = memory();
        let (is_low, ended) = look(&dispatcher, memory);
        // Not at every look: it may be low for long, with nothing left to give up.
        if is_low && (!was_low || ended > 0) {
            tracing::warn!(?memory, ended, "memory is low: idle instances are given up");
        }
        was_low = is_low;
        // One at a time: what that gave back is seen at the next look.
        if ended == 0 && dispatcher.backing.is_emergency() {
            dispatcher.tenants.evict_offender(&taken);
        }
    }
}

/// Whether memory is low, and how many idle instances were ended for that.
fn look(dispatcher: &Arc<Dispatcher>, memory: Look) -> (bool, usize) {
    let now = dispatcher.clock.now();
    let too_old = |age: Duration| age >= dispatcher.bounds.idle_instance_ttl;
    for lane in dispatcher.lanes() {
        lane.forget_gone();
        while lane.idle_since().is_some_and(|since| too_old(now.saturating_duration_since(since))) {
            lane.drop_oldest();
        }
        lane.retry_ahead(now);
    }
    trim(dispatcher, now);
    dispatcher.backing.seen(memory.available_bytes, memory.is_stalling);
    let is_low = dispatcher.backing.is_low();
    let ended = if is_low { make_way(dispatcher, now) } else { 0 };
    dispatcher.feed_all();
    (is_low, ended)
}

/// Ends some of the instances that may be ended, or, if there are none, of those that should be kept. Says how many.
fn make_way(dispatcher: &Dispatcher, now: Instant) -> usize {
    let ended = dispatcher.evict_some();
    if ended > 0 {
        return ended;
    }
    let (idle, _, _) = dispatcher.totals();
    let most_idle = || dispatcher.lanes().into_iter().max_by_key(|lane| lane.load().idle);
    (0..idle.div_ceil(8)).filter(|_| most_idle().is_some_and(|lane| lane.give_up_kept(now))).count()
}

/// Lets instances that are not in steady use give back what they do not need, a few at a time.
fn trim(dispatcher: &Dispatcher, now: Instant) {
    let Some(then) = now.checked_sub(limits::TRIM_AFTER) else { return };
    let mut left = limits::TRIMS_AT_A_LOOK;
    for lane in dispatcher.lanes() {
        while left > 0 && lane.trim_one(then) {
            left -= 1;
        }
    }
}
