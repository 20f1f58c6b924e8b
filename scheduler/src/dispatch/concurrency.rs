//! The account's concurrency: how many invocations may be in flight, of all functions and of each.
//!
//! A function with reserved concurrency has that much to itself and no more; all others share the rest.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
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
    reserved_total: u32,
    unreserved_in_flight: u32,
    reserved: HashMap<String, Reserved>,
}

#[derive(Debug, Default)]
struct Reserved {
    limit: u32,
    in_flight: u32,
}

/// An invocation in flight. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    concurrency: Arc<Concurrency>,
    /// Of a function with reserved concurrency.
    reserved_by: Option<String>,
}

impl Concurrency {
    /// Nothing in flight, nothing reserved.
    pub(crate) fn new(limit: u32) -> Concurrency {
        Concurrency { counts: Mutex::new(Counts { limit, ..Counts::default() }) }
    }

    /// Lets an invocation in, or says which limit is reached.
    pub(crate) fn admit(self: &Arc<Self>, function: &str) -> Result<Permit, Refusal> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(refusal) = counts.refusal(function) {
            return Err(refusal);
        }
        let reserved_by = counts.reserved.contains_key(function).then(|| function.to_owned());
        match counts.reserved.get_mut(function) {
            Some(reserved) => reserved.in_flight += 1,
            None => counts.unreserved_in_flight += 1,
        }
        Ok(Permit { concurrency: self.clone(), reserved_by })
    }

    /// Why an invocation that came now would not be let in, if so.
    pub(crate) fn refusal(&self, function: &str) -> Option<Refusal> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).refusal(function)
    }

    /// Whether a function may reserve as much.
    pub(crate) fn check_reservation(&self, function: &str, wanted: u32) -> Result<(), Refusal> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let own = counts.reserved.get(function).map_or(0, |reserved| reserved.limit);
        let others = counts.reserved_total - own;
        // Lambda keeps 100 for functions without a reservation; an account smaller than that keeps nothing.
        let kept =
            if counts.limit > limits::UNRESERVED_CONCURRENCY_MIN { limits::UNRESERVED_CONCURRENCY_MIN } else { 0 };
        if u64::from(others) + u64::from(wanted) + u64::from(kept) > u64::from(counts.limit) {
            return Err(Refusal::InvalidParameter(format!(
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its \
                 minimum value of [{kept}]."
            )));
        }
        Ok(())
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
    }

    /// Functions with a reservation: name, limit, in flight.
    pub(crate) fn reservations(&self) -> Vec<(String, u32, u32)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.reserved.iter().map(|(name, of)| (name.clone(), of.limit, of.in_flight)).collect()
    }

    /// Invocations in flight.
    pub(crate) fn in_flight(&self) -> usize {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.unreserved_in_flight as usize
            + counts.reserved.values().map(|reserved| reserved.in_flight as usize).sum::<usize>()
    }
}

impl Counts {
    fn refusal(&self, function: &str) -> Option<Refusal> {
        let (in_flight, limit, reason) = match self.reserved.get(function) {
            Some(reserved) => (reserved.in_flight, reserved.limit, ThrottleReason::ReservedConcurrency),
            None => {
                let unreserved = self.limit.saturating_sub(self.reserved_total);
                (self.unreserved_in_flight, unreserved, ThrottleReason::AccountConcurrency)
            }
        };
        (in_flight >= limit).then(|| Refusal::throttled(reason, limit.into(), in_flight.into(), Duration::ZERO))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.concurrency.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.reserved_by {
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
        let concurrency = Arc::new(Concurrency::new(3));
        concurrency.reserve("kept", Some(1));
        let kept = concurrency.admit("kept").expect("its own");
        assert_eq!(reason(concurrency.admit("kept")), (ThrottleReason::ReservedConcurrency, 1, 1));
        let _one = concurrency.admit("a").expect("two are left");
        let two = concurrency.admit("b").expect("one is left");
        assert_eq!(reason(concurrency.admit("a")), (ThrottleReason::AccountConcurrency, 2, 2));
        assert_eq!(concurrency.in_flight(), 3);
        drop((kept, two));
        assert_eq!(concurrency.in_flight(), 1);
        concurrency.admit("kept").expect("free again");
        concurrency.admit("a").expect("free again");
        concurrency.reserve("kept", Some(0));
        assert_eq!(reason(concurrency.admit("kept")), (ThrottleReason::ReservedConcurrency, 0, 0));
        concurrency.reserve("kept", None);
        concurrency.admit("kept").expect("it shares again");
    }

    #[test]
    fn a_reservation_may_end_while_it_is_used() {
        let concurrency = Arc::new(Concurrency::new(10));
        concurrency.reserve("f", Some(2));
        let permit = concurrency.admit("f").expect("its own");
        concurrency.reserve("f", None);
        drop(permit);
        assert_eq!(concurrency.in_flight(), 0);
        assert_eq!(concurrency.counts.lock().expect("not poisoned").reserved_total, 0);
    }

    #[test]
    fn something_is_left_for_the_others() {
        let concurrency = Concurrency::new(1000);
        assert!(concurrency.check_reservation("f", 900).is_ok());
        assert!(concurrency.check_reservation("f", 901).is_err());
        concurrency.reserve("f", Some(900));
        assert!(concurrency.check_reservation("f", 900).is_ok());
        assert!(concurrency.check_reservation("g", 1).is_err());
        assert!(Concurrency::new(10).check_reservation("f", 10).is_ok());
    }
}
