//! Instances with their places: each is counted wherever it is, and goes back or frees its place when it is dropped.

use std::sync::{Arc, Weak};

use super::Lane;
use crate::{
    dispatch::{Room, tenants::Tenant},
    instance::Instance,
};

/// An instance with its place in the counts. Dropping it ends the instance, and then frees the place.
pub(super) struct Held {
    pub(super) instance: Instance,
    pub(super) seat: Seat,
}

/// The place of an instance in the counts of its lane and of the dispatcher.
pub(crate) struct Seat {
    pub(super) lane: Weak<Lane>,
    pub(crate) tenant: Arc<Tenant>,
    pub(super) room: Room,
}

/// An instance for one invocation. Goes back to its lane if it is not taken.
pub(crate) struct Lease {
    pub(super) lane: Arc<Lane>,
    pub(super) held: Option<Held>,
}

impl Lease {
    /// The instance, to be given back with its seat, or dropped before it.
    pub(crate) fn take(mut self) -> Option<(Instance, Seat)> {
        self.held.take().map(|held| (held.instance, held.seat))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(Held { instance, seat }) = self.held.take() {
            self.lane.give_back(instance, seat);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.upgrade() {
            lane.state().instances -= 1;
            lane.supply();
        }
    }
}
