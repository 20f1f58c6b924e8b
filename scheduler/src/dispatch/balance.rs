//! Tells those who enforce the shares who runs for long beside whom.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use super::{Dispatcher, Lane};
use crate::{limits, shares};

/// Looks who has run lately, until the dispatcher is dropped.
pub(crate) async fn balance(dispatcher: Weak<Dispatcher>) {
    loop {
        tokio::time::sleep(limits::TURNS_PERIOD).await;
        let Some(dispatcher) = dispatcher.upgrade() else { return };
        let lately: HashMap<_, _> = dispatcher.turns.lately().into_iter().collect();
        if lately.is_empty() {
            continue;
        }
        let present = |lane: &Arc<Lane>| Some((lane.share().clone(), *lately.get(&lane.line())?));
        shares::balance(&dispatcher.lanes().iter().filter_map(present).collect::<Vec<_>>());
    }
}
