//! Tells those who enforce the shares who runs for long beside whom.

use std::{collections::HashMap, sync::Weak};

use super::Dispatcher;
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
        let lanes = dispatcher.lanes();
        let present = lanes.iter().filter_map(|lane| Some((lane.share().clone(), *lately.get(&lane.line())?)));
        shares::balance(&present.collect::<Vec<_>>());
    }
}
