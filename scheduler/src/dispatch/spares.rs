//! Functions with a spare: the first instance, which nobody has called yet.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError, Weak},
};

use super::Lane;
use crate::limits;

/// The lanes of those functions, in the order in which they were deployed.
#[derive(Default)]
pub(super) struct Spares(Mutex<VecDeque<Weak<Lane>>>);

impl Spares {
    /// Another one, or one that is idle again. If there are too many now, the oldest one ends.
    pub(super) fn add(&self, lane: Weak<Lane>) {
        let surplus = {
            let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lanes.retain(|other| !other.ptr_eq(&lane) && other.upgrade().is_some_and(|other| other.has_unused()));
            lanes.push_back(lane);
            if lanes.len() > limits::SPARES { lanes.pop_front() } else { None }
        };
        if let Some(lane) = surplus.and_then(|lane| lane.upgrade()) {
            lane.drop_unused();
        }
    }
}
