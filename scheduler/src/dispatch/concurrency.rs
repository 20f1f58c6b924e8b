//! The account's concurrency: how many invocations may be in flight, of all functions and of each.
//!
//! A function with reserved concurrency has that much to itself and no more; all others share the rest. Of that rest, a function with
//! provisioned concurrency has as much to itself, and may use more; one that has both has its provisioned part inside of what is reserved.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
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
}

#[derive(Debug, Default)]
struct Counts {
    limit: u32,
    in_flight: u32,
    reserved_total: u32,
    /// Of functions without a reservation.
    provisioned_total: u32,
    unreserved_in_flight: u32,
    reserved: HashMap<String, Reserved>,
    provisioned: HashMap<String, Provision>,
    /// How fast each function may become more, if that is limited.
    rule: Option<ScalingRule>,
    scaling: HashMap<String, Scaling>,
}

#[derive(Debug, Default)]
struct Reserved {
    limit: u32,
    in_flight: u32,
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
    /// Of a function with reserved concurrency.
    reserved_by: Option<String>,
    /// Of a function with provisioned concurrency, and counted there.
    provisioned_by: Option<String>,
    /// Of a function whose environments are counted.
    scaled_by: Option<String>,
}

impl Concurrency {
    /// Nothing in flight, nothing reserved.
    pub(crate) fn new(limit: u32, rule: Option<ScalingRule>) -> Concurrency {
        Concurrency { counts: Mutex::new(Counts { limit, rule, ..Counts::default() }) }
    }

    /// Lets an invocation in, or says which limit is reached.
    pub(crate) fn admit(self: &Arc<Self>, function: &str, now: Instant) -> Result<Permit, Refusal> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(refusal) = counts.refusal(function, now) {
            return Err(refusal);
        }
        let provisioned_by = counts.take_provisioned(function);
        let scaled_by = counts.rule.filter(|_| provisioned_by.is_none()).map(|rule| {
            let scaling = counts.scaling.entry(function.to_owned()).or_insert_with(|| Scaling::new(rule, now));
            scaling.begin(now);
            function.to_owned()
        });
        let reserved_by = counts.reserved.contains_key(function).then(|| function.to_owned());
        match counts.reserved.get_mut(function) {
            Some(reserved) => reserved.in_flight += 1,
            None if provisioned_by.is_some() => {}
            None => counts.unreserved_in_flight += 1,
        }
        counts.in_flight += 1;
        Ok(Permit { concurrency: self.clone(), reserved_by, provisioned_by, scaled_by })
    }

    /// Why an invocation that came now would not be let in, if so.
    pub(crate) fn refusal(&self, function: &str, now: Instant) -> Option<Refusal> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).refusal(function, now)
    }

    /// Whether a function may reserve as much.
    pub(crate) fn check_reservation(&self, function: &str, wanted: u32) -> Result<(), Refusal> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let provisioned = counts.provisioned.get(function).map_or(0, |provision| provision.limit);
        if wanted < provisioned {
            return Err(Refusal::InvalidParameter(format!(
                " ReservedConcurrentExecutions  {wanted} should not be lower than function's total provisioned concurrency [{provisioned}]."
            )));
        }
        counts.check_rest(function, wanted, "ReservedConcurrentExecutions")
    }

    /// Whether a function may have as much provisioned.
    pub(crate) fn check_provision(&self, function: &str, wanted: u32) -> Result<(), Refusal> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.reserved.get(function) {
            Some(reserved) if wanted > reserved.limit => Err(Refusal::InvalidParameter(
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
                    .into(),
            )),
            Some(_) => Ok(()),
            None => counts.check_rest(function, wanted, "ConcurrentExecutions"),
        }
    }

    /// Sets or takes away a reservation.
    pub(crate) fn reserve(&self, function: &str, limit: Option<u32>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = counts.reserved.get(function).map_or(0, |reserved| reserved.limit);
        counts.reserved_total = counts.reserved_total - before + limit.unwrap_or(0);
        match limit {
            Some(limit) => counts.reserved.entry(function.to_owned()).or_default().limit = limit,
            // Those in flight give their permits back to nobody.
            None => drop(counts.reserved.remove(function)),
        }
        counts.count_provisioned();
    }

    /// Sets or takes away what is provisioned.
    pub(crate) fn provision(&self, function: &str, limit: Option<u32>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match limit {
            Some(limit) => counts.provisioned.entry(function.to_owned()).or_default().limit = limit,
            None => drop(counts.provisioned.remove(function)),
        }
        counts.count_provisioned();
    }

    /// Functions with provisioned concurrency.
    pub(crate) fn provisions(&self) -> Vec<(String, Provision)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.provisioned.iter().map(|(name, of)| (name.clone(), *of)).collect()
    }

    /// Functions with a reservation: name, limit, in flight.
    pub(crate) fn reservations(&self) -> Vec<(String, u32, u32)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.reserved.iter().map(|(name, of)| (name.clone(), of.limit, of.in_flight)).collect()
    }

    /// Forgets a function that was deleted.
    pub(crate) fn forget(&self, function: &str) {
        self.provision(function, None);
        self.reserve(function, None);
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).scaling.remove(function);
    }

    /// Invocations in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).in_flight as usize
    }
}

impl Counts {
    fn refusal(&mut self, function: &str, now: Instant) -> Option<Refusal> {
        let is_provisioned = self.provisioned.get(function).is_some_and(|of| of.in_flight < of.limit);
        let (in_flight, limit, reason) = match self.reserved.get(function) {
            Some(reserved) => (reserved.in_flight, reserved.limit, ThrottleReason::ReservedConcurrency),
            None if is_provisioned => return None,
            None => {
                let unreserved = self.limit.saturating_sub(self.reserved_total + self.provisioned_total);
                (self.unreserved_in_flight, unreserved, ThrottleReason::AccountConcurrency)
            }
        };
        if in_flight >= limit {
            return Some(Refusal::throttled(reason, limit.into(), in_flight.into(), Duration::ZERO));
        }
        self.scaling.get_mut(function).filter(|_| !is_provisioned)?.refusal(now)
    }

    /// Whether enough is left for the functions without a reservation if this one gets so much of its own.
    fn check_rest(&self, function: &str, wanted: u32, what: &str) -> Result<(), Refusal> {
        let reserved = self.reserved.get(function).map(|reserved| reserved.limit);
        let provisioned = self.provisioned.get(function).map_or(0, |provision| provision.limit);
        let others = self.reserved_total + self.provisioned_total - reserved.unwrap_or(provisioned);
        // Lambda keeps 100 for functions without a reservation; an account smaller than that keeps nothing.
        let kept = if self.limit > limits::UNRESERVED_CONCURRENCY_MIN { limits::UNRESERVED_CONCURRENCY_MIN } else { 0 };
        if u64::from(others) + u64::from(wanted) + u64::from(kept) > u64::from(self.limit) {
            return Err(Refusal::InvalidParameter(format!(
                "Specified {what} for function decreases account's UnreservedConcurrentExecution below its minimum value of [{kept}]."
            )));
        }
        Ok(())
    }

    /// A part of what is provisioned for the function, if there is one left; its name then.
    fn take_provisioned(&mut self, function: &str) -> Option<String> {
        let provision = self.provisioned.get_mut(function)?;
        if provision.in_flight >= provision.limit {
            provision.spilled += 1;
            return None;
        }
        provision.in_flight += 1;
        Some(function.to_owned())
    }

    fn count_provisioned(&mut self) {
        let shared = self.provisioned.iter().filter(|(name, _)| !self.reserved.contains_key(*name));
        self.provisioned_total = shared.map(|(_, provision)| provision.limit).sum();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.concurrency.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scaling) = self.scaled_by.as_ref().and_then(|function| counts.scaling.get_mut(function)) {
            scaling.end();
        }
        counts.in_flight -= 1;
        // What was provisioned may have been taken away, and set again, since.
        if let Some(provision) = self.provisioned_by.as_ref().and_then(|function| counts.provisioned.get_mut(function))
        {
            provision.in_flight = provision.in_flight.saturating_sub(1);
        }
        match &self.reserved_by {
            None if self.provisioned_by.is_some() => {}
            None => counts.unreserved_in_flight -= 1,
            // It may have been taken away, and set again, since.
            Some(function) => {
                if let Some(reserved) = counts.reserved.get_mut(function) {
                    reserved.in_flight = reserved.in_flight.saturating_sub(1);
                }
            }
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
        drop(permit);
        assert_eq!(concurrency.in_flight(), 0);
        assert_eq!(concurrency.counts.lock().expect("not poisoned").reserved_total, 0);
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
        assert_eq!(
            (concurrency.in_flight(), concurrency.counts.lock().expect("not poisoned").unreserved_in_flight),
            (0, 0)
        );
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
        assert_eq!(concurrency.counts.lock().expect("not poisoned").provisioned_total, 892);
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
        assert_eq!(concurrency.counts.lock().expect("not poisoned").scaling.len(), 1);
    }
}
