//! The account's concurrency: how many invocations may be in flight, of all functions and of each.
//!
//! A function with reserved concurrency has that much to itself and no more; all others share the rest. Of that rest, a function with
//! provisioned concurrency has as much to itself, and may use more; one that has both has its provisioned part inside of what is reserved.
//!
//! What an invocation in flight counts as follows from its function's limits as they are now, so these may change at any time. What was let in
//! before a change stays, and is counted until it ends.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::scaling::{Scaling, ScalingRule};
use crate::{
    clock::Instant,
    limits,
    refusal::{Refusal, ThrottleReason},
};

/// The counts.
#[derive(Debug)]
pub(crate) struct Concurrency {
    counts: Mutex<Counts>,
    /// See [`Concurrency::changes`].
    changes: Mutex<()>,
}

#[derive(Debug, Default)]
struct Counts {
    limit: u32,
    in_flight: u32,
    /// What functions have to themselves.
    own_total: u32,
    /// In flight of what all share.
    shared_in_flight: u32,
    /// Functions that have something to themselves, or in flight.
    functions: HashMap<String, OfFunction>,
    /// How fast each function may become more, if that is limited.
    rule: Option<ScalingRule>,
    scaling: HashMap<String, Arc<Mutex<Scaling>>>,
}

/// The concurrency of a function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct OfFunction {
    reserved: Option<u32>,
    provisioned: Option<u32>,
    in_flight: u32,
    /// Invocations that came when all that is provisioned was in use.
    spilled: u64,
}

/// The provisioned concurrency of a function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Provision {
    pub(crate) limit: u32,
    /// Invocations in flight that have a part of it.
    pub(crate) in_flight: u32,
    /// Invocations that came when all of it was in use.
    pub(crate) spilled: u64,
}

/// An invocation in flight. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    concurrency: Arc<Concurrency>,
    function: String,
    /// Where its environment is counted, if it is.
    scaling: Option<Arc<Mutex<Scaling>>>,
}

impl Concurrency {
    /// Nothing in flight, nothing reserved.
    pub(crate) fn new(limit: u32, rule: Option<ScalingRule>) -> Concurrency {
        let counts = Counts { limit, rule, ..Counts::default() };
        Concurrency { counts: Mutex::new(counts), changes: Mutex::default() }
    }

    /// Held by who changes what is recorded of a function's limits, from the check to the count. That takes a write to the disk: not for async tasks.
    pub(crate) fn changes(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an invocation in, or says which limit is reached.
    pub(crate) fn admit(self: &Arc<Self>, function: &str, now: Instant) -> Result<Permit, Refusal> {
        let mut counts = self.counts();
        if let Some(refusal) = counts.refusal(function, now) {
            return Err(refusal);
        }
        let is_provisioned = counts.change(function, |of| {
            let is_provisioned = of.has_provisioned();
            of.spilled += u64::from(of.provisioned.is_some() && !is_provisioned);
            of.in_flight += 1;
            is_provisioned
        });
        let scaling = counts.rule.filter(|_| !is_provisioned).map(|rule| {
            let new = || Arc::new(Mutex::new(Scaling::new(rule, now)));
            let scaling = counts.scaling.entry(function.to_owned()).or_insert_with(new);
            scaling.lock().unwrap_or_else(PoisonError::into_inner).begin(now);
            scaling.clone()
        });
        Ok(Permit { concurrency: self.clone(), function: function.to_owned(), scaling })
    }

    /// Why an invocation that came now would not be let in, if so.
    pub(crate) fn refusal(&self, function: &str, now: Instant) -> Option<Refusal> {
        self.counts().refusal(function, now)
    }

    /// Whether a function may reserve as much.
    pub(crate) fn check_reservation(&self, function: &str, wanted: u32) -> Result<(), Refusal> {
        let counts = self.counts();
        let provisioned = counts.of(function).provisioned.unwrap_or(0);
        if wanted < provisioned {
            return Err(Refusal::InvalidParameter(format!(
                " ReservedConcurrentExecutions  {wanted} should not be lower than function's total provisioned concurrency [{provisioned}]."
            )));
        }
        counts.check_rest(function, wanted, "ReservedConcurrentExecutions")
    }

    /// Whether a function may have as much provisioned.
    pub(crate) fn check_provision(&self, function: &str, wanted: u32) -> Result<(), Refusal> {
        let counts = self.counts();
        match counts.of(function).reserved {
            Some(reserved) if wanted > reserved => Err(Refusal::InvalidParameter(
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
                    .into(),
            )),
            Some(_) => Ok(()),
            None => counts.check_rest(function, wanted, "ConcurrentExecutions"),
        }
    }

    /// Sets or takes away a reservation.
    pub(crate) fn reserve(&self, function: &str, limit: Option<u32>) {
        self.counts().change(function, |of| of.reserved = limit);
    }

    /// Sets or takes away what is provisioned.
    pub(crate) fn provision(&self, function: &str, limit: Option<u32>) {
        self.counts().change(function, |of| of.provisioned = limit);
    }

    /// Functions with provisioned concurrency.
    pub(crate) fn provisions(&self) -> Vec<(String, Provision)> {
        let counts = self.counts();
        let provisions = counts.functions.iter().filter_map(|(name, of)| {
            let limit = of.provisioned?;
            Some((name.clone(), Provision { limit, in_flight: of.in_flight.min(limit), spilled: of.spilled }))
        });
        provisions.collect()
    }

    /// Functions with a reservation: name, limit, in flight.
    pub(crate) fn reservations(&self) -> Vec<(String, u32, u32)> {
        let counts = self.counts();
        let reserved =
            counts.functions.iter().filter_map(|(name, of)| Some((name.clone(), of.reserved?, of.in_flight)));
        reserved.collect()
    }

    /// Forgets a function that was deleted, but for what it has in flight.
    pub(crate) fn forget(&self, function: &str) {
        let mut counts = self.counts();
        counts.change(function, |of| (of.reserved, of.provisioned) = (None, None));
        counts.scaling.remove(function);
    }

    /// Invocations in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.counts().in_flight as usize
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OfFunction {
    /// What it has to itself.
    fn own(&self) -> u32 {
        self.reserved.or(self.provisioned).unwrap_or(0)
    }

    /// What it has in flight of what all share.
    fn shared_in_flight(&self) -> u32 {
        if self.reserved.is_some() { 0 } else { self.in_flight.saturating_sub(self.own()) }
    }

    /// Whether some of what is provisioned is free.
    fn has_provisioned(&self) -> bool {
        self.provisioned.is_some_and(|limit| self.in_flight < limit)
    }

    fn is_needed(&self) -> bool {
        self.in_flight > 0 || self.reserved.is_some() || self.provisioned.is_some()
    }
}

impl Counts {
    fn of(&self, function: &str) -> OfFunction {
        self.functions.get(function).copied().unwrap_or_default()
    }

    /// Changes what is counted of a function, and the totals with it.
    fn change<T>(&mut self, function: &str, change: impl FnOnce(&mut OfFunction) -> T) -> T {
        let before = self.of(function);
        let mut after = before;
        let result = change(&mut after);
        self.in_flight = self.in_flight - before.in_flight + after.in_flight;
        self.own_total = self.own_total - before.own() + after.own();
        self.shared_in_flight = self.shared_in_flight - before.shared_in_flight() + after.shared_in_flight();
        match self.functions.get_mut(function) {
            _ if !after.is_needed() => drop(self.functions.remove(function)),
            Some(of) => *of = after,
            None => drop(self.functions.insert(function.to_owned(), after)),
        }
        result
    }

    fn refusal(&self, function: &str, now: Instant) -> Option<Refusal> {
        let of = self.of(function);
        let throttled = |reason, limit: u32, present: u32| {
            (present >= limit).then(|| Refusal::throttled(reason, limit.into(), present.into(), Duration::ZERO))
        };
        let of_limit = match of.reserved {
            Some(reserved) => throttled(ThrottleReason::ReservedConcurrency, reserved, of.in_flight),
            None if of.has_provisioned() => None,
            None => {
                let shared = self.limit.saturating_sub(self.own_total);
                throttled(ThrottleReason::AccountConcurrency, shared, self.shared_in_flight)
            }
        };
        // What was let in before a limit was changed may still have the place of what has become another's own.
        let refusal = of_limit.or_else(|| throttled(ThrottleReason::AccountConcurrency, self.limit, self.in_flight));
        refusal.or_else(|| {
            let scaling = self.scaling.get(function).filter(|_| !of.has_provisioned())?;
            scaling.lock().unwrap_or_else(PoisonError::into_inner).refusal(now)
        })
    }

    /// Whether enough is left for the functions without a reservation if this one gets so much of its own.
    fn check_rest(&self, function: &str, wanted: u32, what: &str) -> Result<(), Refusal> {
        let others = self.own_total - self.of(function).own();
        // Lambda keeps 100 for functions without a reservation; an account smaller than that keeps nothing.
        let kept = if self.limit > limits::UNRESERVED_CONCURRENCY_MIN { limits::UNRESERVED_CONCURRENCY_MIN } else { 0 };
        if u64::from(others) + u64::from(wanted) + u64::from(kept) > u64::from(self.limit) {
            return Err(Refusal::InvalidParameter(format!(
                "Specified {what} for function decreases account's UnreservedConcurrentExecution below its minimum value of [{kept}]."
            )));
        }
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.concurrency.counts().change(&self.function, |of| of.in_flight -= 1);
        if let Some(scaling) = &self.scaling {
            scaling.lock().unwrap_or_else(PoisonError::into_inner).end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(result: Result<Permit, Refusal>) -> (ThrottleReason, u64, u64) {
        match result {
            Err(Refusal::Throttled { reason, limit, present, .. }) => (reason, limit, present),
            other => panic!("not throttled: {other:?}"),
        }
    }

    #[test]
    fn reserved_and_unreserved_do_not_mix() {
        let now = Instant::now();
        let concurrency = Arc::new(Concurrency::new(3, None));
        concurrency.reserve("kept", Some(1));
        let kept = concurrency.admit("kept", now).expect("its own");
        assert_eq!(reason(concurrency.admit("kept", now)), (ThrottleReason::ReservedConcurrency, 1, 1));
        let _one = concurrency.admit("a", now).expect("two are left");
        let two = concurrency.admit("b", now).expect("one is left");
        assert_eq!(reason(concurrency.admit("a", now)), (ThrottleReason::AccountConcurrency, 2, 2));
        assert_eq!(concurrency.in_flight(), 3);
        drop((kept, two));
        assert_eq!(concurrency.in_flight(), 1);
        concurrency.admit("kept", now).expect("free again");
        concurrency.admit("a", now).expect("free again");
        concurrency.reserve("kept", Some(0));
        assert_eq!(reason(concurrency.admit("kept", now)), (ThrottleReason::ReservedConcurrency, 0, 0));
        concurrency.reserve("kept", None);
        concurrency.admit("kept", now).expect("it shares again");
    }

    #[test]
    fn a_reservation_may_end_while_it_is_used() {
        let now = Instant::now();
        let concurrency = Arc::new(Concurrency::new(10, None));
        concurrency.reserve("f", Some(2));
        let permit = concurrency.admit("f", now).expect("its own");
        concurrency.reserve("f", None);
        assert_eq!(concurrency.counts().shared_in_flight, 1);
        drop(permit);
        assert_eq!(concurrency.in_flight(), 0);
        assert_eq!(concurrency.counts().own_total, 0);
        assert!(concurrency.counts().functions.is_empty());
    }

    #[test]
    fn what_is_in_flight_counts_when_a_limit_is_set_again() {
        let now = Instant::now();
        let concurrency = Arc::new(Concurrency::new(10, None));
        concurrency.reserve("f", Some(2));
        let permits = [(); 2].map(|()| concurrency.admit("f", now).expect("two are reserved"));
        concurrency.reserve("f", None);
        concurrency.reserve("f", Some(2));
        assert_eq!(reason(concurrency.admit("f", now)), (ThrottleReason::ReservedConcurrency, 2, 2));
        // Deleted, and created anew.
        concurrency.forget("f");
        concurrency.reserve("f", Some(2));
        assert_eq!(reason(concurrency.admit("f", now)), (ThrottleReason::ReservedConcurrency, 2, 2));
        concurrency.reserve("f", None);
        concurrency.provision("f", Some(2));
        let third = concurrency.admit("f", now).expect("it shares with all, too");
        assert_eq!(concurrency.provisions(), [("f".into(), Provision { limit: 2, in_flight: 2, spilled: 1 })]);
        assert_eq!(concurrency.counts().shared_in_flight, 1);
        drop((permits, third));
        concurrency.forget("f");
        assert_eq!((concurrency.in_flight(), concurrency.counts().functions.len()), (0, 0));
    }

    #[test]
    fn no_change_of_limits_lets_in_more_than_the_account_has() {
        let now = Instant::now();
        let concurrency = Arc::new(Concurrency::new(4, None));
        let mut permits = Vec::new();
        for name in ["f", "g", "h"] {
            concurrency.reserve(name, Some(3));
            permits.extend((0..3).filter_map(|_| concurrency.admit(name, now).ok()));
            concurrency.reserve(name, None);
        }
        assert_eq!((permits.len(), concurrency.in_flight()), (4, 4));
        concurrency.reserve("i", Some(1));
        assert_eq!(reason(concurrency.admit("i", now)), (ThrottleReason::AccountConcurrency, 4, 4));
        drop(permits);
        concurrency.admit("i", now).expect("it has its own");
    }

    #[test]
    fn the_environments_of_a_deleted_function_are_not_those_of_the_next() {
        let now = Instant::now();
        let rule = ScalingRule { started_max: 2, idle_max: Duration::from_secs(300) };
        let concurrency = Arc::new(Concurrency::new(100, Some(rule)));
        let of_the_deleted = concurrency.admit("f", now).expect("the first");
        concurrency.forget("f");
        let _new = [(); 2].map(|()| concurrency.admit("f", now).expect("two may start"));
        drop(of_the_deleted);
        assert_eq!(reason(concurrency.admit("f", now)), (ThrottleReason::ScalingRate, 2, 2));
    }

    #[test]
    fn something_is_left_for_the_others() {
        let concurrency = Concurrency::new(1000, None);
        assert!(concurrency.check_reservation("f", 900).is_ok());
        assert!(concurrency.check_reservation("f", 901).is_err());
        concurrency.reserve("f", Some(900));
        assert!(concurrency.check_reservation("f", 900).is_ok());
        assert!(concurrency.check_reservation("g", 1).is_err());
        assert!(Concurrency::new(10, None).check_reservation("f", 10).is_ok());
    }

    #[test]
    fn what_is_provisioned_is_the_functions_own_and_no_limit() {
        let now = Instant::now();
        let concurrency = Arc::new(Concurrency::new(3, None));
        concurrency.provision("f", Some(2));
        let other = concurrency.admit("g", now).expect("one is left for all");
        assert_eq!(reason(concurrency.admit("g", now)), (ThrottleReason::AccountConcurrency, 1, 1));
        let own = [concurrency.admit("f", now), concurrency.admit("f", now)].map(|permit| permit.expect("its own"));
        assert_eq!(reason(concurrency.admit("f", now)), (ThrottleReason::AccountConcurrency, 1, 1));
        drop(other);
        let more = concurrency.admit("f", now).expect("it shares with all, too");
        assert_eq!(concurrency.provisions(), [("f".into(), Provision { limit: 2, in_flight: 2, spilled: 1 })]);
        assert_eq!(concurrency.in_flight(), 3);
        // It ends while it is used.
        concurrency.provision("f", None);
        drop((own, more));
        assert_eq!((concurrency.in_flight(), concurrency.counts().shared_in_flight), (0, 0));
    }

    #[test]
    fn what_is_provisioned_is_a_part_of_what_is_reserved() {
        let now = Instant::now();
        let concurrency = Arc::new(Concurrency::new(1000, None));
        let text = |refused: Result<(), Refusal>| refused.expect_err("too much").to_string();
        assert!(text(concurrency.check_provision("f", 901)).contains("below its minimum value of [100]"));
        concurrency.reserve("f", Some(3));
        assert!(
            text(concurrency.check_provision("f", 4)).contains("not be greater than the reservedConcurrentExecution")
        );
        concurrency.check_provision("f", 3).expect("as much as is reserved");
        concurrency.provision("f", Some(2));
        assert!(text(concurrency.check_reservation("f", 1)).contains("total provisioned concurrency [2]"));
        concurrency.check_provision("g", 897).expect("what is provisioned for the other counts once");
        concurrency.provision("g", Some(890));
        assert!(text(concurrency.check_reservation("f", 11)).contains("minimum value of [100]"));
        let permits = [(); 3].map(|()| concurrency.admit("f", now).expect("three are reserved"));
        assert_eq!(reason(concurrency.admit("f", now)), (ThrottleReason::ReservedConcurrency, 3, 3));
        drop(permits);
        concurrency.reserve("f", None);
        assert_eq!(concurrency.counts().own_total, 892);
    }

    #[test]
    fn each_function_may_become_more_at_its_rate() {
        let now = Instant::now();
        let rule = ScalingRule { started_max: 2, idle_max: Duration::from_secs(300) };
        let concurrency = Arc::new(Concurrency::new(100, Some(rule)));
        let permits = [concurrency.admit("f", now), concurrency.admit("f", now)].map(|permit| permit.expect("two"));
        assert_eq!(reason(concurrency.admit("f", now)), (ThrottleReason::ScalingRate, 2, 2));
        assert!(concurrency.refusal("f", now).is_some() && concurrency.refusal("g", now).is_none());
        let _of_another = concurrency.admit("g", now).expect("it has its own");
        drop(permits);
        let _again = concurrency.admit("f", now).expect("an environment is free");
        concurrency.forget("f");
        assert_eq!(concurrency.counts().scaling.len(), 1);
    }
}
